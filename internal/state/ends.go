package state

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/strategy"
)

// What a person has set for a time can be ended before. As with a pause, the scope is given as it was when it was set: a word about an
// environment never ends what was said of one cluster.

// Thaw ends the freezes of exactly these environments; none: those of all. A freeze of the campaign's file is ended by applying it without.
func (s *Store) Thaw(ctx context.Context, name string, environments []string, who, why string) error {
	return s.update(ctx, func(tx *sql.Tx) error {
		c, _, err := readCampaign(ctx, tx, name)
		if err != nil {
			return err
		}
		if err := scopeIs(ctx, tx, c, environments, "", ""); err != nil {
			return err
		}
		type freeze struct {
			campaign.Freeze
			id int64
		}
		all, err := rules[freeze](ctx, tx, name, "freeze", func(f *freeze, id int64) { f.id = id })
		if err != nil {
			return err
		}
		now := s.Now()
		var others []string
		ended := 0
		for _, f := range all {
			switch {
			case !f.To.After(now):
			case !sameNames(f.Environments, environments):
				others = append(others, frozenScope(f.Environments))
			default:
				if err := s.endRule(ctx, tx, f.id); err != nil {
					return err
				}
				ended++
			}
		}
		if ended == 0 {
			hint := "`windlass status` shows the freezes"
			if len(others) > 0 {
				hint = "there is one of " + strings.Join(others, ", and one of ")
			} else if slices.ContainsFunc(c.Freezes, func(f campaign.Freeze) bool { return f.To.After(now) }) {
				hint = "those of the campaign's file are ended by applying the file without them"
			}
			return &Refused{fmt.Sprintf("campaign %s has no freeze of %s", name, frozenScope(environments)), hint}
		}
		e := Event{Kind: "thawed", Campaign: name, Who: who, Message: fmt.Sprintf("%s: %s", frozenScope(environments), why)}
		if len(environments) == 1 {
			e.Ref.Env = environments[0]
		}
		return s.event(ctx, tx, e)
	})
}

func frozenScope(environments []string) string {
	if len(environments) == 0 {
		return "everything"
	}
	if len(environments) == 1 {
		return "environment " + environments[0]
	}
	return "environments " + strings.Join(environments, " and ")
}

func sameNames(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// EndOverride ends the overrides of o's rule and of exactly o's scope before they expire; an approval is one, too. What was started meanwhile goes on.
func (s *Store) EndOverride(ctx context.Context, name string, o campaign.Override) error {
	return s.update(ctx, func(tx *sql.Tx) error {
		c, _, err := readCampaign(ctx, tx, name)
		if err != nil {
			return err
		}
		if err := scopeIs(ctx, tx, c, []string{o.Env}, o.Cluster, o.Stage); err != nil {
			return err
		}
		all, err := rules[campaign.Override](ctx, tx, name, "override", func(o *campaign.Override, id int64) { o.ID = id })
		if err != nil {
			return err
		}
		now := s.Now()
		var others []string
		ended := 0
		for _, old := range all {
			switch {
			case old.Rule != o.Rule || !old.Expires.After(now):
			case old.Env != o.Env || old.Cluster != o.Cluster || old.Stage != o.Stage:
				others = append(others, scope(old.Env, old.Cluster, old.Stage))
			default:
				if err := s.endRule(ctx, tx, old.ID); err != nil {
					return err
				}
				ended++
			}
		}
		what, kind := "override of the rule "+o.Rule, "override-ended"
		if o.Rule == campaign.CodeApproval {
			what, kind = "approval", "approval-revoked"
		}
		if ended == 0 {
			hint := "`windlass status` shows what is overridden and approved"
			if len(others) > 0 {
				hint = "there is one for " + strings.Join(others, ", and one for ")
			}
			return &Refused{fmt.Sprintf("campaign %s has no %s for %s", name, what, scope(o.Env, o.Cluster, o.Stage)), hint}
		}
		e := Event{Kind: kind, Campaign: name, Stage: o.Stage, Who: o.Who, Message: fmt.Sprintf("%s for %s: %s", what, scope(o.Env, o.Cluster, o.Stage), o.Why)}
		e.Ref.Env, e.Ref.Name = o.Env, o.Cluster
		return s.event(ctx, tx, e)
	})
}

// completed lists the stages that a cluster can be taken back to.
func completed(st strategy.Strategy, at int) string {
	names := append([]string{"nothing for the beginning"}, st.StageNames()[:max(at, 0)]...)
	return strings.Join(names, ", or ")
}

func (s *Store) endRule(ctx context.Context, tx *sql.Tx, id int64) error {
	_, err := tx.ExecContext(ctx, `UPDATE rules SET ended_at = $1 WHERE id = $2`, micros(s.Now()), id)
	return err
}
