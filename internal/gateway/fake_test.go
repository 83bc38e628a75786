package gateway

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/capture/tap"
	"github.com/windlass-db/windlass/internal/wire"
)

// fakeServer speaks as much of the protocol as it takes to log in, and then answers every command with the same bytes. It stands for a
// server that says anything: what real servers say is tested with real servers.
type fakeServer struct {
	answer func(command []byte) []byte // raw bytes; nil closes the connection
	caps   wire.Capability
	wait   time.Duration // how long it waits for the next command; 0: as long as the test
}

// answerOK answers every command well enough for a client that only waits for the end of the answer.
func answerOK(command []byte) []byte {
	switch wire.Command(command[0]) {
	case wire.ComStmtPrepare:
		return []byte{12, 0, 0, 1, 0, 7, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 5, 0, 0, 2, 1, 2, 3, 4, 5, 5, 0, 0, 3, 0xfe, 0, 0, 2, 0}
	case wire.ComStatistics:
		return []byte{1, 0, 0, 1, 'x'}
	case wire.ComFieldList:
		return []byte{5, 0, 0, 1, 0xfe, 0, 0, 2, 0}
	case wire.ComStmtFetch:
		return []byte{5, 0, 0, 1, 0xfe, 0, 0, 0x82, 0}
	case wire.ComStmtLongData, wire.ComStmtClose:
		return []byte{}
	}
	return []byte{7, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0}
}

func (f *fakeServer) serve(nc net.Conn) {
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(patience))
	c := wire.NewConn(nc, 64<<20)
	greeting := wire.Greeting{Version: "5.5.5-10.11.18-MariaDB", ThreadID: 1, Salt: wire.NewSalt(), Caps: f.caps, Ext: sharedExt, Status: wire.StatusAutocommit, Plugin: wire.NativePassword}
	if c.WritePacket(greeting.Append(nil)) != nil {
		return
	}
	if _, err := c.ReadPacket(); err != nil {
		return
	}
	if c.WritePacket(wire.OK{Status: wire.StatusAutocommit}.Append(nil)) != nil {
		return
	}
	for {
		if f.wait > 0 {
			nc.SetDeadline(time.Now().Add(f.wait))
		}
		c.Seq = 0
		p, err := c.ReadPacket()
		if err != nil || len(p) == 0 || wire.Command(p[0]) == wire.ComQuit {
			return
		}
		answer := f.answer(p)
		if answer == nil || c.WriteAll(answer) != nil {
			return
		}
	}
}

// pair is a connected pair of sockets, of which either end can be closed for writing alone.
func pair() (a, b *net.UnixConn, err error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	var conns [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		nc, e := net.FileConn(f)
		f.Close()
		if e != nil {
			return nil, nil, e
		}
		conns[i] = nc.(*net.UnixConn)
	}
	return conns[0], conns[1], nil
}

