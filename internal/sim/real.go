package sim

import (
	"context"
	"path/filepath"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/state"
)

// real is the real state, in SQLite.
type real struct {
	*state.Store
	name string
	now  func() time.Time
}

func openReal(dir string, now func() time.Time, c campaign.Campaign, clusters []fleet.Cluster) (control, error) {
	ctx := context.Background()
	st, err := state.Open(ctx, filepath.Join(dir, "state.db"), state.Options{LeaseTTL: ttl, Now: now})
	if err != nil {
		return nil, err
	}
	f := fleet.Fleet{Name: "sim"}
	var refs []fleet.ClusterRef
	for _, env := range c.Environments {
		e := fleet.Environment{Name: env}
		for _, cl := range clusters {
			if cl.Env == env {
				e.Clusters = append(e.Clusters, cl)
				refs = append(refs, cl.Ref())
			}
		}
		f.Environments = append(f.Environments, e)
	}
	if err := st.ApplyFleet(ctx, f, "sim"); err != nil {
		return nil, err
	}
	if err := st.ApplyCampaign(ctx, c, refs, "sim"); err != nil {
		return nil, err
	}
	return &real{st, c.Name, now}, nil
}

// Launch decides and starts in one transaction.
func (r *real) Launch(ctx context.Context) (int, error) {
	out, err := r.Store.Launch(ctx, r.name, "", "sim", campaign.Decide)
	return len(out.Started), err
}

// Snapshot is what Decide looks at.
func (r *real) Snapshot(ctx context.Context) (campaign.Snapshot, error) {
	return r.Store.Snapshot(ctx, r.name)
}

// Resume clears what a person has looked at.
func (r *real) Resume(ctx context.Context, ref fleet.ClusterRef) error {
	return r.Store.Resume(ctx, r.name, campaign.Pause{Env: ref.Env, Cluster: ref.Name, Who: "sim", Why: "looked at it", At: r.now()})
}

// Rollback takes a cluster back.
func (r *real) Rollback(ctx context.Context, ref fleet.ClusterRef, to string) error {
	return r.Store.Rollback(ctx, r.name, ref, to, "sim", "to try it")
}

// Abort turns the live action of one cluster round.
func (r *real) Abort(ctx context.Context, ref fleet.ClusterRef) error {
	return r.Store.AbortCluster(ctx, r.name, ref, "sim", "to try it")
}

// Opened: the file stays open, for a server's death loses nothing that was committed.
func (r *real) Opened() {}

var _ engine.Journal = (*real)(nil)
