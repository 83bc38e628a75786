// Package engine runs one action: a plan of steps on one cluster, under a lease.
//
// The model: for each step observe → already so? → persist intent → act → verify by observing → persist. A step that
// can't go on yet waits: a state with a reason and a deadline, not a sleeping goroutine. Whoever holds the
// lease carries a term; a holder whose term is old can write nothing, neither to the journal nor, as every act
// carries the term to its target, to the world (trap 1).
//
// A step that fails for good, or waits past its deadline, turns the action round: what the step holds is released, and the steps done so far
// are undone in reverse order. After a kill at any point the next holder reads the journal, observes, and goes on.
package engine

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

// ErrFenced is returned by the journal and by targets when somebody with a higher term has taken over. The holder
// stops at once and writes nothing more.
var ErrFenced = errors.New("a newer term has taken over this action")

// Phase is where a step stands in the journal.
type Phase string

// A step goes pending → intent → (waiting ↔ intent) → done; on the way back → undoing → undone.
const (
	Pending Phase = "pending"
	Intent  Phase = "intent"  // an act may have begun
	Waiting Phase = "waiting" // can't go on yet, with a reason
	Done    Phase = "done"
	Undoing Phase = "undoing" // an undo may have begun
	Undone  Phase = "undone"
	Failed  Phase = "failed" // the undo itself can't go on: a person is needed
)

// Outcome is how an action ended.
type Outcome string

// An action completes, goes back to where it began, or needs a person.
const (
	Completed  Outcome = "completed"
	WentBack   Outcome = "went-back" // turned round and undone; the cluster is as before the action
	NeedsHuman Outcome = "needs-human"
	Aborted    Outcome = "aborted" // went back because a person said so
)

// Assignment is an action under lease, with all that its steps need to know.
type Assignment struct {
	ActionID int64             `json:"action_id"`
	Term     int64             `json:"term"` // grows with every lease of any action of the cluster
	LeaseTTL time.Duration     `json:"lease_ttl"`
	Campaign campaign.Campaign `json:"campaign"`
	Cluster  fleet.Cluster     `json:"cluster"` // as the state knows it now: inventory and the cells that were made
	Plan     strategy.Plan     `json:"plan"`
	Steps    []StepRecord      `json:"steps"`
	// Overrides are those of the campaign that are for this cluster and stage.
	Overrides []campaign.Override `json:"overrides,omitempty"`
	Turned    bool                `json:"turned"`           // the action has turned round
	Abort     bool                `json:"abort"`            // a person asked it to turn round
	Reason    string              `json:"reason,omitempty"` // why it turned
}

// StepRecord is one step's row in the journal. It is written before and after every act.
type StepRecord struct {
	Index      int             `json:"index"`
	Kind       strategy.Kind   `json:"kind"`
	Phase      Phase           `json:"phase"`
	Status     json.RawMessage `json:"status,omitempty"`   // the handler's own, opaque to the engine, such as a cursor
	Checks     check.Results   `json:"checks,omitempty"`   // evidence of the last look
	Message    string          `json:"message,omitempty"`  // one line: what happened or what it waits for
	Progress   float64         `json:"progress,omitempty"` // 0 to 1 where it can be told
	StartedAt  time.Time       `json:"started_at,omitzero"`
	FinishedAt time.Time       `json:"finished_at,omitzero"`
	Outputs    *Outputs        `json:"outputs,omitempty"`
	Unbegun    bool            `json:"unbegun,omitempty"` // it waits, and no act of it has begun; absent: one may have
	Held       bool            `json:"held,omitempty"`    // it waits at the gate, or for a person's word on what it saw
}

// Outputs are facts that a step makes known to the rest; the state merges them in the same transaction as the record.
type Outputs struct {
	Cells      []fleet.Cell   `json:"cells,omitempty"`       // cells made or changed
	RemoveCell string         `json:"remove_cell,omitempty"` // cell that is gone
	WayBack    *fleet.WayBack `json:"way_back,omitempty"`
	// ClearWayBack forgets the way back, because the primary is in the old cell again: nothing is left to watch.
	ClearWayBack bool               `json:"clear_way_back,omitempty"`
	Switchover   *SwitchoverOutput  `json:"switchover,omitempty"`
	Observed     *fleet.Observation `json:"observed,omitempty"`
}

