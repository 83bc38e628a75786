package campaign

import (
	"testing"
	"time"
)

// What was seen after the end of a stage counts, also when the clock of who looked is behind; a look that began before it says nothing.
func TestALookOfAClockThatIsBehind(t *testing.T) {
	for name, x := range map[string]struct {
		looked, received time.Duration // after the stage ended
		counts           bool
	}{
		"on time":               {time.Second, 2 * time.Second, true},
		"it began before":       {-time.Second, 10 * time.Second, false},
		"an hour behind":        {time.Second - time.Hour, time.Second, true},
		"an hour behind before": {-time.Second - time.Hour, -time.Second, false},
	} {
		p := Progress{Since: wednesday, Looked: wednesday.Add(x.looked), Received: wednesday.Add(x.received)}
		if got := p.looked().After(p.Since); got != x.counts {
			t.Errorf("%s: counts %v", name, got)
		}
	}
	if p := (Progress{Received: wednesday}); !p.looked().IsZero() {
		t.Error("there was no look")
	}
	if p := (Progress{Looked: wednesday}); !p.looked().Equal(wednesday) {
		t.Error("of a state that did not keep when it was told")
	}
}
