package datacheck

import (
	"context"
	"fmt"
	"slices"
)

// whole compares a table that has no key, as a multiset, in one piece.
func (r *run) whole(ctx context.Context, s shape, subs []*side) error {
	name := s.table.String()
	r.status.Cursor = nil
	if s.table.Bytes > r.cfg.Keyless {
		skip := fmt.Sprintf("%s (%d MiB)", name, s.table.Bytes>>20)
		if !slices.Contains(r.status.Skipped, skip) {
			r.status.Skipped = append(r.status.Skipped, skip)
		}
		return nil
	}
	got, err := r.sums(ctx, s, span{}, append([]*side{r.ref}, subs...))
	if err != nil {
		return err
	}
	for _, sd := range subs {
		if got[sd] == got[r.ref] {
			continue
		}
		f := r.finding(name, sd.name)
		f.Chunks, f.Ranges = 1, []string{fmt.Sprintf("the whole table, which has no key: %d rows, %d on the reference", got[sd].rows, got[r.ref].rows)}
		if err := r.bucket(ctx, s, sd, f); err != nil {
			return err
		}
	}
	round := &r.status.Rounds[len(r.status.Rounds)-1]
	round.Chunks, round.Rows = round.Chunks+1, round.Rows+got[r.ref].rows
	return nil
}

// bucket finds rows that differ: by the first digits of their hashes, then by the hashes of one bucket.
func (r *run) bucket(ctx context.Context, s shape, sd *side, f *Finding) error {
	digits := "SELECT LEFT(h, 2), CONCAT(COUNT(*), ':', SUM(" + half("h", 1) + ")) FROM (SELECT " + s.row() + " AS h" + s.from() + ") t GROUP BY 1"
	old, new, err := r.both(ctx, sd, digits)
	if err != nil {
		return err
	}
	for _, b := range keys(old, new) {
		if old[b] == new[b] || len(f.Examples) >= r.cfg.Examples {
			continue
		}
		one := "SELECT h, COUNT(*) FROM (SELECT " + s.row() + " AS h" + s.from() + ") t WHERE LEFT(h, 2) = '" + b + "' GROUP BY 1"
		oldRows, newRows, err := r.both(ctx, sd, one)
		if err != nil {
			return err
		}
		for _, h := range keys(oldRows, newRows) {
			if oldRows[h] == newRows[h] || len(f.Examples) >= r.cfg.Examples {
				continue
			}
			count := func(n string) string {
				if n == "" {
					return "0"
				}
				return n
			}
			f.Examples = append(f.Examples, fmt.Sprintf("the row with hash %s: %s times, %s on the reference", h, count(newRows[h]), count(oldRows[h])))
		}
	}
	return nil
}

func (r *run) both(ctx context.Context, sd *side, query string) (old, new map[string]string, err error) {
	var out [2]map[string]string
	for i, sd := range []*side{r.ref, sd} {
		out[i] = map[string]string{}
		rs, err := sd.data.Query(ctx, query)
		if err != nil {
			return nil, nil, err
		}
		for rs.Next() {
			var k, v string
			if err := rs.Scan(&k, &v); err != nil {
				rs.Close()
				return nil, nil, err
			}
			out[i][k] = v
		}
		if err := rs.Err(); err != nil {
			return nil, nil, err
		}
		rs.Close()
	}
	return out[0], out[1], nil
}

func keys(ms ...map[string]string) []string {
	var out []string
	for _, m := range ms {
		for k := range m {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
