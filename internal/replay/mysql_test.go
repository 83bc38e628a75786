package replay_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/windlass-db/windlass/internal/capture"
	"github.com/windlass-db/windlass/internal/capture/store"
	"github.com/windlass-db/windlass/internal/datacheck/node"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/query"
	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/replay/judge"
	"github.com/windlass-db/windlass/internal/replay/plans"
	"github.com/windlass-db/windlass/internal/replay/probe"
	"github.com/windlass-db/windlass/internal/replay/replaytest"
	"github.com/windlass-db/windlass/internal/replay/retest"
	"github.com/windlass-db/windlass/internal/replay/session"
	"github.com/windlass-db/windlass/internal/replay/tally"
	"github.com/windlass-db/windlass/internal/replay/writes"
)

// mysqls are a primary and two replicas of it, all of MySQL 9.7: what the new one answers otherwise it does by its settings.
type mysqls struct {
	prod, old, newer *processtest.MySQLServer
}

func newMySQLs(t *testing.T) *mysqls {
	w := &mysqls{processtest.MySQL(t), processtest.MySQL(t), processtest.MySQL(t, processtest.WithMySQL("div-precision-increment=9"))}
	w.prod.Exec(t, "SET GLOBAL read_only=0")
	for _, s := range []*processtest.MySQLServer{w.old, w.newer} {
		s.Follow(t, w.prod)
	}
	w.prod.Exec(t, "USE app",
		"CREATE TABLE orders (id INT PRIMARY KEY AUTO_INCREMENT, owner INT NOT NULL, v INT NOT NULL, d DOUBLE, s VARCHAR(40), KEY (owner))",
		"CREATE TABLE acc (id INT PRIMARY KEY, v INT NOT NULL, note VARCHAR(60))",
		"INSERT INTO orders (owner, v, d, s) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900) SELECT 1 + i % 50, i, i * 0.5, CONCAT('s', i % 13) FROM n",
		"INSERT INTO acc SELECT id, v, NULL FROM orders WHERE id <= 100",
		"CREATE USER 'replay'@'%' IDENTIFIED BY 'replay-secret'", "GRANT SELECT ON app.* TO 'replay'@'%'", "GRANT SELECT ON mysql.slave_relay_log_info TO 'replay'@'%'", "GRANT SELECT ON mysql.slave_worker_info TO 'replay'@'%'",
		"CREATE USER 'explain'@'%' IDENTIFIED BY 'explain-secret'", "GRANT SELECT, INSERT, UPDATE, DELETE ON app.* TO 'explain'@'%'",
		"CREATE USER 'clone'@'%' IDENTIFIED BY 'clone-secret'", "GRANT SELECT, INSERT, UPDATE, DELETE, PROCESS, REPLICATION CLIENT, REPLICATION SLAVE, SESSION_VARIABLES_ADMIN ON *.* TO 'clone'@'%'",
	)
	for _, s := range []*processtest.MySQLServer{w.old, w.newer} {
		s.CatchUp(t, w.prod)
	}
	return w
}

