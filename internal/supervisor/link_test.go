package supervisor_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/engine/enginetest"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/state"
	"github.com/windlass-db/windlass/internal/strategy"
	"github.com/windlass-db/windlass/internal/supervisor"
)

// These tests run on a virtual clock: a lease of a minute costs no time, and "before" and "after" are exact.

const ttl = time.Minute

var errAway = errors.New("the server is away")

// link is one supervisor's connection to the journal, which can be cut: requests then hang until their time is up.
type link struct {
	*enginetest.Memory
	actions []int64

	mu   sync.Mutex
	cut  bool
	asks []time.Time // when work was asked for
	beat time.Time   // begin of the last request that prolonged the lease
}

func (l *link) set(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = cut
}

func (l *link) away(ctx context.Context) error {
	l.mu.Lock()
	cut := l.cut
	l.mu.Unlock()
	if !cut {
		return nil
	}
	<-ctx.Done()
	return fmt.Errorf("%w: %w", errAway, ctx.Err())
}

// No cluster of these tests is ever seen without a primary.
func (l *link) BeginMend(context.Context, string, string) (*state.Mend, error) { return nil, nil }

func (l *link) EndMend(context.Context, string, int64, state.Mended) error { return nil }

func (l *link) note() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.beat = time.Now()
}

func (l *link) Lease(ctx context.Context, _ string, _ []engine.KindVersion) (*engine.Assignment, error) {
	l.mu.Lock()
	l.asks = append(l.asks, time.Now())
	l.mu.Unlock()
	if err := l.away(ctx); err != nil {
		return nil, err
	}
	for _, id := range l.actions {
		if a, ok := l.Memory.Lease(id); ok {
			l.note()
			return &a, nil
		}
	}
	return nil, nil
}

func (l *link) Heartbeat(ctx context.Context, id, term int64) (bool, error) {
	began := time.Now()
	if err := l.away(ctx); err != nil {
		return false, err
	}
	abort, err := l.Memory.Heartbeat(ctx, id, term)
	if err == nil {
		l.mu.Lock()
		l.beat = began
		l.mu.Unlock()
	}
	return abort, err
}

func (l *link) Record(ctx context.Context, id, term int64, rec engine.StepRecord) (bool, error) {
	if err := l.away(ctx); err != nil {
		return false, err
	}
	return l.Memory.Record(ctx, id, term, rec)
}

func (l *link) Turn(ctx context.Context, id, term int64, reason string) error {
	if err := l.away(ctx); err != nil {
		return err
	}
	return l.Memory.Turn(ctx, id, term, reason)
}

func (l *link) Release(ctx context.Context, id, term int64, d time.Duration) error {
	if err := l.away(ctx); err != nil {
		return err
	}
	return l.Memory.Release(ctx, id, term, d)
}

func (l *link) Finish(ctx context.Context, id, term int64, o engine.Outcome, msg string) error {
	if err := l.away(ctx); err != nil {
		return err
	}
	return l.Memory.Finish(ctx, id, term, o, msg)
}

func (l *link) Watched(ctx context.Context) ([]api.Watched, error) { return nil, l.away(ctx) }

func (l *link) Observe(ctx context.Context, _ string, _ fleet.Observation) error { return l.away(ctx) }

// journal holds n actions of one step, each of a cluster of its own.
func journal(n int) (*enginetest.Memory, []int64) {
	m := enginetest.NewMemory(time.Now)
	var ids []int64
	for i := range n {
		id := int64(i + 1)
		ids = append(ids, id)
		m.Add(engine.Assignment{ActionID: id, LeaseTTL: ttl, Cluster: fleet.Cluster{Env: "qa", Name: fmt.Sprintf("c%02d", i)},
			Plan: strategy.Plan{Strategy: "toy", Stage: "stage", Direction: strategy.Forward, Steps: []strategy.Step{{Kind: "a", Version: 1, Does: "do a", Undoes: "undo a", Deadline: 12 * time.Hour}}}})
	}
	return m, ids
}

// target is what the step changes. It keeps the highest term that it has seen, as every real one does (trap 1).
type target struct {
	mu   sync.Mutex
	term int64
	done bool
	acts int // how often an act began
}

