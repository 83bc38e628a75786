package datacheck

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/windlass-db/windlass/internal/datacheck/catalog"
	"github.com/windlass-db/windlass/internal/datacheck/node"
)

// few is how many rows are listed one by one.
const few = 256

// narrow halves a span that differs until it is small enough to list, and notes what it finds. Once enough examples
// are known, spans are only noted.
func (r *run) narrow(ctx context.Context, s shape, sd *side, p span, f *Finding) error {
	got, err := r.sums(ctx, s, p, []*side{r.ref, sd})
	if err != nil {
		return err
	}
	a, b := got[r.ref], got[sd]
	if a == b {
		return nil
	}
	if len(f.Examples) >= r.cfg.Examples && len(f.Ranges) >= maxRanges {
		return nil
	}
	if max(a.rows, b.rows) <= few {
		return r.listed(ctx, s, sd, p, f)
	}
	wide := r.ref
	if b.rows > a.rows {
		wide = sd
	}
	mid, ok, err := r.keyAt(ctx, wide, s, p, max(a.rows, b.rows)/2)
	if err != nil {
		return err
	}
	// The rows of one key can't be told apart by it: a versioned table may have any number of them.
	if !ok || slices.Equal(mid.literals, p.to) {
		return r.listed(ctx, s, sd, p, f)
	}
	if err := r.narrow(ctx, s, sd, span{p.after, mid.literals}, f); err != nil {
		return err
	}
	return r.narrow(ctx, s, sd, span{mid.literals, p.to}, f)
}

// listed compares a small span key by key.
func (r *run) listed(ctx context.Context, s shape, sd *side, p span, f *Finding) error {
	// A key has several rows in a versioned table: their hashes are put together.
	query := fmt.Sprintf("SELECT %s, BIT_XOR(%s)%s%s GROUP BY %s ORDER BY %s", s.keyValues(), half(s.row(), 0), s.from(), s.where(p), s.keyColumns(), s.keyColumns())
	old, err := readKeys(ctx, r.ref, s, query, "hash")
	if err != nil {
		return err
	}
	new, err := readKeys(ctx, sd, s, query, "hash")
	if err != nil {
		return err
	}
	byKey := func(h []hashed) map[string]hashed {
		m := make(map[string]hashed, len(h))
		for _, v := range h {
			m[strings.Join(v.literals, ",")] = v
		}
		return m
	}
	oldBy, newBy := byKey(old), byKey(new)
	var first, last string
	note := func(h hashed, what string) {
		if first == "" {
			first = h.shown
		}
		last = h.shown
		if len(f.Examples) < r.cfg.Examples {
			f.Examples = append(f.Examples, h.shown+" "+what)
		}
	}
	for _, h := range merge(old, new) {
		id := strings.Join(h.literals, ",")
		o, inOld := oldBy[id]
		n, inNew := newBy[id]
		switch {
		case !inNew:
			f.Missing++
			note(h, "is missing")
		case !inOld:
			f.Added++
			note(h, "is there in addition")
		case o.hash != n.hash:
			f.Changed++
			what := "differs"
			if len(f.Examples) < r.cfg.Examples {
				columns, err := r.differing(ctx, s, sd, h)
				if err != nil {
					return err
				}
				what = "differs in " + columns
			}
			note(h, what)
		}
	}
	if len(f.Ranges) < maxRanges && first != "" {
		at := first
		if last != first {
			at += " … " + last
		}
		f.Ranges = append(f.Ranges, at)
	}
	return nil
}

// merge lists all keys of both once, the first's order first.
func merge(a, b []hashed) []hashed {
	seen := map[string]bool{}
	var out []hashed
	for _, h := range append(slices.Clone(a), b...) {
		id := strings.Join(h.literals, ",")
		if !seen[id] {
			seen[id] = true
			out = append(out, h)
		}
	}
	return out
}

// differing names the columns in which a row differs.
func (r *run) differing(ctx context.Context, s shape, sd *side, h hashed) (string, error) {
	var sums, where []string
	for _, c := range s.columns {
		sums = append(sums, "BIT_XOR("+half(catalog.Hash(s.value(c), s.mariaDB), 0)+") AS "+node.Ident(c.Name))
	}
	for i := range s.table.Key {
		where = append(where, s.key(i)+" = "+h.literals[i])
	}
	query := "SELECT " + strings.Join(sums, ", ") + s.from() + " WHERE " + strings.Join(where, " AND ")
	var rows [2]node.Row
	for i, sd := range []*side{r.ref, sd} {
		rs, err := sd.data.Rows(ctx, query)
		if err != nil {
			return "", err
		}
		if len(rs) != 1 {
			return "", fmt.Errorf("%s gives %d rows for one key of %s", sd.name, len(rs), s.table)
		}
		rows[i] = rs[0]
	}
	var names []string
	for _, c := range s.columns {
		if rows[0][c.Name] != rows[1][c.Name] {
			names = append(names, c.Name)
		}
	}
	return strings.Join(names, ", "), nil
}
