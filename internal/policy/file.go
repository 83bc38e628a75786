package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/windlass-db/windlass/internal/config"
)

// Kind is the product file's kind of document. Its objects are of type *Product.
func Kind() config.Kind {
	return config.Define("Product", "which versions of a product's components may meet, and in which order they are upgraded", func() file { return file{Back: fileBack{Node: BackRestart}} }, build)
}

// Parse reads a file that holds one product. The error is a config.Problems if the content is wrong.
func Parse(src config.Source) (*Product, error) {
	p, _, err := config.One[*Product](src, Kind())
	return p, err
}

// isRelease is how a release is written. What follows the numbers of a version, as in "8.0.3-rc1", is of a build and not of a release.
var isRelease = regexp.MustCompile(`^v?[0-9]+(\.[0-9]+)*$`)

// file is the shape of a product's document.
type file struct {
	Name       string          `yaml:"name" rule:"required name" doc:"the product's name" example:"vitess"`
	Title      string          `yaml:"title" rule:"nonempty" doc:"what people call it" example:"Vitess"`
	Releases   []string        `yaml:"releases" rule:"required nonempty unique" doc:"the releases that upgrades go along, oldest first; a version belongs to the one that it begins with" example:"[\"13.0\", \"14.0\"]"`
	Innovation []string        `yaml:"innovation" rule:"unique" doc:"those of them that are innovation releases" example:"[\"24.2\"]"`
	Layers     []string        `yaml:"layers" rule:"required nonempty unique name" doc:"layers, the top one first" example:"[top, storage]"`
	Places     []string        `yaml:"places" rule:"nonempty unique" doc:"the kinds of places that a component is in, of region, cell and node, the outermost first; absent: cell and node" example:"[region, cell, node]"`
	Components []fileComponent `yaml:"components" rule:"required nonempty" doc:"what has a version of its own"`
	Calls      []fileCall      `yaml:"calls" doc:"which component meets which"`
	Skew       []fileSkew      `yaml:"skew" doc:"how far caller and callee may be apart"`
	Order      []fileOrder     `yaml:"order" doc:"in which order layers go"`
	Newer      []fileNewer     `yaml:"newer" doc:"what is never older than what"`
	Hops       fileHops        `yaml:"hops" rule:"required" doc:"how far one hop goes" example:"{to: next, source: the upgrade guide}"`
	Finalize   *fileFinalize   `yaml:"finalize" doc:"what has to be done before the next hop, and after which nothing goes back"`
	Back       fileBack        `yaml:"back" doc:"how one node goes back" example:"{node: restart, source: the upgrade guide}"`
	Features   []fileFeature   `yaml:"features" doc:"what versions before a release do not understand: it stays shut until every node runs that release, and a use of it before is told"`
}

type fileComponent struct {
	Name   string `yaml:"name" rule:"required name" doc:"the component's name" example:"vtgate"`
	Layer  string `yaml:"layer" rule:"required name" doc:"its layer" example:"top"`
	Single bool   `yaml:"single" doc:"there is one of it, such as a schema: it moves at once and is never mixed" example:"true"`
	Stays  bool   `yaml:"stays" doc:"of what is single: nothing takes it back, so whatever goes back works with it as it is" example:"true"`
	RoleOf string `yaml:"role_of" rule:"name" doc:"it is a role that one node of this component has at any time; it moves by a switch and is never mixed" example:"replica"`
}

type fileCall struct {
	From    string `yaml:"from" rule:"required name" doc:"who calls, reads or replicates" example:"vtgate"`
	To      string `yaml:"to" rule:"required name" doc:"whom" example:"vttablet"`
	Within  string `yaml:"within" rule:"oneof=region|cell|node" doc:"the kind of place that the call never leaves: who is known to be in another one is not met; absent: it goes everywhere" example:"node"`
	Ignored string `yaml:"ignored" rule:"nonempty" doc:"why it takes no part" example:"it happens never"`
	Source  string `yaml:"source" rule:"required nonempty" doc:"where that is written" example:"VEP-3"`
}

