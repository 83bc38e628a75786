// Package pace says when a captured statement is due, and sleeps until then.
//
// The model: a statement is due at a fixed distance from when it was captured, absolute and never from one statement to the next, so that bursts stay bursts and no
// delay adds up. Who sleeps until then has an operating system's thread of its own: Go's timers are late by half a millisecond, which blurs a burst; a thread's nanosleep by a few
// microseconds, once the kernel is told that it may not put wake-ups together, and that the thread goes before others when it wakes.
//
// Failure: a due time that has passed is no error. The caller counts how late it was.
package pace

import "time"

// Schedule turns captured times into due ones. The zero value has everything due at once.
type Schedule struct {
	Origin time.Time // a captured time
	Start  time.Time // when that is due
	Speed  float64   // captured seconds in a second; 0: everything is due at once
}

// Behind is the schedule of who follows a capture that grows, at its own speed and so much behind.
func Behind(delay time.Duration) Schedule {
	now := time.Now()
	return Schedule{Origin: now, Start: now.Add(delay), Speed: 1}
}

// FlatOut reports whether nothing is waited for.
func (s Schedule) FlatOut() bool { return s.Speed <= 0 }

// Due is when what was captured then is to be sent. It is a time of the monotonic clock, as Start is.
func (s Schedule) Due(captured time.Time) time.Time {
	if s.FlatOut() {
		return s.Start
	}
	since := captured.Sub(s.Origin.Round(0)) // captured times have no monotonic part
	if s.Speed != 1 {
		since = time.Duration(float64(since) / s.Speed)
	}
	return s.Start.Add(since)
}
