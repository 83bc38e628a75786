package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/windlass-db/windlass/internal/config"
)

func builtin(t testing.TB, name string) *Product {
	t.Helper()
	p, err := Builtin(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestEveryBuiltinIsRead(t *testing.T) {
	if got := strings.Join(Names(), " "); got != "camunda cockroachdb elasticsearch kubernetes mariadb mysql postgresql temporal versions vitess" {
		t.Errorf("built in are %s", got)
	}
	for _, name := range Names() {
		p := builtin(t, name)
		if p.Name != name {
			t.Errorf("%s calls itself %s", name, p.Name)
		}
		for i := range p.Releases[1:] {
			from, to := p.Releases[i].Name, p.Releases[i+1].Name
			closed := name == "elasticsearch" && (to == "7.0" || to == "9.0") // their makers let nobody come from there
			if _, err := p.Plan(Request{From: from, To: to}); (err != nil) != closed || closed && !strings.Contains(err.Error(), "Elasticsearch documentation, Upgrade") {
				t.Errorf("%s %s to %s: %v", name, from, to, err)
			}
		}
	}
	_, err := Builtin("oracle")
	var unknown *UnknownProduct
	if !errors.As(err, &unknown) || !strings.Contains(unknown.ErrorHint(), "vitess") {
		t.Errorf("%v", err)
	}
}

// text is a path on lines: "4.0>5.0", then its steps.
func text(p Path) string {
	var all []string
	for _, h := range p.Hops {
		all = append(all, h.From+">"+h.To)
		for _, s := range h.Steps {
			name := s.Name
			if s.NoReturn {
				name += " ⚑"
			}
			all = append(all, name)
		}
	}
	return strings.Join(all, "\n")
}

// The order of the built-in products, as their sources say it (V1 to V4, V6).
func TestPaths(t *testing.T) {
	for name, c := range map[string]struct {
		product  string
		r        Request
		want     string
		wantPart string
	}{
		"vitess below 8: through 5, bottom to top": {product: "vitess", r: Request{From: "4.0", To: "6.0"}, want: `4.0>5.0
upgrade mysqlctld
upgrade vttablet
upgrade vtgate
upgrade vtctld
upgrade vtworker
5.0>6.0
upgrade mysqlctld
upgrade vttablet
upgrade vtgate
upgrade vtctld
upgrade vtworker`},
		"vitess from 8: a canary of the top layer first": {product: "vitess", r: Request{From: "14.0.2", To: "15.0"}, want: `14.0.2>15.0
canary: one node of vtgate
upgrade mysqlctld
upgrade vttablet
upgrade vtgate
upgrade vtctld
upgrade vtworker`},
		"mysql: replicas first, over innovation releases": {product: "mysql", r: Request{From: "8.4.3", To: "9.7.0"}, want: `8.4.3>9.7.0
upgrade replica, but for the node that is source
switch source to an upgraded node; the former one stays
upgrade the node that was source ⚑`},
		"mariadb by bluegreen: tear-down is the point of no return": {product: "mariadb", r: Request{From: "10.11", To: "11.8", Strategy: BlueGreen}, want: `10.11>11.8
add new nodes of replica beside the old ones
switch source to a new node; the old ones follow it
tear down the old nodes of replica ⚑`},
		"camunda: the schema first, no version skipped": {product: "camunda", r: Request{From: "7.21", To: "7.23"}, want: "7.21>7.22\nmove schema\nupgrade engine\n7.22>7.23\nmove schema\nupgrade engine"},
		"cockroachdb: over an innovation release, finalized": {product: "cockroachdb", r: Request{From: "24.1", To: "25.2"}, want: `24.1>24.3
upgrade node
finalize the cluster version ⚑
24.3>25.2
upgrade node
finalize the cluster version ⚑`},
		"kubernetes: the apiserver first": {product: "kubernetes", r: Request{From: "1.30", To: "1.31"}, wantPart: "1.30>1.31\nupgrade apiserver ⚑\nupgrade controller-manager"},
		"elasticsearch: data tier by tier, masters last": {product: "elasticsearch", r: Request{From: "7.17", To: "8.19"}, want: `7.17>8.19
upgrade frozen ⚑
upgrade cold ⚑
upgrade warm ⚑
upgrade hot ⚑
upgrade data ⚑
upgrade other ⚑
upgrade master ⚑`},
		"temporal: the schema first": {product: "temporal", r: Request{From: "1.20", To: "1.21"}, wantPart: "1.20>1.21\nmove schema\n"},
		"versions: images everywhere, the database, deployments, references": {product: "versions", r: Request{From: "v1", To: "v2"}, want: `v1>v2
upgrade image
move database
upgrade deployment
upgrade reference`},
		"postgresql: any later version at once": {product: "postgresql", r: Request{From: "13", To: "17", Strategy: BlueGreen}, wantPart: "13>17\n"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := builtin(t, c.product).Plan(c.r)
			if err != nil {
				t.Fatal(err)
			}
			if got := text(p); c.want != "" && got != c.want || !strings.HasPrefix(got, c.wantPart) {
				t.Errorf("got\n%s\nwant\n%s", got, c.want+c.wantPart)
			}
			for _, h := range p.Hops {
				for _, s := range h.Steps {
					if len(s.States) == 0 {
						t.Errorf("%s has no state", s.Name)
					}
					if (s.Back == "") != s.NoReturn {
						t.Errorf("%s: back %q, no return %v", s.Name, s.Back, s.NoReturn)
					}
				}
			}
		})
	}
}

// Which hops there are is what the documents of the products say: over which releases one goes, and which are never skipped.
func TestHops(t *testing.T) {
	for _, c := range []struct{ product, from, to, want string }{
		{"elasticsearch", "8.14", "9.2", "8.14 8.19 9.2"}, // the example of its makers' plan of an upgrade
		{"elasticsearch", "8.19", "9.4", "8.19 9.4"},
		{"elasticsearch", "7.10.2", "9.1.3", "7.10.2 7.17 8.19 9.1.3"},
		{"elasticsearch", "8.3", "8.11", "8.3 8.11"},
		{"elasticsearch", "6.8", "7.4", "6.8 7.4"},
		{"elasticsearch", "9.0", "9.2", "9.0 9.2"}, // no way leads to it, and it may be left
		{"mysql", "8.0", "9.7", "8.0 8.4 9.7"},
		{"mysql", "5.7", "8.4", "5.7 8.0 8.4"},
		{"mysql", "8.1", "8.3", "8.1 8.3"},
		{"mysql", "8.3", "9.2", "8.3 8.4 9.2"},
		{"mysql", "8.4", "26.10", "8.4 9.7 26.10"}, // into the calendar's versions from 9.7 alone
		{"cockroachdb", "25.2", "26.2", "25.2 25.4 26.2"},
		{"kubernetes", "1.35", "1.37", "1.35 1.36 1.37"},
		{"camunda", "7.22", "7.24", "7.22 7.23 7.24"},
		{"temporal", "1.30", "1.32", "1.30 1.31 1.32"},
		{"postgresql", "13", "19", "13 19"},
	} {
		path, err := builtin(t, c.product).Plan(Request{From: c.from, To: c.to})
		got := c.from
		for _, h := range path.Hops {
			got += " " + h.To
		}
		if err != nil || got != c.want {
			t.Errorf("%s: %s, want %s: %v", c.product, got, c.want, err)
		}
	}
}

// Nothing takes a schema back: what is on the old version works with it, and the plan says so. Where it does not, that is the point of no return.
func TestWhatStays(t *testing.T) {
	for _, product := range []string{"camunda", "temporal"} {
		p := builtin(t, product)
		n := len(p.Releases)
		path, err := p.Plan(Request{From: p.Releases[n-2].Name, To: p.Releases[n-1].Name})
		if err != nil {
			t.Fatal(err)
		}
		if s := path.Hops[0].Steps[0]; s.Name != "move schema" || s.NoReturn || !strings.Contains(s.Back, "schema stays on "+p.Releases[n-1].Name) {
			t.Errorf("%s: %s, no return %v: %s", product, s.Name, s.NoReturn, s.Back)
		}
		for _, s := range path.Hops[0].Steps[1:] {
			if s.NoReturn || !strings.Contains(s.Back, "through the same states") {
				t.Errorf("%s: %s, no return %v: %s", product, s.Name, s.NoReturn, s.Back)
			}
		}
	}
	p := &Product{Name: "m", Layers: []string{"l"}, Releases: []Release{{Name: "1"}, {Name: "2"}}, Back: Back{Node: BackRestart},
		Components: []Component{{Name: "image", Layer: "l"}, {Name: "database", Layer: "l", Single: true, Stays: true}, {Name: "app", Layer: "l"}},
		Newers:     []Newer{{Who: "image", Than: "database"}, {Who: "database", Than: "app"}}}
	path, err := p.Plan(Request{From: "1", To: "2"})
	if want := "1>2\nupgrade image\nmove database ⚑\nupgrade app ⚑"; err != nil || text(path) != want {
		t.Errorf("%v: %s", err, text(path))
	}
}

// "No path" names the rule that forbids it.
func TestNoPath(t *testing.T) {
	for name, c := range map[string]struct {
		product, from, to, strategy, canary, want, rule string
	}{
		"a canary of the top layer below 8":  {"vitess", "6.0", "7.0", "", "vtgate", "vtgate 7.0 may not meet vttablet 6.0", "order[0]"},
		"backwards":                          {"vitess", "7.0", "6.0", "", "", "not a later release", ""},
		"a patch within a release":           {"vitess", "9.0", "9.0.3", "", "", "both versions are of the release 9.0, which is not a later release than itself; versions of one release may run side by side, so a patch within it needs no plan", ""},
		"bluegreen without a role to switch": {"camunda", "7.21", "7.22", BlueGreen, "", "this product has none", ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := builtin(t, c.product).Plan(Request{From: c.from, To: c.to, Strategy: c.strategy, Canary: c.canary})
			var no *NoPath
			if !errors.As(err, &no) || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if no.ErrorHint() == "" {
				t.Errorf("%s: it does not say what to do", err)
			}
			if c.rule != "" && (len(no.Forbidden) != 1 || no.Forbidden[0].Rule.ID != c.rule) {
				t.Errorf("forbidden by %v, want %s alone", no.Forbidden, c.rule)
			}
		})
	}
	for _, canary := range []string{"vtgate", "vttablet"} {
		if _, err := builtin(t, "vitess").Plan(Request{From: "8.0", To: "9.0", Canary: canary}); err != nil {
			t.Errorf("a canary of %s from 8.0 on: %v", canary, err)
		}
	}
}

