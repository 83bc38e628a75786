package writes

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/windlass-db/windlass/internal/query"
	"github.com/windlass-db/windlass/internal/replay/tally"
)

// How the order of the steps was found.
const (
	OrderBinlog   = "commits as in the binary log (GTIDs of the capture), all else as it was answered"
	OrderAnswered = "as statements were answered: the capture has no GTIDs; commits that overlapped may stand in the other order"
)

// arrange puts the steps of all transactions after the position into one order: as they were answered, since a statement that was answered before another was sent took effect before it; the end of a
// transaction as it was sent, since what waited for its locks may have been answered before it; and where two commits overlapped, as the binary log has them.
func arrange(txns []*txn, after position, since time.Time, t *tally.Tally) (steps []*step, order string, count int) {
	told, silent := 0, 0
	var last time.Time // of what the clones have, as far as GTIDs say
	for _, x := range txns {
		if g := x.commit().gtid; g.seq == 0 {
			silent++
		} else if told++; after.has(g) && x.commit().end.After(last) {
			last = x.commit().end
		}
	}
	order = OrderAnswered
	if told > 0 {
		order = OrderBinlog
		if silent > 0 {
			order += fmt.Sprintf("; %d of %d transactions have none, such as those that changed nothing", silent, told+silent)
		}
	}
	if last.Before(since) {
		last = since
	}
	for _, x := range txns {
		c := x.commit()
		if c.gtid.seq > 0 && after.has(c.gtid) || c.gtid.seq == 0 && !c.end.After(last) {
			for _, s := range x.steps {
				leave(t, s, tally.SkipBefore)
			}
			continue
		}
		count++
		steps = append(steps, x.steps...)
	}
	slices.SortStableFunc(steps, func(a, b *step) int {
		return cmp.Or(a.at().Compare(b.at()), cmp.Compare(a.conn.Gateway, b.conn.Gateway), cmp.Compare(a.seq, b.seq))
	})
	return byLog(steps), order, count
}

// at is when a step is taken to have had its effect.
func (s *step) at() time.Time {
	if s.traits.Has(query.Ends) {
		return s.start
	}
	return s.end
}

// commit is the last step: it is the one that has the transaction's GTID, unless that was a DDL's implicit commit.
func (x *txn) commit() *step {
	for i := len(x.steps) - 1; i > 0; i-- {
		if x.steps[i].gtid.seq > 0 {
			return x.steps[i]
		}
	}
	return x.steps[len(x.steps)-1]
}

// byLog moves each commit before those that overlapped with it in time and come after it in the binary log; and a statement that commits by itself before those that overlapped with it, of transactions
// that were open still when it was answered: had it needed their locks, it would have waited. What was answered before it was sent is never passed.
func byLog(steps []*step) []*step {
	out := make([]*step, 0, len(steps))
	for _, s := range steps {
		at := len(out)
		passes := func(i int) bool { return i >= 0 && out[i].at().After(s.start) && out[i].conn != s.conn }
		if s.gtid.seq > 0 {
			for i := len(out) - 1; passes(i); i-- {
				if o := out[i].gtid; o.line == s.gtid.line && o.seq > s.gtid.seq {
					at = i
				}
			}
		}
		if s.alone() {
			for i := at - 1; passes(i) && !out[i].alone() && !out[i].traits.Has(query.Ends); i-- {
				at = i
			}
		}
		out = slices.Insert(out, at, s)
	}
	return out
}

// alone reports whether the step is a transaction of its own.
func (s *step) alone() bool { return len(s.txn.steps) == 1 }
