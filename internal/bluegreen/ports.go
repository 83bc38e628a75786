// Package bluegreen holds the handlers of the bluegreen strategy's steps over small capabilities, which the drivers give.
//
// The capabilities are declared here, where they are used. Every call that changes something carries the term, is
// safe to repeat, blocks no longer than its context, and answers engine.ErrFenced if the target has seen a higher term.
package bluegreen

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/switchover"
)

// Provisioner makes and removes nodes and gateways. The process and exec drivers give it.
type Provisioner interface {
	// Observe tells what is there under the resource's id.
	Observe(ctx context.Context, r Resource) (ResourceState, error)
	// Create makes it, or adopts what an earlier try with the same id and mark left (trap 34).
	Create(ctx context.Context, r Resource) (ResourceState, error)
	// Delete stops, quarantines and deletes it. It refuses what does not carry the mark (trap 36).
	Delete(ctx context.Context, r Resource) error
}

// Resource is a node or gateway to be made. Its id is deterministic: a retry finds what the first try left.
type Resource struct {
	ID      string   `json:"id"`   // such as "qa-orders-green-1" or "qa-orders-green-gateway"
	Kind    string   `json:"kind"` // "node" or "gateway"
	Env     string   `json:"env"`
	Cluster string   `json:"cluster"`
	Cell    string   `json:"cell"`
	Product string   `json:"product"`
	Version string   `json:"version"`
	Mark    string   `json:"mark"` // ownership: the campaign's name and the cluster
	Term    int64    `json:"term"`
	Local   []string `json:"local,omitempty"`   // for a gateway: SQL addresses of its own cell's nodes
	Servers []string `json:"servers,omitempty"` // for a gateway: SQL addresses of every node of the cluster
}

// ResourceState is what a provisioner sees.
type ResourceState struct {
	Exists  bool           `json:"exists"`
	Running bool           `json:"running"`
	Mark    string         `json:"mark,omitempty"`
	Node    *fleet.Node    `json:"node,omitempty"`
	Gateway *fleet.Gateway `json:"gateway,omitempty"`
	Version string         `json:"version,omitempty"` // full version, such as "11.8.6"
	Kept    string         `json:"kept,omitempty"`    // of a node that was raised in place: the version of the copy of its data, such as "10.11"
}

// Storage moves data and the primary's role. The mysql driver gives it.
type Storage interface {
	// Observe asks every node of the cluster for its role, version and position. Nodes that can't be read are unknown.
	Observe(ctx context.Context, c fleet.Cluster) (fleet.Observation, error)
	// Fence raises the term on every node that is reachable and ends the predecessor's connections. A node that
	// can't be reached is an error: hold.
	Fence(ctx context.Context, c fleet.Cluster, term int64) error
	// Seeded tells whether the node has a complete copy.
	Seeded(ctx context.Context, s SeedRequest) (bool, check.Results, error)
	// Seed copies the data; save persists progress, and what it saved last is given back as status after a kill.
	Seed(ctx context.Context, s SeedRequest, status json.RawMessage, save Save) error
	// Replicate makes every node of the cell replicate from the source. Forget undoes it.
	Replicate(ctx context.Context, c fleet.Cluster, cell string, term int64) error
	Replicating(ctx context.Context, c fleet.Cluster, cell string, maxLag time.Duration) (check.Results, error)
	Forget(ctx context.Context, c fleet.Cluster, cell string, term int64) error
}

// Reopener is a Storage that can make a cluster's primary writable again after a restart: servers boot read-only (trap 2).
type Reopener interface {
	// Reopen does nothing if a node is writable or unknown. Else it opens the node of which the servers' own notes and
	// positions prove that it is the primary, and answers an error if they do not.
	Reopen(ctx context.Context, c fleet.Cluster, term int64) error
}

// Resumer is a Storage whose copy stops something on a server of the old cell for a moment, and notes it in its status first. A copy that
// was killed in that moment, and is not gone on with, is put right by the undo.
type Resumer interface {
	// Resumed tells whether nothing that the status of a copy names is left stopped. What can't be read is an error.
	Resumed(ctx context.Context, s SeedRequest, status json.RawMessage) (bool, error)
	// Resume starts again what the status names, and nothing else.
	Resume(ctx context.Context, s SeedRequest, status json.RawMessage) error
}

// SeedRequest says which node gets its data from where.
type SeedRequest struct {
	Cluster  fleet.Cluster
	FromCell string
	ToCell   string
	Node     fleet.Node
	Term     int64
}

// Save persists a step's own status in the middle of a long act.
type Save func(ctx context.Context, status any, progress float64, message string) error

// Switcher moves the primary into another cell, without a client noticing. The mysql driver gives it, over the
// gateways' admin API.
type Switcher interface {
	switchover.Switcher
	// Prove writes one marked row through the primary and waits for it on every replica.
	Prove(ctx context.Context, c fleet.Cluster, term int64) (check.Results, error)
	// CloseWayBack stops replication to the old cell, for ever.
	CloseWayBack(ctx context.Context, c fleet.Cluster, oldCell string, term int64) error
	// SafeToRemove looks whether anything still needs the cell (trap 36).
	SafeToRemove(ctx context.Context, c fleet.Cluster, cell string) (check.Results, error)
}

