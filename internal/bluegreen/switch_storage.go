package bluegreen

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
)

// verifyStatus is how far the data check is: the checker's own cursor, and its verdict once it is there.
type verifyStatus struct {
	Cursor json.RawMessage `json:"cursor,omitempty"`
	Equal  check.Results   `json:"equal,omitempty"`
}

// verified looks whether this action has compared the data: the world does not keep the proof, the status does.
func (h handlers) verified(_ context.Context, c *engine.Call) (engine.Observation, error) {
	st, err := engine.StatusOf[verifyStatus](c)
	if err != nil {
		return engine.Observation{}, err
	}
	if !st.Equal.OK() {
		return engine.Missing("the rows are not compared yet"), nil
	}
	o := engine.There("the rows of %s and %s are equal", c.Campaign.FromCell, c.Campaign.ToCell)
	o.Checks = st.Equal
	return o, nil
}

func (h handlers) verify(ctx context.Context, c *engine.Call) (engine.Result, error) {
	if _, _, err := bothCells(c); err != nil {
		return engine.Result{}, err
	}
	st, err := engine.StatusOf[verifyStatus](c)
	if err != nil {
		return engine.Result{}, err
	}
	save := func(ctx context.Context, cursor any, progress float64, message string) error {
		b, err := json.Marshal(cursor)
		if err != nil {
			return fmt.Errorf("save how far the comparison is: %w", err)
		}
		st.Cursor = b
		return c.Save(ctx, st, progress, message)
	}
	cs, err := h.DataChecker.Compare(ctx, c.Cluster, c.Campaign.FromCell, c.Campaign.ToCell, c.Campaign.Verify, st.Cursor, save)
	if err != nil {
		return engine.Result{}, fmt.Errorf("compare the rows: %w", err)
	}
	for _, r := range cs {
		if r.Verdict == check.Fail {
			return engine.Result{}, &engine.Refusal{Checks: cs, Err: fmt.Errorf("the data differs: %s", cs.Bad())}
		}
	}
	if !cs.OK() {
		return engine.Result{Wait: true, Checks: cs, Message: "the rows could not all be compared: " + cs.Bad().String()}, nil
	}
	return engine.Result{Checks: cs, Progress: 1, Status: engine.Status(verifyStatus{Equal: cs})}, nil
}

// request is a switch of the primary. Its id stays the same after a kill.
func (h handlers) request(c *engine.Call, to string, back bool) SwitchRequest {
	return SwitchRequest{
		Cluster: c.Cluster, ToCell: to, Term: c.Term, Back: back, Settings: c.Campaign.Switch, Point: c.Point,
		ID: fmt.Sprintf("%s-%s-%d-to-%s", c.Cluster.Env, c.Cluster.Name, c.ActionID, to),
	}
}

