package state

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

// advance moves a cluster's progress when an action has ended.
func (s *Store) advance(ctx context.Context, tx *sql.Tx, h held, outcome engine.Outcome, message string) error {
	c, _, err := readCampaign(ctx, tx, h.campaign)
	if err != nil {
		return err
	}
	set := func(column string, value any) error {
		_, err := tx.ExecContext(ctx, `UPDATE progress SET `+column+` = $1 WHERE campaign = $2 AND env = $3 AND cluster = $4`, value, h.campaign, h.ref.Env, h.ref.Name)
		return err
	}
	move := func(stage string) error { return s.moveTo(ctx, tx, c, h, stage) }
	switch {
	case outcome == engine.Completed && h.plan.Direction == strategy.Forward:
		if err := move(h.plan.Stage); err != nil {
			return err
		}
		return s.arrived(ctx, tx, c, h)
	case outcome == engine.Completed: // one stage further back
		at := stageBefore(c.Strategy, h.plan.Stage)
		if err := move(at); err != nil {
			return err
		}
		if st, _ := strategy.ByName(c.Strategy); movesPrimary(st, h.plan.Stage) {
			if err := set("way_back", nil); err != nil {
				return err
			}
		}
		if h.rollbackTo.Valid && h.rollbackTo.String != at {
			_, err := s.insertAction(ctx, tx, c, h.ref, at, strategy.Back, "rollback")
			return err
		}
		if err := set("rollback_to", nil); err != nil {
			return err
		}
		if err := s.event(ctx, tx, Event{Kind: "rolled-back", Loud: true, Campaign: h.campaign, Ref: h.ref, Message: fmt.Sprintf("rolled back to %s", orBeginning(at))}); err != nil {
			return err
		}
		return set("attention", fmt.Sprintf("rolled back to %s; it stays there until you resume it", orBeginning(at)))
	case outcome == engine.Aborted:
		return set("attention", fmt.Sprintf("%s was aborted: %s", h.plan.Stage, message))
	default:
		recs, err := steps(ctx, tx, h.action)
		if err != nil {
			return err
		}
		if engine.UndoneInPart(h.plan, recs) {
			if err := move(stageBefore(c.Strategy, h.plan.Stage)); err != nil {
				return err
			}
		}
		return set("failure", text(campaign.Failure{Stage: h.plan.Stage, Message: message, At: s.Now()}))
	}
}

// moveTo makes stage the last one that the cluster has completed, and keeps when it completed each one before it.
func (s *Store) moveTo(ctx context.Context, tx *sql.Tx, c campaign.Campaign, h held, stage string) error {
	var before sql.NullString
	if err := tx.QueryRowContext(ctx, `SELECT done FROM progress WHERE campaign = $1 AND env = $2 AND cluster = $3`, h.campaign, h.ref.Env, h.ref.Name).Scan(&before); err != nil {
		return err
	}
	ends, err := optional[[]campaign.StageEnd](before)
	if err != nil {
		return err
	}
	st, _ := strategy.ByName(c.Strategy)
	_, at := st.Stage(stage)
	var kept []campaign.StageEnd
	if ends != nil {
		for _, e := range *ends {
			if _, i := st.Stage(e.Stage); i <= at {
				kept = append(kept, e)
			}
		}
	}
	now := s.Now()
	if h.plan.Direction == strategy.Forward {
		kept = append(kept, campaign.StageEnd{Stage: stage, At: now})
	}
	_, err = tx.ExecContext(ctx, `UPDATE progress SET stage = $1, since = $2, done = $3 WHERE campaign = $4 AND env = $5 AND cluster = $6`,
		stage, micros(now), text(kept), h.campaign, h.ref.Env, h.ref.Name)
	return err
}

func orBeginning(stage string) string {
	if stage == "" {
		return "the beginning"
	}
	return stage
}

// arrived tells of a cluster at its path's end, and ends the campaign with its last.
func (s *Store) arrived(ctx context.Context, tx *sql.Tx, c campaign.Campaign, h held) error {
	st, _ := strategy.ByName(c.Strategy)
	if len(st.Stages) == 0 || st.Stages[len(st.Stages)-1].Name != h.plan.Stage {
		return nil
	}
	if err := s.event(ctx, tx, Event{Kind: "cluster-arrived", Campaign: c.Name, Ref: h.ref, Message: fmt.Sprintf("%s runs %s %s", h.ref, c.Product, c.To)}); err != nil {
		return err
	}
	var left int
	if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM progress WHERE campaign = $1 AND stage <> $2`, c.Name, h.plan.Stage).Scan(&left); err != nil || left > 0 {
		return err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE campaigns SET status = 'completed' WHERE name = $1`, c.Name); err != nil {
		return err
	}
	return s.event(ctx, tx, Event{Kind: "campaign-completed", Campaign: c.Name, Message: "every cluster has arrived"})
}

