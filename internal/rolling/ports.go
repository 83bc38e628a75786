// Package rolling holds the handlers of the rolling strategy's steps: the nodes of an engine serve behind a load balancer over one
// database, and are upgraded in groups after the database's schema was expanded.
//
// The model. A node is in one of few places: it serves on a version, or it is out. What is out is drained (the load balancer sends it
// nothing new), left (no session of the load balancer is on it), stopped, without a connection to the database, started on the other
// version, healthy, and put back with a growing weight. All of that is seen in the world, so the journal has only the names of the group
// that is out, for which version, and whether it was the first, and of those that were up: whoever takes over looks at each of its nodes and goes on.
//
// Invariants. No node is taken out that the campaign's share needs, counted anew before each is drained and before each is stopped: a node that
// failed by itself is out too, and one that answers us nothing may serve. No node starts the new version before the schema is expanded, and none is stopped that the load balancer still has
// sessions on, but for sessions that did not end in time. No feature of the new version is opened before the last node serves on it.
//
// Failure. What can't be seen holds. A first node that does not get healthy, or fails later, goes back. A later one holds the campaign: the others go on
// serving, and a person mends the node, or sends the action back, node by node in reverse order. An expanded schema stays: the old version
// works on it.
package rolling

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/policy"
	"github.com/windlass-db/windlass/internal/strategy"
)

// NodeState is what was seen of one node of an engine.
type NodeState struct {
	Running bool   // its process is there
	Healthy bool   // it says itself that it can serve
	Version string // full version, as it says it; "" if it does not answer
	Detail  string // what was seen
}

// Nodes starts and stops the engine's nodes. The process, systemd, ssh and exec drivers give it. Every change is safe to repeat and answers
// engine.ErrFenced if the target has seen a higher term.
type Nodes interface {
	// Observe asks the node for its health and version. A node that does not answer is not healthy; an error means that it is not known
	// whether it runs.
	Observe(ctx context.Context, c fleet.Cluster, n fleet.Node) (NodeState, error)
	// Stop ends the node in good order, and returns when its process is gone.
	Stop(ctx context.Context, c fleet.Cluster, n fleet.Node, term int64) error
	// Start starts the node on that version, and returns when its process is there. A node that runs is left as it is.
	Start(ctx context.Context, c fleet.Cluster, n fleet.Node, version string, term int64) error
}

// Backend is what the load balancer says of one node.
type Backend struct {
	Node     string
	Up       bool   // the load balancer's own check finds it well
	Admitted bool   // it is given new requests
	Weight   int    // percent of its full weight
	Sessions int    // requests or connections that are on it
	Detail   string // what a person needs to know of these numbers; may be empty
}

// Balancer decides who gets requests. The haproxy, nginx and service drivers give it.
type Balancer interface {
	// Observe tells of every node of the cluster; one that the balancer does not know is an error. After them it tells of every other server that it
	// gives requests, or would if that were well, by a name that says which it is.
	Observe(ctx context.Context, c fleet.Cluster) ([]Backend, error)
	// Drain sends the node nothing new; what is on it may end.
	Drain(ctx context.Context, c fleet.Cluster, n fleet.Node, term int64) error
	// Cut ends the sessions that are on a drained node.
	Cut(ctx context.Context, c fleet.Cluster, n fleet.Node, term int64) error
	// Admit gives the node requests again, with that percentage of its weight.
	Admit(ctx context.Context, c fleet.Cluster, n fleet.Node, percent int, term int64) error
}

// Connections tells who is connected to the engine's database. The PostgreSQL and MySQL drivers give it.
type Connections interface {
	// Of counts the node's connections, and says what they are.
	Of(ctx context.Context, c fleet.Cluster, n fleet.Node) (int, string, error)
	// Others names who is connected as a node of the engine is, and is none of the cluster's: a node that the fleet does not have. An error that is
	// ErrNoNames means that nodes can't be told from other programs.
	Others(ctx context.Context, c fleet.Cluster) ([]string, error)
}

// ErrNoNames means that connections of unknown nodes can't be told from those of other programs.
var ErrNoNames = errors.New("the connections of unknown nodes can't be told from those of other programs")

// Save persists a step's own status in the middle of a long act.
type Save func(ctx context.Context, status any, progress float64, message string) error

// Schema expands the schema of the engine's database. The schema package gives it.
type Schema interface {
	// Check compares the schema that is there with what the version needs: a change that the old version would notice fails.
	Check(ctx context.Context, c fleet.Cluster, version string) (check.Results, error)
	// Expanded tells whether all that the version needs is there.
	Expanded(ctx context.Context, c fleet.Cluster, version string) (bool, check.Results, error)
	// Expand applies what is missing. After a kill it goes on where the database is.
	Expand(ctx context.Context, c fleet.Cluster, version string, term int64, status json.RawMessage, save Save) error
}

// Features opens what only the new version can do. The features driver gives it, over the engine's endpoint or table.
type Features interface {
	// Open tells whether the version's features are open, and if not, what of them is in use already: of those that the product's file names, and
	// of others that it knows of. An error may come with some that are.
	Open(ctx context.Context, c fleet.Cluster, version string, named []policy.Feature) (open bool, used []string, err error)
	// SetOpen opens them. There is no way back.
	SetOpen(ctx context.Context, c fleet.Cluster, version string, term int64) error
}

// Ports are the capabilities that the handlers act through.
type Ports struct {
	Nodes       Nodes
	Balancer    Balancer
	Connections Connections
	Schema      Schema
	Features    Features
	// Contracting is needed by the contract strategy only.
	Contracting Contracting
	// Sleep waits; nil: by the machine's clock.
	Sleep func(ctx context.Context, d time.Duration) error
}

// Handlers returns the handler of every step of the rolling strategy.
func Handlers(p Ports) []engine.Handler {
	if p.Sleep == nil {
		p.Sleep = sleep
	}
	h := handlers{p, &sync.Mutex{}}
	points := []string{"group-chosen", "drained", "left", "stopped", "disconnected", "started", "healthy", "admitted"}
	return []engine.Handler{
		{Kind: strategy.CheckSchema, Version: 1, Forward: engine.Act{Observe: h.schemaFits}},
		{Kind: strategy.ExpandSchema, Version: 1, Forward: engine.Act{Observe: h.expanded, Do: h.expand}, Saves: true},
		{Kind: strategy.CheckNodes, Version: 1, Forward: engine.Act{Observe: h.nodesFit}},
		{
			Kind: strategy.UpgradeCanary, Version: 1, Points: points, BackPoints: points, Saves: true, BackSaves: true,
			Forward: engine.Act{Observe: h.canaryUp, Do: h.raiseCanary}, Back: engine.Act{Observe: h.allOld, Do: h.lower},
		},
		{Kind: strategy.WatchCanary, Version: 1, Forward: engine.Act{Observe: h.canaryWatched}},
		{
			Kind: strategy.UpgradeNodes, Version: 1, Points: points, BackPoints: points, Saves: true, BackSaves: true,
			Forward: engine.Act{Observe: h.allNew, Do: h.raiseNodes}, Back: engine.Act{Observe: h.onlyCanaryNew, Do: h.lowerNodes},
		},
		{Kind: strategy.CheckFeatures, Version: 1, Forward: engine.Act{Observe: h.featuresFit}},
		{Kind: strategy.OpenFeatures, Version: 1, Forward: engine.Act{Observe: h.featuresOpen, Do: h.openFeatures}},
	}
}

type handlers struct {
	Ports
	share *sync.Mutex // who takes out a node counts the others, and none of them goes out meanwhile
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
