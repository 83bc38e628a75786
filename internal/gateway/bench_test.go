package gateway

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/wire"
)

// passThroughEnv makes the test's program be a bare byte pass-through proxy, in a process of its own as the gateway is.
const passThroughEnv = "WINDLASS_TEST_PASS_THROUGH"

func TestMain(m *testing.M) {
	if target := os.Getenv(passThroughEnv); target != "" {
		passThrough(target)
		return
	}
	os.Exit(m.Run())
}

// passThrough copies bytes between a client and the target, and knows nothing of the protocol. What follows a + in the target's name says how: with
// splice the kernel copies, with bare it is done by the same bare system calls as in the gateway.
func passThrough(target string) {
	target, how, _ := strings.Cut(target, "+")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr())
	go func() { // ends with the test
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer client.Close()
			server, err := net.Dial("tcp", target)
			if err != nil {
				return
			}
			defer server.Close()
			if how == "bare" {
				go copyBare(wire.NewConn(server, 0), wire.NewConn(client, 0))
				copyBare(wire.NewConn(client, 0), wire.NewConn(server, 0))
				return
			}
			go copyBytes(server, client, how == "splice")
			copyBytes(client, server, how == "splice")
		}()
	}
}

func copyBytes(to, from net.Conn, splice bool) {
	defer to.Close()
	if splice {
		io.Copy(to, from)
		return
	}
	io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, 32<<10))
}

func copyBare(to, from *wire.Conn) {
	defer to.Close()
	for from.Fill() == nil {
		if to.WriteAll(from.Buffered()) != nil {
			return
		}
		from.Discard(len(from.Buffered()))
	}
}

func startPassThrough(t testing.TB, target string) (address string, pid int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), passThroughEnv+"="+target)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	var line [64]byte
	n, err := out.Read(line[:])
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(line[:n])), cmd.Process.Pid
}

// cpu is the processor time that a process has used, to the nanosecond, from Linux's /proc; 0 for no process.
func cpu(t testing.TB, pid int) (used time.Duration) {
	t.Helper()
	if pid == 0 {
		return 0
	}
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(threads) == 0 {
		t.Fatalf("no thread of process %d: %v", pid, err)
	}
	for _, thread := range threads {
		text, err := os.ReadFile(thread)
		if err != nil {
			t.Fatal(err)
		}
		ns, _, _ := strings.Cut(string(text), " ")
		n, err := strconv.ParseInt(ns, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		used += time.Duration(n)
	}
	return used
}

var sysbenchRate = regexp.MustCompile(`transactions:\s+\d+\s+\(([\d.]+) per sec`)

// sysbench runs a script against an address, and answers transactions a second.
func sysbench(t testing.TB, address, script, step string, args ...string) float64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sysbench", sysbenchArgs(address, script, append(args, step)...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("sysbench %s: %v\n%s", step, err, out)
	}
	if strings.Contains(string(out), "reconnects:") && !regexp.MustCompile(`reconnects:\s+0\s`).Match(out) || strings.Contains(string(out), "FATAL") {
		t.Fatalf("sysbench saw trouble:\n%s", out)
	}
	if m := sysbenchRate.FindSubmatch(out); m != nil {
		rate, _ := strconv.ParseFloat(string(m[1]), 64)
		return rate
	}
	return 0
}

func sysbenchArgs(address, script string, more ...string) []string {
	host, port, _ := net.SplitHostPort(address)
	return append([]string{script, "--mysql-host=" + host, "--mysql-port=" + port, "--mysql-user=" + processtest.AppUser, "--mysql-password=" + processtest.AppPassword,
		"--mysql-db=gw", "--tables=1", "--table-size=10000", "--db-driver=mysql"}, more...)
}

func median(v []float64) float64 {
	v = slices.Clone(v)
	slices.SortFunc(v, cmp.Compare[float64])
	return v[len(v)/2]
}

// The bound that BenchmarkPointSelects holds the gateway to, and how it is measured: in slices of time, short ones, so that what else the
// machine does hits the gateway and the pass-through alike. It ends as soon as the ratio's interval of confidence is all above the bound or all
// below it, and at the latest after mostPairs; then the median decides.
const (
	leastRatio = 0.95 // of the gateway's queries a second to those of the pass-through
	slice      = 250 * time.Millisecond
	leastPairs = 40
	mostPairs  = 160
	sideEvery  = 4 // direct, splice and bare, which nothing is held to, get a slice in each so many pairs
)

// stream is sysbench at work against one address, stopped (SIGSTOP) but for its slices.
type stream struct {
	name, address string
	pid           int // of the proxy; 0: none
	cmd           *exec.Cmd
	out           safeBuffer
	ended         chan struct{}
	qps, micros   []float64
}

// begin starts it, and stops it when it is at work.
func (s *stream) begin(b *testing.B, c *cluster, mode string) {
	s.qps, s.micros, s.out, s.ended = nil, nil, safeBuffer{}, make(chan struct{})
	s.cmd = exec.Command("sysbench", sysbenchArgs(s.address, "oltp_point_select", "--threads=8", "--time=0", "--events=0", "--db-ps-mode="+mode, "run")...)
	s.cmd.Stdout, s.cmd.Stderr = &s.out, &s.out
	if err := s.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	go func(ended chan struct{}) { s.cmd.Wait(); close(ended) }(s.ended)
	b.Cleanup(s.kill)
	from := pointReads(b, c)
	processtest.Until(b, patience, "sysbench is at work on "+s.name, func() bool { return pointReads(b, c) > from+100 })
	s.signal(b, syscall.SIGSTOP)
}

func (s *stream) kill() {
	s.cmd.Process.Kill()
	<-s.ended
}

