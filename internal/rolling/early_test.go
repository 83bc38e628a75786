package rolling

import (
	"strings"
	"testing"
	"testing/synctest"

	product "github.com/windlass-db/windlass/examples/rolling"
	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/strategy"
)

// TestEarlyFeature: a feature of the new version that is used while old nodes are there is told by the step, and holds nothing: one that the
// product's file names as the new version's, and none of a release before.
func TestEarlyFeature(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3)
		w.camp.Rolling.LeastServing = 50
		text := strings.Replace(string(product.Product), `["1.0", "1.1"]`, `["0.9", "1.0", "1.1"]`, 1) + "  - {name: batches, since: \"1.0\", table: batch, source: ours}\n"
		w.camp.Policy = campaign.NewPolicy("jobs.yaml", text)
		for i, st := range strategy.Rolling().Stages[:3] {
			if st.Name == strategy.StageNodes {
				w.used = map[string]int{"priorities": 3, "batches": 1, "unnamed": 1}
			}
			o, message := w.stage(int64(i+1), st.Name, strategy.Forward, func(engine.Edge) {})
			if o != engine.Completed {
				t.Fatalf("%s: %s: %s", st.Name, o, message)
			}
			told := false
			a, _, _ := w.mem.Action(int64(i + 1))
			for _, r := range a.Steps {
				for _, c := range r.Checks {
					told = told || strings.HasSuffix(c.Detail, "in use before they are open: priorities (3)")
				}
			}
			if told != (st.Name == strategy.StageNodes) {
				t.Errorf("%s: told: %v", st.Name, told)
			}
		}
	})
}
