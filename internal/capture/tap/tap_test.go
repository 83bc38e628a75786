package tap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/capture"
	"github.com/windlass-db/windlass/internal/capture/store/name"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
)

const patience = 20 * time.Second

// running is a tap at work.
type running struct {
	*Tap
	folder string
	stop   func()
}

func start(t testing.TB, change ...func(*Config)) *running {
	t.Helper()
	cfg := Config{Gateway: "orders/blue", Run: 77, Folder: t.TempDir(), Statements: All, Sample: 1, Rotate: 64 << 20, Every: time.Hour, Quota: 1 << 30, Ring: 4 << 20, Flush: 20 * time.Millisecond, Started: time.Now(),
		Server: func() (string, string) { return "mariadb", "10.11.18-MariaDB" }}
	for _, f := range change {
		f(&cfg)
	}
	tap, err := New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- tap.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Error("the tap did not end")
		}
	})
	t.Cleanup(stop)
	return &running{tap, cfg.Folder, stop}
}

// read gives the events of all files in their order, each file by itself.
func (r *running) read(t testing.TB, key *capture.Key) (files [][]capture.Event, dropped map[string]uint64) {
	t.Helper()
	ended := false
	err := filepath.WalkDir(r.folder, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(r.folder, path)
		if f, ok := name.Parse(rel); !ok || f.Gateway != "orders/blue" || f.Run != 77 {
			t.Errorf("%s is no name", rel)
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rd, err := capture.NewReader(bytes.NewReader(raw), key)
		if err != nil {
			return err
		}
		defer rd.Close()
		var events []capture.Event
		for {
			b, err := rd.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err
			}
			events = append(events, b.Events...)
			dropped, ended = b.Dropped, b.Ended
		}
		if rd.Loss().Cut || rd.Loss().Damaged > 0 {
			t.Errorf("%s: %+v", path, rd.Loss())
		}
		files = append(files, events)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if !ended {
		t.Error("the last block does not say that it is the last")
	}
	return files, dropped
}

// balanced waits until nothing is in memory, and checks the ledger.
func (r *running) balanced(t testing.TB) Status {
	t.Helper()
	r.stop()
	st := r.Status()
	sum := st.Kept
	for reason, n := range st.Dropped {
		if reason != Ends && reason != QuotaEarlier {
			sum += n
		}
	}
	if st.Started != sum || st.Waiting != 0 {
		t.Errorf("%d statements, but %d kept and %v dropped, %d waiting", st.Started, st.Kept, st.Dropped, st.Waiting)
	}
	return st
}

func ask(t *Tap, s *Session, text string) {
	st := Statement{Command: comQuery, At: t.Clock(), Text: []byte(text), Payload: []byte(text), Answered: true, Autocommit: true}
	if s.Start(t, &st) {
		s.End(&Answer{FirstByte: t.Clock(), End: t.Clock(), Status: 2, Rows: 1, Ordered: 7, Multiset: 7})
	}
}

// texts lists what is in a file, one event a word.
func texts(events []capture.Event) string {
	var out []string
	for _, e := range events {
		switch e.Kind {
		case capture.Session:
			out = append(out, fmt.Sprintf("%d:session(%s,%s,%s,%v)", e.Conn, e.User, e.Schema, strings.Join(e.Settings, ";"), e.Partial))
		case capture.Start:
			text := string(e.Payload)
			if e.Withheld != "" {
				text = "-" + e.Withheld
			}
			out = append(out, fmt.Sprintf("%d:%s", e.Conn, text))
		case capture.Known:
			out = append(out, fmt.Sprintf("%d:known(%d,%s)", e.Conn, e.Statement, e.Payload))
		case capture.Close:
			out = append(out, fmt.Sprintf("%d:close", e.Conn))
		}
	}
	return strings.Join(out, " | ")
}

// Each file can be read alone: sessions and prepared statements are told again in the next one, and when they have changed.
func TestFilesCanBeReadAlone(t *testing.T) {
	tap := start(t)
	var a, b Session
	a.Login("app", "shop", 45)
	b.Login("web", "", 33)
	a.Set([]byte("SET NAMES utf8mb4"), false)
	a.Set([]byte("SET time_zone = '+01:00'"), false)
	a.Set([]byte("/* set */ SET time_zone = '+02:00'"), false)
	for _, text := range []string{"SET GLOBAL x=1", "set @@global.x=1", "SET PASSWORD = PASSWORD('secret')", "SET TRANSACTION READ ONLY", "SET STATEMENT x=1 FOR SELECT 1", "SELECT 1"} {
		a.Set([]byte(text), false)
	}
	ask(tap.Tap, &a, "SELECT 1")
	ask(tap.Tap, &b, "SELECT 2")
	var known Known
	text := []byte("SELECT ?")
	prepare := Statement{Command: comPrepare, At: tap.Clock(), Text: text, Payload: text, Number: 1, Prepared: &known, Answered: true, Autocommit: true}
	execute := Statement{Command: 0x17, At: tap.Clock(), Text: text, Payload: []byte("exec"), Number: 1, Prepared: &known, Types: []byte{8, 0}, Answered: true, Autocommit: true}
	for _, st := range []Statement{prepare, execute} {
		a.Start(tap.Tap, &st)
		a.End(&Answer{End: tap.Clock()})
	}
	tap.ring.turn()
	for range 2 {
		st := execute
		a.Start(tap.Tap, &st)
		a.End(&Answer{End: tap.Clock()})
	}
	a.Schema([]byte("shop"))
	a.Schema([]byte("other"))
	a.Set([]byte("SET @x = ?"), true)
	ask(tap.Tap, &a, "SELECT 3")
	a.Close(tap.Clock())
	b.Close(tap.Clock())
	tap.balanced(t)
	files, _ := tap.read(t, nil)
	if len(files) != 2 {
		t.Fatalf("%d files", len(files))
	}
	for i, want := range []string{
		"1:session(app,shop,SET NAMES utf8mb4;/* set */ SET time_zone = '+02:00',false) | 1:SELECT 1 | 2:session(web,,,false) | 2:SELECT 2 | 1:SELECT ? | 1:exec",
		"1:session(app,shop,SET NAMES utf8mb4;/* set */ SET time_zone = '+02:00',false) | 1:known(1,SELECT ?) | 1:exec | 1:exec | 1:session(app,other,SET NAMES utf8mb4;/* set */ SET time_zone = '+02:00',true) | 1:SELECT 3 | 1:close | 2:close",
	} {
		if got := texts(files[i]); got != want {
			t.Errorf("file %d:\n%s\nwant\n%s", i, got, want)
		}
	}
	if e := files[0][len(files[0])-2]; !bytes.Equal(e.Types, []byte{8, 0}) || e.Statement != 1 {
		t.Errorf("%+v", e)
	}
	for _, f := range files {
		for i, e := range f {
			if e.Kind == capture.End && !slices.ContainsFunc(f[:i], func(s capture.Event) bool { return s.Seq == e.Of && s.Kind == capture.Start && s.Conn == e.Conn }) {
				t.Errorf("an answer to nothing: %+v", e)
			}
		}
	}
}

// Transactions are numbered; what autocommit, BEGIN and routines begin has a number from its first statement that is known to be in it.
func TestTransactions(t *testing.T) {
	tap := start(t)
	var s Session
	s.Login("app", "", 45)
	run := func(text string, before, after, autocommit bool) {
		st := Statement{Command: comQuery, Text: []byte(text), Payload: []byte(text), Answered: true, InTrans: before, Autocommit: autocommit}
		s.Start(tap.Tap, &st)
		s.After(before, after)
		s.End(&Answer{})
	}
	run("SELECT 0", true, true, true) // it was open before capture began
	run("COMMIT", true, false, true)
	run("SELECT 1", false, false, true)
	run("begin", false, true, true)
	run("SELECT 2", true, true, true)
	run("ROLLBACK", true, false, true)
	run("CALL p()", false, true, true)
	run("COMMIT", true, false, true)
	run("SELECT 3", false, true, false)
	run("SELECT 4", true, false, false)
	tap.balanced(t)
	files, _ := tap.read(t, nil)
	var got []uint64
	for _, e := range files[0] {
		if e.Kind == capture.Start {
			got = append(got, e.Txn)
		}
	}
	if want := []uint64{1, 1, 0, 2, 2, 2, 0, 3, 4, 4}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestSelectsAlone(t *testing.T) {
	tap := start(t, func(c *Config) { c.Statements = Selects })
	var s Session
	s.Login("app", "", 45)
	for _, text := range []string{"INSERT INTO t VALUES (1)", "(SELECT 1)", "-- x\nupdate t set a=1", "SET @a=1", "CREATE TEMPORARY TABLE t (a INT)", "/*!50000 DELETE */ FROM t"} {
		ask(tap.Tap, &s, text)
	}
	st := Statement{Command: comQuery, Text: []byte("DELETE FROM t"), Payload: []byte("DELETE FROM t"), Answered: true, InTrans: true, Autocommit: true}
	s.Start(tap.Tap, &st)
	s.End(&Answer{Affected: 3})
	status := tap.balanced(t)
	files, dropped := tap.read(t, nil)
	if got, want := texts(files[0]), "1:session(app,,,false) | 1:(SELECT 1) | 1:SET @a=1 | 1:CREATE TEMPORARY TABLE t (a INT) | 1:/*!50000 DELETE */ FROM t | 1:-write"; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if dropped[Kind] != 2 || status.Dropped[Kind] != 2 {
		t.Errorf("%v in the file, %v", dropped, status.Dropped)
	}
	if files[0][1].Lost != 1 {
		t.Errorf("the statement before is not told: %+v", files[0][1])
	}
}

// A defect of the writer ends the capture, and nothing else: sessions go on, and all is counted.
func TestDefect(t *testing.T) {
	tap, err := New(Config{Gateway: "g", Run: 77, Folder: t.TempDir(), Statements: All, Sample: 1, Rotate: 1 << 20, Every: time.Hour, Quota: 1 << 30, Ring: 1 << 20, Flush: time.Millisecond, Started: time.Now(),
		Server: func() (string, string) { panic("not thought of") }}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- tap.Run(t.Context()) }()
	var s Session
	s.Login("app", "", 45)
	processtest.Until(t, patience, "the defect shows", func() bool {
		ask(tap, &s, "SELECT 1")
		select {
		case err = <-done:
			return true
		default:
			return false
		}
	})
	ask(tap, &s, "SELECT 2")
	st := tap.Status()
	if err == nil || !strings.Contains(err.Error(), "not thought of") || st.Err == "" || st.Waiting != 0 || st.Kept != 0 || st.Started != st.Dropped[Disk]+st.Dropped[Closing] || st.Dropped[Closing] == 0 {
		t.Errorf("%v, %+v", err, st)
	}
}

// A query on its way through the tap allocates nothing, on the session's side.
func TestNothingIsAllocated(t *testing.T) {
	wait := make(chan struct{})
	defer close(wait)
	tap := start(t, func(c *Config) {
		c.Ring, c.Flush = 64<<20, time.Hour
		c.Open = func(path string) (File, error) { <-wait; return openFile(path) }
	})
	var s Session
	s.Login("app", "shop", 45)
	text := []byte("SELECT c FROM sbtest1 WHERE id=4711")
	st := Statement{Command: comQuery, Text: text, Payload: text, Answered: true, Autocommit: true}
	answer := Answer{Rows: 1}
	one := func() {
		s.Start(tap.Tap, &st)
		s.End(&answer)
	}
	if n := testing.AllocsPerRun(100, one); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkStatement is a point select from the session's side and the writer's.
func BenchmarkStatement(b *testing.B) {
	tap := start(b, func(c *Config) { c.Ring = 1 << 30 })
	var s Session
	s.Login("app", "shop", 45)
	var text []byte
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		text = fmt.Appendf(text[:0], "SELECT c FROM sbtest1 WHERE id=%d", i*7919%10000)
		at := tap.Clock()
		s.Start(tap.Tap, &Statement{Command: comQuery, At: at, Text: text, Payload: text, Answered: true, Autocommit: true})
		s.End(&Answer{FirstByte: at + 100, End: at + 200, Status: 2, Rows: 1, Bytes: 120, Columns: 5, Ordered: uint64(i) * 0x9e3779b97f4a7c15 >> 16, Multiset: uint64(i) * 0x9e3779b97f4a7c15 >> 16})
	}
}
