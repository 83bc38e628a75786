package inplace_test

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/strategy"
)

// reads sees that the gateway reads from every node.
func (m *model) reads(t *testing.T, what string) {
	for _, n := range m.nodes {
		if !slices.Contains(m.local, n.address()) {
			t.Errorf("%s: the gateway does not read from %s", what, n.name)
		}
	}
}

// A replica that was raised by hand has no copy, and so no way back: nothing is begun, and it goes on serving.
func TestNothingIsBegunBesideAReplicaRaisedByHand(t *testing.T) {
	plan, _ := strategy.InPlace().Expand(strategy.StageUpgradeReplicas, strategy.Forward)
	for kept, want := range map[string]string{"": "orders-2 runs 11.8.9, not 10.11, and there is no copy", "10.11": "don't delete the copy"} {
		synctest.Test(t, func(t *testing.T) {
			m := newModel()
			m.nodes[1].version, m.nodes[1].kept = "11.8", kept
			before := m.is()
			outcome, message, a := runStage(t, m, m.cluster(), plan, nil)
			if said := fmt.Sprint(message, a.Steps[0].Checks); outcome != engine.WentBack || m.is() != before || !strings.Contains(said, want) {
				t.Errorf("ended %s with %s: %s", outcome, m.is(), said)
			}
			m.reads(t, "a copy of "+kept)
		})
	}
}

// A replica is raised by hand, and the supervisor killed, at each edge of the step that raises replicas. Either that replica was raised already, and
// has its copy; or the step is refused, the other one is put back, and the one without a copy goes on serving and is named.
func TestAReplicaRaisedByHandAtEveryEdge(t *testing.T) {
	plan, _ := strategy.InPlace().Expand(strategy.StageUpgradeReplicas, strategy.Forward)
	ends := map[string]int{}
	for _, name := range []string{"orders-2", "orders-3"} {
		for nth := range 2 { // an edge is met once for each of the two replicas
			for _, e := range engine.Edges(plan, newModel().handlers(t)) {
				if e.Kind != strategy.UpgradeReplicas || e.Undo {
					continue
				}
				synctest.Test(t, func(t *testing.T) {
					m := newModel()
					n, met, byHand := m.node(name), 0, false
					outcome, message, a := runStage(t, m, m.cluster(), plan, func(edge engine.Edge) {
						if edge != e {
							return
						}
						if met++; met == nth+1 {
							if n.version == "10.11" {
								byHand, n.version = true, "11.8"
							}
							runtime.Goexit()
						}
					})
					what := fmt.Sprintf("%s at %s, time %d", name, e, nth+1)
					if len(m.broke) > 0 {
						t.Errorf("%s: broken: %v", what, m.broke)
					}
					m.reads(t, what)
					if !byHand {
						if outcome != engine.Completed {
							t.Errorf("%s: ended %s (%s) with %s", what, outcome, message, m.is())
						}
						m.whole(t, what, a.Cluster.Cells[0])
						return
					}
					want := strings.Replace("10.11* orders-2 orders-3", name, "11.8", 1)
					want = strings.NewReplacer("orders-2", "10.11", "orders-3", "10.11").Replace(want)
					if outcome != engine.NeedsHuman || m.is() != want || !strings.Contains(message, name+" runs 11.8.9, and there is no copy of its data of 10.11") {
						t.Errorf("%s: ended %s (%s) with %s, want %s", what, outcome, message, m.is(), want)
					}
					ends[name]++
				})
			}
		}
	}
	if ends["orders-2"] < 3 || ends["orders-3"] < 6 {
		t.Errorf("raised by hand before the step came to it: %v", ends)
	}
}

// Raised between the check and the first node: no other node is touched any more.
func TestNoOtherNodeIsRaisedBesideOneRaisedByHand(t *testing.T) {
	plan, _ := strategy.InPlace().Expand(strategy.StageUpgradeReplicas, strategy.Forward)
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		outcome, message, _ := runStage(t, m, m.cluster(), plan, func(e engine.Edge) {
			if e.Kind == strategy.UpgradeReplicas {
				m.node("orders-3").version = "11.8"
			}
		})
		if _, touched := m.awayUntil["act upgrade"]; touched || outcome != engine.NeedsHuman || m.is() != "10.11* 10.11 11.8" {
			t.Errorf("another node was touched: %v; ended %s (%s) with %s", touched, outcome, message, m.is())
		}
		m.reads(t, "raised between")
	})
}

// The same, behind the provisioner's back: it has the node on the old version still, and would keep a copy of newer data as one of the old.
func TestAReplicaRaisedBehindTheProvisionersBack(t *testing.T) {
	plan, _ := strategy.InPlace().Expand(strategy.StageUpgradeReplicas, strategy.Forward)
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		m.nodes[2].behind = "11.8"
		if outcome, message, _ := runStage(t, m, m.cluster(), plan, nil); outcome != engine.WentBack || !strings.Contains(message, "check-replicas waited") {
			t.Errorf("raised before the stage: ended %s (%s)", outcome, message)
		}
	})
	kills := 0
	for _, e := range engine.Edges(plan, newModel().handlers(t)) {
		if e.Undo || e.Kind == strategy.ProveWrites {
			continue
		}
		synctest.Test(t, func(t *testing.T) {
			m := newModel()
			n, met := m.node("orders-3"), false
			outcome, message, a := runStage(t, m, m.cluster(), plan, func(edge engine.Edge) {
				if edge != e || met {
					return
				}
				if met = true; n.version == "10.11" {
					kills++
					n.behind = "11.8"
				}
				runtime.Goexit()
			})
			want, is := engine.WentBack, "10.11* 10.11 10.11"
			if n.behind == "" {
				want, is = engine.Completed, "10.11* 11.8+ 11.8+"
			}
			if said := fmt.Sprint(message, a.Steps[0].Checks); outcome != want || m.is() != is || len(m.broke) > 0 || n.behind != "" && !strings.Contains(said, "orders-3 runs 11.8.9-MariaDB, and the provisioner has it on 10.11") {
				t.Errorf("at %s: ended %s (%s) with %s; broken: %v", e, outcome, said, m.is(), m.broke)
			}
			m.reads(t, e.String())
		})
	}
	if kills < 8 {
		t.Errorf("it was raised so %d times", kills)
	}
}

