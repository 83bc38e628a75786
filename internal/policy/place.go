package policy

import (
	"slices"
	"strings"
)

// Kinds of places that a product may know, the outermost first.
const (
	PlaceRegion = "region"
	PlaceCell   = "cell"
	PlaceNode   = "node"
)

// places are what a product knows whose file names none.
var places = []string{PlaceCell, PlaceNode}

// Stays tells whether a call of the product stays inside a place, so that it matters where a component is.
func (p *Product) Stays() bool {
	return slices.ContainsFunc(p.Calls, func(c Call) bool { return c.Within != "" && c.Ignored == "" })
}

// Place words where something is, for a Present: outermost first, as the product's places are. What is known only behind a gap is of no use.
func (p *Product) Place(known map[string]string) string {
	var parts []string
	for _, kind := range p.Places {
		if known[kind] == "" {
			break
		}
		parts = append(parts, known[kind])
	}
	return strings.Join(parts, "/")
}

// depth is how many parts of a place have to be the same; 0: none, the call goes everywhere.
func (p *Product) depth(within string) int { return slices.Index(p.Places, within) + 1 }

// together tells whether some of the one can be where some of the other are, and gives the two places. Where less is known than the call needs,
// they can be: only what is known to be apart is apart. It takes one look at each place.
func (p *Product) together(x, y placed, within string) (at, other string, ok bool) {
	depth := p.depth(within)
	if depth == 0 {
		return x.places[0], y.places[0], true
	}
	known := map[string]string{}  // what is known of a place of y, with that place
	prefix := map[string]string{} // the same, and everything around it
	for _, place := range y.places {
		parts := cut(place, depth)
		known[strings.Join(parts, "/")] = place
		for n := range len(parts) + 1 {
			prefix[strings.Join(parts[:n], "/")] = place
		}
	}
	for _, place := range x.places {
		parts := cut(place, depth)
		if other, ok := prefix[strings.Join(parts, "/")]; ok { // as much is known of y, or more
			return place, other, true
		}
		for n := range parts { // less is known of y
			if other, ok := known[strings.Join(parts[:n], "/")]; ok {
				return place, other, true
			}
		}
	}
	return "", "", false
}

// cut are the outermost parts of a place, so many at most.
func cut(place string, most int) []string {
	if place == "" {
		return nil
	}
	parts := strings.Split(place, "/")
	return parts[:min(most, len(parts))]
}
