package state

import (
	"context"
	"database/sql"
	"time"
)

// StageDurations is how long each stage of the strategy took on average, over the actions that went forward and were completed,
// in all campaigns. A stage that never was is not in it.
func (s *Store) StageDurations(ctx context.Context, strategy string) (map[string]time.Duration, error) {
	type sum struct {
		campaign, stage string
		n, micros       int64
	}
	total := map[string]sum{}
	err := s.view(ctx, func(tx *sql.Tx) error {
		sums, err := rows(ctx, tx, func(r *sql.Rows) (v sum, err error) { return v, r.Scan(&v.campaign, &v.stage, &v.n, &v.micros) },
			`SELECT campaign, stage, COUNT(*), CAST(SUM(ended_at - created_at) AS BIGINT) FROM actions WHERE direction = 'forward' AND outcome = 'completed' AND ended_at > 0 GROUP BY campaign, stage`)
		if err != nil {
			return err
		}
		for _, v := range sums {
			c, _, err := readCampaign(ctx, tx, v.campaign)
			if err != nil {
				return err
			}
			if c.Strategy == strategy {
				t := total[v.stage]
				t.n, t.micros = t.n+v.n, t.micros+v.micros
				total[v.stage] = t
			}
		}
		return nil
	})
	out := make(map[string]time.Duration, len(total))
	for stage, t := range total {
		out[stage] = time.Duration(t.micros/t.n) * time.Microsecond
	}
	return out, err
}
