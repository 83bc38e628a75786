package campaign

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/config"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/policy"
	"github.com/windlass-db/windlass/internal/strategy"
)

// small is a campaign's file that names a policy or bridges.
func small(product, from, to, more string) (Campaign, config.Object, error) {
	return config.One[Campaign](config.Source{Name: "testdata/small.yaml", Text: []byte("kind: Campaign\nversion: 1\nname: up\nproduct: " + product + "\nfrom: " + from + "\nto: " + to + "\nenvironments: [qa]\nschedule: {always: true}\n" + more + "\n")}, Kind())
}

func oneCluster(product, version string) fleet.Fleet {
	return fleet.Fleet{Name: "f", Environments: []fleet.Environment{{Name: "qa", Clusters: []fleet.Cluster{{Env: "qa", Name: "a", Product: product,
		Cells: []fleet.Cell{{Name: "blue", Version: version, Gateway: &fleet.Gateway{Name: "g"}, Nodes: []fleet.Node{{Name: "b1"}, {Name: "b2"}}}}}}}}}
}

// sent is what the server and the supervisors have of a campaign.
func sent(t *testing.T, c Campaign) Campaign {
	t.Helper()
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var got Campaign
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	return got
}

func found(c Campaign, f fleet.Fleet, now time.Time) string {
	var all []string
	for _, x := range c.Check(f, now) {
		all = append(all, x.String())
	}
	return strings.Join(all, "\n")
}

// holds is why the cluster does not move, by the policy.
func holds(c Campaign, stage string, now time.Time, seen ...Seen) string {
	p := Progress{Ref: fleet.ClusterRef{Env: "qa", Name: "a"}, Stage: stage, Since: now.Add(-48 * time.Hour), Seen: seen, Looked: now.Add(-time.Minute), WayBack: &fleet.WayBack{Open: true}}
	d := Decide(Snapshot{Campaign: c, Status: StatusRunning, Clusters: []Progress{p}}, now)[0]
	if d.Hold == nil {
		return ""
	}
	for _, r := range d.Hold.Reasons {
		if r.Code == CodePolicy {
			return r.Message + " | " + r.Release
		}
	}
	return ""
}

// What is wrong with a file that the campaign names is told at its own place, with line and caret.
func TestPolicyFilesAreReadWithTheCampaign(t *testing.T) {
	for file, want := range map[string]string{
		"broken.yaml":      "testdata/policy/broken.yaml:12:25: calls[0].to: there is no component \"sauce\"\n    12 |   - {from: replica, to: sauce, source: \"MariaDB documentation, Replication Compatibility\"}\n       |                         ^\n       write replica or source",
		"no-way-back.yaml": "testdata/policy/no-way-back.yaml:16:5: newer[0]: no upgrade is possible from 10.3 to 10.4, nor over 5 further hops: replica 10.3 may not meet source 10.4: replica is never older than source",
		"lint.yaml":        "testdata/policy/lint.yaml:10:5: components[1]: no rule speaks of lonely",
		"other.yaml":       "testdata/small.yaml:9:9: policy: testdata/policy/other.yaml is the policy of \"postgresql\", and the campaign raises \"mariadb\"",
		"bridge.yaml":      "testdata/policy/bridge.yaml:1:7: kind: \"Bridge\" is no kind of document that is read here",
	} {
		_, _, err := small("mariadb", "10.11", "11.8", "policy: policy/"+file)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got\n%v\nwant\n%s", file, err, want)
		}
	}
}

