package engine_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/strategy"
)

// away is a journal whose server is away at times, or whose answers are lost.
type away struct {
	engine.Journal
	down   atomic.Bool // requests do not arrive
	mute   atomic.Bool // requests arrive, their answers do not
	writes atomic.Int64
}

func (j *away) Heartbeat(ctx context.Context, id, term int64) (bool, error) {
	if j.down.Load() {
		return false, errAway
	}
	return j.Journal.Heartbeat(ctx, id, term)
}

func (j *away) do(f func() error) error {
	j.writes.Add(1)
	if j.down.Load() {
		return errAway
	}
	err := f()
	if j.mute.Load() {
		return errAway
	}
	return err
}

func (j *away) Record(ctx context.Context, id, term int64, rec engine.StepRecord) (abort bool, err error) {
	err = j.do(func() (err error) {
		abort, err = j.Journal.Record(ctx, id, term, rec)
		return err
	})
	return abort, err
}

func (j *away) Turn(ctx context.Context, id, term int64, reason string) error {
	return j.do(func() error { return j.Journal.Turn(ctx, id, term, reason) })
}

func (j *away) Release(ctx context.Context, id, term int64, d time.Duration) error {
	return j.do(func() error { return j.Journal.Release(ctx, id, term, d) })
}

func (j *away) Finish(ctx context.Context, id, term int64, o engine.Outcome, m string) error {
	return j.do(func() error { return j.Journal.Finish(ctx, id, term, o, m) })
}

// A holder that can't prolong its lease cancels its act before anybody else may lease, and writes nothing more. // trap 6
func TestALostLeaseCancelsTheActBeforeTheLeaseEnds(t *testing.T) {
	bubble(t, func(t *testing.T, w *toy) {
		w.add(plan(strategy.Forward, "a"))
		j := &away{Journal: w.mem}
		began := time.Now()
		var cancelled time.Duration
		w.do = func(ctx context.Context, _ strategy.Kind) error {
			time.Sleep(ttl / 2) // one heartbeat goes through, at ttl/3
			j.down.Store(true)
			<-ctx.Done()
			cancelled = time.Since(began)
			if !errors.Is(context.Cause(ctx), engine.ErrLeaseLost) {
				t.Errorf("cancelled because of %v", context.Cause(ctx))
			}
			return ctx.Err()
		}
		_, err := w.run(t.Context(), j, engine.Options{})
		if !errors.Is(err, engine.ErrLeaseLost) {
			t.Fatalf("%v", err)
		}
		if lease := ttl/3 + ttl; cancelled >= lease || cancelled < lease-ttl/4 {
			t.Errorf("cancelled after %v; the lease ended after %v", cancelled, lease)
		}
		if n := j.writes.Load(); n != 1 {
			t.Errorf("%d writes, only the intent was allowed", n)
		}
		if _, ok := w.mem.Lease(1); ok {
			t.Error("somebody else could lease while the act was being cancelled")
		}
	})
}

// The lease counts from before the request that gave it: an answer that took long has used it up. // trap 6
func TestTheLeaseCountsFromBeforeTheRequest(t *testing.T) {
	bubble(t, func(t *testing.T, w *toy) {
		w.add(plan(strategy.Forward, "a"))
		from := time.Now()
		a, _ := w.mem.Lease(1)
		time.Sleep(ttl - ttl/10) // the answer was slow
		_, err := engine.Run(t.Context(), w.mem, w.handlers(allKinds...), a, engine.Options{LeasedAt: from})
		if !errors.Is(err, engine.ErrLeaseLost) {
			t.Fatal(err)
		}
		wantStrings(t, "journal", w.written())
	})
}

// A server that is away for less than the lease interrupts nothing.
func TestAServerThatIsAwayShortlyInterruptsNothing(t *testing.T) {
	bubble(t, func(t *testing.T, w *toy) {
		w.add(plan(strategy.Forward, "a", "c"))
		j := &away{Journal: w.mem}
		w.do = func(ctx context.Context, k strategy.Kind) error {
			if k == "a" {
				j.down.Store(true)
				time.AfterFunc(ttl/2, func() { j.down.Store(false) })
			}
			return ctx.Err()
		}
		end, err := w.run(t.Context(), j, engine.Options{})
		if err != nil || end.Outcome != engine.Completed {
			t.Fatalf("%+v %v", end, err)
		}
		wantStrings(t, "acts", w.did(), "do a", "do c")
	})
}

// Answers are lost: every write arrives twice or more, and nothing is done twice.
func TestLostAnswersDoNothingTwice(t *testing.T) {
	bubble(t, func(t *testing.T, w *toy) {
		w.add(plan(strategy.Forward, "a", "c"))
		j := &away{Journal: w.mem}
		j.mute.Store(true)
		done := make(chan struct{})
		defer close(done)
		go func() { // every other second the answers arrive
			for {
				select {
				case <-done:
					return
				case <-time.After(time.Second):
					j.mute.Store(!j.mute.Load())
				}
			}
		}()
		end, err := w.run(t.Context(), j, engine.Options{})
		if err != nil || end.Outcome != engine.Completed {
			t.Fatalf("%+v %v", end, err)
		}
		wantStrings(t, "acts", w.did(), "do a", "do c")
		if j.writes.Load() <= 5 {
			t.Errorf("%d writes: no answer was lost", j.writes.Load())
		}
	})
}

