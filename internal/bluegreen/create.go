package bluegreen

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
)

// nodes are the resources of the new cell, in order. Their ids are known before they are made, so that a retry finds what the
// first try left (trap 34).
func (h handlers) nodes(c *engine.Call) ([]Resource, error) {
	blue, err := oldCell(c)
	if err != nil {
		return nil, err
	}
	if green, ok := c.Cluster.Cell(c.Campaign.ToCell); ok && green.Owner != mark(c) {
		return nil, engine.Refuse("cluster %s has a cell %q already, which this campaign did not make (owner %q): name another to_cell", c.Cluster.Ref(), green.Name, green.Owner)
	}
	n := c.Campaign.Nodes
	if n <= 0 {
		n = len(blue.Nodes)
	}
	rs := make([]Resource, n)
	for i := range rs {
		rs[i] = Resource{
			ID: nodeID(c, c.Campaign.ToCell, i+1), Kind: "node", Env: c.Cluster.Env, Cluster: c.Cluster.Name, Cell: c.Campaign.ToCell,
			Product: c.Campaign.Product, Version: c.Campaign.To, Mark: mark(c), Term: c.Term,
		}
	}
	return rs, nil
}

// look asks the provisioner for a resource, and refuses what somebody else made under its id.
func (h handlers) look(ctx context.Context, r Resource) (ResourceState, error) {
	s, err := h.Provisioner.Observe(ctx, r)
	if err != nil {
		return s, fmt.Errorf("observe %s: %w", r.ID, err)
	}
	if s.Mark != r.Mark && (s.Exists || s.Mark != "") {
		return s, engine.Refuse("%s exists and carries the mark %q, not %q: it is not ours, so it is not touched", r.ID, s.Mark, r.Mark)
	}
	return s, nil
}

// present tells whether anything of the resource is there, a mark without the rest included.
func (s ResourceState) present() bool { return s.Exists || s.Mark != "" }

// alive is a cell without the nodes of ours that do not run: what does not run needs no undo, and can't be asked. Nodes
// that we did not make are all in it, for nobody can tell.
func (h handlers) alive(ctx context.Context, c *engine.Call, cell fleet.Cell) (fleet.Cell, error) {
	if cell.Owner == "" {
		return cell, nil
	}
	var running []fleet.Node
	for _, n := range cell.Nodes {
		s, err := h.look(ctx, owned(c, cell, n.Name, "node"))
		if err != nil {
			return cell, err
		}
		if s.Running {
			running = append(running, n)
		}
	}
	cell.Nodes = running
	return cell, nil
}

// owned is a resource of a cell that Windlass made, in this campaign or an earlier one.
func owned(c *engine.Call, cell fleet.Cell, id, kind string) Resource {
	return Resource{
		ID: id, Kind: kind, Env: c.Cluster.Env, Cluster: c.Cluster.Name, Cell: cell.Name,
		Product: c.Cluster.Product, Version: cell.Version, Mark: cell.Owner, Term: c.Term,
	}
}

func nodeOf(r Resource, s ResourceState) (fleet.Node, error) {
	if s.Node == nil || s.Node.Address == "" {
		return fleet.Node{}, fmt.Errorf("the provisioner does not tell the address of %s", r.ID)
	}
	n := *s.Node
	n.Name = r.ID // tear-down finds it by this
	return n, nil
}

// nodesThere looks for every node of the new cell: it runs, it answers with its version, it is read-only (trap 2).
func (h handlers) nodesThere(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	rs, err := h.nodes(c)
	if err != nil {
		return engine.Observation{}, err
	}
	cell := fleet.Cell{Name: c.Campaign.ToCell, Version: c.Campaign.To, Owner: mark(c)}
	if green, ok := c.Cluster.Cell(cell.Name); ok {
		cell.Gateway = green.Gateway
	}
	for _, r := range rs {
		s, err := h.look(ctx, r)
		if err != nil {
			return engine.Observation{}, err
		}
		if !s.Exists || !s.Running {
			return engine.Missing("%s does not run yet", r.ID), nil
		}
		n, err := nodeOf(r, s)
		if err != nil {
			return engine.Observation{}, err
		}
		cell.Nodes = append(cell.Nodes, n)
	}
	seen, err := h.Storage.Observe(ctx, only(withCell(c.Cluster, cell), cell.Name))
	if err != nil {
		return engine.Observation{}, err
	}
	for i, n := range seen.Nodes {
		switch {
		case n.Role == fleet.RoleUnknown:
			return engine.Observation{}, fmt.Errorf("%s can't be asked: %s", n.Node, n.Error)
		case !fleet.HasVersion(n.Version, c.Campaign.To):
			return engine.Observation{}, engine.Refuse("%s runs version %s, not %s: the provisioner made the wrong one", n.Node, n.Version, c.Campaign.To)
		case n.Role == fleet.RolePrimary:
			return engine.Missing("%s is writable, and a new node must not be: start it with read_only=1", n.Node), nil
		}
		if i < len(cell.Nodes) {
			cell.Nodes[i].UUID = n.UUID
		}
	}
	o := engine.There("%d nodes of %s %s run: %s", len(cell.Nodes), c.Campaign.Product, c.Campaign.To, few(addresses(cell)))
	o.Output = &engine.Outputs{Cells: []fleet.Cell{cell}}
	o.Checks = check.Results{check.Passed("new-nodes", o.Message+"; each is read-only", seen.At)}
	return o, nil
}

