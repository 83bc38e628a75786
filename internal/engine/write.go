package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/check"
)

// sameRowAgain is how long an unchanged waiting row is not written again: a wait of a day is no thousand rows.
const sameRowAgain = 30 * time.Second

// record persists a step's row, and keeps the assignment as the journal has it.
func (r *run) record(ctx context.Context, i int, h half, p Phase, n note) error {
	rec, same := r.row(i, h, p, n)
	if same {
		return nil
	}
	if err := r.writeRow(ctx, r.edge(i, h, Write(p), ""), rec); err != nil {
		return err
	}
	r.log.Info("step", "step", rec.Kind, "phase", rec.Phase, "message", rec.Message)
	return nil
}

// row makes the next row of a step, and tells whether it says nothing new.
func (r *run) row(i int, h half, p Phase, n note) (StepRecord, bool) {
	was, now := r.a.Steps[i], r.o.Clock.Now()
	rec := was
	if r.turning(i, h) { // from here on the row tells of the undo
		rec.StartedAt, rec.Progress, rec.Checks = time.Time{}, 0, nil
	}
	rec.Unbegun = p == Waiting && !h.undo && (was.Phase == Pending || was.Unbegun)
	rec.Held = p == Waiting && n.held
	if rec.StartedAt.IsZero() || was.Held && was.Unbegun && !rec.Held { // its own time begins when the gate lets it
		rec.StartedAt = now
	}
	rec.FinishedAt = time.Time{}
	if p == h.ended || p == Failed {
		rec.FinishedAt = now
	}
	rec.Phase, rec.Message, rec.Outputs = p, n.Message, n.Output
	if n.Status != nil {
		rec.Status = n.Status
	}
	if n.Checks != nil {
		rec.Checks = n.Checks
	}
	if n.Progress > 0 {
		rec.Progress = n.Progress
	}
	same := was.Phase == p && p == Waiting && was.Held == rec.Held && was.Message == rec.Message && n.Output == nil &&
		bytes.Equal(was.Status, rec.Status) && now.Sub(r.wrote) < sameRowAgain
	return rec, same
}

// save persists a handler's status in the middle of its act.
func (r *run) save(ctx context.Context, i int, h half, status any, progress float64, message string) error {
	b, err := json.Marshal(status)
	if err != nil {
		return fmt.Errorf("save the status of %s: %w", r.a.Plan.Steps[i].Kind, err)
	}
	r.saving.Lock()
	defer r.saving.Unlock()
	rec, _ := r.row(i, h, h.begun, note{Result: Result{Status: b, Progress: progress, Message: message}})
	if err := r.writeRow(ctx, r.edge(i, h, WriteSave, ""), rec); err != nil {
		return err
	}
	if r.lease.stops() {
		return errAborted
	}
	return nil
}

func (r *run) writeRow(ctx context.Context, e Edge, rec StepRecord) error {
	err := r.write(ctx, e, func(ctx context.Context) error {
		abort, err := r.j.Record(ctx, r.a.ActionID, r.a.Term, rec)
		if err == nil {
			r.lease.hear(abort)
		}
		return err
	})
	if err != nil {
		return err
	}
	r.a.Steps[rec.Index] = rec
	r.a.Cluster = rec.Outputs.Apply(r.a.Cluster)
	r.wrote = r.o.Clock.Now()
	return nil
}

// finish ends the action.
func (r *run) finish(ctx context.Context, outcome Outcome, message string) (Ending, error) {
	e := r.edge(-1, half{undo: r.a.Turned}, WriteFinish, "")
	err := r.write(ctx, e, func(ctx context.Context) error {
		return r.j.Finish(ctx, r.a.ActionID, r.a.Term, outcome, message)
	})
	if err != nil {
		return Ending{}, err
	}
	r.log.Info("the action has ended", "outcome", outcome, "message", message)
	return Ending{Outcome: outcome}, nil
}

// release gives the lease back.
func (r *run) release(ctx context.Context, i int, h half, d time.Duration) (Ending, error) {
	err := r.write(ctx, r.edge(i, h, WriteRelease, ""), func(ctx context.Context) error {
		return r.j.Release(ctx, r.a.ActionID, r.a.Term, d)
	})
	if err != nil {
		return Ending{}, err
	}
	return Ending{Waits: d}, nil
}

// write makes one write to the journal, again and again while the lease is good: a server that is away for some
// seconds interrupts nothing. It writes to the end though the context is done, but never under a lost lease.
func (r *run) write(ctx context.Context, e Edge, op func(context.Context) error) error {
	ctx = context.WithoutCancel(ctx)
	r.o.At(e)
	for {
		if err := r.lease.err(); err != nil {
			return r.lostLease(err)
		}
		wctx, cancel := r.o.Clock.WithTimeout(ctx, r.lease.left())
		err := op(wctx)
		cancel()
		if err == nil {
			e.After = true
			r.o.At(e)
			return nil
		}
		if errors.Is(err, ErrFenced) {
			r.lease.lose(err)
			return r.lostLease(err)
		}
		r.log.Warn("a write to the journal failed, trying again", "write", e.String(), "err", err)
		_ = r.o.Clock.Sleep(ctx, min(r.o.RetryMin, max(r.lease.left(), 0)))
	}
}

// lost tells whether this holder may go on after a look or an act. A target that has seen a higher term says the same as
// the journal would.
func (r *run) lost(err error) error {
	if errors.Is(err, ErrFenced) {
		r.lease.lose(err)
	}
	if lost := r.lease.err(); lost != nil {
		return r.lostLease(lost)
	}
	return nil
}

func (r *run) lostLease(err error) error {
	err = fmt.Errorf("action %d on %s: %w", r.a.ActionID, r.a.Cluster.Ref(), err)
	r.log.Warn("the lease is lost; nothing more is written", "err", err)
	return err
}

func (r *run) edge(i int, h half, w Write, point string) Edge {
	e := Edge{Stage: r.a.Plan.Stage, Direction: r.a.Plan.Direction, Undo: h.undo, Step: i, Write: w, Point: point}
	if i >= 0 {
		e.Kind = r.a.Plan.Steps[i].Kind
	}
	return e
}

// PanicError is a panic in a handler, made an error: it is tried again like any other.
type PanicError struct {
	Value any
	Stack []byte
}

// Error tells the panic's value; the stack is for the log.
func (p *PanicError) Error() string { return fmt.Sprintf("panic in a handler: %v", p.Value) }

func (r *run) logPanic(err error) {
	var p *PanicError
	if errors.As(err, &p) {
		r.log.Error("panic in a handler", "err", err, "stack", string(p.Stack))
	}
}

// protect makes a panic an error.
func protect[T any](f func() (T, error)) (v T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &PanicError{Value: p, Stack: debug.Stack()}
		}
	}()
	return f()
}

// oneLine is an error as a journal's message.
func oneLine(err error) string {
	return strings.Join(strings.Fields(err.Error()), " ")
}

// summary names the checks that hold.
func summary(rs check.Results) string {
	bad := rs.Bad()
	first := bad[0]
	s := fmt.Sprintf("%s (%s): %s", first.Name, first.Verdict, first.Detail)
	if first.Remedy != "" {
		s += "; " + first.Remedy
	}
	if more := len(bad) - 1; more > 0 {
		s += fmt.Sprintf(" (and %d more)", more)
	}
	return s
}
