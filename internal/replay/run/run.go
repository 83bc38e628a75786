// Package run replays captured statements on a server of the new version, and tallies what comes of them.
//
// # Model
//
// A reader takes the segments of all gateways' runs in order of time, event by event. It knows of each captured connection what it was at that moment (client): schema, settings,
// prepared statements, transaction. So it decides what is done with a statement, and hands it to the connection that stands for the captured one (worker), when it is due. A
// statement has two halves, the answer that was captured and the answer of the new version; whichever comes second has them compared. Where they differ, the checkers ask the old version's server, the
// reference, and both again, as compare.Decide wants it; they also time a sample of statements on both.
//
// # Counting
//
// A segment is the unit: what its statements came to is in a tally of its own, which is merged and written down in one atomic write when the last of its statements has ended. Whoever comes after a worker that was
// killed, or whose context ended, replays the segments that were not done, and counts each statement once. Segments that are done, but begin after one that is not, are read again for the state of
// their sessions and the answers in them, and count nothing. Of N workers on one cluster each takes the connections that are its share by a hash.
//
// # Invariants
//
// Nothing is sent but what session.Classify lets pass. A statement that is read ends as replayed, skipped or unreplayable, exactly once. Memory is bounded whatever a statement takes: what
// waits has a budget, and an answer is never held. A late statement gives no times.
//
// # Failure
//
// A server that goes away is found by whoever talks to it, and asked until it is back. At a pace, the statements of the gap are counted as unreplayable; flat out they wait. None is a difference. A
// statement that runs for ten times as long as it did is killed on the server. A context that ends gives the tally so far.
package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/windlass-db/windlass/internal/capture"
	"github.com/windlass-db/windlass/internal/replay/pace"
	"github.com/windlass-db/windlass/internal/replay/session"
	"github.com/windlass-db/windlass/internal/replay/tally"
)

// Config says what is replayed where, and how.
type Config struct {
	Source    Source
	Key       *capture.Key    // of sealed segments; may be nil
	Target    session.Server  // of the new version
	Reference *session.Server // of the old one; may be nil

	Speed float64       // captured seconds in a second; 0: flat out
	Delay time.Duration // of a capture that grows: how much behind it is replayed; 0: it does not grow, and the first statement is due at once
	Share Share
	From  time.Time // captured: what is before counts nothing, and is read for the state of its sessions alone; zero: no bound
	To    time.Time // before it

	Checkpoint Checkpoint // nil: a killed replay begins anew
	Identity   string     // of what is replayed where: a checkpoint of another one is refused

	Connections int           // open on the target at the most; 0: 1000
	Memory      int64         // bytes of statements that wait; 0: 16 MB, flat out 4 MB
	Floor       time.Duration // least time that a statement has before it is killed; 0: 10 s
	Away        time.Duration // how long a server that is away is waited for, flat out; 0: 5 min
	Behind      time.Duration // how late a statement may be, at a pace, before it is skipped; 0: 2 h
	Pairs       bool          // time a sample of statements on target and reference
	Progress    func(Progress)
	Log         *slog.Logger

	started func()        // for tests: when both servers were reached
	every   time.Duration // for tests: how often there is progress
	saves   time.Duration // for tests: how long at the least is between two writes of the checkpoint
	lag     time.Duration // for tests: how far behind the target is
}

// Share is which of the captured connections are replayed here.
type Share struct{ I, N int } // the I-th, from 0, of N; N of 0 is all

// Progress is where a replay stands.
type Progress struct {
	At           time.Time // captured: so far it has come
	Captured     int64
	Replayed     int64
	Skipped      int64
	Unreplayable int64
	Differences  int64
	Open         int // connections
	Waiting      int64
	Away         bool // the target does not answer
	Late         time.Duration
	Elapsed      time.Duration
}

// ErrIdentity says that a checkpoint is of another replay.
var ErrIdentity = errors.New("the checkpoint is of another replay")

// ErrAway says that a server did not come back.
var ErrAway = errors.New("the server did not come back")

