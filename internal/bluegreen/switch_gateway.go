package bluegreen

import (
	"context"
	"errors"
	"fmt"

	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
)

// gateways are the cluster's two, and the addresses by which the record tells them apart.
func gateways(c *engine.Call) (blue, green fleet.Gateway, from, to string, err error) {
	b, g, err := bothCells(c)
	if err != nil {
		return blue, green, "", "", err
	}
	for _, cell := range []fleet.Cell{b, g} {
		if cell.Gateway == nil {
			return blue, green, "", "", engine.Refuse("cell %s of %s has no gateway, so its record can't be switched", cell.Name, c.Cluster.Ref())
		}
	}
	blue, green = *b.Gateway, *g.Gateway
	if from, err = host(blue); err != nil {
		return blue, green, "", "", err
	}
	if to, err = host(green); err != nil {
		return blue, green, "", "", err
	}
	if from == to {
		return blue, green, "", "", engine.Refuse("gateways %s and %s have the same address %s: a record can't tell them apart", blue.Name, green.Name, from)
	}
	return blue, green, from, to, nil
}

func (h handlers) gatewayFit(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	_, green, _, _, err := gateways(c)
	if err != nil {
		return engine.Observation{}, err
	}
	cs, err := h.Gateways.Check(ctx, c.Cluster, green)
	if err != nil {
		return engine.Observation{}, fmt.Errorf("check gateway %s: %w", green.Name, err)
	}
	return engine.Judged(cs, "gateway %s is fit: all %d checks pass", green.Name, len(cs)), nil
}

// recordAt looks whether the name server itself answers that address. A failed question is unknown, never "elsewhere".
func (h handlers) recordAt(ctx context.Context, c *engine.Call, want string) (engine.Observation, error) {
	now, err := h.Records.Lookup(ctx, c.Cluster.Env, c.Cluster.Record)
	if err != nil {
		return engine.Observation{}, fmt.Errorf("ask for record %s: %w", c.Cluster.Record, err)
	}
	if now != want {
		return engine.Missing("record %s is at %s", c.Cluster.Record, now), nil
	}
	o := engine.There("record %s is at %s", c.Cluster.Record, now)
	o.Checks = check.Results{check.Passed("record", "the name server answers "+now+" for "+c.Cluster.Record, c.Now())}
	return o, nil
}

func (h handlers) recordNew(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	_, _, _, to, err := gateways(c)
	if err != nil {
		return engine.Observation{}, err
	}
	return h.recordAt(ctx, c, to)
}

func (h handlers) recordOld(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	_, _, from, _, err := gateways(c)
	if err != nil {
		return engine.Observation{}, err
	}
	return h.recordAt(ctx, c, from)
}

func (h handlers) swapRecord(ctx context.Context, c *engine.Call) (engine.Result, error) {
	_, _, from, to, err := gateways(c)
	if err != nil {
		return engine.Result{}, err
	}
	return h.swap(ctx, c, from, to, c.Campaign.FromCell, c.Campaign.ToCell)
}

func (h handlers) swapRecordBack(ctx context.Context, c *engine.Call) (engine.Result, error) {
	blue, _, from, to, err := gateways(c)
	if err != nil {
		return engine.Result{}, err
	}
	// Clients are about to be sent there.
	cs, err := h.Gateways.Check(ctx, c.Cluster, blue)
	if err != nil {
		return engine.Result{}, fmt.Errorf("check gateway %s: %w", blue.Name, err)
	}
	if !cs.OK() {
		return engine.Result{Wait: true, Checks: cs, Message: fmt.Sprintf("gateway %s is not fit to take the clients back: %s", blue.Name, cs.Bad())}, nil
	}
	return h.swap(ctx, c, to, from, c.Campaign.ToCell, c.Campaign.FromCell)
}

func (h handlers) swap(ctx context.Context, c *engine.Call, from, to, fromCell, toCell string) (engine.Result, error) {
	err := h.Records.Swap(ctx, c.Cluster.Env, c.Cluster.Record, from, to, c.Campaign.Drain.TTL, c.Term)
	if errors.Is(err, ErrRecordMoved) {
		return engine.Result{}, engine.Refuse("set record %s from %s to %s: %w", c.Cluster.Record, from, to, err)
	}
	if err != nil {
		return engine.Result{}, fmt.Errorf("set record %s from %s to %s: %w", c.Cluster.Record, from, to, err)
	}
	c.Point("record-swapped")
	return engine.Result{
		Message: fmt.Sprintf("record %s was set from %s to %s", c.Cluster.Record, from, to),
		Output:  &engine.Outputs{Switchover: &engine.SwitchoverOutput{Kind: "gateway", From: fromCell, To: toCell, At: c.Now()}},
	}, nil
}

// drained looks whether a client is left on the old gateway, and names those that are (trap 32). An old gateway that
// can't be asked is unknown, not empty.
func (h handlers) drained(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	blue, _, _, _, err := gateways(c)
	if err != nil {
		return engine.Observation{}, err
	}
	n, who, err := h.Gateways.Clients(ctx, blue)
	if err != nil {
		return engine.Observation{}, fmt.Errorf("count the clients of gateway %s: %w", blue.Name, err)
	}
	if n > 0 {
		return engine.Missing("%s", laggards(n, blue.Name, who)), nil
	}
	o := engine.There("no client is left on gateway %s", blue.Name)
	o.Checks = check.Results{check.Passed("old-gateway-empty", o.Message, c.Now())}
	return o, nil
}
