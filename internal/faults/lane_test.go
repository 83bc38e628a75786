package faults

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/demo/load"
	"github.com/windlass-db/windlass/internal/driver/dns"
	gatewaydriver "github.com/windlass-db/windlass/internal/driver/gateway"
	"github.com/windlass-db/windlass/internal/driver/mysql"
	"github.com/windlass-db/windlass/internal/driver/process"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/gateway"
	"github.com/windlass-db/windlass/internal/state"
	"github.com/windlass-db/windlass/internal/strategy"
)

const (
	env          = "qa"
	campaignName = "up"
)

var ref = fleet.ClusterRef{Env: env, Name: "orders"}

// lane is one cluster with everything around it, on loopback addresses of its own: no connection of the machine ever takes
// the port of a part that is just being started again.
type lane struct {
	t       *testing.T
	dir     string
	host    string
	nodes   map[string]process.MariaDB // by cell
	dbs     map[string]*sql.DB         // the test's own, by cell
	gates   map[string]process.Spec
	cluster fleet.Cluster
	client  *api.Client
	opToken string // file
	token   string // of the supervisors
	records *dns.Server
	spec    map[string]func(process.Spec) process.Spec // changes how a cell's server is run
	setting func(*campaign.Switch)
	name    func(context.Context) (string, error) // what the clients' name leads to; nil: the blue gateway
	host2   string                                // of the green gateway
	prober  *prober
	load    *load.Load
	stop    func() error // of the load

	clock       clock // the control plane's
	supervisors atomic.Int32
	finished    chan struct{} // a supervisor has told an action's last edge

	mu      sync.Mutex
	server  *child
	holder  *child // the supervisor that works
	sleeper *child // the one that was paused
	f       *fault // of the running case
	trace   []string
	pending sync.WaitGroup // restarts under way
	broken  []error
}

// The ports on a lane's address.
const (
	portBlue, portGreen, portServer = 3306, 3307, 8480
	portGateway                     = 4000 // of the writer endpoint; +1 read-only, +2 admin
)

var lanes atomic.Uint32

// address finds a loopback address on which nothing of ours listens.
func address() (string, error) {
	for range 250 {
		n := lanes.Add(1)
		host := fmt.Sprintf("127.%d.%d.%d", 64+os.Getpid()%128, (os.Getpid()>>7)%254+1, n%250+1)
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(portBlue)))
		if err == nil {
			return host, l.Close()
		}
	}
	return "", errors.New("no loopback address is free")
}