// A provisioner may be cut off between the start of a raised node and its word that there is a copy: that node was not raised by hand.
func TestACopyThatIsToldOfLateIsACopy(t *testing.T) {
	plan, _ := strategy.InPlace().Expand(strategy.StageUpgradeReplicas, strategy.Forward)
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		m.late = true
		outcome, message, a := runStage(t, m, m.cluster(), plan, nil)
		if outcome != engine.Completed || m.is() != "10.11* 11.8+ 11.8+" || len(m.broke) > 0 {
			t.Errorf("ended %s (%s) with %s; broken: %v", outcome, message, m.is(), m.broke)
		}
		m.whole(t, "late", a.Cluster.Cells[0])
	})
}

// On the way back a node without a copy is not taken out of reads: all others are put back, and it is named. Seeded anew, it is no reason any more.
func TestANodeWithoutACopyStaysOnTheWayBack(t *testing.T) {
	plan, _ := strategy.InPlace().Expand(strategy.StageUpgradeReplicas, strategy.Back)
	for i, want := range map[int]string{1: "10.11* 11.8 10.11", 2: "10.11* 10.11 11.8"} {
		synctest.Test(t, func(t *testing.T) {
			m := newModel()
			cl := m.at(true, false)
			n := m.nodes[i]
			n.kept = ""
			outcome, message, _ := runStage(t, m, cl, plan, func(engine.Edge) {
				if !slices.Contains(m.local, n.address()) {
					t.Errorf("%s is taken out of reads", n.name)
				}
			})
			if outcome != engine.NeedsHuman || m.is() != want || len(m.broke) > 0 || !strings.Contains(message, n.name+" runs 11.8.9, and there is no copy of its data of 10.11: it stays as it is") {
				t.Errorf("ended %s (%s) with %s; broken: %v", outcome, message, m.is(), m.broke)
			}
			m.reads(t, n.name)
			n.version = "10.11"
			outcome, message, a := runStage(t, m, cl, plan, nil)
			if outcome != engine.Completed {
				t.Errorf("seeded anew: ended %s (%s)", outcome, message)
			}
			m.whole(t, "seeded anew", a.Cluster.Cells[0])
		})
	}
}

// A copy that takes the data's place is no copy any more, and its node is on the new version until that is written down: it is put back all the same.
func TestANodeWhoseCopyIsBeingPutBackIsNotWithoutOne(t *testing.T) {
	plan, _ := strategy.InPlace().Expand(strategy.StageUpgradeReplicas, strategy.Back)
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		killed := false
		outcome, message, a := runStage(t, m, m.at(true, false), plan, func(e engine.Edge) {
			if killed || e.Point != "taken-out" {
				return
			}
			killed = true
			n := m.node("orders-3")
			n.running, n.changing, n.hidden = false, true, true
			runtime.Goexit()
		})
		if !killed || outcome != engine.Completed || m.is() != "10.11* 10.11 10.11" || len(m.broke) > 0 {
			t.Errorf("ended %s (%s) with %s; broken: %v", outcome, message, m.is(), m.broke)
		}
		m.whole(t, "swapped", a.Cluster.Cells[0])
	})
}

// What the action itself has raised is its own, although somebody has deleted the copy since.
func TestACopyDeletedByHandIsNotANodeRaisedByHand(t *testing.T) {
	plan, _ := strategy.InPlace().Expand(strategy.StageUpgradeReplicas, strategy.Forward)
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		deleted := false
		outcome, message, a := runStage(t, m, m.cluster(), plan, func(e engine.Edge) {
			if n := m.node("orders-2"); e.Point == "node-raised" && m.node("orders-3").version == "11.8" && !deleted {
				deleted, n.kept = true, ""
				runtime.Goexit()
			}
		})
		if !deleted || outcome != engine.Completed || m.is() != "10.11* 11.8 11.8+" {
			t.Errorf("ended %s (%s) with %s", outcome, message, m.is())
		}
		m.whole(t, "deleted", a.Cluster.Cells[0])
	})
}

// The old primary has no way back once it is to be raised: that a person has raised it is no reason to stop.
func TestAnOldPrimaryRaisedByHandIsRaised(t *testing.T) {
	plan, _ := strategy.InPlace().Expand(strategy.StageUpgradeLast, strategy.Forward)
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		cl := m.at(true, true)
		m.nodes[0].version = "11.8"
		outcome, message, a := runStage(t, m, cl, plan, nil)
		if outcome != engine.Completed || m.is() != "11.8 11.8* 11.8" {
			t.Errorf("ended %s (%s) with %s", outcome, message, m.is())
		}
		m.whole(t, "raised by hand", a.Cluster.Cells[0])
	})
}
