package state

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

// loseCanary takes a cluster back whose first node on the new version was seen, in two looks in a row, to serve no more while it is watched between two
// stages: nobody waits for the soak's end to find it ill. before is the look before this one.
//
// It is done once. Not in a campaign, environment or cluster that a person has paused: that may be a hand on the node.
func (s *Store) loseCanary(ctx context.Context, tx *sql.Tx, ref fleet.ClusterRef, before, o fleet.Observation) error {
	if !o.OfEngine() || !before.OfEngine() {
		return nil
	}
	var name string
	var since int64
	err := tx.QueryRowContext(ctx, `SELECT p.campaign, p.since FROM progress p JOIN campaigns c ON c.name = p.campaign
		WHERE p.env = $1 AND p.cluster = $2 AND p.stage = $3 AND p.failure IS NULL AND p.attention = '' AND p.rollback_to IS NULL AND c.status = $4
			AND NOT EXISTS (SELECT 1 FROM actions a WHERE a.env = p.env AND a.cluster = p.cluster AND a.ended_at = 0)
		ORDER BY c.applied_at DESC LIMIT 1`, ref.Env, ref.Name, strategy.StageCanary, campaign.StatusRunning).Scan(&name, &since)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	c, _, err := readCampaign(ctx, tx, name)
	if err != nil || !c.Rolls() || !before.At.After(fromMicros(since)) {
		return err
	}
	lost := c.CanaryLost(o)
	if len(lost) == 0 || len(c.CanaryLost(before)) == 0 {
		return nil
	}
	pauses, err := rules[campaign.Pause](ctx, tx, name, "pause", func(p *campaign.Pause, id int64) { p.ID = id })
	if err != nil {
		return err
	}
	for _, p := range pauses {
		if p.Covers(ref, strategy.StageCanary, s.Now()) {
			return nil
		}
	}
	err = s.rollback(ctx, tx, name, ref, stageBefore(c.Strategy, strategy.StageCanary), "windlass", fmt.Sprintf("the first node does not serve on %s any more: %s", c.To, strings.Join(lost, "; ")))
	if refused := (*Refused)(nil); errors.As(err, &refused) {
		return nil
	}
	return err
}
