package policy

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// route finds the fewest hops that can be proved from one release to another, by a breadth-first search over the releases between them. Of as few
// hops those that go furthest first count. Where a product goes from each release to the next alone, and over bridges, there is hardly a choice; where
// it may go to any later release, a pair of releases far apart may be forbidden that can be reached over one between.
// It proves each pair of releases once at most. Without a way, the error is that of the first hop which was tried: the furthest one.
func (p *Product) route(r Request, from, to int) ([]PathHop, error) {
	name := func(release int) string {
		switch release {
		case from:
			return r.From
		case to:
			return r.To
		}
		return p.Releases[release].Name
	}
	came := map[int]PathHop{} // by the release that it leads to
	before := map[int]int{}
	atOnce := map[int]Violation{} // by release: what forbids the last hop from there
	var first error
	for queue := []int{from}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		if at == to {
			return p.back(came, before, atOnce, to), nil
		}
		for _, e := range p.ways(r, at, to) {
			if _, seen := before[e.to]; seen {
				continue
			}
			if e.bridge != nil {
				if why := p.otherEnd(*e.bridge, name(at), name(e.to)); why != "" {
					return nil, &NoPath{Product: p.Name, From: name(at), To: name(e.to), Why: why, Hint: "plan between the builds of the bridge, or without it: then the path goes through every version"}
				}
			}
			steps, err := e.on.hop(r, name(at), name(e.to))
			var no *NoPath
			if err != nil && (!errors.As(err, &no) || e.bridge != nil) { // whoever gives a bridge means to go over it
				return nil, err
			}
			if err != nil {
				if first == nil {
					first = err
				}
				if e.to == to && len(no.Forbidden) > 0 {
					atOnce[at] = no.Forbidden[0]
				}
				continue
			}
			came[e.to] = PathHop{From: name(at), To: name(e.to), Why: e.why, Bridge: e.bridge, Steps: steps}
			before[e.to] = at
			queue = append(queue, e.to)
		}
	}
	return nil, first
}

// back are the hops that led to a release, from the first one on.
func (p *Product) back(came map[int]PathHop, before map[int]int, atOnce map[int]Violation, at int) (hops []PathHop) {
	for {
		hop, ok := came[at]
		if !ok {
			return hops
		}
		at = before[at]
		if v, forbidden := atOnce[at]; forbidden {
			hop.Why += fmt.Sprintf("; not further, as %s", v)
		}
		hops = append([]PathHop{hop}, hops...)
	}
}

// way is a hop that the product knows, before it is proved.
type way struct {
	to     int
	on     *Product // in which it is to be proved
	why    string
	bridge *Bridge
}

// ways are the hops that lead on from a release and not past the end: over bridges, which are good ones as callers refuse others first, then by the
// product alone; of each the furthest first.
func (p *Product) ways(r Request, at, end int) []way {
	var all []way
	for i, b := range r.Bridges {
		start, err := p.Release(b.From)
		release, err2 := p.Release(b.To)
		if err == nil && err2 == nil && b.Product == p.Name && start == at && at < release && release <= end {
			all = append(all, way{release, p.with(b.Name, at, release), fmt.Sprintf("the bridge that %s vouches for, until %s", b.Who, b.Expires.Format("2006-01-02")), &r.Bridges[i]})
		}
	}
	slices.SortStableFunc(all, func(a, b way) int { return cmp.Compare(b.to, a.to) })
	if !p.Hop.Any {
		_, next := p.hops(at, end)
		return append(all, way{to: next, on: p, why: p.hopText()})
	}
	for release := end; release > at; release-- {
		all = append(all, way{to: release, on: p, why: p.hopText()})
	}
	return all
}

func (p *Product) hopText() string {
	switch {
	case p.Hop.Any:
		return "to any later release at once (" + p.Hop.Source + ")"
	case p.Hop.OverInnovation < 0:
		return "to the next release, or over innovation releases (" + p.Hop.Source + ")"
	case p.Hop.OverInnovation == 1:
		return "to the next release, or over one innovation release (" + p.Hop.Source + ")"
	case p.Hop.OverInnovation > 1:
		return fmt.Sprintf("to the next release, or over %d innovation releases (%s)", p.Hop.OverInnovation, p.Hop.Source)
	}
	return "to the next release (" + p.Hop.Source + ")"
}
