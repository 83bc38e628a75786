package nginx

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/driver/drivertest"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/driver/sockets"
	"github.com/windlass-db/windlass/internal/fleet"
)

var ctx = context.Background()

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// place is a real nginx before three nodes.
type place struct {
	*drivertest.Behind
	dir  string
	d    *Driver
	argv []string
	cmd  *exec.Cmd
}

func newPlace(t *testing.T) *place {
	t.Helper()
	t.Parallel()
	p := &place{Behind: drivertest.NewBehind(t, "jobs", "n"), dir: t.TempDir()}
	p.Front = fmt.Sprintf("127.0.0.1:%d", processtest.FreePort(t))
	servers := ""
	for _, n := range p.Cluster.Cells[0].Nodes {
		servers += "  server " + n.Address + " weight=100 max_fails=0; # mine\n"
	}
	must(t, os.WriteFile(p.path("jobs.conf"), []byte("upstream jobs {\n"+servers+"  keepalive 8;\n}\n"), 0o644))
	temp := ""
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		temp += "  " + kind + "_temp_path " + p.path(kind) + ";\n"
	}
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;\n"
	}
	must(t, os.WriteFile(p.path("nginx.conf"), []byte(user+`daemon off;
worker_processes 2;
pid `+p.path("pid")+`;
error_log `+p.path("error.log")+` notice;
events { worker_connections 256; }
http {
  access_log off;
`+temp+`  include `+p.path("jobs.conf")+`;
  server {
    listen `+p.Front+`;
    location / {
      proxy_pass http://jobs;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_read_timeout 120s;
    }
    location /ws {
      proxy_pass http://jobs;
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection Upgrade;
    }
  }
}
`), 0o644))
	b := processtest.Fetch(t, "nginx")
	var err error
	p.argv, err = b.Argv("nginx", "-e", p.path("error.log"), "-c", p.path("nginx.conf"))
	must(t, err)
	p.d = New(Config{File: p.path("jobs.conf"), Upstream: "jobs", PIDFile: p.path("pid"), Test: append(append([]string{}, p.argv...), "-t"), Timeout: time.Minute})
	p.Balancer = p.d
	p.start()
	return p
}

func (p *place) path(name string) string { return filepath.Join(p.dir, name) }

func (p *place) start() {
	p.Helper()
	p.cmd = exec.Command(p.argv[0], p.argv[1:]...)
	cmd := p.cmd
	must(p, cmd.Start())
	p.Cleanup(func() { _ = cmd.Process.Signal(syscall.SIGTERM); _ = cmd.Wait() })
	p.Until("nginx serves", func() bool { _, err := p.d.Observe(ctx, p.Cluster); return err == nil && p.Get("/") == nil })
}

// A node is drained under load, is stopped and started again, and is put back with a part of its weight first: no request fails.
func TestANodeIsTakenOutAndPutBack(t *testing.T) {
	p := newPlace(t)
	p.TakenOutAndPutBack()
	text, err := os.ReadFile(p.path("jobs.conf"))
	must(t, err)
	for _, want := range []string{"# windlass: term 6", "server " + p.Node(0).Address + " weight=100 max_fails=0;", "  keepalive 8;"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the file has no %q:\n%s", want, text)
		}
	}
}

// What a worker from before goes on with is counted on its own node, and nowhere else, and is cut off there on demand.
func TestOldWorkersCount(t *testing.T) {
	p := newPlace(t)
	ended := p.OneSlow()
	p.Until("another has none", func() bool { return p.See(2).Sessions == 0 })
	if b := p.See(0); b.Sessions != 1 || b.Admitted {
		t.Errorf("a connection of an old worker: %+v", b)
	}
	must(t, p.d.Cut(ctx, p.Cluster, p.Node(2), 1))
	if b := p.See(0); b.Sessions != 1 {
		t.Errorf("what is on another node was cut off: %+v", b)
	}
	must(t, p.d.Cut(ctx, p.Cluster, p.Node(0), 1))
	if err := <-ended; err == nil {
		t.Error("the request was not cut off")
	}
	p.Until("it is empty", func() bool { return p.See(0).Sessions == 0 })
	must(t, p.Get("/"))
}

