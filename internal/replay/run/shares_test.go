package run

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/replay/judge"
	"github.com/windlass-db/windlass/internal/replay/replaytest"
	"github.com/windlass-db/windlass/internal/replay/tally"
)

// shares: what two workers count is what one counts.
func shares(t *testing.T, w *world) {
	r := w.record(t)
	for range 9 {
		s := r.Session("app")
		for i := range 10 {
			s.Query(fmt.Sprintf("SELECT name FROM t WHERE id = %d", i))
		}
		s.Query("select conv(255, 10, 62)")
		s.Query("INSERT INTO t VALUES (1, 'x', 1, NULL)")
		s.Close()
		r.Rotate()
	}
	r.Drop("overload", 7)
	whole := w.replay(t, r, nil)
	var parts [][]byte
	for i := range 2 {
		file := File(filepath.Join(t.TempDir(), "state"))
		part := w.replay(t, r, func(c *Config) {
			c.Share, c.Checkpoint, c.Identity = Share{i, 2}, file, "x"
		})
		if part.Captured == 0 || part.Captured == whole.Captured {
			t.Errorf("share %d has %d of %d", i, part.Captured, whole.Captured)
		}
		b, err := file.Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, b)
	}
	merged, err := Merge(parts...)
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []*tally.Tally{whole, merged} {
		if got.Captured != r.Counted || got.Replayed != 9*11 || got.Skipped["write"] != 9 || got.Dropped["overload"] != 7 || got.Unaccounted() != 0 {
			t.Errorf("captured %d of %d, replayed %d: %v %v", got.Captured, r.Counted, got.Replayed, got.Skipped, got.Dropped)
		}
		if d := counted(t, got, "conv").Differences[compare.Content]; d == nil || d.Real != 9 {
			t.Errorf("the difference: %+v", d)
		}
	}
	if _, err := Merge(parts[0], parts[0]); err == nil {
		t.Error("one share was counted twice")
	}
	if len(merged.Unfinished) != 0 {
		t.Errorf("both shares have come to the end: %v", merged.Unfinished)
	}
	one, err := Merge(parts[0])
	if err != nil || one.Unfinished["share 2 of 2 is missing"] != 1 {
		t.Errorf("one share of two passes for all: %v %v", err, one.Unfinished)
	}
	// The second one is ended before its end.
	file := File(filepath.Join(t.TempDir(), "state"))
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := w.run(t, ctx, r, func(c *Config) {
		c.Share, c.Checkpoint, c.Identity, c.started = Share{1, 2}, file, "x", cancel
	}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	// Gone on with, it has come to its end.
	for i, want := range []int64{1, 0} {
		b, err := file.Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(b) == 0 { // it was ended before it had counted anything
			b = bytes.Replace(parts[1], []byte(`"over":true,`), nil, 1)
		}
		if err := file.(io.Closer).Close(); err != nil {
			t.Fatal(err)
		}
		got, err := Merge(parts[0], b)
		if err != nil || got.Unfinished["share 2 of 2 has not come to the end of the capture"] != want {
			t.Errorf("%d: %v %v", i, err, got.Unfinished)
		}
		if want == 1 {
			if rep := judge.Judge(got, judge.Once(), time.Now()); !slices.ContainsFunc(rep.Why, func(r judge.Reason) bool { return r.Code == judge.WhyUnfinished }) {
				t.Errorf("%+v", rep.Why)
			}
			w.replay(t, r, func(c *Config) { c.Share, c.Checkpoint, c.Identity = Share{1, 2}, file, "x" })
		}
	}
}

// twoGateways: several runs of several gateways are one capture, in order of time.
func twoGateways(t *testing.T, w *world) {
	r := w.record(t)
	other := replaytest.NewRun(t, r.Dir, "other", 9, w.old.Address(), processtest.AppUser, processtest.AppPassword)
	again := replaytest.NewRun(t, r.Dir, "gw", 8, w.old.Address(), processtest.AppUser, processtest.AppPassword)
	var want int64
	for _, rec := range []*replaytest.Recorder{r, other, again} {
		s := rec.Session("app")
		for i := range 30 {
			s.Query(fmt.Sprintf("SELECT name FROM t WHERE id = %d", i))
			if i%10 == 0 {
				rec.Rotate()
			}
		}
		rec.Close() // nobody says that the session ended
		want += rec.Counted
	}
	got := w.replay(t, r, nil)
	if got.Captured != want || got.Replayed != want || len(got.Dropped) > 0 {
		t.Errorf("of %d, %d were captured and %d replayed: %v", want, got.Captured, got.Replayed, got.Dropped)
	}
	noFindings(t, got)
}
