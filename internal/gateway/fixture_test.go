package gateway

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/gateway/adminapi"
	"github.com/windlass-db/windlass/internal/wire"
)

// cluster is a primary and a replica of two versions, which tests move the role between.
type cluster struct {
	primary, replica *processtest.Server
	term             int64
	switches         int
	program          string // windlass-gateway, once it is built
}

func newCluster(t testing.TB) *cluster {
	options := []string{"gtid-strict-mode=1", "character-set-server=utf8mb4", "collation-server=utf8mb4_general_ci", "lock-wait-timeout=5"}
	a, b := processtest.Pair(t, "10.11", "11.8", processtest.With(options...))
	b.Exec(t, "SET GLOBAL character_set_collations=''")
	a.Exec(t, "CREATE DATABASE gw CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci")
	b.CatchUp(t, a)
	return &cluster{primary: a, replica: b, term: 1, program: filepath.Join(t.TempDir(), "windlass-gateway")}
}

// gate is a gateway that serves in the test's process.
type gate struct {
	*Gateway
	writer, readOnly string
	api              *adminapi.Client
	stop             func() error
}

func writeFile(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// patience is how long a test waits for what comes sooner on a machine that is not overloaded, and how long nothing may have
// to take. No test counts on anything being done in less.
const patience = 20 * time.Second

const testToken = "a-token-of-the-tests"

// gateway starts one for the cluster; its own cell is that of the servers in local, or both.
func (c *cluster) gateway(t testing.TB, change ...func(*Config)) *gate {
	t.Helper()
	return gatewayOf(t, []string{c.primary.Address(), c.replica.Address()}, change...)
}

// gatewayOf starts one for those servers.
func gatewayOf(t testing.TB, all []string, change ...func(*Config)) *gate {
	t.Helper()
	cfg := Config{
		Name: t.Name(), Listen: "127.0.0.1:0", ReadOnlyListen: "127.0.0.1:0",
		Admin:        AdminConfig{Listen: "127.0.0.1:0", TokenFile: writeFile(t, "token", testToken+"\n")},
		AccountsFile: writeFile(t, "accounts.yaml", fmt.Sprintf("accounts:\n  - user: %s\n    password: %s\n", processtest.AppUser, processtest.AppPassword)),
		Monitor:      MonitorConfig{User: processtest.MonitorUser, PasswordFile: writeFile(t, "monitor", processtest.MonitorSecret), Interval: Duration(100 * time.Millisecond)},
		Servers:      ServersConfig{Local: all, All: all},
		StateFile:    filepath.Join(t.TempDir(), "state.json"),
		Timeouts:     Timeouts{Observe: Duration(5 * time.Second), NoPrimary: Duration(patience), Move: Duration(patience), Connect: Duration(patience), Login: Duration(patience)},
		delicateFor:  time.Minute,
	}
	for _, f := range change {
		f(&cfg)
	}
	cfg.complete()
	return startGate(t, cfg)
}

func startGate(t testing.TB, cfg Config) *gate {
	t.Helper()
	log := slog.New(slog.NewTextHandler(&testWriter{t: t}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	g, err := New(context.Background(), cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	w, r, a := g.Addresses()
	gt := &gate{Gateway: g, writer: w, readOnly: r, api: adminapi.NewClient("http://"+a, testToken, &http.Client{})}
	gt.stop = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(2 * patience):
			return fmt.Errorf("the gateway did not stop")
		}
	})
	t.Cleanup(func() {
		if err := gt.stop(); err != nil {
			t.Error(err)
		}
	})
	return gt
}

// testWriter writes logs into the test's, and nowhere after its end.
type testWriter struct {
	mu  sync.Mutex
	t   testing.TB
	end bool
}

func (w *testWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.end && testing.Verbose() {
		w.t.Log(strings.TrimSpace(string(p)))
	}
	return len(p), nil
}

func bg(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// open opens a pool of go-sql-driver on the writer endpoint.
func (g *gate) open(t testing.TB, schema, params string) *sql.DB {
	t.Helper()
	return openPool(t, g.writer, schema, params)
}

func openPool(t testing.TB, address, schema, params string) *sql.DB {
	t.Helper()
	dsn := processtest.DSN(address, processtest.AppUser, processtest.AppPassword, schema)
	if params != "" {
		sep := "?"
		if strings.Contains(dsn, "?") {
			sep = "&"
		}
		dsn += sep + params
	}
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// conn takes one connection of a pool.
func conn(t testing.TB, db *sql.DB) *sql.Conn {
	t.Helper()
	c, err := db.Conn(bg(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func run(t testing.TB, c *sql.Conn, query string, args ...any) {
	t.Helper()
	if _, err := c.ExecContext(bg(t), query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func ask(t testing.TB, c *sql.Conn, query string, args ...any) string {
	t.Helper()
	var v sql.NullString
	if err := c.QueryRowContext(bg(t), query, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	if !v.Valid {
		return "NULL"
	}
	return v.String
}

// demote and promote are the switch that an operator would make by hand.
func (c *cluster) demote(t testing.TB) {
	t.Helper()
	c.primary.Exec(t, "SET GLOBAL read_only=1")
}

func (c *cluster) promote(t testing.TB) {
	t.Helper()
	old, now := c.primary, c.replica
	var pos string
	if err := old.Admin.QueryRow("SELECT @@global.gtid_binlog_pos").Scan(&pos); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if t.Failed() {
			rows, _ := now.Admin.Query("SHOW ALL SLAVES STATUS")
			t.Log(dump(rows))
		}
	}()
	now.CatchUp(t, old)
	now.Exec(t, "STOP SLAVE")
	now.Exec(t, "RESET SLAVE ALL")
	now.Exec(t, "SET GLOBAL read_only=0")
	c.primary, c.replica = now, old
	old.Exec(t, "SET GLOBAL gtid_slave_pos='"+pos+"'")
	old.Exec(t, fmt.Sprintf("CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT=%d, MASTER_USER='%s', MASTER_PASSWORD='%s', MASTER_USE_GTID=slave_pos, MASTER_SSL=0, MASTER_CONNECT_RETRY=1", now.Port, processtest.AdminUser, processtest.AdminPassword))
	old.Exec(t, "START SLAVE")
}

// move moves the primary's role with the gateway's hold, and answers how long it held.
func (c *cluster) move(t testing.TB, g *gate) adminapi.ReleaseReply {
	t.Helper()
	id := c.hold(t, g)
	c.demote(t)
	c.promote(t)
	return c.release(t, g, id)
}

// putOn makes the server of a version the primary, with no gateway.
func (c *cluster) putOn(t testing.TB, version string) {
	t.Helper()
	if !strings.Contains(c.primary.Name, version) {
		c.demote(t)
		c.promote(t)
	}
}

// hold prepares and holds.
func (c *cluster) hold(t testing.TB, g *gate) string {
	t.Helper()
	c.switches++
	id := fmt.Sprintf("switch-%d", c.switches)
	p, err := g.api.Prepare(bg(t), adminapi.PrepareRequest{Switch: id, Term: c.term, Target: c.replica.Address()})
	if err != nil {
		t.Fatal(err)
	}
	if !p.OK() {
		t.Fatalf("prepare: %+v", p)
	}
	st, err := g.api.Hold(bg(t), adminapi.HoldRequest{Switch: id, Term: c.term, TTLMS: 3 * patience.Milliseconds(), DrainMS: patience.Milliseconds()})
	if err != nil {
		t.Fatal(err)
	}
	if st.Phase != adminapi.PhaseHeld || st.InFlight != 0 {
		t.Fatalf("hold: %+v", st)
	}
	return id
}

func (c *cluster) release(t testing.TB, g *gate, id string) adminapi.ReleaseReply {
	t.Helper()
	r, err := g.api.Release(bg(t), adminapi.ReleaseRequest{Switch: id, Term: c.term, Primary: c.primary.Address()})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// raw logs in on an address with this package's own client, for what drivers can't send.
func raw(t testing.TB, address string, change ...func(*wire.Dial)) *wire.Backend {
	t.Helper()
	d := wire.Dial{Address: address, User: processtest.AppUser, Passwords: []string{processtest.AppPassword}, Charset: utf8mb4General, MaxPacket: 1 << 24,
		Caps: wire.CapLongFlag | wire.CapTransactions | wire.CapMultiResults | wire.CapMultiStatements | wire.CapPSMultiResults, Limit: 64 << 20}
	for _, f := range change {
		f(&d)
	}
	b, err := d.Connect(bg(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// dump shows a result, for a failure's message.
func dump(rows *sql.Rows) string {
	defer rows.Close()
	names, _ := rows.Columns()
	var b strings.Builder
	for rows.Next() {
		values := make([]sql.NullString, len(names))
		at := make([]any, len(names))
		for i := range values {
			at[i] = &values[i]
		}
		rows.Scan(at...)
		for i, n := range names {
			if values[i].String != "" {
				fmt.Fprintf(&b, "%s=%s ", n, values[i].String)
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}
