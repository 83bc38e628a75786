package datacheck_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/datacheck"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/fleet"
)

// TestMain runs one comparison that is killed, when the test starts itself again for that.
func TestMain(m *testing.M) {
	if dir := os.Getenv("WINDLASS_DATACHECK_CHILD"); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child compares with the status of the folder, and is killed right after its n-th save.
func child(dir string) error {
	var c fleet.Cluster
	b, err := os.ReadFile(filepath.Join(dir, "cluster"))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return err
	}
	k, err := datacheck.New(datacheck.Config{Access: access, Every: time.Nanosecond})
	if err != nil {
		return err
	}
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	after, err := strconv.Atoi(os.Getenv("WINDLASS_DATACHECK_SAVES"))
	if err != nil {
		return err
	}
	res, err := k.Compare(context.Background(), c, "blue", "green", campaign.Verify{ChunkRows: 500}, status, func(_ context.Context, st any, _ float64, msg string) error {
		b, err := json.Marshal(st)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "status.new"), b, 0o600); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(dir, "status.new"), filepath.Join(dir, "status")); err != nil {
			return err
		}
		if after--; after == 0 {
			return syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
		return nil
	})
	if err != nil {
		return err
	}
	b, err = json.Marshal(res)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "results"), b, 0o600)
}

// killedAtEverySave kills the comparison with SIGKILL after its first save, then the next run after its third one,
// and so on until one run gets to the end: every run goes on where the one before it was killed, the verdict is the
// right one, with the difference that was planted, and all appliers run. trap 34, trap 35
func killedAtEverySave(t *testing.T, w *world) {
	w.plant(t, "INSERT INTO app.load_rows VALUES (900000, 1, 'x')") // a row that no replicated change heals
	stop := load(t, w.primary)
	dir := w.dir(t)
	kills := 0
	for saves := 1; ; saves += 2 {
		out, err := process(t, dir, saves).CombinedOutput()
		if err == nil {
			break
		}
		var ended *exec.ExitError
		if !errors.As(err, &ended) || ended.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("run %d: %v: %s", saves, err, out)
		}
		kills++
		if saves > 200 {
			t.Fatal("it never ends")
		}
	}
	stop()
	last, res := readStatus(t, dir), read(t, dir, "results")
	if !strings.Contains(res, "id=900000 is there in addition") || strings.Count(res, "data-rows") != 1 {
		t.Errorf("verdict: %s", res)
	}
	t.Logf("%d kills, verified at %d positions: %s", kills, len(last.Rounds), res)
	if kills < 4 || len(last.Rounds) < 2 {
		t.Errorf("%d kills, %d rounds: nothing was resumed", kills, len(last.Rounds))
	}
	running(t, w.green)
	running(t, w.replica)
	w.plant(t, "DELETE FROM app.load_rows WHERE id = 900000")
}

// killedWhileHeld kills the comparison with SIGKILL while a server is stopped, and while one runs until
// a position where it would stop: the next run lets both go on and gets to the end. trap 35
func killedWhileHeld(t *testing.T, w *world) {
	write := func() { w.primary.Exec(t, "UPDATE app.load_rows SET v = v + 1 WHERE id = 1") }
	t.Run("stopped, since the reference is behind", func(t *testing.T) {
		release := block(t, w.replica)
		write()
		w.green.CatchUp(t, w.primary)
		w.killedWhile(t, "Slave_SQL_Running No", func() {}, release)
	})
	t.Run("on its way to the position", func(t *testing.T) {
		// A table that the check reads on the reference after it has stopped the new server, and before its snapshot.
		c, err := w.replica.Admin.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.ExecContext(t.Context(), "LOCK TABLES app.sq WRITE"); err != nil {
			t.Fatal(err)
		}
		release := func() {}
		w.killedWhile(t, "it runs until Gtid", func() {
			processtest.Until(t, 30*time.Second, "the new server is stopped", func() bool { return len(stopped(t, w.green)) > 0 })
			release = block(t, w.green)
			write()
			w.replica.CatchUp(t, w.primary)
			if _, err := c.ExecContext(t.Context(), "UNLOCK TABLES"); err != nil {
				t.Fatal(err)
			}
		}, func() { release() })
	})
}

