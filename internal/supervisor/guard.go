package supervisor

import (
	"context"
	"time"

	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
)

// Storage looks at a cluster's nodes.
type Storage interface {
	// Observe asks every node for its role and version. Nodes that can't be read are unknown.
	Observe(ctx context.Context, c fleet.Cluster) (fleet.Observation, error)
}

// Guard is the engine's gate: before each step begins it looks at the cluster anew, and lets the campaign's policy judge the versions
// that it sees (V5). Somebody may have upgraded a node by hand, or one may have come back on its old version, since
// the action started.
type Guard struct {
	Storage Storage
	Now     func() time.Time
}

// Before judges one step. It looks only where the policy has something to say, and never once the step has begun: not while gateways hold.
func (g Guard) Before(ctx context.Context, a engine.Assignment, step int) check.Results {
	if !a.Campaign.GuardsStep(a.Plan, step) {
		return nil
	}
	began := g.Now()
	o, err := g.Storage.Observe(ctx, a.Cluster)
	if err != nil {
		o = unseen(a.Cluster, began, err)
	}
	o.At = began // it is never newer than what it saw
	return a.Campaign.BeforeStep(a.Plan, step, o)
}
