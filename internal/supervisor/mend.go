package supervisor

import (
	"context"
	"sync"
	"time"

	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/state"
)

// MendServer gives leave to put a cluster right that no action has.
type MendServer interface {
	// BeginMend answers nil if an action or another holder has the cluster.
	BeginMend(ctx context.Context, cluster, holder string) (*state.Mend, error)
	EndMend(ctx context.Context, cluster string, term int64, r state.Mended) error
}

// Mend opens a cluster's primary again that was restarted and booted read-only (trap 2), in a time when no action has the
// cluster. settle does it, if the servers' own notes and positions prove which node it is; look tells whether it has. The leave that
// the server gives fences whoever came before, and is over before the server would give it to anybody else: it counts from
// before the request, and a fifth of it is kept for what is cancelled to come to its end.
//
// It tells whether there was leave. Its error is about the server; that the cluster could not be mended is told to the server.
func Mend(ctx context.Context, s MendServer, holder string, ref fleet.ClusterRef, settle func(context.Context, engine.Assignment) error, look func(context.Context, fleet.Cluster) fleet.Observation) (bool, error) {
	asked := time.Now()
	m, err := s.BeginMend(ctx, ref.Name, holder)
	if err != nil || m == nil {
		return false, err
	}
	doing, cancel := context.WithDeadline(ctx, asked.Add(m.TTL-m.TTL/5))
	r := try(doing, engine.Assignment{Cluster: m.Cluster, Term: m.Term, LeaseTTL: m.TTL}, settle, look)
	cancel()
	tell, cancel := lingering(ctx, 30*time.Second)
	defer cancel()
	return true, s.EndMend(tell, ref.Name, m.Term, r)
}

// try puts the cluster right and looks what came of it.
func try(ctx context.Context, a engine.Assignment, settle func(context.Context, engine.Assignment) error, look func(context.Context, fleet.Cluster) fleet.Observation) state.Mended {
	if err := settle(ctx, a); err != nil {
		return state.Mended{Detail: err.Error()}
	}
	o := look(ctx, a.Cluster)
	if p, ok := o.Primary(); ok {
		return state.Mended{Opened: true, Detail: p.Cell + "/" + p.Node}
	}
	return state.Mended{Detail: o.Roles()}
}

// tries says when a cluster that could not be mended is tried again: each look raises its term, and on a cluster that no note
// of ours is on it is for nothing.
type tries struct {
	mu   sync.Mutex
	next map[string]time.Time
	wait map[string]time.Duration
}

const leastWait, mostWait = 5 * time.Second, 5 * time.Minute

// due tells whether it is time to try, and notes that it was tried.
func (t *tries) due(cluster string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Before(t.next[cluster]) {
		return false
	}
	if t.next == nil {
		t.next, t.wait = map[string]time.Time{}, map[string]time.Duration{}
	}
	t.wait[cluster] = min(max(2*t.wait[cluster], leastWait), mostWait)
	t.next[cluster] = now.Add(t.wait[cluster])
	return true
}

// well forgets a cluster that has a primary.
func (t *tries) well(cluster string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.next, cluster)
	delete(t.wait, cluster)
}

// leases are the actions that this supervisor runs now.
type leases struct {
	mu  sync.Mutex
	all map[fleet.ClusterRef]engine.Assignment
}

func (l *leases) add(a engine.Assignment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil {
		l.all = map[fleet.ClusterRef]engine.Assignment{}
	}
	l.all[a.Cluster.Ref()] = a
}

// remove forgets an action, but not one that another slot has leased for the same cluster since.
func (l *leases) remove(a engine.Assignment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all[a.Cluster.Ref()].Term == a.Term {
		delete(l.all, a.Cluster.Ref())
	}
}

func (l *leases) of(ref fleet.ClusterRef) (engine.Assignment, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a, ok := l.all[ref]
	return a, ok
}

// mend is called when every node of a cluster was seen read-only. It tells whether something was done, so that the cluster is to be
// looked at again.
//
// A cluster with an action of this supervisor is put right under the action's own term, in the middle of a long act, too; not in a
// stage that moves the primary, where it is the switch that knows who is to be it. One with somebody else's action is left to them.
func (s *Supervisor) mend(ctx context.Context, c fleet.Cluster) bool {
	settle := s.cfg.Engine.OnLease
	a, mine := s.leases.of(c.Ref())
	if settle == nil || s.cfg.NoReopen || mine && a.Plan.MovesPrimary() || !s.tries.due(c.Name, s.cfg.Now()) {
		return false
	}
	log := s.cfg.Log.With("env", s.cfg.Env, "cluster", c.Name)
	look := func(ctx context.Context, c fleet.Cluster) fleet.Observation {
		return s.observe(ctx, api.Watched{Cluster: c})
	}
	if mine {
		a.Cluster = c // with the cells that the action has made since
		doing, cancel := context.WithTimeout(ctx, s.cfg.LookTimeout)
		r := try(doing, a, settle, look)
		cancel()
		tell, cancel := lingering(ctx, 30*time.Second)
		defer cancel()
		if err := s.cfg.Server.EndMend(tell, c.Name, a.Term, r); err != nil && ctx.Err() == nil {
			log.Warn("what came of opening the primary could not be told", "term", a.Term, "result", r.Detail, "err", err)
		}
		return true
	}
	done, err := Mend(ctx, s.cfg.Server, s.cfg.Name, c.Ref(), settle, look)
	if err != nil && ctx.Err() == nil {
		log.Warn("no node is writable; the server was asked for leave to open one", "err", err)
	}
	if !done {
		s.tries.well(c.Name) // nothing was tried
	}
	return done
}
