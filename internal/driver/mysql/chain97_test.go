package mysql_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"os"
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

// TestChain97 takes a cluster of MySQL through the strategy's stages, by the engine, with the handlers and the drivers that a
// supervisor has, on real servers, while it is written to: create, verify, switch the storage, back, switch again, tear down. No
// second version of MySQL can be had here, so it goes from 9.7 to 9.7. It has no gateway: its client looks for the primary by itself.
func TestChain97(t *testing.T) {
	t.Parallel()
	w := newChain(t)
	stop := w.write(t)
	w.stage(t, strategy.StageCreate, strategy.Forward)
	w.primaryIn(t, "blue")
	w.stage(t, strategy.StageVerify, strategy.Forward)
	for _, direction := range []strategy.Direction{strategy.Forward, strategy.Back, strategy.Forward} {
		before := w.acked()
		w.stage(t, strategy.StageSwitchStorage, direction)
		cell := map[strategy.Direction]string{strategy.Forward: "green", strategy.Back: "blue"}[direction]
		w.primaryIn(t, cell)
		processtest.Until(t, 20*time.Second, "writes go on in "+cell, func() bool { return w.acked() > before+20 })
		// trap 5: an event sleeps on every replica, and wakes on the new primary.
		if got := w.ask(t, w.node(t, cell), "SELECT CONCAT(@@global.event_scheduler, ' ', STATUS) FROM information_schema.EVENTS WHERE EVENT_NAME='tick'"); got != "ON ENABLED" {
			t.Errorf("scheduler and event in %s: %s", cell, got)
		}
	}
	w.stage(t, strategy.StageTearDown, strategy.Forward)
	w.primaryIn(t, "green")
	acked := stop()
	if len(w.c.Cells) != 1 || w.c.Cells[0].Name != "green" {
		t.Errorf("cells: %+v", w.c.Cells)
	}
	for _, n := range w.blue {
		if s, err := w.nodes.Observe(t.Context(), bluegreen.Resource{ID: n.Name, Kind: "node"}); err != nil || s.Exists {
			t.Errorf("%s is still there: %+v %v", n.Name, s, err)
		}
	}
	db := w.open(t, w.node(t, "green"))
	missing := 0
	for _, id := range acked {
		var n int
		if err := db.QueryRow("SELECT COUNT(*) FROM app.t WHERE id=?", id).Scan(&n); err != nil {
			t.Fatal(err)
		}
		if n != 1 {
			missing++
		}
	}
	if missing > 0 {
		t.Errorf("%d of %d acknowledged writes are lost", missing, len(acked))
	}
	t.Logf("%d writes were acknowledged, none is lost", len(acked))
}

