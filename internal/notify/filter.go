package notify

import (
	"slices"
	"strings"

	"github.com/windlass-db/windlass/internal/state"
)

// Level is how much a sink wants to know. Each level holds those before it.
type Level string

// From what needs a person to every row.
const (
	Loud   Level = "loud"   // failures, ways back that broke, aborts, rollbacks, overrides: a person is needed, or a person stepped in
	Stages Level = "stages" // stages that begin and end, launches, pauses, clusters that arrive
	Steps  Level = "steps"  // steps that were done, undone, or failed
	All    Level = "all"    // what steps wait for, leases, and the rest
)

// inner are the kinds of events that only All has: they say how it goes on, not what came of it.
var inner = []string{"step-pending", "step-intent", "step-waiting", "step-undoing", "action-leased"}

// loud tells whether an event is not to be kept waiting.
func loud(e state.Event) bool { return e.Loud || e.Kind == "action-aborted" }

// levelOf is the lowest level that has the event. Kinds that are not known here are of the level of stages: rather told than not.
func levelOf(e state.Event) Level {
	switch {
	case loud(e):
		return Loud
	case slices.Contains(inner, e.Kind):
		return All
	case strings.HasPrefix(e.Kind, "step-"):
		return Steps
	}
	return Stages
}

var levels = []Level{Loud, Stages, Steps, All}

// passes tells whether the sink wants the event. What concerns no environment, such as a launch, concerns all.
func (c SinkConfig) passes(e state.Event) bool {
	if len(c.Environments) > 0 && e.Ref.Env != "" && !slices.Contains(c.Environments, e.Ref.Env) {
		return false
	}
	if len(c.Campaigns) > 0 && e.Campaign != "" && !slices.Contains(c.Campaigns, e.Campaign) {
		return false
	}
	return slices.Index(levels, levelOf(e)) <= slices.Index(levels, c.Events)
}
