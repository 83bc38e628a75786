package haproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/builds"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
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

// place is a real HAProxy before three nodes.
type place struct {
	t       *testing.T
	d       *Driver
	cluster fleet.Cluster
	front   string
	config  string
	served  [3]atomic.Int64
	slow    chan struct{} // a request of /slow waits for it
	cmd     *exec.Cmd
}

func (p *place) node(i int) fleet.Node { return p.cluster.Cells[0].Nodes[i] }

func newPlace(t *testing.T) *place {
	t.Helper()
	dir, err := os.MkdirTemp("", "wl") // a socket's path has to be short
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := &place{t: t, slow: make(chan struct{}), config: filepath.Join(dir, "haproxy.cfg")}
	p.cluster = fleet.Cluster{Env: "qa", Name: "jobs-1", Cells: []fleet.Cell{{Name: "main"}}}
	var servers strings.Builder
	for i := range 3 {
		h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				select {
				case <-p.slow:
				case <-r.Context().Done():
				}
			}
			if r.URL.Path != "/health" {
				p.served[i].Add(1)
			}
			fmt.Fprint(w, i)
		}))
		t.Cleanup(h.Close)
		n := fleet.Node{Name: fmt.Sprintf("jobs-1.n%d", i+1), Address: h.Listener.Addr().String()}
		p.cluster.Cells[0].Nodes = append(p.cluster.Cells[0].Nodes, n)
		fmt.Fprintf(&servers, "  server %s %s\n", n.Name, n.Address)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p.front = l.Addr().String()
	must(t, l.Close())
	sock := filepath.Join(dir, "s")
	must(t, os.WriteFile(p.config, []byte(`global
  stats socket `+sock+` mode 600 level admin
  maxconn 200
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend fe
  bind `+p.front+`
  default_backend jobs
backend jobs
  option httpchk GET /health
  default-server check inter 200ms fastinter 50ms downinter 50ms fall 3 rise 1 weight 100
`+servers.String()), 0o600))
	p.d = New(Config{Network: "unix", Address: sock, Backend: "jobs", Timeout: time.Minute})
	p.start()
	return p
}

func (p *place) start(options ...string) {
	p.t.Helper()
	b, err := builds.Fetch(ctx, "haproxy", builds.Options{Progress: func(s string) { p.t.Log(s) }})
	must(p.t, err)
	p.cmd, err = b.Command(ctx, "haproxy", append([]string{"-db", "-f", p.config}, options...)...)
	must(p.t, err)
	must(p.t, p.cmd.Start())
	cmd := p.cmd
	p.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	p.until("it answers", func() bool { is, err := p.d.process(ctx); return err == nil && is.pid == cmd.Process.Pid })
	p.until("all nodes are up", func() bool {
		all, err := p.d.Observe(ctx, p.cluster)
		return err == nil && all[0].Up && all[1].Up && all[2].Up
	})
}

func (p *place) until(what string, ok func() bool) {
	p.t.Helper()
	processtest.Until(p.t, time.Minute, what, ok)
}

