package engine_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/strategy"
)

// scenario is a world in which an action meets some of its edges.
type scenario struct {
	name    string
	setup   func(w *toy)
	outcome engine.Outcome
	is      []strategy.Kind // what the world is at the end
}

// hiccup makes the first look and the first act of every step fail, and the third try wait for longer than a lease is kept.
func hiccup(w *toy) {
	looks, acts := map[strategy.Kind]int{}, map[strategy.Kind]int{}
	long := time.Now().Add(3 * time.Minute)
	var began time.Time
	w.look = func(k strategy.Kind, back bool) error {
		if back && k == "c" && time.Now().Before(long) {
			return errAway // until the wait is long enough for the lease to be given back
		}
		if looks[k]++; looks[k] == 1 {
			return errAway
		}
		return nil
	}
	w.wait = func(k strategy.Kind) (engine.Result, bool) {
		switch acts[k]++; acts[k] {
		case 1:
			return engine.Result{Wait: true, Message: "short"}, true
		case 2:
			return engine.Result{Wait: true, Message: "long", RetryAfter: ttl}, true
		}
		return engine.Result{}, false
	}
	w.gate = func(k strategy.Kind) (bool, check.Results, string) {
		if k != "look" {
			return false, nil, ""
		}
		if began.IsZero() {
			began = time.Now()
		}
		return time.Since(began) > 90*time.Second, nil, "lag"
	}
}

