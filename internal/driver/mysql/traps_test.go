package mysql

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	proc "github.com/windlass-db/windlass/internal/driver/process"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
)

func (w *world) ask(t testing.TB, node, query string) string {
	t.Helper()
	var v string
	if err := w.servers[node].Admin.QueryRow(query).Scan(&v); err != nil {
		t.Fatalf("%s: %s: %v", node, query, err)
	}
	return v
}

// trap 3: read_only=1 waits behind a running UPDATE, and writers queue behind it. It gives up within the demotion's budget, and the old
// primary takes writes again.
func TestTrap3ADemotionBehindARunningUpdateIsUndone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 1)
	release := w.holdWrite(t, "blue-1")
	began := time.Now()
	_, err := w.d.Switch(bg(t), w.request("green", "one"))
	if err == nil || !strings.Contains(err.Error(), "demote") {
		t.Fatalf("got %v", err)
	}
	if took := time.Since(began); took > settings().HoldTTL {
		t.Errorf("took %v", took)
	}
	if p := w.onePrimary(t); p.cell != "blue" {
		t.Fatalf("the primary is %s: %v", p, err)
	}
	w.server("blue-1").Exec(t, "INSERT INTO app.t (k, n) VALUES ('after', 1)")
	release()
	w.switchTo(t, "green", "two")
}

// trap 3: the server answers nothing while it is demoted. What came of it is not guessed; the next run finds it read-only by that
// switch, opens it, and begins anew.
func TestTrap3AServerThatHangsInTheDemotion(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 1, func(c *Config) { c.Dial, c.Query = time.Second, time.Second })
	spec, err := w.server("blue-1").Spec()
	if err != nil {
		t.Fatal(err)
	}
	req := w.request("green", "one")
	req.Point = func(name string) {
		if name == "demote-persisted" {
			pause(t, spec)
		}
	}
	_, err = w.d.Switch(bg(t), req)
	if cerr := spec.Continue(); cerr != nil {
		t.Fatal(cerr)
	}
	if !errors.Is(err, ErrUnsettled) {
		t.Fatalf("got %v", err)
	}
	w.atMostOne(t)
	if err := w.d.Fence(bg(t), w.c, w.term+1); err != nil { // ends the act that hung, if it still does
		t.Fatal(err)
	}
	w.term++
	w.switchTo(t, "green", "one")
}

// pause freezes a server, and sees every thread of it stopped: the signal alone leaves a running one some time.
func pause(t testing.TB, spec proc.Spec) {
	t.Helper()
	if err := spec.Pause(); err != nil {
		t.Fatal(err)
	}
	_, pid, err := spec.Status()
	if err != nil {
		t.Fatal(err)
	}
	processtest.Until(t, 10*time.Second, "every thread is stopped", func() bool {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		if err != nil || len(tasks) == 0 {
			t.Fatalf("threads of %d: %v", pid, err)
		}
		for _, task := range tasks {
			b, err := os.ReadFile(task)
			if err != nil && errors.Is(err, os.ErrNotExist) {
				continue // it ended
			}
			// pid (name) state …
			if at := strings.LastIndex(string(b), ") "); err != nil || at < 0 || b[at+2] != 'T' {
				return false
			}
		}
		return true
	})
}

// Two writable nodes, or none and nothing that tells why: nothing is touched.
func TestContestedPrimaryIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 1)
	blue, green := w.server("blue-1"), w.server("green-1")
	state := func() string {
		return w.ask(t, "blue-1", "SELECT @@global.read_only") + w.ask(t, "green-1", "SELECT @@global.read_only") + w.ask(t, "green-1", "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE COMMAND LIKE 'Slave_%'")
	}
	expect := func(what string) {
		t.Helper()
		before := state()
		if _, err := w.d.Switch(bg(t), w.request("green", "one")); !errors.Is(err, ErrContested) {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := w.d.Prove(bg(t), w.c, w.term); !errors.Is(err, ErrContested) {
			t.Errorf("%s: proof: %v", what, err)
		}
		if after := state(); after != before {
			t.Errorf("%s: changed from %s to %s", what, before, after)
		}
	}
	green.Exec(t, "SET GLOBAL read_only=0")
	expect("two writable")
	green.Exec(t, "SET GLOBAL read_only=1")
	blue.Exec(t, "SET GLOBAL read_only=1")
	expect("none writable")
	blue.Exec(t, "SET GLOBAL read_only=0")
	w.switchTo(t, "green", "one")

	// Now a standing says that green is the primary. A person who sets it read-only had a reason.
	green.Exec(t, "SET GLOBAL read_only=1")
	expect("set read-only by hand")
	// trap 2: a restart is no reason. It boots read-only, and is opened again.
	if err := green.Stop(bg(t)); err != nil {
		t.Fatal(err)
	}
	if err := green.Start(bg(t)); err != nil {
		t.Fatal(err)
	}
	if w.ask(t, "green-1", "SELECT @@global.read_only") != "1" {
		t.Fatal("it did not boot read-only")
	}
	w.term++
	if err := w.d.Reopen(bg(t), w.c, w.term); err != nil {
		t.Fatal(err)
	}
	w.mustBe(t, "green")

	// But not if another node has more: it lost something.
	if err := green.Stop(bg(t)); err != nil {
		t.Fatal(err)
	}
	if err := green.Start(bg(t)); err != nil {
		t.Fatal(err)
	}
	blue.Exec(t, "STOP SLAVE")
	blue.Exec(t, "INSERT INTO app.t (k, n) VALUES ('only here', 1)")
	w.term++
	if err := w.d.Reopen(bg(t), w.c, w.term); !errors.Is(err, ErrContested) || !strings.Contains(err.Error(), "lost transactions") {
		t.Errorf("got %v", err)
	}
}

