package state

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// ErrStorage means that the state can't be read or written as it is: a person is needed. What was asked was not done.
var ErrStorage = errors.New("the state can't be used")

// Trouble is a state that can't be used, in words for a person.
type Trouble struct {
	What string // with the state's name
	Hint string
	Err  error // as the database said it
}

// Error says what, and what the database said.
func (t *Trouble) Error() string { return t.What + ": " + t.Err.Error() }

// ErrorHint says what to do.
func (t *Trouble) ErrorHint() string { return t.Hint }

// Unwrap makes every trouble an ErrStorage.
func (t *Trouble) Unwrap() []error { return []error{ErrStorage, t.Err} }

const fullHint = "free some space on it; nothing starts until then, and what runs stops in good order when its lease ends; traffic is not affected"

const damagedHint = "keep the file aside and restore a backup; without one begin with an empty state: apply the fleet with the cells as they are, then the campaign"

// explain makes a Trouble of an error that is about the database itself, and leaves every other.
func explain(place string, err error) error {
	var trouble *Trouble
	if err == nil || errors.As(err, &trouble) {
		return err
	}
	trouble = &Trouble{Err: err}
	var e *sqlite.Error
	var pe *pgconn.PgError
	var ce *pgconn.ConnectError
	switch {
	case errors.As(err, &e):
		switch e.Code() & 0xff {
		case sqlite3.SQLITE_FULL:
			trouble.What = fmt.Sprintf("the disk of the state %s is full, nothing was changed", place)
			trouble.Hint = fullHint
		case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
			trouble.What = fmt.Sprintf("the state %s is damaged, or no state at all", place)
			trouble.Hint = damagedHint
		case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN:
			trouble.What = fmt.Sprintf("the state %s, or its folder, can't be written", place)
			trouble.Hint = "the server must own the file, the files beside it with the same name and -wal or -shm, and their folder"
		case sqlite3.SQLITE_IOERR:
			trouble.What = fmt.Sprintf("the disk of the state %s fails", place)
			trouble.Hint = "look at the disk and at the kernel's log; traffic is not affected"
		case sqlite3.SQLITE_BUSY:
			trouble.What = fmt.Sprintf("the state %s is held by another program", place)
			trouble.Hint = "a server or a tool such as sqlite3 is in the middle of a write for longer than 10 s; end it, and try again"
		default:
			return err
		}
	case errors.As(err, &pe) && !errors.As(err, &ce):
		switch pe.Code {
		case "53100": // disk_full
			trouble.What = fmt.Sprintf("the disk of the state %s is full, nothing was changed", place)
			trouble.Hint = fullHint
		case "25006", "42501": // read_only_sql_transaction, insufficient_privilege
			trouble.What = fmt.Sprintf("the state %s can't be written", place)
			trouble.Hint = "name the primary, and a user who owns the database"
		case "55P03": // lock_not_available
			trouble.What = fmt.Sprintf("the state %s is held by another program", place)
			trouble.Hint = "another server is in the middle of a write for longer than 10 s; try again"
		case "XX001", "XX002": // data_corrupted, index_corrupted
			trouble.What = fmt.Sprintf("the state %s is damaged", place)
			trouble.Hint = damagedHint
		default:
			return err
		}
	case errors.As(err, &ce):
		trouble.What = fmt.Sprintf("the state %s can't be reached", place)
		trouble.Hint = "is PostgreSQL running, does the database exist, and may this user log in from here? the password can be in a file: set PGPASSFILE"
	case errors.Is(err, fs.ErrNotExist):
		trouble.What = fmt.Sprintf("the folder of the state %s is not there", place)
		trouble.Hint = "make it, or name another file with --state"
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		trouble.What = fmt.Sprintf("the state %s can't be written", place)
		trouble.Hint = "the server must own the file and its folder"
	case errors.Is(err, syscall.EISDIR):
		trouble.What = fmt.Sprintf("the state %s is a folder", place)
		trouble.Hint = "name a file in it"
	case errors.Is(err, syscall.ENOSPC):
		trouble.What = fmt.Sprintf("the disk of the state %s is full", place)
		trouble.Hint = "free some space on it"
	default:
		return err
	}
	return trouble
}
