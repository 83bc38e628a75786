// Package campaigntest makes snapshots for benchmarks and simulations.
package campaigntest

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

// Large makes a campaign over n clusters in two environments with every rule at work: clusters at every stage, live, failed, waiting for a
// person, soaking, paused, frozen, overridden, with and without a way back. The same n and seed give the same snapshot.
//
// open is a time within the schedule, at which most are held by limits and soaks; closed is one outside of it, at which the end of
// every hold is computed over windows, holidays and freezes.
func Large(n int, seed uint64) (s campaign.Snapshot, open, closed time.Time) {
	r := rand.New(rand.NewPCG(seed, 1))
	open = time.Date(2026, 11, 24, 15, 0, 0, 0, time.UTC) // Tuesday morning in New York, before Thanksgiving
	closed = open.Add(10 * time.Hour)
	c := campaign.Defaults()
	c.Name, c.Product, c.From, c.To, c.Environments = "large", "mariadb", "10.11", "11.8", []string{"qa", "prod"}
	c.Schedule.TimeZone, c.Schedule.Calendar, c.Schedule.Holidays = "America/New_York", "us", []string{"2026-12-24"}
	c.Limits = campaign.Limits{PerStage: max(1, n/50), PerLaunch: max(1, n/20), Environments: map[string]map[string]int{"prod": {strategy.StageSwitchStorage: max(1, n/100)}}}
	c.Soak.Stages[strategy.StageCreate] = time.Hour
	c.Budget = campaign.Budget{Campaign: n, Environment: n, Stage: n / 7000}
	c.Approve = []string{strategy.StageTearDown}
	c.SeenWithin = campaign.DefaultSeenWithin
	c.Freezes = []campaign.Freeze{{From: open.Add(20 * 24 * time.Hour), To: open.Add(40 * 24 * time.Hour), Reason: "end of year"}}
	s = campaign.Snapshot{Campaign: c, Status: campaign.StatusRunning}
	s.Freezes = []campaign.Freeze{{From: open.Add(-time.Hour), To: open.Add(50 * time.Hour), Reason: "sale", Environments: []string{"prod"}, Who: "mira"}}
	stages := strategy.BlueGreen().StageNames()
	for i := range n {
		ref := fleet.ClusterRef{Env: c.Environments[i%2], Name: fmt.Sprintf("cluster-%06d", (i*7919)%n)}
		p := campaign.Progress{Ref: ref, WayBack: &fleet.WayBack{Open: r.IntN(50) > 0}, Version: "10.11.18-MariaDB", Observed: open.Add(-2 * time.Hour)}
		if p.Received = closed; i%100 == 7 { // else seen lately at both times
			p.Received = open.Add(-time.Hour)
		}
		done := r.IntN(len(stages) + 1)
		for k := range done {
			p.Stage, p.Since = stages[k], open.Add(-time.Duration(r.IntN(80))*time.Hour).Add(-time.Duration(r.IntN(3_600_000))*time.Millisecond)
			p.Done = append(p.Done, campaign.StageEnd{Stage: p.Stage, At: p.Since})
		}
		switch {
		case done < len(stages) && r.IntN(100) == 0:
			p.Action = &campaign.ActionState{ID: int64(i), Stage: stages[done], Direction: "forward", Status: "leased", Step: "seed-nodes", Message: "41 GB of 120 GB", StartedAt: open}
		case done < len(stages) && r.IntN(500) == 0:
			p.Failure = &campaign.Failure{Stage: stages[done], Message: "rows differ in orders.items", At: open}
		case r.IntN(500) == 0:
			p.Attention = "rolled back"
		}
		if r.IntN(100) == 0 {
			s.Pauses = append(s.Pauses, campaign.Pause{Env: ref.Env, Cluster: ref.Name, Who: "jo", Why: "migration of its tables", Until: open.Add(time.Duration(r.IntN(200)) * time.Hour)})
		}
		if r.IntN(100) == 0 {
			s.Overrides = append(s.Overrides, campaign.Override{Rule: campaign.CodeSoak, Env: ref.Env, Cluster: ref.Name, Who: "jo", Why: "hotfix", Expires: open.Add(24 * time.Hour)})
		}
		s.Clusters = append(s.Clusters, p)
	}
	s.Pauses = append(s.Pauses, campaign.Pause{Env: "prod", Stage: strategy.StageTearDown, Who: "mira", Why: "audit", Until: open.Add(100 * time.Hour)})
	s.Overrides = append(s.Overrides, campaign.Override{Rule: campaign.CodeOrder, Env: "prod", Stage: strategy.StageCreate, Who: "mira", Why: "agreed", Expires: open.Add(300 * time.Hour)})
	return s, open, closed
}
