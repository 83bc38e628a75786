package nginx

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
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

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// place is a real nginx before three nodes.
type place struct {
	*testing.T
	dir, front string
	d          *Driver
	argv       []string
	cluster    fleet.Cluster
	served     [3]atomic.Int64
	slow       chan struct{} // a request of /slow waits for it
	nodes      [3]*httptest.Server
	cmd        *exec.Cmd
}

func newPlace(t *testing.T) *place {
	t.Helper()
	t.Parallel()
	p := &place{T: t, dir: t.TempDir(), front: fmt.Sprintf("127.0.0.1:%d", processtest.FreePort(t)), slow: make(chan struct{})}
	p.cluster = fleet.Cluster{Env: "qa", Name: "jobs", Cells: []fleet.Cell{{Name: "main"}}}
	servers := ""
	for i := range p.nodes {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		p.serve(i, l)
		t.Cleanup(func() { p.nodes[i].CloseClientConnections(); p.nodes[i].Close() })
		p.cluster.Cells[0].Nodes = append(p.cluster.Cells[0].Nodes, fleet.Node{Name: fmt.Sprintf("n%d", i+1), Address: l.Addr().String()})
		servers += "  server " + l.Addr().String() + " weight=100 max_fails=0; # mine\n"
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
    listen `+p.front+`;
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
	p.start()
	return p
}

func (p *place) path(name string) string { return filepath.Join(p.dir, name) }

func (p *place) node(i int) fleet.Node { return p.cluster.Cells[0].Nodes[i] }

// serve makes a node of a listener.
func (p *place) serve(i int, l net.Listener) {
	h := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.served[i].Add(1)
		if r.URL.Path == "/slow" {
			select {
			case <-p.slow:
			case <-r.Context().Done():
			}
		}
		if r.URL.Path == "/ws" { // echoes
			c, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				p.Error(err)
				return
			}
			defer c.Close()
			fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
			_, _ = io.Copy(c, rw)
			return
		}
		fmt.Fprint(w, i)
	}))
	h.Listener.Close()
	h.Listener = l
	h.Start()
	p.nodes[i] = h
}

func (p *place) start() {
	p.Helper()
	p.cmd = exec.Command(p.argv[0], p.argv[1:]...)
	cmd := p.cmd
	must(p, cmd.Start())
	p.Cleanup(func() { _ = cmd.Process.Signal(syscall.SIGTERM); _ = cmd.Wait() })
	p.until("nginx serves", func() bool { _, err := p.d.Observe(ctx, p.cluster); return err == nil && p.get("/") == nil })
}

func (p *place) until(what string, ok func() bool) {
	p.Helper()
	processtest.Until(p, time.Minute, what, ok)
}

func (p *place) see(i int) rolling.Backend {
	p.Helper()
	all, err := p.d.Observe(ctx, p.cluster)
	must(p, err)
	return all[i]
}

// get asks once, on a connection of its own.
func (p *place) get(path string) error {
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	r, err := c.Get("http://" + p.front + path)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if b, err := io.ReadAll(r.Body); err != nil || r.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %w", r.Status, b, err)
	}
	return nil
}

// load asks without end, and wants every request answered.
func (p *place) load() (stop func()) {
	done := make(chan struct{})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if err := p.get("/"); err != nil {
					p.Errorf("a request failed: %v", err)
				}
			}
		})
	}
	return func() { close(done); all.Wait() }
}

// A node is drained under load, is stopped and started again, and is put back with a part of its weight first: no request fails.
func TestANodeIsTakenOutAndPutBack(t *testing.T) {
	p := newPlace(t)
	stop := p.load()
	if b := p.see(0); !b.Up || !b.Admitted || b.Weight != 100 || b.Node != "n1" {
		t.Errorf("at the beginning: %+v", b)
	}
	must(t, p.d.Drain(ctx, p.cluster, p.node(0), 5))
	p.until("nothing is on it", func() bool { b := p.see(0); return !b.Admitted && b.Sessions == 0 })
	before, others := p.served[0].Load(), p.served[1].Load()
	p.until("the others serve", func() bool { return p.served[1].Load() > others+50 })
	if n := p.served[0].Load(); n != before {
		t.Errorf("%d requests came after it was empty", n-before)
	}
	p.nodes[0].Close() // the node is restarted
	must(t, p.d.Drain(ctx, p.cluster, p.node(0), 5))
	l, err := net.Listen("tcp", p.node(0).Address)
	must(t, err)
	p.serve(0, l)
	must(t, p.d.Admit(ctx, p.cluster, p.node(0), 10, 6))
	if b := p.see(0); b.Weight != 10 || !b.Admitted {
		t.Errorf("with a part of its weight: %+v", b)
	}
	from := [2]int64{p.served[0].Load(), p.served[1].Load()}
	p.until("requests are served", func() bool { return p.served[1].Load() > from[1]+100 })
	if a, b := p.served[0].Load()-from[0], p.served[1].Load()-from[1]; a == 0 || a*4 > b {
		t.Errorf("with a tenth of its weight it served %d, another %d", a, b)
	}
	must(t, p.d.Admit(ctx, p.cluster, p.node(0), 100, 6))
	if b := p.see(0); b.Weight != 100 {
		t.Errorf("at the end: %+v", b)
	}
	stop()
	text, err := os.ReadFile(p.path("jobs.conf"))
	must(t, err)
	for _, want := range []string{"# windlass: term 6", "server " + p.node(0).Address + " weight=100 max_fails=0;", "  keepalive 8;"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the file has no %q:\n%s", want, text)
		}
	}
}

