package policy

import (
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// random makes a small product of a few components with rules at random.
func random(t *rapid.T) *Product {
	p := &Product{Name: "random", Layers: []string{"l"}, Hop: Hop{}, Back: Back{Node: BackRestart}}
	n := rapid.IntRange(1, 4).Draw(t, "components")
	for i := range 3 {
		p.Releases = append(p.Releases, Release{Name: fmt.Sprint(i + 1)})
	}
	all := Range{0, 3, "always"}
	for i := range n {
		p.Components = append(p.Components, Component{Name: string(rune('a' + i)), Layer: "l", Single: rapid.IntRange(0, 3).Draw(t, "single") == 0})
	}
	name := rapid.SampledFrom(p.Components)
	for range rapid.IntRange(0, 6).Draw(t, "calls") {
		p.Calls = append(p.Calls, Call{From: name.Draw(t, "from").Name, To: name.Draw(t, "to").Name})
	}
	skew := rapid.IntRange(-1, 2)
	if rapid.Bool().Draw(t, "two skews") { // the newer of the two that meet decides which one counts
		p.Skews = append(p.Skews, Skew{Releases: Range{0, 2, "below 3"}, CalleeOlder: skew.Draw(t, "older below"), CalleeNewer: skew.Draw(t, "newer below")},
			Skew{Releases: Range{2, 3, "from 3"}, CalleeOlder: skew.Draw(t, "older from"), CalleeNewer: skew.Draw(t, "newer from")})
	} else {
		p.Skews = append(p.Skews, Skew{Releases: all, CalleeOlder: skew.Draw(t, "older"), CalleeNewer: skew.Draw(t, "newer")})
	}
	if rapid.Bool().Draw(t, "ordered") {
		p.Orders = append(p.Orders, Order{Releases: rapid.SampledFrom([]Range{all, {0, 2, "below 3"}, {2, 3, "from 3"}}).Draw(t, "range"), Direction: BottomToTop})
	}
	for range rapid.IntRange(0, 2).Draw(t, "newers") {
		n := Newer{Who: name.Draw(t, "who").Name, Than: name.Draw(t, "than").Name}
		p.Newers = append(p.Newers, n)
	}
	return p
}

// legal is the plain reading of the rules over single nodes: releases[i] is what node i runs, of component owner[i].
func legal(p *Product, owner []string, releases []int) bool {
	for i := range owner {
		for j := range owner {
			x, y, a, b := owner[i], owner[j], releases[i], releases[j]
			if c, _ := p.Component(x); c.Single && x == y && a != b {
				return false
			}
			for _, c := range p.Calls {
				if c.From != x || c.To != y {
					continue
				}
				s := p.Skews[0]
				if len(p.Skews) > 1 && max(a, b) == 2 {
					s = p.Skews[1]
				}
				if b < a && s.CalleeOlder >= 0 && a-b > s.CalleeOlder || b > a && s.CalleeNewer >= 0 && b-a > s.CalleeNewer {
					return false
				}
				for _, o := range p.Orders {
					if x != y && o.Releases.Has(max(a, b)) && a > b {
						return false
					}
				}
			}
			for _, n := range p.Newers {
				if n.Who == x && n.Than == y && a < b {
					return false
				}
			}
		}
	}
	return true
}

// paths reports whether any order of upgrading whole components, node by node, passes through legal states alone.
func paths(p *Product, owner []string, releases []int, to int, begun string) bool {
	if !legal(p, owner, releases) {
		return false
	}
	done := true
	for i := range owner {
		if releases[i] == to || begun != "" && owner[i] != begun {
			continue
		}
		done = false
		next := append([]int{}, releases...)
		next[i] = to
		still := ""
		for j := range owner {
			if owner[j] == owner[i] && next[j] != to {
				still = owner[i]
			}
		}
		if paths(p, owner, next, to, still) {
			return true
		}
	}
	return done
}

// TestPlanIsWhatBruteForceSays compares the plan and its proof with every state of two nodes for each component.
func TestPlanIsWhatBruteForceSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { compare(t, random(t)) })
}

// failer is what both rapid and the mutants' test give.
type failer interface {
	Fatalf(format string, args ...any)
}

