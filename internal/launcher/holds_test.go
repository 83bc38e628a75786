package launcher

import (
	"context"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/state"
)

// Who waits for a person is told soon, and not at the next run: the campaign's day is over, and nothing is launched.
func TestHoldsAreToldBetweenRuns(t *testing.T) {
	s, _, path := world(t, 3, morning.Add(-time.Hour), func(c *campaign.Campaign) {
		daily("UTC", "09:00", "17:00")(c)
		c.Approve = []string{"create"}
	})
	l := s.launcher("a")
	l.Every, l.Holds = time.Hour, time.Millisecond
	running, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- l.Run(running) }()
	held := func() (all []state.Event) {
		events, err := s.Events(ctx, state.EventFilter{})
		must(t, err)
		for _, e := range events {
			if e.Kind == "held" {
				all = append(all, e)
			}
		}
		return all
	}
	for end := time.Now().Add(20 * time.Second); len(held()) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nobody was told")
		}
	}
	cancel()
	must(t, <-done)
	if all := held(); len(all) != 1 || all[0].Stage != "create" || len(s.keys) != 0 {
		t.Errorf("%d runs, %+v", len(s.keys), all)
	}
	snap, err := s.Snapshot(ctx, "c")
	must(t, err)
	var refs []fleet.ClusterRef
	for _, p := range snap.Clusters {
		refs = append(refs, p.Ref)
	}
	snap.Campaign.Approve = nil
	must(t, s.ApplyCampaign(ctx, snap.Campaign, refs, "me"))
	b := open(t, path, s.clock)
	must(t, b.launcher("b").Tick(ctx)) // b leads now
	must(t, l.Look(ctx))
	last, err := s.LastEvent(ctx)
	must(t, err)
	must(t, b.launcher("b").Look(ctx))
	all, err := s.Events(ctx, state.EventFilter{After: last})
	must(t, err)
	if len(all) != 1 || all[0].Kind != "hold-over" {
		t.Errorf("the one that leads told %+v", all)
	}
}
