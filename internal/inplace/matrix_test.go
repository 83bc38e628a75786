package inplace_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/engine/enginetest"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/inplace"
	"github.com/windlass-db/windlass/internal/strategy"
)

// modelSeeds is the storage for bluegreen's one handler.
type modelSeeds struct{ modelStorage }

func (modelSeeds) Seeded(context.Context, bluegreen.SeedRequest) (bool, check.Results, error) {
	return false, nil, errModel
}

func (modelSeeds) Seed(context.Context, bluegreen.SeedRequest, json.RawMessage, bluegreen.Save) error {
	return errModel
}

func (modelSeeds) Forget(context.Context, fleet.Cluster, string, int64) error { return errModel }

// modelBlueGreen is the switcher for it.
type modelBlueGreen struct{ modelSwitcher }

func (modelBlueGreen) SafeToRemove(context.Context, fleet.Cluster, string) (check.Results, error) {
	return nil, errModel
}

func (m *model) handlers(t *testing.T) engine.Handlers {
	p := ports{m}
	list := inplace.Handlers(inplace.Ports{Nodes: modelNodes{p}, Storage: modelStorage{p}, Switcher: modelSwitcher{p}, Gateways: modelGateways{p}, SwitchPoints: switchPoints})
	for _, h := range bluegreen.Handlers(bluegreen.Ports{Storage: modelSeeds{modelStorage{p}}, Switcher: modelBlueGreen{modelSwitcher{p}}}) {
		if h.Kind == strategy.ProveWrites {
			list = append(list, h)
		}
	}
	for i := range list {
		h := &list[i]
		for way, act := range map[string]*engine.Act{"forward": &h.Forward, "back": &h.Back} {
			if observe := act.Observe; observe != nil {
				act.Observe = func(ctx context.Context, c *engine.Call) (engine.Observation, error) {
					if err := m.look(way + " " + string(h.Kind)); err != nil {
						return engine.Observation{}, err
					}
					return observe(ctx, c)
				}
			}
		}
	}
	hs, err := engine.NewHandlers(list...)
	if err != nil {
		t.Fatal(err)
	}
	return hs
}

// scenario is a world in which a stage meets some of its edges.
type scenario struct {
	name    string
	setup   func(m *model)
	outcome engine.Outcome
	is      string // versions and the primary at the end
}

// is says in one line where the cell stands: each node's version, with * for the primary, ! for one that is down, and + for a copy that is kept.
func (m *model) is() string {
	var all []string
	for _, n := range m.nodes {
		s := n.version
		if n.writable {
			s += "*"
		}
		if !n.running {
			s += "!"
		}
		if n.kept != "" {
			s += "+"
		}
		all = append(all, s)
	}
	return strings.Join(all, " ")
}

// at takes the model to the end of earlier stages.
func (m *model) at(replicas, primary bool) fleet.Cluster {
	cl := m.cluster()
	if !replicas {
		return cl
	}
	for i, n := range m.nodes[1:] {
		n.version, n.kept, n.keptHas = "11.8", "10.11", n.has
		cl.Cells[0].Nodes[i+1].Version = "11.8"
	}
	if primary {
		m.nodes[0].writable, m.nodes[1].writable = false, true
		m.nodes[0].source, m.nodes[1].source, m.nodes[2].source = "orders-2", "", "orders-2"
	}
	return cl
}

const leaseTTL = 30 * time.Second

// runStage takes a stage to its end, by one supervisor after the other; at may kill one.
func runStage(t *testing.T, m *model, cl fleet.Cluster, plan strategy.Plan, at func(engine.Edge)) (engine.Outcome, string, engine.Assignment) {
	return runAborted(t, m, cl, plan, func(e engine.Edge, _ func()) {
		if at != nil {
			at(e)
		}
	})
}

// runAborted is runStage with an at that may abort the action.
func runAborted(t *testing.T, m *model, cl fleet.Cluster, plan strategy.Plan, at func(e engine.Edge, abort func())) (engine.Outcome, string, engine.Assignment) {
	c := campaign.Defaults()
	c.Strategy, c.Product, c.From, c.To, c.FromCell, c.ToCell = "inplace", "mariadb", "10.11", "11.8", "blue", "blue"
	mem := enginetest.NewMemory(time.Now)
	mem.Add(engine.Assignment{ActionID: 1, LeaseTTL: leaseTTL, Campaign: c, Cluster: cl, Plan: plan})
	o := engine.Options{At: func(e engine.Edge) { at(e, func() { mem.Abort(1) }) }, Log: slog.New(slog.DiscardHandler)}
	outcome, message := enginetest.Finish(t, mem, 1, 200_000*time.Second, func() engine.Handlers { return m.handlers(t) }, o)
	last, _, _ := mem.Action(1)
	return outcome, message, last
}

