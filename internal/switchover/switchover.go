// Package switchover holds the steps that move a cluster's primary, and watch that it could go back, for every strategy that has them:
// from one cell into another, or from one node of a cell to others.
//
// The model. A Move has two sides; the primary is on one of them, or a switch is under way. Where it is, is seen on the servers alone. The
// status in the journal has only what no server keeps: that a try has begun, which way, and what it measured.
//
// Invariants. From a settled primary a switch begins only if every check of its preflight passes at that moment; in any other state a try was
// broken off, and the switch goes on from there. The way back needs replication to the old side to be whole, for else the writes
// made since would be lost: it waits for that, and is never forced.
//
// Failure. A look that fails is unknown, and holds. A switch that was broken off is ended by the next one; on the way back one that had
// promoted is completed first, for only from a whole new side can the primary go back without a loss. An undo that can't go on needs a person.
package switchover

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
)

// Storage looks at the servers. The mysql driver gives it.
type Storage interface {
	// Observe asks every node of the cluster for its role, version and position. Nodes that can't be read are unknown.
	Observe(ctx context.Context, c fleet.Cluster) (fleet.Observation, error)
}

// Switcher moves the primary without a client noticing. The mysql driver gives it, over the gateways' admin API.
type Switcher interface {
	// Preflight looks at every safety rule and changes nothing.
	Preflight(ctx context.Context, s Request) (check.Results, error)
	// Switch makes one of the nodes the primary. Run again after a kill it observes where the last try stopped and goes on or goes back; a
	// nil error means that it observed one writable primary among them and every other node replicating from it. On any
	// failure the old primary is writable again, or a new one is.
	Switch(ctx context.Context, s Request) (engine.SwitchoverOutput, error)
	// Complete ends what a try of that switch left, and begins none: where no promotion was possible yet the old primary is writable again,
	// else the new one is, and every other node replicates from it. With nothing begun it does nothing.
	Complete(ctx context.Context, s Request) error
	// WayBack looks at replication to the old version's nodes, of that cell, and at what would break it.
	WayBack(ctx context.Context, c fleet.Cluster, oldCell string) (fleet.WayBack, check.Results, error)
}

// Request says where the primary goes.
type Request struct {
	Cluster  fleet.Cluster
	ToCell   string
	ToNodes  []string // nodes of the cell that may become the primary; empty: all of them. With them the switch may stay in one cell
	Term     int64
	ID       string // of the switch: the same after a kill
	Settings campaign.Switch
	Back     bool // the way back: to the old version
	Point    func(name string)
}

// Side is where the primary may be.
type Side struct {
	Cell  string
	Nodes []string // of the cell; empty: all of them
	Name  string   // for a switch's id, and so the same for ever: the cell, or the version
	Where string   // such as "in cell green"
}

func (s Side) has(n fleet.NodeObservation) bool {
	return n.Cell == s.Cell && (len(s.Nodes) == 0 || slices.Contains(s.Nodes, n.Node))
}

// Ends are the two sides of a move: that of the old version and that of the new one.
type Ends struct{ Old, New Side }

// Move is the move of a primary.
type Move struct {
	Storage  Storage
	Switcher Switcher
	// Ends tells between whom, for the cluster and campaign of the call.
	Ends func(c *engine.Call) (Ends, error)
}

// Forward makes the primary one of the new side.
func (m Move) Forward() engine.Act { return engine.Act{Observe: m.moved, Do: m.move} }

// Back makes it the old side's again.
func (m Move) Back() engine.Act { return engine.Act{Observe: m.movedBack, Do: m.moveBack} }

// request is a switch to that side. Its id stays the same after a kill.
func (m Move) request(c *engine.Call, to Side, back bool) Request {
	return Request{
		Cluster: c.Cluster, ToCell: to.Cell, ToNodes: to.Nodes, Term: c.Term, Back: back, Settings: c.Campaign.Switch, Point: c.Point,
		ID: fmt.Sprintf("%s-%s-%d-to-%s", c.Cluster.Env, c.Cluster.Name, c.ActionID, to.Name),
	}
}

// status remembers a try, and what it measured: the servers do not keep it for the next holder.
type status struct {
	Begun      bool                     `json:"begun,omitempty"`
	BackBegun  bool                     `json:"back_begun,omitempty"`
	BackEnded  bool                     `json:"back_ended,omitempty"` // the switch back has come to its end
	Switchover *engine.SwitchoverOutput `json:"switchover,omitempty"`
}

// situation is what every act and look begins with.
type situation struct {
	Ends
	st      status
	seen    fleet.Observation
	primary fleet.NodeObservation
	one     bool // there is one primary
}

