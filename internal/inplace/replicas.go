package inplace

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

// replicasFit looks at every node before the first one is touched.
func (h handlers) replicasFit(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	cell, err := cellOf(c)
	if err != nil {
		return engine.Observation{}, err
	}
	if len(cell.Nodes) < 2 {
		return engine.Observation{}, engine.Refuse("cell %s has one node: raised in place, the cluster would be down meanwhile. Add a replica, or take the strategy bluegreen", cell.Name)
	}
	seen, all, err := h.fit(ctx, c, cell, c.Campaign.From, "")
	if err != nil {
		return engine.Observation{}, err
	}
	p, _ := seen.Primary()
	for _, n := range cell.Nodes {
		_, s, err := h.look(ctx, resource(c, cell, n, c.Campaign.To))
		stray := n.Name != p.Node && !fleet.HasVersion(s.Version, c.Campaign.From) // the primary's version is judged already
		switch {
		case err != nil:
			return engine.Observation{}, err
		case !s.Running:
			all = append(all, check.Failed("provisioner", n.Name+" does not run, as the provisioner sees it", "start it", c.Now()))
		case stray && s.Kept != "":
			all = append(all, check.Failed("version", fmt.Sprintf("%s runs %s, and there is a copy of its data of %s: an earlier upgrade was not taken back", n.Name, s.Version, s.Kept),
				fmt.Sprintf("put the copy back, or seed it anew on %s; don't delete the copy before", c.Campaign.From), c.Now()))
		case s.Kept != "":
			all = append(all, check.Failed("provisioner", fmt.Sprintf("there is a copy of the data that %s had on %s", n.Name, s.Kept), "delete what an earlier upgrade left", c.Now()))
		case stray:
			all = append(all, check.Failed("version", fmt.Sprintf("%s runs %s, not %s, and there is no copy of its data: nothing could take it back", n.Name, s.Version, c.Campaign.From),
				fmt.Sprintf("seed it anew on %s, or take it out of the cell", c.Campaign.From), c.Now()))
		case n.Name != p.Node && lies(seen, cell, n, c.Campaign.From) != "":
			all = append(all, check.Failed("version", lies(seen, cell, n, c.Campaign.From), fmt.Sprintf("seed it anew on %s, or take it out of the cell", c.Campaign.From), c.Now()))
		case s.Node != nil && s.Node.Address != n.Address:
			all = append(all, check.Failed("provisioner", fmt.Sprintf("the provisioner has %s at %s, the inventory at %s", n.Name, s.Node.Address, n.Address), "correct the inventory", c.Now()))
		}
	}
	kept, err := h.Storage.KeepsLogs(ctx, c.Cluster, cell.Name, mustReach(c))
	if err != nil {
		return engine.Observation{}, fmt.Errorf("look at the binary logs: %w", err)
	}
	all = append(all, kept...)
	all = append(all, check.Warned("rows-compared", "the rows of a raised node are not compared with those of an old one: every node keeps its own data, and has come to it by the same binary log",
		"if you doubt the data, compare the nodes by a tool of yours before switch-primary, or take the strategy bluegreen, which compares every row", c.Now()))
	return engine.Judged(all, "%s is the primary, and %d replicas follow it", p.Node, len(cell.Nodes)-1), nil
}

// mustReach is how far back the binary logs have to go: from the making of the first copy until the old primary is raised a copy may be put
// back, and its node has to catch up from there. A campaign that a person holds for longer needs more; nobody knows how much.
func mustReach(c *engine.Call) time.Duration {
	var reach time.Duration
	for _, s := range c.Plan.Steps {
		reach += s.Deadline
	}
	return reach + c.Campaign.Soak.Stages[strategy.StageUpgradeReplicas] + c.Campaign.Soak.Stages[strategy.StageSwitchPrimary]
}

func (h handlers) replicasRaised(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	cell, err := cellOf(c)
	if err != nil {
		return engine.Observation{}, err
	}
	st, err := engine.StatusOf[raising](c)
	if err != nil {
		return engine.Observation{}, err
	}
	if st.Primary == "" {
		return engine.Missing("no replica is raised yet"), nil
	}
	if err := h.noneByHand(ctx, c, cell, st); err != nil {
		return engine.Observation{}, err
	}
	o, err := h.raised(ctx, c, cell, others(cell, st.Primary), st)
	if err != nil || !o.There {
		return o, err
	}
	if p, _ := o.Output.Observed.Primary(); p.Node != st.Primary {
		return engine.Observation{}, engine.Refuse("the primary was %s and is %s: somebody moved it", st.Primary, p.Node)
	}
	return o, nil
}

