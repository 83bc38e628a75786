package inplace

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
)

// request is a switch of the primary to one of those nodes. Its id stays the same after a kill.
func (h handlers) request(c *engine.Call, cell fleet.Cell, to []string, back bool) bluegreen.SwitchRequest {
	where := c.Campaign.To
	if back {
		where = c.Campaign.From
	}
	return bluegreen.SwitchRequest{
		Cluster: c.Cluster, ToCell: cell.Name, ToNodes: to, Term: c.Term, Back: back, Settings: c.Campaign.Switch, Point: c.Point,
		ID: fmt.Sprintf("%s-%s-%d-to-%s", c.Cluster.Env, c.Cluster.Name, c.ActionID, where),
	}
}

// arrived tells what is missing for one of the nodes to be the one writable primary, which replicates from nobody, with every other node
// replicating from it; "" when nothing is. A switch forgets the source of the new primary as its last act: while it has
// one, the switch is not complete.
func arrived(o fleet.Observation, to []string) string {
	p, ok := o.Primary()
	switch {
	case !ok:
		return "there is not one primary: " + o.Roles()
	case !slices.Contains(to, p.Node):
		return fmt.Sprintf("the primary is %s", p.Node)
	case p.Source != "":
		return fmt.Sprintf("the primary %s still has %s as its replication source", p.Node, p.Source)
	}
	for _, n := range o.Nodes {
		if n.Node == p.Node && n.Cell == p.Cell {
			continue
		}
		if lack := follows(n, p, ""); lack != "" {
			return lack
		}
		if n.Source != p.Address && known(o, n.Source) {
			return fmt.Sprintf("%s replicates from %s, not from %s", n.Node, n.Source, p.Address)
		}
	}
	return ""
}

// known tells whether an address is one of the cluster's: a source that is spelled otherwise is no evidence of a wrong one.
func known(o fleet.Observation, address string) bool {
	return slices.ContainsFunc(o.Nodes, func(n fleet.NodeObservation) bool { return n.Address == address })
}

func (h handlers) preflight(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	cell, raised, _, err := split(c)
	if err != nil {
		return engine.Observation{}, err
	}
	seen, err := h.Storage.Observe(ctx, c.Cluster)
	if err != nil {
		return engine.Observation{}, err
	}
	if arrived(seen, raised) == "" { // nothing is left to be checked before
		return engine.There("the primary is on %s already", c.Campaign.To), nil
	}
	cs, err := h.Switcher.Preflight(ctx, h.request(c, cell, raised, false))
	if err != nil {
		return engine.Observation{}, fmt.Errorf("preflight: %w", err)
	}
	return engine.Judged(cs, "all %d checks pass", len(cs)), nil
}

// switchStatus remembers a try, and what it measured: the servers do not keep it for the next holder.
type switchStatus struct {
	Begun      bool                     `json:"begun,omitempty"`
	BackBegun  bool                     `json:"back_begun,omitempty"`
	BackEnded  bool                     `json:"back_ended,omitempty"` // the switch back has come to its end
	Switchover *engine.SwitchoverOutput `json:"switchover,omitempty"`
}

func (h handlers) switched(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	_, raised, _, err := split(c)
	if err != nil {
		return engine.Observation{}, err
	}
	st, err := engine.StatusOf[switchStatus](c)
	if err != nil {
		return engine.Observation{}, err
	}
	seen, err := h.Storage.Observe(ctx, c.Cluster)
	if err != nil {
		return engine.Observation{}, err
	}
	if lack := arrived(seen, raised); lack != "" {
		return engine.Missing("%s", lack), nil
	}
	p, _ := seen.Primary()
	o := engine.There("%s (%s) is the primary, and every other node replicates from it", p.Node, p.Version)
	o.Output = &engine.Outputs{Observed: &seen, Switchover: st.Switchover}
	return o, nil
}

// switchPrimary moves the primary. While the old primary is seen to be the one that is writable, the preflight has to pass now, however
// long ago its step passed. In any other state a try was broken off, and the switch itself goes on from there.
func (h handlers) switchPrimary(ctx context.Context, c *engine.Call) (engine.Result, error) {
	cell, raised, old, err := split(c)
	if err != nil {
		return engine.Result{}, err
	}
	seen, err := h.Storage.Observe(ctx, c.Cluster)
	if err != nil {
		return engine.Result{}, err
	}
	req := h.request(c, cell, raised, false)
	if p, ok := seen.Primary(); ok && p.Node == old {
		cs, err := h.Switcher.Preflight(ctx, req)
		if err != nil {
			return engine.Result{}, fmt.Errorf("preflight: %w", err)
		}
		if !cs.OK() {
			return engine.Result{Wait: true, Checks: cs, Message: "the preflight does not pass any more: " + cs.Bad().String()}, nil
		}
	}
	return h.doSwitch(ctx, c, req, switchStatus{Begun: true})
}

