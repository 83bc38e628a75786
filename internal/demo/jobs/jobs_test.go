package jobs

import (
	"context"
	"testing"
)

// The site as the demo has it goes to the new version under load, over both databases: the drivers' way, without the control plane.
func TestRaise(t *testing.T) {
	for _, k := range []Kind{Postgres, MariaDB} {
		t.Run(string(k), func(t *testing.T) {
			w := newWorld(t, k, 6)
			for _, n := range w.Cluster.Cells[0].Nodes {
				if n, what, err := w.Ports.Connections.Of(t.Context(), w.Cluster, n); err != nil || n == 0 {
					t.Errorf("connections: %d, %s, %v", n, what, err)
				}
			}
			w.forward(all()...)
			o := w.judge()
			w.on(New)
			if o.Across == 0 {
				t.Error("no job was begun on the old version and finished on the new one")
			}
			if n, err := w.OldAfterOpening(context.Background()); err != nil || n > 0 {
				t.Errorf("%d steps by old nodes after the features were opened, %v", n, err)
			}
			if w.load.FeatureSince().IsZero() {
				t.Log("no client was given the feature before the load ended")
			}
		})
	}
}
