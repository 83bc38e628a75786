package sim

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/windlass-db/windlass/internal/engine"
)

var writeFixtures = flag.String("sim.fixtures", "", "write the fixtures of this release, such as 0.1, and hold them against nothing")

// fixture is an action as a release left it in the state when its supervisor died at an edge.
type fixture struct {
	Scenario   string            `json:"scenario"`
	Edge       string            `json:"edge"`
	Assignment engine.Assignment `json:"assignment"`
}

// left runs each scenario that meets an edge first, kills the supervisor there, and gives what the next one leases to resume.
func left(t *testing.T, list []job, resume func(j job, a *engine.Assignment)) {
	all := scenarios()
	atOnce(list, func(j job) {
		cfg := j.config(all)
		came := false
		cfg.resume = func(edge string, a *engine.Assignment) {
			if edge == j.edge && !came {
				came = true
				resume(j, a)
			}
		}
		if rep, err := Run(cfg); err != nil {
			t.Errorf("%s: %v\nrun it again: %s", j.scenario, err, j.command())
		} else if rep.Hit == 0 {
			t.Errorf("%s: nobody was killed at %s", j.scenario, j.edge)
		}
	})
}

// TestReleaseResumesWhatAnOlderOneLeft_trap9: this release goes on, at every edge, from the rows that each older release left
// there: with the older one's plan, records, campaign and cluster, word for word. A field that it does not know would be lost in
// silence, so it is an error. Before a release its own fixtures are written:
//
//	go test ./internal/sim -run Release -sim.fixtures 0.2
func TestReleaseResumesWhatAnOlderOneLeft_trap9(t *testing.T) {
	if *writeFixtures != "" {
		write(t, filepath.Join("testdata", "fixtures-"+*writeFixtures+".jsonl.gz"))
		return
	}
	files, err := filepath.Glob("testdata/fixtures-*.jsonl.gz")
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no fixtures: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			fixtures := read(t, file)
			var list []job
			for edge, f := range fixtures {
				list = append(list, job{f.Scenario, edge, Supervisor, seedOf(f.Scenario, edge)})
			}
			var mu sync.Mutex
			resumed := 0
			left(t, list, func(j job, a *engine.Assignment) {
				f := fixtures[j.edge].Assignment
				f.ActionID, f.Term, f.LeaseTTL, f.Abort = a.ActionID, a.Term, a.LeaseTTL, a.Abort
				*a = f
				mu.Lock()
				defer mu.Unlock()
				resumed++
			})
			// An action that ended under its last write is not leased again.
			if resumed < len(fixtures)*9/10 {
				t.Errorf("%d of %d fixtures were resumed", resumed, len(fixtures))
			}
			t.Logf("%d of %d fixtures were resumed", resumed, len(fixtures))
		})
	}
}

func read(t *testing.T, file string) map[string]fixture {
	t.Helper()
	b, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	z, err := gzip.NewReader(b)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bufio.NewReader(z))
	d.DisallowUnknownFields()
	all := map[string]fixture{}
	for {
		var f fixture
		switch err := d.Decode(&f); {
		case errors.Is(err, io.EOF):
			return all
		case err != nil:
			t.Fatalf("%s: this release does not understand what the older one wrote: %v", file, err)
		}
		all[f.Edge] = f
	}
}

func write(t *testing.T, file string) {
	var mu sync.Mutex
	var all []fixture
	var list []job
	for _, j := range jobs(false, 1) {
		if j.victim == Supervisor {
			j.seed = seedOf(j.scenario, j.edge)
			list = append(list, j)
		}
	}
	left(t, list, func(j job, a *engine.Assignment) {
		b, err := json.Marshal(a)
		f := fixture{Scenario: j.scenario, Edge: j.edge}
		if err = errors.Join(err, json.Unmarshal(b, &f.Assignment)); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		all = append(all, f)
	})
	slices.SortFunc(all, func(a, b fixture) int { return strings.Compare(a.Edge, b.Edge) })
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	e := json.NewEncoder(z)
	for _, f := range all {
		if err := e.Encode(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(z.Close(), os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, out.Bytes(), 0o644)); err != nil {
		t.Fatal(err)
	}
	fmt.Printf("%d of %d edges leave a fixture, %d bytes\n", len(all), len(list), out.Len())
}
