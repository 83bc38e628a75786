package state

import (
	"context"
	"database/sql"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/fleet"
)

// addRehearsed tells of each cluster which stages it has gone back through in this campaign.
func addRehearsed(ctx context.Context, tx *sql.Tx, snap *campaign.Snapshot) error {
	if snap.Campaign.Rehearse == "" {
		return nil
	}
	type gone struct {
		ref   fleet.ClusterRef
		stage string
	}
	all, err := rows(ctx, tx, func(r *sql.Rows) (g gone, err error) { return g, r.Scan(&g.ref.Env, &g.ref.Name, &g.stage) },
		`SELECT DISTINCT env, cluster, stage FROM actions WHERE campaign = $1 AND direction = 'back' AND outcome = 'completed' ORDER BY env, cluster, stage`, snap.Campaign.Name)
	if err != nil {
		return err
	}
	stages := map[fleet.ClusterRef][]string{}
	for _, g := range all {
		stages[g.ref] = append(stages[g.ref], g.stage)
	}
	for i := range snap.Clusters {
		snap.Clusters[i].Rehearsed = stages[snap.Clusters[i].Ref]
	}
	return nil
}
