package tally

import (
	"testing"
	"time"
)

// TestWatched: the time counts in which a capture was on, whether or not anybody said a word; no other time does.
func TestWatched(t *testing.T) {
	const h = time.Hour
	type on struct {
		gateway  string
		from, to time.Duration
	}
	for name, c := range map[string]struct {
		on   []on
		said []time.Duration // by who tells when it was on
		log  []time.Duration // by who does not
		want time.Duration
	}{
		"a quiet night":                                {on: []on{{"a", 0, 48 * h}}, said: []time.Duration{0, h}, want: 48 * h},
		"nobody said a word":                           {on: []on{{"a", 0, 48 * h}}, want: 48 * h},
		"seconds":                                      {on: []on{{"a", 0, 3 * time.Second}}, said: []time.Duration{time.Second}, want: 3 * time.Second},
		"away for two hours":                           {on: []on{{"a", 0, 10 * h}, {"a", 12 * h, 24 * h}}, said: []time.Duration{0, 13 * h}, want: 22 * h},
		"in pieces":                                    {on: []on{{"a", 0, 7 * time.Minute}, {"a", 7 * time.Minute, 11 * time.Minute}, {"a", 11 * time.Minute, 31*time.Minute + time.Second}}, want: 31*time.Minute + time.Second},
		"two gateways at a time are no more":           {on: []on{{"a", 0, 24 * h}, {"b", 0, 24 * h}}, want: 24 * h},
		"one after the other":                          {on: []on{{"a", 0, 24 * h}, {"b", 24 * h, 48 * h}}, want: 48 * h},
		"of one slot, what the most of them saw":       {on: []on{{"a", 0, 4 * time.Minute}, {"b", 2 * time.Minute, 8 * time.Minute}}, want: 6 * time.Minute},
		"one statement is no ten minutes of a gateway": {on: []on{{"a", 0, time.Minute}, {"a", 5 * h, 5*h + time.Minute}}, said: []time.Duration{0, 5 * h}, want: 2 * time.Minute},
		"a log beside it":                              {on: []on{{"a", 0, h}}, log: []time.Duration{time.Minute, 3 * h}, want: h + Slot},
		"a clock that was set back":                    {on: []on{{"a", 0, h}, {"a", 30 * time.Minute, h}}, want: h},
		"nothing that ends before it begins":           {on: []on{{"a", h, 0}}, want: 0},
	} {
		var tally Tally
		for _, o := range c.on {
			tally.AddWatched(o.gateway, noon.Add(o.from), noon.Add(o.to))
		}
		for _, at := range c.said {
			tally.AddCaptured(1, Seen{At: noon.Add(at), Watched: true})
		}
		for _, at := range c.log {
			tally.AddCaptured(1, Seen{At: noon.Add(at)})
		}
		if got := tally.Span(); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// TestUnended: a capture whose last block was not read, and when the next one began.
func TestUnended(t *testing.T) {
	var tally Tally
	at := func(m int) time.Time { return noon.Add(time.Duration(m) * time.Minute) }
	tally.AddRun(Run{Gateway: "a", Number: 1, From: at(0), Until: at(5)})
	tally.AddRun(Run{Gateway: "a", Number: 1, From: at(5), Until: at(9), Hold: time.Second})
	tally.AddRun(Run{Gateway: "b", Number: 2, From: at(10), Until: at(11)}) // another gateway's is no next one
	tally.AddRun(Run{Gateway: "a", Number: 3, From: at(20), Until: at(21), Ended: true})
	tally.AddRun(Run{Gateway: "a", Number: 4, From: at(30), Until: at(31), Ended: true})
	got := tally.Unended()
	if len(got) != 2 || got[0].Until != at(9) || got[0].From != at(0) || got[0].Hold != time.Second || tally.Next(got[0]) != at(20) || got[1].Gateway != "b" || !tally.Next(got[1]).IsZero() || tally.Whole() != 31*time.Minute {
		t.Errorf("%+v, then %s; %s", got, tally.Next(got[0]), tally.Whole())
	}
}
