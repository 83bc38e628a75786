package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/demo"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
)

// TestRollingDemo runs the demo as a user would, over both databases: six nodes behind HAProxy, the control plane in processes of its
// own. (C1 to C7)
func TestRollingDemo(t *testing.T) {
	t.Parallel()
	bin := build(t)
	for _, db := range []string{"postgres", "mariadb"} {
		t.Run(db, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			report := filepath.Join(dir, "report.json")
			ctx, cancel := context.WithTimeout(context.Background(), 6*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, filepath.Join(bin, "windlass"), "demo", "rolling", "--once", "--db", db, "--report", report, "--dir", filepath.Join(dir, "d"), "--listen", freeAddress(t), "--limit", "5m")
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
			var r demo.RollingReport
			if err := json.Unmarshal(b, &r); err != nil {
				t.Fatal(err)
			}
			if r.Requests < 100 || r.Failed != 0 || r.JobsStarted < 10 || r.JobsDone != r.JobsStarted || r.JobsAcross == 0 || r.MinServingShare < 0.6 || r.MinServingShare > 0.9 || !r.FeaturesAfterLast || r.P99BeforeMS <= 0 || r.P99DuringMS <= 0 {
				t.Errorf("report: %s", b)
			}
			for _, key := range []string{"requests", "failed", "p99_ms_before", "p99_ms_during", "jobs_started", "jobs_done", "jobs_started_old_finished_new", "min_serving_share", "features_opened_after_last_node"} {
				if !bytes.Contains(b, []byte(`"`+key+`":`)) {
					t.Errorf("the report has no %s", key)
				}
			}
		})
	}
	t.Cleanup(func() {
		if l := left(t, bin); len(l) > 0 {
			t.Errorf("still running: %s", strings.Join(l, "\n"))
		}
	})
}

// TestCtrlCStopsTheRollingDemo interrupts it when the supervisor has a node of the new version.
func TestCtrlCStopsTheRollingDemo(t *testing.T) {
	t.Parallel()
	bin, dir := build(t), t.TempDir()
	var out bytes.Buffer
	cmd := exec.Command(filepath.Join(bin, "windlass"), "demo", "rolling", "--once", "--dir", filepath.Join(dir, "d"), "--listen", freeAddress(t), "--limit", "5m")
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	processtest.Until(t, 4*time.Minute, "a node of the new version", func() bool {
		select {
		case err := <-done:
			t.Fatalf("the demo ended by itself: %v: %s", err, out.String())
		default:
		}
		for _, line := range left(t, bin) {
			if strings.Contains(line, "/jobs-1.1 ") {
				return true
			}
		}
		return false
	})
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		if err == nil {
			t.Error("an interrupted demo exits 0")
		}
	case <-time.After(2 * time.Minute):
		t.Fatal("the demo does not end")
	}
	if l := append(left(t, dir), left(t, bin)...); len(l) > 0 {
		t.Errorf("still running after Ctrl-C: %s\n%s", strings.Join(l, "\n"), out.String())
	}
}
