package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/windlass-db/windlass/internal/strategy"
)

// Ending tells how Run left an action.
type Ending struct {
	Outcome Outcome       // how the action ended; empty if it did not end
	Waits   time.Duration // the lease was given back, to be leased again after this long
}

// Run does what can be done of one action under one lease, and returns when the action has ended, when the lease was
// given back because a step waits for long or the context ended, or when the lease is lost.
//
// The context's end is a request to stop in good order: the act under way is cancelled, what it came to is
// written, and the lease is given back. Errors: ErrFenced and ErrLeaseLost mean that somebody else may have the
// action and that nothing more was written; ErrUnknownStep that nothing was touched.
func Run(ctx context.Context, j Journal, hs Handlers, a Assignment, o Options) (Ending, error) {
	o = o.filled(a.LeaseTTL)
	r := &run{j: j, hs: hs, o: o, a: a, log: o.Log.With(
		"env", a.Cluster.Env, "cluster", a.Cluster.Name, "campaign", a.Campaign.Name,
		"stage", a.Plan.Stage, "action", a.ActionID, "term", a.Term)}
	if a.LeaseTTL <= 0 {
		return Ending{}, fmt.Errorf("action %d was leased for %v", a.ActionID, a.LeaseTTL)
	}
	r.lease = newLease(o.Clock, j, a, o.LeasedAt, turns(a.Plan) && !a.Turned, r.log)
	var (
		end Ending
		err error
	)
	o.Clock.Beside(context.WithoutCancel(ctx), r.lease.keep, func() { end, err = r.action(ctx) })
	return end, err
}

// run is one Run.
type run struct {
	j     Journal
	hs    Handlers
	o     Options
	a     Assignment // kept up to date with what was written
	lease *lease
	log   *slog.Logger

	wrote  time.Time  // when a row was written last
	saving sync.Mutex // a handler may save from a goroutine of its own
}

// verdict is what became of one step.
type verdict int

const (
	ended    verdict = iota // done or undone
	refused                 // no waiting will mend it
	overdue                 // it waited past its deadline
	aborted                 // a person asked for the action to stop
	released                // the lease was given back
)

// action runs the steps, forward and if need be back.
func (r *run) action(ctx context.Context) (Ending, error) {
	if err := r.check(); err != nil {
		// Nothing was touched: somebody who knows the step may have the action.
		end, rerr := r.release(ctx, -1, forwardHalf(Act{}), r.o.RetryMax)
		return end, errors.Join(err, rerr)
	}
	if i := slices.IndexFunc(r.a.Steps, func(rec StepRecord) bool { return rec.Phase == Failed }); i >= 0 {
		return r.human(ctx, i)
	}
	if err := r.onLease(ctx); err != nil {
		return Ending{}, err
	}
	if r.a.Turned {
		return r.back(ctx)
	}
	for i := range r.a.Plan.Steps {
		if r.a.Steps[i].Phase == Done {
			continue
		}
		h := r.planHalf(i)
		v, end, err := r.step(ctx, i, h)
		switch {
		case err != nil || v == released:
			return end, err
		case v == ended:
			continue
		case !turns(r.a.Plan):
			return r.stuck(ctx, i, h, v)
		}
		if err := r.turn(ctx, i, v); err != nil {
			return Ending{}, err
		}
		return r.back(ctx)
	}
	return r.finish(ctx, Completed, fmt.Sprintf("%s: all %d steps are done", r.a.Plan.Stage, len(r.a.Plan.Steps)))
}

func (r *run) onLease(ctx context.Context) error {
	if r.o.OnLease == nil {
		return nil
	}
	octx, done := r.lease.guard(ctx, r.o.LookTimeout)
	_, err := protect(func() (struct{}, error) { return struct{}{}, r.o.OnLease(octx, r.a) })
	done()
	if err != nil {
		r.log.Warn("the cluster could not be put right before the first step", "err", err)
		r.logPanic(err)
	}
	return r.lost(err)
}