func (h handlers) raiseReplicas(ctx context.Context, c *engine.Call) (engine.Result, error) {
	cell, err := cellOf(c)
	if err != nil {
		return engine.Result{}, err
	}
	st, err := engine.StatusOf[raising](c)
	if err != nil {
		return engine.Result{}, err
	}
	if st.Primary == "" {
		seen, err := h.Storage.Observe(ctx, c.Cluster)
		if err != nil {
			return engine.Result{}, err
		}
		p, err := primaryOn(seen, cell.Name, c.Campaign.From)
		if err != nil {
			return engine.Result{}, err
		}
		st.Primary = p.Node
		if err := h.noneByHand(ctx, c, cell, st); err != nil {
			return engine.Result{}, err
		}
	}
	return h.raise(ctx, c, cell, others(cell, st.Primary), c.Campaign.From, st)
}

// noneByHand is byHand for every replica, before any more is touched. One that is out is finished first.
func (h handlers) noneByHand(ctx context.Context, c *engine.Call, cell fleet.Cell, st raising) error {
	if st.Out != "" {
		return nil
	}
	for _, n := range others(cell, st.Primary) {
		_, s, err := h.look(ctx, resource(c, cell, n, c.Campaign.To))
		if err != nil {
			return err
		}
		if err := byHand(c, n, s, st); err != nil {
			return err
		}
	}
	return nil
}

// byHand refuses a replica that runs the new version without a copy of its data, and that this action has not raised: somebody else did, and nothing
// could take it back. The old primary is raised when there is no way back anyhow.
func byHand(c *engine.Call, n fleet.Node, s bluegreen.ResourceState, st raising) error {
	if c.Step.Kind != strategy.UpgradeReplicas || !runs(s, c.Campaign.To) || s.Kept != "" || slices.Contains(st.Raised, n.Name) {
		return nil
	}
	return engine.Refuse("%s runs %s, there is no copy of its data of %s, and it is not this action that raised it: nothing could take it back. Seed it anew on %s, or take it out of the cell",
		n.Name, s.Version, c.Campaign.From, c.Campaign.From)
}

// lies tells of a node that runs another version than the one that the provisioner has it on; "" if it does not, or was not seen. What was raised
// behind the provisioner's back would be copied as data of the old version, and the old version could not open it.
func lies(seen fleet.Observation, cell fleet.Cell, n fleet.Node, version string) string {
	o := seenOf(seen, cell.Name, n.Name)
	if o.Version == "" || fleet.HasVersion(o.Version, version) {
		return ""
	}
	return fmt.Sprintf("%s runs %s, and the provisioner has it on %s: a copy of its data would be no way back", n.Name, o.Version, version)
}

// found is how a node stands on the way back.
type found struct {
	back bool   // it is as it was before the campaign
	lost bool   // it runs another version, and there is no copy: nothing can take it back
	lack string // what is missing for it to be back
}

// back looks whether the node is as it was before the campaign. One that does not run is not lost, whatever is beside it: a copy that is being
// put back is no copy any more.
func (h handlers) back(ctx context.Context, c *engine.Call, cell fleet.Cell, n fleet.Node) (found, error) {
	_, s, err := h.look(ctx, resource(c, cell, n, c.Campaign.From))
	if err != nil {
		return found{}, err
	}
	switch old := fleet.HasVersion(s.Version, c.Campaign.From); {
	case !s.Running:
		return found{lack: n.Name + " does not run"}, nil
	case !old && s.Kept == "":
		return found{lost: true, lack: fmt.Sprintf("%s runs %s, and there is no copy of its data of %s", n.Name, s.Version, c.Campaign.From)}, nil
	case !old:
		return found{lack: fmt.Sprintf("%s is on %s", n.Name, s.Version)}, nil
	case s.Kept != "":
		return found{lack: fmt.Sprintf("the copy of %s's data is still beside it", n.Name)}, nil
	}
	return found{back: true}, nil
}