// Where a product goes to any later release at once, a pair that may not meet is gone around, over as few releases as can be.
func TestAnyGoesOverReleasesBetween(t *testing.T) {
	p := builtin(t, "mariadb")
	for i, from := range p.Releases {
		for _, to := range p.Releases[i+1:] {
			for _, strategy := range []string{InPlace, BlueGreen} {
				if _, err := p.Plan(Request{From: from.Name, To: to.Name, Strategy: strategy}); err != nil {
					t.Errorf("%s %s to %s: %v", strategy, from.Name, to.Name, err)
				}
			}
		}
	}
	path, err := p.Plan(Request{From: "10.6.4", To: "11.8.2"})
	if err != nil || len(path.Hops) != 2 || path.Hops[0].From != "10.6.4" || path.Hops[0].To != "11.4" || path.Hops[1].From != "11.4" || path.Hops[1].To != "11.8.2" {
		t.Fatalf("%v: %s", err, text(path))
	}
	if why := path.Hops[0].Why; !strings.Contains(why, "not further, as replica 10.6.4 may not meet source 11.8.2: source may be at most 2 newer") {
		t.Errorf("the first hop ends where it does, %s", why)
	}
	if why := path.Hops[1].Why; strings.Contains(why, "not further") {
		t.Errorf("the last hop ends where it does, %s", why)
	}
	if path, err = p.Plan(Request{From: "10.3", To: "11.8"}); err != nil || len(path.Hops) != 3 {
		t.Errorf("%v: %s", err, text(path))
	}
	never := *p
	never.Skews = []Skew{{Releases: Range{0, len(p.Releases), ""}}}
	_, err = never.Plan(Request{From: "10.6", To: "11.8"})
	var no *NoPath
	if !errors.As(err, &no) || no.From != "10.6" || no.To != "11.8" || len(no.Forbidden) == 0 {
		t.Errorf("without any way: %v", err)
	}
}

