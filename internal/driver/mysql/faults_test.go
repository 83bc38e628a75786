package mysql

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/switchover"
)

// killed is what a point panics with: the supervisor dies there.
type killed string

// switchKilledAt runs a switch that dies at the point. It reports whether the point was reached.
func switchKilledAt(t *testing.T, d *Driver, ctx context.Context, req switchover.Request, point string) (reached bool) {
	t.Helper()
	defer func() {
		if p := recover(); p != nil {
			if k, ok := p.(killed); !ok || string(k) != point {
				panic(p)
			}
			reached = true
		}
	}()
	inner := req.Point
	req.Point = func(name string) {
		if inner != nil {
			inner(name)
		}
		if name == point {
			panic(killed(name))
		}
	}
	_, err := d.Switch(ctx, req)
	t.Logf("the switch was not killed at %s: %v", point, err)
	return false
}

func other(cell string) string {
	if cell == "blue" {
		return "green"
	}
	return "blue"
}

// The supervisor dies at every point; the next one, with a higher term, fences, runs the same switch again, and it arrives.
// Trap 2, 10, 11: whatever the state in between, no acknowledged write is lost and at most one node is writable.
func TestSwitchKilledAtEveryPoint(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 1)
	l := w.load(t, 2)
	cell := "blue"
	for i, point := range Points() {
		target := other(cell)
		id := fmt.Sprintf("switch-%d", i)
		req := w.request(target, id)
		if !switchKilledAt(t, w.driver(t), bg(t), req, point) {
			t.Fatalf("%s was not reached", point)
		}
		w.atMostOne(t)
		again := w.request(target, id)
		next := w.driver(t)
		if err := next.Fence(bg(t), w.c, again.Term); err != nil {
			t.Fatalf("%s: fence: %v", point, err)
		}
		if _, err := next.Switch(bg(t), again); err != nil {
			t.Fatalf("killed at %s: the next run: %v", point, err)
		}
		if p := w.onePrimary(t); p.cell != target {
			t.Fatalf("killed at %s: the primary is %s", point, p)
		}
		cell = target
	}
	l.more(t, 20)
	l.finish(t)
	w.mustBe(t, cell)
}

// atMostOne sees that no two nodes are writable.
func (w *world) atMostOne(t testing.TB) {
	t.Helper()
	n := 0
	for _, s := range w.servers {
		var ro bool
		if err := s.Admin.QueryRow("SELECT @@global.read_only").Scan(&ro); err != nil {
			continue // down
		}
		if !ro {
			n++
		}
	}
	if n > 1 {
		t.Fatalf("%d nodes are writable", n)
	}
}

// The switch's context ends at every point, as by a person's abort. Before the commit the old primary is writable again, by a context of the
// undo's own; after it the run goes on to its end all the same.
func TestSwitchCancelledAtEveryPoint(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 1)
	l := w.load(t, 2)
	commit := slices.Index(Points(), "promote-set")
	cell := "blue"
	for i, point := range Points() {
		target := other(cell)
		req := w.request(target, fmt.Sprintf("switch-%d", i))
		ctx, cancel := context.WithCancel(bg(t))
		req.Point = func(name string) {
			if name == point {
				cancel()
			}
		}
		_, err := w.d.Switch(ctx, req)
		cancel()
		p := w.onePrimary(t)
		switch {
		case i >= commit && (err != nil || p.cell != target):
			t.Fatalf("cancelled at %s, after the promotion: the primary is %s: %v", point, p, err)
		case i >= commit:
			cell = target
		case err == nil:
			t.Fatalf("cancelled at %s: no error", point)
		case p.cell != cell:
			t.Fatalf("cancelled at %s: the primary is %s: %v", point, p, err)
		default:
			l.more(t, 3) // writes go on where they were
		}
	}
	l.finish(t)
	w.mustBe(t, cell)
}