func (h handlers) makeNodes(ctx context.Context, c *engine.Call) (engine.Result, error) {
	rs, err := h.nodes(c)
	if err != nil {
		return engine.Result{}, err
	}
	for i, r := range rs {
		if _, err := h.look(ctx, r); err != nil {
			return engine.Result{}, err
		}
		if _, err := h.Provisioner.Create(ctx, r); err != nil {
			return engine.Result{Progress: float64(i) / float64(len(rs))}, fmt.Errorf("create %s: %w", r.ID, err)
		}
		c.Point("node-created")
	}
	return engine.Result{}, nil
}

func (h handlers) nodesGone(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	rs, err := h.nodes(c)
	if err != nil {
		return engine.Observation{}, err
	}
	left, err := h.leftStopped(ctx, c)
	if err != nil {
		return engine.Observation{}, err
	}
	if len(left) > 0 {
		return engine.Missing("the copy to %s has left its source's applier stopped", left[0].Node.Name), nil
	}
	for _, r := range rs {
		s, err := h.look(ctx, r)
		if err != nil {
			return engine.Observation{}, err
		}
		if s.present() {
			return engine.Missing("%s is still there", r.ID), nil
		}
	}
	o := engine.There("no node of cell %s is left", c.Campaign.ToCell)
	o.Output = &engine.Outputs{RemoveCell: c.Campaign.ToCell}
	return o, nil
}

// deleteNodes deletes the nodes that carry our mark, after what a killed copy to one of them has left stopped runs again. Those that run are asked first whether anything needs them (trap 36).
func (h handlers) deleteNodes(ctx context.Context, c *engine.Call) (engine.Result, error) {
	rs, err := h.nodes(c)
	if err != nil {
		return engine.Result{}, err
	}
	if err := h.resume(ctx, c); err != nil {
		return engine.Result{}, err
	}
	running := fleet.Cell{Name: c.Campaign.ToCell, Version: c.Campaign.To, Owner: mark(c)}
	for _, r := range rs {
		s, err := h.look(ctx, r)
		if err != nil {
			return engine.Result{}, err
		}
		if s.Exists && s.Running {
			n, err := nodeOf(r, s)
			if err != nil {
				return engine.Result{}, err
			}
			running.Nodes = append(running.Nodes, n)
		}
	}
	if len(running.Nodes) > 0 {
		if err := h.identify(ctx, c, running); err != nil {
			return engine.Result{}, err
		}
		if res, ok, err := h.safeToRemove(ctx, withCell(c.Cluster, running), running.Name); !ok {
			return res, err
		}
	}
	for _, r := range rs {
		if err := h.Provisioner.Delete(ctx, r); err != nil {
			return engine.Result{}, fmt.Errorf("delete %s: %w", r.ID, err)
		}
		c.Point("node-deleted")
	}
	return engine.Result{}, nil
}

// identify fills in which server each node is, as it was recorded: a provisioner knows ids and addresses alone. A node that was never
// recorded was never a part of the cluster; whoever answers where the provisioner says that our node is, is taken for it.
func (h handlers) identify(ctx context.Context, c *engine.Call, cell fleet.Cell) error {
	recorded, _ := c.Cluster.Cell(cell.Name)
	known := map[string]string{}
	for _, n := range recorded.Nodes {
		known[n.Name] = n.UUID
	}
	if slices.ContainsFunc(cell.Nodes, func(n fleet.Node) bool { return known[n.Name] == "" }) {
		seen, err := h.Storage.Observe(ctx, only(withCell(c.Cluster, cell), cell.Name))
		if err != nil {
			return err
		}
		for _, n := range seen.Nodes {
			if known[n.Node] == "" {
				known[n.Node] = n.UUID
			}
		}
	}
	for i := range cell.Nodes {
		cell.Nodes[i].UUID = known[cell.Nodes[i].Name]
	}
	return nil
}

