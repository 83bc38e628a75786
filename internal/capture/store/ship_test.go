package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/windlass-db/windlass/internal/capture/store/name"
)

// A bucket that fails half the time gets every file once, whole.
func TestShipToABucketThatFailsHalfTheTime(t *testing.T) {
	a := s3api(t)
	b := open1(t, a.url)
	b.pauses = func(int) time.Duration { return time.Millisecond }
	dir, files := t.TempDir(), some("a", 1, 60)
	spool(t, dir, files...)
	var mu sync.Mutex
	r := rand.New(rand.NewPCG(3, 4))
	a.faulty(func(w http.ResponseWriter, req *http.Request) bool {
		mu.Lock()
		n := r.IntN(8)
		mu.Unlock()
		switch n {
		case 0:
			w.WriteHeader(http.StatusForbidden) // before it was read
		case 1:
			io.Copy(io.Discard, req.Body)
			w.WriteHeader(http.StatusBadRequest)
		case 2:
			panic(http.ErrAbortHandler) // the connection breaks
		case 3:
			io.CopyN(io.Discard, req.Body, 100)
			panic(http.ErrAbortHandler)
		default:
			return false
		}
		return true
	})
	reg := prometheus.NewRegistry()
	m, err := NewMetrics(reg)
	if err != nil {
		t.Fatal(err)
	}
	var p Progress
	if err := Ship(context.Background(), ShipConfig{Spool: dir, To: b, Once: true, Metrics: m, Progress: func(now Progress) { p = now }}); err != nil {
		t.Fatal(err)
	}
	a.faulty(nil)
	holds(t, b, files)
	empty(t, dir)
	if p.Files != 60 || p.Failures < 20 || p.Left != 0 || metric(t, reg, "files_total") != 60 || metric(t, reg, "failures_total") != float64(p.Failures) || metric(t, reg, "spool_files") != 0 {
		t.Errorf("%+v", p)
	}
}