type fileSkew struct {
	From     string `yaml:"from" rule:"name" doc:"who calls; absent: everybody" example:"kubelet"`
	To       string `yaml:"to" rule:"name" doc:"whom; absent: everybody" example:"apiserver"`
	Releases string `yaml:"releases" rule:"nonempty" doc:"releases that the newer of the two is of; absent: all" example:"\">=8.0\""`
	Older    int    `yaml:"callee_older" rule:"min=-1 max=100" doc:"how many hops the callee may be behind; -1: any number" example:"1"`
	Newer    int    `yaml:"callee_newer" rule:"min=-1 max=100" doc:"how many hops it may be ahead; -1: any number" example:"1"`
	Source   string `yaml:"source" rule:"required nonempty" doc:"where that is written" example:"VEP-3"`
}

type fileOrder struct {
	Releases string `yaml:"releases" rule:"nonempty" doc:"releases that the newer of two is of; absent: all" example:"\"<8.0\""`
	Order    string `yaml:"order" rule:"required oneof=bottom-to-top|any" doc:"the order" example:"bottom-to-top"`
	Canary   string `yaml:"canary" rule:"name" doc:"layer of which one node may go before everything else" example:"top"`
	Source   string `yaml:"source" rule:"required nonempty" doc:"where that is written" example:"VEP-3"`
}

type fileNewer struct {
	Who     string   `yaml:"who" rule:"required name" doc:"what is never older" example:"replica"`
	Than    string   `yaml:"than" rule:"required name" doc:"than what" example:"source"`
	Reverse []string `yaml:"reverse" rule:"unique" doc:"what guards the opposite while a rollback must be possible; absent: it is never allowed" example:"[the new version's collations are kept away]"`
	Source  string   `yaml:"source" rule:"required nonempty" doc:"where that is written" example:"the manual"`
}

type fileHops struct {
	To             string `yaml:"to" rule:"required oneof=next|any" doc:"next: the next release; any: any later one at once" example:"next"`
	OverInnovation int    `yaml:"over_innovation" rule:"min=-1 max=100" doc:"how many innovation releases may be jumped over; -1: any number" example:"1"`
	Source         string `yaml:"source" rule:"required nonempty" doc:"where that is written" example:"the manual"`
}

type fileFinalize struct {
	What   string `yaml:"what" rule:"required nonempty" doc:"what is done" example:"finalize the cluster version"`
	Source string `yaml:"source" rule:"required nonempty" doc:"where that is written" example:"the manual"`
}

type fileBack struct {
	Node   string `yaml:"node" rule:"oneof=restart|reseed|never" doc:"restart: the old program over the same data; reseed: made anew from an old node; never" example:"restart"`
	Source string `yaml:"source" rule:"required nonempty" doc:"where that is written" example:"the manual"`
}

