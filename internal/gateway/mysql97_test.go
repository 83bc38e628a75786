package gateway

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/gateway/adminapi"
	"github.com/windlass-db/windlass/internal/wire"
)

// mysql97 starts MySQL 9.7, which has caching_sha2_password and no mysql_native_password, with the accounts of every test server.
func mysql97(t testing.TB) (address string) {
	t.Helper()
	b := processtest.Fetch(t, "mysql-9.7")
	dir := t.TempDir()
	data, port := filepath.Join(dir, "data"), processtest.FreePort(t)
	init := writeFile(t, "init.sql", "CREATE USER 'app'@'%' IDENTIFIED BY 'app-secret';\nGRANT ALL ON *.* TO 'app'@'%';\nCREATE USER 'monitor'@'%' IDENTIFIED BY 'monitor-secret';\nGRANT PROCESS, REPLICATION CLIENT ON *.* TO 'monitor'@'%';\nCREATE DATABASE gw;\n")
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	said := func() string {
		text, _ := os.ReadFile(log.Name())
		return string(text)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	options := []string{"--no-defaults", "--basedir=" + filepath.Join(b.Root, "usr"), "--datadir=" + data, "--lc-messages-dir=" + filepath.Join(b.Root, "usr/share/mysql"),
		"--character-sets-dir=" + filepath.Join(b.Root, "usr/share/mysql/charsets"), "--innodb-buffer-pool-size=16M", "--secure-file-priv=", "--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=OFF", "--innodb-use-fdatasync=ON", "--sync-binlog=0", "--skip-log-bin"}
	if os.Getuid() == 0 {
		options = append(options, "--user=root")
	}
	create, err := b.Command(ctx, "mysqld", append(options, "--initialize-insecure")...)
	if err != nil {
		t.Fatal(err)
	}
	create.Stdout, create.Stderr = log, log
	if err := create.Run(); err != nil {
		t.Fatalf("%v\n%s", err, said())
	}
	run, err := b.Command(ctx, "mysqld", append(options, fmt.Sprintf("--port=%d", port), "--bind-address=127.0.0.1", "--socket="+filepath.Join(dir, "s"), "--mysqlx=OFF", "--init-file="+init, "--pid-file="+filepath.Join(dir, "pid"))...)
	if err != nil {
		t.Fatal(err)
	}
	run.Stdout, run.Stderr = log, log
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { run.Wait(); close(ended) }()
	t.Cleanup(func() {
		run.Process.Kill()
		<-ended
	})
	address = fmt.Sprintf("127.0.0.1:%d", port)
	db := openPool(t, address, "gw", "allowNativePasswords=false")
	processtest.Until(t, 2*time.Minute, "MySQL answers", func() bool {
		select {
		case <-ended:
			t.Fatalf("mysqld ended:\n%s", said())
		default:
		}
		return db.Ping() == nil
	})
	return address
}

// MySQL 9 has dropped mysql_native_password (trap 22): clients log in at the gateway by either method, and the gateway at the server by
// caching_sha2_password, over TLS and, with the server's key, without.
func TestMySQL97(t *testing.T) {
	address := mysql97(t)
	c := &cluster{primary: &processtest.Server{}, replica: &processtest.Server{}, term: 1}
	only := func(mode wire.TLSMode) func(*Config) {
		return func(cfg *Config) {
			cfg.Servers, cfg.ServerTLS.Mode = ServersConfig{Local: []string{address}, All: []string{address}}, mode
		}
	}
	flush := func() { // the server has forgotten the password's hash: it wants all of it
		admin := openPool(t, address, "", "")
		if _, err := admin.Exec("FLUSH PRIVILEGES"); err != nil {
			t.Fatal(err)
		}
	}
	for _, mode := range []wire.TLSMode{wire.TLSOff, wire.TLSPreferred, wire.TLSRequired} {
		t.Run(string(mode), func(t *testing.T) {
			flush()
			g := c.gateway(t, only(mode))
			one := conn(t, g.open(t, "gw", ""))
			cipher := ask(t, one, "SELECT VARIABLE_VALUE FROM performance_schema.session_status WHERE VARIABLE_NAME = 'Ssl_cipher'")
			if encrypted := cipher != ""; encrypted != (mode != wire.TLSOff) {
				t.Errorf("the connection to the server has cipher %q", cipher)
			}
			for _, plugin := range []string{wire.NativePassword, wire.CachingSHA2} { // of the client, at the gateway's door
				g := c.gateway(t, only(mode), func(cfg *Config) {
					cfg.AccountsFile = writeFile(t, "a", "accounts:\n  - {user: app, password: app-secret, plugin: "+plugin+"}\n")
				})
				if err := g.open(t, "gw", "").PingContext(bg(t)); err != nil {
					t.Errorf("%s: %v", plugin, err)
				}
				if db, err := sql.Open("mysql", processtest.DSN(g.writer, "app", "wrong", "gw")); err != nil || sqlError(db.Ping()) != 1045 {
					t.Errorf("%s: a wrong password was taken", plugin)
				}
			}
		})
	}

	spool := t.TempDir()
	g := c.gateway(t, only(wire.TLSPreferred), captures(spool, func(c *CaptureConfig) { c.Enabled = true }))
	db := g.open(t, "gw", "")
	one := conn(t, db)
	run(t, one, "CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(50))")
	tx, err := one.BeginTx(bg(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	st, err := tx.Prepare("INSERT INTO t (v) VALUES (?)")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if _, err := st.Exec(fmt.Sprint("row ", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, one, "SELECT GROUP_CONCAT(v ORDER BY id) FROM t WHERE id > ?", 1); got != "row 1,row 2" {
		t.Error(got)
	}
	b := raw(t, g.writer, func(d *wire.Dial) { // query attributes are MySQL's: they go through as they are (trap 31)
		d.Schema, d.Caps = "gw", d.Caps|wire.CapQueryAttributes|wire.CapDeprecateEOF
	})
	if r, err := b.Query("INSERT INTO t (v) VALUES ('attributes')"); err != nil || r.OK.Affected != 1 {
		t.Errorf("a query with an empty set of attributes: %+v, %v", r.OK, err)
	}
	withOne := append([]byte{byte(wire.ComQuery), 1, 1, 0, 1, 0xfe, 0, 1, 'a', 1, 'x'}, "INSERT INTO t (v) VALUES ('one attribute')"...)
	if r, err := b.Simple(withOne); err != nil || r.OK.Affected != 1 {
		t.Errorf("a query with an attribute: %+v, %v", r.OK, err)
	}
	st97, err := b.Prepare(append([]byte{byte(wire.ComStmtPrepare)}, "SELECT ?"...))
	if err != nil {
		t.Fatal(err)
	}
	counted := append(binary.LittleEndian.AppendUint32([]byte{byte(wire.ComStmtExecute)}, st97.ID), 8, 1, 0, 0, 0, 1, 0, 1, 0xfe, 0, 0, 5, 'v', 'a', 'l', 'u', 'e') // as libmysqlclient sends it
	if a := answerOf(t, b, counted); a.Rows() != 1 {
		t.Errorf("%d rows", a.Rows())
	}
	if _, err := g.api.StopCapture(bg(t)); err != nil {
		t.Fatal(err)
	}
	testMySQLCapture(t, spool)
	// An empty set of attributes hides no KILL (trap 29): that of the gateway's own id finds its connection.
	victim := raw(t, g.writer)
	if _, err := b.Query(fmt.Sprintf("KILL %d", victim.Greeting.ThreadID)); err != nil {
		t.Errorf("KILL: %v", err)
	}
	if _, err := victim.Query("SELECT 1"); err == nil {
		t.Error("what was killed goes on")
	}
	direct, err1 := pymysql(t, "corpus", address).CombinedOutput()
	through, err2 := pymysql(t, "corpus", g.writer).CombinedOutput()
	if len(direct) < 1000 || err1 != nil || err2 != nil || !bytes.Equal(direct, through) {
		t.Errorf("PyMySQL direct %v, through the gateway %v: %s", err1, err2, cmp.Diff(strings.Split(string(direct), "\n"), strings.Split(string(through), "\n")))
	}
	g.until(t, "open", func(st adminapi.Status) bool {
		return st.Writer.Route == adminapi.RouteOpen && st.Servers[0].Version != ""
	})
	if v := g.status(t).Servers[0]; !strings.HasPrefix(v.Version, "9.7.") || v.Role != adminapi.RoleWritable || v.UUID == "" {
		t.Errorf("%+v", v)
	}
	// A hold and its end, with a write that waits.
	if _, err := c.plainHold(t, g, time.Minute, patience); err != nil {
		t.Fatal(err)
	}
	write := result(func() error { _, err := one.ExecContext(bg(t), "INSERT INTO t (v) VALUES ('held')"); return err })
	g.until(t, "it waits", func(st adminapi.Status) bool { return st.Writer.Waiting == 1 })
	if _, err := g.api.Release(bg(t), adminapi.ReleaseRequest{Switch: g.status(t).Switch.Switch, Term: 1, Primary: address}); err != nil {
		t.Fatal(err)
	}
	if err := must(t, write); err != nil {
		t.Error(err)
	}
	// What a session holds can't be read with the rights that the monitoring account has here: it is not moved, and the preflight says why.
	host, port, _ := strings.Cut(address, ":")
	other := "localhost:" + port // the same server, by another name, so that there is one to move to
	if _, err := g.api.SetServers(bg(t), adminapi.ServersRequest{Term: 1, Local: []string{host + ":" + port}, All: []string{address, other}}); err != nil {
		t.Fatal(err)
	}
	p, err := g.api.Prepare(bg(t), adminapi.PrepareRequest{Switch: "preflight", Term: 1, Target: other, DryRun: true})
	if err != nil || p.OK() || len(p.Problems) != 2 || !strings.Contains(p.Problems[0], "GRANT SELECT ON performance_schema.*") || p.Ready != 0 {
		t.Errorf("%+v, %v", p, err)
	}
	// A gateway that insists on a certificate it can't believe opens nothing.
	roots, _ := selfSigned(t)
	strict := c.gateway(t, only(wire.TLSVerifyFull), func(cfg *Config) { cfg.ServerTLS.CA, cfg.Timeouts.Login = roots, Duration(300*time.Millisecond) })
	if err := strict.open(t, "gw", "").PingContext(bg(t)); err == nil {
		t.Error("an unknown certificate was believed")
	}
	strict.until(t, "why", func(st adminapi.Status) bool { return strings.Contains(st.Servers[0].Error, "certificate") })
}
