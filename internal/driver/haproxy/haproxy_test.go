package haproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/builds"
	"github.com/windlass-db/windlass/internal/driver/drivertest"
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
	*drivertest.Behind
	d      *Driver
	config string
	cmd    *exec.Cmd
}

func newPlace(t *testing.T) *place {
	t.Helper()
	dir, err := os.MkdirTemp("", "wl") // a socket's path has to be short
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := &place{Behind: drivertest.NewBehind(t, "jobs-1", "jobs-1.n"), config: filepath.Join(dir, "haproxy.cfg")}
	var servers strings.Builder
	for _, n := range p.Cluster.Cells[0].Nodes {
		fmt.Fprintf(&servers, "  server %s %s cookie %s\n", n.Name, n.Address, n.Name)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p.Front = l.Addr().String()
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
  bind `+p.Front+`
  default_backend jobs
backend jobs
  option httpchk GET /health
  cookie node insert indirect
  default-server check inter 200ms fastinter 50ms downinter 50ms fall 3 rise 1 weight 100
`+servers.String()), 0o600))
	p.d = New(Config{Network: "unix", Address: sock, Backend: "jobs", Timeout: time.Minute})
	p.Balancer = p.d
	p.start()
	return p
}

func (p *place) start(options ...string) {
	p.T.Helper()
	b, err := builds.Fetch(ctx, "haproxy", builds.Options{Progress: func(s string) { p.T.Log(s) }})
	must(p.T, err)
	p.cmd, err = b.Command(ctx, "haproxy", append([]string{"-db", "-f", p.config}, options...)...)
	must(p.T, err)
	must(p.T, p.cmd.Start())
	cmd := p.cmd
	p.T.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	p.Until("it answers", func() bool { is, err := p.d.process(ctx); return err == nil && is.pid == cmd.Process.Pid })
	p.Until("all nodes are up", func() bool {
		all, err := p.d.Observe(ctx, p.Cluster)
		return err == nil && all[0].Up && all[1].Up && all[2].Up
	})
}

func TestANodeIsTakenOutAndPutBack(t *testing.T) { newPlace(t).TakenOutAndPutBack() }

// What does not end is counted, and cut off on demand.
func TestSessionsAreCountedAndCut(t *testing.T) {
	p := newPlace(t)
	ended := p.OneSlow()
	if b := p.See(0); b.Sessions != 1 {
		t.Errorf("it is on the node still: %+v", b)
	}
	must(t, p.d.Cut(ctx, p.Cluster, p.Node(0), 1))
	if err := <-ended; err == nil {
		t.Error("the request was not cut off")
	}
	p.Until("it is empty", func() bool { return p.See(0).Sessions == 0 })
}

// A client that belongs to a node by its cookie goes to it though it is drained, as HAProxy means it to. Cutting off is maintenance, so that it does
// not come back; it stays so until the node is admitted, whoever drains it again.
func TestAClientThatBelongsToANode(t *testing.T) {
	p := newPlace(t)
	ask := func(path string) (by string, err error) {
		r, err := http.NewRequest(http.MethodGet, "http://"+p.Front+path, nil)
		must(t, err)
		r.AddCookie(&http.Cookie{Name: "node", Value: p.Node(0).Name})
		resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}).Do(r)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return resp.Status + " " + string(b), err
	}
	belongs := func(when string, own bool) {
		t.Helper()
		if by, err := ask("/"); err != nil || !strings.HasPrefix(by, "200 ") || strings.HasSuffix(by, " 0") != own {
			t.Errorf("%s: served by %s, %v", when, by, err)
		}
	}
	p.Drain(0, 1)
	belongs("drained", true)
	ended := make(chan string, 1)
	go func() { by, err := ask("/slow"); ended <- fmt.Sprint(by, err) }()
	p.Until("its request is on the node", func() bool { return p.See(0).Sessions == 1 })
	p.Cut(0, 1)
	if said := <-ended; strings.HasPrefix(said, "200") {
		t.Errorf("its request was not cut off: %s", said)
	}
	belongs("cut off", false)
	p.Drain(0, 2)
	belongs("drained again", false)
	p.Until("it is empty", func() bool { b := p.See(0); return b.Sessions == 0 && !b.Admitted })
	p.Admit(0, 100, 2)
	p.Until("it is up", func() bool { return p.See(0).Up })
	belongs("admitted", true)
}

// A term that is over changes nothing. (trap 1)
func TestAnOldTermIsFenced_trap1(t *testing.T) {
	p := newPlace(t)
	p.OldTermIsFenced()
	other := p.Cluster
	other.Name = "jobs-2" // another cluster has its own term
	must(t, p.d.Admit(ctx, other, p.Node(0), 100, 1))
}

// HAProxy that is started again has forgotten everything, and that is seen.
func TestARestartIsSeen(t *testing.T) {
	p := newPlace(t)
	must(t, p.d.Drain(ctx, p.Cluster, p.Node(0), 3))
	must(t, p.cmd.Process.Kill())
	_ = p.cmd.Wait()
	if _, err := p.d.Observe(ctx, p.Cluster); err == nil {
		t.Error("a HAProxy that is away was observed")
	}
	p.start()
	if b := p.See(0); !b.Admitted || b.Weight != 100 {
		t.Errorf("after a restart: %+v", b)
	}
	must(t, p.d.Drain(ctx, p.Cluster, p.Node(0), 3))
	if p.See(0).Admitted {
		t.Error("it was not drained again")
	}
}

// After a reload the process from before goes on with what it has, and the one that answers knows nothing of it: it is counted all the same.
func TestAReloadHidesSessions(t *testing.T) {
	p := newPlace(t)
	for i := 1; i < 3; i++ {
		must(t, p.d.Drain(ctx, p.Cluster, p.Node(i), 1))
	}
	ended := make(chan error, 1)
	go func() { ended <- p.Get("/slow") }()
	p.Until("the request is on the node", func() bool { return p.See(0).Sessions == 1 })
	p.start("-sf", fmt.Sprint(p.cmd.Process.Pid))
	must(t, p.d.Drain(ctx, p.Cluster, p.Node(0), 1))
	blind := *p.d
	blind.cfg.Proc = t.TempDir()
	old := blind
	old.cfg.ReloadWithin = time.Nanosecond
	for range 20 { // nothing ever says that it is empty
		if b := p.See(0); b.Admitted || b.Sessions == 0 {
			t.Fatalf("a request is on it: %+v", b)
		}
		must(t, p.Get("/"))
	}
	must(t, p.d.Drain(ctx, p.Cluster, p.Node(2), 1))
	p.Until("on another is nothing", func() bool { return p.See(2).Sessions == 0 })
	close(p.Slow)
	if err := <-ended; err != nil {
		t.Errorf("the request: %v", err)
	}
	p.Until("it is empty", func() bool { return p.See(0).Sessions == 0 })
	p.Until("it is a second old, by HAProxy's whole seconds", func() bool { is, err := p.d.process(ctx); return err == nil && is.age > 0 })
	for want, d := range map[int]*Driver{1: &blind, 0: &old} { // as on another machine: it is not known until the process is old enough
		if all, err := d.Observe(ctx, p.Cluster); err != nil || all[0].Sessions != want || all[1].Sessions != 0 {
			t.Errorf("blind: %+v, %v; want %d", all, err, want)
		}
	}
}

// While HAProxy is young a connection of this process to a drained node is none of an HAProxy from before, and one of another is taken for it, with
// the reason. The process that answers is known by its socket, whatever its age is said to be.
func TestAYoungHAProxy(t *testing.T) {
	p := newPlace(t)
	for i := range 2 {
		p.Drain(i, 1)
	}
	own, err := net.Dial("tcp", p.Node(0).Address)
	must(t, err)
	defer own.Close()
	host, port, err := net.SplitHostPort(p.Node(1).Address)
	must(t, err)
	other := exec.Command("bash", "-c", `exec 3<>/dev/tcp/$0/$1; read -r x`, host, port)
	stdin, err := other.StdinPipe()
	must(t, err)
	must(t, other.Start())
	defer func() { stdin.Close(); _ = other.Wait() }()
	p.Until("another's connection is seen, and why it counts", func() bool {
		b := p.See(1)
		return b.Sessions == 1 && strings.Contains(b.Detail, "1 connections to it of other processes")
	})
	p.Until("ours counts nothing", func() bool { b := p.See(0); return b.Sessions == 0 && b.Detail == "" })
	is, err := p.d.process(ctx)
	must(t, err)
	for what, got := range map[string]bool{"its own": p.d.listens(is.pid), "with an age that can't be": p.d.here(process{is.pid, time.Hour}), "not another's": !p.d.listens(os.Getpid()), "not another's age": !p.d.here(process{os.Getpid(), 1000 * time.Hour})} {
		if !got {
			t.Errorf("%s: the process that has the socket is not known", what)
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

// A server that the fleet does not have is told of if it is given requests: not in maintenance, and not as a backup.
func TestAServerThatTheFleetDoesNotHave(t *testing.T) {
	p := newPlace(t)
	c := fleet.Cluster{Env: "qa", Name: "jobs-1", Cells: []fleet.Cell{{Nodes: p.Cluster.Cells[0].Nodes[:2]}}}
	third := p.Node(2).Name
	all, err := p.d.Observe(ctx, c)
	if err != nil || len(all) != 3 || all[2] != (rolling.Backend{Node: third, Up: true, Admitted: true, Weight: 100}) {
		t.Errorf("%+v, %v", all, err)
	}
	p.Drain(2, 1)
	if all, err := p.d.Observe(ctx, c); err != nil || len(all) != 2 {
		t.Errorf("drained: %+v, %v", all, err)
	}
	text, err := os.ReadFile(p.config)
	must(t, err)
	must(t, os.WriteFile(p.config, []byte(strings.Replace(string(text), "cookie "+third+"\n", "cookie "+third+" backup\n", 1)), 0o600))
	must(t, p.cmd.Process.Kill())
	_ = p.cmd.Wait()
	p.start()
	if all, err := p.d.Observe(ctx, c); err != nil || len(all) != 2 {
		t.Errorf("a backup: %+v, %v", all, err)
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
		"server": {p.d.Drain(ctx, p.Cluster, ghost, 1), "server with the name of every node"},
		"admit":  {p.d.Admit(ctx, p.Cluster, ghost, 100, 1), "server with the name of every node"},
		"backend": {func() error {
			d := *p.d
			d.cfg.Backend = "nobody"
			_, err := d.Observe(ctx, p.Cluster)
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
		if err := p.d.Drain(ctx, p.Cluster, fleet.Node{Name: bad}, 1); err == nil {
			t.Errorf("%q was taken for a name", bad)
		}
	}
	if _, err := New(Config{Network: "unix", Address: "/nonexistent/s", Backend: "jobs"}).Observe(ctx, p.Cluster); err == nil {
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
