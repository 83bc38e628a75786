package writes_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/capture"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/query"
	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/replay/judge"
	"github.com/windlass-db/windlass/internal/replay/session"
	"github.com/windlass-db/windlass/internal/replay/tally"
	"github.com/windlass-db/windlass/internal/replay/writes"
	"github.com/windlass-db/windlass/internal/wire"
)

// clones are two servers with equal data at one position, as of a snapshot of both.
type clones struct{ old, new *processtest.Server }

const position = "0-1-100"

var data = []string{
	"CREATE DATABASE shop CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci",
	"CREATE TABLE shop.acc (id INT PRIMARY KEY, v INT NOT NULL, note VARCHAR(40))",
	"CREATE TABLE shop.log (id INT PRIMARY KEY AUTO_INCREMENT, at DATETIME(6), r DOUBLE, t VARCHAR(60))",
	"CREATE TABLE shop.jobs (id INT PRIMARY KEY, a INT NOT NULL, b INT NOT NULL, KEY(a), KEY(b))",
	"CREATE TABLE shop.done (id INT PRIMARY KEY, b INT NOT NULL, c INT NOT NULL, KEY(b))",
	"INSERT INTO shop.acc SELECT seq, seq, NULL FROM shop.seq_1_to_100",
	"INSERT INTO shop.jobs SELECT seq, seq % 1250, seq % 7 FROM shop.seq_1_to_5000",
	"INSERT INTO shop.done SELECT seq, seq % 4, seq FROM shop.seq_1_to_10000",
	"ANALYZE TABLE shop.jobs, shop.done",
}

func newClones(t *testing.T) *clones {
	t.Helper()
	fast := processtest.With("sync-binlog=0", "innodb-flush-log-at-trx-commit=2")
	c := &clones{processtest.Primary(t, "10.11", fast), processtest.Primary(t, "11.8", fast)}
	for _, s := range []*processtest.Server{c.old, c.new} {
		for _, q := range data {
			s.Exec(t, q)
		}
		s.Exec(t, "RESET MASTER")
		s.Exec(t, "SET GLOBAL gtid_slave_pos='"+position+"'")
	}
	return c
}

