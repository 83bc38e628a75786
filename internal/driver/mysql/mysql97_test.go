package mysql

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/switchover"
)

// The flavour MySQL, on two servers of 9.7: observe, fence, replicate, preflight, switch, undo, way back. The parts share the servers,
// and leave blue as the primary.
func TestMySQL97(t *testing.T) {
	t.Parallel()
	w := newWorld97(t)
	w.seed(t)
	if err := w.d.Fence(bg(t), w.c, w.term); err != nil {
		t.Fatal(err)
	}
	for _, part := range []struct {
		name string
		test func(*testing.T, *world97)
	}{
		{"fence", fence97}, {"no time to wait", noTime97}, {"preflight", preflight97}, {"there and back", thereAndBack97}, {"killed", killed97}, {"undo", undo97}, {"semi-sync", semisync97}, {"events", events97},
		{"restart", restart97}, {"way back", wayBack97}, {"tail", tail97},
	} {
		if !t.Run(part.name, func(t *testing.T) { part.test(t, w) }) {
			return // the next part would fail for this one's reason
		}
	}
}

// rehash sets a password on one server alone; undone, it has the hash that the other one has.
func rehash(t *testing.T, s, other *mysqld, user, password string) func() {
	hash := other.ask(t, "SELECT HEX(authentication_string) FROM mysql.user WHERE User='"+user+"'")
	s.unlogged(t, "ALTER USER "+user+" IDENTIFIED BY '"+password+"'")
	return func() { s.unlogged(t, "ALTER USER "+user+" IDENTIFIED WITH caching_sha2_password AS 0x"+hash) }
}

