package web

import (
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/fleet"
)

// Overview is the board: for each environment, clusters × stages.
type Overview struct {
	At       time.Time
	Campaign *CampaignHead // nil when no campaign was applied yet
	Others   []string      // names of the other campaigns
	Warnings []string      // what a person should know beside the campaign, such as a sink of events that is behind
	Stages   []StageHead
	Envs     []Board
	Events   []Event // the newest first
}

// CampaignHead is what every page says of the campaign.
type CampaignHead struct {
	Name     string
	Strategy string
	Product  string
	From, To string
	Status   string // "running", "paused", "aborted" or "completed"
	Arrived  int
	Total    int
	Started  time.Time
}

// Percent is the share of clusters that arrived, 0 to 100.
func (c CampaignHead) Percent() int {
	if c.Total == 0 {
		return 0
	}
	return c.Arrived * 100 / c.Total
}

// StageHead is a column of the board.
type StageHead struct {
	Name            string
	Summary         string
	PointOfNoReturn bool
	Limits          map[string]int // by environment
	Soak            time.Duration
}

// Board is one environment's part of the overview.
type Board struct {
	Env                           string
	Total, Arrived, Running, Held int
	Failed                        int
	Rows                          []Row
}

// Row is one cluster on the board.
type Row struct {
	Ref     fleet.ClusterRef
	Version string // of the cell with the primary, as observed; "" if unknown
	Boxes   []Box  // one for each stage
	Note    string // the first reason of its hold, if it is held
}

// Now is the stage that the cluster is in, or that comes next for it, and its box. One that has every stage behind it is behind the last, and its
// state is StateArrived.
func (r Row) Now() (stage int, b Box) {
	for i, b := range r.Boxes {
		if b.State != StateDone {
			return i, b
		}
	}
	return len(r.Boxes), Box{State: StateArrived}
}

// State is what a box of the board shows. The word is shown too: colour alone says nothing.
type State string

// The states of a box.
const (
	StateDone    State = "done"
	StateRunning State = "running"
	StateWaiting State = "waiting" // an action waits, with a reason
	StateBack    State = "back"    // on the way back
	StateFailed  State = "failed"
	StateHeld    State = "held" // the next stage, held by a rule
	StateNext    State = "next" // the next stage, nothing holds it
	StateFar     State = "later"
)

// Box is one cluster in one stage.
type Box struct {
	State    State
	Text     string // short: the step, or the reason's code
	Detail   string // whole sentence
	Progress float64
}

// Cluster is a cluster's page.
type Cluster struct {
	At          time.Time
	Campaign    *CampaignHead
	Ref         fleet.ClusterRef
	Forgotten   time.Time // when it was taken out of the inventory; zero: it is there
	Product     string
	Record      string
	Row         Row
	Stages      []StageHead
	Cells       []Cell
	WayBack     *fleet.WayBack
	Hold        *campaign.Hold
	Failure     *campaign.Failure
	Attention   string
	Action      *Action
	Events      []Event
	RollbackTo  []string // stages that it can be rolled back to; "" in front means the beginning
	CanRollback bool
	CanAbort    bool      // an action runs that can turn round
	Observed    time.Time // zero: never
	RecordNow   string
}

// Engine tells whether it is the nodes of an engine: they have no record, no primary and no lag.
func (c Cluster) Engine() bool { return !fleet.Cluster{Product: c.Product}.Database() }

// Cell is one cell of a cluster, as meant and as observed.
type Cell struct {
	Name     string
	Version  string
	Owner    string
	Nodes    []fleet.NodeObservation
	Gateways []fleet.GatewayObservation
}

// Action is a live or ended action.
type Action struct {
	ID        int64
	Stage     string
	Direction string
	Status    string
	Holder    string
	Term      int64
	Started   time.Time
	Steps     []Step
	Replay    bool // the cluster has a replay, whose report has a page
}

// Step is one step of an action.
type Step struct {
	Kind     string
	Does     string
	Phase    string
	Message  string
	Progress float64
	Checks   check.Results
	Started  time.Time
	Finished time.Time
}

// Campaign is a campaign's page.
type Campaign struct {
	At        time.Time
	Head      CampaignHead
	Stages    []CampaignStage
	Envs      []string
	Pauses    []campaign.Pause
	Freezes   []campaign.Freeze   // those that are over are left out; those of the file have no Who
	Overrides []campaign.Override // approvals, too; those that have expired are left out
	Failures  []FailedCluster
	Next      time.Time // when the launcher runs next; zero: it does not
	Events    []Event

	Forecast    *campaign.Prediction // the last one; nil: there is none yet, or nothing is to come
	ForecastDue time.Time            // when it is to be worked out anew, apart from this page; zero: never
}

// ForecastWait is in how many milliseconds the page is to fetch the forecast.
func (c Campaign) ForecastWait() int64 { return max(0, c.ForecastDue.Sub(c.At).Milliseconds()) }

// CampaignStage counts the clusters of one stage, by environment.
type CampaignStage struct {
	StageHead
	Counts []StageCount // in the order of Envs
}

// StageCount says how many clusters of an environment completed a stage and how many are in it.
type StageCount struct {
	Done, Live, Limit, Total int
}

// FailedCluster is a cluster that needs a person.
type FailedCluster struct {
	Ref     fleet.ClusterRef
	Failure campaign.Failure
}

// Event is one line of a timeline.
type Event struct {
	Seq     int64
	At      time.Time
	Kind    string
	Ref     fleet.ClusterRef
	Stage   string
	Step    string
	Who     string
	Message string
	Loud    bool // needs a person's eyes
}