// What a worker from before goes on with is counted on its own node, and nowhere else, and is cut off there on demand.
func TestOldWorkersCount(t *testing.T) {
	p := newPlace(t)
	for i := 1; i < 3; i++ {
		must(t, p.d.Drain(ctx, p.cluster, p.node(i), 1))
	}
	ended := make(chan error, 1)
	go func() { ended <- p.get("/slow") }()
	p.until("the request is on the node", func() bool { return p.see(0).Sessions >= 1 && p.served[0].Load() > 0 })
	must(t, p.d.Admit(ctx, p.cluster, p.node(1), 100, 1))
	must(t, p.d.Drain(ctx, p.cluster, p.node(0), 1))
	must(t, p.get("/"))
	p.until("another has none", func() bool { return p.see(2).Sessions == 0 })
	if b := p.see(0); b.Sessions != 1 || b.Admitted {
		t.Errorf("a connection of an old worker: %+v", b)
	}
	must(t, p.d.Cut(ctx, p.cluster, p.node(2), 1))
	if b := p.see(0); b.Sessions != 1 {
		t.Errorf("what is on another node was cut off: %+v", b)
	}
	must(t, p.d.Cut(ctx, p.cluster, p.node(0), 1))
	if err := <-ended; err == nil {
		t.Error("the request was not cut off")
	}
	p.until("it is empty", func() bool { return p.see(0).Sessions == 0 })
	must(t, p.get("/"))
}

// A websocket that an old worker goes on with keeps no other node from being empty, and outlives its end.
func TestAWebsocketToAnotherNode(t *testing.T) {
	p := newPlace(t)
	for i := 1; i < 3; i++ {
		must(t, p.d.Drain(ctx, p.cluster, p.node(i), 1))
	}
	c, err := net.Dial("tcp", p.front)
	must(t, err)
	defer c.Close()
	must(t, c.SetDeadline(time.Now().Add(time.Minute)))
	said := bufio.NewReader(c)
	fmt.Fprintf(c, "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	if r, err := http.ReadResponse(said, nil); err != nil || r.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%+v, %v", r, err)
	}
	must(t, p.d.Admit(ctx, p.cluster, p.node(1), 100, 1))
	must(t, p.d.Admit(ctx, p.cluster, p.node(2), 100, 1))
	must(t, p.get("/"))
	must(t, p.d.Drain(ctx, p.cluster, p.node(2), 1))
	p.until("another node is empty", func() bool { b := p.see(2); return !b.Admitted && b.Sessions == 0 })
	must(t, p.d.Cut(ctx, p.cluster, p.node(2), 1))
	fmt.Fprintln(c, "still here")
	if line, err := said.ReadString('\n'); err != nil || line != "still here\n" {
		t.Errorf("the websocket: %q, %v", line, err)
	}
	must(t, p.d.Drain(ctx, p.cluster, p.node(0), 1))
	if b := p.see(0); b.Sessions != 1 {
		t.Errorf("its own node: %+v", b)
	}
	must(t, p.d.Cut(ctx, p.cluster, p.node(0), 1))
	p.until("its own node is empty", func() bool { return p.see(0).Sessions == 0 })
}

