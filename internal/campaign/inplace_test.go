package campaign

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

const inPlaceExample = "../../examples/inplace-campaign.yaml"

// threeNodes is the example's fleet with a second replica in every cell.
func threeNodes(t *testing.T) fleet.Fleet {
	t.Helper()
	f := exampleFleet(t)
	for i := range f.Environments {
		for j := range f.Environments[i].Clusters {
			cell := &f.Environments[i].Clusters[j].Cells[0]
			for n := len(cell.Nodes); n < 3; n++ {
				cell.Nodes = append(cell.Nodes, fleet.Node{Name: fmt.Sprintf("%s-%d", f.Environments[i].Clusters[j].Name, n+1), Address: fmt.Sprintf("10.9.%d.%d:%d", i, j, 3300+n)})
			}
		}
	}
	return f
}

func TestInPlaceFile(t *testing.T) {
	c := parseFile(t, inPlaceExample)
	if !c.InPlace() || c.FromCell != "blue" || c.ToCell != "blue" {
		t.Errorf("got %+v", c)
	}
	want := map[string]time.Duration{"upgrade-replicas": 24 * time.Hour, "switch-primary": 48 * time.Hour}
	if diff := cmp.Diff(want, c.Soak.Stages); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// The plan is proved by the product's policy, as every strategy's is; go test -update writes its text anew.
func TestInPlacePlan(t *testing.T) {
	p := PlanOf(parseFile(t, inPlaceExample), exampleFleet(t), planDay)
	if len(p.Findings) > 0 {
		t.Errorf("the examples don't fit each other: %v", p.Findings)
	}
	if p.NoReturn != strategy.StageUpgradeLast || len(p.Path.Hops) != 1 || len(p.Path.Hops[0].Steps) != 3 || p.Path.Strategy != "inplace" {
		t.Errorf("got %+v", p.Path)
	}
	golden(t, p, "inplace")
}

func TestInPlaceCheck(t *testing.T) {
	for name, c := range map[string]struct {
		change func(cell *fleet.Cell) // of qa/stock
		want   []string
	}{
		"it fits": {func(*fleet.Cell) {}, nil},
		"one node": {func(cell *fleet.Cell) { cell.Nodes = cell.Nodes[:1] },
			[]string{`strategy: 1 cluster has one node in the cell "blue": raised in place, it would be down meanwhile: qa/stock (add a replica to the cell, or take the strategy bluegreen)`}},
		"two nodes and readers": {func(cell *fleet.Cell) { cell.Nodes, cell.Gateway.ReadOnly = cell.Nodes[:2], "10.9.9.9:3307" },
			[]string{`strategy: 1 cluster has two nodes in the cell "blue": while the replica is raised, no server is left for the read-only endpoint: qa/stock (add a second replica to the cell, take "read_only" from its gateway if nobody uses it, or take the strategy bluegreen)`}},
		"two nodes without readers": {func(cell *fleet.Cell) { cell.Nodes, cell.Gateway.ReadOnly = cell.Nodes[:2], "" }, nil},
		"no gateway": {func(cell *fleet.Cell) { cell.Gateway = nil },
			[]string{`clusters: 1 cluster has no gateway in the cell "blue": qa/stock (add "gateway" to the cell in the fleet file: the strategy inplace holds and moves clients with it)`}},
		"another version": {func(cell *fleet.Cell) { cell.Version = "10.6" },
			[]string{`from: 1 cluster has another version than 10.11 in the cell "blue": qa/stock (10.6) (correct the version here or in the fleet, or exclude these clusters)`}},
		"a cluster on its way is judged by observation": {func(cell *fleet.Cell) { cell.Nodes[1].Version = "11.8" }, nil},
		"and one that is there":                         {func(cell *fleet.Cell) { cell.Version = "11.8" }, nil},
		"no such cell": {func(cell *fleet.Cell) { cell.Name = "red" },
			[]string{`cells.from: 1 cluster has no cell "blue": qa/stock (name the cell that is in service, or exclude these clusters)`}},
	} {
		t.Run(name, func(t *testing.T) {
			camp, f := parseFile(t, inPlaceExample), threeNodes(t)
			c.change(&f.Environments[0].Clusters[1].Cells[0])
			var got []string
			for _, finding := range camp.Check(f, planDay) {
				got = append(got, finding.String())
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// From the end of switch-primary on the primary is to be on the new version, and the old primary may follow it; tearing the way back down
// waits until it is known to be open.
func TestInPlaceDecide(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	c := Defaults()
	c.Name, c.Strategy, c.Product, c.From, c.To, c.Environments = "raise", "inplace", "mariadb", "10.11", "11.8", []string{"qa"}
	c.FromCell, c.ToCell, c.Soak, c.Schedule = "blue", "blue", Soak{}, Schedule{TimeZone: "UTC", Always: true}
	primary := func(v string) Seen { return Seen{Role: fleet.RolePrimary, Version: v} }
	replica := func(v string) Seen { return Seen{Role: fleet.RoleReplica, Version: v} }
	for name, x := range map[string]struct {
		stage, version string
		seen           []Seen
		back           *fleet.WayBack
		start, code    string
	}{
		"at the beginning":                              {"", "10.11.19", []Seen{primary("10.11.19"), replica("10.11.19")}, nil, "upgrade-replicas", ""},
		"the replicas are raised":                       {"upgrade-replicas", "10.11.19", []Seen{primary("10.11.19"), replica("11.8.6")}, nil, "switch-primary", ""},
		"the switch is made, as it will find":           {"upgrade-replicas", "11.8.6", []Seen{primary("11.8.6"), replica("10.11.19")}, nil, "switch-primary", ""},
		"somebody raised the primary":                   {"", "11.8.6", []Seen{primary("11.8.6"), replica("11.8.6")}, nil, "", CodeVersion},
		"trap 18: an old replica before the switch":     {"", "11.8.6", []Seen{primary("11.8.6"), replica("10.11.19")}, nil, "", CodePolicy},
		"the way back is open":                          {"switch-primary", "11.8.6", []Seen{primary("11.8.6"), replica("10.11.19"), replica("11.8.6")}, &fleet.WayBack{Open: true}, "upgrade-last", ""},
		"trap 19: it is broken":                         {"switch-primary", "11.8.6", []Seen{primary("11.8.6"), replica("11.8.6")}, &fleet.WayBack{Detail: "stopped"}, "", CodeWayBack},
		"nothing is known of it":                        {"switch-primary", "11.8.6", []Seen{primary("11.8.6"), replica("10.11.19")}, nil, "", CodeWayBack},
		"the primary is on the old version, by no step": {"switch-primary", "10.11.19", []Seen{primary("10.11.19"), replica("11.8.6")}, &fleet.WayBack{Open: true}, "", CodeVersion},
	} {
		t.Run(name, func(t *testing.T) {
			p := Progress{Ref: fleet.ClusterRef{Env: "qa", Name: "orders"}, Stage: x.stage, Since: now.Add(-time.Hour), Version: x.version, Observed: now, Looked: now, Seen: x.seen, WayBack: x.back}
			d := Decide(Snapshot{Campaign: c, Status: "running", Clusters: []Progress{p}}, now)[0]
			var codes []string
			if d.Hold != nil {
				for _, r := range d.Hold.Reasons {
					codes = append(codes, r.Code)
				}
			}
			if d.Start != x.start || x.code != "" && !strings.Contains(" "+strings.Join(codes, " ")+" ", " "+x.code+" ") {
				t.Errorf("starts %q, held by %v: %+v", d.Start, codes, d.Hold)
			}
		})
	}
}

// Before the first stage every replica is on the old version: one that was raised by hand has no copy to go back to. It is named; afterwards
// it is what the stage makes.
func TestInPlaceHoldsBesideAReplicaRaisedByHand(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	node := func(cell, name string, role fleet.Role, version string) fleet.NodeObservation {
		return fleet.NodeObservation{Cell: cell, Node: name, Role: role, Version: version}
	}
	primary, replica := node("blue", "orders-1", fleet.RolePrimary, "10.11.19-MariaDB"), node("blue", "orders-2", fleet.RoleReplica, "10.11.19-MariaDB")
	for name, x := range map[string]struct {
		strategy, stage string
		third           fleet.NodeObservation
		looked          time.Duration // before the end of the last stage
		nameless        bool          // as a release wrote it that did not keep the name
		want            string
	}{
		"raised by hand":                       {third: node("blue", "orders-3", fleet.RoleReplica, "11.8.6-MariaDB"), want: "of its replicas orders-3 runs 11.8.6-MariaDB; before upgrade-replicas it should be on 10.11"},
		"on a third version":                   {third: node("blue", "orders-3", fleet.RoleReplica, "11.4.2-MariaDB"), want: "orders-3 runs 11.4.2-MariaDB"},
		"its name was not kept":                {third: node("blue", "orders-3", fleet.RoleReplica, "11.8.6-MariaDB"), nameless: true, want: "of its replicas one runs 11.8.6-MariaDB"},
		"all are on the old one":               {third: node("blue", "orders-3", fleet.RoleReplica, "10.11.18-MariaDB")},
		"in another cell":                      {third: node("report", "orders-3", fleet.RoleReplica, "11.8.6-MariaDB")},
		"seen before the stage was undone":     {third: node("blue", "orders-3", fleet.RoleReplica, "11.8.6-MariaDB"), looked: time.Hour},
		"after the stage that raises it":       {stage: "upgrade-replicas", third: node("blue", "orders-3", fleet.RoleReplica, "11.8.6-MariaDB")},
		"it is no concern of another strategy": {strategy: "bluegreen", third: node("blue", "orders-3", fleet.RoleReplica, "11.8.6-MariaDB")},
	} {
		t.Run(name, func(t *testing.T) {
			c := Defaults()
			c.Name, c.Strategy, c.Product, c.From, c.To, c.Environments = "raise", "inplace", "mariadb", "10.11", "11.8", []string{"qa"}
			c.FromCell, c.ToCell, c.Soak, c.Schedule = "blue", "blue", Soak{}, Schedule{TimeZone: "UTC", Always: true}
			if x.strategy != "" {
				c.Strategy, c.ToCell = x.strategy, "green"
			}
			p := Progress{Ref: fleet.ClusterRef{Env: "qa", Name: "orders"}, Stage: x.stage, Since: now.Add(-time.Minute), Version: primary.Version, Observed: now, Looked: now.Add(-x.looked), Received: now.Add(-x.looked),
				Seen: SeenIn(fleet.Observation{Nodes: []fleet.NodeObservation{primary, replica, x.third}})}
			if x.nameless {
				for i := range p.Seen {
					p.Seen[i].Node = ""
				}
			}
			d := Decide(Snapshot{Campaign: c, Status: StatusRunning, Clusters: []Progress{p}}, now)[0]
			switch {
			case x.want == "" && d.Start == "":
				t.Errorf("held: %+v", d.Hold)
			case x.want != "" && (d.Hold == nil || d.Hold.Reasons[0].Code != CodeVersion || !strings.Contains(d.Hold.Reasons[0].Message, x.want) || !strings.Contains(d.Hold.Reasons[0].Release, "seeded anew on 10.11")):
				t.Errorf("starts %q, held by %+v", d.Start, d.Hold)
			}
		})
	}
}

// Every stage of the forecast comes, the soaks between them too.
func TestInPlaceForecast(t *testing.T) {
	c := plain()
	c.Strategy, c.Environments, c.FromCell, c.ToCell = "inplace", []string{"qa"}, "blue", "blue"
	c.Soak = Soak{Stages: map[string]time.Duration{"switch-primary": 48 * time.Hour}}
	c.Schedule.Every = time.Hour
	monday := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	f := forecastOf(world(c, "qa/a"), monday, map[string]time.Duration{"": time.Hour})
	if len(f.Stuck) > 0 || f.Starts != 3 || f.End.Sub(monday) < 50*time.Hour {
		t.Errorf("got %+v", f)
	}
}

// The versions are judged before each step as they are, and as the step would leave them (V5).
func TestInPlaceBeforeStep(t *testing.T) {
	camp := Defaults()
	camp.Strategy, camp.Product, camp.From, camp.To, camp.FromCell, camp.ToCell = "inplace", "mariadb", "10.11", "11.8", "blue", "blue"
	node := func(name string, role fleet.Role, version string) fleet.NodeObservation {
		return fleet.NodeObservation{Cell: "blue", Node: name, Role: role, Version: version}
	}
	const old, new = "10.11.19-MariaDB", "11.8.6-MariaDB"
	for name, x := range map[string]struct {
		stage   string
		kind    strategy.Kind
		nodes   []fleet.NodeObservation
		verdict check.Verdict
		want    string
	}{
		"before the first replica":                  {strategy.StageUpgradeReplicas, strategy.UpgradeReplicas, []fleet.NodeObservation{node("1", fleet.RolePrimary, old), node("2", fleet.RoleReplica, old)}, check.Pass, ""},
		"the primary was raised by hand":            {strategy.StageUpgradeReplicas, strategy.UpgradeReplicas, []fleet.NodeObservation{node("1", fleet.RolePrimary, new), node("2", fleet.RoleReplica, old)}, check.Fail, "replica is never older than source"},
		"before the switch":                         {strategy.StageSwitchPrimary, strategy.SwitchPrimary, []fleet.NodeObservation{node("1", fleet.RolePrimary, old), node("2", fleet.RoleReplica, new)}, check.Pass, ""},
		"a replica came back far too old":           {strategy.StageSwitchPrimary, strategy.PreflightPrimary, []fleet.NodeObservation{node("1", fleet.RolePrimary, "10.5.2"), node("2", fleet.RoleReplica, new), node("3", fleet.RoleReplica, "10.5.2")}, check.Fail, "may be at most 2 newer"},
		"a switch was broken off behind its commit": {strategy.StageSwitchPrimary, strategy.SwitchPrimary, []fleet.NodeObservation{node("1", fleet.RoleReplica, old), node("2", fleet.RolePrimary, new)}, check.Pass, ""},
		"before the last":                           {strategy.StageUpgradeLast, strategy.UpgradeLast, []fleet.NodeObservation{node("1", fleet.RoleReplica, old), node("2", fleet.RolePrimary, new)}, check.Pass, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p, _ := strategy.InPlace().Expand(x.stage, strategy.Forward)
			i := 0
			for p.Steps[i].Kind != x.kind {
				i++
			}
			if !camp.GuardsStep(p, i) {
				t.Fatal("it is not judged")
			}
			cs := camp.BeforeStep(p, i, fleet.Observation{At: time.Unix(1, 0), Nodes: x.nodes})
			if len(cs) != 1 || cs[0].Verdict != x.verdict || !strings.Contains(cs[0].Detail, x.want) {
				t.Errorf("got %+v", cs)
			}
		})
	}
}
