package schema

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/fleet"
)

// TestMain is also the program that TestApplyKilledAtEveryEdge kills.
func TestMain(m *testing.M) {
	if os.Getenv("WINDLASS_APPLY_KILL") == "" {
		os.Exit(m.Run())
	}
	if build := os.Getenv("WINDLASS_THROWAWAY"); build != "" {
		startAndStay(build)
	}
	at, edge, _ := strings.Cut(os.Getenv("WINDLASS_APPLY_KILL"), ":")
	n, _ := strconv.Atoi(at)
	target := os.Getenv("WINDLASS_APPLY_TARGET")
	x, err := NewExpander(ExpanderConfig{Dialect: Dialect(os.Getenv("WINDLASS_APPLY_DIALECT")), Database: func(fleet.Cluster) (string, error) { return target, nil },
		Folders: map[string]string{"1.0": os.Getenv("WINDLASS_APPLY_OLDER"), "1.1": os.Getenv("WINDLASS_APPLY_FOLDER")}, Backoff: 20 * time.Millisecond, Tries: 500,
		edge: func(statement int, name string) error {
			switch {
			case statement > n:
				os.Exit(past)
			case statement == n && name == edge:
				if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
					return err
				}
				select {}
			}
			return nil
		}})
	if err == nil {
		save := func(context.Context, any, float64, string) error { return nil }
		do := x.Expand
		if os.Getenv("WINDLASS_APPLY_CONTRACT") != "" {
			do = x.Contract
		}
		err = do(context.Background(), clusterOn("1.0"), "1.1", 1, nil, save)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// past is how a run ends that is past the statement at which it was to be killed.
const past = 7

// killed runs an apply to its end, killed with -9 at every edge of every statement on the way; clears are those that drop an invalid index.
func killed(t *testing.T, d Dialect, target, folder, older string, statements int, clears ...int) map[string]int {
	t.Helper()
	at := map[string]int{}
	for n := 1; n <= statements; n++ {
		for _, edge := range []string{"looked", "begun", "cleared", "ran", "noted"} {
			if edge == "cleared" && !slices.Contains(clears, n) {
				continue // it would run past the others
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			cmd := exec.CommandContext(ctx, os.Args[0])
			cmd.Env = append(os.Environ(), fmt.Sprintf("WINDLASS_APPLY_KILL=%d:%s", n, edge), "WINDLASS_APPLY_DIALECT="+string(d), "WINDLASS_APPLY_TARGET="+target, "WINDLASS_APPLY_FOLDER="+folder, "WINDLASS_APPLY_OLDER="+older)
			out, err := cmd.CombinedOutput()
			cancel()
			if w, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && w.Signal() == syscall.SIGKILL {
				at[edge]++
			} else if code := cmd.ProcessState.ExitCode(); code != past && code != 0 {
				t.Fatalf("statement %d, %s: %v: %s", n, edge, err, out)
			}
		}
	}
	t.Logf("killed %v times", at)
	if at["begun"] < statements-1 || at["ran"] < statements-1 {
		t.Errorf("not every edge was met")
	}
	return at
}

func TestApplyKilledAtEveryEdge(t *testing.T) {
	for _, c := range []struct {
		d      Dialect
		server func(*testing.T) string
		sql    string
		check  map[string]string
	}{
		{Postgres, pgServer, "ALTER TABLE a ADD b int;\nINSERT INTO a (id,b) SELECT 10,1;\nCREATE INDEX CONCURRENTLY a_b ON a (b);\nCREATE TABLE c (id int);\nUPDATE a SET b=coalesce(b,0)+1;\nCREATE UNIQUE INDEX CONCURRENTLY z_id ON z (id);", map[string]string{
			"SELECT count(*)||' '||sum(b) FROM a":                                       "3 4",
			"SELECT indisvalid FROM pg_index WHERE indexrelid='a_b'::regclass":          "true",
			"SELECT indisvalid FROM pg_index WHERE indexrelid='z_id'::regclass":         "true",
			"SELECT count(*) FROM " + JournalTable + " WHERE file<>'' AND state='done'": "7",
		}},
		{MySQL, mariaServer, "ALTER TABLE a ADD b int;\nINSERT INTO a (id,b) SELECT 10,1;\nCREATE INDEX a_b ON a (b);\nALTER TABLE a ADD CONSTRAINT ck CHECK (b < 100);\nALTER TABLE a ADD INDEX two (id,b);\nALTER TABLE a MODIFY b bigint;\nCREATE TABLE c (id int);\nUPDATE a SET b=COALESCE(b,0)+1;", map[string]string{
			"SELECT CONCAT(COUNT(*),' ',SUM(b)) FROM a": "3 4",
			"SELECT COUNT(DISTINCT INDEX_NAME) FROM information_schema.STATISTICS WHERE TABLE_SCHEMA=DATABASE() AND TABLE_NAME='a'": "2",
			"SELECT COUNT(*) FROM " + JournalTable + " WHERE file<>'' AND state='done'":                                             "9",
		}},
	} {
		t.Run(string(c.d), func(t *testing.T) {
			target, db := database(t, c.d, c.server(t), "apply")
			init := "CREATE TABLE a (id int);"
			dir := folder(t, "1_init.sql", init, "2_more.sql", c.sql)
			older := folder(t, "1_init.sql", init)
			if err := Apply(context.Background(), ApplyOptions{Dialect: c.d, Target: target, Folder: older, Term: 1}); err != nil {
				t.Fatal(err)
			}
			run(t, db, "INSERT INTO a (id) VALUES (1)", "INSERT INTO a (id) VALUES (2)")
			var clears []int
			if c.d == Postgres { // an invalid index is in the way of the last statement
				run(t, db, "CREATE TABLE z (id int)", "INSERT INTO z VALUES (1),(1)")
				if _, err := db.Exec("CREATE UNIQUE INDEX CONCURRENTLY z_id ON z (id)"); err == nil {
					t.Fatal("a unique index over equal values was made")
				}
				run(t, db, "DELETE FROM z WHERE ctid=(SELECT max(ctid) FROM z)")
				clears = []int{strings.Count(c.sql, ";")}
			}
			at := killed(t, c.d, target, dir, older, strings.Count(c.sql, ";"), clears...)
			if at["cleared"] != len(clears) {
				t.Errorf("killed %d times when the invalid index was dropped", at["cleared"])
			}
			for q, want := range c.check {
				var got string
				if err := db.QueryRow(q).Scan(&got); err != nil || got != want {
					t.Errorf("%s: %s, %v, want %s", q, got, err, want)
				}
			}
			// Again: nothing is left to do.
			var told []string
			if err := Apply(context.Background(), ApplyOptions{Dialect: c.d, Target: target, Folder: dir, Term: 2, Progress: func(p Progress) error { told = append(told, p.What); return nil }}); err != nil || strings.ReplaceAll(strings.Join(told, ""), "there already", "") != "" {
				t.Errorf("%v, %v", err, told)
			}
			// One with a lower term does nothing.
			if err := Apply(context.Background(), ApplyOptions{Dialect: c.d, Target: target, Folder: dir, Term: 1}); !errors.Is(err, ErrFenced) {
				t.Errorf("got %v", err)
			}
			// What was applied is not edited, and what takes away is refused before anything runs.
			for text, want := range map[string]string{"ALTER TABLE a ADD z int;": "2_more.sql:1: is not the statement that was applied", c.sql + "\nCREATE TABLE d (id int);\nALTER TABLE a DROP COLUMN id;": "takes away what an old node may use"} {
				err := Apply(context.Background(), ApplyOptions{Dialect: c.d, Target: target, Folder: folder(t, "1_init.sql", init, "2_more.sql", text), Term: 2})
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v", err)
				}
			}
			if _, err := db.Exec("SELECT * FROM d"); err == nil {
				t.Error("a statement before the refused one was run")
			}
			more := folder(t, "1_init.sql", init, "2_more.sql", c.sql, "3_drop.sql", "-- windlass:contract\nALTER TABLE a DROP COLUMN id")
			if err := Apply(context.Background(), ApplyOptions{Dialect: c.d, Target: target, Folder: more, Term: 3, Contract: true}); err != nil {
				t.Errorf("a contract step: %v", err)
			}
		})
	}
}

// TestTrap40InvalidIndex: CREATE INDEX CONCURRENTLY that was cut off leaves an invalid index; it is dropped and built again, and a lock
// that somebody holds is waited for in tries.
func TestTrap40InvalidIndex(t *testing.T) {
	target, db := database(t, Postgres, pgServer(t), "trap40")
	run(t, db, "CREATE TABLE a (id int, b int)", "INSERT INTO a VALUES (1,1),(2,1)")
	if _, err := db.Exec("CREATE UNIQUE INDEX CONCURRENTLY a_b ON a (b)"); err == nil {
		t.Fatal("a unique index over equal values was made")
	}
	run(t, db, "UPDATE a SET b=id") // now it can be: what is left of the first is invalid
	dir := folder(t, "1.sql", "CREATE UNIQUE INDEX CONCURRENTLY a_b ON a (b);\nALTER TABLE a ADD c int;")
	ctx := context.Background()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback() //nolint:errcheck // ended below
	if _, err := tx.Exec("CREATE TABLE of_another (id int)"); err != nil {
		t.Fatal(err)
	}
	var told []string
	o := ApplyOptions{Dialect: Postgres, Target: target, Folder: dir, Term: 1, LockTimeout: 100 * time.Millisecond, Backoff: 20 * time.Millisecond, Tries: 200, Progress: func(p Progress) error {
		told = append(told, fmt.Sprintf("%d/%d %s", p.N, p.Of, p.What))
		if p.N == 2 && p.What == "runs" {
			if _, err := tx.Exec("SELECT * FROM a"); err != nil { // a reader, whom ALTER TABLE waits for
				t.Error(err)
			}
		}
		if strings.Contains(p.What, "try 3") {
			if err := tx.Rollback(); err != nil {
				t.Error(err)
			}
		}
		return nil
	}}
	if err := Apply(ctx, o); err != nil {
		t.Fatal(err, told)
	}
	all := strings.Join(told, ", ")
	if !strings.HasPrefix(all, "1/2 runs, 1/2 drops the invalid index a_b, 1/2 done, 2/2 runs, 2/2 waits for its lock, try 2 of 200, 2/2 waits for its lock, try 3 of 200") || !strings.HasSuffix(all, "2/2 done") {
		t.Error(all)
	}
	var valid bool
	if err := db.QueryRow("SELECT indisvalid FROM pg_index WHERE indexrelid='a_b'::regclass").Scan(&valid); err != nil || !valid {
		t.Error(valid, err)
	}
}
