package inplace

import (
	"context"
	"fmt"
	"strings"

	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
)

// lastFit looks whether the old primary may be raised. With its passing the way back is closed, on purpose.
func (h handlers) lastFit(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	cell, raised, old, err := split(c)
	if err != nil {
		return engine.Observation{}, err
	}
	n, _ := nodeOf(cell, old)
	_, s, err := h.look(ctx, resource(c, cell, n, c.Campaign.To))
	if err != nil {
		return engine.Observation{}, err
	}
	if !runs(s, c.Campaign.To) { // else an earlier try raised it
		_, cs, err := h.fit(ctx, c, cell, c.Campaign.To, old)
		if err != nil {
			return engine.Observation{}, err
		}
		if !cs.OK() {
			return engine.Observation{Checks: cs}, nil
		}
	}
	o := engine.There("%s is a replica on %s, and the primary is one of %s", old, c.Campaign.From, strings.Join(raised, ", "))
	o.Output = &engine.Outputs{WayBack: &fleet.WayBack{Closed: true, Detail: fmt.Sprintf("closed by raising %s: no node of %s is left to go back to", old, c.Campaign.From), Since: c.Now()}}
	return o, nil
}

func nodeOf(cell fleet.Cell, name string) (fleet.Node, bool) {
	for _, n := range cell.Nodes {
		if n.Name == name {
			return n, true
		}
	}
	return fleet.Node{}, false
}

// lastOf is the cell and its old primary.
func lastOf(c *engine.Call) (fleet.Cell, fleet.Node, raising, error) {
	cell, _, old, err := split(c)
	if err != nil {
		return cell, fleet.Node{}, raising{}, err
	}
	n, _ := nodeOf(cell, old)
	st, err := engine.StatusOf[raising](c)
	return cell, n, st, err
}

func (h handlers) lastRaised(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	cell, n, st, err := lastOf(c)
	if err != nil {
		return engine.Observation{}, err
	}
	if st.Primary == "" {
		return engine.Missing("%s is not raised yet", n.Name), nil
	}
	return h.raised(ctx, c, cell, []fleet.Node{n}, st)
}

func (h handlers) raiseLast(ctx context.Context, c *engine.Call) (engine.Result, error) {
	cell, n, st, err := lastOf(c)
	if err != nil {
		return engine.Result{}, err
	}
	if st.Primary == "" {
		seen, err := h.Storage.Observe(ctx, c.Cluster)
		if err != nil {
			return engine.Result{}, err
		}
		p, err := primaryOn(seen, cell.Name, c.Campaign.To)
		if err != nil {
			return engine.Result{}, err
		}
		st.Primary = p.Node
	}
	return h.raise(ctx, c, cell, []fleet.Node{n}, c.Campaign.To, st)
}

// discarding remembers that the primary has its own default collations again, which no look from outside tells.
type discarding struct {
	Closed bool `json:"closed,omitempty"`
}

func (h handlers) copiesGone(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	cell, err := cellOf(c)
	if err != nil {
		return engine.Observation{}, err
	}
	st, err := engine.StatusOf[discarding](c)
	if err != nil {
		return engine.Observation{}, err
	}
	if !st.Closed {
		return engine.Missing("the primary still keeps the default collations of %s", c.Campaign.From), nil
	}
	for _, n := range cell.Nodes {
		_, s, err := h.look(ctx, resource(c, cell, n, c.Campaign.To))
		if err != nil {
			return engine.Observation{}, err
		}
		if s.Kept != "" {
			return engine.Missing("%s still has a copy of its data of %s", n.Name, s.Kept), nil
		}
	}
	cell = with(cell, "", names(cell.Nodes)...)
	cell.Version = c.Campaign.To
	o := engine.There("the %d nodes of cell %s run %s, and no copy is left", len(cell.Nodes), cell.Name, cell.Version)
	o.Output = &engine.Outputs{Cells: []fleet.Cell{cell}}
	return o, nil
}

func (h handlers) discardCopies(ctx context.Context, c *engine.Call) (engine.Result, error) {
	cell, err := cellOf(c)
	if err != nil {
		return engine.Result{}, err
	}
	if err := h.fence(ctx, c, cell); err != nil {
		return engine.Result{}, err
	}
	if err := h.Switcher.CloseWayBack(ctx, c.Cluster, cell.Name, c.Term); err != nil {
		return engine.Result{}, fmt.Errorf("close the way back: %w", err)
	}
	c.Point("way-back-closed")
	for _, n := range cell.Nodes {
		r, s, err := h.look(ctx, resource(c, cell, n, c.Campaign.To))
		if err != nil {
			return engine.Result{}, err
		}
		if s.Kept == "" {
			continue
		}
		if err := h.Nodes.Discard(ctx, r); err != nil {
			return engine.Result{}, fmt.Errorf("delete the copy of %s: %w", n.Name, err)
		}
		c.Point("copy-discarded")
	}
	return engine.Result{Status: engine.Status(discarding{Closed: true})}, nil
}
