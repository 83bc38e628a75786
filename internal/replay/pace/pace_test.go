package pace

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestSchedule(t *testing.T) {
	origin := time.Unix(1_700_000_000, 0)
	start := time.Now()
	for _, c := range []struct {
		speed float64
		after time.Duration
		want  time.Duration
	}{{1, time.Second, time.Second}, {2, time.Second, 500 * time.Millisecond}, {0.5, time.Second, 2 * time.Second}, {1, -time.Second, -time.Second}, {0, time.Hour, 0}} {
		s := Schedule{Origin: origin, Start: start, Speed: c.speed}
		if got := s.Due(origin.Add(c.after)).Sub(start); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	b := Behind(time.Minute)
	if d := time.Until(b.Due(time.Now())); d < 59*time.Second || d > 61*time.Second {
		t.Errorf("a minute behind is %v", d)
	}
}

// Never early, and the context's end is seen.
func TestUntil(t *testing.T) {
	defer Thread()()
	due := time.Now().Add(30 * time.Millisecond)
	if err := Until(t.Context(), due); err != nil || time.Now().Before(due) {
		t.Errorf("%v, %v too early", err, time.Until(due))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := Until(ctx, time.Now().Add(time.Hour)); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}
