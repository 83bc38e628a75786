package notify

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/windlass-db/windlass/internal/state"
)

// sink sends to one receiver.
type sink struct {
	cfg    SinkConfig
	n      *Notifier
	format format
	client *http.Client
	log    *slog.Logger
	now    func() time.Time
	pace   time.Duration

	mu      sync.Mutex
	trouble *Trouble  // the last failure, if nothing was taken since
	last    time.Time // when a message was taken
}

// run sends while this server leads, until the context ends.
func (s *sink) run(ctx context.Context) {
	for ctx.Err() == nil {
		if s.n.lead.held() {
			s.session(ctx)
			s.forget()
		}
		sleep(ctx, s.n.times.poll)
	}
}

// queue is what a session remembers of the events behind the position.
type queue struct {
	pos    int64          // all up to here are taken, or not wanted
	stored int64          // the position that the state has
	taken  map[int64]bool // taken events behind pos: a message that was sent before an older one of another cluster
}

// session sends from the position that the state has, until the lead or the context ends, or the state fails.
func (s *sink) session(ctx context.Context) {
	pos, err := s.n.cfg.Store.SinkPosition(ctx, s.cfg.Name)
	if err != nil {
		s.stateFailed(ctx, err)
		return
	}
	q := &queue{pos: pos, stored: pos, taken: map[int64]bool{}}
	defer func() { s.persist(context.WithoutCancel(ctx), q, 1) }()
	for ctx.Err() == nil && s.n.lead.held() {
		waiting, newest, full, err := s.look(ctx, q)
		if err != nil {
			s.stateFailed(ctx, err)
			return
		}
		s.persist(ctx, q, s.n.times.persistSkipped)
		if wait := s.due(waiting, full); wait > 0 {
			s.await(ctx, newest, wait)
			continue
		}
		if len(waiting) == 0 { // a full page with nothing that is wanted
			continue
		}
		if err := s.deliver(ctx, q, waiting); err != nil {
			if ctx.Err() != nil {
				return
			}
			var r *refusal
			if !errors.As(err, &r) {
				s.stateFailed(ctx, err)
				return
			}
			sleep(ctx, s.fail(r))
		}
	}
}

// look reads the events behind the position, and moves it over those that nobody waits for.
func (s *sink) look(ctx context.Context, q *queue) (waiting []state.Event, newest int64, full bool, err error) {
	page, err := s.n.cfg.Store.Events(ctx, state.EventFilter{After: q.pos, Limit: s.n.times.readEvents})
	if err != nil {
		return nil, 0, false, err
	}
	newest = q.pos
	for _, e := range page {
		newest = e.Seq
		if s.cfg.passes(e) && !q.taken[e.Seq] {
			waiting = append(waiting, e)
		} else if len(waiting) == 0 {
			delete(q.taken, e.Seq)
			q.pos = e.Seq
		}
	}
	return waiting, newest, len(page) == s.n.times.readEvents, nil
}

// due is how long to wait before the events are sent: not at all if one is loud, or has waited for long enough.
func (s *sink) due(waiting []state.Event, full bool) time.Duration {
	if full {
		return 0
	}
	if len(waiting) == 0 {
		return s.n.times.ask // until there is one
	}
	for _, e := range waiting {
		if loud(e) {
			return 0
		}
	}
	return min(max(s.cfg.Group-s.now().Sub(waiting[0].At), 0), s.cfg.Group) // a clock that differs adds no more than that
}

// await waits for the next event, or so long.
func (s *sink) await(ctx context.Context, newest int64, most time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, min(most, s.n.times.ask)) // the lead is looked at
	defer cancel()
	if _, err := s.n.cfg.Store.Changed(ctx, newest); err != nil && ctx.Err() == nil {
		sleep(ctx, s.n.times.poll)
	}
}

// deliver sends the events. What was taken is remembered, also when a later message is refused.
func (s *sink) deliver(ctx context.Context, q *queue, waiting []state.Event) error {
	messages, err := s.format.messages(waiting)
	if err != nil {
		return &refusal{err: err, wrong: true}
	}
	left := waiting
	for _, m := range messages {
		if ctx.Err() != nil || !s.n.lead.held() {
			return nil
		}
		sent, err := s.send(ctx, m)
		for _, e := range sent {
			q.taken[e.Seq] = true
		}
		for len(left) > 0 && q.taken[left[0].Seq] {
			q.pos = left[0].Seq
			delete(q.taken, q.pos)
			left = left[1:]
		}
		s.persist(context.WithoutCancel(ctx), q, 1)
		if err != nil {
			return err
		}
		if !sleep(ctx, s.pace) {
			return nil
		}
	}
	return nil
}

// send sends one message, and answers which of its events were taken. One that is refused as malformed or too large is sent event by
// event in the plainest form.
func (s *sink) send(ctx context.Context, m message) ([]state.Event, error) {
	err := s.try(ctx, m)
	if err == nil {
		return m.events, nil
	}
	var r *refusal
	if !errors.As(err, &r) || !r.malformed || m.plain {
		return nil, err
	}
	s.log.Warn("notifications: a message was refused; its events are sent one by one", "events", len(m.events), "err", r.err)
	for i, e := range m.events {
		one, err := s.format.plain(e)
		if err == nil {
			err = s.try(ctx, one)
		}
		if err != nil {
			return m.events[:i], err
		}
		if i+1 < len(m.events) && !sleep(ctx, s.pace) {
			return m.events[:i+1], ctx.Err()
		}
	}
	return m.events, nil
}

// try makes one request. It may go on for a moment when the server ends, so that its answer is known.
func (s *sink) try(ctx context.Context, m message) error {
	req, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Timeout)
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		sleep(req, s.n.times.grace)
		cancel()
	})()
	err := s.post(req, m)
	if err != nil {
		return err
	}
	s.took(m)
	return nil
}

// persist writes the position if it is so far ahead of the state's. If that fails, the events are sent again after a restart.
func (s *sink) persist(ctx context.Context, q *queue, ahead int64) {
	if q.pos-q.stored < ahead {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := s.n.cfg.Store.SetSinkPosition(ctx, s.cfg.Name, q.pos); err != nil {
		s.log.Error("notifications: the position can't be kept; events may be repeated", "err", err)
		return
	}
	q.stored = q.pos
}

func (s *sink) stateFailed(ctx context.Context, err error) {
	if ctx.Err() == nil {
		s.log.Error("notifications: the state can't be read", "err", err)
	}
}