// stageBefore is the stage before the one named, "" before the first.
func stageBefore(name, stage string) string {
	st, ok := strategy.ByName(name)
	if !ok {
		return ""
	}
	if _, i := st.Stage(stage); i > 0 {
		return st.Stages[i-1].Name
	}
	return ""
}

// Rollback takes a cluster back, stage by stage, until it is at the end of the stage to; "" is the beginning. A live action
// turns round first if it can. It is refused when the point of no return is passed, or the way back is broken.
func (s *Store) Rollback(ctx context.Context, name string, ref fleet.ClusterRef, to, who, why string) error {
	return s.update(ctx, func(tx *sql.Tx) error { return s.rollback(ctx, tx, name, ref, to, who, why) })
}

// rollback is Rollback in the caller's transaction.
func (s *Store) rollback(ctx context.Context, tx *sql.Tx, name string, ref fleet.ClusterRef, to, who, why string) error {
	c, _, err := readCampaign(ctx, tx, name)
	if err != nil {
		return err
	}
	snap, err := s.snapshot(ctx, tx, name)
	if err != nil {
		return err
	}
	var p *campaign.Progress
	for i := range snap.Clusters {
		if snap.Clusters[i].Ref == ref {
			p = &snap.Clusters[i]
		}
	}
	if p == nil {
		return fmt.Errorf("campaign %s has no cluster %s: %w", name, ref, ErrNotFound)
	}
	if err := RollbackAllowed(c, *p, to); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE progress SET rollback_to = $1, failure = NULL, attention = '' WHERE campaign = $2 AND env = $3 AND cluster = $4`, to, name, ref.Env, ref.Name); err != nil {
		return err
	}
	if err := s.event(ctx, tx, Event{Kind: "rollback-asked", Loud: true, Campaign: name, Ref: ref, Who: who, Message: fmt.Sprintf("roll back to %s: %s", orBeginning(to), why)}); err != nil {
		return err
	}
	_, err = s.insertAction(ctx, tx, c, ref, p.Stage, strategy.Back, who)
	return err
}

// lost says what lies behind the point of no return.
func lost(c campaign.Campaign) string {
	switch {
	case c.InPlace():
		return "its last node of the old version is gone"
	case c.Rolls():
		return "the features of " + c.To + " are open"
	case c.Contracts():
		return "what only the old version used is dropped"
	}
	return "its old cell is gone"
}

// movesPrimary tells whether the stage is the one that makes a node of the new version the primary.
func movesPrimary(s strategy.Strategy, stage string) bool {
	st, _ := s.Stage(stage)
	return st.MovesPrimary
}

// RollbackAllowed says whether that cluster of the campaign can be rolled back to the end of the stage to, "" for the beginning: nil, or a
// *Refused. It only reads, so that whoever asks can know before anybody is asked to confirm.
func RollbackAllowed(c campaign.Campaign, p campaign.Progress, to string) error {
	st, ok := strategy.ByName(c.Strategy)
	if !ok {
		return fmt.Errorf("unknown strategy %q", c.Strategy)
	}
	_, at := st.Stage(p.Stage)
	_, target := st.Stage(to)
	switch {
	case to != "" && target < 0:
		return &Refused{fmt.Sprintf("strategy %s has no stage %q", c.Strategy, to), "write " + completed(st, at)}
	case p.Action != nil:
		return &Refused{fmt.Sprintf("%s is in the middle of %s", p.Ref, p.Action.Stage), fmt.Sprintf("wait until it has ended, or turn it round: windlass abort %s", p.Ref)}
	case at < 0:
		return &Refused{fmt.Sprintf("%s has completed no stage: there is nothing to roll back", p.Ref), fmt.Sprintf("windlass pause %s keeps its first stage from starting", p.Ref)}
	case target >= at:
		return &Refused{fmt.Sprintf("%s is at %s: there is nothing to roll back to %s", p.Ref, orBeginning(p.Stage), orBeginning(to)), "name a stage before the one that it is at"}
	case st.Stages[at].PointOfNoReturn:
		return &Refused{fmt.Sprintf("%s has passed the point of no return: %s", p.Ref, lost(c)), "go forward; a campaign in the other direction is a new upgrade"}
	}
	moves := st.PrimaryMoves()
	if moves >= 0 && at >= moves && target < moves && p.WayBack != nil && !p.WayBack.Open {
		return &Refused{fmt.Sprintf("the way back of %s is broken, so a rollback would lose writes: %s", p.Ref, p.WayBack.Detail), "mend the replication to the old version; until then stay on the new one"}
	}
	return nil
}
