package rolling

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/strategy"
)

// canaryUp takes a world of six through the canary's stage; the groups after it are of two.
func canaryUp(t *testing.T, w *world) {
	t.Helper()
	w.schema, w.camp.Rolling.Group = "1.1", "2"
	if o, message := w.stage(1, strategy.StageCanary, strategy.Forward, nil); o != engine.Completed {
		t.Fatalf("%s: %s", o, message)
	}
}

// say makes a node say a version whatever it runs; "": what it runs.
func (w *world) say(name, version string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.says[name] = version; version == "" {
		delete(w.says, name)
	}
}

// A node that Windlass started, and that answers a version which is neither of the campaign's, is one that does not come: the first one goes back, a
// later one holds, and can be mended, or sent back.
func TestANodeThatAnswersAThirdVersion(t *testing.T) {
	for name, x := range map[string]struct {
		node     string
		mend     bool
		outcome  engine.Outcome
		versions []string
	}{
		"the first":                {"n1", false, engine.WentBack, old},
		"a later one, mended":      {"n2", true, engine.Completed, all},
		"a later one, and aborted": {"n2", false, engine.Aborted, mixed},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 6)
				mended := false
				at := func(e engine.Edge) { // the build of 1.1 is one of 1.2; that of 1.0 is as it should be
					w.mu.Lock()
					defer w.mu.Unlock()
					if e.Point != "started" {
						return
					}
					if delete(w.says, x.node); w.nodes[x.node].version == "1.1" && !mended {
						w.says[x.node] = "1.2"
					}
				}
				stage, id := strategy.StageCanary, int64(1)
				if x.node == "n1" {
					w.schema = "1.1"
				} else {
					canaryUp(t, w)
					stage, id = strategy.StageNodes, 2
					time.AfterFunc(time.Hour, func() {
						w.want("1.1", "-", "1.1", "1.0", "1.0", "1.0")
						if o, message := w.mem.Ended(id); o != "" {
							t.Errorf("it does not hold: %s: %s", o, message)
						}
						if x.mend {
							w.mu.Lock()
							defer w.mu.Unlock()
							mended = true
							delete(w.says, x.node)
						} else {
							w.mem.Abort(id)
						}
					})
				}
				if o, message := w.stage(id, stage, strategy.Forward, at); o != x.outcome {
					t.Errorf("%s: %s", o, message)
				}
				w.want(x.versions...)
			})
		})
	}
}

// A node that somebody else brought to a third version holds: it goes on when that is mended, and no group goes back for it.
func TestANodeThatSomebodyChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 6)
		canaryUp(t, w)
		w.say("n6", "1.2")
		time.AfterFunc(time.Hour, func() {
			w.want("1.1", "1.0", "1.0", "1.0", "1.0", "1.0")
			a, _, _ := w.mem.Action(2)
			if said := a.Steps[0].Message; !strings.Contains(said, "n6 runs 1.2.4, which is neither 1.0 nor 1.1") {
				t.Errorf("it says %q", said)
			}
			w.say("n6", "")
		})
		if o, message := w.stage(2, strategy.StageNodes, strategy.Forward, nil); o != engine.Completed {
			t.Errorf("%s: %s", o, message)
		}
		w.want(all...)
	})
}
