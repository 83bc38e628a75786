package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // zones are the same on every machine, also where the system has none
)

// ParseDuration reads what time.ParseDuration does, and days and weeks: "2d", "1w", "1d12h". A day is 24 hours. A bare number is
// refused, but for 0.
func ParseDuration(s string) (time.Duration, error) {
	s = strings.TrimSpace(s)
	if s == "0" {
		return 0, nil
	}
	if s == "" {
		return 0, errors.New("it is empty")
	}
	if strings.Trim(s, "0123456789.-") == "" {
		return 0, errors.New("the unit is missing")
	}
	var total float64 // in nanoseconds; bounded below
	rest := s
	negative := strings.HasPrefix(rest, "-")
	rest = strings.TrimPrefix(rest, "-")
	for rest != "" {
		i := strings.IndexFunc(rest, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
		if i <= 0 {
			return 0, fmt.Errorf("a number with a unit is wanted at %s", quote(rest))
		}
		n, err := strconv.ParseFloat(rest[:i], 64)
		if err != nil {
			return 0, fmt.Errorf("%s is no number", quote(rest[:i]))
		}
		rest = rest[i:]
		j := strings.IndexFunc(rest, func(r rune) bool { return r >= '0' && r <= '9' || r == '.' })
		if j < 0 {
			j = len(rest)
		}
		unit, ok := units[rest[:j]]
		if !ok {
			return 0, fmt.Errorf("%s is no unit", quote(rest[:j]))
		}
		total += n * float64(unit)
		rest = rest[j:]
	}
	if total > float64(100*365*24*time.Hour) {
		return 0, errors.New("it is more than 100 years")
	}
	if negative {
		return 0, errors.New("it is negative")
	}
	return time.Duration(total), nil
}

var units = map[string]time.Duration{
	"ns": time.Nanosecond, "us": time.Microsecond, "µs": time.Microsecond, "ms": time.Millisecond, "s": time.Second, "m": time.Minute,
	"h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour,
}

// FormatDuration writes a duration as people do: "2d", "1h30m", "500ms", "0s".
func FormatDuration(d time.Duration) string {
	if d == 0 {
		return "0s"
	}
	sign := ""
	if d < 0 {
		sign, d = "-", -d
	}
	var b strings.Builder
	for _, u := range []struct {
		name string
		unit time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}} {
		if n := d / u.unit; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, u.name)
			d -= n * u.unit
		}
	}
	if d > 0 {
		b.WriteString(d.String())
	}
	return sign + b.String()
}

// LoadZone returns a time zone by its IANA name. "Local" is refused: a file means the same on every machine.
func LoadZone(name string) (*time.Location, error) {
	if name == "" || strings.EqualFold(name, "local") {
		return nil, errors.New("it names no place")
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil, errors.New("it is not known")
	}
	return loc, nil
}

// Clock is a time of day in minutes, written "09:00"; "24:00" is the end of the day.
type Clock struct{ Minutes int }

// Parse reads "15:04".
func (c *Clock) Parse(s string) error {
	hh, mm, ok := strings.Cut(s, ":")
	h, err1 := strconv.Atoi(hh)
	m, err2 := strconv.Atoi(mm)
	if !ok || err1 != nil || err2 != nil || len(hh) != 2 || len(mm) != 2 {
		return errors.New("two digits, a colon and two digits are wanted")
	}
	if h < 0 || m < 0 || m > 59 || h*60+m > 24*60 {
		return errors.New("there is no such time")
	}
	c.Minutes = h*60 + m
	return nil
}

// Wanted names it in messages.
func (*Clock) Wanted() string { return "a time of day" }

// Form shows how it is written.
func (*Clock) Form() string { return "\"09:00\"" }

// String is "09:00".
func (c Clock) String() string { return fmt.Sprintf("%02d:%02d", c.Minutes/60, c.Minutes%60) }

// Date is a day, written "2026-12-24".
type Date struct{ text string }

// Parse reads "2006-01-02".
func (d *Date) Parse(s string) error {
	if _, err := time.Parse(time.DateOnly, s); err != nil {
		var perr *time.ParseError
		if errors.As(err, &perr) && strings.Contains(perr.Message, "out of range") {
			return errors.New("there is no such day")
		}
		return errors.New("year, month and day are wanted")
	}
	d.text = s
	return nil
}

// Wanted names it in messages.
func (*Date) Wanted() string { return "a date" }

// Form shows how it is written.
func (*Date) Form() string { return "2026-12-24" }

// String is "2026-12-24", or "" for the zero value.
func (d Date) String() string { return d.text }

// Moment is a point in time, written with its offset ("2026-12-18T17:00:00Z"), or as "2026-12-18 17:00" or "2026-12-18" in a zone
// that is told by another key.
type Moment struct {
	at    time.Time
	local bool
	set   bool
}

// Parse reads one of the three forms.
func (m *Moment) Parse(s string) error {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		*m = Moment{at: t, set: true}
		return nil
	}
	for _, layout := range []string{"2006-01-02 15:04", "2006-01-02T15:04", time.DateOnly} {
		t, err := time.Parse(layout, s)
		if err == nil {
			*m = Moment{at: t, local: true, set: true}
			return nil
		}
		var perr *time.ParseError
		if errors.As(err, &perr) && strings.Contains(perr.Message, "out of range") {
			return errors.New("there is no such day or time")
		}
	}
	return errors.New("a date, or a date and a time, is wanted")
}

// Wanted names it in messages.
func (*Moment) Wanted() string { return "a point in time" }

// Form shows how it is written.
func (*Moment) Form() string { return "2026-12-18, \"2026-12-18 17:00\" or 2026-12-18T17:00:00Z" }

// Given reports whether the file says it.
func (m Moment) Given() bool { return m.set }

// In returns the point in time, with the zone where the file gave no offset.
func (m Moment) In(zone *time.Location) time.Time {
	if !m.local {
		return m.at
	}
	return time.Date(m.at.Year(), m.at.Month(), m.at.Day(), m.at.Hour(), m.at.Minute(), 0, 0, zone)
}
