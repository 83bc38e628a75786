// Package processtest runs real servers for tests: each on a free loopback port, in a folder of the test, ended with it.
package processtest

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/windlass-db/windlass/internal/builds"
	"github.com/windlass-db/windlass/internal/driver/process"
)

// The accounts that every test server has. Admin is Windlass' own; App is an application's, without the right to write on a read-only server.
const (
	AdminUser     = "windlass"
	AdminPassword = "admin-secret"
	AppUser       = "app"
	AppPassword   = "app-secret"
	MonitorUser   = "monitor"
	MonitorSecret = "monitor-secret"
)

// InitSQL makes the accounts.
const InitSQL = `CREATE USER 'windlass'@'%' IDENTIFIED BY 'admin-secret';
GRANT ALL ON *.* TO 'windlass'@'%' WITH GRANT OPTION;
CREATE USER 'app'@'%' IDENTIFIED BY 'app-secret';
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX, CREATE TEMPORARY TABLES, LOCK TABLES, EXECUTE, CREATE ROUTINE, TRIGGER, CREATE VIEW, SHOW VIEW, REFERENCES, EVENT ON *.* TO 'app'@'%';
CREATE USER 'monitor'@'%' IDENTIFIED BY 'monitor-secret';
GRANT PROCESS, REPLICATION CLIENT, SLAVE MONITOR ON *.* TO 'monitor'@'%';
CREATE DATABASE app;
`

var serverIDs atomic.Uint32

// Server is a running MariaDB.
type Server struct {
	process.MariaDB
	Admin *sql.DB // as AdminUser, closed with the test
}

// Option changes a server before it starts.
type Option func(*process.MariaDB)

// With adds options as in an option file, such as "sync-binlog=0".
func With(options ...string) Option {
	return func(m *process.MariaDB) { m.Extra = append(m.Extra, options...) }
}

// ports are those that FreePort has given: the kernel may give one again, of which the server has not started yet.
var ports sync.Map

// FreePort takes a port of 127.0.0.1 from the kernel, never one twice.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		l.Close()
		if _, twice := ports.LoadOrStore(port, true); !twice {
			return port
		}
	}
	t.Fatal("the kernel gives no port that was not given before")
	return 0
}

// Fetch gets a build, into the cache that all tests share.
func Fetch(t testing.TB, name string) builds.Build {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	b, err := builds.Fetch(ctx, name, builds.Options{Progress: func(s string) { t.Log(s) }})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// New prepares a server of "10.11" or "11.8" without starting it. The test's end kills it if it runs.
func New(t testing.TB, version string, opts ...Option) *Server {
	t.Helper()
	id := serverIDs.Add(1)
	m := process.MariaDB{Name: fmt.Sprintf("mariadb-%s-%d", version, id), Build: Fetch(t, "mariadb-"+version), Dir: filepath.Join(t.TempDir(), "s"), Port: FreePort(t), ServerID: id + 100, InitSQL: InitSQL}
	for _, o := range opts {
		o(&m)
	}
	s := &Server{MariaDB: m}
	t.Cleanup(func() {
		if s.Admin != nil {
			s.Admin.Close()
		}
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

// MariaDB starts a server, which is read-only, as every server of Windlass boots.
func MariaDB(t testing.TB, version string, opts ...Option) *Server {
	t.Helper()
	s := New(t, version, opts...)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := s.Start(ctx); err != nil {
		t.Fatal(err)
	}
	return s
}

// Primary starts a server that may be written to.
func Primary(t testing.TB, version string, opts ...Option) *Server {
	t.Helper()
	s := MariaDB(t, version, opts...)
	s.Exec(t, "SET GLOBAL read_only=0")
	return s
}

// Pair starts a writable primary and a replica that follows it by GTID.
func Pair(t testing.TB, primary, replica string, opts ...Option) (*Server, *Server) {
	t.Helper()
	p := Primary(t, primary, opts...)
	r := MariaDB(t, replica, opts...)
	r.Follow(t, p)
	return p, r
}

// Follow makes the server a replica of another, from that one's current position.
func (s *Server) Follow(t testing.TB, source *Server) {
	t.Helper()
	var pos string
	if err := source.Admin.QueryRow("SELECT @@global.gtid_binlog_pos").Scan(&pos); err != nil {
		t.Fatal(err)
	}
	s.Exec(t, "SET GLOBAL gtid_slave_pos='"+pos+"'")
	s.Replicate(t, source)
}

// Replicate makes the server a replica of another, from its own position.
func (s *Server) Replicate(t testing.TB, source *Server) {
	t.Helper()
	s.Exec(t, fmt.Sprintf("CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT=%d, MASTER_USER='%s', MASTER_PASSWORD='%s', MASTER_USE_GTID=slave_pos, MASTER_SSL=0, MASTER_CONNECT_RETRY=1", source.Port, AdminUser, AdminPassword))
	s.Exec(t, "START SLAVE")
}

// CatchUp waits until the server has applied all that the source has written.
func (s *Server) CatchUp(t testing.TB, source *Server) {
	t.Helper()
	var pos string
	if err := source.Admin.QueryRow("SELECT @@global.gtid_binlog_pos").Scan(&pos); err != nil {
		t.Fatal(err)
	}
	var got int
	if err := s.Admin.QueryRow("SELECT MASTER_GTID_WAIT(?, 30)", pos).Scan(&got); err != nil || got != 0 {
		t.Fatalf("%s did not reach %s: %d, %v", s.Name, pos, got, err)
	}
}

// Exec runs a statement as the administrator.
func (s *Server) Exec(t testing.TB, query string, args ...any) {
	t.Helper()
	if _, err := s.Admin.Exec(query, args...); err != nil {
		t.Fatalf("%s: %s: %v", s.Name, query, err)
	}
}

// Open opens a pool to the server; the test's end closes it.
func (s *Server) Open(t testing.TB, user, password, schema string) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", DSN(s.Address(), user, password, schema))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// DSN is the data source name of an address.
func DSN(address, user, password, schema string) string {
	c := mysql.NewConfig()
	c.Net, c.Addr, c.User, c.Passwd, c.DBName = "tcp", address, user, password, schema
	c.Timeout, c.ReadTimeout, c.WriteTimeout = 10*time.Second, 60*time.Second, 60*time.Second
	return c.FormatDSN()
}

// Until polls a condition, and fails the test if it does not come true in time.
func Until(t testing.TB, d time.Duration, what string, condition func() bool) {
	t.Helper()
	stop := time.Now().Add(d)
	for !condition() {
		if time.Now().After(stop) {
			t.Fatalf("not within %v: %s", d, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
