package datacheck

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/windlass-db/windlass/internal/datacheck/catalog"
	"github.com/windlass-db/windlass/internal/datacheck/node"
)

// sum stands for the rows of a span on one server.
type sum struct {
	rows int64
	xor  string
	add  string
	none int64 // rows that have no hash; never other than 0
}

// table compares one table from the cursor on.
func (r *run) table(ctx context.Context, t *catalog.Table) error {
	name := t.String()
	var subs []*side
	var others []*catalog.Table
	for _, s := range r.subs {
		if o := s.tables[name]; o != nil {
			subs, others = append(subs, s), append(others, o)
		} // otherwise the definitions differ, and say so
	}
	if len(subs) == 0 {
		return nil
	}
	s := shapeOf(t, r.ref.ctl.MariaDB, others)
	if len(s.columns) == 0 {
		return nil
	}
	var err error
	if len(t.Key) == 0 {
		err = r.whole(ctx, s, subs)
	} else {
		err = r.chunks(ctx, s, subs)
	}
	if n := node.Number(err); n == node.ErrTableDefChanged || n == node.ErrNoSuchTable || n == errNoColumn {
		r.log.Info("a table changed while it was compared; a new round begins", "table", name)
		return errors.Join(errAgain, err)
	}
	if err != nil {
		return fmt.Errorf("compare %s: %w", name, err)
	}
	return nil
}

const errNoColumn = 1054

// chunks walks the table by its key.
func (r *run) chunks(ctx context.Context, s shape, subs []*side) error {
	name, def := s.table.String(), s.digest()
	if r.status.Cursor == nil || r.status.Cursor.Table != name || r.status.Cursor.Definition != def {
		r.status.Findings = slices.DeleteFunc(r.status.Findings, func(f Finding) bool { return f.Table == name })
		r.status.Cursor = &Cursor{Table: name, Definition: def}
	}
	cur := r.status.Cursor
	for {
		p := span{after: cur.After}
		end, shown, err := r.step(ctx, s, p)
		if err != nil {
			return err
		}
		p.to = end
		rows, err := r.compare(ctx, s, subs, p, shown)
		if err != nil {
			return err
		}
		cur.After, cur.Rows = end, cur.Rows+rows
		round := &r.status.Rounds[len(r.status.Rounds)-1]
		round.Chunks, round.Rows = round.Chunks+1, round.Rows+rows
		r.idle = 0
		if len(end) == 0 {
			return nil
		}
		if r.hopeless(name, subs) {
			return nil
		}
		r.status.Bytes = r.compared + int64(float64(weight(s.table))*min(1, float64(cur.Rows)/float64(max(s.table.Rows, 1))))
		if err := r.between(ctx, fmt.Sprintf("%s up to %s", name, shown)); err != nil {
			return err
		}
	}
}

// hopeless tells whether so much of a table differs on every server that the rest adds nothing.
func (r *run) hopeless(table string, subs []*side) bool {
	for _, s := range subs {
		i := slices.IndexFunc(r.status.Findings, func(f Finding) bool { return f.Table == table && f.Node == s.name })
		if i < 0 || r.status.Findings[i].Chunks < maxChunks {
			return false
		}
	}
	for i := range r.status.Findings {
		if r.status.Findings[i].Table == table {
			r.status.Findings[i].Gave = fmt.Sprintf("the rest of the table was not looked at after %d chunks that differ", maxChunks)
		}
	}
	return true
}

// step finds the end of the next chunk on the reference; no end is the last chunk, which takes in all that is beyond.
func (r *run) step(ctx context.Context, s shape, p span) ([]string, string, error) {
	t, ok, err := r.keyAt(ctx, r.ref, s, p, int64(r.v.ChunkRows)-1)
	if err != nil || !ok {
		return nil, "", err
	}
	return t.literals, t.shown, nil
}

// keyAt reads the key of the n-th row of a span, from 0; false if there are fewer.
func (r *run) keyAt(ctx context.Context, sd *side, s shape, p span, n int64) (tuple, bool, error) {
	keys, err := readKeys(ctx, sd, s, fmt.Sprintf("SELECT %s%s%s ORDER BY %s LIMIT 1 OFFSET %d", s.keyValues(), s.from(), s.where(p), s.keyColumns(), n), "")
	if err != nil || len(keys) == 0 {
		return tuple{}, false, err
	}
	return keys[0].tuple, true, nil
}

// hashed is a key with the hash of its rows.
type hashed struct {
	tuple
	hash string
}

// readKeys reads keys, and after them one more column if extra says so.
func readKeys(ctx context.Context, sd *side, s shape, query, extra string) ([]hashed, error) {
	rs, err := sd.data.Query(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rs.Close()
	n := 2 * len(s.table.Key)
	if extra != "" {
		n++
	}
	values := make([]sql.NullString, n)
	into := make([]any, n)
	for i := range values {
		into[i] = &values[i]
	}
	var out []hashed
	for rs.Next() {
		if err := rs.Scan(into...); err != nil {
			return nil, err
		}
		text := make([]string, n)
		for i, v := range values {
			if !v.Valid && i < 2*len(s.table.Key) {
				return nil, fmt.Errorf("%s gives no text for a key of %s", sd.name, s.table)
			}
			text[i] = v.String
		}
		h := hashed{tuple: s.tupleOf(text)}
		if extra != "" {
			h.hash = text[n-1]
		}
		out = append(out, h)
	}
	return out, rs.Err()
}

// sums asks every server for a span.
func (r *run) sums(ctx context.Context, s shape, p span, sides []*side) (map[*side]sum, error) {
	row := s.row()
	xor, add := half(row, 0), "0"
	if len(s.table.Key) == 0 { // equal rows cancel out in the xor, so that a sum is needed beside it
		add = "COALESCE(SUM(" + half(row, 1) + "), 0)"
	}
	query := fmt.Sprintf("SELECT COUNT(*), COALESCE(BIT_XOR(%s), 0), %s, COUNT(*) - COUNT(%s)%s%s", xor, add, xor, s.from(), s.where(p))
	if len(s.table.Key) > 0 {
		query = fmt.Sprintf("SELECT COUNT(*), COALESCE(BIT_XOR(h), 0), 0, COUNT(*) - COUNT(h) FROM (SELECT %s AS h%s%s) t", xor, s.from(), s.where(p))
	}
	out := make(map[*side]sum, len(sides))
	results := make([]sum, len(sides))
	at := map[*side]int{}
	for i, sd := range sides {
		at[sd] = i
	}
	err := r.each(ctx, sides, func(ctx context.Context, sd *side) error {
		u := &results[at[sd]]
		if err := sd.data.One(ctx, query, &u.rows, &u.xor, &u.add, &u.none); err != nil {
			return err
		}
		if u.none != 0 {
			return fmt.Errorf("%s gives no hash for %d rows of %s", sd.name, u.none, s.table)
		}
		return nil
	})
	for i, sd := range sides {
		out[sd] = results[i]
	}
	return out, err
}

// compare compares one span on all servers, and narrows down what differs. It tells how many rows the reference has.
func (r *run) compare(ctx context.Context, s shape, subs []*side, p span, shown string) (int64, error) {
	got, err := r.sums(ctx, s, p, append([]*side{r.ref}, subs...))
	if err != nil {
		return 0, err
	}
	for _, sd := range subs {
		if got[sd] == got[r.ref] {
			continue
		}
		f := r.finding(s.table.String(), sd.name)
		f.Chunks++
		if err := r.narrow(ctx, s, sd, p, f); err != nil {
			return 0, err
		}
	}
	return got[r.ref].rows, nil
}
