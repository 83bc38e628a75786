package rolling

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
)

func (h handlers) drain(ctx context.Context, c *engine.Call, n fleet.Node) error {
	if err := h.Balancer.Drain(ctx, c.Cluster, n, c.Term); err != nil {
		return fmt.Errorf("drain %s: %w", n.Name, err)
	}
	return nil
}

// empty waits until the load balancer has nothing on the node. What does not end in time is cut off. A node that is given requests again is
// drained again: a load balancer that was started anew has forgotten who is out.
func (h handlers) empty(ctx context.Context, c *engine.Call, n fleet.Node, version string) error {
	admitted := false
	left := func() (string, error) {
		bs, err := h.Balancer.Observe(ctx, c.Cluster)
		if err != nil {
			return "", fmt.Errorf("ask the load balancer: %w", err)
		}
		i := slices.IndexFunc(bs, func(b Backend) bool { return b.Node == n.Name })
		if i < 0 {
			return "", fmt.Errorf("the load balancer does not know %s any more", n.Name)
		}
		admitted = bs[i].Admitted
		switch {
		case admitted:
			return n.Name + " is given requests again: the load balancer was started anew, or somebody admitted it", h.takeOut(ctx, c, n, version)
		case bs[i].Sessions > 0:
			text := fmt.Sprintf("%d sessions are on %s", bs[i].Sessions, n.Name)
			if bs[i].Detail != "" {
				text += " (" + bs[i].Detail + ")"
			}
			return text, nil
		}
		return "", nil
	}
	missing, err := h.until(ctx, c, c.Campaign.Rolling.DrainWithin, left)
	if err == nil && missing != "" && !admitted {
		c.Log.Warn("sessions are cut off", "node", n.Name, "left", missing)
		if err := h.Balancer.Cut(ctx, c.Cluster, n, c.Term); err != nil {
			return fmt.Errorf("cut the sessions on %s: %w", n.Name, err)
		}
		missing, err = h.until(ctx, c, 5*time.Second, left)
	}
	return isolated(n, missing, err)
}

func isolated(n fleet.Node, missing string, err error) error {
	if err == nil && missing != "" {
		err = errors.New(missing)
	}
	if err != nil {
		return fmt.Errorf("isolate %s: %w", n.Name, err)
	}
	return nil
}

func (h handlers) stop(ctx context.Context, c *engine.Call, n fleet.Node, version string) error {
	if err := h.empty(ctx, c, n, version); err != nil { // seen a moment ago is not enough for what can't be taken back
		return err
	}
	if _, _, err := h.Connections.Of(ctx, c.Cluster, n); err != nil { // it can be had back as long as it is not stopped, and then nobody could tell that it is gone
		return fmt.Errorf("%s is not stopped: whether its connections are gone then could not be told: %w", n.Name, err)
	}
	if err := h.spare(ctx, c, n, version); err != nil {
		return err
	}
	if err := h.Nodes.Stop(ctx, c.Cluster, n, c.Term); err != nil {
		return fmt.Errorf("stop %s: %w", n.Name, err)
	}
	return nil
}

// disconnected sees that the database has none of the node's connections left.
func (h handlers) disconnected(ctx context.Context, c *engine.Call, n fleet.Node) error {
	missing, err := h.until(ctx, c, 30*time.Second, func() (string, error) {
		left, what, err := h.Connections.Of(ctx, c.Cluster, n)
		if err != nil || left == 0 {
			return "", err
		}
		return fmt.Sprintf("it is stopped, and the database still has %d connections of it: %s", left, what), nil
	})
	return isolated(n, missing, err)
}
