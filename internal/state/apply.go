package state

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/fleet"
)

// ApplyFleet stores the inventory. Cells that Windlass made stay, and so do clusters that the file no longer names while a
// campaign holds them: forgetting a cluster in mid-air is never what is meant.
func (s *Store) ApplyFleet(ctx context.Context, f fleet.Fleet, who string) error {
	return s.update(ctx, func(tx *sql.Tx) error {
		n := 0
		for _, e := range f.Environments {
			for _, c := range e.Clusters {
				if err := mergeCluster(ctx, tx, c); err != nil {
					return err
				}
				n++
			}
		}
		return s.event(ctx, tx, Event{Kind: "fleet-applied", Who: who, Message: fmt.Sprintf("fleet %s: %d clusters in %d environments", f.Name, n, len(f.Environments))})
	})
}

func mergeCluster(ctx context.Context, tx *sql.Tx, c fleet.Cluster) error {
	old, err := cluster(ctx, tx, c.Ref())
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	busy := false
	if err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM progress WHERE env = $1 AND cluster = $2 AND stage <> '') OR EXISTS (SELECT 1 FROM actions WHERE env = $1 AND cluster = $2 AND ended_at = 0)`, c.Env, c.Name).Scan(&busy); err != nil {
		return err
	}
	for _, cell := range old.Cells {
		if _, named := c.Cell(cell.Name); !named && cell.Owner != "" {
			busy = true // Windlass made it, and no file can know of it: a create that needs a person leaves such a cell
		}
	}
	if busy {
		c.Cells = old.Cells // what the campaign has made of the cells is newer than the file
	}
	return putCluster(ctx, tx, c)
}

func putCluster(ctx context.Context, tx *sql.Tx, c fleet.Cluster) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO clusters (env, name, spec) VALUES ($1, $2, $3) ON CONFLICT (env, name) DO UPDATE SET spec = excluded.spec`, c.Env, c.Name, text(c))
	return err
}

func cluster(ctx context.Context, tx *sql.Tx, ref fleet.ClusterRef) (fleet.Cluster, error) {
	var spec string
	err := tx.QueryRowContext(ctx, `SELECT spec FROM clusters WHERE env = $1 AND name = $2`, ref.Env, ref.Name).Scan(&spec)
	if errors.Is(err, sql.ErrNoRows) {
		return fleet.Cluster{}, fmt.Errorf("cluster %s: %w", ref, ErrNotFound)
	}
	if err != nil {
		return fleet.Cluster{}, err
	}
	return decode[fleet.Cluster](spec)
}

func clusters(ctx context.Context, tx *sql.Tx, env string) ([]fleet.Cluster, error) {
	return rows(ctx, tx, func(r *sql.Rows) (fleet.Cluster, error) {
		var spec string
		if err := r.Scan(&spec); err != nil {
			return fleet.Cluster{}, err
		}
		return decode[fleet.Cluster](spec)
	}, `SELECT spec FROM clusters WHERE $1 = '' OR env = $1 ORDER BY env, name`, env)
}

// Clusters lists the clusters of an environment, or of all.
func (s *Store) Clusters(ctx context.Context, env string) (all []fleet.Cluster, err error) {
	err = s.view(ctx, func(tx *sql.Tx) error {
		all, err = clusters(ctx, tx, env)
		return err
	})
	return all, err
}

// Cluster reads one cluster.
func (s *Store) Cluster(ctx context.Context, ref fleet.ClusterRef) (c fleet.Cluster, err error) {
	err = s.view(ctx, func(tx *sql.Tx) error {
		c, err = cluster(ctx, tx, ref)
		return err
	})
	return c, err
}