func (w *target) handlers(act func(ctx context.Context, c *engine.Call) error) engine.Handlers {
	h := engine.Handler{Kind: "a", Version: 1}
	h.Forward.Observe = func(context.Context, *engine.Call) (engine.Observation, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		return engine.Observation{There: w.done}, nil
	}
	h.Forward.Do = func(ctx context.Context, c *engine.Call) (engine.Result, error) {
		w.mu.Lock()
		w.acts++
		w.mu.Unlock()
		if err := act(ctx, c); err != nil {
			return engine.Result{}, err
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if c.Term < w.term {
			return engine.Result{}, engine.ErrFenced
		}
		w.term, w.done = c.Term, true
		return engine.Result{Message: "done"}, nil
	}
	h.Back = engine.Act{Observe: h.Forward.Observe, Do: func(context.Context, *engine.Call) (engine.Result, error) { return engine.Result{}, nil }}
	hs, err := engine.NewHandlers(h)
	if err != nil {
		panic(err)
	}
	return hs
}

// pass lets that much time pass, and everybody come to rest.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// start runs a supervisor until the returned function is called, or the test ends; it waits for the supervisor's end.
func start(t *testing.T, name string, server supervisor.Server, hs engine.Handlers) (stop func()) {
	s := supervisor.New(supervisor.Config{Name: name, Env: "qa", Server: server, Handlers: hs, Log: slog.New(slog.DiscardHandler), Now: time.Now, Slots: 1,
		Observer: lookFunc(func(context.Context, api.Watched) fleet.Observation { return fleet.Observation{} })})
	run, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- s.Run(run) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("supervisor %s: %v", name, err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// The heartbeats are lost: the act's context ends before the lease does, nothing is written after that, and when the server
// is back the action is taken up again under the next term.
func TestAnActEndsBeforeItsLease_trap6(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, ids := journal(1)
		l := &link{Memory: m, actions: ids}
		w := &target{}
		var ended time.Time
		hs := w.handlers(func(ctx context.Context, c *engine.Call) error {
			if c.Term > 1 {
				return nil
			}
			time.Sleep(5 * time.Minute) // heartbeats keep the lease that long
			if ctx.Err() != nil {
				t.Error("the act was stopped though the heartbeats were answered")
			}
			l.set(true)
			<-ctx.Done()
			ended = time.Now()
			return ctx.Err()
		})
		stop := start(t, "qa-1", l, hs)
		pass(5*time.Minute + 2*ttl)
		if end := l.beat.Add(ttl); ended.IsZero() || !ended.Before(end) {
			t.Errorf("the act ended at %v, its lease at %v", ended, end)
		}
		rows := len(m.Rows())
		pass(time.Hour)
		if n := len(m.Rows()); n != rows || w.done {
			t.Errorf("%d rows were written without a lease: %+v", n-rows, m.Rows())
		}
		l.set(false)
		pass(2 * time.Minute)
		if o, _ := m.Ended(1); o != engine.Completed || w.term < 2 {
			t.Errorf("ended as %q under term %d", o, w.term)
		}
		stop()
	})
}

// The server is gone for less than a lease: the act goes on as if nothing were. It is gone for long: the supervisor holds,
// begins no act without a lease, asks again with bounded pauses, and goes on when the server is back.
func TestTheServerIsGoneForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, ids := journal(2)
		l := &link{Memory: m, actions: ids[:1]}
		w := &target{}
		hs := w.handlers(func(ctx context.Context, c *engine.Call) error {
			l.set(true)
			time.Sleep(ttl / 3)
			l.set(false)
			time.Sleep(10 * time.Minute)
			return ctx.Err()
		})
		stop := start(t, "qa-1", l, hs)
		pass(12 * time.Minute)
		if o, _ := m.Ended(1); o != engine.Completed || w.acts != 1 {
			t.Fatalf("after a short absence: ended as %q after %d acts", o, w.acts)
		}
		stop()

		w = &target{}
		l = &link{Memory: m, actions: ids[1:], cut: true}
		stop = start(t, "qa-2", l, w.handlers(func(context.Context, *engine.Call) error { return nil }))
		pass(6 * time.Hour)
		if w.acts != 0 || w.done {
			t.Errorf("%d acts without a lease", w.acts)
		}
		var longest time.Duration
		for i := range l.asks[1:] {
			longest = max(longest, l.asks[i+1].Sub(l.asks[i]))
		}
		if n := len(l.asks); n > 6*60+20 || longest > time.Minute+time.Second {
			t.Errorf("in six hours it asked %d times, with pauses up to %v", n, longest)
		}
		l.set(false)
		pass(2 * time.Minute)
		if o, _ := m.Ended(2); o != engine.Completed {
			t.Errorf("when the server was back: ended as %q", o)
		}
		stop()
	})
}

