package schema

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"ariga.io/atlas/sql/migrate"
)

// oldStatements are statements of the old version, which are tried on the new schema. nil tries nothing.
type oldStatements struct {
	stmts  []Statement
	fit    []bool // worked on the old schema
	failed []bool // failed on the new one, and was told
}

var (
	mayTry       = regexp.MustCompile(`(?i)^\s*\(*\s*(SELECT|INSERT|UPDATE|DELETE|REPLACE|MERGE|WITH|VALUES|TABLE|CALL)\b`)
	pgHolder     = regexp.MustCompile(`\$\d+`)
	outsideTries = regexp.MustCompile(`(?i)\b(INTO\s+(OUTFILE|DUMPFILE)|nextval|pg_terminate_backend|pg_cancel_backend|dblink\w*|pg_read_file|lo_export|LOAD_FILE|GET_LOCK|SLEEP|pg_sleep)\b`)
)

func readOld(d Dialect, path string) (*oldStatements, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, &Error{Where: "--statements", What: "can't be read", Hint: "give a file of SQL statements, each with a semicolon", Usage: true, Err: err}
	}
	m, err := readFile(d, path, migrate.NewLocalFile(filepath.Base(path), raw), raw)
	if err != nil {
		return nil, err
	}
	if len(m.stmts) == 0 {
		return nil, &Error{Where: path, What: "holds no statement", Hint: "write the old version's statements, each with a semicolon", Usage: true}
	}
	for _, s := range m.stmts {
		if !mayTry.MatchString(masked(s.SQL)) || outsideTries.MatchString(masked(s.SQL)) && !strings.Contains(strings.ToLower(s.SQL), "nextval") {
			return nil, &Error{Where: s.Where(), What: fmt.Sprintf("%q is not tried", s.Short()), Hint: "the file may hold SELECT, INSERT, UPDATE, DELETE, REPLACE, MERGE, WITH, VALUES and CALL, which can be rolled back", Usage: true}
		}
	}
	return &oldStatements{stmts: m.stmts, fit: make([]bool, len(m.stmts)), failed: make([]bool, len(m.stmts))}, nil
}

// onOld runs the statements on the old schema, to know which of them prove anything.
func (o *oldStatements) onOld(ctx context.Context, c *checker) error {
	if o == nil {
		return nil
	}
	errs, err := o.try(ctx, c.dev)
	if err != nil {
		return err
	}
	for i, e := range errs {
		if o.fit[i] = e == nil; e != nil {
			c.report.Unfit = append(c.report.Unfit, o.stmts[i])
			continue
		}
		c.report.Tried++
		if o.holders(c.Dialect, i) {
			c.report.Prepared++
		}
	}
	if c.report.Tried == 0 {
		return &Error{Where: c.Statements, What: "no statement works on the old schema; the first says: " + c.dev.server.clean(errs[0]).Error(), Hint: "give statements of the old version, with the rows that they need inserted before them", Usage: true}
	}
	return nil
}

// onNew runs them on the schema after a statement of the migration.
func (o *oldStatements) onNew(ctx context.Context, c *checker, after Statement) error {
	if o == nil {
		return nil
	}
	errs, err := o.try(ctx, c.dev)
	if err != nil {
		return err
	}
	for i, e := range errs {
		if e == nil || !o.fit[i] || o.failed[i] {
			continue
		}
		o.failed[i] = true
		f := after.finding("old-statement-fails", "statement "+o.stmts[i].Where(), "", fmt.Sprintf("%q: %v", o.stmts[i].Short(), c.dev.server.clean(e)))
		c.report.Findings = append(c.report.Findings, f)
	}
	return nil
}

// holders tells whether a statement has placeholders, and so can be prepared only.
func (o *oldStatements) holders(d Dialect, i int) bool {
	text := masked(o.stmts[i].SQL)
	if d == Postgres {
		return pgHolder.MatchString(text)
	}
	return strings.Contains(text, "?")
}

// try runs all statements in their order in one transaction, which is rolled back: what one inserts the next may find. The errors are
// the statements' own.
func (o *oldStatements) try(ctx context.Context, d *dev) (each []error, err error) {
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
		e := o.one(ctx, tx, d.dialect, i, s)
		each = append(each, e)
		end := "RELEASE SAVEPOINT windlass_try"
		if e != nil {
			end = "ROLLBACK TO SAVEPOINT windlass_try"
		}
		if _, err := tx.ExecContext(ctx, end); err != nil {
			return nil, d.wrong(fmt.Sprintf("lost the transaction at %s (%q)", s.Where(), s.Short()), err)
		}
	}
	return each, nil
}

func (o *oldStatements) one(ctx context.Context, tx *sql.Tx, d Dialect, i int, s Statement) error {
	if o.holders(d, i) {
		p, err := tx.PrepareContext(ctx, s.SQL)
		if err != nil {
			return err
		}
		return p.Close()
	}
	_, err := tx.ExecContext(ctx, s.SQL)
	return err
}
