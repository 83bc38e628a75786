package campaign

import (
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/config"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/policy"
	"github.com/windlass-db/windlass/internal/strategy"
	"github.com/windlass-db/windlass/products"
)

// Versions that were seen together and may not be are a hold with the pair, the rule, and a way on (V5; trap 18 for the way back).
func TestMixedStates(t *testing.T) {
	primary := func(v string) Seen { return Seen{Role: fleet.RolePrimary, Version: v} }
	replica := func(v string) Seen { return Seen{Role: fleet.RoleReplica, Version: v} }
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		stage string
		seen  []Seen
		stale bool
		want  string // part of the message; "": no hold by the policy
	}{
		"nothing was seen":                               {stage: "", seen: nil},
		"all on the old version":                         {stage: "", seen: []Seen{primary("10.11.19-MariaDB"), replica("10.11.19-MariaDB")}},
		"new replicas beside":                            {stage: strategy.StageVerify, seen: []Seen{primary("10.11.19-MariaDB"), replica("10.11.19-MariaDB"), replica("11.8.6-MariaDB")}},
		"the way back":                                   {stage: strategy.StageSwitchStorage, seen: []Seen{primary("11.8.6-MariaDB"), replica("10.11.19-MariaDB")}},
		"a primary upgraded by hand":                     {stage: "", seen: []Seen{primary("11.8.6-MariaDB"), replica("10.11.19-MariaDB")}, want: "replica 10.11.19-MariaDB may not meet source 11.8.6-MariaDB: replica is never older than source"},
		"the same, seen before the stage ended":          {stage: strategy.StageCreate, seen: []Seen{primary("11.8.6-MariaDB"), replica("10.11.19-MariaDB")}, stale: true},
		"a node came back far too old":                   {stage: strategy.StageSwitchStorage, seen: []Seen{primary("11.8.6-MariaDB"), replica("10.5.2-MariaDB")}, want: "at most 2 newer"},
		"a version that nobody knows":                    {stage: "", seen: []Seen{primary("12.9.1-MariaDB")}, want: "of no release of mariadb"},
		"detached nodes meet nobody":                     {stage: "", seen: SeenIn(fleet.Observation{Nodes: []fleet.NodeObservation{{Role: fleet.RolePrimary, Version: "10.11.19"}, {Role: fleet.RoleDetached, Version: "11.8.6"}, {Role: fleet.RoleUnknown}}})},
		"an upgraded replica is legal before a campaign": {stage: "", seen: []Seen{primary("10.11.19-MariaDB"), replica("11.8.6-MariaDB")}},
	} {
		t.Run(name, func(t *testing.T) {
			camp := Defaults()
			camp.Name, camp.Product, camp.From, camp.To, camp.Environments, camp.Schedule.Always = "up", "mariadb", "10.11", "11.8", []string{"qa"}, true
			p := Progress{Ref: fleet.ClusterRef{Env: "qa", Name: "a"}, Stage: c.stage, Since: now.Add(-48 * time.Hour), Seen: c.seen, Looked: now.Add(-time.Minute), WayBack: &fleet.WayBack{Open: true}}
			if c.stale {
				p.Looked = p.Since.Add(-time.Minute)
			}
			d := Decide(Snapshot{Campaign: camp, Status: StatusRunning, Clusters: []Progress{p}}, now)[0]
			var got Reason
			if d.Hold != nil {
				for _, r := range d.Hold.Reasons {
					if r.Code == CodePolicy {
						got = r
					}
				}
			}
			if c.want == "" && got.Code != "" || !strings.Contains(got.Message, c.want) || c.want != "" && got.Release == "" {
				t.Errorf("held by %+v, want %q", got, c.want)
			}
		})
	}
}

// The undo of a switch could not go on, and has left the primary on the new version. A person mended what was in its way and resumed: the
// switch is started, which looks before it acts. One stage earlier nothing of ours can have moved it.
func TestAnUndoThatCouldNotGoOnIsNoDeadEnd(t *testing.T) {
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	camp := Defaults()
	camp.Name, camp.Product, camp.From, camp.To, camp.Environments, camp.Schedule.Always = "up", "mariadb", "10.11", "11.8", []string{"qa"}, true
	for stage, want := range map[string]string{strategy.StageReplay: strategy.StageSwitchStorage, strategy.StageVerify: "", strategy.StageCreate: ""} {
		p := Progress{Ref: fleet.ClusterRef{Env: "qa", Name: "a"}, Stage: stage, Since: now.Add(-48 * time.Hour), Version: "11.8.6-MariaDB", Observed: now.Add(-time.Minute), Looked: now.Add(-time.Minute),
			Seen: []Seen{{Role: fleet.RolePrimary, Version: "11.8.6-MariaDB"}, {Role: fleet.RoleReplica, Version: "10.11.19-MariaDB"}}}
		d := Decide(Snapshot{Campaign: camp, Status: StatusRunning, Clusters: []Progress{p}}, now)[0]
		if d.Start != want {
			t.Errorf("after %s: starts %q, want %q; held by %+v", stage, d.Start, want, d.Hold)
		}
	}
}

// A call that stays in a cell is judged among the nodes of that cell: which one each is in, the inventory knows (V5).
func TestACallInsideACellIsJudgedThere(t *testing.T) {
	text, err := products.Files.ReadFile("mariadb.yaml")
	if err != nil {
		t.Fatal(err)
	}
	inside := strings.Replace(string(text), "to: source, source", "to: source, within: cell, source", 1) // the rule newer has no reach: out of the way
	inside = inside[:strings.Index(inside, "\nnewer:")+1] + inside[strings.Index(inside, "hops:"):]
	product, err := policy.Parse(config.Source{Name: "ours.yaml", Text: []byte(inside)})
	if err != nil {
		t.Fatal(err)
	}
	seen := func(cell string) []Seen {
		return SeenIn(fleet.Observation{Nodes: []fleet.NodeObservation{{Node: "a", Cell: "green", Role: fleet.RolePrimary, Version: "11.8.6-MariaDB"}, {Node: "b", Cell: cell, Role: fleet.RoleReplica, Version: "10.4.2-MariaDB"},
			{Node: "c", Cell: cell, Role: fleet.RoleReplica, Version: "10.4.2-MariaDB"}}})
	}
	if all := seen("blue"); len(all) != 2 {
		t.Errorf("seen: %v", all)
	}
	for cell, holds := range map[string]bool{"blue": false, "green": true, "": true} {
		r, bad := Campaign{}.judge(product, seen(cell), "", false)
		if bad != holds || holds && !strings.Contains(r.Message, "source 11.8.6-MariaDB in green: source may be at most 2 newer than replica, which calls it, in the same cell") {
			t.Errorf("a replica in cell %q: %v %q", cell, bad, r.Message)
		}
	}
}
