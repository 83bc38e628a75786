package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/demo"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
)

// build gives the test a folder of its own with both programs, by which it knows its processes. They are compiled once.
func build(t *testing.T) string {
	t.Helper()
	from, err := built()
	if err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, f := range files {
		if err := os.Link(filepath.Join(from, f.Name()), filepath.Join(dir, f.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// built makes the folder that they are compiled into.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "windlass-programs-")
	if err != nil {
		return "", err
	}
	programs = dir
	if out, err := exec.Command("go", "build", "-o", dir+"/", "github.com/windlass-db/windlass/cmd/...", "github.com/windlass-db/windlass/examples/jobs/...").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w: %s", err, out)
	}
	return dir, nil
})

var programs string // that folder; TestMain removes it

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// left lists processes whose command line names the folder.
func left(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err == nil && strings.Contains(string(b), dir) && !strings.HasPrefix(f, fmt.Sprintf("/proc/%d/", os.Getpid())) {
			found = append(found, f+": "+strings.ReplaceAll(string(b), "\x00", " "))
		}
	}
	return found
}

// TestDemoRaisesARealFleet runs the main job as a user would: six clusters on real servers under load, with one rollback.
func TestDemoRaisesARealFleet(t *testing.T) {
	t.Parallel()
	bin, dir := build(t), t.TempDir()
	report := filepath.Join(dir, "report.json")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "windlass"), "demo", "bluegreen", "--once", "--rollback-one", "--report", report, "--dir", filepath.Join(dir, "d"), "--listen", freeAddress(t), "--limit", "9m")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = time.Minute
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("exit: %v", err)
	}
	if l := left(t, dir); len(l) > 0 {
		t.Errorf("still running: %s", strings.Join(l, "\n"))
	}
	b, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	var r demo.Report
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	if r.Clusters != 6 || r.Upgraded != 6 || r.Client.Queries == 0 || r.Client.AckedWrites == 0 || r.Client.Errors != 0 || r.Client.ForcedReconnects != 0 || r.Client.LostWrites != 0 || r.Client.DuplicateWrites != 0 {
		t.Errorf("report: %s", b)
	}
	if r.RolledBack == nil || r.RolledBack.FoundOnOld == 0 || !strings.HasPrefix(r.RolledBack.OldVersion, "10.11.") || !r.RolledBack.ForwardedAgain {
		t.Errorf("rollback: %+v", r.RolledBack)
	}
	kinds := map[string]int{}
	for _, s := range r.Switchovers {
		kinds[s.Kind]++
	}
	if kinds["storage"] != 8 || kinds["gateway"] != 6 { // six forward, one back and one forward again
		t.Errorf("switchovers: %v", kinds)
	}
}

// TestCtrlCStopsEverythingThatTheDemoStarted interrupts the demo in the middle.
func TestCtrlCStopsEverythingThatTheDemoStarted(t *testing.T) {
	t.Parallel()
	bin, dir := build(t), t.TempDir()
	out := filepath.Join(dir, "out")
	log, err := os.Create(out)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	said := func() string { b, _ := os.ReadFile(out); return string(b) }
	tee, pipe, err := os.Pipe() // as in make demo | tee log: what reads it ends with the same Ctrl-C
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	go func() { _, _ = io.Copy(io.Discard, tee) }() // until it is closed
	cmd := exec.Command(filepath.Join(bin, "windlass"), "demo", "bluegreen", "--once", "--dir", filepath.Join(dir, "d"), "--listen", freeAddress(t), "--limit", "5m")
	cmd.Stdout, cmd.Stderr = pipe, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	stop := time.Now().Add(3 * time.Minute)
	for len(left(t, filepath.Join(dir, "d", "nodes", "qa-orders-green"))) == 0 { // a supervisor has made a green node
		select {
		case err := <-done:
			t.Fatalf("the demo ended by itself: %v: %s", err, said())
		default:
		}
		if time.Now().After(stop) {
			_ = cmd.Process.Signal(os.Interrupt)
			<-done
			t.Fatalf("no green node was made: %s", said())
		}
		time.Sleep(100 * time.Millisecond)
	}
	if second, err := exec.Command(filepath.Join(bin, "windlass"), "demo", "bluegreen", "--once", "--dir", filepath.Join(dir, "d"), "--listen", freeAddress(t)).CombinedOutput(); err == nil || !strings.Contains(string(second), fmt.Sprintf("another demo, process %d,", cmd.Process.Pid)) {
		t.Errorf("a second demo in the folder: %v: %s", err, second)
	}
	if err := errors.Join(tee.Close(), pipe.Close(), cmd.Process.Signal(os.Interrupt)); err != nil {
		t.Fatal(err)
	}
	processtest.Until(t, time.Minute, "the demo stops what it started", func() bool { return strings.Contains(said(), "What the demo started is stopped first") })
	for _, impatient := range []os.Signal{os.Interrupt, syscall.SIGHUP} { // who then closes the terminal
		if err := cmd.Process.Signal(impatient); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case err := <-done:
		var ended *exec.ExitError
		if !errors.As(err, &ended) || ended.ExitCode() != 130 || !strings.HasSuffix(said(), "windlass: interrupted\n") {
			t.Errorf("an interrupted demo: %v: %s", err, said())
		}
	case <-time.After(2 * time.Minute):
		t.Fatal("the demo does not end")
	}
	if l := left(t, dir); len(l) > 0 {
		t.Errorf("still running after Ctrl-C: %s", strings.Join(l, "\n"))
	}
}
