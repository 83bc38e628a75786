package sim

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/engine/enginetest"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/state"
	"github.com/windlass-db/windlass/internal/strategy"
)

// control is the state of the control plane, which survives the server's death.
type control interface {
	engine.Journal
	Lease(ctx context.Context, env, holder string, kinds []engine.KindVersion) (*engine.Assignment, error)
	// BeginMend gives leave to put a cluster right that no action has.
	BeginMend(ctx context.Context, ref fleet.ClusterRef, holder string) (*state.Mend, error)
	EndMend(ctx context.Context, ref fleet.ClusterRef, term int64, r state.Mended) error
	// Launch runs the launcher once, in one transaction, and returns how many actions it started.
	Launch(ctx context.Context) (int, error)
	Snapshot(ctx context.Context) (campaign.Snapshot, error)
	Cluster(ctx context.Context, ref fleet.ClusterRef) (fleet.Cluster, error)
	// Resume clears a cluster's failure or attention, as a person does.
	Resume(ctx context.Context, ref fleet.ClusterRef) error
	// Rollback takes a cluster back to the end of a stage.
	Rollback(ctx context.Context, ref fleet.ClusterRef, to string) error
	// Abort turns a live action round.
	Abort(ctx context.Context, ref fleet.ClusterRef) error
	// Opened tells that the server has been started again.
	Opened()
	Close() error
}

// memory is a control plane's state in memory, with the rules of the real one: for matrices, where the real one is too slow.
type memory struct {
	*enginetest.Memory
	now      func() time.Time
	ttl      time.Duration
	c        campaign.Campaign
	strat    strategy.Strategy
	clusters []*place
	next     int64
	deadline time.Duration                                                             // of every step; 0: the strategy's
	primary  func(fleet.ClusterRef) string                                             // cell of the writable server; "" if there is none
	ended    func(r fleet.ClusterRef, began string, p strategy.Plan, o engine.Outcome) // began: cell of the primary when the action was made
}

// place is how far one cluster is.
type place struct {
	ref        fleet.ClusterRef
	cluster    fleet.Cluster
	progress   campaign.Progress
	action     int64         // the live one, or 0
	plan       strategy.Plan // its
	began      string        // where the primary was when it was made
	rollbackTo *string
	mend       int64     // term of whoever puts it right, or 0
	mendUntil  time.Time // no action is leased before
}

func newMemory(now func() time.Time, ttl time.Duration, c campaign.Campaign, clusters []fleet.Cluster) *memory {
	m := &memory{Memory: enginetest.NewMemory(now), now: now, ttl: ttl, c: c, strat: strategy.BlueGreen()}
	for _, cl := range clusters {
		m.clusters = append(m.clusters, &place{ref: cl.Ref(), cluster: cl, progress: campaign.Progress{Ref: cl.Ref()}})
	}
	return m
}

func (m *memory) place(ref fleet.ClusterRef) *place {
	for _, p := range m.clusters {
		if p.ref == ref {
			return p
		}
	}
	panic("no cluster " + ref.String())
}

func (m *memory) of(id int64) *place {
	for _, p := range m.clusters {
		if p.action == id {
			return p
		}
	}
	return &place{}
}

// Lease gives the oldest action of the environment that can be had.
func (m *memory) Lease(_ context.Context, env, _ string, _ []engine.KindVersion) (*engine.Assignment, error) {
	var ids []int64
	for _, p := range m.clusters {
		if p.ref.Env == env && p.action != 0 && (p.mend == 0 || m.now().After(p.mendUntil)) {
			ids = append(ids, p.action)
		}
	}
	slices.Sort(ids)
	for _, id := range ids {
		if a, ok := m.Memory.Lease(id); ok {
			return &a, nil
		}
	}
	return nil, nil
}

// BeginMend gives leave to one holder, not while an action has the cluster.
func (m *memory) BeginMend(_ context.Context, ref fleet.ClusterRef, _ string) (*state.Mend, error) {
	p := m.place(ref)
	if p.action != 0 || p.mend != 0 && !m.now().After(p.mendUntil) {
		return nil, nil
	}
	p.mend, p.mendUntil = m.Raise(ref), m.now().Add(m.ttl)
	return &state.Mend{Cluster: p.cluster, Term: p.mend, TTL: m.ttl}, nil
}

// EndMend gives the leave back.
func (m *memory) EndMend(_ context.Context, ref fleet.ClusterRef, term int64, _ state.Mended) error {
	if p := m.place(ref); p.mend == term {
		p.mend = 0
	}
	return nil
}

// Record merges the outputs into the cluster and its progress.
func (m *memory) Record(ctx context.Context, id, term int64, rec engine.StepRecord) (abort bool, err error) {
	if abort, err = m.Memory.Record(ctx, id, term, rec); err != nil {
		return false, err
	}
	p := m.of(id)
	p.cluster = rec.Outputs.Apply(p.cluster)
	if o := rec.Outputs; o != nil && o.ClearWayBack {
		p.progress.WayBack = nil
	} else if o != nil && o.WayBack != nil {
		p.progress.WayBack = o.WayBack
	}
	return abort, nil
}

