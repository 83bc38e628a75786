// Package replay_test replays what was captured on a real server, retests what differed, and judges it: what differs between two versions is found with its kind, and
// between two equal servers nothing is.
package replay_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/windlass-db/windlass/internal/capture/store"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/query"
	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/replay/judge"
	"github.com/windlass-db/windlass/internal/replay/replaytest"
	"github.com/windlass-db/windlass/internal/replay/report"
	"github.com/windlass-db/windlass/internal/replay/retest"
	"github.com/windlass-db/windlass/internal/replay/run"
	"github.com/windlass-db/windlass/internal/replay/session"
)

// world is production, a replica of the same version, and one of the new version.
type world struct{ prod, same, newer *processtest.Server }

func newWorld(t *testing.T) *world {
	fast := processtest.With("sync-binlog=0", "innodb-flush-log-at-trx-commit=2")
	w := &world{prod: processtest.Primary(t, "10.11", fast)}
	w.same, w.newer = processtest.MariaDB(t, "10.11", fast), processtest.MariaDB(t, "11.8", fast)
	w.same.Follow(t, w.prod)
	w.newer.Follow(t, w.prod)
	for _, stmt := range []string{
		"CREATE TABLE app.people (id INT PRIMARY KEY, name VARCHAR(50) NOT NULL, town VARCHAR(30), born DATE, points INT, UNIQUE KEY (name), KEY (town), KEY (points)) CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci",
		"CREATE TABLE app.orders (id INT PRIMARY KEY AUTO_INCREMENT, person INT NOT NULL, amount DECIMAL(10,2), weight DOUBLE, ratio FLOAT, made DATETIME, note TEXT, doc JSON, KEY (person)) CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci",
		"CREATE TABLE app.hot (id INT PRIMARY KEY AUTO_INCREMENT, k INT NOT NULL, v INT NOT NULL, KEY (k)) STATS_AUTO_RECALC=0 CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci",
		"INSERT INTO app.people SELECT seq, CONCAT('name ', seq), ELT(1 + seq % 5, 'Ulm', 'Köln', 'Ålesund', 'łódź', NULL), '1950-01-01' + INTERVAL seq * 17 DAY, seq % 13 FROM app.seq_1_to_400",
		"INSERT INTO app.orders (person, amount, weight, ratio, made, note, doc) SELECT 1 + seq % 400, seq / 7, SIN(seq), COS(seq), '2020-01-01' + INTERVAL seq HOUR, REPEAT(CHAR(97 + seq % 26), seq % 50), JSON_OBJECT('n', seq, 'tags', JSON_ARRAY(seq % 3, 'x')) FROM app.seq_1_to_1500",
		"INSERT INTO app.hot (k, v) SELECT seq % 10, seq FROM app.seq_1_to_100",
		"ANALYZE TABLE app.people, app.orders, app.hot PERSISTENT FOR ALL", // servers that have counted their rows at different times plan differently
		"CREATE VIEW app.towns AS SELECT town, COUNT(*) AS n FROM app.people GROUP BY town",
		"CREATE VIEW app.noisy AS SELECT id, UUID() AS u FROM app.people WHERE id < 5", // volatile, and no text that uses it says so
		"CREATE USER 'replay'@'%' IDENTIFIED BY 'replay-secret'", "GRANT SELECT, EXECUTE, SHOW VIEW, SHOW DATABASES ON *.* TO 'replay'@'%'",
	} {
		w.prod.Exec(t, stmt)
	}
	w.same.CatchUp(t, w.prod)
	w.newer.CatchUp(t, w.prod)
	return w
}

