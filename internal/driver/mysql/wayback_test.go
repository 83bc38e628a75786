package mysql

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
)

// resync makes the old version's node go on after what stopped it.
func (w *world) resync(t testing.TB, node, primary string) {
	t.Helper()
	s := w.server(node)
	s.Exec(t, "STOP SLAVE")
	s.Exec(t, "SET GLOBAL gtid_slave_pos='"+w.ask(t, primary, "SELECT @@global.gtid_binlog_pos")+"'")
	s.Exec(t, "START SLAVE")
	processtest.Until(t, 10*time.Second, "replication goes on", func() bool {
		rs, err := w.d.Replicating(bg(t), w.c, "blue", 5*time.Second)
		return err == nil && rs.OK()
	})
}

// trap 18, 19: each thing of the new version that the way back looks for is named, and does break a real replica of the old version,
// or changes it silently. So the scan looks for what matters, and a break is seen with the replica's own words.
func TestTrap19WhatBreaksTheWayBackIsNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 1)
	green, blue := w.server("green-1"), w.server("blue-1")
	w.switchTo(t, "green", "one")
	way, rs, err := w.d.WayBack(bg(t), w.c, "blue")
	if err != nil || !way.Open || len(way.Risks) != 0 || !rs.OK() {
		t.Fatalf("after the switch: %+v, %v, %v", way, rs.Bad(), err)
	}

	for _, c := range []struct {
		name  string
		stmts []string
		risk  string // part of the line
		stops string // part of the replica's error; empty: it does not stop
		mend  []string
	}{
		{name: "type", stmts: []string{"CREATE TABLE app.r (v VECTOR(3) NOT NULL)"}, risk: "column app.r.v is VECTOR", stops: "VECTOR", mend: []string{"DROP TABLE app.r"}},
		{name: "collation", stmts: []string{"CREATE TABLE app.r (a VARCHAR(9) COLLATE utf8mb4_0900_ai_ci)"}, risk: "column app.r.a has collation utf8mb4_0900_ai_ci", stops: "collation", mend: []string{"DROP TABLE app.r"}},
		{name: "function in a view", stmts: []string{"CREATE VIEW app.r AS SELECT format_bytes(n) AS b FROM app.t"}, risk: "view app.r uses format_bytes()", stops: "format_bytes", mend: []string{"DROP VIEW app.r"}},
		{name: "function in a default", stmts: []string{"CREATE TABLE app.r (u UUID NOT NULL DEFAULT uuid_v7())"}, risk: "default of app.r.u uses uuid_v7()", stops: "uuid_v7", mend: []string{"DROP TABLE app.r"}},
		{name: "function in a check", stmts: []string{`CREATE TABLE app.r (j JSON, CHECK (json_schema_valid('{"type":"object"}', j)))`}, risk: "uses json_schema_valid()", stops: "json_schema_valid", mend: []string{"DROP TABLE app.r"}},
		{name: "function in a generated column", stmts: []string{"CREATE TABLE app.r (n BIGINT, b VARCHAR(20) AS (format_bytes(n)))"}, risk: "generated column app.r.b uses format_bytes()", stops: "format_bytes", mend: []string{"DROP TABLE app.r"}},
		{name: "sequence", stmts: []string{"CREATE SEQUENCE app.r AS INT"}, risk: "sequence app.r is AS int", stops: "AS INT", mend: []string{"DROP SEQUENCE app.r"}},
		{name: "parameter", stmts: []string{"CREATE PROCEDURE app.r (IN `default` INT, IN p INT DEFAULT 5) SELECT p"}, risk: "procedure app.r has a parameter with a default", stops: "DEFAULT", mend: []string{"DROP PROCEDURE app.r"}},
		{name: "timestamp default", stmts: []string{"CREATE TABLE app.r (a INT, d TIMESTAMP NOT NULL DEFAULT '2050-01-01 00:00:00')"}, risk: "is after 2038-01-19 03:14:07", stops: "Invalid default", mend: []string{"DROP TABLE app.r"}},
		{name: "timestamp value", stmts: []string{"CREATE TABLE app.r (a INT PRIMARY KEY, d TIMESTAMP NULL)", "INSERT INTO app.r VALUES (1, '2050-01-01 00:00:00')"}, risk: "1 TIMESTAMP columns take values after", stops: "app.r", mend: []string{"DROP TABLE app.r"}},
		{name: "account", stmts: []string{"CREATE USER r@'%' IDENTIFIED VIA unix_socket"}, risk: "account r@% logs in by unix_socket", stops: "unix_socket", mend: []string{"DROP USER r@'%'"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, q := range c.stmts {
				green.Exec(t, q)
			}
			var text string
			processtest.Until(t, 20*time.Second, "the old version's replica stops", func() bool {
				way, _, err := w.d.WayBack(bg(t), w.c, "blue")
				if err != nil {
					t.Fatal(err)
				}
				if !slices.ContainsFunc(way.Risks, func(r string) bool { return strings.Contains(r, c.risk) }) {
					t.Fatalf("not named: %q", way.Risks)
				}
				text = way.Detail
				return !way.Open
			})
			if !strings.Contains(text, "blue/blue-1: applying stopped: ") || !strings.Contains(strings.ToLower(text), strings.ToLower(c.stops)) {
				t.Errorf("it stopped with %s", text)
			}
			t.Log(text)
			for _, q := range c.mend {
				green.Exec(t, q)
			}
			for _, q := range c.mend {
				w.unlogged(t, "blue-1", regexp.MustCompile(`^(DROP \w+) `).ReplaceAllString(q, "$1 IF EXISTS "))
			}
			w.resync(t, "blue-1", "green-1")
		})
	}

	// With the pin the same statement means the same on both; without it the old version silently gets another collation, and
	// rows that differ on the new one are duplicates on the old one.
	t.Run("default collation", func(t *testing.T) {
		c := w.conn(t, "green-1", processtest.AdminUser, processtest.AdminPassword)
		const make = "CREATE TABLE app.pin (a VARCHAR(10) CHARACTER SET utf8mb4 PRIMARY KEY)"
		must(t, c, make, "INSERT INTO app.pin VALUES ('🍣')")
		blue.CatchUp(t, green)
		collation := func(node string) string {
			return w.ask(t, node, "SELECT COLLATION_NAME FROM information_schema.COLUMNS WHERE TABLE_NAME='pin'")
		}
		if a, b := collation("green-1"), collation("blue-1"); a != b || a != "utf8mb4_general_ci" {
			t.Errorf("with the pin: %s and %s", a, b)
		}
		must(t, c, "DROP TABLE app.pin")
		green.Exec(t, "SET GLOBAL character_set_collations='utf8mb4=utf8mb4_uca1400_ai_ci'")
		unpinned := w.conn(t, "green-1", processtest.AdminUser, processtest.AdminPassword)
		must(t, unpinned, make)
		blue.CatchUp(t, green)
		if a, b := collation("green-1"), collation("blue-1"); a == b {
			t.Errorf("without the pin: %s and %s", a, b)
		}
		way, rs, err := w.d.WayBack(bg(t), w.c, "blue")
		if err != nil || !way.Open {
			t.Fatalf("%+v, %v", way, err)
		}
		for _, name := range []string{"collation-pin", "schema-drift"} {
			if r := result(t, rs, name); r.Verdict != check.Fail || !slices.Contains(way.Risks, r.Detail) {
				t.Errorf("%+v; risks %q", r, way.Risks)
			}
		}
		must(t, unpinned, "INSERT INTO app.pin VALUES ('🍣')", "INSERT INTO app.pin VALUES ('🍺')")
		processtest.Until(t, 10*time.Second, "the old version's replica stops on a duplicate", func() bool {
			way, _, err := w.d.WayBack(bg(t), w.c, "blue")
			return err == nil && !way.Open && strings.Contains(way.Detail, "Duplicate entry")
		})
		must(t, unpinned, "DROP TABLE app.pin")
		w.unlogged(t, "blue-1", "DROP TABLE app.pin")
		w.resync(t, "blue-1", "green-1")
	})

	// Closing gives the collations back, stops replication to the old cell, and repeats safely.
	t.Run("close", func(t *testing.T) {
		w.term++
		for range 2 {
			if err := w.d.CloseWayBack(bg(t), w.c, "blue", w.term); err != nil {
				t.Fatal(err)
			}
		}
		if got := w.ask(t, "green-1", "SELECT @@global.character_set_collations"); !strings.Contains(got, "uca1400") {
			t.Errorf("collations are %q", got)
		}
		way, _, err := w.d.WayBack(bg(t), w.c, "blue")
		if err != nil || way.Open {
			t.Errorf("open after it was closed: %+v, %v", way, err)
		}
	})
}

