package seed

import (
	"context"
	"database/sql"
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/driver/process/processtest"
)

// TestSeeding copies one cluster of the old version again and again, each time to a fresh node of the new one. Its primary
// is written to all the time in most of them.
func TestSeeding(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		name string
		run  func(*testing.T, *world)
	}{
		{"under load", underLoad},
		{"from a primary alone", fromPrimaryAlone},
		{"killed at every save", killedAtEverySave},
		{"servers are killed", serversKilled},
		{"no room", noRoom},
		{"a restored backup", restored},
		{"refused", refused},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, w) })
	}
}

// underLoad copies from the replica, starts replication from the copy's position, and finds both versions equal.
// trap 33
func underLoad(t *testing.T, w *world) {
	g := w.fresh(t)
	before := settings(t, w.replica) + settings(t, w.primary)
	stop := load(t, w.primary)
	saves := 0
	err := seeder(t, nil).Seed(t.Context(), g.SeedRequest, nil, func(_ context.Context, st any, progress float64, msg string) error {
		saves++
		if s := st.(Status); s.Source != "blue-2" || s.Method != Logical {
			t.Errorf("status: %+v", s)
		}
		return nil
	})
	n := stop()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d statements meanwhile, %d saves", n, saves)
	if n == 0 {
		t.Error("nothing was written meanwhile")
	}
	if after := settings(t, w.replica) + settings(t, w.primary); after != before {
		t.Errorf("settings of the old servers were changed: %s, %s", before, after)
	}
	w.whole(t, g)
	for query, want := range map[string]string{
		// what the new version's own defaults would make otherwise
		"SELECT GROUP_CONCAT(DISTINCT TABLE_COLLATION ORDER BY 1) FROM information_schema.TABLES WHERE TABLE_SCHEMA='app' AND TABLE_TYPE='BASE TABLE'": "utf8mb4_general_ci",
		"SELECT DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME='app'":                                                       "utf8mb4_general_ci",
		// zero and impossible dates, to which no strict mode would agree
		"SELECT CONCAT_WS(' ', a, b, c, f) FROM app.t_time WHERE id=2": "0000-00-00 0000-00-00 00:00:00.000000 0000-00-00 00:00:00.000 0000-00-00 00:00:00",
		"SELECT CONCAT_WS(' ', a, b) FROM app.t_time WHERE id=4":       "2024-02-31 2024-00-00 00:00:00.000000",
		// numbers to the last digit, a generated column, an enum's error value
		"SELECT CONCAT_WS(' ', CAST(e*1e0 AS CHAR), CAST(f AS CHAR)) FROM app.t_num WHERE id=5":              "0.10000000149011612 0.30000000000000004",
		"SELECT CONCAT_WS(' ', gv, gs, ix) FROM app.t_misc WHERE a='::1'":                                    "v4 8 5",
		"SELECT e+0 FROM app.t_enumkey WHERE y=0":                                                            "0",
		"SELECT GROUP_CONCAT(v ORDER BY row_start) FROM app.t_sv FOR SYSTEM_TIME ALL WHERE id=2":             "2",
		"SELECT COUNT(*) FROM app.t_child c LEFT JOIN app.t_parent p ON p.id=c.p WHERE c.p AND p.id IS NULL": "1",
		// programs keep their definer, mode and character set
		"SELECT SQL_MODE FROM information_schema.ROUTINES WHERE ROUTINE_NAME='p2'": "PIPES_AS_CONCAT,ANSI_QUOTES",
		"SELECT app.f1(7, 'x')": "7xé",
		"SELECT GROUP_CONCAT(TRIGGER_NAME ORDER BY ACTION_ORDER) FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_TABLE='t_nokey'": "tr1,tr2",
		"SELECT COUNT(*) FROM app.a_v2": one(t, w.primary.Admin, "SELECT COUNT(*) FROM app.a_v2"),
		"SELECT @@global.read_only":     "1",
	} {
		if got := one(t, g.Admin, query); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	// A sequence goes on behind what the primary has given out.
	if a, b := one(t, w.primary.Admin, "SELECT next_not_cached_value FROM app.sq"), one(t, g.Admin, "SELECT next_not_cached_value FROM app.sq"); a != b {
		t.Errorf("the sequence stands at %s, on the copy at %s", a, b)
	}
	// Accounts log in with the passwords that they had, and may do what they might.
	for _, user := range [][2]string{{"web", "web-secret"}, {"app", "rotated-secret"}} {
		db := g.Open(t, user[0], user[1], "app")
		if _, err := db.ExecContext(t.Context(), "SELECT COUNT(*) FROM load_rows"); err != nil {
			t.Errorf("%s on the copy: %v", user[0], err)
		}
		if user[0] == "web" {
			if _, err := db.ExecContext(t.Context(), "SELECT COUNT(*) FROM mysql.user"); err == nil || !strings.Contains(err.Error(), "denied") {
				t.Errorf("it has a right too many: %v", err)
			}
		}
	}
}

// settings are all global ones of a server but those that tell where it stands.
func settings(t *testing.T, s *processtest.Server) (all string) {
	t.Helper()
	rows, err := s.Admin.Query("SHOW GLOBAL VARIABLES WHERE Variable_name NOT LIKE 'gtid%' AND Variable_name NOT IN ('innodb_purge_threads', 'timestamp')")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var k, v string
		if err := rows.Scan(&k, &v); err != nil {
			t.Fatal(err)
		}
		all += k + "=" + v + "\n"
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// alone makes the request name no server of the old cell but its primary.
func (w *world) alone(g target) target {
	g.SeedRequest = w.request(g.Server, nodeOf("blue-1", w.primary))
	return g
}

// fromPrimaryAlone reads the primary itself, which is never stopped and gives way to a change of a definition.
func fromPrimaryAlone(t *testing.T, w *world) {
	g := w.alone(w.fresh(t))
	stop := load(t, w.primary)
	// A change of a definition that comes while its table is read waits, and so would everything behind it: the copy
	// ends. It is held in the table by a writer that has to wait.
	var held *sql.Tx
	altered := make(chan error, 1)
	err := seeder(t, func(c *Config) { c.Writers = 1 }).Seed(t.Context(), g.SeedRequest, nil, func(ctx context.Context, st any, _ float64, _ string) error {
		if held == nil && st.(Status).Table == "app.t_nokey" {
			tx, err := w.primary.Admin.Begin() // holds the table as the copy's reader would
			if err != nil {
				return err
			}
			if _, err := tx.Exec("SELECT COUNT(*) FROM app.t_uniq"); err != nil {
				return err
			}
			held = tx
			go func() {
				_, err := w.primary.Admin.Exec("ALTER TABLE app.t_uniq COMMENT 'changed'")
				altered <- err
			}()
			processtest.Until(t, 20*time.Second, "the change waits", func() bool {
				return one(t, w.primary.Admin, "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE='Waiting for table metadata lock'") != "0"
			})
			select { // until the watch ends the copy
			case <-ctx.Done():
			case <-time.After(30 * time.Second):
				t.Error("the copy did not give way")
			}
		}
		return nil
	})
	if held == nil {
		t.Fatalf("nothing was held: %v", err)
	}
	held.Rollback()
	if aerr := <-altered; aerr != nil {
		t.Errorf("the change: %v", aerr)
	}
	if err == nil || !strings.Contains(err.Error(), "a change of a definition on the primary blue-1 waits") {
		t.Errorf("error: %v", err)
	}
	// The next try is a whole one.
	err = seeder(t, nil).Seed(t.Context(), g.SeedRequest, nil, nothing)
	n := stop()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d statements meanwhile", n)
	if ro := one(t, w.primary.Admin, "SELECT @@global.read_only"); ro != "0" {
		t.Error("the primary is read-only")
	}
	w.whole(t, g)
}