// killedWhile kills a run while that is seen of the new server, and lets another one get to the end.
func (w *world) killedWhile(t *testing.T, held string, started, release func()) {
	t.Helper()
	dir := w.dir(t)
	cmd := process(t, dir, 0)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	started()
	processtest.Until(t, 30*time.Second, held, func() bool { return slices.Contains(stopped(t, w.green), held) })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("it was not killed")
	}
	if st := readStatus(t, dir); !slices.Equal(st.Stopped, []string{"green-1"}) {
		t.Errorf("the status of the killed run says %q is stopped", st.Stopped)
	}
	if !slices.Contains(stopped(t, w.green), held) {
		t.Errorf("after the kill: %v", stopped(t, w.green))
	}
	release()
	if out, err := process(t, dir, 0).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if res := read(t, dir, "results"); strings.Contains(res, `"fail"`) {
		t.Error(res)
	}
	running(t, w.green)
	running(t, w.replica)
}

// block lets a replica's applier wait at its next change of a row, until it is released.
func block(t *testing.T, s *processtest.Server) (release func()) {
	t.Helper()
	tx, err := s.Admin.Begin()
	if err != nil {
		t.Fatal(err)
	}
	var v int
	if err := tx.QueryRow("SELECT id FROM app.load_rows WHERE id = 1 FOR UPDATE").Scan(&v); err != nil {
		t.Fatal(err)
	}
	release = sync.OnceFunc(func() { tx.Rollback() })
	t.Cleanup(release)
	return release
}

// dir makes a folder for children that compare the world's cells.
func (w *world) dir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	b, err := json.Marshal(w.cluster)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cluster"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// process is a run of its own, which kills itself after so many saves; 0: never.
func process(t *testing.T, dir string, saves int) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "WINDLASS_DATACHECK_CHILD="+dir, "WINDLASS_DATACHECK_SAVES="+strconv.Itoa(saves))
	return cmd
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func readStatus(t *testing.T, dir string) (st datacheck.Status) {
	t.Helper()
	if err := json.Unmarshal([]byte(read(t, dir, "status")), &st); err != nil {
		t.Fatal(err)
	}
	return st
}

// TestAppliersRunAfterEveryFailure fails at each save, with our own context over as well: what was stopped runs again.
// trap 35
func TestAppliersRunAfterEveryFailure(t *testing.T) {
	w := newWorld(t, false) // the old cell has its primary alone: it is read without being stopped
	k := checker(t, nil)
	for n := 1; ; n += 1 + n/8*4 { // every save around the opening of the snapshots, and then some
		ctx, cancel := context.WithCancel(t.Context())
		saves := 0
		res, err := k.Compare(ctx, w.cluster, "blue", "green", campaign.Verify{ChunkRows: 1000}, nil, func(_ context.Context, _ any, _ float64, _ string) error {
			if saves++; saves == n {
				cancel()
				return errors.New("the journal is gone")
			}
			return nil
		})
		cancel()
		running(t, w.green)
		if one(t, w.primary.Admin, "SELECT @@global.read_only") != "0" {
			t.Fatal("the primary is read-only")
		}
		if err == nil {
			if !res.OK() || n < 5 {
				t.Errorf("after %d failures: %v", n-1, res)
			}
			break
		}
	}
}

