package mysql

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/builds"
	proc "github.com/windlass-db/windlass/internal/driver/process"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/fleet"
)

// mysqld is a running MySQL server of a test.
type mysqld struct {
	spec  proc.Spec
	port  int
	id    int
	admin *sql.DB
	app   *sql.DB
}

func (s *mysqld) address() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

// mysqldSQL makes the accounts. Each statement is on a line of its own, as an init file has to be.
var mysqldSQL = strings.Join([]string{
	"CREATE USER 'windlass'@'%' IDENTIFIED BY '" + processtest.AdminPassword + "';",
	"GRANT ALL ON *.* TO 'windlass'@'%' WITH GRANT OPTION;",
	"CREATE USER 'app'@'%' IDENTIFIED BY '" + processtest.AppPassword + "';",
	"GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX, EVENT ON *.* TO 'app'@'%';",
	"CREATE USER '" + supervisor + "'@'%' IDENTIFIED BY '" + supervisorPassword + "';",
	strings.Join(Grants("mysql", "'"+supervisor+"'@'%'"), ";\n") + ";",
	"CREATE DATABASE app;",
}, "\n") + "\n"

// mysqldTemplate is an initialised data folder, made once on this machine.
func mysqldTemplate(t testing.TB, b builds.Build) string {
	t.Helper()
	sum := sha256.Sum256([]byte("1\x00" + b.Root + "\x00" + b.Version + "\x00" + mysqldSQL))
	dir := filepath.Join(b.Cache, "templates")
	path := filepath.Join(dir, b.Name+"-"+hex.EncodeToString(sum[:8]))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	unlock, err := builds.Lock(ctx, path+".lock")
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if _, err := os.Stat(path); err == nil {
		return path
	}
	made := path + ".making"
	if err := os.RemoveAll(made); err != nil {
		t.Fatal(err)
	}
	init := filepath.Join(t.TempDir(), "init.sql")
	if err := os.WriteFile(init, []byte(mysqldSQL), 0o600); err != nil {
		t.Fatal(err)
	}
	argv, err := b.Argv("mysqld", append(append([]string{"--no-defaults"}, mysqldOptions(b, made)...), "--initialize-insecure", "--init-file="+init)...)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("initialise MySQL: %v: %s", err, out)
	}
	if err := os.Remove(filepath.Join(made, "auto.cnf")); err != nil && !os.IsNotExist(err) { // the server's identity
		t.Fatal(err)
	}
	if err := os.Rename(made, path); err != nil {
		t.Fatal(err)
	}
	return path
}

func mysqldOptions(b builds.Build, data string) []string {
	share := filepath.Join(b.Root, "usr", "share", "mysql")
	o := []string{"--basedir=" + filepath.Join(b.Root, "usr"), "--datadir=" + data, "--lc-messages-dir=" + share, "--character-sets-dir=" + filepath.Join(share, "charsets"),
		"--plugin-dir=" + filepath.Join(b.Root, "usr", "lib", "mysql", "plugin"), "--secure-file-priv=", "--innodb-buffer-pool-size=16M", "--innodb-redo-log-capacity=16M"}
	if os.Geteuid() == 0 {
		o = append(o, "--user=root")
	}
	return o
}

// newMySQL prepares a server, which boots read-only for everybody.
func newMySQL(t testing.TB, id int) *mysqld {
	t.Helper()
	b := processtest.Fetch(t, "mysql-9.7")
	dir := filepath.Join(t.TempDir(), "s")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := proc.Clone(mysqldTemplate(t, b), filepath.Join(dir, "data")); err != nil {
		t.Fatal(err)
	}
	s := &mysqld{port: processtest.FreePort(t), id: id}
	socket := filepath.Join(os.TempDir(), fmt.Sprintf("windlass-test-%d.sock", s.port)) // the test's own folder has too long a name for one
	// In an option file, as an administrator would have it: a command line would win over SET PERSIST.
	options := filepath.Join(dir, "my.cnf")
	if err := os.WriteFile(options, []byte("[mysqld]\nsuper_read_only=ON\nevent_scheduler=OFF\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	argv, err := b.Argv("mysqld", append(append([]string{"--defaults-file=" + options}, mysqldOptions(b, filepath.Join(dir, "data"))...), "--bind-address=127.0.0.1", fmt.Sprintf("--port=%d", s.port), "--report-host=127.0.0.1", fmt.Sprintf("--report-port=%d", s.port), fmt.Sprintf("--server-id=%d", id),
		"--socket="+socket, "--pid-file="+filepath.Join(dir, "mysqld.pid"), "--tmpdir="+dir, "--mysqlx=OFF", "--skip-name-resolve", "--max-connections=150", "--log-bin=binlog", "--gtid-mode=ON", "--enforce-gtid-consistency=ON",
		"--sync-binlog=0", "--innodb-flush-log-at-trx-commit=2", "--plugin-load-add=semisync_source.so", "--plugin-load-add=semisync_replica.so", "--replica-net-timeout=10")...)
	if err != nil {
		t.Fatal(err)
	}
	s.spec = proc.Spec{Name: fmt.Sprintf("mysql-9.7-%d", id), Dir: dir, Argv: argv}
	open := func(user, password string) *sql.DB {
		db, err := sql.Open("mysql", processtest.DSN(s.address(), user, password, ""))
		if err != nil {
			t.Fatal(err)
		}
		return db
	}
	s.admin, s.app = open(processtest.AdminUser, processtest.AdminPassword), open(processtest.AppUser, processtest.AppPassword)
	s.app.SetMaxIdleConns(-1)
	s.spec.Ready = s.admin.PingContext
	t.Cleanup(func() {
		s.admin.Close()
		s.app.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := s.spec.Kill(ctx); err != nil {
			t.Errorf("end %s: %v", s.spec.Name, err)
		}
		os.Remove(socket)
		os.Remove(socket + ".lock")
	})
	return s
}

func (s *mysqld) start(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := s.spec.Start(ctx); err != nil {
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

func (s *mysqld) ask(t testing.TB, query string) string {
	t.Helper()
	var v sql.NullString
	if err := s.admin.QueryRowContext(bg(t), query).Scan(&v); err != nil {
		t.Fatalf("%s: %s: %v", s.spec.Name, query, err)
	}
	return v.String
}

func (s *mysqld) catchUp(t testing.TB, source *mysqld) {
	t.Helper()
	if got := s.ask(t, "SELECT WAIT_FOR_EXECUTED_GTID_SET('"+strings.ReplaceAll(source.ask(t, "SELECT @@global.gtid_executed"), "\n", "")+"', 30)"); got != "0" {
		t.Fatalf("%s did not catch up: %s", s.spec.Name, got)
	}
}

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
	startAll(t, []*mysqld{w.s["blue"], w.s["green"]}, func(s *mysqld, ctx context.Context) error { return s.spec.Start(ctx) })
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
	w.s["green"].exec(t, fmt.Sprintf("CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT=%d, SOURCE_USER='%s', SOURCE_PASSWORD='%s', SOURCE_AUTO_POSITION=1, SOURCE_CONNECT_RETRY=1, GET_SOURCE_PUBLIC_KEY=1",
		w.s["blue"].port, processtest.AdminUser, processtest.AdminPassword), "START REPLICA")
	w.s["green"].catchUp(t, w.s["blue"])
}

func (w *world97) request(cell, id string) bluegreen.SwitchRequest {
	w.term++
	return bluegreen.SwitchRequest{Cluster: w.c, ToCell: cell, Term: w.term, ID: id, Settings: settings(), Back: cell == "blue"}
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
