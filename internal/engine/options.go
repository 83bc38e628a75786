package engine

import (
	"context"
	"log/slog"
	"time"

	"github.com/windlass-db/windlass/internal/check"
)

// Options are what Run needs beside the action. The zero value is good for production.
type Options struct {
	Clock    Clock        // nil: SystemClock
	Log      *slog.Logger // nil: nothing is logged
	LeasedAt time.Time    // on Clock, from before the request that gave the lease; zero: when Run begins

	// A wait lasts a quarter of the time that the step has been waiting, within these bounds, unless the handler
	// says how long. Zero: half a second and 30 seconds.
	RetryMin, RetryMax time.Duration
	// KeepUnder is the longest wait that is waited out under the lease; for a longer one the lease is given back.
	// Zero: half the lease.
	KeepUnder time.Duration
	// LookTimeout bounds one observation. Zero: two minutes.
	LookTimeout time.Duration

	// OnLease is called under the lease before the first step, and again after each wait: it may put right what a restart
	// has left, such as a primary that booted read-only. Its error is logged, for the steps judge the world by themselves; ErrFenced ends
	// the run. Nil: nothing.
	OnLease func(ctx context.Context, a Assignment) error

	// Gate is asked before a step of the way forward begins: checks that do not pass hold it there, with what they saw. It only looks.
	// A step that has begun is never asked for again, and neither is any way back: what is half done goes on or goes back. Nil: every step begins.
	Gate func(ctx context.Context, a Assignment, step int) check.Results

	// At is called at every edge. Tests inject faults there. Nil: nothing.
	At func(Edge)
}

// defaultDeadline bounds the wait of a step whose plan gives it no deadline.
const defaultDeadline = 10 * time.Minute

// heldDeadline bounds the wait at the gate: what it waits for is often a person, who has a night to sleep.
const heldDeadline = 12 * time.Hour

func (o Options) filled(ttl time.Duration) Options {
	if o.Clock == nil {
		o.Clock = SystemClock{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.LeasedAt.IsZero() {
		o.LeasedAt = o.Clock.Now()
	}
	if o.RetryMin <= 0 {
		o.RetryMin = 500 * time.Millisecond
	}
	if o.RetryMax <= 0 {
		o.RetryMax = 30 * time.Second
	}
	if o.KeepUnder <= 0 {
		o.KeepUnder = ttl / 2
	}
	if o.LookTimeout <= 0 {
		o.LookTimeout = 2 * time.Minute
	}
	if o.At == nil {
		o.At = func(Edge) {}
	}
	return o
}