// TestAKillAtEveryEdge kills the supervisor once at each edge that the code lists for each stage, forward and back, and wants the same end as
// without. Every edge has to be met by some scenario. After every change the invariants are looked at: one writable node,
// which has every write; reads that are served by a node that runs; no old replica of a newer source but the one old primary.
func TestAKillAtEveryEdge(t *testing.T) {
	slow := func(m *model) { m.away = 90 * time.Second }
	never := func(what, node string) func(m *model) {
		return func(m *model) {
			slow(m)
			m.refuse = func(w, n string) error {
				if w == what && (node == "" || n == node) {
					return &engine.Refusal{Err: errors.New("no")}
				}
				return nil
			}
		}
	}
	// stuck: a change is refused, and so is its undo.
	stuck := func(whats ...string) func(m *model) {
		return func(m *model) {
			slow(m)
			m.refuse = func(w, n string) error {
				if slices.Contains(whats, w) || slices.Contains(whats, w+" "+n) {
					return &engine.Refusal{Err: errors.New("no")}
				}
				return nil
			}
		}
	}
	blind := func(step string) func(m *model) {
		return func(m *model) {
			slow(m)
			m.awayUntil[step] = time.Now().Add(100 * time.Hour)
		}
	}
	const start, raised, moved, end = "10.11* 10.11 10.11", "10.11* 11.8+ 11.8+", "10.11 11.8*+ 11.8+", "11.8 11.8* 11.8"
	total := 0
	for _, x := range []struct {
		stage             string
		dir               strategy.Direction
		replicas, primary bool
		scenarios         []scenario
	}{
		{strategy.StageUpgradeReplicas, strategy.Forward, false, false, []scenario{
			{"completes", slow, engine.Completed, raised},
			{"the second node does not come up", never("upgrade", "orders-3"), engine.WentBack, start},
			{"the marked row does not arrive", never("prove", ""), engine.WentBack, start},
			{"and a copy can't be put back", stuck("prove", "restore"), engine.NeedsHuman, "10.11* 11.8+ 11.8!+"},
			{"nothing is ever seen", blind("forward check-replicas"), engine.WentBack, start},
		}},
		{strategy.StageUpgradeReplicas, strategy.Back, true, false, []scenario{
			{"completes", slow, engine.Completed, start},
			{"a copy can't be put back", never("restore", "orders-2"), engine.NeedsHuman, "10.11* 11.8!+ 10.11"},
		}},
		{strategy.StageSwitchPrimary, strategy.Forward, true, false, []scenario{
			{"completes", slow, engine.Completed, moved},
			{"the marked row does not arrive", never("prove", ""), engine.WentBack, raised},
			{"the switch is refused", never("switch", "orders-2,orders-3"), engine.WentBack, raised},
			{"the way back does not open", blind("forward watch-old-primary"), engine.WentBack, raised},
			{"and so is the way back", stuck("switch", "prove"), engine.NeedsHuman, raised},
		}},
		{strategy.StageSwitchPrimary, strategy.Back, true, true, []scenario{
			{"completes", slow, engine.Completed, raised},
			{"the switch is refused", never("switch", "orders-1"), engine.NeedsHuman, moved},
		}},
		{strategy.StageUpgradeLast, strategy.Forward, true, true, []scenario{
			{"completes", slow, engine.Completed, end},
			{"nothing is ever seen", blind("forward check-last"), engine.NeedsHuman, moved},
			{"the old primary does not come up", never("upgrade", ""), engine.NeedsHuman, "10.11!+ 11.8*+ 11.8+"},
			{"the marked row does not arrive", never("prove", ""), engine.NeedsHuman, "11.8+ 11.8*+ 11.8+"},
			{"a copy can't be deleted", never("discard", ""), engine.NeedsHuman, "11.8+ 11.8*+ 11.8+"},
		}},
	} {
		plan, ok := strategy.InPlace().Expand(x.stage, x.dir)
		if !ok {
			t.Fatal(x.stage)
		}
		for i := range plan.Steps { // every look and every change fails for 90 s at first
			plan.Steps[i].Deadline = max(plan.Steps[i].Deadline, 20*time.Minute)
		}
		t.Run(fmt.Sprintf("%s %s", x.stage, x.dir), func(t *testing.T) {
			met, listed := map[string]bool{}, map[string]bool{}
			edges := engine.Edges(plan, newModel().handlers(t))
			for _, e := range edges {
				listed[e.String()] = true
			}
			run := func(s scenario, edge string, at func(engine.Edge)) {
				synctest.Test(t, func(t *testing.T) {
					m := newModel()
					cl := m.at(x.replicas, x.primary)
					s.setup(m)
					outcome, message, a := runStage(t, m, cl, plan, at)
					if outcome != s.outcome || m.is() != s.is || len(m.broke) > 0 {
						t.Errorf("%s, killed at %q: ended %s with %s (%s), want %s with %s; broken: %v", s.name, edge, outcome, m.is(), message, s.outcome, s.is, m.broke)
					}
					if outcome != engine.NeedsHuman {
						m.whole(t, s.name+", killed at "+edge, a.Cluster.Cells[0])
					}
				})
			}
			kills := 0
			for _, s := range x.scenarios {
				here := map[string]bool{}
				run(s, "", func(e engine.Edge) { here[e.String()] = true })
				for _, e := range slices.Sorted(maps.Keys(here)) {
					if !listed[e] {
						t.Errorf("%s: edge %s was met but is not listed", s.name, e)
					}
					if met[e] {
						continue // one scenario is enough for each
					}
					met[e] = true
					hit := false
					run(s, e, func(edge engine.Edge) {
						if edge.String() == e && !hit {
							hit = true
							runtime.Goexit()
						}
					})
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
			total += kills
			t.Logf("%d edges, %d kills", len(edges), kills)
		})
	}
	t.Logf("%d kills", total)
}

// TestAnAbortAtEveryEdgeOfTheSwitch aborts the action at each edge of the step that moves the primary, with its supervisor alive, which a
// heartbeat tells there, and killed. The old primary is the primary again, also from after the promotion, and nobody is needed.
func TestAnAbortAtEveryEdgeOfTheSwitch(t *testing.T) {
	plan, _ := strategy.InPlace().Expand(strategy.StageSwitchPrimary, strategy.Forward)
	aborts := 0
	for _, e := range engine.Edges(plan, newModel().handlers(t)) {
		if e.Kind != strategy.SwitchPrimary || e.Undo {
			continue
		}
		for _, killed := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				m := newModel()
				m.away = time.Minute // so that it waits, too
				hit := false
				outcome, message, a := runAborted(t, m, m.at(true, false), plan, func(edge engine.Edge, abort func()) {
					if edge != e || hit {
						return
					}
					hit = true
					abort()
					if killed {
						runtime.Goexit()
					}
					time.Sleep(leaseTTL / 2)
				})
				what := fmt.Sprintf("aborted at %s, killed %v", e, killed)
				if !hit || outcome != engine.Aborted || m.is() != "10.11* 11.8+ 11.8+" || len(m.broke) > 0 {
					t.Errorf("%s (met: %v): ended %s (%s) with %s; broken: %v", what, hit, outcome, message, m.is(), m.broke)
				}
				m.whole(t, what, a.Cluster.Cells[0])
				aborts++
			})
		}
	}
	t.Logf("%d aborts", aborts)
}

