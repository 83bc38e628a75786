package schema

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"ariga.io/atlas/sql/migrate"
	"ariga.io/atlas/sql/schema"
)

// This file goes from one state to the other, statement by statement, and has each judged; where no statements are given it plans them.

// steps runs the statements of the migration, one by one, and judges each.
func (c *checker) steps(ctx context.Context, stmts []Statement) error {
	before, err := c.dev.state(ctx) // which lacks what could not be copied from a live database
	if err != nil {
		return err
	}
	if err := c.old.onOld(ctx, c); err != nil {
		return err
	}
	if err := c.drift.begin(ctx, c); err != nil {
		return err
	}
	if err := c.drift.compare(c, before); err != nil {
		return err
	}
	for i, s := range stmts {
		c.Progress(fmt.Sprintf("statement %d of %d: %s", i+1, len(stmts), s.Where()))
		step, err := c.dev.run(ctx, s, true, func(table string) bool { return c.base.table(table) != nil })
		if err != nil {
			return err
		}
		after, err := c.dev.state(ctx)
		if err != nil {
			return err
		}
		d, err := before.diff(after, c.dev.drv)
		if err != nil {
			return c.dev.wrong("can't be compared", err)
		}
		c.report.Steps = append(c.report.Steps, step)
		c.judge(ctx, s, before, after, d)
		c.report.Findings = append(c.report.Findings, step.lockFindings(c.Dialect, c.base)...)
		if !d.empty() {
			if err := c.old.onNew(ctx, c, s); err != nil {
				return err
			}
		}
		before = after
		if err := c.drift.compare(c, after); err != nil {
			return err
		}
	}
	c.drift.end(c)
	return nil
}

func (c *checker) judge(ctx context.Context, s Statement, before, after *state, d diff) {
	j := &judge{dialect: c.Dialect, base: c.base, before: before, after: after, stmt: s, harmless: func(ck *schema.Check, t *schema.Table) bool { return c.harmless(ctx, ck, t) }}
	j.judgeDiff(d)
	c.report.Findings = append(c.report.Findings, j.out...)
}

// harmless asks the development server whether a row of an old node passes a check: it can only if all columns that the check names are
// new, and then they have their defaults.
func (c *checker) harmless(ctx context.Context, ck *schema.Check, t *schema.Table) bool {
	old := c.base.table(tableName(t))
	if old == nil {
		return true
	}
	if c.dev == nil {
		return false
	}
	var values []string
	for _, col := range t.Columns {
		if !mentions(ck.Expr, col.Name) {
			continue
		}
		if _, known := old.Column(col.Name); known {
			return false
		}
		v := "NULL"
		if !leftNull(col) {
			if v = exprText(col.Default); v == "" {
				return false
			}
		}
		if c.Dialect == Postgres {
			v = "CAST(" + v + " AS " + col.Type.Raw + ")"
		}
		values = append(values, v+" AS "+quoteName(c.Dialect, col.Name))
	}
	if len(values) == 0 {
		return false
	}
	var fails sql.NullBool
	q := "SELECT NOT (" + ck.Expr + ") FROM (SELECT " + strings.Join(values, ", ") + ") AS windlass_row"
	if err := c.dev.db.QueryRowContext(ctx, q).Scan(&fails); err != nil {
		return false // it can't be told, so it is a finding
	}
	return !fails.Bool
}

func quoteName(d Dialect, name string) string {
	if d == Postgres {
		return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
	}
	return "`" + strings.ReplaceAll(name, "`", "``") + "`"
}

// planned goes from a state to another for which there are no statements: Atlas plans them.
func (c *checker) planned(ctx context.Context) error {
	if err := c.copyFrom(ctx); err != nil {
		return err
	}
	want, err := c.stateOf(ctx, c.to)
	if err != nil {
		return err
	}
	d, err := c.base.diff(want, c.dev.drv)
	if err != nil {
		return c.dev.wrong("can't be compared", err)
	}
	stmts, err := c.plan(ctx, d.changes)
	if err != nil {
		return err
	}
	if err := c.steps(ctx, stmts); err != nil {
		return err
	}
	// What Atlas plans no statements for is judged by itself.
	if c.from.kind != Live || c.to.kind != Live {
		d = withoutGrants(d)
	}
	if c.from.kind == Live || c.to.kind == Live {
		d = withoutPartitions(d)
	}
	d.changes = nil
	c.judge(ctx, Statement{}, c.base, want, d)
	c.locate()
	return nil
}

func (c *checker) plan(ctx context.Context, changes []schema.Change) ([]Statement, error) {
	if len(changes) == 0 {
		return nil, nil
	}
	var opts []migrate.PlanOption
	if c.Dialect == MySQL {
		none := ""
		opts = append(opts, func(o *migrate.PlanOptions) { o.SchemaQualifier = &none })
	}
	p, err := c.dev.drv.PlanChanges(ctx, "windlass", changes, opts...)
	if err != nil {
		return nil, &Error{What: "no statements could be planned for the difference", Hint: "give --from and --to as folders of migrations", Err: err}
	}
	var out []Statement
	for _, ch := range p.Changes {
		out = append(out, Statement{SQL: ch.Cmd})
	}
	return out, nil
}

// copyFrom makes the development database what --from is.
func (c *checker) copyFrom(ctx context.Context) error {
	var err error
	if c.from.kind != Live {
		if err := c.replay(ctx, all(c.from.files)); err != nil {
			return err
		}
		c.base, err = c.dev.state(ctx)
		return err
	}
	want, err := c.stateOf(ctx, c.from)
	if err != nil {
		return err
	}
	empty, err := c.dev.state(ctx)
	if err != nil {
		return err
	}
	d, err := empty.diff(want, c.dev.drv)
	if err != nil {
		return c.dev.wrong("can't be compared", err)
	}
	stmts, err := c.plan(ctx, d.changes)
	if err != nil {
		return err
	}
	for _, s := range stmts {
		if _, err := c.dev.conn.ExecContext(ctx, s.SQL); err != nil {
			return &Error{Where: "--from", What: fmt.Sprintf("can't be copied to the development server: %q", s.Short()), Hint: "make what it needs there (extensions, types), or give the folder of migrations that made it", Err: c.dev.server.clean(err)}
		}
	}
	c.base = want
	return nil
}

// String says what differs, in short.
func (d diff) String() string {
	var out []string
	for _, ch := range d.changes {
		switch ch := ch.(type) {
		case *schema.AddTable:
			out = append(out, "table "+tableName(ch.T)+" is more")
		case *schema.DropTable:
			out = append(out, "table "+tableName(ch.T)+" is missing")
		case *schema.ModifyTable:
			out = append(out, "table "+tableName(ch.T)+" differs")
		default:
			out = append(out, strings.TrimPrefix(fmt.Sprintf("%T", ch), "*schema."))
		}
	}
	for _, e := range d.came {
		out = append(out, e.object()+" is more")
	}
	for _, e := range d.gone {
		out = append(out, e.object()+" is missing")
	}
	for _, e := range d.other {
		out = append(out, e.object()+" differs")
	}
	if len(out) > 5 {
		out = append(out[:5], fmt.Sprintf("and %d more", len(out)-5))
	}
	return strings.Join(out, ", ")
}
