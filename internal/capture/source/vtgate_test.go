package source

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/windlass-db/windlass/internal/capture"
)

// aQuery is what vtgate logs of a statement.
type aQuery struct{ method, sql, binds, affected, failed, uuid string }

// The lines as the releases write them, by the format strings of their source. %q is Go's quoting, also in what is called JSON.
var releases = map[string]func(q aQuery) string{
	"text, 12": func(q aQuery) string {
		return fmt.Sprintf("%v\t%v\t%v\t'%v'\t'%v'\t%v\t%v\t%.6f\t%.6f\t%.6f\t%.6f\t%v\t%q\t%v\t%v\t%v\t%q\t\n", q.method, "10.0.0.1:3306", "app", "caller", "", "2026-11-21 12:00:00.000001", "2026-11-21 12:00:00.001501", 0.0015, 0.0, 0.0, 0.0, "SELECT", q.sql, q.binds, 1, q.affected, q.failed)
	},
	"text, 15": func(q aQuery) string {
		return fmt.Sprintf("%v\t%v\t%v\t'%v'\t'%v'\t%v\t%v\t%.6f\t%.6f\t%.6f\t%.6f\t%v\t%q\t%v\t%v\t%v\t%q\t%q\t%q\t%q\t%q\t%v\t%v\t%q\n", q.method, "10.0.0.1:3306", "app", "caller", "", "2026-11-21 12:00:00.000001", "2026-11-21 12:00:00.001501", 0.0015, 0.0, 0.0, 0.0, "SELECT", q.sql, q.binds, 1, q.affected, q.failed, "ks", "t", "PRIMARY", q.uuid, true, `["ks.t"]`, "ks:-80@primary")
	},
	"text, 23": func(q aQuery) string {
		return fmt.Sprintf("%v\t%v\t%v\t'%v'\t'%v'\t%v\t%v\t%.6f\t%.6f\t%.6f\t%.6f\t%v\t%q\t%v\t%v\t%v\t%q\t%q\t%q\t%v\t%v\t%q\t%.6f\t%.6f\t%q\n", q.method, "10.0.0.1:3306", "app", "caller", "", "2026-11-21 12:00:00.000001", "2026-11-21 12:00:00.001501", 0.0015, 0.0, 0.0, 0.0, "SELECT", q.sql, q.binds, 1, q.affected, q.failed, "PRIMARY", q.uuid, false, `["ks.t"]`, "ks", 0.0, 0.0, "")
	},
	"json, 15": func(q aQuery) string {
		return fmt.Sprintf("{\"Method\": %q, \"RemoteAddr\": %q, \"Username\": %q, \"ImmediateCaller\": %q, \"Effective Caller\": %q, \"Start\": \"%v\", \"End\": \"%v\", \"TotalTime\": %.6f, \"PlanTime\": %v, \"ExecuteTime\": %v, \"CommitTime\": %v, \"StmtType\": %q, \"SQL\": %q, \"BindVars\": %v, \"ShardQueries\": %v, \"RowsAffected\": %v, \"Error\": %q,  \"Keyspace\": %q, \"Table\": %q, \"TabletType\": %q, \"SessionUUID\": %q, \"Cached Plan\": %v, \"TablesUsed\": %v, \"ActiveKeyspace\": %q}\n", q.method, "10.0.0.1:3306", "app", "caller", "", "2026-11-21 12:00:00.000001", "2026-11-21 12:00:00.001501", 0.0015, 1e-06, 0.0, 0.0, "SELECT", q.sql, q.binds, 1, q.affected, q.failed, "ks", "t", "PRIMARY", q.uuid, true, `["ks.t"]`, "ks")
	},
}

func formatOf(release string) Format {
	if strings.HasPrefix(release, "json") {
		return VTGateJSON
	}
	return VTGateText
}

