// Package replay measures the replay worker against its goals, on real servers: against sysbench's own client, for memory, and for how late statements are sent.
// The processor's time of the client is what is compared, since the machine is shared and the server takes the most of it.
package replay

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/pprof"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"golang.org/x/sys/unix"

	"github.com/windlass-db/windlass/internal/capture"
	"github.com/windlass-db/windlass/internal/capture/store"
	"github.com/windlass-db/windlass/internal/capture/store/name"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/replay/pace"
	"github.com/windlass-db/windlass/internal/replay/run"
	"github.com/windlass-db/windlass/internal/replay/session"
	"github.com/windlass-db/windlass/internal/replay/tally"
	"github.com/windlass-db/windlass/internal/wire"
)

const taskVariable = "WINDLASS_BENCH_REPLAY"

// task is what a replay in a process of its own is to do.
type task struct {
	From, Target string
	Speed        float64
}

// lateness is by how much half of them, and 99 of 100, were late at the most.
type lateness struct{ P50, P99 time.Duration }

func latenessOf(h *tally.Histogram) lateness { return lateness{h.At(0.5), h.At(0.99)} }

// outcome is what came of it.
type outcome struct {
	Replayed, Captured, Same int64
	Took                     time.Duration
	CPU                      time.Duration
	Resident                 int64       // kilobytes, at the most
	Late                     [3]lateness // of the replay; of a thread like its own that does nothing; of any thread that sleeps
	Left                     map[string]int64
}

func TestMain(m *testing.M) {
	if text := os.Getenv(taskVariable); text != "" {
		if err := child(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func child(text string) error {
	var t task
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		return err
	}
	if t.Speed > 0 {
		run.Threads()
	}
	ctx := context.Background()
	b, err := store.Open(ctx, t.From)
	if err != nil {
		return err
	}
	target, err := session.ParseDSN(t.Target)
	if err != nil {
		return err
	}
	if file := os.Getenv("WINDLASS_BENCH_PROFILE"); file != "" {
		f, err := os.Create(file)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	began, before := time.Now(), used()
	var own, bare tally.Histogram
	var beside sync.WaitGroup
	within, cancel := context.WithCancel(ctx)
	defer cancel()
	if t.Speed > 0 {
		beside.Go(func() { wakes(within, &own, pace.Thread) })
		beside.Go(func() { wakes(within, &bare, thread) })
	}
	got, err := run.Run(ctx, run.Config{Source: run.Bucket(b, run.Range{}), Target: target, Speed: t.Speed})
	if err != nil {
		return err
	}
	cancel()
	beside.Wait()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return err
	}
	out := outcome{Replayed: got.Replayed, Captured: got.Captured, Took: time.Since(began), CPU: used() - before, Resident: r.Maxrss, Left: map[string]int64{}}
	for _, q := range got.Queries {
		out.Same += q.Same
	}
	for _, m := range []map[string]int64{got.Skipped, got.Unreplayable, got.Dropped} {
		for k, n := range m {
			out.Left[k] += n
		}
	}
	out.Late = [3]lateness{latenessOf(got.Lateness.All()), latenessOf(&own), latenessOf(&bare)}
	return json.NewEncoder(os.Stdout).Encode(out)
}

// used is the processor's time of this process.
func used() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		panic(err) // it can't
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func replay(b *testing.B, t task) outcome {
	b.Helper()
	text, err := json.Marshal(t)
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), taskVariable+"="+string(text))
	cmd.Stderr = os.Stderr
	got, err := cmd.Output()
	if err != nil {
		b.Fatal(err)
	}
	var out outcome
	if err := json.Unmarshal(got, &out); err != nil {
		b.Fatal(err)
	}
	if out.Replayed != out.Captured || out.Same != out.Replayed {
		b.Fatalf("of %d captured, %d were replayed, and %d the same: %v", out.Captured, out.Replayed, out.Same, out.Left)
	}
	return out
}

const rows = 10_000

