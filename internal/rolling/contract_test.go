package rolling

import (
	"context"
	"encoding/json"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

// after is a world after an upgrade, with what the old version used still in its database.
type after struct {
	*world
	opened time.Time // when the features were; zero: they are shut
	needed bool      // a statement of the new version fails without it
	gone   bool
}

func newAfter(t *testing.T) *after {
	w := newWorld(t, 3)
	w.camp.Strategy, w.camp.Contract = "contract", campaign.Contract{Window: 7 * 24 * time.Hour}
	w.schema = "1.1"
	for _, m := range w.nodes {
		m.version = "1.1"
	}
	w.spec.Cells[0].Version = "1.1"
	time.Sleep(8 * 24 * time.Hour)
	return &after{world: w, opened: time.Now().Add(-8 * 24 * time.Hour)}
}

type openedAt struct {
	features
	a *after
}

func (f openedAt) OpenedAt(context.Context, fleet.Cluster, string) (time.Time, bool, error) {
	return f.a.opened, !f.a.opened.IsZero(), nil
}

func (a *after) CheckContract(context.Context, fleet.Cluster, string) (check.Results, error) {
	if a.needed {
		return check.Results{check.Failed("old-statement-fails", "SELECT old_name FROM t", "leave the column", time.Now())}, nil
	}
	return check.Results{check.Passed("expand-only", "nothing fails", time.Now())}, nil
}

func (a *after) Contracted(context.Context, fleet.Cluster, string) (bool, check.Results, error) {
	if a.gone {
		return true, check.Results{check.Passed("contract", "gone", time.Now())}, nil
	}
	return false, check.Results{check.Failed("contract", "one statement is left", "", time.Now())}, nil
}

func (a *after) Contract(ctx context.Context, _ fleet.Cluster, _ string, term int64, _ json.RawMessage, save Save) error {
	for name, m := range a.nodes {
		if m.version != "1.1" {
			a.t.Errorf("a column is dropped while %s is on %s", name, m.version)
		}
	}
	if a.opened.IsZero() || time.Since(a.opened) < 7*24*time.Hour {
		a.t.Error("a column is dropped while somebody may want to go back")
	}
	if err := save(ctx, 1, 0.5, "half"); err != nil {
		return err
	}
	return a.act(a.spec.Cells[0].Nodes[0], term, func(*member) { a.gone = true })
}

// run runs the campaign's stages until one does not complete.
func (a *after) run(at func(engine.Edge)) (outcome engine.Outcome, message string) {
	p := a.ports()
	p.Features, p.Contracting = openedAt{features{a.world}, a}, a
	hs, err := engine.NewHandlers(ContractHandlers(p)...)
	if err != nil {
		a.t.Fatal(err)
	}
	a.own = &hs
	for i, st := range strategy.Contract().Stages {
		plan, _ := strategy.Contract().Expand(st.Name, strategy.Forward)
		if outcome, message = a.action(int64(i+1), plan, at); outcome != engine.Completed {
			return outcome, message
		}
	}
	return outcome, message
}

// TestContract: what the old version used is taken away only if nothing old is there, its features are open, the rollback window is over, and
// the new version works without it; also if its supervisor is killed at any edge.
func TestContract(t *testing.T) {
	for name, c := range map[string]struct {
		set     func(a *after)
		outcome engine.Outcome
		message string
	}{
		"all is new":                            {func(*after) {}, engine.Completed, ""},
		"the window is not over":                {func(a *after) { a.opened = time.Now().Add(-6 * 24 * time.Hour) }, engine.WentBack, "the rollback window of 168h0m0s ends at"},
		"the window is over soon":               {func(a *after) { a.opened = time.Now().Add(-7*24*time.Hour + 5*time.Minute) }, engine.Completed, ""},
		"the features are shut":                 {func(a *after) { a.opened = time.Time{} }, engine.WentBack, "the old version may come back"},
		"an old node":                           {func(a *after) { a.nodes["n2"].version = "1.0" }, engine.WentBack, "n2 is on 1.0"},
		"a server that the fleet does not have": {func(a *after) { a.foreign = []Backend{{Node: "n9", Up: true, Admitted: true, Weight: 100}} }, engine.WentBack, "n9, which the fleet does not have"},
		"a node that the database alone knows":  {func(a *after) { a.others = []string{"jobs-n9"} }, engine.WentBack, "jobs-n9, which the fleet does not have"},
		"the database does not tell":            {func(a *after) { a.mum = true }, engine.WentBack, "no answer"},
		"the new version needs it":              {func(a *after) { a.needed = true }, engine.WentBack, "SELECT old_name FROM t"},
		"the load balancer is silent":           {func(a *after) { a.deaf = true }, engine.WentBack, "no answer"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAfter(t)
				c.set(a)
				o, message := a.run(nil)
				if o != c.outcome || !strings.Contains(message, c.message) || a.gone != (c.outcome == engine.Completed) {
					t.Errorf("%s: %s; gone: %v", o, message, a.gone)
				}
			})
		})
	}
	var edges []string
	synctest.Test(t, func(t *testing.T) {
		newAfter(t).run(func(e engine.Edge) { edges = append(edges, e.String()) })
	})
	for _, e := range edges {
		synctest.Test(t, func(t *testing.T) {
			a, hit := newAfter(t), false
			o, message := a.run(func(at engine.Edge) {
				if at.String() == e && !hit {
					hit = true
					runtime.Goexit()
				}
			})
			if o != engine.Completed || !a.gone {
				t.Errorf("killed at %s: %s: %s", e, o, message)
			}
		})
	}
	t.Logf("%d kills", len(edges))
	// A node that comes back old between the proof and the act holds it.
	synctest.Test(t, func(t *testing.T) {
		a, once := newAfter(t), false
		o, message := a.run(func(e engine.Edge) {
			if e.String() == "contract/forward/1-contract-schema/intent/after" && !once {
				once = true
				a.mu.Lock()
				a.nodes["n3"].version = "1.0"
				a.mu.Unlock()
				time.AfterFunc(time.Hour, func() {
					a.mu.Lock()
					defer a.mu.Unlock()
					if a.gone {
						t.Error("it was taken away beside an old node")
					}
					a.nodes["n3"].version = "1.1"
				})
			}
		})
		if o != engine.Completed || !a.gone {
			t.Errorf("%s: %s", o, message)
		}
	})
}
