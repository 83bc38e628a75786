package datacheck_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/builds"
	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/datacheck"
	proc "github.com/windlass-db/windlass/internal/driver/process"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/fleet"
)

// mysqld is a running MySQL server.
type mysqld struct {
	spec  proc.Spec
	port  int
	admin *sql.DB
}

func (s *mysqld) exec(t *testing.T, queries ...string) {
	t.Helper()
	c, err := s.admin.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, q := range queries {
		if _, err := c.ExecContext(t.Context(), q); err != nil {
			t.Fatalf("%s: %s: %v", s.spec.Name, q, err)
		}
	}
}

func mysqldOptions(b builds.Build, data string) []string {
	share := filepath.Join(b.Root, "usr", "share", "mysql")
	o := []string{"--no-defaults", "--basedir=" + filepath.Join(b.Root, "usr"), "--datadir=" + data, "--lc-messages-dir=" + share, "--character-sets-dir=" + filepath.Join(share, "charsets"),
		"--plugin-dir=" + filepath.Join(b.Root, "usr", "lib", "mysql", "plugin"), "--secure-file-priv=", "--innodb-buffer-pool-size=16M", "--innodb-redo-log-capacity=16M", "--performance-schema=OFF"}
	if os.Geteuid() == 0 {
		o = append(o, "--user=root")
	}
	return o
}

