package engine

import (
	"slices"

	"github.com/windlass-db/windlass/internal/fleet"
)

// Apply returns the cluster as it is after the outputs: cells replaced by name or added, and the removed one gone. The
// cluster that was given is not changed. The state merges with the same function, so that what the steps of one lease
// see is what the next holder is given. A nil receiver changes nothing.
func (o *Outputs) Apply(c fleet.Cluster) fleet.Cluster {
	if o == nil {
		return c
	}
	c.Cells = slices.Clone(c.Cells)
	for _, cell := range o.Cells {
		i := slices.IndexFunc(c.Cells, func(have fleet.Cell) bool { return have.Name == cell.Name })
		if i < 0 {
			c.Cells = append(c.Cells, cell)
		} else {
			c.Cells[i] = cell
		}
	}
	if o.RemoveCell != "" {
		c.Cells = slices.DeleteFunc(c.Cells, func(have fleet.Cell) bool { return have.Name == o.RemoveCell })
	}
	return c
}

// merge lays the facts that a later look gave over those that the act gave. What is measured once, such as how long a
// switch held, only the act knows.
func (o *Outputs) merge(later *Outputs) *Outputs {
	if o == nil {
		return later
	}
	if later == nil {
		return o
	}
	m := *o
	if later.Cells != nil {
		m.Cells = later.Cells
	}
	if later.RemoveCell != "" {
		m.RemoveCell = later.RemoveCell
	}
	if later.WayBack != nil || later.ClearWayBack {
		m.WayBack, m.ClearWayBack = later.WayBack, later.ClearWayBack
	}
	if later.Switchover != nil {
		m.Switchover = later.Switchover
	}
	if later.Observed != nil {
		m.Observed = later.Observed
	}
	return &m
}
