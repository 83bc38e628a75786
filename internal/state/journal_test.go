package state

import (
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/engine/enginetest"
	"github.com/windlass-db/windlass/internal/fleet"
)

// The state keeps the rules that the engine counts on.
func TestTheStateIsAJournal(t *testing.T) {
	enginetest.Journal(t, func(t *testing.T) enginetest.World {
		s, c, _ := world(t, 1)
		_, err := s.Launch(ctx, "c", "", "me", next(1))
		must(t, err)
		return enginetest.World{
			Journal: s,
			Lease: func(t *testing.T) (engine.Assignment, bool) {
				a, err := s.Lease(ctx, "qa", "somebody", kinds())
				must(t, err)
				if a == nil {
					return engine.Assignment{}, false
				}
				return *a, true
			},
			Pass:  func(d time.Duration) { c.add(d) },
			Abort: func(t *testing.T) { must(t, s.Abort(ctx, "c", "me", "because")) },
			Outcome: func(t *testing.T) engine.Outcome {
				all, err := s.Actions(ctx, fleet.ClusterRef{Env: "qa", Name: "c00"}, 1)
				must(t, err)
				return engine.Outcome(all[0].Outcome)
			},
		}
	})
}
