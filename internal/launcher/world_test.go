package launcher

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/state"
	"github.com/windlass-db/windlass/internal/state/statetest"
)

var ctx = context.Background()

// runs is a state that remembers which keys were launched, and when. With usurp everybody believes to lead.
type runs struct {
	*state.Store
	clock *statetest.Clock
	usurp bool

	mu   sync.Mutex
	keys []string
	at   map[string]time.Time
}

func (r *runs) Launch(ctx context.Context, name, key, who string, decide state.DecideFunc) (state.Launched, error) {
	out, err := r.Store.Launch(ctx, name, key, who, decide)
	if err == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.keys = append(r.keys, key)
		r.at[key] = r.clock.Now()
	}
	return out, err
}

func (r *runs) Lead(ctx context.Context, name, holder string, until time.Time) (bool, error) {
	leads, err := r.Store.Lead(ctx, name, holder, until)
	return leads || r.usurp, err
}

func open(t *testing.T, path string, c *statetest.Clock) *runs {
	t.Helper()
	s, err := state.Open(ctx, path, state.Options{LeaseTTL: 15 * time.Second, Now: c.Now})
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return &runs{Store: s, clock: c, at: map[string]time.Time{}}
}

// world is a state with a campaign over n clusters of qa, under the schedule given.
func world(t *testing.T, n int, now time.Time, change func(*campaign.Campaign)) (*runs, *statetest.Clock, string) {
	t.Helper()
	c := statetest.NewClock(now)
	path := filepath.Join(t.TempDir(), "state.db")
	s := open(t, path, c)
	f := statetest.Fleet(n, "qa")
	must(t, s.ApplyFleet(ctx, f, "me"))
	camp := statetest.Campaign("c", "qa")
	change(&camp)
	must(t, s.ApplyCampaign(ctx, camp, statetest.Refs(f), "me"))
	return s, c, path
}

func daily(zone, start, end string) func(*campaign.Campaign) {
	return func(c *campaign.Campaign) {
		c.Schedule = campaign.Schedule{TimeZone: zone, Start: start, End: end, Workdays: []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}}
	}
}

func (r *runs) launcher(holder string) Launcher {
	return Launcher{Store: r, Decide: campaign.Decide, Holder: holder, Log: slog.New(slog.DiscardHandler), Now: r.clock.Now, Every: time.Millisecond}
}

// live counts the actions that have not ended.
func live(t *testing.T, s *state.Store) int {
	t.Helper()
	snap, err := s.Snapshot(ctx, "c")
	must(t, err)
	n := 0
	for _, p := range snap.Clusters {
		if p.Action != nil {
			n++
		}
	}
	return n
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
