package process_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/driver/process"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
)

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// TestBothVersionsReplicateBothWays starts real servers and follows a row each way.
func TestBothVersionsReplicateBothWays(t *testing.T) {
	for _, way := range [][2]string{{"10.11", "11.8"}, {"11.8", "10.11"}} {
		p, r := processtest.Pair(t, way[0], way[1])
		p.Exec(t, "CREATE TABLE app.t (id INT PRIMARY KEY, v VARCHAR(20)) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci")
		p.Exec(t, "INSERT INTO app.t VALUES (1, 'one')")
		r.CatchUp(t, p)
		var v string
		if err := r.Admin.QueryRow("SELECT v FROM app.t").Scan(&v); err != nil || v != "one" {
			t.Errorf("%s -> %s: %q, %v", way[0], way[1], v, err)
		}
	}
}

// TestBootsReadOnly kills a writable server: it comes back read-only (trap 2).
func TestBootsReadOnly(t *testing.T) {
	s := processtest.Primary(t, "11.8")
	spec, err := s.Spec()
	if err != nil {
		t.Fatal(err)
	}
	if err := spec.Kill(within(t)); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(within(t)); err != nil {
		t.Fatal(err)
	}
	var ro bool
	processtest.Until(t, 10*time.Second, "the server answers", func() bool { return s.Admin.Ping() == nil })
	if err := s.Admin.QueryRow("SELECT @@global.read_only").Scan(&ro); err != nil || !ro {
		t.Errorf("read_only after a kill: %t, %v", ro, err)
	}
	if _, err := s.Open(t, processtest.AppUser, processtest.AppPassword, "app").Exec("CREATE TABLE t (id INT)"); err == nil {
		t.Error("an application's account wrote on a read-only server")
	}
}

func sleeper(t *testing.T) process.Spec {
	return process.Spec{Name: "sleeper", Dir: t.TempDir(), Argv: []string{"sleep", "300"}}
}

func TestStartAndStopAreSafeToRepeat(t *testing.T) {
	s := sleeper(t)
	ctx := within(t)
	var pids [2]int
	for i := range pids {
		if err := s.Start(ctx); err != nil {
			t.Fatal(err)
		}
		_, pids[i], _ = s.Status()
	}
	if pids[0] != pids[1] || pids[0] == 0 {
		t.Errorf("started twice: %v", pids)
	}
	for range 2 {
		if err := s.Stop(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if state, _, err := s.Status(); err != nil || state != process.Stopped {
		t.Errorf("after stop: %s, %v", state, err)
	}
}

// TestRecycledPidIsNotMistaken writes a pid file whose pid lives, as another process.
func TestRecycledPidIsNotMistaken(t *testing.T) {
	s := sleeper(t)
	if err := os.WriteFile(filepath.Join(s.Dir, "windlass.pid"), fmt.Appendf(nil, "%d %d\n", os.Getpid(), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Kill(within(t)); err != nil {
		t.Fatal(err) // and if it were mistaken, this test would have killed itself
	}
	if state, _, err := s.Status(); err != nil || state != process.Stopped {
		t.Errorf("status: %s, %v", state, err)
	}
}

// TestServerOutlivesItsStarter starts the server from a process that then dies.
func TestServerOutlivesItsStarter(t *testing.T) {
	if dir := os.Getenv("WINDLASS_STARTER"); dir != "" {
		s := process.Spec{Name: "sleeper", Dir: dir, Argv: []string{"sleep", "300"}}
		if err := s.Start(context.Background()); err != nil {
			t.Fatal(err)
		}
		return
	}
	s := sleeper(t)
	cmd := exec.Command(os.Args[0], "-test.run=^TestServerOutlivesItsStarter$")
	cmd.Env = append(os.Environ(), "WINDLASS_STARTER="+s.Dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	state, _, err := s.Status()
	if err != nil || state != process.Running {
		t.Fatalf("the server ended with its starter: %s, %v", state, err)
	}
	if err := s.Kill(within(t)); err != nil {
		t.Fatal(err)
	}
}

// TestDestroyRefuses leaves alone what runs and what is not ours (trap 36).
func TestDestroyRefuses(t *testing.T) {
	s := sleeper(t)
	s.Dir = filepath.Join(s.Dir, "node")
	if err := process.Mark(s.Dir, "campaign-a"); err != nil {
		t.Fatal(err)
	}
	if err := process.Mark(s.Dir, "campaign-b"); !errors.Is(err, process.ErrNotOurs) {
		t.Errorf("marked twice: %v", err)
	}
	for _, mark := range []string{"", "campaign-b"} {
		if err := process.Destroy(s, mark); !errors.Is(err, process.ErrNotOurs) {
			t.Errorf("destroyed with the mark %q: %v", mark, err)
		}
	}
	if err := s.Start(within(t)); err != nil {
		t.Fatal(err)
	}
	if err := process.Destroy(s, "campaign-a"); err == nil {
		t.Error("destroyed while it ran")
	}
	if err := s.Kill(within(t)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := process.Destroy(s, "campaign-a"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(s.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("still there: %v", err)
	}
}

func TestServerThatEndsWhileStartingSaysWhy(t *testing.T) {
	s := process.Spec{Name: "failing", Dir: t.TempDir(), Argv: []string{"sh", "-c", "echo no room on the disk; exit 1"}, Ready: func(context.Context) error { return errors.New("no answer") }}
	err := s.Start(within(t))
	if err == nil {
		t.Fatal("started")
	}
	t.Log(err)
}
