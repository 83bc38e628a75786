package run

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/windlass-db/windlass/internal/capture/store"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	windlassquery "github.com/windlass-db/windlass/internal/query"
	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/replay/judge"
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
		"interrupted": stopped, "a capture that grows": growing, "times": times, "when the capture was on": watched,
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

// shares: what two workers count is what one counts.
func shares(t *testing.T, w *world) {
	r := w.record(t)
	for range 9 {
		s := r.Session("app")
		for i := range 10 {
			s.Query(fmt.Sprintf("SELECT name FROM t WHERE id = %d", i))
		}
		s.Query("select conv(255, 10, 62)")
		s.Query("INSERT INTO t VALUES (1, 'x', 1, NULL)")
		s.Close()
		r.Rotate()
	}
	r.Drop("overload", 7)
	whole := w.replay(t, r, nil)
	var parts [][]byte
	for i := range 2 {
		file := File(filepath.Join(t.TempDir(), "state"))
		part := w.replay(t, r, func(c *Config) {
			c.Share, c.Checkpoint, c.Identity = Share{i, 2}, file, "x"
		})
		if part.Captured == 0 || part.Captured == whole.Captured {
			t.Errorf("share %d has %d of %d", i, part.Captured, whole.Captured)
		}
		b, err := file.Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, b)
	}
	merged, err := Merge(parts...)
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []*tally.Tally{whole, merged} {
		if got.Captured != r.Counted || got.Replayed != 9*11 || got.Skipped["write"] != 9 || got.Dropped["overload"] != 7 || got.Unaccounted() != 0 {
			t.Errorf("captured %d of %d, replayed %d: %v %v", got.Captured, r.Counted, got.Replayed, got.Skipped, got.Dropped)
		}
		if d := counted(t, got, "conv").Differences[compare.Content]; d == nil || d.Real != 9 {
			t.Errorf("the difference: %+v", d)
		}
	}
	if _, err := Merge(parts[0], parts[0]); err == nil {
		t.Error("one share was counted twice")
	}
	if len(merged.Unfinished) != 0 {
		t.Errorf("both shares have come to the end: %v", merged.Unfinished)
	}
	one, err := Merge(parts[0])
	if err != nil || one.Unfinished["share 2 of 2 is missing"] != 1 {
		t.Errorf("one share of two passes for all: %v %v", err, one.Unfinished)
	}
	// The second one is ended before its end.
	file := File(filepath.Join(t.TempDir(), "state"))
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := w.run(t, ctx, r, func(c *Config) {
		c.Share, c.Checkpoint, c.Identity, c.started = Share{1, 2}, file, "x", cancel
	}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	// Gone on with, it has come to its end.
	for i, want := range []int64{1, 0} {
		b, err := file.Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(b) == 0 { // it was ended before it had counted anything
			b = bytes.Replace(parts[1], []byte(`"over":true,`), nil, 1)
		}
		if err := file.(io.Closer).Close(); err != nil {
			t.Fatal(err)
		}
		got, err := Merge(parts[0], b)
		if err != nil || got.Unfinished["share 2 of 2 has not come to the end of the capture"] != want {
			t.Errorf("%d: %v %v", i, err, got.Unfinished)
		}
		if want == 1 {
			if rep := judge.Judge(got, judge.Once(), time.Now()); !slices.ContainsFunc(rep.Why, func(r judge.Reason) bool { return r.Code == judge.WhyUnfinished }) {
				t.Errorf("%+v", rep.Why)
			}
			w.replay(t, r, func(c *Config) { c.Share, c.Checkpoint, c.Identity = Share{1, 2}, file, "x" })
		}
	}
}

// cadence gives a capture in which statements come evenly over a time.
func cadence(t *testing.T, w *world, clients int, lasts time.Duration) *replaytest.Recorder {
	r := w.record(t)
	var all []*replaytest.Session
	for range clients {
		all = append(all, r.Session("app"))
	}
	for began, i := time.Now(), 0; time.Since(began) < lasts; i++ {
		all[i%clients].Query(fmt.Sprintf("SELECT name FROM t WHERE id = %d", i%2000))
		time.Sleep(2 * time.Millisecond) // that is what is recorded
	}
	for _, s := range all {
		s.Close()
	}
	return r
}

// restart kills the new server, and starts it again.
func restart(t *testing.T, w *world) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	spec, err := w.new.Spec()
	if err == nil {
		err = spec.Kill(ctx)
	}
	if err == nil {
		err = w.new.Start(ctx)
	}
	if err != nil {
		t.Error(err)
	}
}

// away: at a pace, what was to be sent while the server was away is counted, and is no difference.
func away(t *testing.T, w *world) {
	r := cadence(t, w, 4, 2*time.Second)
	var once sync.Once
	var done sync.WaitGroup
	got := w.replay(t, r, func(c *Config) {
		c.Speed = 1
		c.Progress = func(p Progress) {
			if p.Replayed > 10 {
				once.Do(func() { done.Go(func() { restart(t, w) }) })
			}
		}
	})
	done.Wait()
	down, lost := got.Skipped[tally.SkipTargetDown], got.Unreplayable[tally.UnreplayableTargetLost]
	if down+lost == 0 || got.Replayed == 0 || got.Captured != r.Counted {
		t.Errorf("of %d, %d replayed, %v %v", r.Counted, got.Replayed, got.Skipped, got.Unreplayable)
	}
	noFindings(t, got)
}

