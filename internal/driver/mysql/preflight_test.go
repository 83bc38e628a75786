package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/switchover"
)

// fault makes one thing wrong on a cluster that passes, and tells which check has to say so and how. It mends it afterwards.
type fault struct {
	name    string
	check   string
	verdict check.Verdict
	says    string // part of the detail
	do      func(t *testing.T, w *world, req *switchover.Request) (mend func())
}

func (w *world) conn(t testing.TB, node, user, password string) *sql.Conn {
	t.Helper()
	db := w.servers[node].Open(t, user, password, "app")
	db.SetMaxIdleConns(-1) // closed is closed
	c, err := db.Conn(bg(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func must(t testing.TB, c *sql.Conn, queries ...string) {
	t.Helper()
	for _, q := range queries {
		if _, err := c.ExecContext(bg(t), q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
}

// unlogged runs statements on a node as an administrator, out of the binary log.
func (w *world) unlogged(t testing.TB, node string, queries ...string) {
	t.Helper()
	c := w.conn(t, node, processtest.AdminUser, processtest.AdminPassword)
	must(t, c, append([]string{"SET SESSION sql_log_bin=0"}, queries...)...)
	c.Close()
}

func (w *world) set(node, on, off string) func(*testing.T, *world, *switchover.Request) func() {
	return func(t *testing.T, w *world, _ *switchover.Request) func() {
		w.servers[node].Exec(t, on)
		return func() { w.servers[node].Exec(t, off) }
	}
}

func TestPreflight(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, 1)
	for _, s := range w.servers { // as servers of a fleet are
		s.Exec(t, "SET GLOBAL sync_binlog=1")
		s.Exec(t, "SET GLOBAL innodb_flush_log_at_trx_commit=1")
	}
	w.server("blue-2").Exec(t, "SET GLOBAL gtid_strict_mode=0") // its errant transaction has to get as far as the check
	if err := w.d.Fence(bg(t), w.c, w.term); err != nil {
		t.Fatal(err)
	}
	run := func(t *testing.T, req switchover.Request) check.Results {
		t.Helper()
		rs, err := w.d.Preflight(bg(t), req)
		if err != nil {
			t.Fatal(err)
		}
		return rs
	}
	good := run(t, w.request("green", "one"))
	var names []string
	for _, r := range good {
		names = append(names, r.Name)
		if r.At.IsZero() || r.Detail == "" || r.Evidence == "" && r.Name != "elect" {
			t.Errorf("without evidence: %+v", r)
		}
	}
	if !slices.Equal(names, CheckNames()) {
		t.Errorf("names %v", names)
	}
	if result(t, good, "durability").Verdict != check.Pass {
		t.Errorf("%+v", result(t, good, "durability"))
	}
	if !good.OK() {
		t.Fatalf("a good cluster does not pass: %v", good.Bad())
	}

	faults := []fault{
		{"replica stopped", "replication-running", check.Fail, "blue/blue-2: both replication threads are stopped", w.set("blue-2", "STOP SLAVE", "START SLAVE")},
		{"elect stopped", "elect", check.Fail, "green/green-1: both replication threads are stopped", w.set("green-1", "STOP SLAVE", "START SLAVE")},
		{"elect banned", "elect", check.Fail, "banned", func(_ *testing.T, _ *world, req *switchover.Request) func() {
			req.Cluster.Labels = map[string]string{LabelNeverPrimary: "x, green-1"}
			return func() {}
		}},
		{"lag", "replica-lag", check.Fail, "it has received more than it has applied", func(t *testing.T, w *world, req *switchover.Request) func() {
			req.Settings.MaxLag = time.Second
			locked := w.conn(t, "green-1", processtest.AdminUser, processtest.AdminPassword)
			must(t, locked, "LOCK TABLES app.t READ")
			w.server("blue-1").Exec(t, "INSERT INTO app.t (k, n) VALUES ('lag', 1)")
			return func() { must(t, locked, "UNLOCK TABLES"); w.server("green-1").CatchUp(t, w.server("blue-1")) }
		}},
		{"two writable", "one-primary", check.Fail, "2 nodes of qa/orders are writable", w.set("green-1", "SET GLOBAL read_only=0", "SET GLOBAL read_only=1")},
		{"none writable", "one-primary", check.Fail, "no node of qa/orders is writable", w.set("blue-1", "SET GLOBAL read_only=1", "SET GLOBAL read_only=0")},
		{"another server at the address", "identity", check.Fail, "recorded is somebody-else", func(_ *testing.T, _ *world, req *switchover.Request) func() {
			req.Cluster = deep(req.Cluster)
			req.Cluster.Cells[1].Nodes[0].UUID = "somebody-else"
			return func() {}
		}},
		{"the same server twice", "identity", check.Fail, "are the same server", func(_ *testing.T, _ *world, req *switchover.Request) func() {
			req.Cluster = deep(req.Cluster)
			req.Cluster.Cells[0].Nodes[1].Address = req.Cluster.Cells[1].Nodes[0].Address
			return func() {}
		}},
		{"the cell's version is not installed", "versions", check.Fail, "is meant to be 11.4", func(_ *testing.T, _ *world, req *switchover.Request) func() {
			req.Cluster = deep(req.Cluster)
			req.Cluster.Cells[1].Version = "11.4"
			return func() {}
		}},
		{"too soon (flapping)", "last-switch", check.Fail, "the least interval is 1h0m0s", func(t *testing.T, w *world, req *switchover.Request) func() {
			req.Settings.MinInterval = time.Hour
			w.note(t, "blue-1", isPrimary, "yesterday")
			return func() { w.unlogged(t, "blue-1", "DELETE FROM windlass.standing") }
		}},
		{"trap 10: hold too short", "hold-budget", check.Fail, "can't contain", func(_ *testing.T, _ *world, req *switchover.Request) func() {
			req.Settings.HoldTTL = 2 * time.Second
			return func() {}
		}},
		{"skip counter", "skip-counter", check.Fail, "would skip 1", func(t *testing.T, w *world, _ *switchover.Request) func() {
			w.server("blue-2").Exec(t, "STOP SLAVE")
			w.server("blue-2").Exec(t, "SET GLOBAL gtid_slave_pos=''")
			w.server("blue-2").Exec(t, "CHANGE MASTER TO MASTER_USE_GTID=no")
			w.server("blue-2").Exec(t, "SET GLOBAL sql_slave_skip_counter=1")
			return func() {
				w.server("blue-2").Exec(t, "SET GLOBAL sql_slave_skip_counter=0")
				w.server("blue-2").Exec(t, "SET GLOBAL gtid_slave_pos='"+w.ask(t, "blue-1", "SELECT @@global.gtid_binlog_pos")+"'")
				w.server("blue-2").Exec(t, "CHANGE MASTER TO MASTER_USE_GTID=slave_pos")
				w.server("blue-2").Exec(t, "START SLAVE")
			}
		}},
		{"statement format", "binlog-format", check.Fail, "binlog_format=MIXED", w.set("blue-1", "SET GLOBAL binlog_format=MIXED", "SET GLOBAL binlog_format=ROW")},
		{"replication filter", "replication-filters", check.Fail, "Replicate_Ignore_Table=app.x", func(t *testing.T, w *world, _ *switchover.Request) func() {
			w.server("blue-2").Exec(t, "STOP SLAVE")
			w.server("blue-2").Exec(t, "SET GLOBAL replicate_ignore_table='app.x'")
			w.server("blue-2").Exec(t, "START SLAVE")
			return func() {
				w.server("blue-2").Exec(t, "STOP SLAVE")
				w.server("blue-2").Exec(t, "SET GLOBAL replicate_ignore_table=''")
				w.server("blue-2").Exec(t, "START SLAVE")
			}
		}},
		{"delayed replica", "replication-filters", check.Fail, "late on purpose by 60 s", func(t *testing.T, w *world, _ *switchover.Request) func() {
			change := func(n int) {
				w.server("blue-2").Exec(t, "STOP SLAVE")
				w.server("blue-2").Exec(t, fmt.Sprintf("CHANGE MASTER TO MASTER_DELAY=%d", n))
				w.server("blue-2").Exec(t, "START SLAVE")
			}
			change(60)
			return func() { change(0) }
		}},
		{"follows by file and offset", "replication-running", check.Fail, "not by GTID", func(t *testing.T, w *world, _ *switchover.Request) func() {
			change := func(how string) {
				w.server("blue-2").Exec(t, "STOP SLAVE")
				w.server("blue-2").Exec(t, "CHANGE MASTER TO MASTER_USE_GTID="+how)
				w.server("blue-2").Exec(t, "START SLAVE")
			}
			change("no")
			return func() { change("slave_pos") }
		}},
		{"trap 2: boots writable", "boot-read-only", check.Fail, "blue/blue-1 boots writable", func(_ *testing.T, w *world, _ *switchover.Request) func() {
			w.d.cfg.BootsReadOnly = func(_ context.Context, n fleet.Node) (bool, error) { return n.Name != "blue-1", nil }
			return func() { w.d.cfg.BootsReadOnly = w.cfg.BootsReadOnly }
		}},
		{"trap 2: nobody knows how it boots", "boot-read-only", check.Unknown, "whether blue/blue-1 boots read-only", func(_ *testing.T, w *world, _ *switchover.Request) func() {
			w.d.cfg.BootsReadOnly = nil
			return func() { w.d.cfg.BootsReadOnly = w.cfg.BootsReadOnly }
		}},
		{"trap 2: its maker knows nothing of one node", "boot-read-only", check.Unknown, "whether blue/blue-1 boots read-only", func(_ *testing.T, w *world, _ *switchover.Request) func() {
			w.d.cfg.BootsReadOnly = func(_ context.Context, n fleet.Node) (bool, error) {
				if n.Name == "blue-1" {
					return false, ErrNotKnown
				}
				return true, nil
			}
			return func() { w.d.cfg.BootsReadOnly = w.cfg.BootsReadOnly }
		}},
		{"an application that may write on a read-only server", "bypass-accounts", check.Fail, "'mighty'@'%' is in use", func(t *testing.T, w *world, _ *switchover.Request) func() {
			w.server("blue-1").Exec(t, "CREATE USER mighty@'%' IDENTIFIED BY 'x'")
			w.server("blue-1").Exec(t, "GRANT READ_ONLY ADMIN, SELECT ON *.* TO mighty@'%'")
			c := w.conn(t, "blue-1", "mighty", "x")
			return func() { c.Close(); w.server("blue-1").Exec(t, "DROP USER mighty@'%'") }
		}},
		{"trap 5: scheduler on a replica", "events", check.Fail, "1 events are enabled", func(t *testing.T, w *world, _ *switchover.Request) func() {
			w.unlogged(t, "green-1", "CREATE EVENT app.e ON SCHEDULE EVERY 1 DAY DO SET @x=1")
			w.server("green-1").Exec(t, "SET GLOBAL event_scheduler=ON")
			return func() {
				w.server("green-1").Exec(t, "SET GLOBAL event_scheduler=OFF")
				w.unlogged(t, "green-1", "DROP EVENT app.e")
			}
		}},
		{"trap 16: commits that a crash loses", "durability", check.Warn, "sync_binlog=0", w.set("blue-1", "SET GLOBAL sync_binlog=0", "SET GLOBAL sync_binlog=1")},
		{"trap 16: a replica that waits for acknowledgements", "semi-sync", check.Fail, "nobody sends", w.set("green-1", "SET GLOBAL rpl_semi_sync_master_enabled=1", "SET GLOBAL rpl_semi_sync_master_enabled=0")},
		{"trap 16: falls back to asynchronous", "semi-sync", check.Warn, "falls back", w.set("blue-1", "SET GLOBAL rpl_semi_sync_master_enabled=1", "SET GLOBAL rpl_semi_sync_master_enabled=0")},
		{"trap 15: open write transaction", "long-transactions", check.Fail, "1 rows changed", func(t *testing.T, w *world, _ *switchover.Request) func() {
			c := w.conn(t, "blue-1", processtest.AdminUser, processtest.AdminPassword)
			must(t, c, "BEGIN", "INSERT INTO app.t (k, n) VALUES ('open', 1)", "DO SLEEP(1.2)")
			return func() { must(t, c, "ROLLBACK") }
		}},
		{"trap 15: open read transaction", "long-transactions", check.Pass, "", func(t *testing.T, w *world, _ *switchover.Request) func() {
			c := w.conn(t, "blue-1", processtest.AdminUser, processtest.AdminPassword)
			must(t, c, "SET autocommit=0", "SELECT * FROM app.t", "DO SLEEP(1.2)")
			return func() { must(t, c, "COMMIT") }
		}},
		{"a write that runs for long", "long-statements", check.Fail, "runs a write", func(t *testing.T, w *world, _ *switchover.Request) func() {
			release := w.holdWrite(t, "blue-1")
			processtest.Until(t, 10*time.Second, "it has run for a second", func() bool {
				return w.ask(t, "blue-1", "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE='User sleep' AND TIME >= 1") == "1"
			})
			return release
		}},
		{"a schema change that runs", "long-statements", check.Fail, "schema change", func(t *testing.T, w *world, _ *switchover.Request) func() {
			locked, alter := w.conn(t, "blue-1", processtest.AdminUser, processtest.AdminPassword), w.conn(t, "blue-1", processtest.AdminUser, processtest.AdminPassword)
			must(t, locked, "BEGIN", "SELECT * FROM app.t")
			done := make(chan error, 1)
			go func() {
				_, err := alter.ExecContext(context.Background(), "/* by hand */ ALTER TABLE app.t COMMENT='x'")
				done <- err
			}()
			processtest.Until(t, 10*time.Second, "it waits", func() bool {
				return w.ask(t, "blue-1", "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE LIKE 'Waiting for table metadata%'") == "1"
			})
			return func() {
				must(t, locked, "ROLLBACK")
				if err := <-done; err != nil {
					t.Error(err)
				}
			}
		}},
		{"trap 20: prepared XA", "xa-prepared", check.Fail, "1 prepared XA", func(t *testing.T, w *world, _ *switchover.Request) func() {
			c := w.conn(t, "blue-1", processtest.AdminUser, processtest.AdminPassword)
			must(t, c, "XA START 'x'", "INSERT INTO app.t (k, n) VALUES ('xa', 1)", "XA END 'x'", "XA PREPARE 'x'")
			return func() { must(t, c, "XA ROLLBACK 'x'") }
		}},
		{"trap 12: a client that goes around the gateways", "unknown-clients", check.Fail, "of app from 127.0.0.1", func(t *testing.T, w *world, _ *switchover.Request) func() {
			c := w.conn(t, "blue-1", processtest.AppUser, processtest.AppPassword)
			return func() { c.Close() }
		}},
		{"trap 22: an account that the elect does not have", "same-accounts", check.Fail, "account only@% is not on", func(t *testing.T, w *world, _ *switchover.Request) func() {
			w.unlogged(t, "blue-1", "CREATE USER only@'%' IDENTIFIED BY 'x'")
			return func() { w.unlogged(t, "blue-1", "DROP USER only@'%'") }
		}},
		{"trap 22: another password", "same-accounts", check.Fail, "logs in differently", func(t *testing.T, w *world, _ *switchover.Request) func() {
			w.unlogged(t, "green-1", "SET PASSWORD FOR app@'%' = PASSWORD('other')")
			return func() {
				w.unlogged(t, "green-1", "SET PASSWORD FOR app@'%' = PASSWORD('"+processtest.AppPassword+"')")
			}
		}},
		{"trap 21: too few connections", "connections", check.Fail, "takes 15 connections", w.set("green-1", "SET GLOBAL max_connections=15", "SET GLOBAL max_connections=300")},
		{"a table that differs", "schema-drift", check.Fail, `"table app.t"`, func(t *testing.T, w *world, _ *switchover.Request) func() {
			w.unlogged(t, "green-1", "ALTER TABLE app.t MODIFY n INT NULL")
			return func() { w.unlogged(t, "green-1", "ALTER TABLE app.t MODIFY n INT NOT NULL") }
		}},
		{"something of the new version", "way-back-risks", check.Fail, "column app.v.v is VECTOR", func(t *testing.T, w *world, _ *switchover.Request) func() {
			w.unlogged(t, "green-1", "CREATE TABLE app.v (v VECTOR(3) NOT NULL)")
			return func() { w.unlogged(t, "green-1", "DROP TABLE app.v") }
		}},
	}
	for _, x := range faults {
		t.Run(x.name, func(t *testing.T) {
			req := w.request("green", "one")
			mend := x.do(t, w, &req)
			defer mend()
			r := result(t, run(t, req), x.check)
			if r.Verdict != x.verdict || !strings.Contains(r.Detail, x.says) {
				t.Errorf("%s: %s: %s", r.Name, r.Verdict, r.Detail)
			}
			if r.Verdict == check.Fail && r.Remedy == "" {
				t.Errorf("no remedy: %+v", r)
			}
		})
	}
	processtest.Until(t, 20*time.Second, "everything is mended", func() bool {
		rs := run(t, w.request("green", "one"))
		if !rs.OK() {
			t.Logf("not yet: %v", rs.Bad())
		}
		return rs.OK()
	})

	// What can't be mended comes last.
	t.Run("external replica", func(t *testing.T) {
		x := processtest.MariaDB(t, "10.11")
		x.Follow(t, w.server("blue-1"))
		x.CatchUp(t, w.server("blue-1"))
		r := result(t, run(t, w.request("green", "one")), "external-replicas")
		if r.Verdict != check.Fail || !strings.Contains(r.Detail, fmt.Sprintf("server_id %d", x.ServerID)) {
			t.Errorf("%+v", r)
		}
		kill(t, x)
	})
	t.Run("errant transaction", func(t *testing.T) {
		w.server("blue-2").Exec(t, "INSERT INTO app.t (k, n) VALUES ('errant', 1)")
		r := result(t, run(t, w.request("green", "one")), "errant-gtid")
		if r.Verdict != check.Fail || !strings.Contains(r.Detail, "blue/blue-2 has 0-") {
			t.Errorf("%+v", r)
		}
	})
	t.Run("a node that does not answer", func(t *testing.T) {
		kill(t, w.server("blue-2"))
		rs := run(t, w.request("green", "one"))
		if r := result(t, rs, "nodes-reachable"); r.Verdict != check.Unknown || !strings.Contains(r.Detail, "blue-2") {
			t.Errorf("%+v", r)
		}
		if rs.OK() {
			t.Error("it passes with an unknown node")
		}
	})
	t.Run("the primary does not answer", func(t *testing.T) {
		kill(t, w.server("blue-1"))
		for _, r := range run(t, w.request("green", "one")) {
			switch r.Name {
			case "hold-budget", "nodes-reachable", "one-primary", "elect": // these look at settings, or say that it is gone
			case "replication-filters", "binlog-format", "skip-counter", "gtid-ready", "identity", "versions", "external-replicas", "green-read-only", "boot-read-only", "collation-pin", "gateways", "gateway-prepare", "last-switch", "way-back-risks", "semi-sync", "durability", "events", "xa-prepared":
				if r.Verdict == check.Pass {
					t.Errorf("passes without the primary: %+v", r)
				}
			default:
				if r.Verdict != check.Unknown && r.Verdict != check.Fail {
					t.Errorf("does not hold without the primary: %+v", r)
				}
			}
		}
	})
}

// note writes a standing, as an earlier switch would have.
func (w *world) note(t testing.TB, node, role, id string) {
	t.Helper()
	s, err := w.d.dialTo(bg(t), w.place(node))
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	v := s.look(bg(t))
	if v.err != nil {
		t.Fatal(v.err)
	}
	if err := s.note(bg(t), w.term, v.uuid, role, id, detail{}); err != nil {
		t.Fatal(err)
	}
}

func deep(c fleet.Cluster) fleet.Cluster {
	c.Cells = slices.Clone(c.Cells)
	for i := range c.Cells {
		c.Cells[i].Nodes = slices.Clone(c.Cells[i].Nodes)
	}
	return c
}