// SwitchoverOutput is the measured outcome of a storage or gateway switch.
type SwitchoverOutput struct {
	Kind   string    `json:"kind"` // "storage" or "gateway"
	From   string    `json:"from"`
	To     string    `json:"to"`
	HoldMS float64   `json:"hold_ms"` // longest time that a gateway held, by the gateway's own clock
	At     time.Time `json:"at"`
}

// Journal is where the engine persists. Every call carries the term; ErrFenced means stop.
// All calls are safe to repeat. The server's API, the state and the simulation's memory implement it.
type Journal interface {
	// Heartbeat prolongs the lease and tells whether a person asked for an abort. The lease counts from before the request.
	Heartbeat(ctx context.Context, actionID, term int64) (abort bool, err error)
	// Record persists one step's row and its outputs. It tells of an abort as the heartbeat does: one that was asked for before the row was
	// written is in its answer, so that nothing begins after it.
	Record(ctx context.Context, actionID, term int64, rec StepRecord) (abort bool, err error)
	// Turn persists that the action has turned round, and why.
	Turn(ctx context.Context, actionID, term int64, reason string) error
	// Release gives the lease back while a step waits, to be leased again after retryAfter.
	Release(ctx context.Context, actionID, term int64, retryAfter time.Duration) error
	// Finish ends the action.
	Finish(ctx context.Context, actionID, term int64, outcome Outcome, message string) error
}

// Call is what a handler gets.
type Call struct {
	Assignment
	Step   strategy.Step
	Status json.RawMessage // as the handler left it, after a kill too
	Log    *slog.Logger
	Now    func() time.Time
	// Save persists the handler's status in the middle of a long act. It answers an error if the act is to stop, because a person has asked
	// for that; the status is persisted all the same.
	Save func(ctx context.Context, status any, progress float64, message string) error
	// Point names a place inside an act where a kill is interesting; faults are injected there. Never nil.
	Point func(name string)
}

// Observation answers whether the outcome that a step is for is already there.
type Observation struct {
	There      bool            // the outcome is there: nothing to do
	Checks     check.Results   // what was looked at
	Status     json.RawMessage // persisted unless nil
	Output     *Outputs
	Message    string        // one line: what is there, or what is missing
	Progress   float64       // 0 to 1 where it can be told
	RetryAfter time.Duration // of a step that only looks, when it is not there; 0: the engine's default
	Held       bool          // of a step that only looks, when it is not there: it waits for a person's word, and that is told
}

// Result is what an act, or its undo, came to.
type Result struct {
	Wait       bool            // can't go on yet: observe and act again after RetryAfter
	RetryAfter time.Duration   // 0: the engine's default
	Held       bool            // of one that waits: a person's word is wanted, and that is told
	Status     json.RawMessage // persisted, given back at the next call
	Message    string
	Progress   float64
	Checks     check.Results
	Output     *Outputs
}

// Act is one half of a handler: the way forward, or the way back. Both halves may be called again at any time, after
// a kill at any point, also when their outcome is already there.
type Act struct {
	// Observe only looks. An error means unknown: the engine waits and looks again, and never acts on it. A *Refusal
	// says that what was seen can't be mended by waiting.
	Observe func(ctx context.Context, c *Call) (Observation, error)
	// Do changes the world. A plain error is tried again until the deadline; a *Refusal turns the action round at once.
	// Nil: the step only looks, and waits until the outcome is there.
	Do func(ctx context.Context, c *Call) (Result, error)
}

// Handler does one kind of step.
type Handler struct {
	Kind    strategy.Kind
	Version int
	Forward Act
	Back    Act // zero: nothing to undo
	// Release is for a step that changes nothing for good, and so has no way back, but holds something for a moment, such as an applier that
	// it stops. It puts that right when the action turns round after the step has begun and before it was done, ahead of the undo of the
	// steps before it. A step that was done holds nothing. Zero: it never holds anything.
	Release Act
	// Points lists every name that the forward act gives to Call.Point, BackPoints those of its undo or release: a fault
	// matrix is made of them.
	Points, BackPoints []string
	// Saves and BackSaves tell whether they call Call.Save.
	Saves, BackSaves bool
}

// Refusal is an error that no waiting will mend, such as a data difference: the action turns round at once.
type Refusal struct {
	Checks check.Results
	Err    error
}

// Error returns the cause.
func (r *Refusal) Error() string { return r.Err.Error() }

// Unwrap returns the cause.
func (r *Refusal) Unwrap() error { return r.Err }
