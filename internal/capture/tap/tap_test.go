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
	"syscall"
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

// Of each fingerprint the share is kept, rare ones at least once; what changes a session always.
func TestSample(t *testing.T) {
	tap := start(t, func(c *Config) { c.Sample = 0.1 })
	var s Session
	s.Login("app", "", 45)
	for i := range 1000 {
		ask(tap.Tap, &s, fmt.Sprintf("SELECT * FROM often WHERE id=%d", i))
	}
	ask(tap.Tap, &s, "SELECT * FROM rare")
	ask(tap.Tap, &s, "SET @a=1")
	ask(tap.Tap, &s, "SET @a=2")
	st := tap.balanced(t)
	files, _ := tap.read(t, nil)
	got := texts(files[0])
	if n := strings.Count(got, "often"); n != 100 || !strings.Contains(got, "rare") || strings.Count(got, "SET @a") != 2 || st.Dropped[Sampled] != 900 {
		t.Errorf("%d of often, %v", n, st.Dropped)
	}
	if lost := files[0][len(files[0])-6].Lost; lost != 0 {
		t.Errorf("reads that were sampled out are told as lost: %d", lost)
	}
}

// Of prepared statements executions are sampled, not what belongs to them; and one whose long data was not kept has no parameters that anybody could trust.
func TestSampleOfPreparedStatements(t *testing.T) {
	tap := start(t, func(c *Config) { c.Sample = 0.25 })
	var s Session
	s.Login("app", "", 45)
	text := []byte("SELECT ?")
	counts := map[byte]int{}
	for range 100 {
		var known Known
		for _, command := range []byte{comPrepare, comExecute, 0x1c, 0x19} {
			st := Statement{Command: command, Text: text, Payload: []byte("1234567890"), Number: 1, Prepared: &known, Answered: command != 0x19, Autocommit: true}
			s.Start(tap.Tap, &st)
			s.End(&Answer{})
		}
	}
	var known Known
	long := Statement{Command: comLongData, Text: text, Payload: []byte("123456data"), Number: 2, Prepared: &known, Autocommit: true}
	execute := Statement{Command: comExecute, Text: text, Payload: []byte("1234567890"), Number: 2, Prepared: &known, Answered: true, Autocommit: true, Long: true}
	whole := func() {
		for _, st := range []Statement{long, execute} {
			s.Start(tap.Tap, &st)
			s.End(&Answer{})
		}
	}
	whole()
	tap.stopped.Store(true) // as if there were no room
	s.Start(tap.Tap, &long)
	tap.stopped.Store(false)
	whole()
	tap.balanced(t)
	files, _ := tap.read(t, nil)
	var withheld []string
	for _, e := range files[0] {
		if e.Kind == capture.Start && e.Statement == 1 {
			counts[e.Command]++
		}
		if e.Kind == capture.Start && e.Statement == 2 {
			withheld = append(withheld, e.Withheld)
		}
	}
	if counts[comPrepare] != 25 || counts[comExecute] != 25 || counts[0x1c] != 100 || counts[0x19] != 100 {
		t.Errorf("%v", counts)
	}
	if !slices.Equal(withheld, []string{"", "", "", capture.WithheldIncomplete}) {
		t.Errorf("%q", withheld)
	}
}

// slowFile is a disk of which each write waits for a word.
type slowFile struct {
	File
	wait chan struct{}
}

func (f slowFile) Write(b []byte) (int, error) {
	<-f.wait
	return f.File.Write(b)
}