func (h handlers) preflight(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	if _, _, err := bothCells(c); err != nil {
		return engine.Observation{}, err
	}
	seen, err := h.Storage.Observe(ctx, c.Cluster)
	if err != nil {
		return engine.Observation{}, err
	}
	if arrived(seen, c.Campaign.ToCell) == "" { // nothing is left to be checked before
		return engine.There("the primary is in cell %s already", c.Campaign.ToCell), nil
	}
	cs, err := h.Switcher.Preflight(ctx, h.request(c, c.Campaign.ToCell, false))
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

// arrived tells what is missing for the cell to have the one writable primary, which replicates from nobody, with every
// other node replicating from it; "" when nothing is. A switch forgets the source of the new primary as its last
// act: while it has one, the switch is not complete.
func arrived(o fleet.Observation, cell string) string {
	p, ok := o.Primary()
	if !ok {
		return "there is not one primary: " + o.Roles()
	}
	if p.Cell != cell {
		return fmt.Sprintf("the primary is %s, in cell %s", p.Node, p.Cell)
	}
	if p.Source != "" {
		return fmt.Sprintf("the primary %s still has %s as its replication source", p.Node, p.Source)
	}
	for _, n := range o.Nodes {
		switch {
		case n.Node == p.Node && n.Cell == p.Cell:
		case n.Role != fleet.RoleReplica:
			return fmt.Sprintf("%s is %s, not a replica of %s", n.Node, n.Role, p.Node)
		case n.Error != "":
			return fmt.Sprintf("%s does not replicate: %s", n.Node, n.Error)
		case n.Source != p.Address && known(o, n.Source):
			return fmt.Sprintf("%s replicates from %s, not from %s", n.Node, n.Source, p.Address)
		}
	}
	return ""
}

// known tells whether an address is one of the cluster's: a source that is spelled otherwise is no evidence of a wrong one.
func known(o fleet.Observation, address string) bool {
	for _, n := range o.Nodes {
		if n.Address == address {
			return true
		}
	}
	return false
}

func (h handlers) switched(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	st, err := engine.StatusOf[switchStatus](c)
	if err != nil {
		return engine.Observation{}, err
	}
	seen, err := h.Storage.Observe(ctx, c.Cluster)
	if err != nil {
		return engine.Observation{}, err
	}
	if lack := arrived(seen, c.Campaign.ToCell); lack != "" {
		return engine.Missing("%s", lack), nil
	}
	p, _ := seen.Primary()
	o := engine.There("%s (%s) is the primary, and every other node replicates from it", p.Node, p.Version)
	o.Output = &engine.Outputs{Observed: &seen, Switchover: st.Switchover}
	return o, nil
}

// switchStorage moves the primary. While the old primary is seen to be the one that is writable, the preflight has to
// pass now, however long ago its step passed. In any other state a try was broken off, and the switch itself goes on from there.
func (h handlers) switchStorage(ctx context.Context, c *engine.Call) (engine.Result, error) {
	seen, err := h.Storage.Observe(ctx, c.Cluster)
	if err != nil {
		return engine.Result{}, err
	}
	req := h.request(c, c.Campaign.ToCell, false)
	if p, ok := seen.Primary(); ok && p.Cell == c.Campaign.FromCell {
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

func (h handlers) doSwitch(ctx context.Context, c *engine.Call, req SwitchRequest, st switchStatus) (engine.Result, error) {
	if err := c.Save(ctx, st, 0, fmt.Sprintf("moving the primary into cell %s", req.ToCell)); err != nil {
		return engine.Result{}, err
	}
	out, err := h.Switcher.Switch(ctx, req)
	if err != nil {
		return engine.Result{}, err
	}
	st.Switchover, st.BackEnded = &out, st.BackBegun
	if err := c.Save(ctx, st, 0.9, fmt.Sprintf("the primary is in cell %s; gateways held for %.0f ms", req.ToCell, out.HoldMS)); err != nil {
		return engine.Result{}, err
	}
	return engine.Result{
		Message: fmt.Sprintf("moved the primary from %s to %s; gateways held for %.0f ms", out.From, out.To, out.HoldMS),
		Status:  engine.Status(st), Output: &engine.Outputs{Switchover: &out},
	}, nil
}

// switchedBack looks whether the primary is in the old cell. If this action never began a switch, how the others replicate
// is none of its business. If it did, one that was broken off may have left more than roles tell, such as a scheduler
// that is stopped or a gateway that holds: only a switch back that has come to its end says that nothing is left.
func (h handlers) switchedBack(ctx context.Context, c *engine.Call) (engine.Observation, error) {
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
	untouched := ok && p.Cell == c.Campaign.FromCell && !begun
	if lack := arrived(seen, c.Campaign.FromCell); lack != "" && !untouched {
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

// switchStorageBack moves the primary into the old cell. From a settled new primary that needs an open way back, for else
// the writes made since would be lost: it waits for one, and is never forced. That replication does not run may only mean
// that a server was restarted a moment ago; when the step's deadline passes, a person is needed. A switch that was broken
// off before its promotion is taken back by the same call.
func (h handlers) switchStorageBack(ctx context.Context, c *engine.Call) (engine.Result, error) {
	st, err := engine.StatusOf[switchStatus](c)
	if err != nil {
		return engine.Result{}, err
	}
	seen, err := h.Storage.Observe(ctx, c.Cluster)
	if err != nil {
		return engine.Result{}, err
	}
	req := h.request(c, c.Campaign.FromCell, true)
	if p, ok := seen.Primary(); ok && p.Cell == c.Campaign.ToCell {
		way, cs, err := h.Switcher.WayBack(ctx, c.Cluster, c.Campaign.FromCell)
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
	p, ok := seen.Primary()
	stayed := ok && p.Cell == c.Campaign.FromCell && !st.BackBegun
	res, err := h.doSwitch(ctx, c, req, switchStatus{Begun: st.Begun, BackBegun: true})
	if err == nil && stayed { // it was put right where it is, and has not moved
		res.Output, res.Status, res.Message = nil, engine.Status(switchStatus{Begun: st.Begun, BackBegun: true, BackEnded: true}), "nothing is left of the switch that was broken off"
	}
	return res, err
}

// proofStatus remembers that the proof was made, and its evidence.
type proofStatus struct {
	Proved check.Results `json:"proved,omitempty"`
}

func (h handlers) proved(_ context.Context, c *engine.Call) (engine.Observation, error) {
	st, err := engine.StatusOf[proofStatus](c)
	if err != nil {
		return engine.Observation{}, err
	}
	if !st.Proved.OK() {
		return engine.Missing("no row was written and seen on every replica yet"), nil
	}
	o := engine.There("a row written on the new primary arrived on every replica")
	o.Checks = st.Proved
	return o, nil
}

func (h handlers) prove(ctx context.Context, c *engine.Call) (engine.Result, error) {
	if err := h.fence(ctx, c, c.Cluster); err != nil {
		return engine.Result{}, err
	}
	cs, err := h.Switcher.Prove(ctx, c.Cluster, c.Term)
	if err != nil {
		return engine.Result{}, fmt.Errorf("write a row and wait for it: %w", err)
	}
	c.Point("proved")
	if !cs.OK() {
		return engine.Result{Wait: true, Checks: cs, Message: cs.Bad().String()}, nil
	}
	return engine.Result{Checks: cs, Status: engine.Status(proofStatus{Proved: cs})}, nil
}

// wayBackOpen looks at replication to the old version, and makes what it sees known whether it is good or not.
func (h handlers) wayBackOpen(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	way, cs, err := h.Switcher.WayBack(ctx, c.Cluster, c.Campaign.FromCell)
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
