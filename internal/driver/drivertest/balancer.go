package drivertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/rolling"
)

// Behind is three nodes behind a real load balancer, and its clients: what the tests of every rolling.Balancer have in common. The driver's own test
// starts the load balancer, and sets Front and Balancer.
type Behind struct {
	*testing.T
	Cluster  fleet.Cluster // one cell with the nodes
	Front    string        // host:port that the clients ask
	Balancer rolling.Balancer
	Served   [3]atomic.Int64 // requests that each node got, but those of /health
	Slow     chan struct{}   // a request of /slow waits for it
	Servers  [3]*httptest.Server
}

// NewBehind starts the nodes, with names that begin with the prefix. They answer with their index; /ws is a websocket that echoes.
func NewBehind(t *testing.T, cluster, prefix string) *Behind {
	t.Helper()
	b := &Behind{T: t, Slow: make(chan struct{}), Cluster: fleet.Cluster{Env: "qa", Name: cluster, Cells: []fleet.Cell{{Name: "main"}}}}
	for i := range b.Servers {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		b.Must(err)
		b.Serve(i, l)
		t.Cleanup(func() { b.Servers[i].CloseClientConnections(); b.Servers[i].Close() })
		b.Cluster.Cells[0].Nodes = append(b.Cluster.Cells[0].Nodes, fleet.Node{Name: fmt.Sprintf("%s%d", prefix, i+1), Address: l.Addr().String()})
	}
	return b
}

// Must ends the test on an error.
func (b *Behind) Must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// Node is the node with that index.
func (b *Behind) Node(i int) fleet.Node { return b.Cluster.Cells[0].Nodes[i] }

// Serve makes a node of a listener: the first time, or when a node is restarted.
func (b *Behind) Serve(i int, l net.Listener) {
	h := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/health" {
			b.Served[i].Add(1)
		}
		switch r.URL.Path {
		case "/slow":
			select {
			case <-b.Slow:
			case <-r.Context().Done():
			}
		case "/ws":
			c, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				b.Error(err)
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
	b.Servers[i] = h
}

// Until waits for a condition.
func (b *Behind) Until(what string, ok func() bool) {
	b.Helper()
	processtest.Until(b, time.Minute, what, ok)
}

// See is what the load balancer says of a node.
func (b *Behind) See(i int) rolling.Backend {
	b.Helper()
	all, err := b.Balancer.Observe(context.Background(), b.Cluster)
	b.Must(err)
	return all[i]
}

// Drain takes a node out.
func (b *Behind) Drain(i int, term int64) {
	b.Helper()
	b.Must(b.Balancer.Drain(context.Background(), b.Cluster, b.Node(i), term))
}

// Admit gives a node requests.
func (b *Behind) Admit(i, percent int, term int64) {
	b.Helper()
	b.Must(b.Balancer.Admit(context.Background(), b.Cluster, b.Node(i), percent, term))
}

// Cut ends what is on a node.
func (b *Behind) Cut(i int, term int64) {
	b.Helper()
	b.Must(b.Balancer.Cut(context.Background(), b.Cluster, b.Node(i), term))
}

// Get asks once, on a connection of its own.
func (b *Behind) Get(path string) error {
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	r, err := c.Get("http://" + b.Front + path)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if text, err := io.ReadAll(r.Body); err != nil || r.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %w", r.Status, text, err)
	}
	return nil
}

// Load asks without end, and wants every request answered.
func (b *Behind) Load() (stop func()) {
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
				if err := b.Get("/"); err != nil {
					b.Errorf("a request failed: %v", err)
				}
			}
		})
	}
	return func() { close(done); all.Wait() }
}

// TakenOutAndPutBack drains a node under load, without a failed request: nothing new comes, what is on it ends, it is restarted, and it is put back with a
// part of its weight first. The last term is 6.
func (b *Behind) TakenOutAndPutBack() {
	b.Helper()
	stop := b.Load()
	defer stop()
	if n := b.See(0); !n.Up || !n.Admitted || n.Weight != 100 || n.Node != b.Node(0).Name {
		b.Errorf("at the beginning: %+v", n)
	}
	b.Drain(0, 5)
	b.Until("nothing is on it", func() bool { n := b.See(0); return !n.Admitted && n.Sessions == 0 })
	before, others := b.Served[0].Load(), b.Served[1].Load()
	b.Until("the others serve", func() bool { return b.Served[1].Load() > others+50 })
	if n := b.Served[0].Load(); n != before {
		b.Errorf("%d requests came after it was empty", n-before)
	}
	b.Servers[0].Close()
	b.Drain(0, 5) // again
	l, err := net.Listen("tcp", b.Node(0).Address)
	b.Must(err)
	b.Serve(0, l)
	b.Until("it is well", func() bool { return b.See(0).Up })
	b.Admit(0, 10, 6)
	if n := b.See(0); n.Weight != 10 || !n.Admitted {
		b.Errorf("with a part of its weight: %+v", n)
	}
	from := [2]int64{b.Served[0].Load(), b.Served[1].Load()}
	b.Until("requests are served", func() bool { return b.Served[1].Load() > from[1]+100 })
	if a, o := b.Served[0].Load()-from[0], b.Served[1].Load()-from[1]; a == 0 || a*4 > o {
		b.Errorf("with a tenth of its weight it served %d, another %d", a, o)
	}
	b.Admit(0, 100, 6)
	if n := b.See(0); n.Weight != 100 {
		b.Errorf("at the end: %+v", n)
	}
}

// OneSlow has one request on the first node, the second admitted again, and the first drained. What comes of the request is sent.
func (b *Behind) OneSlow() (ended chan error) {
	b.Helper()
	b.Drain(1, 1)
	b.Drain(2, 1)
	ended = make(chan error, 1)
	go func() { ended <- b.Get("/slow") }()
	b.Until("the request is on the node", func() bool { return b.Served[0].Load() > 0 && b.See(0).Sessions >= 1 })
	b.Admit(1, 100, 1)
	b.Drain(0, 1)
	b.Must(b.Get("/"))
	return ended
}

// OldTermIsFenced: a term that is over changes nothing. (trap 1)
func (b *Behind) OldTermIsFenced() {
	b.Helper()
	b.Drain(0, 8)
	ctx := context.Background()
	for what, err := range map[string]error{
		"admit": b.Balancer.Admit(ctx, b.Cluster, b.Node(0), 100, 7), "drain": b.Balancer.Drain(ctx, b.Cluster, b.Node(1), 7), "cut": b.Balancer.Cut(ctx, b.Cluster, b.Node(0), 7),
	} {
		if !errors.Is(err, engine.ErrFenced) {
			b.Errorf("%s under an old term: %v", what, err)
		}
	}
	if b.See(0).Admitted || !b.See(1).Admitted {
		b.Error("an old term changed something")
	}
}
