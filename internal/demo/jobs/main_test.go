package jobs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/windlass-db/windlass/examples/jobs/programs"
	product "github.com/windlass-db/windlass/examples/rolling"
	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/driver/haproxy"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/driver/service"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/engine/enginetest"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/rolling"
	"github.com/windlass-db/windlass/internal/schema"
	"github.com/windlass-db/windlass/internal/strategy"
)

// built is the folder with the engine's program of each version.
var built string

func TestMain(m *testing.M) {
	code := 0
	var err error
	if len(os.Args) > 2 && os.Args[1] == asSupervisor {
		err = supervisorMain(os.Args[2])
	} else if built, err = os.MkdirTemp("", "jobs-programs-"); err == nil {
		if err = programs.Build(context.Background(), built); err == nil {
			code = m.Run()
		}
		err = errors.Join(err, os.RemoveAll(built))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// world is a site under load and watch, with what raises it.
type world struct {
	*testing.T
	*Site
	Ports  rolling.Ports
	camp   campaign.Campaign
	mem    *enginetest.Memory
	lease  time.Duration
	load   *Load
	watch  *Watch
	stop   func() // load and watch
	action int64
	began  time.Time
}

func newWorld(t *testing.T, k Kind, nodes int) *world {
	t.Helper()
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	s, err := Start(ctx, Config{Dir: dir, Ref: fleet.ClusterRef{Env: "qa", Name: "jobs"}, Database: k, Nodes: nodes, Programs: built,
		Port: func() (int, error) { return processtest.FreePort(t), nil }, Progress: func(text string) { t.Log(text) }})
	t.Cleanup(func() {
		end, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := s.Stop(end); err != nil {
			t.Errorf("stop the site: %v", err)
		}
	})
	must(t, err)
	w := &world{T: t, Site: s, mem: enginetest.NewMemory(time.Now), lease: time.Minute, load: NewLoad(s.Balancer.Front), watch: NewWatch(s)}
	x, err := schema.NewExpander(schema.ExpanderConfig{Dialect: schema.Dialect(k.Dialect()), Database: func(fleet.Cluster) (string, error) { return s.Database.AdminDSN(), nil },
		Folders: map[string]string{Old: s.Migrations(Old), New: s.Migrations(New)}})
	must(t, err)
	w.Ports = rolling.Ports{
		Nodes:       s.nodes,
		Balancer:    haproxy.New(haproxy.Config{Network: "unix", Address: s.Balancer.sock, Backend: Backend, Timeout: 20 * time.Second}),
		Connections: service.Connections{DB: s.DB, Dialect: k.Dialect(), By: service.ByApplication, Value: Connections},
		Schema:      x,
		Features:    service.Features{DB: s.DB, Dialect: k.Dialect(), Nodes: NodeURL},
	}
	w.camp = campaign.Campaign{Name: "c", Strategy: "rolling", Product: "jobs", Policy: campaign.NewPolicy("jobs.yaml", string(product.Product)), From: Old, To: New, FromCell: "main", ToCell: "main",
		Rolling: campaign.Rolling{Group: "33%", LeastServing: 60, DrainWithin: 10 * time.Second, HealthyWithin: 20 * time.Second, SlowStart: 300 * time.Millisecond, Watch: 300 * time.Millisecond}}
	run, cancelRun := context.WithCancel(context.Background())
	done := make(chan struct{}, 2)
	go func() { w.load.Run(run); done <- struct{}{} }()
	go func() { w.watch.Run(run); done <- struct{}{} }()
	stopped := false
	w.stop = func() {
		if !stopped {
			stopped = true
			cancelRun()
			<-done
			<-done
		}
	}
	t.Cleanup(w.stop)
	w.began = time.Now()
	processtest.Until(t, time.Minute, "jobs are posted", func() bool { return w.load.Acked() > 5 })
	return w
}

// add gives out an action of one stage.
func (w *world) add(stage string, dir strategy.Direction) int64 {
	w.Helper()
	plan, ok := strategy.Rolling().Expand(stage, dir)
	if !ok {
		w.Fatal(stage)
	}
	w.action++
	w.mem.Add(engine.Assignment{ActionID: w.action, LeaseTTL: w.lease, Campaign: w.camp, Cluster: w.Cluster, Plan: plan})
	return w.action
}

// run runs an action to its end, by one supervisor after the other; at is called at every edge.
func (w *world) run(id int64, at func(engine.Edge)) (engine.Outcome, string) {
	w.Helper()
	hs, err := engine.NewHandlers(rolling.Handlers(w.Ports)...)
	must(w, err)
	return enginetest.Finish(w, w.mem, id, 3*time.Minute, func() engine.Handlers { return hs }, engine.Options{At: at, RetryMin: 100 * time.Millisecond, RetryMax: time.Second})
}

// forward takes the site through stages.
func (w *world) forward(stages ...string) {
	w.Helper()
	for _, name := range stages {
		if o, message := w.run(w.add(name, strategy.Forward), nil); o != engine.Completed {
			w.Fatalf("%s: %s: %s", name, o, message)
		}
	}
}

// all are the stages.
func all() (names []string) {
	for _, st := range strategy.Rolling().Stages {
		names = append(names, st.Name)
	}
	return names
}

// judge ends the load, and wants nothing lost, nothing doubled, nothing early, and no failed request but those that the fault itself broke:
// what was under way within a span.
func (w *world) judge(broken ...[2]time.Time) Outcome {
	w.Helper()
	w.stop()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	must(w, w.Finish(ctx))
	n, failed, _, errs := w.load.Requests(w.began, time.Now())
	within := 0
	for _, f := range w.load.Failures(w.began, time.Now()) {
		for _, span := range broken {
			if f[0].Before(span[1]) && f[1].After(span[0]) {
				within++
				break
			}
		}
	}
	if len(broken) == 0 {
		if n, err := w.Balancer.Retried(ctx); err != nil || n > 0 {
			w.Errorf("%d requests met a node that was stopped before it was isolated, %v", n, err)
		}
	}
	o, err := w.Judge(ctx, w.load.Keys())
	must(w, err)
	fewest, looks := w.watch.Fewest()
	w.Logf("%d requests, %d failed, %d of them by the fault itself; %d jobs, %d done, %d of them across; %d nodes served at the least, by %d looks", n, failed, within, o.Started, o.Done, o.Across, fewest, looks)
	if failed > within {
		w.Errorf("%d requests failed, and the fault itself broke %d: %v", failed, within, errs)
	}
	if len(o.Lost) > 0 || len(o.Doubled) > 0 || o.Done != o.Started {
		w.Errorf("lost: %v, doubled: %v, %d of %d done", o.Lost, o.Doubled, o.Done, o.Started)
	}
	if early := w.watch.Early(w.load.FeatureSince()); early != "" || o.Early > 0 {
		w.Errorf("early: %s %d", early, o.Early)
	}
	if len(broken) == 0 && fewest < 4 && w.cfg.Nodes == 6 {
		w.Errorf("%d nodes served at some time", fewest)
	}
	return o
}

// on wants every node healthy on a version.
func (w *world) on(version string) {
	w.Helper()
	for _, n := range w.Cluster.Cells[0].Nodes {
		if s, err := w.nodes.Observe(context.Background(), w.Cluster, n); err != nil || !s.Healthy || !fleet.HasVersion(s.Version, version) {
			w.Errorf("%s: %+v, %v; want %s", n.Name, s, err, version)
		}
	}
}
