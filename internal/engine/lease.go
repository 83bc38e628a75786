package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// ErrLeaseLost is returned when the lease could not be prolonged in time: the server was away for too long. Somebody
// else may have the action by now, so the holder stops and writes nothing more.
var ErrLeaseLost = errors.New("the lease could not be prolonged in time")

var (
	errAborted   = errors.New("a person asked for the action to stop")
	errStepEnded = errors.New("the step has ended")
)

// lease keeps one lease alive, and cancels the act under way when it is lost.
//
// The holder's idea of the lease is shorter than the journal's on both ends: it counts from before the request that
// gave or prolonged it, and stops a fifth of the lease early, so that an act which is cancelled has that
// long to come to its end before anybody else may begin.
type lease struct {
	clock  Clock
	j      Journal
	log    *slog.Logger
	action int64
	term   int64
	ttl    time.Duration

	mu      sync.Mutex
	cutoff  time.Time // from here on the lease counts as lost
	lost    error
	aborted bool
	// abortStops says whether an abort cancels the act under way: it does while the action can turn round.
	abortStops bool
	cancel     context.CancelCauseFunc
	release    context.CancelCauseFunc // of the context that Held gives
}

func newLease(clock Clock, j Journal, a Assignment, from time.Time, abortStops bool, log *slog.Logger) *lease {
	l := &lease{clock: clock, j: j, log: log, action: a.ActionID, term: a.Term, ttl: a.LeaseTTL, aborted: a.Abort, abortStops: abortStops}
	l.cutoff = l.cutoffFrom(from)
	return l
}

// cutoffFrom is when a lease that was prolonged by a request begun at from stops to count.
func (l *lease) cutoffFrom(from time.Time) time.Time { return from.Add(l.ttl - l.ttl/5) }

// keep sends heartbeats until the context ends or the lease is lost. It runs beside the action.
func (l *lease) keep(ctx context.Context) {
	pause := l.ttl / 3
	for {
		if l.clock.Sleep(ctx, min(pause, l.left())) != nil {
			return
		}
		before := l.clock.Now()
		// One request that hangs must leave time for another.
		hctx, cancel := l.clock.WithTimeout(ctx, min(l.left(), l.ttl/3))
		abort, err := l.j.Heartbeat(hctx, l.action, l.term)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			l.prolong(before, abort)
			pause = l.ttl / 3
		case errors.Is(err, ErrFenced):
			l.lose(err)
			return
		case l.left() <= 0:
			l.lose(fmt.Errorf("%w: %w", ErrLeaseLost, err))
			return
		default:
			l.log.Warn("heartbeat failed, trying again", "err", err, "lease_left", l.left())
			pause = l.ttl / 20
		}
	}
}

func (l *lease) prolong(from time.Time, abort bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.cutoffFrom(from); c.After(l.cutoff) {
		l.cutoff = c
	}
	l.heard(abort)
}

// hear takes note of what an answer of the journal tells of an abort.
func (l *lease) hear(abort bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard(abort)
}

func (l *lease) heard(abort bool) {
	if abort && !l.aborted {
		l.aborted = true
		if l.abortStops && l.cancel != nil {
			l.cancel(errAborted)
		}
	}
}

// lose ends the lease for this holder, and cancels the act under way. The first cause stays.
func (l *lease) lose(cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost == nil {
		l.lost = cause
	}
	if l.cancel != nil {
		l.cancel(l.lost)
		l.release(l.lost)
	}
}

// err tells why the lease is lost, or nil while it is good. It looks at the clock itself: a process that was stopped and
// wakes must not wait for its heartbeat to notice (trap 1).
func (l *lease) err() error {
	if l.left() <= 0 {
		l.lose(ErrLeaseLost)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}

// left is how long the lease still counts.
func (l *lease) left() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cutoff.Sub(l.clock.Now())
}

func (l *lease) abort() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.aborted
}

// stops tells whether a person's abort stops what runs.
func (l *lease) stops() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.aborted && l.abortStops
}

// stopOnAbort says whether an abort cancels what runs; it no longer does once the action has turned round.
func (l *lease) stopOnAbort(yes bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.abortStops = yes
}

// guard returns a context for one act, sleep or look: it ends when the lease is lost, on an abort that may
// interrupt, and after the limit. There is one at a time.
func (l *lease) guard(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	held, release := context.WithCancelCause(context.WithoutCancel(ctx))
	ctx, cancel := context.WithCancelCause(WithHeld(ctx, held))
	l.mu.Lock()
	l.cancel, l.release = cancel, release
	switch {
	case l.lost != nil:
		cancel(l.lost)
		release(l.lost)
	case l.aborted && l.abortStops:
		cancel(errAborted)
	}
	l.mu.Unlock()
	ctx, stop := l.clock.WithTimeout(ctx, limit)
	return ctx, func() {
		stop()
		l.mu.Lock()
		l.cancel, l.release = nil, nil
		l.mu.Unlock()
		cancel(errStepEnded)
		release(errStepEnded)
	}
}

type heldKey struct{}

// Held is the context of what must be brought to its end: of an act that is past the point where it can be called off. It goes on when the
// act's own context ends by an abort, a deadline or a stop in good order, and ends only with the lease, or with the act: whoever
// lost the lease stops at once. It has no deadline; the caller sets one. A context that the engine did not make gives one that does not end.
func Held(ctx context.Context) context.Context {
	if held, ok := ctx.Value(heldKey{}).(context.Context); ok {
		return held
	}
	return context.WithoutCancel(ctx)
}

// WithHeld makes a context for which Held gives that one, as the engine does for every act and look.
func WithHeld(ctx, held context.Context) context.Context {
	return context.WithValue(ctx, heldKey{}, held)
}
