package campaign

import "fmt"

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
	return Reason{Code: CodeRunning, Message: message, Release: fmt.Sprintf("action %d ends", a.ID)}
}
