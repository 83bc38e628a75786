package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/switchover"
)

const supervisor, supervisorPassword = "supervisor", "supervisor-secret"

// world is a cluster of real servers with a driver over it.
type world struct {
	c       fleet.Cluster
	servers map[string]*processtest.Server // by node name
	d       *Driver
	term    int64
	cfg     Config
}

// newWorld starts a cluster: the first blue node is the primary, all others replicate from it. Names are blue-1, green-1, ….
func newWorld(t testing.TB, blue, green int, change ...func(*Config)) *world {
	t.Helper()
	return newWorldOf(t, "10.11", "11.8", blue, green, change...)
}

func newWorldOf(t testing.TB, old, now string, blue, green int, change ...func(*Config)) *world {
	t.Helper()
	w := &world{servers: map[string]*processtest.Server{}, term: 1}
	w.c = fleet.Cluster{Name: "orders", Env: "qa", Product: "mariadb", Cells: []fleet.Cell{{Name: "blue", Version: old}, {Name: "green", Version: now, Owner: "test"}}}
	var all []*processtest.Server
	for i, n := range []int{blue, green} {
		for k := range n {
			cell := &w.c.Cells[i]
			name := fmt.Sprintf("%s-%d", cell.Name, k+1)
			// A killed server loses nothing by this, only a machine does; and a busy disk is most of these tests' time.
			opts := []processtest.Option{processtest.With("sync-binlog=0", "innodb-flush-log-at-trx-commit=2")}
			if cell.Version == "10.11" {
				opts = append(opts, processtest.With("unix-socket=OFF")) // a plugin that only the new version has, see the way back
			}
			s := processtest.New(t, cell.Version, opts...)
			w.servers[name] = s
			all = append(all, s)
			cell.Nodes = append(cell.Nodes, fleet.Node{Name: name, Address: s.Address()})
		}
	}
	startAll(t, all, func(s *processtest.Server, ctx context.Context) error { return s.Start(ctx) })
	primary := all[0]
	for _, s := range all {
		w.account(t, s)
		if s == primary {
			s.Exec(t, "SET GLOBAL read_only=0")
			s.Exec(t, "CREATE TABLE app.t (id BIGINT NOT NULL PRIMARY KEY AUTO_INCREMENT, k VARCHAR(64) NOT NULL UNIQUE, n INT NOT NULL) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci")
			continue
		}
		// Every server has the same accounts and the schema app from its making; the table comes by replication.
		s.Exec(t, fmt.Sprintf("CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT=%d, MASTER_USER='%s', MASTER_PASSWORD='%s', MASTER_USE_GTID=slave_pos, MASTER_SSL=0, MASTER_CONNECT_RETRY=1", primary.Port, processtest.AdminUser, processtest.AdminPassword))
		s.Exec(t, "START SLAVE")
	}
	for _, s := range w.servers {
		if s != primary {
			s.CatchUp(t, primary)
		}
	}
	w.cfg = Config{
		Admin:           Account{User: supervisor, Password: Fixed(supervisorPassword)},
		Replication:     Account{User: processtest.AdminUser, Password: Fixed(processtest.AdminPassword)},
		WithoutGateways: true,
		Known:           Known{Users: []string{processtest.AdminUser}}, // the test's own pools
		BootsReadOnly:   func(context.Context, fleet.Node) (bool, error) { return true, nil },
		Log:             logTo(t),
	}
	for _, f := range change {
		f(&w.cfg)
	}
	w.d = w.driver(t)
	return w
}

