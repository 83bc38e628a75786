package mysql

import (
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/switchover"
)

// What the switch itself still finds after a preflight that passed, on one pair of servers; blue stays the primary.
func TestSwitchIsCalledOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 1)
	called := func(t *testing.T, req switchover.Request, says string) {
		t.Helper()
		began := time.Now()
		_, err := w.d.Switch(bg(t), req)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Fatalf("got %v", err)
		}
		if took := time.Since(began); took > req.Settings.HoldTTL+req.Settings.Drain {
			t.Errorf("took %v: a hold would have been over", took)
		}
		if p := w.onePrimary(t); p.cell != "blue" {
			t.Fatalf("the primary is %s", p)
		}
		w.server("blue-1").Exec(t, "INSERT INTO app.t (k, n) VALUES (?, 1)", "after "+t.Name())
		w.sameRows(t, w.server("blue-1"), w.server("green-1"), "green-1")
	}

	// The coordinates of a demoted primary must not move.
	t.Run("the demoted primary moves", func(t *testing.T) {
		req := w.request("green", "moves")
		req.Point = func(name string) {
			if name == "after-position" {
				w.server("blue-1").Exec(t, "INSERT INTO app.t (k, n) VALUES ('in spite of read_only', 1)") // the test's account may
			}
		}
		called(t, req, "somebody writes on it in spite of read_only")
	})
	// An overrun of the whole switch rolls everything back, with a context of the undo's own.
	t.Run("the timeout is over", func(t *testing.T) {
		req := w.request("green", "late")
		req.Settings.Timeout = 2 * time.Second
		req.Point = func(name string) {
			if name == "after-demote" {
				time.Sleep(2100 * time.Millisecond) // the timeout runs out: this is what is under test
			}
		}
		called(t, req, "deadline exceeded")
	})
	// The elect is made writable by somebody between the choice and the demotion: recheck sees it, and nobody is demoted.
	t.Run("the elect becomes writable", func(t *testing.T) {
		req := w.request("green", "elect")
		demoted := false
		req.Point = func(name string) {
			switch name {
			case "after-hold":
				w.server("green-1").Exec(t, "SET GLOBAL read_only=0")
			case "demote-set":
				demoted = true
			}
		}
		_, err := w.d.Switch(bg(t), req)
		if err == nil || demoted || w.ask(t, "blue-1", "SELECT @@global.read_only") != "0" {
			t.Errorf("demoted: %v, %v", demoted, err)
		}
		w.server("green-1").Exec(t, "SET GLOBAL read_only=1")
	})
}

