package datacheck_test

import (
	"context"
	"database/sql"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/datacheck"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/seed"
	"github.com/windlass-db/windlass/internal/seed/seedtest"
)

// world is a cluster with a primary and, if wanted, a replica of the old version, and a seeded replica of the new one.
type world struct {
	primary, replica, green *processtest.Server
	cluster                 fleet.Cluster
}

// What the copying and the comparing of data share, by the names that these tests use.
var (
	access = seedtest.Access
	one    = func(t testing.TB, db *sql.DB, query string) string { t.Helper(); return seedtest.One(t, db, query) }
)

func load(t *testing.T, s *processtest.Server) (stop func() int64) {
	return seedtest.Load(t, s.Admin, seedtest.OnMariaDB...)
}

var fast = processtest.With("sync-binlog=0", "innodb-flush-log-at-trx-commit=2")

func newWorld(t *testing.T, withReplica bool) *world {
	t.Helper()
	w := &world{primary: processtest.Primary(t, "10.11", fast), green: processtest.MariaDB(t, "11.8", fast)}
	seedtest.Script(t, w.primary.Admin, seedtest.MariaDB)
	seedtest.Reader(t, w.primary.Admin, "mariadb")
	blue := fleet.Cell{Name: "blue", Version: "10.11", Nodes: []fleet.Node{{Name: "blue-1", Address: w.primary.Address()}}}
	if withReplica {
		w.replica = processtest.MariaDB(t, "10.11", fast)
		w.replica.Replicate(t, w.primary)
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
	w.green.Replicate(t, w.primary)
	processtest.Until(t, 20*time.Second, "replication runs", func() bool { return len(stopped(t, w.green)) == 0 })
	w.green.CatchUp(t, w.primary)
	return w
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

// plant changes the green server behind replication's back.
func (w *world) plant(t *testing.T, stmts ...string) {
	t.Helper()
	seedtest.Script(t, w.green.Admin, "SET sql_log_bin=0, foreign_key_checks=0, sql_mode=''\n;;\n"+strings.Join(stmts, "\n;;\n"))
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
