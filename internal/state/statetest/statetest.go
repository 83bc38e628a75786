// Package statetest makes worlds for tests that stand on the state: a clock that only the test moves, a fleet, a campaign.
package statetest

import (
	"fmt"
	"sync"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

// Clock is a clock that only the test moves. It may be used from anywhere.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock makes a clock that shows the time given.
func NewClock(now time.Time) *Clock { return &Clock{now: now} }

// Now is what the clock shows.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Add moves the clock; d may be negative.
func (c *Clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Set puts the clock to a time.
func (c *Clock) Set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}

// Fleet is n clusters in each environment: c00, c01 and so on, with one cell, blue, of MariaDB 10.11: a node and a gateway.
func Fleet(n int, envs ...string) fleet.Fleet {
	f := fleet.Fleet{Name: "f"}
	for _, env := range envs {
		e := fleet.Environment{Name: env}
		for i := range n {
			e.Clusters = append(e.Clusters, fleet.Cluster{Name: fmt.Sprintf("c%02d", i), Env: env, Product: "mariadb", Record: "x.", Cells: []fleet.Cell{{
				Name: "blue", Version: "10.11", Nodes: []fleet.Node{{Name: "blue-1"}}, Gateway: &fleet.Gateway{Name: "blue-gateway"},
			}}})
		}
		f.Environments = append(f.Environments, e)
	}
	return f
}

// Refs names every cluster of a fleet.
func Refs(f fleet.Fleet) []fleet.ClusterRef {
	var refs []fleet.ClusterRef
	for _, e := range f.Environments {
		for _, c := range e.Clusters {
			refs = append(refs, c.Ref())
		}
	}
	return refs
}

// Campaign raises the fleet of Fleet from 10.11 to 11.8, blue to green, at any time of any day.
func Campaign(name string, envs ...string) campaign.Campaign {
	return campaign.Campaign{
		Name: name, Strategy: "bluegreen", Product: "mariadb", From: "10.11", To: "11.8", Environments: envs, FromCell: "blue", ToCell: "green",
		Schedule: campaign.Schedule{Always: true}, Budget: campaign.Budget{Campaign: -1, Environment: -1, Stage: -1},
	}
}

// Kinds are all the steps that the strategy bluegreen has: what a supervisor of this release can run.
func Kinds() []engine.KindVersion {
	var all []engine.KindVersion
	for _, st := range strategy.BlueGreen().Stages {
		for _, step := range st.Steps {
			all = append(all, engine.KindVersion{Kind: step.Kind, Version: step.Version})
		}
	}
	return all
}
