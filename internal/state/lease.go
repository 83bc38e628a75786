package state

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

// KindVersion is a step kind in one of its versions, which a supervisor declares that it can run (trap 9).
type KindVersion = engine.KindVersion

// Lease gives the holder the oldest action of its environment that may run and whose every step it declares; nil if there
// is none. The cluster's term grows with it. A lease that ran out is taken over, but not within one lease time of the
// state's opening (trap 6).
func (s *Store) Lease(ctx context.Context, env, holder string, kinds []KindVersion) (out *engine.Assignment, err error) {
	known := map[KindVersion]bool{}
	for _, k := range kinds {
		known[k] = true
	}
	err = s.update(ctx, func(tx *sql.Tx) error {
		now := s.Now()
		takeOver := now.Sub(s.opened) >= s.leaseTTL
		candidates, err := rows(ctx, tx, func(r *sql.Rows) (candidate, error) {
			var c candidate
			var plan string
			if err := r.Scan(&c.id, &c.campaign, &c.ref.Env, &c.ref.Name, &c.status, &plan, &c.turned, &c.abort, &c.reason); err != nil {
				return c, err
			}
			c.plan, c.unreadable = decode[strategy.Plan](plan)
			return c, nil
		}, `SELECT id, campaign, env, cluster, status, plan, turned, abort, reason FROM actions
			WHERE env = $1 AND ended_at = 0 AND ((status IN ('queued', 'waiting') AND not_before <= $2) OR (status = 'leased' AND lease_until < $2 AND $3 = 1))
				AND NOT EXISTS (SELECT 1 FROM clusters c WHERE c.env = actions.env AND c.name = actions.cluster AND c.mend_until > $2) ORDER BY id`,
			env, micros(now), b2i(takeOver))
		if err != nil {
			return err
		}
		for _, c := range candidates {
			if c.unreadable != nil { // the others of the environment go on
				if err := s.tellUnreadable(ctx, tx, c); err != nil {
					return err
				}
				continue
			}
			if !runnable(c.plan, known) {
				continue
			}
			out, err = s.lease(ctx, tx, c, holder, now)
			return err
		}
		return nil
	})
	return out, err
}

type candidate struct {
	id            int64
	campaign      string
	ref           fleet.ClusterRef
	status        string
	plan          strategy.Plan
	unreadable    error // why the plan is not known
	turned, abort bool
	reason        string
}

func runnable(p strategy.Plan, known map[KindVersion]bool) bool {
	for _, step := range p.Steps {
		if !known[KindVersion{Kind: step.Kind, Version: step.Version}] {
			return false
		}
	}
	return true
}

func (s *Store) lease(ctx context.Context, tx *sql.Tx, c candidate, holder string, now time.Time) (*engine.Assignment, error) {
	a := engine.Assignment{ActionID: c.id, LeaseTTL: s.leaseTTL, Plan: c.plan, Turned: c.turned, Abort: c.abort, Reason: c.reason}
	if err := tx.QueryRowContext(ctx, `UPDATE clusters SET term = term + 1 WHERE env = $1 AND name = $2 RETURNING term`, c.ref.Env, c.ref.Name).Scan(&a.Term); err != nil {
		return nil, fmt.Errorf("raise the term of %s: %w", c.ref, err)
	}
	if _, err := tx.ExecContext(ctx, `UPDATE actions SET status = 'leased', holder = $1, term = $2, lease_until = $3 WHERE id = $4`, holder, a.Term, micros(now.Add(s.leaseTTL)), c.id); err != nil {
		return nil, err
	}
	var err error
	if a.Campaign, _, err = readCampaign(ctx, tx, c.campaign); err != nil {
		return nil, err
	}
	if a.Cluster, err = cluster(ctx, tx, c.ref); err != nil {
		return nil, err
	}
	if a.Steps, err = steps(ctx, tx, c.id); err != nil {
		return nil, err
	}
	overrides, err := rules[campaign.Override](ctx, tx, c.campaign, "override", func(o *campaign.Override, id int64) { o.ID = id })
	if err != nil {
		return nil, err
	}
	a.Overrides = campaign.OverridesOf(overrides, c.ref, c.plan.Stage, now)
	if c.status != "waiting" { // taking up a waiting action again, every few seconds, is no transition
		kind, msg := "action-leased", "leased by "+holder
		if c.status == "leased" {
			kind, msg = "action-taken-over", "the lease ran out; taken over by "+holder
		}
		err = s.event(ctx, tx, Event{Kind: kind, Campaign: c.campaign, Ref: c.ref, Stage: c.plan.Stage, Action: c.id, Term: a.Term, Message: msg})
	}
	return &a, err
}

// held is a live action's row, read under its term.
type held struct {
	action     int64
	campaign   string
	ref        fleet.ClusterRef
	plan       strategy.Plan
	leased     bool // false: its holder gave the lease back, and nobody has it
	abort      bool
	turned     bool
	rollbackTo sql.NullString
}