// A campaign is judged by its own policy wherever it is: its text goes with it (V6).
func TestOwnPolicy(t *testing.T) {
	now := planDay
	c, _, err := small("mariadb", "10.11", "11.4", "policy: policy/ours.yaml")
	if err != nil {
		t.Fatal(err)
	}
	f := oneCluster("mariadb", "10.11.19")
	for where, c := range map[string]Campaign{"read": c, "sent": sent(t, c)} {
		if why := found(c, f, now); why != "" {
			t.Errorf("%s: not applied: %s", where, why)
		}
		seen := []Seen{{Role: fleet.RolePrimary, Version: "10.11.19"}, {Role: fleet.RoleReplica, Version: "11.8.6"}} // legal by the built-in rules
		if why := holds(c, "", now, seen...); !strings.Contains(why, "replica 11.8.6 may not meet source 10.11.19: source may be one release older") {
			t.Errorf("%s: held by %q", where, why)
		}
		plain := c
		plain.Policy = nil
		if why := holds(plain, "", now, seen...); why != "" {
			t.Errorf("%s: by the built-in rules it is held by %q", where, why)
		}
		p, i := stepOf(t, strategy.StageSwitchStorage, strategy.SwitchStorage, strategy.Forward)
		o := fleet.Observation{At: now, Nodes: []fleet.NodeObservation{{Cell: "blue", Node: "b1", Role: fleet.RolePrimary, Version: "10.11.19"}, {Cell: "green", Node: "g1", Role: fleet.RoleReplica, Version: "11.8.6"}}}
		if cs := c.BeforeStep(p, i, o); len(cs) != 1 || cs[0].Verdict != check.Fail {
			t.Errorf("%s: before a step: %+v", where, cs)
		}
		if path, err := c.Path(now); err != nil || len(path.Hops) != 1 {
			t.Errorf("%s: %v", where, err)
		}
	}
	// What only the server sees: a text that another program sent.
	c.Policy = NewPolicy("x.yaml", "kind: Product\nversion: 1\n")
	if why := found(sent(t, c), f, now); !strings.Contains(why, "policy: x.yaml:1:1: ") {
		t.Errorf("a text that is no product: %q", why)
	}
	if why := holds(sent(t, c), "", now); !strings.Contains(why, "nothing can be judged") {
		t.Errorf("held by %q", why)
	}
	text, err := os.ReadFile("testdata/policy/lint.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c.Policy = NewPolicy("lint.yaml", string(text))
	if why := found(sent(t, c), f, now); !strings.Contains(why, "lint.yaml: components[1]: no rule speaks of lonely") {
		t.Errorf("a policy with a lint: %q", why)
	}
}

// A jump over versions takes one campaign only with a bridge that is good (V7).
func TestBridgeInACampaign(t *testing.T) {
	now := planDay
	f := oneCluster("mysql", "8.0.44")
	c, object, err := small("mysql", "8.0", "9.7", "bridges: [policy/bridge.yaml]")
	if err != nil {
		t.Fatal(err)
	}
	c = sent(t, c)
	if why := found(c, f, now); why != "" {
		t.Errorf("not applied: %s", why)
	}
	path, err := c.Path(now)
	if err != nil || len(path.Hops) != 1 || path.Hops[0].Bridge == nil || path.Hops[0].Bridge.Who != "mira" {
		t.Errorf("%v: %+v", err, path)
	}
	plan := PlanOf(c, f, now)
	var text strings.Builder
	if err := plan.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if b, err := json.Marshal(plan); err != nil || !strings.Contains(string(b), `"bridge":{"name":"eight-to-nine"`) || !strings.Contains(string(b), `"bridges":[{"name":"eight-to-nine"`) {
		t.Errorf("%v: the JSON of the plan does not show the bridge: %s", err, b)
	}
	if s := strings.Join(strings.Fields(text.String()), " "); !strings.Contains(s, "bridge eight-to-nine from 8.0 to 9.7, for the builds 8.0.44 and 9.7.0; mira vouches for it until 2027-03-01, by replay of two days of production: pass, 2026-11-18") {
		t.Errorf("the plan does not show it:\n%s", &text)
	}

	for name, bad := range map[string]struct {
		change func(c *Campaign)
		want   string
	}{
		"no bridge":                {func(c *Campaign) { c.Bridges = nil }, "to: from 8.0 to 9.7 it takes 2 hops, the first one to 8.4"},
		"expired":                  {func(c *Campaign) { c.Bridges[0].Expires = now }, "bridges[0]: the bridge eight-to-nine expired on 2026-11-21"},
		"no proof":                 {func(c *Campaign) { c.Bridges[0].Evidence = nil }, "bridges[0]: the bridge eight-to-nine has no evidence"},
		"a check failed":           {func(c *Campaign) { c.Bridges[0].Evidence[1].Result = "fail" }, "bridges[0]: the bridge eight-to-nine is not proved: the way back over a week ended with \"fail\""},
		"of the future":            {func(c *Campaign) { c.Bridges[0].Evidence[0].At = now.Add(time.Hour) }, "dated in the future"},
		"not needed":               {func(c *Campaign) { c.To = "8.4" }, "bridges[0]: the campaign goes from 8.0 to 8.4, which does not need the bridge"},
		"another product":          {func(c *Campaign) { c.Bridges[0].Product = "vitess" }, "bridges[0]: the bridge eight-to-nine is for the product vitess, not for mysql"},
		"no release":               {func(c *Campaign) { c.Bridges[0].To = "10.0" }, "bridges[0]: the bridge eight-to-nine: version \"10.0\" is of no release of mysql"},
		"builds of other releases": {func(c *Campaign) { c.Bridges[0].Builds[1] = "9.6.0" }, "bridges[0]: the bridge eight-to-nine: the build 9.6.0 is not of the release 9.7"},
		"no builds":                {func(c *Campaign) { c.Bridges[0].Builds = nil }, "does not name the two builds"},
	} {
		t.Run(name, func(t *testing.T) {
			c := sent(t, c)
			bad.change(&c)
			why := found(c, f, now)
			if !strings.Contains(why, bad.want) {
				t.Errorf("got %q, want %q", why, bad.want)
			}
		})
	}
	late := c.Check(f, c.Bridges[0].Expires)
	if ps := object.Locate(late); len(ps) != 1 || ps[0].Line != 9 || ps[0].Column != 11 {
		t.Errorf("an expired bridge is found at %v", ps)
	}
}

// A bridge that expires in mid-campaign holds every start and nothing else: what runs goes on, and the way back is free.
func TestBridgeThatExpiresHoldsStarts(t *testing.T) {
	c, _, err := small("mysql", "8.0", "9.7", "bridges: [policy/bridge.yaml]")
	if err != nil {
		t.Fatal(err)
	}
	c = sent(t, c)
	primary, replica := Seen{Role: fleet.RolePrimary, Version: "8.0.44"}, Seen{Role: fleet.RoleReplica, Version: "9.7.0"}
	before, after := planDay, time.Date(2027, 3, 1, 0, 0, 0, 0, time.UTC)
	for _, stage := range []string{"", strategy.StageVerify} {
		if why := holds(c, stage, before, primary, replica); why != "" {
			t.Errorf("%q: held by %q", stage, why)
		}
		if why := holds(c, stage, after, primary, replica); !strings.Contains(why, "the bridge eight-to-nine expired on 2027-03-01") || !strings.Contains(why, "the way back is free: windlass rollback qa/a") {
			t.Errorf("%q: held by %q", stage, why)
		}
	}
	// A step of an action that runs is judged as the bridge says, whatever the day.
	for dir, want := range map[strategy.Direction]bool{strategy.Forward: true, strategy.Back: false} {
		p, i := stepOf(t, strategy.StageSwitchStorage, strategy.SwitchStorage, dir)
		if got := c.GuardsStep(p, i); got != want {
			t.Errorf("%s is judged: %v", dir, got)
		}
		o := fleet.Observation{At: after, Nodes: []fleet.NodeObservation{{Cell: "blue", Node: "b1", Role: fleet.RolePrimary, Version: "8.0.44"}, {Cell: "green", Node: "g1", Role: fleet.RoleReplica, Version: "9.7.0"}}}
		if cs := c.BeforeStep(p, i, o); len(cs.Bad()) > 0 {
			t.Errorf("%s: %v", dir, cs)
		}
	}
}

// A bridge is a proof of two builds, and of no others of their releases.
func TestBridgeIsOfItsBuilds(t *testing.T) {
	c, _, err := small("mysql", "8.0", "9.7", "bridges: [policy/bridge.yaml]")
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ source, replica, want string }{
		{"8.0.44", "9.7.0", ""},
		{"8.0.44-log", "9.7.0-shop1", ""},
		{"8.0.4", "9.7.0", "the bridge eight-to-nine was proved with 8.0.44 and 9.7.0, and not with 8.0.4"},
		{"8.0.44", "9.7.01", "and not with 9.7.01"},
		{"8.0.44", "8.4.1", ""}, // neighbours need no bridge
		{"8.0.44", "9.6.0", "may not meet"},
	} {
		why := holds(c, strategy.StageCreate, planDay, Seen{Role: fleet.RolePrimary, Version: x.source}, Seen{Role: fleet.RoleReplica, Version: x.replica})
		if x.want == "" && why != "" || !strings.Contains(why, x.want) {
			t.Errorf("%s and %s: held by %q, want %q", x.source, x.replica, why, x.want)
		}
	}
	p, i := stepOf(t, strategy.StageCreate, strategy.StartReplication, strategy.Forward)
	o := fleet.Observation{At: planDay, Nodes: []fleet.NodeObservation{{Cell: "blue", Node: "b1", Role: fleet.RolePrimary, Version: "8.0.44"}, {Cell: "green", Node: "g1", Role: fleet.RoleDetached, Version: "9.7.2"}}}
	if cs := c.BeforeStep(p, i, o); len(cs.Bad()) != 1 || !strings.Contains(cs.String(), "not with 9.7.2") {
		t.Errorf("a node that was made of another build: %v", cs)
	}
	if p, i = stepOf(t, strategy.StageCreate, strategy.ProvisionNodes, strategy.Forward); len(c.BeforeStep(p, i, fleet.Observation{At: planDay, Nodes: o.Nodes[:1]}).Bad()) > 0 {
		t.Error("nothing is made yet, and it is held")
	}
	inplace, ok := strategy.ByName(policy.InPlace)
	if !ok {
		t.Fatal("the strategy inplace is gone")
	}
	c.Strategy, c.ToCell = policy.InPlace, c.FromCell
	p, _ = inplace.Expand(strategy.StageUpgradeReplicas, strategy.Forward)
	for i := range p.Steps {
		if cs := c.BeforeStep(p, i, fleet.Observation{At: planDay, Nodes: o.Nodes[:1]}); len(cs.Bad()) > 0 {
			t.Errorf("in place, before %s: %v", p.Steps[i].Kind, cs)
		}
	}
}
