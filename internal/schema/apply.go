package schema

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/windlass-db/windlass/internal/engine"
)

// ErrFenced tells that another run with a higher term has taken the database over: this one does nothing more.
var ErrFenced = fmt.Errorf("another run with a higher term applies the migrations: %w", engine.ErrFenced)

// ApplyOptions say what is applied, and how patiently.
type ApplyOptions struct {
	Dialect  Dialect
	Target   string // DSN of the database
	Folder   string // of migrations
	Older    string // folder of the version that is there: its migrations are applied; empty: none is
	Term     int64  // of the caller; one with a lower term is refused
	Contract bool   // apply the migrations that are marked "-- windlass:contract", and no others: nothing old is left

	LockTimeout time.Duration // of each try; 2 s unless given
	Tries       int           // of each statement; 10 unless given
	Backoff     time.Duration // after the first try, doubled up to 30 s, with a random part; 1 s unless given

	Progress func(Progress) error                   // an error ends the run
	edge     func(statement int, name string) error // tests end a run here; statements count from 1
}

// Progress tells where an apply stands.
type Progress struct {
	Statement Statement
	N, Of     int    // from 1
	What      string // "there already", "runs", "waits for its lock, try 2 of 10", "done"
}

// What is told of a statement at its end.
const (
	saidDone  = "done"
	saidThere = "there already"
)

// contractWords are statements that take something away which an old node may use.
var contractWords = regexp.MustCompile(`(?is)^\s*(DROP\s+(FOREIGN\s+)?(TABLE|VIEW|SERVER|DATA|MATERIALIZED|SEQUENCE|SCHEMA|DATABASE|TYPE|DOMAIN|EXTENSION|FUNCTION|PROCEDURE|ROUTINE|AGGREGATE|TRIGGER|POLICY|RULE|EVENT|INDEX|CONSTRAINT)\b|TRUNCATE\b|CREATE\s+OR\s+REPLACE\s+(TABLE|SEQUENCE)\b|RENAME\s+TABLE|REVOKE\b|ALTER\b.*\bRENAME\b|ALTER\s+(FOREIGN\s+)?TABLE\b.*\b((DETACH|TRUNCATE|EXCHANGE|DISCARD)\s+PARTITION\b|DROP\s+(COLUMN|CONSTRAINT|INDEX|KEY|PRIMARY|FOREIGN|CHECK|PARTITION|DEFAULT|IF\b|[\w"` + "`" + `]+\s*(,|$|CASCADE|RESTRICT))|CHANGE\s+)|ALTER\s+\S+\s+.*\bDROP\s+DEFAULT\b)`)

// dropsNotNull is what only lets more in.
var dropsNotNull = regexp.MustCompile(`(?is)\bDROP\s+(NOT\s+NULL|IDENTITY|EXPRESSION)\b`)

func contracts(sql string) bool {
	text := masked(sql)
	return contractWords.MatchString(dropsNotNull.ReplaceAllString(text, " "))
}