// newLane clones the template and starts everything: the cluster is verified, and its next stage is the storage switch.
func newLane(t *testing.T, tm *template, change ...func(*lane)) *lane {
	t.Helper()
	host, err := address()
	if err != nil {
		t.Fatal(err)
	}
	l := &lane{t: t, dir: folder(t), host: host, nodes: map[string]process.MariaDB{}, dbs: map[string]*sql.DB{}, gates: map[string]process.Spec{}, finished: make(chan struct{}, 1)}
	l.clock = clock{filepath.Join(l.dir, "clock")}
	t.Cleanup(l.end)
	if l.host2, err = address(); err != nil {
		t.Fatal(err)
	}
	for _, f := range change {
		f(l)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := errors.Join(l.startServers(ctx, tm), l.startGateways(ctx, tm), l.prepareState(ctx), l.startServer(ctx)); err != nil {
		t.Fatal(err)
	}
	if err := l.created(ctx); err != nil {
		t.Fatal(err)
	}
	l.setScript(script{})
	if l.holder, err = l.startSupervisor(); err != nil {
		t.Fatal(err)
	}
	if err := l.runScheduler(); err != nil {
		t.Fatal(err)
	}
	if l.prober, err = newProber(l.at(portBlue), l.at(portGreen)); err != nil {
		t.Fatal(err)
	}
	l.startLoad(ctx)
	return l
}

func (l *lane) at(port int) string { return net.JoinHostPort(l.host, strconv.Itoa(port)) }

// startServers clones both data folders and starts them: blue is the primary, green replicates from it.
func (l *lane) startServers(ctx context.Context, tm *template) error {
	for cell, port := range map[string]int{"blue": portBlue, "green": portGreen} {
		m := tm.mariadb(cell, filepath.Join(l.dir, cell), l.host, port)
		if err := process.Clone(tm.data(cell), m.DataDir()); err != nil {
			return err
		}
		l.nodes[cell] = m
	}
	errs := make(chan error, 2)
	for cell := range l.nodes {
		go func() { errs <- l.startNode(ctx, cell) }()
	}
	if err := errors.Join(<-errs, <-errs); err != nil {
		return err
	}
	for cell, m := range l.nodes {
		l.dbs[cell] = open(l.t, m.Address(), "")
	}
	return errors.Join(execOn(l.dbs["blue"], "SET GLOBAL read_only=0"), execOn(l.dbs["green"], follow(l.host, portBlue)...))
}

// startNode starts a cell's server.
func (l *lane) startNode(ctx context.Context, cell string) error {
	m := l.nodes[cell]
	if err := m.Init(ctx); err != nil {
		return err
	}
	s, err := m.Spec()
	if err != nil {
		return err
	}
	if change := l.spec[cell]; change != nil {
		s = change(s)
	}
	return s.Start(ctx)
}

// startGateways starts one for each cell.
func (l *lane) startGateways(ctx context.Context, tm *template) error {
	secrets := map[string]string{"token": "a-token-of-the-fault-tests\n", "monitor": processtest.MonitorSecret + "\n",
		"accounts.yaml": fmt.Sprintf("accounts:\n  - user: %s\n    password: %s\n", processtest.AppUser, processtest.AppPassword)}
	for name, text := range secrets {
		if err := os.WriteFile(filepath.Join(l.dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	all := []string{l.at(portBlue), l.at(portGreen)}
	for i, cell := range []string{"blue", "green"} {
		at := func(offset int) string {
			return net.JoinHostPort([]string{l.host, l.host2}[i], strconv.Itoa(portGateway+offset))
		}
		cfg := gateway.Config{Name: cell + "-gateway", Listen: at(0), ReadOnlyListen: at(1), Admin: gateway.AdminConfig{Listen: at(2), TokenFile: "../token"},
			AccountsFile: "../accounts.yaml", Monitor: gateway.MonitorConfig{User: processtest.MonitorUser, PasswordFile: "../monitor", Interval: gateway.Duration(250 * time.Millisecond)},
			Servers: gateway.ServersConfig{Local: all[i : i+1], All: all}, StateFile: "gateway.state"}
		b, err := yaml.Marshal(cfg)
		if err != nil {
			return err
		}
		dir := filepath.Join(l.dir, cell+"-gateway")
		file := filepath.Join(dir, "gateway.yaml")
		if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(file, b, 0o600)); err != nil {
			return err
		}
		health := "http://" + at(2) + "/healthz"
		l.gates[cell] = process.Spec{Name: cell + "-gateway", Dir: dir, Argv: []string{tm.gateway, "--config", file}, Ready: func(ctx context.Context) error { return answers(ctx, health) }}
		if err := l.gates[cell].Start(ctx); err != nil {
			return err
		}
		version := versions[cell]
		l.cluster.Cells = append(l.cluster.Cells, fleet.Cell{Name: cell, Version: version, Owner: "test", Nodes: []fleet.Node{{Name: cell + "-1", Address: all[i]}},
			Gateway: &fleet.Gateway{Name: cell + "-gateway", Address: cfg.Listen, ReadOnly: cfg.ReadOnlyListen, Admin: "http://" + cfg.Admin.Listen}})
	}
	l.cluster.Name, l.cluster.Env, l.cluster.Product, l.cluster.Record = ref.Name, ref.Env, "mariadb", record
	return nil
}

func answers(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return nil
}

func (l *lane) stateFile() string { return filepath.Join(l.dir, "state.db") }

// record is the name that the cluster's clients resolve.
const record = "orders.windlass.test."

func theCampaign() campaign.Campaign {
	return campaign.Campaign{
		Name: campaignName, Strategy: "bluegreen", Product: "mariadb", From: "10.11", To: "11.8", Environments: []string{env}, FromCell: "blue", ToCell: "green",
		Limits: campaign.Limits{PerStage: 1}, Schedule: campaign.Schedule{Always: true, Every: time.Second}, Budget: campaign.Budget{Campaign: -1, Environment: -1, Stage: -1},
		Switch: campaign.Switch{HoldTTL: 4 * time.Second, Drain: 500 * time.Millisecond, Tries: 3, OnOpenTransaction: "call-off", MaxLag: 5 * time.Second, Timeout: time.Minute},
		Drain:  campaign.Drain{TTL: time.Second},
	}
}

// prepareState makes the state of a campaign whose cluster has completed the stages before the storage switch, by the very
// calls that a launcher and a supervisor make.
func (l *lane) prepareState(ctx context.Context) error {
	st, err := state.Open(ctx, l.stateFile(), state.Options{LeaseTTL: leaseTTL, Now: l.clock.Now})
	if err != nil {
		return err
	}
	defer st.Close()
	c := theCampaign()
	if l.setting != nil {
		l.setting(&c.Switch)
	}
	f := fleet.Fleet{Name: "faults", Environments: []fleet.Environment{{Name: env, Clusters: []fleet.Cluster{l.cluster}}}}
	if err := errors.Join(st.ApplyFleet(ctx, f, "test"), st.ApplyCampaign(ctx, c, []fleet.ClusterRef{ref}, "test")); err != nil {
		return err
	}
	var kinds []engine.KindVersion
	for _, stage := range strategy.BlueGreen().Stages {
		for _, step := range stage.Steps {
			kinds = append(kinds, engine.KindVersion{Kind: step.Kind, Version: step.Version})
		}
	}
	for _, stage := range []string{strategy.StageCreate, strategy.StageVerify, strategy.StageReplay} {
		if _, err := st.Launch(ctx, campaignName, "", "test", campaign.Decide); err != nil {
			return err
		}
		a, err := st.Lease(ctx, env, "test", kinds)
		if err != nil {
			return err
		}
		if a == nil || a.Plan.Stage != stage {
			return fmt.Errorf("the launcher did not start %s", stage)
		}
		if err := st.Finish(ctx, a.ActionID, a.Term, engine.Completed, "made by the test's template"); err != nil {
			return err
		}
	}
	if l.token, err = st.NewToken(ctx, state.Token{Role: "supervisor", Env: env, Name: "test"}, "test"); err != nil {
		return err
	}
	operator, err := st.NewToken(ctx, state.Token{Role: "operator", Name: "test"}, "test")
	if err != nil {
		return err
	}
	l.opToken = filepath.Join(l.dir, "operator")
	if err := os.WriteFile(l.opToken, []byte(operator+"\n"), 0o600); err != nil {
		return err
	}
	l.client, err = api.NewClient(l.url(), operator, "")
	return err
}

// created does what the create stage does last: it fences both servers, and notes who is the primary.
func (l *lane) created(ctx context.Context) error {
	d, err := l.driver()
	if err != nil {
		return err
	}
	const term = 1 // the create stage's
	return errors.Join(d.Fence(ctx, l.cluster, term), d.Replicate(ctx, l.cluster, "green", term))
}

// driver is one of the test's own, with the supervisors' account.
func (l *lane) driver() (*mysql.Driver, error) {
	return mysql.New(mysql.Config{Admin: mysql.Account{User: adminUser, Password: mysql.Fixed(adminPassword)},
		Replication: mysql.Account{User: processtest.AdminUser, Password: mysql.Fixed(processtest.AdminPassword)}})
}

// gateways asks the lane's gateways.
func (l *lane) gateways() *gatewaydriver.Driver {
	return gatewaydriver.New(filepath.Join(l.dir, "token"), time.Now)
}

func (l *lane) url() string { return "http://" + l.at(portServer) }

// startServer starts the control plane, and waits until it answers.
func (l *lane) startServer(ctx context.Context) error {
	c, err := startChild(l.dir, "server", "server", serverSettings{l.at(portServer), l.stateFile(), l.clock.file}, nil)
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.server = c
	l.mu.Unlock()
	return until(ctx, 20*time.Second, "the server answers", func() error { return answers(ctx, l.url()+"/healthz") })
}

// startSupervisor starts another one.
func (l *lane) startSupervisor() (*child, error) {
	name := fmt.Sprintf("supervisor-%d", l.supervisors.Add(1))
	return startChild(l.dir, "supervisor", name, supervisorSettings{Name: name, Env: env, URL: l.url(), Token: l.token, AdminTokenFile: filepath.Join(l.dir, "token"), ScriptFile: l.scriptFile(),
		ClockFile: l.clock.file, OwnClockFile: l.ownClock(name).file, DNS: l.records}, l.onEdge)
}

// ownClock is by what a supervisor's leases run out in its own eyes.
func (l *lane) ownClock(supervisor string) clock {
	return clock{filepath.Join(l.dir, supervisor+".clock")}
}

// lapse ends the lease of a supervisor that was killed or stopped at an edge, in the eyes of everybody else.
func (l *lane) lapse() error { return l.clock.pass(leaseTTL + time.Millisecond) }

func (l *lane) scriptFile() string { return filepath.Join(l.dir, "script.json") }

func (l *lane) setScript(s script) {
	l.t.Helper()
	b, err := json.Marshal(s)
	if err == nil {
		err = os.WriteFile(l.scriptFile()+".new", b, 0o600)
	}
	if err == nil {
		err = os.Rename(l.scriptFile()+".new", l.scriptFile())
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

// startLoad puts writers and readers on the blue gateway.
func (l *lane) startLoad(ctx context.Context) {
	resolve := l.name
	if resolve == nil {
		resolve = func(context.Context) (string, error) { return l.cluster.Cells[0].Gateway.Address, nil }
	}
	l.load = load.New(load.Config{Name: ref.String(), Resolve: resolve,
		User: processtest.AppUser, Password: processtest.AppPassword, Schema: schema, Writers: 2, Readers: 1, Pause: 70 * time.Millisecond})
	run, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.load.Run(run) }()
	var once sync.Once
	var err error
	l.stop = func() error {
		once.Do(func() { cancel(); err = <-done })
		return err
	}
	if err := until(ctx, 20*time.Second, "clients write", func() error {
		if r := l.load.Report(); r.Acked < 5 {
			return fmt.Errorf("%d writes are acknowledged: %s", r.Acked, r.FirstError)
		}
		return nil
	}); err != nil {
		l.t.Fatal(err)
	}
}

// end ends everything of the lane, and nothing else.
func (l *lane) end() {
	l.pending.Wait()
	if l.stop != nil {
		_ = l.stop() // what it came to was looked at by finish, if the test came so far
	}
	if l.prober != nil {
		l.prober.end()
	}
	l.mu.Lock()
	children := []*child{l.holder, l.sleeper, l.server}
	l.mu.Unlock()
	for _, c := range children {
		if c != nil {
			if err := c.kill(); err != nil {
				l.t.Error(err)
			}
			<-c.told
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for _, g := range l.gates {
		if err := g.Kill(ctx); err != nil {
			l.t.Error(err)
		}
	}
	for _, m := range l.nodes {
		end(l.t, m)
	}
	if l.t.Failed() {
		l.tails()
	}
}

// tails shows the ends of the logs of a lane that failed.
func (l *lane) tails() {
	files, _ := filepath.Glob(filepath.Join(l.dir, "*.log"))
	more, _ := filepath.Glob(filepath.Join(l.dir, "*", "server.log"))
	for _, f := range append(files, more...) {
		b, err := os.ReadFile(f)
		if err == nil {
			l.t.Logf("%s:\n%s", strings.TrimPrefix(f, l.dir), b[max(0, len(b)-6000):])
		}
	}
}
