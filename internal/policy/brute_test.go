package policy

import (
	"errors"
	"fmt"
	"slices"
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
	for _, c := range p.Calls { // a rule that names a call goes before the one for all
		named := slices.ContainsFunc(p.Skews, func(s Skew) bool { return s.From == c.From && s.To == c.To })
		if !named && rapid.IntRange(0, 3).Draw(t, "named") == 0 {
			p.Skews = append(p.Skews, Skew{c.From, c.To, rapid.SampledFrom([]Range{all, {0, 2, "below 3"}, {2, 3, "from 3"}}).Draw(t, "range"), skew.Draw(t, "older named"), skew.Draw(t, "newer named"), ""})
		}
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
				apart := max(a, b) - min(a, b)
				if apart == 2 && len(p.bridged) > 0 {
					apart = 1 // the only bridge that these tests know
				}
				if s, ok := skewOf(p, x, y, max(a, b)); ok && (b < a && s.CalleeOlder >= 0 && apart > s.CalleeOlder || b > a && s.CalleeNewer >= 0 && apart > s.CalleeNewer) {
					return false
				}
				for _, o := range p.Orders {
					if x != y && a > b && bottomUp(o, b, a) {
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

// skewOf is the plain reading of which rule counts: of those for the newer one's release the one that names the call, else the one that names none.
func skewOf(p *Product, from, to string, newest int) (found Skew, ok bool) {
	for _, s := range p.Skews {
		if newest < s.Releases.From || newest >= s.Releases.To {
			continue
		}
		if s.From == from && s.To == to {
			return s, true
		}
		if s.From == "" {
			found, ok = s, true
		}
	}
	return found, ok
}

// bottomUp reports whether the order binds a caller that is ahead: by any release between the two, for a bridge leaps over it.
func bottomUp(o Order, older, newer int) bool {
	for r := older + 1; r <= newer; r++ {
		if o.Releases.Has(r) {
			return true
		}
	}
	return false
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

// TestCanariesAreWhatBruteForceSays lets one node go before everything else.
func TestCanariesAreWhatBruteForceSays(t *testing.T) {
	seen := map[bool]int{}
	rapid.Check(t, func(t *rapid.T) {
		p := random(t)
		c := rapid.SampledFrom(p.Components).Draw(t, "canary")
		from := rapid.IntRange(0, 1).Draw(t, "from")
		path, err := p.Plan(Request{From: p.Releases[from].Name, To: p.Releases[from+1].Name, Canary: c.Name})
		owner := owners(p)
		begun := all(owner, from)
		begun[slices.Index(owner, c.Name)]++
		can := !c.Single && paths(p, owner, begun, from+1, "")
		seen[can]++
		if can != (err == nil) {
			t.Fatalf("%+v: a canary of %s from %d: by hand %v; the plan says %v", p, c.Name, from+1, can, err)
		}
		if s := path.Hops; can && (s[0].Steps[0].Component != c.Name || !legal(p, owner, begun)) {
			t.Fatalf("%s does not go first: %s", c.Name, text(path))
		}
	})
	if seen[true] == 0 || seen[false] == 0 {
		t.Errorf("one side alone was tried: %v", seen)
	}
}

// TestBridgesAreWhatBruteForceSays goes over two releases at once.
func TestBridgesAreWhatBruteForceSays(t *testing.T) {
	seen := map[bool]int{}
	rapid.Check(t, func(t *rapid.T) {
		p := random(t)
		path, err := p.Plan(Request{From: "1", To: "3", Bridges: []Bridge{{Name: "b", Product: p.Name, From: "1", To: "3"}}})
		owner, on := owners(p), p.with("b", 0, 2)
		can := paths(on, owner, all(owner, 0), 2, "")
		seen[can]++
		if can != (err == nil) || can && len(path.Hops) != 1 {
			t.Fatalf("%+v: over the bridge: by hand %v; the plan says %v, %s", p, can, err, text(path))
		}
		if can {
			walkAll(t, on, path, owner, all(owner, 0))
		}
		if _, err := p.Plan(Request{From: "1", To: "2", Bridges: []Bridge{{Name: "b", Product: p.Name, From: "1", To: "3"}}}); (err == nil) != paths(p, owner, all(owner, 0), 1, "") {
			t.Fatalf("%+v: a bridge that goes too far changes the plan: %v", p, err)
		}
	})
	if seen[true] == 0 || seen[false] == 0 {
		t.Errorf("one side alone was tried: %v", seen)
	}
}

// owners are the components of the nodes that brute force tries: two of each, and one of what there is one of.
func owners(p *Product) (owner []string) {
	for _, c := range p.Components {
		owner = append(owner, c.Name)
		if !c.Single { // of a schema there is one
			owner = append(owner, c.Name)
		}
	}
	return owner
}

// all nodes on a release.
func all(owner []string, release int) []int { return slices.Repeat([]int{release}, len(owner)) }

// failer is what both rapid and the mutants' test give.
type failer interface {
	Fatalf(format string, args ...any)
}

func compare(t failer, p *Product) {
	owner := owners(p)
	for from := range 2 {
		path, err := p.Plan(Request{From: p.Releases[from].Name, To: p.Releases[from+1].Name})
		var no *NoPath
		if err != nil && !errors.As(err, &no) {
			t.Fatalf("plan: %v", err)
		}
		if can := paths(p, owner, all(owner, from), from+1, ""); can != (err == nil) {
			t.Fatalf("%+v: brute force finds a path from %d: %v; the plan says %v", p, from+1, can, err)
		}
		if err == nil {
			walkAll(t, p, path, owner, all(owner, from))
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

// TestMutantsAreSeen breaks the rules that the planner sees, and not those that brute force reads: each has to be noticed. Without its rules the
// planner would begin with a, which is of the lowest layer; by them b goes first.
func TestMutantsAreSeen(t *testing.T) {
	whole := Range{0, 3, ""}
	base := func(orders []Order, skews ...Skew) *Product {
		return &Product{Name: "m", Layers: []string{"top", "low"}, Releases: []Release{{Name: "1"}, {Name: "2"}, {Name: "3"}}, Back: Back{Node: BackRestart},
			Components: []Component{{Name: "a", Layer: "low"}, {Name: "b", Layer: "top"}},
			Calls:      []Call{{From: "a", To: "b"}}, Skews: skews, Orders: orders}
	}
	ordered := func() *Product {
		return base([]Order{{Releases: whole, Direction: BottomToTop}}, Skew{Releases: whole, CalleeOlder: 1, CalleeNewer: 1})
	}
	skewed := func() *Product { return base(nil, Skew{Releases: whole, CalleeOlder: 0, CalleeNewer: 1}) }
	named := func() *Product {
		return base(nil, Skew{Releases: whole, CalleeOlder: 1, CalleeNewer: 1}, Skew{From: "a", To: "b", Releases: whole, CalleeOlder: 0, CalleeNewer: 1})
	}
	swap := func(path *Path) {
		s := path.Hops[0].Steps
		s[0], s[1] = s[1], s[0]
	}
	for name, c := range map[string]struct {
		plain  func() *Product
		mutate func(p *Product)
		change func(path *Path)
	}{
		"":                                  {plain: ordered},
		" by skew":                          {plain: skewed},
		" by a named skew":                  {plain: named},
		"a swapped order":                   {plain: ordered, change: swap},
		"a dropped order":                   {plain: ordered, mutate: func(p *Product) { p.Orders = nil }},
		"an order of other releases":        {plain: ordered, mutate: func(p *Product) { p.Orders[0].Releases = Range{2, 3, ""} }},
		"a skew off by one":                 {plain: skewed, mutate: func(p *Product) { p.Skews[0].CalleeOlder++ }},
		"a skew's sides swapped":            {plain: skewed, mutate: func(p *Product) { p.Skews[0].CalleeOlder, p.Skews[0].CalleeNewer = 1, 0 }},
		"a dropped skew":                    {plain: skewed, mutate: func(p *Product) { p.Skews = nil }},
		"a general skew instead of its own": {plain: named, mutate: func(p *Product) { p.Skews = p.Skews[:1] }},
		"a dropped call":                    {plain: skewed, mutate: func(p *Product) { p.Calls = nil }},
	} {
		mutant := c.plain()
		if c.mutate != nil {
			c.mutate(mutant)
		}
		path, err := mutant.Plan(Request{From: "1", To: "2"})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if c.change != nil {
			c.change(&path)
		}
		if seen := caught(func(f failer) { walkAll(f, c.plain(), path, []string{"a", "a", "b", "b"}, make([]int, 4)) }); seen != (c.mutate != nil || c.change != nil) {
			t.Errorf("the plan%s: seen %v", " with "+name, seen)
		}
	}
}

// caught tells whether something fails.
func caught(try func(f failer)) (failed bool) {
	c := &catcher{}
	defer func() {
		if r := recover(); r != nil && r != c {
			panic(r)
		}
		failed = c.failed
	}()
	try(c)
	return false
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
