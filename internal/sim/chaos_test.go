package sim

import (
	"flag"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var chaosSeed = flag.Uint64("sim.chaos", 0, "the one seed that TestChaos runs")

// TestChaos hurts something every twenty seconds or so, and loses one call in a hundred, over several clusters at once. The
// same seed over the real state in SQLite goes the same way, event for event: the state in memory has its rules.
func TestChaos(t *testing.T) {
	seeds := []uint64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	if *chaosSeed != 0 {
		seeds = []uint64{*chaosSeed}
	}
	run := func(t *testing.T, seed uint64, dir string) Report {
		cfg := Config{Seed: seed, Envs: []string{"qa", "prod"}, Clusters: 2, Limit: 2, Slots: 2, Owned: seed%2 == 0, Flaky: 0.01, Chaos: 20 * time.Second, Real: dir}
		rep, err := Run(cfg.traced(t))
		if err != nil {
			t.Errorf("%v\nrun it again: go test ./internal/sim -run '^TestChaos$' -v -sim.trace -sim.chaos %d", err, seed)
		}
		t.Logf("seed %d: %v, %d events, %d hurt, %d resumed, %d times put right, %d writes, %d of them unknown, longest stall %v",
			seed, rep.Took, rep.Events, rep.Hit, rep.Resumed, rep.Mended, rep.Acked, rep.Unknown, rep.Stall)
		return rep
	}
	for i, seed := range seeds {
		rep := run(t, seed, "")
		if i > 0 {
			continue
		}
		if d := cmp.Diff(rep, run(t, seed, t.TempDir())); d != "" {
			t.Errorf("seed %d: memory - SQLite +\n%s", seed, d)
		}
	}
}
