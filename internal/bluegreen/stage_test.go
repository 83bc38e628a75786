package bluegreen

import (
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/engine/enginetest"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

// stageOf runs a stage of a campaign on the cluster under one lease after the other until it ends, or has been leased so often. Each lease is changed as the
// state would by what a person has done meanwhile.
func stageOf(t *testing.T, p Ports, stage string, cluster fleet.Cluster, leases int, meanwhile func(lease int, a *engine.Assignment, m *enginetest.Memory)) (engine.Outcome, engine.Assignment) {
	t.Helper()
	hs, err := engine.NewHandlers(Handlers(p)...)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	m := enginetest.NewMemory(func() time.Time { return now })
	plan, _ := strategy.BlueGreen().Expand(stage, strategy.Forward)
	c := campaign.Defaults()
	c.Name, c.Product, c.From, c.To = "up", "mariadb", "10.11", "11.8"
	m.Add(engine.Assignment{ActionID: 7, LeaseTTL: 10 * time.Second, Campaign: c, Plan: plan, Cluster: cluster})
	for i := range leases {
		a, ok := m.Lease(7)
		if !ok {
			t.Fatalf("lease %d: it can't be had", i+1)
		}
		if meanwhile != nil {
			meanwhile(i+1, &a, m)
		}
		end, err := engine.Run(t.Context(), m, hs, a, engine.Options{RetryMin: 6 * time.Second}) // longer than what is waited for under the lease
		if err != nil {
			t.Fatal(err)
		}
		now = now.Add(end.Waits + time.Second)
		if outcome, _ := m.Ended(7); outcome != "" {
			break
		}
	}
	a, outcome, _ := m.Action(7)
	return outcome, a
}

func stepOf(a engine.Assignment, k strategy.Kind) engine.StepRecord {
	for _, rec := range a.Steps {
		if rec.Kind == k {
			return rec
		}
	}
	return engine.StepRecord{}
}
