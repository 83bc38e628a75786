package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/windlass-db/windlass/internal/gateway/adminapi"
	"github.com/windlass-db/windlass/internal/wire"
)

// Version of the gateway, set at build time.
var Version = "dev"

// Gateway serves clients on one or two endpoints. Make it with New, and let Run serve.
type Gateway struct {
	cfg      Config
	log      *slog.Logger
	accounts atomic.Pointer[Accounts]
	token    []byte
	tls      *tls.Config // to clients; nil: none
	dial     wire.Dial   // to servers, without address and user
	mon      *monitor
	sw       *switcher
	inspect  *inspector
	started  time.Time

	capturing *capturing
	stopping  atomic.Bool
	counts    counters

	writer  *endpoint
	reader  *endpoint // nil if there is no read-only endpoint
	admin   net.Listener
	listens []net.Listener

	mu       sync.Mutex
	servers  []*server // all, in the order of the list
	local    []string
	sessions map[uint32]*session
	nextID   uint32
	face     atomic.Pointer[face]
}

// counters only grow.
type counters struct {
	connections, loginsRefused, moves, movesFailed, reheld, refused, unknown, rolledBack, forcedCloses, holds, holdsExpired atomic.Uint64
	commandsOfEnded                                                                                                         atomic.Uint64
}

// Check reads everything that the configuration names, secrets too, and says all that is missing or wrong. It opens no listener and asks
// no server.
func Check(ctx context.Context, cfg Config) error {
	g, err := assemble(ctx, cfg, slog.New(slog.DiscardHandler))
	switch {
	case cfg.Capture == nil:
	case err == nil:
		_, err = g.capturing.tapFor(adminapi.CaptureRequest{})
	default:
		_, _, bad := readCaptureKeys(*cfg.Capture)
		err = errors.Join(err, bad)
	}
	return err
}

// New opens the listeners and reads the secrets. Nothing is served before Run.
func New(ctx context.Context, cfg Config, log *slog.Logger) (*Gateway, error) {
	g, err := assemble(ctx, cfg, log)
	if err != nil {
		return nil, err
	}
	if err := g.listen(); err != nil {
		return nil, err
	}
	g.setServers(g.cfg.Servers.Local, g.cfg.Servers.All)
	return g, nil
}

// assemble makes a gateway without listeners. Its list of servers is that of the state file, if there is one. The error names everything
// that is missing or wrong, a line or more for each.
func assemble(ctx context.Context, cfg Config, log *slog.Logger) (*Gateway, error) {
	g := &Gateway{cfg: cfg, log: log.With("gateway", cfg.Name), started: time.Now(), sessions: map[uint32]*session{}}
	var wrong []error
	accounts, err := LoadAccounts(ctx, cfg)
	wrong = append(wrong, err)
	g.accounts.Store(&accounts)
	g.token, err = readToken(cfg.Admin.TokenFile)
	wrong = append(wrong, err)
	password, err := readSecret(cfg.Monitor.PasswordFile, fmt.Sprintf("write the password of %s into it", cfg.Monitor.User))
	if err != nil {
		wrong = append(wrong, fmt.Errorf("monitor.password_file: %w", err))
	}
	wrong = append(wrong, g.setupTLS()...)
	saved, err := loadSaved(cfg.StateFile)
	wrong = append(wrong, err)
	if err := errors.Join(wrong...); err != nil {
		return nil, err
	}
	monitorDial := g.dial
	monitorDial.User, monitorDial.Passwords = cfg.Monitor.User, []string{string(password)}
	monitorDial.Caps = wire.CapLongFlag | wire.CapTransactions | wire.CapMultiResults
	monitorDial.Charset, monitorDial.MaxPacket, monitorDial.Limit = utf8mb4General, 1<<24, 16<<20
	g.mon = &monitor{dial: monitorDial, interval: cfg.Monitor.Interval.D(), timeout: cfg.Timeouts.Observe.D(), log: g.log, changed: g.reroute, probes: map[string]*probe{}}
	g.capturing = newCapturing(g)
	g.inspect = newInspector(monitorDial, cfg.Timeouts.Observe.D())
	g.sw = newSwitcher(g)
	if saved.Servers != nil {
		g.cfg.Servers = ServersConfig{Local: saved.Servers.Local, All: saved.Servers.All}
	}
	g.sw.term = saved.Term
	return g, nil
}

