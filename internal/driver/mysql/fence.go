package mysql

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sync/errgroup"

	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/gateway/adminapi"
)

// Fence raises the term on every node and ends the predecessor's connections: every connection of the admin account
// that this driver did not open, but for replicas reading the binary log, and for those that only look, as other supervisors'
// watches do: they say so by a lock, and can't act. It repeats safely. It answers
// engine.ErrFenced if a node or a gateway has seen a higher term, and an error that names every node that it could not
// fence. A gateway that does not answer is passed over: it decides nothing, and refuses the old term once it has heard a new one.
func (d *Driver) Fence(ctx context.Context, c fleet.Cluster, term int64) error {
	ps := places(c)
	errs := make([]error, len(ps)+1)
	var g errgroup.Group
	g.Go(func() error {
		errs[len(ps)] = d.fenceGateways(ctx, c, term)
		return nil
	})
	for i, p := range ps {
		g.Go(func() error {
			errs[i] = d.fenceNode(ctx, p, term)
			return nil
		})
	}
	_ = g.Wait() // every error is in errs
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("fence %s with term %d: %w", c.Ref(), term, err)
	}
	return nil
}

func (d *Driver) fenceGateways(ctx context.Context, c fleet.Cluster, term int64) error {
	if d.cfg.Gateway == nil {
		return nil
	}
	gs, err := d.gates(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Query)
	defer cancel()
	_, err = each(ctx, gs, func(ctx context.Context, g gate) (adminapi.Status, error) { return g.Fence(ctx, term) })
	if err != nil && !errors.Is(err, engine.ErrFenced) {
		d.log.Warn("not every gateway was told of the term", "cluster", c.Name, "env", c.Env, "term", term, "err", err)
		return nil
	}
	return err
}

func (d *Driver) fenceNode(ctx context.Context, p place, term int64) error {
	s, err := d.dialTo(ctx, p)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	defer s.close()
	err = s.raise(ctx, term)
	if errors.Is(err, ErrBusy) {
		// The predecessor is in the middle of an act: end it, and see it gone, before the term is raised.
		if err := s.endHolder(ctx); err != nil {
			return err
		}
		err = s.raise(ctx, term)
	}
	if err != nil {
		return err
	}
	return s.endPredecessors(ctx)
}

// raise makes the server refuse every lower term from now on.
func (s *session) raise(ctx context.Context, term int64) error {
	if err := s.ensure(ctx); err != nil {
		return err
	}
	return s.act(ctx, term, "raise the term", "DO 0")
}

// endHolder kills whoever holds the guard's lock.
func (s *session) endHolder(ctx context.Context) error {
	rs, err := s.rows(ctx, "SELECT IS_USED_LOCK('windlass.act') AS id")
	if err != nil || len(rs) == 0 || rs[0]["id"] == "" {
		return err
	}
	id, err := strconv.ParseUint(rs[0]["id"], 10, 64)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.d.cfg.Query)
	defer cancel()
	return s.end(ctx, id)
}

// endPredecessors kills the admin account's other connections that may act, and sees them gone. What does not say that it only looks
// may act: a connection of a release that could not say so, or of the copying and comparing of data, for two.
func (s *session) endPredecessors(ctx context.Context) error {
	ps, err := s.processes(ctx)
	if err != nil {
		return err
	}
	var ids []uint64
	for _, p := range ps {
		if p.user != s.d.cfg.Admin.User || p.dump() || s.d.mine(s.node.Address, p.id) {
			continue
		}
		rs, err := s.rows(ctx, "SELECT IS_USED_LOCK("+fmt.Sprintf(looking, strconv.FormatUint(p.id, 10))+") AS holder")
		if err != nil {
			return err
		}
		if len(rs) != 1 || rs[0]["holder"] != strconv.FormatUint(p.id, 10) {
			ids = append(ids, p.id)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 2*s.d.cfg.Query)
	defer cancel()
	if err := s.end(ctx, ids...); err != nil {
		return fmt.Errorf("end the predecessor's connections: %w", err)
	}
	return nil
}
