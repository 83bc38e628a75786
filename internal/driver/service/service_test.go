package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/driver/sockets"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/rolling"
)

var ctx = context.Background()

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// asNode makes this program a node of an engine: ADDRESS VERSION MOOD.
const asNode = "WINDLASS_TEST_NODE"

func TestMain(m *testing.M) {
	if os.Getenv(asNode) == "" {
		os.Exit(m.Run())
	}
	address, version, mood := os.Args[1], os.Args[2], os.Getenv("MOOD")
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go func() {
		for range stop {
			if mood != "stubborn" {
				os.Exit(0)
			}
		}
	}()
	http.HandleFunc("/health", func(w http.ResponseWriter, _ *http.Request) {
		if mood == "ill" {
			http.Error(w, "no disk", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "well")
	})
	http.HandleFunc("/version", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"build": []any{map[string]any{"version": version + ".3"}}})
	})
	fmt.Println(http.ListenAndServe(address, nil))
	os.Exit(1)
}

// newNode is a driver of one node that this program plays.
func newNode(t *testing.T, moods map[string]string) (*Driver, fleet.Cluster, fleet.Node) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	n := fleet.Node{Name: "n1", Address: l.Addr().String(), Zone: "a"}
	must(t, l.Close())
	c := fleet.Cluster{Env: "qa", Name: "jobs", Cells: []fleet.Cell{{Name: "main", Nodes: []fleet.Node{n}}}}
	var versions []Version
	for _, v := range []string{"1.0", "1.1"} {
		versions = append(versions, Version{Version: v, Command: []string{os.Args[0], "{address}", "{version}"}, Env: map[string]string{asNode: "1", "MOOD": moods[v]}})
	}
	d, err := New(Config{Versions: versions, Runner: Local{Root: t.TempDir()}, StopWithin: time.Second,
		Health: Probe{HTTP: "http://{address}/health"}, Version: Probe{HTTP: "http://{host}:{port}/version", JSON: "build.0.version"}})
	must(t, err)
	t.Cleanup(func() { must(t, d.Stop(ctx, c, n, 1<<40)) })
	return d, c, n
}

func see(t *testing.T, d *Driver, c fleet.Cluster, n fleet.Node, what string, ok func(rolling.NodeState) bool) rolling.NodeState {
	t.Helper()
	var s rolling.NodeState
	defer func() {
		if t.Failed() {
			t.Logf("seen last: %+v", s)
		}
	}()
	processtest.Until(t, time.Minute, what, func() bool {
		var err error
		s, err = d.Observe(ctx, c, n)
		must(t, err)
		return ok(s)
	})
	return s
}

// A node goes from one version to the next and back; each act may be repeated, and one under an old term changes nothing.
func TestANodeOfThisMachine(t *testing.T) {
	d, c, n := newNode(t, nil)
	if s, err := d.Observe(ctx, c, n); err != nil || s.Running || s.Healthy || !strings.Contains(s.Detail, "no process that Windlass started") || !strings.Contains(s.Detail, "/qa/jobs/n1") {
		t.Errorf("before: %+v, %v", s, err)
	}
	for i, v := range []string{"1.0", "1.1", "1.0"} {
		term := int64(i + 1)
		for range 2 {
			must(t, d.Stop(ctx, c, n, term))
		}
		for range 2 {
			must(t, d.Start(ctx, c, n, v, term))
		}
		see(t, d, c, n, "it is healthy", func(s rolling.NodeState) bool {
			return s.Healthy && s.Running && s.Version == v+".3" && s.Detail == "well"
		})
	}
	for what, err := range map[string]error{"stop": d.Stop(ctx, c, n, 2), "start": d.Start(ctx, c, n, "1.1", 2)} { // trap 1
		if !errors.Is(err, engine.ErrFenced) {
			t.Errorf("%s under an old term: %v", what, err)
		}
	}
	if s := see(t, d, c, n, "it is as it was", func(s rolling.NodeState) bool { return s.Healthy }); s.Version != "1.0.3" {
		t.Errorf("an old term changed it: %+v", s)
	}
	if err := d.Start(ctx, c, n, "2.0", 9); err == nil || !strings.Contains(err.Error(), "1.0, 1.1") {
		t.Errorf("an unknown version: %v", err)
	}
}

// A node that somebody else started is taken over by its pid file, and goes to the next version as any other.
func TestANodeThatRunsAlready(t *testing.T) {
	d, c, n := newNode(t, nil)
	l := d.cfg.Runner.(Local)
	dir := t.TempDir()
	l.PIDFile = filepath.Join(dir, "{node}.pid")
	d.cfg.Runner = l
	if s, err := d.Observe(ctx, c, n); err != nil || s.Running || !strings.Contains(s.Detail, "{node}.pid") {
		t.Errorf("before: %+v, %v", s, err)
	}
	cmd := exec.Command(os.Args[0], n.Address, "1.0")
	cmd.Env = append(os.Environ(), asNode+"=1")
	must(t, cmd.Start())
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
	must(t, os.WriteFile(filepath.Join(dir, "n1.pid"), fmt.Appendln(nil, cmd.Process.Pid), 0o644))
	see(t, d, c, n, "it is healthy", func(s rolling.NodeState) bool { return s.Healthy && s.Running && s.Version == "1.0.3" })
	must(t, d.Stop(ctx, c, n, 1))
	<-ended
	must(t, d.Start(ctx, c, n, "1.1", 1))
	see(t, d, c, n, "it is on the next version", func(s rolling.NodeState) bool { return s.Healthy && s.Running && s.Version == "1.1.3" })
}

