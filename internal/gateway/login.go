package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/gateway/adminapi"
	"github.com/windlass-db/windlass/internal/wire"
)

// loginLimit is the largest packet taken from somebody who is not logged in: a login with its attributes.
const loginLimit = 256 << 10

// gatewayIDs is how many gateways can have connection ids of their own.
const gatewayIDs = 1 << 10

// A connection id has its top bit set, which no server's has in practice; then the gateway's id, then a counter.
const (
	idMark      = 1 << 31
	idCountBits = 21
)

// face is what clients are greeted with. It is frozen at the first client: which server a session will be on is not known
// when it is greeted, and it must not change when the primary does (trap 23).
type face struct {
	version string
	charset byte
	caps    wire.Capability
	ext     wire.ExtCapability
	plugin  string
}

// shared are the capabilities that a client may have if the servers have them. Compression, MariaDB's progress reports (errors that
// are none) and the caching of metadata (columns that are stale after a move) are not among them.
const (
	sharedCaps = wire.CapLongPassword | wire.CapFoundRows | wire.CapLongFlag | wire.CapConnectWithDB | wire.CapNoSchema | wire.CapODBC |
		wire.CapIgnoreSpace | wire.CapProtocol41 | wire.CapInteractive | wire.CapIgnoreSigpipe | wire.CapTransactions | wire.CapReserved |
		wire.CapSecureConnection | wire.CapMultiStatements | wire.CapMultiResults | wire.CapPSMultiResults | wire.CapPluginAuth |
		wire.CapConnectAttrs | wire.CapPluginAuthLenenc | wire.CapExpiredPasswords | wire.CapSessionTrack | wire.CapDeprecateEOF | wire.CapQueryAttributes
	sharedExt = wire.ExtBulkOperations | wire.ExtExtendedMetadata
)

// getFace gives the face, and freezes it if this is the first time, every server has been asked and any has answered: the
// capabilities that all of those share, and the version of the lowest one. A server that was down then and lacks some of them takes no
// session that was promised them: the preflight says so.
func (g *Gateway) getFace() (*face, bool) {
	if f := g.face.Load(); f != nil {
		return f, true
	}
	all, _ := g.serverList()
	var f *face
	for _, s := range all {
		o := s.seen.Load()
		if o == nil {
			return nil, false
		}
		if o.good.IsZero() {
			continue
		}
		if f == nil {
			f = &face{version: o.greeting.Version, charset: o.greeting.Charset, caps: sharedCaps, ext: sharedExt, plugin: o.greeting.Plugin}
		} else if lower(o.greeting.Version, f.version) {
			f.version, f.charset, f.plugin = o.greeting.Version, o.greeting.Charset, o.greeting.Plugin
		}
		f.caps &= o.greeting.Caps
		f.ext &= o.greeting.Ext
	}
	if f == nil {
		return nil, false
	}
	if g.cfg.ServerVersion != "" {
		f.version = g.cfg.ServerVersion
	}
	if g.cfg.LocalInfile {
		f.caps |= wire.CapLocalFiles
	}
	if g.tls != nil {
		f.caps |= wire.CapSSL
	}
	if f.plugin != wire.CachingSHA2 {
		f.plugin = wire.NativePassword
	}
	g.face.CompareAndSwap(nil, f)
	return g.face.Load(), true
}

// lower reports whether version a is before b, by their numbers.
func lower(a, b string) bool {
	var va, vb [3]int
	fmt.Sscanf(strings.TrimPrefix(a, "5.5.5-"), "%d.%d.%d", &va[0], &va[1], &va[2])
	fmt.Sscanf(strings.TrimPrefix(b, "5.5.5-"), "%d.%d.%d", &vb[0], &vb[1], &vb[2])
	for i := range va {
		if va[i] != vb[i] {
			return va[i] < vb[i]
		}
	}
	return false
}

// client serves one connection from its greeting to its end.
func (g *Gateway) client(ctx context.Context, nc net.Conn, ep *endpoint) {
	s := &session{gw: g, ep: ep, sock: nc, conn: wire.NewConn(nc, loginLimit), address: nc.RemoteAddr().String(), since: time.Now(), killed: make(chan struct{}, 1)}
	s.host, _, _ = net.SplitHostPort(s.address)
	none := ""
	s.user.Store(&none)
	s.place.Store(&place{})
	defer s.end()
	if !g.register(s) {
		s.say(0, &wire.ServerError{Code: wire.ErrTooManyConnections, State: "08004", Message: "windlass: too many connections: the gateway's max_connections is reached"})
		return
	}
	defer g.unregister(s)
	if err := s.logIn(ctx); err != nil {
		if quiet(err) != nil {
			g.log.Debug("login failed", "client", s.address, "err", err)
		}
		return
	}
	if err := s.serve(ctx); err != nil && !s.released.Load() {
		g.log.Info("session ended", "session", s.id, "user", s.account.User, "client", s.address, "err", err)
	}
}

