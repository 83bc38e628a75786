package bluegreen

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

// Ports are the capabilities that the handlers act through.
type Ports struct {
	Provisioner Provisioner
	Storage     Storage
	Switcher    Switcher
	DataChecker DataChecker
	Capturer    Capturer // nil: this supervisor can't capture, and so can't replay
	Replayer    Replayer // nil: this supervisor can't replay
	Gateways    Gateways
	Records     Records

	// SwitchPoints lists every name that the switcher gives to switchover.Request.Point, for fault matrices.
	SwitchPoints []string
}

// Handlers returns the handler of every step of the bluegreen strategy.
//
// Each looks before it acts, at the world and not at what it did before; what can't be seen in the world, such as a proof
// that was made, it keeps in its status. Each may be called again after a kill at any point.
func Handlers(p Ports) []engine.Handler {
	h := handlers{p}
	return []engine.Handler{
		{
			Kind: strategy.ProvisionNodes, Version: 1,
			Forward: engine.Act{Observe: h.nodesThere, Do: h.makeNodes}, Points: []string{"node-created"},
			Back: engine.Act{Observe: h.nodesGone, Do: h.deleteNodes}, BackPoints: []string{"node-deleted"},
		},
		{
			Kind: strategy.SeedNodes, Version: 1,
			Forward: engine.Act{Observe: h.seeded, Do: h.seed}, Points: []string{"node-seeded"}, Saves: true,
		},
		{
			Kind: strategy.StartReplication, Version: 1,
			Forward: engine.Act{Observe: h.replicating, Do: h.replicate}, Points: []string{"fenced", "replication-started"},
			Back: engine.Act{Observe: h.forgotten, Do: h.forget}, BackPoints: []string{"fenced", "replication-forgotten"},
		},
		{Kind: strategy.CatchUp, Version: 1, Forward: engine.Act{Observe: h.caughtUp}},
		{
			Kind: strategy.ProvisionGateway, Version: 1,
			Forward: engine.Act{Observe: h.gatewayThere, Do: h.makeGateway}, Points: []string{"gateway-created", "new-gateway-told", "old-gateway-told"},
			Back: engine.Act{Observe: h.gatewayGone, Do: h.deleteGateway}, BackPoints: []string{"old-gateway-told", "gateway-deleted"},
		},
		{
			Kind: strategy.VerifyData, Version: 1,
			Forward: engine.Act{Observe: h.verified, Do: h.verify}, Saves: true,
			Release: engine.Act{Observe: h.released, Do: h.release}, BackPoints: []string{"released"},
		},
		{Kind: strategy.CheckReplay, Version: 1, Forward: engine.Act{Observe: h.replayReady}},
		{
			Kind: strategy.StartCapture, Version: 1,
			Forward: engine.Act{Observe: h.capturing, Do: h.startCapture}, Points: []string{"capture-started"},
			Back: engine.Act{Observe: h.captureEnded, Do: h.endCapture}, BackPoints: []string{"capture-ended"},
		},
		{
			Kind: strategy.ReplayQueries, Version: 1,
			Forward: engine.Act{Observe: h.replayed, Do: h.replay}, Saves: true,
			Release: engine.Act{Observe: h.replayReleased, Do: h.releaseReplay}, BackPoints: []string{"released"},
		},
		{Kind: strategy.JudgeReplay, Version: 1, Forward: engine.Act{Observe: h.judged}},
		{
			Kind: strategy.EndCapture, Version: 1,
			Forward: engine.Act{Observe: h.captureLeft, Do: h.endCapture}, Points: []string{"capture-ended"},
		},
		{Kind: strategy.Preflight, Version: 1, Forward: engine.Act{Observe: h.preflight}},
		{
			Kind: strategy.SwitchStorage, Version: 1,
			Forward: h.move().Forward(), Points: p.SwitchPoints, Saves: true,
			Back: h.move().Back(), BackPoints: p.SwitchPoints, BackSaves: true,
		},
		{Kind: strategy.ProveWrites, Version: 1, Forward: engine.Act{Observe: h.proved, Do: h.prove}, Points: []string{"fenced", "proved"}},
		{Kind: strategy.WatchWayBack, Version: 1, Forward: engine.Act{Observe: h.move().WayBackOpen}},
		{Kind: strategy.CheckGateway, Version: 1, Forward: engine.Act{Observe: h.gatewayFit}},
		{
			Kind: strategy.SwitchRecord, Version: 1,
			Forward: engine.Act{Observe: h.recordNew, Do: h.swapRecord}, Points: []string{"record-swapped"},
			Back: engine.Act{Observe: h.recordOld, Do: h.swapRecordBack}, BackPoints: []string{"record-swapped"},
		},
		{Kind: strategy.DrainGateway, Version: 1, Forward: engine.Act{Observe: h.drained}},
		{Kind: strategy.CheckTearDown, Version: 1, Forward: engine.Act{Observe: h.tearDownSafe}},
		{
			Kind: strategy.CloseWayBack, Version: 1,
			Forward: engine.Act{Observe: h.wayBackClosed, Do: h.closeWayBack}, Points: []string{"fenced", "way-back-closed"},
		},
		{
			Kind: strategy.RemoveGateway, Version: 1,
			Forward: engine.Act{Observe: h.oldGatewayGone, Do: h.removeGateway}, Points: []string{"gateway-deleted"},
		},
		{
			Kind: strategy.RemoveNodes, Version: 1,
			Forward: engine.Act{Observe: h.oldNodesGone, Do: h.removeNodes}, Points: []string{"new-gateway-told", "node-deleted"},
		},
	}
}

