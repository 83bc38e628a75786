package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/engine/enginetest"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

// A toy plan: "a" and "c" change the world, "look" only looks, "save" saves in the middle of its act and has nothing to undo, and "hold" has nothing
// to undo but holds something from its intent until it is done.
const ttl = 30 * time.Second

func plan(dir strategy.Direction, kinds ...strategy.Kind) strategy.Plan {
	p := strategy.Plan{Strategy: "toy", Stage: "stage", Direction: dir}
	for _, k := range kinds {
		p.Steps = append(p.Steps, strategy.Step{Kind: k, Version: 1, Does: "do " + string(k), Undoes: "undo " + string(k), Deadline: 5 * time.Minute})
	}
	return p
}

// toy is the world that the toy handlers act on. It survives every kill. Its fields are set before a run, or by the hooks,
// which run inside the calls.
type toy struct {
	t    *testing.T
	mem  *enginetest.Memory
	mu   sync.Mutex
	is   map[strategy.Kind]bool // what was done
	held bool                   // by "hold"
	acts []string               // "do a", "undo a", in order
	term int64                  // the highest that the world has seen

	look func(k strategy.Kind, back bool) error              // before an observation
	call func(c *engine.Call)                                // before an act
	do   func(ctx context.Context, k strategy.Kind) error    // before an act
	wait func(k strategy.Kind) (engine.Result, bool)         // instead of an act
	undo func(ctx context.Context, k strategy.Kind) error    // before an undo
	gate func(k strategy.Kind) (bool, check.Results, string) // what a look-only step sees
}

func newToy(t *testing.T) *toy {
	return &toy{t: t, mem: enginetest.NewMemory(time.Now), is: map[strategy.Kind]bool{}}
}

func (w *toy) note(s string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.acts = append(w.acts, s)
}

func (w *toy) did() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.acts)
}

// begun fails the test unless the journal says, under this very term, that the act may have begun.
func (w *toy) begun(c *engine.Call, want engine.Phase) error {
	a, _, _ := w.mem.Action(c.ActionID)
	for _, rec := range a.Steps {
		if rec.Kind == c.Step.Kind && rec.Phase == want && a.Term == c.Term {
			if c.Term < w.term {
				return engine.ErrFenced
			}
			w.term = c.Term
			return nil
		}
	}
	if a.Term != c.Term { // a paused holder that woke: its target refuses it
		return engine.ErrFenced
	}
	w.t.Errorf("%s acts under term %d, but the journal says %+v", c.Step.Kind, c.Term, a.Steps)
	return nil
}

func (w *toy) handler(k strategy.Kind) engine.Handler {
	h := engine.Handler{Kind: k, Version: 1, Points: []string{"half"}, BackPoints: []string{"half"}}
	h.Forward.Observe = func(_ context.Context, c *engine.Call) (engine.Observation, error) {
		if w.look != nil {
			if err := w.look(k, false); err != nil {
				return engine.Observation{}, err
			}
		}
		if w.gate != nil {
			if ok, cs, msg := w.gate(k); cs != nil || msg != "" {
				return engine.Observation{There: ok, Checks: cs, Message: msg}, nil
			}
		}
		if k == "look" {
			return engine.Observation{There: w.gate == nil, Message: "looked"}, nil
		}
		return engine.Observation{There: w.is[k], Output: &engine.Outputs{Cells: []fleet.Cell{{Name: string(k)}}}}, nil
	}
	if k == "look" {
		h.Points, h.BackPoints = nil, nil
		return h
	}
	h.Forward.Do = func(ctx context.Context, c *engine.Call) (engine.Result, error) {
		if err := w.begun(c, engine.Intent); err != nil {
			return engine.Result{}, err
		}
		if w.call != nil {
			w.call(c)
		}
		if k == "save" {
			if err := c.Save(ctx, "half-way", 0.5, "half-way"); err != nil {
				return engine.Result{}, err
			}
		}
		if k == "hold" {
			w.held = true
		}
		if w.wait != nil {
			if res, ok := w.wait(k); ok {
				return res, nil
			}
		}
		if w.do != nil {
			if err := w.do(ctx, k); err != nil {
				return engine.Result{}, err
			}
		}
		c.Point("half")
		w.note("do " + string(k))
		w.is[k] = true
		if k == "hold" {
			w.held = false
		}
		return engine.Result{Message: "did " + string(k)}, nil
	}
	if k == "hold" {
		h.Release.Observe = func(context.Context, *engine.Call) (engine.Observation, error) {
			if w.look != nil {
				if err := w.look(k, true); err != nil {
					return engine.Observation{}, err
				}
			}
			return engine.Observation{There: !w.held}, nil
		}
		h.Release.Do = func(ctx context.Context, c *engine.Call) (engine.Result, error) {
			if err := w.begun(c, engine.Undoing); err != nil {
				return engine.Result{}, err
			}
			if w.undo != nil {
				if err := w.undo(ctx, k); err != nil {
					return engine.Result{}, err
				}
			}
			c.Point("half")
			w.note("release " + string(k))
			w.held = false
			return engine.Result{}, nil
		}
		return h
	}
	if k == "save" {
		h.Saves, h.BackPoints = true, nil
		return h
	}
	h.Back.Observe = func(_ context.Context, c *engine.Call) (engine.Observation, error) {
		if w.look != nil {
			if err := w.look(k, true); err != nil {
				return engine.Observation{}, err
			}
		}
		return engine.Observation{There: !w.is[k], Output: &engine.Outputs{RemoveCell: string(k)}}, nil
	}
	h.Back.Do = func(ctx context.Context, c *engine.Call) (engine.Result, error) {
		want := engine.Undoing
		if c.Plan.Direction == strategy.Back {
			want = engine.Intent
		}
		if err := w.begun(c, want); err != nil {
			return engine.Result{}, err
		}
		if w.undo != nil {
			if err := w.undo(ctx, k); err != nil {
				return engine.Result{}, err
			}
		}
		c.Point("half")
		w.note("undo " + string(k))
		w.is[k] = false
		return engine.Result{}, nil
	}
	return h
}

