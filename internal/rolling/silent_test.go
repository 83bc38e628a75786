package rolling

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/strategy"
)

// A node that the supervisor can't reach, and that the load balancer gives requests, may serve as well as any: it is not taken out while the share needs
// it, neither when a group is chosen nor when one is drained. Where the others are enough it goes first, and if it is not to be reached then it holds.
func TestASilentNodeMayServe(t *testing.T) {
	for name, point := range map[string]string{"before a group is chosen": "", "after a group was chosen": "group-chosen"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 6)
				w.camp.Rolling.LeastServing = 80 // five
				canaryUp(t, w)
				w.fewest = 6
				o, message := w.stage(2, strategy.StageNodes, strategy.Forward, func(e engine.Edge) {
					if e.Stage != strategy.StageNodes || e.Point != point || point == "" && e.Write != engine.WriteIntent {
						return
					}
					w.trouble(func() {
						w.silent["n2"] = true
						w.ill(2*time.Hour, "n6")
						time.AfterFunc(time.Hour, func() {
							if point == "" {
								return // n6 has gone first, and n2 after it
							}
							w.want("1.1", "1.0", "1.0", "1.0", "1.0", "-")
							a, _, _ := w.mem.Action(2)
							if said := a.Steps[0].Message; !strings.Contains(said, "n2 does not answer, and the load balancer gives it requests") {
								t.Errorf("it says %q", said)
							}
						})
						time.AfterFunc(3*time.Hour, func() {
							w.mu.Lock()
							defer w.mu.Unlock()
							delete(w.silent, "n2")
						})
					})
				})
				if o != engine.Completed {
					t.Errorf("%s: %s", o, message)
				}
				w.want(all...)
				if w.fewest < 5 {
					t.Errorf("%d nodes served at some time, 5 had to", w.fewest)
				}
			})
		})
	}
}

// What hangs on the version that is left goes back first, as any other that is ill: else there would be no way back from a version that hangs.
func TestSilentNodesGoBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 6)
		canaryUp(t, w)
		if o, message := w.stage(2, strategy.StageNodes, strategy.Forward, nil); o != engine.Completed {
			t.Fatalf("%s: %s", o, message)
		}
		for _, n := range []string{"n4", "n5", "n6"} {
			w.silent[n], w.sick[n] = true, "1.1"
		}
		o, message := w.stage(3, strategy.StageNodes, strategy.Back, func(e engine.Edge) {
			if e.Point == "started" { // on 1.0 they answer
				w.mu.Lock()
				defer w.mu.Unlock()
				for name := range w.silent {
					if w.nodes[name].version == "1.0" {
						delete(w.silent, name)
					}
				}
			}
		})
		if o != engine.Completed {
			t.Errorf("%s: %s", o, message)
		}
		w.want(mixed...)
	})
}

// A node that falls silent after it was drained may be well. It is stopped only while the others are enough without it, and only if the database tells then
// that its connections are gone.
func TestADrainedNodeThatFallsSilent(t *testing.T) {
	for name, trouble := range map[string]func(w *world) (over func()){
		"the others are too few": func(w *world) func() {
			w.ill(time.Hour-time.Second, "n4", "n5", "n6")
			return func() {}
		},
		"the database does not tell": func(w *world) func() {
			w.mum = true
			return func() { w.mum = false }
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 6)
				canaryUp(t, w)
				o, message := w.stage(2, strategy.StageNodes, strategy.Forward, func(e engine.Edge) {
					w.mu.Lock()
					if m := w.nodes["n2"]; e.Point == "started" && m.version == "1.1" {
						delete(w.silent, "n2") // what is started answers
					}
					w.mu.Unlock()
					if e.Stage != strategy.StageNodes || e.Point != "left" {
						return
					}
					w.trouble(func() {
						w.silent["n2"] = true
						over := trouble(w)
						time.AfterFunc(30*time.Minute, func() {
							w.mu.Lock()
							defer w.mu.Unlock()
							if m := w.nodes["n2"]; !m.running || m.version != "1.0" || m.admitted {
								t.Errorf("n2 is %+v", m)
							}
							a, _, _ := w.mem.Action(2)
							if said := a.Steps[0].Message; !strings.Contains(said, "n2") || !strings.Contains(said, "not stopped") {
								t.Errorf("it says %q", said)
							}
						})
						time.AfterFunc(time.Hour, func() {
							w.mu.Lock()
							defer w.mu.Unlock()
							over()
						})
					})
				})
				if o != engine.Completed {
					t.Errorf("%s: %s", o, message)
				}
				w.want(all...)
			})
		})
	}
}
