package judge

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/windlass-db/windlass/internal/query"
	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/replay/tally"
)

// counted is a query with its fingerprint.
type counted struct {
	*tally.Query
	fingerprint tally.Fingerprint
}

// queries are all of a tally in the order of their fingerprints, those beyond the bound last, as fingerprint 0.
func queries(t *tally.Tally) []counted {
	out := make([]counted, 0, len(t.Queries)+1)
	for _, f := range slices.Sorted(maps.Keys(t.Queries)) {
		out = append(out, counted{t.Queries[f], f})
	}
	if t.Other != nil {
		out = append(out, counted{t.Other, 0})
	}
	return out
}

// Thresholds of the free plan signal: a flag that comes and goes with the servers' statistics is none.
const (
	leastPlans = 5   // answers whose flags were compared
	mostPlans  = 0.5 // share of them in which an index is not used any more
)

// idOf names a finding: the same in every report. Of 70,000 names, more than a tally can have, two are the same once in 100,000 times. By says how it was found, if that is not the usual way of
// its kind: of one fingerprint both ways may have found something.
func idOf(f tally.Fingerprint, k compare.Kind, by string) string {
	return fmt.Sprintf("f-%012x", xxh3.HashString(f.String()+" "+string(k)+by)>>16)
}

// byCount is how findings were made that others bring of a kind that is judged here, too: rows that were read, beside pairs of times.
const byCount = " by count"

// findings makes those of all queries, the gravest first, and says what came of the ignore rules.
func findings(t *tally.Tally, r Rules, times map[tally.Fingerprint]*Latency, now time.Time) ([]Finding, []IgnoreUse) {
	out := []Finding{}
	for _, q := range queries(t) {
		for _, k := range slices.Sorted(maps.Keys(q.Differences)) {
			d := q.Differences[k]
			level, what, ok := weigh(q, k, d, r, t.Asked > 0)
			kind := k
			switch {
			case ok:
			case d.Cleared() && tied(d):
				kind, level = compare.Ties, r.level(compare.Ties)
				what = fmt.Sprintf("of rows that are equal in all that they are sorted by, LIMIT takes others, %d times; both answers are right, and a client that minds has to sort by something unique", d.Count())
			default:
				continue
			}
			f := finding(q, kind, level, what)
			switch {
			case kind == compare.Ties:
				f.ID = idOf(q.fingerprint, kind, " "+string(k))
			case k == compare.Slow || k == compare.Plan:
				f.ID = idOf(q.fingerprint, k, byCount)
			}
			f.Count, f.Real, f.Suspect, f.Unknown, f.Retested, f.Confirmed = d.Count(), d.Real, d.Suspect, d.Unknown, d.Retested, d.Confirmed
			f.First, f.Last, f.Errors, f.Examples = d.First, d.Last, d.Errors, d.Examples.Values()
			f.pick()
			out = append(out, f)
		}
		if f, ok := planFinding(q, r); ok {
			out = append(out, f)
		}
		if l := times[q.fingerprint]; l != nil && l.Regressed {
			f := finding(q, compare.Slow, r.level(compare.Slow), fmt.Sprintf("takes %.2f times as long (%.2f to %.2f), %s more in an hour of production", l.Ratio, l.Low, l.High, round(l.AddedPerHour)))
			f.Count, f.Latency, f.Examples = int64(l.Pairs), l, q.Example.Values()
			f.pick()
			out = append(out, f)
		}
	}
	for i := range out {
		if out[i].Latency == nil {
			out[i].Latency = times[out[i].Fingerprint]
		}
	}
	uses := ignore(out, r.Ignore, now)
	slices.SortStableFunc(out, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), cmp.Compare(b.Count, a.Count), cmp.Compare(a.ID, b.ID))
	})
	return out, uses
}

// finding fills what all findings of a query have.
func finding(q counted, k compare.Kind, level Level, what string) Finding {
	f := Finding{ID: idOf(q.fingerprint, k, ""), Fingerprint: q.fingerprint, Kind: k, Level: level, What: what, Text: q.Text, Replayed: q.Replayed, Plans: q.Explained, First: q.First, Last: q.Last}
	if q.Plan.Compared > 0 {
		bits := q.Plan
		f.PlanBits = &bits
	}
	return f
}

// pick chooses the example that is shown: one that a retest has confirmed before others.
func (f *Finding) pick() {
	slices.SortStableFunc(f.Examples, func(a, b tally.Example) int { return cmp.Compare(grade(a), grade(b)) })
	f.Example = f.Text
	if len(f.Examples) > 0 && len(f.Examples[0].Statement.Text) > 0 {
		f.Example = strings.ToValidUTF8(string(f.Examples[0].Statement.Text), "\ufffd")
	}
}

