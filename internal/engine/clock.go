package engine

import (
	"context"
	"sync"
	"time"
)

// Clock is time and concurrency as the engine uses them, so that a simulation can give its own. Times from Now are
// compared on the monotonic clock where they carry one: a wall clock that is set does not shorten or stretch a lease
// (trap 6).
type Clock interface {
	Now() time.Time
	// Sleep returns early, with the context's error, when the context ends.
	Sleep(ctx context.Context, d time.Duration) error
	// WithTimeout is context.WithTimeout on this clock.
	WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc)
	// Beside runs side while main runs. Side's context ends when main returns; Beside returns when both have.
	Beside(ctx context.Context, side func(context.Context), main func())
}

// SystemClock is the machine's clock.
type SystemClock struct{}

// Now is time.Now.
func (SystemClock) Now() time.Time { return time.Now() }

// Sleep waits for d or for the context's end.
func (SystemClock) Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// WithTimeout is context.WithTimeout.
func (SystemClock) WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, d)
}

// Beside runs side in a goroutine of its own.
func (SystemClock) Beside(ctx context.Context, side func(context.Context), main func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { side(ctx) })
	defer wg.Wait()
	defer cancel()
	main()
}
