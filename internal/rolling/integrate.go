package rolling

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
)

// errNotHealthy means that a node was started and did not get well in its time.
var errNotHealthy = errors.New("it does not get healthy")

// start starts a node. That it could not be is no end yet: it is tried again while its health is waited for.
func (h handlers) start(ctx context.Context, c *engine.Call, n fleet.Node, version string) error {
	tried, err := h.launch(ctx, c, n, version)
	if err != nil {
		return err
	}
	if tried != nil {
		c.Log.Warn("a node does not start", "node", n.Name, "version", version, "err", tried)
	}
	return nil
}

// launch starts a node, on the schema that it needs, that the load balancer gives nothing: one that was started anew since has forgotten who is out, and would give it all of its
// share before its health and version are proved. tried is why it did not start; err why it may not be tried.
func (h handlers) launch(ctx context.Context, c *engine.Call, n fleet.Node, version string) (tried, err error) {
	if err := h.schemaThere(ctx, c, version); err != nil {
		return nil, err
	}
	if err := h.drain(ctx, c, n); err != nil {
		return nil, err
	}
	tried = h.Nodes.Start(ctx, c.Cluster, n, version, c.Term)
	if errors.Is(tried, engine.ErrFenced) || tried != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("start %s on %s: %w", n.Name, version, tried)
	}
	return tried, nil
}

// healthy waits for the nodes' own word that they are well and on the version, and tells which said so, and why the others did not. One whose
// process is gone is started again, and so is one that could not be started at all: a program that is missing is one that never gets healthy.
// Until it is proved a node is given no requests.
func (h handlers) healthy(ctx context.Context, c *engine.Call, group []fleet.Node, version string) (well []fleet.Node, ill error) {
	return h.wellOf(ctx, c, group, func(n fleet.Node) (string, error) {
		s, err := h.Nodes.Observe(ctx, c.Cluster, n)
		if err == nil && !s.Running {
			tried, err := h.launch(ctx, c, n, version)
			if err != nil {
				return "", err
			}
			if tried != nil {
				return fmt.Sprintf("%s does not start: %v", n.Name, tried), nil
			}
		}
		missing, err := proof(n, s, version, err)
		if err == nil && missing == "" {
			return "", nil
		}
		return missing, errors.Join(err, h.keepOut(ctx, c, n))
	})
}

// stillHealthy is the same for nodes that are given requests: the first look that says that one is ill takes them from it, until it is well. One whose
// process is gone is not waited for: started again it would begin where it fell.
func (h handlers) stillHealthy(ctx context.Context, c *engine.Call, group []fleet.Node, version string) (well []fleet.Node, ill error) {
	return h.wellOf(ctx, c, group, func(n fleet.Node) (string, error) { return h.proved(ctx, c, n, version) })
}

// proved asks a node that is given requests for its word. One that says otherwise is drained; one that can't be asked is not. That its process is gone is
// the end of its slow start, errNotHealthy.
func (h handlers) proved(ctx context.Context, c *engine.Call, n fleet.Node, version string) (missing string, err error) {
	s, err := h.Nodes.Observe(ctx, c.Cluster, n)
	if missing, err = proof(n, s, version, err); err == nil && missing != "" {
		if err = h.keepOut(ctx, c, n); err == nil && !s.Running {
			err = fmt.Errorf("%w: %s died in its slow start", errNotHealthy, missing)
		}
	}
	return missing, err
}

// warm leaves the nodes their share for some time, and takes it from one that says that it is ill. It ends when none of them is left.
func (h handlers) warm(ctx context.Context, c *engine.Call, nodes []fleet.Node, version string, d time.Duration) error {
	var dead sync.Map // names
	for stop := c.Now().Add(d); c.Now().Before(stop) && len(nodes) > 0; {
		if err := h.Sleep(ctx, min(time.Second, stop.Sub(c.Now()))); err != nil {
			return err
		}
		if err := each(ctx, nodes, func(ctx context.Context, n fleet.Node) error {
			_, err := h.proved(ctx, c, n, version)
			switch {
			case errors.Is(err, engine.ErrFenced):
				return err
			case errors.Is(err, errNotHealthy):
				dead.Store(n.Name, true)
			}
			return nil // it is asked again, and by then it counts
		}); err != nil {
			return err
		}
		nodes = slices.DeleteFunc(slices.Clone(nodes), func(n fleet.Node) bool { _, is := dead.Load(n.Name); return is })
	}
	return nil
}

