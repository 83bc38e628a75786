package mysql

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/engine"
)

// trap 1: a supervisor that was paused wakes after its lease. Its connections are gone, and what it asks for over new ones is
// refused by the servers themselves.
func TestTrap1AFencedSupervisorChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 1)
	stale, next := w.driver(t), w.driver(t)
	if err := stale.Fence(bg(t), w.c, 5); err != nil {
		t.Fatal(err)
	}
	old, err := stale.dialTo(bg(t), w.place("blue-1"))
	if err != nil {
		t.Fatal(err)
	}
	defer old.close()
	if err := next.Fence(bg(t), w.c, 6); err != nil {
		t.Fatal(err)
	}
	if err := next.Fence(bg(t), w.c, 6); err != nil {
		t.Fatalf("fencing again: %v", err)
	}
	// Its open connection is gone.
	if err := old.act(bg(t), 5, "demote", old.fl.demote()); err == nil || errors.Is(err, engine.ErrFenced) {
		t.Errorf("the predecessor's connection still works: %v", err)
	}
	// A new one is refused by the server.
	again, err := stale.dialTo(bg(t), w.place("blue-1"))
	if err != nil {
		t.Fatal(err)
	}
	defer again.close()
	for _, stmt := range []string{again.fl.demote(), "START SLAVE", "SET GLOBAL gtid_slave_pos=''"} {
		if err := again.act(bg(t), 5, "act", stmt); !errors.Is(err, engine.ErrFenced) {
			t.Errorf("%s under the old term: %v", stmt, err)
		}
	}
	if ro, err := again.readOnly(bg(t)); err != nil || ro {
		t.Errorf("read_only is %v, %v", ro, err)
	}
	if err := stale.Fence(bg(t), w.c, 5); !errors.Is(err, engine.ErrFenced) {
		t.Errorf("fencing with the old term: %v", err)
	}
	req := w.request("green", "stale")
	req.Term = 5
	if _, err := stale.Switch(bg(t), req); !errors.Is(err, engine.ErrFenced) {
		t.Errorf("a switch under the old term: %v", err)
	}
	w.mustBe(t, "blue")
	// The fence and its rows are nowhere in a binary log: the servers' GTIDs are those of the application alone.
	rows, err := w.server("blue-1").Admin.Query("SHOW BINLOG EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	cols, _ := rows.Columns()
	for rows.Next() {
		cells := make([]any, len(cols))
		for i := range cells {
			cells[i] = new(any)
		}
		if err := rows.Scan(cells...); err != nil {
			t.Fatal(err)
		}
		if info, ok := (*cells[5].(*any)).([]byte); ok && strings.Contains(string(info), "windlass.fence") {
			t.Errorf("logged: %s", info)
		}
	}
}

// trap 1: a takeover in the middle of the switch: the old holder's next act is refused, and it undoes nothing.
func TestTrap1ATakeoverInTheMiddleOfASwitch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 1)
	stale, next := w.driver(t), w.driver(t)
	req := w.request("green", "one")
	req.Point = func(name string) {
		if name == "after-wait" {
			if err := next.Fence(bg(t), w.c, req.Term+1); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := stale.Switch(bg(t), req); !errors.Is(err, engine.ErrFenced) {
		t.Fatalf("the fenced switch: %v", err)
	}
	w.term = req.Term
	if _, err := next.Switch(bg(t), w.request("green", "one")); err != nil {
		t.Fatal(err)
	}
	w.mustBe(t, "green")
}

// trap 1, 3: the predecessor's act hangs in the server when the successor comes: it is ended before the term is raised.
func TestTrap1FenceEndsAnActThatHangs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 1)
	stale, next := w.driver(t), w.driver(t)
	if err := stale.Fence(bg(t), w.c, 5); err != nil {
		t.Fatal(err)
	}
	release := w.holdWrite(t, "blue-1")
	s, err := stale.dialTo(bg(t), w.place("blue-1"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if err := s.exec(bg(t), "SET SESSION lock_wait_timeout=100"); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.actFor(context.Background(), 30*time.Second, 5, "demote", s.fl.demote(), false) }()
	w.untilWaiting(t, "blue-1")
	if err := next.Fence(bg(t), w.c, 6); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err == nil {
		t.Error("the hanging demotion succeeded after it was fenced")
	}
	release()
	if p := w.onePrimary(t); p.cell != "blue" {
		t.Errorf("the primary is %s", p)
	}
	w.server("blue-1").Exec(t, "INSERT INTO app.t (k, n) VALUES ('after', 1)")
}

