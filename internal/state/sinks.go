package state

import (
	"context"
	"database/sql"
	"fmt"
)

// StartSink answers the position of a sink; one that was never seen before begins behind the newest event: what happened before
// it was there is told by the timeline.
func (s *Store) StartSink(ctx context.Context, name string) (int64, error) {
	var seq int64
	err := s.update(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO sinks (name, seq) SELECT CAST($1 AS TEXT), seq FROM event_counter WHERE id = 1 ON CONFLICT (name) DO NOTHING`, name); err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, `SELECT seq FROM sinks WHERE name = $1`, name).Scan(&seq)
	})
	if err != nil {
		return 0, fmt.Errorf("start the sink %s: %w", name, err)
	}
	return seq, nil
}
