package state

import (
	"slices"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/engine"
)

// An undo that is stuck is tried again and again: the events say so when it comes to other words, and then more and more seldom.
func TestAStuckUndoIsNotToldAtEachTry(t *testing.T) {
	s, c, _ := world(t, 1)
	_, err := s.Launch(ctx, "c", "", "me", next(1))
	must(t, err)
	a := lease(t, s, "h")
	rec := func(p engine.Phase, message string) {
		t.Helper()
		_, err := s.Record(ctx, a.ActionID, a.Term, engine.StepRecord{Index: 0, Kind: a.Plan.Steps[0].Kind, Phase: p, Message: message})
		must(t, err)
	}
	rec(engine.Intent, "")
	must(t, s.Turn(ctx, a.ActionID, a.Term, "an abort"))
	last, err := s.LastEvent(ctx)
	must(t, err)
	told := func() int {
		t.Helper()
		before := last
		last, err = s.LastEvent(ctx)
		must(t, err)
		return int(last - before)
	}
	try := func(message string) int {
		t.Helper()
		rec(engine.Undoing, "")
		rec(engine.Waiting, message)
		return told()
	}
	if n := try("the node does not answer"); n != 2 {
		t.Errorf("the first try: %d events", n)
	}
	var at []int
	for minute := 1; minute <= 60; minute++ { // a try each minute of an hour
		c.add(time.Minute)
		if try("the node does not answer") > 0 {
			at = append(at, minute)
		}
	}
	if want := []int{1, 2, 4, 8, 16, 32}; len(at) != len(want) || at[0] != want[0] || at[5] != want[5] {
		t.Errorf("told in the minutes %v, want %v", at, want)
	}
	if n := try("the disk is full"); n != 1 {
		t.Errorf("other words: %d events", n)
	}
	// Other words are news, also when they are the end.
	rec(engine.Undoing, "")
	rec(engine.Undone, "")
	if n := told(); n != 1 {
		t.Errorf("the end: %d events", n)
	}
}

// A step that a person has to let go on, and that is tried again meanwhile, is told aloud at first, when it comes to other words, and then more and more
// seldom; each time it is an event.
func TestAHoldIsNotLoudAtEachTry(t *testing.T) {
	s, c, _ := world(t, 1)
	_, err := s.Launch(ctx, "c", "", "me", next(1))
	must(t, err)
	a := lease(t, s, "h")
	try := func(message string, held bool) (loud int) {
		t.Helper()
		last, err := s.LastEvent(ctx)
		must(t, err)
		for _, rec := range []engine.StepRecord{{Phase: engine.Intent}, {Phase: engine.Waiting, Message: message, Held: held}} {
			rec.Kind = a.Plan.Steps[0].Kind
			_, err := s.Record(ctx, a.ActionID, a.Term, rec)
			must(t, err)
		}
		events, err := s.Events(ctx, EventFilter{After: last, Limit: 100})
		must(t, err)
		if len(events) != 2 {
			t.Errorf("%q: %d events", message, len(events))
		}
		for _, e := range events {
			if e.Loud {
				loud++
			}
		}
		return loud
	}
	if try("n4 does not get healthy", false) != 0 {
		t.Error("what is not held is loud")
	}
	if try("n4 does not get healthy", true) != 1 {
		t.Error("a hold is not loud")
	}
	var at []int
	for minute := 1; minute <= 60; minute++ {
		c.add(time.Minute)
		if try("n4 does not get healthy", true) > 0 {
			at = append(at, minute)
		}
	}
	if want := []int{1, 2, 4, 8, 16, 32}; !slices.Equal(at, want) {
		t.Errorf("loud in the minutes %v, want %v", at, want)
	}
	if try("n4 says that it runs 1.0", true) != 1 {
		t.Error("other words are not loud")
	}
}
