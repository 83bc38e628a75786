package gateway_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/driver/gateway"
	"github.com/windlass-db/windlass/internal/driver/mysql"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/gateway/adminapi"
	"github.com/windlass-db/windlass/internal/switchover"
)

// The driver over real gateways in processes of their own, which share one pair of servers. Blue stays the primary, but for the last three.
func TestGateways(t *testing.T) {
	w := newWorld(t)
	for _, part := range []struct {
		name string
		test func(*testing.T, *world)
	}{
		{"observe", testObserve}, {"token", testToken}, {"hold and cancel", testHoldAndCancel}, {"trap 10: the hold ends by itself", testTTL}, {"trap 1: terms", testTerms},
		{"trap 12: every gateway holds, or none", testEveryGatewayHolds}, {"trap 26: what can't be moved", testUnmovable}, {"trap 32: clients that are left", testClients},
		{"a gateway that can't be asked is unknown", testUnreachable}, {"trap 11: the control plane is gone", testControlPlaneGone},
		{"trap 14: the second try", testSecondTry}, {"trap 12: who comes in the middle", testLeftovers},
	} {
		if !t.Run(part.name, func(t *testing.T) { part.test(t, w) }) {
			return
		}
	}
}

// calledOff tells when a try to hold was called off.
type calledOff struct {
	slog.Handler
	at chan time.Time
}

func (c calledOff) Enabled(context.Context, slog.Level) bool { return true }

func (c calledOff) WithAttrs(attrs []slog.Attr) slog.Handler {
	return calledOff{c.Handler.WithAttrs(attrs), c.at}
}

func (c calledOff) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "hold called off" {
		c.at <- time.Now()
	}
	return nil
}

// trap 14: a transaction that has written keeps the gateways from holding. All are let go at once, for ten times as long as it was drained: the one
// who needs a second connection to end it gets through, and a later try holds. It goes back, to blue.
func testSecondTry(t *testing.T, w *world) {
	off := calledOff{slog.DiscardHandler, make(chan time.Time, 9)}
	d := w.storage(t, slog.New(off))
	w.term++
	if err := d.Fence(bg(t), w.c, w.term); err != nil {
		t.Fatal(err)
	}
	counts := func() adminapi.Counts {
		st, err := w.api(t, "blue").Status(bg(t))
		if err != nil {
			t.Fatal(err)
		}
		return st.Counts
	}
	before := counts()
	open, other := w.client(t, "green"), w.client(t, "blue")
	run(t, open, "BEGIN", "INSERT INTO writes VALUES ('second', 1)")
	run(t, other, "SELECT 1")
	s := settings()
	s.Tries, s.Drain = 5, 100*time.Millisecond
	var held time.Time
	done := make(chan error, 1)
	ctx := bg(t)
	go func() {
		_, err := d.Switch(ctx, switchover.Request{Cluster: w.c, ToCell: "blue", Term: w.term, ID: "second", Back: true, Settings: s, Point: func(name string) {
			if name == "after-hold" {
				held = time.Now()
			}
		}})
		done <- err
	}()
	var first time.Time
	select {
	case first = <-off.at:
	case err := <-done:
		t.Fatalf("it ended before a try was called off: %v", err)
	}
	run(t, other, "INSERT INTO writes VALUES ('what the first one waits for', 1)")
	run(t, open, "COMMIT")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	last := first
	for len(off.at) > 0 {
		last = <-off.at
	}
	if backedOff := held.Sub(last); backedOff < 10*s.Drain {
		t.Errorf("it held again after %v, the drain is %v", backedOff, s.Drain)
	}
	if after := counts(); after.Holds < before.Holds+2 || after.HoldsExpired != before.HoldsExpired {
		t.Errorf("before %+v, after %+v", before, after)
	}
	for _, c := range []*sql.Conn{open, other} {
		run(t, c, "DELETE FROM writes WHERE k IN ('second', 'what the first one waits for')")
	}
	for cell, o := range w.observe(t) {
		if o.Held || o.Primary != w.servers["blue"].Address() {
			t.Errorf("%s: %+v", cell, o)
		}
	}
}

