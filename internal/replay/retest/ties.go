package retest

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/windlass-db/windlass/internal/query"
	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/replay/probe"
	"github.com/windlass-db/windlass/internal/replay/session"
	"github.com/windlass-db/windlass/internal/replay/tally"
)

// beyond is how many rows are asked for behind a LIMIT, to see all that tie there.
const beyond = 1000

// mostCut is the most rows up to the cut that are asked for again.
const mostCut = 100_000

// ties decides about other rows of a statement with ORDER BY and LIMIT: whether both versions took what they could of rows that are equal in what they are sorted by. Both are asked for the
// rows beyond the cut, with what they are sorted by beside them. If that can't be told, a reason says why.
func (r *run) ties(ctx context.Context, s tally.Statement, old, new probe.Result) (tied bool, why string, err error) {
	wide, cut, why := widened(s, old.Data.Columns)
	if why != "" {
		return false, why, nil
	}
	var a, b probe.Result
	g, within := errgroup.WithContext(ctx)
	g.Go(func() (err error) { a, err = r.once(within, r.a, wide); return err })
	g.Go(func() (err error) { b, err = r.once(within, r.b, wide); return err })
	if err := g.Wait(); err != nil {
		return false, "", err
	}
	for _, one := range []probe.Result{a, b} {
		switch {
		case one.Answer.Errno != 0:
			return false, fmt.Sprintf("the rows beyond LIMIT can't be asked for: error %d: %s", one.Answer.Errno, one.Answer.Message), nil
		case one.Cut || old.Cut || new.Cut:
			return false, "the rows beyond LIMIT are too many", nil
		}
	}
	tied, known := compare.Tied(old.Data, new.Data, a.Data, b.Data, cut)
	if !known {
		return false, fmt.Sprintf("more than %d rows are equal in what they are sorted by", beyond), nil
	}
	return tied, "", nil
}

// widened makes of a statement one that gives rows beyond its cut, from the first on, and at the end of each what it is sorted by, if that is in none of its own columns.
func widened(s tally.Statement, columns []compare.Column) (wide tally.Statement, cut compare.Cut, why string) {
	sort, ok := query.SortOf(s.Text, session.Modes([]byte(s.SQLMode), query.Mode{}))
	if !ok {
		return wide, cut, "its LIMIT is within it, or of a form that is not known"
	}
	wide = s
	wide.Params = bytes.Clone(s.Params)
	cut = compare.Cut{Own: len(columns), Offset: int(sort.Offset), Count: int(sort.Count)}
	if sort.Unknown > 0 {
		if cut.Count, cut.Offset, ok = patch(wide.Params, s.Types, sort); !ok {
			return wide, cut, "the numbers of its LIMIT are parameters of a type that is not known"
		}
	}
	if cut.Count+cut.Offset > mostCut {
		return wide, cut, "it is cut too far behind"
	}
	cut.Wide = cut.Offset + cut.Count + beyond
	var added []string
	for _, k := range sort.Keys {
		i, expression, ok := column(k, columns)
		switch {
		case !ok, expression && (sort.ListEnd == 0 || k.Params):
			return wide, cut, fmt.Sprintf("what it is sorted by, %s, is in none of its columns, and can't be added", k.Text)
		case expression:
			i = len(columns) + len(added)
			added = append(added, ", "+k.Text+" ")
		}
		cut.Keys = append(cut.Keys, i)
	}
	limit := fmt.Sprintf(" %d", cut.Wide)
	if sort.Unknown > 0 { // the parameters say so
		limit = string(s.Text[sort.Limit:sort.End])
	}
	wide.Text = slices.Concat(s.Text[:sort.ListEnd], []byte(strings.Join(added, "")), s.Text[sort.ListEnd:sort.Limit], []byte(limit), s.Text[sort.End:])
	return wide, cut, ""
}

// column finds what rows are sorted by among the columns; or says that it is an expression, which can be added to them.
func column(k query.SortKey, columns []compare.Column) (i int, expression, ok bool) {
	if k.Column > 0 {
		return k.Column - 1, false, k.Column <= len(columns)
	}
	named := func(name string) (at, times int) {
		for i, c := range columns {
			if strings.ToLower(c.Name) == name {
				at = i
				times++
			}
		}
		return at, times
	}
	if k.Name != "" {
		switch at, times := named(k.Name); times {
		case 0:
			return 0, true, true
		case 1:
			return at, false, true
		}
		return 0, false, false
	}
	for _, name := range k.Names {
		if _, times := named(name); times > 0 { // it may mean the column, by its alias, or the table's
			return 0, false, false
		}
	}
	return 0, true, true
}

// patch reads the last parameters, which are those of LIMIT, and sets them to ask for more. They have to be whole numbers of four or eight bytes, as most clients send them.
func patch(params, types []byte, sort query.Sort) (count, offset int, ok bool) {
	into := []*int{&count, &offset}
	if sort.Reversed {
		slices.Reverse(into)
	}
	if sort.Unknown == 1 {
		into = []*int{&count}
	}
	var at [2][]byte
	end, last := len(params), len(types)
	for i := len(into) - 1; i >= 0; i-- {
		const long, longLong = 0x03, 0x08
		if last < 2 {
			return 0, 0, false
		}
		width := map[byte]int{long: 4, longLong: 8}[types[last-2]]
		if width == 0 || end < width {
			return 0, 0, false
		}
		value := params[end-width : end]
		end, last = end-width, last-2
		n := uint64(binary.LittleEndian.Uint32(value))
		if width == 8 {
			n = binary.LittleEndian.Uint64(value)
		}
		if n > mostCut {
			return 0, 0, false
		}
		*into[i], at[i] = int(n), value
	}
	for i, n := range into {
		v := uint64(0)
		if n == &count {
			v = uint64(offset + count + beyond)
		}
		if len(at[i]) == 8 {
			binary.LittleEndian.PutUint64(at[i], v)
		} else {
			binary.LittleEndian.PutUint32(at[i], uint32(v))
		}
	}
	return count, offset, true
}
