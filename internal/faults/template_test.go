package faults

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/builds"
	"github.com/windlass-db/windlass/internal/demo/load"
	"github.com/windlass-db/windlass/internal/driver/mysql"
	"github.com/windlass-db/windlass/internal/driver/process"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
)

// The supervisor's own account on the servers. The test itself comes as processtest.AdminUser, for Fence ends every other
// connection of this one.
const adminUser, adminPassword = "supervisor", "supervisor-secret"

const schema = "shop"

// template is a stopped pair whose data folders every lane copies, and the programs that lanes run.
type template struct {
	dir     string
	gateway string // path of windlass-gateway
	builds  map[string]builds.Build
}

// versions of the cells.
var versions = map[string]string{"blue": "10.11", "green": "11.8"}

func (tm *template) data(cell string) string { return filepath.Join(tm.dir, cell) }

// mariadb is a server in a folder.
func (tm *template) mariadb(cell, dir, host string, port int, extra ...string) process.MariaDB {
	id := map[string]uint32{"blue": 101, "green": 201}[cell]
	options := []string{"character-set-server=utf8mb4", "collation-server=utf8mb4_general_ci", "innodb-buffer-pool-load-at-startup=OFF", "innodb-buffer-pool-dump-at-shutdown=OFF", "aria-pagecache-buffer-size=1M", "key-buffer-size=64K"}
	if cell == "blue" {
		options = append(options, "unix-socket=OFF") // else its accounts may need a plugin that the way back warns of
	}
	return process.MariaDB{Name: cell, Build: tm.builds[versions[cell]], Dir: dir, Host: host, Port: port, ServerID: id, InitSQL: processtest.InitSQL, Extra: append(options, extra...)}
}

// folder makes a folder in memory if the machine has room for it, else on the disk. What a killed process has written is
// there for the next one in either, and nothing here cuts the power: only waits for the disk are saved.
func folder(t *testing.T) string {
	t.Helper()
	var fs syscall.Statfs_t
	const memory, room = "/dev/shm", 3 << 30
	if err := syscall.Statfs(memory, &fs); err != nil || fs.Bavail*uint64(fs.Bsize) < room {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp(memory, "windlass-faults-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// newTemplate brings the pair up once: accounts, tables, replication. Then it stops both.
func newTemplate(t *testing.T) *template {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	tm := &template{dir: folder(t), builds: map[string]builds.Build{}}
	tm.gateway = filepath.Join(tm.dir, "windlass-gateway")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", tm.gateway, "github.com/windlass-db/windlass/cmd/windlass-gateway").CombinedOutput(); err != nil {
		t.Fatalf("build the gateway: %v: %s", err, out)
	}
	pair := map[string]process.MariaDB{}
	for cell, version := range versions {
		tm.builds[version] = processtest.Fetch(t, "mariadb-"+version)
		m := tm.mariadb(cell, filepath.Join(tm.dir, cell+".making"), "", processtest.FreePort(t))
		pair[cell] = m
		t.Cleanup(func() { end(t, m) })
		if err := m.Start(ctx); err != nil {
			t.Fatal(err)
		}
	}
	dbs := map[string]*sql.DB{}
	for cell, m := range pair {
		dbs[cell] = open(t, m.Address(), "")
		account := "'" + adminUser + "'@'%'"
		// Every server has the same accounts from its making, unlogged; the tables come by replication.
		execAll(t, dbs[cell], append([]string{"SET SESSION sql_log_bin=0", "CREATE USER " + account + " IDENTIFIED BY '" + adminPassword + "'",
			"GRANT CONNECTION ADMIN ON *.* TO '" + processtest.MonitorUser + "'@'%'", "DROP DATABASE IF EXISTS sys", "ALTER DATABASE app CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci"}, mysql.Grants("mariadb", account)...)...)
	}
	blue := pair["blue"]
	execAll(t, dbs["green"], follow(blue.Host, blue.Port)...)
	made := append([]string{"SET GLOBAL read_only=0", "CREATE DATABASE " + schema + " CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci", "USE " + schema}, load.Schema...)
	execAll(t, dbs["blue"], append(made, "CREATE TABLE nudge (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY) ENGINE=InnoDB", "CREATE EVENT tick ON SCHEDULE EVERY 1 DAY DO DO 0")...)
	catchUp(t, dbs["blue"], dbs["green"])
	for cell, m := range pair {
		if err := m.Stop(ctx); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(m.DataDir(), tm.data(cell)); err != nil {
			t.Fatal(err)
		}
	}
	return tm
}

// follow are the statements that make a server replicate from the address.
func follow(host string, port int) []string {
	if host == "" {
		host = "127.0.0.1"
	}
	return []string{"STOP SLAVE", fmt.Sprintf("CHANGE MASTER TO MASTER_HOST='%s', MASTER_PORT=%d, MASTER_USER='%s', MASTER_PASSWORD='%s', MASTER_USE_GTID=slave_pos, MASTER_SSL=0, MASTER_CONNECT_RETRY=1", host, port, processtest.AdminUser, processtest.AdminPassword), "START SLAVE"}
}

// open is a pool of the test's own account.
func open(t testing.TB, address, database string) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", processtest.DSN(address, processtest.AdminUser, processtest.AdminPassword, database)+"&multiStatements=false")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// execAll runs statements on one connection.
func execAll(t testing.TB, db *sql.DB, statements ...string) {
	t.Helper()
	if err := execOn(db, statements...); err != nil {
		t.Fatal(err)
	}
}

func execOn(db *sql.DB, statements ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	for _, s := range statements {
		if _, err := c.ExecContext(ctx, s); err != nil {
			return fmt.Errorf("%.60s: %w", s, err)
		}
	}
	if strings.Contains(strings.Join(statements, ";"), "sql_log_bin=0") { // the connection goes back to the pool
		_, err = c.ExecContext(ctx, "SET SESSION sql_log_bin=1")
	}
	return err
}

// catchUp waits until the replica has all that the source has now.
func catchUp(t testing.TB, source, replica *sql.DB) {
	t.Helper()
	if err := caughtUp(source, replica); err != nil {
		t.Fatal(err)
	}
}

func caughtUp(source, replica *sql.DB) error {
	var pos string
	if err := source.QueryRow("SELECT @@global.gtid_binlog_pos").Scan(&pos); err != nil {
		return err
	}
	var got int
	if err := replica.QueryRow("SELECT MASTER_GTID_WAIT(?, 20)", pos).Scan(&got); err != nil || got != 0 {
		return fmt.Errorf("the replica did not reach %s: %d, %w", pos, got, err)
	}
	return nil
}

// end kills a server of ours, if it still runs.
func end(t testing.TB, m process.MariaDB) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	spec, err := m.Spec()
	if err == nil {
		err = spec.Kill(ctx)
	}
	if err != nil {
		t.Errorf("end %s: %v", m.Name, err)
	}
}