// check brings the journal's rows and the plan together.
func (r *run) check() error {
	if err := r.hs.Knows(r.a.Plan); err != nil {
		return err
	}
	recs := make([]StepRecord, len(r.a.Plan.Steps))
	for i, s := range r.a.Plan.Steps {
		recs[i] = StepRecord{Index: i, Kind: s.Kind, Phase: Pending}
	}
	for _, rec := range r.a.Steps {
		if rec.Index < 0 || rec.Index >= len(recs) || rec.Kind != recs[rec.Index].Kind {
			return fmt.Errorf("action %d: the journal's row %d (%s) is not of its plan", r.a.ActionID, rec.Index, rec.Kind)
		}
		if rec.Phase == "" {
			rec.Phase = Pending
		}
		recs[rec.Index] = rec
	}
	r.a.Steps = recs
	return nil
}

// half is one way through a step: which act, and what its phases are called.
type half struct {
	act                   Act
	begun, waiting, ended Phase
	undo                  bool // the action has turned round
	mayAbort              bool
}

func forwardHalf(a Act) half {
	return half{act: a, begun: Intent, waiting: Waiting, ended: Done, mayAbort: true}
}

func undoHalf(a Act) half {
	return half{act: a, begun: Undoing, waiting: Undoing, ended: Undone, undo: true}
}

// planHalf is the way that the plan goes: on the way back it is the undo that makes the step.
func (r *run) planHalf(i int) half {
	h := r.hs.of(r.a.Plan.Steps[i])
	if r.a.Plan.Direction == strategy.Back {
		return forwardHalf(h.Back)
	}
	return forwardHalf(h.Forward)
}

// step takes one step as far as it goes: look, and unless its outcome is there write that an act may begin, act,
// look again, and write what was seen.
func (r *run) step(ctx context.Context, i int, h half) (verdict, Ending, error) {
	if h.act.Observe == nil {
		return ended, Ending{}, r.record(ctx, i, h, h.ended, note{Result: Result{Message: "nothing to undo", Progress: 1}})
	}
	for {
		if v, end, err, stop := r.interrupted(ctx, i, h); stop {
			return v, end, err
		}
		n, there, v, err := r.gate(ctx, i, h)
		if err == nil && !n.held {
			n, there, v, err = r.look(ctx, i, h)
		}
		switch {
		case err != nil:
			return 0, Ending{}, err
		case there:
			return ended, Ending{}, r.record(ctx, i, h, h.ended, n)
		case v == refused:
			return refused, Ending{}, r.record(ctx, i, h, h.waiting, n)
		}
		if left := r.deadlineLeft(i, h); left <= 0 {
			// Why the last try failed tells more than that the outcome is not there.
			if last := r.a.Steps[i].Message; n.act && last != "" && !r.turning(i, h) {
				n.Message = last
			}
			n.Message = fmt.Sprintf("waited longer than %v: %s", r.bound(i, h), n.Message)
			return overdue, Ending{}, r.record(ctx, i, h, h.waiting, n)
		}
		if n.act {
			n, there, v, err = r.act(ctx, i, h, n)
			switch {
			case err != nil:
				return 0, Ending{}, err
			case there:
				return ended, Ending{}, r.record(ctx, i, h, h.ended, n)
			case v == refused:
				return refused, Ending{}, r.record(ctx, i, h, h.waiting, n)
			case v == aborted:
				return aborted, Ending{}, nil
			}
			if v, end, err, stop := r.interrupted(ctx, i, h); stop {
				return v, end, err
			}
		}
		if end, err := r.wait(ctx, i, h, n); err != nil || end.Waits > 0 {
			return released, end, err
		}
		// What it waits for may be a primary that was restarted meanwhile.
		if err := r.onLease(ctx); err != nil {
			return 0, Ending{}, err
		}
	}
}

