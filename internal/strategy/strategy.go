// Package strategy describes upgrades as data: a strategy is a path of stages, a stage is a list of steps, and each
// step says what it does, what proves it, and how it is undone.
//
// There is no language here: the strategies are Go values. An action stores the plan that it was expanded from, and
// every step kind has a version, so that a newer release resumes what an older one began, or leaves it to a
// supervisor that still knows the version (trap 9).
package strategy

import "time"

// Direction tells whether an action goes along the path or back.
type Direction string

// An action goes forward through a stage's steps, or back through them in reverse order.
const (
	Forward Direction = "forward"
	Back    Direction = "back"
)

// Kind names what a step does. The engine finds the handler by it.
type Kind string

// Strategy is a path from one version to the next.
type Strategy struct {
	Name   string  `json:"name"`
	Stages []Stage `json:"stages"`
}

// Stage is what the launcher starts at once: limits and soaks count stages.
type Stage struct {
	Name    string `json:"name"`
	Summary string `json:"summary"` // one sentence for plans and pages
	Steps   []Step `json:"steps"`
	// PointOfNoReturn marks the stage with whose beginning the way back ends.
	PointOfNoReturn bool `json:"point_of_no_return,omitempty"`
	// Disruptive marks a stage that touches traffic; budgets and windows look at it.
	Disruptive bool `json:"disruptive,omitempty"`
	// MovesPrimary marks the stage that makes a node of the new version the primary. From its end until the point of no return
	// replication back to the old version is the way back, and is watched.
	MovesPrimary bool `json:"moves_primary,omitempty"`
}

// Step is one thing that is observed, done, verified and undone.
type Step struct {
	Kind     Kind          `json:"kind"`
	Version  int           `json:"version"`  // of the kind's meaning; supervisors lease only what they declare
	Does     string        `json:"does"`     // one sentence: what it changes
	Proves   string        `json:"proves"`   // what is looked at afterwards
	Undoes   string        `json:"undoes"`   // what the way back does; empty: nothing to undo
	Deadline time.Duration `json:"deadline"` // how long it may wait before the action goes back
}

// Stage returns the stage of that name and its place on the path, or -1.
func (s Strategy) Stage(name string) (Stage, int) {
	for i, st := range s.Stages {
		if st.Name == name {
			return st, i
		}
	}
	return Stage{}, -1
}

// Plan is a stage expanded for one action, in the order in which the steps run. It is stored with the action.
type Plan struct {
	Strategy  string    `json:"strategy"`
	Stage     string    `json:"stage"`
	Direction Direction `json:"direction"`
	Steps     []Step    `json:"steps"`
	// PointOfNoReturn is the stage's: once begun, the action never turns round.
	PointOfNoReturn bool `json:"point_of_no_return,omitempty"`
}

// Expand makes the plan of one stage: its steps forward, or in reverse order back.
func (s Strategy) Expand(stage string, dir Direction) (Plan, bool) {
	st, i := s.Stage(stage)
	if i < 0 {
		return Plan{}, false
	}
	steps := make([]Step, len(st.Steps))
	for j, step := range st.Steps {
		if dir == Back {
			steps[len(steps)-1-j] = step
		} else {
			steps[j] = step
		}
	}
	return Plan{Strategy: s.Name, Stage: stage, Direction: dir, Steps: steps, PointOfNoReturn: st.PointOfNoReturn}, true
}

// MovesPrimary tells whether the plan's stage moves the primary: until its action has ended, nobody else opens one. A stage that this
// release does not know counts as one that does.
func (p Plan) MovesPrimary() bool {
	s, ok := ByName(p.Strategy)
	if !ok {
		return true
	}
	st, at := s.Stage(p.Stage)
	return at < 0 || st.MovesPrimary
}