func config(t *testing.T, s *processtest.Server, user, password string) *mysql.Config {
	t.Helper()
	c, err := mysql.ParseDSN(processtest.DSN(s.Address(), user, password, ""))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// judged replays a capture on a server with production as the reference, retests the suspects, and judges. Times are not measured: three servers and a writer share the machine.
func (w *world) judged(t *testing.T, r *replaytest.Recorder, target *processtest.Server, rules judge.Rules) judge.Report {
	t.Helper()
	r.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	b, err := store.Open(ctx, r.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	old := session.Server{Name: "old", Config: config(t, w.prod, "replay", "replay-secret")}
	counted, err := run.Run(ctx, run.Config{Source: run.Bucket(b, run.Range{}), Target: session.Server{Name: "new", Config: config(t, target, "replay", "replay-secret")}, Reference: &old})
	if err != nil {
		t.Fatal(err)
	}
	side := func(name string, s *processtest.Server) retest.Side {
		return retest.Side{Name: name, Control: config(t, s, processtest.AdminUser, processtest.AdminPassword), Query: config(t, s, "replay", "replay-secret")}
	}
	suspects := counted.Suspects()
	done, err := retest.Run(ctx, retest.Config{Old: side("old", w.prod), New: side("new", target)}, suspects, nil)
	if err != nil {
		t.Fatal(err)
	}
	retest.Tell(counted, done)
	rep := judge.Judge(counted, rules, time.Now())
	if rep.Unaccounted != 0 || rep.Captured != r.Counted {
		t.Errorf("of %d statements %d were captured, and %d are unaccounted for", r.Counted, rep.Captured, rep.Unaccounted)
	}
	t.Logf("%s: %d captured, %d replayed, skipped %v, unreplayable %v; %d answers were noise, %d suspects", rep.Verdict, rep.Captured, rep.Replayed, rep.Skipped, rep.Unreplayable, rep.Coverage.Noise, len(suspects))
	return rep
}

// kinds are statements of fifty kinds whose answers on two equal servers differ by nature, by chance, or not at all.
var kinds = []string{
	"SELECT * FROM people WHERE id = %d",
	"SELECT name, town FROM people WHERE id IN (%d, 7, 9) ORDER BY id",
	"SELECT COUNT(*) FROM orders WHERE person = %d",
	"SELECT SUM(amount), AVG(weight), STD(ratio) FROM orders WHERE person < %d",
	"SELECT town, COUNT(*), MAX(points) FROM people WHERE id > %d GROUP BY town ORDER BY town",
	"SELECT p.name, o.amount FROM people p JOIN orders o ON o.person = p.id WHERE p.id = %d ORDER BY o.id",
	"SELECT p.name FROM people p LEFT JOIN orders o ON o.person = p.id AND o.amount > 200 WHERE o.id IS NULL AND p.id < %d ORDER BY p.id",
	"SELECT name FROM people WHERE id NOT IN (SELECT person FROM orders WHERE amount > 100) AND id < %d ORDER BY name",
	"SELECT EXISTS (SELECT 1 FROM orders WHERE person = %d AND amount > 50)",
	"SELECT person, SUM(amount) OVER (PARTITION BY person ORDER BY id) FROM orders WHERE person < %d ORDER BY id",
	"WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d %% 20) SELECT SUM(i) FROM n",
	"SELECT id FROM people WHERE town = 'Ulm' AND id > %d UNION SELECT person FROM orders WHERE amount > 210 ORDER BY 1",
	"SELECT DISTINCT points FROM people WHERE id < %d ORDER BY points DESC",
	"SELECT * FROM people WHERE id > %d ORDER BY id LIMIT 5 OFFSET 2",
	"SELECT GROUP_CONCAT(name ORDER BY id SEPARATOR '|') FROM people WHERE id < %d %% 40",
	"SELECT JSON_EXTRACT(doc, '$.n'), JSON_VALUE(doc, '$.tags[1]') FROM orders WHERE id = %d",
	"SELECT CAST(amount AS CHAR), CAST(weight AS DECIMAL(8,4)) FROM orders WHERE id = %d",
	"SELECT weight, ratio, weight * 1e10, ratio / 3 FROM orders WHERE id < %d ORDER BY id",
	"SELECT note FROM orders WHERE note LIKE 'b%%' AND id < %d ORDER BY id",
	"SELECT name FROM people WHERE name REGEXP '%d$' ORDER BY id",
	"SELECT UPPER(town), HEX(town), CHAR_LENGTH(town) FROM people WHERE id = %d",
	"SELECT DATE_FORMAT(made, '%%Y-%%m'), COUNT(*) FROM orders WHERE person < %d GROUP BY 1 ORDER BY 1",
	"SELECT made + INTERVAL 3 DAY, DAYOFWEEK(made), WEEK(made) FROM orders WHERE id = %d",
	"SELECT * FROM towns WHERE n > %d %% 5 ORDER BY town",
	"SELECT CASE WHEN points > 5 THEN 'many' ELSE 'few' END, COALESCE(town, 'none') FROM people WHERE id = %d",
	"SELECT MD5(name), CRC32(name), SHA2(name, 256) FROM people WHERE id = %d",
	"SELECT NULL, %d, 'x', 1.5, 1e3, x'4142', b'101', DATE '2020-01-01'",
	"SELECT 7 DIV 2, 7 %% 3, -%d, ROUND(2.5), 1/3, 0.1 + 0.2, 1e0/3",
	"SELECT * FROM people WHERE name = 'name %d'",
	"SELECT COUNT(DISTINCT town), COUNT(town) FROM people WHERE id < %d",
	"(SELECT id FROM people WHERE id < %d ORDER BY id LIMIT 2) UNION ALL (SELECT id FROM orders ORDER BY id LIMIT 2)",
	"SELECT person, COUNT(*) AS n FROM orders WHERE id < %d GROUP BY person HAVING n > 2 ORDER BY person",
	"SELECT id FROM no_such_table WHERE id = %d",  // fails on both
	"SELECT no_such_column, %d FROM people",       // the same
	"SELECT id, %d FROM people WHERE 'x' = 0 + 1", // warnings
	"VALUES (1, 2), (3, %d)",
	// By nature, or by chance.
	"SELECT RAND(), %d",
	"SELECT UUID(), %d",
	"SELECT id FROM people WHERE id > %d ORDER BY RAND() LIMIT 3",
	"SELECT id FROM people WHERE id > %d LIMIT 3",
	"SELECT NOW(), CURDATE(), %d",
	"SELECT NOW(6), UNIX_TIMESTAMP(NOW(6)), %d",
	"SELECT COUNT(*), %d FROM orders WHERE made < NOW() - INTERVAL 1 SECOND",
	"SELECT SYSDATE(6), %d",
	"SELECT CONNECTION_ID(), %d",
	"SELECT @@hostname, @@server_id, %d",
	"SELECT VERSION(), DATABASE(), %d",
	"SELECT USER(), CURRENT_USER(), %d",
	"SELECT TABLE_NAME, TABLE_ROWS, %d FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'app' ORDER BY 1",
	"SHOW TABLES LIKE 'p%d%%'",
	"SHOW STATUS LIKE 'Uptime%d%%'",
	"EXPLAIN SELECT * FROM people WHERE id = %d",
	"SELECT CURRENT_TIMESTAMP(3) > '2020-01-01', %d",
	"SELECT RAND(3), RAND(3), %d",
	"SELECT id, u, %d FROM noisy ORDER BY id",
}

// production does what clients do: fifty kinds of reads, reads within transactions and prepared ones, and writers whose rows live but for a moment.
func (w *world) production(t *testing.T) *replaytest.Recorder {
	r := replaytest.New(t, t.TempDir(), w.prod.Address(), processtest.AppUser, processtest.AppPassword)
	var clients sync.WaitGroup
	reader := func(k int) {
		s := r.Session("app")
		defer s.Close()
		s.Set("SET NAMES utf8mb4")
		for i, q := range kinds {
			for n := range 2 {
				s.Query(fmt.Sprintf(q, 3+(i*7+n*31+k)%350))
			}
			if i%10 == 0 {
				s.Query("START TRANSACTION READ ONLY")
				s.Query(fmt.Sprintf("SELECT COUNT(*), SUM(v) FROM hot WHERE k = %d", i%7))
				s.Query(fmt.Sprintf("SELECT MAX(id) FROM hot WHERE k = %d", i%7))
				s.Query("COMMIT")
			}
		}
		p := s.Prepare("SELECT id, name, born, points FROM people WHERE town = ? AND id > ? ORDER BY id")
		for i := range 10 {
			s.Execute(p, i > 0, []string{"Ulm", "Köln", "łódź"}[i%3], i*20)
		}
	}
	writer := func(k int) { // H8: rows that are written, read and deleted
		s := r.Session("app")
		defer s.Close()
		for i := range 40 {
			s.Query(fmt.Sprintf("INSERT INTO hot (k, v) VALUES (%d, %d)", 10+k, i))
			s.Query(fmt.Sprintf("SELECT id, v FROM hot WHERE k = %d ORDER BY id", 10+k))
			s.Query(fmt.Sprintf("UPDATE hot SET v = v + 1 WHERE k = %d", i%7))
			s.Query(fmt.Sprintf("SELECT SUM(v), COUNT(*) FROM hot WHERE k = %d", i%7))
			s.Query(fmt.Sprintf("DELETE FROM hot WHERE k = %d", 10+k))
			s.Query(fmt.Sprintf("SELECT COUNT(*) FROM hot WHERE k = %d", 10+k))
			if i%8 == 0 {
				s.Query("BEGIN")
				s.Query(fmt.Sprintf("INSERT INTO hot (k, v) VALUES (%d, -1)", 20+k))
				s.Query(fmt.Sprintf("SELECT v FROM hot WHERE k = %d", 20+k)) // its own row, which nobody else ever sees
				s.Query("ROLLBACK")
			}
		}
	}
	for k := range 3 {
		clients.Go(func() { reader(k) })
	}
	for k := range 2 {
		clients.Go(func() { writer(k) })
	}
	clients.Wait()
	return r
}

// busy goes on writing while the replay runs.
func (w *world) busy(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			for _, q := range []string{"INSERT INTO app.hot (k, v) VALUES (%d, 1)", "UPDATE app.hot SET v = v + 1 WHERE k = %d", "DELETE FROM app.hot WHERE k = %d AND v = 2"} {
				if _, err := w.prod.Admin.ExecContext(ctx, fmt.Sprintf(q, i%7)); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
			}
		}
	})
	return sync.OnceFunc(func() { cancel(); done.Wait() })
}