// trap 17: the old primary comes back with a transaction that never replicated. It is quarantined: read-only, without a source.
func TestTrap17ATailIsQuarantined(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, 1)
	req := w.request("green", "one")
	req.Point = func(name string) {
		if name == "after-release" {
			w.server("blue-1").Exec(t, "INSERT INTO app.t (k, n) VALUES ('tail', 1)") // the test's account may
		}
	}
	_, err := w.d.Switch(bg(t), req)
	var q *QuarantineError
	if !errors.As(err, &q) || q.Node != "blue/blue-1" || len(q.Extra) != 1 {
		t.Fatalf("got %v", err)
	}
	if p := w.onePrimary(t); p.cell != "green" {
		t.Errorf("the primary is %s", p)
	}
	o, err := w.d.Observe(bg(t), w.c)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range o.Nodes {
		if want := map[string]string{"blue-1": "detached", "blue-2": "replica", "green-1": "primary"}[n.Node]; string(n.Role) != want {
			t.Errorf("%s is %s, want %s", n.Node, n.Role, want)
		}
	}
	if err := w.d.Replicate(bg(t), w.c, "blue", w.term); !errors.As(err, &q) {
		t.Errorf("replicating it again: %v", err)
	}
	way, _, err := w.d.WayBack(bg(t), w.c, "blue")
	if err != nil || way.Open {
		t.Errorf("the way back is open: %+v, %v", way, err)
	}
}

// trap 5: events run where the primary is, and nowhere else.
func TestTrap5EventsMoveWithThePrimary(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 1)
	blue := w.server("blue-1")
	blue.Exec(t, "SET GLOBAL event_scheduler=ON")
	blue.Exec(t, "CREATE EVENT app.`odd ``name` ON SCHEDULE EVERY 1 DAY DO DELETE FROM app.t WHERE n < 0")
	blue.Exec(t, "CREATE EVENT app.off ON SCHEDULE EVERY 1 DAY DISABLE DO DELETE FROM app.t WHERE n < 0")
	w.server("green-1").CatchUp(t, blue)
	look := func(node, scheduler, odd, off string) {
		t.Helper()
		if got := w.ask(t, node, "SELECT @@global.event_scheduler"); got != scheduler {
			t.Errorf("%s: scheduler %s, want %s", node, got, scheduler)
		}
		if got := w.ask(t, node, "SELECT STATUS FROM information_schema.EVENTS WHERE EVENT_NAME LIKE 'odd%'"); got != odd {
			t.Errorf("%s: event %s, want %s", node, got, odd)
		}
		if got := w.ask(t, node, "SELECT STATUS FROM information_schema.EVENTS WHERE EVENT_NAME='off'"); got != off && off != "" {
			t.Errorf("%s: disabled event %s, want %s", node, got, off)
		}
	}
	look("green-1", "OFF", "SLAVESIDE_DISABLED", "")
	w.switchTo(t, "green", "one")
	look("green-1", "ON", "ENABLED", "")
	look("blue-1", "OFF", "SLAVESIDE_DISABLED", "DISABLED")

	// Called off after the scheduler was stopped: it runs again.
	ctx, cancel := context.WithCancel(bg(t))
	req := w.request("blue", "two")
	req.Point = func(name string) {
		if name == "after-demote" {
			cancel()
		}
	}
	if _, err := w.d.Switch(ctx, req); err == nil {
		t.Fatal("it was not called off")
	}
	look("green-1", "ON", "ENABLED", "")
	w.switchTo(t, "blue", "three")
	look("blue-1", "ON", "ENABLED", "DISABLED")
	look("green-1", "OFF", "SLAVESIDE_DISABLED", "")
}

