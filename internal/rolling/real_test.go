package rolling_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/windlass-db/windlass/examples/jobs/programs"
	"github.com/windlass-db/windlass/internal/builds"
	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/driver/haproxy"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/driver/service"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/engine/enginetest"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/rolling"
	"github.com/windlass-db/windlass/internal/state/statetest"
	"github.com/windlass-db/windlass/internal/strategy"
)

const nodes = 6

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// site is examples/jobs as it is run: six nodes on 1.0 behind a real HAProxy, over a real PostgreSQL.
type site struct {
	t       *testing.T
	db      *sql.DB
	cluster fleet.Cluster
	ports   rolling.Ports
	front   string
	mem     *enginetest.Memory
	camp    campaign.Campaign
}

func newSite(t *testing.T) *site {
	t.Helper()
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "wl") // a socket's path has to be short
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	url := statetest.Postgres(t)
	db, err := sql.Open("pgx", url)
	must(t, err)
	t.Cleanup(func() { db.Close() })
	s := &site{t: t, db: db, mem: enginetest.NewMemory(time.Now), front: fmt.Sprintf("127.0.0.1:%d", processtest.FreePort(t))}
	s.migrate("1.0")

	cell := fleet.Cell{Name: "main", Version: "1.0"}
	var servers strings.Builder
	for i := range nodes {
		n := fleet.Node{Name: fmt.Sprintf("n%d", i+1), Address: fmt.Sprintf("127.0.0.1:%d", processtest.FreePort(t)), Zone: fmt.Sprint("z", i%3)}
		cell.Nodes = append(cell.Nodes, n)
		fmt.Fprintf(&servers, "  server %s %s\n", n.Name, n.Address)
	}
	s.cluster = fleet.Cluster{Env: "qa", Name: "jobs", Product: "jobs", Cells: []fleet.Cell{cell}}
	must(t, programs.Build(ctx, dir))
	var versions []service.Version
	for _, v := range []string{"1.0", "1.1"} {
		versions = append(versions, service.Version{Version: v, Command: []string{programs.Path(dir, v), "--listen", "{address}", "--node", "{node}"},
			Env: map[string]string{"JOBS_DSN": url + "&application_name=jobs-{node}"}})
	}
	nodeDriver, err := service.New(service.Config{Versions: versions, Runner: service.Local{Root: filepath.Join(dir, "nodes")}, StopWithin: time.Minute,
		Health: service.Probe{HTTP: "http://{address}/health", Timeout: 30 * time.Second}, Version: service.Probe{HTTP: "http://{address}/version", JSON: "version", Timeout: 30 * time.Second}})
	must(t, err)
	for _, n := range cell.Nodes {
		must(t, nodeDriver.Start(ctx, s.cluster, n, "1.0", 0))
		t.Cleanup(func() { must(t, nodeDriver.Stop(ctx, s.cluster, n, 1<<40)) })
	}
	sock := filepath.Join(dir, "s")
	must(t, os.WriteFile(filepath.Join(dir, "haproxy.cfg"), []byte(`global
  stats socket `+sock+` mode 600 level admin
  maxconn 500
defaults
  mode http
  timeout connect 30s
  timeout client 60s
  timeout server 60s
frontend fe
  bind `+s.front+`
  default_backend jobs
backend jobs
  option httpchk GET /health
  timeout check 20s
  default-server check inter 500ms fastinter 100ms downinter 100ms fall 3 rise 1 weight 100
`+servers.String()), 0o600))
	b, err := builds.Fetch(ctx, "haproxy", builds.Options{Progress: func(s string) { t.Log(s) }})
	must(t, err)
	cmd, err := b.Command(ctx, "haproxy", "-db", "-f", filepath.Join(dir, "haproxy.cfg"))
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })

	s.ports = rolling.Ports{
		Nodes:       nodeDriver,
		Balancer:    haproxy.New(haproxy.Config{Network: "unix", Address: sock, Backend: "jobs", Timeout: time.Minute}),
		Connections: service.Connections{DB: db, Dialect: service.Postgres, By: service.ByApplication, Value: "jobs-{node}"},
		Schema:      schema{s},
		Features:    service.Features{DB: db, Dialect: service.Postgres, Used: map[string]string{"priorities": "SELECT COUNT(*) FROM job WHERE priority <> 0"}},
	}
	s.camp = campaign.Campaign{Name: "c", Strategy: "rolling", From: "1.0", To: "1.1", FromCell: "main", ToCell: "main",
		Rolling: campaign.Rolling{Group: "33%", LeastServing: 60, DrainWithin: time.Minute, HealthyWithin: 2 * time.Minute, SlowStart: 300 * time.Millisecond, Watch: time.Second}}
	processtest.Until(t, 2*time.Minute, "every node serves", func() bool {
		n, err := s.serving()
		return err == nil && n == nodes
	})
	return s
}