// A websocket that an old worker goes on with keeps no other node from being empty, and outlives its end.
func TestAWebsocketToAnotherNode(t *testing.T) {
	p := newPlace(t)
	for i := 1; i < 3; i++ {
		must(t, p.d.Drain(ctx, p.Cluster, p.Node(i), 1))
	}
	c, err := net.Dial("tcp", p.Front)
	must(t, err)
	defer c.Close()
	must(t, c.SetDeadline(time.Now().Add(time.Minute)))
	said := bufio.NewReader(c)
	fmt.Fprintf(c, "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	if r, err := http.ReadResponse(said, nil); err != nil || r.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%+v, %v", r, err)
	}
	must(t, p.d.Admit(ctx, p.Cluster, p.Node(1), 100, 1))
	must(t, p.d.Admit(ctx, p.Cluster, p.Node(2), 100, 1))
	must(t, p.Get("/"))
	must(t, p.d.Drain(ctx, p.Cluster, p.Node(2), 1))
	p.Until("another node is empty", func() bool { b := p.See(2); return !b.Admitted && b.Sessions == 0 })
	must(t, p.d.Cut(ctx, p.Cluster, p.Node(2), 1))
	fmt.Fprintln(c, "still here")
	if line, err := said.ReadString('\n'); err != nil || line != "still here\n" {
		t.Errorf("the websocket: %q, %v", line, err)
	}
	must(t, p.d.Drain(ctx, p.Cluster, p.Node(0), 1))
	if b := p.See(0); b.Sessions != 1 {
		t.Errorf("its own node: %+v", b)
	}
	must(t, p.d.Cut(ctx, p.Cluster, p.Node(0), 1))
	p.Until("its own node is empty", func() bool { return p.See(0).Sessions == 0 })
}

// An old worker that still reads a request may give it to any node that it knew of: it counts on all that are drained since, until it is cut
// off.
func TestAnOldWorkerThatMayYetChoose(t *testing.T) {
	p := newPlace(t)
	c, err := net.Dial("tcp", p.Front)
	must(t, err)
	defer c.Close()
	must(t, c.SetDeadline(time.Now().Add(time.Minute)))
	fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
	from := netip.MustParseAddrPort(c.LocalAddr().String())
	p.Until("nginx has it", func() bool {
		workers, err := p.d.workers()
		must(t, err)
		on := false
		for _, w := range workers {
			mine, err := sockets.Of("/proc", w.pid)
			must(t, err)
			must(t, sockets.Seen("/proc", w.pid, func(c sockets.Conn) { on = on || mine[c.Inode] && c.Remote == from }))
		}
		return on
	})
	must(t, p.d.Drain(ctx, p.Cluster, p.Node(2), 1))
	must(t, p.d.Drain(ctx, p.Cluster, p.Node(0), 1))
	for _, i := range []int{0, 2} {
		if b := p.See(i); b.Admitted || b.Sessions != 1 {
			t.Errorf("node %d: %+v", i, b)
		}
	}
	must(t, p.d.Cut(ctx, p.Cluster, p.Node(2), 1))
	p.Until("both are empty", func() bool { return p.See(0).Sessions == 0 && p.See(2).Sessions == 0 })
	must(t, p.Get("/"))
}

// nginx that is started again goes on as it was; while it is away nothing is known.
func TestARestart(t *testing.T) {
	p := newPlace(t)
	must(t, p.d.Drain(ctx, p.Cluster, p.Node(0), 3))
	must(t, p.cmd.Process.Signal(syscall.SIGQUIT))
	_ = p.cmd.Wait()
	if _, err := p.d.Observe(ctx, p.Cluster); err == nil {
		t.Error("an nginx that is away was observed")
	}
	if err := p.d.Drain(ctx, p.Cluster, p.Node(1), 3); err == nil {
		t.Error("an nginx that is away took up a change")
	}
	p.start()
	if b := p.See(0); b.Admitted || b.Sessions != 0 {
		t.Errorf("after a restart: %+v", b)
	}
	if b := p.See(1); !b.Admitted || b.Weight != 0 { // the change was broken off, and either may be in force
		t.Errorf("a change that was broken off: %+v", b)
	}
	must(t, p.d.Admit(ctx, p.Cluster, p.Node(1), 100, 3))
	if b := p.See(1); !b.Admitted || b.Weight != 100 {
		t.Errorf("done again: %+v", b)
	}
}

// A file that nginx refuses is put back, and nginx goes on as it was.
func TestAFileThatIsRefused(t *testing.T) {
	p := newPlace(t)
	text, err := os.ReadFile(p.path("nginx.conf"))
	must(t, err)
	must(t, os.WriteFile(p.path("nginx.conf"), append(text, "nonsense;\n"...), 0o644)) // somebody else's mistake
	before, err := os.ReadFile(p.path("jobs.conf"))
	must(t, err)
	err = p.d.Drain(ctx, p.Cluster, p.Node(0), 1)
	var e *RefusedError
	if !errors.As(err, &e) || !strings.Contains(err.Error(), "nonsense") || !strings.Contains(e.ErrorHint(), "as it was before") {
		t.Errorf("a refused file: %v", err)
	}
	after, err := os.ReadFile(p.path("jobs.conf"))
	must(t, err)
	if string(before) != string(after) {
		t.Errorf("the file is not put back:\n%s", after)
	}
	if b := p.See(0); !b.Admitted || b.Weight != 100 {
		t.Errorf("after a refused change: %+v", b)
	}
	must(t, os.WriteFile(p.path("nginx.conf"), text, 0o644))
	must(t, p.d.Drain(ctx, p.Cluster, p.Node(0), 1))
	if p.See(0).Admitted {
		t.Error("it is not drained")
	}
}

