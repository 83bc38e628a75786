package writes

import (
	"fmt"
	"time"

	"github.com/windlass-db/windlass/internal/replay/judge"
)

// Report judges a result, and says how it was come by.
func Report(r *Result, rules judge.Rules, now time.Time) judge.Report {
	rep := judge.Judge(r.Tally, rules, now)
	rep.Old, rep.New = r.Old, r.New
	rep.Notes = append([]string{
		fmt.Sprintf("transactions after %q: %d, in this order: %s", r.Position, r.Transactions, r.Order),
		fmt.Sprintf("%d tables with %d rows were compared in the end", r.Tables, r.Rows),
	}, rep.Notes...)
	for i, side := range []string{"old", "new"} {
		if n := r.Retried[i]; n > 0 {
			rep.Notes = append(rep.Notes, fmt.Sprintf("transactions that the %s version alone ended, for a conflict, a deadlock or a lock, and that were run again there: %d", side, n))
		}
	}
	return rep
}
