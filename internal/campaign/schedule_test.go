package campaign

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/windlass-db/windlass/internal/config"
)

func scheduled(zone, start, end string) Campaign {
	return Campaign{Schedule: Schedule{TimeZone: zone, Start: start, End: end, Workdays: []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}}}
}

func utc(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse("2006-01-02 15:04", text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// New York: on 8 March 2026 there is no 02:00 to 03:00, and on 1 November there are two of 01:00 to 02:00.
func TestClockChanges(t *testing.T) {
	for _, c := range []struct {
		start, end string
		around     string // UTC
		days       int
		want       string // windows in UTC
	}{
		// A launch at 02:30 vanished in March with a plain cron: it is at 03:00 instead, once.
		{"02:30", "06:00", "2026-03-07 00:00", 3, "03-07 07:30-11:00, 03-08 07:00-10:00, 03-09 06:30-10:00"},
		{"02:00", "03:00", "2026-03-07 00:00", 3, "03-07 07:00-08:00, 03-08 07:00-08:00, 03-09 06:00-07:00"},
		{"02:15", "02:45", "2026-03-07 00:00", 3, "03-07 07:15-07:45, 03-08 07:00-07:30, 03-09 06:15-06:45"},
		{"01:30", "02:30", "2026-03-07 00:00", 3, "03-07 06:30-07:30, 03-08 06:30-07:00, 03-09 05:30-06:30"},
		{"00:00", "24:00", "2026-03-06 23:00", 3, "03-07 05:00-05:00, 03-08 05:00-04:00, 03-09 04:00-04:00"},
		// A launch at 01:30 ran twice in November: it is at the first one alone.
		{"01:30", "06:00", "2026-10-31 00:00", 3, "10-31 05:30-10:00, 11-01 05:30-11:00, 11-02 06:30-11:00"},
		{"01:00", "01:30", "2026-10-31 00:00", 3, "10-31 05:00-05:30, 11-01 05:00-05:30, 11-02 06:00-06:30"},
		{"09:00", "17:00", "2026-10-31 00:00", 3, "10-31 13:00-21:00, 11-01 14:00-22:00, 11-02 14:00-22:00"},
		{"22:00", "02:30", "2026-03-07 00:00", 3, "03-07 03:00-07:30, 03-08 03:00-07:00, 03-09 02:00-06:30"},
		{"23:00", "01:30", "2026-10-31 00:00", 3, "10-31 03:00-05:30, 11-01 03:00-05:30, 11-02 04:00-06:30"},
	} {
		camp := scheduled("America/New_York", c.start, c.end)
		w, err := newWindows(camp.Schedule)
		if err != nil {
			t.Fatal(err)
		}
		at := utc(t, c.around)
		var got []string
		for range c.days {
			_, start, end, ok := w.next(at)
			if !ok {
				t.Fatal("no window")
			}
			got = append(got, start.UTC().Format("01-02 15:04")+"-"+end.UTC().Format("15:04"))
			if next := NextLaunch(camp, at); !next.Equal(start) {
				t.Errorf("%s-%s: the launch is at %s, and the window begins at %s", c.start, c.end, next, start)
			}
			at = start
		}
		if text := strings.Join(got, ", "); text != c.want {
			t.Errorf("%s-%s:\n got  %s\n want %s", c.start, c.end, text, c.want)
		}
	}
}

// A launcher that looks every minute through both changes launches exactly once for every date.
func TestOneLaunchForEveryDate(t *testing.T) {
	for _, zone := range []string{"America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Kathmandu", "Pacific/Apia", "UTC"} {
		for _, start := range []string{"00:00", "01:30", "02:00", "02:30", "03:00", "09:00", "23:45"} {
			end := map[bool]string{true: "00:30", false: "23:59"}[start == "23:45"]
			camp := scheduled(zone, start, end)
			w, err := newWindows(camp.Schedule)
			if err != nil {
				t.Fatal(err)
			}
			seen := map[string]time.Time{}
			from, to := utc(t, "2026-01-01 00:00"), utc(t, "2026-12-31 00:00")
			for at := from; at.Before(to); at = at.Add(10 * time.Minute) {
				d, begin, _, open := w.at(at)
				if !open {
					continue
				}
				key := w.key(d, begin, at)
				if first, ok := seen[key]; ok && !first.Equal(begin) {
					t.Fatalf("%s %s: %s is launched at %s and again at %s", zone, start, key, first, begin)
				}
				seen[key] = begin
			}
			for d := dateOf(from.Add(48 * time.Hour)); d != dateOf(to.Add(-48*time.Hour)); d = d.plus(1) {
				if _, ok := seen[d.String()]; !ok {
					t.Errorf("%s %s: %s is not launched", zone, start, d)
				}
			}
		}
	}
}

func TestLaunchKey(t *testing.T) {
	c := Campaign{Schedule: Schedule{TimeZone: "Europe/Berlin", Start: "09:00", End: "17:00", Workdays: []string{"mon", "tue", "wed", "thu", "fri"},
		Calendar: "de", Holidays: []string{"2026-12-24"}}}
	hourly, night, always := c, c, c
	hourly.Schedule.Every = time.Hour
	night.Schedule.Start, night.Schedule.End = "22:00", "06:00"
	always.Schedule = Schedule{TimeZone: "Europe/Berlin", Always: true, Every: time.Minute}
	for _, x := range []struct {
		name string
		c    Campaign
		at   string
		key  string
		next string
	}{
		{"before the window", c, "2026-11-25 07:59", "", "2026-11-25 08:00"},
		{"at its start", c, "2026-11-25 08:00", "2026-11-25", "2026-11-26 08:00"},
		{"a server that was down at the start catches up", c, "2026-11-25 15:59", "2026-11-25", "2026-11-26 08:00"},
		{"at its end", c, "2026-11-25 16:00", "", "2026-11-26 08:00"},
		{"over the weekend", c, "2026-11-27 16:00", "", "2026-11-30 08:00"},
		{"over Christmas: a day of the file, two of the country, and a weekend", c, "2026-12-23 12:00", "2026-12-23", "2026-12-28 08:00"},
		{"hourly", hourly, "2026-11-25 08:59", "2026-11-25", "2026-11-25 09:00"},
		{"hourly, again", hourly, "2026-11-25 09:00", "2026-11-25#2", "2026-11-25 10:00"},
		{"hourly, the last of the day", hourly, "2026-11-25 15:30", "2026-11-25#8", "2026-11-26 08:00"},
		{"at night, of the day on which it began", night, "2026-11-26 02:00", "2026-11-25", "2026-11-26 21:00"},
		{"on Saturday morning it is still Friday's night", night, "2026-11-28 04:00", "2026-11-27", "2026-11-30 21:00"},
		{"on Monday morning it is not Sunday's", night, "2026-11-30 04:00", "", "2026-11-30 21:00"},
		{"always", always, "2026-11-28 23:30", "2026-11-29#31", "2026-11-28 23:31"},
	} {
		at := utc(t, x.at)
		if key := LaunchKey(x.c, at); key != x.key {
			t.Errorf("%s: the key is %q, want %q", x.name, key, x.key)
		}
		if next := NextLaunch(x.c, at).UTC().Format("2006-01-02 15:04"); next != x.next {
			t.Errorf("%s: the next launch is at %s, want %s", x.name, next, x.next)
		}
	}
}

func TestLaunchNever(t *testing.T) {
	for name, s := range map[string]Schedule{
		"no zone of that name": {TimeZone: "Mars", Start: "09:00", End: "17:00", Workdays: []string{"mon"}},
		"no workday":           {TimeZone: "UTC", Start: "09:00", End: "17:00"},
		"no time":              {TimeZone: "UTC", Start: "9", End: "17:00", Workdays: []string{"mon"}},
		"a wrong day":          {TimeZone: "UTC", Start: "09:00", End: "17:00", Workdays: []string{"monday"}},
		"a wrong calendar":     {TimeZone: "UTC", Start: "09:00", End: "17:00", Workdays: []string{"mon"}, Calendar: "mars"},
	} {
		c := Campaign{Schedule: s}
		if key, next := LaunchKey(c, wednesday), NextLaunch(c, wednesday); key != "" || !next.IsZero() {
			t.Errorf("%s: launches at %q, next %s", name, key, next)
		}
	}
}

// The next launch is the first time after now at which the key is another one, and none is skipped.
func TestNextLaunchIsWhereTheKeyChanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := Campaign{Schedule: anySchedule(t)}
		at := anyTime(t)
		next := NextLaunch(c, at)
		if next.IsZero() {
			t.Fatalf("the schedule %+v is open on some day of every week, and no launch is found after %s", c.Schedule, at)
		}
		if !next.After(at) {
			t.Fatalf("the next launch after %s is at %s", at, next)
		}
		before, key := LaunchKey(c, next.Add(-time.Nanosecond)), LaunchKey(c, next)
		if key == "" || key == before {
			t.Fatalf("at %s the key goes from %q to %q", next, before, key)
		}
		now := LaunchKey(c, at)
		for i := range 50 { // between now and then it is the present key, or none
			between := at.Add(time.Duration(float64(next.Sub(at)) * float64(i) / 50))
			if k := LaunchKey(c, between); k != now && k != "" {
				t.Fatalf("after %s (key %q) the launch %q at %s is skipped; the next is said to be at %s", at, now, k, between, next)
			}
		}
	})
}

