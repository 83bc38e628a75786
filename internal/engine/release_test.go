package engine_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/strategy"
)

// refused runs an action whose step refuses in its act, and tells what was done and written, and whether a release was looked for.
func refused(t *testing.T, last strategy.Kind) (did, written string, looked bool) {
	bubble(t, func(t *testing.T, w *toy) {
		w.add(plan(strategy.Forward, "a", "hold", "c"))
		w.look = func(k strategy.Kind, back bool) error {
			looked = looked || back && k == "hold"
			return nil
		}
		w.do = func(_ context.Context, k strategy.Kind) error {
			if k == last {
				return &engine.Refusal{Err: errors.New("no")}
			}
			return nil
		}
		if o, msg := w.finish(engine.Options{}); o != engine.WentBack || w.held {
			t.Errorf("%s (%s), held: %v", o, msg, w.held)
		}
		did, written = strings.Join(w.did(), ", "), strings.Join(w.written(), ", ")
	})
	return did, written, looked
}

func TestAStepThatIsBrokenOffLetsGoBeforeTheOthersAreUndone(t *testing.T) {
	did, written, _ := refused(t, "hold")
	if did != "do a, release hold, undo a" || !strings.Contains(written, "turn, hold undoing, hold undone, a undoing, a undone") {
		t.Errorf("did %s; wrote %s", did, written)
	}
}

func TestAStepThatWasDoneHoldsNothing(t *testing.T) {
	did, written, looked := refused(t, "c")
	if did != "do a, do hold, undo a" || !strings.Contains(written, "hold undone") || strings.Contains(written, "hold undoing") || looked {
		t.Errorf("did %s; wrote %s; looked for what it holds: %v", did, written, looked)
	}
}

func TestAReleaseThatNeverRunsIsAMistake(t *testing.T) {
	a := newToy(t).handler("a")
	look := newToy(t).handler("look")
	half := newToy(t).handler("hold")
	half.Release.Do = nil
	look.Release, a.Release = newToy(t).handler("hold").Release, newToy(t).handler("hold").Release
	for _, h := range []engine.Handler{a, look, half} {
		if _, err := engine.NewHandlers(h); err == nil || !strings.Contains(err.Error(), "release") {
			t.Errorf("%s: %v", h.Kind, err)
		}
	}
}
