package compare

import (
	"slices"
	"strconv"
)

// Cut is how a statement sorts its rows and cuts them off, and what was asked to see beyond the cut: the same statement from its first row on, with more rows, and with columns added at the
// end for whatever it sorts by that is in none of its own.
type Cut struct {
	Own    int   // columns of the statement itself
	Keys   []int // those that it is sorted by, with the added ones, from 0
	Offset int   // rows that it passes over
	Count  int   // rows that it gives at the most
	Wide   int   // rows that the other one gives at the most
}

// Tied says whether the answers to a statement with ORDER BY and LIMIT, of equal data, are both right although they differ: of rows that are equal in all that they are sorted by, any may be
// the last before the cut, or the first behind the offset. It is so only if the versions agree on everything else: on the order of the keys, on all rows of each group of equal ones that
// is there wholly, and on all rows of the groups that are cut. It is not known if such a group is larger than what was asked to be seen.
func Tied(old, new, wideOld, wideNew Result, c Cut) (tied, known bool) {
	n := len(wideOld.Rows)
	if len(wideNew.Rows) != n || len(old.Rows) != len(new.Rows) || len(old.Rows) != max(0, min(c.Count, n-c.Offset)) {
		return false, true
	}
	a, b := rowsOf(wideOld, c), rowsOf(wideNew, c)
	if a == nil || b == nil {
		return false, false
	}
	for i := range a {
		if a[i].key != b[i].key {
			return false, true
		}
	}
	must, may := map[string]int{}, map[string]int{} // rows that are in the answer, and those of which some are
	for from, to := 0, 0; from < n; from = to {
		for to = from + 1; to < n && a[to].key == a[from].key; to++ {
		}
		if to <= c.Offset || from >= c.Offset+c.Count {
			continue
		}
		cut := from < c.Offset || to > c.Offset+c.Count
		if to == n && n >= c.Wide {
			return false, false
		}
		group := map[string]int{}
		for i := from; i < to; i++ {
			group[a[i].row]++
			group[b[i].row]--
			if cut {
				may[a[i].row]++
			} else {
				must[a[i].row]++
			}
		}
		for _, difference := range group {
			if difference != 0 {
				return false, true
			}
		}
	}
	if len(may) == 0 {
		return false, true
	}
	for _, answer := range []Result{old, new} {
		if !within(answer, c, must, may) {
			return false, true
		}
	}
	return true, true
}

// within reports whether an answer has all the rows that it must have, and beside them none but those that it may.
func within(r Result, c Cut, must, may map[string]int) bool {
	rows := rowsOf(r, Cut{Own: c.Own})
	if rows == nil && len(r.Rows) > 0 {
		return false
	}
	left, used, missing := map[string]int{}, map[string]int{}, 0
	for row, n := range must {
		left[row] = n
		missing += n
	}
	for _, row := range rows {
		if left[row.row] > 0 {
			left[row.row]--
			missing--
			continue
		}
		if used[row.row]++; used[row.row] > may[row.row] {
			return false
		}
	}
	return missing == 0
}

type tiedRow struct{ key, row string }

// rowsOf writes rows so that equal ones have equal texts; nil if they have not the columns that they should.
func rowsOf(r Result, c Cut) []tiedRow {
	if len(r.Columns) < c.Own || len(c.Keys) > 0 && len(r.Columns) <= slices.Max(c.Keys) {
		return nil
	}
	out := make([]tiedRow, 0, len(r.Rows))
	var buf []byte
	write := func(to []byte, values [][]byte, i int) []byte {
		buf = normal(buf[:0], r.Columns[i], values[i])
		return append(append(strconv.AppendInt(to, int64(len(buf)), 10), ':'), buf...)
	}
	for _, values := range r.Rows {
		if len(values) != len(r.Columns) {
			return nil
		}
		var key, row []byte
		for _, i := range c.Keys {
			key = write(key, values, i)
		}
		for i := range c.Own {
			row = write(row, values, i)
		}
		out = append(out, tiedRow{string(key), string(row)})
	}
	return out
}