// interrupted looks whether the step may go on at all.
func (r *run) interrupted(ctx context.Context, i int, h half) (verdict, Ending, error, bool) {
	if err := r.lease.err(); err != nil {
		return 0, Ending{}, r.lostLease(err), true
	}
	if ctx.Err() != nil {
		end, err := r.release(ctx, i, h, 0)
		return released, end, errors.Join(ctx.Err(), err), true
	}
	if h.mayAbort && r.lease.abort() {
		return aborted, Ending{}, nil, true
	}
	return 0, Ending{}, nil, false
}

// note is what a look or an act came to, for the journal.
type note struct {
	Result
	act  bool // the act is to be tried
	held bool // the gate holds the step before it begins, or it waits for a person's word
}

// look observes. It answers there, or refused, or a note of what is missing or unknown.
func (r *run) look(ctx context.Context, i int, h half) (n note, there bool, v verdict, err error) {
	limit := r.o.LookTimeout
	octx, done := r.lease.guard(ctx, limit)
	obs, oerr := protect(func() (Observation, error) { return h.act.Observe(octx, r.call(ctx, i, h)) })
	done()
	if lost := r.lost(oerr); lost != nil {
		return note{}, false, 0, lost
	}
	n = note{Result: Result{Status: obs.Status, Message: obs.Message, Progress: obs.Progress, Checks: obs.Checks, Output: obs.Output, RetryAfter: obs.RetryAfter}}
	n.held = obs.Held && !obs.There
	var refusal *Refusal
	switch {
	case errors.As(oerr, &refusal):
		n.Message, n.Checks = oneLine(refusal), refusal.Checks
		return n, false, refused, nil
	case oerr != nil:
		n.Message = "unknown, so it holds: " + oneLine(oerr)
		r.logPanic(oerr)
		return n, false, 0, nil
	case obs.There:
		n.Progress = 1
		return n, true, 0, nil
	}
	n.act = h.act.Do != nil
	if n.Message == "" && len(obs.Checks.Bad()) > 0 {
		n.Message = summary(obs.Checks)
	}
	return n, false, 0, nil
}

// act writes the intent, acts, and looks.
func (r *run) act(ctx context.Context, i int, h half, before note) (n note, there bool, v verdict, err error) {
	begin := note{Result: Result{Message: r.doing(i, h), Checks: before.Checks, Status: before.Status}}
	if err := r.record(ctx, i, h, h.begun, begin); err != nil {
		return note{}, false, 0, err
	}
	if err := r.lease.err(); err != nil {
		return note{}, false, 0, r.lostLease(err)
	}
	if r.lease.stops() { // asked for before the intent was written: nothing begins
		return note{}, false, aborted, nil
	}
	actx, done := r.lease.guard(ctx, r.deadlineLeft(i, h))
	res, derr := protect(func() (Result, error) { return h.act.Do(actx, r.call(ctx, i, h)) })
	cause := context.Cause(actx)
	done()
	if lost := r.lost(derr); lost != nil {
		return note{}, false, 0, lost
	}
	n = note{Result: res}
	var refusal *Refusal
	switch {
	case errors.As(derr, &refusal):
		n.Message = oneLine(refusal)
		if refusal.Checks != nil {
			n.Checks = refusal.Checks
		}
		return n, false, refused, nil
	case derr != nil:
		n.Message = oneLine(derr)
		r.logPanic(derr)
		if cause != nil && !errors.Is(derr, cause) {
			n.Message += " (" + cause.Error() + ")"
		}
		return n, false, 0, nil
	case res.Wait:
		n.held = res.Held
		return n, false, 0, nil
	}
	if res.Status != nil { // the look is to see what the act left
		r.a.Steps[i].Status = res.Status
	}
	seen, there, v, err := r.look(ctx, i, h)
	if err != nil {
		return note{}, false, 0, err
	}
	return n.then(seen, there, v), there, v, nil
}

