package state

import (
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

// A first node that two looks in a row see to serve no more goes back in its soak, once; not for one look, nor for what is not known, nor where all are
// ill, nor while a person has paused.
func TestTheFirstNodeGoesBackInItsSoak(t *testing.T) {
	dead := fleet.NodeObservation{Cell: "main", Node: "n1", Role: fleet.RoleOut, Detail: "n1 does not run"}
	ill := fleet.NodeObservation{Cell: "main", Node: "n1", Role: fleet.RoleOut, Version: "1.1.4", Detail: "n1 is not healthy, is on 1.1.4"}
	well := fleet.NodeObservation{Cell: "main", Node: "n1", Role: fleet.RoleServing, Version: "1.1.4"}
	unknown := fleet.NodeObservation{Cell: "main", Node: "n1", Role: fleet.RoleUnknown, Error: "no answer"}
	other := fleet.NodeObservation{Cell: "main", Node: "n2", Role: fleet.RoleServing, Version: "1.0.2"}
	otherOut := fleet.NodeObservation{Cell: "main", Node: "n2", Role: fleet.RoleOut, Version: "1.0.2"}
	look := func(nodes ...fleet.NodeObservation) []fleet.NodeObservation { return nodes }
	for name, x := range map[string]struct {
		looks [][]fleet.NodeObservation
		pause campaign.Pause
		back  string // part of why
	}{
		"dead":                   {looks: [][]fleet.NodeObservation{look(well, other), look(dead, other), look(dead, other), look(dead, other)}, back: "n1 does not run"},
		"ill":                    {looks: [][]fleet.NodeObservation{look(ill, other), look(ill, other)}, back: "n1 is not healthy"},
		"for one look":           {looks: [][]fleet.NodeObservation{look(well, other), look(dead, other), look(well, other), look(dead, other), look(well, other)}},
		"unknown":                {looks: [][]fleet.NodeObservation{look(unknown, other), look(unknown, other)}},
		"unknown between":        {looks: [][]fleet.NodeObservation{look(dead, other), look(unknown, other), look(dead, other), look(unknown, other)}},
		"all of them":            {looks: [][]fleet.NodeObservation{look(dead, otherOut), look(dead, otherOut)}},
		"an old one is out":      {looks: [][]fleet.NodeObservation{look(well, otherOut), look(well, otherOut)}},
		"the cluster is paused":  {looks: [][]fleet.NodeObservation{look(dead, other), look(dead, other)}, pause: campaign.Pause{Env: "qa", Cluster: "jobs"}},
		"what is next is paused": {looks: [][]fleet.NodeObservation{look(dead, other), look(dead, other)}, pause: campaign.Pause{Stage: strategy.StageNodes}, back: "n1"},
	} {
		t.Run(name, func(t *testing.T) {
			s, c, _ := world(t, 1)
			ref := fleet.ClusterRef{Env: "qa", Name: "jobs"}
			cl := fleet.Cluster{Env: "qa", Name: "jobs", Product: "jobs", Cells: []fleet.Cell{{Name: "main", Version: "1.0", Nodes: []fleet.Node{{Name: "n1", Address: "h:1"}, {Name: "n2", Address: "h:2"}}}}}
			must(t, s.ApplyFleet(ctx, fleet.Fleet{Name: "engines", Environments: []fleet.Environment{{Name: "qa", Clusters: []fleet.Cluster{cl}}}}, "me"))
			must(t, s.ApplyCampaign(ctx, campaign.Campaign{Name: "r", Strategy: "rolling", Product: "jobs", From: "1.0", To: "1.1", Environments: []string{"qa"}, FromCell: "main", ToCell: "main", Rolling: campaign.DefaultRolling()}, []fleet.ClusterRef{ref}, "me"))
			_, err := s.write.ExecContext(ctx, `UPDATE progress SET stage = $1, since = $2 WHERE campaign = 'r'`, strategy.StageCanary, micros(c.Now()))
			must(t, err)
			if x.pause != (campaign.Pause{}) {
				x.pause.Who, x.pause.Why, x.pause.At = "me", "a look", c.Now()
				must(t, s.Pause(ctx, "r", x.pause))
			}
			for _, nodes := range x.looks {
				c.add(time.Second)
				must(t, s.Observe(ctx, ref, fleet.Observation{At: c.Now(), Nodes: nodes}))
			}
			snap, err := s.Snapshot(ctx, "r")
			must(t, err)
			a := snap.Clusters[0].Action
			if x.back == "" {
				if a != nil {
					t.Errorf("it goes back: %+v", a)
				}
				return
			}
			if a == nil || a.Stage != strategy.StageCanary || a.Direction != string(strategy.Back) {
				t.Fatalf("it does not go back: %+v", a)
			}
			all, err := s.Events(ctx, EventFilter{Ref: ref})
			must(t, err)
			asked := 0
			for _, e := range all {
				if e.Kind == "rollback-asked" {
					asked++
					if !e.Loud || e.Who != "windlass" || !strings.Contains(e.Message, x.back) || !strings.HasPrefix(e.Message, "roll back to expand-schema: ") {
						t.Errorf("%+v", e)
					}
				}
			}
			if asked != 1 {
				t.Errorf("it is told %d times", asked)
			}
		})
	}
}
