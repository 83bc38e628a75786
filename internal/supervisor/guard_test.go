package supervisor_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
	"github.com/windlass-db/windlass/internal/supervisor"
)

type eyes struct {
	nodes []fleet.NodeObservation
	err   error
	looks int
}

func (e *eyes) Observe(context.Context, fleet.Cluster) (fleet.Observation, error) {
	e.looks++
	return fleet.Observation{Nodes: e.nodes}, e.err
}

// The guard looks anew before a step, holds on what it could not see, and does not look where it has nothing to say.
func TestTheGuardLooksBeforeAStep(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	c := campaign.Defaults()
	c.Product, c.From, c.To = "mariadb", "10.11", "11.8"
	plan, _ := strategy.BlueGreen().Expand(strategy.StageSwitchStorage, strategy.Forward)
	a := engine.Assignment{Campaign: c, Plan: plan, Cluster: fleet.Cluster{Env: "qa", Name: "orders", Cells: []fleet.Cell{{Name: "blue", Nodes: []fleet.Node{{Name: "b1"}}}}}}
	for name, want := range map[string]struct {
		step    int
		nodes   []fleet.NodeObservation
		err     error
		looks   int
		verdict check.Verdict
	}{
		"legal":                       {step: 1, nodes: []fleet.NodeObservation{{Cell: "blue", Node: "b1", Role: fleet.RolePrimary, Version: "10.11.19"}}, looks: 1, verdict: check.Pass},
		"illegal":                     {step: 1, nodes: []fleet.NodeObservation{{Cell: "blue", Node: "b1", Role: fleet.RolePrimary, Version: "11.8.6"}, {Cell: "blue", Node: "b2", Role: fleet.RoleReplica, Version: "10.11.19"}}, looks: 1, verdict: check.Fail},
		"the look failed":             {step: 1, err: errors.New("no route"), looks: 1, verdict: check.Unknown},
		"a proof of what was done":    {step: 2, looks: 0},
		"the watch over the way back": {step: 3, looks: 0},
	} {
		t.Run(name, func(t *testing.T) {
			e := &eyes{nodes: want.nodes, err: want.err}
			cs := supervisor.Guard{Storage: e, Now: func() time.Time { return now }}.Before(t.Context(), a, want.step)
			var got check.Verdict
			if len(cs) > 0 {
				got = cs[0].Verdict
			}
			if got != want.verdict || e.looks != want.looks || got != "" && !cs[0].At.Equal(now) {
				t.Errorf("%d looks, %+v", e.looks, cs)
			}
		})
	}
}
