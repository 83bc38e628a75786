package inplace_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/demo/load"
	"github.com/windlass-db/windlass/internal/driver/gateway"
	"github.com/windlass-db/windlass/internal/driver/local"
	"github.com/windlass-db/windlass/internal/driver/mysql"
	"github.com/windlass-db/windlass/internal/driver/process"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/engine/enginetest"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/inplace"
	"github.com/windlass-db/windlass/internal/strategy"
)

// world is one cell of three MariaDB 10.11 behind a gateway in a process of its own, under writers and readers.
type world struct {
	t       *testing.T
	root    string
	nodes   *local.Provisioner
	db      *mysql.Driver
	gates   *gateway.Driver
	cluster fleet.Cluster
	mem     *enginetest.Memory
	actions int64
	load    *load.Load
	reads   atomic.Int64
	stop    context.CancelFunc
	done    sync.WaitGroup

	failed atomic.Pointer[error] // the first error of a reader
	idle   []*sql.Conn           // readers that said something once, and will again
}

const tester = "CREATE USER 'tester'@'%' IDENTIFIED BY 'tester-secret';\nGRANT ALL ON *.* TO 'tester'@'%';\n"

// noSeed is the storage for the one handler that is bluegreen's.
type noSeed struct{ *mysql.Driver }

func (noSeed) Seeded(context.Context, bluegreen.SeedRequest) (bool, check.Results, error) {
	return false, nil, errors.New("nothing is seeded here")
}

func (noSeed) Seed(context.Context, bluegreen.SeedRequest, json.RawMessage, bluegreen.Save) error {
	return errors.New("nothing is seeded here")
}

func secret(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func newWorld(t *testing.T, nodes int) *world {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "windlass-gateway")
	if out, err := exec.Command("go", "build", "-o", program, "github.com/windlass-db/windlass/cmd/windlass-gateway").CombinedOutput(); err != nil {
		t.Fatalf("build the gateway: %v: %s", err, out)
	}
	token := secret(t, dir, "token", "an-admin-token-of-32-characters!")
	w := &world{t: t, root: filepath.Join(dir, "nodes"), mem: enginetest.NewMemory(time.Now), gates: gateway.New(token, time.Now)}
	w.nodes = local.New(local.Config{Root: w.root, InitSQLFile: secret(t, dir, "init.sql", processtest.InitSQL+tester), GatewayProgram: program, GatewayPort: processtest.FreePort(t),
		AccountsFile: secret(t, dir, "accounts.yaml", fmt.Sprintf("accounts:\n  - user: %s\n    password: %s\n", processtest.AppUser, processtest.AppPassword)),
		MonitorUser:  processtest.MonitorUser, MonitorPasswordFile: secret(t, dir, "monitor", processtest.MonitorSecret), AdminTokenFile: token,
		// The new version's default collations are kept away, in the option file, as the preflight asks for.
		NodeOptions: []string{"character-set-server=utf8mb4", "collation-server=utf8mb4_general_ci", "loose-character-set-collations="}})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := w.nodes.StopAll(ctx); err != nil {
			t.Error(err)
		}
	})
	ctx := within(t, 2*time.Minute)
	cell := fleet.Cell{Name: "blue", Version: "10.11", Owner: "site"}
	var addresses []string
	for i := range nodes {
		st, err := w.nodes.Create(ctx, w.resource(fmt.Sprintf("orders-%d", i+1), "node"))
		if err != nil {
			t.Fatal(err)
		}
		cell.Nodes = append(cell.Nodes, *st.Node)
		addresses = append(addresses, st.Node.Address)
	}
	w.cluster = fleet.Cluster{Name: "orders", Env: "qa", Product: "mariadb", Record: "orders.qa.test.", Cells: []fleet.Cell{cell}}
	var err error
	w.db, err = mysql.New(mysql.Config{
		Admin:         mysql.Account{User: processtest.AdminUser, Password: mysql.Fixed(processtest.AdminPassword)},
		Replication:   mysql.Account{User: processtest.AdminUser, Password: mysql.Fixed(processtest.AdminPassword)},
		Gateway:       func(g fleet.Gateway) (mysql.Gateway, error) { return w.gates.Client(g) },
		Known:         mysql.Known{Users: []string{"tester", processtest.MonitorUser}},
		BootsReadOnly: func(context.Context, fleet.Node) (bool, error) { return true, nil },
		Log:           w.log(),
	})
	if err != nil {
		t.Fatal(err)
	}
	// The site's own set-up: the first node is the primary, the others follow it.
	w.exec("orders-1", "SET GLOBAL read_only=0")
	if err := errors.Join(w.db.Fence(ctx, w.cluster, 1), w.db.Replicate(ctx, w.cluster, "blue", 1)); err != nil {
		t.Fatal(err)
	}
	for _, stmt := range load.Schema {
		w.exec("orders-1", "USE app", stmt)
	}
	r := w.resource("orders-gateway", "gateway")
	r.Local, r.Servers = addresses, addresses
	g, err := w.nodes.Create(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	w.cluster.Cells[0].Gateway = g.Gateway
	processtest.Until(t, 20*time.Second, "the gateway routes to the primary and reads from every replica", func() bool {
		c, err := w.gates.Client(*g.Gateway)
		if err != nil {
			t.Fatal(err)
		}
		s, err := c.Status(ctx)
		return err == nil && s.Writer.Primary == cell.Nodes[0].Address && s.ReadOnly != nil && s.ReadOnly.Route == "open"
	})
	return w
}