// proof is the node's own word; missing says what it did not say.
func proof(n fleet.Node, s NodeState, version string, err error) (missing string, _ error) {
	switch {
	case err != nil:
		return "", err
	case !s.Running || !s.Healthy:
		return fmt.Sprintf("%s: %s", n.Name, cmp.Or(s.Detail, "it does not say that it is healthy")), nil
	case !fleet.HasVersion(s.Version, version):
		return fmt.Sprintf("%s says that it runs %s, not %s", n.Name, cmp.Or(s.Version, "no version"), version), nil
	}
	return "", nil
}

// wellOf waits for every node of the group at once, for as long as the campaign gives one to be healthy.
func (h handlers) wellOf(ctx context.Context, c *engine.Call, group []fleet.Node, look func(fleet.Node) (string, error)) (well []fleet.Node, ill error) {
	ok := make([]bool, len(group))
	ill = each(ctx, group, func(ctx context.Context, n fleet.Node) error {
		missing, err := h.until(ctx, c, c.Campaign.Rolling.HealthyWithin, func() (string, error) { return look(n) })
		switch {
		case errors.Is(err, errNotHealthy):
			return err
		case err != nil:
			return fmt.Errorf("look at %s: %w", n.Name, err)
		case missing != "":
			return fmt.Errorf("%w within %v: %s", errNotHealthy, c.Campaign.Rolling.HealthyWithin, missing)
		}
		ok[slices.IndexFunc(group, func(m fleet.Node) bool { return m.Name == n.Name })] = true
		return nil
	})
	for i, n := range group {
		if ok[i] {
			well = append(well, n)
		}
	}
	return well, ill
}

// admit gives the nodes requests, a few first, and more only while they are well.
func (h handlers) admit(ctx context.Context, c *engine.Call, nodes []fleet.Node, version string) error {
	shares := []int{10, 25, 50, 100}
	var ill []error
	for i, percent := range shares {
		if i > 0 {
			well, err := h.stillHealthy(ctx, c, nodes, version)
			nodes, ill = well, append(ill, err)
		}
		if err := each(ctx, nodes, func(ctx context.Context, n fleet.Node) error {
			if err := h.Balancer.Admit(ctx, c.Cluster, n, percent, c.Term); err != nil {
				return fmt.Errorf("admit %s: %w", n.Name, err)
			}
			return nil
		}); err != nil {
			return err
		}
		if i < len(shares)-1 && len(nodes) > 0 {
			if err := h.warm(ctx, c, nodes, version, c.Campaign.Rolling.SlowStart/time.Duration(len(shares)-1)); err != nil {
				return err
			}
		}
	}
	return errors.Join(ill...)
}

// watch sees the group serve well for the campaign's time. A node that says itself that it is ill is given nothing more, at once.
func (h handlers) watch(ctx context.Context, c *engine.Call, group []fleet.Node, version string) error {
	// The load balancer's own check has its pace: a node that was just admitted may not be up for it yet.
	ill := func() (string, error) {
		all, err := h.look(ctx, c)
		if err != nil {
			return "", err
		}
		var bad []string
		fell := false
		for _, s := range all {
			if !slices.ContainsFunc(group, func(n fleet.Node) bool { return n.Name == s.Name }) || s.whole(version) {
				continue
			}
			bad = append(bad, s.String())
			if missing, _ := proof(s.Node, s.is, version, nil); missing != "" {
				fell = true
				if err := h.keepOut(ctx, c, s.Node); err != nil {
					return "", err
				}
			}
		}
		if fell {
			return "", fmt.Errorf("%w: %s", errNotHealthy, strings.Join(bad, "; "))
		}
		return strings.Join(bad, "; "), nil
	}
	missing, err := h.until(ctx, c, c.Campaign.Rolling.HealthyWithin, ill)
	for stop := c.Now().Add(c.Campaign.Rolling.Watch); err == nil && missing == "" && c.Now().Before(stop); {
		if err := h.Sleep(ctx, min(time.Second, stop.Sub(c.Now()))); err != nil {
			return err
		}
		if missing, err = ill(); err != nil && !errors.Is(err, errNotHealthy) { // one look that failed says nothing yet
			missing, err = h.until(ctx, c, 10*time.Second, ill)
		}
	}
	if err != nil {
		return err
	}
	if missing != "" {
		return fmt.Errorf("%w: %s", errNotHealthy, missing)
	}
	return nil
}
