package state

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"
)

// EventCount is how many events there were of one kind.
type EventCount struct {
	Campaign, Env, Kind string
	N                   int64
}

// EventCounts counts the events behind a number, by campaign, environment and kind, and answers the number of the last that was counted.
func (s *Store) EventCounts(ctx context.Context, after int64) (counts []EventCount, last int64, err error) {
	err = s.view(ctx, func(tx *sql.Tx) error {
		if err := tx.QueryRowContext(ctx, `SELECT seq FROM event_counter WHERE id = 1`).Scan(&last); err != nil {
			return err
		}
		counts, err = rows(ctx, tx, func(r *sql.Rows) (c EventCount, err error) { return c, r.Scan(&c.Campaign, &c.Env, &c.Kind, &c.N) },
			`SELECT campaign, env, kind, COUNT(*) FROM events WHERE seq > $1 AND seq <= $2 GROUP BY campaign, env, kind`, after, last)
		return err
	})
	return counts, last, err
}

// ActionTimes is how long the ended actions of one sort took, from the moment they were queued.
type ActionTimes struct {
	Campaign, Env, Stage, Direction, Outcome string
	N                                        int64
	Sum                                      time.Duration
	Within                                   []int64 // how many took no longer than each of the bounds
}

// ActionTimes counts ended actions by the bounds.
func (s *Store) ActionTimes(ctx context.Context, bounds []time.Duration) (all []ActionTimes, err error) {
	var within strings.Builder
	for _, b := range bounds {
		fmt.Fprintf(&within, ", SUM(CASE WHEN ended_at - created_at <= %d THEN 1 ELSE 0 END)", b.Microseconds())
	}
	err = s.view(ctx, func(tx *sql.Tx) error {
		all, err = rows(ctx, tx, func(r *sql.Rows) (ActionTimes, error) {
			a := ActionTimes{Within: make([]int64, len(bounds))}
			var sum int64
			to := []any{&a.Campaign, &a.Env, &a.Stage, &a.Direction, &a.Outcome, &a.N, &sum}
			for i := range a.Within {
				to = append(to, &a.Within[i])
			}
			err := r.Scan(to...)
			a.Sum = time.Duration(sum) * time.Microsecond
			return a, err
		}, `SELECT campaign, env, stage, direction, outcome, COUNT(*), SUM(ended_at - created_at)`+within.String()+`
			FROM actions WHERE ended_at > 0 GROUP BY campaign, env, stage, direction, outcome`)
		return err
	})
	return all, err
}
