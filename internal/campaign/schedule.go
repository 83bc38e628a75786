package campaign

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rickar/cal/v2"

	"github.com/windlass-db/windlass/internal/config"
)

// windows answers when stages may start. A day has at most one window, which begins on it and has its date.
//
// Clock changes: a window begins at the first instant whose wall clock shows its start or more, and ends likewise. A start
// at 02:30 on a day that has no 02:30 is at 03:00; one at 01:30 on a day that has two is at the first. A window that would vanish in the
// gap keeps its usual length. So every workday has exactly one window.
type windows struct {
	zone     *time.Location
	start    int // minutes
	end      int // minutes, after start; over 24 h when it ends on the next day
	workdays [7]bool
	dates    map[string]bool
	calendar *cal.Calendar
	always   bool
	every    time.Duration
	known    map[date]bool         // workdays and days off found so far
	spans    map[date][2]time.Time // windows found so far
}

// horizon is how far ahead a window is looked for: nobody plans further, and a calendar without any workday must end the search.
const horizon = 750

// date is a day of the calendar, in no zone.
type date struct {
	year  int
	month time.Month
	day   int
}

func dateOf(t time.Time) date {
	y, m, d := t.Date()
	return date{y, m, d}
}

func (d date) plus(days int) date {
	return dateOf(time.Date(d.year, d.month, d.day+days, 12, 0, 0, 0, time.UTC))
}

// String is "2026-03-08".
func (d date) String() string { return fmt.Sprintf("%04d-%02d-%02d", d.year, d.month, d.day) }

// newWindows compiles a schedule. An error means that the schedule can't be understood: nothing may start by it.
func newWindows(s Schedule) (*windows, error) {
	name := s.TimeZone
	if name == "" {
		name = "UTC"
	}
	zone, err := config.LoadZone(name)
	if err != nil {
		return nil, fmt.Errorf("time zone %q: %w", name, err)
	}
	w := &windows{zone: zone, always: s.Always, every: s.Every, known: map[date]bool{}, spans: map[date][2]time.Time{}, dates: map[string]bool{}}
	if s.Always {
		w.end = 24 * 60
		return w, nil
	}
	var start, end config.Clock
	if err := start.Parse(s.Start); err != nil {
		return nil, fmt.Errorf("start %q: %w", s.Start, err)
	}
	if err := end.Parse(s.End); err != nil {
		return nil, fmt.Errorf("end %q: %w", s.End, err)
	}
	w.start, w.end = start.Minutes, end.Minutes
	if w.end <= w.start {
		w.end += 24 * 60
	}
	for _, day := range s.Workdays {
		i := slices.Index([]string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}, strings.ToLower(day))
		if i < 0 {
			return nil, fmt.Errorf("workday %q is no day of the week", day)
		}
		w.workdays[i] = true
	}
	for _, d := range s.Holidays {
		w.dates[d] = true
	}
	if s.Calendar != "" {
		c, ok := holidayCalendar(s.Calendar)
		if !ok {
			return nil, fmt.Errorf("there is no holiday calendar %q", s.Calendar)
		}
		w.calendar = c
	}
	return w, nil
}

// workday reports whether the day has a window.
func (w *windows) workday(d date) bool {
	if w.always {
		return true
	}
	if known, ok := w.known[d]; ok {
		return known
	}
	noon := time.Date(d.year, d.month, d.day, 12, 0, 0, 0, time.UTC)
	work := w.workdays[noon.Weekday()] && !w.dates[d.String()]
	if work && w.calendar != nil {
		actual, observed, _ := w.calendar.IsHoliday(noon)
		work = !actual && !observed
	}
	w.known[d] = work
	return work
}

// bounds is the window of a day: from start up to, and without, end.
func (w *windows) bounds(d date) (start, end time.Time) {
	if span, ok := w.spans[d]; ok {
		return span[0], span[1]
	}
	start, end = firstAt(w.zone, d, w.start), firstAt(w.zone, d, w.end)
	if !end.After(start) {
		end = start.Add(time.Duration(w.end-w.start) * time.Minute)
	}
	w.spans[d] = [2]time.Time{start, end}
	return start, end
}

// at returns the window that t is in.
func (w *windows) at(t time.Time) (d date, start, end time.Time, open bool) {
	today := dateOf(t.In(w.zone))
	for _, d := range []date{today, today.plus(-1)} {
		if !w.workday(d) {
			continue
		}
		if start, end := w.bounds(d); !t.Before(start) && t.Before(end) {
			return d, start, end, true
		}
	}
	return date{}, time.Time{}, time.Time{}, false
}

// next returns the first window that begins after t. It is false if there is none within the horizon.
func (w *windows) next(t time.Time) (d date, start, end time.Time, ok bool) {
	d = dateOf(t.In(w.zone)).plus(-1)
	for range horizon {
		if w.workday(d) {
			if start, end = w.bounds(d); start.After(t) {
				return d, start, end, true
			}
		}
		d = d.plus(1)
	}
	return date{}, time.Time{}, time.Time{}, false
}

// firstAt is the first instant at which the wall clock of the zone shows the day and minute, or more.
func firstAt(zone *time.Location, d date, minute int) time.Time {
	wall := time.Date(d.year, d.month, d.day, 0, minute, 0, 0, time.UTC)
	_, before := wall.Add(-24 * time.Hour).In(zone).Zone()
	_, after := wall.Add(24 * time.Hour).In(zone).Zone()
	// The greater offset gives the earlier instant.
	for _, offset := range []int{max(before, after), min(before, after)} {
		t := wall.Add(-time.Duration(offset) * time.Second).In(zone)
		if _, real := t.Zone(); real == offset {
			return t
		}
	}
	// A gap: the old offset leads to an instant behind the change, whose zone begins with it.
	start, _ := wall.Add(-time.Duration(before) * time.Second).In(zone).ZoneBounds()
	return start
}

// LaunchKey names the launcher's run that is due at now: the window's date in the campaign's zone, "2026-03-09", and with Schedule.Every
// "2026-03-09#2" for the second and later runs of the window. It is "" outside of every window. A launcher that stores the keys of its
// runs and starts one whenever the key is new neither misses a day nor runs twice in one, whatever clocks do, and catches
// up when it was down at the start of the window.
func LaunchKey(c Campaign, now time.Time) string {
	w, err := newWindows(c.Schedule)
	if err != nil {
		return ""
	}
	d, start, _, open := w.at(now)
	if !open {
		return ""
	}
	return w.key(d, start, now)
}

func (w *windows) key(d date, start, now time.Time) string {
	// The count is of real time, which runs on through a clock change.
	if w.every > 0 {
		if n := now.Sub(start) / w.every; n > 0 {
			return fmt.Sprintf("%s#%d", d, n+1)
		}
	}
	return d.String()
}

// NextLaunch is the first time after the given one at which LaunchKey changes to a new key. It is zero if the schedule has no
// further window, or can't be understood.
func NextLaunch(c Campaign, after time.Time) time.Time {
	w, err := newWindows(c.Schedule)
	if err != nil {
		return time.Time{}
	}
	return w.nextLaunch(after)
}

func (w *windows) nextLaunch(after time.Time) time.Time {
	if _, start, end, open := w.at(after); open && w.every > 0 {
		if t := start.Add((after.Sub(start)/w.every + 1) * w.every); t.Before(end) {
			return t
		}
	}
	_, start, _, ok := w.next(after)
	if !ok {
		return time.Time{}
	}
	return start
}