// A slow disk: nobody waits, what comes often is sampled first, then all is dropped; and the ledger balances. What is kept has its answer.
func TestSlowDisk(t *testing.T) {
	wait := make(chan struct{})
	tap := start(t, func(c *Config) {
		c.Ring = 1 << 20
		c.Open = func(path string) (File, error) {
			f, err := openFile(path)
			return slowFile{f, wait}, err
		}
	})
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			var s Session
			s.Login("app", "", 45)
			for j := range 5000 {
				ask(tap.Tap, &s, fmt.Sprintf("SELECT %d FROM often%d", j, i))
			}
			s.Close(tap.Clock())
		})
	}
	group.Wait()
	if st := tap.Status(); st.Dropped[Overload] == 0 || st.Dropped[Full] == 0 || st.Lag == 0 || st.Waiting == 0 {
		t.Errorf("with a disk that takes nothing: %+v", st)
	}
	close(wait)
	st := tap.balanced(t)
	files, dropped := tap.read(t, nil)
	starts, ends := 0, 0
	var lost uint64
	for _, f := range files {
		for _, e := range f {
			switch e.Kind {
			case capture.Start:
				starts++
				lost += e.Lost
			case capture.End:
				ends++
			}
		}
	}
	if uint64(starts) != st.Kept || starts != ends || starts == 0 || dropped[Full] != st.Dropped[Full] || st.Started != 40000 {
		t.Errorf("%d starts and %d ends in the files, which say %v; %+v", starts, ends, dropped, st)
	}
	if lost > 40000-uint64(starts) {
		t.Errorf("%d are lost between those that were kept", lost)
	}
}

// fullDisk fails after so many bytes, until there is room.
type fullDisk struct {
	mu   sync.Mutex
	left int
	open int
}

func (d *fullDisk) file(path string) (File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open++
	if d.left <= 0 {
		return nil, syscall.ENOSPC
	}
	f, err := openFile(path)
	return fullFile{f, d}, err
}

type fullFile struct {
	File
	d *fullDisk
}

func (f fullFile) Write(b []byte) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	n := min(len(b), max(f.d.left, 0))
	f.d.left -= n
	n, err := f.File.Write(b[:n])
	if n < len(b) && err == nil {
		err = syscall.ENOSPC
	}
	return n, err
}

// A full disk: what could not be written is counted, files are whole, and when there is room again it goes on in a file that can be read alone.
func TestFullDisk(t *testing.T) {
	disk := &fullDisk{left: 3000}
	tap := start(t, func(c *Config) { c.Open, c.Flush = disk.file, 5*time.Millisecond })
	var s Session
	s.Login("app", "shop", 45)
	n := 0
	more := func() {
		n++
		ask(tap.Tap, &s, fmt.Sprintf("SELECT '%x' FROM t%d", n*n*n*n*7919, n))
	}
	processtest.Until(t, patience, "the disk is full", func() bool { more(); return tap.Status().Dropped[Disk] > 10 })
	if tap.Status().Err == "" {
		t.Error("no error is told")
	}
	disk.mu.Lock()
	disk.left = 1 << 30
	disk.mu.Unlock()
	kept := tap.Status().Kept
	processtest.Until(t, patience, "it goes on", func() bool { more(); return tap.Status().Kept > kept+10 && tap.Status().Err == "" })
	st := tap.balanced(t)
	files, dropped := tap.read(t, nil)
	if len(files) < 2 || dropped[Disk] != st.Dropped[Disk] {
		t.Fatalf("%d files, which say %v; %v", len(files), dropped, st.Dropped)
	}
	starts := 0
	for i, f := range files {
		if len(f) > 0 && f[0].Kind != capture.Session {
			t.Errorf("file %d begins with %+v", i, f[0])
		}
		for _, e := range f {
			if e.Kind == capture.Start {
				starts++
			}
		}
	}
	if uint64(starts) != st.Kept {
		t.Errorf("%d statements in the files, %d kept", starts, st.Kept)
	}
}

