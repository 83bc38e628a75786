package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/capture/store"
	"github.com/windlass-db/windlass/internal/replay/session"
	"github.com/windlass-db/windlass/internal/replay/tally"
)

// childsTask is what a replay in a process of its own is to do, as the tests kill it.
type childsTask struct {
	From, State, Target, Reference string
	Dies                           string // "before" or "after" it writes down that something is counted; "": it does not
}

// dying is a checkpoint whose process ends without a word at the first write that has counted anything.
type dying struct {
	Checkpoint
	when string
}

func (d dying) Save(ctx context.Context, data []byte) error {
	t, err := Merge(data)
	if err != nil {
		return err
	}
	if t.Captured == 0 || d.when == "after" {
		if err := d.Checkpoint.Save(ctx, data); err != nil {
			return err
		}
	}
	if t.Captured == 0 {
		return nil
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
		return err
	}
	select {}
}

const taskVariable = "WINDLASS_REPLAY_TASK"

func TestMain(m *testing.M) {
	if task := os.Getenv(taskVariable); task != "" {
		if err := child(task); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func child(text string) error {
	var task childsTask
	if err := json.Unmarshal([]byte(text), &task); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	b, err := store.Open(ctx, task.From)
	if err != nil {
		return err
	}
	target, err := session.ParseDSN(task.Target)
	if err != nil {
		return err
	}
	reference, err := session.ParseDSN(task.Reference)
	if err != nil {
		return err
	}
	state := File(task.State)
	if task.Dies != "" {
		state = dying{state, task.Dies}
	}
	_, err = Run(ctx, Config{Source: Bucket(b, Range{}), Target: target, Reference: &reference, Checkpoint: state, Identity: "x", saves: time.Millisecond})
	return err
}

// countedIn is how many statements a state file has.
func (w *world) countedIn(t *testing.T, path string) int64 {
	t.Helper()
	state, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	got, err := Merge(state)
	if err != nil {
		t.Fatal(err)
	}
	return got.Captured
}

// killed: wherever a replay is killed, the next one goes on, and in the end each statement is counted once.
func killed(t *testing.T, w *world) {
	r := w.record(t)
	a, b := r.Session("app"), r.Session("app")
	p := b.Prepare("SELECT name FROM t WHERE id = ?")
	for i := range 40 {
		for j := range 10 {
			a.Query(fmt.Sprintf("SELECT name FROM t WHERE id = %d", i*10+j))
			b.Execute(p, j > 0, i)
		}
		b.Query("SELECT conv(255, 10, 62)")
		a.Query("UPDATE t SET name = name WHERE id = 1")
		r.Rotate()
	}
	a.Close()
	b.Close()
	r.Close()
	dsn := func(s session.Server) string { return s.Config.FormatDSN() }
	task := childsTask{From: r.Dir, State: filepath.Join(t.TempDir(), "state"), Target: dsn(server(w.new)), Reference: dsn(server(w.old))}
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 1))
	kills := 0
	for done := false; !done; {
		task.Dies = ""
		if kills < 2 { // at the two edges of a write, and then anywhere
			task.Dies = []string{"before", "after"}[kills]
		}
		text, err := json.Marshal(task)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), taskVariable+"="+string(text))
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		wait := time.Minute
		if kills >= 2 && kills < 7 {
			wait = 20*time.Millisecond + time.Duration(rng.IntN(150))*time.Millisecond
		}
		select {
		case err := <-ended:
			if done = err == nil; done {
				break
			}
			if task.Dies == "" {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if n := w.countedIn(t, task.State); (n > 0) != (task.Dies == "after") {
				t.Errorf("it died %s it wrote down what it had counted, and %d statements are there", task.Dies, n)
			}
			kills++
		case <-time.After(wait):
			cmd.Process.Kill()
			<-ended
			kills++
		}
	}
	state, err := os.ReadFile(task.State)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Merge(state)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("killed %d times (seed %d)", kills, seed)
	if kills < 2 {
		t.Errorf("it was killed %d times", kills)
	}
	if got.Captured != r.Counted || got.Unaccounted() != 0 || got.Skipped[tally.SkipWrite] != 40 || got.Replayed != r.Counted-40 || len(got.Dropped) > 0 {
		t.Errorf("seed %d: captured %d of %d, replayed %d, %v %v %v", seed, got.Captured, r.Counted, got.Replayed, got.Skipped, got.Unreplayable, got.Dropped)
	}
	if d := counted(t, got, "conv").Differences; len(d) != 1 || d["content"] == nil || d["content"].Real != 40 {
		t.Errorf("seed %d: the difference was counted %+v", seed, d)
	}
}
