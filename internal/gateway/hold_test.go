package gateway

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/gateway/adminapi"
)

// sqlError is the error's number, or 0.
func sqlError(err error) uint16 {
	var e *mysql.MySQLError
	if errors.As(err, &e) {
		return e.Number
	}
	return 0
}

// result runs something beside the test.
func result[T any](do func() T) <-chan T {
	c := make(chan T, 1)
	go func() { c <- do() }()
	return c
}

func must[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(40 * time.Second):
		t.Fatal("nothing came back")
		panic("unreachable")
	}
}

// plainHold holds without preparing.
func (c *cluster) plainHold(t testing.TB, g *gate, ttl, drain time.Duration) (string, error) {
	t.Helper()
	c.switches++
	id := t.Name() + string(rune('a'+c.switches%26))
	_, err := g.api.Hold(bg(t), adminapi.HoldRequest{Switch: id, Term: c.term, TTLMS: ttl.Milliseconds(), DrainMS: drain.Milliseconds()})
	return id, err
}

func (g *gate) status(t testing.TB) adminapi.Status {
	t.Helper()
	st, err := g.api.Status(bg(t))
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func (g *gate) until(t testing.TB, what string, ok func(adminapi.Status) bool) {
	t.Helper()
	processtest.Until(t, patience, what, func() bool { return ok(g.status(t)) })
}

// The hold expires between demote and promote: the servers decide (trap 10).
func testHoldExpires(t *testing.T, c *cluster) {
	makeWrites(t, c)
	g := c.gateway(t)
	db := g.open(t, "gw", "")
	one := conn(t, db)
	run(t, one, "SELECT 1")
	id, err := c.plainHold(t, g, time.Minute, patience)
	if err != nil {
		t.Fatal(err)
	}
	c.demote(t)
	write := result(func() error {
		_, err := one.ExecContext(bg(t), "INSERT INTO writes (k) VALUES (?)", t.Name())
		return err
	})
	g.until(t, "it is held", func(st adminapi.Status) bool { return st.Writer.Waiting == 1 })
	// The same hold again has a new TTL, which is over soon.
	if _, err := g.api.Hold(bg(t), adminapi.HoldRequest{Switch: id, Term: c.term, TTLMS: 20, DrainMS: 10}); err != nil {
		t.Fatal(err)
	}
	g.until(t, "the hold is over", func(st adminapi.Status) bool { return st.Switch.Phase == adminapi.PhaseIdle })
	st := g.status(t)
	if st.Counts.HoldsExpired != 1 || st.Switch.Last == nil || st.Switch.Last.Outcome != "expired" || st.Writer.Route != adminapi.RouteNone {
		t.Errorf("after the TTL: %+v, %+v, route %s", st.Counts, st.Switch.Last, st.Writer.Route)
	}
	c.promote(t)
	if err := must(t, write); err != nil {
		t.Errorf("the write that was held: %v", err)
	}
	if n := ask(t, one, "SELECT COUNT(*) FROM writes WHERE k = ?", t.Name()); n != "1" {
		t.Errorf("%s rows", n)
	}
	if got := g.status(t).Writer.Primary; got != c.primary.Address() {
		t.Errorf("route to %s", got)
	}
	// A release of a hold that is over changes nothing.
	_, err = g.api.Release(bg(t), adminapi.ReleaseRequest{Switch: "x", Term: c.term, Primary: c.primary.Address()})
	if !errors.Is(err, adminapi.ErrNotHeld) {
		t.Errorf("late release: %v", err)
	}
}

// With none or two writable servers a new transaction is refused within its budget, and never guessed (trap 10).
func testNoneOrTwoPrimaries(t *testing.T, c *cluster) {
	g := c.gateway(t, func(cfg *Config) { cfg.Timeouts.NoPrimary = Duration(300 * time.Millisecond) })
	one := conn(t, g.open(t, "gw", ""))
	run(t, one, "SELECT 1")
	refused := func(route adminapi.Route, text string) {
		t.Helper()
		g.until(t, string(route), func(st adminapi.Status) bool { return st.Writer.Route == route })
		_, err := one.ExecContext(bg(t), "SELECT 1")
		if sqlError(err) != 1290 || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", route, err)
		}
	}
	c.replica.Exec(t, "SET GLOBAL read_only=0")
	refused(adminapi.RouteContested, "2 servers of the cluster are writable")
	c.replica.Exec(t, "SET GLOBAL read_only=1")
	c.primary.Exec(t, "SET GLOBAL read_only=1")
	refused(adminapi.RouteNone, "0 writable")
	// A new client is refused as well.
	if err := g.open(t, "gw", "").PingContext(bg(t)); sqlError(err) != 1290 {
		t.Errorf("new client: %v", err)
	}
	c.primary.Exec(t, "SET GLOBAL read_only=0")
	g.until(t, "open", func(st adminapi.Status) bool { return st.Writer.Route == adminapi.RouteOpen })
	run(t, one, "SELECT 1") // the session has gone on all the time
}

