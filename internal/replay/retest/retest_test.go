package retest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/query"
	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/replay/retest"
	"github.com/windlass-db/windlass/internal/replay/tally"
)

// utf8mb4General is what most clients ask for: the number of a collation, by which they mean its character set.
const utf8mb4General = 45

type world struct {
	old, new *processtest.Server
	cfg      retest.Config
}

func account(t *testing.T, s *processtest.Server, user, password string) *mysql.Config {
	t.Helper()
	c, err := mysql.ParseDSN(processtest.DSN(s.Address(), user, password, ""))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newWorld(t *testing.T) *world {
	t.Helper()
	fast := processtest.With("sync-binlog=0", "innodb-flush-log-at-trx-commit=2")
	w := &world{}
	w.old, w.new = processtest.Pair(t, "10.11", "11.8", fast)
	for _, stmt := range []string{
		"CREATE TABLE app.orders (id INT PRIMARY KEY AUTO_INCREMENT, owner INT NOT NULL, v INT NOT NULL, d DOUBLE, s VARCHAR(40), KEY (owner)) CHARSET=utf8mb4",
		"CREATE TABLE app.owners (id INT PRIMARY KEY, name VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci, born INT) CHARSET=utf8mb4",
		"CREATE TABLE app.loose (id INT PRIMARY KEY, v INT) ENGINE=Aria",
		"INSERT INTO app.owners SELECT seq, CONCAT('name ', seq), seq FROM app.seq_1_to_50",
		"INSERT INTO app.orders (owner, v, d, s) SELECT 1 + seq % 50, seq, seq / 3, CONCAT('s', seq % 13) FROM app.seq_1_to_2000",
		"INSERT INTO app.loose VALUES (1, 0)",
		"CREATE USER 'replay'@'%' IDENTIFIED BY 'replay-secret'", "GRANT SELECT ON *.* TO 'replay'@'%'",
	} {
		w.old.Exec(t, stmt)
	}
	w.new.CatchUp(t, w.old)
	w.cfg = retest.Config{
		Old: retest.Side{Name: "old", Control: account(t, w.old, processtest.AdminUser, processtest.AdminPassword), Query: account(t, w.old, "replay", "replay-secret")},
		New: retest.Side{Name: "new", Control: account(t, w.new, processtest.AdminUser, processtest.AdminPassword), Query: account(t, w.new, "replay", "replay-secret")},
	}
	return w
}

// load moves the data: rows are written, changed and deleted again, by several sessions.
func (w *world) load(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for k := range 3 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				for _, q := range []string{
					fmt.Sprintf("INSERT INTO app.orders (owner, v, d, s) VALUES (%d, %d, %d / 7, 's%d')", 1+i%50, i, i, i%13),
					fmt.Sprintf("UPDATE app.orders SET v = v + 1, d = d * 1.01 WHERE owner = %d", 1+(i+k*17)%50),
					fmt.Sprintf("DELETE FROM app.orders WHERE owner = %d AND v %% 7 = 3 LIMIT 3", 1+(i*3+k)%50),
					"UPDATE app.loose SET v = v + 1",
				} {
					if _, err := w.old.Admin.ExecContext(ctx, q); err != nil {
						var e *mysql.MySQLError
						if ctx.Err() == nil && !(errors.As(err, &e) && e.Number == 1213) { // each session may be a deadlock's victim
							t.Errorf("%s: %v", q, err)
						}
					}
				}
			}
		})
	}
	return sync.OnceFunc(func() { cancel(); wg.Wait() })
}

func statement(text string) tally.Statement {
	return tally.Statement{Schema: "app", Charset: utf8mb4General, At: time.Unix(1_780_000_000, 0), Command: 0x03, Text: []byte(text)}
}

func suspect(i int, text string) tally.Suspect {
	f, _ := query.Fingerprint(nil, []byte(text), query.Mode{})
	return tally.Suspect{Fingerprint: tally.Fingerprint(f), Traits: query.Look([]byte(text), query.Mode{}), Kind: compare.Content, ID: uint64(i + 1), Statement: statement(text)}
}