// fakeGateway is a gateway whose only server is the fake one, which it takes for writable. It does not run: clients are given to it one
// by one.
func fakeGateway(t testing.TB, fake *fakeServer) *Gateway {
	t.Helper()
	const address = "127.0.0.1:1"
	if fake.caps == 0 {
		fake.caps = sharedCaps &^ wire.CapLongPassword
	}
	cfg := Config{
		Name: "fake", Listen: "127.0.0.1:0", ReadOnlyListen: "127.0.0.1:0", Admin: AdminConfig{Listen: "127.0.0.1:0", TokenFile: writeFile(t, "token", testToken)},
		AccountsFile: writeFile(t, "accounts", "accounts:\n  - {user: app, password: app-secret}\n"), Monitor: MonitorConfig{User: "m", PasswordFile: writeFile(t, "m", "m")},
		Servers: ServersConfig{Local: []string{address}, All: []string{address}}, StateFile: filepath.Join(t.TempDir(), "state"), MaxPacket: 1 << 20, LocalInfile: true,
		Timeouts: Timeouts{Observe: Duration(5 * time.Millisecond), NoPrimary: Duration(5 * time.Millisecond)},
	}
	cfg.complete()
	g, err := New(context.Background(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range append(g.listens, g.admin) {
		l.Close()
	}
	g.dial.Dialer = func(context.Context, string) (net.Conn, error) {
		near, far, err := pair()
		if err != nil {
			return nil, err
		}
		go fake.serve(far)
		return near, nil
	}
	o := &observation{good: time.Now().Add(1000 * time.Hour), lag: -1, greeting: wire.Greeting{Version: "10.11.18-MariaDB", Caps: fake.caps, Ext: sharedExt, Plugin: wire.NativePassword}}
	g.servers[0].seen.Store(o)
	g.reroute()
	return g
}

// tappedGateway is a fakeGateway that captures, in small files.
func tappedGateway(t testing.TB, fake *fakeServer) *Gateway {
	t.Helper()
	g := fakeGateway(t, fake)
	held, err := tap.New(tap.Config{Gateway: "fake", Folder: t.TempDir(), Statements: tap.Selects, Sample: 0.5, Mask: []byte("0123456789abcdef"), Rotate: 1 << 16, Every: time.Minute, Quota: 1 << 20, Ring: 1 << 20, Flush: 100 * time.Millisecond,
		Started: g.started, Server: g.serverKind}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- held.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		st := held.Status()
		sum := st.Kept
		for reason, n := range st.Dropped {
			if reason != tap.Ends {
				sum += n
			}
		}
		if st.Started != sum {
			t.Errorf("the capture's ledger: %+v", st)
		}
	})
	g.capturing.tap.Store(held)
	return g
}

// say gives the gateway a client that sends these bytes and nothing more, and waits until both are done. What the gateway says is the answer.
func say(t testing.TB, g *Gateway, bytesFor func(greeting []byte) []byte) []byte {
	t.Helper()
	client, served, err := pair()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.client(context.Background(), served, g.writer)
	}()
	defer client.Close()
	client.SetDeadline(time.Now().Add(patience))
	head := make([]byte, 4)
	if _, err := io.ReadFull(client, head); err != nil {
		t.Fatal(err)
	}
	greeting := make([]byte, int(head[0])|int(head[1])<<8)
	if _, err := io.ReadFull(client, greeting); err != nil {
		t.Fatal(err)
	}
	go func() { // a peer that does not read is no reason for the gateway to wait for ever; this one reads
		client.Write(bytesFor(greeting))
		client.CloseWrite()
	}()
	said, err := io.ReadAll(client)
	if err != nil && !isReset(err) {
		t.Fatalf("the gateway neither answered nor hung up: %v after %x", err, said)
	}
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("the session did not end")
	}
	if n := len(g.snapshot()); n != 0 {
		t.Fatalf("%d sessions are left", n)
	}
	if n := g.servers[0].sessions.Load(); n != 0 {
		t.Fatalf("%d connections to the server are left", n)
	}
	return said
}

func isReset(err error) bool { return bytes.Contains([]byte(err.Error()), []byte("reset")) }

// login is a right answer to the greeting.
func login(t testing.TB, greeting []byte, caps wire.Capability) []byte {
	t.Helper()
	g, err := wire.ParseGreeting(greeting)
	if err != nil {
		t.Fatal(err)
	}
	auth, err := wire.Scramble(wire.NativePassword, "app-secret", g.Salt[:])
	if err != nil {
		t.Fatal(err)
	}
	l := wire.Login{Caps: caps | wire.CapProtocol41 | wire.CapSecureConnection | wire.CapPluginAuth, MaxPacket: 1 << 24, Charset: utf8mb4General, User: "app", Auth: auth, Plugin: wire.NativePassword, Ext: sharedExt}
	return packet(1, l.Append(nil))
}

func packet(seq byte, payload []byte) []byte {
	return append([]byte{byte(len(payload)), byte(len(payload) >> 8), byte(len(payload) >> 16), seq}, payload...)
}

