package sim

import (
	"flag"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/windlass-db/windlass/internal/driver/mysql"
	"github.com/windlass-db/windlass/internal/engine"
)

var trace = flag.Bool("sim.trace", false, "print what happens in a run")

func (c Config) traced(t *testing.T) Config {
	if *trace {
		c.Trace = t.Logf
	}
	return c
}

func TestACampaignArrives(t *testing.T) {
	rep, err := Run(Config{Seed: 1, Envs: []string{"qa", "prod"}, Clusters: 3, Limit: 2, Limits: 5 * time.Minute}.traced(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", rep)
	if rep.Outcomes[engine.Completed] != 36 || len(rep.Outcomes) != 1 || rep.Resumed != 0 || rep.Mended != 0 || rep.ClientErrs != 0 || rep.Unknown != 0 {
		t.Errorf("an undisturbed campaign came to %+v", rep)
	}
}

// The strides of the simulated switch are those of the driver, under the same names, in the same order.
func TestTheStridesAreTheDriversOwn(t *testing.T) {
	points := func(list []stride) (out []string) {
		for _, s := range list {
			out = append(append(out, s.inside...), "after-"+s.name)
		}
		return out
	}
	if d := cmp.Diff(mysql.Points(), points(strides)); d != "" {
		t.Errorf("driver - simulation +\n%s", d)
	}
	if d := cmp.Diff(mysql.UndoPoints(), points(undoStrides)); d != "" {
		t.Errorf("driver - simulation +\n%s", d)
	}
}
