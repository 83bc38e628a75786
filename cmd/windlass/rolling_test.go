package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/driver/service"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/state/statetest"
	"github.com/windlass-db/windlass/internal/strategy"
)

// engineSite is examples/jobs as a user has it before Windlass comes: nodes of 1.0 behind a real HAProxy over a real PostgreSQL, and a server of
// Windlass beside them.
type engineSite struct {
	site
	db             *sql.DB
	front          string
	cluster        fleet.Cluster
	nodes          *service.Driver // the test's own hand on the nodes
	fleetFile      string
	supervisorFile string
}

const engineNodes = 4

func newEngineSite(t *testing.T) *engineSite {
	t.Helper()
	s := &engineSite{site: tlsSite(t), front: freeAddress(t)}
	short, err := os.MkdirTemp("", "wl") // a socket's path has to be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(short) })
	url := statetest.Postgres(t)
	if s.db, err = sql.Open("pgx", url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.db.Close() })
	migrations, err := filepath.Abs("../../examples/jobs/migrations/postgres")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(migrations, "1.0", "*.sql"))
	if err != nil || len(files) == 0 {
		t.Fatalf("the migrations of 1.0: %v, %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.db.Exec(string(text)); err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(s.dir, "jobs")
	if out, err := osexec.Command("go", "build", "-o", program, "../../examples/jobs").CombinedOutput(); err != nil {
		t.Fatalf("build examples/jobs: %v: %s", err, out)
	}
	const policy = "../../examples/rolling/jobs.yaml"
	text, err := os.ReadFile(policy)
	if err != nil {
		t.Fatal(err)
	}
	put(t, 0o644, string(text), s.dir, "jobs.yaml")
	put(t, 0o600, url, s.dir, "jobs.dsn")

	cell := fleet.Cell{Name: "main", Version: "1.0"}
	var servers, nodes strings.Builder
	for i := range engineNodes {
		n := fleet.Node{Name: fmt.Sprintf("jobs-%d", i+1), Address: fmt.Sprintf("127.0.0.1:%d", processtest.FreePort(t)), Zone: []string{"a", "b"}[i/2]}
		cell.Nodes = append(cell.Nodes, n)
		fmt.Fprintf(&servers, "  server %s %s\n", n.Name, n.Address)
		fmt.Fprintf(&nodes, "              - {name: %s, address: %q, zone: %s}\n", n.Name, n.Address, n.Zone)
	}
	s.cluster = fleet.Cluster{Env: "qa", Name: "jobs", Product: "jobs", Cells: []fleet.Cell{cell}}
	s.fleetFile = put(t, 0o644, `kind: Fleet
version: 1
name: engines
environments:
  - name: qa
    clusters:
      - name: jobs
        product: jobs
        cells:
          - name: main
            version: 1.0
            nodes:
`+nodes.String(), s.dir, "fleet.yaml")
	root := filepath.Join(s.dir, "nodes")
	var versions strings.Builder
	for _, v := range []string{"1.0", "1.1"} {
		fmt.Fprintf(&versions, `      - version: %s
        command: [%q, --listen, "{address}", --node, "{node}", --version, "{version}.0"]
        env: {PGAPPNAME: "{cluster}-{node}"}
        secret_env: {JOBS_DSN: "{cluster}.dsn"}
        migrations: %q
        features: {priorities: SELECT COUNT(*) FROM job WHERE priority <> 0}
`, v, program, filepath.Join(migrations, v))
	}
	sock := filepath.Join(short, "s")
	s.supervisorFile = put(t, 0o644, fmt.Sprintf(`kind: Supervisor
version: 1
name: qa-1
environment: qa
watch_every: 1s
server: {url: %q, token_file: %q, ca_file: %q}
engines:
  - product: jobs
    versions:
%s    run:
      local: {root: %q}
    health: {http: "http://{address}/health", timeout: 30s}
    version: {http: "http://{address}/version", json: version, timeout: 30s}
    balancer:
      haproxy: {socket: "unix:%s", backend: "{cluster}", timeout: 1m}
    database:
      dialect: postgres
      dsn_file: "{cluster}.dsn"
      dev_dsn_file: jobs.dsn
      connections: {by: application, value: "{cluster}-{node}"}
`, s.url, s.token(t, "supervisor", "qa", "qa-1"), s.ca, versions.String(), root, sock), s.dir, "qa-1.yaml")

	s.nodes, err = service.New(service.Config{
		Versions: []service.Version{{Version: "1.0", Command: []string{program, "--listen", "{address}", "--node", "{node}", "--version", "1.0.0"}, Env: map[string]string{"JOBS_DSN": url, "PGAPPNAME": "jobs-{node}"}}},
		Runner:   service.Local{Root: root}, Health: service.Probe{HTTP: "http://{address}/health"}, Version: service.Probe{HTTP: "http://{address}/version", JSON: "version"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range cell.Nodes {
		if err := s.nodes.Start(context.Background(), s.cluster, n, "1.0", 0); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.nodes.Stop(context.Background(), s.cluster, n, 1<<40); err != nil {
				t.Error(err)
			}
		})
	}
	haproxy := processtest.Fetch(t, "haproxy")
	cmd, err := haproxy.Command(context.Background(), "haproxy", "-db", "-f", put(t, 0o600, `global
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
`+servers.String(), s.dir, "haproxy.cfg"))
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	processtest.Until(t, time.Minute, "the engine answers behind the load balancer", func() bool {
		resp, err := http.Get("http://" + s.front + "/version")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return s
}

// campaignFile is a campaign without any waiting.
func (s *engineSite) campaignFile(t *testing.T, more string) string {
	t.Helper()
	return put(t, 0o644, `kind: Campaign
version: 1
name: raise
strategy: rolling
product: jobs
policy: jobs.yaml
from: 1.0
to: 1.1
environments: [qa]
schedule: {always: true, every: 1s}
soak: {stages: {canary: 0s, nodes: 0s}, environments: 0s}
rolling: {group: 50%, least_serving: 50%, drain_within: 20s, healthy_within: 1m, slow_start: 300ms, watch: 1s}
`+more, s.dir, "campaign.yaml")
}

// ran runs the program to its end, wants its exit code, and gives what it said.
func (s *engineSite) ran(t *testing.T, code int, args ...string) string {
	t.Helper()
	p := windlass(t, append(args, "--server", s.url, "--ca-file", s.ca, "--token-file", filepath.Join(s.dir, "operator"))...)
	if <-p.done; p.code != code {
		t.Fatalf("%v exits with %d: %s", args, p.code, p.text())
	}
	return p.text()
}

// status waits for something of the cluster, and fails if the supervisor ends.
func (s *engineSite) until(t *testing.T, agent *program, what string, ok func(st api.ClusterStatus) bool) api.ClusterStatus {
	t.Helper()
	var st api.ClusterStatus
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("progress %+v, decision %+v, actions %+v; the supervisor said: %s", st.Progress, st.Decision, st.Actions, agent.text())
		}
	})
	processtest.Until(t, 3*time.Minute, what, func() bool {
		var err error
		if st, err = s.operator.Cluster(context.Background(), s.cluster.Ref()); err != nil {
			t.Fatal(err)
		}
		if agent.ended() {
			t.Fatal("the supervisor ended")
		}
		return ok(st)
	})
	return st
}

// served is what the last look saw: each node's version, and "-" for one that does not serve.
func served(st api.ClusterStatus) (all []string) {
	if st.Observation == nil {
		return nil
	}
	for _, n := range st.Observation.Nodes {
		if n.Role == fleet.RoleServing {
			all = append(all, fleet.ShortVersion(n.Version))
		} else {
			all = append(all, "-")
		}
	}
	return all
}

// ask posts jobs through the load balancer until it is stopped, and keeps what failed.
func (s *engineSite) ask(t *testing.T) (stop func() (requests int, failed []string)) {
	var (
		mu      sync.Mutex
		n       int
		errs    []string
		end     = make(chan struct{})
		clients sync.WaitGroup
	)
	for i := range 2 {
		clients.Go(func() {
			c := &http.Client{Timeout: time.Minute}
			for k := 0; ; k++ {
				select {
				case <-end:
					return
				case <-time.After(20 * time.Millisecond):
				}
				resp, err := c.Post(fmt.Sprintf("http://%s/jobs?key=%d-%d&steps=4", s.front, i, k), "", nil)
				if err == nil {
					b, rerr := io.ReadAll(resp.Body)
					if err = errors.Join(rerr, resp.Body.Close()); err == nil && resp.StatusCode != http.StatusCreated {
						err = fmt.Errorf("%s: %s", resp.Status, b)
					}
				}
				mu.Lock()
				if n++; err != nil {
					errs = append(errs, err.Error())
				}
				mu.Unlock()
			}
		})
	}
	var once sync.Once
	stop = func() (int, []string) {
		once.Do(func() { close(end) })
		clients.Wait()
		return n, errs
	}
	t.Cleanup(func() { stop() })
	return stop
}

// TestAnEngineGoesToTheNextVersion is C1 to C7 as a user does it: three files, a server, a supervisor that has nothing but engines. Every stage
// runs on real nodes under load, back to the beginning and forth again; what the commands say beside it is true.
func TestAnEngineGoesToTheNextVersion(t *testing.T) {
	s := newEngineSite(t)
	campaign := s.campaignFile(t, "approve: [finalize]\n")
	plan := windlass(t, "plan", "-f", campaign, "-f", s.fleetFile)
	if <-plan.done; plan.code != 0 {
		t.Fatalf("plan exits with %d: %s", plan.code, plan.text())
	}
	for _, want := range []string{"1. canary: jobs-1 (a)", "2. jobs-3 (b), jobs-2 (a)", "3. jobs-4 (b)", "from the beginning of finalize on", "schema stays, and 1.0 works on it"} {
		if !strings.Contains(plan.text(), want) {
			t.Errorf("the plan does not say %q: %s", want, plan.text())
		}
	}
	s.ran(t, 0, "apply", "-f", s.fleetFile, "-f", campaign)
	end := s.ask(t)
	agent := windlass(t, "supervisor", "--config", s.supervisorFile)
	on := func(st api.ClusterStatus, stage, version string) bool {
		p := st.Progress
		if p != nil && p.Failure != nil {
			t.Fatalf("it stops: %+v", p.Failure)
		}
		return p != nil && p.Stage == stage && p.Action == nil && slices.Equal(served(st), slices.Repeat([]string{version}, engineNodes))
	}
	s.until(t, agent, "every node is on the new version", func(st api.ClusterStatus) bool { return on(st, strategy.StageNodes, "1.1.0") })
	if why := s.ran(t, 3, "why", "qa/jobs"); !strings.Contains(why, "finalize") || !strings.Contains(why, "approv") {
		t.Errorf("why says %s", why)
	}

	s.ran(t, 0, "rollback", "qa/jobs", "--why", "the test goes back", "--yes")
	st := s.until(t, agent, "every node is back on the old version", func(st api.ClusterStatus) bool { return on(st, "", "1.0.0") })
	column, open := 0, 0
	if err := s.db.QueryRow("SELECT COUNT(*) FROM information_schema.columns WHERE table_name = 'job' AND column_name = 'priority'").Scan(&column); err != nil || column != 1 {
		t.Errorf("the expanded schema: %d, %v", column, err)
	}
	if st.Cluster.Cells[0].Version != "1.0" {
		t.Errorf("the inventory says %+v", st.Cluster.Cells[0])
	}

	s.ran(t, 0, "resume", "qa/jobs", "--why", "the test goes on", "--yes")
	s.until(t, agent, "every node is on the new version again", func(st api.ClusterStatus) bool { return on(st, strategy.StageNodes, "1.1.0") })
	if err := s.db.QueryRow("SELECT COUNT(*) FROM information_schema.tables WHERE table_name = 'windlass_features'").Scan(&open); err != nil || open != 0 {
		t.Errorf("features were opened early: %d, %v", open, err)
	}
	s.ran(t, 0, "approve", "qa/jobs", "--stage", "finalize", "--why", "the test looked", "--yes")
	st = s.until(t, agent, "the campaign has arrived", func(st api.ClusterStatus) bool { return on(st, strategy.StageFinalize, "1.1.0") })
	if st.Cluster.Cells[0].Version != "1.1" {
		t.Errorf("the inventory says %+v", st.Cluster.Cells[0])
	}
	if err := s.db.QueryRow("SELECT COUNT(*) FROM windlass_features WHERE version = '1.1'").Scan(&open); err != nil || open != 1 {
		t.Errorf("the features are open: %d, %v", open, err)
	}
	n, failed := end()
	if n == 0 || len(failed) > 0 {
		t.Errorf("of %d requests %d failed: %v", n, len(failed), failed)
	}
	t.Logf("%d requests", n)
	b, err := os.ReadFile(filepath.Join(s.dir, "jobs.dsn"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(agent.text(), string(b)) {
		t.Error("the supervisor tells the data source name")
	}
}
