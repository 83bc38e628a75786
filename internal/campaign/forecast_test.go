package campaign

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

// forecastOf is Forecast with a context that does not end.
func forecastOf(s Snapshot, now time.Time, durations map[string]time.Duration) Prediction {
	p, err := Forecast(context.Background(), s, now, durations)
	if err != nil {
		panic(err)
	}
	return p
}

func costsOf(s Snapshot, now time.Time, durations map[string]time.Duration) []Cost {
	costs, err := Costs(context.Background(), s, now, durations)
	if err != nil {
		panic(err)
	}
	return costs
}

// asked is a context that ends when it was asked for its error that often.
type asked struct {
	context.Context
	left int
}

func (a *asked) Err() error {
	if a.left--; a.left < 0 {
		return context.Canceled
	}
	return nil
}

// Whoever goes away while it is worked out ends it, at the next launch of the virtual clock.
func TestForecastEndsWithItsContext(t *testing.T) {
	c := plain()
	c.Limits.PerStage = 1
	s := world(c, "qa/a", "qa/b", "prod/a", "prod/b")
	now := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	if _, err := Forecast(&asked{context.Background(), 3}, s, now, map[string]time.Duration{"": time.Hour}); !errors.Is(err, context.Canceled) {
		t.Errorf("the forecast: %v", err)
	}
	if _, err := Costs(&asked{context.Background(), 60}, s, now, map[string]time.Duration{"": time.Hour}); !errors.Is(err, context.Canceled) {
		t.Errorf("the costs: %v", err)
	}
}

