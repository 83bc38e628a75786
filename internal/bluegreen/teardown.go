package bluegreen

import (
	"context"
	"fmt"

	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
)

// tearDownSafe looks at everything that could still need the old cell (trap 36).
func (h handlers) tearDownSafe(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	blue, green, err := bothCells(c)
	if err != nil {
		return engine.Observation{}, err
	}
	seen, err := h.Storage.Observe(ctx, c.Cluster)
	if err != nil {
		return engine.Observation{}, err
	}
	all := check.Results{primaryIn(seen, green.Name), identities(seen, blue)}
	cs, err := h.Switcher.SafeToRemove(ctx, c.Cluster, blue.Name)
	if err != nil {
		return engine.Observation{}, fmt.Errorf("look whether cell %s is still needed: %w", blue.Name, err)
	}
	all = append(all, cs...)
	if len(cs) == 0 {
		all = append(all, check.Unknowable("safe-to-remove", fmt.Errorf("nothing was looked at"), c.Now()))
	}
	if blue.Gateway != nil {
		all = append(all, h.gatewayUnused(ctx, c, *blue.Gateway)...)
	}
	all = append(all, ownership(blue, c))
	return engine.Judged(all, "nothing needs cell %s any more: all %d checks pass", blue.Name, len(all)), nil
}

func primaryIn(seen fleet.Observation, cell string) check.Result {
	const name = "primary-moved"
	p, ok := seen.Primary()
	switch {
	case !ok:
		return check.Unknowable(name, fmt.Errorf("there is not one primary: %s", seen.Roles()), seen.At)
	case p.Cell != cell:
		return check.Failed(name, fmt.Sprintf("the primary is %s, in cell %s", p.Node, p.Cell), "switch the storage first", seen.At)
	}
	return check.Passed(name, fmt.Sprintf("the primary is %s, in cell %s", p.Node, cell), seen.At)
}

// identities compares who answers at the nodes' addresses with who answered when they were made or taken over: a name is no
// proof (trap 36).
func identities(seen fleet.Observation, cell fleet.Cell) check.Result {
	const name = "identity"
	for _, n := range cell.Nodes {
		for _, o := range seen.Nodes {
			if o.Cell != cell.Name || o.Node != n.Name || n.UUID == "" {
				continue
			}
			if o.Role == fleet.RoleUnknown {
				return check.Unknowable(name, fmt.Errorf("%s can't be asked: %s", n.Name, o.Error), seen.At)
			}
			if o.UUID != n.UUID {
				return check.Failed(name, fmt.Sprintf("at %s answers a server with the identity %s, not %s", n.Address, o.UUID, n.UUID), "find out which server that is, and correct the inventory", seen.At)
			}
		}
	}
	return check.Passed(name, fmt.Sprintf("the %d servers of cell %s are those that we know", len(cell.Nodes), cell.Name), seen.At)
}

func (h handlers) gatewayUnused(ctx context.Context, c *engine.Call, g fleet.Gateway) check.Results {
	var all check.Results
	at, err := host(g)
	if err != nil {
		return check.Results{check.Unknowable("record-moved", err, c.Now())}
	}
	now, err := h.Records.Lookup(ctx, c.Cluster.Env, c.Cluster.Record)
	switch {
	case err != nil:
		all = append(all, check.Unknowable("record-moved", err, c.Now()))
	case now == at:
		all = append(all, check.Failed("record-moved", fmt.Sprintf("record %s still points at gateway %s", c.Cluster.Record, g.Name), "switch the gateway first", c.Now()))
	default:
		all = append(all, check.Passed("record-moved", fmt.Sprintf("record %s is at %s", c.Cluster.Record, now), c.Now()))
	}
	n, who, err := h.Gateways.Clients(ctx, g)
	switch {
	case err != nil:
		all = append(all, check.Unknowable("old-gateway-empty", err, c.Now()))
	case n > 0:
		all = append(all, check.Failed("old-gateway-empty", laggards(n, g.Name, who), "restart those clients, or close their connections by an override", c.Now()))
	default:
		all = append(all, check.Passed("old-gateway-empty", "no client is on gateway "+g.Name, c.Now()))
	}
	return all
}

func ownership(cell fleet.Cell, c *engine.Call) check.Result {
	if cell.Owner == "" {
		return check.Passed("ownership", fmt.Sprintf("cell %s was not made by Windlass: it is released, not deleted", cell.Name), c.Now())
	}
	return check.Passed("ownership", fmt.Sprintf("cell %s was made by %s and will be deleted", cell.Name, cell.Owner), c.Now())
}

func (h handlers) wayBackClosed(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	blue, err := oldCell(c)
	if err != nil {
		return engine.Observation{}, err
	}
	left, err := h.replicas(ctx, c, blue.Name)
	if err != nil {
		return engine.Observation{}, err
	}
	if len(left) > 0 {
		return engine.Missing("%s still replicate", few(left)), nil
	}
	o := engine.There("no node of cell %s replicates: the way back is closed", blue.Name)
	o.Output = &engine.Outputs{WayBack: &fleet.WayBack{Closed: true, Detail: "closed by the tear-down: there is no way back to cell " + blue.Name, Since: c.Now()}}
	return o, nil
}

