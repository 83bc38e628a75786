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
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	engineof "github.com/windlass-db/windlass/examples/jobs/programs"
	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/driver/service"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/state/statetest"
)

// engineKind is what an engine's site is made of.
type engineKind struct {
	nodes int
	nginx bool // behind nginx, and not HAProxy
	grpc  bool // asked for its health by gRPC, and not HTTP
	gates bool // its nodes are told to open features, and not the table alone
}

// engineSite is examples/jobs as a user has it before Windlass comes: nodes of 1.0 behind a real load balancer over a real PostgreSQL, and a server
// of Windlass beside them.
type engineSite struct {
	site
	kind           engineKind
	db             *sql.DB
	front          string
	cluster        fleet.Cluster
	nodes          *service.Driver // the test's own hand on the nodes
	fleetFile      string
	supervisorFile string
}

func newEngineSite(t *testing.T, kind engineKind) *engineSite {
	t.Helper()
	s := &engineSite{site: tlsSite(t), kind: kind, front: freeAddress(t)}
	url := statetest.Postgres(t)
	var err error
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
	engine := build(t)
	const policy = "../../examples/rolling/jobs.yaml"
	text, err := os.ReadFile(policy)
	if err != nil {
		t.Fatal(err)
	}
	put(t, 0o644, string(text), s.dir, "jobs.yaml")
	put(t, 0o600, url, s.dir, "jobs.dsn")

	cell := fleet.Cell{Name: "main", Version: "1.0"}
	var nodes strings.Builder
	for i := range kind.nodes {
		n := fleet.Node{Name: fmt.Sprintf("jobs-%d", i+1), Address: fmt.Sprintf("127.0.0.1:%d", processtest.FreePort(t)), Zone: []string{"a", "b"}[i/2]}
		cell.Nodes = append(cell.Nodes, n)
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
	for v, folder := range map[string]string{"1.0": "1.0", "1.1": "contract"} { // which has all of 1.1, and what a later campaign takes away
		fmt.Fprintf(&versions, `      - version: %s
        command: [%q, --listen, "{address}", --node, "{node}"]
        env: {PGAPPNAME: "{cluster}-{node}"}
        secret_env: {JOBS_DSN: "{cluster}.dsn"}
        migrations: %q
`, v, engineof.Path(engine, v), filepath.Join(migrations, folder))
	}
	health, features := `http: "http://{address}/health"`, `nodes: "http://{address}"`
	if kind.grpc {
		health = `grpc: "grpc://{address}"`
	}
	if kind.gates {
		features += `, http: "http://{address}/features/{version}"`
	}
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
    health: {%s, timeout: 30s}
    version: {http: "http://{address}/version", json: version, timeout: 30s}
    features: {%s, timeout: 30s}
    balancer:
      %s
    database:
      dialect: postgres
      dsn_file: "{cluster}.dsn"
      dev_dsn_file: jobs.dsn
      connections: {by: application, value: "{cluster}-{node}"}
`, s.url, s.token(t, "supervisor", "qa", "qa-1"), s.ca, versions.String(), root, health, features, s.balancer(t)), s.dir, "qa-1.yaml")

	var own []service.Version
	for _, v := range []string{"1.0", "1.1"} {
		own = append(own, service.Version{Version: v, Command: []string{engineof.Path(engine, v), "--listen", "{address}", "--node", "{node}"}, Env: map[string]string{"JOBS_DSN": url, "PGAPPNAME": "jobs-{node}"}})
	}
	s.nodes, err = service.New(service.Config{
		Versions: own,
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

// balancer starts the load balancer before the nodes, and says how the supervisor reaches it. It serves when they do.
func (s *engineSite) balancer(t *testing.T) (yaml string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "wl") // a socket's path has to be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if s.kind.nginx {
		return s.nginx(t, dir)
	}
	var servers strings.Builder
	for _, n := range s.cluster.Cells[0].Nodes {
		fmt.Fprintf(&servers, "  server %s %s\n", n.Name, n.Address)
	}
	sock := filepath.Join(dir, "s")
	started(t, "haproxy", "-db", "-f", put(t, 0o600, `global
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
`+servers.String(), dir, "haproxy.cfg"))
	return fmt.Sprintf(`haproxy: {socket: "unix:%s", backend: "{cluster}", timeout: 1m}`, sock)
}

func (s *engineSite) nginx(t *testing.T, dir string) (yaml string) {
	t.Helper()
	var servers, temp strings.Builder
	for _, n := range s.cluster.Cells[0].Nodes {
		fmt.Fprintf(&servers, "  server %s weight=100 max_fails=0;\n", n.Address)
	}
	put(t, 0o644, "upstream jobs {\n"+servers.String()+"  keepalive 4;\n}\n", dir, "jobs.conf")
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&temp, "  %s_temp_path %s;\n", kind, filepath.Join(dir, kind))
	}
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;\n"
	}
	pid, log := filepath.Join(dir, "pid"), filepath.Join(dir, "error.log")
	config := put(t, 0o644, user+`daemon off;
worker_processes 2;
pid `+pid+`;
error_log `+log+` notice;
events { worker_connections 256; }
http {
  access_log off;
`+temp.String()+`  include `+filepath.Join(dir, "jobs.conf")+`;
  server {
    listen `+s.front+`;
    keepalive_timeout 0; # docs/engines.md: it ends kept connections with a reload, and a request may just be on its way
    location / {
      proxy_pass http://jobs;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_read_timeout 60s;
    }
  }
}
`, dir, "nginx.conf")
	argv := started(t, "nginx", "-e", log, "-c", config)
	return fmt.Sprintf(`nginx: {file: "%s/{cluster}.conf", upstream: "{cluster}", pid_file: %q, test: ["%s", -t], timeout: 1m}`, dir, pid, strings.Join(argv, `", "`))
}

// started starts a fetched program, to be ended with the test, and gives its command line.
func started(t *testing.T, name string, args ...string) (argv []string) {
	t.Helper()
	argv, err := processtest.Fetch(t, name).Argv(name, args...)
	if err != nil {
		t.Fatal(err)
	}
	cmd := osexec.Command(argv[0], argv[1:]...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Signal(syscall.SIGTERM); _ = cmd.Wait() })
	return argv
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
			c := &http.Client{Timeout: time.Minute, Transport: &http.Transport{}}
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
