package report

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/windlass-db/windlass/internal/query"
	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/replay/judge"
	"github.com/windlass-db/windlass/internal/replay/tally"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// fixture is a report that has everything: findings of several kinds with results and plans, times, noise, an ignored finding, rules that expired and that fit nothing, and a
// text that tries to be a script.
func fixture() Report {
	t := &tally.Tally{Began: noon.Add(-2 * time.Hour), Ended: noon}
	r := rand.New(rand.NewPCG(1, 2))
	id := uint64(0)
	run := func(text string, n int, factor float64, differ func(i int) (compare.Outcome, *compare.Answer, *compare.Answer)) tally.Fingerprint {
		f, normal := query.Fingerprint(nil, []byte(text), query.Mode{})
		fp := tally.Fingerprint(f)
		for i := range n {
			id++
			at := noon.Add(-50*time.Hour + time.Duration(i)*49*time.Hour/time.Duration(n))
			t.AddCaptured(fp, tally.Seen{Text: normal, Traits: query.Look([]byte(text), query.Mode{}), At: at})
			a := time.Duration(float64(time.Millisecond) * math.Exp(r.NormFloat64()*0.2))
			pair := &tally.Pair{A: a, B: time.Duration(float64(a) * factor * math.Exp(r.NormFloat64()*0.1))}
			done := tally.Replayed{Fingerprint: fp, ID: id, At: at, Outcome: compare.Outcome{Same: true}, Pair: pair, Lateness: time.Duration(r.IntN(120)) * time.Microsecond,
				Captured: &compare.Answer{Rows: 1, Ordered: 7, Multiset: 7, Columns: 3, Took: a}, New: &compare.Answer{Rows: 1, Ordered: 7, Multiset: 7, Columns: 3, Took: pair.B},
				Statement: func() tally.Statement {
					return tally.Statement{Schema: "shop", User: "app", Charset: 45, At: at, Command: 3, Text: []byte(text)}
				}}
			if i%20 == 3 {
				done.Null = &tally.Pair{A: a, B: a + time.Microsecond}
			}
			if differ != nil {
				out, old, new := differ(i)
				if !out.Same {
					done.Outcome, done.Old, done.New = out, old, new
					done.Captured = old
				}
			}
			t.AddReplayed(done)
		}
		return fp
	}
	same := func(every int, o compare.Outcome, old, new compare.Answer) func(int) (compare.Outcome, *compare.Answer, *compare.Answer) {
		return func(i int) (compare.Outcome, *compare.Answer, *compare.Answer) {
			if i%every != 0 {
				return compare.Outcome{Same: true}, nil, nil
			}
			return o, &old, &new
		}
	}
	run("SELECT c FROM orders WHERE id = 17", 4000, 1.01, nil)
	run("SELECT * FROM lines WHERE order_id IN (1, 2, 3)", 1500, 1.9, nil)
	run("SELECT name, price FROM products WHERE shop = 'x' ORDER BY name LIMIT 20", 900, 0.8, same(10, compare.Outcome{Kind: compare.Content, Cause: compare.Moved}, compare.Answer{}, compare.Answer{}))
	run("SELECT 1 AS vector", 12, 1, same(1, compare.Outcome{Kind: compare.Syntax, Cause: compare.Real}, compare.Answer{Rows: 1, Columns: 5, Ordered: 9, Multiset: 9},
		compare.Answer{Errno: 1064, SQLState: "42000", Message: "You have an error in your SQL syntax; check the manual that corresponds to your MariaDB server version for the right syntax to use near 'vector' at line 1"}))
	date := run("SELECT id, from_unixtime(due) FROM bills WHERE id = 4", 300, 1.02, same(3, compare.Outcome{Kind: compare.Content, Cause: compare.Real, Checked: true}, compare.Answer{Rows: 2, Columns: 5, Ordered: 0x10, Multiset: 0x11, Warnings: 1}, compare.Answer{Rows: 2, Columns: 5, Ordered: 0x20, Multiset: 0x21}))
	run("SELECT note FROM t WHERE a = '<script>document.title=\"owned\"</script>'", 40, 1, same(2, compare.Outcome{Kind: compare.Order, Cause: compare.Real}, compare.Answer{Rows: 2, Columns: 5, Ordered: 1, Multiset: 3}, compare.Answer{Rows: 2, Columns: 5, Ordered: 2, Multiset: 3}))
	run("SELECT a FROM hot WHERE b = 1", 60, 1, same(30, compare.Outcome{Kind: compare.Rows, Cause: compare.Suspect}, compare.Answer{Rows: 2, Columns: 5}, compare.Answer{Rows: 3, Columns: 5}))
	legacy := run("SELECT @@old_alter_table", 8, 1, same(1, compare.Outcome{Kind: compare.Error, Cause: compare.Real}, compare.Answer{Rows: 1, Columns: 5}, compare.Answer{Errno: 1193, SQLState: "HY000", Message: "Unknown system variable 'old_alter_table'"}))
	for range 220 {
		t.AddCaptured(1, tally.Seen{Text: []byte("insert into orders values (?)"), Traits: query.Writes, At: noon.Add(-3 * time.Hour)})
		t.AddSkipped(1, tally.SkipWrite)
	}
	for range 31 {
		t.AddCaptured(2, tally.Seen{Text: []byte("select sum(x) from own"), Traits: query.Reads, At: noon.Add(-3 * time.Hour)})
		t.AddUnreplayable(2, tally.UnreplayableOwnWrite)
	}
	t.AddDropped("full", 9)
	t.AddRun(tally.Run{Gateway: "orders-blue", Number: 1, From: noon.Add(-3 * time.Hour), Until: noon.Add(-2 * time.Hour), Hold: 15 * time.Second})
	t.AddRun(tally.Run{Gateway: "orders-blue", Number: 2, From: noon.Add(-119 * time.Minute), Until: noon, Hold: 15 * time.Second})
	for _, s := range t.Suspects() {
		if s.Fingerprint == date {
			columns := []compare.Column{{Name: "id", Type: 3}, {Name: "from_unixtime(due)", Type: 12}}
			old := compare.Result{Columns: columns, Rows: [][][]byte{{[]byte("4"), nil}, {[]byte("5"), []byte("2031-01-01 00:00:00")}}}
			new := compare.Result{Columns: columns, Rows: [][][]byte{{[]byte("4"), []byte("2096-10-02 07:06:40")}, {[]byte("5"), []byte("2031-01-01 00:00:00")}}}
			t.AddRetest(tally.Retest{Fingerprint: s.Fingerprint, Kind: s.Kind, ID: s.ID, Confirmed: true, Differs: compare.Results(old, new), OldRows: &old, NewRows: &new})
		}
	}
	t.AddPlan(date, tally.Explained{Old: "1 SIMPLE bills const PRIMARY", New: "1 SIMPLE bills ALL", Differs: true, Worse: true, Why: "no key is used"})
	rules := judge.Default()
	rules.Latency.Budget = 10 * time.Millisecond // the fixture is no busy shop
	rules.Ignore = []judge.Ignore{
		{Fingerprint: legacy.String(), Who: "mira", Why: "only the old admin page asks for it", Expires: noon.Add(90 * 24 * time.Hour)},
		{Like: "select note%", Who: "jon", Why: "was mended", Expires: noon.Add(-24 * time.Hour)},
		{Like: "select never%", Who: "jon", Why: "gone", Expires: noon.Add(24 * time.Hour)},
	}
	rep := judge.Judge(t, rules, noon)
	rep.Old, rep.New, rep.Title = "10.11.18-MariaDB", "11.8.6-MariaDB", "qa/orders"
	return rep
}
