package rolling

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/strategy"
)

// A server that the load balancer gives requests, and that the fleet does not have, holds the first node and the features: nobody knows its version.
// One that is drained, or has no weight, is none.
func TestAServerThatTheFleetDoesNotHave(t *testing.T) {
	n7 := Backend{Node: "n7", Up: true, Admitted: true, Weight: 100}
	idle := []Backend{{Node: "n8", Up: true, Weight: 100}, {Node: "n9", Up: true, Admitted: true}}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 6)
		w.schema, w.foreign = "1.1", append(idle, n7)
		time.Sleep(warmUp)
		if o, message := w.stage(1, strategy.StageCanary, strategy.Forward, nil); o == engine.Completed {
			t.Errorf("%s: %s", o, message)
		}
		w.want(old...)
		if w.fewest < 6 {
			t.Error("a node was taken out")
		}
	})
	for _, when := range []string{"finalize/", "finalize/forward/1-open-features/intent/after"} {
		t.Run(when, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 6)
				w.foreign = idle
				time.Sleep(warmUp)
				met := false
				for i, st := range strategy.Rolling().Stages {
					o, message := w.stage(int64(i+1), st.Name, strategy.Forward, func(e engine.Edge) {
						if !strings.HasPrefix(e.String(), when) {
							return
						}
						w.trouble(func() {
							met = true
							w.foreign = append(idle, n7)
							time.AfterFunc(3*time.Minute, func() {
								w.mu.Lock()
								defer w.mu.Unlock()
								if w.features {
									t.Error("the features are open, and n7 serves on who knows what")
								}
								w.foreign = idle
							})
						})
					})
					if o != engine.Completed {
						t.Fatalf("%s: %s: %s", st.Name, o, message)
					}
				}
				if !w.features || !met {
					t.Errorf("the features are open: %t; the edge was met: %t", w.features, met)
				}
			})
		})
	}
}