// deterministic queries have one right answer on equal data.
var deterministic = []string{
	"SELECT COUNT(*) FROM orders",
	"SELECT COUNT(*), SUM(v) FROM orders WHERE owner = 7",
	"SELECT SUM(d), AVG(d) FROM orders",
	"SELECT owner, COUNT(*), SUM(v), AVG(d) FROM orders GROUP BY owner ORDER BY owner",
	"SELECT * FROM orders WHERE owner BETWEEN 10 AND 20 ORDER BY id",
	"SELECT id, v FROM orders ORDER BY v DESC, id LIMIT 20",
	"SELECT o.name, x.v FROM owners o JOIN orders x ON x.owner = o.id WHERE o.born < 9 ORDER BY x.id",
	"SELECT s, COUNT(DISTINCT owner) FROM orders GROUP BY s ORDER BY s",
	"SELECT MAX(id), MIN(v) FROM orders",
	"SELECT COUNT(*), NOW() FROM orders", // a DATETIME that has become a TIMESTAMP
	"SELECT name FROM owners WHERE id IN (SELECT owner FROM orders WHERE v % 11 = 5) ORDER BY name",
}

// differing are answered otherwise by 11.8, whatever the data.
var differing = []string{
	"SELECT CONV(255, 10, 62), COUNT(*) * 0 FROM orders",
	"SELECT UNIX_TIMESTAMP('2050-01-01')",
	"SELECT 'ß' = 'ss', '🍣' = '🍺', 'ａ' = 'a'",
	"SELECT 1 AS vector",
	"SELECT FROM_UNIXTIME(4000000000)",
}

func TestRetest(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		name string
		run  func(*testing.T, *world)
	}{{"under load", underLoad}, {"what can't be decided", undecided}, {"rows that tie", tying}, {"killed at every save", killed}, {"an applier that somebody else stopped", stoppedByOthers}} {
		t.Run(c.name, func(t *testing.T) { c.run(t, w) })
	}
}

// underLoad: of moving data nothing is left, and what the versions answer otherwise stays. Traps 35 and 37.
func underLoad(t *testing.T, w *world) {
	stop := w.load(t)
	defer stop()
	var suspects []tally.Suspect
	for range 3 {
		for _, q := range deterministic {
			s := suspect(len(suspects), q)
			// Of sessions that would commit: the snapshot stays.
			s.Statement.Settings = [][]string{{"SET autocommit=0"}, {"SET @@tx_isolation='READ-COMMITTED', time_zone='+01:00'"}, {"SET time_zone='+01:00'"}}[len(suspects)%3]
			suspects = append(suspects, s)
		}
	}
	from := len(suspects)
	for _, q := range differing {
		suspects = append(suspects, suspect(len(suspects), q))
	}
	cfg := w.cfg
	var stops []string
	cfg.Save = func(_ context.Context, st any, progress float64, message string) error {
		if s := st.(retest.Status); len(s.Stopped) > 0 {
			stops = append(stops, strings.Join(s.Stopped, " "))
		}
		return nil
	}
	done, err := retest.Run(t.Context(), cfg, suspects, nil)
	stop()
	if err != nil {
		t.Fatal(err)
	}
	if len(done) != len(suspects) {
		t.Fatalf("%d of %d suspects were tested", len(done), len(suspects))
	}
	for i, d := range done {
		text := suspects[i].Statement.Text
		switch {
		case i < from && (d.Confirmed || d.Cause != compare.Moved):
			t.Errorf("%s: %s %s, differs in %+v: %+v, %+v", text, d.Cause, d.Why, d.Differs, d.Old, d.New)
		case i >= from && !d.Confirmed:
			t.Errorf("%s: %s %s: %+v, %+v", text, d.Cause, d.Why, d.Old, d.New)
		case i >= from && d.New.Errno == 0 && (!d.Differs.Any() || d.OldRows == nil || len(d.NewRows.Rows) != 1):
			t.Errorf("%s: no evidence: %+v %+v", text, d.Differs, d.OldRows)
		}
	}
	for _, s := range stops {
		if s != "new" {
			t.Errorf("%s was stopped", s) // trap 37: the old side never is
		}
	}
	running(t, w)
}