func (s *stream) signal(b *testing.B, sig syscall.Signal) {
	b.Helper()
	select {
	case <-s.ended:
		b.Fatalf("sysbench on %s ended:\n%s", s.name, s.out.String())
	default:
	}
	if err := s.cmd.Process.Signal(sig); err != nil {
		b.Fatal(err)
	}
}

// slice lets it work for a slice of time, and counts at the server what it did.
func (s *stream) slice(b *testing.B, c *cluster) {
	b.Helper()
	from, used, at := pointReads(b, c), cpu(b, s.pid), time.Now()
	s.signal(b, syscall.SIGCONT)
	time.Sleep(slice) // the slice itself: nothing is waited for
	s.signal(b, syscall.SIGSTOP)
	took := time.Since(at)
	done := pointReads(b, c)
	for last := from; done != last; { // what is in flight ends
		last, done = done, pointReads(b, c)
	}
	queries := float64(done - from)
	if queries == 0 {
		b.Fatalf("nothing was done on %s in %v", s.name, took)
	}
	s.qps = append(s.qps, queries/took.Seconds())
	s.micros = append(s.micros, (cpu(b, s.pid)-used).Seconds()*1e6/queries)
}

// pointReads is how many rows the primary has read by a key: one for each point select, by text or prepared, and nothing else here does.
func pointReads(b *testing.B, c *cluster) (n int64) {
	b.Helper()
	var name string
	if err := c.primary.Admin.QueryRow("SHOW GLOBAL STATUS LIKE 'Handler_read_key'").Scan(&name, &n); err != nil {
		b.Fatal(err)
	}
	return n
}

// ratios divides slice by slice.
func ratios(a, of []float64) []float64 {
	r := make([]float64, len(a))
	for i := range a {
		r[i] = a[i] / of[i]
	}
	return r
}

// interval is that of the median with 95 % confidence, by the order of the values alone: nothing is supposed of their distribution.
func interval(v []float64) (low, high float64) {
	v = slices.Sorted(slices.Values(v))
	half, k := float64(len(v))/2, 0.98*math.Sqrt(float64(len(v)))
	return v[max(int(math.Floor(half-k))-1, 0)], v[min(int(math.Ceil(half+k)), len(v)-1)]
}

// BenchmarkPointSelects compares the gateway with a bare byte pass-through proxy, both in a process of their own: sysbench point selects on 8
// connections, as texts and as prepared statements. It fails when the gateway's rate is below 0.95 of the pass-through's. The rates with no
// proxy at all, with one that lets the kernel copy, and with one that makes the gateway's own system calls, are for comparison.
func BenchmarkPointSelects(b *testing.B) {
	c := newCluster(b)
	sysbench(b, c.primary.Address(), "oltp_point_select", "prepare")
	c.replica.CatchUp(b, c.primary)
	direct, plain, splice, bare, gate := &stream{name: "direct", address: c.primary.Address()}, &stream{name: "pass-through"}, &stream{name: "splice"}, &stream{name: "bare calls"}, &stream{name: "gateway"}
	plain.address, plain.pid = startPassThrough(b, c.primary.Address())
	splice.address, splice.pid = startPassThrough(b, c.primary.Address()+"+splice")
	bare.address, bare.pid = startPassThrough(b, c.primary.Address()+"+bare")
	p := c.startProcess(b, "warn")
	gate.address, gate.pid = p.writer, p.cmd.Process.Pid
	for _, mode := range []struct{ flag, name string }{{"disable", "text"}, {"auto", "prepared"}} {
		all := []*stream{plain, gate, direct, splice, bare}
		for _, s := range all {
			s.begin(b, c, mode.flag)
			s.slice(b, c) // warm
			s.qps, s.micros = nil, nil
		}
		var r []float64
		var low, high float64
		for pair := 0; pair < mostPairs; pair++ {
			first, second := plain, gate // either is first in turn
			if pair%2 == 1 {
				first, second = gate, plain
			}
			first.slice(b, c)
			second.slice(b, c)
			if pair%sideEvery == 0 {
				direct.slice(b, c)
				splice.slice(b, c)
				bare.slice(b, c)
			}
			r = ratios(gate.qps, plain.qps)
			if low, high = interval(r); len(r) >= leastPairs && (low > leastRatio || high < leastRatio) {
				break
			}
		}
		for _, s := range all {
			s.kill()
			b.Logf("%-8s %-12s %8.0f QPS, %5.1f µs of processor time a query (medians of %d slices)", mode.name, s.name, median(s.qps), median(s.micros), len(s.qps))
		}
		processor := median(ratios(gate.micros, plain.micros))
		b.Logf("%-8s gateway/pass-through %.3f in QPS, between %.3f and %.3f with 95 %% confidence; %.3f in processor time", mode.name, median(r), low, high, processor)
		b.ReportMetric(median(r), "gateway/pass-through("+mode.name+")")
		b.ReportMetric(processor, "cpu-gateway/pass-through("+mode.name+")")
		if median(r) < leastRatio {
			b.Errorf("%s: the gateway made %.3f of the pass-through's queries a second (between %.3f and %.3f with 95 %% confidence, %d pairs of slices), want ≥ %.2f", mode.name, median(r), low, high, len(r), leastRatio)
		}
	}
	st, err := p.api.Status(context.Background())
	if err != nil || st.Counts.Commands == 0 || st.Counts.MovesFailed+st.Counts.Refused+st.Counts.Unknown > 16 { // sysbench is killed: its connections may be lost with a query under way
		b.Errorf("the gateway saw trouble: %+v, %v", st.Counts, err)
	}
	b.ReportMetric(0, "ns/op")
}