// The control plane dies right after the demotion: the gateway holds refused statements by itself (trap 11).
func testReheldByItself(t *testing.T, c *cluster) {
	makeWrites(t, c)
	slow := func(cfg *Config) { cfg.Monitor.Interval = Duration(time.Hour) } // so that it is the refusal that tells it
	g, g2 := c.gateway(t, slow), c.gateway(t, slow)                          // two, so that neither learns it from the other statement
	db := g.open(t, "gw", "")
	text, prepared, inTx, call := conn(t, db), conn(t, g2.open(t, "gw", "")), conn(t, db), conn(t, db)
	run(t, text, "SELECT 1")
	run(t, call, "SELECT 1")
	c.primary.Exec(t, "CREATE OR REPLACE PROCEDURE gw.put(v VARCHAR(100)) SQL SECURITY INVOKER INSERT INTO gw.writes (k) VALUES (v)")
	c.replica.CatchUp(t, c.primary)
	st, err := prepared.PrepareContext(bg(t), "INSERT INTO writes (k) VALUES (?)")
	if err != nil {
		t.Fatal(err)
	}
	run(t, inTx, "START TRANSACTION")
	c.demote(t)
	if _, err := inTx.ExecContext(bg(t), "INSERT INTO writes (k) VALUES ('tx')"); sqlError(err) != 1290 {
		t.Errorf("inside a transaction: %v", err)
	}
	if _, err := call.ExecContext(bg(t), "CALL put('call')"); sqlError(err) != 1290 { // may have done a part
		t.Errorf("CALL: %v", err)
	}
	w1 := result(func() error {
		_, err := text.ExecContext(bg(t), "INSERT INTO writes (k) VALUES ('"+t.Name()+"-text')")
		return err
	})
	w2 := result(func() error { _, err := st.ExecContext(bg(t), t.Name()+"-prepared"); return err })
	for _, g := range []*gate{g, g2} {
		g.until(t, "it waits", func(st adminapi.Status) bool { return st.Writer.Waiting == 1 })
	}
	c.promote(t)
	for _, g := range []*gate{g, g2} {
		g.mon.pollNow(bg(t))
	}
	for _, w := range []<-chan error{w1, w2} {
		if err := must(t, w); err != nil {
			t.Error(err)
		}
	}
	if n := ask(t, text, "SELECT COUNT(*) FROM writes WHERE k LIKE ?", t.Name()+"%"); n != "2" {
		t.Errorf("%s rows of 2", n)
	}
	for _, g := range []*gate{g, g2} {
		if n := g.status(t).Counts.Reheld; n != 1 {
			t.Errorf("%d reheld", n)
		}
	}
	if n := ask(t, text, "SELECT @@port"); !strings.HasSuffix(c.primary.Address(), ":"+n) {
		t.Errorf("on port %s", n)
	}
}

// With its budget over, the refusal of the server itself is what the client gets (trap 11); what is refused for another reason is not
// held at all.
func testReheldBudget(t *testing.T, c *cluster) {
	makeWrites(t, c)
	g := c.gateway(t, func(cfg *Config) {
		cfg.Monitor.Interval, cfg.Timeouts.NoPrimary = Duration(time.Hour), Duration(300*time.Millisecond)
	})
	one := conn(t, g.open(t, "gw", ""))
	run(t, one, "SELECT 1")
	c.demote(t)
	begin := time.Now()
	_, err := one.ExecContext(bg(t), "DELETE FROM writes WHERE k = 'nothing'")
	if sqlError(err) != 1290 || strings.Contains(err.Error(), "windlass") || time.Since(begin) < 250*time.Millisecond {
		t.Errorf("after %s: %v", time.Since(begin), err)
	}
	c.primary.Exec(t, "SET GLOBAL read_only=0")
	g.mon.pollNow(bg(t))
	run(t, one, "SELECT 1")
}