func TestVTGate(t *testing.T) {
	queries := []aQuery{
		{"Execute", "select 1", "{}", "0", "", "u1"},
		{"Execute", "select 'a\tb\nc\x01\"', `x` from t", "{}", "0", "", "u1"},
		{"Execute", "select * from t where id = :vtg1 /* INT64 */ and a = :vtg2 and b in (:v3, :v4)", `{"v3": {"type": "NULL_TYPE", "value": ""}, "v4": {"type": "VARCHAR", "value": "4 bytes of it"}, "vtg1": {"type": "INT64", "value": -5}, "vtg2": {"type": "VARCHAR", "value": ` + strconv.Quote("it's \x00\\ é") + `}}`, "0", "", "u1"},
		{"Execute", "update t set a = ':vtg1' where id = :vtg1 -- :x", `{"vtg1": {"type": "DECIMAL", "value": "1.50"}}`, "3", "", "u2"},
		{"Execute", "select * from none", "{}", "0", "target: ks.0.primary: vttablet: rpc error: code = NotFound desc = Table 'ks.none' doesn't exist (errno 1146) (sqlstate 42S02)", "u2"},
		{"Execute", "select @a := 1", "{}", "0", "some error", "u2"},
		{"Prepare", "select ?", "{}", "0", "", "u2"},
		{"Execute", "select * from t where id in ::vtg1", `{"vtg1": {"type": "TUPLE", "value": "2 items"}}`, "0", "", "u2"},
		{"Execute", "select :vtg1 from t", `"[REDACTED]"`, "0", "", "u2"},
		{"Execute", "select :vtg1 from t", "{}", "0", "", "u2"},
		{"Execute", "select :vtg1 from t", `{"vtg1": {"type": "VARCHAR", "value": "17 bytes"}}`, "0", "", "u2"},
		{"Execute", "insert into t values (1, 2[TRUNCATED]", "{}", "0", "", "u2"},
	}
	want := []string{
		"select 1", "select 'a\tb\nc\x01\"', `x` from t",
		`select * from t where id = -5 /* INT64 */ and a = 'it\'s \0\\ é' and b in (NULL, '4 bytes of it')`,
		"update t set a = ':vtg1' where id = 1.50 -- :x", "select * from none", "select @a := 1",
	}
	for release, write := range releases {
		var log strings.Builder
		for _, q := range queries {
			log.WriteString(write(q))
		}
		events, b, loss := all(t, formatOf(release), []byte(log.String()))
		if diff := cmp.Diff(slices.Sorted(slices.Values(want)), slices.Sorted(slices.Values(texts(events)))); diff != "" || loss.Any() {
			t.Errorf("%s: %+v %s", release, loss, diff)
		}
		if diff := cmp.Diff(map[string]uint64{DroppedValues: 3, DroppedRedacted: 1, DroppedCut: 1}, b.Dropped); diff != "" {
			t.Errorf("%s: %s", release, diff)
		}
		conns, ends, sessions := map[uint64]bool{}, []capture.Event(nil), []capture.Event(nil)
		for _, e := range events {
			conns[e.Conn] = true
			switch e.Kind {
			case capture.Session:
				sessions = append(sessions, e)
			case capture.End:
				ends = append(ends, e)
			}
		}
		withSessions := release != "text, 12"
		if n := len(conns); withSessions && n != 2 || !withSessions && n != 1 {
			t.Errorf("%s: %d connections", release, n)
		}
		if s := sessions[0]; s.User != "app" || withSessions != (s.Schema == "ks") {
			t.Errorf("%s: %+v", release, s)
		}
		at := time.Date(2026, 11, 21, 12, 0, 0, 1000, time.UTC)
		var sum []string
		for _, e := range ends {
			sum = append(sum, fmt.Sprintf("%d %s %d %v", e.Errno, e.SQLState, e.Affected, e.Took))
			if e.At.Before(at) {
				t.Errorf("%s: %v", release, e.At)
			}
		}
		if got := strings.Join(sum, " "); !strings.Contains(got, "1146 42S02") || !strings.Contains(got, "1105 HY000") || strings.Count(got, "1.5ms") != 6 || strings.Count(got, " 3 1.5ms") != 1 {
			t.Errorf("%s: %s", release, got)
		}
	}
}

