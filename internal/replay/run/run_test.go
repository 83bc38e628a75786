package run

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/windlass-db/windlass/internal/capture/store"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	windlassquery "github.com/windlass-db/windlass/internal/query"
	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/replay/replaytest"
	"github.com/windlass-db/windlass/internal/replay/session"
	"github.com/windlass-db/windlass/internal/replay/tally"
)

// world is two servers with the same data, of the old version and of the new one.
type world struct{ old, new *processtest.Server }

const data = `CREATE TABLE app.t (id INT PRIMARY KEY, name VARCHAR(50), amount DECIMAL(10,2), made DATETIME, KEY(name))`

func newWorld(t *testing.T) *world {
	w := &world{old: processtest.Primary(t, "10.11"), new: processtest.Primary(t, "11.8")}
	for _, s := range []*processtest.Server{w.old, w.new} {
		s.Exec(t, data)
		s.Exec(t, "INSERT INTO app.t SELECT seq, CONCAT('name ', seq % 100), seq / 7, FROM_UNIXTIME(1700000000 + seq) FROM app.seq_1_to_2000")
		s.Exec(t, "CREATE USER replay@'%' IDENTIFIED BY 'replay-secret'")
		s.Exec(t, "GRANT SELECT, EXECUTE, SHOW VIEW, REPLICA MONITOR ON *.* TO replay@'%'")
		s.Exec(t, "SET GLOBAL log_bin_trust_function_creators=1")
		s.Exec(t, "CREATE FUNCTION app.writes() RETURNS INT MODIFIES SQL DATA BEGIN INSERT INTO app.t VALUES (1000000, 'written', 0, NULL); RETURN 1; END")
	}
	return w
}

func server(s *processtest.Server) session.Server {
	c := mysql.NewConfig()
	c.Net, c.Addr, c.User, c.Passwd = "tcp", s.Address(), "replay", "replay-secret"
	return session.Server{Name: s.Name, Config: c}
}

// record begins a capture of what is done on the old server.
func (w *world) record(t *testing.T) *replaytest.Recorder {
	return replaytest.New(t, t.TempDir(), w.old.Address(), processtest.AppUser, processtest.AppPassword)
}