// trap 4: on a read-only server a role that is read beside a table is wrong. The driver reads it alone.
func TestTrap4TheRoleIsReadAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 1)
	s, err := w.d.dialTo(bg(t), w.place("green-1"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	for range 20 {
		if ro, err := s.readOnly(bg(t)); err != nil || !ro {
			t.Fatalf("the replica's role: read-only %v, %v", ro, err)
		}
	}
	var ro, n int
	if err := s.one(bg(t), "SELECT @@read_only, COUNT(*) FROM app.t", &ro, &n); err != nil {
		t.Fatal(err)
	}
	t.Logf("beside a count of an empty table a read-only server answers %d", ro) // 0, as long as the trap is there
}

// trap 18: "source ≤ replica" is looked at over every pair that the switch makes, not for the elect alone; the other way round is
// legal only into the cell that is left, and behind named guards that are checks of the preflight.
func TestTrap18VersionsOfEveryPair(t *testing.T) {
	node := func(cell, name string, v version) *view {
		return &view{place: place{cell, fleet.Node{Name: name}}, version: v, fl: mariadb{}}
	}
	old, now := version{10, 11, 18}, version{11, 8, 6}
	for _, c := range []struct {
		name    string
		views   []*view // the second one is the elect
		verdict check.Verdict
		says    string
	}{
		{"up", []*view{node("blue", "b1", old), node("green", "g1", now)}, check.Pass, "green/g1 11.8 → blue/b1 10.11 only while the rollback window is open, guarded by binlog-format, collation-pin, schema-drift, way-back-risks"},
		{"back", []*view{node("green", "g1", now), node("blue", "b1", old)}, check.Pass, "blue/b1 10.11 → green/g1 11.8"},
		{"a node of the new cell is older than the elect", []*view{node("blue", "b1", old), node("green", "g1", now), node("green", "g2", old)}, check.Fail, "green/g2 10.11 would have to follow green/g1 11.8"},
		{"another product", []*view{{place: place{"blue", fleet.Node{Name: "b1"}}, version: version{9, 7, 0}, fl: mysqlFlavour{}}, node("green", "g1", now)}, check.Fail, "they do not replicate"},
		{"one is unknown", []*view{{place: place{"blue", fleet.Node{Name: "b1"}}, err: errTest}, node("green", "g1", now)}, check.Unknown, "the test says so"},
	} {
		to := c.views[1].cell
		in := &inspection{sc: &scene{views: c.views}, elect: c.views[1], req: switchover.Request{ToCell: to}}
		f := &finding{}
		in.versions(bg(t), f)
		if r := f.result("versions", time.Now()); r.Verdict != c.verdict || !strings.Contains(r.Detail, c.says) {
			t.Errorf("%s: %s: %s", c.name, r.Verdict, r.Detail)
		}
	}
	names := map[string]bool{}
	for _, n := range CheckNames() {
		names[n] = true
	}
	for _, g := range reverseGuards {
		if !names[g] {
			t.Errorf("the guard %s is no check", g)
		}
	}
}

// trap 10: what the worst demotion takes with its undo, every part of it counted, fits into what a drain leaves of a hold, from holds of three seconds on.
func TestTrap10TheWorstDemotionFitsIntoTheHold(t *testing.T) {
	d := &Driver{}
	for _, c := range []struct{ ttl, drain, demote, worst time.Duration }{
		{0, 0, 2 * time.Second, 6750 * time.Millisecond},
		{10 * time.Second, time.Second, 2 * time.Second, 6750 * time.Millisecond},
		{4 * time.Second, 500 * time.Millisecond, time.Second, 3 * time.Second},
		{3 * time.Second, 100 * time.Millisecond, time.Second, 2700 * time.Millisecond},
		{time.Minute, time.Second, 5 * time.Second, 15500 * time.Millisecond},
	} {
		b := d.budgetOf(campaign.Switch{HoldTTL: c.ttl, Drain: c.drain})
		if b.demote != c.demote || b.worst() != c.worst || b.drain+b.worst() >= b.ttl {
			t.Errorf("hold %v, drain %v: demotion %v, at the worst %v, want %v and %v", b.ttl, b.drain, b.demote, b.worst(), c.demote, c.worst)
		}
	}
	if b := d.budgetOf(campaign.Switch{HoldTTL: 2 * time.Second, Drain: 500 * time.Millisecond}); b.drain+b.worst() < b.ttl {
		t.Errorf("a hold of two seconds is said to be enough for %v", b.worst())
	}
}

// The lag that is waited for before a switch is within what the switch's timeout leaves, whatever the settings say.
func TestLagLimitIsDerivedFromTheTimeout(t *testing.T) {
	d := &Driver{}
	for _, c := range []struct{ lag, timeout, want time.Duration }{
		{0, 0, 10 * time.Second},
		{10 * time.Second, 5 * time.Minute, 10 * time.Second},
		{10 * time.Minute, time.Minute, 15 * time.Second},
	} {
		if got := d.budgetOf(campaign.Switch{MaxLag: c.lag, Timeout: c.timeout}).maxLag; got != c.want {
			t.Errorf("max_lag %v, timeout %v: %v, want %v", c.lag, c.timeout, got, c.want)
		}
	}
}