// DataChecker compares the rows of two cells at one position (B6). The datacheck package gives it.
type DataChecker interface {
	// Compare goes on from status and returns what it found; differences name table and key range. Resumable and
	// throttled. An error means unknown. What it holds for a moment, such as an applier that it stops, its status names before.
	Compare(ctx context.Context, c fleet.Cluster, fromCell, toCell string, v campaign.Verify, status json.RawMessage, save Save) (check.Results, error)
	// Released tells whether nothing that the status of a comparison names is held any more. What can't be read is an error.
	Released(ctx context.Context, c fleet.Cluster, status json.RawMessage) (bool, error)
	// Release lets go of what the status names, and of nothing else. It is for a comparison that was killed and is not gone on with.
	Release(ctx context.Context, c fleet.Cluster, status json.RawMessage) error
}

// Capturer turns the capture of the old cell's gateway on and off. The gateway driver gives it.
type Capturer interface {
	// Capturing tells whether the gateway captures. One that can't be asked is an error; one of a release without captures captures nothing.
	Capturing(ctx context.Context, r ReplayRequest) (Capture, error)
	StartCapture(ctx context.Context, r ReplayRequest) error
	// EndCapture ends the capture of this replay, and leaves one that somebody else has started.
	EndCapture(ctx context.Context, r ReplayRequest) error
}

// Capture is what a gateway says of its capture.
type Capture struct {
	On     bool
	Others string // who else began it, such as an operator: it serves this replay, too, and is not ended with it
	Detail string // counts and drops, or why there is none
}

// Replayer replays what was captured on a node of the new cell that nobody uses, and judges the answers (H7, H8, B5). The replay driver gives it.
type Replayer interface {
	// Ready looks at what a replay needs: a node of the new cell that is not the elect, does not serve and acknowledges nothing (trap 37), a replica
	// of the old cell to compare with, a store that can be read. It only looks.
	Ready(ctx context.Context, r ReplayRequest) (check.Results, error)
	// Replay goes on from status until enough was replayed or the time is over, and tells what it came to so far. Resumable: what was counted is
	// kept outside, and is counted once. What it holds for a moment, such as an applier that it stops, its status names before.
	Replay(ctx context.Context, r ReplayRequest, atMost time.Duration, status json.RawMessage, save Save) (Replayed, error)
	// Judge judges what was counted by the request's rules, and replays nothing. An error means unknown.
	Judge(ctx context.Context, r ReplayRequest, status json.RawMessage) (Replayed, error)
	// Released tells whether nothing that the status of a replay names is held any more. What can't be read is an error.
	Released(ctx context.Context, r ReplayRequest, status json.RawMessage) (bool, error)
	// Release lets go of what the status names, and of nothing else.
	Release(ctx context.Context, r ReplayRequest, status json.RawMessage) error
}

// ReplayRequest says which cluster's queries are replayed where, and by which rules they are judged.
type ReplayRequest struct {
	ID       string // of this replay: what is kept of it is under this name
	Cluster  fleet.Cluster
	FromCell string
	ToCell   string
	From, To string // versions
	Action   int64
	Term     int64
	By       string // the mark under which the capture is begun and ended: it is the same for a stage and its way back
	Rules    campaign.Replay
}

// Replayed is what a replay came to so far.
type Replayed struct {
	Verdict  string          `json:"verdict"`            // VerdictPass, VerdictFail or VerdictInsufficient
	Enough   bool            `json:"enough"`             // long enough, and over enough of the statements: to go on would not change that
	Message  string          `json:"message"`            // one line: the verdict with its numbers, or what is missing and when that can be there
	Progress float64         `json:"progress,omitempty"` // 0 to 1
	Checks   check.Results   `json:"checks"`             // what the verdict is made of; a fail has its findings, with what to do about each
	Findings int             `json:"findings,omitempty"` // how many do not let it pass
	Report   json.RawMessage `json:"report,omitempty"`   // the whole report with its worst findings, of a bounded size, for pages
}

// Gateways talks to the cells' gateways.
type Gateways interface {
	Observe(ctx context.Context, c fleet.Cluster) ([]fleet.GatewayObservation, error)
	// SetServers tells a gateway of every node, and which are its own cell's.
	SetServers(ctx context.Context, g fleet.Gateway, local, all []string, term int64) error
	// Check looks whether the gateway is fit to take the cluster's clients.
	Check(ctx context.Context, c fleet.Cluster, g fleet.Gateway) (check.Results, error)
	// Clients counts client connections, with the addresses of the ones left.
	Clients(ctx context.Context, g fleet.Gateway) (n int, addresses []string, err error)
}

// ErrRecordMoved says that a record is neither at the old nor at the new address: somebody else set it.
var ErrRecordMoved = errors.New("the record is at neither address")

// Records switches a DNS record by compare-and-swap. The dns driver gives it.
type Records interface {
	// Lookup asks the zone's server itself.
	Lookup(ctx context.Context, env, record string) (address string, err error)
	// Swap sets the record from one address to another. It answers ErrRecordMoved if it was neither.
	Swap(ctx context.Context, env, record, from, to string, ttl time.Duration, term int64) error
}
