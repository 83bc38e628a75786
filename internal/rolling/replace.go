package rolling

import (
	"context"
	"errors"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
)

// replace takes a group through the whole of it, all nodes of it at once. It goes on from wherever each node is: one that runs the version
// already, and was never started on another since it was taken out, is only put back.
func (h handlers) replace(ctx context.Context, c *engine.Call, group []fleet.Node, version string, turned bool) error {
	if err := h.schemaThere(ctx, c, version); err != nil { // before anything is taken out
		return err
	}
	all, err := h.look(ctx, c)
	if err != nil {
		return err
	}
	var change []fleet.Node
	for _, s := range all {
		if slices.ContainsFunc(group, func(n fleet.Node) bool { return n.Name == s.Name }) && (turned && !s.serves() || !s.is.Running || !fleet.HasVersion(s.is.Version, version)) {
			change = append(change, s.Node)
		}
	}
	for _, phase := range []struct {
		nodes []fleet.Node
		do    func(context.Context, *engine.Call, fleet.Node, string) error
		point string
	}{
		{change, h.takeOut, "drained"},
		{change, h.empty, "left"},
		{change, h.stop, "stopped"},
		{change, func(ctx context.Context, c *engine.Call, n fleet.Node, _ string) error {
			return h.disconnected(ctx, c, n)
		}, "disconnected"},
		{change, h.start, "started"},
	} {
		if err := each(ctx, phase.nodes, func(ctx context.Context, n fleet.Node) error { return phase.do(ctx, c, n, version) }); err != nil {
			return err
		}
		c.Point(phase.point)
	}
	well, ill := h.healthy(ctx, c, group, version)
	c.Point("healthy")
	if err := h.admit(ctx, c, well, version); err != nil {
		return errors.Join(ill, err)
	}
	c.Point("admitted")
	if ill != nil {
		return ill
	}
	return h.watch(ctx, c, group, version)
}

// each does it for all nodes at once, to the end, and gives every error.
func each(ctx context.Context, nodes []fleet.Node, f func(context.Context, fleet.Node) error) error {
	errs := make([]error, len(nodes))
	var g errgroup.Group
	for i, n := range nodes {
		g.Go(func() error { errs[i] = f(ctx, n); return nil })
	}
	_ = g.Wait() // every error is in errs
	return errors.Join(errs...)
}
