package launcher

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
)

// Each day has one run, at the time that its clocks show: on the day that has no 02:30, on the one that has two, and
// though the server is started anew and its own clock is put back by an hour.
func TestOneRunADayOverBothClockChanges(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	must(t, err)
	for _, x := range []struct {
		name, start string
		from        time.Time
		want        string // date and time of each run
	}{
		{"no 02:30 on that day", "02:30", time.Date(2026, 3, 28, 0, 0, 0, 0, berlin), "03-28 02:30 CET, 03-29 03:00 CEST, 03-30 02:30 CEST"},
		{"02:30 twice on that day", "02:30", time.Date(2026, 10, 24, 0, 0, 0, 0, berlin), "10-24 02:30 CEST, 10-25 02:30 CEST, 10-26 02:30 CET"},
		{"it is another date in UTC", "00:30", time.Date(2026, 3, 28, 0, 0, 0, 0, berlin), "03-28 00:30 CET, 03-29 00:30 CET, 03-30 00:30 CEST"},
	} {
		t.Run(x.name, func(t *testing.T) {
			s, clock, _ := world(t, 1, x.from.UTC(), daily("Europe/Berlin", x.start, "17:00"))
			for i := 0; clock.Now().Before(x.from.AddDate(0, 0, 3)); i++ {
				must(t, s.launcher("a").Tick(ctx)) // a value of its own: nothing is remembered but by the state
				if i%40 == 25 {
					clock.Add(-time.Hour)
				}
				clock.Add(10 * time.Minute)
			}
			var got []string
			for _, key := range s.keys {
				got = append(got, s.at[key].In(berlin).Format("01-02 15:04 MST"))
				if !strings.HasSuffix(key, s.at[key].In(berlin).Format("01-02")) {
					t.Errorf("run %q was at %s", key, s.at[key].In(berlin))
				}
			}
			if got := strings.Join(got, ", "); got != x.want {
				t.Errorf("runs at %s\nwant    %s", got, x.want)
			}
		})
	}
}

// A server that was down when a run was due does it as soon as it is back, as long as the window lasts; a day that it was
// down for wholly is not made up for on the next.
func TestARunThatWasMissed(t *testing.T) {
	monday := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	tick := func(t *testing.T, every time.Duration, hours ...float64) *runs {
		s, clock, _ := world(t, 1, monday, func(c *campaign.Campaign) {
			daily("UTC", "09:00", "17:00")(c)
			c.Schedule.Every = every
		})
		for _, h := range hours {
			clock.Set(monday.Add(time.Duration(h * float64(time.Hour))))
			must(t, s.launcher("a").Tick(ctx))
		}
		return s
	}
	for _, x := range []struct {
		name  string
		every time.Duration
		hours []float64 // when the server is up for a look
		want  []string
	}{
		{"late", 0, []float64{8, 16.9, 16.95}, []string{"2026-11-23"}},
		{"the whole window missed", 0, []float64{8, 17, 24 + 9, 24 + 10}, []string{"2026-11-24"}},
		{"several runs in a window, two missed", time.Hour, []float64{9, 9.5, 12.1, 12.9, 13}, []string{"2026-11-23", "2026-11-23#4", "2026-11-23#5"}},
	} {
		t.Run(x.name, func(t *testing.T) {
			if got := tick(t, x.every, x.hours...).keys; !slices.Equal(got, x.want) {
				t.Errorf("runs %v, want %v", got, x.want)
			}
		})
	}
}

// A campaign that is paused or over is not run, and one that can't be run keeps no other from its run.
func TestOnlyRunningCampaignsAreRun(t *testing.T) {
	s, _, _ := world(t, 1, time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC), daily("UTC", "09:00", "17:00"))
	must(t, s.Abort(ctx, "c", "me", "over"))
	must(t, s.launcher("a").Tick(ctx))
	if len(s.keys) > 0 {
		t.Errorf("an aborted campaign was run: %v", s.keys)
	}
}

// What a person launches by hand has no key: it can be said again, keeps the limits and the window, and the day's own run
// still comes.
func TestByHand(t *testing.T) {
	early := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	s, clock, _ := world(t, 5, early, func(c *campaign.Campaign) {
		daily("UTC", "09:00", "17:00")(c)
		c.Limits.PerStage = 2
	})
	out, err := s.Launch(ctx, "c", "", "mira", campaign.Decide)
	must(t, err)
	if len(out.Started) != 0 || out.Held != 5 {
		t.Errorf("before the window: %+v", out)
	}
	clock.Add(time.Hour)
	for i, want := range []int{2, 0} {
		if out, err = s.Launch(ctx, "c", "", "mira", campaign.Decide); err != nil || len(out.Started) != want {
			t.Errorf("launch %d by hand started %d, want %d: %v", i, len(out.Started), want, err)
		}
	}
	must(t, s.launcher("a").Tick(ctx))
	if !slices.Contains(s.keys, "2026-11-23") || live(t, s.Store) != 2 {
		t.Errorf("runs %q, %d live", s.keys, live(t, s.Store))
	}
}