// trap 16: semi-synchronous roles move with the primary. A replica that kept the primary's part would wait for the whole timeout
// at each commit; here the timeout is ten seconds, and nobody waits for a third of it.
func TestTrap16SemisyncRolesMoveWithThePrimary(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, 1)
	for name, s := range w.servers {
		s.Exec(t, "SET GLOBAL rpl_semi_sync_master_timeout=10000")
		if name != "blue-1" {
			s.Exec(t, "SET GLOBAL rpl_semi_sync_slave_enabled=1")
			s.Exec(t, "STOP SLAVE")
			s.Exec(t, "START SLAVE")
		}
	}
	blue := w.server("blue-1")
	blue.Exec(t, "SET GLOBAL rpl_semi_sync_master_enabled=1")
	processtest.Until(t, 10*time.Second, "two acknowledging replicas", func() bool {
		var name, n string
		return blue.Admin.QueryRow("SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync_master_clients'").Scan(&name, &n) == nil && n == "2"
	})
	l := w.load(t, 1)
	l.more(t, 10)
	for i, cell := range []string{"green", "blue", "green"} {
		if _, err := w.d.Switch(bg(t), w.request(cell, "switch-"+cell+string(rune('a'+i)))); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		l.more(t, 10)
		if took := time.Since(began); took > 10*time.Second/3 {
			t.Errorf("ten writes after the switch to %s took %v: somebody waits for acknowledgements that do not come", cell, took)
		}
		p := w.onePrimary(t)
		for name := range w.servers {
			want := "0"
			if name == p.node.Name {
				want = "1"
			}
			if got := w.ask(t, name, "SELECT @@global.rpl_semi_sync_master_enabled"); got != want {
				t.Errorf("%s has rpl_semi_sync_master_enabled=%s", name, got)
			}
		}
		if got := w.ask(t, p.node.Name, "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME='RPL_SEMI_SYNC_MASTER_STATUS'"); got != "ON" {
			t.Errorf("the primary %s does not wait for acknowledgements: %s", p, got)
		}
	}
	l.finish(t)
}

// trap 20: an XA transaction that is prepared after the preflight calls the switch off before the demotion.
func TestTrap20APreparedXACallsTheSwitchOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 1)
	c, err := w.server("blue-1").Admin.Conn(bg(t))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	req := w.request("green", "one")
	req.Point = func(name string) {
		if name != "after-hold" {
			return
		}
		for _, q := range []string{"XA START 'x'", "INSERT INTO app.t (k, n) VALUES ('xa', 1)", "XA END 'x'", "XA PREPARE 'x'"} {
			if _, err := c.ExecContext(bg(t), q); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := w.d.Switch(bg(t), req); !errors.Is(err, ErrNotReady) || !strings.Contains(err.Error(), "XA") {
		t.Fatalf("got %v", err)
	}
	if p := w.onePrimary(t); p.cell != "blue" {
		t.Errorf("the primary is %s", p)
	}
	if _, err := c.ExecContext(bg(t), "XA COMMIT 'x'"); err != nil {
		t.Fatal(err)
	}
	w.switchTo(t, "green", "two")
}

// trap 10: a hold that has not enough left for the demotion and its undo is never used.
func TestTrap10TooLittleOfTheHoldIsLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 1)
	req := w.request("green", "one")
	req.Settings.HoldTTL, req.Settings.Drain = 4*time.Second, 100*time.Millisecond
	req.Point = func(name string) {
		if name == "after-hold" {
			time.Sleep(1200 * time.Millisecond) // the hold runs out: this is what is under test
		}
	}
	if _, err := w.d.Switch(bg(t), req); !errors.Is(err, ErrNotReady) || !strings.Contains(err.Error(), "of the hold is left") {
		t.Fatalf("got %v", err)
	}
	if p := w.onePrimary(t); p.cell != "blue" {
		t.Errorf("the primary is %s", p)
	}
	// The elect can't catch up within what is left: undone in time.
	req = w.request("green", "two")
	req.Settings.HoldTTL, req.Settings.Drain = 4*time.Second, 100*time.Millisecond
	req.Point = func(name string) {
		if name == "after-hold" {
			w.server("green-1").Exec(t, "STOP SLAVE SQL_THREAD")
		}
		if name == "after-recheck" {
			w.server("green-1").Exec(t, "STOP SLAVE SQL_THREAD")
		}
	}
	if _, err := w.d.Switch(bg(t), req); !errors.Is(err, ErrNotReady) {
		t.Fatalf("got %v", err)
	}
	if p := w.onePrimary(t); p.cell != "blue" {
		t.Errorf("the primary is %s", p)
	}
	w.server("green-1").Exec(t, "START SLAVE")
	req = w.request("green", "three")
	req.Settings.HoldTTL, req.Settings.Drain = 4*time.Second, 100*time.Millisecond
	began := time.Time{}
	req.Point = func(name string) {
		if name == "after-recheck" {
			w.server("green-1").Exec(t, "STOP SLAVE SQL_THREAD")
			w.server("blue-1").Exec(t, "INSERT INTO app.t (k, n) VALUES ('late', 1)")
			began = time.Now()
		}
	}
	if _, err := w.d.Switch(bg(t), req); !errors.Is(err, ErrNotReady) || !strings.Contains(err.Error(), "did not reach") {
		t.Fatalf("got %v", err)
	}
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("the old primary was writable again only after %v: the hold was over", took)
	}
	if p := w.onePrimary(t); p.cell != "blue" {
		t.Errorf("the primary is %s", p)
	}
}
