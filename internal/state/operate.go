package state

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/config"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

// Pause stops new starts in the pause's scope.
func (s *Store) Pause(ctx context.Context, name string, p campaign.Pause) error {
	p.At = s.Now()
	return s.addRule(ctx, name, "pause", p, Event{Kind: "paused", Ref: fleet.ClusterRef{Env: p.Env, Name: p.Cluster}, Stage: p.Stage, Who: p.Who, Message: fmt.Sprintf("%s: %s", scope(p.Env, p.Cluster, p.Stage), p.Why)})
}

// Freeze adds a time in which nothing starts.
func (s *Store) Freeze(ctx context.Context, name string, f campaign.Freeze) error {
	if !f.To.After(f.From) {
		return &Refused{"the freeze ends before it begins", "give an end after the beginning"}
	}
	e := Event{Kind: "frozen", Who: f.Who, Message: fmt.Sprintf("%s from %s to %s: %s", frozenScope(f.Environments), f.From.Format(time.RFC3339), f.To.Format(time.RFC3339), f.Reason)}
	if len(f.Environments) == 1 {
		e.Ref.Env = f.Environments[0]
	}
	return s.addRule(ctx, name, "freeze", f, e)
}

// Override lets one rule pass in a scope, until it expires.
func (s *Store) Override(ctx context.Context, name string, o campaign.Override) error {
	o.At = s.Now()
	if !o.Expires.After(o.At) || o.Who == "" || o.Why == "" {
		return &Refused{"an override needs who, why, and an expiry that is to come", "say them all"}
	}
	return s.addRule(ctx, name, "override", o, Event{Kind: "overridden", Loud: true, Ref: fleet.ClusterRef{Env: o.Env, Name: o.Cluster}, Stage: o.Stage, Who: o.Who, Message: fmt.Sprintf("rule %s for %s until %s: %s", o.Rule, scope(o.Env, o.Cluster, o.Stage), o.Expires.Format(time.RFC3339), o.Why)})
}

func scope(env, cluster, stage string) string {
	out := "everything"
	switch {
	case cluster != "":
		out = "cluster " + env + "/" + cluster
	case env != "":
		out = "environment " + env
	}
	if stage != "" {
		out += ", stage " + stage
	}
	return out
}

// scopeIs refuses a scope that names nothing of the campaign: whoever stops something in an incident has to stop what they mean.
func scopeIs(ctx context.Context, tx *sql.Tx, c campaign.Campaign, environments []string, cluster, stage string) error {
	for _, env := range environments {
		if env != "" && !slices.Contains(c.Environments, env) {
			return &Refused{fmt.Sprintf("campaign %s has no environment %q", c.Name, env), config.Suggest(env, c.Environments)}
		}
	}
	if st, ok := strategy.ByName(c.Strategy); ok && stage != "" && !slices.Contains(st.StageNames(), stage) {
		return &Refused{fmt.Sprintf("strategy %s has no stage %q", c.Strategy, stage), config.Suggest(stage, st.StageNames())}
	}
	if cluster == "" {
		return nil
	}
	names, err := rows(ctx, tx, func(r *sql.Rows) (ref fleet.ClusterRef, err error) { return ref, r.Scan(&ref.Env, &ref.Name) },
		`SELECT env, cluster FROM progress WHERE campaign = $1 ORDER BY env, cluster`, c.Name)
	if err != nil {
		return err
	}
	var all []string
	for _, ref := range names {
		if ref.Name == cluster && slices.Contains(environments, ref.Env) {
			return nil
		}
		all = append(all, ref.String())
	}
	return &Refused{fmt.Sprintf("campaign %s has no cluster %q", c.Name, strings.Join(environments, ",")+"/"+cluster), suggest(strings.Join(environments, ",")+"/"+cluster, all, "`windlass status` lists them")}
}

// suggest is the word that was most likely meant, or where the words are listed if they are too many for a hint.
func suggest(got string, words []string, list string) string {
	if hint := config.Suggest(got, words); len(words) <= 8 || len(hint) < 200 {
		return hint
	}
	return list
}

func (s *Store) addRule(ctx context.Context, name, kind string, spec any, e Event) error {
	return s.update(ctx, func(tx *sql.Tx) error {
		c, _, err := readCampaign(ctx, tx, name)
		if err != nil {
			return err
		}
		switch r := spec.(type) {
		case campaign.Pause:
			err = scopeIs(ctx, tx, c, []string{r.Env}, r.Cluster, r.Stage)
		case campaign.Override:
			err = scopeIs(ctx, tx, c, []string{r.Env}, r.Cluster, r.Stage)
		case campaign.Freeze:
			err = scopeIs(ctx, tx, c, r.Environments, "", "")
		}
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO rules (campaign, kind, spec) VALUES ($1, $2, $3)`, name, kind, text(spec)); err != nil {
			return err
		}
		e.Campaign = name
		return s.event(ctx, tx, e)
	})
}

// Resume ends the pauses of exactly this scope, and clears the failure and the wait for a word of the clusters in it.
func (s *Store) Resume(ctx context.Context, name string, p campaign.Pause) error {
	return s.update(ctx, func(tx *sql.Tx) error {
		c, status, err := readCampaign(ctx, tx, name)
		if err != nil {
			return err
		}
		if err := scopeIs(ctx, tx, c, []string{p.Env}, p.Cluster, p.Stage); err != nil {
			return err
		}
		if status == "aborted" {
			return &Refused{"campaign " + name + " was aborted", "apply it again under another name"}
		}
		pauses, err := rules[campaign.Pause](ctx, tx, name, "pause", func(p *campaign.Pause, id int64) { p.ID = id })
		if err != nil {
			return err
		}
		for _, old := range pauses {
			if old.Env == p.Env && old.Cluster == p.Cluster && old.Stage == p.Stage {
				if _, err := tx.ExecContext(ctx, `UPDATE rules SET ended_at = $1 WHERE id = $2`, micros(s.Now()), old.ID); err != nil {
					return err
				}
			}
		}
		if p.Cluster != "" && p.Stage == "" { // a whole environment's failures are not forgiven by one word, nor a cluster's by the end of a stage's pause
			if _, err := tx.ExecContext(ctx, `UPDATE progress SET failure = NULL, attention = '' WHERE campaign = $1 AND env = $2 AND cluster = $3`, name, p.Env, p.Cluster); err != nil {
				return err
			}
		}
		e := Event{Kind: "resumed", Campaign: name, Who: p.Who, Message: fmt.Sprintf("%s: %s", scope(p.Env, p.Cluster, p.Stage), p.Why)}
		e.Ref.Env, e.Ref.Name = p.Env, p.Cluster
		return s.event(ctx, tx, e)
	})
}
