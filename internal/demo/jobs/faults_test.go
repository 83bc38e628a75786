package jobs

import (
	"context"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/driver/process"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/driver/service"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/engine/enginetest"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/rolling"
	"github.com/windlass-db/windlass/internal/strategy"
)

// spoilt are nodes some of which are started on the new version otherwise than they should be.
type spoilt struct {
	rolling.Nodes
	mu  sync.Mutex
	how map[string]rolling.Nodes
}

func (s *spoilt) Start(ctx context.Context, c fleet.Cluster, n fleet.Node, version string, term int64) error {
	s.mu.Lock()
	other := s.how[n.Name]
	s.mu.Unlock()
	if other != nil && version == New {
		return other.Start(ctx, c, n, version, term)
	}
	return s.Nodes.Start(ctx, c, n, version, term)
}

// set spoils a node; nil mends it.
func (s *spoilt) set(node string, how rolling.Nodes) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.how[node] = how
}

// spoil makes a driver that starts the new version in another way.
func (w *world) spoil(change func(*service.Version)) rolling.Nodes {
	w.Helper()
	c := w.Nodes()
	for i := range c.Versions {
		if c.Versions[i].Version == New {
			change(&c.Versions[i])
		}
	}
	d, err := service.New(c)
	must(w, err)
	return d
}

// A first node that never gets healthy, or that says the old version, sends the action back; a later one holds it, with the reason, while the
// others serve; mended, it goes on. No client notices any of it. (C3, C4)
func TestNodesThatDoNotCome(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Postgres, 6)
	nodes := &spoilt{Nodes: w.Ports.Nodes, how: map[string]rolling.Nodes{}}
	w.Ports.Nodes = nodes
	ill := w.spoil(func(v *service.Version) {
		v.Env = map[string]string{DSNVariable: "postgres://nobody@127.0.0.1:1/none?sslmode=disable"}
	})
	liar := w.spoil(func(v *service.Version) { v.Command = w.Command(Old) })
	w.forward(strategy.StageExpandSchema)
	patient := w.camp.Rolling.HealthyWithin
	for _, tried := range []struct {
		want   string
		how    rolling.Nodes
		within time.Duration // of the way there; the way back takes as many of it as it needs
	}{
		{"does not get healthy", ill, 2 * time.Second},
		{"says that it runs 1.0", liar, 15 * time.Second}, // it has to come up to say so
	} {
		nodes.set("n1", tried.how)
		w.camp.Rolling.HealthyWithin = tried.within
		if o, message := w.run(w.add(strategy.StageCanary, strategy.Forward), nil); o != engine.WentBack || !strings.Contains(message, tried.want) || !strings.Contains(message, "n1") {
			t.Errorf("%s: %s: %s", tried.want, o, message)
		}
		w.on(Old)
	}
	w.camp.Rolling.HealthyWithin = patient
	nodes.set("n1", nil)
	w.forward(strategy.StageCanary)

	w.camp.Rolling.HealthyWithin = 2 * time.Second
	nodes.set("n4", ill)
	id, done := w.add(strategy.StageNodes, strategy.Forward), make(chan string, 1)
	go func() {
		o, message := w.run(id, nil)
		done <- string(o) + ": " + message
	}()
	processtest.Until(t, 2*time.Minute, "the action holds for n4", func() bool {
		return slices.ContainsFunc(w.mem.Rows(), func(r enginetest.Row) bool {
			return r.ActionID == id && r.Record.Phase == engine.Waiting && r.Record.Held && strings.Contains(r.Record.Message, "n4") && strings.Contains(r.Record.Message, "does not get healthy") && strings.Contains(r.Record.Message, "The others go on serving")
		})
	})
	if n, err := w.Serving(t.Context()); err != nil || n < 4 {
		t.Errorf("%d nodes serve while it holds, %v", n, err)
	}
	nodes.set("n4", nil) // a person mends it
	local := service.Local{Root: w.NodesRoot()}
	must(t, local.Process(w.Cluster.Ref(), fleet.Node{Name: "n4"}).Kill(t.Context()))
	if end := <-done; !strings.HasPrefix(end, string(engine.Completed)) {
		t.Errorf("mended: %s", end)
	}
	w.camp.Rolling.HealthyWithin = patient
	w.forward(strategy.StageFinalize)
	w.judge()
	w.on(New)
}