func (p *place) see(i int) rolling.Backend {
	p.t.Helper()
	all, err := p.d.Observe(ctx, p.cluster)
	must(p.t, err)
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

// A node is drained under load, without a failed request: nothing new comes, what is on it ends, and it is put back with a part of its
// weight first.
func TestANodeIsTakenOutAndPutBack(t *testing.T) {
	p := newPlace(t)
	stop := make(chan struct{})
	var failed atomic.Int64
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := p.get("/"); err != nil {
					failed.Add(1)
					t.Errorf("a request failed: %v", err)
				}
			}
		})
	}
	if b := p.see(0); !b.Up || !b.Admitted || b.Weight != 100 || b.Node != "jobs-1.n1" {
		t.Errorf("at the beginning: %+v", b)
	}
	must(t, p.d.Drain(ctx, p.cluster, p.node(0), 5))
	p.until("nothing is on it", func() bool { b := p.see(0); return !b.Admitted && b.Sessions == 0 })
	before, others := p.served[0].Load(), p.served[1].Load()
	p.until("the others serve", func() bool { return p.served[1].Load() > others+50 })
	if n := p.served[0].Load(); n != before {
		t.Errorf("%d requests came after it was empty", n-before)
	}
	must(t, p.d.Drain(ctx, p.cluster, p.node(0), 5)) // again
	must(t, p.d.Admit(ctx, p.cluster, p.node(0), 10, 5))
	if b := p.see(0); b.Weight != 10 || !b.Admitted {
		t.Errorf("with a part of its weight: %+v", b)
	}
	from := [2]int64{p.served[0].Load(), p.served[1].Load()}
	p.until("requests are served", func() bool { return p.served[1].Load() > from[1]+100 })
	if a, b := p.served[0].Load()-from[0], p.served[1].Load()-from[1]; a == 0 || a*4 > b {
		t.Errorf("with a tenth of its weight it served %d, another %d", a, b)
	}
	must(t, p.d.Admit(ctx, p.cluster, p.node(0), 100, 5))
	if b := p.see(0); b.Weight != 100 {
		t.Errorf("at the end: %+v", b)
	}
	close(stop)
	load.Wait()
}

// What does not end is counted, and cut off on demand.
func TestSessionsAreCountedAndCut(t *testing.T) {
	p := newPlace(t)
	for i := 1; i < 3; i++ {
		must(t, p.d.Drain(ctx, p.cluster, p.node(i), 1))
	}
	ended := make(chan error, 1)
	go func() { ended <- p.get("/slow") }()
	p.until("the request is on the node", func() bool { return p.see(0).Sessions == 1 })
	must(t, p.d.Admit(ctx, p.cluster, p.node(1), 100, 1))
	must(t, p.d.Drain(ctx, p.cluster, p.node(0), 1))
	must(t, p.get("/"))
	if b := p.see(0); b.Sessions != 1 {
		t.Errorf("it is on the node still: %+v", b)
	}
	must(t, p.d.Cut(ctx, p.cluster, p.node(0), 1))
	if err := <-ended; err == nil {
		t.Error("the request was not cut off")
	}
	p.until("it is empty", func() bool { return p.see(0).Sessions == 0 })
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
	other := p.cluster
	other.Name = "jobs-2" // another cluster has its own term
	must(t, p.d.Admit(ctx, other, n, 100, 1))
}

// HAProxy that is started again has forgotten everything, and that is seen.
func TestARestartIsSeen(t *testing.T) {
	p := newPlace(t)
	must(t, p.d.Drain(ctx, p.cluster, p.node(0), 3))
	must(t, p.cmd.Process.Kill())
	_ = p.cmd.Wait()
	if _, err := p.d.Observe(ctx, p.cluster); err == nil {
		t.Error("a HAProxy that is away was observed")
	}
	p.start()
	if b := p.see(0); !b.Admitted || b.Weight != 100 {
		t.Errorf("after a restart: %+v", b)
	}
	must(t, p.d.Drain(ctx, p.cluster, p.node(0), 3))
	if p.see(0).Admitted {
		t.Error("it was not drained again")
	}
}

// After a reload the process from before goes on with what it has, and the one that answers knows nothing of it: it is counted all the same.
func TestAReloadHidesSessions(t *testing.T) {
	p := newPlace(t)
	for i := 1; i < 3; i++ {
		must(t, p.d.Drain(ctx, p.cluster, p.node(i), 1))
	}
	ended := make(chan error, 1)
	go func() { ended <- p.get("/slow") }()
	p.until("the request is on the node", func() bool { return p.see(0).Sessions == 1 })
	p.start("-sf", fmt.Sprint(p.cmd.Process.Pid))
	must(t, p.d.Drain(ctx, p.cluster, p.node(0), 1))
	blind := *p.d
	blind.cfg.Proc = t.TempDir()
	old := blind
	old.cfg.ReloadWithin = time.Nanosecond
	for range 20 { // nothing ever says that it is empty
		if b := p.see(0); b.Admitted || b.Sessions == 0 {
			t.Fatalf("a request is on it: %+v", b)
		}
		must(t, p.get("/"))
	}
	must(t, p.d.Drain(ctx, p.cluster, p.node(2), 1))
	p.until("on another is nothing", func() bool { return p.see(2).Sessions == 0 })
	close(p.slow)
	if err := <-ended; err != nil {
		t.Errorf("the request: %v", err)
	}
	p.until("it is empty", func() bool { return p.see(0).Sessions == 0 })
	for want, d := range map[int]*Driver{1: &blind, 0: &old} { // as on another machine: it is not known until the process is old enough
		if all, err := d.Observe(ctx, p.cluster); err != nil || all[0].Sessions != want || all[1].Sessions != 0 {
			t.Errorf("blind: %+v, %v; want %d", all, err, want)
		}
	}
}

