package campaign

import (
	"fmt"
	"time"
)

// window holds every start outside of the schedule.
func (t *tick) window(_ *candidate, at time.Time) (Reason, bool) {
	if t.badClock != nil {
		return Reason{Code: CodeWindow, Message: "the schedule can't be understood: " + t.badClock.Error(), Release: "apply the campaign with a schedule that can be"}, true
	}
	if _, _, _, open := t.windows.at(at); open {
		return Reason{}, false
	}
	_, start, _, ok := t.windows.next(at)
	if !ok {
		return Reason{Code: CodeWindow, Message: "the schedule has no workday within two years", Release: "apply the campaign with another schedule"}, true
	}
	r, known := t.closed[start]
	if !known {
		s := t.Campaign.Schedule
		r = Reason{
			Code: CodeWindow, Message: fmt.Sprintf("stages start on workdays from %s to %s (%s)", s.Start, s.End, t.windows.zone),
			Release: "the next window opens at " + start.In(t.windows.zone).Format("2006-01-02 15:04 MST"), Until: start,
		}
		t.closed[start] = r
	}
	return r, true
}
