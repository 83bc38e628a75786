package inplace

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/switchover"
)

// leaveReads is how long clients get to leave a node that is taken out of reads before it is stopped.
const leaveReads = 10 * time.Second

// raising is how far a step is that changes nodes one after the other.
type raising struct {
	Primary string   `json:"primary,omitempty"` // the node that the step leaves alone
	Out     string   `json:"out,omitempty"`     // the node that is out of reads, and being worked on
	UUID    string   `json:"uuid,omitempty"`    // who that was before, "" if nobody could be asked
	Raised  []string `json:"raised,omitempty"`  // the nodes that this action has raised
}

// primaryOn is the one primary, if it is of the cell and of that version.
func primaryOn(o fleet.Observation, cell, version string) (fleet.NodeObservation, error) {
	p, ok := o.Primary()
	switch {
	case !ok:
		return p, fmt.Errorf("the primary can't be told: %s", o.Roles())
	case p.Cell != cell:
		return p, fmt.Errorf("the primary %s is in cell %s, not in %s", p.Node, p.Cell, cell)
	case !fleet.HasVersion(p.Version, version):
		return p, fmt.Errorf("the primary %s runs %s, not %s", p.Node, p.Version, version)
	}
	return p, nil
}

// follows tells what is missing for the node to be a healthy replica of the primary on that version; "" if nothing is.
func follows(n, primary fleet.NodeObservation, version string) string {
	if lack := switchover.Follows(n, primary); lack != "" {
		return lack
	}
	if version != "" && !fleet.HasVersion(n.Version, version) {
		return fmt.Sprintf("%s runs %s, not %s", n.Node, n.Version, version)
	}
	return ""
}

// fit looks whether a node may be taken out of service now: the primary is on the right version, every other node follows it and is
// close behind, and the gateway sends writes to it. n is "" for a look at all of them.
func (h handlers) fit(ctx context.Context, c *engine.Call, cell fleet.Cell, version, n string) (fleet.Observation, check.Results, error) {
	seen, err := h.Storage.Observe(ctx, c.Cluster)
	if err != nil {
		return seen, nil, err
	}
	at := seen.At
	p, err := primaryOn(seen, cell.Name, version)
	if err != nil {
		return seen, check.Results{check.Failed("one-primary", err.Error(), "find out which node is the primary, and why it is not as it was", at)}, nil
	}
	all := check.Results{check.Passed("one-primary", fmt.Sprintf("%s is the primary, on %s", p.Node, p.Version), at)}
	if n == p.Node {
		all = append(all, check.Failed("not-the-primary", n+" is the primary", "switch the primary first", at))
	}
	for i, s := range c.Plan.Steps { // before each node, not only before the first (V5)
		if s.Kind == c.Step.Kind && c.Campaign.GuardsStep(c.Plan, i) {
			all = append(all, c.Campaign.BeforeStep(c.Plan, i, seen)...)
		}
	}
	for _, node := range cell.Nodes {
		o := seenOf(seen, cell.Name, node.Name)
		if o.Role != fleet.RoleUnknown && node.UUID != "" && o.UUID != node.UUID {
			all = append(all, check.Failed("identity", fmt.Sprintf("at %s answers a server with the identity %s, not %s", node.Address, o.UUID, node.UUID), "find out which server that is, and correct the inventory", at))
		}
	}
	cs, err := h.Storage.Replicating(ctx, c.Cluster, cell.Name, c.Campaign.Switch.MaxLag)
	if err != nil {
		return seen, nil, fmt.Errorf("look at replication: %w", err)
	}
	all = append(all, cs...)
	if g := cell.Gateway; g != nil {
		cs, err := h.Gateways.Check(ctx, c.Cluster, *g)
		if err != nil {
			return seen, nil, fmt.Errorf("look at gateway %s: %w", g.Name, err)
		}
		all = append(all, cs...)
		if serving := len(cell.Nodes) - 2; g.ReadOnly != "" && serving < 1 {
			all = append(all, check.Warned("reads", fmt.Sprintf("cell %s has %d nodes: while its replica is raised, the read-only endpoint of gateway %s has no server", cell.Name, len(cell.Nodes), g.Name), "add a node first", at))
		}
	}
	return seen, all, nil
}

