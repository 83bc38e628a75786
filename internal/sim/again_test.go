package sim

import (
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
)

var only = flag.String("sim.only", "", "of the matrix, the runs of which SCENARIO;EDGE;VICTIM matches this regular expression")

var again = flag.String("sim.run", "", "one run of the matrix, as its failure prints it: SEED;SCENARIO;EDGE;VICTIM")

// TestMain collects garbage more seldom: a run lives for milliseconds on little memory.
func TestMain(m *testing.M) {
	debug.SetGCPercent(1000)
	os.Exit(m.Run())
}

// job is one run of the matrix.
type job struct {
	scenario string
	edge     string
	victim   Victim
	seed     uint64
}

func (j job) config(all map[string]Config) Config {
	cfg := all[j.scenario]
	cfg.Seed = j.seed
	if j.edge != "" {
		cfg.Faults = []Fault{{j.edge, j.victim}}
	}
	return cfg
}

// command runs it again, and prints what happens.
func (j job) command() string {
	return fmt.Sprintf("go test ./internal/sim -run '^TestRunAgain$' -v -sim.trace -sim.run '%d;%s;%s;%s'", j.seed, j.scenario, j.edge, j.victim)
}

// TestRunAgain runs one run of the matrix by itself; without the flag it makes sure that the command which a failure prints
// is understood.
func TestRunAgain(t *testing.T) {
	text := *again
	if text == "" {
		text = "1;plain;" + edges(t)[0].String() + ";" + string(Supervisor)
	}
	f := strings.Split(text, ";")
	if len(f) != 4 {
		t.Fatalf("-sim.run %q is not SEED;SCENARIO;EDGE;VICTIM", text)
	}
	seed, err := strconv.ParseUint(f[0], 10, 64)
	if err != nil {
		t.Fatalf("-sim.run %q: the seed: %v", text, err)
	}
	all := scenarios()
	if _, ok := all[f[1]]; !ok {
		t.Fatalf("-sim.run %q: there is no scenario %q", text, f[1])
	}
	cfg := job{f[1], f[2], Victim(f[3]), seed}.config(all)
	rep, err := Run(cfg.traced(t))
	if err != nil {
		t.Fatal(err)
	}
	if rep.Hit == 0 {
		t.Errorf("edge %s was not met, or there was no %s to kill", f[2], f[3])
	}
	t.Logf("%+v", rep)
}