func compare(t failer, p *Product) {
	var owner []string
	for _, c := range p.Components {
		owner = append(owner, c.Name)
		if !c.Single { // of a schema there is one
			owner = append(owner, c.Name)
		}
	}
	at := func(release int) []int {
		all := make([]int, len(owner))
		for i := range all {
			all[i] = release
		}
		return all
	}
	for from := range 2 {
		path, err := p.Plan(Request{From: p.Releases[from].Name, To: p.Releases[from+1].Name})
		var no *NoPath
		if err != nil && !errors.As(err, &no) {
			t.Fatalf("plan: %v", err)
		}
		if can := paths(p, owner, at(from), from+1, ""); can != (err == nil) {
			t.Fatalf("%+v: brute force finds a path from %d: %v; the plan says %v", p, from+1, can, err)
		}
		if err == nil {
			walkAll(t, p, path, owner, at(from))
		}
	}
}

// walkAll goes through every state that the plan's steps can produce: any subset of the moving component's nodes.
func walkAll(t failer, p *Product, path Path, owner []string, now []int) {
	for _, s := range path.Hops[0].Steps {
		to, _ := p.Release(path.Hops[0].To)
		var nodes []int
		for i := range owner {
			if owner[i] == s.Component {
				nodes = append(nodes, i)
			}
		}
		for set := range 1 << len(nodes) {
			state := append([]int{}, now...)
			for k, i := range nodes {
				if set&(1<<k) != 0 {
					state[i] = to
				}
			}
			if !legal(p, owner, state) {
				t.Fatalf("%+v: step %s passes through %v, which is not legal", p, s.Name, state)
			}
		}
		for _, i := range nodes {
			now[i] = to
		}
	}
}

type catcher struct{ failed bool }

func (c *catcher) Fatalf(string, ...any) { c.failed = true; panic(c) }

// TestMutantsAreSeen breaks the rules that the planner sees, and not those that brute force reads: each has to be noticed.
func TestMutantsAreSeen(t *testing.T) {
	base := func() *Product {
		return &Product{Name: "m", Layers: []string{"l"}, Releases: []Release{{Name: "1"}, {Name: "2"}, {Name: "3"}}, Back: Back{Node: BackRestart},
			Components: []Component{{Name: "a", Layer: "l"}, {Name: "b", Layer: "l"}},
			Calls:      []Call{{From: "a", To: "b"}, {From: "b", To: "b"}}, Skews: []Skew{{Releases: Range{0, 3, ""}, CalleeOlder: 1, CalleeNewer: 1}},
			Orders: []Order{{Releases: Range{0, 3, ""}, Direction: BottomToTop}}}
	}
	seen := func(mutate func(p *Product, path *Path)) (failed bool) {
		c := &catcher{}
		defer func() {
			if r := recover(); r != nil && r != c {
				panic(r)
			}
			failed = c.failed
		}()
		mutant, plain := base(), base()
		path, err := mutant.Plan(Request{From: "1", To: "2"})
		if err != nil {
			t.Fatal(err)
		}
		mutate(mutant, &path)
		if again, err := mutant.Plan(Request{From: "1", To: "2"}); err == nil && len(mutant.Orders) == 0 {
			path = again
		}
		walkAll(c, plain, path, []string{"a", "a", "b", "b"}, []int{0, 0, 0, 0})
		return false
	}
	if seen(func(*Product, *Path) {}) {
		t.Error("the plan itself is said to be wrong")
	}
	if !seen(func(p *Product, path *Path) {
		path.Hops[0].Steps[0], path.Hops[0].Steps[1] = path.Hops[0].Steps[1], path.Hops[0].Steps[0]
	}) {
		t.Error("a swapped order is not seen")
	}
	if !seen(func(p *Product, path *Path) { path.Hops[0].To = "3" }) {
		t.Error("a skew that is off by one is not seen")
	}
	if !seen(func(p *Product, path *Path) {
		p.Orders = nil
		p.Components[0], p.Components[1] = p.Components[1], p.Components[0]
		p.Layers, p.Components[0].Layer = []string{"l", "low"}, "l"
		p.Components[1].Layer = "low"
	}) {
		t.Error("a dropped rule is not seen")
	}
}

// BenchmarkPlan proves a plan of five components and twelve hops over a thousand nodes: the number of nodes does not matter.
func BenchmarkPlan(b *testing.B) {
	p := builtin(b, "vitess")
	for b.Loop() {
		path, err := p.Plan(Request{From: "8.0", To: "20.0"})
		if err != nil || len(path.Hops) != 12 {
			b.Fatal(err, len(path.Hops))
		}
	}
}
