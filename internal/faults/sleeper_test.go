package faults

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"syscall"

	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/state"
)

// wakeAfter spreads the moment at which a sleeper wakes over the first edges of its successor.
func wakeAfter(c testCase) int { return 1 + int(hash(c.String())%12) }

// lapses tells whether the sleeper's lease is over by its own clock when it wakes, as after a sleep that was as long as a lease. Else it is over for
// everybody else alone, the sleeper thinks that it has the lease still, and nothing but the fencing keeps it from acting. Each write is met in
// both ways, in the one before it is made and in the other after it; the points are met by turns.
func (c testCase) lapses() bool {
	write := c.edge
	write.After = false
	return (hash(write.String())%2 == 1) != c.edge.After
}

func hash(s string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(s))
	return h.Sum32()
}

// rouse wakes the sleeper.
func (l *lane) rouse(f *fault) error {
	if f.woke {
		return nil
	}
	f.woke = true
	if f.lapses() {
		if err := l.ownClock(l.sleeper.name).pass(leaseTTL); err != nil {
			return err
		}
	}
	return l.sleeper.signal(syscall.SIGCONT)
}

// awaken wakes a sleeper that its successor did not live to wake, sees that it knows that its lease is lost, and ends it.
func (l *lane) awaken(ctx context.Context, f *fault) error {
	l.mu.Lock()
	s := l.sleeper
	var err error
	if s != nil {
		err = l.rouse(f)
	}
	l.mu.Unlock()
	if s == nil || err != nil {
		return err
	}
	// After the last write, or when the lease was given back, there is nothing to lose.
	if w := f.edge.Write; !(f.edge.After && (w == engine.WriteFinish || w == engine.WriteRelease)) {
		if err := until(ctx, patience/2, "the sleeper says that its lease is lost", func() error { return says(s.log, "the lease is lost") }); err != nil {
			return err
		}
		if !f.lapses() && says(s.log, engine.ErrLeaseLost.Error()) == nil {
			return errors.New("the sleeper went by its own clock, and not by the fencing")
		}
	}
	if err := l.inOrder(ctx); err != nil {
		return err
	}
	if err := s.kill(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sleeper = nil
	return nil
}

// inOrder sees that nothing of the last action was written under a term when a higher one had been at work.
func (l *lane) inOrder(ctx context.Context) error {
	all, err := l.client.Events(ctx, state.EventFilter{Campaign: campaignName, Newest: true, Limit: 60})
	if err != nil {
		return err
	}
	last := all[0]
	for _, e := range all {
		switch {
		case e.Action != all[0].Action || e.Term == 0: // another action, or a person
		case e.Term > last.Term:
			return fmt.Errorf("%q was written under term %d after %q under term %d", last.Kind, last.Term, e.Kind, e.Term)
		default:
			last = e
		}
	}
	return nil
}