type handlers struct{ Ports }

// Mark is what a campaign writes on everything that it makes for a cluster.
func Mark(campaign string, ref fleet.ClusterRef) string { return campaign + ":" + ref.String() }

func mark(c *engine.Call) string { return Mark(c.Campaign.Name, c.Cluster.Ref()) }

// nodeID is the id of the n-th node, from 1, of a cell that we make.
func nodeID(c *engine.Call, cell string, n int) string {
	return fmt.Sprintf("%s-%s-%s-%d", c.Cluster.Env, c.Cluster.Name, cell, n)
}

func gatewayID(c *engine.Call, cell string) string {
	return fmt.Sprintf("%s-%s-%s-gateway", c.Cluster.Env, c.Cluster.Name, cell)
}

// oldCell is the cell that the campaign leaves. A cluster without it can't be worked on.
func oldCell(c *engine.Call) (fleet.Cell, error) {
	cell, ok := c.Cluster.Cell(c.Campaign.FromCell)
	if !ok {
		return cell, engine.Refuse("cluster %s has no cell %q: the campaign's from_cell must be one of its cells", c.Cluster.Ref(), c.Campaign.FromCell)
	}
	return cell, nil
}

// newCell is the cell that the campaign makes, once it is made.
func newCell(c *engine.Call) (fleet.Cell, error) {
	cell, ok := c.Cluster.Cell(c.Campaign.ToCell)
	if !ok {
		return cell, engine.Refuse("cluster %s has no cell %q yet: the create stage makes it", c.Cluster.Ref(), c.Campaign.ToCell)
	}
	return cell, nil
}

func bothCells(c *engine.Call) (blue, green fleet.Cell, err error) {
	if blue, err = oldCell(c); err != nil {
		return blue, green, err
	}
	green, err = newCell(c)
	return blue, green, err
}

// withCell is the cluster with that cell in place of the one of its name.
func withCell(cl fleet.Cluster, cell fleet.Cell) fleet.Cluster {
	o := engine.Outputs{Cells: []fleet.Cell{cell}}
	return o.Apply(cl)
}

// only is the cluster reduced to those cells.
func only(cl fleet.Cluster, names ...string) fleet.Cluster {
	cl.Cells = slices.DeleteFunc(slices.Clone(cl.Cells), func(cell fleet.Cell) bool { return !slices.Contains(names, cell.Name) })
	return cl
}

func addresses(cells ...fleet.Cell) []string {
	var as []string
	for _, cell := range cells {
		for _, n := range cell.Nodes {
			as = append(as, n.Address)
		}
	}
	return as
}

// host is a gateway's address as a record holds it.
func host(g fleet.Gateway) (string, error) {
	h, _, err := net.SplitHostPort(g.Address)
	if err != nil {
		return "", engine.Refuse("gateway %s: the address %q is not host:port", g.Name, g.Address)
	}
	return h, nil
}

// few names the first of many.
func few(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// fence raises the term on the servers and ends the predecessor's connections, before the first act of a step on
// them (trap 1). A server that can't be reached is an error, and so a hold.
func (h handlers) fence(ctx context.Context, c *engine.Call, cl fleet.Cluster) error {
	if err := h.Storage.Fence(ctx, cl, c.Term); err != nil {
		return fmt.Errorf("raise the term: %w", err)
	}
	c.Point("fenced")
	return nil
}
