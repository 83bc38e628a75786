package gateway

import (
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

func startPassThrough(t testing.TB, target string) string {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), passThroughEnv+"="+target)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	return startProgram(t, cmd, in)
}

func startProgram(t testing.TB, cmd *exec.Cmd, in io.Closer) string {
	t.Helper()
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
	return strings.TrimSpace(string(line[:n]))
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
// selects on 8 connections, in interleaved rounds; what is printed are medians of each round's ratios. WINDLASS_BENCH_ROUNDS
// says how many rounds.
func BenchmarkPointSelects(b *testing.B) {
	c := newCluster(b)
	sysbench(b, c.primary.Address(), "oltp_point_select", "prepare")
	targets := []struct{ name, address string }{
		{"direct", c.primary.Address()},
		{"pass-through", startPassThrough(b, c.primary.Address())},
		{"splice", startPassThrough(b, c.primary.Address()+"+splice")},
		{"gateway", c.startProcess(b, "warn").writer},
	}
	rounds, _ := strconv.Atoi(os.Getenv("WINDLASS_BENCH_ROUNDS"))
	if rounds == 0 {
		rounds = 9
	}
	for _, mode := range []string{"disable", "auto"} {
		rates := map[string][]float64{}
		for round := range rounds {
			for i := range targets {
				target := targets[(i+round)%len(targets)]
				rate := sysbench(b, target.address, "oltp_point_select", "run", "--threads=8", "--time=2", "--db-ps-mode="+mode)
				rates[target.name] = append(rates[target.name], rate)
			}
		}
		ratio := func(a, of string) float64 {
			var r []float64
			for i := range rates[a] {
				r = append(r, rates[a][i]/rates[of][i])
			}
			return median(r)
		}
		for _, target := range targets {
			b.Logf("prepared statements %s: %-12s %8.0f QPS (median of %d)", mode, target.name, median(rates[target.name]), rounds)
		}
		b.Logf("prepared statements %s: gateway/pass-through %.3f, gateway/splice %.3f, gateway/direct %.3f", mode, ratio("gateway", "pass-through"), ratio("gateway", "splice"), ratio("gateway", "direct"))
		b.ReportMetric(ratio("gateway", "pass-through"), "gateway/pass-through(ps="+mode+")")
	}
	b.ReportMetric(0, "ns/op")
}
