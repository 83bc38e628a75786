package gateway

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/windlass-db/windlass/internal/gateway/adminapi"
)

// switcher is the state of a switch. The phases are those of adminapi; only one switch is known at a time.
type switcher struct {
	gw *Gateway

	act  sync.Mutex // one admin call that changes something at a time, but for a cancel
	mu   sync.Mutex
	term int64 // the highest seen; on disk
	// of the present switch:
	phase   adminapi.Phase
	id      string
	of      int64 // its term
	target  *server
	closed  time.Time // when the gate was closed
	expires time.Time
	timer   *time.Timer
	over    chan struct{} // closed when the present hold ends
	left    int           // sessions that keep the hold from being complete
	linger  int
	ready   int
	last    *adminapi.LastHold

	routing sync.Mutex // held while routes are made
	holding bool       // under routing

	draining atomic.Pointer[drain] // while a hold is on
	waits    atomic.Int64          // commands that the hold made wait
	longest  atomic.Int64          // nanoseconds
}

// drain tells a hold that a session may have become quiet.
type drain struct{ kicked chan struct{} }

func (d *drain) kick(*session) {
	select {
	case d.kicked <- struct{}{}:
	default:
	}
}

func newSwitcher(g *Gateway) *switcher { return &switcher{gw: g, phase: adminapi.PhaseIdle} }

// waited counts a command that was held.
func (w *switcher) waited(d time.Duration) {
	w.waits.Add(1)
	for {
		old := w.longest.Load()
		if int64(d) <= old || w.longest.CompareAndSwap(old, int64(d)) {
			return
		}
	}
}

// admit refuses a lower term and remembers a higher one, on disk before anything is done under it. mu is held.
func (w *switcher) admit(term int64) error {
	if term < 1 {
		return fmt.Errorf("%w: the term is missing", adminapi.ErrBadRequest)
	}
	if term < w.term {
		return &adminapi.TermError{Given: term, Seen: w.term}
	}
	if term > w.term {
		if err := w.gw.persist(term); err != nil {
			return fmt.Errorf("%w: %w", adminapi.ErrInternal, err)
		}
		w.term = term
		w.gw.log.Info("term raised", "term", term)
	}
	return nil
}

// begin admits an act of a switch. It may take over the present switch by a higher or equal term and the same id;
// another switch's hold is ended by a higher term. mu is held.
func (w *switcher) begin(id string, term int64) (superseded bool, err error) {
	if id == "" {
		return false, fmt.Errorf("%w: the switch's id is missing", adminapi.ErrBadRequest)
	}
	if err := w.admit(term); err != nil {
		return false, err
	}
	if w.phase == adminapi.PhaseIdle || w.id == id {
		return false, nil
	}
	if term > w.of {
		return true, nil
	}
	return false, fmt.Errorf("%w: %s, term %d", adminapi.ErrBusy, w.id, w.of)
}

// status tells where the switch is. mu is held.
func (w *switcher) status() adminapi.SwitchStatus {
	st := adminapi.SwitchStatus{Phase: w.phase, Last: w.last, Waiting: int(w.gw.writer.waiting.Load())}
	if w.phase == adminapi.PhaseIdle {
		return st
	}
	st.Switch, st.Term, st.Ready, st.InFlight, st.Lingering = w.id, w.of, w.ready, w.left, w.linger
	if w.target != nil {
		st.Target = w.target.address
	}
	if !w.closed.IsZero() {
		st.HeldMS = time.Since(w.closed).Milliseconds()
		st.TTLLeftMS = max(0, time.Until(w.expires).Milliseconds())
	}
	return st
}

// Status tells where the switch is.
func (w *switcher) Status() adminapi.SwitchStatus {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.status()
}

// Fence raises the term.
func (w *switcher) Fence(term int64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.admit(term)
}