// Two logs that vtgate's own package of version 23.0.3 wrote (vitess.io/vitess/go/vt/vtgate/logstats), with values of each kind: the list's are not in them.
func TestLogsOfVTGate23(t *testing.T) {
	want := []string{
		"select id, `name` from orders where id = 42 /* INT64 */",
		"select id from orders where `name` = 'O\\'Hara \"x\"\ttab\nline \\\\ back é 日本' /* VARCHAR */ and d = 12.5 /* DECIMAL(3,1) */",
		"select * from orders where b = x'0001ff0a22' and n is NULL",
		`insert into orders(id, ` + "`name`" + `) values (-7 /* INT64 */, 'a\0b' /* VARCHAR */)`,
		"select nothing from orders", "begin",
	}
	for file, format := range map[string]Format{"vtgate-23.text": VTGateText, "vtgate-23.json": VTGateJSON} {
		log, err := os.ReadFile("testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		events, b, loss := all(t, format, log)
		if diff := cmp.Diff(want, texts(events)); diff != "" || loss.Any() {
			t.Errorf("%s: %+v %s", file, loss, diff)
		}
		if diff := cmp.Diff(map[string]uint64{DroppedValues: 1}, b.Dropped); diff != "" {
			t.Errorf("%s: %s", file, diff)
		}
		failed := slices.IndexFunc(events, func(e capture.Event) bool {
			return e.Kind == capture.End && e.Errno == 1054 && e.SQLState == "42S22" && e.Took == 1500*time.Microsecond
		})
		session := slices.IndexFunc(events, func(e capture.Event) bool { return e.Kind == capture.Session && e.Schema == "shop" })
		if failed < 0 || session < 0 {
			t.Errorf("%s: %+v", file, events)
		}
	}
}

// The way of printing of old releases has the values of lists, too.
func TestPrintedBindVariables(t *testing.T) {
	const binds = `map[id:type:INT64 value:"5"  ids:type:TUPLE values:{type:INT64 value:"1"} values:{type:VARCHAR value:"a\"\303\251"} name:type:VARBINARY value:"\377" none:type:NULL_TYPE old:type:TUPLE values:<type:INT64 value:"9" > ]`
	got, reason := bind("select :id, :name, :none from t where a in ::ids and b in ::old", binds)
	if want := `select 5, x'ff', NULL from t where a in (1, 'a"é') and b in (9)`; string(got) != want || reason != "" {
		t.Errorf("got %s, %s", got, reason)
	}
}

func TestJSONThatIsNone(t *testing.T) {
	for text, want := range map[string]string{
		`{"SQL": "a\x41\101\u00e9\ud83d\ude00\U0001f600\a\v"}`:   "aAAé😀😀\a\v",
		`{"SQL": "a", "x": {"y": [1, "]}"], "z": {}}, "w": NaN}`: "a",
		` {"SQL" : "a" } `: "a",
		`{}`:               "",
	} {
		got, ok := jsonFields([]byte(text))
		if !ok || got.sql != want {
			t.Errorf("%s: %q %v", text, got.sql, ok)
		}
	}
	for _, text := range []string{"", "{", "}", `{"SQL"}`, `{"SQL": }`, `{"SQL": "a"`, `{"SQL": "a" "b": 1}`, `{"SQL": "a\q"}`, `{"SQL": "a\x4"}`, `{"SQL": 1}`, `{"SQL": "a"} x`, `{"a": [1}`, `{"a": {}`, `{"SQL": "a`} {
		if got, ok := jsonFields([]byte(text)); ok {
			t.Errorf("%s: %+v", text, got)
		}
	}
}

// A log of lines that is cut or damaged loses a line or two.
func TestADamagedVTGateLog(t *testing.T) {
	for release, write := range releases {
		var log strings.Builder
		for i := range 10 {
			log.WriteString(write(aQuery{"Execute", fmt.Sprint("select ", i), "{}", "0", "", "u"}))
		}
		text := log.String()
		for n := 0; n < len(text); n += 7 {
			events, _, loss := all(t, formatOf(release), []byte(text[:n]))
			if whole := strings.Count(text[:n], "\n"); len(texts(events)) < whole || len(texts(events)) > whole+1 {
				t.Fatalf("%s cut at %d: %d statements of %d lines", release, n, len(texts(events)), whole)
			}
			if loss.Bytes > int64(n) {
				t.Fatalf("%s cut at %d: %+v", release, n, loss)
			}
			broken := []byte(text)
			broken[n] = "\"\n\t\\{"[n%5]
			events, _, _ = all(t, formatOf(release), broken)
			if got := len(texts(events)); got < 8 {
				t.Fatalf("%s, %q at %d: %d statements", release, broken[n], n, got)
			}
		}
	}
}

// FuzzLogs: no log makes a reader fail, read without end, or give events that can't be.
func FuzzLogs(f *testing.F) {
	for i, file := range []string{"mariadb-11.8.log", "mysql-9.7.log", "mysql-9.7-extra.log"} {
		log := testdata(f, file)
		f.Add(uint8(0), log[:1500+700*i])
	}
	f.Add(uint8(0), []byte(aHead+"SELECT 'abc\n"+aHead+"SELECT 2;\n"+aHead+"SELECT 'x';\n"))
	for release, write := range releases {
		which := uint8(1)
		if formatOf(release) == VTGateJSON {
			which = 2
		}
		f.Add(which, []byte(write(aQuery{"Execute", "select :a, 'x' from t where b in ::c", `{"a": {"type": "INT64", "value": 1}, "c": {"type": "TUPLE", "value": "2 items"}}`, "1", "x (errno 1) (sqlstate 42000)", "u"})))
		f.Add(which, []byte(write(aQuery{"Execute", "select :a, 'x' from t where b in ::c", `map[a:type:INT64 value:"1" c:type:TUPLE values:{type:INT64 value:"1"}]`, "1", "", "u"})))
	}
	f.Fuzz(func(t *testing.T, which uint8, log []byte) {
		_, _, loss := all(t, Formats()[int(which)%3], log)
		if loss.Bytes > int64(len(log)) && !(len(log) > 2 && log[0] == 0x1f && log[1] == 0x8b) {
			t.Errorf("%d bytes of %d are lost", loss.Bytes, len(log))
		}
	})
}