// byHand is a tap whose writer is called, so that nothing depends on time.
func byHand(t *testing.T, change func(*Config)) (*running, *spooler) {
	t.Helper()
	cfg := Config{Gateway: "orders/blue", Run: 77, Folder: t.TempDir(), Statements: All, Sample: 1, Rotate: 64 << 20, Every: time.Hour, Quota: 1 << 30, Ring: 4 << 20, Flush: time.Hour, Started: time.Now(),
		Server: func() (string, string) { return "mariadb", "10.11.18-MariaDB" }}
	change(&cfg)
	tap, err := New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	w, err := newSpooler(tap)
	if err != nil {
		t.Fatal(err)
	}
	return &running{tap, cfg.Folder, func() { tap.ring.close(); w.write(true); w.end() }}, w
}

// TestQuiet: a capture says that it is on though nobody says a word, without a gap and in few files.
func TestQuiet(t *testing.T) {
	tap, w := byHand(t, func(c *Config) { c.Every = 10 * time.Second })
	wall := w.wall
	pass := func(d time.Duration) { // as if so long ago
		w.cfg.Started = w.cfg.Started.Add(-d)
		w.began = w.began.Add(-d)
		w.write(true)
		w.wall = wall // a new file looks at the clock, which nobody has changed
	}
	w.write(true)
	for range 65 {
		pass(time.Second)
	}
	if w.file == nil || w.index != 1 {
		t.Fatalf("%d files of a minute without a word, and one that grows is %v", w.index, w.file != nil)
	}
	var s Session
	s.Login("app", "shop", 45)
	ask(tap.Tap, &s, "SELECT 1")
	pass(time.Second)
	if w.file != nil || w.index != 1 {
		t.Fatalf("%d files; a statement waits in one that is a minute old: %v", w.index, w.file != nil)
	}
	ask(tap.Tap, &s, "SELECT 1")
	pass(time.Second)
	pass(10 * time.Second)
	if w.file != nil || w.index != 2 {
		t.Errorf("%d files; one with a statement in it has lived for longer than ten seconds: %v", w.index, w.file != nil)
	}
	tap.stop()
	var on time.Duration
	var last time.Time
	blocks := 0
	tap.blocks(t, func(b capture.Block) {
		blocks++
		if b.Until.IsZero() || !last.IsZero() && b.From.Sub(last).Abs() > 100*time.Millisecond {
			t.Errorf("block %d: from %s to %s, after %s", b.Index, b.From, b.Until, last)
		}
		on, last = on+b.Until.Sub(b.From), b.Until
	})
	if on < 76*time.Second || on > 78*time.Second || blocks > 12 {
		t.Errorf("it was on for %s in %d blocks", on, blocks)
	}
}

// blocks gives those of all files in their order.
func (r *running) blocks(t *testing.T, f func(capture.Block)) {
	t.Helper()
	if err := filepath.WalkDir(r.folder, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rd, err := capture.NewReader(bytes.NewReader(raw), nil)
		if err != nil {
			return err
		}
		defer rd.Close()
		for {
			b, err := rd.Next()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			f(b)
		}
	}); err != nil {
		t.Fatal(err)
	}
}

// After a write has failed nothing that waits for the same file is written, though the disk takes it: its session was told to that file alone.
func TestWhatWaitsForALostFile(t *testing.T) {
	disk := &fullDisk{left: 1 << 20}
	tap, w := byHand(t, func(c *Config) { c.Open, c.retry = disk.file, 1 })
	var s Session
	s.Login("app", "shop", 45)
	ask(tap.Tap, &s, "SELECT 1")
	w.write(true)
	disk.left = 0
	for tap.ring.mu.Lock(); len(tap.ring.full) < 3; tap.ring.mu.Lock() { // more than is taken at once
		tap.ring.mu.Unlock()
		ask(tap.Tap, &s, "SELECT '"+strings.Repeat("x", 9000)+"'")
	}
	tap.ring.mu.Unlock()
	first := tap.ring.take(false, 0)
	w.chunk(first)
	tap.ring.release(first)
	w.flush()
	if w.file != nil {
		t.Fatal("the disk is not full")
	}
	disk.left = 1 << 30
	w.write(true)
	ask(tap.Tap, &s, "SELECT 2")
	tap.balanced(t)
	files, _ := tap.read(t, nil)
	var got []string
	for _, f := range files {
		for _, e := range f {
			if e.Kind == capture.Start {
				got = append(got, string(e.Payload[:min(len(e.Payload), 9)]))
			}
		}
		if len(f) > 0 && f[0].Kind != capture.Session {
			t.Errorf("a file begins with %+v", f[0])
		}
	}
	if !slices.Equal(got, []string{"SELECT 1", "SELECT 2"}) {
		t.Errorf("%q", got)
	}
}

