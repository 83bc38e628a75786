package source

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/windlass-db/windlass/internal/capture"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
)

// asked is what the application runs on a server, and what the server's log has of it.
var asked = []struct {
	text  string
	rows  uint64
	errno uint16
}{
	{"CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, a VARCHAR(300), b INT)", 0, 0},
	{"INSERT INTO t (a, b) VALUES ('one', 1), ('two;\n# User@Host: x[x] @ localhost []\nthree', 2), ('four', 3)", 0, 0},
	{"SELECT a FROM t\nWHERE b < 3", 2, 0},
	{"SELECT '" + aHead + "SELECT 1;\n' AS x", 1, 0},
	{"SELECT /* a; comment */ count(*) FROM t", 1, 0},
	{"SET timestamp=1000000000", 0, 0},
	{"SELECT NOW()", 1, 0},
	{"SET timestamp=DEFAULT", 0, 0},
	{"BEGIN", 0, 0},
	{"UPDATE t SET b = b + 1 WHERE id < 3", 0, 0},
	{"COMMIT", 0, 0},
	{"SELECT nothing FROM t", 0, 1054},
	{"SELECT 'é', \"it's \\\" \", `a` FROM t LIMIT 1", 1, 0},
	{"USE mysql", 0, 0},
	{"SELECT 3", 1, 0},
	{"USE app", 0, 0},
	{"SELECT 4", 1, 0},
}

// ask runs them over one connection, and one by a prepared statement.
func ask(t *testing.T, db *sql.DB) {
	t.Helper()
	ctx := context.Background()
	c, err := db.Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	defer c.Close()
	for _, q := range asked {
		if _, err := c.ExecContext(ctx, q.text); (err != nil) != (q.errno != 0) {
			t.Fatalf("%s: %v", q.text, err)
		}
	}
	rows, err := c.QueryContext(ctx, "SELECT id FROM t WHERE b >= ? AND a <> ?", 1, "it's;\nx")
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
}

// TestRealServers reads what servers write, while they write it.
func TestRealServers(t *testing.T) {
	log := func(name string) string { return filepath.Join(t.TempDir(), name) }
	maria, plain, extra := log("maria.log"), log("mysql.log"), log("extra.log")
	began := time.Now()
	s := processtest.Primary(t, "11.8", processtest.With("slow-query-log=1", "slow-query-log-file="+maria, "long-query-time=0"))
	ask(t, s.Open(t, processtest.AppUser, processtest.AppPassword, "app"))
	m := processtest.MySQL(t, processtest.WithMySQL("slow-query-log=1", "slow-query-log-file="+plain, "long-query-time=0"))
	m.Exec(t, "SET GLOBAL super_read_only=0", "SET GLOBAL read_only=0")
	ask(t, m.Open(t, processtest.AppUser, processtest.AppPassword, "app"))
	m.Exec(t, "DROP TABLE app.t", "SET GLOBAL slow_query_log_file='"+extra+"'", "SET GLOBAL log_slow_extra=1")
	ask(t, m.Open(t, processtest.AppUser, processtest.AppPassword, "app"))
	for file, source := range map[string]string{maria: slowMariaDB, plain: slowMySQL, extra: slowMySQLExtra} {
		var events []capture.Event
		var b capture.Block
		var loss capture.Loss
		processtest.Until(t, 10*time.Second, "the log has the last statement", func() bool {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			events, b, loss = all(t, SlowLog, content)
			return slices.ContainsFunc(texts(events), func(s string) bool { return strings.HasPrefix(s, "SELECT id FROM t WHERE b >= 1") })
		})
		// The server's own text of an executed prepared statement.
		want := []string{`SELECT id FROM t WHERE b >= 1 AND a <> 'it\'s;\nx'`}
		for i, q := range asked {
			want = slices.Insert(want, i, q.text)
		}
		got := texts(events)
		if i := slices.Index(got, want[0]); i > 0 {
			got = got[i:] // what the administrator did before
		}
		if diff := cmp.Diff(want, got[:min(len(got), len(want))]); diff != "" || loss.Any() || b.Meta.Source != source || len(b.Dropped) > 0 {
			t.Errorf("%s: %+v %+v %v %s", source, b.Meta, loss, b.Dropped, diff)
		}
		starts, ends := map[string]capture.Event{}, map[uint64]capture.Event{}
		for _, e := range events {
			switch e.Kind {
			case capture.Start:
				starts[string(e.Payload)] = e
			case capture.End:
				ends[e.Of] = e
			}
		}
		for _, q := range asked {
			start := starts[q.text]
			end := ends[start.Seq]
			if end.Rows != q.rows || Lacks(source)&LacksErrors == 0 && end.Errno != q.errno {
				t.Errorf("%s: %s: %d rows, error %d", source, q.text, end.Rows, end.Errno)
			}
			if start.At.Before(began.Truncate(time.Second)) || end.At.After(time.Now().Add(time.Second)) {
				t.Errorf("%s: %s: from %v to %v", source, q.text, start.At, end.At)
			}
			if (start.Txn == 1) != (q.text == "BEGIN" || q.text == "COMMIT" || strings.HasPrefix(q.text, "UPDATE")) {
				t.Errorf("%s: %s is in transaction %d", source, q.text, start.Txn)
			}
		}
		if end := ends[starts["UPDATE t SET b = b + 1 WHERE id < 3"].Seq]; Lacks(source)&LacksAffected == 0 && end.Affected != 2 {
			t.Errorf("%s: %d affected", source, end.Affected)
		}
	}
}
