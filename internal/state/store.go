// Package state keeps what the control plane knows: fleet, campaigns, progress, actions with their journals, events.
//
// Model: every transition happens in one transaction together with its event row. An action is leased under a term that
// grows with every lease of its cluster; each journal write checks the term in its own transaction and answers
// engine.ErrFenced to a holder whose term is old. A unique index allows one live action for a cluster. The SQL is the same
// for SQLite and PostgreSQL; what differs between them is in dialect.go. Both have one writer at a time.
//
// Failure handling: a write that is cut off by a kill is not there after the restart, and its caller repeats it; all
// of them are safe to repeat. A state that a newer release has written is refused. After a start no lease is taken over
// for one lease time, because holders could not heartbeat while the server was away (trap 6).
package state

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Sentinels that callers decide by.
var (
	ErrNotFound = errors.New("not found")
	ErrConflict = errors.New("not possible now")
	ErrLaunched = errors.New("this launch has been done already")
	ErrUnseen   = errors.New("this launch waits for the first looks at the clusters")
)

// Refused is a request that the state's rules forbid, with the safe alternative.
type Refused struct {
	What string
	Hint string
}

// Error says what is refused.
func (r *Refused) Error() string { return r.What }

// ErrorHint says what to do instead.
func (r *Refused) ErrorHint() string { return r.Hint }

// Is makes every refusal an ErrConflict.
func (r *Refused) Is(target error) bool { return target == ErrConflict }

// DecideFunc is campaign.Decide.
type DecideFunc func(s campaign.Snapshot, now time.Time) []campaign.Decision

// Options are settings of Open.
type Options struct {
	LeaseTTL time.Duration    // how long a lease lasts without a heartbeat; 0: 15 s
	Now      func() time.Time // the state's clock; nil: the machine's, and the database's with PostgreSQL
}

// Store is the state in one database. Its methods may be called from anywhere.
type Store struct {
	place       string // for messages, without secrets
	write, read *sql.DB
	dialect     dialect
	leaseTTL    time.Duration
	clock       func() time.Time // nil: the machine's, as far off as ahead says
	ahead       atomic.Int64     // nanoseconds by which the database's clock is ahead of this machine's
	opened      time.Time
	clocks      clocks // of supervisors, that were told to be wrong
	wake        *notifier
}

// Open opens the state and brings its tables up to date. place is the path of a SQLite file, which is made if it is not there, or the URL
// of a PostgreSQL database, "postgres://user@host/database", which several servers may share.
func Open(ctx context.Context, place string, o Options) (*Store, error) {
	if o.LeaseTTL == 0 {
		o.LeaseTTL = 15 * time.Second
	}
	s := &Store{leaseTTL: o.LeaseTTL, clock: o.Now, wake: newNotifier()}
	open := s.openSQLite
	if IsPostgres(place) {
		open = s.openPostgres
	}
	if err := open(ctx, place); err != nil {
		return nil, explain(Redacted(place), err)
	}
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(explain(s.place, err), s.Close())
	}
	return s, nil
}

// prepare checks the database and brings it up to date.
func (s *Store) prepare(ctx context.Context) error {
	if err := s.upToDate(ctx); err != nil {
		return err
	}
	if err := s.update(ctx, func(*sql.Tx) error { return nil }); err != nil { // tells what the database's clock shows
		return err
	}
	s.opened = s.Now()
	return nil
}

// Now is what the state's clock shows: with PostgreSQL the database's, so that servers whose clocks differ agree on leases.
func (s *Store) Now() time.Time {
	if s.clock != nil {
		return s.clock()
	}
	return time.Now().Add(time.Duration(s.ahead.Load()))
}

// Close closes the database.
func (s *Store) Close() error { return errors.Join(s.write.Close(), s.read.Close()) }

// upToDate checks the database and migrates it, one server at a time.
func (s *Store) upToDate(ctx context.Context) (err error) {
	if s.dialect.alone != nil {
		release, err := s.dialect.alone(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = release() }() // closing a folder that was opened for reading
	}
	if err := s.dialect.check(ctx, s.write); err != nil {
		return err
	}
	return s.migrate(ctx)
}

func (s *Store) migrate(ctx context.Context) error {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	p, err := s.dialect.provider(s.write, sub)
	if err != nil {
		return fmt.Errorf("prepare the state's tables: %w", err)
	}
	known := p.ListSources()
	newest := known[len(known)-1].Version
	version, err := p.GetDBVersion(ctx)
	if err != nil {
		return fmt.Errorf("read the version of the state %s: %w", s.place, err)
	}
	if version > newest {
		return &Refused{fmt.Sprintf("the state %s was written by a newer release: its version is %d, this release knows up to %d", s.place, version, newest), "run the newer release, or restore the state from a backup made before it"}
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("bring the state %s up to date: %w", s.place, err)
	}
	return nil
}

// update runs fn in one write transaction.
func (s *Store) update(ctx context.Context, fn func(*sql.Tx) error) error {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return explain(s.place, fmt.Errorf("begin: %w", err))
	}
	err = s.dialect.begun(ctx, tx, &s.ahead)
	if err == nil {
		err = fn(tx)
	}
	if err != nil {
		return explain(s.place, errors.Join(err, ignoreDone(tx.Rollback())))
	}
	if err := tx.Commit(); err != nil {
		return explain(s.place, fmt.Errorf("commit: %w", err))
	}
	s.wake.tell()
	return nil
}

// view runs fn in one read transaction: all that it reads is of one moment.
func (s *Store) view(ctx context.Context, fn func(*sql.Tx) error) error {
	tx, err := s.read.BeginTx(ctx, &s.dialect.look)
	if err != nil {
		return explain(s.place, fmt.Errorf("begin: %w", err))
	}
	return explain(s.place, errors.Join(fn(tx), ignoreDone(tx.Rollback())))
}

func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

// text encodes a value for a column. The types that are kept are ours and always encode.
func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("state: %T can't be encoded: %v", v, err))
	}
	return string(b)
}

func decode[T any](s string) (T, error) {
	var v T
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		return v, fmt.Errorf("the state holds an unreadable %T: %w", v, err)
	}
	return v, nil
}

// optional decodes a column that may be empty.
func optional[T any](s sql.NullString) (*T, error) {
	if !s.Valid || s.String == "" || s.String == "null" {
		return nil, nil
	}
	v, err := decode[T](s.String)
	return &v, err
}

// rows scans every row of a query.
func rows[T any](ctx context.Context, tx *sql.Tx, scan func(*sql.Rows) (T, error), query string, args ...any) ([]T, error) {
	r, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var all []T
	for r.Next() {
		v, err := scan(r)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, r.Err()
}
