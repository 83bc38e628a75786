package enginetest

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
)

// World is a journal under test, with what stands around it.
type World struct {
	Journal engine.Journal
	// Lease leases the one action of the world, as the next holder; false if it can't be leased now.
	Lease func(t *testing.T) (engine.Assignment, bool)
	// Pass lets that much time pass on the journal's clock.
	Pass func(d time.Duration)
	// Abort notes that a person wants the action to stop.
	Abort func(t *testing.T)
	// Outcome tells how the action ended, "" if it has not.
	Outcome func(t *testing.T) engine.Outcome
}

// Journal shows that a journal keeps the rules that the engine counts on. NewWorld makes a fresh journal with one action, of two
// steps or more, that can be leased.
func Journal(t *testing.T, newWorld func(t *testing.T) World) {
	ctx := context.Background()
	lease := func(t *testing.T, w World) engine.Assignment {
		t.Helper()
		a, ok := w.Lease(t)
		if !ok {
			t.Fatal("the action can't be leased")
		}
		if a.Term <= 0 || a.LeaseTTL <= 0 || len(a.Plan.Steps) < 2 {
			t.Fatalf("leased with term %d for %v, %d steps", a.Term, a.LeaseTTL, len(a.Plan.Steps))
		}
		return a
	}
	ok := func(t *testing.T, what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	fenced := func(t *testing.T, w World, a engine.Assignment) {
		t.Helper()
		_, err := w.Journal.Heartbeat(ctx, a.ActionID, a.Term)
		for what, err := range map[string]error{
			"heartbeat": err,
			"record":    second(w.Journal.Record(ctx, a.ActionID, a.Term, row(a, 1, engine.Intent))),
			"turn":      w.Journal.Turn(ctx, a.ActionID, a.Term, "late"),
			"finish":    w.Journal.Finish(ctx, a.ActionID, a.Term, engine.NeedsHuman, "late"),
		} {
			if !errors.Is(err, engine.ErrFenced) {
				t.Errorf("%s under a term that is over: %v, want ErrFenced", what, err)
			}
		}
	}

	t.Run("one holder at a time, until its lease runs out", func(t *testing.T) { // trap 1
		w := newWorld(t)
		a := lease(t, w)
		if _, again := w.Lease(t); again {
			t.Fatal("leased twice")
		}
		w.Pass(a.LeaseTTL / 2)
		_, err := w.Journal.Heartbeat(ctx, a.ActionID, a.Term)
		ok(t, "heartbeat", err)
		w.Pass(a.LeaseTTL * 3 / 4)
		if _, again := w.Lease(t); again {
			t.Fatal("leased though the heartbeat prolonged the lease")
		}
		w.Pass(a.LeaseTTL / 2)
		b := lease(t, w)
		if b.Term <= a.Term {
			t.Fatalf("term %d came after %d", b.Term, a.Term)
		}
		fenced(t, w, a)
		if err := w.Journal.Release(ctx, a.ActionID, a.Term, 0); !errors.Is(err, engine.ErrFenced) {
			t.Errorf("release under an old term: %v", err)
		}
		ok(t, "the new holder's record", second(w.Journal.Record(ctx, b.ActionID, b.Term, row(b, 0, engine.Intent))))
	})
	t.Run("rows, status and outputs come back at the next lease", func(t *testing.T) {
		w := newWorld(t)
		a := lease(t, w)
		rec := row(a, 0, engine.Done)
		rec.Status = json.RawMessage(`{"cursor": 7}`)
		rec.Message = "seen"
		rec.Outputs = &engine.Outputs{Cells: []fleet.Cell{{Name: "made", Version: "11.8", Owner: "us"}}}
		ok(t, "record", second(w.Journal.Record(ctx, a.ActionID, a.Term, rec)))
		ok(t, "turn", w.Journal.Turn(ctx, a.ActionID, a.Term, "because"))
		for range 2 { // the first answer may have been lost
			ok(t, "release", w.Journal.Release(ctx, a.ActionID, a.Term, time.Minute))
		}
		fenced(t, w, a)
		if _, early := w.Lease(t); early {
			t.Fatal("leased before the wait was over")
		}
		w.Pass(time.Minute + time.Second)
		b := lease(t, w)
		if b.Term <= a.Term {
			t.Fatalf("term %d came after %d", b.Term, a.Term)
		}
		var got engine.StepRecord
		for _, r := range b.Steps {
			if r.Index == 0 {
				got = r
			}
		}
		var status struct{ Cursor int }
		if err := json.Unmarshal(got.Status, &status); err != nil || status.Cursor != 7 {
			t.Errorf("status came back as %s", got.Status)
		}
		if got.Phase != engine.Done || got.Message != "seen" || !got.StartedAt.Equal(rec.StartedAt) {
			t.Errorf("the row came back as %+v", got)
		}
		if c, there := b.Cluster.Cell("made"); !there || c.Owner != "us" {
			t.Errorf("the cell did not come back: %+v", b.Cluster.Cells)
		}
		if !b.Turned || b.Reason != "because" {
			t.Errorf("turned %v because %q", b.Turned, b.Reason)
		}
	})
	t.Run("writes may be repeated", func(t *testing.T) {
		w := newWorld(t)
		a := lease(t, w)
		for range 2 {
			ok(t, "record", second(w.Journal.Record(ctx, a.ActionID, a.Term, row(a, 0, engine.Intent))))
		}
		for range 2 {
			ok(t, "turn", w.Journal.Turn(ctx, a.ActionID, a.Term, "because"))
		}
		for range 2 {
			ok(t, "finish", w.Journal.Finish(ctx, a.ActionID, a.Term, engine.WentBack, "because"))
		}
		if o := w.Outcome(t); o != engine.WentBack {
			t.Fatalf("ended as %q", o)
		}
		fenced(t, w, a)
		w.Pass(2 * a.LeaseTTL)
		if _, again := w.Lease(t); again {
			t.Fatal("leased after its end")
		}
	})
	t.Run("a heartbeat brings an abort", func(t *testing.T) {
		w := newWorld(t)
		a := lease(t, w)
		if abort, err := w.Journal.Heartbeat(ctx, a.ActionID, a.Term); abort || err != nil {
			t.Fatalf("%v, %v", abort, err)
		}
		w.Abort(t)
		if abort, err := w.Journal.Heartbeat(ctx, a.ActionID, a.Term); !abort || err != nil {
			t.Fatalf("%v, %v", abort, err)
		}
	})
	t.Run("a record's answer brings an abort that was asked for before", func(t *testing.T) {
		w := newWorld(t)
		a := lease(t, w)
		for _, asked := range []bool{false, true} {
			if asked {
				w.Abort(t)
			}
			for _, p := range []engine.Phase{engine.Intent, engine.Intent, engine.Waiting} { // the first answer may have been lost
				if abort, err := w.Journal.Record(ctx, a.ActionID, a.Term, row(a, 0, p)); abort != asked || err != nil {
					t.Fatalf("%s, asked for %v: %v, %v", p, asked, abort, err)
				}
			}
		}
	})
	t.Run("a context that is over writes nothing", func(t *testing.T) {
		w := newWorld(t)
		a := lease(t, w)
		over, cancel := context.WithCancel(ctx)
		cancel()
		if err := w.Journal.Finish(over, a.ActionID, a.Term, engine.Completed, ""); err == nil {
			t.Fatal("finished under a context that was over")
		}
		if o := w.Outcome(t); o != "" {
			t.Fatalf("ended as %q", o)
		}
	})
}

func second(_ bool, err error) error { return err }

func row(a engine.Assignment, i int, p engine.Phase) engine.StepRecord {
	return engine.StepRecord{Index: i, Kind: a.Plan.Steps[i].Kind, Phase: p, Message: string(p), StartedAt: time.UnixMicro(1_800_000_000_000_000).UTC()}
}
