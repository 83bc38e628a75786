package schema

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"strings"
	"time"
)

// A sample is so many rows, taken so often, for at most so long for one table.
const (
	sampleRows  = 20000
	sampleTimes = 5
	sampleLimit = 15 * time.Second
)

// student95 is the quantile of Student's t for a 95 % interval of five samples.
const student95 = 2.776

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
		writes := !strings.Contains("constraint-not-valid scan-under-lock", f.Rule)
		key := fmt.Sprint(f.Table, writes)
		if known[key] == nil {
			e, err := c.size(ctx, f.Table)
			if err != nil {
				return err
			}
			c.Progress("a sample of " + f.Table)
			if c.Measure {
				c.sample(ctx, f.Table, writes, e)
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

// sample reads a part of the table several times, or writes it to a temporary table, and scales the time to all rows. What fails is
// told in Basis: it is no reason to end the check.
func (c *checker) sample(ctx context.Context, table string, writes bool, e *Estimate) {
	ctx, cancel := context.WithTimeout(ctx, sampleLimit)
	defer cancel()
	conn, err := c.live.Conn(ctx)
	if err != nil {
		e.Basis = "its time was not measured: " + c.liveDSN.clean(err).Error()
		return
	}
	defer conn.Close()
	var parts []string
	for _, p := range strings.Split(table, ".") {
		parts = append(parts, quoteName(c.Dialect, p))
	}
	from := strings.Join(parts, ".")
	var rates []float64
	var rows int64
	for i := range sampleTimes {
		seconds, n, err := c.oneSample(ctx, conn, from, writes, e.Rows, i)
		if err != nil {
			e.Basis = "its time was not measured: " + c.liveDSN.clean(err).Error()
			return
		}
		if n > 0 {
			rates, rows = append(rates, seconds/float64(n)), rows+n
		}
	}
	if len(rates) < sampleTimes {
		e.Basis = "its time was not measured: samples were empty"
		return
	}
	mean, spread := meanAndError(rates)
	n := float64(e.Rows)
	e.Seconds, e.Low, e.High = mean*n, math.Max(0, mean-spread)*n, (mean+spread)*n
	does := "reading"
	if writes {
		does = "writing"
	}
	e.Basis = fmt.Sprintf("from %s %d rows in %d samples; 95 %% interval of the samples, without building indexes, waiting for locks or a cold cache", does, rows, sampleTimes)
}

func meanAndError(rates []float64) (mean, spread float64) {
	for _, r := range rates {
		mean += r / float64(len(rates))
	}
	for _, r := range rates {
		spread += (r - mean) * (r - mean)
	}
	return mean, student95 * math.Sqrt(spread/float64(len(rates)-1)) / math.Sqrt(float64(len(rates)))
}

// oneSample takes one sample; seed is another for each.
func (c *checker) oneSample(ctx context.Context, conn *sql.Conn, from string, writes bool, rows int64, seed int) (seconds float64, n int64, err error) {
	part := fmt.Sprintf("%s LIMIT %d", from, sampleRows)
	if c.Dialect == Postgres {
		percent := 100.0
		if rows > sampleRows {
			percent = 100 * sampleRows / float64(rows)
		}
		part = fmt.Sprintf("%s TABLESAMPLE SYSTEM (%g) REPEATABLE (%d)", from, percent, seed)
	}
	if !writes {
		begin := time.Now()
		err = conn.QueryRowContext(ctx, "SELECT count(*) FROM (SELECT * FROM "+part+") AS windlass_sample").Scan(&n)
		return time.Since(begin).Seconds(), n, err
	}
	begin := time.Now()
	if _, err = conn.ExecContext(ctx, "CREATE TEMPORARY TABLE windlass_sample AS SELECT * FROM "+part); err != nil {
		return 0, 0, err
	}
	seconds = time.Since(begin).Seconds()
	defer func() {
		end, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		drop := "DROP TABLE pg_temp.windlass_sample"
		if c.Dialect == MySQL {
			drop = "DROP TEMPORARY TABLE windlass_sample"
		}
		if _, e := conn.ExecContext(end, drop); err == nil {
			err = e
		}
	}()
	err = conn.QueryRowContext(ctx, "SELECT count(*) FROM windlass_sample").Scan(&n)
	return seconds, n, err
}
