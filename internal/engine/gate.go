package engine

import (
	"context"
	"fmt"

	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/strategy"
)

// gate asks whether the step may begin. It guards beginnings alone: once an act may have begun, what is half done has to come to
// an end, forward or back, whatever else is wrong with the cluster. So neither a step with an intent, nor an undo, nor a rollback is asked for.
func (r *run) gate(ctx context.Context, i int, h half) (note, bool, verdict, error) {
	rec := r.a.Steps[i]
	begun := rec.Phase != Pending && !rec.Unbegun
	if h.act.Do == nil { // it changes nothing: that it is looked at again begins nothing new
		begun = rec.Phase != Pending && !rec.Held
	}
	if r.o.Gate == nil || begun || h.undo || r.a.Plan.Direction == strategy.Back {
		return note{}, false, 0, nil
	}
	gctx, done := r.lease.guard(ctx, r.o.LookTimeout)
	a := r.call(ctx, i, h).Assignment
	cs, err := protect(func() (check.Results, error) { return r.o.Gate(gctx, a, i), nil })
	done()
	if lost := r.lost(err); lost != nil {
		return note{}, false, 0, lost
	}
	if err != nil { // it panicked: nothing is known
		r.logPanic(err)
		return note{Result: Result{Message: "unknown, so it holds: " + oneLine(err)}, held: true}, false, 0, nil
	}
	if len(cs.Bad()) == 0 {
		return note{}, false, 0, nil
	}
	return note{Result: Result{Message: fmt.Sprintf("held before it begins: %s", summary(cs)), Checks: cs}, held: true}, false, 0, nil
}
