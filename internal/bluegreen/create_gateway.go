package bluegreen

import (
	"context"
	"fmt"

	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
)

// toldStatus remembers which gateways were told of the cluster's servers: what a gateway knows is not asked back.
type toldStatus struct {
	Told   bool `json:"told,omitempty"`   // both gateways know every node
	Forgot bool `json:"forgot,omitempty"` // the old gateway knows the old nodes alone
}

func (h handlers) newGateway(c *engine.Call) (Resource, fleet.Cell, fleet.Cell, error) {
	blue, green, err := bothCells(c)
	if err != nil {
		return Resource{}, blue, green, err
	}
	if green.Owner != mark(c) {
		return Resource{}, blue, green, engine.Refuse("cell %s of %s was not made by this campaign (owner %q)", green.Name, c.Cluster.Ref(), green.Owner)
	}
	r := owned(c, green, gatewayID(c, green.Name), "gateway")
	r.Local, r.Servers = addresses(green), addresses(blue, green)
	return r, blue, green, nil
}

// gatewayThere looks for a new gateway that answers and routes writes to the primary, and for both gateways having been told.
func (h handlers) gatewayThere(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	r, _, green, err := h.newGateway(c)
	if err != nil {
		return engine.Observation{}, err
	}
	s, err := h.look(ctx, r)
	if err != nil {
		return engine.Observation{}, err
	}
	st, err := engine.StatusOf[toldStatus](c)
	if err != nil {
		return engine.Observation{}, err
	}
	switch {
	case !s.Exists || !s.Running:
		return engine.Missing("gateway %s does not run yet", r.ID), nil
	case s.Gateway == nil || s.Gateway.Address == "":
		return engine.Observation{}, fmt.Errorf("the provisioner does not tell the address of %s", r.ID)
	case !st.Told:
		return engine.Missing("the gateways are not told of every node yet"), nil
	}
	g := *s.Gateway
	g.Name = r.ID
	green.Gateway = &g
	cl := withCell(c.Cluster, green)
	cs, err := h.Gateways.Check(ctx, cl, g)
	if err != nil {
		return engine.Observation{}, fmt.Errorf("check gateway %s: %w", g.Name, err)
	}
	if !cs.OK() {
		return engine.Observation{Checks: cs}, nil
	}
	seen, err := h.Storage.Observe(ctx, cl)
	if err != nil {
		return engine.Observation{}, err
	}
	primary, ok := seen.Primary()
	if !ok {
		return engine.Observation{}, fmt.Errorf("the primary of %s can't be told: %s", c.Cluster.Ref(), seen.Roles())
	}
	routes, err := h.routeOf(ctx, cl, g)
	if err != nil {
		return engine.Observation{}, err
	}
	if routes != primary.Address {
		return engine.Missing("gateway %s routes writes to %q, the primary is %s", g.Name, routes, primary.Address), nil
	}
	o := engine.There("gateway %s at %s routes writes to %s", g.Name, g.Address, primary.Address)
	o.Checks, o.Output = cs, &engine.Outputs{Cells: []fleet.Cell{green}}
	return o, nil
}

// routeOf is where a gateway sends writes.
func (h handlers) routeOf(ctx context.Context, cl fleet.Cluster, g fleet.Gateway) (string, error) {
	all, err := h.Gateways.Observe(ctx, cl)
	if err != nil {
		return "", fmt.Errorf("observe the gateways: %w", err)
	}
	for _, o := range all {
		if o.Gateway != g.Name {
			continue
		}
		if o.Error != "" {
			return "", fmt.Errorf("gateway %s can't be asked: %s", g.Name, o.Error)
		}
		return o.Primary, nil
	}
	return "", fmt.Errorf("gateway %s was not observed", g.Name)
}