func (w *world) replay(t *testing.T, r *replaytest.Recorder, change func(*Config)) *tally.Tally {
	t.Helper()
	r.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	got, err := w.run(t, ctx, r, change)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func (w *world) run(t *testing.T, ctx context.Context, r *replaytest.Recorder, change func(*Config)) (*tally.Tally, error) {
	t.Helper()
	b, err := store.Open(ctx, r.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	old := server(w.old)
	cfg := Config{Source: Bucket(b, Range{}), Target: server(w.new), Reference: &old, every: 20 * time.Millisecond}
	if change != nil {
		change(&cfg)
	}
	got, err := Run(ctx, cfg)
	if got == nil {
		t.Fatal(err)
	}
	if n := got.Unaccounted(); n != 0 {
		t.Errorf("%d statements are unaccounted for", n)
	}
	return got, err
}

func TestReplay(t *testing.T) {
	w := newWorld(t)
	for name, test := range map[string]func(*testing.T, *world){
		"equal": equal, "different": different, "guard": guard, "transactions": transactions, "sessions": sessions, "shares": shares, "away": away, "away, flat out": awayFlatOut,
		"too long": tooLong, "long beside a burst": longBesideBurst, "damaged": damaged, "killed": killed, "ends": ends, "after a pause": pause, "open for hours": openForHours, "behind": behind, "lag": lag, "two gateways": twoGateways,
		"interrupted": stopped, "goes on": goesOn, "a capture that grows": growing, "times": times, "when the capture was on": watched,
	} {
		t.Run(name, func(t *testing.T) { test(t, w) })
	}
}

// counts holds the ledger against what is expected of it.
func counts(t *testing.T, got *tally.Tally, what string, have map[string]int64, want map[string]int64) {
	t.Helper()
	if !maps.Equal(have, want) {
		t.Errorf("%s: %v, want %v", what, have, want)
	}
}

// query finds what was counted of a statement.
func counted(t *testing.T, got *tally.Tally, like string) *tally.Query {
	t.Helper()
	for _, q := range got.Queries {
		if strings.Contains(q.Text, like) {
			return q
		}
	}
	t.Fatalf("nothing was counted of %q", like)
	return nil
}

func noFindings(t *testing.T, got *tally.Tally) {
	t.Helper()
	for fp, q := range got.Queries {
		for kind, d := range q.Differences {
			t.Errorf("%s %s: %s %+v", fp, q.Text, kind, d)
		}
	}
}

// equal: what gives the same on both versions is no difference.
func equal(t *testing.T, w *world) {
	r := w.record(t)
	s := r.Session("app")
	for i := range 50 {
		s.Query(fmt.Sprintf("SELECT * FROM t WHERE id = %d", i))
		s.Query(fmt.Sprintf("SELECT name, SUM(amount) FROM t WHERE id < %d GROUP BY name ORDER BY name", i*10))
	}
	p := s.Prepare("SELECT * FROM t WHERE id = ? OR name = ?")
	s.Execute(p, false, 5, "name 7")
	s.Execute(p, true, 6, "name 8")
	s.Close()
	got := w.replay(t, r, nil)
	if got.Captured != r.Counted || got.Replayed != r.Counted {
		t.Errorf("captured %d, replayed %d of %d: %v %v", got.Captured, got.Replayed, r.Counted, got.Skipped, got.Unreplayable)
	}
	for fp, q := range got.Queries {
		if q.Same != q.Replayed {
			t.Errorf("%s %s: %d of %d are the same: %v", fp, q.Text, q.Same, q.Replayed, q.Causes)
		}
	}
}

// different: what differs is found, with its kind.
func different(t *testing.T, w *world) {
	r := w.record(t)
	s := r.Session("app")
	wants := map[string]compare.Kind{
		"select from_unixtime(4000000000)":                compare.Content,
		"select unix_timestamp('2050-01-01')":             compare.Content,
		"select 'ß'='ss', '🍣'='🍺'":                        compare.Content,
		"select conv(255, 10, 62)":                        compare.Content,
		"select 1 as vector":                              compare.Syntax,
		"select @@old_alter_table":                        compare.Error,
		"select json_schema_valid('{}', '{}')":            compare.ErrorGone,
		"select id from t where id < 10 and 1 = 1":        "",
		"select no_such_column from t":                    "",
		"select count(*) from information_schema.plugins": "",
	}
	s.Set("SET NAMES utf8mb4")
	for q := range wants {
		s.Query(q)
	}
	p := s.Prepare("select 1 as vector")
	s.Execute(p, false)
	s.Set("SET old_alter_table=0")
	s.Query("select id from t where id = 1 order by 1")
	s.Close()
	got := w.replay(t, r, nil)
	for text, kind := range wants {
		fp, _ := windlassquery.Fingerprint(nil, []byte(text), windlassquery.Mode{})
		q := got.Queries[tally.Fingerprint(fp)]
		if q == nil {
			t.Errorf("%s was not counted", text)
			continue
		}
		for k, d := range q.Differences {
			if k != kind || d.Real == 0 {
				t.Errorf("%s: %s %+v, want %q", text, k, d, kind)
			}
		}
		if kind != "" && q.Differences[kind] == nil {
			t.Errorf("%s: no %s was found: %+v", text, kind, q.Causes)
		}
	}
	if d := counted(t, got, "set old_alter_table").Differences[compare.Error]; d == nil || d.Real != 1 {
		t.Errorf("a variable that the new version does not know was not found: %+v", d)
	}
	if q := counted(t, got, "order by ?"); q.Same != 1 {
		t.Errorf("after it the session was not replayed: %+v", q)
	}
}

// guard: nothing is sent that is not surely a read, and what looks like one is refused by the session (trap 38).
func guard(t *testing.T, w *world) {
	r := w.record(t)
	s := r.Session("app")
	for _, q := range []string{
		"INSERT INTO t VALUES (900001, 'x', 1, NULL)", "SELECT * FROM t WHERE id = 1 FOR UPDATE", "SELECT SLEEP(0)", "SELECT GET_LOCK('x', 1)", "SELECT RELEASE_LOCK('x')",
		"SELECT 'x' INTO OUTFILE '/nowhere/x'", "SELECT 1; DELETE FROM t WHERE id = 900001", "CALL nothing()", "SELECT LAST_INSERT_ID()", "SELECT id INTO @x FROM t WHERE id = 1",
		"SELECT NEXT VALUE FOR q", "SELECT NEXTVAL(q)", "SET GLOBAL long_query_time=10", "SET tx_read_only=0", "SET SESSION TRANSACTION READ WRITE",
		"SET STATEMENT tx_read_only=0 FOR SELECT writes()", "/*!50000 INSERT */ INTO t VALUES (900002, 'x', 1, NULL)", "SELECT BENCHMARK(1, 1)",
	} {
		s.Query(q)
	}
	s.Query("SELECT writes()")
	s.Query("DELETE FROM t WHERE id IN (900001, 900002, 1000000)")
	s.Close()
	got := w.replay(t, r, nil)
	var written int
	if err := w.new.Admin.QueryRow("SELECT COUNT(*) FROM app.t WHERE id > 2000").Scan(&written); err != nil || written != 0 {
		t.Errorf("%d rows were written: %v", written, err)
	}
	if got.Replayed != 0 {
		for _, q := range got.Queries {
			if q.Replayed > 0 {
				t.Errorf("%s was replayed", q.Text)
			}
		}
	}
	if q := counted(t, got, "select writes()"); q.Unreplayable+int64(len(q.Skipped)) == 0 || len(q.Differences) > 0 {
		t.Errorf("a function that writes: %+v", q)
	}
	noFindings(t, got)
}

// transactions: reads within one are replayed within one, but for those that may see what it wrote.
func transactions(t *testing.T, w *world) {
	r := w.record(t)
	s := r.Session("app")
	s.Query("BEGIN")
	s.Query("SELECT COUNT(*) FROM t")
	s.Query("INSERT INTO t VALUES (900001, 'x', 1, NULL)")
	s.Query("SELECT COUNT(*), 1 FROM t")
	s.Query("ROLLBACK")
	s.Query("SELECT COUNT(*), 2 FROM t WHERE id > 0")
	s.Set("SET autocommit=0")
	s.Query("SELECT COUNT(*) FROM t")
	s.Query("DELETE FROM t WHERE id = 5")
	s.Query("SELECT COUNT(*), 1 FROM t")
	s.Query("ROLLBACK")
	s.Query("SELECT COUNT(*) FROM t")
	s.Close()
	got := w.replay(t, r, nil)
	counts(t, got, "skipped", got.Skipped, map[string]int64{"transaction": 3, "write": 2, "session": 1})
	counts(t, got, "unreplayable", got.Unreplayable, map[string]int64{"own-write": 2})
	if got.Replayed != 4 {
		t.Errorf("%d were replayed", got.Replayed)
	}
	noFindings(t, got)
}

// sessions: each is what it was, also where a file begins in its middle.
func sessions(t *testing.T, w *world) {
	r := w.record(t)
	s := r.Session("")
	s.Use("app")
	s.Query("SELECT DATABASE() = 'app', COUNT(*) FROM t")
	s.Set("SET time_zone='+05:00'")
	s.Query("SELECT UNIX_TIMESTAMP('2020-01-01'), @a")
	s.Set("SET NAMES latin1")
	s.Query("SELECT HEX('\xe9'), 'a' = 'A'")
	s.Set("SET SESSION sql_mode='ANSI_QUOTES'")
	s.Query(`SELECT "id" FROM t WHERE "id" = 7`)
	p := s.Prepare("SELECT UNIX_TIMESTAMP('2020-01-01') + ?, ?")
	s.Execute(p, false, 7, "x")
	r.Rotate()
	s.Execute(p, true, 8, "y")
	s.Query(`SELECT "name", UNIX_TIMESTAMP('2020-01-01') FROM t WHERE "id" = 8`)
	s.Set("SET @a = 5")
	s.Query("SELECT @a + 1")
	s.Query("SELECT SQL_CALC_FOUND_ROWS id FROM t WHERE id < 9 LIMIT 3")
	s.Query("SELECT FOUND_ROWS()")
	s.Query("CREATE TEMPORARY TABLE mine (a INT)")
	s.Query("SELECT * FROM mine")
	s.Query("SELECT UNIX_TIMESTAMP() > 1700000000, UNIX_TIMESTAMP(NOW()) - UNIX_TIMESTAMP()")
	s.CloseStatement(p)
	s.Close()
	got := w.replay(t, r, nil)
	counts(t, got, "skipped", got.Skipped, map[string]int64{"session": 4, "definition": 1, "own-session": 1})
	counts(t, got, "unreplayable", got.Unreplayable, nil)
	for _, q := range got.Queries {
		if q.Same != q.Replayed {
			t.Errorf("%s: %+v %+v", q.Text, q.Causes, q.Differences)
		}
	}
}
