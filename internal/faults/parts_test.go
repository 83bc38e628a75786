package faults

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/driver/dns"
	gatewaydriver "github.com/windlass-db/windlass/internal/driver/gateway"
	"github.com/windlass-db/windlass/internal/driver/mysql"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/server"
	"github.com/windlass-db/windlass/internal/state"
	"github.com/windlass-db/windlass/internal/strategy"
	"github.com/windlass-db/windlass/internal/supervisor"
)

// keepUnder is from how long a wait on a lease is given back.
const keepUnder = 300 * time.Millisecond

// watchEvery is how often a supervisor looks at the cluster beside its action.
const watchEvery = 500 * time.Millisecond

// serverSettings are those of the control plane's process.
type serverSettings struct{ Listen, State, ClockFile string }

// runServer is `windlass server` without its launcher: the test launches by the API, when a case begins.
func runServer(ctx context.Context, s serverSettings) error {
	clock := clock{s.ClockFile}
	store, err := state.Open(ctx, s.State, state.Options{LeaseTTL: leaseTTL, Now: clock.Now})
	if err != nil {
		return err
	}
	defer store.Close()
	srv, err := server.New(server.Config{Store: store, Decide: campaign.Decide, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), Now: clock.Now})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", s.Listen)
	if err != nil {
		return err
	}
	return srv.Run(ctx, l)
}

// supervisorSettings are those of a supervisor's process.
type supervisorSettings struct {
	Name, Env, URL, Token string
	AdminTokenFile        string // of the gateways
	ScriptFile            string
	ClockFile             string // the control plane's
	OwnClockFile          string // by which its leases run out
	DNS                   *dns.Server
}

// script is what the test makes happen in a supervisor beside the faults. It is read at every look, for the supervisor lives
// through many cases.
type script struct {
	Hiccup     strategy.Kind `json:"hiccup,omitempty"`      // the first look of this step fails, and the wait is long enough for the lease to be given back
	HiccupBack bool          `json:"hiccup_back,omitempty"` // of its undo
	Refuse     strategy.Kind `json:"refuse,omitempty"`      // looks of this step, forward, see what no waiting will mend
	StuckBack  strategy.Kind `json:"stuck_back,omitempty"`  // the same for its undo
}

var errScript = errors.New("the script says so")

// switchPoints lists every point that a switch meets, on its way and in its undo.
func switchPoints() []string { return append(mysql.Points(), mysql.UndoPoints()...) }

// storageOnly is a Storage for stages that copy no data.
type storageOnly struct{ *mysql.Driver }

var errNoSeed = errors.New("this supervisor copies no data")

func (storageOnly) Seeded(context.Context, bluegreen.SeedRequest) (bool, check.Results, error) {
	return false, nil, errNoSeed
}

func (storageOnly) Seed(context.Context, bluegreen.SeedRequest, json.RawMessage, bluegreen.Save) error {
	return errNoSeed
}

// runSupervisor is `windlass supervisor` with short waits, which tells the test of every edge and waits there for its word.
func runSupervisor(ctx context.Context, s supervisorSettings) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("holder", s.Name)
	client, err := api.NewClient(s.URL, s.Token, "")
	if err != nil {
		return err
	}
	now := clock{s.ClockFile}.Now // of what it sees
	edges := newReporter()
	gateways := gatewaydriver.New(s.AdminTokenFile, now)
	db, err := mysql.New(mysql.Config{
		Admin:         mysql.Account{User: adminUser, Password: mysql.Fixed(adminPassword)},
		Replication:   mysql.Account{User: processtest.AdminUser, Password: mysql.Fixed(processtest.AdminPassword)},
		Known:         mysql.Known{Users: []string{processtest.AdminUser, processtest.MonitorUser}}, // the test itself
		Gateway:       func(g fleet.Gateway) (mysql.Gateway, error) { return gateways.Client(g) },
		BootsReadOnly: func(context.Context, fleet.Node) (bool, error) { return true, nil }, // as the template's options say
		Dial:          2 * time.Second, Query: 3 * time.Second, Log: log, Now: now,
	})
	if err != nil {
		return err
	}
	ports := bluegreen.Ports{Storage: storageOnly{db}, Switcher: db, Gateways: gateways, SwitchPoints: switchPoints()}
	if s.DNS != nil {
		ports.Records = &dns.Driver{Servers: map[string]dns.Server{s.Env: *s.DNS}}
	}
	hs, err := engine.NewHandlers(scripted(bluegreen.Handlers(ports), s.ScriptFile)...)
	if err != nil {
		return err
	}
	return supervisor.New(supervisor.Config{
		Name: s.Name, Env: s.Env, Server: agent{client.Agent(s.Env), edges}, Handlers: hs, Log: log, Now: now,
		Observer: nodesOnly{db, now}, WatchEvery: watchEvery,
		Slots: 1, Poll: 40 * time.Millisecond,
		Engine: engine.Options{Clock: ownClock{clock: clock{s.OwnClockFile}}, RetryMin: 30 * time.Millisecond, RetryMax: 200 * time.Millisecond, KeepUnder: keepUnder, LookTimeout: 20 * time.Second,
			OnLease: bluegreen.Settle(ports), Gate: supervisor.Guard{Storage: db, Now: now}.Before, At: edges.at},
	}).Run(ctx)
}