// Finish moves the cluster.
func (m *memory) Finish(ctx context.Context, id, term int64, outcome engine.Outcome, message string) error {
	if err := m.Memory.Finish(ctx, id, term, outcome, message); err != nil {
		return err
	}
	p := m.of(id)
	if p.action == 0 {
		return nil // repeated
	}
	a, _, _ := m.Action(id)
	p.action = 0
	m.ended(p.ref, p.began, a.Plan, outcome)
	move := func(stage string) {
		p.progress.Stage, p.progress.Since = stage, m.now()
		p.progress.Done = append(p.progress.Done, campaign.StageEnd{Stage: stage, At: m.now()})
	}
	switch {
	case outcome == engine.Completed && a.Plan.Direction == strategy.Forward:
		move(a.Plan.Stage)
	case outcome == engine.Completed:
		at := m.before(a.Plan.Stage)
		p.progress.Stage, p.progress.Since = at, m.now()
		p.progress.Done = slices.DeleteFunc(p.progress.Done, func(e campaign.StageEnd) bool { return e.Stage == a.Plan.Stage })
		if p.rollbackTo != nil && *p.rollbackTo != at {
			m.insert(p, at, strategy.Back)
			return nil
		}
		p.rollbackTo = nil
		p.progress.Attention = "rolled back to " + at
	case outcome == engine.Aborted:
		p.progress.Attention = message
	default:
		if engine.UndoneInPart(a.Plan, a.Steps) {
			p.progress.Stage, p.progress.Since = m.before(a.Plan.Stage), m.now()
			p.progress.Done = slices.DeleteFunc(p.progress.Done, func(e campaign.StageEnd) bool { return e.Stage == a.Plan.Stage })
		}
		p.progress.Failure = &campaign.Failure{Stage: a.Plan.Stage, Message: message, At: m.now()}
	}
	return nil
}

func (m *memory) before(stage string) string {
	if _, i := m.strat.Stage(stage); i > 0 {
		return m.strat.Stages[i-1].Name
	}
	return ""
}

func (m *memory) insert(p *place, stage string, dir strategy.Direction) {
	plan, ok := m.strat.Expand(stage, dir)
	if !ok {
		panic("no stage " + stage)
	}
	if m.deadline > 0 {
		plan.Steps = slices.Clone(plan.Steps)
		for i := range plan.Steps {
			plan.Steps[i].Deadline = m.deadline
		}
	}
	m.next++
	p.action, p.plan, p.began = m.next, plan, m.primary(p.ref)
	m.Add(engine.Assignment{ActionID: m.next, LeaseTTL: m.ttl, Campaign: m.c, Cluster: p.cluster, Plan: plan})
}

// Snapshot is what Decide looks at.
func (m *memory) Snapshot(context.Context) (campaign.Snapshot, error) {
	s := campaign.Snapshot{Campaign: m.c, Status: "running"}
	for _, p := range m.clusters {
		pr := p.progress
		if p.action != 0 {
			pr.Action = &campaign.ActionState{ID: p.action, Stage: p.plan.Stage, Direction: string(p.plan.Direction), Status: "leased"}
		}
		s.Clusters = append(s.Clusters, pr)
	}
	return s, nil
}

// Launch decides and starts.
func (m *memory) Launch(ctx context.Context) (int, error) {
	s, err := m.Snapshot(ctx)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, d := range campaign.Decide(s, m.now()) {
		if d.Start != "" {
			m.insert(m.place(d.Ref), d.Start, strategy.Forward)
			n++
		}
	}
	return n, nil
}

// Cluster is the cluster as the state knows it.
func (m *memory) Cluster(_ context.Context, ref fleet.ClusterRef) (fleet.Cluster, error) {
	return m.place(ref).cluster, nil
}

// Resume clears what a person has looked at.
func (m *memory) Resume(_ context.Context, ref fleet.ClusterRef) error {
	p := m.place(ref)
	p.progress.Failure, p.progress.Attention = nil, ""
	return nil
}

// Rollback takes a cluster back.
func (m *memory) Rollback(_ context.Context, ref fleet.ClusterRef, to string) error {
	p := m.place(ref)
	if p.action != 0 {
		return fmt.Errorf("%s has a live action", ref)
	}
	p.rollbackTo = &to
	p.progress.Failure, p.progress.Attention = nil, ""
	m.insert(p, p.progress.Stage, strategy.Back)
	return nil
}

// Abort turns the live action round.
func (m *memory) Abort(_ context.Context, ref fleet.ClusterRef) error {
	if p := m.place(ref); p.action != 0 {
		m.Memory.Abort(p.action)
	}
	return nil
}

// Opened changes nothing: leases are not lost with the server.
func (m *memory) Opened() {}

// Close closes nothing.
func (m *memory) Close() error { return nil }