func grade(e tally.Example) int {
	switch {
	case e.Confirmed:
		return 0
	case e.Retested:
		return 3
	case e.Cause == compare.Real:
		return 1
	}
	return 2
}

// rank orders findings: those that count first, then by level.
func (f Finding) rank() int {
	n := map[Level]int{Fail: 0, Unclear: 1, Warn: 2, Note: 3}[f.Level]
	if f.Ignored != nil {
		n += 10
	}
	return n
}

// weigh gives the level of a difference. It is none if data that stands still has cleared it.
func weigh(q counted, k compare.Kind, d *tally.Difference, r Rules, asked bool) (Level, string, bool) {
	level := r.level(k)
	times := fmt.Sprintf("%d of %d times", d.Count(), q.Replayed)
	if q.Replayed == 0 {
		times = plural(int(d.Count()), "time", "times")
	}
	what := sentence(k, d)
	switch {
	case k == compare.Pattern: // it says how often
		return level, what, true
	case d.Confirmed > 0:
		return level, fmt.Sprintf("%s, %s; confirmed on data that stands still", what, times), true
	case tally.Retestable(k) && d.Cleared():
		return "", "", false
	case tally.Retestable(k) && d.RealCleared() && level == Fail:
		return Unclear, what + ", " + times + "; what was tested on data that stands still does not differ there, and the rest was not tested", true
	case k == compare.Content && level == Fail && q.Traits.Has(query.SortedLimit) && !r.allows(q, k, d):
		return Unclear, what + ", " + times + "; or rows that are equal in what they are sorted by, of which LIMIT takes some, which a retest on data that stands still tells", true
	case d.Real > 0 && level == Fail && !r.allows(q, k, d) && d.Retested == 0 && mayMove(q, k) && (r.Retests || float64(d.Real) < leastReal*float64(q.Replayed)):
		return Unclear, what + ", " + times + "; or a server was behind, which a retest on data that stands still tells", true
	case d.Real > 0:
		if level == Fail && r.allows(q, k, d) {
			return Warn, fmt.Sprintf("%s, %s, which the rules allow", what, times), true
		}
		return level, what + ", " + times, true
	case level != Fail:
		return level, what + ", " + times + "; or the data had moved", true
	case eachTime(q, asked):
		return level, what + " each time that it was replayed; there was no old version to ask whether the data had moved", true
	}
	return Unclear, what + ", " + times + "; or the data had moved", true
}

// allows reports whether a difference is within the leeway.
func (r Rules) allows(q counted, k compare.Kind, d *tally.Difference) bool {
	return k != compare.Syntax && k != compare.Conflict && q.Replayed > 0 && float64(d.Count()) <= r.Leeway*float64(q.Replayed)
}

// tied reports whether a retest has found that both answers are right.
func tied(d *tally.Difference) bool {
	return slices.ContainsFunc(d.Examples.Items, func(i tally.Item[tally.Example]) bool { return i.Value.Ties })
}

// leastReal is the share of a query's replays in which rows must differ to be believed without a retest, where nobody runs any: that a server is behind for a moment is seldom.
const leastReal = 0.1

// mayMove reports whether data that moves can make such a difference: another number of rows, or other rows, of a table.
func mayMove(q counted, k compare.Kind) bool {
	return (k == compare.Rows || k == compare.Content) && readsTable(q.Text)
}

// What a difference needs to be believed without an old version.
const (
	leastTimes = 5
	leastWhile = 10 * time.Minute
)

// eachTime reports whether a query differed from what was captured whenever it was replayed, with no old version to ask: often enough and for long enough, as data that moves makes a
// difference now and then; or without any table that could have moved.
func eachTime(q counted, asked bool) bool {
	var n int64
	for _, d := range q.Differences {
		n += d.Unknown
	}
	if asked || n == 0 || n != q.Replayed {
		return false
	}
	return n >= leastTimes && q.Last.Sub(q.First) >= leastWhile || !readsTable(q.Text)
}

// readsTable reports whether a normal form may read a table.
func readsTable(text string) bool {
	return len(text) >= tally.TextBytes || strings.HasPrefix(text, "(") || slices.ContainsFunc(strings.Fields(text), func(w string) bool { return w == "from" || w == "table" || strings.HasSuffix(w, ")from") })
}

