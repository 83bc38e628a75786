// Package writes replays the writes of a capture on two clones of one snapshot, of the old and of the new version, and compares what comes of it (H9): each statement's answer, time and effort,
// and in the end every row of every table.
//
// # Model
//
// The clones stand at one GTID position G with equal data, which is proved first. The transactions after G are put into one order, and both clones run them in that order, one statement after the other,
// each captured connection on a connection of its own. So transactions interleave as they did in production: one that read a row before another changed it does so here, too, and a version that refuses
// such an update (1020) is seen. Nothing runs at once, so that neither clone waits for a lock that the order does not explain: a lock wait on one side alone is a finding.
//
// The order is that of the binary log where the capture has the servers' GTIDs; else, and between commits, that in which statements were answered and commits were sent. Result.Order says which it was.
//
// Where answers were seen in another order than the server gave them, a statement may stand before the end of what it waited for: both sides tell so by waiting for a lock, and it is tried again later.
//
// A transaction that fails on one side alone for a conflict, a deadlock or a lock is rolled back there and run again, as its client would: it is counted, and what follows is compared on equal data again.
//
// Before that, each kind of INSERT, UPDATE, DELETE and REPLACE is tried in transactions that are rolled back (Measure), for its time, its effort in rows read, and its plan.
//
// # Invariants
//
//   - Nothing is written to a server that is not proved to be a clone made for this: it replicates from nobody, nobody replicates from it, nobody else is connected, and who calls says so
//     or it carries a mark (Guard).
//   - The clock of each statement is that of production; RAND() has a seed. A write whose value no session can fix (UUID()) is told as such.
//   - captured = replayed + skipped + unreplayable + dropped.
//
// # Failure
//
// An error means that no verdict is given. The clones are then in a state between; make them anew.
package writes

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"time"

	"github.com/windlass-db/windlass/internal/capture"
	"github.com/windlass-db/windlass/internal/datacheck/node"
	"github.com/windlass-db/windlass/internal/replay/conns"
	"github.com/windlass-db/windlass/internal/replay/session"
	"github.com/windlass-db/windlass/internal/replay/tally"
)

// Notes of the tally.
const (
	NoteUUID   = "writes of values that no two runs share (UUID): the clones differ by them"
	NoteInsert = "INSERTs that got another AUTO_INCREMENT number than in production, on both versions"
	NoteError  = "statements that failed on both versions and not in production, or the other way round"
)

// Config is what a replay of writes needs.
type Config struct {
	Old, New session.Server
	// Events gives the capture's blocks, those of one gateway's run in their order.
	Events    func(ctx context.Context) iter.Seq2[capture.Block, error]
	Confirmed bool          // somebody says that both are clones made for this; else they carry the mark
	After     string        // the clones' GTID position; "": as they say themselves
	Since     time.Time     // of a capture without GTIDs: what was answered before is on the clones already
	Statement time.Duration // longest time of a statement; 0: DefaultStatement
	Lock      time.Duration // longest wait for a lock, whole seconds; 0: DefaultLock
	Measure   int           // times that each kind of write is tried before; 0: DefaultMeasure; less than 0: none
	Most      int64         // bytes of statements that are held in memory; 0: DefaultMost
	Progress  func(string)
	Log       *slog.Logger
	Now       func() time.Time
}

// Defaults of what is zero.
const (
	DefaultStatement = 10 * time.Minute
	DefaultLock      = 2 * time.Second
	DefaultMeasure   = 15
	DefaultMost      = 1 << 30
)

// Result is what came of it. The verdict is judge.Judge's over the tally.
type Result struct {
	Tally        *tally.Tally
	Order        string // how the order was found
	Position     string // of the clones
	Transactions int    // that were replayed, those of a single statement included
	Retried      [2]int // transactions that were run again on the old and on the new side
	Tables       int    // that were compared in the end
	Rows         int64  // in them
	Old, New     string // versions
}