// Hold closes the gate, waits until nothing is in flight, and leaves it closed until a release, a cancel or the TTL.
func (w *switcher) Hold(ctx context.Context, req adminapi.HoldRequest) (adminapi.SwitchStatus, error) {
	ttl, drainFor := time.Duration(req.TTLMS)*time.Millisecond, time.Duration(req.DrainMS)*time.Millisecond
	if ttl <= 0 || drainFor <= 0 || drainFor >= ttl {
		return adminapi.SwitchStatus{}, fmt.Errorf("%w: ttl_ms has to be more than drain_ms, and both more than 0", adminapi.ErrBadRequest)
	}
	onOpen := req.OnOpen
	if onOpen == "" {
		onOpen = w.gw.cfg.OnOpen
	}
	if onOpen != adminapi.CallOff && onOpen != adminapi.Fail {
		return adminapi.SwitchStatus{}, fmt.Errorf("%w: on_open is %q", adminapi.ErrBadRequest, onOpen)
	}
	arrived := time.Now()
	w.act.Lock()
	defer w.act.Unlock()
	w.mu.Lock()
	superseded, err := w.begin(req.Switch, req.Term)
	if err != nil {
		w.mu.Unlock()
		return adminapi.SwitchStatus{}, err
	}
	if superseded {
		w.finish("superseded")
	}
	w.of = req.Term
	if w.phase == adminapi.PhaseHeld { // again, perhaps because the answer was lost: only the TTL is new
		w.arm(arrived.Add(ttl))
		defer w.mu.Unlock()
		return w.status(), nil
	}
	w.id, w.phase, w.closed = req.Switch, adminapi.PhaseDraining, arrived
	w.over = make(chan struct{})
	over := w.over
	d := &drain{kicked: make(chan struct{}, 1)}
	w.draining.Store(d)
	w.waits.Store(0)
	w.longest.Store(0)
	w.gw.counts.holds.Add(1)
	w.arm(arrived.Add(ttl))
	w.gate(true)
	target := w.target
	w.mu.Unlock()
	w.gw.log.Info("holding", "switch", req.Switch, "term", req.Term, "ttl", ttl.String(), "drain", drainFor.String())

	blockers, err := w.drain(ctx, d, over, arrived.Add(drainFor), onOpen)
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-over:
		return w.status(), fmt.Errorf("%w: the hold ended while it was draining", adminapi.ErrNotHeld)
	default:
	}
	if err != nil {
		w.finish("blocked")
		return w.status(), err
	}
	if len(blockers) > 0 {
		w.finish("blocked")
		return w.status(), &adminapi.BlockedError{Blockers: blockers}
	}
	w.phase, w.left = adminapi.PhaseHeld, 0
	w.gw.log.Info("held", "switch", w.id, "term", w.of, "after", time.Since(arrived).String())
	if target != nil {
		go w.gw.follow(target, over)
	}
	go w.gw.warm()
	return w.status(), nil
}

// warm asks every server for its role, so that a release finds connections that are open.
func (g *Gateway) warm() {
	ctx, cancel := context.WithTimeout(context.Background(), g.cfg.Timeouts.Observe.D())
	defer cancel()
	g.mon.rolesNow(ctx, g.inspect)
}

// arm sets the end of the hold. mu is held.
func (w *switcher) arm(at time.Time) {
	if w.timer != nil {
		w.timer.Stop()
	}
	w.expires = at
	over := w.over
	w.timer = time.AfterFunc(time.Until(at), func() { w.expire(over) })
}

// expire ends a hold whose TTL is over: the servers are asked, and decide (trap 10).
func (w *switcher) expire(over chan struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), w.gw.cfg.Timeouts.Observe.D())
	defer cancel()
	w.gw.mon.pollNow(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over != over || w.closed.IsZero() || time.Now().Before(w.expires) {
		return
	}
	w.gw.counts.holdsExpired.Add(1)
	w.gw.log.Warn("hold expired: the servers' own state decides", "switch", w.id, "term", w.of)
	w.finish("expired")
}

// gate closes or opens the writer's gate. mu is held.
func (w *switcher) gate(closed bool) {
	w.routing.Lock()
	w.holding = closed
	w.routing.Unlock()
	w.gw.reroute()
}

