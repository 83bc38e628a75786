package schema

import (
	"context"
	"database/sql"
	"fmt"
)

// estimate gives what locks, rebuilds or backfills a table its size on the live database, and the time that it takes.
func (c *checker) estimate(ctx context.Context) error {
	if c.live == nil {
		return nil
	}
	known := map[string]*Estimate{}
	for i := range c.report.Findings {
		f := &c.report.Findings[i]
		if f.Table == "" || f.Severity != Locks && f.Rule != "online-rebuild" {
			continue
		}
		w := workOf(*f)
		key := fmt.Sprint(f.Table, "\x00", w)
		if known[key] == nil {
			e, err := c.size(ctx, f.Table)
			if err != nil {
				return err
			}
			c.Progress("a sample of " + f.Table)
			if c.Measure {
				c.sample(ctx, f.Table, w, e)
			} else {
				e.Basis = "its time was not measured"
			}
			known[key] = e
		}
		f.Estimate = known[key]
	}
	return nil
}

// size asks the server's statistics.
func (c *checker) size(ctx context.Context, table string) (*Estimate, error) {
	q := `SELECT greatest(c.reltuples,0)::int8, pg_total_relation_size(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid=c.relnamespace WHERE n.nspname||'.'||c.relname=$1`
	if c.Dialect == MySQL {
		q = `SELECT COALESCE(TABLE_ROWS,0), COALESCE(DATA_LENGTH,0)+COALESCE(INDEX_LENGTH,0) FROM information_schema.TABLES WHERE TABLE_SCHEMA=DATABASE() AND TABLE_NAME=?`
	}
	e := &Estimate{}
	err := c.live.QueryRowContext(ctx, q, table).Scan(&e.Rows, &e.Bytes)
	if err == sql.ErrNoRows {
		e.Basis = "the live database has no such table"
		return e, nil
	}
	if err != nil {
		return nil, &Error{Where: c.liveDSN.String(), What: "does not tell the size of " + table, Hint: "see the account's rights on the catalog", Err: c.liveDSN.clean(err)}
	}
	return e, nil
}
