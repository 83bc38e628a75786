package supervisor_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/state/statetest"
	"github.com/windlass-db/windlass/internal/supervisor"
)

// stage is a world in which every step of every kind takes a moment, and which sees who acts on which cluster.
type stage struct {
	mu   sync.Mutex
	busy map[fleet.ClusterRef]string // who acts on it now
	done map[string]bool             // cluster and step
	by   map[string]int              // acts by supervisor
	errs []string
}

func (s *stage) handlers(who string, act func(ctx context.Context, c *engine.Call) error) engine.Handlers {
	var list []engine.Handler
	for _, k := range statetest.Kinds() {
		h := engine.Handler{Kind: k.Kind, Version: k.Version}
		key := func(c *engine.Call) string { return fmt.Sprint(c.Cluster.Ref(), c.Plan.Stage, c.Step.Kind) }
		h.Forward.Observe = func(_ context.Context, c *engine.Call) (engine.Observation, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			return engine.Observation{There: s.done[key(c)]}, nil
		}
		h.Forward.Do = func(ctx context.Context, c *engine.Call) (engine.Result, error) {
			s.mu.Lock()
			if other, is := s.busy[c.Cluster.Ref()]; is {
				s.errs = append(s.errs, fmt.Sprintf("%s and %s act on %s", who, other, c.Cluster.Ref()))
			}
			if s.done[key(c)] {
				s.errs = append(s.errs, "done twice: "+key(c))
			}
			s.busy[c.Cluster.Ref()] = who
			s.by[who]++
			s.mu.Unlock()
			err := act(ctx, c)
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.busy, c.Cluster.Ref())
			s.done[key(c)] = err == nil
			return engine.Result{}, err
		}
		list = append(list, h)
	}
	hs, err := engine.NewHandlers(list...)
	if err != nil {
		panic(err)
	}
	return hs
}

func newStage() *stage {
	return &stage{busy: map[fleet.ClusterRef]string{}, done: map[string]bool{}, by: map[string]int{}}
}

func blind(context.Context, api.Watched) fleet.Observation { return fleet.Observation{At: time.Now()} }

// Three supervisors of one environment share its work over the API: each does some of it, none does what another does or
// has done, and nothing of another environment.
func TestSupervisorsShareTheWork(t *testing.T) {
	const clusters = 6
	w := newWorld(t, clusters, 15*time.Second, time.Now)
	w.launch()
	s := newStage()
	var met sync.WaitGroup // the first act of each supervisor waits for those of the others
	met.Add(3)
	run, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	for i := range 3 {
		name := fmt.Sprintf("qa-%d", i)
		first := sync.OnceFunc(func() { met.Done(); met.Wait() })
		sup := supervisor.New(supervisor.Config{Name: name, Env: "qa", Server: w.agent("qa"), Log: slog.New(slog.DiscardHandler), Now: time.Now, Slots: 2, Poll: 5 * time.Millisecond, WatchEvery: time.Hour,
			Observer: lookFunc(blind), Handlers: s.handlers(name, func(context.Context, *engine.Call) error { first(); return nil })})
		all.Go(func() {
			if err := sup.Run(run); err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, "every cluster of qa has completed its stage", func() bool {
		snap, err := w.store.Snapshot(ctx, "c")
		must(t, err)
		n := 0
		for _, p := range snap.Clusters {
			if p.Ref.Env == "qa" && p.Stage == "create" {
				n++
			}
		}
		return n == clusters
	})
	stop()
	all.Wait()
	if len(s.errs) > 0 || len(s.by) != 3 {
		t.Errorf("acts by supervisor: %v; %v", s.by, s.errs)
	}
	if a := w.action("prod", "c00"); a.Status != "queued" {
		t.Errorf("prod's action is %s", a.Status)
	}
}

// child is this test's program run again as a supervisor process.
const child = "WINDLASS_TEST_SUPERVISOR"

func TestMain(m *testing.M) {
	if url := os.Getenv(child); url != "" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		c, err := api.NewClient(url, os.Getenv(child+"_TOKEN"), "")
		if err == nil {
			err = supervisor.New(supervisor.Config{Name: "child", Env: "qa", Slots: 1, Server: c.Agent("qa"), Log: slog.New(slog.DiscardHandler), Now: time.Now, Poll: 5 * time.Millisecond, WatchEvery: time.Hour,
				Observer: lookFunc(blind), Handlers: newStage().handlers("child", func(ctx context.Context, _ *engine.Call) error {
					fmt.Println("acting")
					<-ctx.Done()
					return ctx.Err()
				})}).Run(ctx)
		}
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// process starts a supervisor process and waits until it acts.
func (w *world) process() *exec.Cmd {
	w.t.Helper()
	token, err := w.store.NewToken(ctx, supervisorToken, "test")
	must(w.t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), child+"="+w.http.URL, child+"_TOKEN="+token)
	out, err := cmd.StdoutPipe()
	must(w.t, err)
	must(w.t, cmd.Start())
	w.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "acting\n" {
		w.t.Fatalf("the process says %q: %v", line, err)
	}
	return cmd
}

// A supervisor process that gets SIGTERM in the middle of an act ends with 0 and gives its lease back at once, long before it
// would run out; after SIGKILL the lease has to run out.
func TestSignals(t *testing.T) {
	w := newWorld(t, 1, time.Hour, time.Now)
	w.launch()
	cmd := w.process()
	must(t, cmd.Process.Signal(syscall.SIGTERM))
	must(t, cmd.Wait())
	a := w.action("qa", "c00")
	if a.Status != "waiting" || a.Term != 1 || a.Steps[0].Phase == engine.Done {
		t.Errorf("after SIGTERM: %+v", a)
	}
	cmd = w.process() // takes it up at once
	must(t, cmd.Process.Kill())
	if err := cmd.Wait(); err == nil {
		t.Error("killed, and ended in good order")
	}
	if a := w.action("qa", "c00"); a.Status != "leased" || a.Term != 2 {
		t.Errorf("after SIGKILL: %+v", a)
	}
	if got, err := w.agent("qa").Lease(ctx, "other", statetest.Kinds()); err != nil || got != nil {
		t.Errorf("after SIGKILL another got the lease at once: %+v, %v", got, err)
	}
}
