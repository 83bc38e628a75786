package mysql_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	driver "github.com/go-sql-driver/mysql"
	"golang.org/x/sync/errgroup"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/datacheck"
	"github.com/windlass-db/windlass/internal/demo/load"
	"github.com/windlass-db/windlass/internal/driver/dns"
	gatewaydriver "github.com/windlass-db/windlass/internal/driver/gateway"
	"github.com/windlass-db/windlass/internal/driver/local"
	"github.com/windlass-db/windlass/internal/driver/mysql"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/engine/enginetest"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/seed"
	"github.com/windlass-db/windlass/internal/strategy"
)

// The supervisor's account: the test itself comes by others, for Fence ends what is of this one.
const chainUser, chainPassword = "chain", "chain-secret"

// TestChain97 takes a cluster of MySQL through all of the strategy's stages, by the engine, with the handlers and the drivers that a
// supervisor has, on real servers, behind real gateways and a real name server, under load: create, verify, switch the storage, back,
// switch again, switch the gateway, tear down. No second version of MySQL can be had here, so it goes from 9.7 to 9.7.
func TestChain97(t *testing.T) {
	t.Parallel()
	w := newChain(t)
	stop := w.clients(t)
	w.stage(t, strategy.StageCreate, strategy.Forward)
	w.primaryIn(t, "blue")
	w.stage(t, strategy.StageVerify, strategy.Forward)
	for _, direction := range []strategy.Direction{strategy.Forward, strategy.Back, strategy.Forward} {
		before := w.load.Report().Acked
		w.stage(t, strategy.StageSwitchStorage, direction)
		cell := map[strategy.Direction]string{strategy.Forward: "green", strategy.Back: "blue"}[direction]
		w.primaryIn(t, cell)
		processtest.Until(t, 20*time.Second, "writes go on in "+cell, func() bool { return w.load.Report().Acked > before+20 })
		// trap 5: an event sleeps on every replica, and wakes on the new primary.
		if got := w.ask(t, w.node(t, cell), "SELECT CONCAT(@@global.event_scheduler, ' ', STATUS) FROM information_schema.EVENTS WHERE EVENT_NAME='tick'"); got != "ON ENABLED" {
			t.Errorf("scheduler and event in %s: %s", cell, got)
		}
	}
	w.stage(t, strategy.StageSwitchGateway, strategy.Forward)
	w.stage(t, strategy.StageTearDown, strategy.Forward)
	w.primaryIn(t, "green")
	stop()
	if len(w.c.Cells) != 1 || w.c.Cells[0].Name != "green" {
		t.Errorf("cells: %+v", w.c.Cells)
	}
	for _, id := range w.old {
		if s, err := w.nodes.Observe(t.Context(), bluegreen.Resource{ID: id}); err != nil || s.Exists {
			t.Errorf("%s is still there: %+v %v", id, s, err)
		}
	}
	r, err := w.load.Verify(t.Context(), w.open(t, w.node(t, "green")))
	if err != nil {
		t.Fatal(err)
	}
	if r.Lost != 0 || r.Duplicate != 0 || r.Errors != 0 || r.Acked < 100 {
		t.Errorf("what clients saw: %+v", r)
	}
	t.Logf("%+v", r)
}

// chain is a cluster with what a supervisor has over it.
type chain struct {
	c        fleet.Cluster
	campaign campaign.Campaign
	old      []string // ids of what is in the old cell
	nodes    *local.Provisioner
	gateways *gatewaydriver.Driver
	dns      *dns.Driver
	load     *load.Load
	handlers engine.Handlers
	storage  bluegreen.Storage
	journal  *enginetest.Memory
	actions  int64
}

type seedingDriver struct {
	*mysql.Driver
	*seed.Seeder
}

