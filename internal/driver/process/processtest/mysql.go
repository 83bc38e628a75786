package processtest

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/driver/process"
)

// MySQLInitSQL makes the same accounts on MySQL as InitSQL on MariaDB.
const MySQLInitSQL = `CREATE USER 'windlass'@'%' IDENTIFIED BY 'admin-secret';
GRANT ALL ON *.* TO 'windlass'@'%' WITH GRANT OPTION;
CREATE USER 'app'@'%' IDENTIFIED BY 'app-secret';
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX, EVENT ON *.* TO 'app'@'%';
CREATE USER 'monitor'@'%' IDENTIFIED BY 'monitor-secret';
GRANT PROCESS, REPLICATION CLIENT ON *.* TO 'monitor'@'%';
CREATE DATABASE app;
`

// MySQLServer is a MySQL 9.7. It boots read-only for everybody, as every server of Windlass.
type MySQLServer struct {
	process.MySQL
	Admin *sql.DB // as AdminUser, closed with the test
}

// MySQLOption changes a server before it starts.
type MySQLOption func(*process.MySQL)

// WithMySQL adds options as in an option file, such as "sync-binlog=0".
func WithMySQL(options ...string) MySQLOption {
	return func(m *process.MySQL) { m.Extra = append(m.Extra, options...) }
}

// NewMySQL prepares a server without starting it. The test's end kills it if it runs. What it has written is safe from a
// kill, not from a power cut.
func NewMySQL(t testing.TB, opts ...MySQLOption) *MySQLServer {
	t.Helper()
	id := serverIDs.Add(1)
	s := &MySQLServer{MySQL: process.MySQL{
		Name: fmt.Sprintf("mysql-9.7-%d", id), Build: Fetch(t, "mysql-9.7"), Dir: filepath.Join(t.TempDir(), "s"), Port: FreePort(t), ServerID: id + 100,
		InitSQL: MySQLInitSQL, Extra: []string{"sync-binlog=0", "innodb-flush-log-at-trx-commit=2"},
	}}
	for _, o := range opts {
		o(&s.MySQL)
	}
	t.Cleanup(func() {
		s.Admin.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		spec, err := s.Spec()
		if err == nil {
			err = spec.Kill(ctx)
		}
		if err == nil {
			err = os.RemoveAll(filepath.Dir(s.Socket())) // it may lie outside of the test's folder
		}
		if err != nil {
			t.Errorf("end %s: %v", s.Name, err)
		}
	})
	s.Admin = s.Open(t, AdminUser, AdminPassword, "")
	return s
}

// MySQL starts a server.
func MySQL(t testing.TB, opts ...MySQLOption) *MySQLServer {
	t.Helper()
	s := NewMySQL(t, opts...)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := s.Start(ctx); err != nil {
		t.Fatal(err)
	}
	return s
}

// Open opens a pool to the server; the test's end closes it.
func (s *MySQLServer) Open(t testing.TB, user, password, schema string) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", DSN(s.Address(), user, password, schema))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// Exec runs statements as the administrator, on one connection.
func (s *MySQLServer) Exec(t testing.TB, queries ...string) {
	t.Helper()
	c, err := s.Admin.Conn(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, q := range queries {
		if _, err := c.ExecContext(context.Background(), q); err != nil {
			t.Fatalf("%s: %s: %v", s.Name, q, err)
		}
	}
}

// Ask reads one value; NULL is empty.
func (s *MySQLServer) Ask(t testing.TB, query string) string {
	t.Helper()
	var v sql.NullString
	if err := s.Admin.QueryRow(query).Scan(&v); err != nil {
		t.Fatalf("%s: %s: %v", s.Name, query, err)
	}
	return v.String
}

// Follow makes the server a replica of another by GTID.
func (s *MySQLServer) Follow(t testing.TB, source *MySQLServer) {
	t.Helper()
	s.Exec(t, fmt.Sprintf("CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT=%d, SOURCE_USER='%s', SOURCE_PASSWORD='%s', SOURCE_AUTO_POSITION=1, SOURCE_CONNECT_RETRY=1, SOURCE_RETRY_COUNT=0, GET_SOURCE_PUBLIC_KEY=1",
		source.Port, AdminUser, AdminPassword), "START REPLICA")
}

// CatchUp waits until the server has applied all that the source has written.
func (s *MySQLServer) CatchUp(t testing.TB, source *MySQLServer) {
	t.Helper()
	want := strings.ReplaceAll(source.Ask(t, "SELECT @@global.gtid_executed"), "\n", "")
	if got := s.Ask(t, "SELECT WAIT_FOR_EXECUTED_GTID_SET('"+want+"', 30)"); got != "0" {
		t.Fatalf("%s did not reach %s: %s", s.Name, want, got)
	}
}