// shortestToken is how many characters the admin API's token has at least.
const shortestToken = 16

func readToken(path string) ([]byte, error) {
	const how = "head -c 24 /dev/urandom | base64"
	token, err := readSecret(path, "make one: "+how)
	switch {
	case err != nil:
		return nil, fmt.Errorf("admin.token_file: %w", err)
	case len(token) < shortestToken:
		return nil, fmt.Errorf("admin.token_file: %s holds %d characters: write at least %d, such as those of %s", path, len(token), shortestToken, how)
	}
	return token, nil
}

// utf8mb4General is utf8mb4_general_ci, which every version has.
const utf8mb4General = 45

// setupTLS reads certificates, and answers what is wrong with them.
func (g *Gateway) setupTLS() (wrong []error) {
	if c := g.cfg.ClientTLS; c != nil {
		if info, err := os.Stat(c.Key); err == nil && info.Mode().Perm()&0o077 != 0 {
			wrong = append(wrong, fmt.Errorf("client_tls.key: %s has mode %04o, so others could read it: run chmod 0600 %s", c.Key, info.Mode().Perm(), c.Key))
		}
		if cert, err := tls.LoadX509KeyPair(c.Cert, c.Key); err != nil {
			wrong = append(wrong, fmt.Errorf("client_tls: certificate and key in PEM are needed: %w", err))
		} else {
			g.tls = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
		}
	}
	g.dial.TLSMode = g.cfg.ServerTLS.Mode
	if ca := g.cfg.ServerTLS.CA; ca != "" {
		roots := x509.NewCertPool()
		if raw, err := os.ReadFile(ca); err != nil {
			wrong = append(wrong, fmt.Errorf("server_tls.ca: certificates in PEM are needed: %w", err))
		} else if !roots.AppendCertsFromPEM(raw) {
			wrong = append(wrong, fmt.Errorf("server_tls.ca: %s holds no certificate in PEM", ca))
		}
		g.dial.TLS = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	return wrong
}

func (g *Gateway) listen() (err error) {
	defer func() {
		if err != nil {
			for _, l := range g.listens {
				l.Close()
			}
			if g.admin != nil {
				g.admin.Close()
			}
		}
	}()
	open := func(name, address string, readOnly bool) (*endpoint, error) {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return nil, fmt.Errorf("%s endpoint: %w", name, err)
		}
		g.listens = append(g.listens, l)
		e := &endpoint{name: name, readOnly: readOnly, listen: l.Addr().String()}
		e.publish(&route{state: adminapi.RouteUnknown})
		return e, nil
	}
	if g.writer, err = open("writer", g.cfg.Listen, false); err != nil {
		return err
	}
	if g.cfg.ReadOnlyListen != "" {
		if g.reader, err = open("read-only", g.cfg.ReadOnlyListen, true); err != nil {
			return err
		}
	}
	if g.admin, err = net.Listen("tcp", g.cfg.Admin.Listen); err != nil {
		return fmt.Errorf("admin API: %w", err)
	}
	return nil
}

// Addresses are what the listeners are bound to; the read-only one is empty if there is none.
func (g *Gateway) Addresses() (writer, readOnly, admin string) {
	if g.reader != nil {
		readOnly = g.reader.listen
	}
	return g.writer.listen, readOnly, g.admin.Addr().String()
}

// Run serves until the context ends, then lets transactions end for the time that the configuration gives, and closes
// everything.
func (g *Gateway) Run(ctx context.Context) error {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	group, groupCtx := errgroup.WithContext(work)
	group.Go(func() error { return g.mon.Run(groupCtx) })
	group.Go(func() error { return g.capturing.Run(groupCtx) })
	var clients sync.WaitGroup
	endpoints := []*endpoint{g.writer, g.reader}
	for i, l := range g.listens {
		group.Go(func() error { return g.accept(groupCtx, l, endpoints[i], &clients) })
	}
	api := &http.Server{Handler: g.adminHandler(), ReadHeaderTimeout: 5 * time.Second, ErrorLog: slog.NewLogLogger(g.log.Handler(), slog.LevelDebug)}
	group.Go(func() error {
		if err := api.Serve(g.admin); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("admin API: %w", err)
		}
		return nil
	})
	g.log.Info("serving", "writer", g.writer.listen, "admin", g.admin.Addr().String())
	select {
	case <-ctx.Done():
	case <-groupCtx.Done():
	}
	g.stop(&clients)
	g.inspect.end()
	api.Close()
	stop()
	return group.Wait()
}

