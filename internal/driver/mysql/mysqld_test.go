package mysql

import (
	"context"
	"database/sql"
	"strings"
	"testing"
	"time"

	proc "github.com/windlass-db/windlass/internal/driver/process"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/switchover"
)

// mysqld is a running MySQL server of a test.
type mysqld struct {
	*processtest.MySQLServer
	spec  proc.Spec
	port  int
	id    int
	admin *sql.DB
	app   *sql.DB
}

func (s *mysqld) address() string { return s.Address() }

// mysqldSQL makes the accounts, the supervisor's with exactly the grants that are documented.
var mysqldSQL = processtest.MySQLInitSQL + "CREATE USER '" + supervisor + "'@'%' IDENTIFIED BY '" + supervisorPassword + "';\n" + strings.Join(Grants("mysql", "'"+supervisor+"'@'%'"), ";\n") + ";\n"

// newMySQL prepares a server, which boots read-only for everybody.
func newMySQL(t testing.TB, id int) *mysqld {
	t.Helper()
	m := processtest.NewMySQL(t, func(m *proc.MySQL) { m.InitSQL, m.ServerID = mysqldSQL, uint32(id) })
	spec, err := m.Spec()
	if err != nil {
		t.Fatal(err)
	}
	s := &mysqld{MySQLServer: m, spec: spec, port: m.Port, id: id, admin: m.Admin, app: m.Open(t, processtest.AppUser, processtest.AppPassword, "")}
	s.app.SetMaxIdleConns(-1)
	return s
}

func (s *mysqld) start(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := s.Start(ctx); err != nil {
		t.Fatal(err)
	}
}

func (s *mysqld) kill(t testing.TB) {
	t.Helper()
	if err := s.spec.Kill(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func (s *mysqld) exec(t testing.TB, queries ...string) {
	t.Helper()
	for _, q := range queries {
		if _, err := s.admin.ExecContext(bg(t), q); err != nil {
			t.Fatalf("%s: %s: %v", s.spec.Name, q, err)
		}
	}
}

// unlogged runs statements out of the binary log.
func (s *mysqld) unlogged(t testing.TB, queries ...string) {
	t.Helper()
	c := s.conn(t, processtest.AdminUser, processtest.AdminPassword)
	must(t, c, append([]string{"SET SESSION sql_log_bin=0"}, queries...)...)
	must(t, c, "SET SESSION sql_log_bin=1")
	c.Close()
}

func (s *mysqld) conn(t testing.TB, user, password string) *sql.Conn {
	t.Helper()
	db, err := sql.Open("mysql", processtest.DSN(s.address(), user, password, "app"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	db.SetMaxIdleConns(-1)
	c, err := db.Conn(bg(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func (s *mysqld) ask(t testing.TB, query string) string { return s.Ask(t, query) }

func (s *mysqld) catchUp(t testing.TB, source *mysqld) { s.CatchUp(t, source.MySQLServer) }

// world97 is a cluster of two MySQL servers, blue's the primary, with a driver over it.
type world97 struct {
	c    fleet.Cluster
	s    map[string]*mysqld // by cell
	d    *Driver
	cfg  Config
	term int64
}

func newWorld97(t testing.TB) *world97 {
	t.Helper()
	w := &world97{s: map[string]*mysqld{}, term: 1}
	w.c = fleet.Cluster{Name: "orders", Env: "qa", Product: "mysql"}
	for i, cell := range []string{"blue", "green"} {
		w.s[cell] = newMySQL(t, 201+i)
		w.c.Cells = append(w.c.Cells, fleet.Cell{Name: cell, Version: "9.7", Owner: "test", Nodes: []fleet.Node{{Name: cell + "-1", Address: w.s[cell].address()}}})
	}
	startAll(t, []*mysqld{w.s["blue"], w.s["green"]}, func(s *mysqld, ctx context.Context) error { return s.Start(ctx) })
	w.s["blue"].exec(t, "SET GLOBAL read_only=0", "CREATE TABLE app.t (id BIGINT NOT NULL PRIMARY KEY AUTO_INCREMENT, k VARCHAR(64) NOT NULL UNIQUE, n INT NOT NULL)")
	w.cfg = Config{
		Admin:           Account{User: supervisor, Password: Fixed(supervisorPassword)},
		Replication:     Account{User: processtest.AdminUser, Password: Fixed(processtest.AdminPassword)},
		WithoutGateways: true,
		Known:           Known{Users: []string{processtest.AdminUser}},
		Log:             logTo(t),
	}
	w.d = w.driver(t)
	return w
}

func (w *world97) driver(t testing.TB) *Driver {
	t.Helper()
	d, err := New(w.cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// seed makes green a replica of blue by hand, as a seeded copy would be.
func (w *world97) seed(t testing.TB) {
	t.Helper()
	w.s["green"].Follow(t, w.s["blue"].MySQLServer)
	w.s["green"].CatchUp(t, w.s["blue"].MySQLServer)
}

func (w *world97) request(cell, id string) switchover.Request {
	w.term++
	return switchover.Request{Cluster: w.c, ToCell: cell, Term: w.term, ID: id, Settings: settings(), Back: cell == "blue"}
}

// mustBe sees that the cell's server alone is writable, and that the other replicates from it and has the same rows.
func (w *world97) mustBe(t testing.TB, cell string) {
	t.Helper()
	o, err := w.d.Observe(bg(t), w.c)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range o.Nodes {
		switch {
		case n.Cell == cell && n.Role != fleet.RolePrimary, n.Cell != cell && (n.Role != fleet.RoleReplica || n.Source != w.s[cell].address() || n.Lag < 0 || n.Error != ""):
			t.Fatalf("want the primary in %s: %+v", cell, o.Nodes)
		}
	}
	w.s[other(cell)].catchUp(t, w.s[cell])
	const count = "SELECT CONCAT(COUNT(*), ' ', COALESCE(SUM(CRC32(k)), 0)) FROM app.t"
	if a, b := w.s[cell].ask(t, count), w.s[other(cell)].ask(t, count); a != b {
		t.Fatalf("rows differ: %s and %s", a, b)
	}
}

func (w *world97) switchTo(t testing.TB, cell, id string) {
	t.Helper()
	if _, err := w.d.Switch(bg(t), w.request(cell, id)); err != nil {
		t.Fatal(err)
	}
	w.mustBe(t, cell)
}
