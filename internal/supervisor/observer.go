package supervisor

import (
	"context"
	"time"

	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/fleet"
)

// Looks is the Observer over the drivers.
type Looks struct {
	Storage  bluegreen.Storage
	Switcher bluegreen.Switcher
	Gateways bluegreen.Gateways
	Records  bluegreen.Records
	Now      func() time.Time
}

// Observe asks nodes, gateways and the name server, and looks at the way back while it is to be watched. The observation's
// time is that of its beginning: it is never newer than what it saw.
func (l Looks) Observe(ctx context.Context, w api.Watched) fleet.Observation {
	c := w.Cluster
	began := l.Now()
	o, err := l.Storage.Observe(ctx, c)
	if err != nil {
		o.Nodes = nil
		for _, cell := range c.Cells {
			for _, n := range cell.Nodes {
				o.Nodes = append(o.Nodes, fleet.NodeObservation{Cell: cell.Name, Node: n.Name, Address: n.Address, Role: fleet.RoleUnknown, Lag: -1, Error: err.Error()})
			}
		}
	}
	o.At = began
	if o.Gateways, err = l.Gateways.Observe(ctx, c); err != nil {
		o.Gateways = nil
	}
	if record, err := l.Records.Lookup(ctx, c.Env, c.Record); err == nil {
		o.Record = record
	}
	if w.OldCell != "" {
		// A look that failed leaves the way back as it was known: unknown is neither open nor broken.
		if back, _, err := l.Switcher.WayBack(ctx, c, w.OldCell); err == nil {
			o.WayBack = &back
		}
	}
	return o
}
