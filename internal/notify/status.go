package notify

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/windlass-db/windlass/internal/state"
)

// Trouble is why a sink does not deliver.
type Trouble struct {
	Since time.Time `json:"since,omitzero"` // of the first failure in a row; zero if nothing was tried yet
	Error string    `json:"error"`          // without a secret
	Wrong bool      `json:"wrong"`          // a mistake of the configuration: a person has to mend it
	Tries int       `json:"tries"`          // in a row
	Next  time.Time `json:"next,omitzero"`  // when it is tried again
}

// Status is how a sink stands.
type Status struct {
	Name      string    `json:"name"`
	Type      string    `json:"type"`
	Position  int64     `json:"position"`           // number of the last event that was taken or not wanted
	Pending   int       `json:"pending"`            // events that wait, as far as was counted
	More      bool      `json:"more,omitempty"`     // there are more than were counted
	Oldest    time.Time `json:"oldest,omitzero"`    // when the oldest of them happened
	Behind    bool      `json:"behind"`             // what waits should have been delivered by now
	Delivered time.Time `json:"delivered,omitzero"` // when this server delivered last
	Trouble   *Trouble  `json:"trouble,omitempty"`  // of this server's tries
}

// behindAfter is how long an event may wait, beside the sink's time of gathering, before the sink is called behind.
const behindAfter = 2 * time.Minute

// countMost bounds how many events are read to count those that wait.
const countMost = 2000

// Status reads how the sinks stand. Positions are the state's, so they are right on a server that does not lead, too; trouble and the
// last delivery are this server's own.
func (n *Notifier) Status(ctx context.Context) ([]Status, error) {
	out := make([]Status, len(n.sinks))
	for i, s := range n.sinks {
		var err error
		if out[i], err = s.status(ctx); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Leads tells whether this server is the one that sends.
func (n *Notifier) Leads() bool { return n.lead.held() }

func (s *sink) status(ctx context.Context) (Status, error) {
	st := Status{Name: s.cfg.Name, Type: s.cfg.Type}
	var err error
	if st.Position, err = s.n.cfg.Store.SinkPosition(ctx, s.cfg.Name); err != nil {
		return st, err
	}
	events, err := s.n.cfg.Store.Events(ctx, state.EventFilter{After: st.Position, Limit: countMost})
	if err != nil {
		return st, err
	}
	for _, e := range events {
		if s.cfg.passes(e) {
			if st.Pending == 0 {
				st.Oldest = e.At
			}
			st.Pending++
		}
	}
	st.More = len(events) == countMost
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Delivered = s.last
	if s.trouble != nil {
		t := *s.trouble
		st.Trouble = &t
	} else if _, err := s.cfg.endpoint(); err != nil { // told before the first event that would need it, and on a server that does not lead
		st.Trouble = &Trouble{Error: err.Error(), Wrong: true}
	}
	st.Behind = st.Pending > 0 && s.now().Sub(st.Oldest) > s.cfg.Group+behindAfter || st.Trouble != nil && st.Trouble.Wrong
	return st, nil
}

// fail keeps a failure, says it, and answers how long to wait. Said is the first of a row, each that is of another kind, then each
// tenth; a mistake of the configuration each time.
func (s *sink) fail(r *refusal) time.Duration {
	now := s.now()
	s.mu.Lock()
	t := Trouble{Since: now, Error: r.Error(), Wrong: r.wrong, Tries: 1}
	said := false
	if s.trouble != nil {
		t.Since, t.Tries = s.trouble.Since, s.trouble.Tries+1
		said = s.trouble.Wrong == r.wrong
	}
	wait := s.backoff(r, t.Tries)
	t.Next = now.Add(wait)
	s.trouble = &t
	s.mu.Unlock()
	switch {
	case r.wrong:
		s.n.count.failures.WithLabelValues(s.cfg.Name, misconfigured).Inc()
		s.log.Error("notifications: the sink is configured wrongly; nothing is lost, and it is tried again", "err", r.err, "next", t.Next, "since", t.Since)
		return wait
	case !said || t.Tries%10 == 0:
		s.log.Warn("notifications: the receiver can't be reached; nothing is lost, and it is tried again", "err", r.err, "next", t.Next, "tries", t.Tries, "since", t.Since)
	}
	s.n.count.failures.WithLabelValues(s.cfg.Name, temporary).Inc()
	return wait
}

// backoff is how long to wait after so many failures in a row.
func (s *sink) backoff(r *refusal, tries int) time.Duration {
	t := s.n.times
	if r.after > 0 {
		return r.after
	}
	d := t.slow
	if !r.wrong {
		d = t.most
		if tries < 30 {
			d = min(t.first<<(tries-1), t.most)
		}
	}
	return d/2 + rand.N(d/2+1)
}

// took keeps that a message was taken.
func (s *sink) took(m message) {
	s.mu.Lock()
	before := s.trouble
	s.trouble, s.last = nil, s.now()
	s.mu.Unlock()
	s.n.count.messages.WithLabelValues(s.cfg.Name).Inc()
	s.n.count.events.WithLabelValues(s.cfg.Name).Add(float64(len(m.events)))
	if before != nil {
		s.log.Info("notifications: the receiver takes messages again", "since", before.Since, "tries", before.Tries)
	}
}

// forget leaves behind what this server's tries came to: it does not lead any more.
func (s *sink) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trouble = nil
}