// A supervisor that is cut off keeps acting, deaf to its context, while another takes its action over and ends it. When it
// comes back its act is refused by the target and its word by the journal, and it goes on with other work.
func TestAnExpiredLeaseThatComesBackIsFenced_trap1(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, ids := journal(2)
		first := &link{Memory: m, actions: ids[:1]}
		w := &target{}
		var late error
		deaf := w.handlers(func(ctx context.Context, c *engine.Call) error {
			if c.ActionID == 2 {
				return nil
			}
			first.set(true)
			time.Sleep(10 * ttl) // stopped, as by SIGSTOP: it does not see that its context has ended
			first.set(false)
			late = c.Save(ctx, "mine", 0.5, "mine")
			return nil
		})
		stopFirst := start(t, "qa-1", first, deaf)
		pass(time.Second)
		second := &link{Memory: m, actions: ids[:1]}
		stopSecond := start(t, "qa-2", second, w.handlers(func(context.Context, *engine.Call) error { return nil }))
		pass(3 * ttl)
		if o, _ := m.Ended(1); o != engine.Completed || w.term != 2 {
			t.Fatalf("the other took it over: ended as %q under term %d", o, w.term)
		}
		rows := len(m.Rows())
		pass(10 * ttl)
		if len(m.Rows()) != rows || w.term != 2 {
			t.Errorf("the one that came back wrote: term %d, %+v", w.term, m.Rows()[rows:])
		}
		if late == nil {
			t.Error("what the one that came back saved was accepted")
		}
		for _, r := range m.Rows() {
			if r.Term == 1 && r.At.After(m.Rows()[0].At.Add(ttl)) {
				t.Errorf("written after the lease had run out: %+v", r)
			}
		}
		stopSecond()
		w.mu.Lock()
		w.done = false
		w.term = 0 // another cluster's
		w.mu.Unlock()
		first.mu.Lock()
		first.actions = ids[1:]
		first.mu.Unlock()
		pass(2 * time.Minute)
		if o, _ := m.Ended(2); o != engine.Completed {
			t.Errorf("the one that came back does no other work: %q", o)
		}
		stopFirst()
	})
}

// A handler that panics is tried again, its word is in the journal, and the supervisor lives on.
func TestAPanicInAHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, ids := journal(1)
		l := &link{Memory: m, actions: ids}
		w := &target{}
		n := 0
		stop := start(t, "qa-1", l, w.handlers(func(context.Context, *engine.Call) error {
			if n++; n < 3 {
				panic("a defect")
			}
			return nil
		}))
		pass(10 * time.Minute)
		told := false
		for _, r := range m.Rows() {
			told = told || r.Record.Phase == engine.Waiting && r.Record.Message != ""
		}
		if o, _ := m.Ended(1); o != engine.Completed || n != 3 || !told {
			t.Errorf("ended as %q after %d tries, told %t", o, n, told)
		}
		stop()
	})
}

// Told to end, a supervisor stops its act, writes what it came to, and gives its lease back: the next one need not wait for it
// to run out. A lease that is on its way at that moment is given back too.
func TestTheEndGivesLeasesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, ids := journal(1)
		l := &link{Memory: m, actions: ids}
		w := &target{}
		stop := start(t, "qa-1", l, w.handlers(func(ctx context.Context, _ *engine.Call) error { <-ctx.Done(); return ctx.Err() }))
		pass(10 * time.Second)
		stop()
		if a, ok := m.Lease(1); !ok || a.Term != 2 {
			t.Fatalf("the lease was not given back: %+v", m.Rows())
		}
		if err := m.Release(ctx, 1, 2, 0); err != nil {
			t.Fatal(err)
		}

		slow := &slowLease{link: &link{Memory: m, actions: ids}}
		stop = start(t, "qa-2", slow, w.handlers(func(context.Context, *engine.Call) error { t.Error("acted"); return nil }))
		pass(time.Second / 2) // the answer is on its way
		stop()
		if a, ok := m.Lease(1); !ok || a.Term != 4 {
			t.Errorf("a lease that was on its way was not given back: term %d, %t", a.Term, ok)
		}
	})
}

// slowLease answers a second after the lease was given.
type slowLease struct{ *link }

func (s *slowLease) Lease(ctx context.Context, holder string, kinds []engine.KindVersion) (*engine.Assignment, error) {
	a, err := s.link.Lease(ctx, holder, kinds)
	t := time.NewTimer(time.Second)
	defer t.Stop()
	select {
	case <-t.C:
		return a, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