// holdWrite keeps one statement of a writer running in the server until it is released.
func (w *world) holdWrite(t testing.TB, name string) (release func()) {
	t.Helper()
	db := w.servers[name].Open(t, processtest.AppUser, processtest.AppPassword, "app")
	for _, q := range []string{"CREATE TABLE IF NOT EXISTS app.held (n INT) ENGINE=InnoDB", "INSERT INTO app.held VALUES (1)"} {
		if _, err := db.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = db.ExecContext(ctx, "UPDATE app.held SET n = n + SLEEP(60) LIMIT 1") // it is cancelled
	}()
	admin := w.servers[name].Admin
	processtest.Until(t, 10*time.Second, "the statement runs", func() bool {
		var n int
		return admin.QueryRow("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE='User sleep'").Scan(&n) == nil && n == 1
	})
	release = func() {
		cancel()
		<-done
		// The driver has only closed its end: the server is told too.
		var id int64
		if admin.QueryRow("SELECT ID FROM information_schema.PROCESSLIST WHERE STATE='User sleep'").Scan(&id) == nil {
			_, _ = admin.Exec("KILL ?", id) // it may be gone
		}
		processtest.Until(t, 10*time.Second, "the statement is gone", func() bool {
			var n int
			return admin.QueryRow("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE='User sleep'").Scan(&n) == nil && n == 0
		})
	}
	t.Cleanup(cancel)
	return release
}

// untilWaiting waits until a demotion hangs in the server.
func (w *world) untilWaiting(t testing.TB, name string) {
	t.Helper()
	processtest.Until(t, 10*time.Second, "the demotion waits", func() bool {
		var n int
		err := w.servers[name].Admin.QueryRow("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER='" + supervisor + "' AND STATE LIKE 'Waiting for%'").Scan(&n)
		return err == nil && n > 0
	})
}

// A node that can't be reached is an error, which names it: hold. The others are fenced.
func TestFenceHoldsOnAnUnreachableNode(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 1)
	kill(t, w.server("green-1"))
	err := w.d.Fence(bg(t), w.c, 7)
	if !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "green-1") || strings.Contains(err.Error(), "blue-1") {
		t.Fatalf("got %v", err)
	}
	s, err := w.d.dialTo(bg(t), w.place("blue-1"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if err := s.act(bg(t), 6, "act", "DO 0"); !errors.Is(err, engine.ErrFenced) {
		t.Errorf("the reachable node was not fenced: %v", err)
	}
}

// Secrets are in no error and in no text of the configuration.
func TestSecretsDoNotShow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 1, func(c *Config) { c.Replication = Account{User: "nobody", Password: Fixed("repl-secret'x")} })
	w.server("green-1").Exec(t, "STOP SLAVE")
	s, err := w.d.dialTo(bg(t), w.place("green-1"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if err := s.ensure(bg(t)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(bg(t), 10*time.Second)
	defer cancel()
	err = w.d.Replicate(ctx, w.c, "green", 9)
	if err == nil {
		t.Fatal("an account that does not exist replicates")
	}
	for _, text := range []string{err.Error(), Secret("repl-secret").String(), Secret("repl-secret").GoString()} {
		if strings.Contains(text, "repl-secret") || strings.Contains(text, supervisorPassword) {
			t.Errorf("shows a secret: %s", text)
		}
	}
}

// trap 1: a takeover ends what may act, and nothing else of the account: a supervisor's watch that looks at the same moment sees no error.
func TestFenceLeavesLooksAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 1)
	fenceLeavesLooks(t, w.d, w.driver(t), w.place("blue-1"), 5, func(term int64) error { return w.d.Fence(bg(t), w.c, term) })
}

func fenceLeavesLooks(t *testing.T, d, other *Driver, p place, term int64, fence func(int64) error) {
	t.Helper()
	open := func(how func(context.Context, place) (*session, error)) *session {
		s, err := how(bg(t), p)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.close)
		return s
	}
	eye, hand, liar := open(other.lookTo), open(other.dialTo), open(other.dialTo)
	// A lock that another connection has taken in its name says nothing of it.
	if err := hand.exec(bg(t), fmt.Sprintf("DO GET_LOCK('windlass.look.%d', 0)", liar.id)); err != nil {
		t.Fatal(err)
	}
	before := eye.id
	watched := make(chan error, 1)
	go func() { // a look that is under way meanwhile
		_, err := eye.rows(bg(t), "SELECT SLEEP(1)")
		watched <- err
	}()
	processtest.Until(t, 10*time.Second, "the look is under way", func() bool {
		s, err := d.lookTo(bg(t), p)
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		ps, err := s.processes(bg(t))
		return err == nil && slices.ContainsFunc(ps, func(x process) bool { return x.id == before && strings.Contains(x.info, "SLEEP") })
	})
	if err := fence(term); err != nil {
		t.Fatal(err)
	}
	if err := <-watched; err != nil {
		t.Errorf("a look was ended: %v", err)
	}
	if v := eye.look(bg(t)); v.err != nil || v.term != term {
		t.Errorf("the watch afterwards: term %d, %v", v.term, v.err)
	}
	for name, s := range map[string]*session{"the predecessor's": hand, "one that another speaks for": liar} {
		if _, err := s.readOnly(bg(t)); err == nil {
			t.Errorf("%s connection is still there", name)
		}
	}
	// What is left alone can't act, whatever its term.
	for _, err := range []error{eye.act(bg(t), term, "promote", eye.fl.promote()), eye.ensure(bg(t))} {
		if !errors.Is(err, errLooks) {
			t.Errorf("a look acts: %v", err)
		}
	}
}