// replicasAsTheyAre: replication that was stopped by somebody else is not started by us; a delay is waited for; a change of
// a definition in the middle and the end of a snapshot's life begin a new round.
func replicasAsTheyAre(t *testing.T, w *world) {
	w.green.Exec(t, "STOP SLAVE SQL_THREAD")
	k := checker(t, nil)
	if _, err := k.Compare(t.Context(), w.cluster, "blue", "green", campaign.Verify{}, nil, nothing); err == nil || !strings.Contains(err.Error(), "green-1 can't be compared") {
		t.Errorf("error: %v", err)
	}
	if len(stopped(t, w.green)) == 0 {
		t.Error("it was started")
	}
	// The status of a run that stopped it says so: then it is started.
	status, err := json.Marshal(datacheck.Status{Stopped: []string{"green-1"}})
	if err != nil {
		t.Fatal(err)
	}
	res, err := k.Compare(t.Context(), w.cluster, "blue", "green", campaign.Verify{}, status, nothing)
	if err != nil || !res.OK() {
		t.Errorf("%v %v", res, err)
	}
	running(t, w.green)

	t.Run("a lagging replica pauses the check", func(t *testing.T) {
		release := func() {}
		paused := false
		res, err := checker(t, nil).Compare(t.Context(), w.cluster, "blue", "green", campaign.Verify{ChunkRows: 1000, MaxLag: time.Second}, nil, func(ctx context.Context, _ any, _ float64, msg string) error {
			switch {
			case strings.HasPrefix(msg, "comparing at"):
				release = block(t, w.green)
				w.primary.Exec(t, "UPDATE app.load_rows SET v = v + 1 WHERE id = 1")
			case strings.HasPrefix(msg, "app.load_rows up to") && !paused:
				processtest.Until(t, 30*time.Second, "it lags", func() bool { return behind(t, w.green) > 1 })
			case strings.HasPrefix(msg, "paused: green-1 is "):
				paused = true
				release()
			}
			return nil
		})
		if err != nil || !res.OK() || !paused {
			t.Errorf("paused: %v; %v %v", paused, res, err)
		}
	})

	t.Run("a replica that stops in the middle", func(t *testing.T) {
		done := false
		_, err := checker(t, nil).Compare(t.Context(), w.cluster, "blue", "green", campaign.Verify{ChunkRows: 500}, nil, func(_ context.Context, _ any, _ float64, msg string) error {
			if !done && strings.HasPrefix(msg, "app.load_rows up to") {
				done = true
				w.green.Exec(t, "STOP SLAVE SQL_THREAD")
			}
			return nil
		})
		if err == nil || !strings.Contains(err.Error(), "green-1 can't be compared") || !strings.Contains(err.Error(), "its replication is stopped") {
			t.Errorf("error: %v", err)
		}
		if len(stopped(t, w.green)) == 0 {
			t.Error("what somebody else stopped was started")
		}
		w.green.Exec(t, "START SLAVE")
	})

	t.Run("a change of a definition in the middle", func(t *testing.T) {
		changed := false
		res, err := checker(t, nil).Compare(t.Context(), w.cluster, "blue", "green", campaign.Verify{ChunkRows: 500}, nil, func(_ context.Context, _ any, _ float64, msg string) error {
			if !changed && strings.HasPrefix(msg, "app.load_rows up to") {
				changed = true
				w.primary.Exec(t, "ALTER TABLE app.load_rows ADD COLUMN extra VARCHAR(10) DEFAULT 'e', ALGORITHM=COPY")
				w.replica.CatchUp(t, w.primary) // the replica's applier does not wait for us
				w.green.CatchUp(t, w.primary)
			}
			return nil
		})
		if err != nil || !res.OK() || !changed {
			t.Errorf("changed: %v; %v %v", changed, res, err)
		}
	})

	t.Run("old snapshots end", func(t *testing.T) {
		var last datacheck.Status
		var later time.Duration
		clock := func(c *datacheck.Config) { c.Now = func() time.Time { return time.Now().Add(later) } }
		res, err := checker(t, clock).Compare(t.Context(), w.cluster, "blue", "green", campaign.Verify{ChunkRows: 1000}, nil, func(_ context.Context, st any, _ float64, msg string) error {
			last = st.(datacheck.Status)
			if msg == "app.odd `name is compared" || msg == "app.t_nokey is compared" || strings.HasPrefix(msg, "app.load_rows up to") {
				later += time.Hour
			}
			return nil
		})
		if err != nil || !res.OK() || len(last.Rounds) < 5 {
			t.Errorf("%d rounds; %v %v", len(last.Rounds), res, err)
		}
	})

	t.Run("a large table without a key", func(t *testing.T) {
		res, err := checker(t, func(c *datacheck.Config) { c.Keyless = 1 }).Compare(t.Context(), w.cluster, "blue", "green", campaign.Verify{}, nil, nothing)
		if err != nil || res.OK() || !strings.Contains(res.String(), "data-without-key (fail): app.t_nokey") {
			t.Errorf("%v %v", res, err)
		}
	})
	running(t, w.green)
	running(t, w.replica)
}