// trap 12: who connects to the old primary itself when the preflight has found nobody is ended after the demotion: it would write there, if it may,
// and hear nothing of the new one. A gateway's reader is left to finish.
func testLeftovers(t *testing.T, w *world) {
	d := w.storage(t, nil)
	w.term++
	if err := d.Fence(bg(t), w.c, w.term); err != nil {
		t.Fatal(err)
	}
	reader := w.client(t, "blue")
	run(t, reader, "SET autocommit = 0", "SELECT COUNT(*) FROM writes")
	db, err := sql.Open("mysql", processtest.DSN(w.servers["blue"].Address(), processtest.AppUser, processtest.AppPassword, "gw"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var stranger *sql.Conn
	ctx := bg(t)
	_, err = d.Switch(ctx, switchover.Request{Cluster: w.c, ToCell: "green", Term: w.term, ID: "leftovers", Settings: settings(), Point: func(name string) {
		if name == "after-demote" {
			c, err := db.Conn(ctx)
			if err != nil {
				t.Error(err)
			}
			stranger = c
		}
	}})
	if err != nil || stranger == nil {
		t.Fatalf("%v, %v", stranger, err)
	}
	defer stranger.Close()
	if err := stranger.PingContext(ctx); err == nil {
		t.Error("a connection that is nobody's is still on the old primary")
	}
	run(t, reader, "SELECT COUNT(*) FROM writes", "COMMIT")
}

func settings() campaign.Switch {
	return campaign.Switch{HoldTTL: 8 * time.Second, Drain: 500 * time.Millisecond, Tries: 1, OnOpenTransaction: "call-off", MaxLag: 10 * time.Second, Timeout: time.Minute}
}

// client is one connection through a cell's gateway.
func (w *world) client(t testing.TB, cell string) *sql.Conn {
	t.Helper()
	db, err := sql.Open("mysql", processtest.DSN(w.processes[cell].writer, processtest.AppUser, processtest.AppPassword, "gw"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	db.SetMaxIdleConns(-1)
	c, err := db.Conn(bg(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func run(t testing.TB, c *sql.Conn, queries ...string) {
	t.Helper()
	for _, q := range queries {
		if _, err := c.ExecContext(bg(t), q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
}

func (w *world) api(t testing.TB, cell string) *adminapi.Client {
	t.Helper()
	c, err := w.d.Client(*w.cell(cell).Gateway)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (w *world) observe(t testing.TB) map[string]fleet.GatewayObservation {
	t.Helper()
	all, err := w.d.Observe(bg(t), w.c)
	if err != nil {
		t.Fatal(err)
	}
	by := map[string]fleet.GatewayObservation{}
	for _, o := range all {
		by[o.Cell] = o
	}
	if len(by) != len(w.c.Cells) {
		t.Fatalf("observed %+v", all)
	}
	return by
}

// verdict finds a check.
func verdict(t testing.TB, rs check.Results, name string) check.Result {
	t.Helper()
	for _, r := range rs {
		if r.Name == name {
			return r
		}
	}
	t.Fatalf("no check is called %s: %v", name, rs)
	return check.Result{}
}

func testObserve(t *testing.T, w *world) {
	c := w.client(t, "green")
	run(t, c, "SELECT 1")
	for cell, o := range w.observe(t) {
		if o.Error != "" || o.Primary != w.servers["blue"].Address() || o.Held || o.Sessions != map[string]int{"blue": 0, "green": 1}[cell] {
			t.Errorf("%s: %+v", cell, o)
		}
		rs, err := w.d.Check(bg(t), w.c, *w.cell(cell).Gateway)
		if err != nil || !rs.OK() || len(rs) != 3 {
			t.Errorf("%s: %v, %v", cell, rs, err)
		}
		for _, r := range rs {
			if r.At.IsZero() || r.Detail == "" {
				t.Errorf("without evidence: %+v", r)
			}
		}
	}
	// A server that it was never told of, and one that does not answer.
	more := w.c
	more.Cells = append([]fleet.Cell{}, w.c.Cells...)
	more.Cells[1].Nodes = append([]fleet.Node{{Name: "green-2", Address: closedPort(t)}}, more.Cells[1].Nodes...)
	gone := more.Cells[1].Nodes[0].Address
	rs, err := w.d.Check(bg(t), more, *w.cell("blue").Gateway)
	if r := verdict(t, rs, "gateway-servers"); err != nil || r.Verdict != check.Fail || !strings.Contains(r.Detail, "does not know "+gone) {
		t.Errorf("%+v, %v", r, err)
	}
	local, all := []string{w.servers["blue"].Address()}, []string{w.servers["blue"].Address(), w.servers["green"].Address()}
	if err := w.d.SetServers(bg(t), *w.cell("blue").Gateway, local, append([]string{gone}, all...), w.term); err != nil {
		t.Fatal(err)
	}
	processtest.Until(t, 10*time.Second, "it says that a server does not answer", func() bool {
		rs, err := w.d.Check(bg(t), more, *w.cell("blue").Gateway)
		r := verdict(t, rs, "gateway-servers")
		return err == nil && r.Verdict == check.Fail && strings.Contains(r.Detail, "can't see "+gone)
	})
	for range 2 { // the same again changes nothing
		if err := w.d.SetServers(bg(t), *w.cell("blue").Gateway, local, all, w.term); err != nil {
			t.Fatal(err)
		}
	}
	w.untilOpen(t, *w.cell("blue").Gateway, w.servers["blue"].Address())
}

// The token's file is read at each call, is refused if others can read it, and is in no error.
func testToken(t *testing.T, w *world) {
	path := secret(t, "other", "not-"+token)
	d := gateway.New(path, time.Now)
	wrong := func(what, says string) {
		t.Helper()
		all, err := d.Observe(bg(t), w.c)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range all {
			if !strings.Contains(o.Error, says) || strings.Contains(o.Error, token) || o.Primary != "" || o.Sessions != 0 {
				t.Errorf("%s: %+v", what, o)
			}
		}
	}
	wrong("another token", "refused the token")
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	wrong("readable by others", "chmod 600")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	wrong("no file", "token of the gateways' admin API")
	if err := os.WriteFile(path, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if all, err := d.Observe(bg(t), w.c); err != nil || all[0].Error != "" {
		t.Errorf("the right token, written later: %+v, %v", all, err)
	}
}

// hold closes the gate of a cell's gateway.
func (w *world) hold(t testing.TB, cell, id string, ttl time.Duration) {
	t.Helper()
	st, err := w.api(t, cell).Hold(bg(t), adminapi.HoldRequest{Switch: id, Term: w.term, TTLMS: ttl.Milliseconds(), DrainMS: 200})
	if err != nil || st.Phase != adminapi.PhaseHeld || st.InFlight != 0 {
		t.Fatalf("%+v, %v", st, err)
	}
}

// later runs a statement that a hold makes wait.
func later(t testing.TB, c *sql.Conn, query string) <-chan error {
	done := make(chan error, 1)
	ctx := bg(t)
	go func() {
		_, err := c.ExecContext(ctx, query)
		done <- err
	}()
	return done
}

func (w *world) untilWaiting(t testing.TB, cell string, n int) {
	t.Helper()
	processtest.Until(t, 10*time.Second, "a command waits", func() bool {
		st, err := w.api(t, cell).Switch(bg(t))
		if err != nil {
			t.Fatal(err)
		}
		return st.Waiting == n
	})
}

func ended(t testing.TB, done <-chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(20 * time.Second):
		t.Fatal("the statement did not end")
		return nil
	}
}

func testHoldAndCancel(t *testing.T, w *world) {
	c := w.client(t, "blue")
	run(t, c, "SELECT 1")
	w.hold(t, "blue", "one", 8*time.Second)
	if o := w.observe(t); !o["blue"].Held || o["blue"].Primary != "" || o["green"].Held {
		t.Errorf("%+v", o)
	}
	rs, err := w.d.Check(bg(t), w.c, *w.cell("blue").Gateway)
	if r := verdict(t, rs, "gateway-routes"); err != nil || r.Verdict != check.Fail || !strings.Contains(r.Detail, "held") {
		t.Errorf("a gateway that holds is fit to take clients: %+v, %v", r, err)
	}
	write := later(t, c, "INSERT INTO writes VALUES ('held', 1)")
	w.untilWaiting(t, "blue", 1)
	// Cancelling another switch changes nothing.
	if st, err := w.api(t, "blue").Cancel(bg(t), adminapi.CancelRequest{Switch: "another", Term: w.term}); err != nil || st.Phase != adminapi.PhaseHeld {
		t.Errorf("%+v, %v", st, err)
	}
	for range 2 {
		if st, err := w.api(t, "blue").Cancel(bg(t), adminapi.CancelRequest{Switch: "one", Term: w.term}); err != nil || st.Phase != adminapi.PhaseIdle {
			t.Errorf("%+v, %v", st, err)
		}
	}
	if err := ended(t, write); err != nil {
		t.Errorf("the write that was held: %v", err)
	}
	if o := w.observe(t)["blue"]; o.Held || o.Primary != w.servers["blue"].Address() {
		t.Errorf("%+v", o)
	}
}

// Nobody ends the hold: its TTL does, and the servers decide where the write goes.
func testTTL(t *testing.T, w *world) {
	c := w.client(t, "blue")
	run(t, c, "SELECT 1")
	w.hold(t, "blue", "ttl", 500*time.Millisecond)
	if err := ended(t, later(t, c, "INSERT INTO writes VALUES ('ttl', 1)")); err != nil {
		t.Errorf("the write that was held: %v", err)
	}
	st, err := w.api(t, "blue").Switch(bg(t))
	if err != nil || st.Phase != adminapi.PhaseIdle || st.Last == nil || st.Last.Outcome != "expired" || st.Last.Switch != "ttl" {
		t.Errorf("%+v, %v", st, err)
	}
	if _, err := w.api(t, "blue").Release(bg(t), adminapi.ReleaseRequest{Switch: "ttl", Term: w.term, Primary: w.servers["blue"].Address()}); !errors.Is(err, adminapi.ErrNotHeld) {
		t.Errorf("a release that came too late: %v", err)
	}
}

// A lower term changes nothing, is told as what the engine knows, and is remembered by a gateway that is killed.
func testTerms(t *testing.T, w *world) {
	stale := w.term
	w.term += 5
	g := *w.cell("blue").Gateway
	all := []string{w.servers["blue"].Address(), w.servers["green"].Address()}
	if err := w.d.SetServers(bg(t), g, all[:1], all, w.term); err != nil {
		t.Fatal(err)
	}
	refused := func(when string) {
		t.Helper()
		if err := w.d.SetServers(bg(t), g, nil, all[:1], stale); !errors.Is(err, engine.ErrFenced) {
			t.Errorf("%s: the list of servers under a lower term: %v", when, err)
		}
		var lower *adminapi.TermError
		if _, err := w.api(t, "blue").Hold(bg(t), adminapi.HoldRequest{Switch: "x", Term: stale, TTLMS: 1000, DrainMS: 100}); !errors.As(err, &lower) || lower.Seen != w.term {
			t.Errorf("%s: a hold under a lower term: %v", when, err)
		}
		if rs, err := w.d.Check(bg(t), w.c, g); err != nil || verdict(t, rs, "gateway-servers").Verdict != check.Pass {
			t.Errorf("%s: the list has changed: %v, %v", when, rs, err)
		}
	}
	refused("at once")
	// The supervisor that takes over tells every gateway before it does anything else; one that does not answer keeps nobody from it.
	stale, w.term = w.term, w.term+1
	if err := w.storage(t, nil).Fence(bg(t), w.c, w.term); err != nil {
		t.Fatal(err)
	}
	refused("after a takeover")
	w.processes["blue"].kill(t)
	w.start("blue")
	w.untilOpen(t, g, w.servers["blue"].Address())
	refused("after a kill")
}

// One of two gateways can't hold: the switch is called off, the other one lets its clients go on, and nothing has changed.
func testEveryGatewayHolds(t *testing.T, w *world) {
	d := w.storage(t, nil)
	w.term++
	if err := d.Fence(bg(t), w.c, w.term); err != nil {
		t.Fatal(err)
	}
	open, other := w.client(t, "green"), w.client(t, "blue")
	run(t, open, "BEGIN", "INSERT INTO writes VALUES ('open', 1)")
	run(t, other, "SELECT 1")
	_, err := d.Switch(bg(t), switchover.Request{Cluster: w.c, ToCell: "green", Term: w.term, ID: "blocked", Settings: settings()})
	var blocked *adminapi.BlockedError
	if !errors.As(err, &blocked) || !errors.Is(err, mysql.ErrNotReady) || len(blocked.Blockers) != 1 || blocked.Blockers[0].Kind != adminapi.BlockTransaction {
		t.Fatalf("got %v", err)
	}
	run(t, other, "INSERT INTO writes VALUES ('other', 1)")
	run(t, open, "COMMIT")
	for cell, o := range w.observe(t) {
		if o.Held || o.Primary != w.servers["blue"].Address() {
			t.Errorf("%s: %+v", cell, o)
		}
	}
}

// What can't be moved is named by the preflight, and the switch is called off before anything is held.
func testUnmovable(t *testing.T, w *world) {
	d := w.storage(t, nil)
	c := w.client(t, "blue")
	for _, x := range []struct{ kind, make, drop string }{
		{adminapi.BlockTempTable, "CREATE TEMPORARY TABLE mine (n INT)", "DROP TEMPORARY TABLE mine"},
		{adminapi.BlockUserLock, "DO GET_LOCK('mine', 1)", "DO RELEASE_LOCK('mine')"},
	} {
		run(t, c, x.make)
		w.term++
		req := switchover.Request{Cluster: w.c, ToCell: "green", Term: w.term, ID: "unmovable-" + x.kind, Settings: settings()}
		if err := d.Fence(bg(t), w.c, w.term); err != nil {
			t.Fatal(err)
		}
		rs, err := d.Preflight(bg(t), req)
		if err != nil {
			t.Fatal(err)
		}
		r := verdict(t, rs, "gateway-prepare")
		if r.Verdict != check.Fail || !strings.Contains(r.Detail, "holds a "+x.kind) || !strings.Contains(r.Detail, "of app from 127.0.0.1") || r.Remedy == "" {
			t.Errorf("%s: %+v", x.kind, r)
		}
		if _, err := d.Switch(bg(t), req); !errors.Is(err, mysql.ErrNotReady) || !strings.Contains(err.Error(), "holds a "+x.kind) {
			t.Errorf("%s: %v", x.kind, err)
		}
		st, err := w.api(t, "blue").Switch(bg(t))
		if err != nil || st.Last != nil && strings.HasPrefix(st.Last.Switch, "unmovable") {
			t.Errorf("%s: it was held: %+v, %v", x.kind, st, err)
		}
		run(t, c, x.drop)
		if rs, err := d.Preflight(bg(t), req); err != nil || verdict(t, rs, "gateway-prepare").Verdict != check.Pass || verdict(t, rs, "gateways").Verdict != check.Pass || verdict(t, rs, "unknown-clients").Verdict != check.Pass {
			t.Errorf("%s is gone: %v, %v", x.kind, rs.Bad(), err)
		}
	}
}

func testClients(t *testing.T, w *world) {
	g := *w.cell("green").Gateway
	processtest.Until(t, 10*time.Second, "nobody is left of the parts before", func() bool {
		n, left, err := w.d.Clients(bg(t), g)
		return err == nil && n == 0 && len(left) == 0
	})
	a, b := w.client(t, "green"), w.client(t, "green")
	run(t, a, "SELECT 1")
	run(t, b, "SELECT 1")
	if n, left, err := w.d.Clients(bg(t), g); err != nil || n != 2 || fmt.Sprint(left) != "[127.0.0.1 (2)]" {
		t.Errorf("%d %v %v", n, left, err)
	}
	if r, err := w.api(t, "green").Close(bg(t), adminapi.CloseRequest{Term: w.term, Addresses: []string{"127.0.0.1"}, Reason: "the test says so"}); err != nil || r.Closed != 2 {
		t.Errorf("%+v, %v", r, err)
	}
	processtest.Until(t, 10*time.Second, "the laggards are gone", func() bool {
		n, _, err := w.d.Clients(bg(t), g)
		return err == nil && n == 0
	})
}

// A gateway that is down, or that hangs, is unknown: never one without clients or without a hold. Preflight and switch hold.
func testUnreachable(t *testing.T, w *world) {
	d := w.storage(t, nil)
	g := *w.cell("green").Gateway
	unknown := func(what string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(bg(t), 2*time.Second)
		defer cancel()
		all, err := w.d.Observe(ctx, w.c)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range all {
			if bad := o.Error != ""; bad != (o.Cell == "green") || bad && (o.Primary != "" || o.Sessions != 0) {
				t.Errorf("%s: %+v", what, o)
			}
		}
		for _, call := range []func(context.Context) error{
			func(ctx context.Context) error { _, _, err := w.d.Clients(ctx, g); return err },
			func(ctx context.Context) error { // the list that it has: one that hangs takes it when it goes on
				blue, green := w.servers["blue"].Address(), w.servers["green"].Address()
				return w.d.SetServers(ctx, g, []string{green}, []string{blue, green}, w.term)
			},
		} {
			ctx, cancel := context.WithTimeout(bg(t), time.Second)
			if err := call(ctx); err == nil || errors.Is(err, engine.ErrFenced) {
				t.Errorf("%s: %v", what, err)
			}
			cancel()
		}
		ctx, cancel = context.WithTimeout(bg(t), time.Second)
		defer cancel()
		rs, err := w.d.Check(ctx, w.c, g)
		if err != nil || len(rs) != 1 || verdict(t, rs, "gateway-answers").Verdict != check.Unknown || rs.OK() {
			t.Errorf("%s: %v, %v", what, rs, err)
		}
	}
	w.processes["green"].pause(t, true)
	unknown("it hangs")
	w.processes["green"].pause(t, false)
	w.untilOpen(t, g, w.servers["blue"].Address())

	w.processes["green"].kill(t)
	unknown("it is down")
	w.term++
	if err := d.Fence(bg(t), w.c, w.term); err != nil { // of the servers
		t.Fatal(err)
	}
	req := switchover.Request{Cluster: w.c, ToCell: "green", Term: w.term, ID: "unreachable", Settings: settings()}
	rs, err := d.Preflight(bg(t), req)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"gateways", "gateway-prepare"} {
		if r := verdict(t, rs, name); r.Verdict != check.Unknown || !strings.Contains(r.Detail, "green/green-gateway") {
			t.Errorf("%+v", r)
		}
	}
	if _, err := d.Switch(bg(t), req); !errors.Is(err, mysql.ErrNotReady) {
		t.Errorf("a switch with a gateway that is down: %v", err)
	}
	w.start("green")
	w.untilOpen(t, g, w.servers["blue"].Address())
	if o := w.observe(t)["blue"]; o.Held || o.Primary != w.servers["blue"].Address() {
		t.Errorf("the gateway that could be asked: %+v", o)
	}
}

// trap 10, 11: the supervisor dies right after the demotion. The hold ends by itself; with no writable server clients wait, and
// go on when the next supervisor has completed the switch: nobody sees an error, and no write is lost.
func testControlPlaneGone(t *testing.T, w *world) {
	d := w.storage(t, nil)
	w.term++
	if err := d.Fence(bg(t), w.c, w.term); err != nil {
		t.Fatal(err)
	}
	l := startLoad(t, w.processes["blue"], 4, 100, 2)
	l.more(t, 50)
	s := settings()
	s.HoldTTL, s.Drain = 4*time.Second, 500*time.Millisecond
	req := switchover.Request{Cluster: w.c, ToCell: "green", Term: w.term, ID: "gone", Settings: s}
	type dead struct{}
	req.Point = func(name string) {
		if name == "after-demote" {
			panic(dead{})
		}
	}
	func() {
		defer func() {
			if p := recover(); p != (dead{}) {
				t.Errorf("it did not die there: %v", p)
			}
		}()
		_, err := d.Switch(bg(t), req)
		t.Errorf("it came back: %v", err)
	}()
	processtest.Until(t, 10*time.Second, "the hold is over", func() bool { return !w.observe(t)["blue"].Held })
	st, err := w.api(t, "blue").Status(bg(t))
	if err != nil || st.Switch.Last == nil || st.Switch.Last.Outcome != "expired" || st.Writer.Route != adminapi.RouteNone {
		t.Errorf("with no writable server: %+v, %v", st.Writer, err)
	}
	next := w.storage(t, nil)
	w.term++
	req.Term, req.Point = w.term, nil
	if err := next.Fence(bg(t), w.c, w.term); err != nil {
		t.Fatal(err)
	}
	if _, err := next.Switch(bg(t), req); err != nil {
		t.Fatal(err)
	}
	l.more(t, 50)
	l.finish(t, w.servers["green"], w.servers["blue"])
}
