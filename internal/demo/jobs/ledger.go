package jobs

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/windlass-db/windlass/internal/fleet"
)

// Outcome is what became of the jobs.
type Outcome struct {
	Started int      // acknowledged to a client
	Done    int      // of them, those whose every step has had effect, once
	Across  int      // of them, begun on the old version and finished on the new one
	Lost    []string // acknowledged, and not there or not finished
	Doubled []string // a step of it has had effect twice
	Early   int      // jobs of the old version's time that used the new one's feature
}

// Finish waits until every job is done that the database has, so long as something moves.
func (s *Site) Finish(ctx context.Context) error {
	last, since := -1, time.Now()
	return until(ctx, func() (bool, string) {
		left, steps := 0, 0
		if err := s.DB.QueryRowContext(ctx, "SELECT COUNT(*), COALESCE(SUM(steps - step), 0) FROM job WHERE state <> 'done'").Scan(&left, &steps); err != nil {
			return false, fmt.Sprintf("how many jobs are left: %v", err)
		}
		if steps != last {
			last, since = steps, time.Now()
		}
		return left == 0 || time.Since(since) > 20*time.Second, fmt.Sprintf("%d jobs are not done", left)
	})
}

// Judge holds the acknowledged jobs against what the database has.
func (s *Site) Judge(ctx context.Context, keys []string) (Outcome, error) {
	o := Outcome{Started: len(keys)}
	type job struct {
		steps, step, done, distinct int
		state, began, ended         string
	}
	rows, err := s.DB.QueryContext(ctx, `SELECT j.name, j.steps, j.step, j.state, j.started_on, j.finished_on, COUNT(s.id), COUNT(DISTINCT s.step)
		FROM job j LEFT JOIN job_step s ON s.job_id = j.id GROUP BY j.id, j.name, j.steps, j.step, j.state, j.started_on, j.finished_on`)
	if err != nil {
		return o, fmt.Errorf("read the jobs: %w", err)
	}
	all := map[string]job{}
	if err := scan(rows, func() error {
		var name string
		var j job
		if err := rows.Scan(&name, &j.steps, &j.step, &j.state, &j.began, &j.ended, &j.done, &j.distinct); err != nil {
			return err
		}
		all[name] = j
		if j.done > j.distinct || j.done > j.steps {
			o.Doubled = append(o.Doubled, name)
		}
		return nil
	}); err != nil {
		return o, fmt.Errorf("read the jobs: %w", err)
	}
	for _, key := range keys {
		j, there := all[key]
		switch {
		case !there, j.state != "done", j.distinct < j.steps:
			o.Lost = append(o.Lost, key)
			continue
		case j.done == j.steps:
			o.Done++
		}
		if fleet.HasVersion(j.began, Old) && fleet.HasVersion(j.ended, New) {
			o.Across++
		}
	}
	slices.Sort(o.Doubled)
	// A job that an old node began, or did a step of after the feature was opened, and that uses the feature.
	if err := s.DB.QueryRowContext(ctx, `SELECT COUNT(*) FROM job WHERE priority > 0 AND started_on LIKE '`+Old+`%'`).Scan(&o.Early); err != nil {
		return o, fmt.Errorf("look for features that were used early: %w", err)
	}
	return o, nil
}

func scan(rows *sql.Rows, each func() error) error {
	defer rows.Close()
	for rows.Next() {
		if err := each(); err != nil {
			return err
		}
	}
	return rows.Err()
}

// UsedBeforeOpening counts the jobs that use the new version's feature and had a step done before that was opened, by the same clock and with the same
// allowance.
func (s *Site) UsedBeforeOpening(ctx context.Context) (int, error) {
	n := 0
	err := s.DB.QueryRowContext(ctx, `SELECT COUNT(DISTINCT j.id) FROM job j JOIN job_step s ON s.job_id = j.id JOIN windlass_features f ON f.version = '`+New+`' WHERE j.priority > 0 AND s.done_at < `+s.opened("-1")).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("look for uses before the features were opened: %w", err)
	}
	return n, nil
}

// opened is when the features were, and so many seconds later, in SQL.
func (s *Site) opened(seconds string) string {
	if s.cfg.Database == MariaDB {
		return "f.opened_at + INTERVAL " + seconds + " SECOND"
	}
	return "f.opened_at + INTERVAL '" + seconds + " second'"
}

// OldAfterOpening counts the steps that an old node did after the new version's features were opened, by the database's clock. A step is
// stamped to the microsecond and the opening on some databases to the second, so a second is allowed for.
func (s *Site) OldAfterOpening(ctx context.Context) (int, error) {
	n := 0
	err := s.DB.QueryRowContext(ctx, `SELECT COUNT(*) FROM job_step s JOIN windlass_features f ON f.version = '`+New+`' WHERE s.version LIKE '`+Old+`%' AND s.done_at > `+s.opened("1")).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("look for old nodes after the features were opened: %w", err)
	}
	return n, nil
}
