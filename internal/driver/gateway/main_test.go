package gateway_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	dataplane "github.com/windlass-db/windlass/internal/gateway"
)

// gatewayEnv makes the test's program be a gateway, in a process of its own as windlass-gateway is.
const gatewayEnv = "WINDLASS_TEST_GATEWAY"

func TestMain(m *testing.M) {
	if path := os.Getenv(gatewayEnv); path != "" {
		if err := serve(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// serve runs a gateway until its standard input ends, which it does with the test, whatever becomes of that.
func serve(path string) error {
	cfg, err := dataplane.LoadConfig(path)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	g, err := dataplane.New(ctx, cfg, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		return err
	}
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	fmt.Println(g.Addresses())
	return g.Run(ctx)
}

// process is a gateway's.
type process struct {
	cmd                     *exec.Cmd
	in                      io.Closer
	ended                   chan error
	writer, readOnly, admin string
}

// startProcess runs the configuration, and waits until it serves.
func startProcess(t testing.TB, config string) *process {
	t.Helper()
	log, err := os.Create(config + ".log")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env, cmd.Stderr = append(os.Environ(), gatewayEnv+"="+config), log
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: cmd, in: in, ended: make(chan error, 1)}
	line, err := bufio.NewReader(out).ReadString('\n')
	go func() { p.ended <- cmd.Wait() }()
	t.Cleanup(func() { p.stop(t) })
	if n, serr := fmt.Sscan(line, &p.writer, &p.readOnly, &p.admin); err != nil || n != 3 {
		text, _ := os.ReadFile(log.Name()) // for the message alone
		t.Fatalf("the gateway does not serve: %v, %v: %s", err, serr, strings.TrimSpace(string(text)))
	}
	return p
}

// stop ends the gateway by itself; kill does not ask.
func (p *process) stop(t testing.TB) { p.end(t, func() error { return p.in.Close() }) }
func (p *process) kill(t testing.TB) { p.end(t, p.cmd.Process.Kill) }

func (p *process) end(t testing.TB, how func() error) {
	t.Helper()
	if p.ended == nil {
		return
	}
	_ = how() // it may have ended by itself
	select {
	case <-p.ended:
	case <-time.After(20 * time.Second):
		_ = p.cmd.Process.Kill() // the failure below is the one that counts
		t.Error("the gateway did not end")
	}
	p.ended = nil
}

func (p *process) pause(t testing.TB, stop bool) {
	t.Helper()
	sig := syscall.SIGCONT
	if stop {
		sig = syscall.SIGSTOP
	}
	if err := p.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	if !stop {
		return
	}
	processtest.Until(t, 10*time.Second, "the gateway stands still", func() bool {
		still, err := processtest.StandsStill(p.cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		return still
	})
}