// undecided are those that frozen data says nothing about.
func undecided(t *testing.T, w *world) {
	stop := w.load(t)
	defer stop()
	want := map[string]compare.Cause{
		"SELECT v FROM loose":                           compare.Unknown, // it has no snapshot
		"SELECT RAND() FROM orders":                     compare.Volatile,
		"SELECT GET_LOCK('x', 1)":                       compare.Unknown,
		"SELECT @@version":                              compare.Unknown,
		"DELETE FROM orders":                            compare.Unknown,
		"SELECT 1; DELETE FROM orders":                  compare.Unknown,
		"SELECT SLEEP(0.1)":                             compare.Unknown,
		"SELECT v FROM orders FOR UPDATE":               compare.Unknown,
		"SELECT COUNT(*) FROM no_such_table":            compare.Unknown, // the same error on both: nothing was compared
		"SELECT v FROM orders WHERE id = 1 + 0 LIMIT 1": compare.Moved,
	}
	var suspects []tally.Suspect
	for q := range want {
		suspects = append(suspects, suspect(len(suspects), q))
	}
	refused := suspect(len(suspects), "SELECT 1 + 1")
	refused.Statement.Settings = []string{"SET group_concat_max_len='x'"}
	suspects = append([]tally.Suspect{refused}, suspects...)
	want["SELECT 1 + 1"] = compare.Unknown
	done, err := retest.Run(t.Context(), w.cfg, suspects, nil)
	stop()
	if err != nil {
		t.Fatal(err)
	}
	if len(done) != len(suspects) {
		t.Errorf("%d of %d", len(done), len(suspects))
	}
	for _, d := range done {
		if decided := d.Cause == compare.Moved; d.Decided() != decided {
			t.Errorf("%+v: decided %v", d, d.Decided())
		}
	}
	for i, d := range done {
		if text := string(suspects[i].Statement.Text); d.Confirmed || d.Cause != want[text] {
			t.Errorf("%s: %v %s %s, want %s", text, d.Confirmed, d.Cause, d.Why, want[text])
		}
	}
}

