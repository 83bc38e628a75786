package gateway

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/driver/process/processtest"
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

// passThrough copies bytes between a client and the target, and knows nothing of the protocol. With splice the kernel copies.
func passThrough(target string) {
	target, splice := strings.CutSuffix(target, "+splice")
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
			go copyBytes(server, client, splice)
			copyBytes(client, server, splice)
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

// cpu is the processor time that a process has used, from Linux's /proc; 0 for no process.
func cpu(t testing.TB, pid int) time.Duration {
	t.Helper()
	if pid == 0 {
		return 0
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * (time.Second / 100) // a tick
}

var sysbenchRate = regexp.MustCompile(`transactions:\s+\d+\s+\(([\d.]+) per sec`)

// sysbench runs a script against an address, and answers transactions a second.
func sysbench(t testing.TB, address, script, step string, args ...string) float64 {
	t.Helper()
	host, port, _ := net.SplitHostPort(address)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sysbench", append([]string{script, "--mysql-host=" + host, "--mysql-port=" + port, "--mysql-user=" + processtest.AppUser, "--mysql-password=" + processtest.AppPassword,
		"--mysql-db=gw", "--tables=1", "--table-size=10000", "--db-driver=mysql"}, append(args, step)...)...)
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

func median(v []float64) float64 {
	v = slices.Clone(v)
	slices.SortFunc(v, cmp.Compare[float64])
	return v[len(v)/2]
}

// BenchmarkPointSelects compares the gateway with a bare byte pass-through proxy and with no proxy at all: sysbench point
// selects on 8 connections, in interleaved rounds; what is printed are medians of each round's ratios. The processor time of a query
// says the same on a machine that has other work. WINDLASS_BENCH_ROUNDS says how many rounds.
func BenchmarkPointSelects(b *testing.B) {
	c := newCluster(b)
	sysbench(b, c.primary.Address(), "oltp_point_select", "prepare")
	type target struct {
		name, address string
		pid           int
		qps, micros   []float64
	}
	direct, plain, splice, gate := &target{name: "direct", address: c.primary.Address()}, &target{name: "pass-through"}, &target{name: "splice"}, &target{name: "gateway"}
	plain.address, plain.pid = startPassThrough(b, c.primary.Address())
	splice.address, splice.pid = startPassThrough(b, c.primary.Address()+"+splice")
	p := c.startProcess(b, "warn")
	gate.address, gate.pid = p.writer, p.cmd.Process.Pid
	rounds, _ := strconv.Atoi(os.Getenv("WINDLASS_BENCH_ROUNDS"))
	if rounds == 0 {
		rounds = 9
	}
	const seconds = 2
	for _, mode := range []string{"disable", "auto"} {
		targets := []*target{direct, plain, gate, splice}
		for _, t := range targets {
			t.qps, t.micros = nil, nil
		}
		for round := range rounds {
			targets[1], targets[2] = targets[2], targets[1] // neighbours in time, either of them first in turn
			for _, t := range targets {
				before := cpu(b, t.pid)
				rate := sysbench(b, t.address, "oltp_point_select", "run", "--threads=8", fmt.Sprintf("--time=%d", seconds), "--db-ps-mode="+mode)
				t.qps = append(t.qps, rate)
				t.micros = append(t.micros, (cpu(b, t.pid)-before).Seconds()*1e6/(rate*seconds))
			}
			b.Logf("prepared statements %s, round %d: pass-through %.0f, gateway %.0f QPS", mode, round+1, plain.qps[round], gate.qps[round])
		}
		ratio := func(a, of []float64) float64 {
			var r []float64
			for i := range a {
				r = append(r, a[i]/of[i])
			}
			return median(r)
		}
		for _, t := range targets {
			b.Logf("prepared statements %s: %-12s %8.0f QPS, %5.1f µs of processor time a query (medians of %d)", mode, t.name, median(t.qps), median(t.micros), rounds)
		}
		b.Logf("prepared statements %s: gateway/pass-through %.3f in QPS, %.3f in processor time; gateway/splice %.3f, gateway/direct %.3f in QPS",
			mode, ratio(gate.qps, plain.qps), ratio(gate.micros, plain.micros), ratio(gate.qps, splice.qps), ratio(gate.qps, direct.qps))
		b.ReportMetric(ratio(gate.qps, plain.qps), "gateway/pass-through(ps="+mode+")")
		b.ReportMetric(ratio(gate.micros, plain.micros), "cpu-gateway/pass-through(ps="+mode+")")
	}
	b.ReportMetric(0, "ns/op")
}
