package supervisor_test

import (
	"errors"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/engine/enginetest"
	"github.com/windlass-db/windlass/internal/state/statetest"
)

// What the engine counts on holds over the API too: terms, repeated calls, fencing.
func TestTheAgentIsAJournal(t *testing.T) {
	enginetest.Journal(t, func(t *testing.T) enginetest.World {
		const ttl = 15 * time.Second
		clock := statetest.NewClock(time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC))
		w := newWorld(t, 1, ttl, clock.Now)
		clock.Add(ttl) // leases may be taken over
		agent := w.agent("qa")
		w.launch()
		return enginetest.World{
			Journal: agent,
			Lease: func(t *testing.T) (engine.Assignment, bool) {
				a, err := agent.Lease(ctx, "somebody", statetest.Kinds())
				must(t, err)
				if a == nil {
					return engine.Assignment{}, false
				}
				return *a, true
			},
			Pass:    clock.Add,
			Abort:   func(t *testing.T) { must(t, w.store.Abort(ctx, "c", "me", "because")) },
			Outcome: func(*testing.T) engine.Outcome { return engine.Outcome(w.action("qa", "c00").Outcome) },
		}
	})
}

// A token of qa can do nothing to prod's action, though it knows its number and its term.
func TestATokenIsGoodForItsEnvironmentAlone(t *testing.T) {
	w := newWorld(t, 1, 15*time.Second, time.Now)
	w.launch()
	prod, qa := w.agent("prod"), w.agent("qa")
	a, err := prod.Lease(ctx, "prod-1", statetest.Kinds())
	must(t, err)
	_, beat := qa.Heartbeat(ctx, a.ActionID, a.Term)
	for what, err := range map[string]error{
		"heartbeat": beat,
		"record":    wrote(qa.Record(ctx, a.ActionID, a.Term, engine.StepRecord{Kind: a.Plan.Steps[0].Kind, Phase: engine.Intent})),
		"turn":      qa.Turn(ctx, a.ActionID, a.Term, "mine"),
		"release":   qa.Release(ctx, a.ActionID, a.Term, 0),
		"finish":    qa.Finish(ctx, a.ActionID, a.Term, engine.Completed, "mine"),
	} {
		var problem *api.Error
		if !errors.As(err, &problem) || problem.Code != api.CodeForbidden {
			t.Errorf("%s of prod's action with qa's token: %v", what, err)
		}
	}
	if got := w.action("prod", "c00"); got.Status != "leased" || got.Turned {
		t.Errorf("the action was touched: %+v", got)
	}
	own, err := qa.Lease(ctx, "qa-1", statetest.Kinds())
	must(t, err)
	if own.Cluster.Env != "qa" {
		t.Errorf("qa was given %s", own.Cluster.Ref())
	}
	all, err := qa.Watched(ctx)
	must(t, err)
	for _, c := range all {
		if c.Cluster.Env != "qa" {
			t.Errorf("qa is told of %s", c.Cluster.Ref())
		}
	}
}

// wrote is the error of a record.
func wrote(_ bool, err error) error { return err }
