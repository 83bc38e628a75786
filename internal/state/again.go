package state

import (
	"context"
	"database/sql"
	"time"

	"github.com/windlass-db/windlass/internal/engine"
)

// againAtLeast is how soon an undo that comes to the same words again is an event again.
const againAtLeast = time.Minute

// toldOfUndo tells whether a row of an undo says what the events have said already: each try writes that it begins, and then what keeps it from
// its end. The same words are an event again after as long as they have been said for by then: after 1, 2, 4, 8 minutes, so that it is not
// forgotten, and what else has happened is still to be found. How often it was tried is in the supervisor's log.
func (s *Store) toldOfUndo(ctx context.Context, tx *sql.Tx, h held, action int64, old, rec engine.StepRecord) (bool, error) {
	switch {
	case rec.Phase == engine.Undoing && old.Phase == engine.Waiting && !old.Unbegun && !old.Held:
		var begun int
		err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM events WHERE env = $1 AND cluster = $2 AND action_id = $3 AND step = $4 AND kind = $5`,
			h.ref.Env, h.ref.Name, action, string(rec.Kind), "step-"+string(engine.Undoing)).Scan(&begun)
		return begun > 0, err
	case rec.Phase == engine.Waiting && old.Phase == engine.Undoing:
		return s.toldOf(ctx, tx, h, action, rec, 0)
	}
	return false, nil
}

// toldOfHold tells whether a person was told, aloud, of what a step waits for that is tried again and again, as seldom as of an undo.
func (s *Store) toldOfHold(ctx context.Context, tx *sql.Tx, h held, action int64, rec engine.StepRecord) (bool, error) {
	return s.toldOf(ctx, tx, h, action, rec, 1)
}

// toldOf tells whether the events have said these words within as long as they have been said for by then; loud counts those that were at least so.
func (s *Store) toldOf(ctx context.Context, tx *sql.Tx, h held, action int64, rec engine.StepRecord, loud int) (bool, error) {
	var first, last int64
	err := tx.QueryRowContext(ctx, `SELECT COALESCE(MIN(at), 0), COALESCE(MAX(at), 0) FROM events WHERE env = $1 AND cluster = $2 AND action_id = $3 AND step = $4 AND kind = $5 AND message = $6 AND loud >= $7`,
		h.ref.Env, h.ref.Name, action, string(rec.Kind), "step-"+string(engine.Waiting), rec.Message, loud).Scan(&first, &last)
	if err != nil || last == 0 {
		return false, err
	}
	return s.Now().Sub(fromMicros(last)) < max(againAtLeast, fromMicros(last).Sub(fromMicros(first))), nil
}