func (h handlers) makeGateway(ctx context.Context, c *engine.Call) (engine.Result, error) {
	r, blue, green, err := h.newGateway(c)
	if err != nil {
		return engine.Result{}, err
	}
	if _, err := h.look(ctx, r); err != nil {
		return engine.Result{}, err
	}
	s, err := h.Provisioner.Create(ctx, r)
	if err != nil {
		return engine.Result{}, fmt.Errorf("create %s: %w", r.ID, err)
	}
	c.Point("gateway-created")
	if s.Gateway == nil {
		return engine.Result{}, fmt.Errorf("the provisioner does not tell the address of %s", r.ID)
	}
	if err := h.tell(ctx, c, *s.Gateway, addresses(green), r.Servers); err != nil {
		return engine.Result{}, err
	}
	c.Point("new-gateway-told")
	if blue.Gateway != nil {
		if err := h.tell(ctx, c, *blue.Gateway, addresses(blue), r.Servers); err != nil {
			return engine.Result{}, err
		}
	}
	c.Point("old-gateway-told")
	return engine.Result{Status: engine.Status(toldStatus{Told: true})}, nil
}

func (h handlers) tell(ctx context.Context, c *engine.Call, g fleet.Gateway, local, all []string) error {
	if err := h.Gateways.SetServers(ctx, g, local, all, c.Term); err != nil {
		return fmt.Errorf("tell gateway %s of its servers: %w", g.Name, err)
	}
	return nil
}

func (h handlers) gatewayGone(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	green, ok := c.Cluster.Cell(c.Campaign.ToCell)
	if !ok {
		return engine.There("there is no cell %s", c.Campaign.ToCell), nil
	}
	r, _, _, err := h.newGateway(c)
	if err != nil {
		return engine.Observation{}, err
	}
	s, err := h.look(ctx, r)
	if err != nil {
		return engine.Observation{}, err
	}
	st, err := engine.StatusOf[toldStatus](c)
	if err != nil {
		return engine.Observation{}, err
	}
	switch {
	case s.present():
		return engine.Missing("gateway %s is still there", r.ID), nil
	case !st.Forgot:
		return engine.Missing("the old gateway is not told to forget the new nodes yet"), nil
	}
	green.Gateway = nil
	o := engine.There("gateway %s is gone", r.ID)
	o.Output = &engine.Outputs{Cells: []fleet.Cell{green}}
	return o, nil
}

func (h handlers) deleteGateway(ctx context.Context, c *engine.Call) (engine.Result, error) {
	r, blue, _, err := h.newGateway(c)
	if err != nil {
		return engine.Result{}, err
	}
	s, err := h.look(ctx, r)
	if err != nil {
		return engine.Result{}, err
	}
	if s.Running && s.Gateway != nil { // nobody may need it any more
		if res, ok, err := h.unused(ctx, c, *s.Gateway, r.ID); !ok {
			return res, err
		}
	}
	if blue.Gateway != nil {
		if err := h.tell(ctx, c, *blue.Gateway, addresses(blue), addresses(blue)); err != nil {
			return engine.Result{}, err
		}
	}
	c.Point("old-gateway-told")
	if err := h.Provisioner.Delete(ctx, r); err != nil {
		return engine.Result{}, fmt.Errorf("delete %s: %w", r.ID, err)
	}
	c.Point("gateway-deleted")
	return engine.Result{Status: engine.Status(toldStatus{Forgot: true})}, nil
}

// unused is false, with a wait, while the record points at the gateway or clients are on it (trap 32).
func (h handlers) unused(ctx context.Context, c *engine.Call, g fleet.Gateway, name string) (engine.Result, bool, error) {
	at, err := host(g)
	if err != nil {
		return engine.Result{}, false, err
	}
	now, err := h.Records.Lookup(ctx, c.Cluster.Env, c.Cluster.Record)
	if err != nil {
		return engine.Result{}, false, fmt.Errorf("ask for record %s: %w", c.Cluster.Record, err)
	}
	if now == at {
		return engine.Result{Wait: true, Message: fmt.Sprintf("record %s still points at gateway %s (%s)", c.Cluster.Record, name, at)}, false, nil
	}
	n, who, err := h.Gateways.Clients(ctx, g)
	if err != nil {
		return engine.Result{}, false, fmt.Errorf("count the clients of gateway %s: %w", name, err)
	}
	if n > 0 {
		return engine.Result{Wait: true, Message: laggards(n, name, who)}, false, nil
	}
	return engine.Result{}, true, nil
}

func laggards(n int, gateway string, who []string) string {
	s := fmt.Sprintf("%d client connections are still on gateway %s", n, gateway)
	if len(who) > 0 {
		s += ": " + few(who)
	}
	return s + "; they leave when their pools open new connections"
}