// prepared is a server with sysbench's table.
func prepared(b *testing.B) (*processtest.Server, string) {
	s := processtest.Primary(b, "10.11", processtest.With("max_connections=300"))
	sysbench(b, s, "prepare")
	c := mysql.NewConfig()
	c.Net, c.Addr, c.User, c.Passwd = "tcp", s.Address(), processtest.AppUser, processtest.AppPassword
	return s, c.FormatDSN()
}

func sysbench(b *testing.B, s *processtest.Server, what string, more ...string) (string, *os.ProcessState) {
	b.Helper()
	args := append([]string{"oltp_point_select", "--db-driver=mysql", "--mysql-host=127.0.0.1", "--mysql-port=" + strconv.Itoa(s.Port), "--mysql-user=" + processtest.AppUser,
		"--mysql-password=" + processtest.AppPassword, "--mysql-db=app", "--tables=1", "--table-size=" + strconv.Itoa(rows), "--mysql-ssl=off", "--db-ps-mode=disable"}, more...)
	cmd := exec.Command("sysbench", append(args, what)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.Fatalf("sysbench %s: %v\n%s", what, err, out)
	}
	return string(out), cmd.ProcessState
}

// point is the statement of sysbench's point selects.
func point(id int) string { return fmt.Sprintf("SELECT c FROM sbtest1 WHERE id=%d", id) }

// captured writes a spool of so many point selects over so many connections, at a rate; with their true answers.
func captured(b *testing.B, dsn string, statements, clients int, apart time.Duration) string {
	b.Helper()
	target, err := session.ParseDSN(dsn)
	if err != nil {
		b.Fatal(err)
	}
	c, err := session.Open(context.Background(), target, &session.Env{Schema: "app"})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	ends := make([]capture.Event, rows)
	for i := range ends {
		a, _, err := c.Run(session.Request{Command: wire.ComQuery, Text: []byte(point(i + 1))})
		if err != nil || a.Rows != 1 {
			b.Fatal(err, a)
		}
		ends[i] = capture.Event{Kind: capture.End, Took: 200 * time.Microsecond, Status: a.Status, Warnings: a.Warnings, Columns: a.Columns, Rows: a.Rows, Bytes: a.Bytes, Ordered: a.Ordered, Multiset: a.Multiset}
	}
	dir := b.TempDir()
	at := time.Now().Add(-time.Hour)
	path := filepath.Join(dir, name.File{Gateway: "gw", Run: 1, Index: 1, Began: at}.Spool())
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		b.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	w, err := capture.NewWriter(capture.Meta{Gateway: "gw", Run: 1, Server: "mariadb", Version: "10.11"}, nil)
	if err != nil {
		b.Fatal(err)
	}
	seq := uint64(0)
	add := func(e capture.Event) uint64 {
		seq++
		e.Seq = seq
		if err := w.Add(&e); err != nil {
			b.Fatal(err)
		}
		return seq
	}
	if err := w.Begin(f); err != nil {
		b.Fatal(err)
	}
	for i := range clients {
		add(capture.Event{Kind: capture.Session, Conn: uint64(i + 1), At: at, User: "app", Schema: "app", Charset: 45})
	}
	for i := range statements {
		at = at.Add(apart)
		id, conn := i*7919%rows, uint64(i%clients+1)
		end := ends[id]
		end.Of = add(capture.Event{Kind: capture.Start, Conn: conn, At: at, Command: byte(wire.ComQuery), Payload: []byte(point(id + 1))})
		end.Conn, end.At = conn, at.Add(100*time.Microsecond)
		add(end)
	}
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	return dir
}

var queries = regexp.MustCompile(`queries: +(\d+)`)

