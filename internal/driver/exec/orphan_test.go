package exec_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/driver/exec"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
)

// TestMain is a supervisor of its own when a test starts it as one.
func TestMain(m *testing.M) {
	if program := os.Getenv("CALL_OF_A_TEST"); program != "" {
		p, err := exec.New(exec.Config{Command: []string{program}, Dir: filepath.Dir(program)})
		if err == nil {
			_, err = p.Create(context.Background(), res)
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// slowly is a program whose create hangs with a child, after it has started a server in a session of its own, and another in a group of
// its own alone.
const slowly = `cd "$(dirname "$0")"
read -r request
case $request in *'"verb":"create"'*)
  setsid sh -c 'echo $$ >server; exec sleep 120' >log 2>&1 </dev/null &
  /usr/bin/python3 -c 'import os; os.setpgid(0, 0); os.execvp("sh", ["sh", "-c", "echo $$ >job; exec sleep 120"])' >log 2>&1 </dev/null &
  sh -c 'trap "" TERM; echo $$ >child; while :; do sleep 1; done' &
  echo $$ >leader
  while :; do sleep 1; done
esac
echo '{"protocol":1,"term":7,"state":{"exists":false}}'
`

// killedSupervisor leaves a create running, as kill -9 does, and tells its folder and its program.
func killedSupervisor(t *testing.T, signal syscall.Signal) (dir, program string) {
	t.Helper()
	dir = t.TempDir()
	program = filepath.Join(dir, "program")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"+slowly), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := osexec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "CALL_OF_A_TEST="+program)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"leader", "child", "server", "job"} {
		processtest.Until(t, time.Minute, f+" runs", func() bool { b, _ := os.ReadFile(filepath.Join(dir, f)); return len(b) > 0 })
	}
	t.Cleanup(func() {
		for _, f := range []string{"leader", "child", "server", "job"} {
			if alive(t, filepath.Join(dir, f)) {
				b, err := os.ReadFile(filepath.Join(dir, f))
				var pid int
				if _, serr := fmt.Sscan(string(b), &pid); err != nil || serr != nil {
					t.Errorf("%v, %v", err, serr)
				} else if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
					t.Error(err)
				}
			}
		}
	})
	if err := cmd.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	if signal == syscall.SIGKILL {
		_ = cmd.Wait() // it was killed
	} else {
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	}
	return dir, program
}

func provisionerOf(t *testing.T, program string, log *strings.Builder) *exec.Provisioner {
	t.Helper()
	p, err := exec.New(exec.Config{Command: []string{program}, Grace: 200 * time.Millisecond, Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestSupervisorKilledInACall: the next call for the resource finds the program that is left, ends it with what it started for
// itself, and leaves the servers alone that it started apart from that (trap 34).
func TestSupervisorKilledInACall(t *testing.T) {
	dir, program := killedSupervisor(t, syscall.SIGKILL)
	if !alive(t, filepath.Join(dir, "leader")) {
		t.Fatal("the program ended with its supervisor: the test shows nothing")
	}
	var log strings.Builder
	p := provisionerOf(t, program, &log)
	other := res
	other.ID = "qa-orders-green-2"
	if _, err := p.Observe(within(t), other); err != nil || !alive(t, filepath.Join(dir, "leader")) {
		t.Errorf("a call for another resource: %v", err)
	}
	if st, err := p.Observe(within(t), res); err != nil || st.Exists {
		t.Errorf("%+v, %v", st, err)
	}
	if alive(t, filepath.Join(dir, "leader")) {
		t.Error("it still ran when the next call began")
	}
	processtest.Until(t, 5*time.Second, "what it started is gone", func() bool { return !alive(t, filepath.Join(dir, "child")) })
	for _, f := range []string{"server", "job"} {
		if !alive(t, filepath.Join(dir, f)) {
			t.Errorf("the %s was ended with it", f)
		}
	}
	if !strings.Contains(log.String(), "its supervisor is gone") {
		t.Errorf("log: %s", log.String())
	}
}

// TestSupervisorPausedInACall: it lives, so its call is its own, and the program's term is what stops it (trap 1).
func TestSupervisorPausedInACall(t *testing.T) {
	dir, program := killedSupervisor(t, syscall.SIGSTOP)
	var log strings.Builder
	if _, err := provisionerOf(t, program, &log).Observe(within(t), res); err != nil {
		t.Fatal(err)
	}
	if !alive(t, filepath.Join(dir, "leader")) {
		t.Error("the call of a living supervisor was ended")
	}
}
