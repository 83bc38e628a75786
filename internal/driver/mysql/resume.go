package mysql

import "fmt"

// outset is where a run of the switch begins.
type outset string

const (
	fromBegin   outset = "begin"   // the old primary is writable
	fromReopen  outset = "reopen"  // none is writable; the old primary is to be opened again, then from the beginning
	fromPromote outset = "promote" // none is writable; the elect has everything and is to be opened
	fromFinish  outset = "finish"  // the elect is writable
)

// decide tells by what was observed where the switch to the target stands, and the node that it is about. It is pure.
func (sc *scene) decide(to target) (outset, *view, error) {
	w := sc.writable()
	switch {
	case len(w) > 1:
		return "", nil, contested(sc, w)
	case len(w) == 1 && to.at(w[0]) && (sc.unknown() == nil || w[0].opened()):
		return fromFinish, w[0], nil
	}
	// An unread node may be the writable one. Only the finish goes on without it: there the one that is writable was made so
	// by a switch, which had demoted the other.
	if err := sc.unknown(); err != nil {
		return "", nil, err
	}
	if len(w) == 1 {
		return fromBegin, w[0], nil
	}
	if v := sc.promising(); v != nil {
		return fromPromote, v, nil
	}
	if v := sc.demoted(); v != nil {
		return fromReopen, v, nil
	}
	return "", nil, contested(sc, nil)
}

// opened reports whether a switch made the node writable.
func (v *view) opened() bool {
	return v.standing != nil && (v.standing.Role == isPromoting || v.standing.Role == isPrimary)
}

// promising is the node that a switch was about to open, or had opened when it was restarted, under the highest term.
func (sc *scene) promising() *view {
	best := sc.latest(isPromoting)
	if best == nil {
		return nil
	}
	for _, v := range sc.views {
		st := v.standing
		if v == best || st == nil || st.Term < best.standing.Term {
			continue
		}
		// The undo of the same switch has made the old one primary again, or a later switch has begun.
		if st.Role == isPrimary && st.Switch == best.standing.Switch || st.Term > best.standing.Term && st.Role != isReplica {
			return nil
		}
	}
	return best
}

// demoted is the node that is the primary but for a switch that was broken off, or for a restart.
func (sc *scene) demoted() *view {
	d, p := sc.latest(isDemoting), sc.lastPrimary()
	switch {
	case d == nil:
		return p
	case p == nil || d.standing.Term > p.standing.Term:
		return d
	}
	return p
}

// latest is the node with that standing under the highest term; nil if there is none, or two.
func (sc *scene) latest(role string) *view {
	var best *view
	twice := false
	for _, v := range sc.views {
		if v.standing == nil || v.standing.Role != role {
			continue
		}
		switch {
		case best == nil || v.standing.Term > best.standing.Term:
			best, twice = v, false
		case v.standing.Term == best.standing.Term:
			twice = true
		}
	}
	if twice {
		return nil
	}
	return best
}

func (v *view) describe() string {
	if v == nil {
		return "nobody"
	}
	return fmt.Sprintf("%s (%s)", v.place, v.node.Address)
}
