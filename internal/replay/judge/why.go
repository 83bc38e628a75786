package judge

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/replay/tally"
)

// why lists what keeps the verdict from pass: findings first, then what was not seen.
func why(t *tally.Tally, r Rules, rep Report, times map[tally.Fingerprint]*Latency, now time.Time) []Reason {
	out := []Reason{}
	var fail, unclear []string
	for _, f := range rep.Findings {
		switch {
		case !f.Counts():
		case f.Level == Fail:
			fail = append(fail, f.ID)
		default:
			unclear = append(unclear, f.ID)
		}
	}
	if len(fail) > 0 {
		out = append(out, Reason{Code: WhyFindings, Text: fmt.Sprintf("%s: %s", plural(len(fail), "finding", "findings"), some(fail)),
			Cure: "look at each with windlass replay explain; mend the query or the server, or write an ignore rule with who, why and until when"})
	}
	c := rep.Coverage
	if rep.Replayed == 0 {
		out = append(out, Reason{Code: WhyNothing, Text: fmt.Sprintf("of %d captured statements none was replayed", rep.Captured), Cure: cureOf(rep)})
	}
	if rep.Unaccounted != 0 {
		out = append(out, Reason{Code: WhyUnbalanced, Text: fmt.Sprintf("the ledger does not balance: %d captured, but %d replayed, %d skipped, %d unreplayable and %d dropped leave %d",
			rep.Captured, rep.Replayed, sum(rep.Skipped), sum(rep.Unreplayable), rep.Dropped, rep.Unaccounted), Cure: "replay the capture again; if it stays, report it: the replay loses statements"})
	}
	for _, what := range slices.Sorted(maps.Keys(t.Unfinished)) {
		out = append(out, Reason{Code: WhyUnfinished, Text: what, Cure: "let each share go to its end, with its --state, and merge all of them; of a capture that goes on give each the same --until"})
	}
	if c.Span < c.MinSpan {
		out = append(out, Reason{Code: WhyTime, Text: fmt.Sprintf("the capture was on for %s, and %s are wanted", round(c.Span), round(c.MinSpan)), Cure: "let capture and replay go on", Earliest: now.Add(c.MinSpan - c.Span).UTC()})
	}
	if rep.Replayed > 0 && !c.Statements.Enough() {
		out = append(out, Reason{Code: WhyStatements, Text: fmt.Sprintf("%s of the statements that could be replayed were, and %s are wanted", percent(c.Statements.Share), percent(c.Statements.Min)), Cure: cureOf(rep)})
	}
	if rep.Replayed > 0 && !c.Fingerprints.Enough() {
		out = append(out, Reason{Code: WhyFingerprints, Text: fmt.Sprintf("the fingerprints that were replayed make %s of the statements, and %s are wanted", percent(c.Fingerprints.Share), percent(c.Fingerprints.Min)), Cure: cureOf(rep)})
	}
	if rep.Replayed > 0 && !c.Compared.Enough() {
		out = append(out, Reason{Code: WhyCompared, Text: fmt.Sprintf("for %s of the replayed statements there was an answer to compare with, and %s are wanted", percent(c.Compared.Share), percent(c.Compared.Min)),
			Cure: "give --reference, a replica of the old version; capture with the gateway, which records what was answered, and without masking"})
	}
	if len(unclear) > 0 {
		out = append(out, Reason{Code: WhyUnclear, Text: fmt.Sprintf("%s may be of the version or of data that moves: %s", plural(len(unclear), "difference", "differences"), some(unclear)), Cure: cureUnclear(rep)})
	}
	if rep.Replayed > 0 && !c.Latency.Enough() {
		reason := Reason{Code: WhyLatency, Text: fmt.Sprintf("times can be judged for %s of the replayed statements, and %s are wanted", percent(c.Latency.Share), percent(c.Latency.Min)),
			Cure: fmt.Sprintf("replay on: a fingerprint needs %d pairs of times on both versions", r.Latency.Least)}
		if at, ok := enoughPairs(t, r, times, now); ok {
			reason.Earliest = at
		} else if c.Latency.Part == 0 && !slices.ContainsFunc(queries(t), func(q counted) bool { return len(q.Pairs.Items) > 0 }) {
			reason.Cure = "give --reference, a replica of the old version, so that times can be measured in pairs"
		}
		out = append(out, reason)
	}
	return out
}

