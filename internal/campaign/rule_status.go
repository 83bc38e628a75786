package campaign

import (
	"fmt"
	"time"
)

// status holds everything while the campaign is not running.
func (t *tick) status(_ *candidate, _ time.Time) (Reason, bool) {
	switch t.Snapshot.Status {
	case StatusRunning:
		return Reason{}, false
	case StatusPaused:
		return Reason{Code: CodePaused, Message: "the campaign is paused", Release: "a person resumes the campaign"}, true
	case StatusAborted:
		return Reason{Code: CodeAborted, Message: "the campaign was aborted", Release: "nothing: apply a new campaign to go on"}, true
	case StatusComplete:
		return Reason{Code: CodeCompleted, Message: "the campaign is over", Release: "nothing: apply a new campaign for this cluster"}, true
	}
	return Reason{Code: CodeStatus, Message: fmt.Sprintf("the campaign's status %q is not known to this release", t.Snapshot.Status), Release: "run the release that wrote the state"}, true
}