func build(f *file, r *config.Report) *Product {
	if f.Hops.To == "any" && f.Hops.OverInnovation != 0 {
		r.At("hops", "over_innovation").Problem(config.CodeContradiction, "a hop to any release needs no number of innovation releases to jump over", "leave it out, or write \"to: next\"")
	}
	p := &Product{Name: f.Name, Title: f.Title, Layers: f.Layers, Places: f.Places, Hop: Hop{Any: f.Hops.To == "any", OverInnovation: f.Hops.OverInnovation, Source: f.Hops.Source}, Back: Back(f.Back)}
	for i, name := range f.Releases {
		if name != "" && !isRelease.MatchString(name) {
			r.At("releases", i).Problem(config.CodeValue, fmt.Sprintf("%q is no release: numbers divided by dots", name), "write a release such as \"8.0\"")
		}
		if i > 0 && slices.Compare(numbers(f.Releases[i-1]), numbers(name)) >= 0 {
			r.At("releases", i).Problem(config.CodeContradiction, fmt.Sprintf("%q does not come after %q", name, f.Releases[i-1]), "list the releases from the oldest to the newest")
		}
		p.Releases = append(p.Releases, Release{Name: name, Innovation: slices.Contains(f.Innovation, name), parts: numbers(name)})
	}
	known := func(spot config.Spot, name string, names []string, what string) {
		if name != "" && len(names) > 0 && !slices.Contains(names, name) { // without any name, that is the problem
			spot.Problem(config.CodeReference, fmt.Sprintf("there is no %s %q", what, name), config.Suggest(name, names))
		}
	}
	p.placesKnown(f, r)
	for i, name := range f.Innovation {
		known(r.At("innovation", i), name, f.Releases, "release")
	}
	var components []string
	for i, c := range f.Components {
		known(r.At("components", i, "layer"), c.Layer, f.Layers, "layer")
		if c.Name != "" && slices.Contains(components, c.Name) {
			r.At("components", i, "name").Problem(config.CodeDuplicate, fmt.Sprintf("there is a component %q already", c.Name), "give each component a name of its own")
		}
		components = append(components, c.Name)
		p.Components = append(p.Components, Component(c))
	}
	for i, c := range f.Components {
		known(r.At("components", i, "role_of"), c.RoleOf, components, "component")
		if c.Stays && !c.Single {
			r.At("components", i, "stays").Problem(config.CodeContradiction, "only what there is one of can stay: nodes go back", "add \"single: true\", or leave it out")
		}
		if c.RoleOf != "" && c.RoleOf == c.Name {
			r.At("components", i, "role_of").Problem(config.CodeContradiction, "a component can't be a role of itself", "name the component whose nodes have the role")
		} else if of, ok := p.Component(c.RoleOf); ok && of.RoleOf != "" {
			r.At("components", i, "role_of").Problem(config.CodeContradiction, fmt.Sprintf("%s is a role itself: no node of its own could have the role %s", of.Name, c.Name), "name the component whose nodes have the role")
		}
	}
	for i, c := range f.Calls {
		known(r.At("calls", i, "from"), c.From, components, "component")
		known(r.At("calls", i, "to"), c.To, components, "component")
		p.reach(c, i, r)
		p.Calls = append(p.Calls, Call(c))
	}
	for i, s := range f.Skew {
		known(r.At("skew", i, "from"), s.From, components, "component")
		known(r.At("skew", i, "to"), s.To, components, "component")
		if (s.From == "") != (s.To == "") {
			r.At("skew", i).Problem(config.CodeContradiction, "one side of the call is named, and the other is not", "name both, or none for every call")
		}
		p.Skews = append(p.Skews, Skew{s.From, s.To, p.span(r.At("skew", i, "releases"), s.Releases), s.Older, s.Newer, s.Source})
	}
	for i, o := range f.Order {
		known(r.At("order", i, "canary"), o.Canary, f.Layers, "layer")
		p.Orders = append(p.Orders, Order{p.span(r.At("order", i, "releases"), o.Releases), o.Order, o.Canary, o.Source})
	}
	for i, n := range f.Newer {
		known(r.At("newer", i, "who"), n.Who, components, "component")
		known(r.At("newer", i, "than"), n.Than, components, "component")
		p.Newers = append(p.Newers, Newer(n))
	}
	if f.Finalize != nil {
		p.Finalize = &Finalize{f.Finalize.What, f.Finalize.Source}
	}
	p.features(f.Features, r)
	p.overlaps(r)
	p.cycles(r)
	return p
}

// placesKnown looks at the list of places.
func (p *Product) placesKnown(f *file, r *config.Report) {
	all := []string{PlaceRegion, PlaceCell, PlaceNode}
	last := -1
	for i, name := range f.Places {
		at := slices.Index(all, name)
		switch {
		case name == "":
		case at < 0:
			r.At("places", i).Problem(config.CodeValue, fmt.Sprintf("%q is no kind of place", name), config.Suggest(name, all))
		case at < last:
			r.At("places", i).Problem(config.CodeContradiction, fmt.Sprintf("a %s is not inside a %s", name, f.Places[i-1]), "list the places from the outermost to the innermost: region, cell, node")
		}
		last = max(last, at)
	}
	if len(f.Places) == 0 {
		p.Places = places
	}
}

