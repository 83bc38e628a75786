// Package datacheck compares the data of two cells, row by row and at one and the same GTID position, before anybody
// trusts the new one (B6). It implements bluegreen.DataChecker.
//
// # Model
//
// One server of the old cell is the reference: a replica if the cell has one, else its primary. Every replica of the new
// cell is compared with it. A round begins by opening consistent snapshots at one position (trap 35): the reference opens
// its snapshot and tells its exact position, without stopping and without a lock; the others were stopped just before it,
// run until exactly that position, open theirs, and go on at once. Chunks of rows are then compared inside the snapshots
// for as long as the round lasts, so reads and replication go on meanwhile. A round ends when it is old, when a table's
// definition changed under it, or with its process; the next one goes on from the cursor at a new position. What was
// compared keeps its verdict together with the position it holds for.
//
// A chunk is a range of the table's key. Both servers give its number of rows and one hash over all of them; if they
// differ, the range is halved until it names the rows. A table without a key is compared as a whole, as a multiset.
//
// # Invariants
//
//   - The primary is never stopped, and never read while its cell has a replica.
//   - Before an applier is stopped, the status says so. Whoever runs next with that status starts it again; if nobody does, since the
//     action was aborted meanwhile, Release does, and nothing else is started by it.
//   - Appliers run when Compare returns, whatever it returns; one that did not run before is not touched but is an error.
//   - Both sessions have the same time zone, SQL mode and character set, and every type is hashed in a form that both
//     versions print alike.
//   - No table stays in use between two chunks: a change of its definition that is replicated need not wait for us.
//
// # Failures
//
// An error means unknown. A difference is no error but a failed check, which names table, key range, server and keys.
package datacheck

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/datacheck/catalog"
	"github.com/windlass-db/windlass/internal/datacheck/node"
	"github.com/windlass-db/windlass/internal/fleet"
)

// Defaults of what is zero.
const (
	DefaultChunkRows = 5000
	DefaultMaxLag    = 30 * time.Second
	DefaultKeyless   = 4 << 30
	DefaultRound     = 10 * time.Minute
	DefaultSettle    = 15 * time.Minute
	DefaultExamples  = 5
)

// Config is what a Checker needs.
type Config struct {
	Access node.Access
	// Reserved are users, beside the server's own and ours, that may differ between servers.
	Reserved []string
	Keyless  int64         // largest table without a key that is compared, in bytes; 0: DefaultKeyless
	Round    time.Duration // longest life of a snapshot; 0: DefaultRound
	Settle   time.Duration // longest time until all servers stand at one position; 0: DefaultSettle
	Examples int           // keys that are named for each table and server; 0: DefaultExamples
	Every    time.Duration // between two saves; 0: 2 s
	Log      *slog.Logger
	Now      func() time.Time
}

// Checker compares cells.
type Checker struct {
	cfg Config
	log *slog.Logger
}

var _ bluegreen.DataChecker = (*Checker)(nil)