// A server that HAProxy has no numbers of is not empty: that is not known.
func TestAServerWithoutNumbers(t *testing.T) {
	dir, err := os.MkdirTemp("", "wl")
	must(t, err)
	defer os.RemoveAll(dir)
	sock := filepath.Join(dir, "s")
	l, err := net.Listen("unix", sock)
	must(t, err)
	defer l.Close()
	go func() { // stands in for an HAProxy between two states
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			line := make([]byte, 100)
			n, _ := c.Read(line)
			fmt.Fprintln(c, map[string]string{"show servers state jobs": "1\n# be_name srv_name srv_op_state srv_admin_state srv_uweight srv_iweight\njobs n1 2 8 100 100",
				"show stat jobs 4 -1": "# pxname,svname,qcur,scur\njobs,n2,0,0", "show info": "Pid: 1\nUptime_sec: 99999999"}[strings.TrimSpace(string(line[:n]))])
			c.Close()
		}
	}()
	c := fleet.Cluster{Cells: []fleet.Cell{{Nodes: []fleet.Node{{Name: "n1"}}}}}
	if all, err := New(Config{Network: "unix", Address: sock, Backend: "jobs"}).Observe(ctx, c); err == nil || !strings.Contains(err.Error(), "No such server n1") {
		t.Errorf("%+v, %v", all, err)
	}
}

// What is not there is said, with what to do; a name can't smuggle a command in.
func TestWhatIsNotThere(t *testing.T) {
	p := newPlace(t)
	ghost := fleet.Node{Name: "ghost"}
	for what, x := range map[string]struct {
		err  error
		hint string
	}{
		"server": {p.d.Drain(ctx, p.cluster, ghost, 1), "server with the name of every node"},
		"admit":  {p.d.Admit(ctx, p.cluster, ghost, 100, 1), "server with the name of every node"},
		"backend": {func() error {
			d := *p.d
			d.cfg.Backend = "nobody"
			_, err := d.Observe(ctx, p.cluster)
			return err
		}(), "name the backend"},
	} {
		var e *RefusedError
		if !errors.As(x.err, &e) || !strings.Contains(e.ErrorHint(), x.hint) {
			t.Errorf("%s: %v, hint %q", what, x.err, func() string {
				if e != nil {
					return e.ErrorHint()
				}
				return ""
			}())
		}
	}
	for _, bad := range []string{"n1 state maint", "n1;shutdown", "n1\nset", ""} {
		if err := p.d.Drain(ctx, p.cluster, fleet.Node{Name: bad}, 1); err == nil {
			t.Errorf("%q was taken for a name", bad)
		}
	}
	if _, err := New(Config{Network: "unix", Address: "/nonexistent/s", Backend: "jobs"}).Observe(ctx, p.cluster); err == nil {
		t.Error("nobody was observed")
	}
}

func TestParseAddress(t *testing.T) {
	for text, want := range map[string]string{"unix:/run/h.sock": "unix /run/h.sock", "tcp:127.0.0.1:99": "tcp 127.0.0.1:99"} {
		if n, a, err := ParseAddress(text); err != nil || n+" "+a != want {
			t.Errorf("%s: %s %s %v", text, n, a, err)
		}
	}
	for _, bad := range []string{"", "/run/h.sock", "unix:", "udp:1:2"} {
		if _, _, err := ParseAddress(bad); err == nil {
			t.Errorf("%q is an address", bad)
		}
	}
}