func (w *world) resource(id, kind string) bluegreen.Resource {
	return bluegreen.Resource{ID: id, Kind: kind, Env: "qa", Cluster: "orders", Cell: "blue", Product: "mariadb", Version: "10.11", Mark: "site", Term: 1}
}

func (w *world) log() *slog.Logger {
	return slog.New(slog.NewTextHandler(w.t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func (w *world) address(node string) string {
	for _, n := range w.cluster.Cells[0].Nodes {
		if n.Name == node {
			return n.Address
		}
	}
	w.t.Fatalf("no node is called %s", node)
	return ""
}

// on opens a connection of the test's own to a node.
func (w *world) on(node string, do func(c *sql.Conn)) {
	w.t.Helper()
	db, err := sql.Open("mysql", processtest.DSN(w.address(node), "tester", "tester-secret", ""))
	if err != nil {
		w.t.Fatal(err)
	}
	defer db.Close()
	c, err := db.Conn(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	do(c)
}

func (w *world) exec(node string, stmts ...string) {
	w.t.Helper()
	w.on(node, func(c *sql.Conn) {
		for _, s := range stmts {
			if _, err := c.ExecContext(context.Background(), s); err != nil {
				w.t.Fatalf("%s: %s: %v", node, s, err)
			}
		}
	})
}

// start puts writers on the writer endpoint and, if wanted, readers on the read-only one.
func (w *world) start(readers bool) {
	g := w.cluster.Cells[0].Gateway
	w.load = load.New(load.Config{Name: "orders", Resolve: func(context.Context) (string, error) { return g.Address, nil }, User: processtest.AppUser, Password: processtest.AppPassword, Schema: "app", Writers: 3, Readers: 1, Pause: 20 * time.Millisecond})
	ctx, cancel := context.WithCancel(context.Background())
	w.stop = cancel
	w.t.Cleanup(func() { cancel(); w.done.Wait() })
	w.done.Go(func() {
		if err := w.load.Run(ctx); err != nil {
			w.t.Error(err)
		}
	})
	w.more(20)
	if !readers {
		return
	}
	db, err := sql.Open("mysql", processtest.DSN(g.ReadOnly, processtest.AppUser, processtest.AppPassword, "app"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { db.Close() })
	for range 2 {
		c, err := db.Conn(ctx)
		if err != nil {
			w.t.Fatal(err)
		}
		w.done.Go(func() {
			defer c.Close()
			for ctx.Err() == nil {
				var n int
				if err := c.QueryRowContext(context.Background(), "SELECT COUNT(*) FROM orders WHERE id < 100").Scan(&n); err != nil {
					w.failed.CompareAndSwap(nil, &err)
					return
				}
				w.reads.Add(1)
				select {
				case <-ctx.Done():
				case <-time.After(20 * time.Millisecond):
				}
			}
		})
	}
	for range 4 {
		c, err := db.Conn(ctx)
		if err != nil {
			w.t.Fatal(err)
		}
		w.t.Cleanup(func() { c.Close() })
		w.idle = append(w.idle, c)
	}
	w.wake()
}

// wake lets the idle readers say something.
func (w *world) wake() {
	w.t.Helper()
	for i, c := range w.idle {
		if _, err := c.ExecContext(context.Background(), "DO 1"); err != nil {
			w.t.Errorf("idle reader %d: %v", i, err)
		}
	}
}

// more waits until so many more writes were acknowledged.
func (w *world) more(n int64) {
	w.t.Helper()
	want := w.load.Report().Acked + n
	processtest.Until(w.t, time.Minute, "more writes", func() bool { return w.load.Report().Acked >= want })
}

func (w *world) campaign() campaign.Campaign {
	c := campaign.Defaults()
	c.Name, c.Strategy, c.Product, c.From, c.To, c.FromCell, c.ToCell = "raise", "inplace", "mariadb", "10.11", "11.8", "blue", "blue"
	c.Switch.MaxLag, c.Switch.MinInterval, c.Switch.HoldTTL = 20*time.Second, 0, 30*time.Second // the hold outlives a lease
	return c
}

func (w *world) handlers() engine.Handlers {
	list := inplace.Handlers(inplace.Ports{Nodes: w.nodes, Storage: w.db, Switcher: w.db, Gateways: w.gates, SwitchPoints: append(mysql.Points(), mysql.UndoPoints()...)})
	for _, h := range bluegreen.Handlers(bluegreen.Ports{Storage: noSeed{w.db}, Switcher: w.db, Gateways: w.gates}) {
		if h.Kind == strategy.ProveWrites {
			list = append(list, h)
		}
	}
	hs, err := engine.NewHandlers(list...)
	if err != nil {
		w.t.Fatal(err)
	}
	return hs
}

// stage takes the cluster through a stage, or back, by one supervisor after the other until it has ended. at may end the supervisor.
func (w *world) stage(name string, dir strategy.Direction, at func(engine.Edge)) engine.Outcome {
	w.t.Helper()
	plan, ok := strategy.InPlace().Expand(name, dir)
	if !ok {
		w.t.Fatalf("no stage is called %s", name)
	}
	w.actions++
	id := w.actions
	w.mem.Add(engine.Assignment{ActionID: id, LeaseTTL: 8 * time.Second, Campaign: w.campaign(), Cluster: w.cluster, Plan: plan})
	began := time.Now()
	settle := bluegreen.Settle(bluegreen.Ports{Storage: noSeed{w.db}})
	outcome, message := enginetest.Finish(w.t, w.mem, id, 4*time.Minute, w.handlers, engine.Options{Log: w.log(), OnLease: settle, At: at})
	a, _, _ := w.mem.Action(id)
	w.cluster = a.Cluster
	w.t.Logf("%s %s: %s after %v: %s", name, dir, outcome, time.Since(began).Round(time.Millisecond), message)
	return outcome
}

// versions sees which version every node runs, as its server says, which one is writable, and where the others replicate from.
func (w *world) versions(primary string, want map[string]string) {
	w.t.Helper()
	seen, err := w.db.Observe(within(w.t, 30*time.Second), w.cluster)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, n := range seen.Nodes {
		role := fleet.RoleReplica
		if n.Node == primary {
			role = fleet.RolePrimary
		}
		if n.Role != role || !strings.HasPrefix(n.Version, want[n.Node]+".") || n.Error != "" || role == fleet.RoleReplica && n.Source != w.address(primary) {
			w.t.Errorf("%s is %s on %s, from %s %s; want %s on %s", n.Node, n.Role, n.Version, n.Source, n.Error, role, want[n.Node])
		}
	}
}

// finish ends the clients, and holds the ledger against every node: no acknowledged write is lost, none is there twice, nobody saw an error.
func (w *world) finish(primary string) {
	w.t.Helper()
	w.more(20)
	w.wake()
	w.stop()
	w.done.Wait()
	if err := w.failed.Load(); err != nil {
		w.t.Errorf("a reader saw an error: %v", *err)
	}
	var position string
	w.on(primary, func(c *sql.Conn) {
		if err := c.QueryRowContext(context.Background(), "SELECT @@global.gtid_binlog_pos").Scan(&position); err != nil {
			w.t.Fatal(err)
		}
	})
	for _, n := range w.cluster.Cells[0].Nodes {
		if n.Name != primary {
			w.on(n.Name, func(c *sql.Conn) {
				var late int
				if err := c.QueryRowContext(context.Background(), "SELECT MASTER_GTID_WAIT(?, 30)", position).Scan(&late); err != nil || late != 0 {
					w.t.Errorf("%s did not reach %s: %d, %v", n.Name, position, late, err)
				}
			})
		}
		db, err := sql.Open("mysql", processtest.DSN(n.Address, "tester", "tester-secret", ""))
		if err != nil {
			w.t.Fatal(err)
		}
		r, err := w.load.Verify(within(w.t, 30*time.Second), db)
		db.Close()
		if err != nil {
			w.t.Fatal(err)
		}
		w.t.Logf("%s: %+v, %d reads", n.Name, r, w.reads.Load())
		if r.Lost > 0 || r.Duplicate > 0 || r.Errors > 0 || r.Acked < 40 {
			w.t.Errorf("%s: %+v", n.Name, r)
		}
	}
}

func (w *world) spec(node string) process.Spec {
	return process.Spec{Name: node, Dir: filepath.Join(w.root, node)}
}

// A cell of three real servers goes from 10.11 to 11.8 under writers and readers: the replicas, the primary by a switch, there and
// back and there again, and the old primary last. Nobody sees an error, and no acknowledged write is lost.
func TestMariaDBInPlaceUnderLoad(t *testing.T) {
	w := newWorld(t, 3)
	w.start(true)
	forward := func(stage string) {
		t.Helper()
		if o := w.stage(stage, strategy.Forward, nil); o != engine.Completed {
			t.Fatalf("%s: %s", stage, o)
		}
		w.more(20)
		w.wake()
	}
	forward(strategy.StageUpgradeReplicas)
	w.versions("orders-1", map[string]string{"orders-1": "10.11", "orders-2": "11.8", "orders-3": "11.8"})
	forward(strategy.StageSwitchPrimary)
	primary := ""
	for _, n := range []string{"orders-2", "orders-3"} {
		w.on(n, func(c *sql.Conn) {
			var ro bool
			if err := c.QueryRowContext(context.Background(), "SELECT @@global.read_only").Scan(&ro); err != nil {
				t.Fatal(err)
			}
			if !ro {
				primary = n
			}
		})
	}
	w.versions(primary, map[string]string{"orders-1": "10.11", "orders-2": "11.8", "orders-3": "11.8"})
	if o := w.stage(strategy.StageSwitchPrimary, strategy.Back, nil); o != engine.Completed {
		t.Fatalf("the way back: %s", o)
	}
	w.versions("orders-1", map[string]string{"orders-1": "10.11", "orders-2": "11.8", "orders-3": "11.8"})
	w.more(20)
	forward(strategy.StageSwitchPrimary)
	forward(strategy.StageUpgradeLast)
	seen, err := w.db.Observe(within(t, 30*time.Second), w.cluster)
	if err != nil {
		t.Fatal(err)
	}
	p, _ := seen.Primary()
	w.versions(p.Node, map[string]string{"orders-1": "11.8", "orders-2": "11.8", "orders-3": "11.8"})
	w.finish(p.Node)
	cell := w.cluster.Cells[0]
	if cell.Version != "11.8" {
		t.Errorf("the state says %s", cell.Version)
	}
	for _, n := range cell.Nodes {
		st, err := w.nodes.Observe(within(t, time.Minute), w.resource(n.Name, "node"))
		if err != nil || st.Kept != "" || n.Version != "" {
			t.Errorf("%s: %+v, %+v, %v", n.Name, n, st, err)
		}
	}
}

// Two real servers, and what goes wrong: the node is killed while the new version brings its tables up, the supervisor at places inside the
// raising, the way back and the switch. The copy is put back and the node raised again; the switch is completed by the next supervisor; no
// acknowledged write is lost.
func TestMariaDBInPlaceFaults(t *testing.T) {
	w := newWorld(t, 2)
	w.start(false)
	// killOnce ends the supervisor at each of the places, once.
	killOnce := func(places ...string) func(engine.Edge) {
		var mu sync.Mutex
		return func(e engine.Edge) {
			mu.Lock()
			i := slices.Index(places, e.Point)
			if i >= 0 && e.Point != "" {
				places = slices.Delete(places, i, i+1)
			}
			mu.Unlock()
			if i >= 0 && e.Point != "" {
				t.Logf("the supervisor is killed at %s", e)
				runtime.Goexit()
			}
		}
	}
	stage := func(name string, dir strategy.Direction, at func(engine.Edge)) {
		t.Helper()
		if o := w.stage(name, dir, at); o != engine.Completed {
			t.Fatalf("%s %s: %s", name, dir, o)
		}
		w.more(20)
	}

	var once sync.Once
	killed := make(chan error, 1)
	w.nodes.Point = func(place string) error {
		if place == "kept" {
			once.Do(func() {
				go func() { // as soon as the new version runs on the data
					for stop := time.Now().Add(time.Minute); time.Now().Before(stop); time.Sleep(time.Millisecond) {
						if state, _, err := w.spec("orders-2").Status(); err == nil && state == process.Running {
							killed <- w.spec("orders-2").Kill(context.Background())
							return
						}
					}
					killed <- errors.New("the new version was never seen running")
				}()
			})
		}
		return nil
	}
	stage(strategy.StageUpgradeReplicas, strategy.Forward, killOnce("taken-out", "node-raised"))
	if err := <-killed; err != nil {
		t.Fatal(err)
	}
	w.versions("orders-1", map[string]string{"orders-1": "10.11", "orders-2": "11.8"})

	stage(strategy.StageUpgradeReplicas, strategy.Back, killOnce("node-restored"))
	w.versions("orders-1", map[string]string{"orders-1": "10.11", "orders-2": "10.11"})

	stage(strategy.StageUpgradeReplicas, strategy.Forward, nil)
	stage(strategy.StageSwitchPrimary, strategy.Forward, killOnce("after-demote", "after-promote"))
	w.versions("orders-2", map[string]string{"orders-1": "10.11", "orders-2": "11.8"})
	stage(strategy.StageSwitchPrimary, strategy.Back, killOnce("after-note-promotion"))
	w.versions("orders-1", map[string]string{"orders-1": "10.11", "orders-2": "11.8"})
	w.finish("orders-1")
}
