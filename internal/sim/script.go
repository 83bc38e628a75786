package sim

import (
	"context"
	"errors"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/strategy"
)

// Script makes things happen in a run that no fault makes happen.
type Script struct {
	// Hiccup makes the first look of every half of every step fail, and the wait after it long enough for the lease to be
	// given back.
	Hiccup bool
	// Refuse makes the look of a step, the n-th of its first action, say that no waiting will mend what it saw.
	Refuse     strategy.Kind
	RefuseLook int
	// Stuck makes every look of a step's half fail in the first action that meets it, until its deadline.
	Stuck     strategy.Kind
	StuckBack bool // its undo's, after a refusal or on the way back
	// Lag freezes replication for 20 s at the n-th demotion, from 1: the switch is called off and undone.
	Lag int
	// RollbackFrom takes the first cluster back when it has completed that stage, to the end of RollbackTo; then a person
	// resumes it.
	RollbackFrom, RollbackTo string
	// Stay ends the run when the rollback has ended, with the cluster rolled back.
	Stay bool
	// Hang lets the first comparison or replay, whichever step it names, hang while it holds replicas, until it is broken off.
	Hang strategy.Kind
	// Differs lets the new version answer a query otherwise, until a person rules that it does not count, some time after the verdict.
	Differs bool
	// KeepCapture lets the capture go on after the verdict.
	KeepCapture bool
	// AbortAt aborts the action when it comes to that edge, once.
	AbortAt string
	// AbortTold lets the supervisor stand there until its heartbeat has told it.
	AbortTold bool
}

type scriptState struct {
	looks      map[string]int
	stuck      int64 // the action that is stuck
	demotions  int
	hung       bool
	ruled      bool // a person is to rule on the difference, or has
	ruledAt    time.Time
	aborted    bool
	rolledBack bool
}

func (s Script) keepUnder() time.Duration {
	if s.Hiccup {
		return 200 * time.Millisecond
	}
	return 0
}

var errScript = errors.New("the script says so")

// scripted wraps the handlers with what the script makes happen.
func (r *runner) scripted(list []engine.Handler) []engine.Handler {
	r.script.looks = map[string]int{}
	for i := range list {
		h := &list[i]
		h.Forward.Observe = r.scriptedLook(h.Kind, false, h.Forward.Observe)
		if h.Back.Observe != nil {
			h.Back.Observe = r.scriptedLook(h.Kind, true, h.Back.Observe)
		}
		if h.Release.Observe != nil {
			h.Release.Observe = r.scriptedLook(h.Kind, true, h.Release.Observe)
		}
	}
	return list
}

// hanging is a step that hangs, once.
func (r *runner) hanging(k strategy.Kind) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		if r.cfg.Script.Hang != k || r.script.hung {
			return nil
		}
		r.script.hung = true
		return r.s.sleep(ctx, 24*time.Hour)
	}
}

// differs is so until a quarter of a minute after it was first seen: then a person has ruled on it.
func (r *runner) differs() bool {
	if !r.cfg.Script.Differs {
		return false
	}
	if !r.script.ruled {
		r.script.ruled, r.script.ruledAt = true, r.s.now.Add(15*time.Second)
	}
	return r.s.now.Before(r.script.ruledAt)
}

// demoted lags the elect, at the n-th demotion: one write that it does not have yet is on the old primary.
func (r *runner) demoted(elect *server) {
	if r.w.unproved(elect.c.ref) {
		r.s.fail("%s: a storage switch has begun without a verdict that passes", elect.c.ref)
	}
	if r.script.demotions++; r.script.demotions == r.cfg.Script.Lag {
		elect.frozen = r.s.now.Add(20 * time.Second)
		old := elect.c.servers[elect.source]
		old.append(-r.s.now.UnixNano())
	}
}

type look = func(context.Context, *engine.Call) (engine.Observation, error)

func (r *runner) scriptedLook(k strategy.Kind, back bool, f look) look {
	sc := r.cfg.Script
	key := string(k)
	if back {
		key += "/back"
	}
	return func(ctx context.Context, c *engine.Call) (engine.Observation, error) {
		r.script.looks[key]++
		n := r.script.looks[key]
		if sc.Hiccup && n == 1 {
			return engine.Observation{}, errScript
		}
		if k == sc.Stuck && back == sc.StuckBack && (r.script.stuck == 0 || r.script.stuck == c.ActionID) {
			r.script.stuck = c.ActionID
			return engine.Observation{}, errScript
		}
		if k == sc.Refuse && !back && n == sc.RefuseLook {
			return engine.Observation{}, &engine.Refusal{Err: errScript}
		}
		return f(ctx, c)
	}
}

// scriptSays does what the script wants of a person; it tells whether nothing else is to be done now.
func (r *runner) scriptSays(s campaign.Snapshot) bool {
	sc := r.cfg.Script
	p := s.Clusters[0]
	if sc.RollbackFrom == "" || p.Action != nil {
		return false
	}
	switch {
	case !r.script.rolledBack && p.Stage == sc.RollbackFrom:
		if err := r.ctl.Rollback(context.Background(), p.Ref, sc.RollbackTo); err != nil {
			return true // a launcher was faster; again in a second
		}
		r.script.rolledBack = true
		return true
	case r.script.rolledBack && sc.Stay && p.Stage == sc.RollbackTo && p.Attention != "":
		r.over = true
		return true
	}
	return false
}
