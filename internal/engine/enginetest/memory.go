// Package enginetest holds a journal in memory with the rules that every journal keeps, and the conformance suite that
// shows them. The engine's tests and the simulation use the journal; the state and the API run the suite.
//
// The rules: terms only grow; whoever does not hold the newest term can write nothing and is answered
// engine.ErrFenced; every call is safe to repeat, because its answer may have been lost; a lease that has run out is given
// to whoever asks first, with the next term.
package enginetest

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

// Memory is a journal in memory. Its clock is the database's.
type Memory struct {
	now func() time.Time

	mu      sync.Mutex
	actions map[int64]*action
	terms   map[string]int64 // by cluster: a term grows with every lease of any action of the cluster
	rows    []Row
}

type action struct {
	a         engine.Assignment
	leased    bool
	until     time.Time
	notBefore time.Time
	outcome   engine.Outcome
	message   string
	released  int64 // term that gave the lease back last
}

// Row is one accepted write, for assertions.
type Row struct {
	At       time.Time
	ActionID int64
	Term     int64
	Write    engine.Write
	Record   engine.StepRecord // of a step's write
	Text     string            // reason or message
	Outcome  engine.Outcome
}

// NewMemory makes an empty journal.
func NewMemory(now func() time.Time) *Memory {
	return &Memory{now: now, actions: map[int64]*action{}, terms: map[string]int64{}}
}

// Add puts an action in, to be leased. Its id must be new.
func (m *Memory) Add(a engine.Assignment) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.actions[a.ActionID] = &action{a: clone(a)}
}

// Lease gives the action to a new holder, unless another's lease still runs, a wait is not over, or it has ended.
func (m *Memory) Lease(id int64) (engine.Assignment, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	x, now := m.actions[id], m.now()
	if x == nil || x.outcome != "" || x.leased && now.Before(x.until) || now.Before(x.notBefore) {
		return engine.Assignment{}, false
	}
	ref := x.a.Cluster.Ref().String()
	m.terms[ref]++
	x.a.Term, x.leased, x.until = m.terms[ref], true, now.Add(x.a.LeaseTTL)
	// Campaign and plan went through JSON when the action was added, and nobody writes them.
	head := x.a
	head.Campaign, head.Plan = campaign.Campaign{}, strategy.Plan{}
	head = clone(head)
	head.Campaign, head.Plan = x.a.Campaign, x.a.Plan
	return head, true
}

// Raise raises a cluster's term outside of any action, and returns it.
func (m *Memory) Raise(ref fleet.ClusterRef) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.terms[ref.String()]++
	return m.terms[ref.String()]
}

// Take gives the action to another holder though a lease runs, as if that had run out.
func (m *Memory) Take(id int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	x := m.actions[id]
	ref := x.a.Cluster.Ref().String()
	m.terms[ref]++
	x.a.Term, x.leased, x.until = m.terms[ref], true, m.now().Add(x.a.LeaseTTL)
}

// Abort notes that a person wants the action to stop.
func (m *Memory) Abort(id int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.actions[id].a.Abort = true
}

// Action returns the action as it is now, and how it ended, if it has.
func (m *Memory) Action(id int64) (engine.Assignment, engine.Outcome, string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	x := m.actions[id]
	return clone(x.a), x.outcome, x.message
}

// Ended tells how the action ended; the outcome is empty while it has not.
func (m *Memory) Ended(id int64) (engine.Outcome, string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.actions[id].outcome, m.actions[id].message
}

// Rows returns every accepted write in order.
func (m *Memory) Rows() []Row {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]Row(nil), m.rows...)
}

// held returns the action if that term holds it.
func (m *Memory) held(ctx context.Context, id, term int64) (*action, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	x := m.actions[id]
	if x == nil {
		return nil, fmt.Errorf("no action %d", id)
	}
	if !x.leased || x.a.Term != term || x.outcome != "" {
		return nil, fmt.Errorf("term %d: %w", term, engine.ErrFenced)
	}
	return x, nil
}

// Heartbeat prolongs the lease.
func (m *Memory) Heartbeat(ctx context.Context, id, term int64) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	x, err := m.held(ctx, id, term)
	if err != nil {
		return false, err
	}
	x.until = m.now().Add(x.a.LeaseTTL)
	return x.a.Abort, nil
}

// Record persists one step's row, and merges its outputs into the cluster.
func (m *Memory) Record(ctx context.Context, id, term int64, rec engine.StepRecord) (abort bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	x, err := m.held(ctx, id, term)
	if err != nil {
		return false, err
	}
	i := 0
	for i < len(x.a.Steps) && x.a.Steps[i].Index != rec.Index {
		i++
	}
	was := engine.Pending
	if i < len(x.a.Steps) {
		was = x.a.Steps[i].Phase
	}
	if !engine.Legal(was, rec.Phase) {
		panic(fmt.Sprintf("step %d (%s) goes from %s to %s, which docs/states.md does not know", rec.Index, rec.Kind, was, rec.Phase))
	}
	if i == len(x.a.Steps) {
		x.a.Steps = append(x.a.Steps, rec)
	} else {
		x.a.Steps[i] = rec
	}
	x.a.Cluster = rec.Outputs.Apply(x.a.Cluster)
	m.rows = append(m.rows, Row{At: m.now(), ActionID: id, Term: term, Write: engine.Write(rec.Phase), Record: rec})
	return x.a.Abort, nil
}

// Turn persists that the action goes back. The first reason stays.
func (m *Memory) Turn(ctx context.Context, id, term int64, reason string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	x, err := m.held(ctx, id, term)
	if err != nil {
		return err
	}
	if !x.a.Turned {
		x.a.Turned, x.a.Reason = true, reason
		m.rows = append(m.rows, Row{At: m.now(), ActionID: id, Term: term, Write: engine.WriteTurn, Text: reason})
	}
	return nil
}

// Release gives the lease back.
func (m *Memory) Release(ctx context.Context, id, term int64, retryAfter time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if x := m.actions[id]; x != nil && !x.leased && x.released == term && x.a.Term == term {
		return nil // the answer to the first try was lost
	}
	x, err := m.held(ctx, id, term)
	if err != nil {
		return err
	}
	x.leased, x.released, x.notBefore = false, term, m.now().Add(retryAfter)
	m.rows = append(m.rows, Row{At: m.now(), ActionID: id, Term: term, Write: engine.WriteRelease})
	return nil
}

// Finish ends the action.
func (m *Memory) Finish(ctx context.Context, id, term int64, outcome engine.Outcome, message string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if x := m.actions[id]; x != nil && x.outcome == outcome && x.a.Term == term {
		return nil
	}
	x, err := m.held(ctx, id, term)
	if err != nil {
		return err
	}
	x.leased, x.outcome, x.message = false, outcome, message
	m.rows = append(m.rows, Row{At: m.now(), ActionID: id, Term: term, Write: engine.WriteFinish, Outcome: outcome, Text: message})
	return nil
}

// clone goes through JSON, as every real journal does: what is not persisted is seen to be lost.
func clone(a engine.Assignment) engine.Assignment {
	b, err := json.Marshal(a)
	if err != nil {
		panic(err)
	}
	var c engine.Assignment
	if err := json.Unmarshal(b, &c); err != nil {
		panic(err)
	}
	return c
}
