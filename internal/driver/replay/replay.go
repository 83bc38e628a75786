// Package replay fills the stage replay of a bluegreen campaign: it turns the capture of the old cell's gateway on and off, replays what was captured on
// a node of the new cell that nobody uses, tests again on frozen data what seemed to differ, and judges by the campaign's rules.
//
// The model: what was counted is in a bucket, under the replay's id, and is replaced in one write whenever whole segments were counted; so a replay that was killed goes on by
// whoever has the lease next, and a judgement needs neither the servers nor the capture. The step's own status holds only what its release needs: the node whose applier a
// retest is about to stop (trap 37).
//
// Invariants: the target is a node of the new cell that is not the elect by its name, is read-only and acknowledges nothing; the old cell's primary is never asked. Statements are sent by an account
// that was seen to be able to read alone (trap 38). A verdict is enough only if nothing but findings keeps it from passing.
//
// Failure: what can't be read is an error, and so a hold. A gateway that forgot its capture is told again by the step.
package replay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/capture"
	"github.com/windlass-db/windlass/internal/capture/store"
	"github.com/windlass-db/windlass/internal/datacheck/node"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/gateway/adminapi"
)

// Config is what the driver needs.
type Config struct {
	Store   string                                                                // URL of the captures; {gateway} stands for the gateway's name
	Results string                                                                // URL of what was counted
	Key     func() (*capture.Key, error)                                          // of sealed captures; nil: none is sealed
	Control node.Access                                                           // the supervisors' account on a node
	Query   node.Access                                                           // the account that statements are replayed by
	Gateway func(g fleet.Gateway) (*adminapi.Client, error)                       // its admin API
	Observe func(ctx context.Context, c fleet.Cluster) (fleet.Observation, error) // the roles of all nodes
	Log     *slog.Logger
	Now     func() time.Time
}

// Driver implements bluegreen.Capturer and bluegreen.Replayer.
type Driver struct {
	cfg   Config
	every time.Duration // how often progress is saved, and the gateway looked at
}

var (
	_ bluegreen.Capturer = (*Driver)(nil)
	_ bluegreen.Replayer = (*Driver)(nil)
)

// New makes a driver.
func New(cfg Config) (*Driver, error) {
	if cfg.Store == "" || cfg.Results == "" || cfg.Control == nil || cfg.Query == nil || cfg.Gateway == nil || cfg.Observe == nil {
		return nil, errors.New("a driver of replays needs both buckets, both accounts, the gateways and a look at the nodes")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Driver{cfg, tellEvery}, nil
}

func (d *Driver) key() (*capture.Key, error) {
	if d.cfg.Key == nil {
		return nil, nil
	}
	return d.cfg.Key()
}

// gateway is the old cell's, whose clients' statements are replayed.
func gateway(r bluegreen.ReplayRequest) (fleet.Gateway, error) {
	cell, ok := r.Cluster.Cell(r.FromCell)
	if !ok || cell.Gateway == nil {
		return fleet.Gateway{}, fmt.Errorf("cell %s of %s has no gateway", r.FromCell, r.Cluster.Ref())
	}
	return *cell.Gateway, nil
}

// captures opens the bucket that the gateway's statements are in. A folder is made if it is not there: its first file is still to come.
func (d *Driver) captures(ctx context.Context, g fleet.Gateway) (*store.Bucket, error) {
	where := strings.ReplaceAll(d.cfg.Store, "{gateway}", g.Name)
	b, err := store.Create(ctx, where)
	if err != nil {
		return nil, fmt.Errorf("open the store of captures: %w", err)
	}
	return b, nil
}

// sides are the two servers.
type sides struct {
	target    fleet.Node
	free      []fleet.Node // the new cell's replicas by name, at least two
	reference *fleet.Node  // nil: the old cell has no replica
}

// errNoTarget says that no node of the new cell can be used.
var errNoTarget = errors.New("no node of the new cell is free for a replay")

// sides chooses them by what is seen. The target is the last of the new cell's replicas by name: the switch elects the first by name of those that are least behind, so one that is left over
// for the replay is not in its way. The reference is the first replica of the old cell.
func (d *Driver) sides(ctx context.Context, r bluegreen.ReplayRequest) (sides, error) {
	var s sides
	seen, err := d.cfg.Observe(ctx, r.Cluster)
	if err != nil {
		return s, fmt.Errorf("look at the nodes: %w", err)
	}
	role := func(cell fleet.Cell, n fleet.Node) fleet.Role {
		i := slices.IndexFunc(seen.Nodes, func(o fleet.NodeObservation) bool { return o.Cell == cell.Name && o.Node == n.Name })
		if i < 0 {
			return fleet.RoleUnknown
		}
		return seen.Nodes[i].Role
	}
	to, ok := r.Cluster.Cell(r.ToCell)
	if !ok {
		return s, fmt.Errorf("cluster %s has no cell %s", r.Cluster.Ref(), r.ToCell)
	}
	replicas := func(cell fleet.Cell) (all []fleet.Node) {
		for _, n := range cell.Nodes {
			if role(cell, n) == fleet.RoleReplica {
				all = append(all, n)
			}
		}
		slices.SortFunc(all, func(a, b fleet.Node) int { return strings.Compare(a.Name, b.Name) })
		return all
	}
	free := replicas(to)
	if len(free) < 2 {
		return s, fmt.Errorf("%w: %s has %d that replicate, and one of them is to be the primary (seen: %s)", errNoTarget, r.ToCell, len(free), seen.Roles())
	}
	s.target, s.free = free[len(free)-1], free
	from, _ := r.Cluster.Cell(r.FromCell)
	if old := replicas(from); len(old) > 0 {
		s.reference = &old[0]
	}
	return s, nil
}

// access is how a node is reached, by either account.
func access(ctx context.Context, of node.Access, n fleet.Node) (*mysql.Config, error) {
	c, err := of(ctx, n)
	if err != nil {
		return nil, fmt.Errorf("the account for %s: %w", n.Name, err)
	}
	return c, nil
}
