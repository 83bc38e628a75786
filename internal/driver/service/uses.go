package service

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/policy"
)

// mostUses is up to where uses are counted: one is enough for a warning.
const mostUses = 1000

// uses tells which features are used: those that the product's file names, by what it says, and what the supervisor's file has queries for. What
// could not be asked is an error, beside what was found.
func (f Features) uses(ctx context.Context, c fleet.Cluster, named []policy.Feature) (used []string, err error) {
	var errs []error
	queries := maps.Clone(f.Used)
	for _, one := range named {
		query, asked := queries[one.Name]
		delete(queries, one.Name)
		var said string
		var err error
		switch {
		case one.Table != "" || one.Column != "":
			said, err = f.rows(ctx, one)
		case one.Endpoint != "":
			said, err = f.answers(ctx, c, one.Endpoint)
		case asked:
			said, err = f.count(ctx, query)
		case !f.told:
			err = errors.New("nothing tells it: name a table, a column or an endpoint in the product's file, or a query in the supervisor's")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("look whether %s is in use: %w", one.Name, err))
		} else if said != "" {
			used = append(used, one.Name+" ("+said+")")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(queries)) { // not named by the product's file: told all the same
		if said, err := f.count(ctx, queries[name]); err != nil {
			errs = append(errs, fmt.Errorf("look whether %s is in use: %w", name, err))
		} else if said != "" {
			used = append(used, name+" ("+said+")")
		}
	}
	return used, errors.Join(errs...)
}

// count runs a query of the supervisor's file; "" is none.
func (f Features) count(ctx context.Context, query string, args ...any) (string, error) {
	n := 0
	err := f.DB.QueryRowContext(ctx, query, args...).Scan(&n)
	switch {
	case err != nil || n == 0:
		return "", err
	case len(args) > 0 && n >= mostUses:
		return fmt.Sprintf("%d or more", n), nil
	}
	return fmt.Sprint(n), nil
}

// rows counts the rows that only the feature writes.
func (f Features) rows(ctx context.Context, one policy.Feature) (string, error) {
	table, column := one.Table, ""
	if one.Column != "" {
		at := strings.LastIndexByte(one.Column, '.')
		table, column = one.Column[:at], one.Column[at+1:]
	}
	is, args := "1 = 1", []any{}
	switch {
	case len(one.Values) > 0:
		text := "CAST(" + f.quote(column) + " AS CHAR)"
		if f.Dialect == Postgres {
			text = f.quote(column) + "::text"
		}
		is = text + " IN (" + strings.TrimSuffix(strings.Repeat("?, ", len(one.Values)), ", ") + ")"
		for _, v := range one.Values {
			args = append(args, v)
		}
	case column != "":
		var err error
		if is, err = f.set(ctx, table, column); err != nil {
			return "", err
		}
	}
	args = append(args, mostUses)
	return f.count(ctx, f.bind(`SELECT COUNT(*) FROM (SELECT 1 AS one FROM `+f.quote(table)+` WHERE `+is+` LIMIT ?) AS used`), args...)
}

// quote writes a name, or several with dots between them, as the database wants them.
func (f Features) quote(name string) string {
	mark := "`"
	if f.Dialect == Postgres {
		mark = `"`
	}
	parts := strings.Split(name, ".")
	for i, part := range parts {
		parts[i] = mark + strings.ReplaceAll(part, mark, mark+mark) + mark
	}
	return strings.Join(parts, ".")
}

// constant is a default of PostgreSQL that is the same for every row.
var constant = regexp.MustCompile(`^\(?(NULL|true|false|-?[0-9.]+|'([^']|'')*')\)?(::[a-z0-9_ "\[\](),.]+)?$`)

// set is the condition that a row's column is another than its default, which is what a node writes that does not know the column.
func (f Features) set(ctx context.Context, table, column string) (string, error) {
	var is, extra sql.NullString
	var err error
	if f.Dialect == Postgres {
		err = f.DB.QueryRowContext(ctx, `SELECT pg_get_expr(d.adbin, d.adrelid) FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
			WHERE a.attrelid = to_regclass($1) AND a.attname = $2 AND a.attnum > 0 AND NOT a.attisdropped`, f.quote(table), column).Scan(&is)
	} else {
		schema, name, ok := strings.Cut(table, ".")
		if !ok {
			schema, name = "", table
		}
		err = f.DB.QueryRowContext(ctx, `SELECT COLUMN_DEFAULT, EXTRA FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = COALESCE(NULLIF(?, ''), DATABASE()) AND TABLE_NAME = ? AND COLUMN_NAME = ?`,
			schema, name, column).Scan(&is, &extra)
	}
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return "", fmt.Errorf("the database has no column %s.%s, or the account may not see it", table, column)
	case err != nil:
		return "", err
	case f.Dialect != Postgres && !changes(is.String, extra.String):
		return "NOT (" + f.quote(column) + " <=> DEFAULT(" + f.quote(column) + "))", nil
	case f.Dialect == Postgres && !is.Valid:
		return f.quote(column) + " IS NOT NULL", nil
	case f.Dialect == Postgres && constant.MatchString(is.String):
		return f.quote(column) + " IS DISTINCT FROM (" + is.String + ")", nil
	}
	return "", fmt.Errorf("the default of %s.%s is not the same for every row (%s), so none tells whether it was used: name its values, or another thing to see it by", table, column, is.String)
}

// changes tells of a default of MySQL or MariaDB whether it is worked out for each row: the former says so, the latter writes it with brackets, and texts in quotes.
func changes(is, extra string) bool {
	return strings.Contains(strings.ToUpper(extra), "DEFAULT_GENERATED") || !strings.HasPrefix(is, "'") && strings.Contains(is, "(")
}

// answers names the nodes that answer an endpoint with success; "" is none.
func (f Features) answers(ctx context.Context, c fleet.Cluster, path string) (string, error) {
	if f.Nodes == "" {
		return "", fmt.Errorf("nothing says how %s is asked for: write the URL of a node into features.nodes of the engine in the supervisor's file", path)
	}
	var open []string
	var errs []error
	for _, cell := range c.Cells {
		for _, n := range cell.Nodes {
			base, err := expand(f.Nodes, Unit{Ref: c.Ref(), Node: n})
			if err != nil {
				return "", err
			}
			code, answer, err := call(ctx, f.Timeout, http.MethodGet, strings.TrimSuffix(base, "/")+path, nil)
			switch {
			case err != nil:
				errs = append(errs, fmt.Errorf("ask %s: %w", n.Name, err))
			case code >= 200 && code <= 299:
				open = append(open, n.Name)
			case code >= 500 && code != http.StatusNotImplemented || code == http.StatusTooManyRequests || code == http.StatusRequestTimeout:
				errs = append(errs, fmt.Errorf("%s answers %s with %d %s: %s", n.Name, path, code, http.StatusText(code), short(answer)))
			}
		}
	}
	if len(open) == 0 {
		return "", errors.Join(errs...)
	}
	return path + " is answered by " + strings.Join(open, ", "), nil
}
