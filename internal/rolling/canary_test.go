package rolling

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/strategy"
)

// A canary that is ill for a moment of its watch goes back, and so does one that falls ill right after it, without waiting for anything.
func TestTheCanaryIsWatched(t *testing.T) {
	for name, at := range map[string]func(w *world, e engine.Edge){
		"ill for a moment": func(w *world, e engine.Edge) { // whoever looks once, at the end, sees nothing of it
			if e.Point == "admitted" && !e.Undo {
				time.AfterFunc(1500*time.Millisecond, func() {
					w.mu.Lock()
					defer w.mu.Unlock()
					w.ill(2*time.Second, "n1")
				})
			}
		},
		"ill right after": func(w *world, e engine.Edge) {
			if e.Kind == strategy.UpgradeCanary && e.Write == engine.WriteDone && e.After {
				w.trouble(func() { w.ill(1000*time.Hour, "n1") })
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 6)
				w.schema = "1.1"
				began := time.Now()
				o, message := w.stage(1, strategy.StageCanary, strategy.Forward, func(e engine.Edge) { at(w, e) })
				if took := time.Since(began); o != engine.WentBack || took > 10*time.Minute {
					t.Errorf("%s after %v: %s", o, took, message)
				}
				w.want(old...)
			})
		})
	}
}

// That a stopped node has no connection left proves nothing where no node is ever seen with one: nothing is begun there.
func TestConnectionsThatNobodyIsSeenWithProveNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 6)
		w.schema, w.blind = "1.1", true
		o, message := w.stage(1, strategy.StageCanary, strategy.Forward, nil)
		if o == engine.Completed {
			t.Errorf("%s: %s", o, message)
		}
		w.want(slices.Repeat([]string{"1.0"}, 6)...)
		if w.fewest < 6 {
			t.Error("a node was taken out")
		}
	})
}

// A load balancer that is started anew after a node was started gives it nothing before its health and version are proved.
func TestNothingIsGivenToWhoIsNotProved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 6)
		w.schema = "1.1"
		o, message := w.stage(1, strategy.StageCanary, strategy.Forward, func(e engine.Edge) {
			if e.Point == "started" {
				w.trouble(w.forget)
				time.AfterFunc(warmUp, func() {
					w.mu.Lock()
					defer w.mu.Unlock()
					if w.nodes["n1"].admitted {
						t.Error("n1 is given requests in the moment in which it gets healthy")
					}
				})
			}
		})
		if o != engine.Completed {
			t.Errorf("%s: %s", o, message)
		}
	})
}