// Nothing may be left of a hold to wait for a position in. MySQL takes a wait of no time for one without end.
func noTime97(t *testing.T, w *world97) {
	s, err := w.d.lookTo(bg(t), w.place("green"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	have, _, err := s.fl.stand(bg(t), s)
	if err != nil {
		t.Fatal(err)
	}
	for position, want := range map[string]bool{have: true, "11111111-2222-3333-4444-555555555555:1-5": false} {
		began := time.Now()
		if there, err := s.fl.wait(bg(t), s, position, 0); err != nil || there != want {
			t.Fatalf("no time to wait for %s: %v, %v after %v", position, there, err, time.Since(began))
		}
	}
}

// trap 1: a stale term is refused by the server, its connections are gone, and nothing of it is in the binary log.
func fence97(t *testing.T, w *world97) {
	stale := w.driver(t)
	old, err := stale.dialTo(bg(t), w.place("green"))
	if err != nil {
		t.Fatal(err)
	}
	defer old.close()
	// A statement with a character that MySQL's information_schema can't show: any question to its list of processes fails meanwhile.
	odd := w.s["green"].conn(t, processtest.AdminUser, processtest.AdminPassword)
	ran := make(chan error, 1)
	go func() {
		_, err := odd.ExecContext(bg(t), "DO SLEEP(6) /* 🍣 */")
		ran <- err
	}()
	defer func() { <-ran }()
	processtest.Until(t, 10*time.Second, "a statement beyond utf8mb3 is seen", func() bool {
		s, err := w.d.lookTo(bg(t), w.place("green"))
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		ps, err := s.processes(bg(t))
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(ps, func(p process) bool { return strings.Contains(p.info, "SLEEP(6) /* 🍣") })
	})
	before := w.s["green"].ask(t, "SELECT @@global.gtid_executed")
	if err := w.d.Fence(bg(t), w.c, 6); err != nil {
		t.Fatal(err)
	}
	w.term = 6
	if err := old.act(bg(t), 5, "stop", old.fl.stop()); err == nil || errors.Is(err, engine.ErrFenced) {
		t.Errorf("the predecessor's connection still works: %v", err)
	}
	again, err := stale.dialTo(bg(t), w.place("green"))
	if err != nil {
		t.Fatal(err)
	}
	defer again.close()
	for _, stmt := range []string{again.fl.promote(), again.fl.stop(), again.fl.persistDemotion()} {
		if err := again.act(bg(t), 5, "act", stmt); !errors.Is(err, engine.ErrFenced) {
			t.Errorf("%s under the old term: %v", stmt, err)
		}
	}
	fenceLeavesLooks(t, w.d, stale, w.place("green"), 7, func(term int64) error { w.term = term; return w.d.Fence(bg(t), w.c, term) })
	if got := w.s["green"].ask(t, "SELECT CONCAT(@@global.super_read_only, @@global.read_only)"); got != "11" {
		t.Errorf("super_read_only and read_only of the replica: %s", got)
	}
	if after := w.s["green"].ask(t, "SELECT @@global.gtid_executed"); after != before {
		t.Errorf("the fence is in the binary log: %s, then %s", before, after)
	}
	w.mustBe(t, "blue")
}

func (w *world97) place(cell string) place {
	for _, p := range places(w.c) {
		if p.cell == cell {
			return p
		}
	}
	panic(cell)
}

// Every check has a verdict that rests on something, and each of these faults is said by its check.
func preflight97(t *testing.T, w *world97) {
	run := func(t *testing.T) check.Results {
		t.Helper()
		rs, err := w.d.Preflight(bg(t), w.request("green", "one"))
		if err != nil {
			t.Fatal(err)
		}
		return rs
	}
	for _, s := range w.s { // as servers of a fleet are
		s.exec(t, "SET GLOBAL sync_binlog=1", "SET GLOBAL innodb_flush_log_at_trx_commit=1")
		defer s.exec(t, "SET GLOBAL sync_binlog=0", "SET GLOBAL innodb_flush_log_at_trx_commit=2")
	}
	good := run(t)
	if result(t, good, "durability").Verdict != check.Pass {
		t.Errorf("%+v", result(t, good, "durability"))
	}
	if !good.OK() || len(good) != len(CheckNames()) {
		t.Fatalf("a good cluster does not pass: %v", good.Bad())
	}
	blue, green := w.s["blue"], w.s["green"]
	set := func(s *mysqld, on, off string) func(t *testing.T) func() {
		return func(t *testing.T) func() { s.exec(t, on); return func() { s.exec(t, off) } }
	}
	for _, x := range []struct {
		name, check string
		verdict     check.Verdict
		says        string
		do          func(t *testing.T) func()
	}{
		{"elect stopped", "elect", check.Fail, "both replication threads are stopped", set(green, "STOP REPLICA", "START REPLICA")},
		{"two writable", "one-primary", check.Fail, "2 nodes", set(green, "SET GLOBAL read_only=0", "SET GLOBAL super_read_only=1")},
		{"administrators can write there", "green-read-only", check.Warn, "administrators can write", set(green, "SET GLOBAL super_read_only=0", "SET GLOBAL super_read_only=1")},
		{"skip counter", "skip-counter", check.Fail, "would skip 1", func(t *testing.T) func() {
			green.exec(t, "STOP REPLICA", "SET GLOBAL sql_replica_skip_counter=1")
			return func() { green.exec(t, "SET GLOBAL sql_replica_skip_counter=0", "START REPLICA") }
		}},
		{"delayed", "replication-filters", check.Fail, "late on purpose", func(t *testing.T) func() {
			green.exec(t, "STOP REPLICA", "CHANGE REPLICATION SOURCE TO SOURCE_DELAY=60", "START REPLICA")
			return func() { green.exec(t, "STOP REPLICA", "CHANGE REPLICATION SOURCE TO SOURCE_DELAY=0", "START REPLICA") }
		}},
		{"set up by hand: it gives up on its source", "replica-retries", check.Warn, "after 10 tries, in 10s", func(t *testing.T) func() {
			green.exec(t, "STOP REPLICA IO_THREAD", "CHANGE REPLICATION SOURCE TO SOURCE_RETRY_COUNT=10", "START REPLICA IO_THREAD")
			return func() { // which Replicate mends, and nothing else of it
				if err := w.d.Replicate(bg(t), w.c, "green", w.term); err != nil {
					t.Error(err)
				}
				if got := green.ask(t, "SELECT CONNECTION_RETRY_COUNT FROM performance_schema.replication_connection_configuration"); got != "0" {
					t.Errorf("retries after Replicate: %s", got)
				}
			}
		}},
		{"filter", "replication-filters", check.Fail, "leaves something out", func(t *testing.T) func() {
			green.exec(t, "STOP REPLICA SQL_THREAD", "CHANGE REPLICATION FILTER REPLICATE_IGNORE_TABLE=(app.x)", "START REPLICA SQL_THREAD")
			return func() {
				green.exec(t, "STOP REPLICA SQL_THREAD", "CHANGE REPLICATION FILTER REPLICATE_IGNORE_TABLE=()", "START REPLICA SQL_THREAD")
			}
		}},
		{"follows by file and offset", "replication-running", check.Fail, "not by GTID", func(t *testing.T) func() {
			green.exec(t, "STOP REPLICA", "CHANGE REPLICATION SOURCE TO SOURCE_AUTO_POSITION=0", "START REPLICA")
			return func() {
				green.exec(t, "STOP REPLICA", "CHANGE REPLICATION SOURCE TO SOURCE_AUTO_POSITION=1", "START REPLICA")
			}
		}},
		{"trap 5: scheduler on a replica", "events", check.Warn, "scheduler of the replica", set(green, "SET GLOBAL event_scheduler=ON", "SET GLOBAL event_scheduler=OFF")},
		{"trap 16: a replica that waits for acknowledgements", "semi-sync", check.Fail, "nobody sends", set(green, "SET GLOBAL rpl_semi_sync_source_enabled=1", "SET GLOBAL rpl_semi_sync_source_enabled=0")},
		{"trap 16: commits that a crash loses", "durability", check.Warn, "sync_binlog=0", set(blue, "SET GLOBAL sync_binlog=0", "SET GLOBAL sync_binlog=1")},
		{"trap 15: open write transaction", "long-transactions", check.Fail, "1 rows changed", func(t *testing.T) func() {
			c := blue.conn(t, processtest.AdminUser, processtest.AdminPassword)
			must(t, c, "BEGIN", "INSERT INTO app.t (k, n) VALUES ('open', 1)", "DO SLEEP(1.2)")
			return func() { must(t, c, "ROLLBACK") }
		}},
		{"trap 20: prepared XA", "xa-prepared", check.Fail, "1 prepared XA", func(t *testing.T) func() {
			c := blue.conn(t, processtest.AdminUser, processtest.AdminPassword)
			must(t, c, "XA START 'x'", "INSERT INTO app.t (k, n) VALUES ('xa', 1)", "XA END 'x'", "XA PREPARE 'x'")
			return func() { must(t, c, "XA ROLLBACK 'x'") }
		}},
		{"trap 12: a client that goes around the gateways", "unknown-clients", check.Fail, "of app from 127.0.0.1", func(t *testing.T) func() {
			c := blue.conn(t, processtest.AppUser, processtest.AppPassword)
			return func() { c.Close() }
		}},
		{"trap 22: an account that the elect does not have", "same-accounts", check.Fail, "account only@% is not on", func(t *testing.T) func() {
			blue.unlogged(t, "CREATE USER only@'%' IDENTIFIED BY 'x'")
			return func() { blue.unlogged(t, "DROP USER only@'%'") }
		}},
		{"trap 22: another password", "same-accounts", check.Fail, "account app@% logs in differently", func(t *testing.T) func() { return rehash(t, blue, green, processtest.AppUser, "another") }},
		// The hash of the same password is another one wherever it is set: of accounts that every node's maker makes, it says nothing.
		{"trap 22: an account of ours, made there by itself", "same-accounts", check.Warn, "account windlass@% of ours has another hash", func(t *testing.T) func() {
			return rehash(t, blue, green, processtest.AdminUser, processtest.AdminPassword)
		}},
		{"trap 22: the account that looks", "same-accounts", check.Pass, "", func(t *testing.T) func() { return rehash(t, blue, green, supervisor, supervisorPassword) }},
		{"trap 21: too few connections", "connections", check.Fail, "takes 12 connections", set(green, "SET GLOBAL max_connections=12", "SET GLOBAL max_connections=150")},
	} {
		t.Run(x.name, func(t *testing.T) {
			mend := x.do(t)
			defer func() {
				mend()
				w.untilReplicating(t, "green")
			}()
			if r := result(t, run(t), x.check); r.Verdict != x.verdict || !strings.Contains(r.Detail, x.says) {
				t.Errorf("%s: %s: %s", r.Name, r.Verdict, r.Detail)
			}
		})
	}
	processtest.Until(t, 30*time.Second, "everything is mended", func() bool { return run(t).OK() })
}

func (w *world97) untilReplicating(t *testing.T, cell string) {
	t.Helper()
	processtest.Until(t, 30*time.Second, cell+" replicates", func() bool {
		chs := w.d.lookAt(bg(t), w.place(cell)).channels
		return len(chs) == 1 && chs[0].healthy()
	})
}

func thereAndBack97(t *testing.T, w *world97) {
	for i, cell := range []string{"green", "blue"} {
		stop := make(chan struct{})
		acked := make(chan int, 1)
		go func() { // whoever is writable takes it; a read-only server refuses
			n := 0
			for k := 0; ; k++ {
				select {
				case <-stop:
					acked <- n
					return
				default:
				}
				at := w.s["blue"]
				if k%2 == 1 {
					at = w.s["green"]
				}
				if _, err := at.app.Exec("INSERT INTO app.t (k, n) VALUES (?, ?)", fmt.Sprintf("%s-%d", cell, k), k); err == nil {
					n++
				}
			}
		}()
		out, err := w.d.Switch(bg(t), w.request(cell, "switch-"+cell))
		close(stop)
		n := <-acked
		if err != nil {
			t.Fatal(err)
		}
		if out.To != cell || out.From != other(cell) {
			t.Errorf("outcome %+v", out)
		}
		w.mustBe(t, cell)
		if got := w.s[cell].ask(t, "SELECT COUNT(*) FROM app.t WHERE k LIKE '"+cell+"-%'"); got != fmt.Sprint(n) {
			t.Errorf("%d writes were acknowledged, %s are there", n, got)
		}
		if n == 0 {
			t.Errorf("switch %d: nothing was written", i)
		}
		if got := w.s[other(cell)].ask(t, "SELECT CONNECTION_RETRY_COUNT FROM performance_schema.replication_connection_configuration"); got != "0" {
			t.Errorf("the replica gives up after %s tries to reach its source", got)
		}
		rs, err := w.d.Prove(bg(t), w.c, w.term)
		if err != nil || !rs.OK() {
			t.Errorf("proof: %v, %v", rs.Bad(), err)
		}
		t.Logf("to %s: read-only for %.0f ms, %d writes beside", cell, out.HoldMS, n)
	}
}

// The supervisor dies at every point; the next one completes the same switch.
func killed97(t *testing.T, w *world97) {
	cell := "blue"
	for i, point := range []string{"after-tidy", "note-elect", "demote-persisted", "demote-set", "after-wait", "after-note-promotion", "after-stop", "promote-set", "after-repoint"} {
		target := other(cell)
		id := fmt.Sprintf("kill-%d", i)
		if !switchKilledAt(t, w.driver(t), bg(t), w.request(target, id), point) {
			t.Fatalf("%s was not reached", point)
		}
		again := w.request(target, id)
		if err := w.d.Fence(bg(t), w.c, again.Term); err != nil {
			t.Fatalf("%s: fence: %v", point, err)
		}
		if _, err := w.d.Switch(bg(t), again); err != nil {
			t.Fatalf("killed at %s: the next run: %v", point, err)
		}
		w.mustBe(t, target)
		cell = target
	}
	if cell != "blue" {
		w.switchTo(t, "blue", "kill-back")
	}
}

// The switch's context ends before the promotion: the old primary is writable again, for everybody, also after a crash.
func undo97(t *testing.T, w *world97) {
	for i, point := range []string{"after-hold", "demote-persisted", "after-demote", "after-stop"} {
		ctx, cancel := context.WithCancel(bg(t))
		req := w.request("green", fmt.Sprintf("undo-%d", i))
		req.Point = func(name string) {
			if name == point {
				cancel()
			}
		}
		_, err := w.d.Switch(ctx, req)
		cancel()
		if err == nil {
			t.Fatalf("cancelled at %s: no error", point)
		}
		w.mustBe(t, "blue")
		if got := w.s["blue"].ask(t, "SELECT CONCAT(@@global.super_read_only, @@global.read_only)"); got != "00" {
			t.Errorf("cancelled at %s: super_read_only and read_only are %s", point, got)
		}
	}
	w.s["blue"].kill(t)
	w.s["blue"].start(t)
	if got := w.s["blue"].ask(t, "SELECT CONCAT(@@global.super_read_only, @@global.read_only)"); got != "00" {
		t.Errorf("after a crash super_read_only and read_only are %s: the undo has not persisted what it set", got)
	}
	w.untilReplicating(t, "green")
}

// trap 16: the roles in semi-synchronous replication move with the primary.
func semisync97(t *testing.T, w *world97) {
	w.s["green"].exec(t, "SET GLOBAL rpl_semi_sync_replica_enabled=1", "STOP REPLICA", "START REPLICA")
	w.s["blue"].exec(t, "SET GLOBAL rpl_semi_sync_source_enabled=1")
	for _, cell := range []string{"green", "blue"} {
		w.switchTo(t, cell, "semi-"+cell)
		for c, s := range w.s {
			want := map[bool]string{true: "1", false: "0"}[c == cell]
			if got := s.ask(t, "SELECT @@global.rpl_semi_sync_source_enabled"); got != want {
				t.Errorf("the primary is %s: %s has rpl_semi_sync_source_enabled=%s", cell, c, got)
			}
		}
		processtest.Until(t, 10*time.Second, "the primary is acknowledged", func() bool {
			return w.s[cell].ask(t, "SELECT VARIABLE_VALUE FROM performance_schema.global_status WHERE VARIABLE_NAME='Rpl_semi_sync_source_clients'") == "1"
		})
	}
	for _, s := range w.s {
		s.exec(t, "SET GLOBAL rpl_semi_sync_source_enabled=0", "SET GLOBAL rpl_semi_sync_replica_enabled=0")
	}
}

// trap 5: events run where the primary is.
func events97(t *testing.T, w *world97) {
	blue, green := w.s["blue"], w.s["green"]
	blue.exec(t, "SET GLOBAL event_scheduler=ON", "CREATE EVENT app.`odd ``name` ON SCHEDULE EVERY 1 DAY DO DELETE FROM app.t WHERE n < 0")
	green.catchUp(t, blue)
	for _, cell := range []string{"green", "blue"} {
		w.switchTo(t, cell, "events-"+cell)
		for c, s := range w.s {
			want := map[bool]string{true: "ON ENABLED", false: "OFF REPLICA_SIDE_DISABLED"}[c == cell]
			if got := s.ask(t, "SELECT CONCAT(@@global.event_scheduler, ' ', STATUS) FROM information_schema.EVENTS WHERE EVENT_NAME LIKE 'odd%'"); got != want {
				t.Errorf("the primary is %s: %s has %s, want %s", cell, c, got, want)
			}
		}
	}
	blue.exec(t, "SET GLOBAL event_scheduler=OFF", "DROP EVENT app.`odd ``name`")
}

// trap 2: a demoted server that dies comes back read-only, and a promoted one writable: what was set is persisted.
func restart97(t *testing.T, w *world97) {
	w.switchTo(t, "green", "restart")
	for _, s := range w.s {
		s.kill(t)
	}
	startAll(t, []*mysqld{w.s["blue"], w.s["green"]}, func(s *mysqld, ctx context.Context) error { return s.Start(ctx) })
	for _, cell := range []string{"blue", "green"} {
		want := map[string]string{"blue": "11", "green": "00"}[cell]
		if got := w.s[cell].ask(t, "SELECT CONCAT(@@global.super_read_only, @@global.read_only)"); got != want {
			t.Errorf("%s boots with super_read_only and read_only %s, want %s", cell, got, want)
		}
	}
	w.untilReplicating(t, "blue")
	// A person who closes it by super_read_only had a reason, though that leaves no trace at read_only.
	w.s["green"].exec(t, "SET GLOBAL super_read_only=1")
	w.term++
	if err := w.d.Reopen(bg(t), w.c, w.term); !errors.Is(err, ErrContested) || !strings.Contains(err.Error(), "somebody set read_only=1") {
		t.Errorf("closed by hand: %v", err)
	}
	if got := w.s["green"].ask(t, "SELECT CONCAT(@@global.super_read_only, @@global.read_only)"); got != "11" {
		t.Errorf("closed by hand, and it has super_read_only and read_only %s", got)
	}
	w.s["green"].exec(t, "SET GLOBAL read_only=0")
	w.switchTo(t, "blue", "restart-back")
}

// trap 18, 19: the way back is watched: open, then broken with the replica's own words, then closed.
func wayBack97(t *testing.T, w *world97) {
	w.switchTo(t, "green", "way")
	way, rs, err := w.d.WayBack(bg(t), w.c, "blue")
	if err != nil || !way.Open || len(way.Risks) > 0 || !rs.OK() {
		t.Fatalf("after the switch: %+v, %v, %v", way, rs.Bad(), err)
	}
	w.s["blue"].unlogged(t, "SET GLOBAL super_read_only=0", "CREATE TABLE app.there (n INT)", "SET GLOBAL super_read_only=1")
	w.s["green"].exec(t, "CREATE TABLE app.there (n INT)")
	processtest.Until(t, 20*time.Second, "the way back is broken", func() bool {
		way, _, err = w.d.WayBack(bg(t), w.c, "blue")
		return err == nil && !way.Open
	})
	if !strings.Contains(way.Detail, "blue/blue-1: applying stopped: ") || !strings.Contains(way.Detail, "already exists") {
		t.Errorf("it says %s", way.Detail)
	}
	w.s["blue"].unlogged(t, "SET GLOBAL super_read_only=0", "DROP TABLE app.there", "SET GLOBAL super_read_only=1", "START REPLICA")
	processtest.Until(t, 20*time.Second, "it is open again", func() bool {
		way, _, err = w.d.WayBack(bg(t), w.c, "blue")
		return err == nil && way.Open
	})
	w.switchTo(t, "blue", "way-back")
}

// trap 17: a transaction that never replicated keeps its server out. It comes last: the server has to be rebuilt.
func tail97(t *testing.T, w *world97) {
	req := w.request("green", "tail")
	req.Point = func(name string) {
		if name == "after-release" {
			w.s["blue"].exec(t, "SET GLOBAL super_read_only=0", "SET GLOBAL read_only=1", "INSERT INTO app.t (k, n) VALUES ('tail', 1)")
		}
	}
	_, err := w.d.Switch(bg(t), req)
	var q *QuarantineError
	if !errors.As(err, &q) || q.Node != "blue/blue-1" || len(q.Extra) != 1 {
		t.Fatalf("got %v", err)
	}
	if way, _, err := w.d.WayBack(bg(t), w.c, "blue"); err != nil || way.Open {
		t.Errorf("the way back is open: %+v, %v", way, err)
	}
	rs, err := w.d.Preflight(bg(t), switchover.Request{Cluster: w.c, ToCell: "blue", Term: w.term, ID: "x", Settings: settings()})
	if err != nil {
		t.Fatal(err)
	}
	if r := result(t, rs, "errant-gtid"); r.Verdict != check.Fail || !strings.Contains(r.Detail, "blue/blue-1 has ") {
		t.Errorf("%+v", r)
	}
	if rs, err := w.d.SafeToRemove(bg(t), w.c, "green"); err != nil || result(t, rs, "not-writable").Verdict != check.Fail {
		t.Errorf("%v, %v", rs, err)
	}
}
