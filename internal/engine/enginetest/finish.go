package enginetest

import (
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/engine"
)

// Finish leases an action of the journal and runs it, by one holder after the other, until it has ended, and gives how. A holder that options.At ends
// by runtime.Goexit is killed there: the next one goes on when its lease is over. handlers are asked for anew by each. The test fails if the
// action has not ended within the time of the test's clock.
func Finish(t testing.TB, m *Memory, id int64, within time.Duration, handlers func() engine.Handlers, options engine.Options) (engine.Outcome, string) {
	t.Helper()
	for stop := time.Now().Add(within); time.Now().Before(stop); {
		o := options
		o.LeasedAt = time.Now()
		a, ok := m.Lease(id)
		if !ok {
			if outcome, message := m.Ended(id); outcome != "" {
				return outcome, message
			}
			time.Sleep(min(max(m.free(id), time.Millisecond), time.Second)) // a person's word may come before
			continue
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			if _, err := engine.Run(t.Context(), m, handlers(), a, o); err != nil {
				t.Errorf("run action %d: %v", id, err)
			}
		}()
		<-done
	}
	a, _, _ := m.Action(id)
	for _, s := range a.Steps {
		t.Logf("%s: %s: %s %v", s.Kind, s.Phase, s.Message, s.Checks.Bad())
	}
	t.Fatalf("action %d, %s, has not ended within %v", id, a.Plan.Stage, within)
	return "", ""
}

// free is in how long the action can be leased.
func (m *Memory) free(id int64) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	x, at := m.actions[id], time.Time{}
	if x.leased {
		at = x.until
	}
	if x.notBefore.After(at) {
		at = x.notBefore
	}
	return at.Sub(m.now())
}
