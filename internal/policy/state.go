package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

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
	for i := range r {
		for j := i; j < len(r); j++ {
			if v, mixed := p.mixed(r[i], r[j]); mixed {
				bad = append(bad, v)
			}
			ok, no := p.meet(r[i], r[j], s.Window)
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

// meet decides about two that are present, in both directions of every rule.
func (p *Product) meet(a, b placed, window bool) (ok []Pair, bad []Violation) {
	directions := [][2]placed{{a, b}}
	if a.Component != b.Component || a.release != b.release {
		directions = append(directions, [2]placed{b, a})
	}
	seen := map[string]bool{} // a component that meets itself is asked in both directions: one answer is enough
	for _, d := range directions {
		for _, v := range p.verdicts(d[0], d[1], window) {
			if seen[v.rule.ID+v.rule.Text] {
				continue
			}
			seen[v.rule.ID+v.rule.Text] = true
			pair := Pair{d[0].Present, d[1].Present, v.rule}
			if v.ok {
				ok = append(ok, pair)
				continue
			}
			pair.A.Place, pair.B.Place = v.at[0], v.at[1]
			bad = append(bad, Violation{pair})
		}
	}
	return ok, bad
}

type verdict struct {
	ok   bool
	rule Rule
	at   [2]string // where the two meet, one such pair of places
}

// verdicts asks every rule in which x is the first and y the second.
func (p *Product) verdicts(x, y placed, window bool) []verdict {
	var all []verdict
	newest := max(x.release, y.release)
	if call, at, met := p.meets(x, y); met {
		if i, s, found := p.skew(x.Component, y.Component, newest); found {
			v := p.skewed(i, s, x, y)
			v.at = at
			all = append(all, p.inside(call, v))
		}
		for i, o := range p.Orders {
			if o.Direction == BottomToTop && x.Component != y.Component && o.Releases.Has(newest) {
				all = append(all, p.inside(call, verdict{x.release <= y.release, Rule{ID: fmt.Sprintf("order[%d]", i), Source: o.Source,
					Text: strings.TrimSpace(fmt.Sprintf("%s the order is bottom to top: %s is never newer than %s, which it calls", o.Releases.words(), x.Component, y.Component))}, at}))
			}
		}
	}
	for i, n := range p.Newers {
		if n.Who != x.Component || n.Than != y.Component {
			continue
		}
		v := verdict{x.release >= y.release, Rule{ID: fmt.Sprintf("newer[%d]", i), Source: n.Source, Text: fmt.Sprintf("%s is never older than %s", n.Who, n.Than)}, [2]string{x.places[0], y.places[0]}}
		if !v.ok && window && len(n.Reverse) > 0 {
			v.ok, v.rule.Guards = true, n.Reverse
			v.rule.Text += ", but for the way back, behind guards"
		}
		all = append(all, v)
	}
	return all
}

// meets tells whether some of the first meet some of the second by a call that takes part, by which, and where.
func (p *Product) meets(x, y placed) (call Call, at [2]string, ok bool) {
	if call, ok = p.call(x.Component, y.Component); ok {
		at[0], at[1], ok = p.together(x, y, call.Within)
	}
	return call, at, ok
}

// inside adds to a rule that the call stays inside a place, and where that is written.
func (p *Product) inside(call Call, v verdict) verdict {
	if call.Within != "" {
		v.rule.Text += ", in the same " + call.Within
		if !strings.Contains(v.rule.Source, call.Source) {
			v.rule.Source += "; " + call.Source
		}
	}
	return v
}

// skew finds the rule for a call: one that names it goes before one for all.
func (p *Product) skew(from, to string, newest int) (int, Skew, bool) {
	for _, named := range []bool{true, false} {
		for i, s := range p.Skews {
			if (s.From != "") == named && (!named || s.From == from && s.To == to) && s.Releases.Has(newest) {
				return i, s, true
			}
		}
	}
	return 0, Skew{}, false
}

func (p *Product) skewed(i int, s Skew, x, y placed) verdict {
	allowed, word := s.CalleeNewer, "newer"
	if y.release < x.release {
		allowed, word = s.CalleeOlder, "older"
	}
	apart := p.apart(x.release, y.release)
	text := fmt.Sprintf("%s may be at most %d %s than %s, which calls it", y.Component, allowed, word, x.Component)
	switch {
	case allowed < 0:
		text = fmt.Sprintf("%s may be any number of releases %s than %s, which calls it", y.Component, word, x.Component)
	case allowed == 0:
		text = fmt.Sprintf("%s may not be %s than %s, which calls it", y.Component, word, x.Component)
	case allowed == 1:
		text = fmt.Sprintf("%s may be one release %s than %s, which calls it", y.Component, word, x.Component)
	}
	if b := p.joined(x.release, y.release); b != "" {
		text += "; the bridge " + b + " makes them neighbours"
	}
	return verdict{ok: allowed < 0 || apart <= allowed, rule: Rule{ID: fmt.Sprintf("skew[%d]", i), Text: text, Source: s.Source}}
}
