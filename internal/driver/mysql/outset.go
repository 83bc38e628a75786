package mysql

import (
	"errors"

	"github.com/windlass-db/windlass/internal/fleet"
)

// The roles that a Standing names.
const (
	StandingPrimary   = isPrimary
	StandingDemoting  = isDemoting
	StandingPromoting = isPromoting
	StandingReplica   = isReplica
)

// Standing is a server's own note of what the last switch meant it to be.
type Standing struct {
	Role   string
	Term   int64
	Switch string
	From   string // "cell/node" of the old primary
}

// Seen is what one look at a node gives to Outset.
type Seen struct {
	Cell, Node string
	Known      bool // the node was read; if not, nothing else counts
	Writable   bool
	Standing   *Standing // nil: none
}

// Outset tells where a switch into the cell begins, and the node that it is about: the very decision that Switch makes, for
// simulations. Begin: the node is the old primary, and writable. Reopen: it is the old primary, to be opened again.
// Promote: it is the elect, has everything, and is to be opened. Finish: it is the elect, and writable.
func Outset(nodes []Seen, cell string) (begin string, node int, err error) {
	sc := &scene{}
	for _, n := range nodes {
		v := &view{place: place{n.Cell, fleet.Node{Name: n.Node}}, readOnly: !n.Writable}
		if !n.Known {
			v.err = errors.New(v.place.String() + " could not be read")
		}
		if n.Known && n.Standing != nil {
			v.standing = &standing{Role: n.Standing.Role, Term: n.Standing.Term, Switch: n.Standing.Switch, Detail: detail{From: n.Standing.From}}
		}
		sc.views = append(sc.views, v)
	}
	where, v, err := sc.decide(target{cell: cell})
	if err != nil {
		return "", -1, err
	}
	for i, o := range sc.views {
		if o == v {
			node = i
		}
	}
	return string(where), node, nil
}
