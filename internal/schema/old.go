package schema

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// oldStatements are statements of the old version, which are tried on the new schema. nil tries nothing.
type oldStatements struct {
	stmts  []Statement
	fit    []bool // worked on the old schema
	failed []bool // failed on the new one, or meant something else, and was told
	// prepared are those that were prepared only: they have placeholders, or need rows that are not there.
	prepared []bool
	columns  [][]string // of its result on the old schema, with their types; nil: it has none, or they are not known
	form     string     // of a log; "": plain SQL
	skipped  int        // of a log, that can't be tried
}

var (
	mayTry       = regexp.MustCompile(`(?i)^\s*\(*\s*(SELECT|INSERT|UPDATE|DELETE|REPLACE|MERGE|WITH|VALUES|TABLE|CALL)\b`)
	pgHolder     = regexp.MustCompile(`\$\d+`)
	outsideTries = regexp.MustCompile(`(?i)\b(INTO\s+(OUTFILE|DUMPFILE)|pg_terminate_backend|pg_cancel_backend|dblink\w*|pg_read_file|lo_export|LOAD_FILE|GET_LOCK|SLEEP|pg_sleep)\b`)
)

// onOld runs the statements on the old schema, to know which of them prove anything.
func (o *oldStatements) onOld(ctx context.Context, c *checker) error {
	if o == nil {
		return nil
	}
	for i := range o.stmts {
		o.prepared[i] = o.holders(c.Dialect, i)
	}
	tries, err := o.try(ctx, c.dev)
	if err != nil {
		return err
	}
	again := false
	for i, r := range tries {
		if needsRows(r.err) && !o.prepared[i] {
			o.prepared[i], again = true, true // it says nothing of the schema, but that it is understood
		}
	}
	if again {
		if tries, err = o.try(ctx, c.dev); err != nil {
			return err
		}
	}
	c.report.Skipped = o.skipped
	for i, r := range tries {
		if o.fit[i] = r.err == nil; r.err != nil {
			c.report.Unfit = append(c.report.Unfit, o.stmts[i])
			continue
		}
		o.columns[i] = r.columns
		c.report.Tried++
		if o.prepared[i] {
			c.report.Prepared++
		}
	}
	if c.report.Tried == 0 {
		return &Error{Where: c.Statements, What: "no statement works on the old schema; the first says: " + c.dev.server.clean(tries[0].err).Error(), Hint: "give statements of the old version, with the rows that they need inserted before them", Usage: true}
	}
	return nil
}

// onNew runs them on the schema after a statement of the migration.
func (o *oldStatements) onNew(ctx context.Context, c *checker, after Statement) error {
	if o == nil {
		return nil
	}
	tries, err := o.try(ctx, c.dev)
	if err != nil {
		return err
	}
	for i, r := range tries {
		if !o.fit[i] || o.failed[i] {
			continue
		}
		rule, what := "old-statement-fails", ""
		if r.err != nil {
			what = c.dev.server.clean(r.err).Error()
		} else if what = otherColumns(c.Dialect, o.columns[i], r.columns); what != "" {
			rule = "old-statement-changes"
		} else {
			continue
		}
		o.failed[i] = true
		f := after.finding(rule, "statement "+o.stmts[i].Where(), "", fmt.Sprintf("%q: %s", o.stmts[i].Short(), what))
		c.report.Findings = append(c.report.Findings, f)
	}
	return nil
}

// needsRows tells whether a statement failed only because rows are not there that it refers to, or are there twice.
func needsRows(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code == "23503" || pg.Code == "23505"
	}
	var my *mysql.MySQLError
	return errors.As(err, &my) && (my.Number == 1452 || my.Number == 1451 || my.Number == 1062)
}

// otherColumns says how a result's columns differ from what they were; "" if they don't, or if one of both is not known. Types count on
// PostgreSQL alone, where a pooled statement fails by them.
func otherColumns(d Dialect, was, is []string) string {
	if was == nil || is == nil || slices.Equal(was, is) {
		return ""
	}
	names := func(cs []string) (out []string) {
		for _, c := range cs {
			name, _, _ := strings.Cut(c, "\x00")
			out = append(out, name)
		}
		return out
	}
	a, b := names(was), names(is)
	what := ""
	switch {
	case len(b) > len(a) && slices.Equal(a, b[:len(a)]):
		what = "its result has more columns: " + strings.Join(b[len(a):], ", ")
	case !slices.Equal(a, b):
		what = fmt.Sprintf("its result had the columns %s, and has now %s", strings.Join(a, ", "), strings.Join(b, ", "))
	case d == MySQL:
		return ""
	default:
		what = fmt.Sprintf("its result has other types: it was %s, and is now %s", strings.ReplaceAll(strings.Join(was, ", "), "\x00", " "), strings.ReplaceAll(strings.Join(is, ", "), "\x00", " "))
	}
	if d == Postgres {
		what += "; a pooled statement fails with \"cached plan must not change result type\" (trap 40)"
	}
	return what
}

