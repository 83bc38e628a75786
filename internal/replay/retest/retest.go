// Package retest runs suspects, statements that seemed to be answered otherwise by the new version, again on frozen data: in consistent snapshots of both versions at one
// and the same GTID position. What differs there is real, what does not was moving data, and what differs from itself is volatile.
//
// # Model
//
// A round opens the snapshots as the data check does (docs/design/data-check.md): the old side opens its own and tells its exact position, without a lock and without being stopped, on MySQL, too
// (node.SnapshotFor); the new side's replica was stopped just before, runs until exactly that position, opens its snapshot, and goes on at once. Each suspect is then run on both in its session's context. If the answers
// differ, compare.Decide says who is asked again. A round ends when its snapshots are old; the next one goes on with the suspects that are left, at a new position.
//
// # Invariants
//
//   - The old side is never stopped (trap 37).
//   - Before the new side's applier is stopped, the status says so. Whoever runs next with that status starts it again; if nobody does, Release does.
//   - Nothing but reads is run, in transactions that are READ ONLY (trap 38).
//   - A table that has no snapshot (not InnoDB), or whose definition changed meanwhile, decides nothing: its suspects stay unknown, and are neither confirmed nor cleared.
//
// # Failure
//
// An error means unknown: what was decided before it is in the status. The applier runs when Run returns, whatever it returns. One that somebody else stopped is an error, and is not started.
package retest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/windlass-db/windlass/internal/datacheck/node"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/query"
	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/replay/probe"
	"github.com/windlass-db/windlass/internal/replay/session"
	"github.com/windlass-db/windlass/internal/replay/tally"
)

// Defaults of what is zero.
const (
	DefaultRound     = 5 * time.Minute
	DefaultSettle    = 5 * time.Minute
	DefaultQuiet     = 10 * time.Second // the new side stands still meanwhile
	DefaultStatement = time.Minute
	DefaultRows      = 20
)

// Side is one server.
type Side struct {
	Name    string
	Control *mysql.Config // the account that reads positions and, on the new side, stops and starts the applier
	Query   *mysql.Config // the account that suspects are run with; it needs to read alone
}

// Save persists a status, progress from 0 to 1, and what is going on.
type Save func(ctx context.Context, status any, progress float64, message string) error

// Config is what a retest needs.
type Config struct {
	Old, New  Side
	Round     time.Duration // longest life of a snapshot; 0: DefaultRound
	Settle    time.Duration // longest time until the new side stands at the position; 0: DefaultSettle
	Quiet     time.Duration // longest look for a moment in which MySQL's old side tells where its snapshot stands; 0: DefaultQuiet
	Statement time.Duration // longest time of one statement; 0: DefaultStatement
	Rows      int           // first rows that are kept as evidence; 0: DefaultRows
	Save      Save          // nil: nothing is kept, and a kill leaves the applier stopped
	Log       *slog.Logger
	Now       func() time.Time
}

// Status is what is persisted: with it a killed retest goes on.
type Status struct {
	// Stopped is the node whose applier was about to be stopped, or is. Whoever reads it starts it.
	Stopped []string `json:"stopped,omitempty"`
	Rounds  []Round  `json:"rounds,omitempty"`
	Done    []Tested `json:"done,omitempty"`
}

// Round is a time at one position.
type Round struct {
	Position string        `json:"position"`
	At       time.Time     `json:"at"`
	Held     time.Duration `json:"held"` // how long the new side's applier stood still, or ran on its way to the position
	Tested   int           `json:"tested"`
}

// Tested is what came of one suspect.
type Tested struct {
	tally.Retest
	Position string        `json:"position,omitempty"`
	Cause    compare.Cause `json:"cause"`
	Why      string        `json:"why,omitempty"` // of one that could not be decided
}

// errAgain ends a round that can't go on: the next one does.
var errAgain = errors.New("the round is over")

// errReopen ends a round at once: what its sessions hold is not known any more.
var errReopen = fmt.Errorf("%w, and its sessions are of no use", errAgain)

// mostRounds bounds rounds in a row in which nothing could be decided.
const mostRounds = 5

// Run tests all suspects that the status does not know to have been tested.
func Run(ctx context.Context, cfg Config, suspects []tally.Suspect, status json.RawMessage) (_ []Tested, err error) {
	r := &run{Config: cfg.filled(), refused: map[string]string{}}
	if r.status, err = decode(status); err != nil {
		return nil, err
	}
	defer func() {
		if e := r.end(ctx); e != nil {
			err = errors.Join(err, e)
		}
	}()
	if err := r.connect(ctx); err != nil {
		return r.status.Done, err
	}
	r.all = len(suspects)
	idle := 0
	for {
		left := r.left(suspects)
		if len(left) == 0 {
			return r.status.Done, r.tell(ctx, "tested")
		}
		before := len(r.status.Done)
		err := r.round(ctx, left)
		if err != nil && !errors.Is(err, errAgain) {
			return r.status.Done, err
		}
		if idle++; len(r.status.Done) > before {
			idle = 0
		}
		if idle == mostRounds {
			return r.status.Done, fmt.Errorf("%d rounds ended before one suspect could be decided: %w", idle, err)
		}
	}
}

