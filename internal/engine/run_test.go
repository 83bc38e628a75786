package engine_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/strategy"
)

func wantStrings(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s: want - got +\n%s", what, d)
	}
}

func TestForwardWritesBeforeAndAfterEveryAct(t *testing.T) {
	bubble(t, func(t *testing.T, w *toy) {
		w.add(plan(strategy.Forward, "a", "look", "save"))
		w.call = func(c *engine.Call) {
			if _, ok := c.Cluster.Cell("a"); !ok && c.Step.Kind == "save" {
				t.Errorf("a later step does not see the cell of an earlier one: %+v", c.Cluster)
			}
		}
		end, err := w.run(t.Context(), w.mem, engine.Options{Log: testLog(t)})
		if err != nil || end.Outcome != engine.Completed {
			t.Fatalf("ended %+v, %v", end, err)
		}
		wantStrings(t, "journal", w.written(), "a intent", "a done", "look done", "save intent", "save intent", "save done", "finish completed")
		a, _, _ := w.mem.Action(1)
		if _, ok := a.Cluster.Cell("a"); !ok {
			t.Errorf("the outputs did not reach the cluster: %+v", a.Cluster)
		}
		if s := string(a.Steps[2].Status); s != `"half-way"` {
			t.Errorf("saved status is %s", s)
		}
	})
}

func TestWhatIsThereIsNotDoneAgain(t *testing.T) {
	bubble(t, func(t *testing.T, w *toy) {
		w.add(plan(strategy.Forward, "a", "c"))
		w.is["a"] = true
		if _, err := w.run(t.Context(), w.mem, engine.Options{}); err != nil {
			t.Fatal(err)
		}
		wantStrings(t, "acts", w.did(), "do c")
		wantStrings(t, "journal", w.written(), "a done", "c intent", "c done", "finish completed")
	})
}

func TestUnknownHoldsAndNeverActs(t *testing.T) {
	bubble(t, func(t *testing.T, w *toy) {
		w.add(plan(strategy.Forward, "a"))
		until := time.Now().Add(time.Minute)
		w.look = func(strategy.Kind, bool) error {
			if time.Now().Before(until) {
				return errAway
			}
			return nil
		}
		w.do = func(context.Context, strategy.Kind) error {
			if time.Now().Before(until) {
				t.Error("acted on an unknown observation")
			}
			return nil
		}
		if o, m := w.finish(engine.Options{}); o != engine.Completed {
			t.Fatal(o, m)
		}
		if first := w.mem.Rows()[0]; first.Record.Phase != engine.Waiting || !strings.Contains(first.Record.Message, "unknown, so it holds: connection refused") {
			t.Errorf("first row is %+v", first.Record)
		}
	})
}

func TestAnErrorIsTriedAgainUntilTheDeadlineThenTheActionGoesBack(t *testing.T) {
	bubble(t, func(t *testing.T, w *toy) {
		w.add(plan(strategy.Forward, "a", "look", "c", "save"))
		w.do = func(_ context.Context, k strategy.Kind) error {
			if k == "c" {
				return errAway
			}
			return nil
		}
		began := time.Now()
		o, m := w.finish(engine.Options{})
		if o != engine.WentBack || !strings.Contains(m, "c waited longer than 5m0s: connection refused") {
			t.Fatalf("%s: %s", o, m)
		}
		if took := time.Since(began); took < 5*time.Minute || took > 5*time.Minute+2*time.Second {
			t.Errorf("went back after %v, with a deadline of 5m", took)
		}
		wantStrings(t, "acts", w.did(), "do a", "undo a")
		want := map[strategy.Kind]engine.Phase{"a": engine.Undone, "look": engine.Undone, "c": engine.Undone}
		if d := cmp.Diff(want, w.phases()); d != "" { // what never began has no row
			t.Error(d)
		}
	})
}

func TestARefusalTurnsRoundAtOnceWithItsEvidence(t *testing.T) {
	bubble(t, func(t *testing.T, w *toy) {
		w.add(plan(strategy.Forward, "a", "c"))
		w.do = func(_ context.Context, k strategy.Kind) error {
			if k == "c" {
				return &engine.Refusal{Err: errors.New("chunk 7 differs"), Checks: check.Results{check.Failed("rows", "7", "", time.Now())}}
			}
			return nil
		}
		began := time.Now()
		o, m := w.finish(engine.Options{})
		if o != engine.WentBack || !strings.Contains(m, "c was refused: chunk 7 differs") || time.Since(began) > time.Second {
			t.Fatalf("%s: %s after %v", o, m, time.Since(began))
		}
		wantStrings(t, "journal", w.written(), "a intent", "a done", "c intent", "c waiting", "turn", "c undone", "a undoing", "a undone", "finish went-back")
		if cs := w.mem.Rows()[3].Record.Checks; len(cs) != 1 || cs[0].Name != "rows" {
			t.Errorf("evidence: %v", cs)
		}
	})
}

