// Package api holds what goes over the wire between the server, its supervisors and its operators: plain JSON over HTTP,
// so that curl is a client too. The types are the schema; the server and the client share them.
package api

import (
	"encoding/json"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/config"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/state"
)

// Problem is the body of every answer that is no success.
type Problem struct {
	Code    string `json:"code"`    // stable: "fenced", "not-found", "refused", "unauthorized", "forbidden", "bad-request", "internal"
	Message string `json:"message"` // what is wrong
	Hint    string `json:"hint,omitempty"`

	// What keeps files from being applied, by the paths in them; the message has all of it too.
	Fleet    []config.Finding `json:"fleet,omitempty"`
	Campaign []config.Finding `json:"campaign,omitempty"`
}

// The codes of problems.
const (
	CodeFenced       = "fenced"
	CodeNotFound     = "not-found"
	CodeRefused      = "refused"
	CodeUnauthorized = "unauthorized"
	CodeForbidden    = "forbidden"
	CodeBadRequest   = "bad-request"
	CodeInternal     = "internal"
)

// LeaseRequest asks for work.
type LeaseRequest struct {
	Holder string              `json:"holder"` // the supervisor's name, unique in its environment
	Kinds  []state.KindVersion `json:"kinds"`  // what it can run
}

// HeartbeatRequest prolongs a lease.
type HeartbeatRequest struct {
	Term int64 `json:"term"`
}

// HeartbeatReply tells whether the action is to turn round.
type HeartbeatReply struct {
	Abort bool `json:"abort"`
}

// RecordRequest persists a step's row.
type RecordRequest struct {
	Term   int64             `json:"term"`
	Record engine.StepRecord `json:"record"`
}

// RecordReply tells whether the action is to turn round. A server of a release that did not tell sends nothing.
type RecordReply struct {
	Abort bool `json:"abort"`
}

// TurnRequest turns an action round.
type TurnRequest struct {
	Term   int64  `json:"term"`
	Reason string `json:"reason"`
}

// ReleaseRequest gives a lease back.
type ReleaseRequest struct {
	Term       int64         `json:"term"`
	RetryAfter time.Duration `json:"retry_after"` // nanoseconds
}

// FinishRequest ends an action.
type FinishRequest struct {
	Term    int64          `json:"term"`
	Outcome engine.Outcome `json:"outcome"`
	Message string         `json:"message"`
}

// Watched is a cluster that a supervisor observes.
type Watched struct {
	Cluster fleet.Cluster `json:"cluster"`
	// OldCell is set from the storage switch until tear-down: replication to it is watched.
	OldCell string `json:"old_cell,omitempty"`
}

// ObservationRequest tells what was seen of a cluster.
type ObservationRequest struct {
	Cluster     string            `json:"cluster"`
	Observation fleet.Observation `json:"observation"`
}

// MendRequest asks for leave to put a cluster right that no action has.
type MendRequest struct {
	Cluster string `json:"cluster"`
	Holder  string `json:"holder"` // the supervisor's name, unique in its environment
}

// MendedRequest gives the leave back.
type MendedRequest struct {
	Cluster string       `json:"cluster"`
	Term    int64        `json:"term"`
	Result  state.Mended `json:"result"`
}

// ApplyRequest stores a fleet, a campaign, or both: all of it or nothing.
type ApplyRequest struct {
	Fleet    *fleet.Fleet       `json:"fleet,omitempty"`
	Campaign *campaign.Campaign `json:"campaign,omitempty"`
	Prune    bool               `json:"prune,omitempty"`   // forget the clusters that the fleet's file names no more
	DryRun   bool               `json:"dry_run,omitempty"` // say what it would do, and do nothing
	Who      string             `json:"who,omitempty"`
}

// ForgetRequest takes a cluster out of the inventory.
type ForgetRequest struct {
	Why string `json:"why"`
}

// ScopeRequest pauses or resumes a scope; empty fields match everything.
type ScopeRequest struct {
	Env     string    `json:"env,omitempty"`
	Cluster string    `json:"cluster,omitempty"`
	Stage   string    `json:"stage,omitempty"`
	Why     string    `json:"why"`
	Until   time.Time `json:"until,omitzero"`
}

// RollbackRequest takes a cluster back to the end of a stage; "" is the beginning.
type RollbackRequest struct {
	Ref fleet.ClusterRef `json:"ref"`
	To  string           `json:"to"`
	Why string           `json:"why"`
}

// CampaignStatus is a campaign with all its clusters, and what Decide says of each now.
type CampaignStatus struct {
	Snapshot  campaign.Snapshot   `json:"snapshot"`
	Decisions []campaign.Decision `json:"decisions"`
	Stages    []string            `json:"stages"`
	At        time.Time           `json:"at"`
	NextRun   time.Time           `json:"next_run,omitzero"` // of the launcher
}

// Forecast is how a campaign goes on if no action fails and nobody intervenes.
type Forecast struct {
	campaign.Prediction
	Costs     []campaign.Cost          `json:"costs,omitempty"` // what each limit and soak costs, if asked for
	Durations map[string]time.Duration `json:"durations"`       // of each stage, in nanoseconds, as measured; "" is what is taken for the others
}

// ClusterStatus is all that is known of a cluster.
type ClusterStatus struct {
	Cluster     fleet.Cluster      `json:"cluster"`
	Forgotten   time.Time          `json:"forgotten,omitzero"` // when it was taken out of the inventory: all else is history
	Campaign    string             `json:"campaign,omitempty"`
	Progress    *campaign.Progress `json:"progress,omitempty"`
	Decision    *campaign.Decision `json:"decision,omitempty"`
	Actions     []state.ActionInfo `json:"actions"`
	Observation *fleet.Observation `json:"observation,omitempty"`
}

// raw keeps a body as it came.
type raw = json.RawMessage
