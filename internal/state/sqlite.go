package state

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"sync/atomic"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver
)

// openSQLite opens a file. One connection writes, in transactions that are exclusive from their beginning; others read.
func (s *Store) openSQLite(_ context.Context, path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("open the state: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("open the state: %w", err)
	}
	pragmas := "_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)&_pragma=foreign_keys(1)&_pragma=synchronous(FULL)"
	file := (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath()}).String()
	if s.write, err = sql.Open("sqlite", file+"?_txlock=immediate&"+pragmas); err != nil {
		return fmt.Errorf("open the state: %w", err)
	}
	s.write.SetMaxOpenConns(1)
	if s.read, err = sql.Open("sqlite", file+"?"+pragmas); err != nil {
		return errors.Join(fmt.Errorf("open the state: %w", err), s.write.Close())
	}
	s.read.SetMaxOpenConns(4)
	s.place = path
	s.dialect = dialect{
		look:       sql.TxOptions{ReadOnly: true},
		begun:      func(context.Context, *sql.Tx, *atomic.Int64) error { return nil }, // immediate, and the machine's clock is its clock
		alone:      func(ctx context.Context) (func() error, error) { return aloneInFolder(ctx, path) },
		parameters: 100, // it finds each by its name among all others
		check:      s.checkFile,
		provider: func(db *sql.DB, migrations fs.FS) (*goose.Provider, error) {
			return goose.NewProvider(goose.DialectSQLite3, db, migrations)
		},
	}
	return nil
}

// checkFile reads the whole file before anything is written to it: damage is to be known now, and not in the middle of a switch.
func (s *Store) checkFile(ctx context.Context, db *sql.DB) error {
	var verdict string
	if err := db.QueryRowContext(ctx, `PRAGMA quick_check(1)`).Scan(&verdict); err != nil {
		return fmt.Errorf("check the state: %w", err)
	}
	if verdict != "ok" {
		return &Trouble{What: fmt.Sprintf("the state %s is damaged", s.place), Hint: damagedHint, Err: errors.New(verdict)}
	}
	return nil
}