func TestAnAbortCancelsTheActAndGoesBack(t *testing.T) {
	bubble(t, func(t *testing.T, w *toy) {
		w.add(plan(strategy.Forward, "a", "c"))
		w.do = func(ctx context.Context, k strategy.Kind) error {
			if k != "c" {
				return nil
			}
			w.mem.Abort(1)
			<-ctx.Done()
			w.is["c"] = true // it got through all the same
			return ctx.Err()
		}
		w.gate = func(k strategy.Kind) (bool, check.Results, string) { return false, nil, "" }
		began := time.Now()
		o, m := w.finish(engine.Options{})
		if o != engine.Aborted || !strings.Contains(m, "a person asked") {
			t.Fatalf("%s: %s", o, m)
		}
		if time.Since(began) > ttl/2 {
			t.Errorf("the abort took %v to arrive, heartbeats come every %v", time.Since(began), ttl/3)
		}
		wantStrings(t, "acts", w.did(), "do a", "undo c", "undo a")
	})
}

// An abort that was stored before the last write ahead of an act comes with that write's answer, long before a heartbeat: nothing begins.
func TestAnAbortThatIsStoredLetsNothingBegin(t *testing.T) {
	for name, set := range map[string]func(w *toy){
		"before the intent": func(w *toy) {
			w.look = func(k strategy.Kind, _ bool) error {
				if k == "save" {
					w.mem.Abort(1)
				}
				return nil
			}
		},
		"before a save": func(w *toy) {
			w.call = func(c *engine.Call) {
				if c.Step.Kind == "save" {
					w.mem.Abort(1)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *toy) {
				w.add(plan(strategy.Forward, "a", "save"))
				set(w)
				w.do = func(ctx context.Context, k strategy.Kind) error {
					if k == "save" {
						t.Error("it began")
					}
					return nil
				}
				began := time.Now()
				if o, m := w.finish(engine.Options{}); o != engine.Aborted || time.Since(began) > time.Second {
					t.Fatalf("%s after %v: %s", o, time.Since(began), m)
				}
				wantStrings(t, "acts", w.did(), "do a", "undo a")
			})
		})
	}
}

// What is past the point where it can be called off is held by the lease alone: it outlives an abort, a deadline and a stop in good order, and ends
// with the lease and with the act. // trap 1
func TestHeldEndsWithTheLease(t *testing.T) {
	for name, x := range map[string]struct {
		end  func(w *toy, stop func())
		lost bool
	}{
		"an abort":                  {func(w *toy, _ func()) { w.mem.Abort(1) }, false},
		"a stop":                    {func(_ *toy, stop func()) { stop() }, false},
		"the step's deadline":       {func(*toy, func()) {}, false},
		"another holder":            {func(w *toy, _ func()) { w.mem.Take(1) }, true},
		"an abort, and then a loss": {func(w *toy, _ func()) { w.mem.Abort(1); time.Sleep(ttl / 2); w.mem.Take(1) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *toy) {
				w.add(plan(strategy.Forward, "a"))
				var held context.Context
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				w.do = func(ctx context.Context, _ strategy.Kind) error {
					held = engine.Held(ctx)
					x.end(w, stop)
					<-ctx.Done()
					time.Sleep(ttl / 2) // a heartbeat tells of a loss
					if lost := held.Err() != nil; lost != x.lost {
						t.Errorf("lost: %v (%v)", lost, context.Cause(held))
					}
					return ctx.Err()
				}
				_, err := w.run(ctx, w.mem, engine.Options{})
				if errors.Is(err, engine.ErrFenced) != x.lost {
					t.Errorf("run: %v", err)
				}
				if held == nil || held.Err() == nil {
					t.Error("it outlives the act")
				}
			})
		})
	}
}