// One that is ill says why; one that does not end is killed; one that was killed is seen to be gone.
func TestNodesThatMisbehave(t *testing.T) {
	d, c, n := newNode(t, map[string]string{"1.0": "ill", "1.1": "stubborn"})
	must(t, d.Start(ctx, c, n, "1.0", 1))
	s := see(t, d, c, n, "it says that it is ill", func(s rolling.NodeState) bool { return strings.Contains(s.Detail, "no disk") })
	if s.Healthy || !s.Running || s.Version != "1.0.3" {
		t.Errorf("ill: %+v", s)
	}
	must(t, d.Stop(ctx, c, n, 1))
	must(t, d.Start(ctx, c, n, "1.1", 1))
	see(t, d, c, n, "it is healthy", func(s rolling.NodeState) bool { return s.Healthy })
	must(t, d.Stop(ctx, c, n, 1))
	if s, err := d.Observe(ctx, c, n); err != nil || s.Running {
		t.Errorf("a stubborn node: %+v, %v", s, err)
	}
	must(t, d.Start(ctx, c, n, "1.1", 1))
	see(t, d, c, n, "it is healthy", func(s rolling.NodeState) bool { return s.Healthy })
	local := d.cfg.Runner.(Local)
	must(t, local.spec(Unit{Ref: c.Ref(), Node: n}).Kill(ctx))
	if s, err := d.Observe(ctx, c, n); err != nil || s.Running || s.Healthy {
		t.Errorf("killed: %+v, %v", s, err)
	}
}

// Commands of the user's own tell by their exit codes; what they do not tell is unknown.
func TestCommands(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "run")
	must(t, os.WriteFile(script, []byte(`#!/bin/sh
cd "$(dirname "$0")" || exit 1
case $1 in
is) [ -e broken ] && { echo "no bus"; exit 4; }; [ -e up ] && exit 0; exit 3 ;;
start) [ "$3" -lt "$(cat term 2>/dev/null || echo 0)" ] && exit 75; echo "$3" > term; echo "$2" > up ;;
stop) [ "$2" -lt "$(cat term 2>/dev/null || echo 0)" ] && exit 75; rm -f up ;;
version) cat up ;;
hang) sleep 60 ;;
esac
`), 0o755))
	c := fleet.Cluster{Env: "qa", Name: "jobs"}
	n := fleet.Node{Name: "n1", Address: "h:1"}
	d, err := New(Config{Versions: []Version{{Version: "1.0", Command: []string{"unused"}}},
		Runner: Commands{IsRunning: []string{script, "is"}, StartWith: []string{script, "start", "{version}", "{term}"}, StopWith: []string{script, "stop", "{term}"}},
		Health: Probe{Command: []string{script, "version"}}, Version: Probe{Command: []string{script, "version"}}})
	must(t, err)
	if s, err := d.Observe(ctx, c, n); err != nil || s.Running {
		t.Errorf("before: %+v, %v", s, err)
	}
	must(t, d.Start(ctx, c, n, "1.0", 5))
	if s, err := d.Observe(ctx, c, n); err != nil || !s.Healthy || s.Version != "1.0" {
		t.Errorf("started: %+v, %v", s, err)
	}
	if err := d.Stop(ctx, c, n, 4); !errors.Is(err, engine.ErrFenced) { // trap 1
		t.Errorf("stop under an old term: %v", err)
	}
	must(t, os.WriteFile(filepath.Join(dir, "broken"), nil, 0o600))
	if _, err := d.Observe(ctx, c, n); err == nil || !strings.Contains(err.Error(), "no bus") {
		t.Errorf("what is not known: %v", err)
	}
	must(t, os.Remove(filepath.Join(dir, "broken")))
	must(t, d.Stop(ctx, c, n, 5))
	if s, err := d.Observe(ctx, c, n); err != nil || s.Running {
		t.Errorf("stopped: %+v, %v", s, err)
	}
	began := time.Now()
	if _, err := (Probe{Command: []string{script, "hang"}, Timeout: 100 * time.Millisecond}).ask(ctx, Unit{Node: n}); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 30*time.Second {
		t.Errorf("a command that hangs: %v after %v", err, time.Since(began))
	}
}

