package campaign

import (
	"fmt"
	"time"
)

// failedAction holds a cluster whose last action failed: a person looks at it first.
func (t *tick) failedAction(c *candidate, _ time.Time) (Reason, bool) {
	if c.Failure == nil {
		return Reason{}, false
	}
	return Reason{Code: CodeFailed, Message: fmt.Sprintf("%s failed: %s", c.Failure.Stage, c.Failure.Message),
		Release: fmt.Sprintf("a person resumes it: windlass resume %s", c.Ref)}, true
}

// attention holds a cluster that waits for a person's word, such as after a rollback.
func (t *tick) attention(c *candidate, _ time.Time) (Reason, bool) {
	if c.Attention == "" {
		return Reason{}, false
	}
	return Reason{Code: CodeAttention, Message: "a person's word is needed: " + c.Attention,
		Release: fmt.Sprintf("a person resumes it: windlass resume %s", c.Ref)}, true
}
