package bluegreen

import (
	"context"
	"fmt"

	"github.com/windlass-db/windlass/internal/engine"
)

// Settle is for engine.Options.OnLease: if every node of the cluster is seen read-only, the primary may have been restarted,
// and servers boot read-only (trap 2). Then a storage that can is asked to open it again. What a broken-off switch has left is
// not touched: the switch itself goes on from it.
func Settle(p Ports) func(ctx context.Context, a engine.Assignment) error {
	return func(ctx context.Context, a engine.Assignment) error {
		r, ok := p.Storage.(Reopener)
		if !ok {
			return nil
		}
		seen, err := p.Storage.Observe(ctx, a.Cluster)
		if err != nil {
			return err
		}
		if !seen.ReadOnly() {
			return nil
		}
		if err := r.Reopen(ctx, a.Cluster, a.Term); err != nil {
			return fmt.Errorf("open the primary of %s again: %w", a.Cluster.Ref(), err)
		}
		return nil
	}
}
