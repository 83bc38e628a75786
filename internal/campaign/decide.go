package campaign

import (
	"cmp"
	"slices"
	"time"
)

// Decide says for every cluster of the snapshot whether its next stage starts now, or why not.
//
// It is pure: the same snapshot and time give the same decisions, in the order of the campaign's environments and then of the clusters'
// names, whatever order the snapshot has. Rules are looked at in the order of the Code constants. A cluster with no reason
// against it competes for the places that the limits leave; those go to clusters that are on their way already, the
// one that waits longest first, then to those that have not begun, by name. Places are counted from the live actions and from
// the starts of this very call, so the launcher's recount inside its transaction is this function again.
//
// What can't be known holds: nothing starts by a guess. The cost is O(n log n) in the number of clusters.
func Decide(s Snapshot, now time.Time) []Decision {
	t := newTick(&s, now)
	decisions := make([]Decision, len(t.order))
	var free []candidate
	var scratch [16]Reason
	for i, at := range t.order {
		p := &s.Clusters[at]
		d := &decisions[i]
		d.Ref = p.Ref
		c := t.candidate(p)
		if c.arrived {
			d.Arrived = true
			continue
		}
		reasons := t.reasons(&c, now, scratch[:0])
		if len(reasons) == 0 {
			c.decision = d
			free = append(free, c)
			continue
		}
		d.Hold = &Hold{Next: c.name, Reasons: append(make([]Reason, 0, len(reasons)), reasons...), Earliest: t.earliest(&c, reasons)}
	}
	// The order is by environment and name, and the sort is stable.
	slices.SortStableFunc(free, func(a, b candidate) int {
		if r := cmp.Compare(t.rank(a.Ref.Env), t.rank(b.Ref.Env)); r != 0 {
			return r
		}
		if (a.next == 0) != (b.next == 0) {
			return cmp.Compare(b.next, a.next) // one of them is 0: it has not begun
		}
		return a.Since.Compare(b.Since)
	})
	for i := range free {
		c := &free[i]
		if r := t.place(c); r != nil {
			c.decision.Hold = &Hold{Next: c.name, Reasons: []Reason{*r}}
			continue
		}
		c.decision.Start = c.name
	}
	return decisions
}

// earliest is when every reason is gone if nothing else happens: never before the last of their ends, and later where another rule
// holds by then, such as a window that is closed when a soak ends. It is zero if a reason has no end of its own.
func (t *tick) earliest(c *candidate, reasons []Reason) time.Time {
	const rounds = 200 // windows, freezes and soaks alternate; each round moves on by at least one of them
	var buffer [8]Reason
	var at time.Time
	for range rounds {
		last := at
		for i := range reasons {
			if reasons[i].Until.IsZero() {
				return time.Time{}
			}
			if reasons[i].Until.After(at) {
				at = reasons[i].Until
			}
		}
		if !at.After(last) {
			return time.Time{}
		}
		if reasons = t.reasons(c, at, buffer[:0]); len(reasons) == 0 {
			return at
		}
	}
	return time.Time{}
}
