package schema

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/capture"
)

// Statements of a capture are tried as those of a log: what was sent as text or prepared, each kind once. What was withheld or dropped is counted.
// One that is sealed needs its key, and is no SQL without it.
func TestOldStatementsOfACapture(t *testing.T) {
	key, err := capture.NewKey(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]*capture.Key{"open": nil, "sealed": key} {
		w, err := capture.NewWriter(capture.Meta{Gateway: "g", Run: 1, Server: "mariadb", Version: "10.11.14"}, key)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := w.Begin(&b); err != nil {
			t.Fatal(err)
		}
		at := time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
		for i, e := range []capture.Event{
			{Kind: capture.Session, User: "app", Schema: "app"},
			{Kind: capture.Known, Statement: 1, Payload: []byte("UPDATE t SET a = ? WHERE id = ?")},
			{Kind: capture.Start, Command: 0x03, Payload: []byte("SELECT a FROM t WHERE id = 1")},
			{Kind: capture.Start, Command: 0x03, Payload: []byte("SELECT a FROM t WHERE id = 2;")},
			{Kind: capture.Start, Command: 0x03, Payload: []byte("SET NAMES utf8mb4")},
			{Kind: capture.Start, Command: 0x16, Payload: []byte("SELECT b FROM t WHERE id = ?")},
			{Kind: capture.Start, Command: 0x17, Statement: 1, Payload: []byte{1, 0, 0, 0}},
			{Kind: capture.Start, Command: 0x03, Withheld: capture.WithheldCredential},
			{Kind: capture.Start, Command: 0x03, Payload: []byte("INSERT INTO t VALUES (1, 'a"), Cut: 99},
		} {
			e.Seq, e.Conn, e.At = uint64(i+1), 1, at.Add(time.Duration(i)*time.Millisecond)
			if err := w.Add(&e); err != nil {
				t.Fatal(err)
			}
		}
		w.Drop("ring", 4)
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "0001.capture")
		if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		o, err := readOld(MySQL, file, key)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var got []string
		for _, s := range o.stmts {
			got = append(got, s.SQL)
		}
		if want := []string{"UPDATE t SET a = ? WHERE id = ?", "SELECT a FROM t WHERE id = 1", "SELECT b FROM t WHERE id = ?"}; !slices.Equal(got, want) {
			t.Errorf("%s: got %q", name, got)
		}
		if o.form != captureFile || o.skipped != 7 || !strings.HasSuffix(o.stmts[1].Where(), ":3") {
			t.Errorf("%s: a %s, %d left out, %s", name, o.form, o.skipped, o.stmts[1].Where())
		}
		_, err = readOld(MySQL, file, nil)
		var e *Error
		if sealed := key != nil; sealed != (errors.As(err, &e) && strings.Contains(e.Hint, "--key-file")) {
			t.Errorf("%s, without a key: %v", name, err)
		}
		if _, err := readOld(Postgres, file, key); err == nil || !strings.Contains(err.Error(), "and the dialect is postgres") {
			t.Errorf("%s, of another database: %v", name, err)
		}
	}
}