// Around a switch the former source is a replica on the old version, and the way back is open from the switch until the last old node goes.
func TestStatesAroundASwitch(t *testing.T) {
	for strategy, want := range map[string]string{
		InPlace: `upgrade replica, but for the node that is source
before: replica 8.4, source 8.4
during: replica 8.4|9.7, source 8.4
after: replica 9.7, source 8.4
switch source to an upgraded node; the former one stays
before: replica 9.7, source 8.4
after: replica 8.4|9.7, source 9.7, window
upgrade the node that was source
before: replica 8.4|9.7, source 9.7, window
during: replica 8.4|9.7, source 9.7, window
after: replica 9.7, source 9.7
`,
		BlueGreen: `add new nodes of replica beside the old ones
before: replica 8.4, source 8.4
during: replica 8.4|9.7, source 8.4
after: replica 8.4|9.7, source 8.4
switch source to a new node; the old ones follow it
before: replica 8.4|9.7, source 8.4
after: replica 8.4|9.7, source 9.7, window
tear down the old nodes of replica
before: replica 8.4|9.7, source 9.7, window
during: replica 8.4|9.7, source 9.7, window
after: replica 9.7, source 9.7
`} {
		path, err := builtin(t, "mysql").Plan(Request{From: "8.4", To: "9.7", Strategy: strategy})
		if err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		for _, s := range path.Hops[0].Steps {
			fmt.Fprintln(&got, s.Name)
			for _, st := range s.States {
				fmt.Fprintf(&got, "%s: %s%s\n", st.When, st.State, map[bool]string{true: ", window"}[st.Window])
			}
		}
		if got.String() != want {
			t.Errorf("got\n%swant\n%s", got.String(), want)
		}
		var b strings.Builder
		if err := path.WriteText(&b, true); err != nil {
			t.Fatal(err)
		}
		before, behind, _ := strings.Cut(b.String(), "── point of no return")
		if !strings.Contains(before, "a rollback is possible") || strings.Contains(behind, "a rollback is possible") {
			t.Errorf("%s", b.String())
		}
		for part, there := range map[string]bool{"the copy of its data that each kept is put back": strategy == InPlace, "the new nodes are taken away again": strategy == BlueGreen, "the same back to 8.4": true} {
			if strings.Contains(before, "back    ") && strings.Contains(before, part) != there {
				t.Errorf("%s: %q is there: %v\n%s", strategy, part, !there, before)
			}
		}
	}
}