func TestReplayAndVerdict(t *testing.T) {
	w := newWorld(t)
	t.Run("between equal servers nothing is found", w.equal)
	t.Run("between versions all that differs is", w.versions)
}

// equal: no finding at all, while the data moves before, between and behind.
func (w *world) equal(t *testing.T) {
	r := w.production(t)
	stop := w.busy(t)
	defer stop()
	rules := judge.Once()
	rules.MinStatements = 0.7 // some reads mean something in their own session or transaction alone
	rules.MinCompared = 0.7   // and of some nothing but errors can be compared
	rules.Retests = true
	rep := w.judged(t, r, w.same, rules)
	stop()
	for _, f := range rep.Findings {
		t.Errorf("%s %s %s: %s\n%s\n%+v", f.ID, f.Kind, f.Level, f.What, f.Example, f.Examples)
	}
	if rep.Verdict != judge.Pass {
		t.Errorf("%s: %+v", rep.Verdict, rep.Why)
	}
	if rep.Coverage.Noise == 0 {
		t.Error("no data has moved, so nothing was tried")
	}
}

// reproduce runs the commands of a finding as a person would, with the real client, and gives what that prints.
func (w *world) reproduce(t *testing.T, f judge.Finding, s *processtest.Server) string {
	t.Helper()
	home := t.TempDir()
	file := fmt.Sprintf("[client]\nuser=replay\npassword=replay-secret\nport=%d\nskip-ssl\n", s.Port)
	if err := os.WriteFile(filepath.Join(home, ".my.cnf"), []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", report.Reproduce(f.Examples[0].Statement, "127.0.0.1"))
	cmd.Env = []string{"HOME=" + home, "PATH=" + processtest.Fetch(t, "mariadb-11.8").Bin() + ":" + os.Getenv("PATH")}
	out, err := cmd.CombinedOutput()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) || failed != nil && !strings.Contains(string(out), "ERROR ") {
		t.Errorf("%v: %s", err, out)
	}
	return string(out)
}