// finish ends the present switch and opens the gate, if it is closed, to where the servers say. mu is held.
func (w *switcher) finish(outcome string) {
	if w.phase == adminapi.PhaseIdle {
		return
	}
	if !w.closed.IsZero() {
		w.timer.Stop()
		close(w.over)
		w.last = &adminapi.LastHold{Switch: w.id, Term: w.of, Outcome: outcome, HeldMS: time.Since(w.closed).Milliseconds(), At: time.Now()}
	}
	for _, s := range w.gw.writerSessions() {
		if r := s.place.Load(); w.target == nil || outcome != "released" || r.server == w.target.address {
			s.linger.Store(false)
		}
	}
	id, term, was := w.id, w.of, w.phase
	w.phase, w.id, w.target, w.closed, w.left, w.linger, w.ready = adminapi.PhaseIdle, "", nil, time.Time{}, 0, 0, 0
	w.draining.Store(nil)
	w.gate(false)
	w.gw.log.Info("switch ended", "switch", id, "term", term, "outcome", outcome, "phase", was, "route", w.gw.writer.route.Load().state)
	go w.gw.settle()
}

// Release opens the gate to the new primary, if the servers agree that it is the one.
func (w *switcher) Release(ctx context.Context, req adminapi.ReleaseRequest) (adminapi.ReleaseReply, error) {
	w.mu.Lock()
	err := w.same(req.Switch, req.Term)
	if err == nil && w.closed.IsZero() {
		err = fmt.Errorf("%w: it is %s", adminapi.ErrNotHeld, w.phase)
	}
	w.mu.Unlock()
	if err != nil {
		return adminapi.ReleaseReply{}, err
	}
	srv := w.gw.findServer(req.Primary)
	if srv == nil {
		return adminapi.ReleaseReply{}, fmt.Errorf("%w: %s", adminapi.ErrUnknownServer, req.Primary)
	}
	ctx, cancel := context.WithTimeout(ctx, w.gw.cfg.Timeouts.Observe.D())
	defer cancel()
	asked := time.Now()
	w.gw.mon.rolesNow(ctx, w.gw.inspect)
	all, _ := w.gw.serverList()
	r := observedRoute(all, time.Now(), w.gw.maxAge())
	if o := srv.seen.Load(); r.server != srv || o.good.Before(asked) {
		return adminapi.ReleaseReply{}, fmt.Errorf("%w: %s: %s", adminapi.ErrNotWritable, req.Primary, r.explain(time.Since(asked)))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.same(req.Switch, req.Term); err != nil {
		return adminapi.ReleaseReply{}, err
	}
	if w.closed.IsZero() {
		return adminapi.ReleaseReply{}, fmt.Errorf("%w: the hold ended meanwhile", adminapi.ErrNotHeld)
	}
	held := time.Since(w.closed)
	w.finish("released")
	return adminapi.ReleaseReply{Status: w.status(), HeldMS: held.Milliseconds(), LongestWaitMS: max(time.Duration(w.longest.Load()), 0).Milliseconds(), Waited: int(w.waits.Load() + w.gw.writer.waiting.Load())}, nil
}

// same admits an act on the present switch. mu is held.
func (w *switcher) same(id string, term int64) error {
	if err := w.admit(term); err != nil {
		return err
	}
	if w.phase == adminapi.PhaseIdle || w.id != id {
		return fmt.Errorf("%w %q", adminapi.ErrNotHeld, id)
	}
	w.of = term
	return nil
}

// Cancel ends a switch. Cancelling what is not there changes nothing.
func (w *switcher) Cancel(ctx context.Context, req adminapi.CancelRequest) (adminapi.SwitchStatus, error) {
	w.mu.Lock()
	if err := w.admit(req.Term); err != nil {
		w.mu.Unlock()
		return adminapi.SwitchStatus{}, err
	}
	mine := w.phase != adminapi.PhaseIdle && w.id == req.Switch
	held := mine && !w.closed.IsZero()
	if !mine {
		defer w.mu.Unlock()
		return w.status(), nil
	}
	over := w.over
	w.mu.Unlock()
	if held {
		ctx, cancel := context.WithTimeout(ctx, w.gw.cfg.Timeouts.Observe.D())
		defer cancel()
		w.gw.mon.pollNow(ctx)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.phase != adminapi.PhaseIdle && w.id == req.Switch && w.over == over {
		w.finish("cancelled")
	}
	return w.status(), nil
}
