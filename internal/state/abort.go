package state

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

// Abort ends a campaign: nothing starts again, and actions that run turn round, except past the point of no return and on their way back.
// Each action goes by the plan that is stored with it, so a strategy that this release does not know is no obstacle; one whose plan can't be read
// is told aloud, and left as it is.
func (s *Store) Abort(ctx context.Context, name, who, why string) error {
	return s.update(ctx, func(tx *sql.Tx) error {
		_, status, err := readCampaign(ctx, tx, name)
		if err != nil {
			return err
		}
		if status == "completed" || status == "aborted" {
			return &Refused{fmt.Sprintf("campaign %s is %s already", name, status), "nothing is left to abort"}
		}
		if _, err := tx.ExecContext(ctx, `UPDATE campaigns SET status = 'aborted', rev = rev + 1 WHERE name = $1`, name); err != nil {
			return err
		}
		live, err := liveActions(ctx, tx, name, fleet.ClusterRef{})
		if err != nil {
			return err
		}
		for _, a := range live {
			switch {
			case a.unreadable != nil:
				if err := s.event(ctx, tx, a.notAborted(name)); err != nil {
					return err
				}
			case a.plan.Direction == strategy.Forward && !a.plan.PointOfNoReturn:
				if err := turnRound(ctx, tx, a.id, why); err != nil {
					return err
				}
			}
		}
		return s.event(ctx, tx, Event{Kind: "aborted", Loud: true, Campaign: name, Who: who, Message: why})
	})
}

// AbortCluster turns the action round that one cluster is in. The cluster then stays until it is resumed; the campaign goes on without it.
func (s *Store) AbortCluster(ctx context.Context, name string, ref fleet.ClusterRef, who, why string) error {
	return s.update(ctx, func(tx *sql.Tx) error {
		c, _, err := readCampaign(ctx, tx, name)
		if err != nil {
			return err
		}
		if err := scopeIs(ctx, tx, c, []string{ref.Env}, ref.Name, ""); err != nil {
			return err
		}
		live, err := liveActions(ctx, tx, name, ref)
		if err != nil {
			return err
		}
		if len(live) == 0 {
			return &Refused{fmt.Sprintf("nothing runs on %s, so there is nothing to abort", ref), fmt.Sprintf("windlass pause %s keeps its next stage from starting; windlass rollback %s takes it back", ref, ref)}
		}
		a := live[0] // there is never more than one
		switch {
		case a.unreadable != nil:
			return &Refused{fmt.Sprintf("what is planned for action %d can't be read, so it can't be told what to undo: %v", a.id, a.unreadable), "run the release that planned it, or restore the state from a backup"}
		case a.plan.Direction == strategy.Back:
			return &Refused{fmt.Sprintf("%s is on its way back through %s already", ref, a.plan.Stage), "let it end; the cluster then stays until you resume it"}
		case a.plan.PointOfNoReturn:
			return &Refused{fmt.Sprintf("%s is in %s, past the point of no return: nothing there can be undone", ref, a.plan.Stage), "let it end, or mend what it waits for: windlass why " + ref.String()}
		case a.abort:
			return &Refused{fmt.Sprintf("%s turns round already", ref), "its supervisor sees that at its next heartbeat: windlass why " + ref.String()}
		}
		if err := turnRound(ctx, tx, a.id, why); err != nil {
			return err
		}
		return s.event(ctx, tx, Event{Kind: "cluster-aborted", Loud: true, Campaign: name, Ref: ref, Stage: a.plan.Stage, Action: a.id, Who: who, Message: why})
	})
}

// liveAction is an action that has not ended.
type liveAction struct {
	id         int64
	ref        fleet.ClusterRef
	stage      string
	plan       strategy.Plan
	unreadable error // why the plan is not known
	abort      bool
}

func (a liveAction) notAborted(campaign string) Event {
	return Event{Kind: "abort-failed", Loud: true, Campaign: campaign, Ref: a.ref, Stage: a.stage, Action: a.id, Message: fmt.Sprintf("what is planned for it can't be read, so it is left as it is: %v", a.unreadable)}
}

// liveActions are those of a campaign, of one cluster or, with the zero ref, of all.
func liveActions(ctx context.Context, tx *sql.Tx, name string, ref fleet.ClusterRef) ([]liveAction, error) {
	return rows(ctx, tx, func(r *sql.Rows) (a liveAction, err error) {
		var plan string
		if err := r.Scan(&a.id, &a.ref.Env, &a.ref.Name, &a.stage, &plan, &a.abort); err != nil {
			return a, err
		}
		a.plan, a.unreadable = decode[strategy.Plan](plan)
		return a, nil
	}, `SELECT id, env, cluster, stage, plan, abort FROM actions WHERE campaign = $1 AND ended_at = 0 AND ($2 = '' OR env = $2 AND cluster = $3) ORDER BY id`, name, ref.Env, ref.Name)
}

func turnRound(ctx context.Context, tx *sql.Tx, action int64, why string) error {
	_, err := tx.ExecContext(ctx, `UPDATE actions SET abort = 1, reason = $1, not_before = 0 WHERE id = $2`, why, action)
	return err
}
