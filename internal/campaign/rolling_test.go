package campaign

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/config"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

const rollingExample = "../../examples/rolling/campaign.yaml"

func rollingFleet(t *testing.T) fleet.Fleet {
	t.Helper()
	text, err := os.ReadFile("../../examples/rolling/fleet.yaml")
	if err != nil {
		t.Fatal(err)
	}
	f, err := fleet.Parse(config.Source{Name: "fleet.yaml", Text: text})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestRollingFile(t *testing.T) {
	c := parseFile(t, rollingExample)
	want := Rolling{Group: "33%", LeastServing: 60, DrainWithin: time.Minute, HealthyWithin: 5 * time.Minute, SlowStart: 30 * time.Second, Watch: 2 * time.Minute}
	if !c.Rolls() || c.Rolling != want || c.FromCell != "" || c.Switch != (Switch{}) {
		t.Errorf("got %+v", c)
	}
	if diff := cmp.Diff(map[string]time.Duration{"canary": time.Hour, "nodes": 24 * time.Hour}, c.Soak.Stages); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// The plan names the nodes of each group, which are spread over zones; go test -update writes its text anew.
func TestRollingPlan(t *testing.T) {
	p := PlanOf(parseFile(t, rollingExample), rollingFleet(t), planDay)
	if len(p.Findings) > 0 {
		t.Errorf("the examples don't fit each other: %v", p.Findings)
	}
	if states, _ := p.Path.Proved(); p.NoReturn != strategy.StageFinalize || len(p.Path.Hops) != 1 || states < 5 {
		t.Errorf("got %d states, %+v", states, p.Path)
	}
	groups := p.Environments[1].Groups[0]
	if len(groups.Groups) != 4 || len(groups.Groups[0]) != 1 || groups.Least != 4 {
		t.Errorf("got %+v", groups)
	}
	golden(t, p, "rolling")
}

func TestRollingCheck(t *testing.T) {
	for name, x := range map[string]struct {
		change func(c *Campaign, f *fleet.Fleet)
		want   []string
	}{
		"it fits": {func(*Campaign, *fleet.Fleet) {}, nil},
		"a version is skipped": {func(c *Campaign, _ *fleet.Fleet) {
			c.Policy = NewPolicy("p.yaml", strings.Replace(c.Policy.Text, `["1.0", "1.1"]`, `["1.0", "1.1", "1.2"]`, 1))
			c.To = "1.2"
		}, []string{"to: from 1.0 to 1.2 it takes 2 hops, the first one to 1.1: to the next release (examples/jobs: no version is skipped) (go to a version that the policy allows; `windlass plan --product-file p.yaml --from 1.0 --to 1.2` shows the way)"}},
		"another version": {func(_ *Campaign, f *fleet.Fleet) { f.Environments[0].Clusters[0].Cells[0].Version = "0.9" },
			[]string{"from: 1 cluster has another version than 1.0: qa/jobs (0.9) (correct the version here or in the fleet, or exclude these clusters)"}},
		"two nodes": {func(_ *Campaign, f *fleet.Fleet) {
			f.Environments[0].Clusters[0].Cells[0].Nodes = f.Environments[0].Clusters[0].Cells[0].Nodes[:2]
		},
			[]string{"rolling.least_serving: 1 cluster has no node that could be taken out: qa/jobs (2 of 2 have to serve) (lower it, add a node, or exclude these clusters)"}},
		"a group of two of three": {func(c *Campaign, _ *fleet.Fleet) { c.Rolling.Group = "2" },
			[]string{"rolling.group: 1 cluster has too few nodes for a group of 2: qa/jobs (3 nodes, of which 2 have to serve) (write a smaller group, such as 1, or lower rolling.least_serving)"}},
	} {
		t.Run(name, func(t *testing.T) {
			c, f := parseFile(t, rollingExample), rollingFleet(t)
			x.change(&c, &f)
			var got []string
			for _, finding := range c.Check(f, planDay) {
				got = append(got, finding.String())
			}
			if diff := cmp.Diff(x.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestRollingDecide(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	c := parseFile(t, rollingExample)
	c.Environments, c.Approve, c.Soak, c.Schedule, c.SeenWithin = []string{"qa"}, nil, Soak{}, Schedule{TimeZone: "UTC", Always: true}, 0
	on := func(versions ...string) (all []Seen) {
		for _, v := range versions {
			all = append(all, Seen{Role: fleet.RoleServing, Version: v})
		}
		return all
	}
	for name, x := range map[string]struct {
		stage   string
		seen    []Seen
		unknown string
		start   string
		code    string
		says    string
	}{
		"at the beginning":                              {"", on("1.0.3"), "", "expand-schema", "", ""},
		"a newer node is there before its schema":       {"", on("1.0.3", "1.1.0"), "", "", CodePolicy, "schema is never older than node"},
		"a node that nobody knows":                      {"", on("1.0.3", "0.9.1"), "", "", CodeVersion, "a node serves on 0.9.1"},
		"the schema is there":                           {"expand-schema", on("1.0.3"), "", "canary", "", ""},
		"a canary that could not go back":               {"expand-schema", on("1.0.3", "1.1.0"), "", "canary", "", ""},
		"the canary serves":                             {"canary", on("1.0.3", "1.1.0"), "", "nodes", "", ""},
		"every node serves on the new version":          {"nodes", on("1.1.0"), "", "finalize", "", ""},
		"trap 39: an old node came back before the end": {"nodes", on("1.1.0", "1.0.3"), "", "", CodeVersion, "before finalize they should be on 1.1"},
		"what could not be read":                        {"canary", on("1.0.3"), "node n2: connection refused", "", CodeUnknown, "n2"},
	} {
		t.Run(name, func(t *testing.T) {
			p := Progress{Ref: fleet.ClusterRef{Env: "qa", Name: "jobs"}, Stage: x.stage, Since: now.Add(-time.Hour), Looked: now, Received: now, Seen: x.seen, Unknown: x.unknown}
			d := Decide(Snapshot{Campaign: c, Status: "running", Clusters: []Progress{p}}, now)[0]
			said := ""
			if d.Hold != nil {
				for _, r := range d.Hold.Reasons {
					said += fmt.Sprintf("%s: %s\n", r.Code, r.Message)
				}
			}
			if d.Start != x.start || !strings.Contains(said, x.code) || !strings.Contains(said, x.says) {
				t.Errorf("starts %q, held by %s", d.Start, said)
			}
		})
	}
}

// The versions are judged before each step as they are, and as the step would leave them (V5): on the schema that is there.
func TestRollingBeforeStep(t *testing.T) {
	c := parseFile(t, rollingExample)
	node := func(name string, role fleet.Role, version string) fleet.NodeObservation {
		return fleet.NodeObservation{Cell: "main", Node: name, Role: role, Version: version}
	}
	for name, x := range map[string]struct {
		stage   string
		kind    strategy.Kind
		nodes   []fleet.NodeObservation
		verdict check.Verdict
		want    string
	}{
		"before the schema":                {strategy.StageExpandSchema, strategy.ExpandSchema, []fleet.NodeObservation{node("1", fleet.RoleServing, "1.0.3")}, check.Pass, ""},
		"a newer node, before the schema":  {strategy.StageExpandSchema, strategy.CheckSchema, []fleet.NodeObservation{node("1", fleet.RoleServing, "1.1.0")}, check.Fail, "schema is never older than node"},
		"before the canary":                {strategy.StageCanary, strategy.UpgradeCanary, []fleet.NodeObservation{node("1", fleet.RoleServing, "1.0.3")}, check.Pass, ""},
		"an old node is too old for it":    {strategy.StageCanary, strategy.UpgradeCanary, []fleet.NodeObservation{node("1", fleet.RoleServing, "0.9")}, check.Fail, "of no release of jobs"},
		"a node is out, which is known":    {strategy.StageNodes, strategy.UpgradeNodes, []fleet.NodeObservation{node("1", fleet.RoleServing, "1.0.3"), node("2", fleet.RoleOut, "")}, check.Pass, ""},
		"a node of which nothing is known": {strategy.StageNodes, strategy.UpgradeNodes, []fleet.NodeObservation{node("1", fleet.RoleServing, "1.0.3"), node("2", fleet.RoleUnknown, "")}, check.Unknown, "main/2"},
	} {
		t.Run(name, func(t *testing.T) {
			p, _ := strategy.Rolling().Expand(x.stage, strategy.Forward)
			i := 0
			for p.Steps[i].Kind != x.kind {
				i++
			}
			cs := c.BeforeStep(p, i, fleet.Observation{At: time.Unix(1, 0), Nodes: x.nodes})
			if !c.GuardsStep(p, i) || len(cs) != 1 || cs[0].Verdict != x.verdict || !strings.Contains(cs[0].Detail, x.want) {
				t.Errorf("got %+v", cs)
			}
		})
	}
}

// Whatever the file accepts fits into the deadlines of the steps that obey it, which the plan shows.
func TestRollingDeadlines(t *testing.T) {
	c, f := parseFile(t, rollingExample), rollingFleet(t)
	c.Rolling.DrainWithin, c.Rolling.HealthyWithin, c.Rolling.SlowStart, c.Rolling.Watch = 24*time.Hour, 24*time.Hour, 24*time.Hour, 7*24*time.Hour
	const group = 14 * 24 * time.Hour
	most := 0
	for _, cl := range c.Select(f) {
		most = max(most, len(cl.Cells[0].Nodes))
		p, _ := strategy.Rolling().Expand(strategy.StageNodes, strategy.Back)
		was := p.Steps[0].Deadline
		if got := c.Bound(p, cl).Steps[0].Deadline; got != was+time.Duration(len(cl.Cells[0].Nodes))*group || p.Steps[0].Deadline != was {
			t.Errorf("%s: %v after %v", cl.Ref(), got, was)
		}
	}
	shown := map[strategy.Kind]time.Duration{}
	for _, st := range PlanOf(c, f, planDay).Stages {
		for _, step := range st.Steps {
			shown[step.Kind] = step.Deadline
		}
	}
	if shown[strategy.UpgradeCanary] < group || shown[strategy.UpgradeNodes] < time.Duration(most)*group || shown[strategy.CheckNodes] > time.Hour {
		t.Errorf("the plan shows %v", shown)
	}
}

func TestRollingForecast(t *testing.T) {
	c := plain()
	c.Strategy, c.Product, c.From, c.To, c.Environments, c.FromCell, c.ToCell = "rolling", "camunda", "7.20", "7.21", []string{"qa"}, "", ""
	c.Soak = Soak{Stages: map[string]time.Duration{"nodes": 48 * time.Hour}}
	c.Schedule.Every = time.Hour
	monday := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	f := forecastOf(world(c, "qa/a"), monday, map[string]time.Duration{"": time.Hour})
	if len(f.Stuck) > 0 || f.Starts != 4 || f.End.Sub(monday) < 50*time.Hour {
		t.Errorf("got %+v", f)
	}
}