// chain is a cluster with what a supervisor has over it.
type chain struct {
	c        fleet.Cluster
	blue     []fleet.Node
	campaign campaign.Campaign
	nodes    *local.Provisioner
	handlers engine.Handlers
	storage  bluegreen.Storage
	journal  *enginetest.Memory
	actions  int64

	mu    sync.Mutex
	ids   []int64 // of acknowledged writes
	where []string
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
	made := processtest.MySQLInitSQL + "CREATE USER " + account + " IDENTIFIED BY '" + chainPassword + "';\n"
	// docs/nodes.md: on servers that were there the account may do exactly this, on a new one everything.
	had := made + strings.Join(mysql.Grants("mysql", account), ";\n") + ";\n"
	for file, text := range map[string]string{accounts + ".had": had, accounts: made + "GRANT ALL ON *.* TO " + account + " WITH GRANT OPTION;\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	processtest.Fetch(t, "mysql-9.7")
	making := local.Config{Root: filepath.Join(dir, "nodes"), InitSQLFile: accounts + ".had", NodeOptions: []string{"sync-binlog=0", "innodb-flush-log-at-trx-commit=2"}}
	olds := local.New(making)
	making.InitSQLFile = accounts
	w := &chain{nodes: local.New(making), journal: enginetest.NewMemory(time.Now)}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := w.nodes.StopAll(ctx); err != nil {
			t.Error(err)
		}
	})
	w.ports(t)
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
	w.blue = blue.Nodes
	w.is(fleet.Cluster{Name: "orders", Env: "qa", Product: "mysql", Cells: []fleet.Cell{blue}})
	w.campaign = campaign.Campaign{Name: "raise", Strategy: "bluegreen", Product: "mysql", From: "9.7", To: "9.7", FromCell: "blue", ToCell: "green", Nodes: 1,
		Switch: campaign.Switch{HoldTTL: 8 * time.Second, Drain: 500 * time.Millisecond, Tries: 3, OnOpenTransaction: "call-off", MaxLag: 10 * time.Second, Timeout: time.Minute}, Verify: campaign.Verify{ChunkRows: 200, MaxLag: 5 * time.Second}}
	primary, replica := w.open(t, blue.Nodes[0]), w.open(t, blue.Nodes[1])
	for _, q := range []string{"SET GLOBAL super_read_only=0", "SET GLOBAL read_only=0", "SET GLOBAL event_scheduler=ON", "CREATE TABLE app.t (id BIGINT NOT NULL PRIMARY KEY, v VARCHAR(40))", "CREATE TABLE app.hours (at DATETIME(6))",
		"CREATE EVENT app.tick ON SCHEDULE EVERY 1 HOUR STARTS '2035-01-01 00:00:00' DO INSERT INTO app.hours VALUES (NOW(6))",
		"INSERT INTO app.t SELECT -(a.x * 100 + b.x * 10 + c.x) - 1, 'from before' FROM " + digits("a") + ", " + digits("b") + ", " + digits("c")} {
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

func digits(name string) string {
	return "(SELECT 0 AS x UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9) " + name
}

// ports are made as a supervisor makes them.
func (w *chain) ports(t *testing.T) {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	db, err := mysql.New(mysql.Config{Admin: mysql.Account{User: chainUser, Password: mysql.Fixed(chainPassword)}, WithoutGateways: true,
		Known: mysql.Known{Users: []string{processtest.AppUser, processtest.AdminUser}}, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	access := func(_ context.Context, n fleet.Node) (*driver.Config, error) {
		c := driver.NewConfig()
		c.Net, c.Addr, c.User, c.Passwd = "tcp", n.Address, chainUser, chainPassword
		return c, nil
	}
	seeder, err := seed.New(seed.Config{Access: access, Log: log, Mark: func(ctx context.Context, r bluegreen.SeedRequest) (string, error) {
		s, err := w.nodes.Observe(ctx, bluegreen.Resource{ID: r.Node.Name, Kind: "node"})
		return s.Mark, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	checker, err := datacheck.New(datacheck.Config{Access: access, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	w.storage = seedingDriver{db, seeder}
	if w.handlers, err = engine.NewHandlers(bluegreen.Handlers(bluegreen.Ports{Provisioner: w.nodes, Storage: w.storage, Switcher: db, DataChecker: checker})...); err != nil {
		t.Fatal(err)
	}
}

// stage runs a stage's action to its end, without what concerns gateways.
func (w *chain) stage(t *testing.T, name string, direction strategy.Direction) {
	t.Helper()
	plan, ok := strategy.BlueGreen().Expand(name, direction)
	if !ok {
		t.Fatalf("no stage %s", name)
	}
	plan.Steps = slices.DeleteFunc(plan.Steps, func(s strategy.Step) bool { return s.Kind == strategy.ProvisionGateway })
	w.actions++
	id := w.actions
	w.journal.Add(engine.Assignment{ActionID: id, LeaseTTL: time.Minute, Campaign: w.campaign, Cluster: w.c, Plan: plan})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	began := time.Now()
	for {
		if outcome, message := w.journal.Ended(id); outcome != "" {
			a, _, _ := w.journal.Action(id)
			if outcome != engine.Completed {
				for _, s := range a.Steps {
					t.Logf("%s: %s: %s %v", s.Kind, s.Phase, s.Message, s.Checks.Bad())
				}
				t.Fatalf("%s %s: %s: %s", name, direction, outcome, message)
			}
			w.is(a.Cluster)
			t.Logf("%s %s: %v", name, direction, time.Since(began).Round(time.Millisecond))
			return
		}
		a, ok := w.journal.Lease(id)
		if !ok {
			select {
			case <-ctx.Done():
				a, _, _ := w.journal.Action(id)
				for _, s := range a.Steps {
					t.Logf("%s: %s: %v", s.Kind, s.Phase, s.Checks.Bad())
				}
				t.Fatalf("%s %s: %v", name, direction, ctx.Err())
			case <-time.After(50 * time.Millisecond):
			}
			continue
		}
		if _, err := engine.Run(ctx, w.journal, w.handlers, a, engine.Options{RetryMax: time.Second, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}); err != nil {
			t.Fatalf("%s %s: %v", name, direction, err)
		}
	}
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

func (w *chain) acked() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.ids)
}

// write writes rows to whichever server takes them, as a client without a gateway has to. Every row is tried once.
func (w *chain) write(t *testing.T) (stop func() []int64) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	pools := map[string]*sql.DB{}
	go func() {
		defer close(done)
		defer func() {
			for _, db := range pools {
				db.Close()
			}
		}()
		pace := time.NewTicker(10 * time.Millisecond)
		defer pace.Stop()
		at := 0
		for id := int64(1); ctx.Err() == nil; id++ {
			<-pace.C
			all := w.addresses()
			address := all[at%len(all)]
			db := pools[address]
			if db == nil {
				var err error
				if db, err = sql.Open("mysql", processtest.DSN(address, processtest.AppUser, processtest.AppPassword, "app")); err != nil {
					t.Error(err)
					return
				}
				db.SetMaxIdleConns(1)
				pools[address] = db
			}
			if _, err := db.ExecContext(context.Background(), "INSERT INTO t VALUES (?, 'a write')", id); err != nil {
				db.Close()
				delete(pools, address)
				at++
				continue
			}
			w.mu.Lock()
			w.ids = append(w.ids, id)
			w.mu.Unlock()
		}
	}()
	var once sync.Once
	end := func() { once.Do(func() { cancel(); <-done }) }
	t.Cleanup(end)
	return func() []int64 {
		end()
		return w.ids
	}
}

// addresses are where clients look for a server that takes writes.
func (w *chain) addresses() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.where
}

// is takes the cluster as a stage has left it.
func (w *chain) is(c fleet.Cluster) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.c, w.where = c, nil
	for _, cell := range c.Cells {
		for _, n := range cell.Nodes {
			w.where = append(w.where, n.Address)
		}
	}
}
