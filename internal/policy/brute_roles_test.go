package policy

import (
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// replicated makes a product of a source among replicas, with rules at random.
func replicated(t *rapid.T) *Product {
	p := &Product{Name: "replicated", Layers: []string{"l"}, Back: Back{Node: BackReseed}, Releases: []Release{{Name: "1"}, {Name: "2"}},
		Components: []Component{{Name: "replica", Layer: "l"}, {Name: "source", Layer: "l", RoleOf: "replica"}},
		Calls:      []Call{{From: "replica", To: "source"}}}
	skew := rapid.IntRange(-1, 1)
	p.Skews = []Skew{{Releases: Range{0, 2, ""}, CalleeOlder: skew.Draw(t, "older"), CalleeNewer: skew.Draw(t, "newer")}}
	for range rapid.IntRange(0, 2).Draw(t, "newers") {
		n := Newer{Who: "replica", Than: "source"}
		if rapid.Bool().Draw(t, "the other way") {
			n = Newer{Who: "source", Than: "replica"}
		}
		if rapid.Bool().Draw(t, "with a way back") {
			n.Reverse = []string{"watched"}
		}
		p.Newers = append(p.Newers, n)
	}
	return p
}

// world is three nodes, one of which is the source.
type world struct {
	at     [3]int // release of each node
	source int
	window bool // the role was switched, and a node is old still
}

// legal is the plain reading of the rules over every replica and the source.
func (w world) legal(p *Product) bool {
	for i, release := range w.at {
		if i == w.source {
			continue
		}
		src, s := w.at[w.source], p.Skews[0]
		if src < release && s.CalleeOlder >= 0 && release-src > s.CalleeOlder || src > release && s.CalleeNewer >= 0 && src-release > s.CalleeNewer {
			return false
		}
		for _, n := range p.Newers {
			older := n.Who == "replica" && release < src || n.Who == "source" && src < release
			if older && (!w.window || len(n.Reverse) == 0) {
				return false
			}
		}
	}
	return true
}

// reaches tries everything that a person could do: upgrade a node that is not the source, or give the role to a node that is upgraded.
func (w world) reaches(p *Product) bool {
	if !w.legal(p) {
		return false
	}
	if w.at == [3]int{1, 1, 1} {
		return true
	}
	for i := range w.at {
		next := w
		switch {
		case i == w.source:
			continue
		case w.at[i] == 0:
			next.at[i] = 1
			if next.reaches(p) {
				return true
			}
		case w.at[w.source] == 0:
			next.source, next.window = i, true
			if next.reaches(p) {
				return true
			}
		}
	}
	return false
}

// TestRolesAreWhatBruteForceSays compares the plan of a product with a role with everything that could be done by hand.
func TestRolesAreWhatBruteForceSays(t *testing.T) {
	seen := map[bool]int{}
	rapid.Check(t, func(t *rapid.T) {
		p := replicated(t)
		path, err := p.Plan(Request{From: "1", To: "2"})
		var no *NoPath
		if err != nil && !errors.As(err, &no) {
			t.Fatal(err)
		}
		can := world{}.reaches(p)
		seen[can]++
		if can != (err == nil) {
			t.Fatalf("%+v %+v: by hand %v; the plan says %v", p.Skews, p.Newers, can, err)
		}
		// New nodes beside the old ones: the role goes to one of them, and then the old ones go.
		begun, switched := world{at: [3]int{0, 0, 1}}, world{at: [3]int{0, 0, 1}, source: 2, window: true}
		_, err2 := p.Plan(Request{From: "1", To: "2", Strategy: BlueGreen})
		if beside := (world{}).legal(p) && begun.legal(p) && switched.legal(p); beside != (err2 == nil) {
			t.Fatalf("%+v %+v: new nodes beside the old ones: by hand %v; the plan says %v", p.Skews, p.Newers, beside, err2)
		}
		if err != nil {
			return
		}
		upgraded := false // some node, before the role goes to it
		for _, s := range path.Hops[0].Steps {
			if s.Component == "source" && !upgraded {
				t.Fatalf("the role goes to an upgraded node, and there is none: %v", text(path))
			}
			upgraded = upgraded || slices.Contains(s.States[len(s.States)-1].Present, Present{Component: "replica", Version: "2"})
		}
	})
	if seen[true] == 0 || seen[false] == 0 {
		t.Errorf("one side alone was tried: %v", seen)
	}
}