// Run replays.
func Run(ctx context.Context, cfg Config) (_ *Result, err error) {
	cfg = cfg.filled()
	r := &run{Config: cfg, out: &Result{Tally: &tally.Tally{}}, lanes: map[conns.Key]*lane{}, tried: map[tally.Fingerprint]*tried{}}
	r.out.Tally.Began = cfg.Now()
	defer func() { r.close() }()
	if err := r.connect(ctx); err != nil {
		return nil, err
	}
	cfg.Progress("comparing the clones as they are")
	if err := r.equal(ctx); err != nil {
		return nil, err
	}
	cfg.Progress("reading the capture")
	steps, err := r.load(ctx)
	if err != nil {
		return nil, err
	}
	if cfg.Measure > 0 {
		cfg.Progress("trying each kind of write, and rolling it back")
		if err := r.measureAll(ctx, steps); err != nil {
			return nil, err
		}
	}
	if err := r.replay(ctx, steps); err != nil {
		return nil, err
	}
	cfg.Progress("comparing the tables")
	if err := r.tables(ctx); err != nil {
		return nil, err
	}
	r.out.Tally.Ended = cfg.Now()
	return r.out, nil
}

func (c Config) filled() Config {
	if c.Statement == 0 {
		c.Statement = DefaultStatement
	}
	if c.Lock == 0 {
		c.Lock = DefaultLock
	}
	if c.Measure == 0 {
		c.Measure = DefaultMeasure
	}
	if c.Most == 0 {
		c.Most = DefaultMost
	}
	if c.Progress == nil {
		c.Progress = func(string) {}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// run is one call of Run. Of pairs, the first is the old side.
type run struct {
	Config
	out   *Result
	ctl   [2]*node.Conn
	after position
	lanes map[conns.Key]*lane
	tried map[tally.Fingerprint]*tried
	start []string // how the definitions differ before anything is replayed
}

func (r *run) servers() [2]session.Server { return [2]session.Server{r.Old, r.New} }

// connect sees that both are clones at one position.
func (r *run) connect(ctx context.Context) error {
	var position [2]string
	for i, s := range r.servers() {
		c, err := open(ctx, s)
		if err != nil {
			return err
		}
		r.ctl[i] = c
		if err := Guard(ctx, c, r.Confirmed); err != nil {
			return err
		}
		if err := c.One(ctx, flavourOf(c).position, &position[i]); err != nil {
			return fmt.Errorf("read the position of %s: %w", s.Name, err)
		}
	}
	r.out.Old, r.out.New = r.ctl[0].Version, r.ctl[1].Version
	if r.ctl[0].MariaDB != r.ctl[1].MariaDB {
		return fmt.Errorf("%s is %s and %s is %s: clones of one snapshot are of one product", r.Old.Name, r.out.Old, r.New.Name, r.out.New)
	}
	same, err := r.same(ctx)
	if err != nil {
		return err
	}
	if same {
		return fmt.Errorf("%w: %s and %s are one server", ErrNoClone, r.Old.Name, r.New.Name)
	}
	if r.After == "" {
		if position[0] != position[1] {
			return fmt.Errorf("%s stands at %q and %s at %q: make both from one snapshot, or say with its position where they began", r.Old.Name, position[0], r.New.Name, position[1])
		}
		r.After = position[0]
	}
	r.out.Position = r.After
	r.after, err = parsePosition(r.After)
	return err
}

func (r *run) same(ctx context.Context) (bool, error) {
	var id [2]string
	for i, c := range r.ctl {
		if err := c.One(ctx, "SELECT CONCAT_WS(' ', @@hostname, @@port, @@datadir)", &id[i]); err != nil {
			return false, fmt.Errorf("tell %s from the other: %w", c.Node.Name, err)
		}
	}
	return id[0] == id[1], nil
}

// ErrUnequal means that the clones' data differ before anything was replayed.
var ErrUnequal = errors.New("the clones are not equal")

func (r *run) close() {
	for _, l := range r.lanes {
		l.close()
	}
	for _, c := range r.ctl {
		c.Close()
	}
}