// sentence says what a kind of difference is.
func sentence(k compare.Kind, d *tally.Difference) string {
	numbers := ""
	for _, n := range slices.Sorted(maps.Keys(d.Errors)) {
		if n != 0 {
			numbers += fmt.Sprintf(" %d", n)
		}
	}
	switch k {
	case compare.Syntax:
		return "the new version takes it for a syntax error," + numbers
	case compare.Conflict:
		return "the new version ends the transaction, as a row was changed since its snapshot (error 1020)"
	case compare.Timeout:
		return "the new version was ended, as it took far longer"
	case compare.Error:
		return "the new version answers with error" + numbers
	case compare.ErrorGone:
		return "the old version answers with an error, and the new one does not"
	case compare.ErrorOther:
		return "the new version answers with another error," + numbers
	case compare.Rows:
		return "the number of rows differs"
	case compare.Affected:
		return "another number of rows is changed"
	case compare.Content:
		return "the rows differ"
	case compare.Order:
		return "the same rows come in another order"
	case compare.Float:
		return "floating-point numbers differ in their last digits"
	case compare.Columns:
		return "names or types of the columns differ"
	case compare.Warnings:
		return "the number of warnings differs"
	case compare.Plan:
		return "the plan differs"
	case compare.Table:
		return "a table differs after the same writes"
	case compare.Pattern: // of one query there may be several
		var all []string
		for _, e := range d.Examples.Values() {
			all = append(all, e.Detail)
		}
		return strings.Join(all, " ")
	}
	if e := d.Examples.Values(); len(e) > 0 && e[0].Detail != "" {
		return e[0].Detail
	}
	return string(k)
}

// planFinding is made of the free flags, and of the plans if somebody asked for them.
func planFinding(q counted, r Rules) (Finding, bool) {
	p := q.Plan
	bits := p.Compared >= leastPlans && float64(p.Worse) > mostPlans*float64(p.Compared)
	asked := q.Explained != nil && q.Explained.Differs && q.Differences[compare.Syntax] == nil // of what the new version does not understand there is no plan
	if !bits && !asked || r.level(compare.Plan) == Note && !bits {
		return Finding{}, false
	}
	level := r.level(compare.Plan)
	what := ""
	switch {
	case bits && p.NoIndex > 0:
		what = fmt.Sprintf("the new version uses no index, where the old one does, in %d of %d answers; or its statistics are older, which ANALYZE TABLE mends", p.Worse, p.Compared)
	case bits:
		what = fmt.Sprintf("the new version finds no good index, where the old one does, in %d of %d answers; or its statistics are older, which ANALYZE TABLE mends", p.Worse, p.Compared)
	case q.Explained.Worse:
		what = "the plan is worse"
	default:
		what, level = "the plan differs", Note
	}
	if asked && q.Explained.Why != "" {
		what += ": " + q.Explained.Why
	}
	f := finding(q, compare.Plan, level, what)
	f.Count, f.Examples = max(p.Worse, 1), q.Example.Values()
	f.pick()
	return f, true
}

// ignore takes the findings that a rule is about out of the count.
func ignore(findings []Finding, rules []Ignore, now time.Time) []IgnoreUse {
	uses := make([]IgnoreUse, len(rules))
	for i, rule := range rules {
		use := IgnoreUse{Ignore: rule, Expired: rule.expired(now), Unused: true}
		for j := range findings {
			f := &findings[j]
			if !rule.fits(f.Fingerprint.String(), f.Text, f.Kind) {
				continue
			}
			use.Unused = false
			switch {
			case use.Expired:
				use.Would++
			case f.Ignored == nil:
				f.Ignored = &rule
				use.Findings++
			}
		}
		uses[i] = use
	}
	return uses
}

// cleared counts the differences that data which stands still has cleared.
func cleared(t *tally.Tally) (n int) {
	for _, q := range queries(t) {
		for k, d := range q.Differences {
			if tally.Retestable(k) && d.Cleared() && !tied(d) {
				n++
			}
		}
	}
	return n
}

// lines are the fingerprints that took the longest in production, and all that have findings.
func lines(t *tally.Tally, findings []Finding, times map[tally.Fingerprint]*Latency) []Line {
	found := map[tally.Fingerprint][]string{}
	for _, f := range findings {
		found[f.Fingerprint] = append(found[f.Fingerprint], f.ID)
	}
	out := []Line{}
	for _, q := range queries(t) {
		out = append(out, Line{Fingerprint: q.fingerprint, Text: q.Text, Captured: q.Captured, Replayed: q.Replayed, Unreplayable: q.Unreplayable, Skipped: sum(q.Skipped), Same: q.Same,
			Noise: q.Causes[compare.Moved] + q.Causes[compare.Volatile], Took: q.Took, Findings: found[q.fingerprint], Latency: times[q.fingerprint]})
	}
	slices.SortStableFunc(out, func(a, b Line) int {
		return cmp.Or(-cmp.Compare(a.Took, b.Took), -cmp.Compare(a.Captured, b.Captured), cmp.Compare(a.Fingerprint, b.Fingerprint))
	})
	return out[:min(len(out), MostLines)]
}
