package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

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

func state(pairs ...string) []Present {
	var all []Present
	for _, p := range pairs {
		c, v, _ := strings.Cut(p, "=")
		all = append(all, Present{Component: c, Version: v})
	}
	return all
}

func TestCheck(t *testing.T) {
	for name, c := range map[string]struct {
		product string
		present []Present
		window  bool
		want    string // part of the only violation; "" is legal
	}{
		"a mixed storage layer":           {"vitess", state("vtgate=14.0", "vttablet=13.0", "vttablet=14.0"), false, ""},
		"two apart":                       {"vitess", state("vtgate=15.0", "vttablet=13.0"), false, "vtgate 15.0 may not meet vttablet 13.0"},
		"the call that takes no part":     {"vitess", state("vtgate=7.0", "mysqlctld=7.0"), false, ""},
		"top before bottom below 8":       {"vitess", state("vtgate=7.0", "vttablet=6.0"), false, "order[0]"},
		"top before bottom into 8":        {"vitess", state("vtgate=8.0", "vttablet=7.0"), false, ""},
		"a replica older than its source": {"mariadb", state("replica=10.11", "source=11.8"), false, "replica is never older than source"},
		"the same in the window":          {"mariadb", state("replica=10.11", "source=11.8"), true, ""},
		"a build's own version":           {"mariadb", state("replica=11.8.6-MariaDB-0+deb13u1", "source=10.11.19-MariaDB"), false, ""},
		"a kubelet three behind":          {"kubernetes", state("kubelet=1.29", "apiserver=1.32"), false, ""},
		"a kubelet four behind":           {"kubernetes", state("kubelet=1.28", "apiserver=1.32"), false, "at most 3 newer"},
		"a kubelet newer than one":        {"kubernetes", state("kubelet=1.30", "apiserver=1.30", "apiserver=1.29"), false, "may not be older"},
		"an engine ahead of its schema":   {"camunda", state("engine=7.22", "schema=7.21"), false, "schema is never older than engine"},
	} {
		t.Run(name, func(t *testing.T) {
			pairs, bad, err := builtin(t, c.product).Check(State{Present: c.present, Window: c.window})
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case c.want == "" && len(bad) > 0:
				t.Errorf("not legal: %v", bad)
			case c.want != "" && (len(bad) != 1 || !strings.Contains(bad[0].String(), c.want)):
				t.Errorf("got %v, want one with %q", bad, c.want)
			case c.window && (len(pairs) == 0 || len(pairs[len(pairs)-1].Rule.Guards) == 0):
				t.Errorf("the way back is allowed without its guards: %v", pairs)
			}
		})
	}
	for _, bad := range [][]Present{state("vtgate=99.0"), state("vtgate=soon"), state("vtgait=14.0")} {
		if _, _, err := builtin(t, "vitess").Check(State{Present: bad}); err == nil {
			t.Errorf("%v is known", bad)
		}
	}
}

