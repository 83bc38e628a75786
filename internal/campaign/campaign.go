// Package campaign holds the campaign file and Decide, the one place that says which clusters move and why the
// others do not.
//
// Everything in it is pure: times come from the caller, a snapshot goes in, decisions come out. The launcher, the
// recount inside its transaction, `windlass why`, the forecast and the simulation call the same function.
package campaign

import (
	"time"

	"github.com/windlass-db/windlass/internal/fleet"
)

// Campaign raises the clusters that it selects from one version to another.
type Campaign struct {
	Name         string   `json:"name"`
	Strategy     string   `json:"strategy"`     // "bluegreen"
	Product      string   `json:"product"`      // "mariadb" or "mysql"
	From         string   `json:"from"`         // version prefix, such as "10.11"
	To           string   `json:"to"`           // version prefix, such as "11.8"
	Environments []string `json:"environments"` // in the order in which they go
	Clusters     []string `json:"clusters"`     // glob patterns over "env/name"; empty means all
	Exclude      []string `json:"exclude,omitempty"`
	FromCell     string   `json:"from_cell"` // "blue"
	ToCell       string   `json:"to_cell"`   // "green"

	Limits   Limits   `json:"limits"`
	Soak     Soak     `json:"soak"`
	Schedule Schedule `json:"schedule"`
	Freezes  []Freeze `json:"freezes,omitempty"`
	Budget   Budget   `json:"budget"`
	Nodes    int      `json:"nodes"` // nodes in the new cell; 0: as many as the old one has
	Switch   Switch   `json:"switch"`
	Verify   Verify   `json:"verify"`
	Drain    Drain    `json:"drain"`
}

// Limits says how many clusters of one environment may be in one stage at the same time.
type Limits struct {
	PerStage     int                       `json:"per_stage"`              // default for every stage
	Stages       map[string]int            `json:"stages,omitempty"`       // by stage
	Environments map[string]map[string]int `json:"environments,omitempty"` // by environment, then stage ("*" for all)
	PerLaunch    int                       `json:"per_launch,omitempty"`   // most starts in one run of the launcher for one environment; 0: no limit
}

// Soak says how long to wait and watch.
type Soak struct {
	Stages       map[string]time.Duration `json:"stages,omitempty"` // least time from the end of a stage of that name to the start of the cluster's next one
	Environments time.Duration            `json:"environments"`     // least time from the last cluster's end of a stage in one environment to its start in the next
}

// Schedule says when stages may start.
type Schedule struct {
	TimeZone string        `json:"time_zone"`          // IANA name
	Start    string        `json:"start"`              // "09:00", start of the workday, when the launcher runs
	End      string        `json:"end"`                // "17:00", no stage starts after it
	Workdays []string      `json:"workdays"`           // "mon" … "sun"
	Holidays []string      `json:"holidays,omitempty"` // dates "2026-12-24"
	Calendar string        `json:"calendar,omitempty"` // a country's public holidays, such as "us" or "de"
	Always   bool          `json:"always,omitempty"`   // any time of any day, for tests and demos
	Every    time.Duration `json:"every,omitempty"`    // launch again after this long inside the window; 0: once a day
}

// Freeze is a time in which nothing starts, for everything or for some environments.
type Freeze struct {
	From         time.Time `json:"from"`
	To           time.Time `json:"to"`
	Reason       string    `json:"reason"`
	Environments []string  `json:"environments,omitempty"` // empty: all
	Who          string    `json:"who,omitempty"`
}

// Budget is how many clusters may have failed before nothing more starts. A negative number means no budget is set.
type Budget struct {
	Campaign    int `json:"campaign"`
	Environment int `json:"environment"`
	Stage       int `json:"stage"` // in one stage of one environment
}

// Switch holds the settings of the storage switch.
type Switch struct {
	HoldTTL           time.Duration `json:"hold_ttl"`            // how long gateways hold at the most, on their own clock
	Drain             time.Duration `json:"drain"`               // how long open write transactions get to end
	Tries             int           `json:"tries"`               // how often the drain is tried
	OnOpenTransaction string        `json:"on_open_transaction"` // "call-off" or "fail"
	MaxLag            time.Duration `json:"max_lag"`             // most lag of the elect before a switch
	Timeout           time.Duration `json:"timeout"`             // of the whole switch
	MinInterval       time.Duration `json:"min_interval"`        // least time between two switches of a cluster (anti-flapping)
}

// Verify holds the settings of the data check.
type Verify struct {
	ChunkRows int           `json:"chunk_rows"`
	MaxLag    time.Duration `json:"max_lag"` // the check pauses above it
	Pause     time.Duration `json:"pause"`   // between chunks
}

// Drain holds the settings of the gateway switch.
type Drain struct {
	TTL time.Duration `json:"ttl"` // of the DNS record
}

// Progress is how far one cluster of a campaign is.
type Progress struct {
	Ref       fleet.ClusterRef `json:"ref"`
	Stage     string           `json:"stage"`               // last stage that it completed; "" before the first
	Since     time.Time        `json:"since"`               // when it completed it
	Action    *ActionState     `json:"action,omitempty"`    // the one live action, if any
	Failure   *Failure         `json:"failure,omitempty"`   // set by a failed action, cleared by a person's resume
	Attention string           `json:"attention,omitempty"` // a person's word is needed, and why (rolled back, paused by rule)
	WayBack   *fleet.WayBack   `json:"way_back,omitempty"`
	Version   string           `json:"version,omitempty"` // version of the cell that has the primary, once observed
}

// ActionState is a live action, as Decide sees it.
type ActionState struct {
	ID        int64     `json:"id"`
	Stage     string    `json:"stage"`
	Direction string    `json:"direction"`
	Status    string    `json:"status"`
	Step      string    `json:"step,omitempty"`
	Message   string    `json:"message,omitempty"` // what it waits for
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
	Code    string    `json:"code"`           // stable: "limit", "soak", "environment-order", "window", "freeze", "budget", "paused", "failed", "running", "way-back-broken", …
	Message string    `json:"message"`        // what holds, with names and numbers
	Release string    `json:"release"`        // what would release it
	Until   time.Time `json:"until,omitzero"` // when it ends by itself; zero: it does not
}
