package mysql

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/fleet"
)

// proofTable is the one thing of ours that is replicated: one row, written over.
const proofTable = "CREATE TABLE IF NOT EXISTS windlass.proof (id TINYINT NOT NULL PRIMARY KEY, token VARCHAR(64) NOT NULL, term BIGINT NOT NULL, at_us BIGINT NOT NULL) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"

// proofWait is how long the row may take to every replica.
const proofWait = 30 * time.Second

// proof is one written row, and the primary's position after it.
type proof struct{ token, position string }

// writeProof writes a marked row on the primary, logged.
func (s *session) writeProof(ctx context.Context, term int64) (proof, error) {
	if err := s.ensure(ctx); err != nil {
		return proof{}, err
	}
	n := 0
	if err := s.one(ctx, "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA='windlass' AND TABLE_NAME='proof'", &n); err != nil {
		return proof{}, err
	}
	p := proof{token: rand.Text()}
	err := s.logged(ctx, func() error {
		if n == 0 {
			// Servers that we do not know replicate too: they need the schema before the row.
			for _, stmt := range []string{tables[0], proofTable} {
				if err := s.exec(ctx, stmt); err != nil {
					return err
				}
			}
		}
		return s.act(ctx, term, "write a marked row", fmt.Sprintf("REPLACE INTO windlass.proof VALUES (1, %s, %d, %d)", quote(p.token), term, s.d.cfg.Now().UnixMicro()))
	})
	if err != nil {
		return proof{}, err
	}
	now := s.look(ctx)
	p.position = now.target()
	return p, now.err
}

// logged runs do with the binary log on.
func (s *session) logged(ctx context.Context, do func() error) error {
	if err := s.exec(ctx, "SET SESSION sql_log_bin=1"); err != nil {
		return err
	}
	if err := do(); err != nil {
		if !s.lost {
			_ = s.exec(ctx, "SET SESSION sql_log_bin=0") // the first error is the one that counts
		}
		return err
	}
	return s.exec(ctx, "SET SESSION sql_log_bin=0")
}

// seeProof waits for the row on a replica, and reads it.
func (s *session) seeProof(ctx context.Context, p proof, limit time.Duration) error {
	there, err := s.fl.wait(ctx, s, p.position, limit)
	if err != nil {
		return err
	}
	if !there {
		v := s.look(ctx)
		if v.err != nil {
			return v.err
		}
		return fmt.Errorf("the marked row at %s did not arrive on %s within %v, which is at %s%s", p.position, s.place, limit, v.position, stuck(v, p.position))
	}
	var token string
	if err := s.one(ctx, "SELECT token FROM windlass.proof WHERE id=1", &token); err != nil {
		return err
	}
	if token != p.token {
		return fmt.Errorf("%s reached %s, but holds another row than the one that was written", s.place, p.position)
	}
	return nil
}

// Prove writes one marked row through the primary and waits for it on every replica.
func (d *Driver) Prove(ctx context.Context, c fleet.Cluster, term int64) (check.Results, error) {
	sc, primary, err := d.settled(ctx, c, term)
	if err != nil {
		return nil, err
	}
	s, err := d.dialTo(ctx, primary.place)
	if err != nil {
		return nil, err
	}
	defer s.close()
	row, err := s.writeProof(ctx, term)
	if err != nil {
		return nil, err
	}
	in := &inspection{d: d, sc: sc, primary: primary}
	for _, v := range sc.views {
		if v != primary {
			in.replicas = append(in.replicas, v)
		}
	}
	return in.run(ctx, []namedCheck{{"proof-row", func(in *inspection, ctx context.Context, f *finding) {
		f.asked("SELECT token FROM windlass.proof")
		f.pass("a row written on %s arrived on %d replicas", primary.place, len(in.replicas))
		parallel(f.known(in.replicas), f, func(v *view, f *finding) {
			s, err := d.lookTo(ctx, v.place)
			if err != nil {
				f.unknown(err)
				return
			}
			defer s.close()
			if err := s.seeProof(ctx, row, proofWait); err != nil {
				f.fail("mend replication on "+v.place.String(), "%v", err)
			}
		})
	}}}), nil
}
