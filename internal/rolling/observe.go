package rolling

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/windlass-db/windlass/internal/fleet"
)

// Observe looks at an engine's nodes and its load balancer, and changes nothing: each node serves, or is out, with its version; one that could not
// be asked, or that runs and does not say its version, is unknown. If the load balancer could not be asked, it is not known of any node whether it
// serves.
func Observe(ctx context.Context, p Ports, c fleet.Cluster) fleet.Observation {
	o := fleet.Observation{}
	backends, lost := p.Balancer.Observe(ctx, c)
	if lost != nil {
		o.Unread = append(o.Unread, fmt.Sprintf("load balancer: %v", lost))
	}
	for _, cell := range c.Cells {
		at := len(o.Nodes)
		o.Nodes = append(o.Nodes, make([]fleet.NodeObservation, len(cell.Nodes))...)
		var g errgroup.Group
		g.SetLimit(8)
		for i, n := range cell.Nodes {
			g.Go(func() error {
				o.Nodes[at+i] = observeNode(ctx, p, c, cell.Name, n, backends, lost)
				return nil
			})
		}
		_ = g.Wait() // every error is in its node
	}
	return o
}

func observeNode(ctx context.Context, p Ports, c fleet.Cluster, cell string, n fleet.Node, backends []Backend, lost error) fleet.NodeObservation {
	out := fleet.NodeObservation{Cell: cell, Node: n.Name, Address: n.Address, Role: fleet.RoleUnknown, Lag: -1}
	is, err := p.Nodes.Observe(ctx, c, n)
	at := slices.IndexFunc(backends, func(b Backend) bool { return b.Node == n.Name })
	switch {
	case err != nil:
		out.Error = err.Error()
		return out
	case is.Running && is.Version == "":
		out.Error = "it runs and does not say its version: " + cmp.Or(is.Detail, "no answer")
		return out
	case lost != nil:
		out.Version, out.Error = is.Version, "the load balancer could not be asked"
		return out
	case at < 0:
		out.Version, out.Error = is.Version, "the load balancer does not know it"
		return out
	}
	s := seen{Node: n, is: is, lb: backends[at]}
	out.Version, out.Role = is.Version, fleet.RoleOut
	if s.serves() {
		out.Role = fleet.RoleServing
	}
	if !s.serves() || s.lb.Weight < 100 {
		out.Detail = s.String()
	}
	return out
}

// Looks looks at clusters in the same way for the supervisor, which asks for an observation with its time.
type Looks struct {
	Ports Ports
	Now   func() time.Time
}

// Observe is of the time when the look began: it is never newer than what it saw.
func (l Looks) Observe(ctx context.Context, c fleet.Cluster) (fleet.Observation, error) {
	began := l.Now()
	o := Observe(ctx, l.Ports, c)
	o.At = began
	return o, nil
}