func anySchedule(t *rapid.T) Schedule {
	s := Schedule{TimeZone: rapid.SampledFrom([]string{"UTC", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Pacific/Apia"}).Draw(t, "zone")}
	if rapid.IntRange(0, 9).Draw(t, "always") == 0 {
		s.Always = true
	} else {
		start := rapid.IntRange(0, 95).Draw(t, "start") * 15
		end := rapid.IntRange(1, 96).Draw(t, "end") * 15
		if end == start {
			end += 15
		}
		s.Start, s.End = config.Clock{Minutes: start}.String(), config.Clock{Minutes: end}.String()
		s.Workdays = rapid.SampledFrom([][]string{{"mon", "tue", "wed", "thu", "fri"}, {"sun"}, {"mon", "tue", "wed", "thu", "fri", "sat", "sun"}}).Draw(t, "days")
		s.Calendar = rapid.SampledFrom([]string{"", "us", "de"}).Draw(t, "calendar")
	}
	if rapid.Bool().Draw(t, "again") {
		s.Every = time.Duration(rapid.IntRange(1, 300).Draw(t, "every")) * time.Minute
	}
	return s
}

// anyTime is often near a clock change of New York or Berlin.
func anyTime(t *rapid.T) time.Time {
	base := rapid.SampledFrom([]string{"2026-03-08T06:00:00Z", "2026-11-01T05:00:00Z", "2026-03-29T00:30:00Z", "2026-10-25T00:30:00Z", "2026-12-24T12:00:00Z", "2026-06-10T12:00:00Z"}).Draw(t, "base")
	at, err := time.Parse(time.RFC3339, base)
	if err != nil {
		t.Fatal(err)
	}
	return at.Add(time.Duration(rapid.IntRange(-4000, 4000).Draw(t, "minutes")) * time.Minute)
}

func TestEveryCalendarWorks(t *testing.T) {
	for _, name := range calendarNames() {
		w, err := newWindows(Schedule{TimeZone: "UTC", Start: "09:00", End: "17:00", Workdays: []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}, Calendar: name})
		if err != nil {
			t.Fatal(err)
		}
		off := 0
		for d := (date{2026, 1, 1}); d.year == 2026; d = d.plus(1) {
			if !w.workday(d) {
				off++
			}
		}
		if off < 5 || off > 25 || w.workday(date{2026, 1, 1}) && name != "jp" {
			t.Errorf("%s has %d holidays in 2026", name, off)
		}
	}
	w, err := newWindows(Schedule{TimeZone: "UTC", Start: "09:00", End: "17:00", Workdays: []string{"mon", "tue", "wed", "thu", "fri"}, Calendar: "us"})
	if err != nil {
		t.Fatal(err)
	}
	var off []string
	for d := (date{2026, 1, 1}); d.year == 2026; d = d.plus(1) {
		if noon := time.Date(d.year, d.month, d.day, 12, 0, 0, 0, time.UTC); !w.workday(d) && noon.Weekday() != time.Saturday && noon.Weekday() != time.Sunday {
			off = append(off, d.String()[5:])
		}
	}
	// 4 July 2026 is a Saturday: its observed day is the Friday before.
	if got, want := fmt.Sprint(off), "[01-01 01-19 02-16 05-25 06-19 07-03 09-07 10-12 11-11 11-26 12-25]"; got != want {
		t.Errorf("the federal holidays of 2026 are %s, want %s", got, want)
	}
}
