package state

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"errors"
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
	return s.addRule(ctx, name, "pause", p, Event{Kind: "paused", Who: p.Who, Message: fmt.Sprintf("%s: %s", scope(p.Env, p.Cluster, p.Stage), p.Why)})
}

// Freeze adds a time in which nothing starts.
func (s *Store) Freeze(ctx context.Context, name string, f campaign.Freeze) error {
	if !f.To.After(f.From) {
		return &Refused{"the freeze ends before it begins", "give an end after the beginning"}
	}
	return s.addRule(ctx, name, "freeze", f, Event{Kind: "frozen", Who: f.Who, Message: fmt.Sprintf("from %s to %s: %s", f.From.Format(time.RFC3339), f.To.Format(time.RFC3339), f.Reason)})
}

// Override lets one rule pass in a scope, until it expires.
func (s *Store) Override(ctx context.Context, name string, o campaign.Override) error {
	o.At = s.Now()
	if !o.Expires.After(o.At) || o.Who == "" || o.Why == "" {
		return &Refused{"an override needs who, why, and an expiry that is to come", "say them all"}
	}
	return s.addRule(ctx, name, "override", o, Event{Kind: "overridden", Loud: true, Who: o.Who, Message: fmt.Sprintf("rule %s for %s until %s: %s", o.Rule, scope(o.Env, o.Cluster, o.Stage), o.Expires.Format(time.RFC3339), o.Why)})
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
	return &Refused{fmt.Sprintf("campaign %s has no cluster %q", c.Name, strings.Join(environments, ",")+"/"+cluster), config.Suggest(strings.Join(environments, ",")+"/"+cluster, all)}
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
		if p.Cluster != "" { // a whole environment's failures are not forgiven by one word
			if _, err := tx.ExecContext(ctx, `UPDATE progress SET failure = NULL, attention = '' WHERE campaign = $1 AND env = $2 AND cluster = $3`, name, p.Env, p.Cluster); err != nil {
				return err
			}
		}
		e := Event{Kind: "resumed", Campaign: name, Who: p.Who, Message: fmt.Sprintf("%s: %s", scope(p.Env, p.Cluster, p.Stage), p.Why)}
		e.Ref.Env, e.Ref.Name = p.Env, p.Cluster
		return s.event(ctx, tx, e)
	})
}

// Abort ends a campaign: nothing starts again, and actions that run turn round, except past the point of no return.
func (s *Store) Abort(ctx context.Context, name, who, why string) error {
	return s.update(ctx, func(tx *sql.Tx) error {
		c, status, err := readCampaign(ctx, tx, name)
		if err != nil {
			return err
		}
		if status == "completed" || status == "aborted" {
			return &Refused{fmt.Sprintf("campaign %s is %s already", name, status), "nothing is left to abort"}
		}
		if _, err := tx.ExecContext(ctx, `UPDATE campaigns SET status = 'aborted', rev = rev + 1 WHERE name = $1`, name); err != nil {
			return err
		}
		st, _ := strategy.ByName(c.Strategy)
		for _, stage := range st.Stages {
			if stage.PointOfNoReturn {
				continue
			}
			if _, err := tx.ExecContext(ctx, `UPDATE actions SET abort = 1, reason = $1, not_before = 0 WHERE campaign = $2 AND stage = $3 AND direction = 'forward' AND ended_at = 0`, why, name, stage.Name); err != nil {
				return err
			}
		}
		return s.event(ctx, tx, Event{Kind: "aborted", Loud: true, Campaign: name, Who: who, Message: why})
	})
}

// Token is what a bearer token is good for.
type Token struct {
	Role string `json:"role"` // "operator", "viewer" or "supervisor"
	Env  string `json:"env"`  // of a supervisor: its one environment
	Name string `json:"name"` // whom it was made for
}

// ErrNoToken means that a token is not known.
var ErrNoToken = errors.New("this token is not known")

// NewToken makes a token. Only its hash is kept: what is returned is shown once.
func (s *Store) NewToken(ctx context.Context, t Token) (string, error) {
	if (t.Role == "supervisor") != (t.Env != "") || (t.Role != "operator" && t.Role != "viewer" && t.Role != "supervisor") {
		return "", &Refused{fmt.Sprintf("no token can have the role %q and the environment %q", t.Role, t.Env), "roles are operator, viewer, and supervisor with an environment"}
	}
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24
	secret := "wl_" + base64.RawURLEncoding.EncodeToString(b[:])
	return secret, s.AddToken(ctx, secret, t)
}

// AddToken keeps a token that somebody else made. Repeated it is fine.
func (s *Store) AddToken(ctx context.Context, secret string, t Token) error {
	if len(secret) < 20 {
		return &Refused{"a token must have 20 characters at least", "make it from random bytes"}
	}
	return s.update(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO tokens (hash, role, env, name, created_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (hash) DO UPDATE SET role = excluded.role, env = excluded.env, name = excluded.name`,
			hashOf(secret), t.Role, t.Env, t.Name, micros(s.Now()))
		return err
	})
}

// hashOf needs no salt and no slowness: a token is 32 random bytes. The look-up is by hash, so its time tells nothing of the token.
func hashOf(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// TokenOf tells what a token is good for, or ErrNoToken.
func (s *Store) TokenOf(ctx context.Context, secret string) (Token, error) {
	var t Token
	err := s.read.QueryRowContext(ctx, `SELECT role, env, name FROM tokens WHERE hash = $1`, hashOf(secret)).Scan(&t.Role, &t.Env, &t.Name)
	if errors.Is(err, sql.ErrNoRows) {
		return t, ErrNoToken
	}
	return t, err
}