// cureOf says what would let more be replayed, by the most frequent reason.
func cureOf(rep Report) string {
	cures := map[string]string{
		tally.UnreplayableMasked:           "capture without masking, or let the worker have the values",
		tally.UnreplayableCut:              "let the capture keep longer statements, and let it go on: its end cuts what still runs",
		tally.UnreplayableOwnWrite:         "replay writes as well, with windlass replay writes: these read what their own transaction wrote",
		tally.UnreplayableUnknownStatement: "let the capture go on: statements that were prepared before it began are not in it",
		tally.UnreplayableUnknownSession:   "let the capture go on: connections that were open before it began are not wholly in it",
		tally.UnreplayableNotGranted:       "give the replay's account the right to read what the captured users may",
		tally.UnreplayableTargetLost:       "see that the target stays up",
		tally.UnreplayableTransactionLost:  "see that the target stays up",
		tally.UnreplayableDamaged:          "see why capture files are damaged",
		tally.UnreplayableEnvironment:      "see the error numbers in the notes: the replay's account may need more rights, or its servers more connections or time",
		tally.SkipTargetDown:               "see that the target stays up",
		tally.SkipTargetBehind:             "let the target's replication catch up, or replay further behind production",
		tally.SkipQueueFull:                "give the replay more workers or a faster target, or a lower speed",
		tally.SkipConnections:              "let the replay open more connections, or give it more workers",
		tally.SkipInterrupted:              "let the replay go to its end",
	}
	missed := maps.Clone(rep.Unreplayable)
	for reason, n := range rep.Skipped {
		if !byDesign[reason] {
			missed[reason] += n
		}
	}
	unreplayable := tally.Reasonable(missed)
	if rep.Dropped > sum(missed) {
		return "the capture dropped " + plural(int(rep.Dropped), "statement", "statements") + " (" + strings.Join(tally.Reasonable(rep.DroppedBy), ", ") + "): give it a larger buffer or disk"
	}
	for _, reason := range unreplayable {
		if cure := cures[reason]; cure != "" {
			return cure
		}
	}
	if rep.Captured == 0 {
		return "see that the capture runs, and that --from is where it is"
	}
	if len(unreplayable) > 0 {
		return "most are not replayed because of: " + unreplayable[0]
	}
	return "capture reads, and let the replay go on: what was captured are other statements"
}

func cureUnclear(rep Report) string {
	for _, f := range rep.Findings {
		if f.Level == Unclear && f.Ignored == nil && f.Suspect+f.Real > 0 {
			return "let it be asked again on data that stands still: a campaign does so, and windlass replay with --target-control and --reference-control"
		}
	}
	return "give --reference, a replica of the old version, to tell data that moved from a version that differs"
}

// enoughPairs foretells when so many fingerprints have their pairs that the rules are content, if pairs come as they did. The most frequent ones come first.
func enoughPairs(t *tally.Tally, r Rules, times map[tally.Fingerprint]*Latency, now time.Time) (time.Time, bool) {
	took := t.Ended.Sub(t.Began)
	if took <= 0 || t.Replayed == 0 {
		return time.Time{}, false
	}
	type due struct {
		weight int64
		in     time.Duration
	}
	var later []due
	var have int64
	for _, q := range queries(t) {
		l := times[q.fingerprint]
		switch {
		case l == nil:
		case !l.Insufficient:
			have += q.Replayed
		default:
			missing := float64(r.Latency.Least-l.Pairs) / float64(max(l.Pairs, 1))
			later = append(later, due{q.Replayed, time.Duration(max(missing, 0) * float64(took))})
		}
	}
	slices.SortFunc(later, func(a, b due) int { return order(float64(a.in), float64(b.in)) })
	for _, d := range later {
		have += d.weight
		if float64(have) >= r.MinLatency*float64(t.Replayed) {
			return now.Add(d.in).UTC(), true
		}
	}
	return time.Time{}, false
}

func sum(m map[string]int64) (n int64) {
	for _, v := range m {
		n += v
	}
	return n
}

func plural(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// some lists a few of many.
func some(ids []string) string {
	const few = 5
	if len(ids) > few {
		return fmt.Sprintf("%s and %d more", strings.Join(ids[:few], ", "), len(ids)-few)
	}
	return strings.Join(ids, ", ")
}

// percent never rounds up to what is wanted.
func percent(x float64) string { return fmt.Sprintf("%g %%", math.Floor(x*1000)/10) }

func round(d time.Duration) time.Duration {
	switch {
	case d > time.Hour:
		return d.Truncate(time.Minute)
	case d > time.Second:
		return d.Truncate(time.Second)
	}
	return d.Truncate(time.Millisecond)
}
