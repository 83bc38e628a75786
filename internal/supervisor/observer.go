package supervisor

import (
	"context"
	"fmt"
	"time"

	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/fleet"
)

// Looks is the Observer over the drivers. What a supervisor does not drive may be nil.
type Looks struct {
	Engines  Storage // of the nodes of engines
	Storage  bluegreen.Storage
	Switcher bluegreen.Switcher
	Gateways bluegreen.Gateways
	Records  bluegreen.Records
	Now      func() time.Time
}

// Observe asks nodes, gateways and the name server, and looks at the way back while it is to be watched. The observation's
// time is that of its beginning: it is never newer than what it saw. What could not be read says so.
func (l Looks) Observe(ctx context.Context, w api.Watched) fleet.Observation {
	c := w.Cluster
	began := l.Now()
	if !c.Database() {
		o, err := Kinds{Engines: l.Engines}.Observe(ctx, c)
		if err != nil {
			o = unseen(c, began, err)
		}
		o.At = began
		return o
	}
	// What is quick comes first: a node that hangs takes up what is left of the time.
	gateways, err := l.Gateways.Observe(ctx, c)
	if err != nil {
		gateways = unseen(c, began, err).Gateways
	}
	record, recordErr := l.Records.Lookup(ctx, c.Env, c.Record)
	o, err := l.Storage.Observe(ctx, c)
	if err != nil {
		o = unseen(c, began, err)
	}
	o.At, o.Gateways, o.Record = began, gateways, record
	if recordErr != nil {
		o.Record, o.Unread = "", append(o.Unread, fmt.Sprintf("record %s: %v", c.Record, recordErr))
	}
	if w.OldCell != "" {
		// A look that failed leaves the way back as it was known: unknown is neither open nor broken, but it holds.
		if back, _, err := l.Switcher.WayBack(ctx, c, w.OldCell); err != nil {
			o.Unread = append(o.Unread, fmt.Sprintf("replication to cell %s: %v", w.OldCell, err))
		} else {
			o.WayBack = &back
		}
	}
	return o
}

// Kinds looks at the nodes of databases and of engines, each by its own driver; nil: the supervisor drives none.
type Kinds struct{ Databases, Engines Storage }

// Observe asks every node of the cluster.
func (k Kinds) Observe(ctx context.Context, c fleet.Cluster) (fleet.Observation, error) {
	by := k.Engines
	if c.Database() {
		by = k.Databases
	}
	if by == nil {
		return fleet.Observation{}, fmt.Errorf("this supervisor's file says nothing of %s", c.Product)
	}
	return by.Observe(ctx, c)
}

// unseen is what a look tells that has seen nothing: every node and gateway is there, and unknown.
func unseen(c fleet.Cluster, at time.Time, err error) fleet.Observation {
	o := fleet.Observation{At: at}
	for _, cell := range c.Cells {
		for _, n := range cell.Nodes {
			o.Nodes = append(o.Nodes, fleet.NodeObservation{Cell: cell.Name, Node: n.Name, Address: n.Address, Role: fleet.RoleUnknown, Lag: -1, Error: err.Error()})
		}
		if cell.Gateway != nil {
			o.Gateways = append(o.Gateways, fleet.GatewayObservation{Cell: cell.Name, Gateway: cell.Gateway.Name, Error: err.Error()})
		}
	}
	return o
}
