package sim

import (
	"container/heap"
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/windlass-db/windlass/internal/engine"
)

// event is something that happens at a time. Events of one time happen in the order in which they were made.
type event struct {
	at   time.Time
	seq  int64
	run  func()
	dead bool // cancelled
}

type queue []*event

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	if q[i].at.Equal(q[j].at) {
		return q[i].seq < q[j].seq
	}
	return q[i].at.Before(q[j].at)
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(*event)) }
func (q *queue) Pop() any {
	old := *q
	e := old[len(old)-1]
	*q = old[:len(old)-1]
	return e
}

// sched is the queue, the clock and the coroutines.
type sched struct {
	now    time.Time
	seq    int64
	q      queue
	rng    *rand.Rand
	events int64

	cur     *co
	parked  []*co  // those that wait for a context or a condition too
	probe   func() // after every event
	failure error  // the first; it ends the run
}

func newSched(seed uint64) *sched {
	return &sched{
		now: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC), rng: rand.New(rand.NewPCG(seed, 7)), probe: func() {},
	}
}

// proc is an operating-system process: its coroutines die and stand still together.
type proc struct {
	name   string
	dead   bool
	paused time.Time // it stands still until then
	cos    []*co
}

// co is a coroutine. Exactly one runs at a time, and only while the queue's loop waits for it.
type co struct {
	p      *proc
	name   string
	next   func() (struct{}, bool) // runs it until it parks or ends
	yield  func(struct{}) bool     // parks it
	gen    int                     // of its last park: an event that would wake an earlier one does nothing
	ctx    context.Context
	cond   func() bool
	asleep bool
	listed bool // among the parked
	ended  bool
}

// killed is the panic that ends a coroutine of a killed process. The engine makes an error of a handler's panic and would go
// on: it comes no further than its next call of the world, where it panics again.
type killed struct{}

// dieIfKilled ends the coroutine that runs, if its process was killed.
func (s *sched) dieIfKilled() {
	if s.cur != nil && s.cur.p.dead {
		panic(killed{})
	}
}

// fail notes the first thing that is wrong.
func (s *sched) fail(format string, args ...any) {
	if s.failure == nil {
		s.failure = fmt.Errorf("at %s: %w", s.now.Format("15:04:05.000"), fmt.Errorf(format, args...))
	}
}

// in makes an event after d.
func (s *sched) in(d time.Duration, run func()) *event {
	s.seq++
	e := &event{at: s.now.Add(max(d, 0)), seq: s.seq, run: run}
	heap.Push(&s.q, e)
	return e
}

// run lets events happen until the condition holds, or the time is over; it tells whether the condition held.
func (s *sched) run(limit time.Duration, done func() bool) bool {
	end := s.now.Add(limit)
	for s.failure == nil {
		if done() {
			return true
		}
		if len(s.q) == 0 || s.q[0].at.After(end) {
			return false
		}
		e := heap.Pop(&s.q).(*event)
		if e.dead {
			continue
		}
		s.now = e.at
		s.events++
		e.run()
		s.wake()
		s.probe()
	}
	return false
}

// wake resumes who waits for a context that has ended or a condition that has come true, in the order of parking.
func (s *sched) wake() {
	for i := 0; i < len(s.parked); i++ {
		c := s.parked[i]
		if !c.asleep || c.ctx == nil && c.cond == nil {
			s.parked = append(s.parked[:i], s.parked[i+1:]...)
			c.listed = false
			i--
			continue
		}
		if c.ctx != nil && c.ctx.Err() != nil || c.cond != nil && c.cond() {
			c.ctx, c.cond = nil, nil
			gen := c.gen
			s.in(0, func() { s.resume(c, gen) })
		}
	}
}

// spawn starts a coroutine of the process.
func (s *sched) spawn(p *proc, name string, f func()) *co {
	c := &co{p: p, name: p.name + "/" + name, asleep: true}
	p.cos = append(p.cos, c)
	c.next, _ = iter.Pull(func(yield func(struct{}) bool) {
		c.yield = yield
		defer func() {
			if r := recover(); r != nil && r != (killed{}) {
				s.fail("panic in %s: %v\n%s", c.name, r, debug.Stack())
			}
			c.ended = true
		}()
		if !c.p.dead {
			f()
		}
	})
	s.in(0, func() { s.resume(c, 0) })
	return c
}

