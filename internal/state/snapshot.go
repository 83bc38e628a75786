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
)

// Snapshot reads all that campaign.Decide looks at, of one moment.
func (s *Store) Snapshot(ctx context.Context, name string) (snap campaign.Snapshot, err error) {
	err = s.view(ctx, func(tx *sql.Tx) error {
		snap, err = s.snapshot(ctx, tx, name)
		return err
	})
	return snap, err
}

func (s *Store) snapshot(ctx context.Context, tx *sql.Tx, name string) (campaign.Snapshot, error) {
	c, status, err := readCampaign(ctx, tx, name)
	if err != nil {
		return campaign.Snapshot{}, err
	}
	snap := campaign.Snapshot{Campaign: c, Status: status}
	if snap.Clusters, err = rows(ctx, tx, scanProgress, `SELECT p.env, p.cluster, p.stage, p.since, p.done, p.failure, p.attention, p.way_back, o.at, o.version, o.version_at, o.unknown, o.seen, o.received_at,
			a.id, a.stage, a.direction, a.status, a.message, a.held, a.created_at
		FROM progress p
		LEFT JOIN actions a ON a.env = p.env AND a.cluster = p.cluster AND a.campaign = p.campaign AND a.ended_at = 0
		LEFT JOIN observations o ON o.env = p.env AND o.cluster = p.cluster
		WHERE p.campaign = $1 ORDER BY p.env, p.cluster`, name); err != nil {
		return snap, err
	}
	if err := addRehearsed(ctx, tx, &snap); err != nil {
		return snap, err
	}
	if snap.Pauses, err = rules[campaign.Pause](ctx, tx, name, "pause", func(p *campaign.Pause, id int64) { p.ID = id }); err != nil {
		return snap, err
	}
	if snap.Freezes, err = rules[campaign.Freeze](ctx, tx, name, "freeze", func(*campaign.Freeze, int64) {}); err != nil {
		return snap, err
	}
	snap.Overrides, err = rules[campaign.Override](ctx, tx, name, "override", func(o *campaign.Override, id int64) { o.ID = id })
	return snap, err
}

func scanProgress(r *sql.Rows) (campaign.Progress, error) {
	var p campaign.Progress
	var since int64
	var done, failure, wayBack, version, unknown, together sql.NullString
	var looked, seen, received sql.NullInt64
	var id, created, held sql.NullInt64
	var stage, direction, status, message sql.NullString
	if err := r.Scan(&p.Ref.Env, &p.Ref.Name, &p.Stage, &since, &done, &failure, &p.Attention, &wayBack, &looked, &version, &seen, &unknown, &together, &received, &id, &stage, &direction, &status, &message, &held, &created); err != nil {
		return p, err
	}
	p.Since = fromMicros(since)
	ends, err := optional[[]campaign.StageEnd](done)
	if err != nil {
		return p, err
	}
	if ends != nil {
		p.Done = *ends
	}
	if p.Failure, err = optional[campaign.Failure](failure); err != nil {
		return p, err
	}
	if p.WayBack, err = optional[fleet.WayBack](wayBack); err != nil {
		return p, err
	}
	all, err := optional[[]campaign.Seen](together)
	if err != nil {
		return p, err
	}
	if all != nil {
		p.Seen = *all
	}
	p.Version, p.Unknown = version.String, unknown.String
	p.Observed, p.Looked, p.Received = fromMicros(seen.Int64), fromMicros(looked.Int64), fromMicros(received.Int64)
	if id.Valid {
		p.Action = &campaign.ActionState{ID: id.Int64, Stage: stage.String, Direction: direction.String, Status: status.String, Message: message.String, Held: held.Int64 != 0, StartedAt: fromMicros(created.Int64)}
	}
	return p, nil
}

func rules[T any](ctx context.Context, tx *sql.Tx, name, kind string, number func(*T, int64)) ([]T, error) {
	return rows(ctx, tx, func(r *sql.Rows) (T, error) {
		var id int64
		var spec string
		var zero T
		if err := r.Scan(&id, &spec); err != nil {
			return zero, err
		}
		v, err := decode[T](spec)
		number(&v, id)
		return v, err
	}, `SELECT id, spec FROM rules WHERE campaign = $1 AND kind = $2 AND ended_at = 0 ORDER BY id`, name, kind)
}

// ActionInfo is an action's row with its steps.
type ActionInfo struct {
	ID        int64               `json:"id"`
	Campaign  string              `json:"campaign"`
	Ref       fleet.ClusterRef    `json:"ref"`
	Stage     string              `json:"stage"`
	Direction string              `json:"direction"`
	Status    string              `json:"status"`
	Outcome   string              `json:"outcome,omitempty"`
	Message   string              `json:"message,omitempty"`
	Turned    bool                `json:"turned,omitempty"`
	Reason    string              `json:"reason,omitempty"`
	Holder    string              `json:"holder,omitempty"`
	Term      int64               `json:"term"`
	CreatedAt int64               `json:"created_at"` // microseconds since 1970
	EndedAt   int64               `json:"ended_at,omitempty"`
	Steps     []engine.StepRecord `json:"steps"`
}

