package writes

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/zeebo/xxh3"

	"github.com/windlass-db/windlass/internal/datacheck/catalog"
	"github.com/windlass-db/windlass/internal/datacheck/node"
	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/replay/tally"
)

// unlike is what differs in one table.
type unlike struct {
	table  string
	detail string
}

// mostNarrow is how many rows a table may have whose differing rows are named.
const mostNarrow = 200_000

// equal sees that the clones are equal before anything is replayed. Definitions that differ already do so later, too.
func (r *run) equal(ctx context.Context) error {
	bad, definitions, err := r.differ(ctx)
	if err != nil {
		return err
	}
	r.start = definitions
	if len(bad) > 0 {
		return fmt.Errorf("%w: %s %s; make both from one snapshot", ErrUnequal, bad[0].table, bad[0].detail)
	}
	return nil
}

// tables compares what the replay has left.
func (r *run) tables(ctx context.Context) error {
	bad, definitions, err := r.differ(ctx)
	if err != nil {
		return err
	}
	for _, b := range bad {
		r.found("table "+b.table, b.detail)
	}
	for _, d := range definitions {
		if !slices.Contains(r.start, d) {
			r.found("definition "+d, "differs after the same statements: "+d)
		}
	}
	return nil
}

func (r *run) found(name, detail string) {
	f := tally.Fingerprint(xxh3.HashString(name))
	r.out.Tally.AddFound(f, tally.Seen{Text: []byte(name)}, compare.Table, tally.Found{ID: uint64(f), At: r.Now(), Detail: detail})
}

// differ compares every row of every table, and the definitions.
func (r *run) differ(ctx context.Context) (bad []unlike, definitions []string, err error) {
	var k [2]*catalog.Catalog
	for i, c := range r.ctl {
		if k[i], err = catalog.Read(ctx, c); err != nil {
			return nil, nil, err
		}
	}
	for _, d := range catalog.Diff(k[0], k[1], func(catalog.Account) bool { return true }) {
		if !d.Harmless {
			definitions = append(definitions, d.String())
		}
	}
	other := map[string]*catalog.Table{}
	for i := range k[1].Tables {
		other[k[1].Tables[i].String()] = &k[1].Tables[i]
	}
	r.out.Tables, r.out.Rows = 0, 0
	for i := range k[0].Tables {
		t := &k[0].Tables[i]
		o := other[t.String()]
		if strings.EqualFold(t.Schema, catalog.Ours) {
			continue
		}
		if o == nil {
			bad = append(bad, unlike{t.String(), "is not on the new side"})
			continue
		}
		u, err := r.table(ctx, t, o)
		if err != nil {
			return nil, nil, fmt.Errorf("compare %s: %w", t, err)
		}
		if u != "" {
			bad = append(bad, unlike{t.String(), u})
		}
		delete(other, t.String())
	}
	for name, t := range other {
		if !strings.EqualFold(t.Schema, catalog.Ours) && !slices.ContainsFunc(k[0].Tables, func(o catalog.Table) bool { return o.String() == name }) {
			bad = append(bad, unlike{name, "is on the new side alone"})
		}
	}
	return bad, definitions, nil
}

// rowHash is an expression of the hash of a row, in hexadecimal digits, over the columns that both sides have.
func rowHash(mariaDB bool, t, o *catalog.Table) (hash string, from string) {
	var values []string
	for _, c := range t.Columns {
		if t.Versioned && (c.Name == t.RowStart || c.Name == t.RowEnd) {
			continue
		}
		if c.Virtual && !c.Indexed || !slices.ContainsFunc(o.Columns, func(x catalog.Column) bool { return x.Name == c.Name }) {
			continue
		}
		values = append(values, t.Value(c, mariaDB))
	}
	// Of a versioned table the present alone: its history has the clones' own clock.
	return catalog.Hash("CONCAT_WS(',', "+strings.Join(values, ", ")+")", mariaDB), node.Table(t.Schema, t.Name)
}

// table compares one table; "" if both are equal.
func (r *run) table(ctx context.Context, t, o *catalog.Table) (string, error) {
	hash, from := rowHash(r.ctl[0].MariaDB, t, o)
	part := func(at int) string { return fmt.Sprintf("CAST(CONV(SUBSTRING(h, %d, 16), 16, 10) AS UNSIGNED)", at) }
	query := fmt.Sprintf("SELECT COUNT(*), COALESCE(BIT_XOR(%s), 0), COALESCE(SUM(%s), 0) FROM (SELECT %s AS h FROM %s) x", part(1), part(17), hash, from)
	var rows [2]int64
	var xor, sum [2]string
	for i, c := range r.ctl {
		if err := c.One(ctx, query, &rows[i], &xor[i], &sum[i]); err != nil {
			return "", err
		}
	}
	r.out.Tables++
	r.out.Rows += rows[0]
	if rows[0] == rows[1] && xor[0] == xor[1] && sum[0] == sum[1] {
		return "", nil
	}
	detail := fmt.Sprintf("differs: %d rows on the old side, %d on the new one", rows[0], rows[1])
	if len(t.Key) == 0 || max(rows[0], rows[1]) > mostNarrow {
		return detail, nil
	}
	examples, err := r.narrow(ctx, t, hash, from)
	return detail + examples, err
}

// narrow names rows that differ.
func (r *run) narrow(ctx context.Context, t *catalog.Table, hash, from string) (string, error) {
	var keys []string
	for _, c := range t.Key {
		keys = append(keys, "QUOTE("+node.Ident(c.Name)+")")
	}
	query := fmt.Sprintf("SELECT CONCAT_WS(',', %s) AS k, %s AS h FROM %s ORDER BY k", strings.Join(keys, ", "), hash, from)
	var by [2]map[string]string
	for i, c := range r.ctl {
		rs, err := c.Rows(ctx, query)
		if err != nil {
			return "", err
		}
		by[i] = make(map[string]string, len(rs))
		for _, row := range rs {
			by[i][row["k"]] = row["h"]
		}
	}
	var changed, missing, added []string
	for k, h := range by[0] {
		if n, ok := by[1][k]; !ok {
			missing = append(missing, k)
		} else if n != h {
			changed = append(changed, k)
		}
	}
	for k := range by[1] {
		if _, ok := by[0][k]; !ok {
			added = append(added, k)
		}
	}
	out := ""
	for _, l := range []struct {
		what string
		keys []string
	}{{"changed", changed}, {"missing on the new side", missing}, {"there alone", added}} {
		if len(l.keys) > 0 {
			slices.Sort(l.keys)
			out += fmt.Sprintf("; %d %s, such as (%s)", len(l.keys), l.what, l.keys[0])
		}
	}
	return out, nil
}