func (h handlers) doSwitch(ctx context.Context, c *engine.Call, req bluegreen.SwitchRequest, st switchStatus) (engine.Result, error) {
	if err := c.Save(ctx, st, 0, "moving the primary to "+strings.Join(req.ToNodes, " or ")); err != nil {
		return engine.Result{}, err
	}
	out, err := h.Switcher.Switch(ctx, req)
	if err != nil {
		return engine.Result{}, err
	}
	st.Switchover, st.BackEnded = &out, st.BackBegun
	message := fmt.Sprintf("moved the primary from %s to %s; gateways held for %.0f ms", out.From, out.To, out.HoldMS)
	if err := c.Save(ctx, st, 0.9, message); err != nil {
		return engine.Result{}, err
	}
	return engine.Result{Message: message, Status: engine.Status(st), Output: &engine.Outputs{Switchover: &out}}, nil
}

// switchedBack looks whether the old primary is the primary. If this action never began a switch, how the others replicate is none of its
// business. If it did, one that was broken off may have left more than roles tell, such as a scheduler that is stopped or a
// gateway that holds: only a switch back that has come to its end says that nothing is left.
func (h handlers) switchedBack(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	_, _, old, err := split(c)
	if err != nil {
		return engine.Observation{}, err
	}
	st, err := engine.StatusOf[switchStatus](c)
	if err != nil {
		return engine.Observation{}, err
	}
	seen, err := h.Storage.Observe(ctx, c.Cluster)
	if err != nil {
		return engine.Observation{}, err
	}
	p, ok := seen.Primary()
	begun := st.Begun || st.BackBegun
	untouched := ok && p.Node == old && !begun
	if lack := arrived(seen, []string{old}); lack != "" && !untouched {
		return engine.Missing("%s", lack), nil
	}
	if begun && !st.BackEnded {
		return engine.Missing("%s is the primary, and what a switch that was broken off may have left is not put right yet", p.Node), nil
	}
	o := engine.There("%s (%s) is the primary", p.Node, p.Version)
	o.Output = &engine.Outputs{Observed: &seen, ClearWayBack: true}
	if st.BackBegun {
		o.Output.Switchover = st.Switchover
	}
	return o, nil
}

// switchBack moves the primary to the old one. From a settled new primary that needs an open way back, for else the writes made since would
// be lost: it waits for one, and is never forced. When the step's deadline passes, a person is needed. A switch that was
// broken off before its promotion is taken back by the same call.
func (h handlers) switchBack(ctx context.Context, c *engine.Call) (engine.Result, error) {
	cell, raised, old, err := split(c)
	if err != nil {
		return engine.Result{}, err
	}
	st, err := engine.StatusOf[switchStatus](c)
	if err != nil {
		return engine.Result{}, err
	}
	seen, err := h.Storage.Observe(ctx, c.Cluster)
	if err != nil {
		return engine.Result{}, err
	}
	req := h.request(c, cell, []string{old}, true)
	p, ok := seen.Primary()
	if ok && slices.Contains(raised, p.Node) {
		way, cs, err := h.Switcher.WayBack(ctx, c.Cluster, cell.Name)
		if err != nil {
			return engine.Result{}, fmt.Errorf("look at the way back: %w", err)
		}
		if !way.Open {
			return engine.Result{Wait: true, Checks: cs, Message: fmt.Sprintf("the way back is not open, so going back would lose writes: %s; stay on %s, and mend the replication first", way.Detail, c.Campaign.To)}, nil
		}
		if cs, err = h.Switcher.Preflight(ctx, req); err != nil {
			return engine.Result{}, fmt.Errorf("preflight of the way back: %w", err)
		} else if !cs.OK() {
			return engine.Result{Wait: true, Checks: cs, Message: "the preflight of the way back does not pass: " + cs.Bad().String()}, nil
		}
	}
	stayed := ok && p.Node == old && !st.BackBegun
	res, err := h.doSwitch(ctx, c, req, switchStatus{Begun: st.Begun, BackBegun: true})
	if err == nil && stayed { // it was put right where it is, and has not moved
		res.Output, res.Status, res.Message = nil, engine.Status(switchStatus{Begun: st.Begun, BackBegun: true, BackEnded: true}), "nothing is left of the switch that was broken off"
	}
	return res, err
}

// wayBackOpen looks at replication to the old primary, and makes what it sees known whether it is good or not.
func (h handlers) wayBackOpen(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	cell, _, _, err := split(c)
	if err != nil {
		return engine.Observation{}, err
	}
	way, cs, err := h.Switcher.WayBack(ctx, c.Cluster, cell.Name)
	if err != nil {
		return engine.Observation{}, fmt.Errorf("look at the way back: %w", err)
	}
	o := engine.Observation{There: way.Open && cs.OK(), Checks: cs, Message: way.Detail, Output: &engine.Outputs{WayBack: &way}, RetryAfter: 5 * time.Second}
	if !way.Open {
		o.Message = "the way back is not open: " + way.Detail
	} else if !o.There {
		o.Message = "the way back is at risk: " + cs.Bad().String()
	}
	return o, nil
}