// Actions lists a cluster's actions with their steps, the newest first.
func (s *Store) Actions(ctx context.Context, ref fleet.ClusterRef, limit int) (all []ActionInfo, err error) {
	err = s.view(ctx, func(tx *sql.Tx) error {
		all, err = rows(ctx, tx, func(r *sql.Rows) (ActionInfo, error) {
			var a ActionInfo
			err := r.Scan(&a.ID, &a.Campaign, &a.Ref.Env, &a.Ref.Name, &a.Stage, &a.Direction, &a.Status, &a.Outcome, &a.Message, &a.Turned, &a.Reason, &a.Holder, &a.Term, &a.CreatedAt, &a.EndedAt)
			return a, err
		}, `SELECT id, campaign, env, cluster, stage, direction, status, outcome, message, turned, reason, holder, term, created_at, ended_at FROM actions
			WHERE env = $1 AND cluster = $2 ORDER BY id DESC LIMIT $3`, ref.Env, ref.Name, limit)
		if err != nil {
			return err
		}
		for i := range all {
			if all[i].Steps, err = steps(ctx, tx, all[i].ID); err != nil {
				return err
			}
		}
		return nil
	})
	return all, err
}

func steps(ctx context.Context, tx *sql.Tx, action int64) ([]engine.StepRecord, error) {
	return rows(ctx, tx, func(r *sql.Rows) (engine.StepRecord, error) {
		var spec string
		if err := r.Scan(&spec); err != nil {
			return engine.StepRecord{}, err
		}
		return decode[engine.StepRecord](spec)
	}, `SELECT record FROM action_steps WHERE action_id = $1 ORDER BY idx`, action)
}

// Switchover is one measured switch.
type Switchover struct {
	Ref fleet.ClusterRef `json:"ref"`
	engine.SwitchoverOutput
}

// Switchovers lists a campaign's switches in their order.
func (s *Store) Switchovers(ctx context.Context, name string) (all []Switchover, err error) {
	err = s.view(ctx, func(tx *sql.Tx) error {
		all, err = rows(ctx, tx, func(r *sql.Rows) (Switchover, error) {
			var o Switchover
			var spec string
			if err := r.Scan(&o.Ref.Env, &o.Ref.Name, &spec); err != nil {
				return o, err
			}
			o.SwitchoverOutput, err = decode[engine.SwitchoverOutput](spec)
			return o, err
		}, `SELECT env, cluster, spec FROM switchovers WHERE campaign = $1 ORDER BY id`, name)
		return err
	})
	return all, err
}

// Observe stores what a supervisor saw of a cluster, if it is newer than what is stored. What it says of a cell that is gone
// by now is left out. A way back that broke is a loud event, once; the first sign of it freezes tear-down (trap 19).
//
// Its age is counted from when it comes in, by the state's clock. Its own time is a supervisor's, whose clock may be wrong: one that is still
// to come is now, or it would be newer than every look of tomorrow; one long ago is taken all the same when nobody else looks.
func (s *Store) Observe(ctx context.Context, ref fleet.ClusterRef, o fleet.Observation) error {
	return s.update(ctx, func(tx *sql.Tx) error {
		now := s.Now()
		ahead := o.At.Sub(now)
		if err := s.tellClock(ctx, tx, ref.Env, ahead, now); err != nil {
			return err
		}
		if ahead > 0 {
			o.At = now
		}
		var before fleet.Observation // of an engine
		if o.OfEngine() {
			var err error
			if before, err = lastObservation(ctx, tx, ref); err != nil && !errors.Is(err, ErrNotFound) {
				return err
			}
		}
		stored, err := storeObservation(ctx, tx, ref, o, now)
		if err != nil || !stored {
			return err
		}
		c, err := cluster(ctx, tx, ref)
		if err != nil {
			return err
		}
		if err := s.loseCanary(ctx, tx, ref, before.Of(c), o.Of(c)); err != nil {
			return err
		}
		if err := s.setShut(ctx, tx, ref, o.Of(c)); err != nil || o.WayBack == nil {
			return err
		}
		return s.setWayBack(ctx, tx, ref, *o.WayBack)
	})
}

// putObservation stores what was known before in another form: nothing was received.
func putObservation(ctx context.Context, tx *sql.Tx, ref fleet.ClusterRef, o fleet.Observation) (stored bool, err error) {
	return storeObservation(ctx, tx, ref, o, time.Time{})
}

// lateLook is how long after its time a look is told at most.
const lateLook = time.Minute

