package run

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/replay/tally"
)

// restart kills the new server, and starts it again.
func restart(t *testing.T, w *world) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	spec, err := w.new.Spec()
	if err == nil {
		err = spec.Kill(ctx)
	}
	if err == nil {
		err = w.new.Start(ctx)
	}
	if err != nil {
		t.Error(err)
	}
}

// away: at a pace, what was to be sent while the server was away is counted, and is no difference.
func away(t *testing.T, w *world) {
	r := cadence(t, w, 4, 2*time.Second)
	var once sync.Once
	var done sync.WaitGroup
	got := w.replay(t, r, func(c *Config) {
		c.Speed = 1
		c.Progress = func(p Progress) {
			if p.Replayed > 10 {
				once.Do(func() { done.Go(func() { restart(t, w) }) })
			}
		}
	})
	done.Wait()
	down, lost := got.Skipped[tally.SkipTargetDown], got.Unreplayable[tally.UnreplayableTargetLost]
	if down+lost == 0 || got.Replayed == 0 || got.Captured != r.Counted {
		t.Errorf("of %d, %d replayed, %v %v", r.Counted, got.Replayed, got.Skipped, got.Unreplayable)
	}
	noFindings(t, got)
}

// awayFlatOut: where nothing is done by the clock, everything waits until the server is back.
func awayFlatOut(t *testing.T, w *world) {
	r := w.record(t)
	for range 5 {
		s := r.Session("app")
		for i := range 120 {
			s.Query(fmt.Sprintf("SELECT name, %d FROM t WHERE id = %d", i, i))
		}
		s.Close()
	}
	var done sync.WaitGroup
	got := w.replay(t, r, func(c *Config) {
		c.started = func() { done.Go(func() { restart(t, w) }) }
	})
	done.Wait()
	if got.Replayed != r.Counted {
		t.Errorf("%d of %d were replayed: %v %v", got.Replayed, r.Counted, got.Skipped, got.Unreplayable)
	}
	noFindings(t, got)
}