// migrate runs the example's statements of one version, each by itself.
func (s *site) migrate(version string) {
	s.t.Helper()
	files, err := filepath.Glob("../../examples/jobs/migrations/postgres/" + version + "/*.sql")
	must(s.t, err)
	if len(files) == 0 {
		s.t.Fatalf("no migration of %s", version)
	}
	b, err := os.ReadFile(files[len(files)-1])
	must(s.t, err)
	for stmt := range strings.SplitSeq(string(b), ";") {
		if strings.TrimSpace(stmt) != "" {
			_, err := s.db.Exec(stmt)
			must(s.t, err)
		}
	}
}

// serving counts the nodes that the load balancer gives requests.
func (s *site) serving() (n int, err error) {
	all, err := s.ports.Balancer.Observe(context.Background(), s.cluster)
	if err != nil {
		return 0, err
	}
	for _, b := range all {
		if b.Up && b.Admitted {
			n++
		}
	}
	return n, nil
}

// schema is the example's, expanded by its own statements.
type schema struct{ *site }

func (s schema) Check(context.Context, fleet.Cluster, string) (check.Results, error) {
	return check.Results{check.Passed("expand-only", "a column with a default, and an index", time.Now())}, nil
}

func (s schema) Expanded(ctx context.Context, _ fleet.Cluster, _ string) (bool, check.Results, error) {
	n := 0
	err := s.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE c.relname = 'job_priority' AND i.indisvalid").Scan(&n)
	return n == 1, check.Results{check.Failed("index", "job_priority is missing", "", time.Now())}, err
}

func (s schema) Expand(context.Context, fleet.Cluster, string, int64, json.RawMessage, rolling.Save) error {
	s.migrate("1.1")
	return nil
}

// run takes the cluster through one stage.
func (s *site) run(id int64, stage string, dir strategy.Direction, at func(engine.Edge)) (engine.Outcome, string) {
	s.t.Helper()
	plan, ok := strategy.Rolling().Expand(stage, dir)
	if !ok {
		s.t.Fatal(stage)
	}
	hs, err := engine.NewHandlers(rolling.Handlers(s.ports)...)
	must(s.t, err)
	s.mem.Add(engine.Assignment{ActionID: id, LeaseTTL: time.Minute, Campaign: s.camp, Cluster: s.cluster, Plan: plan})
	return enginetest.Finish(s.t, s.mem, id, 8*time.Minute, func() engine.Handlers { return hs }, engine.Options{At: at, RetryMin: 100 * time.Millisecond, RetryMax: time.Second})
}

// load posts jobs and reads them again, through the load balancer, until it is stopped.
type load struct {
	requests, failed atomic.Int64
	mu               sync.Mutex
	keys             []string
	errs             []string
	stop             chan struct{}
	done             sync.WaitGroup
}

func (s *site) load(clients int) *load {
	l := &load{stop: make(chan struct{})}
	for i := range clients {
		l.done.Go(func() {
			c := &http.Client{Timeout: time.Minute}
			for n := 0; ; n++ {
				select {
				case <-l.stop:
					return
				case <-time.After(20 * time.Millisecond):
				}
				key := fmt.Sprintf("%d-%d", i, n)
				if l.ask(c, http.MethodPost, fmt.Sprintf("http://%s/jobs?key=%s&steps=8", s.front, key), http.StatusCreated) {
					l.mu.Lock()
					l.keys = append(l.keys, key)
					l.mu.Unlock()
					l.ask(c, http.MethodGet, "http://"+s.front+"/jobs/"+key, http.StatusOK)
				}
			}
		})
	}
	return l
}

