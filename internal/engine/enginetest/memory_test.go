package enginetest_test

import (
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/engine/enginetest"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

func TestMemoryKeepsTheRules(t *testing.T) {
	enginetest.Journal(t, func(t *testing.T) enginetest.World {
		now := time.UnixMicro(1_800_000_000_000_000).UTC()
		m := enginetest.NewMemory(func() time.Time { return now })
		p, _ := strategy.BlueGreen().Expand(strategy.StageCreate, strategy.Forward)
		m.Add(engine.Assignment{ActionID: 1, LeaseTTL: 30 * time.Second, Plan: p, Cluster: fleet.Cluster{Env: "qa", Name: "orders"}})
		return enginetest.World{
			Journal: m,
			Lease:   func(*testing.T) (engine.Assignment, bool) { return m.Lease(1) },
			Pass:    func(d time.Duration) { now = now.Add(d) },
			Abort:   func(*testing.T) { m.Abort(1) },
			Outcome: func(*testing.T) engine.Outcome { o, _ := m.Ended(1); return o },
		}
	})
}
