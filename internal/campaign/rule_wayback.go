package campaign

import "time"

// wayBack keeps the point of no return closed unless the way back is known to be open (trap 19): whoever breaks
// replication to the old version has ended the rollback window early, and tearing the old cell down then would destroy the only
// copy that could still help. Unknown holds like broken. A strategy that moves no primary has no such replication.
func (t *tick) wayBack(c *candidate, _ time.Time) (Reason, bool) {
	if c.next < 0 || t.strat.PrimaryMoves() < 0 || !t.strat.Stages[c.next].PointOfNoReturn || c.next == 0 {
		return Reason{}, false
	}
	switch w := c.WayBack; {
	case w == nil:
		return Reason{Code: CodeWayBack, Message: "nothing is known of replication to the old version", Release: "it is observed, or a person overrides " + CodeWayBack + " with a reason"}, true
	case w.Closed: // the tear-down closed it itself, and was stopped later: it goes on
	case !w.Open:
		detail := w.Detail
		if detail == "" {
			detail = "no detail was observed"
		}
		return Reason{Code: CodeWayBack, Message: "replication to the old version is broken: " + detail, Release: "it is repaired, or a person overrides " + CodeWayBack + " with a reason"}, true
	}
	return Reason{}, false
}