// BenchmarkAgainstSysbench: the client's processor time of a statement, sysbench's over ours; the goal is 1.0 and more.
func BenchmarkAgainstSysbench(b *testing.B) {
	s, dsn := prepared(b)
	const statements, clients = 40_000, 8
	from := captured(b, dsn, statements, clients, 0)
	for b.Loop() {
		var ratios, speeds []float64
		for range 3 {
			began := time.Now()
			text, state := sysbench(b, s, "run", "--threads="+strconv.Itoa(clients), "--time=0", "--events="+strconv.Itoa(statements))
			took := time.Since(began)
			m := queries.FindStringSubmatch(text)
			if m == nil {
				b.Fatal(text)
			}
			n, err := strconv.Atoi(m[1])
			if err != nil {
				b.Fatal(err)
			}
			theirs := float64(state.UserTime()+state.SystemTime()) / float64(n)
			out := replay(b, task{From: from, Target: dsn})
			ours := float64(out.CPU) / float64(out.Replayed)
			speed := float64(out.Replayed) / out.Took.Seconds() / (float64(n) / took.Seconds())
			b.Logf("sysbench %.1f µs of processor and %.0f/s, replay %.1f µs and %.0f/s", theirs/1e3, float64(n)/took.Seconds(), ours/1e3, float64(out.Replayed)/out.Took.Seconds())
			ratios, speeds = append(ratios, theirs/ours), append(speeds, speed)
		}
		b.ReportMetric(median(ratios), "sysbench-cpu/replay-cpu")
		b.ReportMetric(median(speeds), "replay-qps/sysbench-qps")
		b.ReportMetric(0, "ns/op")
	}
}

// BenchmarkMemory: what a replay of a million statements takes at the most; the goal is 64 MB.
func BenchmarkMemory(b *testing.B) {
	_, dsn := prepared(b)
	from := captured(b, dsn, statements(), 16, 0)
	for b.Loop() {
		out := replay(b, task{From: from, Target: dsn})
		b.ReportMetric(float64(out.Resident)/1024, "MB")
		b.ReportMetric(float64(out.Replayed)/out.Took.Seconds(), "qps")
		b.ReportMetric(0, "ns/op")
	}
}

// BenchmarkLateness: how late statements are sent at their captured distances; the goals are 80 µs for half of them, and 1 ms for 99 of 100. Beside it, in the same process and at the same time, how late a
// thread like the replay's own wakes that does nothing else: what is above that is the sending. And how late a bare thread wakes, which has the processor by turns with whatever else runs on the machine.
func BenchmarkLateness(b *testing.B) {
	_, dsn := prepared(b)
	from := captured(b, dsn, 5_000, 16, time.Millisecond)
	for b.Loop() {
		late := replay(b, task{From: from, Target: dsn, Speed: 1}).Late
		for i, who := range []string{"", "own-thread-", "bare-thread-"} {
			b.ReportMetric(float64(late[i].P50.Microseconds()), who+"p50-µs")
			b.ReportMetric(float64(late[i].P99.Microseconds()), who+"p99-µs")
		}
		b.ReportMetric(float64(late[0].P99)/float64(late[2].P99), "p99/bare-thread-p99")
		b.ReportMetric(0, "ns/op")
	}
}

// wakes wakes every millisecond until the context ends, and counts how late.
func wakes(ctx context.Context, h *tally.Histogram, on func() (release func())) {
	defer on()()
	for due := time.Now(); ; {
		due = due.Add(time.Millisecond)
		if pace.Until(ctx, due) != nil {
			return
		}
		h.Add(time.Since(due))
	}
}

// thread is a thread that sleeps as long as it says, and no more.
func thread() (release func()) {
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0); err != nil {
		panic(err) // it can't
	}
	return func() {} // it ends with its goroutine
}

func median(v []float64) float64 {
	for i := range v {
		for j := i; j > 0 && v[j] < v[j-1]; j-- {
			v[j], v[j-1] = v[j-1], v[j]
		}
	}
	return v[len(v)/2]
}

// statements is how many a replay is measured with for its memory: a million, or fewer for a look.
func statements() int {
	if n, err := strconv.Atoi(os.Getenv("WINDLASS_BENCH_STATEMENTS")); err == nil {
		return n
	}
	return 1_000_000
}
