package state

import (
	"context"
	"database/sql"
	"sync"
	"time"

	"github.com/windlass-db/windlass/internal/fleet"
)

// Event is one transition: the timeline, the audit, the notifications and the metrics are made of these rows.
type Event struct {
	Seq      int64            `json:"seq"` // grows without gaps, in the order of the transactions
	At       time.Time        `json:"at"`
	Kind     string           `json:"kind"`
	Loud     bool             `json:"loud,omitempty"` // needs a person's eyes
	Campaign string           `json:"campaign,omitempty"`
	Ref      fleet.ClusterRef `json:"ref,omitzero"`
	Stage    string           `json:"stage,omitempty"`
	Step     string           `json:"step,omitempty"`
	Action   int64            `json:"action,omitempty"`
	Term     int64            `json:"term,omitempty"`
	Who      string           `json:"who,omitempty"`
	Message  string           `json:"message"`
}

// event inserts a row in the caller's transaction. The counter's row is locked until it ends, so that nobody who reads
// from a number on ever misses one (trap 8).
func (s *Store) event(ctx context.Context, tx *sql.Tx, e Event) error {
	var seq int64
	if err := tx.QueryRowContext(ctx, `UPDATE event_counter SET seq = seq + 1 WHERE id = 1 RETURNING seq`).Scan(&seq); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO events (seq, at, kind, loud, campaign, env, cluster, stage, step, action_id, term, who, message)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
		seq, micros(s.Now()), e.Kind, b2i(e.Loud), e.Campaign, e.Ref.Env, e.Ref.Name, e.Stage, e.Step, e.Action, e.Term, e.Who, e.Message)
	return err
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// EventFilter selects events. Zero fields match everything.
type EventFilter struct {
	After, Before int64 // exclusive numbers; Before 0: no bound
	Campaign      string
	Ref           fleet.ClusterRef
	Limit         int  // 0: 1000
	Newest        bool // the newest first
}

// Events reads events.
func (s *Store) Events(ctx context.Context, f EventFilter) ([]Event, error) {
	if f.Limit <= 0 {
		f.Limit = 1000
	}
	order := "ASC"
	if f.Newest {
		order = "DESC"
	}
	var all []Event
	err := s.view(ctx, func(tx *sql.Tx) (err error) {
		all, err = rows(ctx, tx, scanEvent, `SELECT seq, at, kind, loud, campaign, env, cluster, stage, step, action_id, term, who, message FROM events
			WHERE seq > $1 AND (CAST($2 AS BIGINT) = 0 OR seq < $2) AND ($3 = '' OR campaign = $3) AND ($4 = '' OR env = $4) AND ($5 = '' OR cluster = $5) ORDER BY seq `+order+` LIMIT $6`,
			f.After, f.Before, f.Campaign, f.Ref.Env, f.Ref.Name, f.Limit)
		return err
	})
	return all, err
}

func scanEvent(r *sql.Rows) (Event, error) {
	var e Event
	var at int64
	err := r.Scan(&e.Seq, &at, &e.Kind, &e.Loud, &e.Campaign, &e.Ref.Env, &e.Ref.Name, &e.Stage, &e.Step, &e.Action, &e.Term, &e.Who, &e.Message)
	e.At = fromMicros(at)
	return e, err
}

// LastEvent is the newest event's number.
func (s *Store) LastEvent(ctx context.Context) (int64, error) {
	var seq int64
	err := s.read.QueryRowContext(ctx, `SELECT seq FROM event_counter WHERE id = 1`).Scan(&seq)
	return seq, err
}

// Changed returns the newest event's number as soon as it is not seq, or the context's error. Writes of other processes
// are seen within a second.
func (s *Store) Changed(ctx context.Context, seq int64) (int64, error) {
	for {
		wake := s.wake.wait()
		now, err := s.LastEvent(ctx)
		if err != nil || now != seq {
			return now, err
		}
		t := time.NewTimer(time.Second)
		select {
		case <-ctx.Done():
			t.Stop()
			return seq, ctx.Err()
		case <-wake:
			t.Stop()
		case <-t.C:
		}
	}
}

// notifier wakes those who wait for the next write of this process.
type notifier struct {
	mu sync.Mutex
	ch chan struct{}
}

func newNotifier() *notifier { return &notifier{ch: make(chan struct{})} }

func (n *notifier) wait() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.ch
}

func (n *notifier) tell() {
	n.mu.Lock()
	defer n.mu.Unlock()
	close(n.ch)
	n.ch = make(chan struct{})
}

// SinkPosition is the number of the last event that a sink has delivered.
func (s *Store) SinkPosition(ctx context.Context, name string) (int64, error) {
	var seq int64
	err := s.read.QueryRowContext(ctx, `SELECT COALESCE(MAX(seq), 0) FROM sinks WHERE name = $1`, name).Scan(&seq)
	return seq, err
}

// SetSinkPosition moves a sink on; it never moves back.
func (s *Store) SetSinkPosition(ctx context.Context, name string, seq int64) error {
	return s.update(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO sinks (name, seq) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET seq = excluded.seq WHERE excluded.seq > sinks.seq`, name, seq)
		return err
	})
}
