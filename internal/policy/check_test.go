package policy

import (
	"strings"
	"testing"

	"github.com/windlass-db/windlass/internal/config"
)

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
