package fleet

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Observation is what was seen of one cluster, at one time. Whatever could not be read says so in Error and is
// unknown, never absent.
type Observation struct {
	At       time.Time            `json:"at"`
	Nodes    []NodeObservation    `json:"nodes"`
	Gateways []GatewayObservation `json:"gateways,omitempty"`
	// Record is the address that the name server answered for the cluster's record, host:port-less; empty if unknown.
	Record  string   `json:"record,omitempty"`
	WayBack *WayBack `json:"way_back,omitempty"` // nil before the storage switch, or if it could not be read
	// Unread is what could not be read beside nodes and gateways, each with its cause.
	Unread []string `json:"unread,omitempty"`
}

// Role is what a node is seen to do.
type Role string

// A node of a database is the one writable server, a read-only replica, or read-only with no source; one of an engine is given requests and is
// fit for them, or is not. Either may be unknown.
const (
	RolePrimary  Role = "primary"
	RoleReplica  Role = "replica"
	RoleDetached Role = "detached"
	RoleServing  Role = "serving"
	RoleOut      Role = "out"
	RoleUnknown  Role = "unknown"
)

// NodeObservation is what one server said of itself.
type NodeObservation struct {
	Cell     string        `json:"cell"`
	Node     string        `json:"node"`
	Address  string        `json:"address"`
	Version  string        `json:"version,omitempty"` // as the server says it, such as "10.11.18-MariaDB"
	UUID     string        `json:"uuid,omitempty"`
	Role     Role          `json:"role"`
	Source   string        `json:"source,omitempty"` // host:port that it replicates from
	Lag      time.Duration `json:"lag"`              // behind its source; -1 when unknown
	Position string        `json:"position,omitempty"`
	Detail   string        `json:"detail,omitempty"` // why a node of an engine is out, or has less than its share
	Error    string        `json:"error,omitempty"`
}

// GatewayObservation is what one gateway said of itself.
type GatewayObservation struct {
	Cell     string `json:"cell"`
	Gateway  string `json:"gateway"`
	Sessions int    `json:"sessions"` // client connections
	Primary  string `json:"primary,omitempty"`
	Held     bool   `json:"held,omitempty"`
	Error    string `json:"error,omitempty"`
}

// WayBack is the state of replication from the new version's primary to the old version's nodes, after the storage
// switch and until tear-down.
type WayBack struct {
	Open   bool      `json:"open"`             // false: a rollback would lose writes
	Closed bool      `json:"closed,omitempty"` // on purpose, by a tear-down that has begun: not broken, and never open again
	Detail string    `json:"detail"`           // what was seen, or what broke it
	Risks  []string  `json:"risks,omitempty"`  // what is there that would break it
	Since  time.Time `json:"since,omitzero"`   // when it opened, or broke
}

// Primary returns the one writable node. It is false if there is none, more than one, or any node is unknown.
func (o Observation) Primary() (NodeObservation, bool) {
	var found []NodeObservation
	for _, n := range o.Nodes {
		switch n.Role {
		case RolePrimary:
			found = append(found, n)
		case RoleUnknown:
			return NodeObservation{}, false
		}
	}
	if len(found) != 1 {
		return NodeObservation{}, false
	}
	return found[0], true
}

// Version is that of the primary, or of an engine's nodes that serve: if they are on several, it names them all. It is false if it is not known.
func (o Observation) Version() (string, bool) {
	if n, ok := o.Primary(); ok {
		return n.Version, true
	}
	var all []string
	for _, n := range o.Nodes {
		switch n.Role {
		case RoleServing:
			all = append(all, ShortVersion(n.Version))
		case RoleOut:
		default:
			return "", false
		}
	}
	slices.Sort(all)
	switch all = slices.Compact(all); len(all) {
	case 0:
		return "", false
	case 1:
		return all[0], true
	}
	return "mixed: " + strings.Join(all, ", "), true
}

// Shut tells whether no node is seen writable, or, of an engine, serving. It is not known if none is, and none was read at all.
func (o Observation) Shut() (shut, known bool) {
	for _, n := range o.Nodes {
		switch n.Role {
		case RolePrimary, RoleServing:
			return false, true
		case RoleReplica, RoleDetached, RoleOut:
			known = true
		}
	}
	return known, known
}

// OfEngine tells whether nodes were seen of an engine, which serve or are out, and have no primary.
func (o Observation) OfEngine() bool {
	return slices.ContainsFunc(o.Nodes, func(n NodeObservation) bool { return n.Role == RoleServing || n.Role == RoleOut })
}

// ReadOnly tells whether every node was read, and all are read-only: then a primary may have been restarted.
func (o Observation) ReadOnly() bool {
	for _, n := range o.Nodes {
		if n.Role != RoleReplica && n.Role != RoleDetached {
			return false
		}
	}
	return len(o.Nodes) > 0
}

// Roles says in one line what each node was seen to be.
func (o Observation) Roles() string {
	var all []string
	for _, n := range o.Nodes {
		text := fmt.Sprintf("%s is %s", n.Node, n.Role)
		if n.Error != "" {
			text += " (" + n.Error + ")"
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

// Unknown says what of the cluster is not known: what could not be read, or which of several writable nodes is the primary. It
// is "" if everything was read.
func (o Observation) Unknown() string {
	var all, writable []string
	for _, n := range o.Nodes {
		switch n.Role {
		case RoleUnknown, "":
			all = append(all, fmt.Sprintf("node %s: %s", n.Node, orNothing(n.Error)))
		case RolePrimary:
			writable = append(writable, n.Node)
		}
	}
	if len(writable) > 1 {
		all = append(all, fmt.Sprintf("which node is the primary: %s are writable", strings.Join(writable, " and ")))
	}
	for _, g := range o.Gateways {
		if g.Error != "" {
			all = append(all, fmt.Sprintf("gateway %s: %s", g.Gateway, g.Error))
		}
	}
	return strings.Join(append(all, o.Unread...), "; ")
}

func orNothing(s string) string {
	if s == "" {
		return "no answer"
	}
	return s
}

// Of is the observation without what it says of cells that the cluster does not have: of a cell that is gone, that it can't be
// read is no news.
func (o Observation) Of(c Cluster) Observation {
	o.Nodes = slices.DeleteFunc(slices.Clone(o.Nodes), func(n NodeObservation) bool { _, there := c.Cell(n.Cell); return !there })
	o.Gateways = slices.DeleteFunc(slices.Clone(o.Gateways), func(g GatewayObservation) bool { _, there := c.Cell(g.Cell); return !there })
	return o
}
