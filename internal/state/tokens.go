package state

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/secret"
)

// Token is what a bearer token is good for.
type Token struct {
	Role string `json:"role"` // "operator", "viewer" or "supervisor"
	Env  string `json:"env"`  // of a supervisor: its one environment
	Name string `json:"name"` // whom it was made for
}

func (t Token) String() string {
	if t.Env != "" {
		return fmt.Sprintf("%s of %s for %s", t.Role, t.Env, t.Name)
	}
	return fmt.Sprintf("%s for %s", t.Role, t.Name)
}

// TokenInfo is a token as it is listed: without its secret, which nobody has.
type TokenInfo struct {
	ID string `json:"id"` // the beginning of the secret's hash: it tells nothing of the secret
	Token
	CreatedAt time.Time `json:"created_at"`
	UsedAt    time.Time `json:"used_at,omitzero"`    // to the minute; zero: never
	RevokedAt time.Time `json:"revoked_at,omitzero"` // zero: it is good
}

// ErrNoToken means that a token is not known, or was revoked.
var ErrNoToken = errors.New("this token is not known")

// ErrRevoked means that a token was revoked, and so is never good again.
var ErrRevoked = errors.New("the token was revoked")

// tokenID is how many hexadecimal digits of the hash name a token.
const tokenID = 12

// usedWithin is how old the time of a token's last use may be before it is written again.
const usedWithin = time.Minute

// NewToken makes a token, for whoever asks. Only its hash is kept: what is returned is shown once.
func (s *Store) NewToken(ctx context.Context, t Token, who string) (string, error) {
	if (t.Role == "supervisor") != (t.Env != "") || (t.Role != "operator" && t.Role != "viewer" && t.Role != "supervisor") {
		return "", &Refused{fmt.Sprintf("no token can have the role %q and the environment %q", t.Role, t.Env), "roles are operator, viewer, and supervisor with an environment"}
	}
	token := "wl_" + secret.New()
	return token, s.AddToken(ctx, token, t, who)
}

