package supervisor_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/supervisor"
)

// engineLooks looks at an engine's nodes.
type engineLooks struct{ err error }

func (e engineLooks) Observe(context.Context, fleet.Cluster) (fleet.Observation, error) {
	return fleet.Observation{Nodes: []fleet.NodeObservation{{Cell: "main", Node: "n1", Role: fleet.RoleServing, Version: "1.0.3"}}}, e.err
}

// Nobody asks for the gateway, the record or the way back of an engine; what could not be read of it is unknown.
func TestAnEngineIsLookedAt(t *testing.T) {
	w := api.Watched{Cluster: fleet.Cluster{Env: "qa", Name: "jobs", Product: "jobs", Cells: []fleet.Cell{{Name: "main", Nodes: []fleet.Node{{Name: "n1"}}}}}}
	for want, looks := range map[string]supervisor.Looks{
		"":                            {Engines: engineLooks{}, Now: time.Now},
		"node n1: connection refused": {Engines: engineLooks{errDown}, Now: time.Now},
		"node n1: this supervisor's file says nothing of jobs": {Now: time.Now},
	} {
		o := looks.Observe(ctx, w)
		if o.Unknown() != want || o.At.IsZero() || len(o.Nodes) != 1 {
			t.Errorf("unknown %q, want %q: %+v", o.Unknown(), want, o)
		}
	}
	_, err := supervisor.Kinds{Engines: engineLooks{}}.Observe(ctx, fleet.Cluster{Product: "mariadb"})
	if err == nil || !strings.Contains(err.Error(), "says nothing of mariadb") {
		t.Errorf("a database that nobody drives: %v", err)
	}
	if _, err := (supervisor.Kinds{Databases: engineLooks{errDown}}).Observe(ctx, fleet.Cluster{Product: "mariadb"}); !errors.Is(err, errDown) {
		t.Errorf("a database: %v", err)
	}
}

// A supervisor tells nothing of clusters that its file says nothing of: another one looks at them.
func TestAClusterThatIsNotCoveredIsLeftToOthers(t *testing.T) {
	w := newWorld(t, 3, 15*time.Second, time.Now)
	var mu sync.Mutex
	asked := map[string]bool{}
	s := supervisor.New(supervisor.Config{
		Name: "qa-1", Env: "qa", Server: w.agent("qa"), Log: slog.New(slog.DiscardHandler), Now: time.Now, Poll: time.Hour, WatchEvery: 20 * time.Millisecond,
		Covers: func(c fleet.Cluster) bool { return c.Name != "c01" },
		Observer: lookFunc(func(_ context.Context, c api.Watched) fleet.Observation {
			mu.Lock()
			defer mu.Unlock()
			asked[c.Cluster.Name] = true
			return fleet.Observation{At: time.Now()}
		}),
	})
	run, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- s.Run(run) }()
	defer func() { stop(); must(t, <-done) }()
	eventually(t, "the others are told of", func() bool {
		snap, err := w.store.Snapshot(ctx, "c")
		must(t, err)
		n := 0
		for _, p := range snap.Clusters {
			if p.Ref.Env == "qa" && !p.Received.IsZero() {
				n++
			}
		}
		return n == 2
	})
	mu.Lock()
	defer mu.Unlock()
	if asked["c01"] || !asked["c00"] || !asked["c02"] {
		t.Errorf("asked for %v", asked)
	}
}