// tying: of rows that are equal in what they are sorted by the versions take others at the cut of a LIMIT, as one of the two has an index that the other has not. That is no difference; but
// whatever else differs there is.
func tying(t *testing.T, w *world) {
	for _, stmt := range []string{
		"CREATE TABLE app.ties (id INT PRIMARY KEY, grp INT NOT NULL, v INT NOT NULL) CHARSET=utf8mb4",
		"INSERT INTO app.ties SELECT seq, seq DIV 10, -seq FROM app.seq_1_to_3000",
		"CREATE TABLE app.many (id INT PRIMARY KEY, grp INT NOT NULL, v INT NOT NULL) CHARSET=utf8mb4",
		"INSERT INTO app.many SELECT seq, 1, -seq FROM app.seq_1_to_3000",
	} {
		w.old.Exec(t, stmt)
	}
	w.new.CatchUp(t, w.old)
	local, err := w.new.Admin.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	for _, stmt := range []string{"SET SESSION sql_log_bin=0", "CREATE INDEX sorted ON app.ties (grp, v)", "CREATE INDEX sorted ON app.many (grp, v)"} {
		if _, err := local.ExecContext(t.Context(), stmt); err != nil {
			t.Fatal(err)
		}
	}
	prepared := func(text string, types string, values ...byte) tally.Suspect {
		s := suspect(0, text)
		n := len(types) / 2
		s.Statement.Command, s.Statement.Types = 0x17, []byte(types)
		s.Statement.Params = slices.Concat(make([]byte, 4), []byte{0, 1, 0, 0, 0}, make([]byte, (n+7)/8), []byte{1}, []byte(types), values)
		return s
	}
	cases := []struct {
		suspect tally.Suspect
		cause   compare.Cause // real is confirmed, and volatile are ties
	}{
		{suspect(0, "SELECT id, grp FROM ties ORDER BY grp LIMIT 15"), compare.Volatile},
		{suspect(0, "SELECT id FROM ties ORDER BY grp LIMIT 15"), compare.Volatile}, // what it is sorted by is not shown
		{suspect(0, "SELECT id, x.grp AS g FROM ties x ORDER BY g LIMIT 3, 15"), compare.Volatile},
		{prepared("SELECT id, grp FROM ties WHERE grp >= ? ORDER BY grp LIMIT ?", "\x08\x00\x03\x00", 2, 0, 0, 0, 0, 0, 0, 0, 15, 0, 0, 0), compare.Volatile},
		{prepared("SELECT id, grp FROM ties ORDER BY grp LIMIT ? OFFSET ?", "\x08\x00\x08\x00", 15, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0), compare.Volatile},
		{suspect(0, "SELECT id, grp FROM many ORDER BY grp LIMIT 15"), compare.Unknown},                            // more than can be looked at
		{suspect(0, "SELECT y.id FROM (SELECT id FROM ties ORDER BY grp LIMIT 15) y ORDER BY 1"), compare.Unknown}, // in a subquery
		{suspect(0, "SELECT id, grp FROM ties ORDER BY grp, id LIMIT 15"), compare.Moved},                          // which gives the same on both
		{suspect(0, "SELECT id, CONV(255, 10, 62) FROM ties ORDER BY id LIMIT 1"), compare.Real},
		{suspect(0, "SELECT id, grp, CONV(255, 10, 62) FROM ties ORDER BY grp LIMIT 15"), compare.Real},
		{suspect(0, "SELECT IF(id = 12, CONV(255, 10, 62), id) q, grp FROM ties ORDER BY grp LIMIT 15"), compare.Real}, // in one row of those that tie
	}
	var suspects []tally.Suspect
	for i, c := range cases {
		c.suspect.ID = uint64(i + 1)
		suspects = append(suspects, c.suspect)
	}
	done, err := retest.Run(t.Context(), w.cfg, suspects, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, d := range done {
		if want := cases[i].cause; d.Cause != want || d.Confirmed != (want == compare.Real) || d.Ties != (want == compare.Volatile) || d.Decided() != (want != compare.Unknown) {
			t.Errorf("%s: %s, confirmed %v, ties %v, decided %v: %s\n%v", suspects[i].Statement.Text, d.Cause, d.Confirmed, d.Ties, d.Decided(), d.Why, d.Differs)
		}
	}
	running(t, w)
}

var errKilled = errors.New("killed")

// killed ends a run at each of its saves, as a process does that is gone: with the status that was saved last the next one goes on, and what stood still runs again. Trap 37.
func killed(t *testing.T, w *world) {
	suspects := []tally.Suspect{suspect(0, deterministic[0]), suspect(1, differing[0])}
	named := 0
	for at := 1; ; at++ {
		var saved json.RawMessage
		n := 0
		ctx, kill := context.WithCancel(t.Context())
		cfg := w.cfg
		cfg.Save = func(_ context.Context, st any, _ float64, _ string) error {
			if n++; n > at {
				return errKilled
			}
			if still := len(st.(retest.Status).Stopped) == 0; still != w.replicates(t) && still {
				t.Errorf("save %d: the applier stands still, and the status does not say so", n)
			}
			var err error
			saved, err = json.Marshal(st)
			if n == at {
				kill()
			}
			return err
		}
		_, err := retest.Run(ctx, cfg, suspects, nil)
		if err == nil {
			break
		}
		if at > 20 {
			t.Fatal(err)
		}
		var st retest.Status
		if err := json.Unmarshal(saved, &st); err != nil {
			t.Fatal(err)
		}
		if len(st.Stopped) > 0 { // the process is gone before it could start it again: this is what it left
			named++
			w.new.Exec(t, "STOP SLAVE")
			if ok, err := retest.Released(t.Context(), w.cfg, saved); err != nil || ok {
				t.Errorf("save %d: released %v, %v", at, ok, err)
			}
			if at%2 == 0 {
				if err := retest.Release(t.Context(), w.cfg, saved); err != nil {
					t.Fatal(err)
				}
			}
		}
		done, err := retest.Run(t.Context(), w.cfg, suspects, saved)
		if err != nil || len(done) != 2 || done[0].Confirmed || !done[1].Confirmed {
			t.Fatalf("save %d: %+v, %v", at, done, err)
		}
		running(t, w)
		if ok, err := retest.Released(t.Context(), w.cfg, saved); err != nil || !ok {
			t.Errorf("save %d: released %v, %v", at, ok, err)
		}
	}
	if named == 0 {
		t.Error("no save says that the applier is about to be stopped")
	}
}

// replicates tells whether the new side's applier runs.
func (w *world) replicates(t *testing.T) bool {
	t.Helper()
	var v string
	if err := w.new.Admin.QueryRow("SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'SLAVE_RUNNING'").Scan(&v); err != nil {
		t.Fatal(err)
	}
	return v == "ON"
}

func stoppedByOthers(t *testing.T, w *world) {
	w.new.Exec(t, "STOP SLAVE")
	if _, err := retest.Run(t.Context(), w.cfg, []tally.Suspect{suspect(0, "SELECT 1")}, nil); err == nil || !strings.Contains(err.Error(), "its replication is stopped") {
		t.Errorf("%v", err)
	}
	w.new.Exec(t, "START SLAVE")
}

// running sees that the new side replicates, without an end.
func running(t *testing.T, w *world) {
	t.Helper()
	w.new.CatchUp(t, w.old)
	if !w.replicates(t) {
		t.Error("the new side does not replicate")
	}
}
