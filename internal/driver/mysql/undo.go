package mysql

import (
	"context"
	"errors"
	"fmt"

	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/gateway/adminapi"
)

// undo makes the old primary writable again after a failure before the commit, with a context of its own: the one that
// the switch ran under may be what failed. It returns the cause, with what the undo came to.
func (r *run) undo(ctx context.Context, cause error) error {
	if errors.Is(cause, engine.ErrFenced) {
		return cause // somebody with a higher term has the cluster: whatever is to be undone is theirs
	}
	if r.old == nil {
		return cause
	}
	r.wary = true
	_ = r.joined(true) // what it found no longer matters
	r.log.Warn("the switch is called off", "err", cause)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.grace())
	defer cancel()
	var failed error
	for _, s := range back {
		if err := s.do(r, ctx); err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", s.name, err))
			if s.name == "undo-elect" && errors.Is(err, ErrUnsettled) || s.name == "undo-open" {
				break // the elect may be writable, or the old one is not: nothing that follows would be right
			}
		}
		r.req.Point("after-" + s.name)
	}
	if r.promoted {
		return fmt.Errorf("the promotion of %s has happened; run the switch again to complete it: %w", r.elect.describe(), cause)
	}
	if failed != nil {
		r.log.Error("the undo is not complete", "err", failed)
		return fmt.Errorf("%w; the undo is not complete: %w", cause, failed)
	}
	return fmt.Errorf("%w (%s is writable, nothing has changed)", cause, r.old.describe())
}

// undoElect makes sure that the elect is read-only, and takes back what it knows of a promotion. Before the demotion was sent
// there is nothing of it. It has to come first: with the elect possibly writable the old one stays as it is.
func (r *run) undoElect(ctx context.Context) error {
	if r.elect == nil || !r.demoting && !r.stopped {
		return nil
	}
	s, err := r.to(ctx, r.elect.place)
	if err != nil {
		if r.promoting {
			return fmt.Errorf("%w: whether %s is writable: %w", ErrUnsettled, r.elect.place, err)
		}
		return nil // it was never told to be writable; the next run finds it as it is
	}
	ro, err := s.readOnly(ctx)
	switch {
	case err != nil && r.promoting:
		return fmt.Errorf("%w: whether %s is writable: %w", ErrUnsettled, r.elect.place, err)
	case err != nil:
		return nil
	case !ro:
		r.promoted = true
		return fmt.Errorf("%w: %s is writable", ErrUnsettled, r.elect.place)
	}
	if !r.stopped && r.det.Position == "" {
		return nil // no promotion was noted
	}
	return s.note(ctx, r.req.Term, r.elect.uuid, isReplica, r.req.ID, detail{})
}

// undoOpen makes the old primary writable, and sees it so.
func (r *run) undoOpen(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.b.undo+r.d.cfg.Dial)
	defer cancel()
	s, err := r.to(ctx, r.old.place)
	if err != nil {
		return err
	}
	if ro, err := s.readOnly(ctx); err != nil || !ro && !r.demoting {
		return err
	}
	return s.open(ctx, r.req.Term)
}

// undoGateways ends the hold: traffic goes on where it was.
func (r *run) undoGateways(ctx context.Context) error {
	_, err := r.cancelGates(ctx)
	return err
}

func (r *run) cancelGates(ctx context.Context) ([]adminapi.SwitchStatus, error) {
	return each(ctx, r.gs, func(ctx context.Context, g gate) (adminapi.SwitchStatus, error) {
		ctx, cancel := context.WithTimeout(ctx, r.d.cfg.Query)
		defer cancel()
		return g.Cancel(ctx, adminapi.CancelRequest{Switch: r.req.ID, Term: r.req.Term})
	})
}

// undoRoles gives the old primary back what it did beside: its events, its note.
func (r *run) undoRoles(ctx context.Context) error {
	if r.det.From == "" {
		return nil
	}
	s, err := r.to(ctx, r.old.place)
	if err != nil {
		return err
	}
	return r.restoreOld(ctx, s)
}

// restoreOld restarts the scheduler of a primary that was to be demoted, and notes that it is the primary.
func (r *run) restoreOld(ctx context.Context, s *session) error {
	if r.det.Scheduler == "ON" {
		if err := s.act(ctx, r.req.Term, "start the event scheduler", "SET GLOBAL event_scheduler=ON"); err != nil {
			return err
		}
	}
	r.det.Undone = true
	return s.note(ctx, r.req.Term, r.old.uuid, isPrimary, r.req.ID, r.det)
}

// undoReplicate makes the elect replicate again.
func (r *run) undoReplicate(ctx context.Context) error {
	if !r.stopped {
		return nil
	}
	s, err := r.to(ctx, r.elect.place)
	if err != nil {
		return err
	}
	return s.attach(ctx, r.old, r.req.Term)
}
