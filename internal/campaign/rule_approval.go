package campaign

import (
	"fmt"
	"slices"
	"time"
)

// approval holds the stages that the campaign wants a person to approve. The approval is an Override of this rule, so it has a
// name, a reason, a scope and an expiry. Everything else goes on being judged while it is waited for.
func (t *tick) approval(c *candidate, _ time.Time) (Reason, bool) {
	if c.next < 0 || !slices.Contains(t.Campaign.Approve, c.name) {
		return Reason{}, false
	}
	return Reason{Code: CodeApproval, Message: fmt.Sprintf("%s waits for a person's approval", c.name),
		Release: fmt.Sprintf("a person approves it: windlass approve %s --stage %s", c.Ref, c.name)}, true
}