// New makes a Checker.
func New(cfg Config) (*Checker, error) {
	if cfg.Access == nil {
		return nil, errors.New("datacheck: access to the nodes is needed")
	}
	for _, d := range []struct{ set, to *time.Duration }{{&cfg.Round, ptr(DefaultRound)}, {&cfg.Settle, ptr(DefaultSettle)}, {&cfg.Every, ptr(2 * time.Second)}} {
		if *d.set == 0 {
			*d.set = *d.to
		}
	}
	if cfg.Keyless == 0 {
		cfg.Keyless = DefaultKeyless
	}
	if cfg.Examples == 0 {
		cfg.Examples = DefaultExamples
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Checker{cfg: cfg, log: cfg.Log}, nil
}

func ptr[T any](v T) *T { return &v }

// errAgain ends a round that can't go on: the next one does.
var errAgain = errors.New("the round is over")

// Compare goes on from status and compares everything that it does not know to have been compared.
func (k *Checker) Compare(ctx context.Context, c fleet.Cluster, fromCell, toCell string, v campaign.Verify, status json.RawMessage, save bluegreen.Save) (_ check.Results, err error) {
	if v.ChunkRows <= 0 {
		v.ChunkRows = DefaultChunkRows
	}
	if v.MaxLag <= 0 {
		v.MaxLag = DefaultMaxLag
	}
	r := &run{Checker: k, v: v, save: save, log: k.log.With("cluster", c.Ref().String())}
	if r.status, err = decode(status); err != nil {
		return nil, err
	}
	defer func() {
		if aerr := r.end(ctx); aerr != nil {
			err = errors.Join(err, aerr)
		}
	}()
	if err := r.connect(ctx, c, fromCell, toCell); err != nil {
		return nil, err
	}
	for {
		err := r.round(ctx)
		if err == nil {
			break
		}
		if !errors.Is(err, errAgain) {
			return nil, err
		}
		if r.idle++; r.idle > 5 {
			return nil, fmt.Errorf("five rounds ended before one chunk could be compared: %w", err)
		}
	}
	for _, s := range r.sides() { // one that has stopped meanwhile is an error, though its rows were compared
		if s.replica {
			if err := s.ctl.Running(ctx); err != nil {
				return nil, err
			}
		}
	}
	if err := r.tell(ctx, true, "compared"); err != nil {
		return nil, err
	}
	return r.results(), nil
}

// run is one call of Compare.
type run struct {
	*Checker
	v      campaign.Verify
	save   bluegreen.Save
	log    *slog.Logger
	status Status

	ref  *side    // gives the position
	subs []*side  // compared with it
	old  bool     // the reference is the old cell's
	me   []string // accounts that we are logged in as

	position            string
	opened              time.Time
	seqBefore, seqAfter map[string]sequence // of the reference, around its snapshot
	differs             []difference        // definitions, as of the last round
	autos               []check.Result
	compared            int64 // bytes of the tables that are done
	idle                int   // rounds in a row without a compared chunk
	saved               time.Time
	lagged              time.Time // when the delay was looked at last
}

// side is one server.
type side struct {
	name      string
	replica   bool
	ctl       *node.Conn // looks at and moves the applier
	data      *node.Conn // holds the snapshot
	catalog   *catalog.Catalog
	tables    map[string]*catalog.Table
	sequences map[string]sequence
}

func (r *run) sides() []*side { return append([]*side{r.ref}, r.subs...) }

// round opens snapshots and compares tables until it is over.
func (r *run) round(ctx context.Context) error {
	if err := r.throttle(ctx); err != nil { // a delayed server would take long to come to the position
		return err
	}
	if err := r.open(ctx); err != nil {
		return err
	}
	defer r.closeSnapshots()
	r.status.Rounds = slices.DeleteFunc(r.status.Rounds, func(x Round) bool { return x.Chunks == 0 })
	r.status.Rounds = append(r.status.Rounds, Round{Position: r.position, At: r.opened})
	if err := r.tell(ctx, true, "comparing at "+r.position); err != nil {
		return err
	}
	names := make([]string, 0, len(r.ref.tables))
	for name := range r.ref.tables {
		names = append(names, name)
	}
	slices.Sort(names)
	r.status.AllTables, r.status.AllBytes, r.compared = len(names), 0, 0
	for _, name := range names {
		r.status.AllBytes += weight(r.ref.tables[name])
		if slices.Contains(r.status.Done, name) {
			r.compared += weight(r.ref.tables[name])
		}
	}
	for _, name := range names {
		if slices.Contains(r.status.Done, name) {
			continue
		}
		if err := r.table(ctx, r.ref.tables[name]); err != nil {
			return err
		}
		// It counts as done before the round may end: a table that is compared whole would begin anew for ever.
		r.status.Done = append(r.status.Done, name)
		r.status.Cursor = nil
		r.compared += weight(r.ref.tables[name])
		r.status.Bytes = r.compared
		r.idle = 0
		if err := r.between(ctx, name+" is compared"); err != nil {
			return err
		}
	}
	return r.counters()
}

// weight is a table's share of the progress.
func weight(t *catalog.Table) int64 { return max(t.Bytes, 1) }
