package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/windlass-db/windlass/internal/driver/mysql"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/strategy"
)

// abortPoints are those at which an action is aborted: where another stretch of the switch or of its undo begins, before the promotion and
// after it. With everything they are all.
func abortPoints() [][]string {
	if os.Getenv(allEnv) == "all" {
		return [][]string{mysql.Points()[:len(mysql.Points())/2], mysql.Points()[len(mysql.Points())/2:], mysql.UndoPoints()}
	}
	return [][]string{{"demote-set", "after-undo-open", "after-note-promotion", "promote-set", "after-release", "after-events"}}
}

// aborts kills the supervisor in the middle of a switch, and a person aborts the campaign before the next one has come: the
// action turns round from whatever was left, and leaves nothing of the switch behind.
func aborts(tm *template) []job {
	var jobs []job
	for _, points := range abortPoints() {
		jobs = append(jobs, job{fmt.Sprintf("abort at %s and on", points[0]), func(t *testing.T) {
			l := newLane(t, tm)
			for _, point := range points {
				if err := l.abortAt(point); err != nil {
					t.Fatalf("abort at %s: %v", point, err)
				}
			}
			if err := l.finish(); err != nil {
				t.Error(err)
			}
		}})
	}
	return jobs
}

// abortAt runs one such action, and sees that nothing is left of it.
func (l *lane) abortAt(point string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	if err := l.prepare(ctx, forward); err != nil {
		return err
	}
	if err := l.runScheduler(); err != nil {
		return err
	}
	c := testCase{engine.Edge{Stage: strategy.StageSwitchStorage, Direction: strategy.Forward, Step: 1, Kind: strategy.SwitchStorage, Point: point}, victimSupervisor}
	f := &fault{testCase: c, also: func() error { return l.client.AbortCluster(ctx, campaignName, ref, "the test says so") }}
	l.mu.Lock()
	l.f = f
	l.mu.Unlock()
	if err := l.start(ctx, forward); err != nil {
		return err
	}
	_, err := l.endsAs(ctx, engine.Aborted)
	l.mu.Lock()
	l.f = nil
	err = errors.Join(err, f.err)
	l.mu.Unlock()
	if err != nil || !f.hit {
		return fmt.Errorf("the edge was met: %v; %w", f.hit, err)
	}
	if _, err := l.settle(ctx, testCase{edge: engine.Edge{Direction: strategy.Back}}); err != nil {
		return err
	}
	if err := until(ctx, patience, "no gateway is in a switch", func() error { return l.noHold(ctx) }); err != nil {
		return err
	}
	return l.unhurt()
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
