package rolling

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/strategy"
)

// A server that the load balancer gives requests, and that the fleet does not have, holds the first node and the features: nobody knows its version.
// One that is drained, or has no weight, is none. One that only the database knows holds the features, too.
func TestAServerThatTheFleetDoesNotHave(t *testing.T) {
	n7 := Backend{Node: "n7", Up: true, Admitted: true, Weight: 100}
	idle := []Backend{{Node: "n8", Up: true, Weight: 100}, {Node: "n9", Up: true, Admitted: true}}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 6)
		w.schema, w.foreign = "1.1", append(idle, n7)
		if o, message := w.stage(1, strategy.StageCanary, strategy.Forward, nil); o == engine.Completed {
			t.Errorf("%s: %s", o, message)
		}
		w.want(old...)
		if w.fewest < 6 {
			t.Error("a node was taken out")
		}
	})
	for _, x := range []struct {
		when     string // an edge; "": before the stage
		connects bool   // to the database alone
	}{{"", false}, {"finalize/forward/1-open-features/intent/after", false}, {"", true}, {"finalize/forward/1-open-features/intent/after", true}} {
		t.Run(fmt.Sprintf("%s, connected %t", x.when, x.connects), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 6)
				w.foreign = idle
				step := min(len(x.when), 1) // that holds
				comes := func() {
					w.trouble(func() {
						if x.connects {
							w.others = []string{"jobs-n7"}
						} else {
							w.foreign = append(idle, n7)
						}
						time.AfterFunc(3*time.Minute, func() {
							w.mu.Lock()
							defer w.mu.Unlock()
							if w.features {
								t.Error("the features are open, and n7 serves on who knows what")
							}
							a, _, _ := w.mem.Action(4)
							if said := a.Steps[step].Message; !strings.Contains(said, "n7") {
								t.Errorf("it does not say for whom it holds: %s", said)
							}
							w.foreign, w.others = idle, nil
						})
					})
				}
				for i, st := range strategy.Rolling().Stages {
					if st.Name == strategy.StageFinalize && x.when == "" {
						comes()
					}
					o, message := w.stage(int64(i+1), st.Name, strategy.Forward, func(e engine.Edge) {
						if e.String() == x.when {
							comes()
						}
					})
					if o != engine.Completed {
						t.Fatalf("%s: %s: %s", st.Name, o, message)
					}
				}
				time.Sleep(5 * time.Minute) // to the end of the trouble
				if !w.features || !w.troubled {
					t.Errorf("the features are open: %t; the trouble came: %t", w.features, w.troubled)
				}
			})
		})
	}
}