// fenced reads the action if the term still holds it, or answers engine.ErrFenced. A lease that was given back holds nothing:
// a heartbeat that arrives late must not take it up again.
func (s *Store) fenced(ctx context.Context, tx *sql.Tx, action, term int64) (held, error) {
	h, err := s.ofTerm(ctx, tx, action, term)
	if err == nil && !h.leased {
		return h, fmt.Errorf("action %d: the lease of term %d was given back: %w", action, term, engine.ErrFenced)
	}
	return h, err
}

// ofTerm reads the action if the term is its newest, leased still or given back.
func (s *Store) ofTerm(ctx context.Context, tx *sql.Tx, action, term int64) (held, error) {
	var h held
	var plan string
	var now int64
	err := tx.QueryRowContext(ctx, `SELECT a.campaign, a.env, a.cluster, a.plan, a.status = 'leased', a.abort, a.turned, a.term, p.rollback_to FROM actions a
		LEFT JOIN progress p ON p.campaign = a.campaign AND p.env = a.env AND p.cluster = a.cluster WHERE a.id = $1 AND a.ended_at = 0`, action).
		Scan(&h.campaign, &h.ref.Env, &h.ref.Name, &plan, &h.leased, &h.abort, &h.turned, &now, &h.rollbackTo)
	if errors.Is(err, sql.ErrNoRows) {
		return h, fmt.Errorf("action %d has ended or never was: %w", action, engine.ErrFenced)
	}
	if err != nil {
		return h, err
	}
	if now != term {
		return h, fmt.Errorf("action %d is held under term %d, not %d: %w", action, now, term, engine.ErrFenced)
	}
	h.action = action
	h.plan, err = decode[strategy.Plan](plan)
	return h, err
}

// ActionEnv tells which environment an action belongs to, for the check of a supervisor's token.
func (s *Store) ActionEnv(ctx context.Context, action int64) (string, error) {
	var env string
	err := s.read.QueryRowContext(ctx, `SELECT env FROM actions WHERE id = $1`, action).Scan(&env)
	if errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("action %d: %w", action, ErrNotFound)
	}
	return env, err
}

// Heartbeat prolongs the lease; see engine.Journal.
func (s *Store) Heartbeat(ctx context.Context, action, term int64) (abort bool, err error) {
	err = s.update(ctx, func(tx *sql.Tx) error {
		h, err := s.fenced(ctx, tx, action, term)
		if err != nil {
			return err
		}
		abort = h.abort
		_, err = tx.ExecContext(ctx, `UPDATE actions SET lease_until = $1 WHERE id = $2`, micros(s.Now().Add(s.leaseTTL)), action)
		return err
	})
	return abort, err
}

// Record persists a step's row with its outputs; see engine.Journal.
func (s *Store) Record(ctx context.Context, action, term int64, rec engine.StepRecord) (abort bool, err error) {
	err = s.update(ctx, func(tx *sql.Tx) error {
		h, err := s.fenced(ctx, tx, action, term)
		if err != nil {
			return err
		}
		abort = h.abort
		if rec.Index < 0 || rec.Index >= len(h.plan.Steps) || rec.Kind != h.plan.Steps[rec.Index].Kind {
			return &Refused{fmt.Sprintf("action %d has no step %d of the kind %s", action, rec.Index, rec.Kind), "this is a defect: the supervisor runs another plan than the one that is stored"}
		}
		before, err := steps(ctx, tx, action)
		if err != nil {
			return err
		}
		if rec.Outputs != nil {
			if err := s.merge(ctx, tx, h, action, rec); err != nil {
				return err
			}
		}
		if err := putStep(ctx, tx, action, rec); err != nil {
			return err
		}
		if err := s.tellEarly(ctx, tx, h, action, term, rec); err != nil {
			return err
		}
		message := ""
		if rec.Phase == engine.Waiting {
			message = fmt.Sprintf("%s: %s", rec.Kind, rec.Message)
		}
		if _, err := tx.ExecContext(ctx, `UPDATE actions SET message = $1, held = $2 WHERE id = $3`, message, b2i(rec.Held), action); err != nil {
			return err
		}
		old := before[rec.Index]
		if old.Phase == rec.Phase && old.Message == rec.Message {
			return nil
		}
		if h.turned || h.plan.Direction == strategy.Back {
			if told, err := s.toldOfUndo(ctx, tx, h, action, old, rec); err != nil || told {
				return err
			}
		}
		loud := rec.Phase == engine.Failed || rec.Held
		if rec.Held && old.Phase == engine.Intent { // it was tried again meanwhile
			told, err := s.toldOfHold(ctx, tx, h, action, rec)
			if err != nil {
				return err
			}
			loud = !told
		}
		return s.event(ctx, tx, Event{Kind: "step-" + string(rec.Phase), Loud: loud, Campaign: h.campaign, Ref: h.ref, Stage: h.plan.Stage, Step: string(rec.Kind), Action: action, Term: term, Message: rec.Message})
	})
	return abort && err == nil, err
}