// mysqldData is an initialised data folder, made once on this machine.
func mysqldData(t *testing.T, b builds.Build) string {
	t.Helper()
	path := filepath.Join(b.Cache, "templates", b.Name+"-"+b.Version+"-datacheck")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	unlock, err := builds.Lock(ctx, path+".lock")
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if _, err := os.Stat(path); err == nil {
		return path
	}
	made, init := path+".making", filepath.Join(t.TempDir(), "init.sql")
	if err := os.RemoveAll(made); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("CREATE USER '%s'@'%%' IDENTIFIED BY '%s';\nGRANT ALL ON *.* TO '%[1]s'@'%%' WITH GRANT OPTION;\nCREATE DATABASE app;\n", processtest.AdminUser, processtest.AdminPassword)
	if err := os.WriteFile(init, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	argv, err := b.Argv("mysqld", append(mysqldOptions(b, made), "--initialize-insecure", "--init-file="+init)...)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput(); err != nil {
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

// startMySQL runs a read-only server.
func startMySQL(t *testing.T, id int) *mysqld {
	t.Helper()
	b := processtest.Fetch(t, "mysql-9.7")
	dir := filepath.Join(t.TempDir(), "s")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := proc.Clone(mysqldData(t, b), filepath.Join(dir, "data")); err != nil {
		t.Fatal(err)
	}
	s := &mysqld{port: processtest.FreePort(t)}
	socket := filepath.Join(os.TempDir(), fmt.Sprintf("windlass-datacheck-%d.sock", s.port)) // the test's own folder has too long a name for one
	argv, err := b.Argv("mysqld", append(mysqldOptions(b, filepath.Join(dir, "data")), "--bind-address=127.0.0.1", fmt.Sprintf("--port=%d", s.port), fmt.Sprintf("--server-id=%d", id),
		"--socket="+socket, "--pid-file="+filepath.Join(dir, "mysqld.pid"), "--tmpdir="+dir, "--mysqlx=OFF", "--skip-name-resolve", "--log-bin=binlog", "--gtid-mode=ON", "--enforce-gtid-consistency=ON",
		"--read-only=ON", "--event-scheduler=OFF", "--sync-binlog=0", "--innodb-flush-log-at-trx-commit=2")...)
	if err != nil {
		t.Fatal(err)
	}
	s.spec = proc.Spec{Name: fmt.Sprintf("mysql-9.7-%d", id), Dir: dir, Argv: argv}
	if s.admin, err = sql.Open("mysql", processtest.DSN(fmt.Sprintf("127.0.0.1:%d", s.port), processtest.AdminUser, processtest.AdminPassword, "")); err != nil {
		t.Fatal(err)
	}
	s.spec.Ready = s.admin.PingContext
	t.Cleanup(func() {
		s.admin.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := s.spec.Kill(ctx); err != nil {
			t.Errorf("end %s: %v", s.spec.Name, err)
		}
		os.Remove(socket)
		os.Remove(socket + ".lock")
	})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := s.spec.Start(ctx); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestMySQL compares servers of MySQL 9.7, under load: equal, then with differences. The reference is stopped for a moment
// as well, and runs again. trap 35
func TestMySQL(t *testing.T) {
	primary, replica, green := startMySQL(t, 1), startMySQL(t, 2), startMySQL(t, 3)
	primary.exec(t, "SET GLOBAL read_only=0")
	for _, s := range []*mysqld{replica, green} {
		s.exec(t, fmt.Sprintf("CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT=%d, SOURCE_USER='%s', SOURCE_PASSWORD='%s', SOURCE_AUTO_POSITION=1, SOURCE_CONNECT_RETRY=1, GET_SOURCE_PUBLIC_KEY=1", primary.port, processtest.AdminUser, processtest.AdminPassword), "START REPLICA")
	}
	primary.exec(t, "USE app",
		"CREATE TABLE rows_ (id BIGINT PRIMARY KEY AUTO_INCREMENT, v INT, s VARCHAR(40))",
		"INSERT INTO rows_ (v, s) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 900) SELECT i, CONCAT('row ', i) FROM n",
		"CREATE TABLE types (id INT, k VARCHAR(10) COLLATE utf8mb4_0900_ai_ci, e FLOAT, f DOUBLE, d DECIMAL(30,10), b BIT(12), en ENUM('x','ü'), st SET('a','b'), j JSON, t DATETIME(6), ts TIMESTAMP NULL, y YEAR, bin VARBINARY(300), bl LONGBLOB, p POINT, inv INT INVISIBLE DEFAULT 3, gv INT AS (id * 2) VIRTUAL, gs INT AS (id * 3) STORED, PRIMARY KEY (k, id), KEY (gv))",
		"INSERT INTO types (id, k, e, f, d, b, en, st, j, t, ts, y, bin, bl, p) VALUES (1, 'ä🍣', 16777216, 0.30000000000000004, 1.5, b'101', 'ü', 'a,b', '{\"b\": 1, \"a\": [1, 2.50]}', '2024-03-31 02:30:00.123456', '2030-01-01', 2024, x'00ff27', REPEAT(x'ff00', 1000), POINT(1.5, -2)), (2, '', NULL, NULL, NULL, NULL, NULL, '', NULL, NULL, NULL, NULL, '', NULL, NULL)",
		"CREATE TABLE nokey (a INT, b VARCHAR(20))", "INSERT INTO nokey VALUES (1, 'a'), (1, 'a'), (NULL, NULL)",
		"CREATE VIEW v AS SELECT id, v + 1 AS w FROM rows_", "CREATE FUNCTION fn(a INT) RETURNS INT DETERMINISTIC RETURN a + 1", "CREATE TRIGGER tr BEFORE INSERT ON nokey FOR EACH ROW SET NEW.b = CONCAT(NEW.b, '!')",
		"CREATE EVENT ev ON SCHEDULE EVERY 1 HOUR DO SET @a = 1", "CREATE USER 'web'@'%' IDENTIFIED BY 'web-secret'", "GRANT SELECT ON app.* TO 'web'@'%'")
	address := func(s *mysqld) string { return fmt.Sprintf("127.0.0.1:%d", s.port) }
	c := fleet.Cluster{Name: "orders", Env: "prod", Product: "mysql", Cells: []fleet.Cell{
		{Name: "blue", Version: "9.7", Nodes: []fleet.Node{{Name: "blue-1", Address: address(primary)}, {Name: "blue-2", Address: address(replica)}}},
		{Name: "green", Version: "9.7", Nodes: []fleet.Node{{Name: "green-1", Address: address(green)}}}}}
	compare := func(t *testing.T, st datacheck.Status) (string, bool) {
		t.Helper()
		status, err := json.Marshal(st)
		if err != nil {
			t.Fatal(err)
		}
		res, err := checker(t, nil).Compare(t.Context(), c, "blue", "green", campaign.Verify{ChunkRows: 200}, status, nothing)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []*mysqld{replica, green} {
			for _, state := range []string{"SELECT SERVICE_STATE FROM performance_schema.replication_connection_status", "SELECT SERVICE_STATE FROM performance_schema.replication_applier_status"} {
				if got := one(t, s.admin, state); got != "ON" {
					t.Errorf("%s: %s: %s", s.spec.Name, state, got)
				}
			}
		}
		return res.String(), res.OK()
	}

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		pace := time.NewTicker(20 * time.Millisecond)
		defer pace.Stop()
		for i := 0; ctx.Err() == nil; i++ {
			<-pace.C
			for _, q := range []string{fmt.Sprintf("INSERT INTO app.rows_ (v) VALUES (%d)", i), fmt.Sprintf("UPDATE app.rows_ SET v = v + 1 WHERE id %% 7 = %d", i%7)} {
				if _, err := primary.admin.ExecContext(ctx, q); err != nil && ctx.Err() == nil {
					t.Errorf("%s: %v", q, err)
				}
			}
		}
	}()
	// As a run that was killed leaves them.
	replica.exec(t, "STOP REPLICA")
	green.exec(t, "STOP REPLICA")
	text, ok := compare(t, datacheck.Status{Stopped: []string{"blue-2", "green-1"}})
	cancel()
	<-done
	if !ok {
		t.Error(text)
	}
	t.Log(text)

	if got := one(t, green.admin, "SELECT WAIT_FOR_EXECUTED_GTID_SET('"+one(t, primary.admin, "SELECT @@global.gtid_executed")+"', 60)"); got != "0" {
		t.Fatalf("green did not catch up: %s", got)
	}
	green.exec(t, "SET SESSION sql_log_bin=0", "UPDATE app.types SET e = 16777218, f = 0.3, j = '{\"b\": 1, \"a\": [1, 2.5]}', inv = 4 WHERE id = 1", "DELETE FROM app.nokey WHERE b = 'a!' OR b = 'a' LIMIT 1", "DELETE FROM app.rows_ WHERE id = 555",
		"ALTER TABLE app.rows_ MODIFY s VARCHAR(40) COLLATE utf8mb4_general_ci", "REVOKE SELECT ON app.* FROM 'web'@'%'")
	text, _ = compare(t, datacheck.Status{})
	for _, want := range []string{"(k='ä🍣' id=1) differs in e, f, inv", "id=555 is missing", "app.nokey on green-1", `column app.rows_.s: collation name is "utf8mb4_general_ci", was "utf8mb4_0900_ai_ci"`, "grant GRANT SELECT ON `app`.* TO `web`@`%` is missing"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
}