func (w *toy) handlers(kinds ...strategy.Kind) engine.Handlers {
	var list []engine.Handler
	for _, k := range kinds {
		list = append(list, w.handler(k))
	}
	hs, err := engine.NewHandlers(list...)
	if err != nil {
		w.t.Fatal(err)
	}
	return hs
}

func (w *toy) add(p strategy.Plan) {
	w.mem.Add(engine.Assignment{ActionID: 1, LeaseTTL: ttl, Plan: p, Cluster: fleet.Cluster{Env: "qa", Name: "orders"}})
}

var allKinds = []strategy.Kind{"a", "look", "save", "hold", "c"}

// run leases the action and runs it once.
func (w *toy) run(ctx context.Context, j engine.Journal, o engine.Options) (engine.Ending, error) {
	from := time.Now()
	a, ok := w.mem.Lease(1)
	if !ok {
		w.t.Fatal("the action can't be leased")
	}
	o.LeasedAt = from
	return engine.Run(ctx, j, w.handlers(allKinds...), a, o)
}

// finish leases and runs the action, by one supervisor after the other, until it has ended. A holder that is killed at an edge by
// the kill hook is a goroutine that ends there and then.
func (w *toy) finish(o engine.Options) (engine.Outcome, string) {
	return enginetest.Finish(w.t, w.mem, 1, 100_000*time.Second, func() engine.Handlers { return w.handlers(allKinds...) }, o)
}

// killAt kills whoever comes to the edge, once.
func killAt(edge string, hit *bool) func(engine.Edge) {
	return func(e engine.Edge) {
		if e.String() == edge && !*hit {
			*hit = true
			runtime.Goexit()
		}
	}
}

func bubble(t *testing.T, f func(t *testing.T, w *toy)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newToy(t)) })
}

func (w *toy) phases() map[strategy.Kind]engine.Phase {
	a, _, _ := w.mem.Action(1)
	ps := map[strategy.Kind]engine.Phase{}
	for _, rec := range a.Steps {
		ps[rec.Kind] = rec.Phase
	}
	return ps
}

func (w *toy) written() []string {
	var s []string
	for _, r := range w.mem.Rows() {
		switch r.Write {
		case engine.WriteTurn, engine.WriteRelease:
			s = append(s, string(r.Write))
		case engine.WriteFinish:
			s = append(s, "finish "+string(r.Outcome))
		default:
			s = append(s, fmt.Sprintf("%s %s", r.Record.Kind, r.Write))
		}
	}
	return s
}

var errAway = errors.New("connection refused")

func testLog(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}
