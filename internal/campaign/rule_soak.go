package campaign

import (
	"fmt"
	"time"

	"github.com/windlass-db/windlass/internal/config"
)

// soak holds a cluster for a time after its last stage.
func (t *tick) soak(c *candidate, at time.Time) (Reason, bool) {
	soak := t.Campaign.Soak.Stages[c.Stage]
	if soak <= 0 || c.Stage == "" || c.next < 0 {
		return Reason{}, false
	}
	if c.Since.IsZero() {
		return Reason{Code: CodeSoak, Message: fmt.Sprintf("it is not known when it completed %s", c.Stage), Release: "a person overrides " + CodeSoak + " with a reason"}, true
	}
	until := c.Since.Add(soak)
	if !at.Before(until) {
		return Reason{}, false
	}
	return Reason{Code: CodeSoak, Message: fmt.Sprintf("it completed %s at %s, and is watched for %s", c.Stage, clock(c.Since), human(soak)), Release: "the time is over", Until: until}, true
}

// clock writes a time for messages, always in UTC: they are stored, sent and read in many zones.
func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 MST") }

func human(d time.Duration) string { return config.FormatDuration(d) }