// safeToRemove is false, with a wait, while anything still needs the cell.
func (h handlers) safeToRemove(ctx context.Context, cl fleet.Cluster, cell string) (engine.Result, bool, error) {
	cs, err := h.Switcher.SafeToRemove(ctx, cl, cell)
	if err != nil {
		return engine.Result{}, false, fmt.Errorf("look whether cell %s is still needed: %w", cell, err)
	}
	if !cs.OK() {
		return engine.Result{Wait: true, Checks: cs, Message: fmt.Sprintf("cell %s is still needed: %s", cell, cs.Bad())}, false, nil
	}
	return engine.Result{}, true, nil
}

// seedStatus is how far each node's copy is, by the node's name; the driver's own.
type seedStatus struct {
	Nodes map[string]json.RawMessage `json:"nodes,omitempty"`
}

func seedRequest(c *engine.Call, n fleet.Node) SeedRequest {
	return SeedRequest{Cluster: c.Cluster, FromCell: c.Campaign.FromCell, ToCell: c.Campaign.ToCell, Node: n, Term: c.Term}
}

func (h handlers) seeded(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	green, err := newCell(c)
	if err != nil {
		return engine.Observation{}, err
	}
	var all check.Results
	for i, n := range green.Nodes {
		ok, cs, err := h.Storage.Seeded(ctx, seedRequest(c, n))
		if err != nil {
			return engine.Observation{}, fmt.Errorf("look for the copy on %s: %w", n.Name, err)
		}
		all = append(all, cs...)
		if !ok {
			o := engine.Missing("%s has no complete copy yet", n.Name)
			o.Checks, o.Progress = all, float64(i)/float64(len(green.Nodes))
			return o, nil
		}
	}
	o := engine.There("%d nodes have a complete copy", len(green.Nodes))
	o.Checks = all
	return o, nil
}

func (h handlers) seed(ctx context.Context, c *engine.Call) (engine.Result, error) {
	green, err := newCell(c)
	if err != nil {
		return engine.Result{}, err
	}
	st, err := engine.StatusOf[seedStatus](c)
	if err != nil {
		return engine.Result{}, err
	}
	if st.Nodes == nil {
		st.Nodes = map[string]json.RawMessage{}
	}
	// The source alone: a node that is being filled may not answer.
	if err := h.Storage.Fence(ctx, only(c.Cluster, c.Campaign.FromCell), c.Term); err != nil {
		return engine.Result{}, fmt.Errorf("raise the term: %w", err)
	}
	for i, n := range green.Nodes {
		req := seedRequest(c, n)
		ok, _, err := h.Storage.Seeded(ctx, req)
		if err != nil {
			return engine.Result{}, fmt.Errorf("look for the copy on %s: %w", n.Name, err)
		}
		if ok {
			continue
		}
		save := func(ctx context.Context, status any, progress float64, message string) error {
			b, err := json.Marshal(status)
			if err != nil {
				return fmt.Errorf("save how far the copy is: %w", err)
			}
			st.Nodes[n.Name] = b
			return c.Save(ctx, st, (float64(i)+progress)/float64(len(green.Nodes)), fmt.Sprintf("%s: %s", n.Name, message))
		}
		if err := h.Storage.Seed(ctx, req, st.Nodes[n.Name], save); err != nil {
			return engine.Result{}, fmt.Errorf("copy the data to %s: %w", n.Name, err)
		}
		c.Point("node-seeded")
	}
	return engine.Result{}, nil
}

// anyLag is more than any lag: the threads have to run, however far behind they are.
const anyLag = 10 * 365 * 24 * time.Hour

func (h handlers) replicating(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	if _, err := newCell(c); err != nil {
		return engine.Observation{}, err
	}
	cs, err := h.Storage.Replicating(ctx, c.Cluster, c.Campaign.ToCell, anyLag)
	if err != nil {
		return engine.Observation{}, fmt.Errorf("look at the replication of cell %s: %w", c.Campaign.ToCell, err)
	}
	o := engine.Judged(cs, "both replication threads run on every node of cell %s", c.Campaign.ToCell)
	if o.There {
		o.Output, err = h.identified(ctx, c)
	}
	return o, err
}

