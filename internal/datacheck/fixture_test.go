package datacheck_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/datacheck"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/seed"
)

// world is a cluster with a primary and, if wanted, a replica of the old version, and a seeded replica of the new one.
type world struct {
	primary, replica, green *processtest.Server
	cluster                 fleet.Cluster
}

var fast = processtest.With("sync-binlog=0", "innodb-flush-log-at-trx-commit=2")

func newWorld(t *testing.T, withReplica bool) *world {
	t.Helper()
	w := &world{primary: processtest.Primary(t, "10.11", fast), green: processtest.MariaDB(t, "11.8", fast)}
	text, err := os.ReadFile("../seed/testdata/rich.sql") // every type of column
	if err != nil {
		t.Fatal(err)
	}
	w.script(t, w.primary, string(text))
	blue := fleet.Cell{Name: "blue", Version: "10.11", Nodes: []fleet.Node{{Name: "blue-1", Address: w.primary.Address()}}}
	if withReplica {
		w.replica = processtest.MariaDB(t, "10.11", fast)
		follow(t, w.replica, w.primary)
		w.replica.CatchUp(t, w.primary)
		blue.Nodes = append(blue.Nodes, fleet.Node{Name: "blue-2", Address: w.replica.Address()})
	}
	w.cluster = fleet.Cluster{Name: "orders", Env: "prod", Product: "mariadb", Cells: []fleet.Cell{blue, {Name: "green", Version: "11.8", Owner: "raise", Nodes: []fleet.Node{{Name: "green-1", Address: w.green.Address()}}}}}
	s, err := seed.New(seed.Config{Access: access, Mark: func(context.Context, bluegreen.SeedRequest) (string, error) { return "raise", nil }})
	if err != nil {
		t.Fatal(err)
	}
	r := bluegreen.SeedRequest{Cluster: w.cluster, FromCell: "blue", ToCell: "green", Node: w.cluster.Cells[1].Nodes[0], Term: 1}
	if err := s.Seed(t.Context(), r, nil, func(context.Context, any, float64, string) error { return nil }); err != nil {
		t.Fatal(err)
	}
	follow(t, w.green, w.primary)
	processtest.Until(t, 20*time.Second, "replication runs", func() bool { return len(stopped(t, w.green)) == 0 })
	w.green.CatchUp(t, w.primary)
	return w
}

func access(_ context.Context, n fleet.Node) (*mysql.Config, error) {
	c := mysql.NewConfig()
	c.Net, c.Addr, c.User, c.Passwd = "tcp", n.Address, processtest.AdminUser, processtest.AdminPassword
	return c, nil
}

func checker(t *testing.T, change func(*datacheck.Config)) *datacheck.Checker {
	t.Helper()
	c := datacheck.Config{Access: access, Every: time.Nanosecond, Settle: 30 * time.Second}
	if change != nil {
		change(&c)
	}
	k, err := datacheck.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func follow(t *testing.T, r, p *processtest.Server) {
	t.Helper()
	r.Exec(t, fmt.Sprintf("CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT=%d, MASTER_USER='%s', MASTER_PASSWORD='%s', MASTER_USE_GTID=slave_pos, MASTER_SSL=0, MASTER_CONNECT_RETRY=1", p.Port, processtest.AdminUser, processtest.AdminPassword))
	r.Exec(t, "START SLAVE")
}

// script runs statements separated by lines of ";;", on one connection.
func (w *world) script(t *testing.T, s *processtest.Server, text string) {
	t.Helper()
	c, err := s.Admin.Conn(t.Context())
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

// plant changes the green server behind replication's back.
func (w *world) plant(t *testing.T, stmts ...string) {
	t.Helper()
	w.script(t, w.green, "SET sql_log_bin=0, foreign_key_checks=0, sql_mode=''\n;;\n"+strings.Join(stmts, "\n;;\n"))
}

func one(t *testing.T, db *sql.DB, query string) string {
	t.Helper()
	var v sql.NullString
	if err := db.QueryRow(query).Scan(&v); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return v.String
}

// load writes until it is stopped.
func load(t *testing.T, s *processtest.Server) (stop func() int64) {
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
			for _, q := range []string{
				fmt.Sprintf("INSERT INTO app.load_rows (v, s) VALUES (%d, 'row %d')", i, i),
				fmt.Sprintf("UPDATE app.load_rows SET v = v + 1 WHERE id %% 7 = %d", i%7),
				"DELETE FROM app.load_rows WHERE id % 97 = 13",
				"UPDATE app.t_sv SET v = v + 1 WHERE id = 1",
				fmt.Sprintf("INSERT INTO app.t_nokey VALUES (%d, 'x')", i),
				"DO NEXTVAL(app.sq)",
			} {
				if _, err := s.Admin.ExecContext(ctx, q); err != nil {
					if ctx.Err() == nil {
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

// running sees that a replica's threads run, without an end.
func running(t *testing.T, s *processtest.Server) {
	t.Helper()
	if bad := stopped(t, s); len(bad) > 0 {
		t.Errorf("%s: %v", s.Name, bad)
	}
}

// stopped lists what of a replica does not run.
func stopped(t *testing.T, s *processtest.Server) (bad []string) {
	t.Helper()
	st := slaveStatus(t, s)
	for _, n := range []string{"Slave_IO_Running", "Slave_SQL_Running"} {
		if st[n] != "Yes" {
			bad = append(bad, n+" "+st[n])
		}
	}
	if u := st["Until_Condition"]; u != "None" {
		bad = append(bad, "it runs until "+u)
	}
	return bad
}

// behind is how many seconds a replica is behind; -1 when it does not know.
func behind(t *testing.T, s *processtest.Server) int {
	t.Helper()
	n, err := strconv.Atoi(slaveStatus(t, s)["Seconds_Behind_Master"])
	if err != nil {
		return -1
	}
	return n
}

func slaveStatus(t *testing.T, s *processtest.Server) map[string]string {
	t.Helper()
	rows, err := s.Admin.Query("SHOW SLAVE STATUS")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil || !rows.Next() {
		t.Fatalf("%s does not replicate: %v", s.Name, err)
	}
	values := make([]sql.NullString, len(names))
	into := make([]any, len(names))
	for i := range values {
		into[i] = &values[i]
	}
	if err := rows.Scan(into...); err != nil {
		t.Fatal(err)
	}
	st := map[string]string{}
	for i, n := range names {
		st[n] = values[i].String
	}
	return st
}