// register gives the session an id that no other session of any gateway has (trap 29).
func (g *Gateway) register(s *session) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cfg.MaxConnections > 0 && len(g.sessions) >= g.cfg.MaxConnections {
		return false
	}
	for {
		g.nextID = (g.nextID + 1) & (1<<idCountBits - 1)
		id := idMark | uint32(*g.cfg.ID)<<idCountBits | g.nextID
		if g.sessions[id] == nil {
			s.id = id
			g.sessions[id] = s
			return true
		}
	}
}

func (g *Gateway) unregister(s *session) {
	g.mu.Lock()
	delete(g.sessions, s.id)
	g.mu.Unlock()
	g.counts.commandsOfEnded.Add(s.commands.Load())
	if h := g.sw.draining.Load(); h != nil {
		h.kick(s)
	}
}

// logIn greets the client, proves who it is, opens its session on a server, and welcomes it.
func (s *session) logIn(ctx context.Context) error {
	g := s.gw
	deadline := time.Now().Add(g.cfg.Timeouts.Login.D())
	s.conn.SetDeadline(deadline)
	f, err := s.awaitFace(ctx, deadline)
	if err != nil {
		return err
	}
	s.salt = wire.NewSalt()
	greeting := wire.Greeting{Version: f.version, ThreadID: s.id, Salt: s.salt, Caps: f.caps, Ext: f.ext, Charset: f.charset, Status: wire.StatusAutocommit, Plugin: f.plugin}
	if err := s.conn.WritePacket(greeting.Append(nil)); err != nil {
		return err
	}
	payload, err := s.conn.ReadPacket()
	if err != nil {
		return err
	}
	encrypted := false
	if wire.IsSSLRequest(payload) {
		if g.tls == nil {
			return s.deny(wire.ErrHandshake, "08S01", "the gateway has no TLS")
		}
		var tc *tls.Conn
		s.conn.Encrypt(func(nc net.Conn) net.Conn {
			tc = tls.Server(nc, g.tls)
			return tc
		})
		if err := tc.Handshake(); err != nil {
			return fmt.Errorf("TLS: %w", err)
		}
		encrypted = true
		if payload, err = s.conn.ReadPacket(); err != nil {
			return err
		}
	}
	l, err := wire.ParseLogin(bytes.Clone(payload))
	if err != nil {
		s.deny(wire.ErrHandshake, "08S01", "bad handshake")
		return err
	}
	if g.cfg.ClientTLS != nil && g.cfg.ClientTLS.Required && !encrypted {
		return s.deny(3159, "HY000", "connections without TLS are not allowed")
	}
	s.caps = l.Caps & f.caps
	if s.caps&wire.CapLongPassword == 0 {
		s.caps |= l.Caps & wire.CapLongPassword // only says that the client is not MariaDB's
	}
	l.Ext &= f.ext
	s.login = l
	if err := s.authenticate(l.User, l.Plugin, l.Auth, s.salt[:]); err != nil {
		return err
	}
	s.conn.SetLimit(g.cfg.MaxPacket)
	s.conn.SetDeadline(time.Time{})
	return s.welcome(ctx)
}

// awaitFace waits until every server was asked and one has answered.
func (s *session) awaitFace(ctx context.Context, deadline time.Time) (*face, error) {
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	for {
		r := s.gw.writer.route.Load() // counts all servers; the read-only endpoint's counts those of its cell
		if f, known := s.gw.getFace(); known {
			return f, nil
		}
		select {
		case <-ctx.Done():
			return nil, errGone
		case <-r.next:
		case <-timer.C:
			s.conn.SetDeadline(time.Now().Add(time.Second)) // the login's own is over
			s.say(0, &wire.ServerError{Code: wire.ErrUnknown, Message: "windlass: no server of the cluster has answered yet"})
			return nil, errGone
		}
	}
}

// deny sends an error that ends the login.
func (s *session) deny(code uint16, state, message string) error {
	s.conn.WritePacket((&wire.ServerError{Code: code, State: state, Message: "windlass: " + message}).Append(nil))
	return errGone
}

