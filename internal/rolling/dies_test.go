package rolling

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/strategy"
)

// dies ends a node's process, and says when it was.
func (w *world) dies(name string) (at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nodes[name].running, w.nodes[name].stopped = false, time.Now()
	w.see()
	return time.Now()
}

// A node whose process ends after it was started on the new version does not come back by waiting: the first one goes back within seconds, a later one
// holds, and is not started again where it fell; what was taken out with it is brought on, and nothing more is. However long health may take.
func TestANodeThatDies(t *testing.T) {
	for name, x := range map[string]struct {
		when  func(e engine.Edge) bool
		after time.Duration
	}{
		"in its slow start":          {func(e engine.Edge) bool { return e.Point == "healthy" }, time.Second},
		"in its watch":               {func(e engine.Edge) bool { return e.Point == "admitted" }, 2 * time.Second},
		"right after its watch":      {func(e engine.Edge) bool { return e.Write == engine.WriteSave && e.After }, 0},
		"right after the whole step": {func(e engine.Edge) bool { return e.Write == engine.WriteDone && e.After }, 0},
	} {
		t.Run("the first one, "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 6)
				w.schema, w.camp.Rolling.HealthyWithin, w.camp.Rolling.SlowStart = "1.1", time.Hour, time.Minute
				var died time.Time
				var turned time.Duration
				saves := 0
				o, message := w.stage(1, strategy.StageCanary, strategy.Forward, func(e engine.Edge) {
					if e.Write == engine.WriteTurn && e.After {
						turned = time.Since(died)
					}
					if e.Undo || e.Kind != strategy.UpgradeCanary || !x.when(e) {
						return
					}
					if saves++; e.Write == engine.WriteSave && saves < 2 {
						return // that it was chosen
					}
					if died.IsZero() {
						died = time.Now()
						time.AfterFunc(x.after, func() { died = w.dies("n1") })
						synctest.Wait()
					}
				})
				if o != engine.WentBack || turned > 30*time.Second || !strings.Contains(message, "n1") {
					t.Errorf("%s after %v: %s", o, turned, message)
				}
				w.want(old...)
			})
		})
		if name == "right after the whole step" {
			continue // no group comes after it
		}
		t.Run("a later one, "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 6)
				canaryUp(t, w)
				w.camp.Rolling.HealthyWithin, w.camp.Rolling.SlowStart = time.Hour, time.Minute
				dead, saves := false, 0
				o, message := w.stage(2, strategy.StageNodes, strategy.Forward, func(e engine.Edge) {
					if e.Undo || dead || !x.when(e) {
						return
					}
					if saves++; e.Write == engine.WriteSave && saves < 2 {
						return
					}
					dead = true
					time.AfterFunc(x.after, func() {
						w.dies("n2")
						w.set("n2", "1.1") // started again it would be ill, too
						time.AfterFunc(time.Minute, func() {
							a, _, _ := w.mem.Action(2)
							if said := a.Steps[0].Message; !strings.Contains(said, "n2") || !strings.Contains(said, "nothing more is taken out") || a.Steps[0].Phase == engine.Waiting && !a.Steps[0].Held {
								t.Errorf("a minute later it says %q", said)
							}
						})
						time.AfterFunc(3*time.Hour, func() {
							w.want("1.1", "-", "1.1", "1.0", "1.0", "1.0")
							w.mu.Lock()
							defer w.mu.Unlock()
							m := w.nodes["n2"]
							if again := m.running; again && x.after == 0 {
								t.Error("n2 was started again after its turn")
							}
							delete(w.sick, "n2") // a person mends it
							if !m.running {
								m.running, m.started = true, time.Now()
							}
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