// reach looks whether a call's reach is one that the product knows, and is needed.
func (p *Product) reach(c fileCall, i int, r *config.Report) {
	spot := r.At("calls", i, "within")
	switch {
	case c.Within == "":
	case c.Ignored != "":
		spot.Problem(config.CodeContradiction, "the call takes no part, wherever it goes", "remove \"within\", or \"ignored\"")
	case !slices.Contains(p.Places, c.Within):
		spot.Problem(config.CodeReference, fmt.Sprintf("this product has no %s: its places are %s", c.Within, strings.Join(p.Places, ", ")), "add it to \"places\", or name one of them")
	}
	for j, other := range p.Calls {
		if c.From != "" && other.From == c.From && other.To == c.To {
			r.At("calls", i).Problem(config.CodeDuplicate, fmt.Sprintf("calls[%d] is the same call", j), "say it once")
		}
	}
}

// span reads a range of releases: "<8.0", ">=8.0", or both of them, divided by a space.
func (p *Product) span(spot config.Spot, text string) Range {
	r := Range{0, len(p.Releases), text}
	if text == "" {
		return r
	}
	seen := map[string]bool{}
	for _, part := range strings.Fields(text) {
		op := strings.TrimRight(part, "0123456789.v")
		release := slices.IndexFunc(p.Releases, func(x Release) bool { return x.Name == strings.TrimPrefix(part, op) })
		switch {
		case release < 0 || (op != "<" && op != ">="):
			spot.Problem(config.CodeValue, fmt.Sprintf("%q is no range of releases", text), "write \"<8.0\", \">=8.0\" or \">=8.0 <12.0\", with releases of the list")
			return r
		case seen[op]:
			spot.Problem(config.CodeContradiction, fmt.Sprintf("two bounds of %q begin with %s", text, op), "keep one of them: \">=8.0 <12.0\" has one on each side")
			return r
		case op == "<":
			r.To = release
		default:
			r.From = release
		}
		seen[op] = true
	}
	if r.From >= r.To {
		spot.Problem(config.CodeContradiction, fmt.Sprintf("no release is in %q", text), "write a range with the older release first")
	}
	return r
}

// overlaps finds two rules for the same thing in the same release.
func (p *Product) overlaps(r *config.Report) {
	both := func(a, b Range) bool { return max(a.From, b.From) < min(a.To, b.To) }
	for i, a := range p.Skews {
		for j, b := range p.Skews[:i] {
			if a.From == b.From && a.To == b.To && both(a.Releases, b.Releases) {
				r.At("skew", i).Problem(config.CodeContradiction, fmt.Sprintf("skew[%d] speaks of the same calls in some of the same releases", j), "give them ranges that do not overlap")
			}
		}
	}
	for i, a := range p.Orders {
		for j, b := range p.Orders[:i] {
			if both(a.Releases, b.Releases) {
				r.At("order", i).Problem(config.CodeContradiction, fmt.Sprintf("order[%d] speaks of some of the same releases", j), "give them ranges that do not overlap")
			}
		}
	}
}

// cycles finds components that must be newer than one another: no upgrade could begin with either.
func (p *Product) cycles(r *config.Report) {
	for i, n := range p.Newers {
		if n.Who != "" && n.Who == n.Than {
			r.At("newer", i, "than").Problem(config.CodeContradiction, n.Who+" is never older than itself, which says nothing", "name another component, or bound two versions of it by a call to itself and its skew")
			continue
		}
		if n.Who != "" && p.newerThan(n.Than, n.Who, map[string]bool{}) {
			r.At("newer", i).Problem(config.CodeContradiction, fmt.Sprintf("%s is never older than %s, and by other rules the other way round: neither could be upgraded first", n.Who, n.Than), "take one of these rules out")
		}
	}
}

func (p *Product) newerThan(who, than string, seen map[string]bool) bool {
	if who == than {
		return true
	}
	if seen[who] {
		return false
	}
	seen[who] = true
	return slices.ContainsFunc(p.Newers, func(n Newer) bool { return n.Who == who && p.newerThan(n.Than, than, seen) })
}