// An answer that is lost alone is counted as that.
func TestAnswersLostAlone(t *testing.T) {
	disk := &fullDisk{left: 1 << 20}
	tap, w := byHand(t, func(c *Config) { c.Open, c.retry = disk.file, time.Hour })
	var a, b Session
	a.Login("app", "shop", 45)
	b.Login("app", "shop", 45)
	st := Statement{Command: comQuery, Text: []byte("SELECT 1"), Payload: []byte("SELECT 1"), Answered: true, Autocommit: true}
	a.Start(tap.Tap, &st)
	w.write(true)
	disk.left = 0
	ask(tap.Tap, &b, "SELECT 2")
	w.write(true)
	if st := tap.Status(); st.Kept != 1 || st.Dropped[Disk] != 1 || st.Dropped[Ends] != 0 {
		t.Fatalf("%+v", st)
	}
	a.End(&Answer{})
	ask(tap.Tap, &b, "SELECT 3")
	w.write(true)
	if st := tap.Status(); st.Kept != 1 || st.Dropped[Disk] != 2 || st.Dropped[Ends] != 1 {
		t.Errorf("%+v", st)
	}
}

// A capture that is switched off waits for the answers of what it has kept.
func TestTheEndWaitsForAnswers(t *testing.T) {
	tap := start(t)
	var s Session
	s.Login("app", "shop", 45)
	st := Statement{Command: comQuery, Text: []byte("SELECT 1"), Payload: []byte("SELECT 1"), Answered: true, Autocommit: true}
	s.Start(tap.Tap, &st)
	ended := make(chan struct{})
	go func() { tap.stop(); close(ended) }()
	processtest.Until(t, patience, "the capture is being switched off", tap.stopped.Load)
	s.End(&Answer{Rows: 1})
	<-ended
	files, _ := tap.read(t, nil)
	if last := files[0][len(files[0])-1]; last.Kind != capture.End || last.Rows != 1 {
		t.Errorf("%+v", last)
	}
}

