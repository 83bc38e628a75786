package tap

import (
	"bytes"
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