func (m Move) situation(ctx context.Context, c *engine.Call) (s situation, err error) {
	if s.Ends, err = m.Ends(c); err != nil {
		return s, err
	}
	if s.st, err = engine.StatusOf[status](c); err != nil {
		return s, err
	}
	if s.seen, err = m.Storage.Observe(ctx, c.Cluster); err != nil {
		return s, err
	}
	s.primary, s.one = s.seen.Primary()
	return s, nil
}

// Preflight only looks: may the primary move now? A switch that was made already has nothing left to be checked before it.
func (m Move) Preflight(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	ends, err := m.Ends(c)
	if err != nil {
		return engine.Observation{}, err
	}
	seen, err := m.Storage.Observe(ctx, c.Cluster)
	if err != nil {
		return engine.Observation{}, err
	}
	if lack(seen, ends.New) == "" {
		return engine.There("the primary is %s already", ends.New.Where), nil
	}
	cs, err := m.Switcher.Preflight(ctx, m.request(c, ends.New, false))
	if err != nil {
		return engine.Observation{}, fmt.Errorf("preflight: %w", err)
	}
	return engine.Judged(cs, "all %d checks pass", len(cs)), nil
}

func (m Move) moved(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	s, err := m.situation(ctx, c)
	if err != nil {
		return engine.Observation{}, err
	}
	if lack := lack(s.seen, s.New); lack != "" {
		return engine.Missing("%s", lack), nil
	}
	o := engine.There("%s (%s) is the primary, and every other node replicates from it", s.primary.Node, s.primary.Version)
	o.Output = &engine.Outputs{Observed: &s.seen, Switchover: s.st.Switchover}
	return o, nil
}

// move moves the primary. While the old one is seen to be the one that is writable, the preflight has to pass now, however
// long ago its step passed. In any other state a try was broken off, and the switch itself goes on from there: if it was another
// action's, only to where it can be called off, for then the preflight of this one counts.
func (m Move) move(ctx context.Context, c *engine.Call) (engine.Result, error) {
	s, err := m.situation(ctx, c)
	if err != nil {
		return engine.Result{}, err
	}
	req := m.request(c, s.New, false)
	if !s.st.Begun && s.seen.ReadOnly() {
		if s, err = m.complete(ctx, c, s); err != nil {
			return engine.Result{}, err
		}
	}
	if s.one && s.Old.has(s.primary) {
		cs, err := m.Switcher.Preflight(ctx, req)
		if err != nil {
			return engine.Result{}, fmt.Errorf("preflight: %w", err)
		}
		if !cs.OK() {
			return engine.Result{Wait: true, Checks: cs, Message: "the preflight does not pass any more: " + cs.Bad().String()}, nil
		}
	}
	return m.do(ctx, c, req, s.New, status{Begun: true})
}