// storeObservation stores an observation that is not older than the one that is there. One that says it is older is late only as long as
// others are told; when none was for a while it is of a supervisor whose clock is behind, and all that there is. The version stays as it was last seen
// when this one does not tell it: a failed read is unknown, never empty.
func storeObservation(ctx context.Context, tx *sql.Tx, ref fleet.ClusterRef, o fleet.Observation, received time.Time) (stored bool, err error) {
	c, err := cluster(ctx, tx, ref)
	if err != nil {
		return false, err
	}
	o = o.Of(c)
	var version string
	var seen int64
	if v, ok := o.Version(); ok {
		version, seen = v, micros(o.At)
		if received.Sub(o.At) > lateLook { // by a clock that is behind
			seen = micros(received)
		}
	}
	res, err := tx.ExecContext(ctx, `INSERT INTO observations (env, cluster, at, spec, version, version_at, unknown, seen, received_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (env, cluster) DO UPDATE SET at = excluded.at, spec = excluded.spec, unknown = excluded.unknown, seen = excluded.seen,
			received_at = CASE WHEN excluded.received_at = 0 THEN observations.received_at ELSE excluded.received_at END,
			version = CASE WHEN excluded.version = '' THEN observations.version ELSE excluded.version END,
			version_at = CASE WHEN excluded.version = '' THEN observations.version_at
				WHEN excluded.received_at = 0 AND observations.received_at - excluded.at > $10 THEN observations.received_at ELSE excluded.version_at END
		WHERE excluded.at >= observations.at
			OR excluded.received_at > 0 AND observations.at > excluded.received_at -- one that was to come was no time
			OR excluded.received_at > 0 AND excluded.received_at - observations.received_at > $10`,
		ref.Env, ref.Name, micros(o.At), text(o), version, seen, o.Unknown(), text(campaign.SeenIn(o)), micros(received), lateLook.Microseconds())
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

// lastObservation is the newest that was seen of a cluster; ErrNotFound if nothing was.
func lastObservation(ctx context.Context, q queryer, ref fleet.ClusterRef) (fleet.Observation, error) {
	var spec string
	err := q.QueryRowContext(ctx, `SELECT spec FROM observations WHERE env = $1 AND cluster = $2`, ref.Env, ref.Name).Scan(&spec)
	if errors.Is(err, sql.ErrNoRows) {
		return fleet.Observation{}, fmt.Errorf("an observation of %s: %w", ref, ErrNotFound)
	}
	if err != nil {
		return fleet.Observation{}, err
	}
	return decode[fleet.Observation](spec)
}

// queryer is a transaction, or the database outside of one.
type queryer interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// setWayBack stores the way back of a cluster's live campaign, and tells of a change.
func (s *Store) setWayBack(ctx context.Context, tx *sql.Tx, ref fleet.ClusterRef, w fleet.WayBack) error {
	var name string
	var old sql.NullString
	err := tx.QueryRowContext(ctx, `SELECT p.campaign, p.way_back FROM progress p JOIN campaigns c ON c.name = p.campaign WHERE p.env = $1 AND p.cluster = $2 AND c.status IN ('running', 'paused', 'aborted') ORDER BY c.applied_at DESC LIMIT 1`, ref.Env, ref.Name).Scan(&name, &old)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	before, err := optional[fleet.WayBack](old)
	if err != nil {
		return err
	}
	if before != nil && before.Closed && !w.Closed {
		return nil // what is seen of a channel that was closed on purpose is no news
	}
	if _, err := tx.ExecContext(ctx, `UPDATE progress SET way_back = $1 WHERE campaign = $2 AND env = $3 AND cluster = $4`, text(w), name, ref.Env, ref.Name); err != nil {
		return err
	}
	switch {
	case w.Closed:
		if before == nil || !before.Closed {
			return s.event(ctx, tx, Event{Kind: "way-back-closed", Campaign: name, Ref: ref, Message: w.Detail})
		}
	case !w.Open && (before == nil || before.Open):
		return s.event(ctx, tx, Event{Kind: "way-back-broken", Loud: true, Campaign: name, Ref: ref, Message: w.Detail})
	case w.Open && (before == nil || !before.Open):
		return s.event(ctx, tx, Event{Kind: "way-back-open", Campaign: name, Ref: ref, Message: w.Detail})
	}
	return nil
}

// LastObservation is the newest that was seen of a cluster; ErrNotFound if nothing was.
func (s *Store) LastObservation(ctx context.Context, ref fleet.ClusterRef) (fleet.Observation, error) {
	return lastObservation(ctx, s.read, ref)
}

// Standing is how far a cluster is in a campaign.
type Standing struct {
	Cluster  string // its name in the environment
	Campaign string
	Stage    string // last stage completed
	Live     string // stage of the campaign's live action, or ""
}

// Standings tells how far an environment's clusters are in the campaigns that are not completed, the newest campaign first.
func (s *Store) Standings(ctx context.Context, env string) (all []Standing, err error) {
	err = s.view(ctx, func(tx *sql.Tx) error {
		all, err = rows(ctx, tx, func(r *sql.Rows) (st Standing, err error) {
			return st, r.Scan(&st.Cluster, &st.Campaign, &st.Stage, &st.Live)
		}, `SELECT p.cluster, p.campaign, p.stage, COALESCE(a.stage, '') FROM progress p JOIN campaigns c ON c.name = p.campaign
			LEFT JOIN actions a ON a.env = p.env AND a.cluster = p.cluster AND a.campaign = p.campaign AND a.ended_at = 0
			WHERE p.env = $1 AND c.status <> 'completed' ORDER BY c.applied_at DESC, c.name, p.cluster`, env)
		return err
	})
	return all, err
}
