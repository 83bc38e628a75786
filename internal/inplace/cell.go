package inplace

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
)

// cellOf is the cell that the campaign raises.
func cellOf(c *engine.Call) (fleet.Cell, error) {
	cell, ok := c.Cluster.Cell(c.Campaign.FromCell)
	if !ok {
		return cell, engine.Refuse("cluster %s has no cell %q: the campaign's cells.from must be one of its cells", c.Cluster.Ref(), c.Campaign.FromCell)
	}
	return cell, nil
}

// halves are the names of the nodes that are raised, and of those that are not, as the state knows them.
func halves(c *engine.Call, cell fleet.Cell) (raised, old []string) {
	for _, n := range cell.Nodes {
		if cell.VersionOf(n) == c.Campaign.To {
			raised = append(raised, n.Name)
		} else {
			old = append(old, n.Name)
		}
	}
	return raised, old
}

// split is halves where exactly one node must be old: the primary that is left, or was.
func split(c *engine.Call) (cell fleet.Cell, raised []string, old string, err error) {
	if cell, err = cellOf(c); err != nil {
		return cell, nil, "", err
	}
	raised, olds := halves(c, cell)
	if len(raised) == 0 || len(olds) != 1 {
		return cell, nil, "", engine.Refuse("of the nodes of cell %s, %d are raised (%s) and %d are not (%s): all but the primary have to be", cell.Name, len(raised), strings.Join(raised, ", "), len(olds), strings.Join(olds, ", "))
	}
	return cell, raised, olds[0], nil
}

// with is the cell with that version written at the nodes of those names, "" for the cell's own.
func with(cell fleet.Cell, version string, names ...string) fleet.Cell {
	cell.Nodes = slices.Clone(cell.Nodes)
	for i := range cell.Nodes {
		if slices.Contains(names, cell.Nodes[i].Name) {
			cell.Nodes[i].Version = version
		}
	}
	return cell
}

func names(nodes []fleet.Node) []string {
	var all []string
	for _, n := range nodes {
		all = append(all, n.Name)
	}
	return all
}

// others are the cell's nodes but for the one of that name.
func others(cell fleet.Cell, name string) []fleet.Node {
	return slices.DeleteFunc(slices.Clone(cell.Nodes), func(n fleet.Node) bool { return n.Name == name })
}

// resource is a node as the provisioner knows it: by its name.
func resource(c *engine.Call, cell fleet.Cell, n fleet.Node, version string) bluegreen.Resource {
	return bluegreen.Resource{ID: n.Name, Kind: "node", Env: c.Cluster.Env, Cluster: c.Cluster.Name, Cell: cell.Name,
		Product: c.Cluster.Product, Version: version, Mark: cell.Owner, Term: c.Term}
}

// look asks the provisioner for a node, and gives the resource the mark that is on it.
func (h handlers) look(ctx context.Context, r bluegreen.Resource) (bluegreen.Resource, bluegreen.ResourceState, error) {
	s, err := h.Nodes.Observe(ctx, r)
	switch {
	case err != nil:
		return r, s, fmt.Errorf("observe %s: %w", r.ID, err)
	case !s.Exists:
		return r, s, engine.Refuse("the provisioner does not know the node %s: it raises only what it can start and stop", r.ID)
	case r.Mark != "" && s.Mark != r.Mark:
		return r, s, engine.Refuse("%s carries the mark %q, not %q: it is not the node that we know, so it is not touched", r.ID, s.Mark, r.Mark)
	}
	r.Mark = s.Mark
	return r, s, nil
}

// runs tells whether the node is whole, on that version.
func runs(s bluegreen.ResourceState, version string) bool {
	return s.Running && fleet.HasVersion(s.Version, version)
}

// seenOf is what was observed of one node.
func seenOf(o fleet.Observation, cell, name string) fleet.NodeObservation {
	for _, n := range o.Nodes {
		if n.Cell == cell && n.Node == name {
			return n
		}
	}
	return fleet.NodeObservation{Cell: cell, Node: name, Role: fleet.RoleUnknown, Error: "it was not observed"}
}

// fence raises the term on the servers that run, and ends the predecessor's connections there (trap 1). One that runs and can't be
// reached is an error, and so a hold; on one that does not run nobody acts, and the provisioner has a term of its own.
func (h handlers) fence(ctx context.Context, c *engine.Call, cell fleet.Cell) error {
	cl := c.Cluster
	cl.Cells = slices.Clone(cl.Cells)
	for i := range cl.Cells {
		if cl.Cells[i].Name != cell.Name {
			continue
		}
		var running []fleet.Node
		for _, n := range cell.Nodes {
			_, s, err := h.look(ctx, resource(c, cell, n, cell.Version))
			if err != nil {
				return err
			}
			if s.Running {
				running = append(running, n)
			}
		}
		cl.Cells[i].Nodes = running
	}
	if err := h.Storage.Fence(ctx, cl, c.Term); err != nil {
		return fmt.Errorf("raise the term: %w", err)
	}
	c.Point("fenced")
	return nil
}
