package policy

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/windlass-db/windlass/internal/config"
)

// Present is a component that is present on a version.
type Present struct {
	Component string `json:"component"`
	Version   string `json:"version"`
	Place     string `json:"place,omitempty"` // where it is, outermost first: "zone1/100", as the product's places are; "": not told, it may be anywhere
}

// String is "vtgate 14.0", or "vtgate 14.0 in zone1".
func (p Present) String() string {
	if p.Place != "" {
		return p.Component + " " + p.Version + " in " + p.Place
	}
	return p.Component + " " + p.Version
}

// State is which versions are present of each component, and where, if that is known. How many nodes there are of each is of no concern
// to any rule; where they are is of concern to calls that stay inside a place.
type State struct {
	Present []Present `json:"present"`
	// Window says that a rollback must be possible, so that replication in reverse is allowed where its guards stand.
	Window bool `json:"window,omitempty"`
}

// Rule is a rule that allows or forbids a pair.
type Rule struct {
	ID     string   `json:"id"` // such as "skew[1]", its place in the product's file
	Text   string   `json:"text"`
	Source string   `json:"source"`
	Guards []string `json:"guards,omitempty"` // what must stand for a pair in reverse
}

// Pair is two components that meet, and the rule that decides about it.
type Pair struct {
	A    Present `json:"a"`
	B    Present `json:"b"`
	Rule Rule    `json:"rule"`
}

// Violation is a pair that may not meet.
type Violation struct{ Pair }

// String says who may not meet whom, and why.
func (v Violation) String() string {
	return fmt.Sprintf("%s may not meet %s: %s (%s: %s)", v.A, v.B, v.Rule.Text, v.Rule.ID, v.Rule.Source)
}

// Check looks at every pair of the state. Without a violation, pairs is the proof: every pair that a rule speaks of, with the rule.
func (p *Product) Check(s State) (pairs []Pair, bad []Violation, err error) {
	r, err := p.resolve(s.Present)
	if err != nil {
		return nil, nil, err
	}
	look := p.rules()
	for i := range r {
		for j := i; j < len(r); j++ {
			if v, mixed := p.mixed(r[i], r[j]); mixed {
				bad = append(bad, v)
			}
			ok, no := look.meet(r[i], r[j], s.Window)
			pairs, bad = append(pairs, ok...), append(bad, no...)
		}
	}
	return pairs, bad, nil
}

// mixed tells whether the two are one thing on two versions, of what is never mixed: a component of which there is one, or a role that one node has.
func (p *Product) mixed(a, b placed) (Violation, bool) {
	if a.Component != b.Component || a.release == b.release {
		return Violation{}, false
	}
	i := slices.IndexFunc(p.Components, func(c Component) bool { return c.Name == a.Component })
	c := p.Components[i]
	why := c.unmixed()
	return Violation{Pair{a.Present, b.Present, Rule{ID: fmt.Sprintf("components[%d]", i), Text: why, Source: "the policy of " + p.Name}}}, why != ""
}

// unmixed says why a component is never on two versions; "" if it may be.
func (c Component) unmixed() string {
	switch {
	case c.RoleOf != "":
		return fmt.Sprintf("%s is a role that one %s has, so it is never mixed: it moves by a switch", c.Name, c.RoleOf)
	case c.Single:
		return fmt.Sprintf("there is one %s, so it is never mixed: it moves at once", c.Name)
	}
	return ""
}

// placed is a component on a version, with its release and everywhere it is.
type placed struct {
	Present // without a place
	release int
	places  []string // sorted, never empty
}

// resolve finds the releases, and takes each component on each version once, in a fixed order.
func (p *Product) resolve(all []Present) ([]placed, error) {
	var r []placed
	kinds := map[Present]int{}
	seen := map[Present]bool{} // of a thousand nodes most run the same
	for _, x := range all {
		if seen[x] {
			continue
		}
		seen[x] = true
		kind := Present{Component: x.Component, Version: x.Version}
		i, there := kinds[kind]
		if !there {
			if _, ok := p.Component(x.Component); !ok {
				return nil, &UnknownComponent{Product: p, Name: x.Component}
			}
			release, err := p.Release(x.Version)
			if err != nil {
				return nil, err
			}
			i = len(r)
			kinds[kind] = i
			r = append(r, placed{Present: kind, release: release})
		}
		r[i].places = append(r[i].places, x.Place)
	}
	for _, x := range r {
		slices.Sort(x.places)
	}
	slices.SortFunc(r, func(a, b placed) int {
		return cmp.Or(cmp.Compare(a.Component, b.Component), cmp.Compare(a.release, b.release), cmp.Compare(a.Version, b.Version))
	})
	return r, nil
}

// UnknownComponent is a component that the product does not have.
type UnknownComponent struct {
	Product *Product
	Name    string
}

// Error says which components there are.
func (e *UnknownComponent) Error() string {
	return fmt.Sprintf("%s has no component %q", e.Product.Name, e.Name)
}

// ErrorHint says which component was probably meant, or which there are.
func (e *UnknownComponent) ErrorHint() string {
	var names []string
	for _, c := range e.Product.Components {
		names = append(names, c.Name)
	}
	return config.Suggest(e.Name, names)
}
