// Package inplace holds the handlers of the inplace strategy's steps: the nodes of one cell are raised one after the other over their
// own data, the replicas first, then the primary by a switch to one of them, and the old primary last.
//
// The model. A node is of the old version or of the new one; nothing else counts. The provisioner raises it: stops it cleanly, keeps a
// copy of its data, starts the new version over the data. The copy is the way back, for no server opens the data of a newer one. While
// it is worked on the node is out of the gateway's reads, and its name is in the step's status: whoever takes over goes on
// with that node before anything else, also while no primary can be seen.
//
// Invariants. At most one node of a cell is out at a time, and only while every other node is seen healthy. No replica is ever older
// than its source, but for the old primary between the switch and its own raising: that is the way back, and it is watched.
// The node that is primary is never stopped. A node that is not there as recorded is not touched.
//
// Failure. What can't be seen holds. A step that fails for good puts every copy back in reverse order; what the node missed
// meanwhile it gets from the primary's binary log, which therefore has to reach back as far as the oldest copy. Raising the old primary is
// the point of no return: from there on only forward.
package inplace

import (
	"context"
	"time"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
	"github.com/windlass-db/windlass/internal/switchover"
)

// Nodes changes the version that a node runs. The local and exec drivers give it. The resource's version is the one to arrive at, its
// mark the one that Observe saw. Every change is safe to repeat after a kill at any point, and refuses a term that is lower than
// the highest seen (engine.ErrFenced).
type Nodes interface {
	// Observe tells what is there. A node whose version is being changed does not count as running; Kept is the version of the copy of its
	// data, "" if there is none.
	Observe(ctx context.Context, r bluegreen.Resource) (bluegreen.ResourceState, error)
	// Upgrade stops the node cleanly, keeps a copy of its data unless there is one, starts the new version over the data, brings the
	// system tables up to it, and returns when the node takes connections, read-only.
	Upgrade(ctx context.Context, r bluegreen.Resource) (bluegreen.ResourceState, error)
	// Restore puts the copy back and starts the version that it is of. A node whose data the new version has not touched is only
	// started. Without a copy it is an *engine.Refusal.
	Restore(ctx context.Context, r bluegreen.Resource) (bluegreen.ResourceState, error)
	// Discard deletes the copy, if there is one.
	Discard(ctx context.Context, r bluegreen.Resource) error
}

// Storage looks at the servers, and lets a node follow the primary again. The mysql driver gives it; bluegreen.Storage says what each does.
type Storage interface {
	Observe(ctx context.Context, c fleet.Cluster) (fleet.Observation, error)
	Fence(ctx context.Context, c fleet.Cluster, term int64) error
	Replicate(ctx context.Context, c fleet.Cluster, cell string, term int64) error
	Replicating(ctx context.Context, c fleet.Cluster, cell string, maxLag time.Duration) (check.Results, error)
	// KeepsLogs looks whether every node of the cell keeps its binary logs for at least so long.
	KeepsLogs(ctx context.Context, c fleet.Cluster, cell string, least time.Duration) (check.Results, error)
}

// Switcher moves the primary to another node of its cell: Request.ToNodes says to which. The mysql driver gives it. The old cell of WayBack
// and CloseWayBack is the primary's own: its older nodes are meant.
type Switcher interface {
	switchover.Switcher
	// CloseWayBack stops replication to the old cell's older nodes, for ever; see bluegreen.Switcher.
	CloseWayBack(ctx context.Context, c fleet.Cluster, oldCell string, term int64) error
}

// Gateways tells the cell's gateway from which nodes to read, and looks at it.
type Gateways interface {
	SetServers(ctx context.Context, g fleet.Gateway, local, all []string, term int64) error
	Check(ctx context.Context, c fleet.Cluster, g fleet.Gateway) (check.Results, error)
}

// Readers is a Gateways that can tell who is still on a server.
type Readers interface {
	// Readers counts the client sessions that the gateway has on the server at that address.
	Readers(ctx context.Context, g fleet.Gateway, address string) (int, error)
}

// Ports are the capabilities that the handlers act through.
type Ports struct {
	Nodes    Nodes
	Storage  Storage
	Switcher Switcher
	Gateways Gateways

	// SwitchPoints lists every name that the switcher gives to switchover.Request.Point, for fault matrices.
	SwitchPoints []string
}

// Handlers returns the handler of every step of the inplace strategy but for ProveWrites, which is bluegreen's.
func Handlers(p Ports) []engine.Handler {
	h := handlers{p}
	raising := []string{"fenced", "taken-out", "node-raised", "replicating", "caught-up", "put-back"}
	return []engine.Handler{
		{Kind: strategy.CheckReplicas, Version: 1, Forward: engine.Act{Observe: h.replicasFit}},
		{
			Kind: strategy.UpgradeReplicas, Version: 1,
			Forward: engine.Act{Observe: h.replicasRaised, Do: h.raiseReplicas}, Points: raising, Saves: true,
			Back:       engine.Act{Observe: h.replicasRestored, Do: h.restoreReplicas},
			BackPoints: []string{"fenced", "taken-out", "node-restored", "replicating", "caught-up", "put-back"}, BackSaves: true,
		},
		{Kind: strategy.PreflightPrimary, Version: 1, Forward: engine.Act{Observe: h.move().Preflight}},
		{
			Kind: strategy.SwitchPrimary, Version: 1,
			Forward: h.move().Forward(), Points: p.SwitchPoints, Saves: true,
			Back: h.move().Back(), BackPoints: p.SwitchPoints, BackSaves: true,
		},
		{Kind: strategy.WatchOldPrimary, Version: 1, Forward: engine.Act{Observe: h.move().WayBackOpen}},
		{Kind: strategy.CheckLast, Version: 1, Forward: engine.Act{Observe: h.lastFit}},
		{Kind: strategy.UpgradeLast, Version: 1, Forward: engine.Act{Observe: h.lastRaised, Do: h.raiseLast}, Points: raising, Saves: true},
		{
			Kind: strategy.DiscardCopies, Version: 1,
			Forward: engine.Act{Observe: h.copiesGone, Do: h.discardCopies}, Points: []string{"fenced", "way-back-closed", "copy-discarded"},
		},
	}
}

type handlers struct{ Ports }