func (c *clones) config(t *testing.T, events *recording) writes.Config {
	t.Helper()
	server := func(s *processtest.Server) session.Server {
		out, err := session.ParseDSN(processtest.DSN(s.Address(), processtest.AdminUser, processtest.AdminPassword, ""))
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for _, s := range []*processtest.Server{c.old, c.new} { // the pools' idle connections are others
		s.Admin.SetMaxIdleConns(0)
	}
	return writes.Config{Old: server(c.old), New: server(c.new), Events: events.blocks, Confirmed: true, Measure: 3, After: position}
}

// recording is a capture made by hand: what several connections sent, in time.
type recording struct {
	events []capture.Event
	meta   capture.Meta
	now    time.Time
	seen   map[uint64]bool
	gtid   string // how the server writes one; "": as MariaDB
}

func record() *recording {
	return &recording{meta: capture.Meta{Gateway: "gw", Run: 1, Server: "mariadb", Version: "10.11.18-MariaDB"}, now: time.Unix(1_780_000_000, 0), seen: map[uint64]bool{}}
}

func (r *recording) add(e capture.Event) *capture.Event {
	e.Seq = uint64(len(r.events) + 1)
	r.events = append(r.events, e)
	return &r.events[len(r.events)-1]
}

// start sends a statement a millisecond later than the event before.
func (r *recording) start(conn, txn uint64, text string) uint64 {
	r.now = r.now.Add(time.Millisecond)
	if !r.seen[conn] {
		r.seen[conn] = true
		r.add(capture.Event{Kind: capture.Session, Conn: conn, At: r.now, User: "web", Schema: "shop", Charset: 45})
	}
	return r.add(capture.Event{Kind: capture.Start, Conn: conn, At: r.now, Command: 0x03, Payload: []byte(text), Txn: txn}).Seq
}

// end answers it. A GTID of 0 is none.
func (r *recording) end(of uint64, gtid int) {
	r.now = r.now.Add(time.Millisecond)
	s := r.events[of-1]
	status := uint16(wire.StatusAutocommit)
	if (s.Txn > 0 || string(s.Payload) == "BEGIN" || string(s.Payload) == "START TRANSACTION") && !strings.HasPrefix(string(s.Payload), "COMMIT") && !strings.HasPrefix(string(s.Payload), "ROLLBACK") {
		status |= uint16(wire.StatusInTrans)
	}
	e := capture.Event{Kind: capture.End, Conn: s.Conn, At: r.now, Of: of, Took: r.now.Sub(s.At), Status: status}
	if gtid > 0 {
		e.GTID = fmt.Sprintf(cmp.Or(r.gtid, "0-1-%d"), gtid)
	}
	r.add(e)
}

// do sends a statement and answers it.
func (r *recording) do(conn, txn uint64, text string, gtid int) {
	r.end(r.start(conn, txn, text), gtid)
}

func (r *recording) blocks(context.Context) iter.Seq2[capture.Block, error] {
	return func(yield func(capture.Block, error) bool) {
		yield(capture.Block{Meta: r.meta, Index: 1, Events: r.events}, nil)
	}
}

// ledger sees that each statement of the capture is accounted for.
func ledger(t *testing.T, res *writes.Result) {
	t.Helper()
	if n := res.Tally.Unaccounted(); n != 0 {
		t.Errorf("%d statements are in no column: %+v %+v", n, res.Tally.Skipped, res.Tally.Unreplayable)
	}
}

// findings are those that fail, but for times in pairs: a capture of a tenth of a second is no measure of an hour.
func findings(t *tally.Tally) map[string]compare.Kind {
	out := map[string]compare.Kind{}
	rules := judge.Once()
	rules.Latency.Factor = 1e6
	for _, f := range judge.Judge(t, rules, time.Now()).Findings {
		if f.Level == judge.Fail {
			out[f.Text] = f.Kind
		}
	}
	return out
}

func TestWrites(t *testing.T) {
	c := newClones(t)
	for _, x := range []struct {
		name string
		run  func(*testing.T, *clones)
	}{
		{"equal", equal}, {"recorded", recorded}, {"a conflict that only concurrency shows", conflict}, {"answers that were seen in another order", waits}, {"the DELETE that became slow", slowDelete}, {"a syntax error and a table that differs", differs}, {"guards", guards},
	} {
		t.Run(x.name, func(t *testing.T) { x.run(t, c) })
	}
}

// equal writes in every way that gives equal data: nothing is found.
func equal(t *testing.T, c *clones) {
	r := record()
	r.do(1, 0, "INSERT INTO acc VALUES (1000, 1, 'x')", 99) // the clones have it: no, but its GTID says so
	for i := range 20 {
		gtid := 101 + 3*i
		r.do(1, 0, fmt.Sprintf("INSERT INTO log (at, r, t) VALUES (NOW(6), RAND(), CONCAT(LAST_INSERT_ID(), ' %d'))", i), gtid)
		r.do(2, 0, "BEGIN", 0)
		r.do(2, uint64(i+1), "SELECT v FROM acc WHERE id = 3 FOR UPDATE", 0)
		a := r.start(1, 0, "UPDATE acc SET v = v + 3 WHERE id = 3 AND v % 4 = 0") // it waits for the other's commit
		r.do(2, uint64(i+1), "UPDATE acc SET v = v + 1 WHERE id = 3", 0)
		r.do(2, uint64(i+1), "COMMIT", gtid+1)
		r.end(a, gtid+2)
		r.do(3, 0, "SELECT COUNT(*) FROM acc", 0)
	}
	r.do(3, 0, "CREATE TEMPORARY TABLE tmp (id INT PRIMARY KEY, v INT) CHARSET=utf8mb4", 0)
	r.do(3, 0, "INSERT INTO tmp SELECT id, v FROM acc WHERE id < 10", 0)
	r.do(3, 0, "UPDATE acc JOIN tmp USING (id) SET acc.note = tmp.v", 161)
	r.do(4, 1, "BEGIN", 0)
	r.do(4, 1, "UPDATE acc SET v = 0", 0)
	r.do(4, 1, "ROLLBACK", 0)
	r.do(4, 2, "BEGIN", 0)
	r.do(4, 2, "UPDATE acc SET v = 0", 0) // the capture ends before its transaction does
	res, err := writes.Run(t.Context(), c.config(t, r))
	if err != nil {
		t.Fatal(err)
	}
	ledger(t, res)
	if f := findings(res.Tally); len(f) > 0 {
		t.Errorf("found: %v", f)
	}
	if !strings.HasPrefix(res.Order, "commits as in the binary log") || res.Position != position || res.Rows < 15000 || res.Retried != [2]int{} {
		t.Errorf("%+v", res)
	}
	if res.Tally.Skipped[tally.SkipBefore] != 1 || res.Tally.Unreplayable[tally.UnreplayableUnended] != 2 || res.Tally.Skipped[tally.SkipRead] != 20 {
		t.Errorf("%v %v", res.Tally.Skipped, res.Tally.Unreplayable)
	}
	for _, s := range []*processtest.Server{c.old, c.new} {
		var n, v int
		if err := s.Admin.QueryRow("SELECT (SELECT COUNT(*) FROM shop.log), (SELECT v FROM shop.acc WHERE id = 3)").Scan(&n, &v); err != nil || n != 20 || v != 3+20*4 {
			t.Errorf("%s: %d rows, v is %d: %v", s.Name, n, v, err) // the update that waited saw what the commit had left
		}
	}
}

// conflict: a row that another session has changed since the transaction's snapshot is updated by 10.11 and refused by 11.8, with error 1020. The client begins again, and the tables are equal.
func conflict(t *testing.T, c *clones) {
	r := record()
	r.do(1, 1, "START TRANSACTION", 0)
	r.do(1, 1, "SELECT v FROM acc WHERE id = 5", 0)
	r.do(2, 0, "UPDATE acc SET v = v + 100 WHERE id = 5", 0)
	r.do(1, 1, "UPDATE acc SET v = v + 10 WHERE id = 5", 0)
	r.do(1, 1, "COMMIT", 0)
	cfg := c.config(t, r)
	cfg.Measure = -1
	res, err := writes.Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ledger(t, res)
	if f := findings(res.Tally); len(f) != 1 || f["update acc set v = v + ? where id = ?"] != compare.Conflict {
		t.Errorf("found: %v", f)
	}
	if res.Retried != [2]int{0, 1} || res.Order != writes.OrderAnswered {
		t.Errorf("%+v", res)
	}
}

// waits: a statement stands before the commit that it had waited for. Both sides wait, it is tried again after the commit, and nothing is found.
func waits(t *testing.T, c *clones) {
	r := record()
	r.do(1, 0, "BEGIN", 0)
	r.do(1, 1, "UPDATE acc SET v = 5 WHERE id = 9", 0)
	r.do(2, 0, "BEGIN", 0)
	r.do(2, 1, "UPDATE acc SET v = v + 1 WHERE id = 9", 0)
	r.do(2, 1, "COMMIT", 0)
	r.do(1, 1, "COMMIT", 0)
	cfg := c.config(t, r)
	cfg.Measure, cfg.Lock = -1, time.Second
	res, err := writes.Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ledger(t, res)
	if f := findings(res.Tally); len(f) > 0 || res.Tally.Replayed != 6 || len(res.Tally.Failures) > 0 {
		t.Errorf("found: %v, %d replayed, %v", f, res.Tally.Replayed, res.Tally.Failures)
	}
	var v int
	if err := c.new.Admin.QueryRow("SELECT v FROM shop.acc WHERE id = 9").Scan(&v); err != nil || v != 6 {
		t.Errorf("%d, %v", v, err)
	}
}

// slowDelete is the case of H9, with nothing changed on either server: 10.11 looks each of four rows up in the subquery's index, 11.8 makes the DELETE a semi-join
// and materialises the whole subquery first.
func slowDelete(t *testing.T, c *clones) {
	r := record()
	r.do(1, 0, "DELETE FROM jobs WHERE a < 3 AND b IN (SELECT b FROM done)", 0)
	r.do(1, 0, "DELETE FROM jobs WHERE id = 17", 0)
	r.do(1, 0, "UPDATE jobs SET b = b + 1 WHERE id IN (SELECT id FROM acc WHERE v > 90)", 0) // 10.11 reads the whole table, and looks into the subquery for each row; 11.8 joins, which is better
	res, err := writes.Run(t.Context(), c.config(t, r))
	if err != nil {
		t.Fatal(err)
	}
	ledger(t, res)
	const text = "delete from jobs where a < ? and b in(select b from done)"
	if f := findings(res.Tally); len(f) != 1 || f[text] != compare.Slow {
		t.Errorf("found: %v", f)
	}
	joined := false
	for _, f := range judge.Judge(res.Tally, judge.Once(), time.Now()).Findings {
		if f.Kind == compare.Plan && strings.HasPrefix(f.Text, "update jobs") {
			joined = true
			if !strings.Contains(f.Plans.Old, "DEPENDENT SUBQUERY") || strings.Contains(f.Plans.New, "DEPENDENT SUBQUERY") {
				t.Errorf("%+v", f.Plans)
			}
		}
		if f.Kind == compare.Slow {
			t.Log(f.What)
			if !strings.Contains(f.What, "on the new version and") || !strings.Contains(f.What, "materialized") || f.Plans == nil || !strings.Contains(f.Plans.Old, "index_subquery") {
				t.Errorf("%+v", f)
			}
		}
	}
	if !joined {
		t.Error("that the UPDATE has another plan was not found")
	}
}

// differs: what the new version does not understand fails there each time, and what it left undone is seen in the table; the data that both versions make of one statement otherwise is, too.
func differs(t *testing.T, c *clones) {
	r := record()
	r.do(1, 0, "UPDATE acc SET note = CONV(255, 10, 62) WHERE id = 7", 0)
	r.do(1, 0, "INSERT INTO acc SELECT 2000, 1 AS vector, 'x'", 0)
	r.do(1, 0, "CREATE DATABASE fresh", 0) // in the server's own character set, of which a letter takes one byte or four
	r.do(1, 0, "CREATE TABLE fresh.wide (name VARCHAR(800) PRIMARY KEY)", 0)
	res, err := writes.Run(t.Context(), c.config(t, r))
	if err != nil {
		t.Fatal(err)
	}
	ledger(t, res)
	f := findings(res.Tally)
	if f["insert into acc select ?, ? as vector, ?"] != compare.Syntax || f["table shop.acc"] != compare.Table || f["create table fresh.wide(name varchar(?) primary key)"] != compare.Error || f["table fresh.wide"] != compare.Table {
		t.Errorf("found: %v", f)
	}
	for _, f := range judge.Judge(res.Tally, judge.Once(), time.Now()).Findings {
		if f.Kind == compare.Error && f.Errors[1071] != 1 {
			t.Errorf("%s: %v", f.Text, f.Errors)
		}
		if f.Text == "table shop.acc" && !strings.Contains(f.Examples[0].Detail, "1 changed, such as ('7'); 1 missing on the new side, such as ('2000')") {
			t.Errorf("%s", f.Examples[0].Detail)
		}
	}
	// now they are not equal, and are not begun with
	if _, err := writes.Run(t.Context(), c.config(t, record())); !errors.Is(err, writes.ErrUnequal) {
		t.Errorf("%v", err)
	}
	c.old.Exec(t, "DELETE FROM shop.acc WHERE id = 2000")
	c.old.Exec(t, "DROP DATABASE fresh")
	c.new.Exec(t, "DROP DATABASE fresh")
	c.old.Exec(t, "UPDATE shop.acc SET note = NULL WHERE id = 7")
	c.new.Exec(t, "UPDATE shop.acc SET note = NULL WHERE id = 7")
}

// guards: nothing is replayed on a server that may be anything but a clone.
func guards(t *testing.T, c *clones) {
	r := record()
	r.do(1, 0, "DELETE FROM acc", 0)
	refused := func(name, want string, change func(*writes.Config)) {
		t.Helper()
		cfg := c.config(t, r)
		if change != nil {
			change(&cfg)
		}
		if _, err := writes.Run(t.Context(), cfg); !errors.Is(err, writes.ErrNoClone) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	refused("nobody says so", "carries no mark", func(cfg *writes.Config) { cfg.Confirmed = false })
	refused("one server", "are one server", func(cfg *writes.Config) { cfg.New = cfg.Old })
	c.new.Exec(t, "SET GLOBAL read_only=1")
	refused("a server of a fleet", "is read-only", nil)
	c.new.Exec(t, "SET GLOBAL read_only=0")
	c.new.Exec(t, "CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT=1, MASTER_USER='x'")
	refused("a replica that is stopped", "replicates from 127.0.0.1:1", nil)
	c.new.Exec(t, "RESET SLAVE ALL")
	other, err := c.old.Open(t, processtest.AppUser, processtest.AppPassword, "").Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	refused("a client", "has others connected: app", nil)
	other.Close()
	var n int
	if err := c.old.Admin.QueryRow("SELECT COUNT(*) FROM shop.acc").Scan(&n); err != nil || n != 100 {
		t.Errorf("%d rows: %v", n, err)
	}
}

// TestOrder: commits that overlapped come as the binary log has them, and nothing passes what was answered before it was sent.
func TestOrder(t *testing.T) {
	if query.Look([]byte("COMMIT"), query.Mode{}) != query.Ends {
		t.Fatal("COMMIT ends")
	}
	const server = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
	for gtid, at := range map[string]string{"": position, server + ":%d": server + ":1-100", server + ":billing:%d": server + ":1-5:billing:1-50:51-100"} {
		r := record()
		r.gtid = gtid
		r.do(1, 0, "UPDATE acc SET v = 0 WHERE id = 1", 100) // the clones have it
		a := r.start(1, 0, "UPDATE acc SET v = 1 WHERE id = 1")
		b := r.start(2, 0, "UPDATE acc SET v = 2 WHERE id = 1")
		r.end(a, 103)
		r.end(b, 102) // it was answered later, and committed first
		r.do(3, 0, "UPDATE acc SET v = 3 WHERE id = 1", 104)
		r.do(4, 0, "BEGIN", 0)
		r.do(4, 1, "UPDATE acc SET v = 4 WHERE id = 1", 0)
		w := r.start(5, 0, "UPDATE acc SET v = 5 WHERE id = 1")
		e := r.start(4, 1, "COMMIT")
		r.end(w, 0) // it had waited for the commit, and its answer was seen first
		r.end(e, 0)
		r.do(4, 0, "BEGIN", 0)
		x := r.start(5, 0, "UPDATE acc SET v = 6 WHERE id = 1")
		r.do(4, 2, "UPDATE acc SET v = 7 WHERE id = 1", 0)
		r.end(x, 0) // had it come second, it would have waited
		r.do(4, 2, "COMMIT", 0)
		got := writes.Arranged(t.Context(), r.blocks, at)
		want := "UPDATE acc SET v = 2 WHERE id = 1; UPDATE acc SET v = 1 WHERE id = 1; UPDATE acc SET v = 3 WHERE id = 1" +
			"; BEGIN; UPDATE acc SET v = 4 WHERE id = 1; COMMIT; UPDATE acc SET v = 5 WHERE id = 1" +
			"; BEGIN; UPDATE acc SET v = 6 WHERE id = 1; UPDATE acc SET v = 7 WHERE id = 1; COMMIT"
		if strings.Join(got, "; ") != want {
			t.Errorf("at %s: %q", at, got)
		}
	}
}