// replicasRestored looks whether every node is on the old version, without a copy, and in reads. If this action never began with any, how they
// replicate is none of its business.
func (h handlers) replicasRestored(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	cell, err := cellOf(c)
	if err != nil {
		return engine.Observation{}, err
	}
	st, err := engine.StatusOf[raising](c)
	if err != nil {
		return engine.Observation{}, err
	}
	if st.Out != "" {
		return engine.Missing("%s is being worked on", st.Out), nil
	}
	for _, n := range cell.Nodes {
		if f, err := h.back(ctx, c, cell, n); err != nil || !f.back {
			return engine.Missing("%s", f.lack), err
		}
	}
	o := engine.There("every node of cell %s runs %s", cell.Name, c.Campaign.From)
	o.Output = &engine.Outputs{Cells: []fleet.Cell{with(cell, "", names(cell.Nodes)...)}}
	if st.Primary == "" {
		return o, nil
	}
	cs, err := h.Storage.Replicating(ctx, c.Cluster, cell.Name, c.Campaign.Switch.MaxLag)
	if err != nil {
		return engine.Observation{}, fmt.Errorf("look at replication: %w", err)
	}
	if !cs.OK() {
		return engine.Observation{Checks: cs}, nil
	}
	o.Checks = cs
	return o, nil
}

// restoreReplicas puts the copies back in reverse order. A node that is the primary is never touched. One without a copy goes on serving as it
// is, and when all others are back it is named to a person.
func (h handlers) restoreReplicas(ctx context.Context, c *engine.Call) (engine.Result, error) {
	cell, err := cellOf(c)
	if err != nil {
		return engine.Result{}, err
	}
	st, err := engine.StatusOf[raising](c)
	if err != nil {
		return engine.Result{}, err
	}
	nodes := slices.Clone(cell.Nodes)
	slices.Reverse(nodes)
	var lost []string
	for i, n := range inTurn(nodes, st.Out) {
		after := float64(i+1) / float64(len(nodes))
		f, err := h.back(ctx, c, cell, n)
		if err != nil {
			return engine.Result{}, err
		}
		message := n.Name + " is back on " + c.Campaign.From
		if f.lost {
			lost = append(lost, f.lack)
			message = f.lack + ": it stays as it is"
		}
		if (f.back || f.lost) && st.Out != n.Name {
			continue
		}
		if !f.back && !f.lost {
			if res, done, err := h.restore(ctx, c, cell, n, &st, after); err != nil || !done {
				return res, err
			}
		}
		if res, ok, err := h.rejoin(ctx, c, cell, n, &st, after, message); err != nil || !ok {
			return res, err
		}
	}
	if len(lost) > 0 {
		return engine.Result{}, engine.Refuse("%s: it stays as it is, among those that serve reads; every other node is back. A replica is seeded anew on %s, or taken out of the cell", strings.Join(lost, "; "), c.Campaign.From)
	}
	return engine.Result{Status: engine.Status(st), Progress: 1}, nil
}

// restore puts one node's copy back. The primary has to be seen, and to be another node: unless the node was being worked on, when it can't
// be the primary.
func (h handlers) restore(ctx context.Context, c *engine.Call, cell fleet.Cell, n fleet.Node, st *raising, progress float64) (engine.Result, bool, error) {
	if st.Out != n.Name {
		seen, err := h.Storage.Observe(ctx, c.Cluster)
		if err != nil {
			return engine.Result{}, false, err
		}
		if p, err := primaryOn(seen, cell.Name, c.Campaign.From); err != nil {
			return engine.Result{}, false, fmt.Errorf("%s is not put back: %w", n.Name, err)
		} else if p.Node == n.Name {
			return engine.Result{}, false, engine.Refuse("%s is the primary: it is not put back to an older copy of its data", n.Name)
		} else if st.Primary == "" {
			st.Primary = p.Node
		}
		st.UUID = seenOf(seen, cell.Name, n.Name).UUID
	}
	if err := h.takeOut(ctx, c, cell, n, st, progress); err != nil {
		return engine.Result{}, false, err
	}
	r, _, err := h.look(ctx, resource(c, cell, n, c.Campaign.From))
	if err != nil {
		return engine.Result{}, false, err
	}
	if _, err := h.Nodes.Restore(ctx, r); err != nil {
		return engine.Result{}, false, fmt.Errorf("put %s back to %s: %w", n.Name, c.Campaign.From, err)
	}
	c.Point("node-restored")
	return engine.Result{}, true, nil
}
