package fleet

import "time"

// Observation is what was seen of one cluster, at one time. Whatever could not be read says so in Error and is
// unknown, never absent.
type Observation struct {
	At       time.Time            `json:"at"`
	Nodes    []NodeObservation    `json:"nodes"`
	Gateways []GatewayObservation `json:"gateways,omitempty"`
	// Record is the address that the name server answered for the cluster's record, host:port-less; empty if unknown.
	Record  string   `json:"record,omitempty"`
	WayBack *WayBack `json:"way_back,omitempty"` // nil before the storage switch
}

// Role is what a node is seen to do.
type Role string

// A node is the one writable server, a read-only replica, read-only with no source, or unknown.
const (
	RolePrimary  Role = "primary"
	RoleReplica  Role = "replica"
	RoleDetached Role = "detached"
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
