package state

import (
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

// An action of a rolling upgrade is stored with deadlines that its campaign's own settings fit into.
func TestTheDeadlinesOfARollingUpgradeAreItsCampaigns(t *testing.T) {
	c := &clock{now: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)}
	s := openAt(t, newPlace(t), c)
	cl := fleet.Cluster{Name: "jobs", Env: "qa", Product: "jobs", Cells: []fleet.Cell{{Name: "main", Version: "1.0", Nodes: []fleet.Node{{Name: "n1", Address: "127.0.0.1:1"}, {Name: "n2", Address: "127.0.0.1:2"}, {Name: "n3", Address: "127.0.0.1:3"}}}}}
	must(t, s.ApplyFleet(ctx, fleet.Fleet{Name: "f", Environments: []fleet.Environment{{Name: "qa", Clusters: []fleet.Cluster{cl}}}}, "me"))
	r := campaign.DefaultRolling()
	r.Watch = 7 * 24 * time.Hour
	camp := campaign.Campaign{Name: "c", Strategy: "rolling", Product: "jobs", From: "1.0", To: "1.1", Environments: []string{"qa"}, Rolling: r}
	must(t, s.ApplyCampaign(ctx, camp, []fleet.ClusterRef{cl.Ref()}, "me"))
	c.add(ttl)
	_, err := s.Launch(ctx, "c", "", "me", func(campaign.Snapshot, time.Time) []campaign.Decision {
		return []campaign.Decision{{Ref: cl.Ref(), Start: strategy.StageNodes}}
	})
	must(t, err)
	a, err := s.Lease(ctx, "qa", "supervisor", []KindVersion{{Kind: strategy.UpgradeNodes, Version: 1}})
	must(t, err)
	if a == nil || a.Plan.Steps[0].Deadline < 3*r.Watch {
		t.Errorf("got %+v", a)
	}
}