// differing is each query of which 10.11 and 11.8 are known to give other answers, with the kind of its finding.
var differing = map[string]compare.Kind{
	"SELECT FROM_UNIXTIME(4000000000)":                       compare.Content,
	"SELECT UNIX_TIMESTAMP('2050-01-01')":                    compare.Content,
	"SELECT 'ß' = 'ss'":                                      compare.Content,
	"SELECT '🍣' = '🍺'":                                       compare.Content,
	"SELECT 'ａ' = 'a'":                                       compare.Content,
	"SELECT CONV(255, 10, 62)":                               compare.Content,
	"SELECT 1 AS vector":                                     compare.Syntax,
	"SELECT @@old_alter_table":                               compare.Error,
	"SELECT JSON_SCHEMA_VALID('{}', '{}')":                   compare.ErrorGone,
	"SELECT UUID_V7() IS NULL":                               compare.ErrorGone,
	"SELECT id, u, CONV(255, 10, 62) FROM noisy ORDER BY id": compare.Content, // in its third column; the second is noise
	"SELECT FORMAT_BYTES(1024)":                              compare.ErrorGone,
	"SELECT id FROM people WHERE name = 'ß' OR 'ß' = 'ss' ORDER BY id LIMIT 2": compare.Rows,
}

// versions: each is found, with its kind, also as a prepared statement; and nothing else is, but for plans.
func (w *world) versions(t *testing.T) {
	r := w.production(t)
	s := r.Session("app")
	s.Set("SET NAMES utf8mb4")
	want := map[string]compare.Kind{}
	for text, kind := range differing {
		s.Query(text)
		_, normal := query.Fingerprint(nil, []byte(text), query.Mode{})
		want[string(normal)] = kind
	}
	for i := range 8 {
		s.Query(fmt.Sprintf("SELECT COUNT(*), MAX(name) FROM people WHERE points = %d", i)) // of which the new version has no index any more
	}
	local, err := w.newer.Admin.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	for _, stmt := range []string{"SET SESSION sql_log_bin=0", "DROP INDEX points ON app.people"} {
		if _, err := local.ExecContext(t.Context(), stmt); err != nil {
			t.Fatal(err)
		}
	}
	p := s.Prepare("SELECT CONV(?, 10, 62) AS prepared")
	s.Execute(p, false, 255)
	want["select conv(?, ?, ?) as prepared"] = compare.Content
	s.Close()
	stop := w.busy(t)
	defer stop()
	rules := judge.Once()
	rules.Retests = true
	rep := w.judged(t, r, w.newer, rules)
	stop()
	got := map[string]compare.Kind{}
	unindexed := false
	for _, f := range rep.Findings {
		if f.Kind == compare.Plan { // the optimizers differ in some of the fifty, which is what this kind tells
			unindexed = unindexed || f.Text == "select count(*), max(name) from people where points = ?" && f.PlanBits != nil && f.PlanBits.Worse == 8 && strings.HasPrefix(f.What, "the new version uses no index")
			if f.Level != judge.Warn {
				t.Errorf("%s: %s", f.ID, f.Level)
			}
			continue
		}
		got[f.Text] = f.Kind
		if want[f.Text] == "" {
			t.Errorf("%s %s %s: %s\n%s\n%+v", f.ID, f.Kind, f.Level, f.What, f.Example, f.Examples)
		}
	}
	for _, text := range slices.Sorted(maps.Keys(want)) {
		if got[text] != want[text] {
			t.Errorf("%s: %q, want %q", text, got[text], want[text])
		}
	}
	if !unindexed {
		t.Error("by the servers' own flags an index is not used any more, and it was not found")
	}
	if rep.Verdict != judge.Failed {
		t.Errorf("%s", rep.Verdict)
	}
	for _, f := range rep.Findings {
		if f.Kind == compare.Plan {
			continue
		}
		old, new := w.reproduce(t, f, w.prod), w.reproduce(t, f, w.newer)
		if old == new || f.Kind == compare.Syntax && !strings.Contains(new, "ERROR 1064") {
			t.Errorf("the commands for %s do not show it:\n%s\n%s", f.Text, old, new)
		}
	}
	for _, f := range rep.Findings {
		if f.Kind == compare.Content && strings.HasPrefix(f.Text, "select conv") && (f.Confirmed == 0 || f.Examples[0].OldRows == nil || f.Examples[0].NewRows == nil) {
			t.Errorf("no evidence for %s: %+v", f.Text, f)
		}
	}
}
