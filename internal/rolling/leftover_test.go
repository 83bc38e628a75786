package rolling

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

// An undo that could not go on has left one node on the new version: it is taken for the canary. Two of them are somebody's doing, and nothing
// is taken out.
func TestAnUndoThatCouldNotGoOnIsNoDeadEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 6)
		w.schema = "1.1"
		w.nodes["n3"].version = "1.1"
		if o, message := w.stage(1, strategy.StageCanary, strategy.Forward, nil); o != engine.Completed {
			t.Fatalf("%s: %s", o, message)
		}
		w.want("1.0", "1.0", "1.1", "1.0", "1.0", "1.0")
		w.nodes["n3"].version = "1.0"
		w.nodes["n4"].version, w.nodes["n5"].version = "1.1", "1.1"
		if o, message := w.stage(2, strategy.StageCanary, strategy.Forward, nil); o == engine.Completed {
			t.Errorf("%s: %s", o, message)
		}
		w.want("1.0", "1.0", "1.0", "1.1", "1.1", "1.0")
	})
}

// broken are nodes that can't be started on one version: its program is missing.
type broken struct {
	nodes
	name, version string
	tries         int
}

func (b *broken) Start(ctx context.Context, c fleet.Cluster, n fleet.Node, version string, term int64) error {
	if n.Name == b.name && version == b.version {
		b.tries++
		return errors.New("no such file")
	}
	return b.nodes.Start(ctx, c, n, version, term)
}

// A first node that can't be started goes back as one that does not get healthy, after as long; a later one holds, and the others of its group serve.
func TestANodeThatDoesNotStart(t *testing.T) {
	for name, x := range map[string]struct {
		node     string
		outcome  engine.Outcome
		versions []string
	}{
		"the first":   {"n1", engine.WentBack, old},
		"a later one": {"n2", engine.Aborted, mixed},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 6)
				w.schema, w.camp.Rolling.Group = "1.1", "2"
				b := &broken{nodes: nodes{w}, name: x.node, version: "1.1"}
				p := w.ports()
				p.Nodes = b
				hs, err := engine.NewHandlers(Handlers(p)...)
				if err != nil {
					t.Fatal(err)
				}
				w.own = &hs
				began := time.Now()
				stage, id := strategy.StageCanary, int64(1)
				o, message := w.stage(id, stage, strategy.Forward, nil)
				if x.node != "n1" {
					time.AfterFunc(time.Hour, func() {
						if is := w.versions(); is[1] != "-" || len(slices.DeleteFunc(is, func(v string) bool { return v != "1.1" })) != 2 {
							t.Errorf("while it waits: %v", w.versions())
						}
						w.mem.Abort(2)
					})
					o, message = w.stage(2, strategy.StageNodes, strategy.Forward, nil)
				} else if took := time.Since(began); took > 5*time.Minute {
					t.Errorf("it took %v", took)
				}
				if o != x.outcome || b.tries < 2 {
					t.Errorf("%s after %d tries: %s", o, b.tries, message)
				}
				w.want(x.versions...)
			})
		})
	}
}