// identified is every cell with the identity of each server as it is from now on: a copy may have brought another than
// the empty server had, and the inventory knows none. Tear-down compares it. A server that is recorded keeps its record.
func (h handlers) identified(ctx context.Context, c *engine.Call) (*engine.Outputs, error) {
	seen, err := h.Storage.Observe(ctx, c.Cluster)
	if err != nil {
		return nil, err
	}
	out := &engine.Outputs{Observed: &seen}
	for _, cell := range c.Cluster.Cells {
		cell.Nodes = append([]fleet.Node(nil), cell.Nodes...)
		for i := range cell.Nodes {
			for _, n := range seen.Nodes {
				made := cell.Name == c.Campaign.ToCell
				if n.Cell == cell.Name && n.Node == cell.Nodes[i].Name && n.UUID != "" && (made || cell.Nodes[i].UUID == "") {
					cell.Nodes[i].UUID = n.UUID
				}
			}
		}
		out.Cells = append(out.Cells, cell)
	}
	return out, nil
}

func (h handlers) replicate(ctx context.Context, c *engine.Call) (engine.Result, error) {
	if err := h.fence(ctx, c, c.Cluster); err != nil {
		return engine.Result{}, err
	}
	if err := h.Storage.Replicate(ctx, c.Cluster, c.Campaign.ToCell, c.Term); err != nil {
		return engine.Result{}, fmt.Errorf("start replication into cell %s: %w", c.Campaign.ToCell, err)
	}
	c.Point("replication-started")
	return engine.Result{}, nil
}

// forgotten looks whether no node of the new cell has a source. A cell that is not there has none.
func (h handlers) forgotten(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	left, err := h.replicas(ctx, c, c.Campaign.ToCell)
	if err != nil {
		return engine.Observation{}, err
	}
	if len(left) > 0 {
		return engine.Missing("%s still replicate", few(left)), nil
	}
	return engine.There("no node of cell %s replicates", c.Campaign.ToCell), nil
}

// replicas names the nodes of a cell that have a source. A node that runs and can't be asked is an error.
func (h handlers) replicas(ctx context.Context, c *engine.Call, name string) ([]string, error) {
	cell, ok := c.Cluster.Cell(name)
	if !ok {
		return nil, nil
	}
	cell, err := h.alive(ctx, c, cell)
	if err != nil {
		return nil, err
	}
	if len(cell.Nodes) == 0 {
		return nil, nil
	}
	seen, err := h.Storage.Observe(ctx, only(withCell(c.Cluster, cell), name))
	if err != nil {
		return nil, err
	}
	var left []string
	var errs []error
	for _, n := range seen.Nodes {
		switch {
		case n.Role == fleet.RoleUnknown:
			errs = append(errs, fmt.Errorf("%s can't be asked: %s", n.Node, n.Error))
		case n.Role == fleet.RoleReplica || n.Source != "":
			left = append(left, n.Node)
		}
	}
	return left, errors.Join(errs...)
}

func (h handlers) forget(ctx context.Context, c *engine.Call) (engine.Result, error) {
	green, err := newCell(c)
	if err != nil {
		return engine.Result{}, err
	}
	if green, err = h.alive(ctx, c, green); err != nil {
		return engine.Result{}, err
	}
	cl := withCell(c.Cluster, green)
	if err := h.fence(ctx, c, only(cl, green.Name)); err != nil {
		return engine.Result{}, err
	}
	if err := h.Storage.Forget(ctx, cl, green.Name, c.Term); err != nil {
		return engine.Result{}, fmt.Errorf("stop replication into cell %s: %w", green.Name, err)
	}
	c.Point("replication-forgotten")
	return engine.Result{}, nil
}

func (h handlers) caughtUp(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	if _, err := newCell(c); err != nil {
		return engine.Observation{}, err
	}
	cs, err := h.Storage.Replicating(ctx, c.Cluster, c.Campaign.ToCell, c.Campaign.Switch.MaxLag)
	if err != nil {
		return engine.Observation{}, fmt.Errorf("look at the lag of cell %s: %w", c.Campaign.ToCell, err)
	}
	return engine.Judged(cs, "every node of cell %s is at most %v behind", c.Campaign.ToCell, c.Campaign.Switch.MaxLag), nil
}