// breaks does what a fault does, and waits until enough nodes serve again. For a moment more a node may find connections to the
// database in its pool that have ended.
func (w *world) breaks(serving int, do func() error) [2]time.Time {
	w.Helper()
	from := time.Now()
	must(w, do())
	processtest.Until(w, time.Minute, "the nodes serve again", func() bool {
		n, err := w.Serving(context.Background())
		return err == nil && n >= serving
	})
	return [2]time.Time{from, time.Now().Add(2 * time.Second)}
}

// restart ends a process at once, and starts it again.
func restart(p process.Spec, sig syscall.Signal) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, pid, err := p.Status()
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, sig); err != nil {
		return err
	}
	if err := until(ctx, func() (bool, string) {
		s, _, err := p.Status()
		return err == nil && s == process.Stopped, "it has not ended"
	}); err != nil {
		return err
	}
	return p.Start(ctx)
}

// HAProxy is killed and started again while a group is drained, while it is stopped, and while it comes back: it has forgotten who was out each
// time. Then the database is restarted under a group that is out. The upgrade goes on to its end, and requests fail only while what they
// need is away. Before, the first node's process dies right after its step: it goes back. And one of a later group dies right after its watch: that
// holds, until somebody has started it again.
func TestRestartsInTheMiddle(t *testing.T) {
	for _, k := range []Kind{Postgres, MariaDB} {
		t.Run(string(k), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, k, 6)
			var broken [][2]time.Time
			dead := false
			die := func(node string) {
				dead = true
				broken = append(broken, w.breaks(5, func() error {
					return service.Local{Root: w.NodesRoot()}.Process(w.Cluster.Ref(), fleet.Node{Name: node}).Kill(context.Background())
				}))
			}
			w.forward(strategy.StageExpandSchema)
			if o, message := w.run(w.add(strategy.StageCanary, strategy.Forward), func(e engine.Edge) {
				if e.Kind == strategy.UpgradeCanary && e.Write == engine.WriteDone && e.After && !dead {
					die("n1")
				}
			}); o != engine.WentBack || !strings.Contains(message, "n1 does not run") {
				t.Fatalf("the first node died: %s: %s", o, message)
			}
			w.on(Old)
			dead = false
			w.forward(strategy.StageCanary)
			haproxy := func() error { return restart(w.Balancer.spec, syscall.SIGKILL) }
			database := func() error { return restart(w.Database.spec, syscall.SIGINT) }
			if k == MariaDB {
				database = func() error { return restart(w.Database.spec, syscall.SIGKILL) }
			}
			faults := map[string][]func() error{"drained": {haproxy}, "left": {nil, haproxy}, "stopped": {haproxy, database}, "admitted": {nil, nil, haproxy}}
			id := w.add(strategy.StageNodes, strategy.Forward)
			mended := make(chan struct{})
			o, message := w.run(id, func(e engine.Edge) {
				if a, _, _ := w.mem.Action(id); e.Write == engine.WriteSave && e.After && !dead && strings.Contains(a.Steps[0].Message, " serves on "+New) {
					node, _, _ := strings.Cut(a.Steps[0].Message, ",")
					die(node)
					go func() { defer close(mended); w.mendsWhatHolds(id, node) }()
				}
				if at := faults[e.Point]; len(at) > 0 {
					faults[e.Point] = at[1:]
					if at[0] != nil {
						broken = append(broken, w.breaks(3, at[0]))
					}
				}
			})
			if o != engine.Completed {
				t.Fatalf("%s: %s", o, message)
			}
			if len(broken) != 7 {
				t.Fatalf("%d faults happened", len(broken))
			}
			<-mended
			w.forward(strategy.StageFinalize)
			w.judge(broken...)
			w.on(New)
		})
	}
}