// A switch of which nothing is begun, of which the old primary is demoted, the new one is about to be opened, or is open: Complete ends
// it where it is, and begins none; a preflight lets it through where there is something to be completed. So does a lost lease after the
// promotion leave it: nothing more is done.
func TestCompleteEndsWhatWasBegun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 1)
	l := w.load(t, 2)
	cell := "blue"
	for i, x := range []struct {
		point string
		lost  bool // the lease, instead of a kill
		moved bool
	}{{"after-tidy", false, false}, {"after-demote", false, false}, {"after-note-promotion", false, true}, {"promote-set", false, true}, {"after-events", false, true}, {"after-promote", true, true}} {
		target := other(cell)
		req := w.request(target, fmt.Sprintf("switch-%d", i))
		if x.lost {
			held, lose := context.WithCancelCause(bg(t))
			ctx, cancel := context.WithCancelCause(engine.WithHeld(bg(t), held))
			req.Point = func(name string) {
				if name == x.point {
					cancel(engine.ErrLeaseLost)
					lose(engine.ErrLeaseLost)
				}
			}
			_, err := w.d.Switch(ctx, req)
			o, oerr := w.d.Observe(bg(t), w.c)
			if p, ok := o.Primary(); err == nil || oerr != nil || !ok || p.Cell != target || p.Source == "" {
				t.Fatalf("the lease was lost at %s: %v, %+v, %v: the switch went on", x.point, err, o.Nodes, oerr)
			}
		} else if !switchKilledAt(t, w.driver(t), bg(t), req, x.point) {
			t.Fatalf("%s was not reached", x.point)
		}
		next := w.driver(t)
		again := w.request(target, fmt.Sprintf("switch-%d-of-another-action", i))
		if err := next.Fence(bg(t), w.c, again.Term); err != nil {
			t.Fatalf("%s: fence: %v", x.point, err)
		}
		cs, err := next.Preflight(bg(t), again)
		if completes := len(cs) == 1 && cs.OK(); err != nil || completes == (x.point == "after-tidy") {
			t.Errorf("%s: the preflight says %v, %v", x.point, cs, err)
		}
		for range 2 {
			if err := next.Complete(bg(t), again); err != nil {
				t.Fatalf("%s: complete: %v", x.point, err)
			}
		}
		if x.moved {
			cell = target
		}
		if p := w.onePrimary(t); p.cell != cell {
			t.Fatalf("broken off at %s, and completed: the primary is %s", x.point, p)
		}
		o, err := next.Observe(bg(t), w.c)
		if p, _ := o.Primary(); err != nil || p.Source != "" {
			t.Errorf("%s: %+v, %v", x.point, o.Nodes, err)
		}
		l.more(t, 3)
	}
	l.finish(t)
	w.mustBe(t, cell)
}

// The supervisor dies in the middle of the undo.
func TestSwitchKilledAtEveryPointOfTheUndo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 1)
	l := w.load(t, 2)
	cell := "blue"
	for i, point := range UndoPoints() {
		target := other(cell)
		req := w.request(target, fmt.Sprintf("switch-%d", i))
		ctx, cancel := context.WithCancel(bg(t))
		req.Point = func(name string) {
			if name == "after-stop" { // the last place before the promotion
				cancel()
			}
		}
		if !switchKilledAt(t, w.driver(t), ctx, req, point) {
			t.Fatalf("%s was not reached", point)
		}
		cancel()
		w.atMostOne(t)
		again := w.request(target, req.ID)
		next := w.driver(t)
		if err := next.Fence(bg(t), w.c, again.Term); err != nil {
			t.Fatalf("%s: fence: %v", point, err)
		}
		if _, err := next.Switch(bg(t), again); err != nil {
			t.Fatalf("killed at %s: the next run: %v", point, err)
		}
		if p := w.onePrimary(t); p.cell != target {
			t.Fatalf("killed at %s: the primary is %s", point, p)
		}
		cell = target
	}
	l.finish(t)
	w.mustBe(t, cell)
}

// A server dies at a point of the switch and is started again, read-only as every server boots; then the switch is run again. The
// victim is the old primary or the elect.
func TestServerKilledInTheSwitch(t *testing.T) {
	t.Parallel()
	for victim, points := range map[string][]string{
		"old":   {"after-recheck", "after-demote", "after-position", "after-note-promotion", "after-release", "after-repoint"},
		"elect": {"after-demote", "after-note-promotion", "promote-set", "after-release", "after-note-primary"},
	} {
		t.Run(victim, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1, 1, func(c *Config) { c.Dial = 2 * 1e9 })
			l := w.load(t, 2)
			cell := "blue"
			for i, point := range points {
				target := other(cell)
				s := w.servers[cell+"-1"]
				if victim == "elect" {
					s = w.servers[target+"-1"]
				}
				req := w.request(target, fmt.Sprintf("switch-%d", i))
				died := false
				req.Point = func(name string) {
					if name == point && !died {
						died = true
						kill(t, s)
					}
				}
				_, err := w.d.Switch(bg(t), req)
				if !died {
					t.Fatalf("%s was not reached: %v", point, err)
				}
				t.Logf("%s died at %s: %v", victim, point, err)
				if err := s.Start(bg(t)); err != nil {
					t.Fatal(err)
				}
				w.atMostOne(t)
				again := w.request(target, req.ID)
				if err := w.d.Fence(bg(t), w.c, again.Term); err != nil {
					t.Fatal(err)
				}
				if _, err := w.d.Switch(bg(t), again); err != nil {
					t.Fatalf("%s died at %s: the next run: %v", victim, point, err)
				}
				if p := w.onePrimary(t); p.cell != target {
					t.Fatalf("%s died at %s: the primary is %s", victim, point, p)
				}
				cell = target
			}
			l.finish(t)
			w.mustBe(t, cell)
		})
	}
}

func kill(t testing.TB, s *processtest.Server) {
	t.Helper()
	spec, err := s.Spec()
	if err == nil {
		err = spec.Kill(context.Background())
	}
	if err != nil {
		t.Error(err)
	}
}

var errTest = errors.New("the test says so")
