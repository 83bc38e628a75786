package state

import (
	"context"
	"database/sql"
	"fmt"
)

// tellUnreadable tells, once, of an action whose stored plan can't be read: nobody can run it, and a person has to know. It is not ended, since what it
// has done is not known.
func (s *Store) tellUnreadable(ctx context.Context, tx *sql.Tx, c candidate) error {
	message := fmt.Sprintf("what is planned for action %d can't be read, so nobody can run it: %v", c.id, c.unreadable)
	res, err := tx.ExecContext(ctx, `UPDATE actions SET message = $1 WHERE id = $2 AND message <> $1`, message, c.id)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return err
	}
	return s.event(ctx, tx, Event{Kind: "action-unreadable", Loud: true, Campaign: c.campaign, Ref: c.ref, Action: c.id, Message: message + "; run the release that planned it, or restore the state from a backup"})
}