func newChain(t *testing.T) *chain {
	t.Helper()
	dir := t.TempDir()
	accounts := filepath.Join(dir, "accounts.sql")
	account := "'" + chainUser + "'@'%'"
	made := processtest.MySQLInitSQL + "GRANT SELECT ON performance_schema.* TO 'monitor'@'%';\nCREATE USER " + account + " IDENTIFIED BY '" + chainPassword + "';\n"
	// docs/nodes.md: on servers that were there the account may do exactly this, on a new one everything.
	had := made + strings.Join(mysql.Grants("mysql", account), ";\n") + ";\n"
	at := func(name string) string { return filepath.Join(dir, name) }
	for file, text := range map[string]string{at("monitor"): processtest.MonitorSecret, at("token"): "a-token-of-the-gateways", at("accounts.yaml"): "accounts: [{user: app, password: " + processtest.AppPassword + "}]\n", accounts + ".had": had, accounts: made + "GRANT ALL ON *.* TO " + account + " WITH GRANT OPTION;\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	processtest.Fetch(t, "mysql-9.7")
	program := at("windlass-gateway")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "github.com/windlass-db/windlass/cmd/windlass-gateway").CombinedOutput(); err != nil {
		t.Fatalf("build the gateway: %v: %s", err, out)
	}
	making := local.Config{Root: filepath.Join(dir, "nodes"), GatewayProgram: program, GatewayPort: processtest.FreePort(t), AccountsFile: at("accounts.yaml"), MonitorUser: processtest.MonitorUser, MonitorPasswordFile: at("monitor"), AdminTokenFile: at("token"), InitSQLFile: accounts + ".had", NodeOptions: []string{"sync-binlog=0", "innodb-flush-log-at-trx-commit=2"}}
	olds := local.New(making)
	making.InitSQLFile = accounts
	w := &chain{nodes: local.New(making), journal: enginetest.NewMemory(time.Now), gateways: gatewaydriver.New(at("token"), time.Now)}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := w.nodes.StopAll(ctx); err != nil {
			t.Error(err)
		}
	})
	blue := fleet.Cell{Name: "blue", Version: "9.7", Owner: "by hand", Nodes: make([]fleet.Node, 2)}
	var g errgroup.Group
	for i := range blue.Nodes {
		g.Go(func() error {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			s, err := olds.Create(ctx, bluegreen.Resource{ID: fmt.Sprintf("qa-orders-blue-%d", i+1), Kind: "node", Env: "qa", Cluster: "orders", Cell: "blue", Product: "mysql", Version: "9.7", Mark: blue.Owner})
			if err == nil {
				blue.Nodes[i] = *s.Node
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	addresses := []string{blue.Nodes[0].Address, blue.Nodes[1].Address}
	gateway, err := olds.Create(t.Context(), bluegreen.Resource{ID: "qa-orders-blue-gateway", Kind: "gateway", Env: "qa", Cluster: "orders", Cell: "blue", Mark: blue.Owner, Local: addresses, Servers: addresses})
	if err != nil {
		t.Fatal(err)
	}
	blue.Gateway = gateway.Gateway
	host, _, _ := strings.Cut(blue.Gateway.Address, ":")
	names := processtest.BIND(t, "windlass.test.", map[string]string{"orders.qa.windlass.test.": host})
	w.dns = &dns.Driver{Servers: map[string]dns.Server{"qa": {Address: names.Address(), Zone: names.Zone, KeyFile: names.KeyFile()}}}
	w.old = []string{blue.Nodes[0].Name, blue.Nodes[1].Name, blue.Gateway.Name}
	w.c = fleet.Cluster{Name: "orders", Env: "qa", Product: "mysql", Record: "orders.qa.windlass.test.", Cells: []fleet.Cell{blue}}
	w.ports(t)
	w.campaign = campaign.Campaign{Name: "raise", Strategy: "bluegreen", Product: "mysql", From: "9.7", To: "9.7", FromCell: "blue", ToCell: "green", Nodes: 1,
		Switch: campaign.Switch{HoldTTL: 8 * time.Second, Drain: 500 * time.Millisecond, Tries: 3, OnOpenTransaction: "call-off", MaxLag: 10 * time.Second, Timeout: time.Minute}, Verify: campaign.Verify{ChunkRows: 200, MaxLag: 5 * time.Second}, Drain: campaign.Drain{}}
	primary, replica := w.open(t, blue.Nodes[0]), w.open(t, blue.Nodes[1])
	for _, q := range append([]string{"SET GLOBAL super_read_only=0", "SET GLOBAL read_only=0", "SET GLOBAL event_scheduler=ON", "CREATE TABLE app.hours (at DATETIME(6))",
		"CREATE EVENT app.tick ON SCHEDULE EVERY 1 HOUR STARTS '2035-01-01 00:00:00' DO INSERT INTO app.hours VALUES (NOW(6))"}, inApp(load.Schema)...) {
		if _, err := primary.Exec(q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
	_, port, _ := strings.Cut(blue.Nodes[0].Address, ":")
	for _, q := range []string{"CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT=" + port + ", SOURCE_USER='" + chainUser + "', SOURCE_PASSWORD='" + chainPassword + "', SOURCE_AUTO_POSITION=1, SOURCE_CONNECT_RETRY=1, SOURCE_RETRY_COUNT=0, GET_SOURCE_PUBLIC_KEY=1", "START REPLICA"} {
		if _, err := replica.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// inApp makes the load's tables in the schema app.
func inApp(tables []string) []string {
	out := make([]string, len(tables))
	for i, stmt := range tables {
		out[i] = strings.Replace(stmt, "CREATE TABLE IF NOT EXISTS ", "CREATE TABLE app.", 1)
	}
	return out
}

// ports are made as a supervisor makes them.
func (w *chain) ports(t *testing.T) {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	db, err := mysql.New(mysql.Config{Admin: mysql.Account{User: chainUser, Password: mysql.Fixed(chainPassword)}, Gateway: func(g fleet.Gateway) (mysql.Gateway, error) { return w.gateways.Client(g) },
		Known: mysql.Known{Users: []string{processtest.MonitorUser, processtest.AdminUser}}, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	access := func(_ context.Context, n fleet.Node) (*driver.Config, error) {
		c := driver.NewConfig()
		c.Net, c.Addr, c.User, c.Passwd = "tcp", n.Address, chainUser, chainPassword
		return c, nil
	}
	seeder, err := seed.New(seed.Config{Access: access, Reserved: []string{processtest.MonitorUser}, Log: log, Mark: func(ctx context.Context, r bluegreen.SeedRequest) (string, error) {
		s, err := w.nodes.Observe(ctx, bluegreen.Resource{ID: r.Node.Name, Kind: "node"})
		return s.Mark, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	checker, err := datacheck.New(datacheck.Config{Access: access, Reserved: []string{chainUser, processtest.MonitorUser}, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	w.storage = seedingDriver{db, seeder}
	if w.handlers, err = engine.NewHandlers(bluegreen.Handlers(bluegreen.Ports{Provisioner: w.nodes, Storage: w.storage, Switcher: db, DataChecker: checker, Gateways: w.gateways, Records: w.dns})...); err != nil {
		t.Fatal(err)
	}
}

// stage runs a stage's action to its end.
func (w *chain) stage(t *testing.T, name string, direction strategy.Direction) {
	t.Helper()
	plan, ok := strategy.BlueGreen().Expand(name, direction)
	if !ok {
		t.Fatalf("no stage %s", name)
	}
	w.actions++
	id := w.actions
	w.journal.Add(engine.Assignment{ActionID: id, LeaseTTL: time.Minute, Campaign: w.campaign, Cluster: w.c, Plan: plan})
	began := time.Now()
	outcome, message := enginetest.Finish(t, w.journal, id, 3*time.Minute, func() engine.Handlers { return w.handlers }, engine.Options{RetryMax: time.Second, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	a, _, _ := w.journal.Action(id)
	if outcome != engine.Completed {
		for _, s := range a.Steps {
			t.Logf("%s: %s: %s %v", s.Kind, s.Phase, s.Message, s.Checks.Bad())
		}
		t.Fatalf("%s %s: %s: %s", name, direction, outcome, message)
	}
	w.c = a.Cluster
	t.Logf("%s %s: %v", name, direction, time.Since(began).Round(time.Millisecond))
}

func (w *chain) node(t *testing.T, cell string) fleet.Node {
	t.Helper()
	c, ok := w.c.Cell(cell)
	if !ok || len(c.Nodes) == 0 {
		t.Fatalf("no cell %s: %+v", cell, w.c)
	}
	seen, err := w.storage.Observe(t.Context(), w.c)
	if err != nil {
		t.Fatal(err)
	}
	p, ok := seen.Primary()
	if !ok || p.Cell != cell {
		t.Fatalf("the primary is not in %s: %+v", cell, seen.Nodes)
	}
	return c.Nodes[slices.IndexFunc(c.Nodes, func(n fleet.Node) bool { return n.Name == p.Node })]
}

// primaryIn sees one writable server, in the cell, and that all others replicate from it.
func (w *chain) primaryIn(t *testing.T, cell string) {
	t.Helper()
	p := w.node(t, cell)
	seen, err := w.storage.Observe(t.Context(), w.c)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range seen.Nodes {
		if n.Node != p.Name && (n.Role != fleet.RoleReplica || n.Source != p.Address || n.Error != "") {
			t.Errorf("with the primary %s: %+v", p.Name, n)
		}
	}
}

func (w *chain) open(t *testing.T, n fleet.Node) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", processtest.DSN(n.Address, processtest.AdminUser, processtest.AdminPassword, ""))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func (w *chain) ask(t *testing.T, n fleet.Node, query string) string {
	t.Helper()
	db := w.open(t, n)
	defer db.Close()
	var v sql.NullString
	if err := db.QueryRow(query).Scan(&v); err != nil {
		t.Fatalf("%s: %s: %v", n.Name, query, err)
	}
	return v.String
}

// clients put load on the cluster by its name, as applications do.
func (w *chain) clients(t *testing.T) (stop func()) {
	t.Helper()
	_, port, _ := strings.Cut(w.c.Cells[0].Gateway.Address, ":")
	w.load = load.New(load.Config{Name: "orders", User: processtest.AppUser, Password: processtest.AppPassword, Schema: "app", Readers: 1, Writers: 2, Pause: 10 * time.Millisecond,
		Resolve: func(ctx context.Context) (string, error) {
			host, err := w.dns.Lookup(ctx, "qa", w.c.Record)
			return net.JoinHostPort(host, port), err
		}})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.load.Run(ctx) }()
	end := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("load: %v", err)
		}
	})
	t.Cleanup(end)
	return end
}
