package state

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/config"
	"github.com/windlass-db/windlass/internal/fleet"
)

// Change is what is applied in one go: a fleet, a campaign, or both.
type Change struct {
	Fleet    *fleet.Fleet
	Campaign *campaign.Campaign
	Prune    bool   // forget the clusters that this fleet's file named when it was last applied, and names no more
	DryRun   bool   // look at everything, and change nothing
	Who      string // who asks
}

// Applied is what a Change did, or would do.
type Applied struct {
	Fleet    *FleetApplied    `json:"fleet,omitempty"`
	Campaign *CampaignApplied `json:"campaign,omitempty"`
	DryRun   bool             `json:"dry_run,omitempty"`
}

// FleetApplied is what became of the inventory.
type FleetApplied struct {
	Name     string             `json:"name"`
	Clusters int                `json:"clusters"` // that the file names
	Added    []fleet.ClusterRef `json:"added,omitempty"`
	Changed  []fleet.ClusterRef `json:"changed,omitempty"`
	Pruned   []fleet.ClusterRef `json:"pruned,omitempty"`
	Absent   []fleet.ClusterRef `json:"absent,omitempty"` // the file named them before and does not any more; they stay until they are pruned
	Ahead    []fleet.ClusterRef `json:"ahead,omitempty"`  // campaigns have changed them since: the file is behind, and that is no mistake
}

// CampaignApplied is what became of a campaign.
type CampaignApplied struct {
	Name     string `json:"name"`
	Status   string `json:"status"`
	What     string `json:"what"` // "added", "changed" or "unchanged"
	Clusters int    `json:"clusters"`
}

// Unfit is a Change of which nothing was done, with everything that keeps it from being applied. The paths are those of the files.
type Unfit struct {
	Name     string // of the campaign, if it has findings
	Fleet    []config.Finding
	Campaign []config.Finding
}

// Error lists all of it.
func (u *Unfit) Error() string {
	var b strings.Builder
	list := func(title string, found []config.Finding) {
		if len(found) == 0 {
			return
		}
		if b.Len() > 0 {
			b.WriteString("\n")
		}
		b.WriteString(title)
		for _, f := range found {
			fmt.Fprintf(&b, "\n  - %s", f)
		}
	}
	list("the fleet can't be applied:", u.Fleet)
	list("campaign "+u.Name+" does not fit the fleet:", u.Campaign)
	return b.String()
}

// ErrorHint says what to do.
func (u *Unfit) ErrorHint() string { return "mend the campaign or the fleet; nothing was applied" }

// Is makes it an ErrConflict.
func (u *Unfit) Is(target error) bool { return target == ErrConflict }

var errDryRun = errors.New("this was a dry run")

// Apply stores a fleet and a campaign in one transaction: all of both, or nothing. Everything that is wrong with either is in one Unfit.
//
// What the file says of a cluster is merged with what campaigns have made of it: see fleet.Merge. While a campaign or an action
// has a cluster, its cells, record and product are theirs, and a file that changes them is refused. Applied again, the
// same files change nothing and are never refused.
func (s *Store) Apply(ctx context.Context, c Change) (out Applied, err error) {
	err = s.update(ctx, func(tx *sql.Tx) error {
		out = Applied{DryRun: c.DryRun}
		inv, err := readInventory(ctx, tx)
		if err != nil {
			return err
		}
		var unfit Unfit
		if c.Fleet != nil {
			out.Fleet = inv.lay(*c.Fleet, c.Prune)
			unfit.Fleet = inv.found
		}
		var selected []fleet.ClusterRef
		if c.Campaign != nil {
			f := inv.fleet(c.Fleet)
			unfit.Name, unfit.Campaign = c.Campaign.Name, c.Campaign.Check(f, s.Now())
			for _, one := range c.Campaign.Select(f) {
				selected = append(selected, one.Ref())
			}
		}
		if len(unfit.Fleet)+len(unfit.Campaign) > 0 {
			return &unfit
		}
		if c.Fleet != nil {
			if err := s.putFleet(ctx, tx, inv, *out.Fleet, c.Who); err != nil {
				return err
			}
		}
		if c.Campaign != nil {
			if out.Campaign, err = s.applyCampaign(ctx, tx, *c.Campaign, selected, c.Who); err != nil {
				return err
			}
		}
		if out.Fleet != nil { // after the campaign, which lets go of those that it does not select any more
			for _, ref := range out.Fleet.Pruned {
				err := s.forget(ctx, tx, ref, c.Who, "the file of fleet "+c.Fleet.Name+" does not name it any more")
				var held *Refused
				switch {
				case errors.As(err, &held):
					unfit.Fleet = append(unfit.Fleet, config.Finding{Path: "environments", Code: config.CodeContradiction, Message: ref.String() + " can't be pruned: " + held.What, Hint: held.Hint})
				case err != nil:
					return err
				}
			}
			if len(unfit.Fleet) > 0 {
				return &unfit
			}
		}
		if c.DryRun {
			return errDryRun
		}
		return nil
	})
	if errors.Is(err, errDryRun) {
		err = nil
	}
	return out, err
}

// ApplyFleet stores a fleet alone; see Apply.
func (s *Store) ApplyFleet(ctx context.Context, f fleet.Fleet, who string) error {
	_, err := s.Apply(ctx, Change{Fleet: &f, Who: who})
	return err
}

