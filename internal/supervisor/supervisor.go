// Package supervisor is the agent of one environment: it pulls actions from the server, runs them with the engine, and tells
// the server what it sees of every cluster. A cluster that it sees without a primary, because the primary was restarted and booted
// read-only, it puts right, whether an action has the cluster or not.
//
// Several supervisors of one environment share the work; leases keep them apart. When the server is away a supervisor waits,
// longer and longer up to a bound, and asks again; nothing that it does or leaves undone then touches traffic. Its end is in
// good order: acts under way are cancelled, what they came to is written, leases are given back.
package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

// Server is what the supervisor asks of the server; *api.Agent gives it.
type Server interface {
	engine.Journal
	MendServer
	// Lease asks for work; nil if there is none.
	Lease(ctx context.Context, holder string, kinds []engine.KindVersion) (*engine.Assignment, error)
	Watched(ctx context.Context) ([]api.Watched, error)
	Observe(ctx context.Context, cluster string, o fleet.Observation) error
}

// Observer looks at one cluster and changes nothing. What could not be read is unknown in what it returns.
type Observer interface {
	Observe(ctx context.Context, w api.Watched) fleet.Observation
}

// Config is a supervisor.
type Config struct {
	Name     string // unique in the environment
	Env      string
	Server   Server
	Handlers engine.Handlers
	Observer Observer
	Log      *slog.Logger
	Now      func() time.Time

	// Covers tells whether it can look at a cluster; nil: at all of its environment. One that it can't look at is another supervisor's to tell of.
	Covers func(c fleet.Cluster) bool

	Slots      int           // actions at once; 0: 4
	Replays    int           // beside them, actions that replay queries, which take days; 0: 16
	Poll       time.Duration // between two questions for work; 0: 1 s
	WatchEvery time.Duration // between two looks at a cluster; 0: 10 s
	// NoReopen leaves a restarted primary to somebody else: a failover tool that promotes another node in the same moment would make two.
	NoReopen bool
	// LookTimeout bounds one look; what has not answered by then is unknown. 0: 20 s
	LookTimeout time.Duration
	Engine      engine.Options
}

// Supervisor runs one environment's actions.
type Supervisor struct {
	cfg    Config
	leases leases
	tries  tries

	uncovered sync.Map // names of clusters that it can't look at
}

// New makes a supervisor. Run starts it.
func New(cfg Config) *Supervisor {
	if cfg.Slots == 0 {
		cfg.Slots = 4
	}
	if cfg.Replays == 0 {
		cfg.Replays = 16
	}
	if cfg.Poll == 0 {
		cfg.Poll = time.Second
	}
	if cfg.WatchEvery == 0 {
		cfg.WatchEvery = 10 * time.Second
	}
	if cfg.LookTimeout == 0 {
		cfg.LookTimeout = 20 * time.Second
	}
	return &Supervisor{cfg: cfg}
}

// Run works until the context ends, then gives back what it holds.
func (s *Supervisor) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	others, replays := apart(s.cfg.Handlers.Kinds())
	for slot := range s.cfg.Slots {
		g.Go(func() error { s.work(ctx, slot, others); return nil })
	}
	if len(replays) > 0 {
		g.Go(func() error { s.workBeside(ctx, replays); return nil })
	}
	g.Go(func() error { s.watch(ctx); return nil })
	return g.Wait()
}

// apart divides the kinds of steps into those of a replay, which takes days and has slots of its own, and all others: a slot is given what it
// asks for, and a switch never waits for a replay to end.
func apart(kinds []engine.KindVersion) (others, replays []engine.KindVersion) {
	stage, _ := strategy.BlueGreen().Stage(strategy.StageReplay)
	for _, k := range kinds {
		if slices.ContainsFunc(stage.Steps, func(s strategy.Step) bool { return s.Kind == k.Kind }) {
			replays = append(replays, k)
		} else {
			others = append(others, k)
		}
	}
	return others, replays
}

// mostBackoff bounds the wait while the server is away.
const mostBackoff = 30 * time.Second

// work is one slot: lease, run, again.
func (s *Supervisor) work(ctx context.Context, slot int, kinds []engine.KindVersion) {
	pause := s.cfg.Poll
	for ctx.Err() == nil {
		busy, err := s.once(ctx, kinds)
		switch {
		case err != nil && ctx.Err() == nil:
			s.cfg.Log.Warn("no work could be had or done", "env", s.cfg.Env, "slot", slot, "err", err)
			pause = min(2*pause, mostBackoff)
		case busy:
			pause = s.cfg.Poll
			continue
		default:
			pause = s.cfg.Poll
		}
		if sleep(ctx, pause) != nil {
			return
		}
	}
}

// workBeside runs up to Config.Replays actions of those kinds at once. One asks for all of them: what takes days is not asked for by sixteen each second.
func (s *Supervisor) workBeside(ctx context.Context, kinds []engine.KindVersion) {
	var running sync.WaitGroup
	defer running.Wait()
	slots := make(chan struct{}, s.cfg.Replays)
	pause := s.cfg.Poll
	for {
		select {
		case <-ctx.Done():
			return
		case slots <- struct{}{}: // before it asks: what is leased is run at once
		}
		a, asked, err := s.lease(ctx, kinds)
		if a != nil {
			pause = s.cfg.Poll
			running.Go(func() {
				defer func() { <-slots }()
				if err := s.run(ctx, a, asked); err != nil && ctx.Err() == nil {
					s.cfg.Log.Warn("a replay was not done", "env", s.cfg.Env, "err", err)
				}
			})
			continue
		}
		<-slots
		switch {
		case err != nil && ctx.Err() == nil:
			s.cfg.Log.Warn("no replay could be had", "env", s.cfg.Env, "err", err)
			pause = min(2*pause, mostBackoff)
		default:
			pause = s.cfg.Poll
		}
		if sleep(ctx, pause) != nil {
			return
		}
	}
}