// nodesOnly is the watch's look at the servers. What else is seen between actions is not these tests' business.
type nodesOnly struct {
	*mysql.Driver
	now func() time.Time
}

func (n nodesOnly) Observe(ctx context.Context, w api.Watched) fleet.Observation {
	o, err := n.Driver.Observe(ctx, w.Cluster)
	if err != nil {
		return fleet.Observation{At: n.now(), Unread: []string{err.Error()}}
	}
	return o
}

// reporter tells the test of an edge, and blocks until the test says that it may go on.
type reporter struct {
	standing sync.RWMutex // while it blocks
	tell     *os.File
	hear     *bufio.Reader
}

// The file descriptors that the test gives beside the standard ones.
const tellFD, hearFD = 3, 4

func newReporter() *reporter {
	return &reporter{tell: os.NewFile(tellFD, "edges"), hear: bufio.NewReader(os.NewFile(hearFD, "words"))}
}

func (r *reporter) at(e engine.Edge) {
	r.standing.Lock()
	defer r.standing.Unlock()
	if _, err := fmt.Fprintln(r.tell, e.String()); err != nil {
		os.Exit(2) // the test is gone
	}
	if _, err := r.hear.ReadString('\n'); err != nil {
		os.Exit(2)
	}
}

// agent asks for no more time while its supervisor stands at an edge: when the test has killed or stopped it there and moves the clock, nothing is
// under way that would make its lease last on.
type agent struct {
	*api.Agent
	edges *reporter
}

// Heartbeat prolongs the lease.
func (a agent) Heartbeat(ctx context.Context, action, term int64) (bool, error) {
	a.edges.standing.RLock()
	defer a.edges.standing.RUnlock()
	return a.Agent.Heartbeat(ctx, action, term)
}

// BeginMend asks for leave to put a cluster right.
func (a agent) BeginMend(ctx context.Context, cluster, holder string) (*state.Mend, error) {
	a.edges.standing.RLock()
	defer a.edges.standing.RUnlock()
	return a.Agent.BeginMend(ctx, cluster, holder)
}

// scripted wraps the handlers with what the script makes happen.
func scripted(list []engine.Handler, file string) []engine.Handler {
	type look = func(context.Context, *engine.Call) (engine.Observation, error)
	seen := map[string]bool{}
	var mu sync.Mutex
	wrap := func(k strategy.Kind, back bool, f look) look {
		return func(ctx context.Context, c *engine.Call) (engine.Observation, error) {
			b, err := os.ReadFile(file)
			if err != nil {
				return engine.Observation{}, err
			}
			var sc script
			if err := json.Unmarshal(b, &sc); err != nil {
				return engine.Observation{}, err
			}
			key := fmt.Sprintf("%d %s %v", c.ActionID, k, back)
			mu.Lock()
			first := !seen[key]
			seen[key] = true
			mu.Unlock()
			switch {
			case sc.Hiccup == k && sc.HiccupBack == back && first:
				return engine.Observation{RetryAfter: keepUnder}, errScript
			case sc.Refuse == k && !back, sc.StuckBack == k && back:
				return engine.Observation{}, &engine.Refusal{Err: errScript}
			}
			return f(ctx, c)
		}
	}
	for i := range list {
		h := &list[i]
		h.Forward.Observe = wrap(h.Kind, false, h.Forward.Observe)
		if h.Back.Observe != nil {
			h.Back.Observe = wrap(h.Kind, true, h.Back.Observe)
		}
	}
	return list
}