// whole sees that nothing is left half done: every node runs and follows, the gateway reads from all, and the state says what is there.
func (m *model) whole(t *testing.T, what string, cell fleet.Cell) {
	p := m.primary()
	if p == nil {
		t.Errorf("%s: no node is writable", what)
		return
	}
	for i, n := range m.nodes {
		if !n.running || n != p && (n.source != p.name || n.has < p.has) {
			t.Errorf("%s: %+v", what, *n)
		}
		if !slices.Contains(m.local, n.address()) {
			t.Errorf("%s: the gateway does not read from %s", what, n.name)
		}
		if v := cell.VersionOf(cell.Nodes[i]); v != n.version {
			t.Errorf("%s: the state says %s of %s, which is on %s", what, v, n.name, n.version)
		}
	}
}

// No node is taken out while another one is not well: nobody would be left to serve.
func TestNoNodeIsTakenOutBesideASickOne(t *testing.T) {
	plan, _ := strategy.InPlace().Expand(strategy.StageUpgradeReplicas, strategy.Forward)
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		died := false
		outcome, message, _ := runStage(t, m, m.cluster(), plan, func(e engine.Edge) {
			if e.Kind == strategy.UpgradeReplicas && !died { // after the check has passed
				died = true
				m.node("orders-3").running = false
			}
		})
		if n := m.node("orders-2"); outcome == engine.Completed || n.version != "10.11" || n.kept != "" || len(m.local) != 3 {
			t.Errorf("ended %s (%s) with %s, reads from %v", outcome, message, m.is(), m.local)
		}
	})
}

// A copy that is put back catches up from the primary's binary log: where that is not kept for long enough nothing is begun. That rows are
// not compared is said.
func TestBinaryLogsHaveToReachBackToTheCopies(t *testing.T) {
	plan, _ := strategy.InPlace().Expand(strategy.StageUpgradeReplicas, strategy.Forward)
	for keeps, want := range map[time.Duration]engine.Outcome{time.Hour: engine.WentBack, 30 * 24 * time.Hour: engine.Completed, 0: engine.Completed} {
		synctest.Test(t, func(t *testing.T) {
			m := newModel()
			m.keeps = keeps
			outcome, message, a := runStage(t, m, m.cluster(), plan, nil)
			if touched := m.node("orders-2").version != "10.11"; outcome != want || touched != (want == engine.Completed) {
				t.Errorf("logs are kept for %v: ended %s (%s) with %s", keeps, outcome, message, m.is())
			}
			said := fmt.Sprint(message, a.Steps[0].Checks)
			if !strings.Contains(said, "binlogs-kept") || want == engine.Completed && !strings.Contains(said, "rows-compared") {
				t.Errorf("what is said is %s", said)
			}
		})
	}
}
