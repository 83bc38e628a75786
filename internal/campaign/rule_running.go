package campaign

import (
	"fmt"

	"github.com/windlass-db/windlass/internal/strategy"
)

// running is the reason of a cluster with a live action: it moves, and nothing else is started beside it.
func (t *tick) running(c *candidate) Reason {
	a := c.Action
	what := a.Stage
	if a.Direction == "back" {
		what = "the way back of " + a.Stage
	}
	message := what + " is running"
	if a.Step != "" {
		message += ", at step " + a.Step
	}
	if a.Message != "" {
		message += ": " + a.Message
	}
	if a.Held && a.Stage == strategy.StageReplay && a.Direction != string(strategy.Back) {
		return Reason{Code: CodeReplay, Message: message, Release: fmt.Sprintf("a rule for each finding under replay.ignore in the campaign's file, or a person: windlass override %s --rule %s, or windlass abort %s", c.Ref, CodeReplay, c.Ref)}
	}
	return Reason{Code: CodeRunning, Message: message, Release: fmt.Sprintf("action %d ends", a.ID)}
}
