package report

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/replay/judge"
	"github.com/windlass-db/windlass/internal/replay/tally"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	name = filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatalf("%v (run the test with -update, and read what it writes)", err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", name, diff)
	}
}

func TestTextAndExplain(t *testing.T) {
	r := fixture()
	var b bytes.Buffer
	if err := Text(&b, r); err != nil {
		t.Fatal(err)
	}
	golden(t, "report.txt", b.Bytes())
	for _, f := range r.Findings {
		b.Reset()
		var live []Live
		if f.Kind == compare.Content {
			e := f.Examples[0]
			live = []Live{{Server: "old:3306", Version: r.Old, Answer: *e.Old, Rows: *e.OldRows}, {Server: "new:3306", Version: r.New, Answer: *e.New, Rows: *e.NewRows}}
		}
		if err := Explain(&b, f, live); err != nil {
			t.Fatal(err)
		}
		golden(t, "explain-"+string(f.Kind)+".txt", b.Bytes())
	}
}

func TestSaveAndOpen(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "r.json")
	r := fixture()
	if err := Save(name, r); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(name)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v: it holds what production's queries hold", info.Mode(), err)
	}
	back, err := Open(name)
	if err != nil {
		t.Fatal(err)
	}
	var first, second bytes.Buffer
	if err := Write(&first, r); err != nil {
		t.Fatal(err)
	}
	if err := Write(&second, back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first.String(), second.String()); diff != "" {
		t.Error(diff)
	}
	if err := Save(filepath.Join(dir, "none", "r.json"), r); err == nil {
		t.Error("a report was written to a folder that is not there")
	}
	for _, bad := range []string{"", "{}", "[1]", `{"verdict":"maybe"}`} {
		if err := os.WriteFile(name, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(name); err == nil {
			t.Errorf("%q is taken for a report", bad)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.tmp")); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
}

func TestFind(t *testing.T) {
	r := fixture()
	for _, f := range r.Findings {
		for _, name := range []string{f.ID, strings.ToUpper(f.ID), f.ID[:8]} {
			if got := Find(r, name); len(got) != 1 || got[0].ID != f.ID {
				t.Errorf("%s: %d findings", name, len(got))
			}
		}
		if got := Find(r, f.Fingerprint.String()); len(got) == 0 || got[0].Fingerprint != f.Fingerprint {
			t.Errorf("by fingerprint: %d findings", len(got))
		}
	}
	for name, want := range map[string]int{"f-": 0, "f-zzzz": 0, "": 0} {
		if got := len(Find(r, name)); got != want {
			t.Errorf("%q: %d findings", name, got)
		}
	}
}

// TestSQLOfAPreparedStatement: each type of parameter as a literal.
func TestSQLOfAPreparedStatement(t *testing.T) {
	types := []byte{8, 0, 8, 0x80, 1, 0, 2, 0, 3, 0x80, 5, 0, 4, 0, 0xfd, 0, 0xfc, 0, 12, 0, 10, 0, 11, 0, 6, 0, 0xfd, 0, 12, 0}
	p := []byte{9, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0b00100000, 1} // the 14th is NULL by the bitmap
	p = append(p, types...)
	p = append(p, 0xfb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff) // -5
	p = append(p, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff) // the largest
	p = append(p, 0xfe)                                           // -2
	p = append(p, 0x00, 0x80)                                     // -32768
	p = append(p, 0xff, 0xff, 0xff, 0xff)
	p = binary.LittleEndian.AppendUint64(p, 0x3ff8000000000000) // 1.5
	p = binary.LittleEndian.AppendUint32(p, 0x3fc00000)
	p = append(p, "\x06it's é"...) // one byte short on purpose: é has two
	p[len(p)-8] = 7
	p = append(p, "\x03\x00\xff\\"...)
	p = append(p, 11, 0xea, 0x07, 11, 21, 12, 30, 59, 0x40, 0xe2, 0x01, 0)
	p = append(p, 4, 0xea, 0x07, 11, 21)
	p = append(p, 8, 1, 1, 0, 0, 0, 2, 3, 4)
	p = append(p, 0)
	s := tally.Statement{Schema: "shop", User: "app", Charset: 45, SQLMode: "ANSI_QUOTES", Settings: []string{"SET time_zone='+02:00'"}, At: time.Unix(1700000000, 123456000), Command: 0x17, Text: []byte("SELECT ?, 'x'"), Params: p, Types: types}
	want := `-- it ran as app
SET sql_mode = 'ANSI_QUOTES';
SET time_zone='+02:00';
SET TIMESTAMP = 1700000000.123456;
SET @p1 = -5;
SET @p2 = 18446744073709551615;
SET @p3 = -2;
SET @p4 = -32768;
SET @p5 = 4294967295;
SET @p6 = 1.5e+00;
SET @p7 = 1.5e+00;
SET @p8 = 'it''s é';
SET @p9 = x'00ff5c';
SET @p10 = '2026-11-21 12:30:59.123456';
SET @p11 = '2026-11-21';
SET @p12 = '-26:03:04';
SET @p13 = NULL;
SET @p14 = NULL;
SET @p15 = '0000-00-00 00:00:00';
PREPARE s FROM 'SELECT ?, ''x''';
EXECUTE s USING @p1, @p2, @p3, @p4, @p5, @p6, @p7, @p8, @p9, @p10, @p11, @p12, @p13, @p14, @p15;
`
	if diff := cmp.Diff(want, SQL(s)); diff != "" {
		t.Error(diff)
	}
	for n := range p { // whatever is cut off, nothing is read beyond its end
		s.Params = p[:n]
		if !strings.Contains(SQL(s), "could not be read") {
			t.Errorf("%d of %d bytes of the parameters are enough", n, len(p))
		}
	}
}

func TestReproduce(t *testing.T) {
	for name, c := range map[string]struct {
		s    tally.Statement
		want string
	}{
		"a text":                      {tally.Statement{Schema: "it's", Charset: 8, Text: []byte("SELECT 1;  ")}, "mariadb --host=h --show-warnings --table --comments --default-character-set=latin1 --database='it'\\''s' <<'SQL'\nSELECT 1;\nSQL\n"},
		"what a terminal would take":  {tally.Statement{Charset: 8, Text: []byte("SELECT '\xe9\x1b'")}, "base64 -d <<'SQL' | mariadb --host=h --show-warnings --table --comments --default-character-set=latin1\nU0VMRUNUICfpGyc7Cg==\nSQL\n"},
		"a comment at its end":        {tally.Statement{Charset: 45, Text: []byte("SELECT 1 -- one")}, "mariadb --host=h --show-warnings --table --comments --default-character-set=utf8mb4 <<'SQL'\nSELECT 1 -- one\n;\nSQL\n"},
		"a text that ends the script": {tally.Statement{Charset: 2304, Text: []byte("SELECT '\nSQL\n'")}, "mariadb --host=h --show-warnings --table --comments --default-character-set=utf8mb4 <<'SQL_'\nSELECT '\nSQL\n';\nSQL_\n"},
	} {
		if diff := cmp.Diff(c.want, Reproduce(c.s, "h")); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if got := SQL(tally.Statement{Charset: 4000, Text: []byte("SELECT 1")}); !strings.Contains(got, "id 4000") {
		t.Errorf("an unknown collation: %s", got)
	}
}

// TestATerminalIsNotCommanded: what production's texts hold is not sent to a terminal as it is.
func TestATerminalIsNotCommanded(t *testing.T) {
	const evil = "SELECT '\x1b]0;owned\x07\x1b[2J\r\u009b31m'"
	f := judge.Finding{ID: "f-1", Kind: compare.Error, Level: judge.Fail, What: evil, Text: evil, Example: evil, Plans: &tally.Explained{Old: evil, New: evil, Why: evil},
		Examples: []tally.Example{{Statement: tally.Statement{Text: []byte(evil)}, Detail: evil, Old: &compare.Answer{Errno: 1, Message: evil}, OldRows: &compare.Result{Columns: []compare.Column{{Name: evil}}, Rows: [][][]byte{{[]byte(evil)}}}}}}
	var b bytes.Buffer
	if err := Explain(&b, f, []Live{{Server: evil, Answer: compare.Answer{Message: evil, Errno: 3}}}); err != nil {
		t.Fatal(err)
	}
	if err := Text(&b, Report{Verdict: judge.Failed, Findings: []judge.Finding{f}, Notes: []string{evil}, Why: []judge.Reason{{Text: evil}}, Old: evil, New: evil}); err != nil {
		t.Fatal(err)
	}
	if i := strings.IndexAny(b.String(), "\x1b\x07\r\u009b"); i >= 0 {
		t.Errorf("%q", b.String()[max(i-60, 0):i+20])
	}
}

func TestContractKeysOfAPage(t *testing.T) {
	var b bytes.Buffer
	if err := Write(&b, Report{Verdict: judge.Pass}); err != nil {
		t.Fatal(err)
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(b.Bytes(), &keys); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"captured", "replayed", "skipped", "unreplayable", "dropped", "verdict", "findings", "lateness_us", "qps"} {
		if keys[key] == nil {
			t.Errorf("the report lacks %q", key)
		}
	}
}
