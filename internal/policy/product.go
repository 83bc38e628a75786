package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Product is what a policy is about. Make it by Parse or Builtin; the zero value has no rules.
type Product struct {
	Name       string
	Title      string
	Releases   []Release // oldest first
	Layers     []string  // the top one first
	Places     []string  // kinds of places that components are in, the outermost first
	Components []Component
	Calls      []Call
	Skews      []Skew
	Orders     []Order
	Newers     []Newer
	Hop        Hop
	Finalize   *Finalize
	Back       Back
	Features   []Feature
	bridged    map[[2]int]string // pairs of releases that a bridge makes neighbours, with its name
}

// Release is one release of the line that upgrades go along, such as "8.0". A version belongs to the release that it begins with.
type Release struct {
	Name       string
	Innovation bool // may be jumped over, if the hop rule says so
	parts      []int
}

// numbers are the name's, read once where the product comes from a file.
func (r Release) numbers() []int {
	if r.parts != nil {
		return r.parts
	}
	return numbers(r.Name)
}

// Component is a kind of process, or something else that has a version, such as a schema.
type Component struct {
	Name   string
	Layer  string
	Single bool   // there is one of it, such as a schema: it moves at once and is never mixed
	Stays  bool   // of what is single: nothing takes it back, so that whatever goes back works with it as it is
	RoleOf string // it is a role that one node of this component has at any time, such as the source among replicas: it moves by a switch and is never mixed
}

// Call says that one component meets another: it calls it, reads what it writes, or replicates from it.
type Call struct {
	From, To string
	Within   string // kind of place that it never leaves; "": it goes everywhere
	Ignored  string // why it takes no part; "" if it does
	Source   string
}

// Skew bounds how far caller and callee may be apart, in hops.
type Skew struct {
	From, To    string // "": every call
	Releases    Range  // that the newer of the two is of
	CalleeOlder int    // how many hops the callee may be behind; negative: any number
	CalleeNewer int
	Source      string
}

// Order says in which order layers go in a range of releases.
type Order struct {
	Releases  Range  // that the newer of the two is of
	Direction string // BottomToTop or AnyOrder
	Canary    string // layer of which one node may go before everything else; "" if none
	Source    string
}

// Directions of an order.
const (
	BottomToTop = "bottom-to-top"
	AnyOrder    = "any"
)

// Newer says that one component is never older than another, whoever calls whom.
type Newer struct {
	Who, Than string
	Reverse   []string // what guards the opposite while a rollback must be possible; empty: it is never allowed
	Source    string
}

// Hop says how far one hop goes.
type Hop struct {
	Any            bool // to any later release at once
	OverInnovation int  // over so many innovation releases; negative: any number
	Source         string
}

// Finalize is what has to be done before the next hop, and after which nothing goes back.
type Finalize struct {
	What, Source string
}

// Back says how one node goes back to the version before.
type Back struct {
	Node   string // BackRestart, BackReseed or BackNever
	Source string
}

// Ways in which a node goes back.
const (
	BackRestart = "restart" // the old program is started over the same data
	BackReseed  = "reseed"  // the node is made anew from one that is still old
	BackNever   = "never"
)

// Component finds a component by its name.
func (p *Product) Component(name string) (Component, bool) {
	i := slices.IndexFunc(p.Components, func(c Component) bool { return c.Name == name })
	if i < 0 {
		return Component{}, false
	}
	return p.Components[i], true
}

// UnknownVersion is a version that none of the product's releases fits.
type UnknownVersion struct {
	Product, Version string
	First, Last      string
	Suffix           string // what follows its numbers, if that makes it no version
	Near             string // the one release that begins with it, if there is one
}

// Error says which releases are known.
func (e *UnknownVersion) Error() string {
	if e.Suffix != "" {
		return fmt.Sprintf("%q is no version of %s: %q follows its numbers, and what does so begins with a dot or one of -, +, ~ and _", e.Version, e.Product, e.Suffix)
	}
	return fmt.Sprintf("version %q is of no release of %s that is known: they go from %s to %s", e.Version, e.Product, e.First, e.Last)
}

// ErrorHint says what to do.
func (e *UnknownVersion) ErrorHint() string {
	if e.Near != "" {
		return fmt.Sprintf("did you mean %q?", e.Near)
	}
	return "correct the version, or add its release to the product's file"
}

