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
	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/state"
	"github.com/windlass-db/windlass/internal/strategy"
	"github.com/windlass-db/windlass/internal/supervisor"
)

// duo is a cluster of two nodes of which one may be writable.
type duo struct {
	mu     sync.Mutex
	open   bool
	broken error // why it can't be opened
	terms  []int64
}

func (d *duo) restart() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open = false
}

func (d *duo) writable() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.open
}

func (d *duo) look(context.Context, api.Watched) fleet.Observation {
	role := fleet.RoleReplica
	if d.writable() {
		role = fleet.RolePrimary
	}
	return fleet.Observation{At: time.Now(), Nodes: []fleet.NodeObservation{{Cell: "blue", Node: "blue-1", Role: role}, {Cell: "blue", Node: "blue-2", Role: fleet.RoleReplica}}}
}

func (d *duo) settle(_ context.Context, a engine.Assignment) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open {
		return nil
	}
	d.terms = append(d.terms, a.Term)
	d.open = d.broken == nil
	return d.broken
}

func (d *duo) tried() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.terms)
}

// watcher runs a supervisor that watches one cluster, and works if it is given handlers.
func (w *world) watcher(d *duo, hs engine.Handlers, leave ...bool) (stop func()) {
	s := supervisor.New(supervisor.Config{
		NoReopen: len(leave) > 0,
		Name:     "qa-1", Env: "qa", Server: w.agent("qa"), Log: slog.New(slog.DiscardHandler), Now: time.Now, Handlers: hs,
		Poll: 10 * time.Millisecond, WatchEvery: 10 * time.Millisecond, Observer: lookFunc(d.look), Engine: engine.Options{OnLease: d.settle},
	})
	run, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- s.Run(run) }()
	return sync.OnceFunc(func() { cancel(); must(w.t, <-done) })
}

func (w *world) told(kind string) (n int, last state.Event) {
	w.t.Helper()
	all, err := w.store.Events(ctx, state.EventFilter{Ref: fleet.ClusterRef{Env: "qa", Name: "c00"}})
	must(w.t, err)
	for _, e := range all {
		if e.Kind == kind {
			n, last = n+1, e
		}
	}
	return n, last
}

// A primary that was restarted while no action has its cluster is opened again by the watch, under a new term, and it is told. (trap 2)
func TestARestartedPrimaryIsOpenedWithoutAnAction_trap2(t *testing.T) {
	w := newWorld(t, 1, 15*time.Second, time.Now)
	d := &duo{open: true}
	defer w.watcher(d, engine.Handlers{})()
	for i := range 2 {
		d.restart()
		eventually(t, "it is writable again", d.writable)
		eventually(t, "it is told", func() bool {
			n, e := w.told("primary-opened")
			return n == i+1 && e.Loud && strings.Contains(e.Message, "blue/blue-1")
		})
		eventually(t, "it is seen well", func() bool {
			o, err := w.store.LastObservation(ctx, fleet.ClusterRef{Env: "qa", Name: "c00"})
			_, ok := o.Primary()
			return err == nil && ok
		})
	}
	if len(d.terms) != 2 || d.terms[0] == 0 || d.terms[1] <= d.terms[0] {
		t.Errorf("opened under the terms %v", d.terms)
	}
	if n, e := w.told("no-primary"); n > 0 {
		t.Errorf("what was mended at once was told as an outage: %+v", e)
	}
}

// One that can't be opened is told with the reason, once, and is not tried again with every look.
func TestAClusterThatCantBeMendedIsTold(t *testing.T) {
	w := newWorld(t, 1, 15*time.Second, time.Now)
	d := &duo{broken: errors.New("blue-2 is ahead")}
	defer w.watcher(d, engine.Handlers{})()
	eventually(t, "it is told", func() bool {
		n, e := w.told("primary-not-opened")
		return n == 1 && strings.Contains(e.Message, "blue-2 is ahead")
	})
	eventually(t, "the outage is told", func() bool { n, _ := w.told("no-primary"); return n == 1 })
	if n := d.tried(); n > 2 { // the first wait is five seconds
		t.Errorf("tried %d times", n)
	}
}

// Where a failover tool opens primaries, the watch opens none, and still tells of the outage.
func TestAPrimaryIsLeftToAFailoverTool(t *testing.T) {
	w := newWorld(t, 1, 15*time.Second, time.Now)
	d := &duo{}
	defer w.watcher(d, engine.Handlers{}, true)()
	eventually(t, "the outage is told", func() bool { n, _ := w.told("no-primary"); return n == 1 })
	if d.writable() || d.tried() > 0 {
		t.Error("it was opened")
	}
}

// In the middle of a long act the primary is opened under the action's own term; in a stage that moves the primary the watch
// leaves it alone.
func TestARestartedPrimaryIsOpenedInTheMiddleOfAnAct_trap2(t *testing.T) {
	w := newWorld(t, 1, 15*time.Second, time.Now)
	d := &duo{open: true}
	s := newStage()
	hold := map[strategy.Kind]chan struct{}{strategy.SeedNodes: make(chan struct{}), strategy.SwitchStorage: make(chan struct{})}
	in := make(chan int64)
	hs := s.handlers("qa-1", func(ctx context.Context, c *engine.Call) error {
		if wait := hold[c.Step.Kind]; wait != nil {
			in <- c.Term
			<-wait
		}
		return nil
	})
	defer w.watcher(d, hs)()
	start := func() {
		t.Helper()
		_, err := w.store.Launch(ctx, "c", "", "me", func(snap campaign.Snapshot, now time.Time) []campaign.Decision {
			snap.Campaign.Schedule.Always, snap.Campaign.Soak = true, campaign.Soak{}
			return campaign.Decide(snap, now)
		})
		must(t, err)
	}
	start()
	term := <-in
	d.restart()
	eventually(t, "it is writable again in the middle of the seed", d.writable)
	if len(d.terms) != 1 || d.terms[0] != term {
		t.Errorf("opened under the terms %v, the action's is %d", d.terms, term)
	}
	eventually(t, "it is told", func() bool { n, e := w.told("primary-opened"); return n == 1 && e.Term == term })
	close(hold[strategy.SeedNodes])
	at := func(stage string) func() bool {
		return func() bool {
			snap, err := w.store.Snapshot(ctx, "c")
			must(t, err)
			return snap.Clusters[0].Action == nil && snap.Clusters[0].Stage == stage || snap.Clusters[1].Action == nil && snap.Clusters[1].Stage == stage
		}
	}
	eventually(t, "create has ended", at("create"))
	start()
	eventually(t, "verify has ended", at("verify"))
	start()
	eventually(t, "replay has ended", at("replay"))
	start()
	<-in
	before := d.tried()
	d.restart()
	looked := time.Now()
	eventually(t, "it was looked at since", func() bool {
		o, err := w.store.LastObservation(ctx, fleet.ClusterRef{Env: "qa", Name: "c00"})
		must(t, err)
		return o.At.After(looked.Add(100 * time.Millisecond))
	})
	if d.writable() || d.tried() != before {
		t.Error("the watch opened a primary in the middle of a switch")
	}
	close(hold[strategy.SwitchStorage])
	eventually(t, "it is opened after the switch", d.writable)
}
