package source

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/windlass-db/windlass/internal/capture"
)

// all reads a log, and holds its events to what is true of every capture.
func all(t testing.TB, f Format, log []byte) (events []capture.Event, last capture.Block, loss capture.Loss) {
	t.Helper()
	r, err := Open(f, bytes.NewReader(log), Options{Gateway: "g"})
	if err != nil {
		t.Fatal(err)
	}
	starts, open := map[uint64]uint64{}, map[uint64]bool{}
	seq := uint64(0)
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			return events, last, r.Loss()
		}
		if err != nil {
			t.Fatal(err)
		}
		if b.Index != last.Index+1 {
			t.Fatalf("block %d comes after block %d", b.Index, last.Index)
		}
		for _, e := range b.Events {
			if e.Seq != seq+1 {
				t.Fatalf("event %d comes after event %d", e.Seq, seq)
			}
			seq = e.Seq
			switch e.Kind {
			case capture.Session:
				open[e.Conn] = true
			case capture.Start:
				starts[e.Seq] = e.Conn
				if !open[e.Conn] {
					t.Fatalf("a statement of connection %d, which nobody knows", e.Conn)
				}
			case capture.End:
				if starts[e.Of] != e.Conn {
					t.Fatalf("event %d ends %d, which is of connection %d", e.Seq, e.Of, starts[e.Of])
				}
			case capture.Close:
				delete(open, e.Conn)
			}
		}
		events, last = append(events, b.Events...), b
	}
}

func texts(events []capture.Event) (out []string) {
	for _, e := range events {
		if e.Kind == capture.Start {
			out = append(out, string(e.Payload))
		}
	}
	return out
}

// logged are the statements of the logs in testdata that the application's connection ran.
var logged = []string{
	"CREATE TABLE IF NOT EXISTS t (id INT PRIMARY KEY AUTO_INCREMENT, a VARCHAR(200), b INT)",
	"INSERT INTO t (a, b) VALUES ('one', 1), ('two', 2), ('three;\nfour', 3)",
	"SELECT a FROM t\nWHERE b = 2",
	"SELECT 'a;\n# User@Host: x[x] @ localhost []\n# Thread_id: 1  Schema: x  QC_hit: No\n# Query_time: 0.1  Lock_time: 0.0  Rows_sent: 0  Rows_examined: 0\nSET timestamp=1;\nselect 1;\n' AS x",
	"SELECT /* a comment; */ count(*) FROM t -- and", "SELECT 1", "SET NAMES utf8mb4", "SET SESSION sort_buffer_size = 300000",
	"BEGIN", "UPDATE t SET b = b + 1 WHERE id < 3", "COMMIT", "SELECT nothing FROM t", "SELECT SLEEP(1.1)", "SELECT 'é', \"quoted \\\" \", `a` FROM t LIMIT 1",
	"USE mysql", "SELECT 3", "USE app", "SELECT 4", `SELECT id FROM t WHERE b >= 1 AND a <> 'x;\ny'`,
}