// ApplyCampaign stores a campaign and gives each cluster that it selects its place at the beginning. selected are those clusters.
// Applied again it takes new limits, soaks, rules and clusters; what it raises from where to where can't change once it has moved a cluster.
func (s *Store) ApplyCampaign(ctx context.Context, c campaign.Campaign, selected []fleet.ClusterRef, who string) error {
	return s.update(ctx, func(tx *sql.Tx) error {
		old, status, err := readCampaign(ctx, tx, c.Name)
		switch {
		case errors.Is(err, ErrNotFound):
		case err != nil:
			return err
		case status == "aborted" || status == "completed":
			return &Refused{fmt.Sprintf("campaign %s is %s", c.Name, status), "give the new campaign another name"}
		case old.From != c.From || old.To != c.To || old.Strategy != c.Strategy || old.Product != c.Product || old.FromCell != c.FromCell || old.ToCell != c.ToCell:
			return &Refused{fmt.Sprintf("campaign %s raises %s from %s to %s; applied again it can't become another", c.Name, old.Product, old.From, old.To), "abort it, or give the new campaign another name"}
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO campaigns (name, spec, status, applied_at) VALUES ($1, $2, 'running', $3)
			ON CONFLICT (name) DO UPDATE SET spec = excluded.spec, rev = campaigns.rev + 1`, c.Name, text(c), micros(s.Now())); err != nil {
			return err
		}
		if err := leave(ctx, tx, c.Name, selected); err != nil {
			return err
		}
		for _, ref := range selected {
			var other string
			err := tx.QueryRowContext(ctx, `SELECT p.campaign FROM progress p JOIN campaigns c ON c.name = p.campaign WHERE p.env = $1 AND p.cluster = $2 AND p.campaign <> $3 AND c.status IN ('running', 'paused')`, ref.Env, ref.Name, c.Name).Scan(&other)
			if err == nil {
				return &Refused{fmt.Sprintf("cluster %s is in campaign %s already", ref, other), "exclude it here, or wait until that campaign has ended"}
			}
			if !errors.Is(err, sql.ErrNoRows) {
				return err
			}
			if _, err := tx.ExecContext(ctx, `INSERT INTO progress (campaign, env, cluster) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, c.Name, ref.Env, ref.Name); err != nil {
				return err
			}
		}
		return s.event(ctx, tx, Event{Kind: "campaign-applied", Campaign: c.Name, Who: who, Message: fmt.Sprintf("%s %s → %s by %s, %d clusters", c.Product, c.From, c.To, c.Strategy, len(selected))})
	})
}

// leave takes those clusters out of a campaign that it does not select any more. One that has moved stays in it: half of
// an upgrade is no place to be forgotten at.
func leave(ctx context.Context, tx *sql.Tx, name string, selected []fleet.ClusterRef) error {
	idle, err := rows(ctx, tx, func(r *sql.Rows) (ref fleet.ClusterRef, err error) {
		return ref, r.Scan(&ref.Env, &ref.Name)
	}, `SELECT p.env, p.cluster FROM progress p WHERE p.campaign = $1 AND p.stage = '' AND NOT EXISTS (SELECT 1 FROM actions a WHERE a.campaign = p.campaign AND a.env = p.env AND a.cluster = p.cluster)`, name)
	if err != nil {
		return err
	}
	wanted := map[fleet.ClusterRef]bool{}
	for _, ref := range selected {
		wanted[ref] = true
	}
	for _, ref := range idle {
		if wanted[ref] {
			continue
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM progress WHERE campaign = $1 AND env = $2 AND cluster = $3`, name, ref.Env, ref.Name); err != nil {
			return err
		}
	}
	return nil
}

func readCampaign(ctx context.Context, tx *sql.Tx, name string) (campaign.Campaign, string, error) {
	var spec, status string
	err := tx.QueryRowContext(ctx, `SELECT spec, status FROM campaigns WHERE name = $1`, name).Scan(&spec, &status)
	if errors.Is(err, sql.ErrNoRows) {
		return campaign.Campaign{}, "", fmt.Errorf("campaign %s: %w", name, ErrNotFound)
	}
	if err != nil {
		return campaign.Campaign{}, "", err
	}
	c, err := decode[campaign.Campaign](spec)
	return c, status, err
}

// CampaignInfo is a campaign's row.
type CampaignInfo struct {
	Campaign  campaign.Campaign `json:"campaign"`
	Status    string            `json:"status"`
	AppliedAt int64             `json:"applied_at"` // microseconds since 1970
}

// Campaigns lists the campaigns, the newest first.
func (s *Store) Campaigns(ctx context.Context) (all []CampaignInfo, err error) {
	err = s.view(ctx, func(tx *sql.Tx) error {
		all, err = rows(ctx, tx, func(r *sql.Rows) (CampaignInfo, error) {
			var i CampaignInfo
			var spec string
			if err := r.Scan(&spec, &i.Status, &i.AppliedAt); err != nil {
				return i, err
			}
			i.Campaign, err = decode[campaign.Campaign](spec)
			return i, err
		}, `SELECT spec, status, applied_at FROM campaigns ORDER BY applied_at DESC, name`)
		return err
	})
	return all, err
}
