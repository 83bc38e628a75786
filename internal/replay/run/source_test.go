package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/capture/store"
	"github.com/windlass-db/windlass/internal/replay/tally"
)

// damaged: what can't be read of a file is counted, and the rest is replayed.
func damaged(t *testing.T, w *world) {
	r := w.record(t)
	s := r.Session("app")
	for range 4 {
		for i := range 20 {
			s.Query(fmt.Sprintf("SELECT name FROM t WHERE id = %d", i))
		}
		r.Rotate()
	}
	s.Close()
	r.Close()
	files, err := filepath.Glob(filepath.Join(r.Dir, "*", "*", "*"))
	if err != nil || len(files) != 5 {
		t.Fatal(files, err)
	}
	slices.Sort(files)
	if err := os.WriteFile(files[0], nil, 0o600); err != nil { // nothing was written yet
		t.Fatal(err)
	}
	b, err := os.ReadFile(files[1])
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(files[1], b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(files[3], 40); err != nil {
		t.Fatal(err)
	}
	got := w.replay(t, r, nil)
	if got.Replayed != 20 || got.Dropped["lost"] == 0 || got.Notes["damaged place in the capture"] != 1 || got.Notes["file that ends in the middle of a block"] != 1 {
		t.Errorf("%d replayed, %v %v", got.Replayed, got.Dropped, got.Notes)
	}
	noFindings(t, got)
}

// stopped: a replay that is interrupted gives what it has, and it balances.
func stopped(t *testing.T, w *world) {
	for _, speed := range []float64{0, 1} {
		r := cadence(t, w, 3, 300*time.Millisecond)
		r.Close()
		ctx, cancel := context.WithCancel(t.Context())
		got, err := w.run(t, ctx, r, func(c *Config) {
			c.Speed, c.every = speed, time.Millisecond
			c.Progress = func(p Progress) {
				if p.Replayed > 5 {
					cancel()
				}
			}
		})
		if speed > 0 && (!errors.Is(err, context.Canceled) || got.Replayed == 0 || got.Replayed == r.Counted) {
			t.Errorf("speed %v: %d of %d: %v", speed, got.Replayed, r.Counted, err)
		}
		noFindings(t, got)
		cancel()
	}
}

// goesOn: what the end of a replay breaks off is no gap: whoever goes on replays it.
func goesOn(t *testing.T, w *world) {
	r := w.record(t)
	s := r.Session("app")
	for i := range 100 {
		s.Query(fmt.Sprintf("SELECT name FROM t WHERE id = %d", i))
		s.Query("SELECT conv(255, 10, 62)")
		if i%10 == 9 {
			r.Rotate()
		}
		time.Sleep(3 * time.Millisecond) // that is what is recorded
	}
	s.Close()
	r.Close()
	state := filepath.Join(t.TempDir(), "state")
	config := func(c *Config) { c.Checkpoint, c.Identity = File(state), "x" }
	broken := int64(0)
	for range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		got, err := w.run(t, ctx, r, func(c *Config) {
			config(c)
			c.Speed, c.every = 0.05, time.Millisecond // so slow that it has read all, and is nowhere near the end
			c.Progress = func(p Progress) {
				if p.Replayed > 25 {
					cancel()
				}
			}
		})
		cancel()
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("it was not broken off: %v", err)
		}
		broken += got.Skipped[tally.SkipInterrupted]
	}
	if broken == 0 {
		t.Error("nothing was under way when it was broken off")
	}
	got := w.replay(t, r, config)
	if got.Captured != r.Counted || got.Replayed != r.Counted || len(got.Skipped) > 0 || len(got.Unreplayable) > 0 {
		t.Errorf("%d captured, %d replayed of %d, %v %v", got.Captured, got.Replayed, r.Counted, got.Skipped, got.Unreplayable)
	}
	if d := counted(t, got, "conv").Differences; len(d) != 1 || d["content"] == nil || d["content"].Real != 100 {
		t.Errorf("the difference was counted %+v", d)
	}
}

// growing: what arrives is replayed so much later.
func growing(t *testing.T, w *world) {
	r := w.record(t)
	s := r.Session("app")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	const delay = 300 * time.Millisecond
	var recorded atomic.Int64
	recorded.Store(-1)
	var recording sync.WaitGroup
	began := time.Now()
	got, err := w.run(t, ctx, r, func(c *Config) {
		b, err := store.Open(ctx, r.Dir)
		if err != nil {
			t.Fatal(err)
		}
		c.Source, c.Speed, c.Delay = Bucket(b, Range{Follow: true}), 1, delay
		c.started = func() {
			recording.Go(func() {
				for i := range 4 {
					for j := range 10 {
						s.Query(fmt.Sprintf("SELECT name FROM t WHERE id = %d", i*10+j))
					}
					r.Rotate()
				}
				r.Close()
				recorded.Store(r.Counted)
			})
		}
		c.Progress = func(p Progress) {
			if p.Replayed == recorded.Load() {
				cancel()
			}
		}
	})
	recording.Wait()
	if !errors.Is(err, context.Canceled) || got.Replayed != 40 {
		t.Errorf("%d were replayed: %v %v %v", got.Replayed, err, got.Skipped, got.Unreplayable)
	}
	if took := time.Since(began); took < delay {
		t.Errorf("it took %v", took)
	}
	noFindings(t, got)
}