// The skew tables of the built-in products, as their sources have them: one line for each bound, on it and one past it.
func TestSkewTables(t *testing.T) {
	for _, line := range []struct {
		product, legal, illegal string
	}{
		{"vitess", "vtgate=14.0 vttablet=13.0", "vtgate=15.0 vttablet=13.0"},
		{"vitess", "vttablet=14.0 vttablet=13.0", "vttablet=15.0 vttablet=13.0"}, // any two that talk
		{"vitess", "vtgate=6.0 vttablet=7.0", "vtgate=7.0 vttablet=6.0"},
		{"vitess", "vttablet=6.0 mysqlctld=7.0", "vttablet=7.0 mysqlctld=6.0"},
		{"vitess", "vtgate=4.0 mysqlctld=6.0", "vttablet=4.0 mysqlctld=6.0"}, // those that do not talk are no pair
		{"kubernetes", "apiserver=1.31 apiserver=1.32", "apiserver=1.30 apiserver=1.32"},
		{"kubernetes", "controller-manager=1.31 apiserver=1.32", "controller-manager=1.30 apiserver=1.32"},
		{"kubernetes", "scheduler=1.32 apiserver=1.32", "scheduler=1.32 apiserver=1.31"},
		{"kubernetes", "kubelet=1.29 apiserver=1.32", "kubelet=1.28 apiserver=1.32"},
		{"kubernetes", "kubelet=1.25 apiserver=1.27", "kubelet=1.24 apiserver=1.27"}, // before 1.28 two
		{"kubernetes", "kubelet=1.31 apiserver=1.31 apiserver=1.32", "kubelet=1.32 apiserver=1.31 apiserver=1.32"},
		{"kubernetes", "kube-proxy=1.29 apiserver=1.32 kubelet=1.32", "kube-proxy=1.33 kubelet=1.32 apiserver=1.32"},
		{"kubernetes", "kube-proxy=1.32 kubelet=1.29", "kube-proxy=1.32 kubelet=1.28"},
		{"kubernetes", "kubectl=1.33 apiserver=1.32", "kubectl=1.34 apiserver=1.32"},
		{"kubernetes", "kubectl=1.31 apiserver=1.32", "kubectl=1.30 apiserver=1.32"},
		{"cockroachdb", "node=24.1 node=24.3", "node=24.1 node=25.2"}, // over one innovation release
		{"cockroachdb", "node=23.2 node=24.1", "node=23.1 node=24.1"},
		{"temporal", "schema=1.25 history=1.24 frontend=1.24", "schema=1.24 frontend=1.25"},
		{"temporal", "schema=1.25 worker=1.24 frontend=1.25", "schema=1.24 worker=1.25"},
		{"temporal", "schema=1.25 matching=1.24", "schema=1.26 matching=1.24"},
		{"temporal", "schema=1.25 frontend=1.24", "schema=1.26 frontend=1.24"},
		{"temporal", "frontend=1.24 history=1.25", "frontend=1.23 history=1.25"},
		{"camunda", "schema=7.22 engine=7.21", "schema=7.21 engine=7.22"},
		{"camunda", "engine=7.22 engine=7.21", "engine=7.23 engine=7.21"},
		{"elasticsearch", "data=9.1 master=8.19", "data=8.19 master=9.1"},
		{"elasticsearch", "data=9.1 master=9.0", "data=9.0 master=8.19"},
		{"elasticsearch", "warm=8.19 hot=8.5 master=8.5", "warm=8.5 hot=8.19 master=8.5"},
		{"elasticsearch", "other=8.19 master=7.17", "other=8.5 master=6.8"},
		{"mysql", "replica=9.7 source=8.4", "replica=8.4 source=9.7"},
		{"mysql", "replica=8.4 source=8.0", "replica=9.7 source=8.0"},
		{"mariadb", "replica=11.8 source=10.11", "replica=10.11 source=11.8"},
		{"postgresql", "subscriber=12 publisher=18", ""},
		{"versions", "image=v2 deployment=v1", "image=v1 deployment=v2"},
		{"versions", "image=v2 database=v1", "image=v3 database=v1"},
		{"versions", "image=v2 deployment=v2", "image=v3 deployment=v1"},
		{"versions", "deployment=v2 deployment=v1", "deployment=v3 deployment=v1"},
		{"versions", "deployment=v2 reference=v1", "deployment=v1 reference=v2"},
	} {
		for text, want := range map[string]bool{line.legal: true, line.illegal: false} {
			if text == "" {
				continue
			}
			_, bad, err := builtin(t, line.product).Check(State{Present: state(strings.Fields(text)...)})
			if err != nil || (len(bad) == 0) != want {
				t.Errorf("%s %s: legal %v, want %v: %v %v", line.product, text, len(bad) == 0, want, bad, err)
			}
		}
	}
}

// trap 39: a node that comes back old, or is added new, is not what the plan means; where it would be illegal the plan says so.
func TestTrap39NodesThatNoPlanMeant(t *testing.T) {
	p, err := builtin(t, "vitess").Plan(Request{From: "6.0", To: "7.0"})
	if err != nil {
		t.Fatal(err)
	}
	steps := p.Hops[0].Steps
	if g := steps[2].Guarded; steps[2].Name != "upgrade vtgate" || len(g) != 2 || g[0].What != "a node of mysqlctld comes back on 6.0" && g[0].What != "a node of vttablet comes back on 6.0" {
		t.Errorf("%s is guarded against %v", steps[2].Name, g)
	}
}

// trap 39: a source that dies while its replicas are mixed gives its role to a node that no plan meant.
func TestTrap39FailoverAmongMixedReplicas(t *testing.T) {
	path, err := builtin(t, "mysql").Plan(Request{From: "8.4", To: "9.7"})
	if err != nil {
		t.Fatal(err)
	}
	want := map[int]string{0: "source fails over to a node on 9.7"} // behind the switch the way back is open, so that the old version may follow the new one
	for i, s := range path.Hops[0].Steps {
		got := ""
		for _, g := range s.Guarded {
			got += g.What
		}
		if got != want[i] {
			t.Errorf("%s is guarded against %q, want %q", s.Name, got, want[i])
		}
	}
	if v := path.Hops[0].Steps[0].Guarded[0].Violation; v.A != (Present{Component: "replica", Version: "8.4"}) || v.B != (Present{Component: "source", Version: "9.7"}) {
		t.Errorf("%s", v)
	}
}