// A command that does not end is ended with all that it started, and the error says so, and what can be done.
func TestCommandsThatHang(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "run")
	must(t, os.WriteFile(script, []byte(`#!/bin/sh
trap '' TERM
cd "$(dirname "$0")" && sleep 1000 &
echo $! > "$(dirname "$0")/$1.child"
wait
`), 0o755))
	c := fleet.Cluster{Env: "qa", Name: "jobs"}
	n := fleet.Node{Name: "n1", Address: "h:1"}
	d, err := New(Config{Versions: []Version{{Version: "1.0"}}, StartWithin: 3 * time.Second, StopWithin: 3 * time.Second, RunsWithin: 3 * time.Second,
		Runner: Commands{IsRunning: []string{script, "running"}, StartWith: []string{script, "start"}, StopWith: []string{script, "stop"}},
		Health: Probe{Command: []string{script}}, Version: Probe{Command: []string{script}}})
	must(t, err)
	if d, err := New(Config{Health: Probe{TCP: "h:1"}, Version: Probe{TCP: "h:1"}}); err != nil || d.cfg.RunsWithin != 30*time.Second || d.cfg.StartWithin != 2*time.Minute || d.cfg.StopWithin != time.Minute {
		t.Errorf("without limits: %+v, %v", d, err)
	}
	for what, f := range map[string]func(context.Context) error{
		"running": func(ctx context.Context) error { _, err := d.Observe(ctx, c, n); return err },
		"start":   func(ctx context.Context) error { return d.Start(ctx, c, n, "1.0", 1) },
		"stop":    func(ctx context.Context) error { return d.Stop(ctx, c, n, 1) },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			err := f(ctx)
			var late *LateError
			if !errors.As(err, &late) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), script) || !strings.Contains(err.Error(), "did not end within 3s") {
				t.Errorf("%s: %v", what, err)
			} else if what != "running" && !strings.Contains(late.ErrorHint(), "run."+what+"_within") {
				t.Errorf("%s: %s", what, late.ErrorHint())
			}
			if ctx.Err() != nil {
				t.Errorf("%s hangs", what)
			}
			cancel()
			b, err := os.ReadFile(filepath.Join(dir, what+".child"))
			must(t, err)
			pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
			must(t, err)
			processtest.Until(t, time.Minute, what+": what it started is gone", func() bool {
				stat, err := sockets.Stat("/proc", pid)
				return err != nil || stat[0] == "Z"
			})
		})
	}
}

func TestTexts(t *testing.T) {
	u := Unit{Ref: fleet.ClusterRef{Env: "qa", Name: "jobs"}, Node: fleet.Node{Name: "n1", Address: "[::1]:80", Zone: "a"}, Version: "1.1", Term: 7}
	for text, want := range map[string]string{"": "", "plain": "plain", "{node} {address} {host} {port}": "n1 [::1]:80 ::1 80", "{zone}{env}{cluster}{version}{term}": "aqajobs1.17",
		`{{"a": {{}}}}`: `{"a": {}}`, "}}x": "}x"} {
		if got, err := expand(text, u); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", text, got, err, want)
		}
	}
	for _, bad := range []string{"{", "{nodes}", "{node", "a {} b"} {
		if got, err := expand(bad, u); err == nil {
			t.Errorf("%q: %q", bad, got)
		}
	}
	for answer, want := range map[string]string{`{"a":{"b":"1.2"}}`: "1.2", `{"a":{"b":3}}`: "3", `{"a":{"b":true}}`: "true"} {
		if got, err := at([]byte(answer), "a.b"); err != nil || got != want {
			t.Errorf("%s: %q, %v", answer, got, err)
		}
	}
	for _, bad := range []string{"", "no", `{"a":1}`, `{"a":{"b":null}}`, `{"a":{"b":{}}}`, `[1]`, `{"b":1}`} {
		if got, err := at([]byte(bad), "a.b"); err == nil {
			t.Errorf("%s: %q", bad, got)
		}
	}
}

func TestWhatCantBeMeant(t *testing.T) {
	ok := Config{Versions: []Version{{Version: "1", Command: []string{"x"}}}, Health: Probe{TCP: "{address}"}, Version: Probe{Command: []string{"v"}}, Runner: Local{}}
	if _, err := New(ok); err != nil {
		t.Fatal(err)
	}
	for what, spoil := range map[string]func(*Config){
		"no health":            func(c *Config) { c.Health = Probe{} },
		"two ways":             func(c *Config) { c.Health.HTTP = "http://{address}" },
		"JSON of a connection": func(c *Config) { c.Health.JSON = "a" },
		"no command":           func(c *Config) { c.Versions = []Version{{Version: "1"}} },
		"unknown placeholder":  func(c *Config) { c.Versions = []Version{{Version: "1", Command: []string{"{pod}"}}} },
		"in a pid file":        func(c *Config) { c.Runner = Local{PIDFile: "/run/{pod}.pid"} },
		"in a probe":           func(c *Config) { c.Version.Command = []string{"{pod}"} },
	} {
		c := ok
		spoil(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s: it is taken", what)
		}
	}
}
