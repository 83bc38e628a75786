package gateway

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/gateway/adminapi"
	"github.com/windlass-db/windlass/internal/wire"
)

// roleServer listens as a server that tells its role at once, and everything else only as long as it is not stuck.
type roleServer struct {
	address  string
	readOnly atomic.Bool
	stuck    atomic.Bool
	full     atomic.Bool  // takes no new connection
	waiting  atomic.Int64 // questions that it does not answer
}

func startRoleServer(t *testing.T, readOnly bool) *roleServer {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, end := &roleServer{address: l.Addr().String()}, make(chan struct{})
	t.Cleanup(func() { l.Close(); close(end) })
	s.readOnly.Store(readOnly)
	fake := &fakeServer{caps: sharedCaps &^ wire.CapLongPassword, answer: func(command []byte) []byte {
		switch text := string(command[1:]); {
		case text == askRole && s.readOnly.Load():
			return oneRow("1")
		case text == askRole:
			return oneRow("0")
		case s.stuck.Load():
			s.waiting.Add(1)
			<-end
			return nil
		case strings.HasPrefix(text, "SELECT"):
			return oneRow("7")
		}
		return answerOK(command)
	}}
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			if s.full.Load() {
				nc.Close()
				continue
			}
			go fake.serve(nc)
		}
	}()
	return s
}

// oneRow is the answer to a query for one value.
func oneRow(value string) (answer []byte) {
	column := []byte("\x03def\x00\x00\x00\x01x\x00\x0c\x2d\x00\x04\x00\x00\x00\xfd\x00\x00\x00\x00\x00")
	for i, payload := range [][]byte{{1}, column, {0xfe, 0, 0, 2, 0}, append([]byte{byte(len(value))}, value...), {0xfe, 0, 0, 2, 0}} {
		answer = append(answer, packet(byte(i+1), payload)...)
	}
	return answer
}

// A release asks every server for its role, and waits for nothing else of any of them: not for a poll that is under way, and that replication
// which is being changed lets wait. It is refused as long as not exactly the named server is writable.
func TestReleaseAsksForRolesAlone(t *testing.T) {
	a, b := startRoleServer(t, false), startRoleServer(t, true)
	all := []string{a.address, b.address}
	g := gatewayOf(t, all, func(cfg *Config) { cfg.Timeouts.Observe = Duration(patience) })
	g.until(t, "open", func(st adminapi.Status) bool { return st.Writer.Primary == a.address })
	if _, err := g.api.Hold(bg(t), adminapi.HoldRequest{Switch: "s", Term: 1, TTLMS: 60000, DrainMS: 1000}); err != nil {
		t.Fatal(err)
	}
	a.stuck.Store(true)
	b.stuck.Store(true)
	g.until(t, "polls wait", func(adminapi.Status) bool { return a.waiting.Load() > 0 && b.waiting.Load() > 0 })
	release := func() error {
		_, err := g.api.Release(bg(t), adminapi.ReleaseRequest{Switch: "s", Term: 1, Primary: b.address})
		return err
	}
	for _, bad := range []struct{ a, b bool }{{false, true}, {true, true}, {false, false}} { // not yet; nobody; both
		a.readOnly.Store(bad.a)
		b.readOnly.Store(bad.b)
		if err := release(); !errors.Is(err, adminapi.ErrNotWritable) {
			t.Errorf("read-only are %+v: %v", bad, err)
		}
	}
	a.readOnly.Store(true)
	begun := time.Now()
	if err := release(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took > patience/2 {
		t.Errorf("it took %v", took)
	}
	if st := g.status(t); st.Writer.Primary != b.address || st.Writer.Route != adminapi.RouteOpen {
		t.Errorf("%+v", st.Writer)
	}
}

// A server that takes no new connection is asked on the one that the polls have.
func TestReleaseByFullServers(t *testing.T) {
	a, b := startRoleServer(t, false), startRoleServer(t, true)
	g := gatewayOf(t, []string{a.address, b.address}, func(cfg *Config) { cfg.Monitor.Interval = Duration(time.Hour) })
	g.until(t, "open", func(st adminapi.Status) bool { return st.Writer.Primary == a.address })
	if _, err := g.api.Hold(bg(t), adminapi.HoldRequest{Switch: "s", Term: 1, TTLMS: 60000, DrainMS: 1000}); err != nil {
		t.Fatal(err)
	}
	a.full.Store(true)
	b.full.Store(true)
	g.inspect.end() // what it had open
	a.readOnly.Store(true)
	b.readOnly.Store(false)
	if _, err := g.api.Release(bg(t), adminapi.ReleaseRequest{Switch: "s", Term: 1, Primary: b.address}); err != nil {
		t.Error(err)
	}
}

// What was asked earlier and is answered later says nothing new.
func TestLateAnswersAreDropped(t *testing.T) {
	s, now := &server{}, time.Now()
	is := func(readOnly bool) func(observation) observation {
		return func(o observation) observation { o.readOnly = readOnly; return o }
	}
	s.saw(now, is(true))
	s.saw(now.Add(2), is(false))
	s.saw(now.Add(1), is(true))
	if s.seen.Load().readOnly {
		t.Error("an old answer was taken for the last")
	}
	s.saw(now.Add(1), func(o observation) observation { return o.unanswered(io.EOF) })
	if err := s.seen.Load().err; err != nil {
		t.Errorf("an old question without an answer was taken for the last: %v", err)
	}
	s.saw(now.Add(3), func(o observation) observation { return o.unanswered(fmt.Errorf("gone: %w", io.EOF)) })
	if o := s.seen.Load(); o.err == nil || o.slow || o.readOnly {
		t.Errorf("%+v", o)
	}
}
