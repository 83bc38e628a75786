package datacheck

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/windlass-db/windlass/internal/datacheck/node"
	"github.com/windlass-db/windlass/internal/fleet"
)

// connect finds the servers to compare, after starting every applier that an earlier run was about to stop.
func (r *run) connect(ctx context.Context, c fleet.Cluster, fromCell, toCell string) error {
	from, ok := c.Cell(fromCell)
	if !ok {
		return fmt.Errorf("cluster %s has no cell %s", c.Ref(), fromCell)
	}
	to, ok := c.Cell(toCell)
	if !ok {
		return fmt.Errorf("cluster %s has no cell %s", c.Ref(), toCell)
	}
	if len(r.status.Stopped) > 0 {
		if err := r.restart(ctx, append(slices.Clone(from.Nodes), to.Nodes...)); err != nil {
			return err
		}
	}
	olds, oldPrimary, err := r.look(ctx, from)
	if err != nil {
		return err
	}
	news, newPrimary, err := r.look(ctx, to)
	if err != nil {
		closeAll(olds, oldPrimary)
		return err
	}
	defer func() {
		// What was not chosen is closed.
		for _, s := range append(append(olds, news...), oldPrimary, newPrimary) {
			if s != nil && s != r.ref && !slices.Contains(r.subs, s) {
				s.ctl.Close()
			}
		}
	}()
	switch {
	case oldPrimary != nil && newPrimary != nil:
		return fmt.Errorf("both %s and %s are writable: nothing is compared until one of them is not", oldPrimary.name, newPrimary.name)
	case len(olds) > 0 && len(news) > 0:
		r.ref, r.subs, r.old = olds[0], news, true
	case oldPrimary != nil && len(news) > 0: // the old cell has its primary alone
		r.ref, r.subs, r.old = oldPrimary, news, true
	case newPrimary != nil && len(olds) > 0: // after a switch, the new cell has its primary alone
		r.ref, r.subs, r.old = newPrimary, olds, false
	default:
		return fmt.Errorf("cells %s and %s of cluster %s have no two servers to compare", fromCell, toCell, c.Ref())
	}
	for _, s := range r.sides() {
		var me string
		if err := s.ctl.One(ctx, "SELECT CURRENT_USER()", &me); err != nil {
			return fmt.Errorf("ask who we are on %s: %w", s.name, err)
		}
		r.me = append(r.me, me)
	}
	for _, s := range r.subs {
		if s.ctl.MariaDB != r.ref.ctl.MariaDB {
			return fmt.Errorf("%s is %s and %s is %s: they have no common position", r.ref.name, r.ref.ctl.Version, s.name, s.ctl.Version)
		}
	}
	return nil
}

func closeAll(ss []*side, more ...*side) {
	for _, s := range append(ss, more...) {
		if s != nil {
			s.ctl.Close()
		}
	}
}

// look opens every node of a cell and tells replicas from the primary. A node that can't be read, is read-only without
// a source, or whose replication does not run, is an error: the comparison would leave it out.
func (r *run) look(ctx context.Context, cell fleet.Cell) (replicas []*side, primary *side, err error) {
	defer func() {
		if err != nil {
			closeAll(replicas, primary)
		}
	}()
	for _, n := range cell.Nodes {
		c, err := node.Open(ctx, r.cfg.Access, n)
		if err != nil {
			return replicas, primary, err
		}
		s := &side{name: n.Name, ctl: c}
		replicas = append(replicas, s)
		readOnly, err := c.ReadOnly(ctx)
		if err != nil {
			return replicas, primary, err
		}
		if !readOnly {
			replicas = replicas[:len(replicas)-1]
			if primary != nil {
				c.Close()
				return replicas, primary, fmt.Errorf("both %s and %s are writable: nothing is compared until one of them is not", primary.name, n.Name)
			}
			primary = s
			continue
		}
		if err := c.Running(ctx); err != nil {
			return replicas, primary, err
		}
		s.replica = true
	}
	return replicas, primary, nil
}

// restart starts the appliers that the status names.
func (r *run) restart(ctx context.Context, nodes []fleet.Node) error {
	if err := r.stopped(ctx, r.status, nodes, resume); err != nil {
		return fmt.Errorf("start the replication that an earlier run may have stopped: %w", err)
	}
	r.status.Stopped = nil
	return nil
}

// end leaves every applier running and closes all connections. Our own context may be over: it has one of its own.
func (r *run) end(ctx context.Context) error {
	fresh, cancel := context.WithTimeout(context.WithoutCancel(ctx), node.Grace+5*time.Second)
	defer cancel()
	r.closeSnapshots()
	var errs []error
	if r.ref == nil {
		return nil
	}
	for _, s := range r.sides() {
		if slices.Contains(r.status.Stopped, s.name) {
			if err := r.restartSide(fresh, s); err != nil {
				errs = append(errs, err)
			}
		}
		s.ctl.Close()
	}
	err := errors.Join(errs...)
	if err == nil && len(r.status.Stopped) > 0 {
		// From here on somebody else may stop them. A status that can't be saved any more names them still: that starts what runs.
		r.status.Stopped = nil
		if serr := r.tell(fresh, true, "replication goes on"); serr != nil {
			r.log.Warn("that replication goes on could not be noted", "err", serr)
		}
	}
	return err
}

// restartSide uses a new connection: the old one may be what failed.
func (r *run) restartSide(ctx context.Context, s *side) error {
	c, err := s.ctl.Again(ctx)
	if err != nil {
		return fmt.Errorf("start the replication that we stopped: %w", err)
	}
	defer c.Close()
	return c.Resume(ctx)
}

// resume sees that an applier runs without an end.
func resume(ctx context.Context, c *node.Conn) error { return c.Resume(ctx) }