// resume runs a coroutine until it parks or ends.
func (s *sched) resume(c *co, gen int) {
	if c.ended || !c.asleep || c.gen != gen {
		return
	}
	if !c.p.dead && s.now.Before(c.p.paused) {
		s.in(c.p.paused.Sub(s.now), func() { s.resume(c, gen) })
		return
	}
	was := s.cur
	s.cur, c.asleep = c, false
	c.next()
	s.cur = was
}

// park gives the thread back until somebody resumes the coroutine. One whose process was killed ends here.
func (s *sched) park(ctx context.Context, cond func() bool) {
	s.dieIfKilled()
	c := s.cur
	c.asleep, c.ctx, c.cond = true, ctx, cond
	if (ctx != nil || cond != nil) && !c.listed {
		s.parked, c.listed = append(s.parked, c), true
	}
	c.yield(struct{}{})
	c.ctx, c.cond = nil, nil
	s.dieIfKilled()
}

// sleep parks for d, or until the context ends.
func (s *sched) sleep(ctx context.Context, d time.Duration) error {
	if ctx != nil && ctx.Err() != nil {
		s.yieldNow()
		return context.Cause(ctx)
	}
	c := s.cur
	c.gen++
	gen := c.gen
	e := s.in(d, func() { s.resume(c, gen) })
	s.park(ctx, nil)
	c.gen++
	e.dead = true
	if ctx != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// noContext is given to sleep and until when no context is waited for.
var noContext context.Context

// yieldNow lets what is due now happen first.
func (s *sched) yieldNow() { _ = s.sleep(noContext, 0) }

// until parks until the condition holds, at most for d; it tells whether it did.
func (s *sched) until(ctx context.Context, d time.Duration, cond func() bool) bool {
	if cond() {
		return true
	}
	c := s.cur
	c.gen++
	gen := c.gen
	e := s.in(d, func() { s.resume(c, gen) })
	s.park(ctx, cond)
	c.gen++
	e.dead = true
	return cond()
}

// kill ends a process there and then. Its coroutines run no further; what they have sent stays sent.
func (s *sched) kill(p *proc) {
	p.dead = true
	for _, c := range p.cos {
		if c.asleep && !c.ended {
			gen := c.gen
			s.in(0, func() { s.resume(c, gen) })
		}
	}
	s.dieIfKilled()
}

// pause makes a process stand still, as SIGSTOP does.
func (s *sched) pause(p *proc, d time.Duration) {
	p.paused = s.now.Add(d)
	if s.cur != nil && s.cur.p == p {
		s.yieldNow()
	}
}

// drain ends every coroutine that is left, so that none leaks.
func (s *sched) drain(ps []*proc) {
	for _, p := range ps {
		p.dead = true
		for _, c := range p.cos {
			for !c.ended && c.asleep {
				s.resume(c, c.gen)
			}
		}
	}
}

// clock is the scheduler as the engine sees it.
type clock struct {
	s *sched
	p *proc
}

var _ engine.Clock = clock{}

// Now is the virtual time.
func (c clock) Now() time.Time { return c.s.now }

// Sleep parks the coroutine.
func (c clock) Sleep(ctx context.Context, d time.Duration) error { return c.s.sleep(ctx, d) }

// WithTimeout ends the context by an event.
func (c clock) WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	e := c.s.in(d, func() { cancel(context.DeadlineExceeded) })
	return ctx, func() { e.dead = true; cancel(context.Canceled) }
}

// Beside runs side in a coroutine of its own.
func (c clock) Beside(ctx context.Context, side func(context.Context), main func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := false
	c.s.spawn(c.p, "beside", func() { side(ctx); done = true })
	main()
	cancel()
	c.s.until(noContext, time.Hour, func() bool { return done })
}
