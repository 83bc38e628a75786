package campaign

import (
	"time"

	"github.com/windlass-db/windlass/internal/fleet"
)

// Progress is how far one cluster of a campaign is.
type Progress struct {
	Ref       fleet.ClusterRef `json:"ref"`
	Stage     string           `json:"stage"`               // last stage that it completed; "" before the first
	Since     time.Time        `json:"since"`               // when it completed it
	Done      []StageEnd       `json:"done,omitempty"`      // when it completed each stage that it has behind it; a stage that was rolled back is not in it
	Action    *ActionState     `json:"action,omitempty"`    // the one live action, if any
	Failure   *Failure         `json:"failure,omitempty"`   // set by a failed action, cleared by a person's resume
	Attention string           `json:"attention,omitempty"` // a person's word is needed, and why (rolled back, paused by rule)
	WayBack   *fleet.WayBack   `json:"way_back,omitempty"`
	Rehearsed []string         `json:"rehearsed,omitempty"` // stages that it has gone through and back, in this campaign
	Seen      []Seen           `json:"seen,omitempty"`      // roles and versions that the last look saw together
	Version   string           `json:"version,omitempty"`   // version of the cell that has the primary, or of the nodes of an engine that serve, as it was last seen
	Observed  time.Time        `json:"observed,omitzero"`   // when Version was seen, by the state's clock; it judges nothing that is newer
	Unknown   string           `json:"unknown,omitempty"`   // what the last look could not read, and why; "" if it read everything
	Looked    time.Time        `json:"looked,omitzero"`     // when the last look was, by the clock of who looked
	Received  time.Time        `json:"received,omitzero"`   // when it was told, by the state's clock: its age is counted from then
}

// lateLook is how long after its time a look is told at most. What says of itself that it is older was dated by a clock that is behind.
const lateLook = time.Minute

// looked is when the last look was, by the state's clock: it is held against when a stage ended, and a supervisor's clock may be wrong.
func (p *Progress) looked() time.Time {
	if !p.Looked.IsZero() && p.Received.Sub(p.Looked) > lateLook {
		return p.Received
	}
	return p.Looked
}

// StageEnd is when a cluster completed a stage.
type StageEnd struct {
	Stage string    `json:"stage"`
	At    time.Time `json:"at"`
}

// ActionState is a live action, as Decide sees it.
type ActionState struct {
	ID        int64     `json:"id"`
	Stage     string    `json:"stage"`
	Direction string    `json:"direction"`
	Status    string    `json:"status"`
	Step      string    `json:"step,omitempty"`
	Message   string    `json:"message,omitempty"` // what it waits for
	Held      bool      `json:"held,omitempty"`    // it waits for a person
	StartedAt time.Time `json:"started_at"`
}

// Failure is an action that ended badly.
type Failure struct {
	Stage   string    `json:"stage"`
	Message string    `json:"message"`
	At      time.Time `json:"at"`
}

// Pause stops new starts in a scope. Empty fields match everything.
type Pause struct {
	ID      int64     `json:"id"`
	Env     string    `json:"env,omitempty"`
	Cluster string    `json:"cluster,omitempty"`
	Stage   string    `json:"stage,omitempty"`
	Who     string    `json:"who"`
	Why     string    `json:"why"`
	At      time.Time `json:"at"`
	Until   time.Time `json:"until,omitzero"` // zero: until resumed
}

// Override lets one rule pass in a scope for a time.
type Override struct {
	ID      int64     `json:"id"`
	Rule    string    `json:"rule"` // a reason's code, such as "soak" or "freeze"
	Env     string    `json:"env,omitempty"`
	Cluster string    `json:"cluster,omitempty"`
	Stage   string    `json:"stage,omitempty"`
	Who     string    `json:"who"`
	Why     string    `json:"why"`
	At      time.Time `json:"at"`
	Expires time.Time `json:"expires"` // never zero
}

// Snapshot is all that Decide looks at, read in one transaction.
type Snapshot struct {
	Campaign  Campaign   `json:"campaign"`
	Status    string     `json:"status"`   // "running", "paused", "aborted", "completed"
	Clusters  []Progress `json:"clusters"` // those that the campaign selects
	Pauses    []Pause    `json:"pauses"`
	Freezes   []Freeze   `json:"freezes"` // beside those of the campaign file
	Overrides []Override `json:"overrides"`
}

// Decision is for one cluster either a stage to start, or a hold; or that it has arrived.
type Decision struct {
	Ref     fleet.ClusterRef `json:"ref"`
	Start   string           `json:"start,omitempty"` // stage to start
	Hold    *Hold            `json:"hold,omitempty"`
	Arrived bool             `json:"arrived,omitempty"` // nothing is left to do
}

// Hold says why a cluster does not move.
type Hold struct {
	Next     string    `json:"next"`              // the stage that it waits for
	Reasons  []Reason  `json:"reasons"`           // never empty; the most important first
	Earliest time.Time `json:"earliest,omitzero"` // when it could move at the earliest; zero: unknown, an event has to come first
}

// Reason is one cause of a hold.
type Reason struct {
	Code    string    `json:"code"`             // stable: one of the Code constants
	Message string    `json:"message"`          // what holds, with names and numbers
	Release string    `json:"release"`          // what would release it
	Until   time.Time `json:"until,omitzero"`   // when it ends by itself; zero: it does not
	Unseen  bool      `json:"unseen,omitempty"` // it ends with the next look at the cluster
}
