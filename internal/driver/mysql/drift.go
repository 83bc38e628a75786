package mysql

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// shape is a table's or schema's columns, types and collations as one digest.
type shape map[string]string

// shapes reads the shape of every table of the application.
func (s *session) shapes(ctx context.Context) (shape, error) {
	if err := s.exec(ctx, "SET SESSION group_concat_max_len=16777216"); err != nil {
		return nil, err
	}
	const limit = time.Minute
	rs, err := s.rowsFor(ctx, limit, "SELECT CONCAT(c.TABLE_SCHEMA, '.', c.TABLE_NAME) AS name, SHA2(CONCAT_WS('|', MAX(t.TABLE_COLLATION), GROUP_CONCAT(CONCAT_WS(' ', c.COLUMN_NAME, c.COLUMN_TYPE, c.IS_NULLABLE, c.COLLATION_NAME) ORDER BY c.ORDINAL_POSITION)), 256) AS digest FROM information_schema.COLUMNS c JOIN information_schema.TABLES t USING (TABLE_SCHEMA, TABLE_NAME) WHERE t.TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') AND t.TABLE_SCHEMA NOT IN "+systemSchemas+" GROUP BY c.TABLE_SCHEMA, c.TABLE_NAME")
	if err != nil {
		return nil, err
	}
	out := shape{}
	for _, r := range rs {
		out["table "+r["name"]] = r["digest"]
	}
	rs, err = s.rowsFor(ctx, limit, "SELECT SCHEMA_NAME AS name, DEFAULT_COLLATION_NAME AS collation FROM information_schema.SCHEMATA WHERE SCHEMA_NAME NOT IN "+systemSchemas)
	if err != nil {
		return nil, err
	}
	for _, r := range rs {
		out["schema "+r["name"]] = r["collation"]
	}
	return out, nil
}

// differs lists the names whose shapes are not the same.
func (a shape) differs(b shape) []string {
	var out []string
	for name, digest := range a {
		if b[name] != digest {
			out = append(out, name)
		}
	}
	for name := range b {
		if _, has := a[name]; !has {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// drift compares the shapes of a primary and a replica. A difference counts only if it is there at one position too: a schema
// change on its way is none.
func (d *Driver) drift(ctx context.Context, primary, replica *session, limit time.Duration) ([]string, error) {
	var diff []string
	for range 3 {
		want, err := primary.shapes(ctx)
		if err != nil {
			return nil, err
		}
		at := primary.look(ctx)
		if at.err != nil {
			return nil, at.err
		}
		there, err := replica.fl.wait(ctx, replica, at.target(), limit)
		if err != nil {
			return nil, err
		}
		if !there {
			return nil, fmt.Errorf("%s did not reach the position %s at which the tables are compared", replica.place, at.target())
		}
		have, err := replica.shapes(ctx)
		if err != nil {
			return nil, err
		}
		if diff = want.differs(have); len(diff) == 0 {
			return nil, nil
		}
	}
	return diff, nil
}

func someOf(names []string) string {
	const most = 8
	if len(names) <= most {
		return fmt.Sprintf("%q", names)
	}
	return fmt.Sprintf("%q and %d more", names[:most], len(names)-most)
}
