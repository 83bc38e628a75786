package state

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

// Launched is what one run of the launcher did.
type Launched struct {
	Key     string              `json:"key"`
	Started []campaign.Decision `json:"started"`
	Held    int                 `json:"held"`
	Arrived int                 `json:"arrived"`
	// Holds counts the held clusters by the code of what holds each first; a cluster that an action has is held by "running".
	Holds map[string]int `json:"holds,omitempty"`
}

// Launch decides and starts, in one transaction. It first updates the campaign's row, so that two launches follow one
// another, then reads the snapshot anew and decides on that (trap 7). A key that was launched already is ErrLaunched;
// with an empty key it was asked for by a person, and is never ErrLaunched. ErrUnseen means that it is to be tried again soon: the state was
// opened just now, and clusters wait for nothing but the first look at them. Holds that need a person are told; see TellHolds.
func (s *Store) Launch(ctx context.Context, name, key, who string, decide DecideFunc) (out Launched, err error) {
	err = s.update(ctx, func(tx *sql.Tx) error {
		now := s.Now()
		out = Launched{Key: key, Holds: map[string]int{}}
		res, err := tx.ExecContext(ctx, `UPDATE campaigns SET rev = rev + 1 WHERE name = $1`, name)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return fmt.Errorf("campaign %s: %w", name, ErrNotFound)
		}
		if key != "" {
			res, err := tx.ExecContext(ctx, `INSERT INTO launches (campaign, key, at, who, started) VALUES ($1, $2, $3, $4, 0) ON CONFLICT DO NOTHING`, name, key, micros(now), who)
			if err != nil {
				return err
			}
			if n, err := res.RowsAffected(); err != nil || n == 0 {
				return ErrLaunched
			}
		}
		snap, err := s.snapshot(ctx, tx, name)
		if err != nil {
			return err
		}
		decisions := decide(snap, now)
		if key != "" && now.Sub(s.opened) < firstLooks(snap.Campaign) && unseen(decisions) {
			return ErrUnseen
		}
		for _, d := range decisions {
			switch {
			case d.Arrived:
				out.Arrived++
			case d.Start == "":
				out.Held++
				if d.Hold != nil && len(d.Hold.Reasons) > 0 {
					out.Holds[d.Hold.Reasons[0].Code]++
				}
			default:
				if _, err := s.insertAction(ctx, tx, snap.Campaign, d.Ref, d.Start, strategy.Forward, who); err != nil {
					return fmt.Errorf("start %s of %s: %w", d.Start, d.Ref, err)
				}
				out.Started = append(out.Started, d)
			}
		}
		if key != "" {
			if _, err := tx.ExecContext(ctx, `UPDATE launches SET started = $1 WHERE campaign = $2 AND key = $3`, len(out.Started), name, key); err != nil {
				return err
			}
		}
		if err := s.tellHolds(ctx, tx, snap, decisions, now); err != nil {
			return err
		}
		if len(out.Started) == 0 && key != "" {
			return nil // a run that starts nothing is no transition
		}
		return s.event(ctx, tx, Event{Kind: "launched", Campaign: name, Who: who, Message: fmt.Sprintf("%d started, %d held, %d arrived", len(out.Started), out.Held, out.Arrived)})
	})
	return out, err
}

// firstLooks is how long a run waits, after the state was opened, for supervisors to tell what they saw meanwhile: without it a server that
// is restarted just before the workday would hold everything until the next day.
func firstLooks(c campaign.Campaign) time.Duration { return min(c.SeenWithin, 2*time.Minute) }

// unseen tells whether a cluster is held only because nobody has looked at it for too long.
func unseen(decisions []campaign.Decision) bool {
	return slices.ContainsFunc(decisions, func(d campaign.Decision) bool {
		return d.Hold != nil && len(d.Hold.Reasons) == 1 && d.Hold.Reasons[0].Unseen
	})
}

// LaunchedKey tells whether a launch of that key has been done.
func (s *Store) LaunchedKey(ctx context.Context, name, key string) (done bool, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM launches WHERE campaign = $1 AND key = $2)`, name, key).Scan(&done)
	return done, err
}

// LastLaunch is when the launcher last ran a campaign by key; zero if never.
func (s *Store) LastLaunch(ctx context.Context, name string) (time.Time, error) {
	var at int64
	err := s.read.QueryRowContext(ctx, `SELECT COALESCE(MAX(at), 0) FROM launches WHERE campaign = $1`, name).Scan(&at)
	return fromMicros(at), err
}

func (s *Store) insertAction(ctx context.Context, tx *sql.Tx, c campaign.Campaign, ref fleet.ClusterRef, stage string, dir strategy.Direction, who string) (int64, error) {
	st, ok := strategy.ByName(c.Strategy)
	if !ok {
		return 0, fmt.Errorf("campaign %s has the strategy %q, which this release does not know", c.Name, c.Strategy)
	}
	plan, ok := st.Expand(stage, dir)
	if !ok {
		return 0, fmt.Errorf("strategy %s has no stage %q", c.Strategy, stage)
	}
	cl, err := cluster(ctx, tx, ref)
	if err != nil { // it was forgotten
		return 0, err
	}
	plan = c.Bound(plan, cl)
	var id int64
	if err := tx.QueryRowContext(ctx, `INSERT INTO actions (campaign, env, cluster, stage, direction, status, plan, created_at) VALUES ($1, $2, $3, $4, $5, 'queued', $6, $7) RETURNING id`,
		c.Name, ref.Env, ref.Name, stage, string(dir), text(plan), micros(s.Now())).Scan(&id); err != nil {
		return 0, err
	}
	steps := make([][]any, 0, len(plan.Steps))
	for i, step := range plan.Steps {
		steps = append(steps, []any{id, i, text(engine.StepRecord{Index: i, Kind: step.Kind, Phase: engine.Pending})})
	}
	if _, err := s.putMany(ctx, tx, `INSERT INTO action_steps (action_id, idx, record)`, "", steps); err != nil {
		return 0, err
	}
	return id, s.event(ctx, tx, Event{Kind: "action-queued", Campaign: c.Name, Ref: ref, Stage: stage, Action: id, Who: who, Message: fmt.Sprintf("%s %s", stage, dir)})
}

func putStep(ctx context.Context, tx *sql.Tx, action int64, rec engine.StepRecord) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO action_steps (action_id, idx, record) VALUES ($1, $2, $3) ON CONFLICT (action_id, idx) DO UPDATE SET record = excluded.record`, action, rec.Index, text(rec))
	return err
}

// Lead makes the holder the launcher until the time given, by the state's clock, if nobody else is.
func (s *Store) Lead(ctx context.Context, name, holder string, until time.Time) (leads bool, err error) {
	err = s.update(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `INSERT INTO leaders (name, holder, until) VALUES ($1, $2, $3)
			ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until WHERE leaders.holder = excluded.holder OR leaders.until < $4`, name, holder, micros(until), micros(s.Now()))
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		leads = n > 0
		return err
	})
	return leads, err
}