// stop ends the clients' connections: idle ones at once, the others after their transaction or when the time is over.
func (g *Gateway) stop(clients *sync.WaitGroup) {
	g.stopping.Store(true)
	for _, l := range g.listens {
		l.Close()
	}
	g.log.Info("stopping", "sessions", len(g.snapshot()), "wait", g.cfg.Timeouts.Stop.D().String())
	done := make(chan struct{})
	go func() {
		clients.Wait()
		close(done)
	}()
	deadline := time.NewTimer(g.cfg.Timeouts.Stop.D())
	defer deadline.Stop()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		for _, s := range g.snapshot() {
			if s.mu.TryLock() {
				quiet := s.back == nil || !s.pinned()
				s.mu.Unlock()
				if quiet {
					s.cut()
				}
			}
		}
		select {
		case <-done:
			return
		case <-look.C:
		case <-deadline.C:
			for _, s := range g.snapshot() {
				s.cut()
			}
			g.log.Warn("transactions were cut off", "sessions", len(g.snapshot()))
			<-done
			return
		}
	}
}

// cut closes the sockets under a session: its goroutine ends.
func (s *session) cut() {
	s.released.Store(true)
	s.sock.Close()
	if b := s.raw.Load(); b != nil {
		b.Close()
	}
}

func (g *Gateway) accept(ctx context.Context, l net.Listener, ep *endpoint, clients *sync.WaitGroup) error {
	for {
		nc, err := l.Accept()
		if err != nil {
			if g.stopping.Load() || errors.Is(err, net.ErrClosed) {
				return nil
			}
			g.log.Warn("accept failed", "endpoint", ep.name, "err", err)
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(50 * time.Millisecond): // out of file descriptors: others may end meanwhile
			}
			continue
		}
		g.counts.connections.Add(1)
		clients.Add(1)
		go func() {
			defer clients.Done()
			g.client(ctx, nc, ep)
		}()
	}
}

// snapshot is the list of sessions now.
func (g *Gateway) snapshot() []*session {
	g.mu.Lock()
	defer g.mu.Unlock()
	list := make([]*session, 0, len(g.sessions))
	for _, s := range g.sessions {
		list = append(list, s)
	}
	return list
}

// setServers makes the known servers be exactly these; the ones that stay keep what is known of them.
func (g *Gateway) setServers(local, all []string) {
	g.mu.Lock()
	known := map[string]*server{}
	for _, s := range g.servers {
		known[s.address] = s
	}
	g.servers = nil
	g.local = slices.Clone(local)
	for _, a := range all {
		s := known[a]
		if s == nil {
			s = &server{address: a}
		}
		g.servers = append(g.servers, s)
	}
	servers := slices.Clone(g.servers)
	g.mu.Unlock()
	g.mon.set(servers)
	g.reroute()
}

// serverList gives all servers, and those of the own cell.
func (g *Gateway) serverList() (all, local []*server) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, s := range g.servers {
		all = append(all, s)
		if slices.Contains(g.local, s.address) {
			local = append(local, s)
		}
	}
	return all, local
}

func (g *Gateway) findServer(address string) *server {
	all, _ := g.serverList()
	for _, s := range all {
		if s.address == address {
			return s
		}
	}
	return nil
}

// maxAge is how long an observation is worth something.
func (g *Gateway) maxAge() time.Duration {
	return 2*g.cfg.Timeouts.Observe.D() + 2*g.cfg.Monitor.Interval.D()
}

// reroute makes the routes say what the servers and the switch say now.
func (g *Gateway) reroute() {
	g.sw.routing.Lock()
	defer g.sw.routing.Unlock()
	all, local := g.serverList()
	now := time.Now()
	r := observedRoute(all, now, g.maxAge())
	if g.sw.holding {
		r.state, r.server = adminapi.RouteHeld, nil
	}
	g.writer.publish(r)
	if g.reader != nil {
		g.reader.publish(replicaRoute(local, now, g.maxAge(), g.cfg.MaxLag.D()))
	}
}

// clock is nanoseconds of the monotonic clock since the gateway's start.
func (g *Gateway) clock() int64 { return int64(time.Since(g.started)) }
