package gateway

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/gateway/adminapi"
)

// adminBody is the largest request that is read: a list of servers.
const adminBody = 1 << 20

// adminHandler is the admin API.
func (g *Gateway) adminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+adminapi.PathHealth, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	private := http.NewServeMux()
	private.HandleFunc("GET "+adminapi.PathMetrics, g.metrics)
	private.HandleFunc("GET "+adminapi.PathStatus, answer(func(context.Context, struct{}) (adminapi.Status, error) { return g.Status(), nil }))
	private.HandleFunc("GET "+adminapi.PathSessions, answer(func(context.Context, struct{}) (adminapi.SessionList, error) { return g.listSessions(), nil }))
	private.HandleFunc("POST "+adminapi.PathClose, answer(g.closeSessions))
	private.HandleFunc("PUT "+adminapi.PathServers, answer(g.replaceServers))
	private.HandleFunc("POST "+adminapi.PathFence, answer(func(_ context.Context, r adminapi.FenceRequest) (adminapi.Status, error) {
		err := g.sw.Fence(r.Term)
		return g.Status(), err
	}))
	private.HandleFunc("GET "+adminapi.PathCapture, answer(func(context.Context, struct{}) (adminapi.CaptureStatus, error) { return g.capturing.Status() }))
	private.HandleFunc("POST "+adminapi.PathCaptureStart, answer(g.capturing.Start))
	private.HandleFunc("POST "+adminapi.PathCaptureStop, answer(g.capturing.Stop))
	private.HandleFunc("GET "+adminapi.PathSwitch, answer(func(context.Context, struct{}) (adminapi.SwitchStatus, error) { return g.sw.Status(), nil }))
	private.HandleFunc("POST "+adminapi.PathPrepare, answer(g.sw.Prepare))
	private.HandleFunc("POST "+adminapi.PathHold, answer(g.sw.Hold))
	private.HandleFunc("POST "+adminapi.PathRelease, answer(g.sw.Release))
	private.HandleFunc("POST "+adminapi.PathCancel, answer(g.sw.Cancel))
	mux.Handle("/", g.authorize(private))
	return mux
}