// What there is one of is on one version: no state has two of them, and no plan mixes them.
func TestNeverMixed(t *testing.T) {
	for product, present := range map[string][]Present{
		"mysql":   state("source=8.4", "source=9.7", "replica=9.7"),
		"camunda": state("schema=7.20", "schema=7.21"),
	} {
		_, bad, err := builtin(t, product).Check(State{Present: present, Window: true})
		if err != nil || len(bad) != 1 || bad[0].Rule.ID != "components[1]" || bad[0].Rule.Source == "" || !strings.Contains(bad[0].String(), "never mixed") {
			t.Errorf("%s %v: %v %v", product, present, bad, err)
		}
	}
	if _, bad, err := builtin(t, "mysql").Check(State{Present: state("source=8.4.3", "source=8.4.4", "replica=8.4")}); err != nil || len(bad) > 0 {
		t.Errorf("two builds of a release: %v %v", bad, err)
	}
	for _, c := range []struct{ product, from, to, strategy, canary, want string }{
		{"camunda", "7.20", "7.21", InPlace, "schema", "no canary of schema can go first: there is one schema"},
		{"postgresql", "13", "17", InPlace, "publisher", "publisher is a role that one subscriber has"},
		{"mysql", "8.4", "9.7", BlueGreen, "replica", "bluegreen has no canary"},
	} {
		_, err := builtin(t, c.product).Plan(Request{From: c.from, To: c.to, Strategy: c.strategy, Canary: c.canary})
		var no *NoPath
		if !errors.As(err, &no) || !strings.Contains(no.Why, c.want) {
			t.Errorf("a canary of %s, %s: %v", c.canary, c.strategy, err)
		}
	}
	p := &Product{Name: "m", Layers: []string{"l"}, Releases: []Release{{Name: "1"}, {Name: "2"}}, Back: Back{Node: BackReseed},
		Components: []Component{{Name: "node", Layer: "l"}, {Name: "first", Layer: "l", RoleOf: "node"}, {Name: "schema", Layer: "l", Single: true}},
		Calls:      []Call{{From: "node", To: "first"}, {From: "node", To: "schema"}}, Skews: []Skew{{Releases: Range{0, 2, ""}, CalleeOlder: 1, CalleeNewer: 1}}}
	path, err := p.Plan(Request{From: "1", To: "2", Strategy: BlueGreen})
	if want := "1>2\nadd new nodes of node beside the old ones\nmove schema\nswitch first to a new node; the old ones follow it\ntear down the old nodes of node ⚑"; err != nil || text(path) != want {
		t.Errorf("%v: %s", err, text(path))
	}
}