// Apply runs the statements of a folder of migrations that the target does not have, one at a time, and returns when all are there.
//
// It may be ended at any point, kill -9 included, and run again: a journal on the target says which statement began and which is done,
// and one that began is looked for in the catalog before it is run again. A statement on PostgreSQL and its entry are one transaction,
// but for CREATE INDEX CONCURRENTLY, whose index is dropped and built again if it was left invalid (trap 40). It waits for locks for
// LockTimeout only, so that nobody waits behind it for longer, and tries again; but for CREATE INDEX CONCURRENTLY and its kin, behind which
// nobody waits: ctx alone bounds them. Drops and renames are refused before anything is run,
// unless Contract is set.
func Apply(ctx context.Context, o ApplyOptions) error {
	a := &applier{ApplyOptions: o}
	if a.LockTimeout <= 0 {
		a.LockTimeout = 2 * time.Second
	}
	if a.Tries <= 0 {
		a.Tries = 10
	}
	if a.Backoff <= 0 {
		a.Backoff = time.Second
	}
	if a.Progress == nil {
		a.Progress = func(Progress) error { return nil }
	}
	stmts, err := o.entries()
	if err != nil {
		return err
	}
	if a.dsn, err = parseDSN(o.Dialect, "target", o.Target); err != nil {
		return err
	}
	if a.db, err = a.dsn.open(ctx, "target"); err != nil {
		return err
	}
	defer a.db.Close()
	if a.conn, err = a.db.Conn(ctx); err != nil {
		return a.wrong("can't connect", err)
	}
	defer a.conn.Close()
	if err := a.begin(ctx); err != nil {
		return err
	}
	for i, e := range stmts {
		a.at = Progress{Statement: e.Statement, N: i + 1, Of: len(stmts)}
		if err := a.one(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// entries are the statements to be applied, in order. What takes away is refused unless it is in a migration for the contract step.
func (o ApplyOptions) entries() ([]entry, error) {
	ms, err := readFolder(o.Dialect, o.Folder)
	if err != nil {
		return nil, err
	}
	if o.Older != "" && !o.Contract {
		older, err := readFolder(o.Dialect, o.Older)
		if err != nil {
			return nil, err
		}
		n, err := shared(source{path: o.Older, files: older}, source{path: o.Folder, files: ms})
		if err != nil {
			return nil, err
		}
		ms = ms[n:]
	}
	var out []entry
	for _, m := range ms {
		if m.contract != o.Contract {
			continue
		}
		for i, s := range m.stmts {
			if transactional(s.SQL) {
				continue // each statement is committed alone
			}
			if !o.Contract && contracts(s.SQL) {
				return nil, &Error{Where: s.Where(), What: fmt.Sprintf("%q takes away what an old node may use", s.Short()), Hint: contract, Usage: true}
			}
			out = append(out, entry{file: m.name, n: i + 1, Statement: s})
		}
	}
	return out, nil
}

// Left reads the journal: the statements that are not done, and whether any ever began. It writes nothing.
func (o ApplyOptions) Left(ctx context.Context) (left []Statement, begun bool, err error) {
	stmts, err := o.entries()
	if err != nil {
		return nil, false, err
	}
	d, err := parseDSN(o.Dialect, "target", o.Target)
	if err != nil {
		return nil, false, err
	}
	db, err := d.open(ctx, "target")
	if err != nil {
		return nil, false, err
	}
	defer db.Close()
	states, err := readJournal(ctx, d, db)
	if err != nil {
		return nil, false, err
	}
	for _, e := range stmts {
		if states[e.key()] != stateDone {
			left = append(left, e.Statement)
		}
		begun = begun || states[e.key()] != stateNone
	}
	return left, begun, nil
}

// entry is a statement with its key in the journal: the file's name and its number in it.
type entry struct {
	Statement
	file string
	n    int
}

func (e entry) key() string { return fmt.Sprintf("%s\x00%d", e.file, e.n) }

type applier struct {
	ApplyOptions
	dsn  dsn
	db   *sql.DB
	conn *sql.Conn
	at   Progress
	// journal is JournalTable with its schema.
	journal string
}

func (a *applier) wrong(what string, err error) error {
	return &Error{Where: a.dsn.String(), What: what, Hint: "see the server's log; the run can be repeated, it goes on where it ended", Err: a.dsn.clean(err)}
}

func (a *applier) failed(e entry, err error) error {
	return &Error{Where: e.Where(), What: fmt.Sprintf("%q failed", e.Short()), Hint: "mend what the server says, and run again: what is done is not done twice", Err: a.dsn.clean(err)}
}

// ofSession are statements that set something for the statements after them, and last for a session. A later run makes them again.
var ofSession = regexp.MustCompile(`(?is)^\s*(SET\s+(SESSION\s+|ROLE\b|NAMES\b|CHARACTER\s+SET\b|CHARSET\b|TIME\s+ZONE\b|@|[\w."` + "`" + `]+\s*(=|:=|TO\b))|RESET\b|SELECT\s+(pg_catalog\s*\.\s*)?set_config\s*\()`)

// point is where a test may end the run.
func (a *applier) point(name string) error {
	if a.edge == nil {
		return nil
	}
	return a.edge(a.at.N, name)
}

func (a *applier) tell(what string) error {
	p := a.at
	p.What = what
	return a.Progress(p)
}

// one brings one statement to its end.
func (a *applier) one(ctx context.Context, e entry) error {
	was, err := a.look(ctx, e)
	if err != nil {
		return err
	}
	if was == stateDone {
		if ofSession.MatchString(masked(e.SQL)) { // that session has ended, and what comes after it relies on it
			if _, err := a.conn.ExecContext(ctx, e.SQL); err != nil {
				return a.failed(e, err)
			}
		}
		return a.tell(saidThere)
	}
	if err := a.point("looked"); err != nil {
		return err
	}
	if was == stateBegun {
		there, err := a.there(ctx, e)
		if err != nil {
			return err
		}
		if there { // it ended before the journal knew
			if err := a.note(ctx, a.conn, e, stateDone); err != nil {
				return err
			}
			return a.tell(saidThere)
		}
	} else if err := a.note(ctx, a.conn, e, stateBegun); err != nil {
		return err
	}
	if err := a.point("begun"); err != nil {
		return err
	}
	wait := a.Backoff
	for try := 1; ; try++ {
		what := "runs"
		if try > 1 {
			what = fmt.Sprintf("waits for its lock, try %d of %d", try, a.Tries)
		}
		if err := a.tell(what); err != nil {
			return err
		}
		err := a.run(ctx, e)
		if err == nil {
			return a.tell(saidDone)
		}
		if errors.Is(err, ErrFenced) || ctx.Err() != nil {
			return err
		}
		var told *toldError
		if errors.As(err, &told) {
			return told.err
		}
		if !lockRefused(err) {
			var ours *Error
			if errors.As(err, &ours) {
				return err
			}
			return a.failed(e, err)
		}
		if try == a.Tries {
			return &Error{Where: e.Where(), What: fmt.Sprintf("%q did not get its lock in %d tries of %v", e.Short(), a.Tries, a.LockTimeout), Hint: "look for long transactions (pg_stat_activity, information_schema.INNODB_TRX), and run again: what is done is not done twice", Err: a.dsn.clean(err)}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait/2 + rand.N(wait)):
		}
		wait = min(2*wait, 30*time.Second)
	}
}

// lockRefused tells whether a statement only did not get its lock, or was in a deadlock: trying again may help.
func lockRefused(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code == "55P03" || pg.Code == "40P01"
	}
	var my *mysql.MySQLError
	return errors.As(err, &my) && (my.Number == 1205 || my.Number == 1213)
}

// run executes the statement and notes that it is done; in one transaction where the database can.
func (a *applier) run(ctx context.Context, e entry) error {
	if a.together(e) {
		tx, err := a.conn.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()        //nolint:errcheck // after a commit it is none
		if a.Dialect == Postgres { // a migration may have set another for the session
			if _, err := tx.ExecContext(ctx, fmt.Sprintf("SET LOCAL lock_timeout='%dms'", a.LockTimeout.Milliseconds())); err != nil {
				return err
			}
		}
		if _, err := tx.ExecContext(ctx, e.SQL); err != nil {
			return err
		}
		if err := a.point("ran"); err != nil {
			return err
		}
		if err := a.note(ctx, tx, e, stateDone); err != nil {
			return err
		}
		if err := tx.Commit(); err != nil {
			return err
		}
		return a.point("noted")
	}
	err := a.patient(ctx, e, func(ctx context.Context) error {
		if err := a.clear(ctx, e); err != nil {
			return err
		}
		return a.execute(ctx, e)
	})
	if err != nil {
		return err
	}
	if err := a.point("ran"); err != nil {
		return err
	}
	if err := a.note(ctx, a.conn, e, stateDone); err != nil {
		return err
	}
	return a.point("noted")
}

// together tells whether a statement and its entry can be one transaction.
func (a *applier) together(e entry) bool {
	if a.Dialect == Postgres {
		return !noTransaction.MatchString(masked(e.SQL))
	}
	return mayTry.MatchString(masked(e.SQL)) && !strings.HasPrefix(verb(e.SQL, 1), "CALL")
}

// declined tells whether a server that was offered a form of a statement does not take it so: another form may do. 4092 is a table that
// was changed by INSTANT too often since it was last written anew.
func declined(my *mysql.MySQLError) bool {
	return my.Number == 1845 || my.Number == 1846 || my.Number == 1221 || my.Number == 4092
}

// execute runs a statement outside a transaction: on MySQL in the mildest form that lets writes go on, if the server takes it.
func (a *applier) execute(ctx context.Context, e entry) error {
	text := masked(e.SQL)
	join := ", "
	isTable := alterTable.MatchString(text)
	if !isTable {
		join = " "
	}
	if a.Dialect == MySQL && (isTable || indexOn.MatchString(text)) && !ownClause.MatchString(text) {
		for _, form := range []string{"ALGORITHM=INSTANT", "ALGORITHM=INPLACE" + join + "LOCK=NONE"} {
			_, err := a.conn.ExecContext(ctx, strings.TrimSpace(e.SQL)+join+form)
			var my *mysql.MySQLError
			if err == nil || !errors.As(err, &my) || !declined(my) && my.Number != 1064 {
				return err
			}
		}
	}
	_, err := a.conn.ExecContext(ctx, e.SQL)
	return err
}