func (l *load) ask(c *http.Client, method, url string, want int) bool {
	l.requests.Add(1)
	req, err := http.NewRequest(method, url, nil)
	if err == nil {
		var resp *http.Response
		if resp, err = c.Do(req); err == nil {
			b, rerr := io.ReadAll(resp.Body)
			err = errors.Join(rerr, resp.Body.Close())
			if resp.StatusCode != want {
				err = fmt.Errorf("%s: %s", resp.Status, b)
			}
		}
	}
	if err != nil {
		l.failed.Add(1)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.errs = append(l.errs, err.Error())
	}
	return err == nil
}

func (l *load) end() {
	close(l.stop)
	l.done.Wait()
}

// Six nodes go from 1.0 to 1.1 under load: no request fails, no job is lost or done twice, jobs that began on the old version are finished on
// the new one, enough nodes serve at any time, and the feature opens after the last of them. (C1 to C5, C7)
func TestSixNodesGoToTheNextVersion(t *testing.T) {
	s := newSite(t)
	l := s.load(4)
	fewest, early := nodes, atomic.Bool{}
	watched := make(chan struct{})
	var last atomic.Bool // the last node is back
	go func() {
		defer close(watched)
		for {
			select {
			case <-l.stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
			n, err := s.serving()
			if err != nil { // nobody restarts it here, so that would be as good as none that serves
				t.Errorf("ask HAProxy who serves: %v", err)
			} else {
				fewest = min(fewest, n)
			}
			if open, _, err := s.ports.Features.Open(context.Background(), s.cluster, "1.1", nil); err == nil && open && !last.Load() {
				early.Store(true)
			}
		}
	}()
	for i, st := range strategy.Rolling().Stages {
		if st.Name == strategy.StageFinalize {
			last.Store(true)
		}
		if o, message := s.run(int64(i+1), st.Name, strategy.Forward, nil); o != engine.Completed {
			l.end()
			t.Fatalf("%s: %s: %s", st.Name, o, message)
		}
	}
	l.end()
	<-watched
	processtest.Until(t, 3*time.Minute, "every job is done", func() bool {
		left := 0
		must(t, s.db.QueryRow("SELECT COUNT(*) FROM job WHERE state <> 'done'").Scan(&left))
		return left == 0
	})
	var jobs, wrong, across int
	must(t, s.db.QueryRow("SELECT COUNT(*) FROM job").Scan(&jobs))
	must(t, s.db.QueryRow("SELECT COUNT(*) FROM job j WHERE (SELECT COUNT(*) FROM job_step WHERE job_id = j.id) <> j.steps OR (SELECT COUNT(DISTINCT step) FROM job_step WHERE job_id = j.id) <> j.steps").Scan(&wrong))
	must(t, s.db.QueryRow("SELECT COUNT(*) FROM job WHERE started_on LIKE '1.0%' AND finished_on LIKE '1.1%'").Scan(&across))
	t.Logf("%d requests, %d failed, %d jobs, %d of them begun on 1.0 and finished on 1.1; at least %d of %d nodes served", l.requests.Load(), l.failed.Load(), jobs, across, fewest, nodes)
	if l.failed.Load() > 0 {
		t.Errorf("%d of %d requests failed: %v", l.failed.Load(), l.requests.Load(), l.errs[:min(3, len(l.errs))])
	}
	if jobs != len(l.keys) || wrong > 0 {
		t.Errorf("%d jobs of %d that were acknowledged; %d have a step too few or too many", jobs, len(l.keys), wrong)
	}
	if across == 0 {
		t.Error("no job that began on the old version was finished on the new one")
	}
	if fewest < campaign.LeastServing(nodes, s.camp.Rolling.LeastServing) {
		t.Errorf("%d nodes served at some time", fewest)
	}
	if early.Load() {
		t.Error("the feature was open before the last node was there")
	}
	for _, n := range s.cluster.Cells[0].Nodes {
		if st, err := s.ports.Nodes.Observe(context.Background(), s.cluster, n); err != nil || !st.Healthy || !strings.HasPrefix(st.Version, "1.1") {
			t.Errorf("%s: %+v, %v", n.Name, st, err)
		}
	}
	if open, _, err := s.ports.Features.Open(context.Background(), s.cluster, "1.1", nil); err != nil || !open {
		t.Errorf("the feature is open: %v, %v", open, err)
	}
}