// What follows the numbers of a version is a suffix, and not anything.
func TestVersionsWithSuffixes(t *testing.T) {
	p := builtin(t, "vitess")
	for version, good := range map[string]bool{"14.0": true, "v14.0.3": true, "14.0-rc1": true, "14.0.2+k3s": true, "14.0~beta": true, "14.0_1": true, "14.0.x": true, "14.0.2.7": true, "14.0.": true,
		"14.0junk": false, "13.0x9": false, "14.0 ": false, "14.0ä": false, "14": false, "junk": false, "": false, "14..0": false, ".14.0": false, "-14.0": false, "99999999999999999999.0": false} {
		_, err := p.Release(version)
		var unknown *UnknownVersion
		if good && err != nil || !good && !errors.As(err, &unknown) {
			t.Errorf("%q: %v", version, err)
		}
	}
	for version, near := range map[string]string{"14": "14.0", "v23": "23.0", "2": "", "99": "", "junk": ""} { // there is 2.0, 2.1 and 2.2
		var unknown *UnknownVersion
		if _, err := p.Release(version); !errors.As(err, &unknown) || unknown.Near != near || near != "" && unknown.ErrorHint() != fmt.Sprintf("did you mean %q?", near) {
			t.Errorf("%q: %v, near %q", version, err, unknown.Near)
		}
	}
	if _, err := p.Release("14.0junk"); err == nil || !strings.Contains(err.Error(), `"14.0junk" is no version of vitess: "junk" follows its numbers`) {
		t.Errorf("%v", err)
	}
	if n, rest := split("v14.0.3-rc1"); !slices.Equal(n, []int{14, 0, 3}) || rest != "-rc1" {
		t.Errorf("%v %q", n, rest)
	}
}

// Behind the point of no return of a hop nothing goes back, whatever is moved after it.
func TestNothingGoesBackBehindThePointOfNoReturn(t *testing.T) {
	p := &Product{Name: "m", Layers: []string{"top", "low"}, Releases: []Release{{Name: "1"}, {Name: "2"}}, Back: Back{Node: BackReseed},
		Components: []Component{{Name: "app", Layer: "top"}, {Name: "node", Layer: "low"}, {Name: "first", Layer: "low", RoleOf: "node"}},
		Calls:      []Call{{From: "node", To: "first"}, {From: "app", To: "first"}}, Skews: []Skew{{Releases: Range{0, 2, ""}, CalleeOlder: 1, CalleeNewer: 1}}}
	path, err := p.Plan(Request{From: "1", To: "2"})
	want := "1>2\nupgrade node, but for the node that is first\nswitch first to an upgraded node; the former one stays\nupgrade the node that was first ⚑\nupgrade app ⚑"
	if err != nil || text(path) != want || path.Hops[0].Steps[3].Back != "" {
		t.Errorf("%v: %s", err, text(path))
	}
}