// trap 36: tear-down compares the server's identity, and refuses what is writable, a source, or connected to.
func TestTrap36SafeToRemove(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 1)
	o, err := w.d.Observe(bg(t), w.c)
	if err != nil {
		t.Fatal(err)
	}
	look := func() check.Results {
		t.Helper()
		rs, err := w.d.SafeToRemove(bg(t), w.c, "blue")
		if err != nil {
			t.Fatal(err)
		}
		return rs
	}
	expect := func(what, name string, verdict check.Verdict) {
		t.Helper()
		if r := result(t, look(), name); r.Verdict != verdict {
			t.Errorf("%s: %+v", what, r)
		}
	}
	expect("never recorded", "recorded", check.Fail)
	for i, n := range o.Nodes {
		w.c.Cells[i].Nodes[0].UUID = n.UUID
	}
	expect("the primary", "not-writable", check.Fail)
	expect("the source", "no-source", check.Fail)
	w.switchTo(t, "green", "one")
	c := w.conn(t, "blue-1", processtest.AppUser, processtest.AppPassword)
	expect("connected", "no-clients", check.Fail)
	c.Close()
	w.servers["blue-1"].Admin.SetMaxIdleConns(0)
	processtest.Until(t, 5*time.Second, "nothing needs the cell", func() bool { return look().OK() })
	expect("not made by us", "recorded", check.Warn)
	w.c.Cells[0].Nodes[0].UUID = o.Nodes[1].UUID
	expect("another server", "recorded", check.Fail)
	w.c.Cells[0].Nodes[0].UUID = o.Nodes[0].UUID
	w.server("green-1").Exec(t, "SET GLOBAL rpl_semi_sync_master_enabled=1")
	expect("the only one that acknowledges", "acknowledgements", check.Fail)
	w.server("green-1").Exec(t, "SET GLOBAL rpl_semi_sync_master_enabled=0")
	kill(t, w.server("blue-1"))
	expect("does not answer", "nodes-reachable", check.Unknown)
	expect("does not answer", "not-writable", check.Unknown)
}
