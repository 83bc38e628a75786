package mysql

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/windlass-db/windlass/internal/fleet"
)

// glance is how long a replica that says it is not behind may take to show that it is so.
const glance = time.Second

// Observe asks every node for its role, version, source and position. A node that can't be read is unknown. Lag is what the server
// says, checked against positions: a replica that claims none but does not reach within a second what its source had
// before has an unknown lag, for a receiving thread that hangs (on a full disk, a dead network) says 0.
func (d *Driver) Observe(ctx context.Context, c fleet.Cluster) (fleet.Observation, error) {
	sc := d.look(ctx, c)
	if err := ctx.Err(); err != nil {
		return fleet.Observation{}, err
	}
	o := fleet.Observation{At: d.cfg.Now(), Nodes: make([]fleet.NodeObservation, len(sc.views))}
	var g errgroup.Group
	for i, v := range sc.views {
		g.Go(func() error {
			o.Nodes[i] = d.observed(ctx, sc, v)
			return nil
		})
	}
	return o, g.Wait()
}

func (d *Driver) observed(ctx context.Context, sc *scene, v *view) fleet.NodeObservation {
	n := fleet.NodeObservation{Cell: v.cell, Node: v.node.Name, Address: v.node.Address, Role: fleet.RoleUnknown, Lag: -1}
	if v.err != nil {
		n.Error = v.err.Error()
		return n
	}
	n.Version, n.UUID, n.Position = v.text, v.uuid, v.position
	ch, replica := v.channel()
	switch {
	case !v.readOnly:
		n.Role = fleet.RolePrimary
	case replica:
		n.Role = fleet.RoleReplica
	default:
		n.Role = fleet.RoleDetached
	}
	if !replica {
		return n
	}
	n.Source = ch.source
	n.Error = ch.trouble()
	if n.Error == "" {
		n.Lag = d.lag(ctx, sc, v, ch)
	}
	return n
}

// lag is the channel's, if positions bear it out.
func (d *Driver) lag(ctx context.Context, sc *scene, v *view, ch channel) time.Duration {
	source := sc.at(ch.source)
	if ch.lag != 0 || source == nil {
		return ch.lag
	}
	s, err := d.lookTo(ctx, v.place)
	if err != nil {
		return -1
	}
	defer s.close()
	began := time.Now()
	there, err := s.fl.wait(ctx, s, source.target(), glance)
	switch {
	case err != nil || !there:
		return -1
	case time.Since(began) < 100*time.Millisecond: // the wait's own cost
		return 0
	}
	return time.Since(began)
}

// at returns the readable node with that address, or nil.
func (sc *scene) at(address string) *view {
	for _, v := range sc.views {
		if v.err == nil && sameAddress(v.node.Address, address) {
			return v
		}
	}
	return nil
}

// target is the position that a replica of the node has to reach to have everything that the node's binary log had.
func (v *view) target() string {
	if v.fl.name() == "mysql" {
		return v.position
	}
	return v.vars["gtid_binlog_pos"]
}
