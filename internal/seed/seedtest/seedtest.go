// Package seedtest is a schema with every kind of object and every type of column, and writers on it: what the tests of copying
// and of comparing data work on.
package seedtest

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	driver "github.com/windlass-db/windlass/internal/driver/mysql"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/fleet"
)

// The schema app with its accounts, as statements for Script.
var (
	//go:embed mariadb.sql
	MariaDB string
	//go:embed mysql.sql
	MySQL string
)

// The account that logs in on the servers of the cell blue: it may do what docs/nodes.md asks for, and nothing else.
const readerUser, readerPassword = "reading", "reading-secret"

// Reader makes that account on a primary, and so on its replicas.
func Reader(t testing.TB, db *sql.DB, product string) {
	t.Helper()
	account := "'" + readerUser + "'@'%'"
	for _, stmt := range append([]string{"CREATE USER " + account + " IDENTIFIED BY '" + readerPassword + "'"}, driver.Grants(product, account)...) {
		if _, err := db.ExecContext(t.Context(), stmt); err != nil {
			t.Fatalf("%s: %v", stmt, err)
		}
	}
}

// Access logs in as that account on nodes whose names begin with blue, and as the administrator on all others.
func Access(_ context.Context, n fleet.Node) (*mysql.Config, error) {
	c := mysql.NewConfig()
	c.Net, c.Addr, c.User, c.Passwd = "tcp", n.Address, processtest.AdminUser, processtest.AdminPassword
	if strings.HasPrefix(n.Name, "blue") {
		c.User, c.Passwd = readerUser, readerPassword
	}
	return c, nil
}

// Script runs statements separated by lines of ";;", on one connection.
func Script(t testing.TB, db *sql.DB, text string) {
	t.Helper()
	c, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, stmt := range strings.Split(text, "\n;;\n") {
		if strings.TrimSpace(stmt) == "" {
			continue
		}
		if _, err := c.ExecContext(t.Context(), stmt); err != nil {
			t.Fatalf("%s: %v", stmt, err)
		}
	}
}

// One reads one value; NULL is empty.
func One(t testing.TB, db *sql.DB, query string) string {
	t.Helper()
	var v sql.NullString
	if err := db.QueryRow(query).Scan(&v); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return v.String
}

// Load writes to every sort of table until it is stopped, and says how many statements it ran. More are the product's own.
func Load(t testing.TB, db *sql.DB, more ...string) (stop func() int64) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	var n atomic.Int64
	go func() {
		defer close(done)
		pace := time.NewTicker(20 * time.Millisecond) // it shall not take the machine from what it is beside
		defer pace.Stop()
		for i := 0; ctx.Err() == nil; i++ {
			<-pace.C
			for _, q := range append([]string{
				fmt.Sprintf("INSERT INTO app.load_rows (v, s) VALUES (%d, 'row %d')", i, i),
				fmt.Sprintf("UPDATE app.load_rows SET v = v + 1 WHERE id %% 7 = %d", i%7),
				"DELETE FROM app.load_rows WHERE id % 97 = 13",
				fmt.Sprintf("INSERT INTO app.t_nokey VALUES (%d, 'x')", i),
			}, more...) {
				if _, err := db.ExecContext(ctx, q); err != nil {
					if ctx.Err() == nil && !errors.Is(err, sql.ErrConnDone) {
						t.Errorf("load: %s: %v", q, err)
					}
					return
				}
				n.Add(1)
			}
		}
	}()
	stop = func() int64 {
		cancel()
		<-done
		return n.Load()
	}
	t.Cleanup(func() { stop() })
	return stop
}

// OnMariaDB are the statements of Load on what only MariaDB has: history and sequences.
var OnMariaDB = []string{"UPDATE app.t_sv SET v = v + 1 WHERE id = 1", "DO NEXTVAL(app.sq)"}