func (m Move) do(ctx context.Context, c *engine.Call, req Request, to Side, st status) (engine.Result, error) {
	if err := c.Save(ctx, st, 0, "moving the primary: it is to be "+to.Where); err != nil {
		return engine.Result{}, err
	}
	out, err := m.Switcher.Switch(ctx, req)
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

// movedBack looks whether the primary is on the old side. If this action never began a switch, how the others replicate
// is none of its business. If it did, one that was broken off may have left more than roles tell, such as a scheduler
// that is stopped or a gateway that holds: only a switch back that has come to its end says that nothing is left.
func (m Move) movedBack(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	s, err := m.situation(ctx, c)
	if err != nil {
		return engine.Observation{}, err
	}
	begun := s.st.Begun || s.st.BackBegun
	untouched := s.one && s.Old.has(s.primary) && !begun
	if lack := lack(s.seen, s.Old); lack != "" && !untouched {
		return engine.Missing("%s", lack), nil
	}
	if begun && !s.st.BackEnded {
		return engine.Missing("%s is the primary, and what a switch that was broken off may have left is not put right yet", s.primary.Node), nil
	}
	o := engine.There("%s (%s) is the primary", s.primary.Node, s.primary.Version)
	o.Output = &engine.Outputs{Observed: &s.seen, ClearWayBack: true}
	if s.st.BackBegun {
		o.Output.Switchover = s.st.Switchover
	}
	return o, nil
}

// moveBack moves the primary to the old side. From a settled new primary that needs an open way back, for else the writes made since would
// be lost: it waits for one, and is never forced. That replication does not run may only mean that a server was restarted a moment ago;
// when the step's deadline passes, a person is needed. A switch that was broken off before its promotion is taken back by the same call;
// one that was broken off after it has not made that way back yet, and is completed first.
func (m Move) moveBack(ctx context.Context, c *engine.Call) (engine.Result, error) {
	s, err := m.situation(ctx, c)
	if err != nil {
		return engine.Result{}, err
	}
	if s.broken() {
		if s, err = m.complete(ctx, c, s); err != nil {
			return engine.Result{}, err
		}
	}
	req := m.request(c, s.Old, true)
	if s.one && s.New.has(s.primary) {
		way, cs, err := m.Switcher.WayBack(ctx, c.Cluster, s.Old.Cell)
		if err != nil {
			return engine.Result{}, fmt.Errorf("look at the way back: %w", err)
		}
		if !way.Open {
			return engine.Result{Wait: true, Checks: cs, Message: fmt.Sprintf("the way back is not open, so going back would lose writes: %s; stay on %s, and mend the replication first", way.Detail, c.Campaign.To)}, nil
		}
		if cs, err = m.Switcher.Preflight(ctx, req); err != nil {
			return engine.Result{}, fmt.Errorf("preflight of the way back: %w", err)
		} else if !cs.OK() {
			return engine.Result{Wait: true, Checks: cs, Message: "the preflight of the way back does not pass: " + cs.Bad().String()}, nil
		}
	}
	stayed := s.one && s.Old.has(s.primary) && !s.st.BackBegun
	res, err := m.do(ctx, c, req, s.Old, status{Begun: s.st.Begun, BackBegun: true})
	if err == nil && stayed { // it was put right where it is, and has not moved
		res.Output, res.Message = nil, "nothing is left of the switch that was broken off"
		res.Status = engine.Status(status{Begun: s.st.Begun, BackBegun: true, BackEnded: true})
	}
	return res, err
}

// broken tells whether a switch of this action stopped where only going on leads back: after the promotion, or where the servers' own
// notes have to say whether there was one.
func (s situation) broken() bool {
	writable := slices.ContainsFunc(s.seen.Nodes, func(n fleet.NodeObservation) bool { return n.Role == fleet.RolePrimary && s.New.has(n) })
	switch {
	case writable:
		return (s.st.Begun || s.st.BackBegun) && lack(s.seen, s.New) != ""
	default:
		return s.st.Begun && !s.st.BackBegun && s.seen.ReadOnly()
	}
}

// complete ends the switch to the new side that was begun, and looks again.
func (m Move) complete(ctx context.Context, c *engine.Call, s situation) (situation, error) {
	if err := m.Switcher.Complete(ctx, m.request(c, s.New, false)); err != nil {
		return s, fmt.Errorf("complete the switch that was broken off: %w", err)
	}
	return m.situation(ctx, c)
}

// WayBackOpen only looks at replication to the old side, and makes what it sees known whether it is good or not.
func (m Move) WayBackOpen(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	ends, err := m.Ends(c)
	if err != nil {
		return engine.Observation{}, err
	}
	way, cs, err := m.Switcher.WayBack(ctx, c.Cluster, ends.Old.Cell)
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

// lack tells what is missing for the side to have the one writable primary, which replicates from nobody, with every
// other node replicating from it; "" when nothing is. A switch forgets the source of the new primary as its last
// act: while it has one, the switch is not complete.
func lack(o fleet.Observation, side Side) string {
	p, ok := o.Primary()
	switch {
	case !ok:
		return "there is not one primary: " + o.Roles()
	case !side.has(p):
		return fmt.Sprintf("the primary is %s, in cell %s", p.Node, p.Cell)
	case p.Source != "":
		return fmt.Sprintf("the primary %s still has %s as its replication source", p.Node, p.Source)
	}
	for _, n := range o.Nodes {
		if n.Node == p.Node && n.Cell == p.Cell {
			continue
		}
		if lack := Follows(n, p); lack != "" {
			return lack
		}
		// A source that is spelled otherwise is no evidence of a wrong one.
		known := slices.ContainsFunc(o.Nodes, func(other fleet.NodeObservation) bool { return other.Address == n.Source })
		if n.Source != p.Address && known {
			return fmt.Sprintf("%s replicates from %s, not from %s", n.Node, n.Source, p.Address)
		}
	}
	return ""
}

// Follows tells what is missing for the node to be a healthy replica; "" if nothing is. Whose replica it is, is not looked at.
func Follows(n, primary fleet.NodeObservation) string {
	switch {
	case n.Role != fleet.RoleReplica:
		text := fmt.Sprintf("%s is %s, not a replica of %s", n.Node, n.Role, primary.Node)
		if n.Error != "" {
			text += " (" + n.Error + ")"
		}
		return text
	case n.Error != "":
		return fmt.Sprintf("%s does not replicate: %s", n.Node, n.Error)
	}
	return ""
}

// In is the side of a whole cell.
func In(cell string) Side { return Side{Cell: cell, Name: cell, Where: "in cell " + cell} }

// Among is the side of some nodes of a cell, which run that version.
func Among(cell, version string, nodes ...string) Side {
	return Side{Cell: cell, Nodes: nodes, Name: version, Where: "on " + version}
}
