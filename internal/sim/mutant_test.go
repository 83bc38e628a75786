package sim

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/strategy"
)

// mutants are worlds with one safeguard taken out, and the words that tell what the matrix then has to see.
var mutants = map[string]struct {
	spoil func(w *world)
	red   string
}{
	"servers do not compare terms": {func(w *world) { w.lax = true }, "writable servers"}, // trap 1
	"the elect is opened before the old primary is read-only": {func(w *world) {
		promote := takeOut(&w.strides, "promote")
		i := slices.IndexFunc(w.strides, func(s stride) bool { return s.name == "demote" })
		w.strides = slices.Insert(w.strides, i, promote)
	}, "writable servers"},
	"the elect is not waited for":               {func(w *world) { takeOut(&w.strides, "wait") }, "does not end"},
	"nothing is noted before the demotion":      {func(w *world) { takeOut(&w.strides, "note") }, "waits for a primary for 5 minutes"},
	"a switch that is called off stays so":      {func(w *world) { w.undoStrides = nil }, "no server is writable"},
	"the judge lets pass what it did not count": {func(w *world) { w.lenient = true }, "without a verdict that passes"},
	"a demoted server boots writable":           {func(w *world) { w.bootsWritable = true }, "writable servers"}, // trap 2
}

func takeOut(list *[]stride, name string) stride {
	i := slices.IndexFunc(*list, func(s stride) bool { return s.name == name })
	s := (*list)[i]
	*list = slices.Delete(slices.Clone(*list), i, i+1)
	return s
}

// TestMutants takes out one safeguard after the other, and the matrix of the points inside the storage switch has to see each.
func TestMutants(t *testing.T) {
	all := scenarios()
	list := slices.DeleteFunc(jobs(false, 1), func(j job) bool {
		return !strings.HasPrefix(j.edge, strategy.StageSwitchStorage+"/forward/1-switch-storage/point/")
	})
	list = append([]job{{scenario: "the switch is called off"}}, list...) // without a fault
	for name, m := range mutants {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for i, j := range list {
				cfg := j.config(all)
				cfg.spoil, cfg.Limits = m.spoil, 15*time.Minute
				_, err := Run(cfg)
				if err != nil && !strings.Contains(err.Error(), m.red) {
					t.Fatalf("run %d saw something else than %q: %v", i+1, m.red, err)
				}
				if err != nil {
					t.Logf("seen in run %d: %v", i+1, err)
					return
				}
			}
			t.Errorf("%d runs did not see it", len(list))
		})
	}
}
