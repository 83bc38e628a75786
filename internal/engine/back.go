package engine

import (
	"context"
	"fmt"

	"github.com/windlass-db/windlass/internal/strategy"
)

// turn persists that the action goes back, and why.
func (r *run) turn(ctx context.Context, i int, v verdict) error {
	rec := r.a.Steps[i]
	var reason string
	switch v {
	case aborted:
		reason = "a person asked for it to stop"
	case overdue:
		reason = fmt.Sprintf("%s %s", rec.Kind, rec.Message)
	default:
		reason = fmt.Sprintf("%s was refused: %s", rec.Kind, rec.Message)
	}
	e := r.edge(-1, half{}, WriteTurn, "")
	if err := r.write(ctx, e, func(ctx context.Context) error { return r.j.Turn(ctx, r.a.ActionID, r.a.Term, reason) }); err != nil {
		return err
	}
	r.a.Turned, r.a.Reason = true, reason
	r.log.Warn("the action turns round", "step", rec.Kind, "reason", reason)
	return nil
}

// back undoes in reverse order every step that may have begun, or releases what it holds. A step that was never begun stays pending.
func (r *run) back(ctx context.Context) (Ending, error) {
	r.lease.stopOnAbort(false)
	for i := len(r.a.Steps) - 1; i >= 0; i-- {
		if p := r.a.Steps[i].Phase; p == Pending || p == Undone {
			continue
		}
		h := undoHalf(r.hs.of(r.a.Plan.Steps[i]).turnedRound(r.a.Steps[i]))
		v, end, err := r.step(ctx, i, h)
		switch {
		case err != nil || v == released:
			return end, err
		case v != ended:
			return r.stuck(ctx, i, h, v)
		}
	}
	if r.lease.abort() {
		return r.finish(ctx, Aborted, r.a.Reason)
	}
	return r.finish(ctx, WentBack, r.a.Reason)
}

// stuck ends an action that can go neither on nor back: a person is needed. An action without a way back that was asked
// to stop, before anything but looks had begun, is simply ended.
func (r *run) stuck(ctx context.Context, i int, h half, v verdict) (Ending, error) {
	rec := r.a.Steps[i]
	if v == aborted {
		if !r.begunAny() {
			return r.finish(ctx, Aborted, "a person asked for it to stop, and nothing had begun")
		}
		rec.Message = "a person asked for it to stop, and there is no way back from here; what is done stays done"
	}
	n := note{Result: Result{Message: rec.Message, Checks: rec.Checks, Progress: rec.Progress}}
	if err := r.record(ctx, i, h, Failed, n); err != nil {
		return Ending{}, err
	}
	return r.human(ctx, i)
}

// human ends an action whose step the journal says has failed. A holder that was killed between the two writes
// leaves this to the next one.
func (r *run) human(ctx context.Context, i int) (Ending, error) {
	rec := r.a.Steps[i]
	message := fmt.Sprintf("%s can't go on: %s", rec.Kind, rec.Message)
	if r.a.Turned {
		message = fmt.Sprintf("the undo of %s can't go on: %s (the action went back because %s)", rec.Kind, rec.Message, r.a.Reason)
	}
	r.log.Error("a person is needed", "step", rec.Kind, "reason", message)
	return r.finish(ctx, NeedsHuman, message)
}

// UndoneInPart tells whether an action on the way back, which ended because a person is needed, has undone something: its
// stage is not complete any more, and a cluster that goes on has to go through it again.
func UndoneInPart(p strategy.Plan, steps []StepRecord) bool {
	if p.Direction != strategy.Back {
		return false
	}
	for _, rec := range steps {
		if rec.Phase == Done && p.Steps[rec.Index].Undoes != "" {
			return true
		}
	}
	return false
}

// begunAny tells whether any step that changes something may have begun.
func (r *run) begunAny() bool {
	for i, rec := range r.a.Steps {
		if rec.Phase != Pending && !rec.Unbegun && r.planHalf(i).act.Do != nil {
			return true
		}
	}
	return false
}