// An old worker that still reads a request may give it to any node that it knew of: it counts on all that are drained since, until it is cut
// off.
func TestAnOldWorkerThatMayYetChoose(t *testing.T) {
	p := newPlace(t)
	c, err := net.Dial("tcp", p.front)
	must(t, err)
	defer c.Close()
	must(t, c.SetDeadline(time.Now().Add(time.Minute)))
	fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
	from := netip.MustParseAddrPort(c.LocalAddr().String())
	p.until("nginx has it", func() bool {
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
	must(t, p.d.Drain(ctx, p.cluster, p.node(2), 1))
	must(t, p.d.Drain(ctx, p.cluster, p.node(0), 1))
	for _, i := range []int{0, 2} {
		if b := p.see(i); b.Admitted || b.Sessions != 1 {
			t.Errorf("node %d: %+v", i, b)
		}
	}
	must(t, p.d.Cut(ctx, p.cluster, p.node(2), 1))
	p.until("both are empty", func() bool { return p.see(0).Sessions == 0 && p.see(2).Sessions == 0 })
	must(t, p.get("/"))
}

// nginx that is started again goes on as it was; while it is away nothing is known.
func TestARestart(t *testing.T) {
	p := newPlace(t)
	must(t, p.d.Drain(ctx, p.cluster, p.node(0), 3))
	must(t, p.cmd.Process.Signal(syscall.SIGQUIT))
	_ = p.cmd.Wait()
	if _, err := p.d.Observe(ctx, p.cluster); err == nil {
		t.Error("an nginx that is away was observed")
	}
	if err := p.d.Drain(ctx, p.cluster, p.node(1), 3); err == nil {
		t.Error("an nginx that is away took up a change")
	}
	p.start()
	if b := p.see(0); b.Admitted || b.Sessions != 0 {
		t.Errorf("after a restart: %+v", b)
	}
	if b := p.see(1); !b.Admitted || b.Weight != 0 { // the change was broken off, and either may be in force
		t.Errorf("a change that was broken off: %+v", b)
	}
	must(t, p.d.Admit(ctx, p.cluster, p.node(1), 100, 3))
	if b := p.see(1); !b.Admitted || b.Weight != 100 {
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
	err = p.d.Drain(ctx, p.cluster, p.node(0), 1)
	var e *RefusedError
	if !errors.As(err, &e) || !strings.Contains(err.Error(), "nonsense") || !strings.Contains(e.ErrorHint(), "as it was before") {
		t.Errorf("a refused file: %v", err)
	}
	after, err := os.ReadFile(p.path("jobs.conf"))
	must(t, err)
	if string(before) != string(after) {
		t.Errorf("the file is not put back:\n%s", after)
	}
	if b := p.see(0); !b.Admitted || b.Weight != 100 {
		t.Errorf("after a refused change: %+v", b)
	}
	must(t, os.WriteFile(p.path("nginx.conf"), text, 0o644))
	must(t, p.d.Drain(ctx, p.cluster, p.node(0), 1))
	if p.see(0).Admitted {
		t.Error("it is not drained")
	}
}

// A reload that nginx does not take up is no change: it is said, and until it is done again the node counts as admitted.
func TestAReloadThatIsNotTakenUp(t *testing.T) {
	p := newPlace(t)
	deaf := New(Config{File: p.d.cfg.File, Upstream: "jobs", PIDFile: p.d.cfg.PIDFile, Test: p.d.cfg.Test, Reload: []string{"true"}, Timeout: 5 * time.Second})
	if err := deaf.Drain(ctx, p.cluster, p.node(0), 1); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "has not taken up") {
		t.Errorf("a reload that does nothing: %v", err)
	}
	if b := p.see(0); !b.Admitted || b.Weight != 0 {
		t.Errorf("in between: %+v", b)
	}
	before := p.served[0].Load()
	p.until("it is given requests", func() bool { must(t, p.get("/")); return p.served[0].Load() > before })
	must(t, p.d.Drain(ctx, p.cluster, p.node(0), 1))
	if p.see(0).Admitted {
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
	n := p.node(0)
	must(t, p.d.Drain(ctx, p.cluster, n, 8))
	for what, err := range map[string]error{"admit": p.d.Admit(ctx, p.cluster, n, 100, 7), "drain": p.d.Drain(ctx, p.cluster, p.node(1), 7), "cut": p.d.Cut(ctx, p.cluster, n, 7)} {
		if !errors.Is(err, engine.ErrFenced) {
			t.Errorf("%s under an old term: %v", what, err)
		}
	}
	if p.see(0).Admitted || !p.see(1).Admitted {
		t.Error("an old term changed something")
	}
	if _, err := p.d.Observe(ctx, fleet.Cluster{Cells: []fleet.Cell{{Nodes: []fleet.Node{{Name: "ghost", Address: "127.0.0.1:1"}}}}}); err == nil || !strings.Contains(err.Error(), "ghost") {
		t.Errorf("a node that is not there: %v", err)
	}
	blind := *p.d
	blind.cfg.Proc = p.dir
	if _, err := blind.Observe(ctx, p.cluster); err == nil {
		t.Error("without a look at processes nothing is known")
	}
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