func metric(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() == "windlass_capture_ship_"+name {
			return f.GetMetric()[0].GetCounter().GetValue() + f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

// A bucket that is away for long is not asked for every file, and gets all when it is back, the oldest first.
func TestShipOverAnOutage(t *testing.T) {
	a := s3api(t)
	b := open1(t, a.url)
	b.pauses = func(int) time.Duration { return time.Millisecond }
	dir, files := t.TempDir(), some("a", 1, 200)
	spool(t, dir, files...)
	var requests, at int
	away := true
	var order []string
	var mu sync.Mutex
	a.faulty(func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if away {
			requests++
			panic(http.ErrAbortHandler)
		}
		if r.Method == http.MethodPut {
			order = append(order, r.URL.Path)
		}
		return false
	})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	err := Ship(ctx, ShipConfig{Spool: dir, To: b, Every: time.Millisecond, Uploads: 1, Progress: func(p Progress) {
		mu.Lock()
		defer mu.Unlock()
		if p.Failures >= 30 && away {
			away, at = false, requests
			if p.Left != 200 || !p.Oldest.Equal(files[0].Began) || p.Err == nil {
				t.Errorf("%+v", p)
			}
		}
		if p.Left == 0 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	a.faulty(nil)
	holds(t, b, files)
	if at > 40 {
		t.Errorf("%d requests for 30 tries", at)
	}
	behind := 0
	for i := 1; i < len(order); i++ {
		if order[i] < order[i-1] {
			behind++
		}
	}
	if behind > 1 { // those that were tried during the outage come behind the others, once
		t.Errorf("%d files are out of order", behind)
	}
}

// What the bucket does not have stays in the spool, whatever the bucket says.
func TestNothingIsDeletedThatIsNotSeen(t *testing.T) {
	for what, f := range map[string]func(w http.ResponseWriter, r *http.Request) bool{
		"it takes it and keeps nothing": func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPut {
				io.Copy(io.Discard, r.Body)
				w.Header().Set("ETag", `"0123456789abcdef0123456789abcdef"`)
			}
			return r.Method == http.MethodPut
		},
		"it has other bytes of the same size": func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodHead || r.Method == http.MethodGet && !r.URL.Query().Has("list-type") {
				w.Header().Set("Content-Length", fmt.Sprint(len(content(some("a", 1, 1)[0]))))
				w.Header().Set("Last-Modified", noon.Format(http.TimeFormat))
				w.Header().Set("ETag", `"0123456789abcdef0123456789abcdef"`)
				w.WriteHeader(http.StatusOK)
				if r.Method == http.MethodGet {
					w.Write(make([]byte, len(content(some("a", 1, 1)[0]))))
				}
				return true
			}
			return false
		},
	} {
		a := s3api(t)
		b := open1(t, a.url)
		b.pauses = func(int) time.Duration { return time.Millisecond }
		a.faulty(f)
		dir, files := t.TempDir(), some("a", 1, 1)
		spool(t, dir, files...)
		err := Ship(context.Background(), ShipConfig{Spool: dir, To: b, Once: true, GiveUp: time.Millisecond})
		if !errors.Is(err, ErrGaveUp) {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := os.Stat(filepath.Join(dir, files[0].Spool())); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// The other side's checksum is none of the bytes where it encrypts: the file is read again.
func TestAnotherChecksumIsReadAgain(t *testing.T) {
	a := s3api(t)
	b := open1(t, a.url)
	a.faulty(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodHead {
			w.Header().Set("Content-Length", fmt.Sprint(len(content(some("a", 1, 1)[0]))))
			w.Header().Set("Last-Modified", noon.Format(http.TimeFormat))
			w.Header().Set("ETag", `"0123456789abcdef0123456789abcdef"`)
		}
		return r.Method == http.MethodHead
	})
	f := some("a", 1, 1)
	if _, err := b.Put(context.Background(), f[0], content(f[0])); err != nil {
		t.Error(err)
	}
}

// An upload at which nothing moves is given up and made again.
func TestAnUploadThatHangs(t *testing.T) {
	a := s3api(t)
	b := open1(t, a.url)
	b.stalled = 100 * time.Millisecond
	b.pauses = func(int) time.Duration { return time.Millisecond }
	dir, files := t.TempDir(), some("a", 1, 2)
	spool(t, dir, files...)
	free := make(chan struct{})
	t.Cleanup(func() { close(free) })
	var mu sync.Mutex
	hung := 0
	a.faulty(func(_ http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		if r.Method != http.MethodPut || hung >= 2 {
			mu.Unlock()
			return false
		}
		hung++
		mu.Unlock()
		select {
		case <-free:
		case <-r.Context().Done():
		}
		panic(http.ErrAbortHandler)
	})
	var failed error
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	err := Ship(ctx, ShipConfig{Spool: dir, To: b, Once: true, Progress: func(p Progress) {
		if p.Err != nil {
			failed = p.Err
		}
	}})
	if err != nil || !errors.Is(failed, errStalled) {
		t.Errorf("%v, %v", err, failed)
	}
	holds(t, b, files)
}

// A file that can't be read holds no other up.
func TestAFileThatCanNotBeReadHoldsNoOtherUp(t *testing.T) {
	b, dir := open1(t, t.TempDir()), t.TempDir()
	files := some("a", 1, 15)
	spool(t, dir, files[12:]...)
	for _, f := range files[:12] { // a link to nowhere that leads back to itself
		path := filepath.Join(dir, f.Spool())
		if err := os.Symlink(path, path); err != nil {
			t.Fatal(err)
		}
	}
	b.pauses = func(int) time.Duration { return time.Millisecond }
	err := Ship(context.Background(), ShipConfig{Spool: dir, To: b, Once: true, GiveUp: 50 * time.Millisecond, Uploads: 1})
	if !errors.Is(err, ErrGaveUp) || !strings.Contains(err.Error(), "12 files") {
		t.Error(err)
	}
	holds(t, b, files[12:])
}

// trap: a gateway that was killed leaves a file that nobody ends. One that is held, or has just begun, is let alone.
func TestWhatAKilledGatewayLeft(t *testing.T) {
	b, dir := open1(t, t.TempDir()), t.TempDir()
	files := some("a", 1, 3)
	old := time.Now().Add(-time.Minute)
	for i, f := range files {
		path := filepath.Join(dir, f.Growing())
		write(t, path, content(f))
		if i < 2 {
			if err := os.Chtimes(path, old, old); err != nil {
				t.Fatal(err)
			}
		}
	}
	held, err := os.Open(filepath.Join(dir, files[1].Growing()))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := syscall.Flock(int(held.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	ship(t, dir, b)
	holds(t, b, files[:1])
	if _, growing, err := look(dir, time.Now()); err != nil || growing != 2 {
		t.Errorf("%d grow, %v", growing, err)
	}
	held.Close()
	ship(t, dir, b)
	holds(t, b, files[:2])
}

// shipper is the process that TestShipIsKilledAnywhere kills: it ships and tells each file.
func shipperProcess() {
	b, err := Create(context.Background(), os.Getenv("SHIP_TO"))
	if err == nil {
		err = Ship(context.Background(), ShipConfig{Spool: os.Getenv("SHIP_SPOOL"), To: b, Once: true, Progress: func(p Progress) { fmt.Println(p.Files) }})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func TestMain(m *testing.M) {
	if os.Getenv("SHIP_TO") != "" {
		shipperProcess()
	}
	os.Exit(m.Run())
}

// A shipper that is killed anywhere loses nothing: at each moment every file is whole in the spool or in the bucket, and the next one goes on.
func TestShipIsKilledAnywhere(t *testing.T) {
	dir, to, files := t.TempDir(), t.TempDir(), some("a", 1, 120)
	spool(t, dir, files...)
	b := open1(t, to)
	for kills := 0; ; kills++ {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "SHIP_TO="+to, "SHIP_SPOOL="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			if kills < 8 && n == 3+2*kills {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		err = cmd.Wait()
		var whole []name.File
		for _, f := range files {
			if spooled, err := os.ReadFile(filepath.Join(dir, f.Spool())); err == nil && string(spooled) == string(content(f)) {
				continue
			}
			whole = append(whole, f)
		}
		there := map[string]int64{}
		for _, s := range list(t, b, Range{}) {
			there[s.Name] = s.Size
		}
		for _, f := range whole {
			if there[f.Bucket()] != int64(len(content(f))) {
				t.Fatalf("after %d kills %s is nowhere", kills, f.Bucket())
			}
		}
		if err == nil {
			if kills < 5 {
				t.Errorf("it was killed %d times", kills)
			}
			break
		}
		if kills > 20 {
			t.Fatal(err)
		}
	}
	holds(t, b, files)
	empty(t, dir)
	// What a kill left beside the segments is deleted when it is old.
	if _, _, err := b.Retain(context.Background(), 0, 1<<40, time.Now().Add(2*unfinished)); err != nil {
		t.Error(err)
	}
	err := filepath.WalkDir(to, func(path string, e os.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".tmp") {
			t.Error(path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestRetention(t *testing.T) {
	for kind, b := range places(t) {
		ctx := context.Background()
		var size int64
		for i := range 10 {
			f := file("a", 1, uint64(i+1), noon.Add(time.Duration(i)*24*time.Hour))
			s, err := b.Put(ctx, f, content(f))
			if err != nil {
				t.Fatal(err)
			}
			size += s.Size
		}
		now := noon.Add(10 * 24 * time.Hour)
		if n, bytes, err := b.Retain(ctx, 7*24*time.Hour+time.Hour, 0, now); err != nil || n != 3 || bytes == 0 {
			t.Errorf("%s: %d %d %v", kind, n, bytes, err)
		}
		left := list(t, b, Range{})
		if short(left[:1]) != "a/1/4" || len(left) != 7 {
			t.Errorf("%s: %s", kind, short(left))
		}
		most := left[5].Size + left[6].Size + 1
		if n, _, err := b.Retain(ctx, 0, most, now); err != nil || n != 5 {
			t.Errorf("%s: %d %v", kind, n, err)
		}
		if got := short(list(t, b, Range{})); got != "a/1/9 a/1/10" {
			t.Errorf("%s: %s", kind, got)
		}
		if b.dir != "" {
			if days, err := os.ReadDir(filepath.Join(b.dir, "a")); err != nil || len(days) != 2 {
				t.Errorf("%d days are left, %v", len(days), err)
			}
		}
	}
}

// Retention while shipping leaves what others keep in the bucket.
func TestRetentionLeavesOtherFiles(t *testing.T) {
	root := t.TempDir()
	b, dir := open1(t, root), t.TempDir()
	for _, other := range []string{"readme", "a/notes.txt", "a/2026-11-21/12/other.wlcap"} {
		write(t, filepath.Join(root, other), []byte("x"))
	}
	spool(t, dir, some("a", 1, 1)...)
	var p Progress
	if err := Ship(context.Background(), ShipConfig{Spool: dir, To: b, Once: true, Retain: time.Hour, Now: func() time.Time { return noon.Add(3 * time.Hour) }, Progress: func(now Progress) { p = now }}); err != nil {
		t.Fatal(err)
	}
	if got := list(t, b, Range{}); len(got) != 0 {
		t.Error(short(got))
	}
	for _, other := range []string{"readme", "a/notes.txt", "a/2026-11-21/12/other.wlcap"} {
		if _, err := os.Stat(filepath.Join(root, other)); err != nil {
			t.Error(err)
		}
	}
	_ = p
}
