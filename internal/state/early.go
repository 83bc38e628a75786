package state

import (
	"context"
	"database/sql"

	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/engine"
)

// tellEarly tells loudly that features of a new version are open or in use while old nodes may be there (C5): a step that says so goes on, and
// nobody may be looking. The same words are told once in a campaign of a cluster.
func (s *Store) tellEarly(ctx context.Context, tx *sql.Tx, h held, action, term int64, rec engine.StepRecord) error {
	for _, c := range rec.Checks {
		if c.Name != engine.EarlyFeatures || c.Verdict != check.Warn {
			continue
		}
		e := Event{Kind: "features-early", Loud: true, Campaign: h.campaign, Ref: h.ref, Stage: h.plan.Stage, Step: string(rec.Kind), Action: action, Term: term, Message: c.Detail}
		told := false
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) > 0 FROM events WHERE env = $1 AND cluster = $2 AND campaign = $3 AND kind = $4 AND message = $5`,
			e.Ref.Env, e.Ref.Name, e.Campaign, e.Kind, e.Message).Scan(&told); err != nil {
			return err
		}
		if told {
			continue
		}
		if err := s.event(ctx, tx, e); err != nil {
			return err
		}
	}
	return nil
}