// A paused supervisor wakes after its lease, when another has done the work. // trap 1
func TestAHolderThatWakesAfterItsLeaseWritesNothing(t *testing.T) {
	for _, where := range []string{"act", "look"} {
		t.Run("paused in "+where, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *toy) {
				w.add(plan(strategy.Forward, "a", "c"))
				var rows int
				first := true
				pause := func() {
					if !first {
						return
					}
					first = false
					// The whole process stands still: no heartbeat goes out either, as the journal does not answer.
					time.Sleep(2 * ttl)
					if o, m := w.finish(engine.Options{}); o != engine.Completed {
						t.Fatal(o, m)
					}
					rows = len(w.mem.Rows())
				}
				if where == "act" {
					w.do = func(context.Context, strategy.Kind) error { pause(); return nil }
				} else {
					w.look = func(strategy.Kind, bool) error { pause(); return nil }
				}
				j := &away{Journal: w.mem}
				beats := &deafHeartbeat{away: j}
				_, err := w.run(t.Context(), beats, engine.Options{})
				if !errors.Is(err, engine.ErrLeaseLost) {
					t.Fatal(err)
				}
				if n := len(w.mem.Rows()); n != rows {
					t.Errorf("the late holder wrote %d rows", n-rows)
				}
			})
		})
	}
}

// A process that stood still looks at the clock before it writes: nothing but its own look tells it, for its heartbeat
// has not run yet. // trap 1
func TestAHolderThatWakesLooksAtTheClockFirst(t *testing.T) {
	bubble(t, func(t *testing.T, w *toy) {
		w.add(plan(strategy.Forward, "a"))
		w.do = func(context.Context, strategy.Kind) error { time.Sleep(2 * ttl); return nil }
		j := &away{Journal: w.mem}
		_, err := w.run(t.Context(), j, engine.Options{Clock: stillClock{}})
		if !errors.Is(err, engine.ErrLeaseLost) || j.writes.Load() != 1 {
			t.Fatalf("%v after %d writes", err, j.writes.Load())
		}
	})
}

// stillClock never gets round to running what should run beside.
type stillClock struct{ engine.SystemClock }

func (stillClock) Beside(_ context.Context, _ func(context.Context), main func()) { main() }

// A heartbeat whose answer never comes does not keep the act alive.
func TestAHeartbeatThatHangsLosesTheLeaseInTime(t *testing.T) {
	bubble(t, func(t *testing.T, w *toy) {
		w.add(plan(strategy.Forward, "a"))
		began := time.Now()
		w.do = func(ctx context.Context, _ strategy.Kind) error { <-ctx.Done(); return ctx.Err() }
		_, err := w.run(t.Context(), deafHeartbeat{&away{Journal: w.mem}}, engine.Options{})
		if took := time.Since(began); !errors.Is(err, engine.ErrLeaseLost) || took >= ttl {
			t.Fatalf("%v after %v", err, took)
		}
	})
}

// A write that can't get through is given up with the lease.
func TestAWriteIsGivenUpWithTheLease(t *testing.T) {
	bubble(t, func(t *testing.T, w *toy) {
		w.add(plan(strategy.Forward, "a"))
		j := &away{Journal: w.mem}
		w.do = func(context.Context, strategy.Kind) error { j.down.Store(true); return nil }
		began := time.Now()
		_, err := w.run(t.Context(), j, engine.Options{})
		if took := time.Since(began); !errors.Is(err, engine.ErrLeaseLost) || took >= ttl {
			t.Fatalf("%v after %v", err, took)
		}
	})
}

// deafHeartbeat sends no heartbeat, as a process that stands still.
type deafHeartbeat struct{ *away }

func (deafHeartbeat) Heartbeat(ctx context.Context, _, _ int64) (bool, error) {
	<-ctx.Done()
	return false, ctx.Err()
}

// A higher term in the journal stops the holder: at its next heartbeat, in the middle of an act. // trap 1
func TestAFencedHolderStopsAndWritesNothing(t *testing.T) {
	bubble(t, func(t *testing.T, w *toy) {
		w.add(plan(strategy.Forward, "a"))
		j := &fenced{away: &away{Journal: w.mem}}
		w.do = func(ctx context.Context, _ strategy.Kind) error {
			j.yes.Store(true)
			<-ctx.Done()
			return ctx.Err()
		}
		began := time.Now()
		_, err := w.run(t.Context(), j, engine.Options{})
		if !errors.Is(err, engine.ErrFenced) || time.Since(began) > ttl/2 {
			t.Fatalf("%v after %v", err, time.Since(began))
		}
		if n := j.writes.Load(); n != 1 {
			t.Errorf("%d writes, only the intent was allowed", n)
		}
	})
	t.Run("by a target", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *toy) {
			w.add(plan(strategy.Forward, "a"))
			j := &away{Journal: w.mem}
			w.do = func(context.Context, strategy.Kind) error { return engine.ErrFenced }
			_, err := w.run(t.Context(), j, engine.Options{})
			if !errors.Is(err, engine.ErrFenced) || j.writes.Load() != 1 {
				t.Fatalf("%v after %d writes", err, j.writes.Load())
			}
		})
	})
}

type fenced struct {
	*away
	yes atomic.Bool
}

func (j *fenced) Heartbeat(ctx context.Context, id, term int64) (bool, error) {
	if j.yes.Load() {
		return false, engine.ErrFenced
	}
	return j.away.Heartbeat(ctx, id, term)
}