// A rule that names a call goes before the one for all calls, stricter or not; and what meets itself is a pair of the proof.
func TestNamedSkewsGoFirst(t *testing.T) {
	p := &Product{Name: "m", Layers: []string{"l"}, Releases: []Release{{Name: "1"}, {Name: "2"}}, Components: []Component{{Name: "a", Layer: "l"}, {Name: "b", Layer: "l"}},
		Calls: []Call{{From: "a", To: "b"}, {From: "a", To: "a"}, {From: "b", To: "b"}}}
	whole := Range{0, 2, ""}
	p.Skews = []Skew{{Releases: whole}, {From: "a", To: "b", Releases: whole, CalleeOlder: 1}, {From: "b", To: "b", Releases: Range{0, 1, ""}, CalleeOlder: 1, CalleeNewer: 1}}
	for text, rule := range map[string]string{"a=2 b=1": "skew[1]", "a=1 b=2": "skew[1]!", "a=1 a=2": "skew[0]!", "b=1 b=2": "skew[0]!", "b=1": "skew[2]", "b=2": "skew[0]"} {
		pairs, bad, err := p.Check(State{Present: state(strings.Fields(text)...)})
		got := map[string]bool{}
		for _, x := range pairs {
			got[x.Rule.ID] = true
		}
		for _, x := range bad {
			got[x.Rule.ID+"!"] = true
		}
		if err != nil || !got[rule] || strings.HasSuffix(rule, "!") != (len(bad) > 0) {
			t.Errorf("%s: %v, %v; want %s", text, got, err, rule)
		}
	}
}

// cyclic is a product that nobody can upgrade: each of two calls the other, bottom to top.
const cyclic = `kind: Product
version: 1
name: ring
title: Ring
releases: ["1", "2"]
layers: [one]
components: [{name: a, layer: one}, {name: b, layer: one}, {name: c, layer: one}]
calls:
  - {from: a, to: b, source: s}
  - {from: b, to: a, source: s}
  - {from: c, to: a, source: s}
skew: [{callee_older: 1, callee_newer: 1, source: s}]
order: [{order: bottom-to-top, source: the ring}]
hops: {to: next, source: s}
back: {node: restart, source: s}
`

func TestTheSmallestCycleForbids(t *testing.T) {
	p, err := Parse(config.Source{Name: "ring.yaml", Text: []byte(cyclic)})
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.Plan(Request{From: "1", To: "2"})
	var no *NoPath
	if !errors.As(err, &no) || len(no.Forbidden) != 2 {
		t.Fatalf("got %v, want the two pairs of a and b", err)
	}
	for _, v := range no.Forbidden {
		if v.A.Component == "c" || v.B.Component == "c" {
			t.Errorf("%v is none of the cycle", v)
		}
	}
}

// A plan says whether there is a point behind which nothing goes back.
func TestPlanTextSaysWhereTheWayBackEnds(t *testing.T) {
	for product, want := range map[string]bool{"vitess": false, "mysql": true} {
		p := builtin(t, product)
		n := len(p.Releases)
		path, err := p.Plan(Request{From: p.Releases[n-2].Name, To: p.Releases[n-1].Name})
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if err := path.WriteText(&b, false); err != nil {
			t.Fatal(err)
		}
		if path.NoReturn() != want || strings.Contains(b.String(), "── point of no return") != want || strings.Contains(b.String(), "There is no point of no return") == want {
			t.Errorf("%s: %v\n%s", product, path.NoReturn(), b.String())
		}
	}
	_, err := builtin(t, "vitess").Plan(Request{From: "8.0", To: "9.0", Strategy: "rolling"})
	var unknown *UnknownStrategy
	if !errors.As(err, &unknown) || unknown.ErrorHint() == "" {
		t.Errorf("%v", err)
	}
}