// merge makes a step's outputs known, in the transaction that records the step.
func (s *Store) merge(ctx context.Context, tx *sql.Tx, h held, action int64, rec engine.StepRecord) error {
	o := rec.Outputs
	if len(o.Cells) > 0 || o.RemoveCell != "" {
		c, err := cluster(ctx, tx, h.ref)
		if err != nil {
			return err
		}
		if err := putCluster(ctx, tx, o.Apply(c)); err != nil {
			return err
		}
		if err := forgetCells(ctx, tx, h.ref); err != nil {
			return err
		}
	}
	if o.WayBack != nil {
		if err := s.setWayBack(ctx, tx, h.ref, *o.WayBack); err != nil {
			return err
		}
	}
	if o.ClearWayBack {
		if _, err := tx.ExecContext(ctx, `UPDATE progress SET way_back = NULL WHERE campaign = $1 AND env = $2 AND cluster = $3`, h.campaign, h.ref.Env, h.ref.Name); err != nil {
			return err
		}
	}
	if o.Switchover != nil {
		if _, err := tx.ExecContext(ctx, `INSERT INTO switchovers (campaign, env, cluster, action_id, idx, spec) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (action_id, idx) DO UPDATE SET spec = excluded.spec`,
			h.campaign, h.ref.Env, h.ref.Name, action, rec.Index, text(*o.Switchover)); err != nil {
			return err
		}
	}
	return nil
}

// forgetCells leaves cells that are gone out of what was seen last: that they could not be read is no news any more.
func forgetCells(ctx context.Context, tx *sql.Tx, ref fleet.ClusterRef) error {
	o, err := lastObservation(ctx, tx, ref)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err == nil {
		_, err = putObservation(ctx, tx, ref, o)
	}
	return err
}

// Turn persists that an action has turned round; see engine.Journal.
func (s *Store) Turn(ctx context.Context, action, term int64, reason string) error {
	return s.update(ctx, func(tx *sql.Tx) error {
		h, err := s.fenced(ctx, tx, action, term)
		if err != nil || h.turned {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE actions SET turned = 1, reason = $1 WHERE id = $2`, reason, action); err != nil {
			return err
		}
		return s.event(ctx, tx, Event{Kind: "action-turned", Loud: true, Campaign: h.campaign, Ref: h.ref, Stage: h.plan.Stage, Action: action, Term: term, Message: "going back: " + reason})
	})
}

// Release gives a lease back; see engine.Journal.
func (s *Store) Release(ctx context.Context, action, term int64, retryAfter time.Duration) error {
	return s.update(ctx, func(tx *sql.Tx) error {
		h, err := s.ofTerm(ctx, tx, action, term)
		if err != nil || !h.leased { // given back already: the answer was lost
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE actions SET status = 'waiting', not_before = $1, lease_until = 0 WHERE id = $2`, micros(s.Now().Add(retryAfter)), action)
		return err
	})
}

// Finish ends an action and moves the cluster's progress; see engine.Journal. Repeated by the same holder it is fine.
func (s *Store) Finish(ctx context.Context, action, term int64, outcome engine.Outcome, message string) error {
	return s.update(ctx, func(tx *sql.Tx) error {
		var ended bool
		err := tx.QueryRowContext(ctx, `SELECT ended_at <> 0 FROM actions WHERE id = $1 AND term = $2 AND outcome = $3`, action, term, string(outcome)).Scan(&ended)
		if err == nil && ended {
			return nil
		}
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		h, err := s.fenced(ctx, tx, action, term)
		if err != nil {
			return err
		}
		now := micros(s.Now())
		if _, err := tx.ExecContext(ctx, `UPDATE actions SET status = 'ended', ended_at = $1, outcome = $2, message = $3, lease_until = 0 WHERE id = $4`, now, string(outcome), message, action); err != nil {
			return err
		}
		e := Event{Kind: "action-" + string(outcome), Loud: outcome == engine.NeedsHuman || outcome == engine.WentBack, Campaign: h.campaign, Ref: h.ref, Stage: h.plan.Stage, Action: action, Term: term, Message: message}
		if e.Message == "" {
			e.Message = fmt.Sprintf("%s %s %s", h.plan.Stage, h.plan.Direction, outcome)
		}
		if err := s.event(ctx, tx, e); err != nil {
			return err
		}
		return s.advance(ctx, tx, h, outcome, message)
	})
}

// Compile-time check: the state is a journal.
var _ engine.Journal = (*Store)(nil)