// Held means that nothing is in flight (trap 12). The write can't end before the test lets it: a row is in its way.
func testHeldMeansQuiet(t *testing.T, c *cluster) {
	makeWrites(t, c)
	g := c.gateway(t)
	db := g.open(t, "gw", "")
	busy, idle := conn(t, db), conn(t, db)
	run(t, idle, "SELECT 1")
	way, err := c.primary.Admin.BeginTx(bg(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer way.Rollback()
	if _, err := way.Exec("INSERT INTO gw.writes (k) VALUES (?)", t.Name()); err != nil {
		t.Fatal(err)
	}
	write := result(func() error {
		_, err := busy.ExecContext(bg(t), "INSERT INTO writes (k, n) VALUES ('"+t.Name()+"', 1)") // one command: no PREPARE before it
		return err
	})
	g.until(t, "the write is in flight", func(st adminapi.Status) bool { return st.Writer.InFlight == 1 })
	held := result(func() error { _, err := c.plainHold(t, g, time.Minute, patience); return err })
	g.until(t, "it drains, and has looked at the servers several times", func(st adminapi.Status) bool {
		return st.Switch.Phase == adminapi.PhaseDraining && st.Switch.InFlight == 1 && st.Switch.HeldMS > 5*settleFor.Milliseconds()
	})
	select {
	case err := <-held:
		t.Fatalf("held with a write in flight: %v", err)
	default:
	}
	if err := way.Rollback(); err != nil {
		t.Fatal(err)
	}
	// Which of the two answers is read first says nothing. The row is there if the write was let end before it held.
	if err := must(t, held); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := c.primary.Admin.QueryRow("SELECT COUNT(*) FROM gw.writes WHERE k = ? AND n = 1", t.Name()).Scan(&n); err != nil || n != 1 {
		t.Errorf("held, but the write has %d rows, %v", n, err)
	}
	if err := must(t, write); err != nil {
		t.Fatal(err)
	}
	st := g.status(t)
	if st.Switch.Phase != adminapi.PhaseHeld || st.Switch.TTLLeftMS <= 0 || st.Writer.InFlight != 0 {
		t.Errorf("%+v", st.Switch)
	}
	if _, err := g.api.Cancel(bg(t), adminapi.CancelRequest{Switch: st.Switch.Switch, Term: c.term}); err != nil {
		t.Fatal(err)
	}
	run(t, idle, "SELECT 1")
}

// A COMMIT that meets read_only is refused for sure, and its rows are not there; a lost reply is not repeated (trap 13).
func testCommitMeetsReadOnly(t *testing.T, c *cluster) {
	makeWrites(t, c)
	g := c.gateway(t)
	one, other := conn(t, g.open(t, "gw", "")), conn(t, g.open(t, "gw", ""))
	tx, err := one.BeginTx(bg(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec("INSERT INTO writes (k) VALUES (?)", t.Name()); err != nil {
		t.Fatal(err)
	}
	c.demote(t)
	if err := tx.Commit(); sqlError(err) != 1290 {
		t.Errorf("commit: %v", err)
	}
	c.primary.Exec(t, "SET GLOBAL read_only=0")
	g.until(t, "open", func(st adminapi.Status) bool { return st.Writer.Route == adminapi.RouteOpen })
	if n := ask(t, other, "SELECT COUNT(*) FROM writes WHERE k = ?", t.Name()); n != "0" {
		t.Errorf("%s rows after a refused commit", n)
	}

	lost := result(func() error {
		_, err := one.ExecContext(bg(t), "INSERT INTO writes (k, n) SELECT '"+t.Name()+"-lost', SLEEP(60)")
		return err
	})
	var thread uint32
	processtest.Until(t, patience, "the write runs", func() bool {
		return c.primary.Admin.QueryRow("SELECT ID FROM information_schema.PROCESSLIST WHERE INFO LIKE 'INSERT%SLEEP(60)'").Scan(&thread) == nil
	})
	c.primary.Exec(t, "KILL HARD ?", thread)
	if err := must(t, lost); err == nil || sqlError(err) == 0 && !errors.Is(err, mysql.ErrInvalidConn) {
		t.Errorf("a lost reply gave %v", err)
	}
	if n := ask(t, other, "SELECT COUNT(*) FROM writes WHERE k LIKE ?", t.Name()+"-lost%"); n != "0" {
		t.Errorf("%s rows: it was sent again", n)
	}
}

// Nobody is held inside a transaction: an application that needs a second connection to end its transaction would wait for
// itself. The hold is called off within its drain, and both go on (trap 14).
func testNoDeadlock(t *testing.T, c *cluster) {
	makeWrites(t, c)
	g := c.gateway(t)
	db := g.open(t, "gw", "")
	first, second := conn(t, db), conn(t, db)
	run(t, second, "SELECT 1")
	run(t, first, "START TRANSACTION")
	run(t, first, "INSERT INTO writes (k) VALUES (?)", t.Name())
	held := result(func() error {
		_, err := c.plainHold(t, g, time.Minute, 600*time.Millisecond)
		return err
	})
	g.until(t, "it drains", func(st adminapi.Status) bool { return st.Counts.Holds == 1 })
	run(t, first, "SELECT 1") // inside: not held
	needed := result(func() error { _, err := second.ExecContext(bg(t), "SELECT 1"); return err })
	err := must(t, held)
	var blocked *adminapi.BlockedError
	if !errors.As(err, &blocked) || len(blocked.Blockers) != 1 || blocked.Blockers[0].Kind != adminapi.BlockTransaction || !strings.Contains(blocked.Blockers[0].Detail, "1 rows modified") {
		t.Fatalf("%v", err)
	}
	if err := must(t, needed); err != nil {
		t.Error(err)
	}
	run(t, first, "COMMIT")
	if st := g.status(t); st.Switch.Phase != adminapi.PhaseIdle || st.Switch.Last.Outcome != "blocked" {
		t.Errorf("%+v", st.Switch)
	}
}

// A transaction may be ended instead, with a clear error, if that is what was asked for.
func testFailOpenTransactions(t *testing.T, c *cluster) {
	makeWrites(t, c)
	g := c.gateway(t)
	db := g.open(t, "gw", "")
	idle, busy := conn(t, db), conn(t, db)
	run(t, idle, "START TRANSACTION")
	run(t, idle, "INSERT INTO writes (k) VALUES (?)", t.Name())
	run(t, busy, "START TRANSACTION")
	run(t, busy, "INSERT INTO writes (k) VALUES (?)", t.Name()+"2")
	flying := result(func() error {
		_, err := busy.ExecContext(bg(t), "UPDATE writes SET n = SLEEP(60) WHERE k = '"+t.Name()+"2'")
		return err
	})
	g.until(t, "a write is in flight", func(st adminapi.Status) bool { return st.Writer.InFlight == 1 })
	c.switches++
	st, err := g.api.Hold(bg(t), adminapi.HoldRequest{Switch: "fail", Term: c.term, TTLMS: 60000, DrainMS: 200, OnOpen: adminapi.Fail})
	if err != nil || st.Phase != adminapi.PhaseHeld {
		t.Fatalf("%+v, %v", st, err)
	}
	if err := must(t, flying); sqlError(err) != 1213 {
		t.Errorf("the command in flight: %v", err)
	}
	if _, err := idle.ExecContext(bg(t), "COMMIT"); sqlError(err) != 1213 || !strings.Contains(err.Error(), "rolled back") {
		t.Errorf("the commit: %v", err)
	}
	if _, err := g.api.Cancel(bg(t), adminapi.CancelRequest{Switch: "fail", Term: c.term}); err != nil {
		t.Fatal(err)
	}
	run(t, busy, "ROLLBACK")
	if n := ask(t, idle, "SELECT COUNT(*) FROM writes WHERE k LIKE ?", t.Name()+"%"); n != "0" {
		t.Errorf("%s rows", n)
	}
	if n := g.status(t).Counts.RolledBack; n != 2 {
		t.Errorf("%d rolled back", n)
	}
}

// Clients with autocommit=0 sit in read transactions: they do not block. They read on where they are, move at the end, and a
// late write is told to try again (trap 15).
func testReadersLinger(t *testing.T, c *cluster) {
	makeWrites(t, c)
	g := c.gateway(t)
	db := g.open(t, "gw", "autocommit=0")
	reader, writer := conn(t, db), conn(t, db)
	n := ask(t, reader, "SELECT COUNT(*) FROM writes")
	ask(t, writer, "SELECT COUNT(*) FROM writes")
	old := ask(t, reader, "SELECT @@port")
	begin := time.Now()
	id := c.hold(t, g)
	if took := time.Since(begin); took > patience/2 { // the drain may take all of it
		t.Errorf("two idle readers were waited for: %s", took)
	}
	if st := g.status(t); st.Switch.Lingering != 2 {
		t.Errorf("%+v", st.Switch)
	}
	c.demote(t)
	c.promote(t)
	c.primary.Exec(t, "INSERT INTO gw.writes (k) VALUES ('"+t.Name()+"')")
	c.replica.CatchUp(t, c.primary)
	c.release(t, g, id)
	if again := ask(t, reader, "SELECT COUNT(*) FROM writes"); again != n {
		t.Errorf("the reader's snapshot changed from %s to %s", n, again)
	}
	if p := ask(t, reader, "SELECT @@port"); p != old {
		t.Errorf("the reader was moved to %s inside its transaction", p)
	}
	run(t, reader, "COMMIT")
	if p := ask(t, reader, "SELECT @@port"); p == old {
		t.Error("the reader did not move at its COMMIT")
	}
	run(t, reader, "COMMIT")
	if _, err := writer.ExecContext(bg(t), "INSERT INTO writes (k) VALUES ('late')"); sqlError(err) != 1213 {
		t.Errorf("late write: %v", err)
	}
	run(t, writer, "INSERT INTO writes (k) VALUES (?)", t.Name()+"-again") // and so it works
	run(t, writer, "COMMIT")
	if st := g.status(t); st.Counts.MovesFailed != 0 || st.Writer.Elsewhere != 0 {
		t.Errorf("%+v, %d elsewhere", st.Counts, st.Writer.Elsewhere)
	}
}

// The server's list of transactions is gathered anew only when nobody has read it for 100 ms: whoever asks often is shown an old one. An
// old list is no evidence that a transaction has only read (traps 4, 15).
func testOldListOfTransactions(t *testing.T, c *cluster) {
	makeWrites(t, c)
	g := c.gateway(t, func(cfg *Config) { cfg.Timeouts.Observe = Duration(time.Second) })
	one := conn(t, g.open(t, "gw", ""))
	run(t, one, "START TRANSACTION")
	run(t, one, "SELECT COUNT(*) FROM writes")
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var seen atomic.Int64
	asked := result(func() error {
		for ctx.Err() == nil {
			if seen.Load() == 0 { // the first list has to be one that was gathered anew
				time.Sleep(150 * time.Millisecond)
			}
			var n int
			if err := c.primary.Admin.QueryRow("SELECT COUNT(*) FROM information_schema.INNODB_TRX WHERE trx_rows_modified = 0").Scan(&n); err != nil {
				return err
			}
			seen.Add(int64(n))
		}
		return nil
	})
	processtest.Until(t, patience, "the reader is in the list", func() bool { return seen.Load() > 0 })
	run(t, one, "INSERT INTO writes (k) VALUES ('"+t.Name()+"')")
	_, err := c.plainHold(t, g, time.Minute, 500*time.Millisecond)
	if !isBlocked(err, adminapi.BlockTransaction) && !isBlocked(err, adminapi.BlockUnknown) {
		t.Errorf("held over a transaction that wrote: %v", err)
	}
	stop()
	if err := must(t, asked); err != nil {
		t.Fatal(err)
	}
	if _, err := c.plainHold(t, g, time.Minute, 500*time.Millisecond); !isBlocked(err, adminapi.BlockTransaction) {
		t.Errorf("when nobody else asks: %v", err)
	}
	run(t, one, "ROLLBACK")
}

// A term lower than the highest seen can do nothing, not even after a restart (trap 1).
func testTerms(t *testing.T, c *cluster) {
	state := t.TempDir() + "/state.json"
	g := c.gateway(t, func(cfg *Config) { cfg.StateFile = state })
	high := c.term + 10
	if st, err := g.api.Fence(bg(t), high); err != nil || st.Term != high {
		t.Fatalf("%+v, %v", st, err)
	}
	denied := func(g *gate) {
		t.Helper()
		low := c.term
		_, err1 := g.api.Prepare(bg(t), adminapi.PrepareRequest{Switch: "s", Term: low, Target: c.replica.Address()})
		_, err2 := g.api.Hold(bg(t), adminapi.HoldRequest{Switch: "s", Term: low, TTLMS: 1000, DrainMS: 100})
		_, err3 := g.api.Release(bg(t), adminapi.ReleaseRequest{Switch: "s", Term: low, Primary: c.primary.Address()})
		_, err4 := g.api.Cancel(bg(t), adminapi.CancelRequest{Switch: "s", Term: low})
		_, err5 := g.api.SetServers(bg(t), adminapi.ServersRequest{Term: low, All: []string{c.replica.Address()}})
		_, err6 := g.api.Close(bg(t), adminapi.CloseRequest{Term: low, Reason: "r"})
		_, err7 := g.api.Fence(bg(t), low)
		for i, err := range []error{err1, err2, err3, err4, err5, err6, err7} {
			var term *adminapi.TermError
			if !errors.As(err, &term) || term.Seen != high {
				t.Errorf("act %d: %v", i+1, err)
			}
		}
	}
	denied(g)
	g.stop()
	denied(c.gateway(t, func(cfg *Config) { cfg.StateFile = state }))

	// A higher term takes the same switch over; a lower one can't end it; another switch's hold gives way to a higher term only.
	g = c.gateway(t)
	hold := func(id string, term int64) error {
		_, err := g.api.Hold(bg(t), adminapi.HoldRequest{Switch: id, Term: term, TTLMS: 60000, DrainMS: 100})
		return err
	}
	if err := hold("a", 5); err != nil {
		t.Fatal(err)
	}
	if err := hold("b", 5); !errors.Is(err, adminapi.ErrBusy) {
		t.Errorf("another switch of the same term: %v", err)
	}
	if err := hold("a", 6); err != nil {
		t.Errorf("a takeover: %v", err)
	}
	if _, err := g.api.Cancel(bg(t), adminapi.CancelRequest{Switch: "a", Term: 5}); err == nil {
		t.Error("the predecessor ended the hold")
	}
	if err := hold("b", 7); err != nil {
		t.Errorf("another switch of a higher term: %v", err)
	}
	if st := g.status(t).Switch; st.Switch != "b" || st.Term != 7 || st.Last.Outcome != "superseded" {
		t.Errorf("%+v", st)
	}
	if _, err := g.api.Release(bg(t), adminapi.ReleaseRequest{Switch: "b", Term: 7, Primary: c.replica.Address()}); !errors.Is(err, adminapi.ErrNotWritable) {
		t.Errorf("release to a replica: %v", err)
	}
	if st := g.status(t).Switch; st.Phase != adminapi.PhaseHeld {
		t.Errorf("a refused release ended the hold: %+v", st)
	}
	if _, err := g.api.Release(bg(t), adminapi.ReleaseRequest{Switch: "b", Term: 7, Primary: c.primary.Address()}); err != nil {
		t.Error(err)
	}
}

// A caller that goes away while it drains leaves nothing held.
func testCallerGoesAway(t *testing.T, c *cluster) {
	makeWrites(t, c)
	g := c.gateway(t)
	one := conn(t, g.open(t, "gw", ""))
	run(t, one, "START TRANSACTION")
	run(t, one, "INSERT INTO writes (k) VALUES (?)", t.Name())
	ctx, cancel := context.WithCancel(bg(t))
	defer cancel()
	held := result(func() error {
		_, err := g.api.Hold(ctx, adminapi.HoldRequest{Switch: "gone", Term: c.term, TTLMS: 120000, DrainMS: 100000})
		return err
	})
	g.until(t, "it drains", func(st adminapi.Status) bool { return st.Switch.Phase == adminapi.PhaseDraining })
	cancel()
	if must(t, held) == nil {
		t.Fatal("no error")
	}
	g.until(t, "the gate is open", func(st adminapi.Status) bool {
		return st.Switch.Phase == adminapi.PhaseIdle && st.Writer.Route == adminapi.RouteOpen
	})
	run(t, one, "COMMIT")
}