// startAll starts servers at the same time.
func startAll[S any](t testing.TB, servers []S, start func(S, context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var g errgroup.Group
	for _, s := range servers {
		g.Go(func() error { return start(s, ctx) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

// account makes the supervisor's account, with exactly the grants that are documented.
func (w *world) account(t testing.TB, s *processtest.Server) {
	t.Helper()
	c, err := s.Admin.Conn(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	account := "'" + supervisor + "'@'%'"
	// The schema was made with the version's own default, which a seeded copy would not have.
	for _, q := range append([]string{"SET SESSION sql_log_bin=0", "ALTER DATABASE app CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci", "CREATE USER " + account + " IDENTIFIED BY '" + supervisorPassword + "'"}, Grants("mariadb", account)...) {
		if _, err := c.ExecContext(context.Background(), q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
	if _, err := c.ExecContext(context.Background(), "SET SESSION sql_log_bin=1"); err != nil {
		t.Fatal(err)
	}
}

func (w *world) driver(t testing.TB) *Driver {
	t.Helper()
	d, err := New(w.cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// settings are those of the tests: short, so that what has to time out does.
func settings() campaign.Switch {
	return campaign.Switch{HoldTTL: 8 * time.Second, Drain: 500 * time.Millisecond, Tries: 3, OnOpenTransaction: "call-off", MaxLag: 10 * time.Second, Timeout: 60 * time.Second}
}

// request is a switch under a new term.
func (w *world) request(cell, id string) switchover.Request {
	w.term++
	return switchover.Request{Cluster: w.c, ToCell: cell, Term: w.term, ID: id, Settings: settings(), Back: cell == "blue"}
}

func (w *world) server(name string) *processtest.Server { return w.servers[name] }

func (w *world) place(name string) place {
	for _, p := range places(w.c) {
		if p.node.Name == name {
			return p
		}
	}
	panic(name)
}

func (w *world) switchTo(t testing.TB, cell, id string) {
	t.Helper()
	if _, err := w.d.Switch(bg(t), w.request(cell, id)); err != nil {
		t.Fatal(err)
	}
	w.mustBe(t, cell)
}

// mustBe checks that exactly one node is writable, in the cell, that all others replicate from it, and that all hold the
// same rows.
func (w *world) mustBe(t testing.TB, cell string) *processtest.Server {
	t.Helper()
	p := w.onePrimary(t)
	if p.cell != cell {
		t.Fatalf("the primary is %s, not in cell %s", p, cell)
	}
	primary := w.servers[p.node.Name]
	for name, s := range w.servers {
		if s == primary {
			continue
		}
		w.sameRows(t, primary, s, name)
	}
	return primary
}

// onePrimary sees exactly one writable node.
func (w *world) onePrimary(t testing.TB) place {
	t.Helper()
	var found []place
	for _, p := range places(w.c) {
		var ro bool
		if err := w.servers[p.node.Name].Admin.QueryRow("SELECT @@global.read_only").Scan(&ro); err != nil {
			t.Fatalf("%s: %v", p, err)
		}
		if !ro {
			found = append(found, p)
		}
	}
	if len(found) != 1 {
		t.Fatalf("writable: %v", found)
	}
	return found[0]
}

func (w *world) sameRows(t testing.TB, primary, s *processtest.Server, name string) {
	t.Helper()
	sum := func(s *processtest.Server) string {
		var table, text string
		if err := s.Admin.QueryRow("CHECKSUM TABLE app.t").Scan(&table, &text); err != nil {
			t.Fatal(err)
		}
		return text
	}
	s.CatchUp(t, primary)
	if a, b := sum(primary), sum(s); a != b {
		t.Fatalf("%s has other rows than the primary: %s and %s", name, b, a)
	}
}

func bg(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func logTo(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(&testLog{t: t}, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// testLog writes into the test's log, and nowhere after its end.
type testLog struct {
	mu   sync.Mutex
	t    testing.TB
	over bool
	once sync.Once
}

func (l *testLog) Write(p []byte) (int, error) {
	l.once.Do(func() {
		l.t.Cleanup(func() {
			l.mu.Lock()
			l.over = true
			l.mu.Unlock()
		})
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over && testing.Verbose() {
		l.t.Log(strings.TrimSpace(string(p)))
	}
	return len(p), nil
}

// load writes rows with unique keys straight to whichever node takes them, and remembers the acknowledged ones. It stands in
// for clients without a gateway: they see errors while no node is writable, and try the same key again.
type load struct {
	w       *world
	stop    atomic.Bool
	done    sync.WaitGroup
	mu      sync.Mutex
	acked   []string
	unknown map[string]bool // the reply was lost
	pools   []*sql.DB
}

func (w *world) load(t testing.TB, workers int) *load {
	t.Helper()
	l := &load{w: w, unknown: map[string]bool{}}
	for _, p := range places(w.c) {
		db := w.servers[p.node.Name].Open(t, processtest.AppUser, processtest.AppPassword, "app")
		db.SetMaxOpenConns(workers)
		l.pools = append(l.pools, db)
	}
	for k := range workers {
		l.done.Add(1)
		go func() {
			defer l.done.Done()
			at := 0
			for n := 0; !l.stop.Load(); n++ {
				key := fmt.Sprintf("%s-%d-%d", t.Name(), k, n)
				for !l.stop.Load() {
					_, err := l.pools[at].Exec("INSERT INTO app.t (k, n) VALUES (?, ?)", key, n)
					if err == nil {
						l.mu.Lock()
						l.acked = append(l.acked, key)
						l.mu.Unlock()
						break
					}
					var dial *net.OpError
					if errors.As(err, &dial) && dial.Op == "dial" { // nothing was sent
						at = (at + 1) % len(l.pools)
						time.Sleep(10 * time.Millisecond)
						continue
					}
					if number(err) == 0 { // the answer was lost: it may be there
						l.mu.Lock()
						l.unknown[key] = true
						l.mu.Unlock()
						break
					}
					if number(err) == 1062 {
						t.Errorf("%s is there twice, and was not acknowledged", key)
						break
					}
					at = (at + 1) % len(l.pools)
					time.Sleep(time.Millisecond)
				}
				time.Sleep(10 * time.Millisecond)
			}
		}()
	}
	t.Cleanup(func() { l.stop.Store(true); l.done.Wait() })
	return l
}

func (l *load) count() int { l.mu.Lock(); defer l.mu.Unlock(); return len(l.acked) }

// more waits until that many more writes were acknowledged.
func (l *load) more(t testing.TB, n int) {
	t.Helper()
	want := l.count() + n
	processtest.Until(t, 20*time.Second, "more acknowledged writes", func() bool { return l.count() >= want })
}

// finish stops the load and checks every acknowledged write on every node.
func (l *load) finish(t testing.TB) {
	t.Helper()
	l.stop.Store(true)
	l.done.Wait()
	p := l.w.servers[l.w.onePrimary(t).node.Name]
	for name, s := range l.w.servers {
		if s != p {
			s.CatchUp(t, p)
		}
		have := map[string]bool{}
		rows, err := s.Admin.Query("SELECT k FROM app.t")
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var k string
			if err := rows.Scan(&k); err != nil {
				t.Fatal(err)
			}
			have[k] = true
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		rows.Close()
		lost := 0
		for _, k := range l.acked {
			if !have[k] {
				lost++
			}
		}
		if lost > 0 {
			t.Errorf("%s lost %d of %d acknowledged writes", name, lost, len(l.acked))
		}
	}
	t.Logf("%d writes acknowledged, %d unknown", len(l.acked), len(l.unknown))
}

// result finds a check by name.
func result(t testing.TB, rs check.Results, name string) check.Result {
	t.Helper()
	for _, r := range rs {
		if r.Name == name {
			return r
		}
	}
	t.Fatalf("no check is called %s", name)
	return check.Result{}
}