// commands are what a client may send after its login: the seeds.
func commands() [][]byte {
	cmd := func(c wire.Command, rest ...byte) []byte { return packet(0, append([]byte{byte(c)}, rest...)) }
	id := binary.LittleEndian.AppendUint32(nil, 1)
	var whole []byte
	list := [][]byte{
		cmd(wire.ComQuery, []byte("SELECT 1")...), cmd(wire.ComPing), cmd(wire.ComStatistics), cmd(wire.ComInitDB, 'd'), cmd(wire.ComFieldList, 't', 0), cmd(wire.ComSetOption, 0, 0),
		cmd(wire.ComResetConnection), cmd(wire.ComStmtPrepare, []byte("SELECT ?")...), cmd(wire.ComStmtExecute, append(id, 0, 1, 0, 0, 0, 0, 1, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8)...),
		cmd(wire.ComStmtExecute, append(id, 1, 1, 0, 0, 0, 0, 0)...), cmd(wire.ComStmtFetch, append(id, 1, 0, 0, 0)...), cmd(wire.ComStmtReset, id...), cmd(wire.ComStmtLongData, append(id, 0, 0, 'x')...),
		cmd(wire.ComStmtBulkExecute, append(id, 0x80, 0, 8, 0, 0, 1)...), cmd(wire.ComStmtClose, id...), cmd(wire.ComProcessKill, 1, 0, 0, 0x80), cmd(wire.ComQuery, []byte("KILL 2147483649")...),
		cmd(wire.ComChangeUser, []byte("app\x00\x00d\x00\x2d\x00mysql_native_password\x00")...), cmd(wire.ComBinlogDump, 0, 0), cmd(wire.ComQuery, []byte("SELECT GET_LOCK('a', 1)")...), cmd(wire.ComQuit),
	}
	for _, c := range list[:len(list)-1] {
		whole = append(whole, c...)
	}
	return append(list, whole,
		[]byte{0, 0, 0, 0}, []byte{1, 0, 0, 7, 3}, []byte{0xff, 0xff, 0xff, 0, 3}, []byte{5, 0, 0, 0, 3}, []byte{2, 0}, nil, // empty, out of order, endless, cut off
		cmd(wire.ComStmtExecute), cmd(wire.ComStmtExecute, 0xff, 0xff, 0xff, 0xff), cmd(wire.ComChangeUser), cmd(wire.ComProcessKill), cmd(0x42, 1, 2, 3), cmd(wire.ComSetOption),
	)
}

func TestSeedsAreAnswered(t *testing.T) {
	g := tappedGateway(t, &fakeServer{answer: answerOK})
	for i, c := range commands() {
		if said := say(t, g, func(greeting []byte) []byte { return append(login(t, greeting, 0), c...) }); len(said) == 0 {
			t.Errorf("seed %d, %x: not even the login was answered", i, c)
		}
	}
	if n := g.counts.unknown.Load(); n > 0 {
		t.Errorf("%d answers were lost", n)
	}
}

// FuzzClient looks that no bytes of a client make the gateway panic, hang, or leave a session or a connection behind.
func FuzzClient(f *testing.F) {
	for _, c := range commands() {
		f.Add(uint32(0), c)
	}
	f.Add(uint32(wire.CapQueryAttributes), commands()[8])
	f.Add(uint32(wire.CapDeprecateEOF|wire.CapSessionTrack), commands()[0])
	g := tappedGateway(f, &fakeServer{answer: answerOK})
	f.Fuzz(func(t *testing.T, caps uint32, stream []byte) {
		say(t, g, func(greeting []byte) []byte {
			return append(login(t, greeting, wire.Capability(caps)&^(wire.CapConnectWithDB|wire.CapConnectAttrs|wire.CapPluginAuthLenenc|wire.CapSSL)), stream...)
		})
	})
}

