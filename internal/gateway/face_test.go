package gateway

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/gateway/adminapi"
	"github.com/windlass-db/windlass/internal/wire"
)

// A client that comes before every server was asked is greeted when they were, with what they share (trap 23).
func TestGreetingWaitsForEveryServer(t *testing.T) {
	g := fakeGateway(t, &fakeServer{answer: answerOK})
	high := *g.servers[0].seen.Load()
	high.greeting.Version, high.greeting.Caps = "11.8.6-MariaDB", sharedCaps
	g.servers[0].seen.Store(&high)
	g.servers = append(g.servers, &server{address: "127.0.0.1:2"}) // not asked yet
	g.reroute()
	client, served, err := pair()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.client(context.Background(), served, g.reader) // the read-only endpoint's route knows nothing of the other cell
	}()
	processtest.Until(t, patience, "the client is there", func() bool { return len(g.snapshot()) == 1 })
	low := high
	low.readOnly, low.greeting.Version, low.greeting.Caps = true, "10.11.18-MariaDB", sharedCaps&^wire.CapDeprecateEOF
	g.servers[1].seen.Store(&low)
	g.reroute()
	client.SetDeadline(time.Now().Add(patience))
	got, err := wire.NewConn(client, 1<<16).ReadPacket()
	if err != nil {
		t.Fatal(err)
	}
	greeting, err := wire.ParseGreeting(got)
	if err != nil || greeting.Version != "10.11.18-MariaDB" || greeting.Caps&wire.CapDeprecateEOF != 0 {
		t.Errorf("%+v, %v", greeting, err)
	}
	client.Close()
	<-done
}

// A server that is down does not keep clients out; without any, a client is told so within its login's time.
func TestGreetingWithoutServers(t *testing.T) {
	g := fakeGateway(t, &fakeServer{answer: answerOK})
	g.servers = append(g.servers, &server{address: "127.0.0.1:2"})
	g.servers[1].seen.Store(&observation{err: io.ErrUnexpectedEOF})
	g.reroute()
	if f, known := g.getFace(); !known || f.version != "10.11.18-MariaDB" {
		t.Errorf("%+v, %t", f, known)
	}

	none := fakeGateway(t, &fakeServer{answer: answerOK})
	none.cfg.Timeouts.Login = Duration(20 * time.Millisecond)
	none.servers[0].seen.Store(&observation{err: io.ErrUnexpectedEOF})
	none.reroute()
	client, served, err := pair()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	go none.client(context.Background(), served, none.writer)
	client.SetDeadline(time.Now().Add(patience))
	p, err := wire.NewConn(client, 1<<16).ReadPacket()
	if err != nil {
		t.Fatal(err)
	}
	if e, err := wire.ParseERR(p); err != nil || e.Code != wire.ErrUnknown {
		t.Errorf("%v, %v", e, err)
	}
}

// Servers are told the client's address where they allow it, so that grants by host and USER() say what they said before (trap 22).
func testProxyProtocol(t *testing.T, c *cluster) {
	for _, s := range []*processtest.Server{c.primary, c.replica} {
		s.Exec(t, "SET GLOBAL proxy_protocol_networks = '127.0.0.1'")
		defer s.Exec(t, "SET GLOBAL proxy_protocol_networks = ''")
	}
	from := func(address string) func(*wire.Dial) {
		return func(d *wire.Dial) {
			d.Dialer = func(ctx context.Context, to string) (net.Conn, error) {
				return (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}).DialContext(ctx, "tcp", to)
			}
		}
	}
	told := c.gateway(t, func(cfg *Config) { cfg.ProxyProtocol = true })
	b := raw(t, told.writer, from("127.0.0.2"))
	for range 2 {
		if u := queryText(t, b, "SELECT USER()"); u != "app@127.0.0.2" {
			t.Errorf("the server sees %s", u)
		}
		c.move(t, told)
	}
	silent := c.gateway(t)
	silent.until(t, "open", func(st adminapi.Status) bool { return st.Writer.Route == adminapi.RouteOpen })
	if u := queryText(t, raw(t, silent.writer, from("127.0.0.2")), "SELECT USER()"); u != "app@127.0.0.1" {
		t.Errorf("without it the server sees %s", u)
	}
}