// mendsWhatHolds sees the action hold for a node whose process is gone, which nobody starts again but this.
func (w *world) mendsWhatHolds(id int64, node string) {
	n := w.Cluster.Cells[0].Nodes[slices.IndexFunc(w.Cluster.Cells[0].Nodes, func(n fleet.Node) bool { return n.Name == node })]
	holds := func() (engine.Assignment, bool) {
		a, _, _ := w.mem.Action(id)
		m := a.Steps[0].Message
		return a, strings.HasPrefix(m, node+" does not run") && strings.Contains(m, "It served on "+New) && strings.Contains(m, "nothing more is taken out")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := until(ctx, func() (bool, string) { a, ok := holds(); return ok, a.Steps[0].Message }); err != nil {
		w.Errorf("%s died, and the action does not hold for it: %v", node, err)
	}
	a, _ := holds()
	if err := w.nodes.Start(ctx, w.Cluster, n, New, a.Term); err != nil {
		w.Errorf("start %s again: %v", node, err)
	}
}

// allEnv makes the matrix whole: a kill at every edge, forward and back.
const allEnv = "WINDLASS_FAULTS"

// The supervisor, which is a process of its own, is killed with SIGKILL at edges of the whole upgrade, one after the other within one run: each of the
// chosen edges once, when it is met first. Whoever takes over goes on, and nobody notices.
func TestTheSupervisorIsKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, MariaDB, 6)
	w.lease = 1500 * time.Millisecond
	whole := os.Getenv(allEnv) == "all"
	hs, err := engine.NewHandlers(rolling.Handlers(w.Ports)...)
	must(t, err)
	type leg struct {
		stage string
		dir   strategy.Direction
	}
	var legs []leg
	for _, name := range all() {
		if name == strategy.StageFinalize && whole { // first once back, and forward again
			legs = append(legs, leg{strategy.StageNodes, strategy.Back}, leg{strategy.StageCanary, strategy.Back}, leg{strategy.StageCanary, strategy.Forward}, leg{strategy.StageNodes, strategy.Forward})
		}
		legs = append(legs, leg{name, strategy.Forward})
	}
	chosen, n := map[string]bool{}, 0
	for _, l := range legs {
		plan, _ := strategy.Rolling().Expand(l.stage, l.dir)
		for _, e := range engine.Edges(plan, hs) {
			switch e.Write {
			case engine.WriteFailed, engine.WriteTurn, engine.WriteWaiting, engine.WriteRelease:
				continue // nothing fails or waits here: internal/rolling kills at these in its model
			}
			if e.Undo || chosen[e.String()] {
				continue
			}
			if n++; whole || n%5 == 2 {
				chosen[e.String()] = true
			}
		}
	}
	kills := 0
	for _, l := range legs {
		o, message := w.runProcesses(w.add(l.stage, l.dir), func(edge string) bool {
			dies := chosen[edge]
			if dies {
				chosen[edge] = false
				kills++
			}
			return dies
		})
		if o != engine.Completed {
			t.Fatalf("%s %s: %s: %s", l.stage, l.dir, o, message)
		}
	}
	var unmet []string
	for e, waits := range chosen {
		if waits {
			unmet = append(unmet, e)
		}
	}
	slices.Sort(unmet)
	t.Logf("%d kills, of %d edges", kills, n)
	if len(unmet) > 0 {
		t.Errorf("no run met %v", unmet)
	}
	w.judge()
	w.on(New)
	if open, _, err := w.Ports.Features.Open(context.Background(), w.Cluster, New, nil); err != nil || !open {
		t.Errorf("features are open: %v, %v", open, err)
	}
}
