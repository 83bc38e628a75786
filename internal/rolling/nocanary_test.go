package rolling

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/strategy"
)

// The canary falls ill in its soak, and the stage after it ends with every node on the old version, while the canary's own stage stays done.
// Whoever goes on begins with one node again, and one that does not get healthy goes back as a canary does.
func TestWithoutACanaryOneNodeGoesFirstAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 6)
		w.schema, w.camp.Rolling.Group = "1.1", "2"
		if o, message := w.stage(1, strategy.StageCanary, strategy.Forward, nil); o != engine.Completed {
			t.Fatalf("%s: %s", o, message)
		}
		w.want(mixed...)
		w.set("n1", "1.1")
		time.AfterFunc(time.Hour, func() {
			if o, _ := w.mem.Ended(2); o == "" {
				w.mem.Abort(2)
			}
		})
		o, message := w.stage(2, strategy.StageNodes, strategy.Forward, nil)
		t.Logf("%s: %s", o, message)
		w.want(old...)

		var groups []int // nodes that are out, each time that a group is stopped
		said := ""
		at := func(e engine.Edge) {
			if e.Point == "stopped" && !e.Undo {
				w.mu.Lock()
				defer w.mu.Unlock()
				out := 0
				for _, m := range w.nodes {
					if !m.running {
						out++
					}
				}
				groups = append(groups, out)
			}
			if e.Point == "group-chosen" && said == "" {
				a, _, _ := w.mem.Action(3)
				said = a.Steps[0].Message
			}
		}
		if o, message := w.stage(3, strategy.StageNodes, strategy.Forward, at); o != engine.WentBack { // n1 is still ill on 1.1
			t.Errorf("%s: %s", o, message)
		}
		w.want(old...)
		if len(groups) != 1 || groups[0] != 1 || !strings.Contains(said, "no node serves on 1.1") {
			t.Errorf("so many were out: %v; it said %q", groups, said)
		}
		w.set("n1", "")
		groups = nil
		if o, message := w.stage(4, strategy.StageNodes, strategy.Forward, at); o != engine.Completed {
			t.Errorf("%s: %s", o, message)
		}
		w.want(all...)
		if len(groups) != 4 || groups[0] != 1 || groups[1] != 2 {
			t.Errorf("so many were out: %v", groups)
		}
	})
}

// All nodes fall ill while a later group is out: something that they share, or the network between them and the supervisor. That makes the group no
// first one: it holds, and goes on when they are well. If it comes between two groups, none is taken out.
func TestAllIllIsNoReasonToGoBack(t *testing.T) {
	for name, at := range map[string]func(e engine.Edge) bool{
		"while a group is out": func(e engine.Edge) bool { return e.Point == "started" },
		"between two groups":   func(e engine.Edge) bool { return e.Write == engine.WriteIntent && e.After },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 6)
				canaryUp(t, w)
				o, message := w.stage(2, strategy.StageNodes, strategy.Forward, func(e engine.Edge) {
					if e.Stage == strategy.StageNodes && !e.Undo && at(e) {
						w.trouble(func() { w.ill(20*time.Minute, slices.Collect(maps.Keys(w.nodes))...) })
					}
				})
				if o != engine.Completed {
					t.Errorf("%s: %s", o, message)
				}
				w.want(all...)
			})
		})
	}
}