func (c Config) filled() Config {
	for _, d := range []struct {
		set *time.Duration
		to  time.Duration
	}{{&c.Round, DefaultRound}, {&c.Settle, DefaultSettle}, {&c.Quiet, DefaultQuiet}, {&c.Statement, DefaultStatement}} {
		if *d.set == 0 {
			*d.set = d.to
		}
	}
	if c.Rows == 0 {
		c.Rows = DefaultRows
	}
	if c.Save == nil {
		c.Save = func(context.Context, any, float64, string) error { return nil }
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// run is one call of Run.
type run struct {
	Config
	status Status
	all    int

	old, new *node.Conn // control
	a, b     *probe.Session
	refused  map[string]string // sessions' settings that a server does not take, and why
	loose    []string          // tables of either side without a snapshot, by their names alone
	opened   time.Time
}

// left are the suspects that are not tested.
func (r *run) left(suspects []tally.Suspect) []tally.Suspect {
	var out []tally.Suspect
	for _, s := range suspects {
		if !slices.ContainsFunc(r.status.Done, func(t Tested) bool { return t.of(s) && s.Count <= 2*t.Count }) { // of one that has outgrown its test since, nothing is known
			out = append(out, s)
		}
	}
	return out
}

// of reports whether it is about that suspect.
func (t Tested) of(s tally.Suspect) bool {
	return t.Fingerprint == s.Fingerprint && t.Kind == s.Kind && t.ID == s.ID
}

// Decided reports whether frozen data has said something: the suspect ran on both sides, and was confirmed, or cleared.
func (t Tested) Decided() bool {
	switch t.Cause {
	case compare.Real:
		return t.Confirmed
	case compare.Moved:
		return !t.Confirmed
	case compare.Volatile:
		return !t.Confirmed && t.Old != nil && t.New != nil
	}
	return false
}

// Tell gives what was decided to the tally that the suspects are from. The others stay suspects.
func Tell(t *tally.Tally, done []Tested) {
	for _, d := range done {
		if d.Decided() {
			t.AddRetest(d.Retest)
		}
	}
}

// unfit says why a statement is not run here; "" if it is.
func unfit(s tally.Suspect) (compare.Cause, string) {
	mode := session.Modes([]byte(s.Statement.SQLMode), query.Mode{})
	t := query.Look(s.Statement.Text, mode) // of the text itself: nothing that anybody noted lets a write through
	_, normal := query.Fingerprint(nil, s.Statement.Text, mode)
	if c := session.Classify(s.Statement.Text, normal, t); c.Kind != session.Read || c.Variables || c.FoundRows {
		return compare.Unknown, "it is no read that stands for itself"
	}
	switch {
	case t.Any(query.OwnSession | query.OwnServer):
		return compare.Unknown, "what it reads belongs to its own session or server"
	case t.Any(query.Volatile):
		return compare.Volatile, "no two runs of it are equal"
	}
	return "", ""
}

// round opens snapshots and tests suspects until it is over.
func (r *run) round(ctx context.Context, left []tally.Suspect) error {
	if err := r.open(ctx); err != nil {
		return err
	}
	defer r.closeSnapshots()
	at := &r.status.Rounds[len(r.status.Rounds)-1]
	again := error(nil)
	for _, s := range left {
		if r.Now().Sub(r.opened) > r.Round {
			return errAgain
		}
		t, err := r.test(ctx, s, at.Position)
		if errors.Is(err, errReopen) {
			return err
		}
		if errors.Is(err, errAgain) && ctx.Err() == nil { // a definition changed: the next round sees it
			again = err
			continue
		}
		if err != nil {
			return err
		}
		at.Tested++
		r.status.Done = append(slices.DeleteFunc(r.status.Done, func(o Tested) bool { return o.of(s) }), t)
		if err := r.tell(ctx, "testing at "+at.Position); err != nil {
			return err
		}
	}
	return again
}

// tell persists the status.
func (r *run) tell(ctx context.Context, message string) error {
	progress := 0.0
	if r.all > 0 {
		progress = min(1, float64(len(r.status.Done))/float64(r.all))
	}
	if err := r.Save(ctx, r.status, progress, message); err != nil {
		return fmt.Errorf("persist the retest's status: %w", err)
	}
	return nil
}

func decode(status json.RawMessage) (st Status, err error) {
	if len(status) == 0 {
		return st, nil
	}
	if err := json.Unmarshal(status, &st); err != nil {
		return st, fmt.Errorf("the retest's status can't be read: %w", err)
	}
	return st, nil
}

// control connects with a side's own account.
func control(ctx context.Context, s Side) (*node.Conn, error) {
	access := func(context.Context, fleet.Node) (*mysql.Config, error) { return s.Control, nil }
	return node.Open(ctx, access, fleet.Node{Name: s.Name, Address: s.Control.Addr})
}

func (s Side) server() session.Server { return session.Server{Name: s.Name, Config: s.Query} }
