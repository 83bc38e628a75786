package state

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/fleet"
)

// seenWorld is a state whose campaign asks for a look within five minutes.
func seenWorld(t *testing.T) (*Store, *clock, fleet.ClusterRef) {
	t.Helper()
	s, c, _ := world(t, 1)
	all, err := s.Campaigns(ctx)
	must(t, err)
	up := all[0].Campaign
	up.SeenWithin, up.Schedule.Always = 5*time.Minute, true
	ref := fleet.ClusterRef{Env: "qa", Name: "c00"}
	must(t, s.ApplyCampaign(ctx, up, []fleet.ClusterRef{ref}, "me"))
	return s, c, ref
}

func look(at time.Time) fleet.Observation {
	return fleet.Observation{At: at, Nodes: []fleet.NodeObservation{node("blue", fleet.RolePrimary, "10.11.18-MariaDB")}}
}

// The age of a look is counted from when it came in, by the state's clock, whatever the supervisor's shows. A look that is dated in a time
// to come is dated now, that is told once, and it is not newer than what is seen later.
func TestAgesAreOfTheStatesClock(t *testing.T) {
	s, c, ref := seenWorld(t)
	for _, off := range []time.Duration{-time.Hour, time.Hour, 0} {
		c.add(10 * time.Minute)
		must(t, s.Observe(ctx, ref, look(c.Now().Add(off))))
		p := progress(t, s)
		if want := c.Now().Add(min(off, 0)); !p.Looked.Equal(want) || !p.Received.Equal(c.Now()) {
			t.Errorf("off by %s: looked at %s, want %s; received at %s, now is %s", off, p.Looked, want, p.Received, c.Now())
		}
	}
	// A second one in the same hour is not told, nor is what machines differ by.
	must(t, s.Observe(ctx, ref, look(c.Now().Add(time.Hour))))
	must(t, s.Observe(ctx, ref, look(c.Now().Add(time.Second))))
	events, err := s.Events(ctx, EventFilter{})
	must(t, err)
	var told []string
	for _, e := range events {
		if e.Kind == "clock-ahead" {
			told = append(told, e.Message)
			if !e.Loud || e.Ref.Env != "qa" {
				t.Errorf("%+v", e)
			}
		}
	}
	if len(told) != 1 || !strings.HasPrefix(told[0], "a supervisor of qa has a clock that is 1h0m0s ahead of the server's") {
		t.Errorf("told: %q", told)
	}
	// A time to come that an earlier release has stored does not keep later looks out.
	_, err = s.write.Exec(`UPDATE observations SET at = $1`, micros(c.Now().Add(24*time.Hour)))
	must(t, err)
	c.add(time.Minute)
	must(t, s.Observe(ctx, ref, look(c.Now())))
	if p := progress(t, s); !p.Looked.Equal(c.Now()) || !p.Received.Equal(c.Now()) {
		t.Errorf("%+v", p)
	}
}

// A run of the day waits for the first looks when the server was started just now, and does not count as done; a supervisor that is gone for
// longer holds its clusters, and no others.
func TestTheRunOfTheDayWaitsForTheFirstLooks(t *testing.T) {
	s, c, ref := seenWorld(t)
	launch := func(key string) (Launched, error) { return s.Launch(ctx, "c", key, "launcher", campaign.Decide) }
	if _, err := launch("mon"); !errors.Is(err, ErrUnseen) {
		t.Fatalf("before the first look: %v", err)
	}
	if done, err := s.LaunchedKey(ctx, "c", "mon"); err != nil || done {
		t.Errorf("the run counts as done: %v, %v", done, err)
	}
	if out, err := launch(""); err != nil || out.Held != 1 {
		t.Errorf("by hand: %+v, %v", out, err)
	}
	c.add(2 * time.Minute)
	if out, err := launch("mon"); err != nil || out.Held != 1 {
		t.Errorf("nobody looks: %+v, %v", out, err)
	}
	must(t, s.Observe(ctx, ref, look(c.Now())))
	if out, err := launch("tue"); err != nil || len(out.Started) != 1 {
		t.Errorf("after a look: %+v, %v", out, err)
	}
}