// Two clusters, one after the other, one stage a day: every number can be counted by hand.
func TestForecast(t *testing.T) {
	c := plain()
	c.Environments = []string{"qa"}
	c.Schedule = Defaults().Schedule // 09:00 to 17:00 UTC on weekdays, one launch a day
	c.Limits.PerStage = 1
	s := world(c, "qa/a", "qa/b")
	monday := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	p := forecastOf(s, monday, map[string]time.Duration{"": time.Hour, "create": 30 * time.Hour})
	// a: create Mon 09:00 to Tue 15:00, then one stage a day from Wed to Tue 1 December. b begins on Thu; its tear-down is on Thu 3 December.
	var lines []string
	for _, e := range p.Environments {
		lines = append(lines, fmt.Sprintf("%s %s %s..%s %d", e.Env, e.Stage, e.First.Format("01-02 15:04"), e.Last.Format("01-02 15:04"), e.Count))
	}
	want := []string{"qa create 11-23 09:00..11-26 15:00 2", "qa verify 11-25 09:00..11-27 10:00 2", "qa replay 11-26 09:00..11-30 10:00 2",
		"qa switch-storage 11-27 09:00..12-01 10:00 2", "qa switch-gateway 11-30 09:00..12-02 10:00 2", "qa tear-down 12-01 09:00..12-03 10:00 2"}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if end := p.End.Format("01-02 15:04"); end != "12-03 10:00" || p.Starts != 12 || len(p.Stuck) != 0 {
		t.Errorf("it ends at %s after %d starts in %d launches, stuck %v", end, p.Starts, p.Launches, p.Stuck)
	}
	costs := costsOf(s, monday, map[string]time.Duration{"": time.Hour, "create": 30 * time.Hour})
	if diff := cmp.Diff([]Cost{{CodeLimit, "the limits on create", 24 * time.Hour}}, costs); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestForecastCostsOfSoaks(t *testing.T) {
	c := plain()
	c.Soak = Soak{Stages: map[string]time.Duration{"switch-storage": 24 * time.Hour, "switch-gateway": 48 * time.Hour}, Environments: 6 * time.Hour}
	c.Schedule.Every = time.Hour
	c.Limits.PerLaunch = 1
	s := world(c, "qa/a", "qa/b", "prod/a")
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	got := map[string]time.Duration{}
	for _, cost := range costsOf(s, now, map[string]time.Duration{"": time.Hour}) {
		got[cost.What] = cost.Saves
	}
	want := map[string]time.Duration{
		"the soak of 1d after switch-storage": 23 * time.Hour, // without it, a's next stage takes a launch from b
		"the soak of 2d after switch-gateway": 48 * time.Hour,
		"the soak of 6h between environments": 6 * time.Hour,
		"the order of the environments":       7 * time.Hour,
		"the limit of 1 start for one launch": 4 * time.Hour,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// What waits for a person is not forecast: it is named.
func TestForecastStuck(t *testing.T) {
	c := plain()
	c.Schedule.Every = time.Minute
	c.Approve = []string{"tear-down"}
	s := world(c, "qa/a switch-gateway", "qa/b replay", "prod/a")
	s.cluster("qa/a").WayBack = &fleet.WayBack{Open: true}
	s.cluster("qa/b").Failure = &Failure{Stage: "switch-storage", Message: "x"}
	p := forecastOf(s, wednesday, map[string]time.Duration{"": time.Minute})
	if diff := cmp.Diff([]string{"qa/a hold tear-down: approval", "qa/b hold switch-storage: failed", "prod/a hold switch-storage: environment-order"}, tell(p.Stuck, wednesday)); diff != "" || !p.End.IsZero() {
		t.Errorf("end %s, -want +got:\n%s", p.End, diff)
	}
	if costs := costsOf(s, wednesday, nil); costs != nil {
		t.Errorf("a campaign that does not end has costs: %v", costs)
	}
	if p := forecastOf(Snapshot{Campaign: Campaign{Schedule: Schedule{TimeZone: "Mars"}}}, wednesday, nil); !p.End.IsZero() {
		t.Errorf("got %+v", p)
	}
}

func TestForecastOfLiveAndArrived(t *testing.T) {
	c := plain()
	c.Schedule.Every = time.Minute
	s := world(c, "qa/a switch-gateway", "qa/b tear-down", "qa/c switch-gateway")
	for _, name := range []string{"qa/a", "qa/c"} {
		s.cluster(name).Action = &ActionState{Stage: "tear-down", Direction: "forward", StartedAt: wednesday.Add(-time.Hour)}
	}
	s.cluster("qa/c").Action.StartedAt = wednesday.Add(-48 * time.Hour) // long overdue: it may end at once
	p := forecastOf(s, wednesday, map[string]time.Duration{"": 90 * time.Minute})
	if want := wednesday.Add(30 * time.Minute); !p.End.Equal(want) || p.Starts != 0 {
		t.Errorf("it ends at %s, want %s; %d starts", p.End, want, p.Starts)
	}
	s.cluster("qa/a").Action.Direction = string(strategy.Back)
	if p := forecastOf(s, wednesday, nil); !p.End.IsZero() || len(p.Stuck) != 1 {
		t.Errorf("a cluster on its way back is forecast to arrive: %+v", p)
	}
	if done := forecastOf(world(c, "qa/b tear-down"), wednesday, nil); !done.End.Equal(wednesday) {
		t.Errorf("a campaign that has ended ends at %s", done.End)
	}
}

// The forecast skips launches at which nothing can have changed. It must come to the same as going through all of them.
func TestForecastSkipsNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, now := anySnapshot(t)
		if NextLaunch(s.Campaign, now).IsZero() {
			t.Fatalf("the schedule %+v never launches after %s", s.Campaign.Schedule, now)
		}
		if every := s.Campaign.Schedule.Every; every > 0 && every < 3*time.Hour {
			s.Campaign.Schedule.Every = 3 * time.Hour
		}
		durations := map[string]time.Duration{"": time.Duration(rapid.IntRange(0, 900).Draw(t, "duration")) * time.Minute}
		got, want := forecastOf(s, now, durations), everyLaunch(s, now, durations)
		stuck := cmp.Transformer("stuck", func(ds []Decision) (refs []string) {
			for _, d := range ds {
				refs = append(refs, d.Ref.String()) // at another time they have other reasons
			}
			return refs
		})
		if diff := cmp.Diff(want, got, stuck); diff != "" {
			t.Fatalf("-through all launches +forecast:\n%s", diff)
		}
	})
}

// everyLaunch is a forecast that skips no launch, for long enough.
func everyLaunch(s Snapshot, now time.Time, durations map[string]time.Duration) Prediction {
	f := newForecast(s, now, durations)
	at := now
	var decisions []Decision
	left := 0
	for range 400 {
		at = f.windows.nextLaunch(at)
		f.complete(at)
		decisions = Decide(f.snap, at)
		if _, _, left = f.start(decisions, at); left == 0 {
			break
		}
	}
	if left > 0 {
		f.stuck(decisions)
	} else {
		f.finish()
	}
	return f.out
}