func (h handlers) closeWayBack(ctx context.Context, c *engine.Call) (engine.Result, error) {
	blue, err := oldCell(c)
	if err != nil {
		return engine.Result{}, err
	}
	if blue, err = h.alive(ctx, c, blue); err != nil {
		return engine.Result{}, err
	}
	cl := withCell(c.Cluster, blue)
	if err := h.fence(ctx, c, cl); err != nil {
		return engine.Result{}, err
	}
	if err := h.Switcher.CloseWayBack(ctx, cl, blue.Name, c.Term); err != nil {
		return engine.Result{}, fmt.Errorf("stop replication to cell %s: %w", blue.Name, err)
	}
	c.Point("way-back-closed")
	return engine.Result{}, nil
}

// oldGatewayGone looks whether the old gateway is deleted, or let go if we did not make it.
func (h handlers) oldGatewayGone(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	blue, ok := c.Cluster.Cell(c.Campaign.FromCell)
	if !ok || blue.Gateway == nil {
		return engine.There("cell %s has no gateway", c.Campaign.FromCell), nil
	}
	g := *blue.Gateway
	blue.Gateway = nil
	out := &engine.Outputs{Cells: []fleet.Cell{blue}}
	if blue.Owner == "" {
		o := engine.There("gateway %s is released: Windlass did not make it, so it is not deleted", g.Name)
		o.Output = out
		return o, nil
	}
	s, err := h.look(ctx, owned(c, blue, g.Name, "gateway"))
	if err != nil {
		return engine.Observation{}, err
	}
	if s.present() {
		return engine.Missing("gateway %s is still there", g.Name), nil
	}
	o := engine.There("gateway %s is gone", g.Name)
	o.Output = out
	return o, nil
}

func (h handlers) removeGateway(ctx context.Context, c *engine.Call) (engine.Result, error) {
	blue, err := oldCell(c)
	if err != nil {
		return engine.Result{}, err
	}
	g := *blue.Gateway // there is one, and it is ours: else the look would have said so
	r := owned(c, blue, g.Name, "gateway")
	s, err := h.look(ctx, r)
	if err != nil {
		return engine.Result{}, err
	}
	if s.Running { // a client may have come back since the check
		if res, ok, err := h.unused(ctx, c, g, g.Name); !ok {
			return res, err
		}
	}
	if err := h.Provisioner.Delete(ctx, r); err != nil {
		return engine.Result{}, fmt.Errorf("delete %s: %w", r.ID, err)
	}
	c.Point("gateway-deleted")
	return engine.Result{}, nil
}

// oldNodesGone looks whether the new gateway has forgotten the old nodes, and whether those that we made are deleted.
func (h handlers) oldNodesGone(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	blue, ok := c.Cluster.Cell(c.Campaign.FromCell)
	if !ok {
		return engine.There("there is no cell %s any more", c.Campaign.FromCell), nil
	}
	st, err := engine.StatusOf[toldStatus](c)
	if err != nil {
		return engine.Observation{}, err
	}
	if !st.Told {
		return engine.Missing("the new gateway still knows the nodes of cell %s", blue.Name), nil
	}
	out := &engine.Outputs{RemoveCell: blue.Name}
	if blue.Owner == "" {
		o := engine.There("the %d nodes of cell %s are released, read-only and without a source: Windlass did not make them, so it does not delete them", len(blue.Nodes), blue.Name)
		o.Output = out
		return o, nil
	}
	for _, n := range blue.Nodes {
		s, err := h.look(ctx, owned(c, blue, n.Name, "node"))
		if err != nil {
			return engine.Observation{}, err
		}
		if s.present() {
			return engine.Missing("%s is still there", n.Name), nil
		}
	}
	o := engine.There("the %d nodes of cell %s are deleted", len(blue.Nodes), blue.Name)
	o.Output = out
	return o, nil
}

func (h handlers) removeNodes(ctx context.Context, c *engine.Call) (engine.Result, error) {
	blue, green, err := bothCells(c)
	if err != nil {
		return engine.Result{}, err
	}
	if green.Gateway != nil { // before the nodes go: a gateway must not wait for the answers of nodes that are gone
		if err := h.tell(ctx, c, *green.Gateway, addresses(green), addresses(green)); err != nil {
			return engine.Result{}, err
		}
	}
	c.Point("new-gateway-told")
	told := engine.Status(toldStatus{Told: true})
	if blue.Owner == "" {
		return engine.Result{Status: told}, nil
	}
	running, err := h.alive(ctx, c, blue)
	if err != nil {
		return engine.Result{}, err
	}
	if len(running.Nodes) > 0 {
		cl := withCell(c.Cluster, running)
		seen, err := h.Storage.Observe(ctx, cl)
		if err != nil {
			return engine.Result{}, err
		}
		if cs := (check.Results{primaryIn(seen, green.Name), identities(seen, running)}); !cs.OK() {
			return engine.Result{Wait: true, Checks: cs, Message: cs.Bad().String()}, nil
		}
		if res, ok, err := h.safeToRemove(ctx, cl, blue.Name); !ok {
			return res, err
		}
	}
	for _, n := range blue.Nodes {
		r := owned(c, blue, n.Name, "node")
		if _, err := h.look(ctx, r); err != nil {
			return engine.Result{}, err
		}
		if err := h.Provisioner.Delete(ctx, r); err != nil {
			return engine.Result{}, fmt.Errorf("delete %s: %w", r.ID, err)
		}
		c.Point("node-deleted")
	}
	return engine.Result{Status: told}, nil
}