// tell gives the cell's gateway its servers, without the node of that name among those that it reads from.
func (h handlers) tell(ctx context.Context, c *engine.Call, cell fleet.Cell, without string) error {
	if cell.Gateway == nil {
		return nil
	}
	var local, all []string
	for _, other := range c.Cluster.Cells {
		for _, n := range other.Nodes {
			all = append(all, n.Address)
			if other.Name == cell.Name && n.Name != without {
				local = append(local, n.Address)
			}
		}
	}
	if err := h.Gateways.SetServers(ctx, *cell.Gateway, local, all, c.Term); err != nil {
		return fmt.Errorf("tell gateway %s of its servers: %w", cell.Gateway.Name, err)
	}
	return nil
}

// takeOut takes a node out of the gateway's reads, and gives the readers on it some time to leave: each goes to another node with
// its next command. The status names the node before anything is done.
func (h handlers) takeOut(ctx context.Context, c *engine.Call, cell fleet.Cell, n fleet.Node, st *raising, progress float64) error {
	st.Out = n.Name
	if err := c.Save(ctx, *st, progress, n.Name+" is taken out of reads"); err != nil {
		return err
	}
	if err := h.fence(ctx, c, cell); err != nil {
		return err
	}
	if err := h.tell(ctx, c, cell, n.Name); err != nil {
		return err
	}
	c.Point("taken-out")
	readers, ok := h.Gateways.(Readers)
	if !ok || cell.Gateway == nil {
		return nil
	}
	for stop := c.Now().Add(leaveReads); ; {
		left, err := readers.Readers(ctx, *cell.Gateway, n.Address)
		if err == nil && left == 0 {
			return nil
		}
		if !c.Now().Before(stop) {
			c.Log.Warn("readers are still on a node that is stopped: their connections end", "node", n.Name, "sessions", left, "err", err)
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// rejoin makes a node that runs again follow the primary, waits until it has caught up, and puts it back into reads.
func (h handlers) rejoin(ctx context.Context, c *engine.Call, cell fleet.Cell, n fleet.Node, st *raising, progress float64, message string) (engine.Result, bool, error) {
	if err := h.fence(ctx, c, cell); err != nil {
		return engine.Result{}, false, err
	}
	if err := h.Storage.Replicate(ctx, c.Cluster, cell.Name, c.Term); err != nil {
		return engine.Result{}, false, fmt.Errorf("let %s replicate again: %w", n.Name, err)
	}
	c.Point("replicating")
	cs, err := h.Storage.Replicating(ctx, c.Cluster, cell.Name, c.Campaign.Switch.MaxLag)
	if err != nil {
		return engine.Result{}, false, fmt.Errorf("look at replication: %w", err)
	}
	if !cs.OK() {
		return engine.Result{Wait: true, Status: engine.Status(*st), Progress: progress, Checks: cs, Message: n.Name + " has not caught up: " + cs.Bad().String()}, false, nil
	}
	c.Point("caught-up")
	if st.UUID != "" {
		seen, err := h.Storage.Observe(ctx, c.Cluster)
		if err != nil {
			return engine.Result{}, false, err
		}
		if o := seenOf(seen, cell.Name, n.Name); o.UUID != st.UUID {
			return engine.Result{}, false, engine.Refuse("at %s answers a server with the identity %s; it was %s before", n.Address, o.UUID, st.UUID)
		}
	}
	if err := h.tell(ctx, c, cell, ""); err != nil {
		return engine.Result{}, false, err
	}
	c.Point("put-back")
	st.Out, st.UUID = "", ""
	return engine.Result{}, true, c.Save(ctx, *st, progress, message)
}

// inTurn is the order of work: a node that is out goes before all others.
func inTurn(nodes []fleet.Node, out string) []fleet.Node {
	nodes = slices.Clone(nodes)
	slices.SortStableFunc(nodes, func(a, b fleet.Node) int {
		switch {
		case a.Name == out && b.Name != out:
			return -1
		case b.Name == out && a.Name != out:
			return 1
		}
		return 0
	})
	return nodes
}

// raise raises the nodes one after the other. from is the version that the primary must have while a replica is taken out.
func (h handlers) raise(ctx context.Context, c *engine.Call, cell fleet.Cell, nodes []fleet.Node, primaryVersion string, st raising) (engine.Result, error) {
	to := c.Campaign.To
	for i, n := range inTurn(nodes, st.Out) {
		before, after := float64(i)/float64(len(nodes)), float64(i+1)/float64(len(nodes))
		r, s, err := h.look(ctx, resource(c, cell, n, to))
		if err != nil {
			return engine.Result{}, err
		}
		// A try that was killed has started the node before it told of the copy, or a person has raised the node while it was out: the provisioner is asked once more.
		again := st.Out == n.Name && byHand(c, n, s, st) != nil
		if again || !runs(s, to) {
			switch {
			case again:
			case !s.Running && st.Out != n.Name:
				return engine.Result{Wait: true, Status: engine.Status(st), Progress: before, Message: fmt.Sprintf("%s does not run, and it is not this step that stopped it: start it", n.Name)}, nil
			case s.Running && !fleet.HasVersion(s.Version, c.Campaign.From):
				return engine.Result{}, engine.Refuse("%s runs %s, which is neither %s nor %s", n.Name, s.Version, c.Campaign.From, to)
			case s.Running:
				seen, cs, err := h.fit(ctx, c, cell, primaryVersion, n.Name)
				if err != nil {
					return engine.Result{}, err
				}
				if lie := lies(seen, cell, n, c.Campaign.From); lie != "" {
					return engine.Result{}, engine.Refuse("%s. Seed it anew on %s, or take it out of the cell", lie, c.Campaign.From)
				}
				if !cs.OK() {
					return engine.Result{Wait: true, Status: engine.Status(st), Progress: before, Checks: cs, Message: fmt.Sprintf("%s is not taken out: %s", n.Name, cs.Bad())}, nil
				}
				if p, _ := seen.Primary(); p.Node != st.Primary {
					return engine.Result{}, engine.Refuse("the primary was %s and is %s: somebody moved it", st.Primary, p.Node)
				}
				st.UUID = seenOf(seen, cell.Name, n.Name).UUID
				if err := h.takeOut(ctx, c, cell, n, &st, before); err != nil {
					return engine.Result{}, err
				}
			}
			if s, err = h.Nodes.Upgrade(ctx, r); err != nil {
				return engine.Result{}, fmt.Errorf("raise %s to %s: %w", n.Name, to, err)
			}
			c.Point("node-raised")
		}
		if err := byHand(c, n, s, st); err != nil {
			return engine.Result{}, err
		}
		if st.Out != n.Name {
			continue
		}
		if !slices.Contains(st.Raised, n.Name) {
			st.Raised = append(st.Raised, n.Name)
		}
		if res, ok, err := h.rejoin(ctx, c, cell, n, &st, after, fmt.Sprintf("%s runs %s; %d of %d are raised", n.Name, s.Version, i+1, len(nodes))); err != nil || !ok {
			return res, err
		}
	}
	return engine.Result{Status: engine.Status(st), Progress: 1}, nil
}

// raised looks whether the nodes run the new version, follow the primary, have caught up and are back in reads.
func (h handlers) raised(ctx context.Context, c *engine.Call, cell fleet.Cell, nodes []fleet.Node, st raising) (engine.Observation, error) {
	if st.Out != "" {
		return engine.Missing("%s is being worked on", st.Out), nil
	}
	for _, n := range nodes {
		_, s, err := h.look(ctx, resource(c, cell, n, c.Campaign.To))
		if err != nil {
			return engine.Observation{}, err
		}
		if !runs(s, c.Campaign.To) {
			return engine.Missing("%s is not raised: it is on %s", n.Name, s.Version), nil
		}
	}
	seen, err := h.Storage.Observe(ctx, c.Cluster)
	if err != nil {
		return engine.Observation{}, err
	}
	p, ok := seen.Primary()
	if !ok {
		return engine.Observation{}, fmt.Errorf("the primary can't be told: %s", seen.Roles())
	}
	for _, n := range nodes {
		if lack := follows(seenOf(seen, cell.Name, n.Name), p, c.Campaign.To); lack != "" {
			return engine.Missing("%s", lack), nil
		}
	}
	cs, err := h.Storage.Replicating(ctx, c.Cluster, cell.Name, c.Campaign.Switch.MaxLag)
	if err != nil {
		return engine.Observation{}, fmt.Errorf("look at replication: %w", err)
	}
	o := engine.Observation{There: cs.OK(), Checks: cs, Message: fmt.Sprintf("%d nodes run %s and follow %s", len(nodes), c.Campaign.To, p.Node)}
	if !o.There {
		o.Message = cs.Bad().String()
	}
	o.Output = &engine.Outputs{Cells: []fleet.Cell{with(cell, c.Campaign.To, names(nodes)...)}, Observed: &seen}
	return o, nil
}
