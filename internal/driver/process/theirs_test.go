package process_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/driver/process"
)

// TestTheirPidFile takes over a process that somebody else started, and mistakes none for it.
func TestTheirPidFile(t *testing.T) {
	cmd := exec.Command("sleep", "300")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
	s := sleeper(t)
	s.Theirs = filepath.Join(t.TempDir(), "sleeper.pid")
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(s.Theirs, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	is := func(what string, want process.State, pid int) {
		t.Helper()
		if state, got, err := s.Status(); err != nil || state != want || got != pid {
			t.Errorf("%s: %s, %d, %v", what, state, got, err)
		}
	}
	is("without a file", process.Stopped, 0)
	for _, text := range []string{"", "1", "-4", "sleeper 12", "12 34"} {
		put(text)
		if state, _, err := s.Status(); err == nil {
			t.Errorf("%q: %s", text, state)
		}
	}
	put(fmt.Sprintln(cmd.Process.Pid))
	is("one that runs", process.Running, cmd.Process.Pid)
	before := time.Now().Add(-time.Hour)
	if err := os.Chtimes(s.Theirs, before, before); err != nil {
		t.Fatal(err)
	}
	is("a pid that was given to a younger process", process.Stopped, 0)
	if err := s.Stop(within(t)); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
		t.Fatal("the younger process was ended")
	default:
	}
	put(fmt.Sprintln(cmd.Process.Pid))
	if err := s.Start(within(t)); err != nil {
		t.Fatal(err)
	}
	is("started once more", process.Running, cmd.Process.Pid)
	if err := s.Stop(within(t)); err != nil {
		t.Fatal(err)
	}
	is("stopped", process.Stopped, 0)
	if err := s.Start(within(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Kill(within(t)) })
	if state, pid, err := s.Status(); err != nil || state != process.Running || pid == cmd.Process.Pid {
		t.Errorf("ours: %s, %d, %v", state, pid, err)
	}
}