// FuzzLogin is FuzzClient for what a client says before it is logged in.
func FuzzLogin(f *testing.F) {
	greeting := wire.Greeting{Version: "x", Salt: wire.NewSalt(), Caps: sharedCaps, Plugin: wire.NativePassword}.Append(nil)
	whole := login(f, greeting, 0)
	f.Add(whole)
	f.Add(whole[:36])
	f.Add(packet(1, nil))
	f.Add(packet(1, binary.LittleEndian.AppendUint32(nil, uint32(wire.CapSSL))))
	f.Add(packet(1, append(binary.LittleEndian.AppendUint32(nil, uint32(wire.CapSSL|wire.CapProtocol41)), make([]byte, 28)...)))
	f.Add(append(packet(1, wire.Login{Caps: wire.CapProtocol41 | wire.CapSecureConnection | wire.CapPluginAuth, User: "app", Plugin: "sha256_password"}.Append(nil)), packet(3, []byte("x"))...))
	f.Add(packet(1, append(wire.Login{Caps: wire.CapProtocol41 | wire.CapSecureConnection | wire.CapConnectAttrs, User: "nobody"}.Append(nil), 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add([]byte{0xff, 0xff, 0xff, 1})
	g := fakeGateway(f, &fakeServer{answer: answerOK})
	f.Fuzz(func(t *testing.T, stream []byte) {
		said := say(t, g, func([]byte) []byte { return stream })
		if bytes.Contains(said, []byte("app-secret")) {
			t.Fatalf("the password is in %q", said)
		}
	})
}

// FuzzServer looks that no answer of a server makes the gateway panic, hang, or leave anything behind. What was forwarded is a prefix of
// what the server said, but for what the gateway has to change.
func FuzzServer(f *testing.F) {
	for _, c := range []wire.Command{wire.ComQuery, wire.ComStmtPrepare, wire.ComStmtFetch, wire.ComFieldList, wire.ComStatistics, wire.ComPing, wire.ComInitDB} {
		f.Add(byte(c), uint32(0), answerOK([]byte{byte(c)}))
	}
	q := byte(wire.ComQuery)
	f.Add(q, uint32(0), packet(1, (&wire.ServerError{Code: wire.ErrOptionPrevents, State: "HY000", Message: "read-only"}).Append(nil)))
	f.Add(q, uint32(0), packet(1, []byte{0xfb, '/', 'e', 't', 'c'}))
	f.Add(q, uint32(0), packet(1, wire.OK{Status: wire.StatusSessionChanged, State: []byte{1, 2, 1, 'd'}}.Append(nil)))
	f.Add(q, uint32(wire.CapSessionTrack), packet(1, wire.OK{Status: wire.StatusSessionChanged | wire.StatusMoreResults, State: []byte{1, 2, 1, 'd'}}.Append(nil)))
	f.Add(q, uint32(wire.CapDeprecateEOF), []byte{1, 0, 0, 1, 1, 1, 0, 0, 2, 9, 2, 0, 0, 3, 1, 'x', 7, 0, 0, 4, 0xfe, 0, 0, 2, 0, 0, 0})
	f.Add(q, uint32(0), []byte{0xff, 0xff, 0xff, 1, 0})
	f.Add(q, uint32(0), []byte{})
	// Several executions run in one process after each other, each with an answer of its own.
	var answer []byte
	fake := &fakeServer{wait: 5 * time.Millisecond} // a server that says less than it should would be waited for
	fake.answer = func(command []byte) []byte {
		if wire.Command(command[0]) == wire.ComStmtLongData || wire.Command(command[0]) == wire.ComStmtClose {
			return []byte{}
		}
		return answer
	}
	g := tappedGateway(f, fake)
	f.Fuzz(func(t *testing.T, cmd byte, caps uint32, stream []byte) {
		answer = nil
		if len(stream) > 0 {
			answer = stream
		}
		command := packet(0, append([]byte{cmd}, "SELECT 1, 2, 3"...))
		say(t, g, func(greeting []byte) []byte {
			l := login(t, greeting, wire.Capability(caps)&(wire.CapDeprecateEOF|wire.CapSessionTrack|wire.CapMultiResults|wire.CapLocalFiles))
			return append(append(l, command...), packet(0, []byte{byte(wire.ComPing)})...)
		})
	})
}