// awayFlatOut: where nothing is done by the clock, everything waits until the server is back.
func awayFlatOut(t *testing.T, w *world) {
	r := w.record(t)
	for range 5 {
		s := r.Session("app")
		for i := range 120 {
			s.Query(fmt.Sprintf("SELECT name, %d FROM t WHERE id = %d", i, i))
		}
		s.Close()
	}
	var done sync.WaitGroup
	got := w.replay(t, r, func(c *Config) {
		c.started = func() { done.Go(func() { restart(t, w) }) }
	})
	done.Wait()
	if got.Replayed != r.Counted {
		t.Errorf("%d of %d were replayed: %v %v", got.Replayed, r.Counted, got.Skipped, got.Unreplayable)
	}
	noFindings(t, got)
}

// tooLong: a statement that takes far longer than it did is ended on the server, and found.
func tooLong(t *testing.T, w *world) {
	r := w.record(t)
	s := r.Session("app")
	s.Query("SELECT 1")
	s.Query("SELECT COUNT(*), 'locked' FROM t")
	s.Query("SELECT 2")
	s.Close()
	c, err := w.new.Admin.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, q := range []string{"FLUSH TABLES", "LOCK TABLES app.t WRITE"} {
		if _, err := c.ExecContext(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	got := w.replay(t, r, func(c *Config) { c.Floor = 300 * time.Millisecond })
	if _, err := c.ExecContext(t.Context(), "UNLOCK TABLES"); err != nil {
		t.Fatal(err)
	}
	q := counted(t, got, "count(*)")
	if d := q.Differences[compare.Timeout]; d == nil {
		t.Errorf("the one that waited: %+v", q)
	}
	if got.Captured != 3 {
		t.Errorf("captured %d", got.Captured)
	}
}

// longBesideBurst: one that takes long holds nobody up but its own connection.
func longBesideBurst(t *testing.T, w *world) {
	r := w.record(t)
	for _, s := range []*processtest.Server{w.old, w.new} {
		s.Exec(t, "CREATE TABLE IF NOT EXISTS app.held (id INT PRIMARY KEY)")
	}
	long, burst := r.Session("app"), r.Session("app")
	long.Query("SELECT COUNT(*) FROM held")
	for i := range 300 {
		burst.Query(fmt.Sprintf("SELECT name FROM t WHERE id = %d", i))
	}
	long.Query("SELECT COUNT(*) FROM held")
	long.Close()
	burst.Close()
	c, err := w.new.Admin.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.ExecContext(t.Context(), "LOCK TABLES app.held WRITE"); err != nil {
		t.Fatal(err)
	}
	waited := false
	got := w.replay(t, r, func(cfg *Config) {
		cfg.Speed = 1
		cfg.Progress = func(p Progress) {
			if p.Replayed < 300 || waited {
				return
			}
			waited = true // all others are done, and it is not
			if _, err := c.ExecContext(context.Background(), "UNLOCK TABLES"); err != nil {
				t.Error(err)
			}
		}
	})
	if got.Replayed != 302 || !waited {
		t.Errorf("%d were replayed: %v %v", got.Replayed, got.Skipped, got.Unreplayable)
	}
	if l := &got.Lateness; l.Server.Count() == 0 {
		t.Errorf("the one behind it is late because of the server: %d", l.Server.Count())
	}
	noFindings(t, got)
}

// damaged: what can't be read of a file is counted, and the rest is replayed.
func damaged(t *testing.T, w *world) {
	r := w.record(t)
	s := r.Session("app")
	for range 4 {
		for i := range 20 {
			s.Query(fmt.Sprintf("SELECT name FROM t WHERE id = %d", i))
		}
		r.Rotate()
	}
	s.Close()
	r.Close()
	files, err := filepath.Glob(filepath.Join(r.Dir, "*", "*", "*"))
	if err != nil || len(files) != 5 {
		t.Fatal(files, err)
	}
	slices.Sort(files)
	if err := os.WriteFile(files[0], nil, 0o600); err != nil { // nothing was written yet
		t.Fatal(err)
	}
	b, err := os.ReadFile(files[1])
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(files[1], b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(files[3], 40); err != nil {
		t.Fatal(err)
	}
	got := w.replay(t, r, nil)
	if got.Replayed != 20 || got.Dropped["lost"] == 0 || got.Notes["damaged place in the capture"] != 1 || got.Notes["file that ends in the middle of a block"] != 1 {
		t.Errorf("%d replayed, %v %v", got.Replayed, got.Dropped, got.Notes)
	}
	noFindings(t, got)
}

// behind: what the server can't have yet is counted, not compared.
func behind(t *testing.T, w *world) {
	r := cadence(t, w, 1, 50*time.Millisecond)
	got := w.replay(t, r, func(c *Config) { c.Speed, c.lag = 1, time.Hour })
	if got.Replayed != 0 || got.Skipped[tally.SkipTargetBehind] != r.Counted {
		t.Errorf("%d replayed: %v", got.Replayed, got.Skipped)
	}
}

// twoGateways: several runs of several gateways are one capture, in order of time.
func twoGateways(t *testing.T, w *world) {
	r := w.record(t)
	other := replaytest.NewRun(t, r.Dir, "other", 9, w.old.Address(), processtest.AppUser, processtest.AppPassword)
	again := replaytest.NewRun(t, r.Dir, "gw", 8, w.old.Address(), processtest.AppUser, processtest.AppPassword)
	var want int64
	for _, rec := range []*replaytest.Recorder{r, other, again} {
		s := rec.Session("app")
		for i := range 30 {
			s.Query(fmt.Sprintf("SELECT name FROM t WHERE id = %d", i))
			if i%10 == 0 {
				rec.Rotate()
			}
		}
		rec.Close() // nobody says that the session ended
		want += rec.Counted
	}
	got := w.replay(t, r, nil)
	if got.Captured != want || got.Replayed != want || len(got.Dropped) > 0 {
		t.Errorf("of %d, %d were captured and %d replayed: %v", want, got.Captured, got.Replayed, got.Dropped)
	}
	noFindings(t, got)
}

// stopped: a replay that is interrupted gives what it has, and it balances.
func stopped(t *testing.T, w *world) {
	for _, speed := range []float64{0, 1} {
		r := cadence(t, w, 3, 300*time.Millisecond)
		r.Close()
		ctx, cancel := context.WithCancel(t.Context())
		got, err := w.run(t, ctx, r, func(c *Config) {
			c.Speed, c.every = speed, time.Millisecond
			c.Progress = func(p Progress) {
				if p.Replayed > 5 {
					cancel()
				}
			}
		})
		if speed > 0 && (!errors.Is(err, context.Canceled) || got.Replayed == 0 || got.Replayed == r.Counted) {
			t.Errorf("speed %v: %d of %d: %v", speed, got.Replayed, r.Counted, err)
		}
		noFindings(t, got)
		cancel()
	}
}

// growing: what arrives is replayed so much later.
func growing(t *testing.T, w *world) {
	r := w.record(t)
	s := r.Session("app")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	const delay = 300 * time.Millisecond
	var recorded atomic.Int64
	recorded.Store(-1)
	var recording sync.WaitGroup
	began := time.Now()
	got, err := w.run(t, ctx, r, func(c *Config) {
		b, err := store.Open(ctx, r.Dir)
		if err != nil {
			t.Fatal(err)
		}
		c.Source, c.Speed, c.Delay = Bucket(b, Range{Follow: true}), 1, delay
		c.started = func() {
			recording.Go(func() {
				for i := range 4 {
					for j := range 10 {
						s.Query(fmt.Sprintf("SELECT name FROM t WHERE id = %d", i*10+j))
					}
					r.Rotate()
				}
				r.Close()
				recorded.Store(r.Counted)
			})
		}
		c.Progress = func(p Progress) {
			if p.Replayed == recorded.Load() {
				cancel()
			}
		}
	})
	recording.Wait()
	if !errors.Is(err, context.Canceled) || got.Replayed != 40 {
		t.Errorf("%d were replayed: %v %v %v", got.Replayed, err, got.Skipped, got.Unreplayable)
	}
	if took := time.Since(began); took < delay {
		t.Errorf("it took %v", took)
	}
	noFindings(t, got)
}

// times: statements that are the same are timed on both servers, and on the old one against itself.
func times(t *testing.T, w *world) {
	r := w.record(t)
	s := r.Session("app")
	for i := range 60 {
		s.Query(fmt.Sprintf("SELECT name, SUM(amount) FROM t WHERE id < %d GROUP BY name ORDER BY name", 100+i))
	}
	s.Close()
	got := w.replay(t, r, func(c *Config) { c.Pairs = true })
	q := counted(t, got, "sum(amount)")
	if len(q.Pairs.Items) < 5 || len(q.Null.Items) == 0 {
		t.Errorf("%d pairs, %d of the old one against itself", len(q.Pairs.Items), len(q.Null.Items))
	}
	for _, p := range q.Pairs.Items {
		if p.Value.A <= 0 || p.Value.B <= 0 {
			t.Errorf("%+v", p.Value)
		}
	}
}

// lag: how far behind a server is, and whether that is known.
func lag(t *testing.T, w *world) {
	c, err := session.Open(t.Context(), server(w.new), &session.Env{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	is := func(what string, want bool) {
		t.Helper()
		processtest.Until(t, 20*time.Second, what, func() bool {
			lag, known, err := c.Behind(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return known == want && lag < time.Minute
		})
	}
	is("a server without a source is not behind", true)
	w.new.Exec(t, "RESET MASTER") // what other cases wrote here may be more than the source has
	w.new.Follow(t, w.old)
	is("a replica is not", true)
	w.new.Exec(t, "STOP SLAVE SQL_THREAD")
	is("of one that stands still it is not known", false)
	w.new.Exec(t, "STOP SLAVE")
	w.new.Exec(t, "RESET SLAVE ALL")
}