// What a rule says of itself is a sentence, whatever its range.
func TestRangesInWords(t *testing.T) {
	for text, want := range map[string]string{"": "", "<8.0": "below 8.0", ">=8.0": "from 8.0", ">=8.0 <12.0": "from 8.0 and below 12.0"} {
		if got := (Range{Text: text}).words(); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	_, bad, err := builtin(t, "vitess").Check(State{Present: state("vtgate=7.0", "vttablet=6.0")})
	if err != nil || len(bad) != 1 || !strings.Contains(bad[0].String(), "vttablet 6.0: below 8.0 the order is bottom to top") {
		t.Errorf("%v %v", bad, err)
	}
}

// Releases and roles that can't be meant are told with their place.
func TestReleasesAndRoles(t *testing.T) {
	for change, want := range map[[2]string]string{
		{`"2"]`, `"2.x"]`}:  `x.yaml:5:17: releases[1]: "2.x" is no release: numbers divided by dots`,
		{`"2"]`, `"2-rc"]`}: `releases[1]: "2-rc" is no release`,
		{`"2"]`, `"two"]`}:  `releases[1]: "two" is no release`,
		{`"2"]`, `"0.9"]`}:  `releases[1]: "0.9" does not come after "1"`,
		{`{name: b, layer: one}, {name: c, layer: one}`, `{name: b, layer: one, role_of: c}, {name: c, layer: one, role_of: b}`}: `components[1].role_of: c is a role itself`,
	} {
		_, err := Parse(config.Source{Name: "x.yaml", Text: []byte(strings.Replace(cyclic, change[0], change[1], 1))})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got\n%v\nwant %s", change[1], err, want)
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

// A bridge is for its product, its releases and its builds.
func TestMisfit(t *testing.T) {
	p := builtin(t, "vitess")
	good := Bridge{Name: "b", Product: "vitess", From: "5.0", To: "14.0", Builds: []string{"5.0.1-shop3", "v14.0.2"}}
	if why := p.Misfit(good); why != "" {
		t.Errorf("misfit: %s", why)
	}
	for want, change := range map[string]func(b *Bridge){
		"for the product mysql":            func(b *Bridge) { b.Product = "mysql" },
		"of no release":                    func(b *Bridge) { b.From = "1.0" },
		"does not name the two builds":     func(b *Bridge) { b.Builds = b.Builds[:1] },
		"build v14.0.2 is not of the rele": func(b *Bridge) { b.To = "13.0" },
		"5.0.9 is another build than 5.0.": func(b *Bridge) { b.From = "5.0.9" },
		"14.0.21 is another build":         func(b *Bridge) { b.To = "14.0.21" },
		"14.0-beta is another build":       func(b *Bridge) { b.To = "14.0-beta" },
		"does not go from an older":        func(b *Bridge) { b.From, b.To, b.Builds = "14.0", "5.0", []string{"14.0.1", "5.0.1"} },
	} {
		b := good
		change(&b)
		if why := p.Misfit(b); !strings.Contains(why, want) {
			t.Errorf("misfit by %q, want %q", why, want)
		}
		if len(p.Bridged([]Bridge{b}).bridged) > 0 {
			t.Errorf("%s: it joins releases all the same", want)
		}
	}
	on := p.Bridged([]Bridge{good})
	if pairs, bad, err := on.Check(State{Present: state("vtgate=5.0", "vttablet=14.0")}); err != nil || len(bad) > 0 || !strings.HasSuffix(pairs[0].Rule.Text, "; the bridge b makes them neighbours") {
		t.Errorf("the ends of the bridge: %v %v %v", pairs, bad, err)
	}
	if _, bad, err := on.Check(State{Present: state("vtgate=14.0", "vttablet=5.0")}); err != nil || len(bad) != 1 || bad[0].Rule.ID != "order[0]" {
		t.Errorf("a bridge leaps over the order of what it leaps over: %v %v", bad, err)
	}
	if _, bad, _ := on.Check(State{Present: state("vtgate=14.0", "vttablet=6.0")}); len(bad) == 0 {
		t.Error("a release between the ends is legal")
	}
	if len(p.bridged) > 0 {
		t.Error("the product itself was changed")
	}
	for version, want := range map[string]bool{"5.0.1-shop3": false, "5.0.1-shop31": true, "14.0.2": false, "14.0.21": true, "6.0": false, "nonsense": false} {
		if why := p.OtherBuild(good, version); (why != "") != want {
			t.Errorf("%s: %q", version, why)
		}
	}
}

func TestBridges(t *testing.T) {
	now := time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
	good := Bridge{Name: "five-to-fourteen", Product: "vitess", From: "5.0", To: "14.0", Who: "mira", Evidence: []Evidence{{"replay of two days", "pass", now.AddDate(0, 0, -3)}}, Expires: now.AddDate(0, 1, 0)}
	p := builtin(t, "vitess")
	if why := good.Refuse(now); why != "" {
		t.Errorf("refused: %s", why)
	}
	path, err := p.Plan(Request{From: "5.0", To: "14.0", Bridges: []Bridge{good}})
	if err != nil || len(path.Hops) != 1 || path.Hops[0].Bridge == nil {
		t.Errorf("%v: %s", err, text(path))
	}
	if path, err = p.Plan(Request{From: "5.0", To: "14.0"}); err != nil || len(path.Hops) != 9 {
		t.Errorf("without the bridge: %v, %d hops", err, len(path.Hops))
	}
	if path, err = p.Plan(Request{From: "4.0", To: "15.0", Bridges: []Bridge{good}}); err != nil || len(path.Hops) != 3 {
		t.Errorf("before and behind the bridge: %v: %s", err, text(path))
	}
	for want, change := range map[string]func(b *Bridge){
		"expired":         func(b *Bridge) { b.Expires = now },
		"has no evidence": func(b *Bridge) { b.Evidence = nil },
		"is not proved":   func(b *Bridge) { b.Evidence = []Evidence{{"replay", "fail", now}} },
		"in the future":   func(b *Bridge) { b.Evidence = []Evidence{{"replay", "pass", now.Add(time.Hour)}} },
	} {
		b := good
		change(&b)
		if why := b.Refuse(now); !strings.Contains(why, want) {
			t.Errorf("refused by %q, want %q", why, want)
		}
	}
}

// A bridge is a proof of two builds: a path between others of their releases does not go over it.
func TestBridgeOfOtherBuilds(t *testing.T) {
	b := Bridge{Name: "b", Product: "vitess", From: "5.0", To: "14.0", Builds: []string{"5.0.1-shop3", "14.0.2-shop1"}}
	for _, c := range []struct {
		from, to string
		hops     int // 0: refused
	}{
		{"5.0", "14.0", 1},
		{"5.0.1", "v14.0.2", 1},
		{"5.0.1-shop3", "14.0.2-shop1", 1},
		{"v5.0.1-shop3", "14.0.2-shop1-debug", 1},
		{"5.0.9", "14.0", 0},
		{"5.0", "14.0.7", 0},
		{"5.0.1-shop4", "14.0", 0},
		{"5.0", "14.0.2-shop11", 0},
		{"4.0.7", "15.0.7", 3}, // its ends are within the path
		{"5.0", "9.0", 4},      // it goes too far
		{"6.0.9", "14.0.7", 8}, // it does not begin on the path
	} {
		path, err := builtin(t, "vitess").Plan(Request{From: c.from, To: c.to, Bridges: []Bridge{b}})
		var no *NoPath
		switch {
		case c.hops == 0 && (!errors.As(err, &no) || !strings.Contains(no.Why, "the bridge b was proved with 5.0.1-shop3 and 14.0.2-shop1, and not with ")):
			t.Errorf("%s to %s: %v, %s", c.from, c.to, err, text(path))
		case c.hops > 0 && (err != nil || len(path.Hops) != c.hops):
			t.Errorf("%s to %s: %v, %d hops", c.from, c.to, err, len(path.Hops))
		}
	}
}

func TestLint(t *testing.T) {
	for _, name := range Names() {
		if found := builtin(t, name).Lint(); len(found) > 0 {
			t.Errorf("%s: %v", name, found)
		}
	}
	p, err := Parse(config.Source{Name: "ring.yaml", Text: []byte(strings.Replace(cyclic, "{name: c, layer: one}]", "{name: c, layer: one}, {name: lonely, layer: one}]", 1))})
	if err != nil {
		t.Fatal(err)
	}
	p.Skews = append(p.Skews[:0], Skew{From: "a", To: "c", Releases: Range{0, 2, ""}})
	var got []string
	for _, f := range p.Lint() {
		got = append(got, f.String())
	}
	all := strings.Join(got, "\n")
	for _, want := range []string{"no rule speaks of lonely", "no upgrade is possible from 1 to 2", "no skew rule speaks of a and b", "a call from a to c that there is not"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is not found in\n%s", want, all)
		}
	}
}

// What makes a policy useless in one place is told there, and what is well is not.
func TestLintPlaces(t *testing.T) {
	const good = `kind: Product
version: 1
name: shop
releases: ["1", "2", "3"]
layers: [app, data]
components: [{name: app, layer: app}, {name: store, layer: data}]
calls: [{from: app, to: store, source: ours}]
skew: [{callee_older: 1, callee_newer: 1, source: ours}]
hops: {to: next, source: ours}
`
	for _, c := range []struct{ old, new, want string }{
		{"", "", ""},
		{`"1", "2", "3"`, `"1"`, `releases: no upgrade is possible: 1 is the only release`},
		{`layer: data}]`, `layer: data}, {name: lonely, layer: app}]`, `components[2]: no rule speaks of lonely`},
		{"calls: [", "calls: [{from: helper, to: helper, source: ours}, ", ""},
		{"layers: [app, data]", "layers: [app, data, ghost]", `layers[2]: no component is of the layer ghost`},
		{"hops:", "order: [{order: any, canary: data, source: ours}]\nhops:", ""},
		{`layer: data}]`, `layer: data, single: true}]` + "\norder: [{order: any, canary: data, source: ours}]", `order[0].canary: no canary can go first: the layer data`},
		{"hops:", "innovation: [\"2\"]\nhops:", `innovation: no hop goes over an innovation release`},
		{"to: next", "to: next, over_innovation: 1", `hops.over_innovation: no release is an innovation release`},
		{"skew: [", "innovation: [\"2\"]\nskew: [{from: app, to: store, releases: \">=2 <3\", callee_older: 0, callee_newer: 0, source: its makers close it}, {from: app, to: store, releases: \">=3\", callee_older: 1, callee_newer: 1, source: ours}, ", `no hop goes over`},
	} {
		text := strings.Replace(good, c.old, c.new, 1)
		if strings.Contains(c.new, "helper") { // an island
			text = strings.Replace(text, "layer: data}]", "layer: data}, {name: helper, layer: app}]", 1)
			c.want = `components[2]: no rule joins helper to app`
		}
		p, err := Parse(config.Source{Name: "shop.yaml", Text: []byte(text)})
		if err != nil {
			t.Fatalf("%s: %v", c.new, err)
		}
		var got []string
		for _, f := range p.Lint() {
			got = append(got, f.Path+": "+f.Message)
			if f.Hint == "" {
				t.Errorf("%s: it does not say what to do", f.Message)
			}
		}
		if all := strings.Join(got, "\n"); c.want == "" && all != "" || !strings.Contains(all, c.want) {
			t.Errorf("%s: %q, want %q", c.new, all, c.want)
		}
	}
	// A release that may be jumped over may be closed: nobody has to go there. One that may not be is found.
	closed := strings.Replace(good, "skew: [", `skew: [{from: app, to: store, releases: ">=2 <3", callee_older: 0, callee_newer: 0, source: its makers close it}, `, 1)
	over := strings.Replace(closed, "to: next", "to: next, over_innovation: 1", 1) + "innovation: [\"2\"]\n"
	for text, want := range map[string]string{closed: "no upgrade is possible from 1 to 2", over: "", strings.Replace(over, ">=2 <3", ">=2", 1): "no upgrade is possible from 1 to 2, nor over one further hop"} {
		p, err := Parse(config.Source{Name: "shop.yaml", Text: []byte(text)})
		if err != nil {
			t.Fatal(err)
		}
		var got string
		for _, f := range p.Lint() {
			got += f.Message + "\n"
		}
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// What contradicts itself is told before anything is judged by it.
func TestContradictionsInOnePlace(t *testing.T) {
	for change, want := range map[[2]string]string{
		{"{to: next", "{to: any, over_innovation: 1"}:                   `hops.over_innovation: a hop to any release`,
		{"callee_older: 1", `releases: ">=1 >=2", callee_older: 1`}:     `skew[0].releases: two bounds of ">=1 >=2" begin with >=`,
		{"{name: b, layer: one}", "{name: b, layer: one, stays: true}"}: `components[1].stays: only what there is one of can stay`,
		{"hops:", "newer: [{who: a, than: a, source: s}]\nhops:"}:       `newer[0].than: a is never older than itself, which says nothing`,
	} {
		text := strings.Replace(cyclic, change[0], change[1], 1)
		if _, err := Parse(config.Source{Name: "x.yaml", Text: []byte(text)}); text == cyclic || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got\n%v\nwant %s", change[1], err, want)
		}
	}
}
