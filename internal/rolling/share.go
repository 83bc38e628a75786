package rolling

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
)

// errShare means that a node was not taken out, or was given back, for the others are too few.
var errShare = errors.New("the share that has to serve leaves none to be taken out")

// takeOut drains a node if the others are enough at this moment. They may have fallen ill since it was chosen, and one that was admitted by
// another's hand while it was to be empty may be needed by now: then it is left to serve, and the group is chosen anew. A silent one may serve, too;
// not so on the way back, where what does not answer is the version that is left. One node after the other: each counts those before it.
func (h handlers) takeOut(ctx context.Context, c *engine.Call, n fleet.Node, version string) error {
	return h.takeOutIf(ctx, c, n, func(s seen) bool { return s.serves() || version == c.Campaign.To && s.silent() })
}

func (h handlers) takeOutIf(ctx context.Context, c *engine.Call, n fleet.Node, needed func(seen) bool) error {
	h.share.Lock()
	defer h.share.Unlock()
	s, short, err := h.without(ctx, c, n)
	if err != nil {
		return err
	}
	if short != "" && needed(s) {
		return fmt.Errorf("%w: %s goes on serving, for %s", errShare, n.Name, short)
	}
	return h.drain(ctx, c, n)
}

// spare counts once more right before a drained node is stopped, which is the last moment in which it can be had back at once: if the others
// are too few by now, and it is well, it is given its requests again. It was not stopped, so there is nothing to be slow about. One that does not answer
// may be well, and is neither stopped nor given requests then; on the way back it is the version that is left.
func (h handlers) spare(ctx context.Context, c *engine.Call, n fleet.Node, version string) error {
	h.share.Lock()
	defer h.share.Unlock()
	s, short, err := h.without(ctx, c, n)
	switch {
	case err != nil:
		return err
	case s.lb.Admitted:
		return fmt.Errorf("%s is given requests again, right before it was to be stopped", n.Name)
	case short != "" && version == c.Campaign.To && s.mute():
		return fmt.Errorf("%w: %s does not answer, and is not stopped, for %s", errShare, n.Name, short)
	case short == "" || !s.is.Healthy:
		return nil
	}
	if err := h.Balancer.Admit(ctx, c.Cluster, n, 100, c.Term); err != nil {
		return fmt.Errorf("%s can't be spared, for %s; admit it again: %w", n.Name, short, err)
	}
	return fmt.Errorf("%w: %s serves again, for %s", errShare, n.Name, short)
}

// keepOut drains a node that is not proved yet and is given requests all the same. Only the load balancer is asked, for this is done at every look.
func (h handlers) keepOut(ctx context.Context, c *engine.Call, n fleet.Node) error {
	bs, err := h.Balancer.Observe(ctx, c.Cluster)
	if err != nil {
		return fmt.Errorf("ask the load balancer: %w", err)
	}
	if !slices.ContainsFunc(bs, func(b Backend) bool { return b.Node == n.Name && b.Admitted }) {
		return nil
	}
	return h.takeOutIf(ctx, c, n, seen.serves)
}

// without looks at a node, and says who is ill if the others that serve are fewer than have to; short is "" if they are enough.
func (h handlers) without(ctx context.Context, c *engine.Call, n fleet.Node) (is seen, short string, err error) {
	all, err := h.look(ctx, c)
	if err != nil {
		return seen{}, "", err
	}
	_, least, err := settings(c, len(all))
	if err != nil {
		return seen{}, "", err
	}
	others := 0
	for _, s := range all {
		switch {
		case s.Name == n.Name:
			is = s
		case s.serves():
			others++
		}
	}
	if others < least {
		short = tooFew(all, others, least)
	}
	return is, short, nil
}