// once leases an action and runs it as far as it goes.
func (s *Supervisor) once(ctx context.Context, kinds []engine.KindVersion) (bool, error) {
	a, asked, err := s.lease(ctx, kinds)
	if err != nil || a == nil {
		return false, err
	}
	if err := s.run(ctx, a, asked); err != nil {
		return false, err
	}
	return true, nil
}

func (s *Supervisor) clock() engine.Clock {
	if s.cfg.Engine.Clock != nil {
		return s.cfg.Engine.Clock
	}
	return engine.SystemClock{}
}

// lease asks for an action; nil if there is none. The lease counts from before the request (trap 6).
func (s *Supervisor) lease(ctx context.Context, kinds []engine.KindVersion) (*engine.Assignment, time.Time, error) {
	asked := s.clock().Now()
	request, cancel := lingering(ctx, 30*time.Second)
	defer cancel()
	a, err := s.cfg.Server.Lease(request, s.cfg.Name, kinds)
	return a, asked, err
}

func (s *Supervisor) run(ctx context.Context, a *engine.Assignment, asked time.Time) error {
	o := s.cfg.Engine
	o.LeasedAt, o.Log = asked, s.cfg.Log
	s.leases.add(*a)
	defer s.leases.remove(*a)
	_, err := engine.Run(ctx, s.cfg.Server, s.cfg.Handlers, *a, o)
	if errors.Is(err, engine.ErrFenced) || errors.Is(err, engine.ErrLeaseLost) {
		s.cfg.Log.Warn("somebody else may have the action now", "env", s.cfg.Env, "cluster", a.Cluster.Name, "action", a.ActionID, "term", a.Term, "err", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("action %d of %s: %w", a.ActionID, a.Cluster.Ref(), err)
	}
	return nil
}

// watch looks at every cluster of the environment, a few at a time, and tells the server.
func (s *Supervisor) watch(ctx context.Context) {
	for ctx.Err() == nil {
		if err := s.look(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Log.Warn("clusters were not observed", "env", s.cfg.Env, "err", err)
		}
		if sleep(ctx, s.cfg.WatchEvery) != nil {
			return
		}
	}
}

func (s *Supervisor) look(ctx context.Context) error {
	request, cancel := context.WithTimeout(ctx, 30*time.Second)
	all, err := s.cfg.Server.Watched(request)
	cancel()
	if err != nil {
		return err
	}
	const atOnce = 8
	var mu sync.Mutex
	var errs []error
	g := new(errgroup.Group)
	g.SetLimit(atOnce)
	for _, w := range all {
		if !s.covers(w.Cluster) {
			continue
		}
		g.Go(func() error {
			o := s.observe(ctx, w)
			if o.ReadOnly() && s.mend(ctx, w.Cluster) {
				o = s.observe(ctx, w)
			}
			if shut, known := o.Shut(); known && !shut {
				s.tries.well(w.Cluster.Name)
			}
			if ctx.Err() != nil {
				return nil // a look that was cut off says nothing
			}
			// A time of its own: a look that hung until its end is the very one to be told of.
			tell, cancel := context.WithTimeout(ctx, 30*time.Second)
			defer cancel()
			if err := s.cfg.Server.Observe(tell, w.Cluster.Name, o); err != nil {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
			}
			return nil
		})
	}
	return errors.Join(g.Wait(), errors.Join(errs...))
}

// covers tells whether the supervisor can look at the cluster, and says once that it can't.
func (s *Supervisor) covers(c fleet.Cluster) bool {
	if s.cfg.Covers == nil || s.cfg.Covers(c) {
		return true
	}
	if _, told := s.uncovered.LoadOrStore(c.Name, true); !told {
		s.cfg.Log.Warn("this supervisor's file says nothing of the cluster's product: another supervisor has to look at it", "env", s.cfg.Env, "cluster", c.Name, "product", c.Product)
	}
	return false
}

// observe looks at one cluster within its time. An observer that panics has seen nothing: all is unknown.
func (s *Supervisor) observe(ctx context.Context, w api.Watched) (o fleet.Observation) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.LookTimeout)
	defer cancel()
	began := s.cfg.Now()
	defer func() {
		if p := recover(); p != nil {
			s.cfg.Log.Error("panic in a look", "env", s.cfg.Env, "cluster", w.Cluster.Name, "err", fmt.Sprint(p), "stack", string(debug.Stack()))
			o = unseen(w.Cluster, began, fmt.Errorf("panic in a look: %v", p))
		}
	}()
	return s.cfg.Observer.Observe(ctx, w)
}

// lingering is a context with a time limit that outlives its parent by some seconds: an answer that is on its way when the
// supervisor is told to end may be a lease, which has to be given back.
func lingering(parent context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(parent), limit)
	stop := context.AfterFunc(parent, func() {
		t := time.NewTimer(3 * time.Second)
		defer t.Stop()
		select {
		case <-t.C:
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, func() { stop(); cancel() }
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
