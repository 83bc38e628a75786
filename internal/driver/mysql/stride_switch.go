package mysql

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// stopScheduler: an event whose definer may write on a read-only server would write on (trap 5).
func (r *run) stopScheduler(ctx context.Context) error {
	if r.det.Scheduler != "ON" {
		return nil
	}
	s, err := r.to(ctx, r.old.place)
	if err != nil {
		return err
	}
	r.demoting = true // from here on there is something to undo
	if err := s.act(ctx, r.req.Term, "stop the event scheduler", "SET GLOBAL event_scheduler=OFF"); err != nil {
		return err
	}
	now, err := s.variables(ctx, "event_scheduler")
	if err == nil && now["event_scheduler"] == "ON" {
		err = fmt.Errorf("%s: the event scheduler still runs", s.place)
	}
	return err
}

// demote makes the old primary read-only: persisted, set, seen (trap 2). The statement waits for those that run, for
// lock_wait_timeout; when its answer does not come its connection is killed and seen gone before anything is undone (trap 3).
func (r *run) demote(ctx context.Context) error {
	s, err := r.to(ctx, r.old.place)
	if err != nil {
		return err
	}
	r.demoting, r.demotedAt = true, time.Now()
	if stmt := s.fl.persistDemotion(); stmt != "" {
		if err := s.act(ctx, r.req.Term, "persist that it is read-only", stmt); err != nil {
			return err
		}
	}
	r.req.Point("demote-persisted")
	if err := s.actWithin(ctx, limits{answer: r.b.demote + lateAnswer, settle: r.b.settle}, r.req.Term, "demote", s.fl.demote(), false); err != nil {
		return err
	}
	r.req.Point("demote-set")
	ro, err := s.readOnly(ctx)
	if err == nil && !ro {
		err = fmt.Errorf("%s is still writable after %s", s.place, s.fl.demote())
	}
	return err
}

// leftovers ends connections to the demoted server that nobody knows: the preflight found none, so these came since. A
// gateway's readers are left to finish there (trap 15). It is done while the elect catches up: promote joins it.
func (r *run) leftovers(ctx context.Context) error {
	s, err := r.second(ctx, r.old.place)
	if err != nil {
		return err
	}
	r.beside(ctx, r.b.undo, func(ctx context.Context) error {
		strangers, err := r.d.clients(ctx, s, r.gs)
		if err != nil {
			return err
		}
		var ids []uint64
		for _, p := range strangers {
			r.log.Warn("ending a connection that is nobody's we know", "process", p.String(), "user", p.user)
			ids = append(ids, p.id)
		}
		return s.end(ctx, ids...)
	})
	return nil
}

// readPosition reads where the demoted server stands.
func (r *run) readPosition(ctx context.Context) error {
	s, err := r.to(ctx, r.old.place)
	if err != nil {
		return err
	}
	r.det.Position, r.det.State, err = s.fl.stand(ctx, s)
	return err
}

// waitForElect waits until the elect stands exactly where the demoted server does, for as long as the hold leaves time for the undo,
// and sees that the demoted server has not moved.
func (r *run) waitForElect(ctx context.Context) error {
	se, err := r.to(ctx, r.elect.place)
	if err != nil {
		return err
	}
	limit := max(time.Until(r.holdEnds)-r.b.undo, 0)
	there, err := se.fl.wait(ctx, se, r.det.Position, limit)
	if err != nil {
		return err
	}
	if !there {
		return fmt.Errorf("%w: the elect %s did not reach %s within %v", ErrNotReady, r.elect.place, r.det.Position, limit.Round(time.Millisecond))
	}
	so, err := r.to(ctx, r.old.place)
	if err != nil {
		return err
	}
	ro, err := so.readOnly(ctx)
	if err != nil {
		return err
	}
	position, state, err := so.fl.stand(ctx, so)
	switch {
	case err != nil:
		return err
	case !ro:
		return fmt.Errorf("%w: %s became writable again", ErrContested, r.old.place)
	case position != r.det.Position || state != r.det.State:
		return fmt.Errorf("%w: the demoted %s moved from %s to %s: somebody writes on it in spite of read_only", ErrNotReady, r.old.place, r.det.Position, position)
	}
	return nil
}

// notePromotion writes down on the elect that it has everything. From here on it may be the primary, whoever dies.
func (r *run) notePromotion(ctx context.Context) error {
	s, err := r.to(ctx, r.elect.place)
	if err != nil {
		return err
	}
	return s.note(ctx, r.req.Term, r.elect.uuid, isPromoting, r.req.ID, r.det)
}

// stopElect stops replication on the elect, and gives it the primary's part in semi-synchronous replication before
// anybody writes there (trap 16): its first writes wait for the first replica that is repointed.
func (r *run) stopElect(ctx context.Context) error {
	s, err := r.to(ctx, r.elect.place)
	if err != nil {
		return err
	}
	r.stopped = true
	if len(r.elect.channels) > 0 {
		if err := s.act(ctx, r.req.Term, "stop replication", s.fl.stop()); err != nil {
			return err
		}
	}
	name := s.fl.semisync().source
	if value, has := r.elect.vars[name]; r.det.Semisync && has && value != "ON" {
		return s.act(ctx, r.req.Term, "wait for acknowledgements", "SET GLOBAL "+name+"=1")
	}
	return nil
}

// promote makes the elect writable: set, seen, persisted. A lost answer is settled by reading the role.
func (r *run) promote(ctx context.Context) error {
	s, err := r.to(ctx, r.elect.place)
	if err != nil {
		return err
	}
	if err := r.joined(false); err != nil {
		return fmt.Errorf("leftovers: %w", err)
	}
	r.promoting = true
	err = s.act(ctx, r.req.Term, "promote", s.fl.promote())
	if err != nil && answered(err) {
		return err
	}
	ctx, stop := r.onward(ctx)
	defer stop()
	if err != nil {
		var lost error
		if s, lost = r.to(ctx, r.elect.place); lost != nil {
			return fmt.Errorf("%w: %w: %w", ErrUnsettled, err, lost)
		}
	}
	r.req.Point("promote-set")
	ro, rerr := s.readOnly(ctx)
	switch {
	case rerr != nil:
		return fmt.Errorf("%w: %w", ErrUnsettled, errors.Join(err, rerr))
	case ro && err != nil:
		return err
	case ro:
		return fmt.Errorf("%s is still read-only after %s", s.place, s.fl.promote())
	}
	r.promoted = true
	if len(r.gs) == 0 && !r.demotedAt.IsZero() {
		r.holdMS = float64(time.Since(r.demotedAt).Microseconds()) / 1000
	}
	for _, stmt := range s.fl.persistPromotion() {
		if err := s.act(ctx, r.req.Term, "persist that it is writable", stmt); err != nil {
			return err
		}
	}
	return nil
}