// authenticate proves that the client knows a password of the user. It sets the account.
func (s *session) authenticate(user, plugin string, answer, salt []byte) error {
	account, known := (*s.gw.accounts.Load())[user]
	if !known { // goes the same way, so that nobody learns which users there are
		account = Account{User: user, Passwords: []string{string(append(salt[:len(salt):len(salt)], 'x'))}}
	}
	if plugin == "" {
		plugin = wire.NativePassword
	}
	want := account.Plugin
	if want == "" {
		want = plugin
	}
	if want != wire.NativePassword && want != wire.CachingSHA2 {
		want = wire.NativePassword
	}
	if plugin != want {
		fresh := wire.NewSalt()
		if err := s.conn.WritePacket(wire.AuthSwitch{Plugin: want, Salt: fresh[:]}.Append(nil)); err != nil {
			return err
		}
		payload, err := s.conn.ReadPacket()
		if err != nil {
			return err
		}
		answer, salt = bytes.Clone(payload), fresh[:]
	}
	for _, password := range account.Passwords {
		if !wire.Verify(want, password, salt, answer) || !known {
			continue
		}
		if want == wire.CachingSHA2 && password != "" {
			if err := s.conn.WritePacket([]byte{1, 3}); err != nil { // the fast way: the hash is known
				return err
			}
		}
		s.account = account
		s.user.Store(&account.User)
		return nil
	}
	s.gw.counts.loginsRefused.Add(1)
	s.gw.log.Debug("login refused", "user", user, "client", s.address)
	using := "YES"
	if len(answer) == 0 {
		using = "NO"
	}
	s.deny(wire.ErrAccessDenied, "28000", fmt.Sprintf("Access denied for user '%s'@'%s' (using password: %s)", user, s.host, using))
	return fmt.Errorf("access denied for %s: %w", user, errGone)
}

// welcome opens the session on a server as soon as there is one, and tells the client so.
func (s *session) welcome(ctx context.Context) error {
	seq := s.conn.Seq
	b, err := s.firstBackend(ctx, s.login.Schema)
	if err == nil {
		if err = s.begin(ctx, b); err != nil {
			b.close()
		}
	}
	if err != nil {
		s.conn.Seq = seq
		var refused *wire.ServerError
		var no *refusal
		switch {
		case errors.As(err, &refused):
			s.conn.WritePacket(refused.Append(nil))
		case errors.As(err, &no):
			s.conn.WritePacket(no.Append(nil))
		default:
			s.deny(wire.ErrUnknown, "HY000", err.Error())
		}
		return fmt.Errorf("open a session for %s: %w", s.account.User, err)
	}
	s.mu.Lock()
	s.back = b
	s.sawStatus(b.Welcome.Status)
	s.locate()
	s.mu.Unlock()
	s.tapped.is.Login(s.account.User, s.login.Schema, uint16(s.login.Charset))
	if s.released.Load() {
		return errGone
	}
	ok := b.Welcome
	ok.Header, ok.Affected, ok.InsertID = 0, 0, 0
	if s.caps&wire.CapSessionTrack == 0 {
		ok.State = nil
	} else { // a client that is told of another server would leave the gateway
		ok.State = wire.FilterState(ok.State, func(name []byte) bool { return string(name) == "redirect_url" })
	}
	s.conn.Seq = seq
	return s.conn.WritePacket(ok.Append(nil))
}

// firstBackend waits for an open route and opens the session's first connection.
func (s *session) firstBackend(ctx context.Context, schema string) (*backend, error) {
	budget := s.gw.cfg.Timeouts.NoPrimary.D()
	deadline := time.Now().Add(budget)
	var last error
	for {
		r := s.ep.route.Load()
		pause := time.Until(deadline)
		if target := s.ep.pick(r); target != nil {
			b, err := s.open(ctx, target, schema)
			if err == nil {
				return b, nil
			}
			var refused *wire.ServerError
			var missing *wire.MissingError
			if errors.As(err, &refused) || errors.As(err, &missing) || ctx.Err() != nil {
				return nil, err
			}
			last, pause = err, retryMove
		} else {
			last = nil
		}
		if r.state == adminapi.RouteHeld {
			deadline = time.Now().Add(budget)
			pause = budget
		}
		if time.Now().After(deadline) {
			s.gw.counts.refused.Add(1)
			if last != nil {
				return nil, last
			}
			return nil, refuse(wire.ErrOptionPrevents, "HY000", "%s", r.explain(budget))
		}
		timer := time.NewTimer(pause)
		s.ep.waiting.Add(1)
		select {
		case <-r.next:
		case <-timer.C:
		case <-ctx.Done():
		}
		s.ep.waiting.Add(-1)
		timer.Stop()
		if ctx.Err() != nil {
			return nil, errGone
		}
	}
}

// proxyHeader tells a server the client's address, in version 1 of the PROXY protocol.
func proxyHeader(nc net.Conn) []byte {
	from, ok1 := nc.RemoteAddr().(*net.TCPAddr)
	to, ok2 := nc.LocalAddr().(*net.TCPAddr)
	if !ok1 || !ok2 {
		return []byte("PROXY UNKNOWN\r\n")
	}
	family := "TCP4"
	if from.IP.To4() == nil {
		family = "TCP6"
	}
	return []byte(fmt.Sprintf("PROXY %s %s %s %d %d\r\n", family, from.IP, to.IP, from.Port, to.Port))
}