// AddToken keeps a token that somebody else made. Repeated it is fine, but one that was revoked stays so: ErrRevoked.
func (s *Store) AddToken(ctx context.Context, token string, t Token, who string) error {
	if len(token) < 20 {
		return &Refused{"a token must have 20 characters at least", "make it from random bytes"}
	}
	return s.update(ctx, func(tx *sql.Tx) error {
		hash := hashOf(token)
		var old Token
		var revoked int64
		err := tx.QueryRowContext(ctx, `SELECT role, env, name, revoked_at FROM tokens WHERE hash = $1`, hash).Scan(&old.Role, &old.Env, &old.Name, &revoked)
		switch {
		case err != nil && !errors.Is(err, sql.ErrNoRows):
			return err
		case err == nil && revoked != 0:
			return fmt.Errorf("%w: %w", ErrRevoked, &Refused{fmt.Sprintf("%s, %s", hash[:tokenID], old), "a revoked token is never good again: make a new one"})
		case err == nil && old == t:
			return nil
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO tokens (hash, role, env, name, created_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (hash) DO UPDATE SET role = excluded.role, env = excluded.env, name = excluded.name`,
			hash, t.Role, t.Env, t.Name, micros(s.Now())); err != nil {
			return err
		}
		e := Event{Kind: "token-made", Who: who, Message: fmt.Sprintf("token %s: %s", hash[:tokenID], t)}
		e.Ref.Env = t.Env
		return s.event(ctx, tx, e)
	})
}

// Tokens lists all tokens, the newest last; those that were revoked, too.
func (s *Store) Tokens(ctx context.Context) (all []TokenInfo, err error) {
	err = s.view(ctx, func(tx *sql.Tx) error {
		all, err = tokens(ctx, tx)
		return err
	})
	return all, err
}

func tokens(ctx context.Context, tx *sql.Tx) ([]TokenInfo, error) {
	return rows(ctx, tx, func(r *sql.Rows) (t TokenInfo, err error) {
		var hash string
		var created, used, revoked int64
		err = r.Scan(&hash, &t.Role, &t.Env, &t.Name, &created, &used, &revoked)
		t.ID, t.CreatedAt, t.UsedAt, t.RevokedAt = hash[:min(tokenID, len(hash))], fromMicros(created), fromMicros(used), fromMicros(revoked)
		return t, err
	}, `SELECT hash, role, env, name, created_at, used_at, revoked_at FROM tokens ORDER BY created_at, hash`)
}

// RevokeToken ends a token, at once and for good. It is named by its id, or by whom it was made for if that is only one. The last good operator's
// token is kept: without it nobody could make another.
func (s *Store) RevokeToken(ctx context.Context, named, who string) (out TokenInfo, err error) {
	err = s.update(ctx, func(tx *sql.Tx) error {
		all, err := tokens(ctx, tx)
		if err != nil {
			return err
		}
		all = slices.DeleteFunc(all, func(t TokenInfo) bool { return !t.RevokedAt.IsZero() })
		var found []TokenInfo
		var names []string
		operators := 0
		for _, t := range all {
			names = append(names, t.ID, t.Name)
			if t.Role == "operator" {
				operators++
			}
			switch {
			case t.ID == named:
				found = []TokenInfo{t}
			case t.Name == named && (len(found) == 0 || found[0].ID != named):
				found = append(found, t)
			}
		}
		switch {
		case len(found) == 0:
			return &Refused{fmt.Sprintf("no good token is %q", named), suggest(named, names, "`windlass token list` lists them")}
		case len(found) > 1:
			var ids []string
			for _, t := range found {
				ids = append(ids, t.ID)
			}
			return &Refused{fmt.Sprintf("%d tokens were made for %q", len(found), named), "name one by its id: " + strings.Join(ids, ", ")}
		case found[0].Role == "operator" && operators == 1:
			return &Refused{fmt.Sprintf("%s is the last operator's token: without it nobody could make another", found[0].ID), "make another first: windlass token create --role operator --name NAME"}
		}
		out = found[0]
		out.RevokedAt = s.Now()
		if _, err := tx.ExecContext(ctx, `UPDATE tokens SET revoked_at = $1 WHERE hash LIKE $2`, micros(out.RevokedAt), out.ID+"%"); err != nil {
			return err
		}
		e := Event{Kind: "token-revoked", Who: who, Message: fmt.Sprintf("token %s: %s", out.ID, out.Token)}
		e.Ref.Env = out.Env
		return s.event(ctx, tx, e)
	})
	return out, err
}

// Environments are those that the fleet has clusters in, by name.
func (s *Store) Environments(ctx context.Context) (all []string, err error) {
	err = s.view(ctx, func(tx *sql.Tx) error {
		all, err = rows(ctx, tx, func(r *sql.Rows) (env string, err error) { return env, r.Scan(&env) }, `SELECT DISTINCT env FROM clusters WHERE forgotten_at = 0 ORDER BY env`)
		return err
	})
	return all, err
}

// hashOf needs no salt and no slowness: a token is 32 random bytes. The look-up is by hash, so its time tells nothing of the token.
func hashOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// TokenOf tells what a token is good for, or ErrNoToken. That it was used is written down, at most once in a minute.
func (s *Store) TokenOf(ctx context.Context, token string) (Token, error) {
	var t Token
	var used, revoked int64
	hash := hashOf(token)
	err := s.read.QueryRowContext(ctx, `SELECT role, env, name, used_at, revoked_at FROM tokens WHERE hash = $1`, hash).Scan(&t.Role, &t.Env, &t.Name, &used, &revoked)
	if errors.Is(err, sql.ErrNoRows) || err == nil && revoked != 0 {
		return Token{}, ErrNoToken
	}
	if err != nil {
		return Token{}, err
	}
	now := s.Now()
	if before := micros(now.Add(-usedWithin)); used < before {
		// A state that can't be written can still be read, and looking at it must not need a write.
		_ = s.update(ctx, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, `UPDATE tokens SET used_at = $1 WHERE hash = $2 AND used_at < $3`, micros(now), hash, before)
			return err
		})
	}
	return t, nil
}
