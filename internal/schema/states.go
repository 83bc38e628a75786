package schema

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"ariga.io/atlas/sql/schema"
)

// This file brings the development server to the states between which a check judges, and finds where a live database stands among migrations.

// allowedContract is why a finding of a migration that is marked does not count.
const allowedContract = "marked for the contract step, which a later campaign runs"

// begin runs those migrations of the folder --to that the old state has, and returns those that are left.
func (c *checker) begin(ctx context.Context) ([]migration, error) {
	var at int
	var err error
	switch {
	case c.from.kind == Folder:
		if at, err = shared(c.from, c.to); err != nil {
			return nil, err
		}
	case c.Applied != "":
		at = slices.IndexFunc(c.to.files, func(m migration) bool {
			return m.name == c.Applied || leadingNumber.MatchString(m.name) && leadingNumber.FindStringSubmatch(m.name)[1] == strings.TrimLeft(c.Applied, "vV0")
		}) + 1
		if at == 0 {
			return nil, &Error{Where: "--applied", What: fmt.Sprintf("%s has no migration %q", c.to.path, c.Applied), Hint: "give the name of a file in it, or its version", Usage: true}
		}
	default:
		return c.find(ctx)
	}
	if err := c.replay(ctx, all(c.to.files[:at])); err != nil {
		return nil, err
	}
	if c.base, err = c.dev.state(ctx); err != nil {
		return nil, err
	}
	return c.to.files[at:], nil
}

func (c *checker) replay(ctx context.Context, stmts []Statement) error {
	for _, s := range stmts {
		if _, err := c.dev.run(ctx, s, false, nil); err != nil {
			return err
		}
	}
	return nil
}

// find replays the folder --to until it is what --from is: those migrations the old state has. Those of the contract step it may have or not.
func (c *checker) find(ctx context.Context) ([]migration, error) {
	want, err := c.stateOf(ctx, c.from)
	if err != nil {
		return nil, err
	}
	n, wrong, err := c.findIn(ctx, want, c.to.files)
	if err != nil || wrong == nil {
		return c.to.files[n:], err
	}
	plain := expanding(c.to.files)
	if len(plain) == len(c.to.files) {
		return nil, wrong
	}
	fresh, err := newDev(ctx, c.dev.server, c.collate)
	if err != nil {
		return nil, err
	}
	c.dev.close()
	c.dev = fresh
	n, w, err := c.findIn(ctx, want, plain)
	if err != nil {
		return nil, err
	}
	if w != nil {
		return nil, wrong
	}
	return append(contracting(c.to.files), plain[n:]...), nil
}

// findIn tells how many of the files make the wanted state; wrong says that none do.
func (c *checker) findIn(ctx context.Context, want *state, files []migration) (n int, wrong, err error) {
	nearest, least := "an empty schema", -1
	var seen string
	for i := 0; i <= len(files); i++ {
		now, err := c.dev.state(ctx)
		if err != nil {
			return 0, nil, err
		}
		d, err := now.diff(want, c.dev.drv)
		if err != nil {
			return 0, nil, c.dev.wrong("can't be compared", err)
		}
		d = withoutPartitions(withoutGrants(d))
		if d.empty() {
			c.base = now
			if i > 0 {
				c.report.Applied = files[i-1].name
			}
			return i, nil, nil
		}
		if n := len(d.changes) + len(d.gone) + len(d.came) + len(d.other); least < 0 || n <= least {
			least, seen = n, d.String()
			if i > 0 {
				nearest = files[i-1].name
			}
		}
		if i < len(files) {
			if err := c.replay(ctx, files[i].stmts); err != nil {
				return 0, nil, err
			}
		}
	}
	return 0, &Error{Where: c.from.String(), What: fmt.Sprintf("is no state that %s passes through; it is nearest after %s, but for: %s", c.to.path, nearest, seen), Usage: true,
		Hint: "somebody changed the database by hand, or the folder is another's: write the missing migration, or name the last one that was applied with --applied"}, nil
}

// withoutGrants leaves out who owns and may do what, and extensions: accounts of production are not on a development server, nor all that was installed there.
func withoutGrants(d diff) diff {
	grant := func(e extra) bool { return e.Kind == "grant" || e.Kind == "owner" || e.Kind == "extension" }
	d.gone, d.came, d.other = slices.DeleteFunc(d.gone, grant), slices.DeleteFunc(d.came, grant), slices.DeleteFunc(d.other, grant)
	return d
}

// withoutPartitions leaves out which partitions a table has: in a live database they are made and dropped as time goes, by no migration.
func withoutPartitions(d diff) diff {
	d.gone, d.came, d.other = slices.DeleteFunc(d.gone, partitions), slices.DeleteFunc(d.came, partitions), slices.DeleteFunc(d.other, partitions)
	return d
}

// withoutMore leaves out what the second has and the first lacks.
func withoutMore(d diff) diff {
	more := func(ch schema.Change) bool {
		switch ch := ch.(type) {
		case *schema.AddTable, *schema.AddSchema, *schema.AddObject, *schema.AddColumn, *schema.AddIndex, *schema.AddForeignKey, *schema.AddCheck:
			return true
		case *schema.ModifyTable:
			return len(ch.Changes) == 0
		}
		return false
	}
	d.came = nil
	for i, ch := range d.changes {
		if m, ok := ch.(*schema.ModifyTable); ok {
			d.changes[i] = &schema.ModifyTable{T: m.T, Changes: slices.DeleteFunc(slices.Clone(m.Changes), more)}
		}
	}
	d.changes = slices.DeleteFunc(d.changes, more)
	return d
}

// stateOf reads the state of a live database or of files, the latter from a development database of their own.
func (c *checker) stateOf(ctx context.Context, s source) (*state, error) {
	if s.kind == Live {
		db := c.live
		if s.flag != "--from" {
			var err error
			if db, err = s.dsn.open(ctx, s.flag); err != nil {
				return nil, err
			}
			defer db.Close()
		}
		st, err := inspect(ctx, c.Dialect, db)
		if err != nil {
			return nil, &Error{Where: s.flag, What: s.dsn.String() + " can't be read", Hint: "see the account's rights on the catalog", Err: s.dsn.clean(err)}
		}
		return st, nil
	}
	d, err := newDev(ctx, c.dev.server, "")
	if err != nil {
		return nil, err
	}
	defer d.close()
	for _, stmt := range all(s.files) {
		if _, err := d.run(ctx, stmt, false, nil); err != nil {
			return nil, err
		}
	}
	return d.state(ctx)
}

// compareLive judges two live databases without a development server: by what is, not by how it comes about.
func (c *checker) compareLive(ctx context.Context) error {
	var err error
	if c.base, err = c.stateOf(ctx, c.from); err != nil {
		return err
	}
	after, err := c.stateOf(ctx, c.to)
	if err != nil {
		return err
	}
	drv, err := driver(c.Dialect, c.live)
	if err != nil {
		return &Error{Where: "--from", What: "can't be inspected", Hint: "see the account's rights", Err: c.from.dsn.clean(err)}
	}
	d, err := c.base.diff(after, drv)
	if err != nil {
		return &Error{What: "the two can't be compared", Hint: "see that both are of the same dialect and version", Err: err}
	}
	c.judge(ctx, Statement{}, c.base, after, withoutPartitions(d))
	if !d.empty() {
		c.report.Findings = append(c.report.Findings, Statement{}.finding("unknown-lock", "statement", "", "no development server was given"))
	}
	return nil
}