// then lays what was seen after an act over what the act said.
func (n note) then(seen note, there bool, v verdict) note {
	if seen.Status != nil {
		n.Status = seen.Status
	}
	if len(seen.Checks) > 0 {
		n.Checks = seen.Checks
	}
	n.Output = n.Output.merge(seen.Output)
	n.Progress = max(n.Progress, seen.Progress)
	n.RetryAfter = seen.RetryAfter
	switch {
	case there && n.Message == "":
		n.Message = seen.Message
	case v == refused:
		n.Message = seen.Message
	case !there && seen.Message == "":
		n.Message = "done, but its outcome is not seen yet"
	case !there:
		n.Message = "done, but its outcome is not seen yet: " + seen.Message
	}
	if !there {
		n.Output = nil // not facts yet
	}
	return n
}

// wait writes the reason, and waits it out under the lease if it is short; else it gives the lease back.
func (r *run) wait(ctx context.Context, i int, h half, n note) (Ending, error) {
	if n.Message == "" {
		n.Message = "not yet"
	}
	if err := r.record(ctx, i, h, h.waiting, n); err != nil {
		return Ending{}, err
	}
	d := n.RetryAfter
	if d <= 0 {
		d = min(max(r.o.Clock.Now().Sub(r.a.Steps[i].StartedAt)/4, r.o.RetryMin), r.o.RetryMax)
	}
	// The deadline is noticed when it passes, not at the next look after it.
	d = max(min(d, r.deadlineLeft(i, h)), time.Millisecond)
	if d >= r.o.KeepUnder {
		return r.release(ctx, i, h, d)
	}
	sctx, done := r.lease.guard(ctx, d+time.Hour)
	_ = r.o.Clock.Sleep(sctx, d) // why it ended early is looked at by who called
	done()
	return Ending{}, nil
}

func (r *run) deadline(i int) time.Duration {
	if d := r.a.Plan.Steps[i].Deadline; d > 0 {
		return d
	}
	return defaultDeadline
}

// bound is how long the half may wait as it stands: at the gate longer than for its own outcome, for a person may be needed.
func (r *run) bound(i int, h half) time.Duration {
	if r.a.Steps[i].Held && !r.turning(i, h) {
		return max(r.deadline(i), heldDeadline)
	}
	return r.deadline(i)
}

// deadlineLeft is how long the half may still wait; the whole of it before its first row is written.
func (r *run) deadlineLeft(i int, h half) time.Duration {
	rec := r.a.Steps[i]
	if rec.StartedAt.IsZero() || r.turning(i, h) {
		return r.deadline(i)
	}
	return rec.StartedAt.Add(r.bound(i, h)).Sub(r.o.Clock.Now())
}

// turning tells whether the row still tells of the way forward while the step is to be undone.
func (r *run) turning(i int, h half) bool {
	p := r.a.Steps[i].Phase
	return h.undo && p != Undoing && p != Undone && p != Failed
}

func (r *run) doing(i int, h half) string {
	s := r.a.Plan.Steps[i]
	switch {
	case (h.undo || r.a.Plan.Direction == strategy.Back) && s.Undoes != "":
		return s.Undoes
	case h.undo:
		return "let go of what it holds: it was to " + s.Does
	}
	return s.Does
}

// call is what the handler is given: the assignment as the journal has it by now.
func (r *run) call(ctx context.Context, i int, h half) *Call {
	a := r.a
	a.Steps = slices.Clone(r.a.Steps)
	return &Call{
		Assignment: a,
		Step:       r.a.Plan.Steps[i],
		Status:     r.a.Steps[i].Status,
		Log:        r.log.With("step", r.a.Plan.Steps[i].Kind),
		Now:        r.o.Clock.Now,
		Save: func(_ context.Context, status any, progress float64, message string) error {
			return r.save(ctx, i, h, status, progress, message)
		},
		Point: func(name string) {
			r.o.At(r.edge(i, h, "", name))
		},
	}
}
