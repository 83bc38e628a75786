package rolling

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/strategy"
)

// An undo that could not go on has left one node on the new version: it is taken for the canary. Two of them are somebody's doing, and nothing
// is taken out.
func TestAnUndoThatCouldNotGoOnIsNoDeadEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 6)
		w.schema = "1.1"
		w.nodes["n3"].version = "1.1"
		time.Sleep(warmUp)
		if o, message := w.stage(1, strategy.StageCanary, strategy.Forward, nil); o != engine.Completed {
			t.Fatalf("%s: %s", o, message)
		}
		w.want("1.0", "1.0", "1.1", "1.0", "1.0", "1.0")
		w.nodes["n3"].version = "1.0"
		w.nodes["n4"].version, w.nodes["n5"].version = "1.1", "1.1"
		if o, message := w.stage(2, strategy.StageCanary, strategy.Forward, nil); o == engine.Completed {
			t.Errorf("%s: %s", o, message)
		}
		w.want("1.0", "1.0", "1.0", "1.1", "1.1", "1.0")
	})
}