// replay is one run.
type replay struct {
	Config
	sched      pace.Schedule
	began      time.Time
	ledger     *ledger
	target     *health
	check      *checkers // nil without a reference
	budget     *semaphore.Weighted
	catching   *semaphore.Weighted // statements that are overdue
	production atomic.Int64        // statements that production had at a time, at the most
	open       atomic.Int64        // connections on the target
	waiting    atomic.Int64
	seen       counters
	workers    sync.WaitGroup
	watch      watch
	dispatch   func(ctx context.Context, w *worker, j *job) error
}

// counters are for Progress; the ledger is what counts.
type counters struct {
	at                                        atomic.Int64 // unix nanoseconds
	captured, replayed, skipped, unreplayable atomic.Int64
	differences                               atomic.Int64
	late                                      atomic.Int64
}

// Run replays until the source is over, and gives the tally. If the context ends before, it gives what was counted until then, with the context's error.
func Run(ctx context.Context, cfg Config) (*tally.Tally, error) {
	r, err := prepare(cfg)
	if err != nil {
		return nil, err
	}
	if c, ok := cfg.Checkpoint.(io.Closer); ok {
		defer c.Close()
	}
	if err := r.ledger.load(ctx); err != nil {
		return nil, err
	}
	if err := r.greet(ctx); err != nil {
		return nil, err
	}
	err = r.run(ctx)
	t := r.ledger.result(time.Now())
	if h, ok := cfg.Source.(interface{ Holes() int64 }); ok {
		t.AddNote("file of the capture that is missing", h.Holes())
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return t, err
}

func prepare(cfg Config) (*replay, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.Connections = max(cfg.Connections, 0)
	if cfg.Connections == 0 {
		cfg.Connections = 1000
	}
	if cfg.Memory <= 0 {
		cfg.Memory = 16 << 20
		if cfg.Speed == 0 && cfg.Delay == 0 { // nothing is read ahead of its time
			cfg.Memory = 4 << 20
		}
	}
	if cfg.Floor <= 0 {
		cfg.Floor = 10 * time.Second
	}
	if cfg.Away <= 0 {
		cfg.Away = 5 * time.Minute
	}
	if cfg.Behind <= 0 {
		cfg.Behind = 2 * time.Hour
	}
	if cfg.Speed < 0 || math.IsNaN(cfg.Speed) || math.IsInf(cfg.Speed, 0) {
		return nil, fmt.Errorf("a speed of %v can't be replayed", cfg.Speed)
	}
	if cfg.Share.N > 0 && (cfg.Share.I < 0 || cfg.Share.I >= cfg.Share.N) {
		return nil, fmt.Errorf("there is no share %d of %d", cfg.Share.I, cfg.Share.N)
	}
	r := &replay{Config: cfg, budget: semaphore.NewWeighted(cfg.Memory), catching: semaphore.NewWeighted(catchingUp), ledger: newLedger(cfg.Checkpoint, cfg.Identity, cfg.Share)}
	r.ledger.follow, r.ledger.apart = cfg.Delay > 0, cmp.Or(cfg.saves, time.Second)
	r.target = newHealth(cfg.Target, cfg.Log)
	r.target.least = cfg.lag
	if cfg.Reference != nil {
		r.check = newCheckers(r)
	}
	return r, nil
}

// greet sees that both servers can be reached before anything is counted.
func (r *replay) greet(ctx context.Context) error {
	servers := []session.Server{r.Target}
	if r.Reference != nil {
		servers = append(servers, *r.Reference)
	}
	for _, s := range servers {
		c, err := session.Open(ctx, s, &session.Env{})
		if err != nil {
			return fmt.Errorf("open a session on %s: %w", s.Name, err)
		}
		c.Close()
	}
	return nil
}

func (r *replay) run(ctx context.Context) error {
	if r.started != nil {
		r.started()
	}
	r.began = time.Now()
	r.ledger.began(r.began)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	background, bctx := errgroup.WithContext(ctx)
	background.Go(func() error { return r.target.run(bctx) })
	background.Go(func() error { return r.watch.run(bctx, r) })
	background.Go(func() error { return r.ledger.run(bctx) })
	if r.check != nil {
		background.Go(func() error { return r.check.run(bctx) })
	}
	if r.Progress != nil {
		background.Go(func() error { return r.tell(bctx) })
	}
	err := r.feed(bctx)
	r.workers.Wait()
	if r.check != nil {
		r.check.finish()
	}
	if err == nil || ctx.Err() != nil { // what is done is done, whoever ended us
		last, stop := context.WithTimeout(context.WithoutCancel(ctx), lastWrite)
		if werr := r.ledger.finish(last, err == nil && ctx.Err() == nil); err == nil {
			err = werr
		}
		stop()
	}
	cancel()
	if werr := background.Wait(); err == nil && werr != nil && !errors.Is(werr, context.Canceled) {
		err = werr
	}
	return err
}

// lastWrite is how long the last write of the checkpoint may take.
const lastWrite = 10 * time.Second

// feed reads the source and hands the statements over, on a thread of its own where there is a pace.
func (r *replay) feed(ctx context.Context) error {
	rd := newReader(r)
	if r.Speed == 0 && r.Delay == 0 {
		r.sched.Start = r.began
		r.dispatch = r.atOnce
		err := rd.run(ctx)
		rd.end()
		return err
	}
	due := make(chan errand, 4096)
	r.dispatch = func(ctx context.Context, w *worker, j *job) error {
		switch {
		case j.op == opRun && time.Since(j.due) > r.Behind: // it would never be caught up
			j.drop(r, tally.SkipQueueFull)
			return nil
		case r.budget.TryAcquire(j.size):
		case time.Since(j.due) > overdue: // after a pause: what is late already may wait
			if err := r.budget.Acquire(ctx, j.size); err != nil {
				return w.refuse(j, err)
			}
		default: // what waits for a server that is too slow: this one would be too late anyway
			j.drop(r, tally.SkipQueueFull)
			return nil
		}
		select {
		case due <- errand{w, j}:
			return nil
		case <-ctx.Done():
			r.budget.Release(j.size)
			return w.refuse(j, ctx.Err())
		}
	}
	var paced sync.WaitGroup
	paced.Go(func() { pacer(ctx, due) })
	err := rd.run(ctx)
	close(due)
	paced.Wait()
	rd.end()
	return err
}

// overdue is how late something is that is due since a pause, as of the replay itself, and not because of the server.
const overdue = 2 * time.Second

// mostCatchingUp is how many statements run at a time that are overdue, or twice as many as production had at a time: after a pause they are many, and production never sent them at once.
const (
	mostCatchingUp = 16
	catchingUp     = 1 << 20 // what they share
)

// errand is a statement on its way to its connection.
type errand struct {
	w *worker
	j *job
}

// pacer hands each statement over when it is due; after the context's end at once, for they all have to end.
func pacer(ctx context.Context, due <-chan errand) {
	defer pace.Thread()()
	for e := range due {
		pace.Until(ctx, e.j.due)
		e.j.handed = time.Now()
		e.w.pushDue(e.j)
	}
}

// atOnce hands a statement over as soon as there is room for it.
func (r *replay) atOnce(ctx context.Context, w *worker, j *job) error {
	if err := r.budget.Acquire(ctx, j.size); err != nil {
		return w.refuse(j, err)
	}
	w.push(j)
	return nil
}

// tell reports progress.
func (r *replay) tell(ctx context.Context) error {
	tick := time.NewTicker(cmp.Or(r.every, time.Second))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			r.Progress(r.progress())
		}
	}
}

func (r *replay) progress() Progress {
	p := Progress{
		Captured: r.seen.captured.Load(), Replayed: r.seen.replayed.Load(), Skipped: r.seen.skipped.Load(), Unreplayable: r.seen.unreplayable.Load(), Differences: r.seen.differences.Load(),
		Open: int(r.open.Load()), Waiting: r.waiting.Load(), Away: r.target.away(), Late: time.Duration(r.seen.late.Load()), Elapsed: time.Since(r.began),
	}
	if at := r.seen.at.Load(); at != 0 {
		p.At = time.Unix(0, at)
	}
	return p
}

// Threads is how many threads may run Go code at the same time, so that who wakes because a statement is due finds one free. A program that replays at a pace sets it at its beginning.
func Threads() { runtime.GOMAXPROCS(max(8, 2*runtime.NumCPU())) }