func testdata(t testing.TB, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSlowLogs(t *testing.T) {
	for file, want := range map[string]struct {
		source, version string
		admin           []string // the administrator's statements before
	}{
		"mariadb-10.11.log":   {slowMariaDB, "10.11", []string{"SET GLOBAL read_only=0"}},
		"mariadb-11.8.log":    {slowMariaDB, "11.8", []string{"SET GLOBAL read_only=0"}},
		"mysql-9.7.log":       {slowMySQL, "9.7", []string{"SET GLOBAL super_read_only=0", "SET GLOBAL read_only=0"}},
		"mysql-9.7-extra.log": {slowMySQLExtra, "9.7", []string{"SET GLOBAL super_read_only=0", "SET GLOBAL read_only=0"}},
	} {
		log := testdata(t, file)
		events, b, loss := all(t, SlowLog, log)
		if loss.Any() || b.Meta.Source != want.source || !strings.HasPrefix(b.Meta.Version, want.version) || len(b.Dropped) > 0 {
			t.Errorf("%s: %+v %+v %v", file, b.Meta, loss, b.Dropped)
		}
		if diff := cmp.Diff(append(slices.Clone(want.admin), logged...), texts(events)); diff != "" {
			t.Errorf("%s: %s", file, diff)
		}
		at := map[string]capture.Event{}
		byStart := map[uint64]capture.Event{}
		var schema string
		schemas := map[string]string{}
		var before time.Time
		for _, e := range events {
			if e.At.Before(before) {
				t.Errorf("%s: %v comes after %v", file, e.At, before)
			}
			before = e.At
			switch e.Kind {
			case capture.Session:
				schema = e.Schema
			case capture.Start:
				byStart[e.Seq], schemas[string(e.Payload)] = e, schema
			case capture.End:
				at[string(byStart[e.Of].Payload)] = e
			}
		}
		if e := at["SELECT SLEEP(1.1)"]; e.Took < 1100*time.Millisecond || e.Took > 2*time.Second || e.At.Sub(byStart[e.Of].At) != e.Took || e.Rows != 1 {
			t.Errorf("%s: %+v", file, e)
		}
		if e := at["UPDATE t SET b = b + 1 WHERE id < 3"]; byStart[e.Of].Txn != 1 || want.source == slowMariaDB && e.Affected != 2 {
			t.Errorf("%s: %+v %+v", file, e, byStart[e.Of])
		}
		if e := at["SELECT nothing FROM t"]; want.source == slowMySQLExtra && e.Errno != 1054 || byStart[e.Of].Txn != 0 {
			t.Errorf("%s: %+v", file, e)
		}
		if schemas["SELECT 3"] != "mysql" || schemas["SELECT 4"] != "app" || schemas["BEGIN"] != "app" {
			t.Errorf("%s: %v", file, schemas)
		}
	}
}

func TestACompressedLog(t *testing.T) {
	log := testdata(t, "mysql-9.7.log")
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	w.Write(log)
	w.Close()
	want, _, _ := all(t, SlowLog, log)
	if got, _, _ := all(t, SlowLog, z.Bytes()); !cmp.Equal(got, want) {
		t.Error("it reads otherwise")
	}
	if got, _, loss := all(t, SlowLog, z.Bytes()[:z.Len()/2]); !loss.Cut || len(got) == 0 || len(got) >= len(want) {
		t.Errorf("cut: %d events, %+v", len(got), loss)
	}
}

// A log that is cut anywhere gives the statements before the cut, each whole.
func TestALogCutAnywhere(t *testing.T) {
	for _, file := range []string{"mariadb-11.8.log", "mysql-9.7.log"} {
		log := testdata(t, file)
		want, _, _ := all(t, SlowLog, log)
		entries := texts(want)
		fewest := 0
		for n := 0; n < len(log); n += 11 {
			events, _, loss := all(t, SlowLog, log[:n])
			got := texts(events)
			if len(got) < fewest || len(got) > len(entries) {
				t.Fatalf("%s cut at %d: %d statements after %d", file, n, len(got), fewest)
			}
			fewest = len(got)
			if !slices.Equal(entries[:len(got)], got) {
				t.Fatalf("%s cut at %d: %s", file, n, cmp.Diff(entries[:len(got)], got))
			}
			if loss.Bytes > int64(n) {
				t.Fatalf("%s cut at %d: %+v", file, n, loss)
			}
		}
	}
}

// A log whose beginning was rotated away gives all from its first whole entry on.
func TestALogWithoutItsBeginning(t *testing.T) {
	log := testdata(t, "mysql-9.7.log")
	want, _, _ := all(t, SlowLog, log)
	entries, lost := texts(want), 0
	for n := 0; n < len(log); n += 17 {
		events, _, loss := all(t, SlowLog, log[n:])
		got := texts(events)
		// What is embedded in a text looks like an entry where the beginning of that is missing: nothing tells it apart.
		embedded := slices.IndexFunc(got, func(s string) bool { return strings.HasPrefix(s, "select 1") })
		if embedded >= 0 {
			got = slices.Delete(got, embedded, embedded+1)
		}
		if !slices.Equal(entries[len(entries)-len(got):], got) {
			t.Fatalf("from %d: %s", n, cmp.Diff(entries[len(entries)-len(got):], got))
		}
		if lost += loss.Damaged; loss.Cut || loss.Bytes > int64(len(log)-n) {
			t.Errorf("from %d: %+v", n, loss)
		}
	}
	if lost < 50 {
		t.Errorf("of %d logs without their beginning %d have lost something", len(log)/17, lost)
	}
}

// One damaged byte costs no more than the entries around it; one that becomes a quote, up to where the next statement with a text ends.
func TestADamagedLog(t *testing.T) {
	log := testdata(t, "mariadb-11.8.log")
	want, _, _ := all(t, SlowLog, log)
	entries := texts(want)
	for n := 0; n < len(log); n += 61 {
		for _, c := range []byte{'\'', '#', '\n', 0xff, ';'} {
			broken := bytes.Clone(log)
			broken[n] = c
			events, _, _ := all(t, SlowLog, broken)
			same := 0
			for _, text := range texts(events) {
				if slices.Contains(entries, text) {
					same++
				}
			}
			most := 3
			if c == '\'' {
				most = 7
			}
			if same < len(entries)-most {
				t.Fatalf("%q at %d: %d of %d statements are left:\n%s", c, n, same, len(entries), strings.Join(texts(events), "\n"))
			}
		}
	}
}

const aHead = "# User@Host: app[app] @ localhost []\n# Thread_id: 7  Schema: app  QC_hit: No\n# Query_time: 0.000100  Lock_time: 0.0  Rows_sent: 1  Rows_examined: 0\nSET timestamp=1795291472;\n"

func TestTornEntries(t *testing.T) {
	for _, c := range []struct {
		name, log string
		want      []string
		damaged   int
	}{
		{"cut in a text, and gone on with", aHead + "SELECT 'abc\n" + aHead + "SELECT 2;\n" + aHead + "SELECT 'x';\n", []string{"SELECT 2", "SELECT 'x'"}, 1},
		{"cut in a text, which a comment of the next one would end", aHead + "SELECT 'abc\n" + aHead + "SELECT 2 -- it's;\n" + aHead + "SELECT 3;\n", []string{"SELECT 2 -- it's", "SELECT 3"}, 1},
		{"cut outside of a text", aHead + "SELECT a FROM\n" + aHead + "SELECT 2;\n", []string{"SELECT 2"}, 1},
		{"cut in its head", "# User@Host: app[app] @ localhost []\n# Thread_id: 7  Sch\n" + aHead + "SELECT 2;\n", []string{"SELECT 2"}, 1},
		{"zeros of a file that was truncated while it was written", "\x00\x00\x00\x00" + aHead + "SELECT 2;\n", []string{"SELECT 2"}, 1},
		{"a text that is a whole entry", aHead + "INSERT INTO log VALUES ('" + aHead + "SELECT 1;\n');\n" + aHead + "SELECT 2;\n", []string{"INSERT INTO log VALUES ('" + aHead + "SELECT 1;\n')", "SELECT 2"}, 0},
		{"a backslash that is none", aHead + `SELECT 'x\';` + "\n" + aHead + "SELECT 2;\n" + aHead + "SELECT 3;\n", []string{`SELECT 'x\'`, "SELECT 2", "SELECT 3"}, 0},
		{"insert ids", strings.Replace(aHead, "SET timestamp", "SET last_insert_id=5,insert_id=6,timestamp", 1) + "SELECT 2;\n", []string{"SELECT 2"}, 0},
		{"no end", aHead + "SELECT 2;\n" + aHead + "SELECT 3", []string{"SELECT 2"}, 1},
		{"a Time line in a text", aHead + "SELECT '\n# Time: 261121 20:04:33\n';\n", []string{"SELECT '\n# Time: 261121 20:04:33\n'"}, 0},
		{"nonsense between", "x\ny\n" + aHead + "SELECT 2;\nz\n", []string{"SELECT 2;\nz"}, 1},
	} {
		events, _, loss := all(t, SlowLog, []byte(c.log))
		if c.name == "nonsense between" {
			c.want = nil // what follows a statement is taken for a part of it, which has no end then
			c.damaged = 1
		}
		if diff := cmp.Diff(c.want, texts(events)); diff != "" || loss.Damaged != c.damaged {
			t.Errorf("%s: %+v %s", c.name, loss, diff)
		}
	}
}

// Statements of one second are given moments in it, in their order; a session's own clock moves nothing.
func TestMomentsWithinASecond(t *testing.T) {
	var log strings.Builder
	entry := func(thread int, stamp int64, took float64, text string) {
		fmt.Fprintf(&log, "# User@Host: app[app] @ localhost []\n# Thread_id: %d  Schema: app  QC_hit: No\n# Query_time: %f  Lock_time: 0.0  Rows_sent: 1  Rows_examined: 0\nSET timestamp=%d;\n%s;\n", thread, took, stamp, text)
	}
	const s = 1795291472
	for i := range 10 {
		entry(i, s, 0.0001, fmt.Sprint("SELECT ", i))
	}
	entry(20, 1000000000, 0.0001, "SELECT NOW()") // after SET timestamp
	entry(21, 1900000000, 0.0001, "SELECT NOW(6)")
	entry(22, s, 0.0001, "SELECT 10")
	entry(23, s-60, 61.5, "SELECT SLEEP(61.5)")
	entry(24, s+2, 0.0001, "SELECT 11")
	entry(25, s+2+7200, 0.0001, "SELECT 12") // two hours of silence
	entry(26, s+2+7200, 0.0001, "SELECT 13")
	events, _, loss := all(t, SlowLog, []byte(log.String()))
	if loss.Any() {
		t.Error(loss)
	}
	want := []string{"SELECT SLEEP(61.5)", "SELECT 0", "SELECT 1", "SELECT 2", "SELECT 3", "SELECT 4", "SELECT 5", "SELECT 6", "SELECT 7", "SELECT 8", "SELECT 9", "SELECT NOW()", "SELECT NOW(6)", "SELECT 10", "SELECT 11", "SELECT 12", "SELECT 13"}
	if diff := cmp.Diff(want, texts(events)); diff != "" {
		t.Error(diff)
	}
	var last time.Time
	n := 0
	for _, e := range events {
		if e.Kind != capture.Start {
			continue
		}
		if n++; !e.At.After(last) {
			t.Errorf("%s begins at %v, the one before at %v", e.Payload, e.At, last)
		}
		last = e.At
		if n > 1 && n < 15 && e.At.Unix() != s {
			t.Errorf("%s begins at %v", e.Payload, e.At)
		}
	}
}

// What one connection does is never at the same time, however the moments are spread.
func TestAConnectionDoesOneThingAtATime(t *testing.T) {
	long := strings.Replace(aHead, "0.000100", "0.900000", 1)
	events, _, _ := all(t, SlowLog, []byte(long+"SELECT 1;\n"+aHead+"SELECT 2;\n"+aHead+"SELECT 3;\n"))
	open := 0
	for _, e := range events {
		switch e.Kind {
		case capture.Start:
			open++
		case capture.End:
			open--
		}
		if open > 1 {
			t.Errorf("event %d at %v begins before the one before has ended", e.Seq, e.At)
		}
	}
	if got := strings.Join(texts(events), " "); got != "SELECT 1 SELECT 2 SELECT 3" {
		t.Error(got)
	}
}

// A server that was started anew uses its numbers of connections again.
func TestARestartEndsAllConnections(t *testing.T) {
	log := testdata(t, "mysql-9.7.log")
	log = log[:bytes.LastIndex(log, []byte("# Time"))] // without its Quit
	once, _, _ := all(t, SlowLog, log)
	events, _, loss := all(t, SlowLog, append(bytes.Clone(log), bytes.ReplaceAll(log, []byte("T20:"), []byte("T21:"))...))
	conns, closed := map[uint64]bool{}, 0
	for _, e := range events {
		conns[e.Conn] = true
		if e.Kind == capture.Close {
			closed++
		}
	}
	if len(texts(events)) != 2*len(texts(once)) || len(conns) != 4 || closed != 2 || loss.Any() {
		t.Errorf("%d statements of %d connections, %d closed, %+v", len(texts(events)), len(conns), closed, loss)
	}
}

// Each part that is told anew can be read alone.
func TestSettingsAreToldAnew(t *testing.T) {
	r, err := Open(SlowLog, bytes.NewReader(testdata(t, "mysql-9.7.log")), Options{Every: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	var sessions []capture.Event
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if r.Anew() && len(b.Events) > 0 && b.Events[0].Kind != capture.Session {
			t.Errorf("block %d begins with %+v", b.Index, b.Events[0])
		}
		for _, e := range b.Events {
			if e.Kind == capture.Session {
				sessions = append(sessions, e)
			}
		}
	}
	last := sessions[len(sessions)-1]
	if diff := cmp.Diff([]string{"SET NAMES utf8mb4", "SET SESSION sort_buffer_size = 300000"}, last.Settings); diff != "" || last.Partial || last.Schema != "app" {
		t.Errorf("%+v %s", last, diff)
	}
}
