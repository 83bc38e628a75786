package seed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/driver/process"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/seed/seedtest"
)

// world97 is a cluster with a primary and a replica of MySQL 9.7, and nodes of the new cell. No second version of MySQL can be
// had on the machines that this runs on.
type world97 struct {
	primary, replica *processtest.MySQLServer
	fresh            []*processtest.MySQLServer
}

// TestMySQL copies a cluster of MySQL 9.7, from its replica, under load.
func TestMySQL(t *testing.T) {
	w := &world97{primary: processtest.NewMySQL(t), replica: processtest.NewMySQL(t), fresh: []*processtest.MySQLServer{processtest.NewMySQL(t)}}
	var g errgroup.Group
	for _, s := range []*processtest.MySQLServer{w.primary, w.replica, w.fresh[0]} {
		g.Go(func() error {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			return s.Start(ctx)
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	w.primary.Exec(t, "SET GLOBAL read_only=0")
	seedtest.Script(t, w.primary.Admin, seedtest.MySQL)
	seedtest.Reader(t, w.primary.Admin, "mysql")
	w.replica.Follow(t, w.primary)
	w.replica.CatchUp(t, w.primary)
	t.Run("refused", func(t *testing.T) { refused97(t, w) })
	t.Run("a copy", func(t *testing.T) { copied97(t, w) })
	t.Run("a restored backup", func(t *testing.T) { restored97(t, w) })
}

func (w *world97) request(green *processtest.MySQLServer, blue ...*processtest.MySQLServer) bluegreen.SeedRequest {
	old := fleet.Cell{Name: "blue", Version: "9.7"}
	for i, s := range blue {
		old.Nodes = append(old.Nodes, fleet.Node{Name: fmt.Sprintf("blue-%d", i+1), Address: s.Address()})
	}
	c := fleet.Cluster{Name: "orders", Env: "prod", Product: "mysql", Cells: []fleet.Cell{old, {Name: "green", Version: "9.7", Owner: owner, Nodes: []fleet.Node{{Name: "green-1", Address: green.Address()}}}}}
	return bluegreen.SeedRequest{Cluster: c, FromCell: "blue", ToCell: "green", Node: c.Cells[1].Nodes[0], Term: 3}
}

// refused97: what no waiting mends is named, and leaves the new node as it was.
func refused97(t *testing.T, w *world97) {
	g := w.fresh[0]
	alone, both := w.request(g, w.primary), w.request(g, w.primary, w.replica)
	for _, c := range []struct {
		name, check, says string
		r                 bluegreen.SeedRequest
		do, undo          func()
	}{
		{"a primary alone", "seed-source", "can't tell a snapshot's position", alone, func() {}, func() {}},
		{"transactions of its own", "target-errant", "has logged transactions of its own", both,
			func() {
				g.Exec(t, "SET GLOBAL super_read_only=0", "CREATE DATABASE stray", "SET GLOBAL super_read_only=1")
			},
			func() {
				g.Exec(t, "SET GLOBAL super_read_only=0", "DROP DATABASE stray", "RESET BINARY LOGS AND GTIDS", "SET GLOBAL super_read_only=1")
			}},
		{"a second password", "seed-accounts", "have a second password, which can't be copied: `web`@`%`", both,
			func() {
				w.primary.Exec(t, "ALTER USER web IDENTIFIED BY 'third-secret' RETAIN CURRENT PASSWORD")
				w.replica.CatchUp(t, w.primary)
			},
			func() { w.primary.Exec(t, "ALTER USER web DISCARD OLD PASSWORD"); w.replica.CatchUp(t, w.primary) }},
	} {
		c.do()
		err := seeder(t, nil).Seed(t.Context(), c.r, nil, nothing)
		c.undo()
		var r *engine.Refusal
		if !errors.As(err, &r) || r.Checks[0].Name != c.check || !strings.Contains(r.Checks[0].Detail, c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := g.Ask(t, "SELECT CONCAT(@@global.read_only, @@global.super_read_only)"); got != "11" {
			t.Errorf("%s: read_only and super_read_only: %s", c.name, got)
		}
	}
}

// copied97 goes on where a killed try left the source's applier standing. trap 33, trap 34
func copied97(t *testing.T, w *world97) {
	g := w.fresh[0]
	r := w.request(g, w.primary, w.replica)
	stop := seedtest.Load(t, w.primary.Admin)
	// A try that ends in the middle, its context with it.
	ctx, cancel := context.WithCancel(t.Context())
	saved := 0
	err := seeder(t, nil).Seed(ctx, r, nil, func(_ context.Context, st any, _ float64, _ string) error {
		if s := st.(Status); s.Rows > 0 {
			if saved++; saved == 3 {
				cancel()
			}
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a try that ends in the middle: %v", err)
	}
	if done, _, err := seeder(t, nil).Seeded(t.Context(), r); done || err != nil {
		t.Errorf("half a copy is a whole one: %v %v", done, err)
	}
	// One that is killed while it holds the applier.
	w.replica.Exec(t, "STOP REPLICA SQL_THREAD")
	status, err := json.Marshal(Status{Stopped: "blue-2"})
	if err != nil {
		t.Fatal(err)
	}
	// Nobody goes on with it: the undo starts the applier that the status names, and no other.
	for _, x := range []struct {
		status  string
		resumed bool
	}{{"", true}, {`{}`, true}, {`{"stopped":"blue-1"}`, true}, {`{"stopped":"blue-9"}`, true}, {string(status), false}} {
		if done, err := seeder(t, nil).Resumed(t.Context(), r, json.RawMessage(x.status)); err != nil || done != x.resumed {
			t.Errorf("resumed, by %q: %v %v", x.status, done, err)
		}
		if err := seeder(t, nil).Resume(t.Context(), r, json.RawMessage(x.status)); err != nil {
			t.Error(err)
		}
		if runs := w.replica.Ask(t, "SELECT SERVICE_STATE FROM performance_schema.replication_applier_status") == "ON"; runs == x.resumed {
			t.Errorf("by %q, the applier runs: %v", x.status, runs)
		}
	}
	if done, err := seeder(t, nil).Resumed(t.Context(), r, status); err != nil || !done {
		t.Errorf("after it was started again: %v %v", done, err)
	}
	w.replica.Exec(t, "STOP REPLICA SQL_THREAD")
	var stopped []string
	err = seeder(t, nil).Seed(t.Context(), r, status, func(_ context.Context, st any, _ float64, _ string) error {
		if s := st.(Status); len(stopped) == 0 || stopped[len(stopped)-1] != s.Stopped {
			stopped = append(stopped, s.Stopped)
		}
		return nil
	})
	n := stop()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d statements meanwhile", n)
	if got := strings.Join(stopped, ","); got != "blue-2," {
		t.Errorf("the applier that is stopped, as it was noted: %q", got)
	}
	if got := w.replica.Ask(t, "SELECT SERVICE_STATE FROM performance_schema.replication_applier_status"); got != "ON" {
		t.Errorf("the source's applier: %s", got)
	}
	// One that is killed after it has set the position and before it says that it is whole.
	g.Exec(t, "SET GLOBAL super_read_only=0", "SET SESSION sql_log_bin=0", "UPDATE windlass.seed SET state='copying'", "SET SESSION sql_log_bin=1", "SET GLOBAL super_read_only=1")
	if done, _, err := seeder(t, nil).Seeded(t.Context(), r); done || err != nil {
		t.Errorf("without its mark it is whole: %v %v", done, err)
	}
	if err := seeder(t, nil).Seed(t.Context(), r, nil, nothing); err != nil {
		t.Fatal(err)
	}
	w.whole(t, g, r)
	for query, want := range map[string]string{
		"SELECT GROUP_CONCAT(DISTINCT TABLE_COLLATION) FROM information_schema.TABLES WHERE TABLE_SCHEMA='app' AND TABLE_TYPE='BASE TABLE'": "utf8mb4_general_ci",
		"SELECT CONCAT_WS(' ', a, b, c, f) FROM app.t_time WHERE id=2":                                                                      "0000-00-00 0000-00-00 00:00:00.000000 0000-00-00 00:00:00.000 0000-00-00 00:00:00",
		"SELECT CONCAT_WS(' ', a, b) FROM app.t_time WHERE id=4":                                                                            "2024-02-31 2024-00-00 00:00:00.000000",
		"SELECT CONCAT_WS(' ', CAST(e*1e0 AS CHAR), CAST(f AS CHAR)) FROM app.t_num WHERE id=5":                                             "0.10000000149011612 0.30000000000000004",
		"SELECT k FROM app.t_str WHERE id=1":                                                                                                w.primary.Ask(t, "SELECT k FROM app.t_str WHERE id=1"),
		"SELECT CONCAT_WS(' ', ST_AsText(c), ST_SRID(c), ST_AsText(d), VECTOR_TO_STRING(v), gv, gs) FROM app.t_misc WHERE id=1":             w.primary.Ask(t, "SELECT CONCAT_WS(' ', ST_AsText(c), ST_SRID(c), ST_AsText(d), VECTOR_TO_STRING(v), gv, gs) FROM app.t_misc WHERE id=1"),
		"SELECT GROUP_CONCAT(my_row_id) FROM app.t_gipk":                                                                                    "1,2",
		"SELECT e+0 FROM app.t_enumkey WHERE y=0":                                                                                           "0",
		"SELECT COUNT(*) FROM app.t_child c LEFT JOIN app.t_parent p ON p.id=c.p WHERE c.p AND p.id IS NULL":                                "1",
		"SELECT SQL_MODE FROM information_schema.ROUTINES WHERE ROUTINE_NAME='p2'":                                                          "PIPES_AS_CONCAT,ANSI_QUOTES",
		"SELECT HEX(ROUTINE_DEFINITION) FROM information_schema.ROUTINES WHERE ROUTINE_NAME='p3'":                                           w.primary.Ask(t, "SELECT HEX(ROUTINE_DEFINITION) FROM information_schema.ROUTINES WHERE ROUTINE_NAME='p3'"),
		"SELECT app.f1(7, 'x')": "7xé",
		"SELECT GROUP_CONCAT(TRIGGER_NAME ORDER BY ACTION_ORDER) FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_TABLE='t_nokey'": "tr1,tr2",
		"SELECT AUTO_INCREMENT > 3000 FROM information_schema.TABLES WHERE TABLE_NAME='load_rows'":                                    "1",
		"SELECT CONCAT(@@global.read_only, @@global.super_read_only)":                                                                 "11",
		"SELECT CONCAT(DEFAULT_ROLE_USER, DEFAULT_ROLE_HOST) FROM mysql.default_roles WHERE USER='web'":                               "reader%",
	} {
		if got := g.Ask(t, query); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	db := g.Open(t, "web", "third-secret", "app")
	if _, err := db.ExecContext(t.Context(), "SELECT COUNT(*) FROM load_rows"); err != nil {
		t.Errorf("an account's password and default role: %v", err)
	}
	if _, err := db.ExecContext(t.Context(), "SELECT COUNT(*) FROM mysql.user"); err == nil || !strings.Contains(err.Error(), "denied") {
		t.Errorf("it has a right too many: %v", err)
	}
}

// whole follows the primary from the copy's position, and sees that both hold the same.
func (w *world97) whole(t *testing.T, g *processtest.MySQLServer, r bluegreen.SeedRequest) {
	t.Helper()
	done, res, err := seeder(t, nil).Seeded(t.Context(), r)
	if err != nil || !done || !res.OK() {
		t.Fatalf("seeded: %v %v %v", done, res, err)
	}
	// Events wait for a promotion, also those that were enabled on the primary. trap 5
	if got := g.Ask(t, "SELECT CONCAT(@@global.event_scheduler, ' ', STATUS) FROM information_schema.EVENTS WHERE EVENT_NAME='ev1'"); got != "OFF REPLICA_SIDE_DISABLED" && got != "OFF SLAVESIDE_DISABLED" {
		t.Errorf("scheduler and event: %s", got)
	}
	g.Follow(t, w.primary)
	g.CatchUp(t, w.primary)
	if got := g.Ask(t, "SELECT GTID_SUBTRACT(@@global.gtid_executed, '"+strings.ReplaceAll(w.primary.Ask(t, "SELECT @@global.gtid_executed"), "\n", "")+"')"); got != "" {
		t.Errorf("the copy has transactions of its own: %s", got)
	}
	tables := strings.Split(w.primary.Ask(t, "SELECT GROUP_CONCAT(CONCAT('`', REPLACE(TABLE_NAME, '`', '``'), '`')) FROM information_schema.TABLES WHERE TABLE_SCHEMA='app' AND TABLE_TYPE='BASE TABLE'"), ",")
	if len(tables) < 10 {
		t.Fatalf("%d tables", len(tables))
	}
	for _, name := range tables {
		sums := map[*processtest.MySQLServer]string{}
		for _, s := range []*processtest.MySQLServer{w.primary, g} {
			var skip, sum string
			if err := s.Admin.QueryRow("CHECKSUM TABLE app."+name).Scan(&skip, &sum); err != nil {
				t.Fatal(err)
			}
			sums[s] = sum
		}
		if sums[w.primary] != sums[g] {
			t.Errorf("%s: checksum %s, copy %s", name, sums[w.primary], sums[g])
		}
	}
}

// restored97 adopts a node that was made of a stopped replica's files.
func restored97(t *testing.T, w *world97) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	g := processtest.NewMySQL(t, processtest.WithMySQL("skip-replica-start=ON"))
	if err := w.replica.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if err := process.Clone(w.replica.DataDir(), g.DataDir()); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(g.DataDir(), "auto.cnf")); err != nil {
		t.Fatal(err)
	}
	if err := w.replica.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if err := g.Start(ctx); err != nil {
		t.Fatal(err)
	}
	r := w.request(g, w.primary, w.replica)
	err := seeder(t, nil).Seed(t.Context(), r, nil, nothing)
	var refusal *engine.Refusal
	if !errors.As(err, &refusal) || refusal.Checks[0].Name != "target-replication" {
		t.Errorf("a backup that still replicates: %v", err)
	}
	g.Exec(t, "RESET REPLICA ALL")
	if err := seeder(t, nil).Seed(t.Context(), r, nil, nothing); err != nil {
		t.Fatal(err)
	}
	if done, res, err := seeder(t, nil).Seeded(t.Context(), r); !done || err != nil || !strings.Contains(res.String(), "restored") {
		t.Errorf("%v %v %v", done, res, err)
	}
}
