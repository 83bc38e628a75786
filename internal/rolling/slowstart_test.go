package rolling

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/strategy"
)

// A node that says that it is ill is given nothing more within seconds, however long it may take to get well: in its slow start, and in its watch.
func TestWhoFallsIllIsGivenNothing(t *testing.T) {
	for name, x := range map[string]struct {
		start   time.Duration // slow_start
		after   time.Duration // since its first requests
		stage   string
		node    string
		outcome engine.Outcome
	}{
		"in the slow start":        {3 * time.Second, 1500 * time.Millisecond, strategy.StageNodes, "n2", engine.Completed},
		"in a long slow start":     {time.Hour, time.Minute, strategy.StageNodes, "n2", engine.Completed},
		"in the watch":             {3 * time.Second, 6 * time.Second, strategy.StageNodes, "n2", engine.Completed},
		"the canary, in its start": {3 * time.Second, 1500 * time.Millisecond, strategy.StageCanary, "n1", engine.Completed},
		"the canary, in its watch": {3 * time.Second, 6 * time.Second, strategy.StageCanary, "n1", engine.WentBack},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 6)
				w.camp.Rolling.HealthyWithin = 5 * time.Minute
				id := int64(1)
				if x.stage == strategy.StageNodes {
					canaryUp(t, w)
					id = 2
				} else {
					w.schema = "1.1"
				}
				w.camp.Rolling.SlowStart = x.start
				o, message := w.stage(id, x.stage, strategy.Forward, func(e engine.Edge) {
					if e.Point != "healthy" || e.Undo {
						return
					}
					w.trouble(func() {
						time.AfterFunc(x.after, func() {
							w.mu.Lock()
							defer w.mu.Unlock()
							if !w.nodes[x.node].admitted {
								t.Errorf("%s is not given requests yet", x.node)
							}
							w.ill(2*time.Minute, x.node)
						})
						time.AfterFunc(x.after+4*time.Second, func() {
							w.mu.Lock()
							defer w.mu.Unlock()
							if w.nodes[x.node].admitted {
								t.Errorf("%s is ill, and is given requests still", x.node)
							}
						})
					})
				})
				if o != x.outcome {
					t.Errorf("%s: %s", o, message)
				}
				if o == engine.Completed && x.stage == strategy.StageCanary {
					w.want(mixed...)
				} else if o == engine.Completed {
					w.want(all...)
				} else {
					w.want(old...)
				}
			})
		})
	}
}