func TestAnUndoThatCannotGoOnNeedsAPerson(t *testing.T) {
	bubble(t, func(t *testing.T, w *toy) {
		w.add(plan(strategy.Forward, "a", "c"))
		w.do = func(_ context.Context, k strategy.Kind) error {
			if k == "c" {
				return &engine.Refusal{Err: errors.New("no")}
			}
			return nil
		}
		w.undo = func(context.Context, strategy.Kind) error { return errAway }
		began := time.Now()
		o, m := w.finish(engine.Options{})
		if o != engine.NeedsHuman || !strings.Contains(m, "the undo of a can't go on: waited longer than 5m0s: connection refused (the action went back because c was refused: no)") {
			t.Fatalf("%s: %s", o, m)
		}
		if took := time.Since(began); took < 5*time.Minute {
			t.Errorf("gave up after %v: the undo has a deadline of its own", took)
		}
		if p := w.phases()["a"]; p != engine.Failed {
			t.Errorf("a is %s", p)
		}
	})
}

func TestPastThePointOfNoReturnNothingTurnsRound(t *testing.T) {
	p := plan(strategy.Forward, "look", "a", "c")
	p.PointOfNoReturn = true
	bubble(t, func(t *testing.T, w *toy) {
		w.add(p)
		w.do = func(_ context.Context, k strategy.Kind) error {
			if k == "c" {
				return &engine.Refusal{Err: errors.New("it is referenced")}
			}
			return nil
		}
		o, m := w.finish(engine.Options{})
		if o != engine.NeedsHuman || !strings.Contains(m, "c can't go on: it is referenced") {
			t.Fatalf("%s: %s", o, m)
		}
		wantStrings(t, "acts", w.did(), "do a")
	})
	t.Run("an abort before anything began", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *toy) {
			w.add(p)
			w.gate = func(k strategy.Kind) (bool, check.Results, string) {
				if k == "look" {
					w.mem.Abort(1)
					return false, nil, "two clients are left"
				}
				return false, nil, ""
			}
			if o, m := w.finish(engine.Options{}); o != engine.Aborted {
				t.Fatal(o, m)
			}
			wantStrings(t, "acts", w.did())
		})
	})
	t.Run("an abort in the middle", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *toy) {
			w.add(p)
			w.do = func(ctx context.Context, k strategy.Kind) error {
				w.mem.Abort(1)
				time.Sleep(ttl / 2) // a heartbeat brings the abort; it does not cancel what is under way
				return ctx.Err()
			}
			if o, m := w.finish(engine.Options{}); o != engine.NeedsHuman || !strings.Contains(m, "what is done stays done") {
				t.Fatal(o, m)
			}
			wantStrings(t, "acts", w.did(), "do a")
		})
	})
}

func TestABackActionRunsTheUndosOfTheReversedPlan(t *testing.T) {
	bubble(t, func(t *testing.T, w *toy) {
		w.is["a"], w.is["c"], w.is["save"] = true, true, true
		w.add(plan(strategy.Back, "c", "save", "look", "a"))
		if o, m := w.finish(engine.Options{}); o != engine.Completed {
			t.Fatal(o, m)
		}
		wantStrings(t, "acts", w.did(), "undo c", "undo a")
		wantStrings(t, "journal", w.written(), "c intent", "c done", "save done", "look done", "a intent", "a done", "finish completed")
		if msg := w.mem.Rows()[0].Record.Message; msg != "undo c" {
			t.Errorf("the intent says %q", msg)
		}
	})
	t.Run("refused", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *toy) {
			w.is["c"] = true
			w.add(plan(strategy.Back, "c", "a"))
			w.undo = func(context.Context, strategy.Kind) error {
				return &engine.Refusal{Err: errors.New("the way back is broken")}
			}
			if o, m := w.finish(engine.Options{}); o != engine.NeedsHuman || !strings.Contains(m, "the way back is broken") {
				t.Fatal(o, m)
			}
		})
	})
}

