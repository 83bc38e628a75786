package engine_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/strategy"
)

// asked is a gate that keeps who came to it, and holds a step until a time.
type asked struct {
	steps []strategy.Kind
	holds strategy.Kind
	until time.Time
}

func (g *asked) gate(_ context.Context, a engine.Assignment, i int) check.Results {
	k := a.Plan.Steps[i].Kind
	g.steps = append(g.steps, k)
	if k == g.holds && time.Now().Before(g.until) {
		return check.Results{check.Failed("versions", "replica 10.5 may not meet source 10.11", "bring it to 10.11", time.Now())}
	}
	return check.Results{check.Passed("versions", "legal", time.Now())}
}

// V5: the gate is asked before each step, holds it before anything of it has begun, and lets it go on by itself.
func TestAStepIsHeldAtTheGateBeforeItBegins(t *testing.T) {
	bubble(t, func(t *testing.T, w *toy) {
		w.add(plan(strategy.Forward, "a", "look", "c"))
		g := &asked{holds: "c", until: time.Now().Add(3 * time.Hour)} // longer than the step's own deadline of five minutes
		o, m := w.finish(engine.Options{Gate: g.gate})
		if o != engine.Completed {
			t.Fatal(o, m)
		}
		wantStrings(t, "acts", w.did(), "do a", "do c")
		if first := slices.Compact(slices.Clone(g.steps)); !slices.Equal(first, []strategy.Kind{"a", "look", "c"}) {
			t.Errorf("asked for %v", first)
		}
		held := false
		for _, r := range w.mem.Rows() {
			if r.Record.Kind != "c" {
				continue
			}
			if r.Record.Held {
				held = true
				if !r.Record.Unbegun || !strings.Contains(r.Record.Message, "held before it begins: versions (fail): replica 10.5 may not meet source 10.11; bring it to 10.11") || len(r.Record.Checks) != 1 {
					t.Errorf("held as %+v", r.Record)
				}
			} else if time.Since(r.Record.StartedAt) > time.Hour {
				t.Errorf("the time of the step counts from when it was held: %+v", r.Record)
			}
		}
		if !held {
			t.Error("no row says that it is held")
		}
	})
}

// What is held for too long goes back, and what never began is not undone by an act.
func TestTheGateDoesNotHoldForEver(t *testing.T) {
	bubble(t, func(t *testing.T, w *toy) {
		w.add(plan(strategy.Forward, "a", "c"))
		g := &asked{holds: "c", until: time.Now().Add(100 * time.Hour)}
		began := time.Now()
		o, m := w.finish(engine.Options{Gate: func(ctx context.Context, a engine.Assignment, i int) check.Results {
			if a.Turned {
				t.Errorf("asked for %s on the way back", a.Plan.Steps[i].Kind)
			}
			return g.gate(ctx, a, i)
		}})
		if o != engine.WentBack || !strings.Contains(m, "c waited longer than 12h0m0s: held before it begins: versions") {
			t.Fatal(o, m)
		}
		if took := time.Since(began); took < 12*time.Hour || took > 12*time.Hour+time.Minute {
			t.Errorf("it took %v", took)
		}
		wantStrings(t, "acts", w.did(), "do a", "undo a")
	})
}

// A step that was killed in the middle goes on to its end, though the gate would not let it begin now.
func TestTheGateNeverHoldsWhatHasBegun(t *testing.T) {
	for _, edge := range []string{"stage/forward/0-a/intent/after", "stage/forward/0-a/point/half", "stage/forward/0-a/waiting/after"} {
		t.Run(edge, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *toy) {
				w.add(plan(strategy.Forward, "a"))
				waits := strings.Contains(edge, "waiting")
				w.wait = func(strategy.Kind) (engine.Result, bool) {
					waited := waits
					waits = false
					return engine.Result{Wait: true, Message: "half done"}, waited
				}
				g := &asked{}
				hit := false
				kill := killAt(edge, &hit)
				o, m := w.finish(engine.Options{Gate: g.gate, At: func(e engine.Edge) {
					if e.String() == edge && !hit {
						g.holds, g.until = "a", time.Now().Add(1000*time.Hour)
					}
					kill(e)
				}})
				if o != engine.Completed || !hit {
					t.Errorf("%s: %s; killed: %v", o, m, hit)
				}
				if len(g.steps) != 1 {
					t.Errorf("asked for %v", g.steps)
				}
			})
		})
	}
}

// A step whose first looks failed has not begun: the gate is asked again right before its act.
func TestTheGateIsAskedAgainAfterAnUnknownLook(t *testing.T) {
	bubble(t, func(t *testing.T, w *toy) {
		w.add(plan(strategy.Forward, "a"))
		until := time.Now().Add(time.Minute)
		w.look = func(strategy.Kind, bool) error {
			if time.Now().Before(until) {
				return errAway
			}
			return nil
		}
		g := &asked{}
		opens := until.Add(time.Hour)
		w.call = func(*engine.Call) {
			if time.Now().Before(opens) {
				t.Error("it began though the gate held it")
			}
		}
		o, m := w.finish(engine.Options{Gate: func(ctx context.Context, a engine.Assignment, i int) check.Results {
			if time.Now().After(until) {
				g.holds, g.until = "a", opens
			}
			return g.gate(ctx, a, i)
		}})
		if o != engine.Completed {
			t.Error(o, m)
		}
	})
}

// Neither an undo nor a rollback is held.
func TestTheGateNeverHoldsAWayBack(t *testing.T) {
	never := func(t *testing.T, from *bool) func(context.Context, engine.Assignment, int) check.Results {
		return func(_ context.Context, a engine.Assignment, i int) check.Results {
			if *from {
				t.Errorf("asked for %s on the way back", a.Plan.Steps[i].Kind)
			}
			return nil
		}
	}
	t.Run("rollback", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *toy) {
			w.add(plan(strategy.Back, "c", "a"))
			w.is["a"], w.is["c"] = true, true
			back := true
			if o, m := w.finish(engine.Options{Gate: never(t, &back)}); o != engine.Completed {
				t.Error(o, m)
			}
			wantStrings(t, "acts", w.did(), "undo c", "undo a")
		})
	})
	t.Run("undo", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *toy) {
			w.add(plan(strategy.Forward, "a", "c"))
			back := false
			w.do = func(_ context.Context, k strategy.Kind) error {
				if k == "c" {
					back = true
					return &engine.Refusal{Err: errAway}
				}
				return nil
			}
			if o, m := w.finish(engine.Options{Gate: never(t, &back)}); o != engine.WentBack {
				t.Error(o, m)
			}
			wantStrings(t, "acts", w.did(), "do a", "undo a")
		})
	})
}

// A gate that panics holds: nothing is known.
func TestAGateThatPanicsHolds(t *testing.T) {
	bubble(t, func(t *testing.T, w *toy) {
		w.add(plan(strategy.Forward, "a"))
		first := true
		o, m := w.finish(engine.Options{Gate: func(context.Context, engine.Assignment, int) check.Results {
			if first {
				first = false
				panic("no rule")
			}
			return nil
		}})
		if r := w.mem.Rows()[0]; o != engine.Completed || !r.Record.Held || !strings.Contains(r.Record.Message, "no rule") {
			t.Errorf("%s: %s; first %+v", o, m, r.Record)
		}
	})
}