// authorize lets nobody through without the token. Both are hashed first, so that the time tells not even the length.
func (g *Gateway) authorize(next http.Handler) http.Handler {
	want := sha256.Sum256(g.token)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		got := sha256.Sum256([]byte(given))
		if !bearer || subtle.ConstantTimeCompare(want[:], got[:]) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			fail(w, adminapi.ErrUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// answer turns a function into a handler.
func answer[Request, Reply any](do func(context.Context, Request) (Reply, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var req Request
		if r.Method != http.MethodGet {
			dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, adminBody))
			dec.DisallowUnknownFields()
			if err := dec.Decode(&req); err != nil {
				fail(w, fmt.Errorf("%w: %w", adminapi.ErrBadRequest, err))
				return
			}
		}
		reply, err := do(r.Context(), req)
		if err != nil {
			fail(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(reply)
	}
}

func fail(w http.ResponseWriter, err error) {
	p, status := adminapi.NewProblem(err)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(p)
}

// Status is everything that the gateway says of itself.
func (g *Gateway) Status() adminapi.Status {
	st := adminapi.Status{Name: g.cfg.Name, Version: Version, Started: g.started, Stopping: g.stopping.Load(), Switch: g.sw.Status()}
	g.sw.mu.Lock()
	st.Term = g.sw.term
	g.sw.mu.Unlock()
	sessions := g.snapshot()
	st.Writer = g.endpointStatus(g.writer, sessions)
	if g.reader != nil {
		reader := g.endpointStatus(g.reader, sessions)
		st.ReadOnly = &reader
	}
	st.Servers = g.serverStatus()
	st.Clients = clientCounts(sessions)
	c := &g.counts
	st.Counts = adminapi.Counts{
		Connections: c.connections.Load(), LoginsRefused: c.loginsRefused.Load(), Commands: c.commandsOfEnded.Load(), Moves: c.moves.Load(),
		MovesFailed: c.movesFailed.Load(), Reheld: c.reheld.Load(), Refused: c.refused.Load(), Unknown: c.unknown.Load(), RolledBack: c.rolledBack.Load(),
		ForcedCloses: c.forcedCloses.Load(), Holds: c.holds.Load(), HoldsExpired: c.holdsExpired.Load(),
	}
	for _, s := range sessions {
		st.Counts.Commands += s.commands.Load()
	}
	if c, err := g.capturing.Status(); err == nil {
		st.Capture = &c
	}
	return st
}

func (g *Gateway) endpointStatus(e *endpoint, sessions []*session) adminapi.EndpointStatus {
	r := e.route.Load()
	st := adminapi.EndpointStatus{Listen: e.listen, Route: r.state, Waiting: int(e.waiting.Load())}
	if r.state == adminapi.RouteOpen && r.server != nil {
		st.Primary = r.server.address
	}
	for _, s := range sessions {
		if s.ep != e {
			continue
		}
		st.Sessions++
		if s.inTx.Load() {
			st.InTransaction++
		}
		if s.inFlight.Load() {
			st.InFlight++
		}
		if at := s.place.Load().server; st.Primary != "" && at != "" && at != st.Primary {
			st.Elsewhere++
		}
	}
	return st
}

func (g *Gateway) serverStatus() []adminapi.ServerStatus {
	all, local := g.serverList()
	now := time.Now()
	list := make([]adminapi.ServerStatus, 0, len(all))
	for _, s := range all {
		st := adminapi.ServerStatus{Address: s.address, Local: slices.Contains(local, s), Role: s.role(now, g.maxAge()), LagMS: -1, SeenMS: -1, Sessions: int(s.sessions.Load()), MonitorIDs: g.inspect.connections(s.address)}
		if o := s.seen.Load(); o != nil {
			st.Version, st.ServerID, st.UUID = o.version, o.serverID, o.uuid
			if o.monitorID != 0 {
				st.MonitorIDs = append(st.MonitorIDs, o.monitorID)
			}
			if !o.good.IsZero() {
				st.SeenMS = now.Sub(o.good).Milliseconds()
			}
			if o.lag >= 0 {
				st.LagMS = o.lag.Milliseconds()
			}
			if o.err != nil {
				st.Error = o.err.Error()
			}
		}
		list = append(list, st)
	}
	return list
}

func clientCounts(sessions []*session) []adminapi.ClientCount {
	by := map[string]*adminapi.ClientCount{}
	for _, s := range sessions {
		c := by[s.host]
		if c == nil {
			c = &adminapi.ClientCount{Address: s.host, Oldest: s.since}
			by[s.host] = c
		}
		c.Sessions++
		if s.since.Before(c.Oldest) {
			c.Oldest = s.since
		}
	}
	counts := make([]adminapi.ClientCount, 0, len(by))
	for _, c := range by {
		counts = append(counts, *c)
	}
	slices.SortFunc(counts, func(a, b adminapi.ClientCount) int {
		return cmp.Or(cmp.Compare(b.Sessions, a.Sessions), cmp.Compare(a.Address, b.Address))
	})
	return counts
}

func (g *Gateway) listSessions() adminapi.SessionList {
	list := adminapi.SessionList{Sessions: []adminapi.Session{}}
	for _, s := range g.snapshot() {
		p := s.place.Load()
		list.Sessions = append(list.Sessions, adminapi.Session{
			ID: s.id, User: *s.user.Load(), Client: s.address, Endpoint: s.ep.name, Since: s.since,
			Server: p.server, ThreadID: p.thread, ShadowServer: p.shadow, ShadowThreadID: p.shadowThread,
			InTransaction: s.inTx.Load(), InFlight: s.inFlight.Load(), Waiting: s.waiting.Load(),
			IdleMS: (g.clock() - s.began.Load()) / int64(time.Millisecond), Commands: s.commands.Load(),
		})
	}
	slices.SortFunc(list.Sessions, func(a, b adminapi.Session) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

// closeSessions closes client connections by force: a counted override (trap 32).
func (g *Gateway) closeSessions(_ context.Context, r adminapi.CloseRequest) (adminapi.CloseReply, error) {
	if err := g.sw.Fence(r.Term); err != nil {
		return adminapi.CloseReply{}, err
	}
	if r.Reason == "" {
		return adminapi.CloseReply{}, fmt.Errorf("%w: a forced close needs a reason", adminapi.ErrBadRequest)
	}
	closed := 0
	for _, s := range g.snapshot() {
		if len(r.IDs) > 0 && !slices.Contains(r.IDs, s.id) || len(r.Addresses) > 0 && !slices.Contains(r.Addresses, s.host) {
			continue
		}
		s.cut()
		closed++
	}
	g.counts.forcedCloses.Add(uint64(closed))
	g.log.Warn("connections closed by request", "closed", closed, "term", r.Term, "reason", r.Reason)
	return adminapi.CloseReply{Closed: closed}, nil
}

// replaceServers takes a new list of servers. It is on disk before it is used.
func (g *Gateway) replaceServers(ctx context.Context, r adminapi.ServersRequest) (adminapi.Status, error) {
	if len(r.All) == 0 {
		return adminapi.Status{}, fmt.Errorf("%w: the list of servers is empty", adminapi.ErrBadRequest)
	}
	for i, a := range r.All {
		if host, port, err := net.SplitHostPort(a); err != nil || host == "" || port == "" || slices.Contains(r.All[:i], a) {
			return adminapi.Status{}, fmt.Errorf("%w: server %q is not host:port, or is listed twice", adminapi.ErrBadRequest, a)
		}
	}
	for _, a := range r.Local {
		if !slices.Contains(r.All, a) {
			return adminapi.Status{}, fmt.Errorf("%w: local server %s is not among all", adminapi.ErrBadRequest, a)
		}
	}
	g.sw.mu.Lock()
	defer func() { g.sw.mu.Unlock() }()
	if err := g.sw.admit(r.Term); err != nil {
		return adminapi.Status{}, err
	}
	if g.sw.target != nil && !slices.Contains(r.All, g.sw.target.address) {
		return adminapi.Status{}, fmt.Errorf("%w: the present switch goes to %s, which is not in the list", adminapi.ErrBusy, g.sw.target.address)
	}
	if err := g.save(r.Term, &savedServers{Local: r.Local, All: r.All}); err != nil {
		return adminapi.Status{}, errors.Join(adminapi.ErrInternal, err)
	}
	g.setServers(r.Local, r.All)
	g.sw.mu.Unlock()
	g.rehome(ctx)
	st := g.Status()
	g.sw.mu.Lock()
	return st, nil
}

// persist writes the term, with the list of servers as it is.
func (g *Gateway) persist(term int64) error { return g.save(term, g.savedServers()) }

func (g *Gateway) savedServers() *savedServers {
	g.mu.Lock()
	defer g.mu.Unlock()
	list := &savedServers{Local: slices.Clone(g.local)}
	for _, s := range g.servers {
		list.All = append(list.All, s.address)
	}
	return list
}

func (g *Gateway) save(term int64, servers *savedServers) error {
	return saved{Version: savedVersion, Term: term, Servers: servers}.save(g.cfg.StateFile)
}

func (g *Gateway) metrics(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	writeMetrics(w, g.Status())
}