func TestAShortWaitKeepsTheLeaseAndALongOneGivesItBack(t *testing.T) {
	bubble(t, func(t *testing.T, w *toy) {
		w.add(plan(strategy.Forward, "a"))
		waits := []time.Duration{ttl / 4, ttl, 0}
		w.wait = func(strategy.Kind) (engine.Result, bool) {
			d := waits[0]
			if waits = waits[1:]; d == 0 {
				return engine.Result{}, false
			}
			return engine.Result{Wait: true, RetryAfter: d, Message: "three clients are left: x, y, z"}, true
		}
		began := time.Now()
		end, err := w.run(t.Context(), w.mem, engine.Options{})
		if err != nil || end.Waits != ttl {
			t.Fatalf("%+v %v", end, err)
		}
		if _, ok := w.mem.Lease(1); ok {
			t.Error("leased before the wait was over")
		}
		if o, m := w.finish(engine.Options{}); o != engine.Completed {
			t.Fatal(o, m)
		}
		if took := time.Since(began); took < ttl+ttl/4 {
			t.Errorf("took %v", took)
		}
		terms := map[int64]int{}
		for _, r := range w.mem.Rows() {
			terms[r.Term]++
		}
		if terms[1] != 5 || len(terms) != 2 {
			t.Errorf("rows by term: %v", terms)
		}
	})
}

func TestADeadlineOutlivesItsHolders(t *testing.T) {
	bubble(t, func(t *testing.T, w *toy) {
		w.add(plan(strategy.Forward, "look"))
		w.gate = func(strategy.Kind) (bool, check.Results, string) {
			return false, check.Results{check.Failed("lag", "9s", "wait", time.Now()), check.Failed("ddl", "running", "", time.Now())}, ""
		}
		began := time.Now()
		for time.Since(began) < 4*time.Minute { // a new holder every few seconds
			ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
			if a, ok := w.mem.Lease(1); ok {
				_, _ = engine.Run(ctx, w.mem, w.handlers(allKinds...), a, engine.Options{})
			}
			cancel()
			time.Sleep(time.Second)
		}
		o, m := w.finish(engine.Options{})
		if took := time.Since(began); o != engine.WentBack || took > 5*time.Minute+40*time.Second {
			t.Fatalf("%s after %v: %s", o, took, m)
		}
		if !strings.Contains(m, "lag (fail): 9s; wait (and 1 more)") {
			t.Error(m)
		}
	})
}

func TestPanicsBecomeErrors(t *testing.T) {
	bubble(t, func(t *testing.T, w *toy) {
		w.add(plan(strategy.Forward, "a"))
		n := 0
		w.do = func(context.Context, strategy.Kind) error {
			if n++; n < 3 {
				panic("index out of range")
			}
			return nil
		}
		if o, m := w.finish(engine.Options{}); o != engine.Completed {
			t.Fatal(o, m)
		}
		if m := w.mem.Rows()[1].Record.Message; m != "panic in a handler: index out of range" {
			t.Error(m)
		}
	})
}

func TestAnUnknownStepIsLeftAlone(t *testing.T) { // trap 9
	bubble(t, func(t *testing.T, w *toy) {
		p := plan(strategy.Forward, "a", "c")
		p.Steps[1].Version = 2
		w.add(p)
		_, err := w.run(t.Context(), w.mem, engine.Options{})
		if !errors.Is(err, engine.ErrUnknownStep) || !strings.Contains(err.Error(), "c/v2") {
			t.Fatal(err)
		}
		wantStrings(t, "acts", w.did())
		wantStrings(t, "journal", w.written(), "release")
	})
}

func TestARowThatIsNotOfThePlanIsLeftAlone(t *testing.T) {
	bubble(t, func(t *testing.T, w *toy) {
		w.mem.Add(engine.Assignment{ActionID: 1, LeaseTTL: ttl, Plan: plan(strategy.Forward, "a"), Steps: []engine.StepRecord{{Index: 0, Kind: "c", Phase: engine.Done}}})
		_, err := w.run(t.Context(), w.mem, engine.Options{})
		if err == nil || !strings.Contains(err.Error(), "not of its plan") {
			t.Fatal(err)
		}
		wantStrings(t, "acts", w.did())
	})
}

func TestTheEndOfTheContextGivesTheLeaseBack(t *testing.T) {
	bubble(t, func(t *testing.T, w *toy) {
		w.add(plan(strategy.Forward, "a", "c"))
		ctx, cancel := context.WithCancel(t.Context())
		w.do = func(act context.Context, k strategy.Kind) error {
			if k == "a" {
				cancel()
				<-act.Done()
			}
			return act.Err()
		}
		_, err := w.run(ctx, w.mem, engine.Options{})
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		wantStrings(t, "journal", w.written(), "a intent", "release")
		w.do = nil
		if o, m := w.finish(engine.Options{}); o != engine.Completed {
			t.Fatal(o, m)
		}
		synctest.Wait()
	})
}