// Release is the index of the release that a version belongs to: the longest one that it begins with.
func (p *Product) Release(version string) (int, error) {
	best, at := 0, -1
	v, suffix := split(version)
	if len(v) > 0 && suffix != "" && !strings.ContainsRune("-+~_.", rune(suffix[0])) {
		return 0, &UnknownVersion{Product: p.Name, Version: version, Suffix: suffix}
	}
	for i, r := range p.Releases {
		n := r.numbers()
		if len(n) > best && len(n) <= len(v) && slices.Equal(n, v[:len(n)]) {
			best, at = len(n), i
		}
	}
	if at < 0 {
		e := &UnknownVersion{Product: p.Name, Version: version, Near: p.near(v)}
		if len(p.Releases) > 0 {
			e.First, e.Last = p.Releases[0].Name, p.Releases[len(p.Releases)-1].Name
		}
		return 0, e
	}
	return at, nil
}

// near is the only release that begins with these numbers: "14" means 14.0 where there is no 14.1. It is "" without one, or with several.
func (p *Product) near(v []int) (name string) {
	for _, r := range p.Releases {
		if n := r.numbers(); len(v) > 0 && len(n) > len(v) && slices.Equal(n[:len(v)], v) {
			if name != "" {
				return ""
			}
			name = r.Name
		}
	}
	return name
}

// numbers reads the leading numbers of a version: "v14.0.3-rc1" is 14, 0, 3.
func numbers(version string) []int {
	all, _ := split(version)
	return all
}

// split divides a version into its leading numbers and what follows them: "v14.0.3-rc1" is 14, 0, 3 and "-rc1". Without a number all of it follows.
func split(version string) (all []int, suffix string) {
	suffix = strings.TrimPrefix(version, "v")
	for rest := suffix; ; rest = suffix[1:] {
		end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
		if end < 0 {
			end = len(rest)
		}
		n, err := strconv.Atoi(rest[:end])
		if err != nil {
			return all, suffix
		}
		all, suffix = append(all, n), rest[end:]
		if suffix == "" || suffix[0] != '.' {
			return all, suffix
		}
	}
}

// hops is how many hops it takes from an older release to a newer one, and where the first of them goes.
func (p *Product) hops(from, to int) (n, first int) {
	switch {
	case from >= to:
		return 0, from
	case p.Hop.Any, p.joined(from, to) != "":
		return 1, to
	}
	first = from + 1
	for at := from; at < to; n++ {
		step := 1
		for at+step < to && p.Releases[at+step].Innovation && (p.Hop.OverInnovation < 0 || step <= p.Hop.OverInnovation) {
			step++
		}
		if n == 0 {
			first = at + step
		}
		at += step
	}
	return n, first
}

// joined is the name of the bridge that makes two releases neighbours, or "".
func (p *Product) joined(a, b int) string { return p.bridged[[2]int{min(a, b), max(a, b)}] }

// apart is the distance of two releases in hops, whichever is the older one.
func (p *Product) apart(a, b int) int {
	n, _ := p.hops(min(a, b), max(a, b))
	if p.Hop.Any && p.joined(a, b) == "" { // hops say nothing then: count releases
		n = max(a, b) - min(a, b)
	}
	return n
}

// Range is a half-open range of releases by index. The zero value has none in it.
type Range struct {
	From, To int // To is the first one that is not in it
	Text     string
}

// Has reports whether the release is in the range.
func (r Range) Has(release int) bool { return r.From <= release && release < r.To }

// HasAny reports whether a release behind after, up to upTo, is in the range: what a bridge leaps over counts, too.
func (r Range) HasAny(after, upTo int) bool { return max(r.From, after+1) <= min(r.To-1, upTo) }

// HasAll reports whether all of them are.
func (r Range) HasAll(after, upTo int) bool { return r.From <= after+1 && upTo < r.To }

// words says which releases are in it: "below 8.0", "from 8.0", "from 8.0 and below 12.0"; "" for all of them.
func (r Range) words() string {
	var all []string
	for _, part := range strings.Fields(r.Text) {
		if release, ok := strings.CutPrefix(part, ">="); ok {
			all = append(all, "from "+release)
		} else if release, ok := strings.CutPrefix(part, "<"); ok {
			all = append(all, "below "+release)
		}
	}
	return strings.Join(all, " and ")
}