func myConfig(t *testing.T, s *processtest.MySQLServer, user, password string) *mysql.Config {
	t.Helper()
	c, err := mysql.ParseDSN(processtest.DSN(s.Address(), user, password, ""))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// load moves the data, by several sessions.
func (w *mysqls) load(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for k := range 3 {
		wg.Go(func() {
			pace := time.NewTicker(30 * time.Millisecond) // the replicas keep up on a busy machine, too
			defer pace.Stop()
			for i := 0; ctx.Err() == nil; i++ {
				<-pace.C
				for _, q := range []string{
					fmt.Sprintf("INSERT INTO app.orders (owner, v, d, s) VALUES (%d, %d, %d * 0.25, 's%d')", 1+i%50, i, i, i%13),
					fmt.Sprintf("UPDATE app.orders SET v = v + 1, d = d + 0.5 WHERE owner = %d", 1+(i+k*17)%50),
					fmt.Sprintf("DELETE FROM app.orders WHERE owner = %d ORDER BY id LIMIT 1", 1+(i+k*17)%50),
				} {
					var e *mysql.MySQLError
					if _, err := w.prod.Admin.ExecContext(ctx, q); err != nil && ctx.Err() == nil && !(errors.As(err, &e) && e.Number == 1213) {
						t.Errorf("%s: %v", q, err)
					}
				}
			}
		})
	}
	return sync.OnceFunc(func() { cancel(); wg.Wait() })
}

func (w *mysqls) suspects(texts ...string) (all []tally.Suspect) {
	for i, text := range texts {
		f, _ := query.Fingerprint(nil, []byte(text), query.Mode{})
		all = append(all, tally.Suspect{Fingerprint: tally.Fingerprint(f), Traits: query.Look([]byte(text), query.Mode{}), Kind: compare.Content, ID: uint64(i + 1),
			Statement: tally.Statement{Schema: "app", Charset: 45, At: time.Unix(1_780_000_000, 0), Command: 0x03, Text: []byte(text)}})
	}
	return all
}

// stops is how often a server's replication was stopped by a statement.
func stops(t *testing.T, s *processtest.MySQLServer) string {
	t.Helper()
	var name, n string
	if err := s.Admin.QueryRow("SHOW GLOBAL STATUS LIKE 'Com_replica_stop'").Scan(&name, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestMySQL(t *testing.T) {
	w := newMySQLs(t)
	side := func(name string, s *processtest.MySQLServer) retest.Side {
		return retest.Side{Name: name, Control: myConfig(t, s, processtest.AdminUser, processtest.AdminPassword), Query: myConfig(t, s, "replay", "replay-secret")}
	}
	cfg := retest.Config{Old: side("old", w.old), New: side("new", w.newer)}
	for _, c := range []struct {
		name string
		run  func(*testing.T, *mysqls, retest.Config)
	}{{"retest", myRetest}, {"a retest that was killed", myKilled}, {"rows that tie", myTies}, {"plans of writes", myPlans}, {"the client's character set", myCharsets}, {"writes", myWrites}} {
		t.Run(c.name, func(t *testing.T) { c.run(t, w, cfg) })
	}
}

// myRetest: of moving data nothing is left, what the new side answers otherwise stays, and nobody of the old side is stopped. trap 37
func myRetest(t *testing.T, w *mysqls, cfg retest.Config) {
	stop := w.load(t)
	defer stop()
	unplaced := func(want string) {
		t.Helper()
		if why, err := retest.Unplaced(t.Context(), cfg); err != nil || (why == "") != (want == "") || !strings.Contains(why, want) {
			t.Errorf("no place at any time: %q, %v; want %q", why, err, want)
		}
	}
	unplaced("")
	w.old.Exec(t, "STOP REPLICA SQL_THREAD", "SET GLOBAL replica_preserve_commit_order=OFF", "START REPLICA SQL_THREAD")
	unplaced("replica_preserve_commit_order")
	w.old.Exec(t, "STOP REPLICA SQL_THREAD", "SET GLOBAL replica_preserve_commit_order=ON", "START REPLICA SQL_THREAD")
	before := stops(t, w.old)
	still := []string{"SELECT COUNT(*), SUM(v), SUM(d), MAX(id) FROM orders", "SELECT owner, COUNT(*), SUM(v) FROM orders GROUP BY owner ORDER BY owner", "SELECT a.id, o.v FROM acc a JOIN orders o ON o.owner = a.id ORDER BY o.id", "SELECT COUNT(*), NOW() FROM orders"}
	differing := []string{"SELECT owner, AVG(v) FROM orders GROUP BY owner ORDER BY owner", "SELECT SUM(v) / 7 FROM orders"}
	test := func(what string) {
		t.Helper()
		done, err := retest.Run(t.Context(), cfg, w.suspects(append(still, differing...)...), nil)
		if err != nil || len(done) != len(still)+len(differing) {
			t.Fatalf("%s: %d tested, %v", what, len(done), err)
		}
		for i, d := range done {
			switch {
			case i < len(still) && (d.Confirmed || d.Cause != compare.Moved):
				t.Errorf("%s, at %s: %s: %s %s, differs in %+v: %+v, %+v", what, d.Position, still[i], d.Cause, d.Why, d.Differs, d.Old, d.New)
			case i >= len(still) && (!d.Confirmed || !d.Differs.Any()):
				t.Errorf("%s: %s: %s %s: %+v, %+v", what, differing[i-len(still)], d.Cause, d.Why, d.Old, d.New)
			}
		}
	}
	test("by any way")

	// A transaction that is on its way for as long as this takes: no moment is quiet.
	on := w.old.Open(t, processtest.AdminUser, processtest.AdminPassword, "")
	on.SetMaxOpenConns(1)
	if _, err := on.Exec("SET SESSION gtid_next='aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa:1'"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		test("by the appliers' notes")
	}
	stop()
	w.prod.Exec(t, "REVOKE SELECT ON mysql.slave_worker_info FROM 'replay'@'%'")
	w.old.CatchUp(t, w.prod)
	unplaced("SELECT on mysql.slave_relay_log_info")
	short := cfg
	short.Quiet = time.Second
	if _, err := retest.Run(t.Context(), short, w.suspects("SELECT COUNT(*) FROM orders"), nil); !errors.Is(err, node.ErrNoPosition) || !strings.Contains(err.Error(), "SELECT on mysql.slave_relay_log_info") {
		t.Errorf("neither quiet nor noted: %v", err)
	}
	if _, err := on.Exec("ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	test("in a quiet moment")
	if got := stops(t, w.old); got != before {
		t.Errorf("the old side's replication was stopped: %s times before, %s now", before, got)
	}
	w.running(t)
}

// myKilled: a retest that ends while the new side stands still leaves word of it, and whoever comes next starts it. trap 37
func myKilled(t *testing.T, w *mysqls, cfg retest.Config) {
	killed := errors.New("killed")
	var saved json.RawMessage
	cfg.Save = func(_ context.Context, st any, _ float64, _ string) (err error) {
		if saved != nil {
			return killed
		}
		if len(st.(retest.Status).Stopped) > 0 {
			saved, err = json.Marshal(st)
		}
		return err
	}
	if _, err := retest.Run(t.Context(), cfg, w.suspects("SELECT COUNT(*) FROM orders"), nil); !errors.Is(err, killed) {
		t.Errorf("%v", err)
	}
	w.running(t)
	w.newer.Exec(t, "STOP REPLICA") // what a process leaves that is gone
	if ok, err := retest.Released(t.Context(), cfg, saved); err != nil || ok {
		t.Errorf("released: %v, %v", ok, err)
	}
	if err := retest.Release(t.Context(), cfg, saved); err != nil {
		t.Fatal(err)
	}
	if ok, err := retest.Released(t.Context(), cfg, saved); err != nil || !ok {
		t.Errorf("released: %v, %v", ok, err)
	}
	w.running(t)
}

// myTies: of rows that are equal in what they are sorted by the two take others at the cut of a LIMIT, as one of them has an index that the other has not; whatever else differs there is a difference.
func myTies(t *testing.T, w *mysqls, cfg retest.Config) {
	w.prod.Exec(t, "CREATE TABLE app.ties (id INT PRIMARY KEY, grp INT NOT NULL, v INT NOT NULL)",
		"INSERT INTO app.ties WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900) SELECT i, i DIV 10, -i FROM n")
	w.running(t)
	w.newer.Exec(t, "SET GLOBAL super_read_only=0", "SET SESSION sql_log_bin=0", "CREATE INDEX sorted ON app.ties (grp, v)", "SET SESSION sql_log_bin=1", "SET GLOBAL super_read_only=1")
	cases := []struct {
		text  string
		cause compare.Cause // real is confirmed, and volatile are ties
	}{
		{"SELECT id, grp FROM ties ORDER BY grp LIMIT 15", compare.Volatile},
		{"SELECT id FROM ties ORDER BY grp LIMIT 15", compare.Volatile}, // what it is sorted by is not shown
		{"SELECT id, x.grp AS g FROM ties x ORDER BY g DESC LIMIT 3, 14", compare.Volatile},
		{"SELECT id, grp FROM ties WHERE grp >= ? ORDER BY grp LIMIT ?", compare.Volatile},
		{"SELECT id, grp FROM ties ORDER BY grp, id LIMIT 15", compare.Moved}, // which gives the same on both
		{"SELECT id, grp, id / 7 FROM ties ORDER BY grp LIMIT 15", compare.Real},
		{"SELECT IF(id = 12, id / 7, id) q, grp FROM ties ORDER BY grp LIMIT 15", compare.Real}, // in one row of those that tie
	}
	var texts []string
	for _, c := range cases {
		texts = append(texts, c.text)
	}
	suspects := w.suspects(texts...)
	for i := range suspects {
		if s := &suspects[i].Statement; strings.Contains(texts[i], "?") {
			s.Command, s.Types = 0x17, []byte("\x08\x00\x03\x00")
			s.Params = []byte("\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x01\x08\x00\x03\x00\x02\x00\x00\x00\x00\x00\x00\x00\x0f\x00\x00\x00")
		}
	}
	done, err := retest.Run(t.Context(), cfg, suspects, nil)
	if err != nil || len(done) != len(cases) {
		t.Fatalf("%d tested, %v", len(done), err)
	}
	for i, d := range done {
		if want := cases[i].cause; d.Cause != want || d.Confirmed != (want == compare.Real) || d.Ties != (want == compare.Volatile) {
			t.Errorf("%s: %s, confirmed %v, ties %v: %s\n%v", texts[i], d.Cause, d.Confirmed, d.Ties, d.Why, d.Differs)
		}
	}
}

// myPlans: a MySQL that boots read-only for everybody explains a write for nobody, whatever rights there are; one that may be written to does for an account that may write. trap 38
func myPlans(t *testing.T, w *mysqls, _ retest.Config) {
	for _, c := range []struct {
		on             *processtest.MySQLServer
		user, password string
		want           uint16
	}{
		{w.old, "replay", "replay-secret", 1290}, {w.old, "explain", "explain-secret", 1290}, {w.old, processtest.AdminUser, processtest.AdminPassword, 1290},
		{w.prod, "replay", "replay-secret", 1142}, {w.prod, "explain", "explain-secret", 0},
	} {
		p, err := probe.Open(t.Context(), session.Server{Name: c.on.Name, Config: myConfig(t, c.on, c.user, c.password)})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		plan, err := plans.Explain(t.Context(), p, tally.Statement{Schema: "app", Charset: 45, Command: 0x03, Text: []byte("DELETE FROM orders WHERE owner = 3")})
		if err != nil || plan.Refused.Errno != c.want || (c.want == 0) != (len(plan.Steps) == 1 && plan.Steps[0].Key == "owner") {
			t.Errorf("%s on %s: %+v, %v", c.user, c.on.Name, plan, err)
		}
	}
}

// myCharsets: MySQL takes the number of the login as the collation that it is, where MariaDB takes the most usual ones as a character set alone.
func myCharsets(t *testing.T, w *mysqls, cfg retest.Config) {
	p, err := probe.Open(t.Context(), session.Server{Name: "old", Config: cfg.Old.Query})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for id, want := range map[uint16]string{45: "utf8mb4_general_ci", 255: "utf8mb4_0900_ai_ci", 8: "latin1_swedish_ci"} {
		stmt := tally.Statement{Schema: "app", Charset: id, Command: 0x03, Text: []byte("SELECT @@collation_connection")}
		if err := p.Enter(t.Context(), stmt); err != nil {
			t.Fatal(err)
		}
		if res, err := p.Run(t.Context(), stmt); err != nil || string(res.Data.Rows[0][0]) != want {
			t.Errorf("%d: %q, %v", id, res.Data.Rows, err)
		}
	}
}

// running sees that both replicas replicate.
func (w *mysqls) running(t *testing.T) {
	t.Helper()
	w.prod.Exec(t, "UPDATE app.acc SET v = v + 1 WHERE id = 1")
	for _, s := range []*processtest.MySQLServer{w.old, w.newer} {
		s.CatchUp(t, w.prod)
	}
}

// myWrites: both replicas become clones of one snapshot, which is seen of nothing else; what was written to the primary is replayed on them, and their tables are compared.
func myWrites(t *testing.T, w *mysqls, _ retest.Config) {
	server := func(s *processtest.MySQLServer) session.Server {
		s.Admin.SetMaxIdleConns(0) // the pools' idle connections are others
		return session.Server{Name: s.Name, Config: myConfig(t, s, "clone", "clone-secret")}
	}
	r := record(t, w)
	cfg := writes.Config{Old: server(w.old), New: server(w.newer), Confirmed: true, Measure: 2}
	prod := server(w.prod)
	run := func(cfg writes.Config, dir string) (*writes.Result, error) {
		t.Helper()
		b, err := store.Open(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		cfg.Events = func(ctx context.Context) iter.Seq2[capture.Block, error] {
			return writes.Blocks(ctx, b, store.Range{}, nil)
		}
		return writes.Run(t.Context(), cfg)
	}
	refused := func(want string, change func(*writes.Config)) {
		t.Helper()
		bad := cfg
		if change != nil {
			change(&bad)
		}
		if _, err := run(bad, r); !errors.Is(err, writes.ErrNoClone) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	refused("has 2 replicas", func(c *writes.Config) { c.Old = prod })
	refused("replicates from 127.0.0.1", nil)
	for _, s := range []*processtest.MySQLServer{w.old, w.newer} {
		s.Exec(t, "STOP REPLICA")
	}
	refused("on a clone, STOP REPLICA; RESET REPLICA ALL", nil)
	for _, s := range []*processtest.MySQLServer{w.old, w.newer} {
		s.Exec(t, "RESET REPLICA ALL")
	}
	refused("is read-only", nil)
	for _, s := range []*processtest.MySQLServer{w.old, w.newer} {
		s.Exec(t, "SET GLOBAL read_only=0")
	}
	w.newer.Exec(t, "SET GLOBAL rpl_semi_sync_source_enabled=1")
	refused("acknowledge its writes", nil)
	w.newer.Exec(t, "SET GLOBAL rpl_semi_sync_source_enabled=0")
	refused("carries no mark", func(c *writes.Config) { c.Confirmed = false })
	refused("are one server", func(c *writes.Config) { c.New = c.Old })
	other := w.old.Open(t, processtest.AppUser, processtest.AppPassword, "")
	if err := other.Ping(); err != nil {
		t.Fatal(err)
	}
	refused("has others connected: app", nil)
	other.Close()
	processtest.Until(t, 10*time.Second, "the client is gone", func() bool {
		return w.old.Ask(t, "SELECT COUNT(*) FROM performance_schema.processlist WHERE USER = 'app'") == "0"
	})

	for _, s := range []*processtest.MySQLServer{w.old, w.newer} {
		s.Exec(t, strings.Split(writes.MarkSQL, "; ")...)
	}
	cfg.Confirmed = false
	res, err := run(cfg, r)
	if err != nil {
		t.Fatal(err)
	}
	rules := judge.Once()
	rules.Latency.Factor = 1e6 // a tenth of a second is no measure
	found := func(res *writes.Result) (all []string) {
		for _, f := range judge.Judge(res.Tally, rules, time.Now()).Findings {
			if f.Level == judge.Fail {
				all = append(all, string(f.Kind)+" "+f.Text)
			}
		}
		return all
	}
	if f := found(res); len(f) > 0 || res.Tally.Unaccounted() != 0 || res.Transactions < 60 || res.Tables < 2 || res.Rows < 500 || len(res.Tally.Failures) > 0 {
		t.Errorf("found %q: %+v, %v", f, res, res.Tally.Failures)
	}
	for _, count := range []string{"SELECT COUNT(*) FROM app.log", "SELECT SUM(v) FROM app.acc"} {
		if want, got := w.prod.Ask(t, count), w.newer.Ask(t, count); got != want {
			t.Errorf("%s: %s, production has %s", count, got, want)
		}
	}
	cfg.After = res.Position // now each has transactions of its own
	again := replaytest.NewRun(t, t.TempDir(), "gw", 8, w.prod.Address(), processtest.AdminUser, processtest.AdminPassword)
	s := again.Session("app")
	s.Query("UPDATE acc SET note = 10 / 7 WHERE id = 3")
	s.Close()
	again.Close()
	if res, err = run(cfg, again.Dir); err != nil {
		t.Fatal(err)
	}
	if f := found(res); len(f) != 1 || f[0] != "table table app.acc" {
		t.Errorf("found %q", f)
	}
	if _, err := run(cfg, again.Dir); !errors.Is(err, writes.ErrUnequal) {
		t.Errorf("%v", err)
	}
}

// record captures what two clients write on the primary at once, in transactions and out of them; the replicas have stood still since before.
func record(t *testing.T, w *mysqls) (dir string) {
	w.prod.Exec(t, "CREATE TABLE app.log (id INT PRIMARY KEY AUTO_INCREMENT, at DATETIME(6), r DOUBLE, j JSON)")
	w.running(t)
	for _, s := range []*processtest.MySQLServer{w.old, w.newer} {
		s.Exec(t, "STOP REPLICA SQL_THREAD")
	}
	r := replaytest.New(t, t.TempDir(), w.prod.Address(), processtest.AdminUser, processtest.AdminPassword)
	defer r.Close()
	var wg sync.WaitGroup
	for k := range 2 {
		wg.Go(func() {
			s := r.Session("app")
			defer s.Close()
			insert := s.Prepare("INSERT INTO log (at, r, j) VALUES (NOW(6), RAND(), JSON_OBJECT('k', ?, 'text', ?))")
			for i := range 12 {
				s.Execute(insert, i > 0, i, fmt.Sprintf("of %d", k))
				s.Query("BEGIN")
				s.Query(fmt.Sprintf("SELECT v FROM acc WHERE id = %d FOR UPDATE", 1+(i+k)%5))
				s.Query(fmt.Sprintf("UPDATE acc SET v = v + %d WHERE id = %d", 1+k, 1+(i+k)%5))
				s.Query([]string{"COMMIT", "ROLLBACK"}[i%2])
				s.Query(fmt.Sprintf("UPDATE acc SET note = CONCAT_WS(',', RIGHT(note, 20), %d) WHERE id = %d", k, 1+i%5))
			}
		})
	}
	wg.Wait()
	return r.Dir
}
