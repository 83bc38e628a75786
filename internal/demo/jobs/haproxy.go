package jobs

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/builds"
	"github.com/windlass-db/windlass/internal/driver/haproxy"
	"github.com/windlass-db/windlass/internal/driver/process"
	"github.com/windlass-db/windlass/internal/fleet"
)

// Backend is HAProxy's name of the engine.
const Backend = "jobs"

// Balancer is a HAProxy in a process of its own.
type Balancer struct {
	Build builds.Build
	spec  process.Spec
	Front string // host:port that clients use
	sock  string // of its runtime commands
	own   string // folder of the socket, if it is not in the site's
}

// longestSocket leaves room in the 107 bytes of a socket's path for what HAProxy appends while it binds.
const longestSocket = 80

// startBalancer starts HAProxy before the nodes. Each node has the weight 100, of which the slow start gives it a share; a connection that
// is refused goes to another node: for the moment in which a HAProxy that was restarted does not know yet who is out.
func startBalancer(ctx context.Context, dir, front string, nodes []fleet.Node, progress func(string)) (*Balancer, error) {
	b, err := builds.Fetch(ctx, "haproxy", builds.Options{Progress: progress})
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	h := &Balancer{Build: b, Front: front, sock: filepath.Join(dir, "haproxy.sock")}
	if len(h.sock) > longestSocket {
		if h.own, err = os.MkdirTemp("", "windlass-demo-"); err != nil {
			return nil, err
		}
		h.sock = filepath.Join(h.own, "haproxy.sock")
	}
	var servers strings.Builder
	for _, n := range nodes {
		fmt.Fprintf(&servers, "  server %s %s\n", n.Name, n.Address)
	}
	config := filepath.Join(dir, "haproxy.cfg")
	text := `global
  stats socket ` + h.sock + ` mode 600 level admin
  maxconn 500
defaults
  mode http
  timeout connect 10s
  timeout client 60s
  timeout server 60s
  retries 3
  option redispatch 1
frontend clients
  bind ` + front + `
  default_backend ` + Backend + `
backend ` + Backend + `
  option httpchk GET /health
  timeout check 10s
  default-server check inter 500ms fastinter 100ms downinter 200ms fall 2 rise 1 weight 100
` + servers.String()
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	argv, err := b.Argv("haproxy", "-db", "-f", config)
	if err != nil {
		return nil, err
	}
	h.spec = process.Spec{Name: "haproxy", Dir: dir, Argv: argv, Ready: func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+front+"/version", nil)
		if err != nil {
			return err
		}
		t := &http.Transport{DisableKeepAlives: true}
		resp, err := t.RoundTrip(req)
		if err != nil {
			return err
		}
		return resp.Body.Close()
	}}
	return h, h.spec.Start(ctx)
}

// Address is that of the runtime socket, as the supervisor's file wants it.
func (h *Balancer) Address() string { return "unix:" + h.sock }

// Retried counts the requests that met a node which did not take them, and went to another: what no client notices, and what does not
// happen where a node is isolated before it is stopped. HAProxy counts since its start.
func (h *Balancer) Retried(ctx context.Context) (int, error) {
	c, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "unix", h.sock)
	if err != nil {
		return 0, fmt.Errorf("ask HAProxy for what it has sent again: %w", err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return 0, err
	}
	if _, err := fmt.Fprintf(c, "show stat %s 2 -1\n", Backend); err != nil {
		return 0, err
	}
	rows, err := csv.NewReader(c).ReadAll()
	if err != nil || len(rows) != 2 {
		return 0, errors.Join(fmt.Errorf("HAProxy's answer on what it has sent again has %d lines", len(rows)), err)
	}
	sum := 0
	for _, column := range []string{"wretr", "wredis"} { // to the same server, and to another
		at := slices.Index(rows[0], column)
		if at < 0 {
			return 0, fmt.Errorf("HAProxy's answer has no %s", column)
		}
		n, err := strconv.Atoi(rows[1][at])
		if err != nil {
			return 0, fmt.Errorf("HAProxy's answer: %s: %w", column, err)
		}
		sum += n
	}
	return sum, nil
}

// driver is for whoever looks at which nodes serve. What a process from before a reload still serves nobody asks it: that costs a look through all connections of the machine each time.
func (h *Balancer) driver() *haproxy.Driver {
	return haproxy.New(haproxy.Config{Network: "unix", Address: h.sock, Backend: Backend, Timeout: 20 * time.Second, ReloadWithin: time.Nanosecond})
}
