// Package campaign holds the campaign file and Decide, the one place that says which clusters move and why the
// others do not.
//
// Everything in it is pure: times come from the caller, a snapshot goes in, decisions come out. The launcher, the
// recount inside its transaction, `windlass why`, the forecast and the simulation call the same function.
package campaign

import (
	"time"

	"github.com/windlass-db/windlass/internal/policy"
)

// Campaign raises the clusters that it selects from one version to another.
type Campaign struct {
	Name         string   `json:"name"`
	Strategy     string   `json:"strategy"`     // "bluegreen", "inplace", "rolling" or "contract"
	Product      string   `json:"product"`      // "mariadb" or "mysql"; of rolling and contract any other
	From         string   `json:"from"`         // version prefix, such as "10.11"
	To           string   `json:"to"`           // version prefix, such as "11.8"
	Environments []string `json:"environments"` // in the order in which they go
	Order        string   `json:"order"`        // OrderStage (also ""), OrderCampaign or OrderNone: what an environment waits for in the ones before it
	Clusters     []string `json:"clusters"`     // glob patterns over "env/name"; empty means all
	Exclude      []string `json:"exclude,omitempty"`
	FromCell     string   `json:"from_cell"` // "blue"; "" for rolling and contract, which go over a cluster's one cell
	ToCell       string   `json:"to_cell"`   // "green"

	Policy  *Policy         `json:"policy,omitempty"`  // of the user's own, which judges instead of the product's built-in one
	Bridges []policy.Bridge `json:"bridges,omitempty"` // that its way goes over

	SeenWithin time.Duration `json:"seen_within,omitempty"` // a stage starts only on a cluster that was looked at so lately; 0: that is not asked

	Limits   Limits   `json:"limits"`
	Soak     Soak     `json:"soak"`
	Schedule Schedule `json:"schedule"`
	Freezes  []Freeze `json:"freezes,omitempty"`
	Budget   Budget   `json:"budget"`
	Nodes    int      `json:"nodes"` // nodes in the new cell; 0: as many as the old one has
	Switch   Switch   `json:"switch"`
	Verify   Verify   `json:"verify"`
	Replay   Replay   `json:"replay,omitzero"`
	Drain    Drain    `json:"drain"`
	Rolling  Rolling  `json:"rolling,omitzero"`
	Contract Contract `json:"contract,omitzero"`
	Rehearse string   `json:"rehearse,omitempty"` // stage whose way back one cluster has to go before the others start it; "": none
	Approve  []string `json:"approve,omitempty"`  // stages that a person approves, for each cluster, environment or all: an Override of CodeApproval
}

// InPlace tells whether the nodes of one cell are raised, and no cell is made: FromCell and ToCell are that cell.
func (c Campaign) InPlace() bool { return c.Strategy == policy.InPlace }

// What an environment waits for in the environments before it.
const (
	OrderStage    = "stage"    // a stage starts when every cluster before has completed that stage
	OrderCampaign = "campaign" // it starts when every cluster before has arrived
	OrderNone     = "none"     // nothing
)

// Limits says how many clusters of one environment may be in one stage at the same time.
type Limits struct {
	PerStage     int                       `json:"per_stage"`              // default for every stage; 0: DefaultLimit
	Stages       map[string]int            `json:"stages,omitempty"`       // by stage; 0 shuts it
	Environments map[string]map[string]int `json:"environments,omitempty"` // by environment, then stage ("*" for all); 0 shuts it
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
	End      string        `json:"end"`                // "17:00", no stage starts from then on; not after Start: of the next day
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

// Budget is how many clusters may have failed, and wait for a person, before nothing more starts: with 2, the third failure
// stops the line; with 0 the first one does. A negative number means no budget is set.
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