// A reload that nginx does not take up is no change: it is said, and until it is done again the node counts as admitted.
func TestAReloadThatIsNotTakenUp(t *testing.T) {
	p := newPlace(t)
	deaf := New(Config{File: p.d.cfg.File, Upstream: "jobs", PIDFile: p.d.cfg.PIDFile, Test: p.d.cfg.Test, Reload: []string{"true"}, Timeout: 5 * time.Second})
	if err := deaf.Drain(ctx, p.Cluster, p.Node(0), 1); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "has not taken up") {
		t.Errorf("a reload that does nothing: %v", err)
	}
	if b := p.See(0); !b.Admitted || b.Weight != 0 {
		t.Errorf("in between: %+v", b)
	}
	before := p.Served[0].Load()
	p.Until("it is given requests", func() bool { must(t, p.Get("/")); return p.Served[0].Load() > before })
	must(t, p.d.Drain(ctx, p.Cluster, p.Node(0), 1))
	if p.See(0).Admitted {
		t.Error("it is not drained")
	}
}

// Between old workers that are gone and new ones that have not named themselves yet a machine under load shows none: that is waited out.
func TestAReloadShowsNoWorkersForAMoment(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"pid": "50", "100/stat": "100 (nginx) S 50" + strings.Repeat(" 1", 20), "100/cmdline": "nginx: worker process", "next/stat": "101 (nginx) S 50" + strings.Repeat(" 2", 20), "next/cmdline": "nginx: worker process"} {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	d := New(Config{PIDFile: filepath.Join(dir, "pid"), Proc: dir, Timeout: time.Minute, Reload: []string{"sh", "-c", "cd " + dir + " && rm -r 100 && (sleep 0.3; mv next 101) >/dev/null 2>&1 &"}})
	must(t, d.reload(ctx))
}

// A term that is over changes nothing. (trap 1)
func TestAnOldTermIsFenced_trap1(t *testing.T) {
	p := newPlace(t)
	p.OldTermIsFenced()
	if _, err := p.d.Observe(ctx, fleet.Cluster{Cells: []fleet.Cell{{Nodes: []fleet.Node{{Name: "ghost", Address: "127.0.0.1:1"}}}}}); err == nil || !strings.Contains(err.Error(), "ghost") {
		t.Errorf("a node that is not there: %v", err)
	}
	blind := *p.d
	blind.cfg.Proc = p.dir
	if _, err := blind.Observe(ctx, p.Cluster); err == nil {
		t.Error("without a look at processes nothing is known")
	}
}

// A server that the fleet does not have is told of if it is given requests, also if that is so in the file from before alone.
func TestAServerThatTheFleetDoesNotHave(t *testing.T) {
	p := newPlace(t)
	c := fleet.Cluster{Cells: []fleet.Cell{{Nodes: p.Cluster.Cells[0].Nodes[:2]}}}
	third := p.Node(2).Address
	sees := func(what string, want ...string) {
		t.Helper()
		all, err := p.d.Observe(ctx, c)
		var others []string
		for _, b := range all[min(2, len(all)):] {
			if others = append(others, b.Node); !b.Admitted || b.Weight == 0 {
				t.Errorf("%s: %+v", what, b)
			}
		}
		if err != nil || len(all) < 2 || !slices.Equal(others, want) {
			t.Errorf("%s: %+v, %v; want %v", what, all, err, want)
		}
	}
	sees("one is left", third)
	text, err := os.ReadFile(p.path("jobs.conf"))
	must(t, err)
	p.Drain(2, 1)
	sees("it is drained")
	must(t, os.WriteFile(p.path("jobs.conf")+".before", text, 0o600))
	sees("a change was broken off", third)
	must(t, os.Remove(p.path("jobs.conf")+".before"))
	must(t, os.WriteFile(p.path("jobs.conf"), []byte(strings.Replace(string(text), "server "+third, "server "+third+" backup", 1)), 0o600))
	sees("it is a backup")
}

func TestFilesThatCantBeRead(t *testing.T) {
	for _, bad := range []string{"", "server a:1;", "upstream other {\nserver a:1;\n}", "upstream u { server a:1; }", "upstream u {\nserver a:1; server b:1;\n}", "upstream u {\nserver a:1 weight=x;\n}", "upstream u {\n}\nupstream u {\n}", "upstream u {\n}\nserver {\n}"} {
		if _, err := parse("f", "u", []byte(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
	f, err := parse("f", "u", []byte("# windlass: term 41; x\nupstream u { # mine\n\tserver a:1 max_fails=3 down ; # server b\n  least_conn;\n}"))
	must(t, err)
	if want := "# windlass: term 41" + notice + "\nupstream u { # mine\n    server a:1 weight=1 max_fails=3 down;\n  least_conn;\n}\n"; string(f.text()) != want {
		t.Errorf("%s\nwant %s", f.text(), want)
	}
}
