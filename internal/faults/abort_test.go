package faults

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/strategy"
)

// aborts kills the supervisor in the middle of a switch, and a person aborts the campaign before the next one has come: the
// action turns round from whatever was left, and leaves nothing of the switch behind.
func aborts(tm *template) []job {
	var jobs []job
	for _, point := range []string{"after-scheduler", "demote-set", "after-undo-open"} {
		jobs = append(jobs, job{"abort at " + point, func(t *testing.T) {
			l := newLane(t, tm)
			ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
			defer cancel()
			c := testCase{engine.Edge{Stage: strategy.StageSwitchStorage, Direction: strategy.Forward, Step: 1, Kind: strategy.SwitchStorage, Point: point}, victimSupervisor}
			f := &fault{testCase: c, also: func() error { return l.client.Abort(ctx, campaignName, "the test says so") }}
			l.mu.Lock()
			l.f = f
			l.mu.Unlock()
			l.launch(t)
			_, err := l.endsAs(ctx, engine.Aborted)
			l.mu.Lock()
			l.f = nil
			err = errors.Join(err, f.err)
			l.mu.Unlock()
			if err != nil || !f.hit {
				t.Fatalf("the edge was met: %v; %v", f.hit, err)
			}
			if _, err := l.settle(ctx, testCase{edge: engine.Edge{Direction: strategy.Back}}); err != nil {
				t.Error(err)
			}
			if err := until(ctx, patience, "no gateway is in a switch", func() error { return l.noHold(ctx) }); err != nil {
				t.Error(err)
			}
			if err := l.unhurt(); err != nil {
				t.Error(err)
			}
			if err := l.finish(); err != nil {
				t.Error(err)
			}
		}})
	}
	return jobs
}

// noHold sees that every gateway is idle.
func (l *lane) noHold(ctx context.Context) error {
	all, err := l.gateways().Observe(ctx, l.cluster)
	if err != nil {
		return err
	}
	for _, g := range all {
		if g.Error != "" || g.Held || g.Primary == "" {
			return fmt.Errorf("gateway %s: held %v, primary %q, %s", g.Gateway, g.Held, g.Primary, g.Error)
		}
	}
	return nil
}
