package campaign

// The codes of reasons, which are the names of the rules. They are stable: overrides, events and metrics carry them. The most
// important comes first, as in a hold.
const (
	CodeRunning    = "running"           // an action is live
	CodeReplay     = "replay"            // the verdict over the replayed queries does not let the storage switch begin
	CodeAborted    = "aborted"           // the campaign was aborted
	CodeCompleted  = "completed"         // the campaign is over
	CodeStatus     = "status"            // the campaign is in a status that is not known here
	CodeFailed     = "failed"            // an action failed: a person is needed
	CodeAttention  = "attention"         // a person's word is needed
	CodeUnknown    = "unknown"           // the environment, stage, strategy or time is not known, or the last look could not read something or is too long ago: nothing is guessed
	CodeVersion    = "version"           // the cluster was seen on a version that it should not have at this stage
	CodePolicy     = "policy"            // versions that may not run side by side were seen together
	CodePaused     = "paused"            // the campaign, environment, stage or cluster is paused
	CodeFreeze     = "freeze"            // a freeze
	CodeWayBack    = "way-back-broken"   // replication to the old version is broken or unknown: no tear-down (trap 19)
	CodeBudget     = "budget"            // too many clusters failed
	CodeOrder      = "environment-order" // clusters of an earlier environment are not as far
	CodeOrderSoak  = "environment-soak"  // an earlier environment was finished too recently
	CodeSoak       = "soak"              // the cluster's last stage ended too recently
	CodeApproval   = "approval"          // the stage waits for a person's approval
	CodeRehearsal  = "rehearsal"         // the way back of the stage has not been rehearsed on one cluster
	CodeWindow     = "window"            // outside of the schedule
	CodeLimit      = "limit"             // enough clusters of the environment are in the stage
	CodePerLaunch  = "launch-limit"      // enough starts in the environment at this launch
	StatusRunning  = "running"           // the only status of a campaign in which something starts
	StatusPaused   = "paused"
	StatusAborted  = "aborted"
	StatusComplete = "completed"
)

// Overridable are the codes that an Override may let pass, with what that risks. Everything else states a fact (a live action, a failure,
// something unknown) or a person's stop, which is taken back and not overridden.
func Overridable() map[string]string {
	return map[string]string{
		CodeFreeze:    "starts inside a freeze, such as for a hotfix",
		CodeWayBack:   "tears down although a rollback is not possible any more",
		CodeBudget:    "goes on although more clusters failed than agreed",
		CodeOrder:     "runs ahead of an earlier environment",
		CodeOrderSoak: "shortens the watch after an earlier environment",
		CodeSoak:      "shortens the watch after the cluster's last stage",
		CodeRehearsal: "goes on although nobody has tried the way back",
		CodeApproval:  "is the approval itself",
		CodeReplay:    "switches although queries were answered otherwise, or more slowly, or too few were tried",
		CodeWindow:    "starts outside of the schedule",
		CodeLimit:     "lets more clusters into a stage than agreed",
		CodePerLaunch: "starts more clusters in one launch than agreed",
	}
}

// Codes are all codes of reasons, the most important first.
func Codes() []string {
	return []string{CodeRunning, CodeReplay, CodeAborted, CodeCompleted, CodeStatus, CodeFailed, CodeAttention, CodeUnknown, CodeVersion, CodePolicy, CodePaused, CodeFreeze, CodeWayBack,
		CodeBudget, CodeOrder, CodeOrderSoak, CodeSoak, CodeApproval, CodeRehearsal, CodeWindow, CodeLimit, CodePerLaunch}
}
