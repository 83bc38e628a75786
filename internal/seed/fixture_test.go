package seed

import (
	"context"
	"database/sql"
	_ "embed"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/seed/seedtest"
)

const owner = "raise prod/orders"

// world is a cluster with a primary and a replica of the old version.
type world struct{ primary, replica *processtest.Server }

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{primary: processtest.Primary(t, "10.11", fast), replica: processtest.MariaDB(t, "10.11", fast)}
	seedtest.Script(t, w.primary.Admin, seedtest.MariaDB)
	seedtest.Reader(t, w.primary.Admin, "mariadb")
	w.replica.Exec(t, "SET GLOBAL gtid_slave_pos=''")
	w.replica.Replicate(t, w.primary)
	w.replica.CatchUp(t, w.primary)
	return w
}

// target is a node of the new cell, and the request to seed it.
type target struct {
	*processtest.Server
	bluegreen.SeedRequest
}

// fresh starts a node of the new version. Its request reads the replica.
func (w *world) fresh(t *testing.T, opts ...processtest.Option) target {
	t.Helper()
	s := processtest.MariaDB(t, "11.8", append([]processtest.Option{fast, processtest.With("skip-slave-start=ON")}, opts...)...)
	return target{s, w.request(s, nodeOf("blue-1", w.primary), nodeOf("blue-2", w.replica))}
}

func (w *world) request(green *processtest.Server, blue ...fleet.Node) bluegreen.SeedRequest {
	c := fleet.Cluster{Name: "orders", Env: "prod", Product: "mariadb", Cells: []fleet.Cell{{Name: "blue", Version: "10.11", Nodes: blue}, {Name: "green", Version: "11.8", Owner: owner, Nodes: []fleet.Node{nodeOf("green-1", green)}}}}
	return bluegreen.SeedRequest{Cluster: c, FromCell: "blue", ToCell: "green", Node: c.Cells[1].Nodes[0], Term: 3}
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

func nodeOf(name string, s *processtest.Server) fleet.Node {
	return fleet.Node{Name: name, Address: s.Address()}
}

func seeder(t *testing.T, change func(*Config)) *Seeder {
	t.Helper()
	c := Config{Access: access, Mark: marked, Every: time.Nanosecond}
	if change != nil {
		change(&c)
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func marked(context.Context, bluegreen.SeedRequest) (string, error) { return owner, nil }

func nothing(context.Context, any, float64, string) error { return nil }

// whole follows the primary from the copy's position, and sees that both hold the same.
func (w *world) whole(t *testing.T, g target) {
	t.Helper()
	done, res, err := seeder(t, nil).Seeded(t.Context(), g.SeedRequest)
	if err != nil || !done || !res.OK() {
		t.Fatalf("seeded: %v %v %v", done, res, err)
	}
	if got := one(t, g.Admin, "SELECT @@global.gtid_binlog_pos"); got != "" {
		t.Errorf("the copy has transactions of its own: %s", got)
	}
	// Events wait for a promotion, also those that were enabled on the server that was read. trap 5
	if got := one(t, g.Admin, "SELECT CONCAT(@@global.event_scheduler, ' ', GROUP_CONCAT(DISTINCT STATUS)) FROM information_schema.EVENTS WHERE EVENT_NAME='ev1'"); got != "OFF SLAVESIDE_DISABLED" {
		t.Errorf("scheduler and event: %s", got)
	}
	g.Server.Replicate(t, w.primary)
	g.CatchUp(t, w.primary)
	sameRows(t, w.primary, g.Server)
}

// checksums of every table on both servers, by the servers' own means.
func sameRows(t *testing.T, a, b *processtest.Server) {
	t.Helper()
	rows, err := a.Admin.Query("SELECT CONCAT(TABLE_SCHEMA, '.`', REPLACE(TABLE_NAME, '`', '``'), '`') FROM information_schema.TABLES WHERE TABLE_SCHEMA='app' AND TABLE_TYPE='BASE TABLE'")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	n := 0
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		n++
		var skip, x, y string
		if err := a.Admin.QueryRow("CHECKSUM TABLE "+name+" EXTENDED").Scan(&skip, &x); err != nil {
			t.Fatal(err)
		}
		if err := b.Admin.QueryRow("CHECKSUM TABLE "+name+" EXTENDED").Scan(&skip, &y); err != nil {
			t.Fatal(err)
		}
		if x != y {
			t.Errorf("%s: checksum %s, copy %s", name, x, y)
		}
	}
	if err := rows.Err(); err != nil || n < 10 {
		t.Fatalf("%d tables, %v", n, err)
	}
}