// The oldest files go when there are too many, and what was in them counts as dropped. Those of an earlier run go first, and a file that a killed
// process left gets its name.
func TestQuota(t *testing.T) {
	folder := t.TempDir()
	old := name.File{Gateway: "orders/blue", Run: 76, Index: 1, Began: time.Now()}
	if err := os.MkdirAll(filepath.Dir(filepath.Join(folder, old.Growing())), 0o700); err != nil {
		t.Fatal(err)
	}
	left, err := os.Create(filepath.Join(folder, old.Growing()))
	if err != nil {
		t.Fatal(err)
	}
	w, err := capture.NewWriter(capture.Meta{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = w.Begin(left)
	for seq := range uint64(3) {
		err = errors.Join(err, w.Add(&capture.Event{Kind: capture.Start, Seq: seq + 1, At: time.Now()}))
	}
	if err = errors.Join(err, w.Flush(), left.Close()); err != nil {
		t.Fatal(err)
	}
	tap := start(t, func(c *Config) { c.Folder, c.Quota, c.Rotate, c.Flush = folder, 20000, 4000, time.Millisecond })
	if _, err := os.Stat(filepath.Join(folder, old.Spool())); err != nil {
		processtest.Until(t, patience, "the old file gets its name", func() bool { _, err := os.Stat(filepath.Join(folder, old.Spool())); return err == nil })
	}
	var s Session
	s.Login("app", "shop", 45)
	n := 0
	processtest.Until(t, patience, "files are deleted", func() bool {
		for range 50 {
			n++
			ask(tap.Tap, &s, fmt.Sprintf("SELECT '%x' FROM t%d", n*n*n*n*7919, n))
		}
		return tap.Status().Dropped[Quota] > 200
	})
	if _, err := os.Stat(filepath.Join(folder, old.Spool())); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the oldest file is there: %v", err)
	}
	st := tap.balanced(t)
	files, dropped := tap.read(t, nil)
	if st.Dropped[QuotaEarlier] != 3 || dropped[QuotaEarlier] != 3 {
		t.Errorf("the statements of the capture before are not counted: %v, %v", st.Dropped, dropped)
	}
	starts := 0
	for _, f := range files {
		for _, e := range f {
			if e.Kind == capture.Start {
				starts++
			}
		}
	}
	if uint64(starts) != st.Kept || st.Spool > 20000+2*4000 {
		t.Errorf("%d statements in the files, %d kept; %d bytes in the spool", starts, st.Kept, st.Spool)
	}
}

// No statement that may hold a credential has its text in a file, sealed or not, masked or not; a prepared one neither its parameters.
func TestCredentials(t *testing.T) {
	secret := "hunter2"
	for _, withheld := range []string{
		"SET PASSWORD = PASSWORD('hunter2')", "SET PASSWORD FOR a@b = 'hunter2'", "CREATE USER a IDENTIFIED BY 'hunter2'", "create or replace user a identified via x using 'hunter2'",
		"ALTER USER a IDENTIFIED BY 'hunter2'", "GRANT ALL ON *.* TO a IDENTIFIED BY 'hunter2'", "CHANGE MASTER TO MASTER_HOST='x', MASTER_PASSWORD='hunter2'",
		"CHANGE REPLICATION SOURCE TO SOURCE_PASSWORD='hunter2'", "START REPLICA USER='x' PASSWORD='hunter2'", "CREATE SERVER s FOREIGN DATA WRAPPER mysql OPTIONS (USER 'u', PASSWORD 'hunter2')",
		"CREATE TABLE t (a INT) ENGINE=FEDERATED CONNECTION='mysql://u:hunter2@h/d/t'", "SELECT 1; SET PASSWORD='hunter2'", "/*!50000 SET PASSWORD='hunter2' */", "SELECT PASSWORD('hunter2')",
		"SELECT old_password ('hunter2')", "INSERT INTO mysql.user (Host, User, Password) VALUES ('%', 'a', 'hunter2')", "UPDATE mysql.user SET authentication_string='hunter2'",
		"UPDATE mysql.global_priv SET Priv='hunter2'", "SET GLOBAL wsrep_sst_auth='root:hunter2'", "PREPARE p FROM 'CREATE USER a IDENTIFIED BY \"hunter2\"'", "EXECUTE IMMEDIATE 'SET PASSWORD=\"hunter2\"'",
		"SELECT AES_DECRYPT(a, 'hunter2') FROM t", "SET GLOBAL s3_secret_key='hunter2'", "SET GLOBAL s3_access_key = 'hunter2'", "set global some_token='hunter2'", "SET @@global.s3_secret_key := 'hunter2'", "CLONE INSTANCE FROM 'a'@'b':3306 IDENTIFIED BY 'hunter2'",
	} {
		if !Credential([]byte(withheld)) || !strings.Contains(withheld, secret) {
			t.Errorf("kept: %s", withheld)
		}
	}
	for _, kept := range []string{
		"SELECT * FROM t WHERE password_changed > 3", "SELECT id, password FROM users WHERE email='x'", "INSERT INTO users (name, password) VALUES ('a', 'b');", "SELECT 1", "CREATE TABLE t (a INT)", "SELECT 'http://x'",
		"SET @token = 'x', @my_secret := 'y'", "SET @a = 'token=x'", "UPDATE t SET author_id=3", "SELECT token, secret FROM t WHERE section='x'", "SHOW GRANTS", "SET NAMES utf8mb4",
	} {
		if Credential([]byte(kept)) {
			t.Errorf("withheld: %s", kept)
		}
	}
	tap := start(t)
	var s Session
	s.Login("app", "", 45)
	ask(tap.Tap, &s, "SET PASSWORD = PASSWORD('hunter2')")
	s.Set([]byte("SET @a = PASSWORD('hunter2')"), false)
	var known Known
	text := []byte("CREATE USER a IDENTIFIED BY ?")
	for _, st := range []Statement{
		{Command: comPrepare, Text: text, Payload: text, Number: 1, Prepared: &known, Answered: true},
		{Command: 0x17, Text: text, Payload: []byte("........hunter2"), Number: 1, Prepared: &known, Answered: true},
		{Command: 0x18, Text: text, Payload: []byte("......hunter2"), Number: 1, Prepared: &known},
	} {
		s.Start(tap.Tap, &st)
		s.End(&Answer{})
	}
	tap.ring.turn()
	s.Start(tap.Tap, &Statement{Command: 0x17, Text: text, Payload: []byte("........hunter2"), Number: 1, Prepared: &known, Answered: true})
	s.End(&Answer{})
	tap.balanced(t)
	files, _ := tap.read(t, nil)
	for _, f := range files {
		if got := texts(f); strings.Contains(got, secret) || strings.Count(got, "-credential") != map[bool]int{true: 4, false: 1}[len(f) > 5] {
			t.Error(got)
		}
	}
}

// Masked files hold no literal, and equal values are equal in them.
func TestMask(t *testing.T) {
	tap := start(t, func(c *Config) { c.Mask = []byte("0123456789abcdef") })
	var s Session
	s.Login("app", "", 45)
	s.Set([]byte("SET @name = 'secret-name'"), false)
	for _, text := range []string{
		"SELECT * FROM t WHERE a = 'secret-1' AND b = 4711 AND c = 0xdeadbeef AND d IN (-12.5, 'secret-1') /* for secret-person */ LIMIT 10", "SELECT \"secret-2\", _utf8mb4'secret-3', N'secret-4', 'it''s secret-5', 'secret\\'6'",
		"SELECT 'secret-7",
	} {
		ask(tap.Tap, &s, text)
	}
	plain := Statement{Command: comQuery, Text: []byte(`SELECT 'secret-8\', 'x'`), Payload: []byte(`SELECT 'secret-8\', 'x'`), Answered: true, Autocommit: true, Literal: true}
	s.Start(tap.Tap, &plain)
	s.End(&Answer{})
	ask(tap.Tap, &s, "SELECT '\x83\\', secret") // in Shift-JIS the \ is a part of the character
	execute := append([]byte{1, 0, 0, 0, 0, 1, 0, 0, 0, 0b100, 1, 0xfd, 0, 3, 0, 3, 0, 8}, "secret-9\x01\x02\x03\x04"...)
	s.Start(tap.Tap, &Statement{Command: 0x17, Payload: execute, Types: []byte{0xfd, 0, 3, 0, 3, 0}, Answered: true})
	s.End(&Answer{})
	s.Start(tap.Tap, &Statement{Command: 0x17, Payload: []byte("....x....secret-10"), Types: []byte{0xfd, 0}, Answered: true})
	s.End(&Answer{})
	s.Start(tap.Tap, &Statement{Command: 0x18, Payload: []byte("......secret-11")})
	s.Start(tap.Tap, &Statement{Command: 0x77, Payload: []byte("secret-12"), Answered: true})
	s.End(&Answer{})
	tap.balanced(t)
	files, _ := tap.read(t, nil)
	got := texts(files[0])
	if strings.Contains(got, "secret") || strings.Contains(got, "4711") || strings.Contains(strings.ToLower(got), "deadbeef") || strings.Contains(got, "12.5") {
		t.Errorf("a literal is left: %s", got)
	}
	var masked []string
	for _, e := range files[0] {
		if e.Kind == capture.End && (e.Ordered != 0 || e.Multiset != 0) {
			t.Errorf("a row is hashed without a key: %+v", e)
		}
		if e.Kind == capture.Start {
			masked = append(masked, e.Withheld+string(e.Payload))
		}
	}
	one := strings.Split(masked[0], "'")
	if !strings.HasPrefix(one[1], "s10:") || one[1] != one[9] || !strings.HasPrefix(one[3], "n4:") || !strings.HasPrefix(one[5], "x10:") || !strings.HasPrefix(one[7], "n4:") || !strings.HasSuffix(masked[0], "LIMIT 'n2:"+strings.Split(one[11], ":")[1]+"'") {
		t.Errorf("masked: %s", masked[0])
	}
	if masked[4] != capture.WithheldMasked || masked[8] != capture.WithheldMasked {
		t.Errorf("what can't be masked for sure: %q", masked)
	}
	if p := masked[5]; !strings.Contains(p, "t253:8:") || !strings.Contains(p, "t3:4:") || !strings.Contains(p, "NULL") || !strings.HasPrefix(p, string(execute[:9])) {
		t.Errorf("parameters: %q", p)
	}
	if !strings.Contains(masked[6], "?9:") || !strings.Contains(masked[7], "?9:") {
		t.Errorf("what is not what its types say: %q, %q", masked[6], masked[7])
	}
}

// Large payloads, with and without room borrowed for them.
func TestLargePayloads(t *testing.T) {
	tap := start(t, func(c *Config) { c.Ring = 8 << 20 })
	var s Session
	s.Login("app", "", 45)
	big := strings.Repeat("x", 1<<20)
	ask(tap.Tap, &s, "SELECT '"+big+"'")
	buf, ok := tap.Borrow(3 << 20)
	if !ok || cap(buf) < 3<<20 {
		t.Fatal("no room")
	}
	buf = append(buf, "SELECT 'streamed'"...)
	s.Start(tap.Tap, &Statement{Command: comQuery, Payload: buf, Borrowed: 3 << 20, Cut: 5, Answered: true, Autocommit: true})
	s.End(&Answer{})
	if _, ok := tap.Borrow(1 << 30); ok {
		t.Error("more was lent than there is")
	}
	s.Missed(tap.Tap)
	tap.Stop()
	if buf, ok := tap.Borrow(10); ok || buf != nil {
		t.Error("after the stop something was lent")
	}
	st := tap.balanced(t)
	files, _ := tap.read(t, nil)
	if st.Kept != 2 || st.Dropped[Full] != 1 || len(files[0]) != 5 || len(files[0][1].Payload) != 9+1<<20 || string(files[0][3].Payload) != "SELECT 'streamed'" || files[0][3].Cut != 5 {
		t.Errorf("%+v", st)
	}
	left := start(t, func(c *Config) { c.Statements = Selects })
	if buf, ok = left.Borrow(1 << 20); !ok {
		t.Fatal("no room")
	}
	s.Start(left.Tap, &Statement{Command: comQuery, Text: []byte("DELETE FROM t"), Payload: append(buf, "DELETE FROM t"...), Borrowed: 1 << 20, Answered: true, Autocommit: true})
	if _, ok := left.Borrow(1 << 20); !ok {
		t.Fatal("no room")
	}
	left.Return(1 << 20)
	if left.ring.used != 0 {
		t.Errorf("%d bytes of a statement that was dropped are used", left.ring.used)
	}
	tap.ring.mu.Lock()
	defer tap.ring.mu.Unlock()
	if tap.ring.used != 0 || tap.ring.owed != closeSize || tap.ring.ends != 0 {
		t.Errorf("%d bytes are used, %d owed", tap.ring.used, tap.ring.owed)
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