// holders tells whether a statement has placeholders, and so can be prepared only.
func (o *oldStatements) holders(d Dialect, i int) bool {
	return placeholder[d].MatchString(masked(o.stmts[i].SQL))
}

// try runs all statements in their order in one transaction, which is rolled back: what one inserts the next may find. The errors are
// the statements' own. A statement that is prepared only is asked for its result's columns with NULL for each placeholder, where that works.
func (o *oldStatements) try(ctx context.Context, d *dev) (each []tried, err error) {
	conn, err := d.db.Conn(ctx)
	if err != nil {
		return nil, d.wrong("can't connect", err)
	}
	defer conn.Close()
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return nil, d.wrong("begins no transaction", err)
	}
	defer func() {
		if e := tx.Rollback(); e != nil && err == nil && !errors.Is(e, sql.ErrTxDone) {
			err = d.wrong("does not roll back", e)
		}
	}()
	for i, s := range o.stmts {
		if _, err := tx.ExecContext(ctx, "SAVEPOINT windlass_try"); err != nil {
			return nil, d.wrong("makes no savepoint", err)
		}
		r := o.one(ctx, tx, d.dialect, i, s)
		each = append(each, r)
		end := "RELEASE SAVEPOINT windlass_try"
		if r.err != nil {
			end = "ROLLBACK TO SAVEPOINT windlass_try"
		}
		if r.err == nil && o.prepared[i] && returnsRows.MatchString(masked(s.SQL)) {
			if _, err := tx.ExecContext(ctx, "SAVEPOINT windlass_columns"); err != nil {
				return nil, d.wrong("makes no savepoint", err)
			}
			each[i].columns, _ = result(ctx, tx, d.dialect, o.withNull(d.dialect, i)) // what is not known is not compared
			if _, err := tx.ExecContext(ctx, "ROLLBACK TO SAVEPOINT windlass_columns"); err != nil {
				return nil, d.wrong(fmt.Sprintf("lost the transaction at %s (%q)", s.Where(), s.Short()), err)
			}
		}
		if _, err := tx.ExecContext(ctx, end); err != nil {
			return nil, d.wrong(fmt.Sprintf("lost the transaction at %s (%q)", s.Where(), s.Short()), err)
		}
	}
	return each, nil
}

// tried is what came of one statement.
type tried struct {
	err     error
	columns []string // name and type of each of its result; nil: it has none, or they are not known
}

var returnsRows = regexp.MustCompile(`(?i)^\s*\(*\s*(SELECT|WITH|VALUES|TABLE)\b`)

func (o *oldStatements) one(ctx context.Context, tx *sql.Tx, d Dialect, i int, s Statement) (r tried) {
	if o.prepared[i] {
		p, err := tx.PrepareContext(ctx, s.SQL)
		if err != nil {
			return tried{err: err}
		}
		return tried{err: p.Close()}
	}
	if returnsRows.MatchString(masked(s.SQL)) {
		r.columns, r.err = result(ctx, tx, d, s.SQL)
		return r
	}
	_, r.err = tx.ExecContext(ctx, s.SQL, anew(d)...)
	return r
}

// anew keeps pgx from running a statement that it prepared on the old schema: that it fails once is told by its columns.
func anew(d Dialect) []any {
	if d == Postgres {
		return []any{pgx.QueryExecModeExec}
	}
	return nil
}

// result runs a query to its end, and returns its columns.
func result(ctx context.Context, tx *sql.Tx, d Dialect, text string) ([]string, error) {
	rows, err := tx.QueryContext(ctx, text, anew(d)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	types, err := rows.ColumnTypes()
	if err != nil {
		return nil, err
	}
	out := []string{}
	for _, t := range types {
		out = append(out, t.Name()+"\x00"+t.DatabaseTypeName())
	}
	for rows.Next() {
	}
	return out, rows.Err()
}

// withNull is the statement with NULL in the place of each placeholder.
func (o *oldStatements) withNull(d Dialect, i int) string {
	text := o.stmts[i].SQL
	blank := masked(text) // of the same length: what stands in quotes is no placeholder
	var b strings.Builder
	last := 0
	for _, at := range placeholder[d].FindAllStringIndex(blank, -1) {
		b.WriteString(text[last:at[0]] + "NULL")
		last = at[1]
	}
	return b.String() + text[last:]
}

var placeholder = map[Dialect]*regexp.Regexp{Postgres: pgHolder, MySQL: regexp.MustCompile(`\?`)}