// ApplyCampaign stores a campaign over the clusters that are named, without a look at whether it fits them; see Apply.
func (s *Store) ApplyCampaign(ctx context.Context, c campaign.Campaign, selected []fleet.ClusterRef, who string) error {
	return s.update(ctx, func(tx *sql.Tx) error {
		_, err := s.applyCampaign(ctx, tx, c, selected, who)
		return err
	})
}

// applyCampaign gives each cluster that the campaign selects its place at the beginning. Applied again it takes new limits, soaks, rules and
// clusters; what it raises from where to where can't change. One that has ended, applied again as it was, stays as it is.
func (s *Store) applyCampaign(ctx context.Context, tx *sql.Tx, c campaign.Campaign, selected []fleet.ClusterRef, who string) (*CampaignApplied, error) {
	old, status, err := readCampaign(ctx, tx, c.Name)
	out := &CampaignApplied{Name: c.Name, Status: status, What: "changed", Clusters: len(selected)}
	switch {
	case errors.Is(err, ErrNotFound):
		out.Status, out.What = campaign.StatusRunning, "added"
	case err != nil:
		return nil, err
	default:
		c, err = decode[campaign.Campaign](text(c)) // as it is read back
		if err != nil {
			return nil, err
		}
		if text(old) == text(c) {
			out.What = "unchanged"
		}
		switch over := status == campaign.StatusAborted || status == campaign.StatusComplete; {
		case over && out.What == "unchanged":
			return out, nil
		case over:
			return nil, &Refused{fmt.Sprintf("campaign %s is %s", c.Name, status), "give the new campaign another name"}
		case old.From != c.From || old.To != c.To || old.Strategy != c.Strategy || old.Product != c.Product || old.FromCell != c.FromCell || old.ToCell != c.ToCell:
			return nil, &Refused{fmt.Sprintf("campaign %s raises %s from %s to %s; applied again it can't become another", c.Name, old.Product, old.From, old.To), "abort it, or give the new campaign another name"}
		}
	}
	if out.What != "unchanged" {
		if _, err := tx.ExecContext(ctx, `INSERT INTO campaigns (name, spec, status, applied_at) VALUES ($1, $2, 'running', $3)
			ON CONFLICT (name) DO UPDATE SET spec = excluded.spec, rev = campaigns.rev + 1`, c.Name, text(c), micros(s.Now())); err != nil {
			return nil, err
		}
	}
	moved, err := leave(ctx, tx, c.Name, selected)
	if err != nil {
		return nil, err
	}
	others := map[fleet.ClusterRef]string{}
	if _, err := rows(ctx, tx, func(r *sql.Rows) (ref fleet.ClusterRef, err error) {
		var other string
		err = r.Scan(&ref.Env, &ref.Name, &other)
		others[ref] = other
		return ref, err
	}, `SELECT p.env, p.cluster, p.campaign FROM progress p JOIN campaigns c ON c.name = p.campaign WHERE p.campaign <> $1 AND c.status IN ('running', 'paused')`, c.Name); err != nil {
		return nil, err
	}
	places := make([][]any, 0, len(selected))
	for _, ref := range selected {
		if other, taken := others[ref]; taken {
			return nil, &Refused{fmt.Sprintf("cluster %s is in campaign %s already", ref, other), "exclude it here, or wait until that campaign has ended"}
		}
		places = append(places, []any{c.Name, ref.Env, ref.Name})
	}
	came, err := s.putMany(ctx, tx, `INSERT INTO progress (campaign, env, cluster)`, `ON CONFLICT DO NOTHING`, places)
	if err != nil {
		return nil, err
	}
	moved += came
	if out.What == "unchanged" {
		if moved == 0 {
			return out, nil
		}
		out.What = "changed" // its file is the same, and the fleet has other clusters
	}
	e := Event{Kind: "campaign-applied", Campaign: c.Name, Who: who, Message: fmt.Sprintf("%s %s → %s by %s, %d clusters", c.Product, c.From, c.To, c.Strategy, len(selected))}
	if skip, skipped := c.ReplaySkipped(); skipped {
		e.Loud, e.Message = true, e.Message+"; "+skip.String()
	}
	return out, s.event(ctx, tx, e)
}

// leave takes those clusters out of a campaign that it does not select any more. One that has moved stays in it: half of
// an upgrade is no place to be forgotten at. It tells how many left.
func leave(ctx context.Context, tx *sql.Tx, name string, selected []fleet.ClusterRef) (left int64, err error) {
	idle, err := rows(ctx, tx, func(r *sql.Rows) (ref fleet.ClusterRef, err error) {
		return ref, r.Scan(&ref.Env, &ref.Name)
	}, `SELECT p.env, p.cluster FROM progress p WHERE p.campaign = $1 AND p.stage = '' AND NOT EXISTS (SELECT 1 FROM actions a WHERE a.campaign = p.campaign AND a.env = p.env AND a.cluster = p.cluster)`, name)
	if err != nil {
		return left, err
	}
	wanted := map[fleet.ClusterRef]bool{}
	for _, ref := range selected {
		wanted[ref] = true
	}
	for _, ref := range idle {
		if wanted[ref] {
			continue
		}
		left++
		if _, err := tx.ExecContext(ctx, `DELETE FROM progress WHERE campaign = $1 AND env = $2 AND cluster = $3`, name, ref.Env, ref.Name); err != nil {
			return left, err
		}
	}
	return left, nil
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