// TestAKillAtEveryEdgeIsSurvived kills the holder once at each edge that the code lists, in every scenario that meets it,
// and wants the same end as without the kill. Every edge listed must be met by some scenario: a list longer than the
// truth would prove nothing.
func TestAKillAtEveryEdgeIsSurvived(t *testing.T) {
	noReturn := plan(strategy.Forward, "look", "a", "save")
	noReturn.PointOfNoReturn = true
	refuse := func(last strategy.Kind) func(w *toy) {
		return func(w *toy) {
			hiccup(w)
			w.do = func(_ context.Context, k strategy.Kind) error {
				if k == last {
					return &engine.Refusal{Err: errors.New("no")}
				}
				return nil
			}
		}
	}
	unseen := func(w *toy) {
		hiccup(w)
		gate := w.gate
		w.gate = func(k strategy.Kind) (bool, check.Results, string) {
			if k == "c" {
				return false, nil, "not seen"
			}
			return gate(k)
		}
	}
	everything := func(w *toy) { w.is["a"], w.is["c"], w.is["save"] = true, true, true }
	stuck := func(only strategy.Kind) func(w *toy) {
		return func(w *toy) {
			refuse("c")(w)
			w.undo = func(_ context.Context, k strategy.Kind) error {
				if k == only {
					return errAway
				}
				return nil
			}
		}
	}
	for _, m := range []struct {
		name      string
		plan      strategy.Plan
		scenarios []scenario
	}{
		{"forward", plan(strategy.Forward, "a", "look", "save", "c"), []scenario{
			{"completes", hiccup, engine.Completed, []strategy.Kind{"a", "c", "save"}},
			{"is refused at the end", refuse("c"), engine.WentBack, []strategy.Kind{"save"}}, // save has nothing to undo
			{"is done but not seen", func(w *toy) {
				hiccup(w)
				w.gate = func(k strategy.Kind) (bool, check.Results, string) {
					return false, nil, map[bool]string{true: "not seen"}[k == "c"]
				}
				w.mem.Abort(1)
			}, engine.Aborted, nil},
			{"c was done but is not seen in time", unseen, engine.WentBack, []strategy.Kind{"save"}},
			{"the undo of a is stuck", stuck("a"), engine.NeedsHuman, []strategy.Kind{"a", "save"}},
			{"the undo of c is stuck", func(w *toy) {
				hiccup(w)
				w.do = func(_ context.Context, k strategy.Kind) error {
					if k == "c" {
						w.is["c"] = true
						return &engine.Refusal{Err: errors.New("half done, and no")}
					}
					return nil
				}
				gate := w.gate
				w.gate = func(k strategy.Kind) (bool, check.Results, string) {
					if k == "c" {
						return false, nil, "half done"
					}
					return gate(k)
				}
				w.look, w.undo = nil, func(context.Context, strategy.Kind) error { return errAway }
			}, engine.NeedsHuman, []strategy.Kind{"a", "c", "save"}},
		}},
		{"forward, with a step that holds", plan(strategy.Forward, "a", "hold", "c"), []scenario{
			{"completes", hiccup, engine.Completed, []strategy.Kind{"a", "c", "hold"}},
			{"is refused where it holds", refuse("hold"), engine.WentBack, nil},
			{"is refused after it was done", refuse("c"), engine.WentBack, []strategy.Kind{"hold"}},
			{"c was done but is not seen in time", unseen, engine.WentBack, []strategy.Kind{"hold"}},
			{"a person aborts it where it holds", func(w *toy) {
				w.call = func(c *engine.Call) {
					if c.Step.Kind == "hold" {
						w.mem.Abort(1)
					}
				}
				w.do = func(ctx context.Context, k strategy.Kind) error {
					if k != "hold" {
						return nil
					}
					<-ctx.Done()
					return context.Cause(ctx)
				}
			}, engine.Aborted, nil},
			{"the release is stuck", func(w *toy) {
				refuse("hold")(w)
				w.look, w.undo = nil, func(_ context.Context, k strategy.Kind) error {
					if k == "hold" {
						return errAway
					}
					return nil
				}
			}, engine.NeedsHuman, []strategy.Kind{"a"}},
			{"the undo of a is stuck", stuck("a"), engine.NeedsHuman, []strategy.Kind{"a", "hold"}},
			{"the undo of c is stuck", func(w *toy) {
				hiccup(w)
				w.gate = func(k strategy.Kind) (bool, check.Results, string) {
					return false, nil, map[bool]string{true: "half done"}[k == "c" && w.is["c"]]
				}
				w.look, w.undo = nil, func(context.Context, strategy.Kind) error { return errAway }
			}, engine.NeedsHuman, []strategy.Kind{"a", "c", "hold"}},
		}},
		{"back", plan(strategy.Back, "c", "save", "look", "a"), []scenario{
			{"completes", func(w *toy) { everything(w); hiccup(w) }, engine.Completed, []strategy.Kind{"save"}},
			{"the undo of c is stuck", func(w *toy) {
				everything(w)
				w.undo = func(context.Context, strategy.Kind) error { return errAway }
			}, engine.NeedsHuman, []strategy.Kind{"a", "c", "save"}},
			{"the undo of a is stuck", func(w *toy) {
				everything(w)
				w.undo = func(_ context.Context, k strategy.Kind) error {
					if k == "a" {
						return errAway
					}
					return nil
				}
			}, engine.NeedsHuman, []strategy.Kind{"a", "save"}},
		}},
		{"point of no return", noReturn, []scenario{
			{"completes", hiccup, engine.Completed, []strategy.Kind{"a", "save"}},
			{"look is stuck", func(w *toy) {
				w.gate = func(k strategy.Kind) (bool, check.Results, string) { return false, nil, "referenced" }
			}, engine.NeedsHuman, nil},
			{"a is stuck", func(w *toy) { w.do = func(context.Context, strategy.Kind) error { return errAway } }, engine.NeedsHuman, nil},
			{"save is stuck", func(w *toy) {
				w.do = func(_ context.Context, k strategy.Kind) error {
					if k == "save" {
						return errAway
					}
					return nil
				}
			}, engine.NeedsHuman, []strategy.Kind{"a"}},
		}},
	} {
		t.Run(m.name, func(t *testing.T) {
			edges := engine.Edges(m.plan, newToy(t).handlers(allKinds...))
			met, listed := map[string]bool{}, map[string]bool{}
			for _, e := range edges {
				if listed[e.String()] {
					t.Errorf("edge %s is listed twice", e)
				}
				listed[e.String()] = true
			}
			run := func(s scenario, at func(engine.Edge)) {
				synctest.Test(t, func(t *testing.T) {
					w := newToy(t)
					w.add(m.plan)
					s.setup(w)
					o, msg := w.finish(engine.Options{At: at})
					var is []strategy.Kind
					for k, yes := range w.is {
						if yes {
							is = append(is, k)
						}
					}
					slices.Sort(is)
					if o != s.outcome || !slices.Equal(is, s.is) {
						t.Errorf("%s: ended %s (%s) with %v; want %s with %v", s.name, o, msg, is, s.outcome, s.is)
					}
					if w.held != (s.name == "the release is stuck") {
						t.Errorf("%s: at the end it is held: %v", s.name, w.held)
					}
				})
			}
			kills := 0
			for _, s := range m.scenarios {
				here := map[string]bool{}
				run(s, func(e engine.Edge) { here[e.String()] = true })
				for _, e := range slices.Sorted(maps.Keys(here)) {
					if !listed[e] {
						t.Errorf("%s: edge %s was met but is not listed", s.name, e)
					}
					met[e] = true
					hit := false
					run(s, killAt(e, &hit))
					if !hit {
						t.Errorf("%s: edge %s was not met again", s.name, e)
					}
					kills++
				}
			}
			for _, e := range edges {
				if !met[e.String()] {
					t.Errorf("no scenario meets edge %s", e)
				}
			}
			t.Logf("%d edges, %d kills", len(edges), kills)
		})
	}
}

func TestEdgesAreNamedForPeople(t *testing.T) {
	var names []string
	for _, e := range engine.Edges(plan(strategy.Forward, "c"), newToy(t).handlers(allKinds...)) {
		names = append(names, e.String())
	}
	wantStrings(t, "edges", names, strings.Fields(`
		stage/forward/0-c/intent/before stage/forward/0-c/intent/after stage/forward/0-c/point/half
		stage/forward/0-c/waiting/before stage/forward/0-c/waiting/after stage/forward/0-c/release/before stage/forward/0-c/release/after
		stage/forward/0-c/done/before stage/forward/0-c/done/after stage/forward/action/finish/before stage/forward/action/finish/after
		stage/forward/action/turn/before stage/forward/action/turn/after
		stage/undo/0-c/undoing/before stage/undo/0-c/undoing/after stage/undo/0-c/point/half
		stage/undo/0-c/release/before stage/undo/0-c/release/after stage/undo/0-c/failed/before stage/undo/0-c/failed/after
		stage/undo/0-c/undone/before stage/undo/0-c/undone/after stage/undo/action/finish/before stage/undo/action/finish/after`)...)
}
