package state

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

// Mend is leave to put one cluster right while no action has it: a primary that was restarted boots read-only (trap 2), in a
// soak, too, and after the campaign. No action of the cluster is leased until it ends, and its term fences whoever came before.
type Mend struct {
	Cluster fleet.Cluster `json:"cluster"`
	Term    int64         `json:"term"`
	TTL     time.Duration `json:"ttl"` // nanoseconds; it is not prolonged
}

// Mended is what came of a Mend.
type Mended struct {
	Opened bool   `json:"opened"` // the primary is writable again
	Detail string `json:"detail"` // which one; or why not
}

// BeginMend gives the holder leave to put a cluster right; nil if an action has the cluster, or another holder has leave. The
// cluster's term grows with it, as with a lease.
func (s *Store) BeginMend(ctx context.Context, ref fleet.ClusterRef, holder string) (m *Mend, err error) {
	err = s.update(ctx, func(tx *sql.Tx) error {
		m = nil
		now := s.Now()
		var term int64
		err := tx.QueryRowContext(ctx, `UPDATE clusters SET term = term + 1, mender = $1, mend_until = $2 WHERE env = $3 AND name = $4 AND mend_until < $5
				AND NOT EXISTS (SELECT 1 FROM actions a WHERE a.env = clusters.env AND a.cluster = clusters.name AND a.ended_at = 0) RETURNING term`,
			holder, micros(now.Add(s.leaseTTL)), ref.Env, ref.Name, micros(now)).Scan(&term)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		c, err := cluster(ctx, tx, ref)
		m = &Mend{Cluster: c, Term: term, TTL: s.leaseTTL}
		return err
	})
	return m, err
}

// EndMend gives the leave back and tells what came of it; whoever has an action of the cluster tells under the action's term. A failure is
// told once for each reason. Under a term that is over it does nothing: whoever has the cluster now tells of it.
func (s *Store) EndMend(ctx context.Context, ref fleet.ClusterRef, term int64, r Mended) error {
	return s.update(ctx, func(tx *sql.Tx) error {
		told := r.Detail
		if r.Opened {
			told = ""
		}
		var before string
		err := tx.QueryRowContext(ctx, `SELECT mend_error FROM clusters WHERE env = $1 AND name = $2 AND term = $3`, ref.Env, ref.Name, term).Scan(&before)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE clusters SET mend_until = 0, mend_error = $1 WHERE env = $2 AND name = $3`, told, ref.Env, ref.Name); err != nil {
			return err
		}
		switch {
		case r.Opened:
			return s.event(ctx, tx, Event{Kind: "primary-opened", Loud: true, Ref: ref, Term: term, Message: "the primary had been restarted and was read-only; it is writable again: " + r.Detail})
		case told != before:
			return s.event(ctx, tx, Event{Kind: "primary-not-opened", Loud: true, Ref: ref, Term: term, Message: "no node is writable, and none was opened: " + r.Detail})
		}
		return nil
	})
}

// setShut notes since when no node of a cluster is seen writable, or, of an engine, serving, and tells of it if the next look says the same. A live
// action that moves the primary is expected to do that, and tells by itself. A look that saw nothing says nothing.
func (s *Store) setShut(ctx context.Context, tx *sql.Tx, ref fleet.ClusterRef, o fleet.Observation) error {
	shut, known := o.Shut()
	if !known {
		return nil
	}
	var since int64
	var told bool
	if err := tx.QueryRowContext(ctx, `SELECT shut_since, shut_told = 1 FROM clusters WHERE env = $1 AND name = $2`, ref.Env, ref.Name).Scan(&since, &told); err != nil {
		return err
	}
	if shut {
		if moving, err := moved(ctx, tx, ref); err != nil || moving {
			return err
		}
	}
	set := func(since int64, told bool) error {
		_, err := tx.ExecContext(ctx, `UPDATE clusters SET shut_since = $1, shut_told = $2 WHERE env = $3 AND name = $4`, since, b2i(told), ref.Env, ref.Name)
		return err
	}
	switch {
	case !shut && since == 0, shut && told:
		return nil
	case !shut:
		if err := set(0, false); err != nil || !told {
			return err
		}
		if o.OfEngine() {
			return s.event(ctx, tx, Event{Kind: "served-again", Ref: ref, Message: "nodes serve again: " + o.Roles()})
		}
		p, _ := o.Primary()
		return s.event(ctx, tx, Event{Kind: "primary-seen", Ref: ref, Message: strings.TrimSpace("a node is writable again " + p.Node)})
	case since == 0:
		return set(micros(o.At), false)
	}
	if err := set(since, true); err != nil {
		return err
	}
	if o.OfEngine() {
		return s.event(ctx, tx, Event{Kind: "none-serves", Loud: true, Ref: ref,
			Message: fmt.Sprintf("no node is seen serving since %s: %s", fromMicros(since).UTC().Format(time.RFC3339), o.Roles())})
	}
	return s.event(ctx, tx, Event{Kind: "no-primary", Loud: true, Ref: ref,
		Message: fmt.Sprintf("no node is seen writable since %s: %s", fromMicros(since).UTC().Format(time.RFC3339), o.Roles())})
}

// moved tells whether a live action of the cluster is in a stage that moves the primary.
func moved(ctx context.Context, tx *sql.Tx, ref fleet.ClusterRef) (bool, error) {
	var text string
	err := tx.QueryRowContext(ctx, `SELECT plan FROM actions WHERE env = $1 AND cluster = $2 AND ended_at = 0`, ref.Env, ref.Name).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	p, err := decode[strategy.Plan](text)
	return err != nil || p.MovesPrimary(), nil // a plan that can't be read is told of elsewhere, and may move it
}

// WithoutPrimary counts in each environment the clusters of which it was told that no node is writable, or serves.
func (s *Store) WithoutPrimary(ctx context.Context) (map[string]int, error) {
	type count struct {
		env string
		n   int
	}
	all := map[string]int{}
	err := s.view(ctx, func(tx *sql.Tx) error {
		counts, err := rows(ctx, tx, func(r *sql.Rows) (c count, err error) { return c, r.Scan(&c.env, &c.n) }, `SELECT env, SUM(shut_told) FROM clusters GROUP BY env`)
		for _, c := range counts {
			all[c.env] = c.n
		}
		return err
	})
	return all, err
}
