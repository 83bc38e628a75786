// Package judge makes a verdict of what a replay has counted: pass, fail or insufficient, with the evidence and what would change it.
//
// # Model
//
// Judge is pure: a tally, rules and a time give a report. Each kind of difference of each fingerprint is a finding, which has a level by the rules: fail, unclear
// (it may be a difference, and what was seen can't tell), warn, note. Findings that fail make the verdict fail. What was not seen makes it insufficient:
// a ledger that does not balance, too little time or coverage, answers without anything to compare with, suspects that were not retested, times in too
// few pairs. Each of those says what would cure it, and when that can be.
//
// # Invariants
//
// A verdict is pass only if nothing that counts was found and all that the rules want was seen. Nothing is left out of sight: ignored findings stay in the report with who
// ignores them and why, a rule that has expired or fits nothing is told. A finding has the same id in every report.
package judge

import (
	"cmp"
	"fmt"
	"time"

	"github.com/windlass-db/windlass/internal/query"
	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/replay/tally"
)

// Judge makes the report. The tally stays the caller's, and the report's examples lie in it.
func Judge(t *tally.Tally, r Rules, now time.Time) Report {
	rep := Report{
		Judged: now.UTC(), Captured: t.Captured, Replayed: t.Replayed, Skipped: filled(t.Skipped), Unreplayable: filled(t.Unreplayable), DroppedBy: t.Dropped,
		Unaccounted: t.Unaccounted(), From: t.From, To: t.To, Began: t.Began, Ended: t.Ended, Known: len(t.Queries),
		Findings: []Finding{}, Queries: []Line{}, Why: []Reason{},
		Lateness: Lateness{Scheduler: quantiles(&t.Lateness.Scheduler), Connection: quantiles(&t.Lateness.Connection), Server: quantiles(&t.Lateness.Server)},
	}
	rep.Lateness.Quantiles = quantiles(t.Lateness.All())
	for _, n := range t.Dropped {
		rep.Dropped += n
	}
	if took := t.Ended.Sub(t.Began); took > 0 {
		rep.QPS = float64(t.Replayed) / took.Seconds()
	}
	times := latencies(t, r)
	rep.Coverage = covered(t, r, times)
	rep.Findings, rep.Rules = findings(t, r, times, now)
	rep.Queries = lines(t, rep.Findings, times)
	rep.Unended = unended(t, now)
	rep.Notes = notes(t, rep)
	rep.Why = why(t, r, rep, times, now)
	rep.Verdict = Pass
	for _, reason := range rep.Why {
		if reason.Code == WhyFindings {
			rep.Verdict = Failed
			break
		}
		rep.Verdict = Insufficient
	}
	return rep
}

// silent is for how long a capture that goes on may tell nothing: its files have to end and to be shipped first.
const silent = 5 * time.Minute

// unsaid is within how long a capture tells what it sees if it was killed before it said so itself: as long as gateways take at the most.
const unsaid = 15 * time.Second

// unended are the captures that ended without telling. The last one of a gateway may go on, as long as it was heard of lately, as of when it was counted: a tally is judged again long after that.
func unended(t *tally.Tally, now time.Time) (out []Unended) {
	if !t.Ended.IsZero() {
		now = t.Ended
	}
	for _, r := range t.Unended() {
		next := t.Next(r)
		if next.IsZero() && now.Sub(r.Until) < silent {
			continue
		}
		out = append(out, Unended{Gateway: r.Gateway, Run: r.Number, At: r.Until, UpTo: cmp.Or(r.Hold, unsaid), Next: next})
	}
	return out
}

// latencies are judged over all fingerprints that have times.
func latencies(t *tally.Tally, r Rules) map[tally.Fingerprint]*Latency {
	hours := t.To.Sub(t.From).Hours()
	var timings []Timing
	for _, q := range queries(t) {
		if len(q.Pairs.Items) == 0 {
			continue
		}
		timing := Timing{Fingerprint: q.fingerprint, Pairs: q.Pairs.Values(), Null: q.Null.Values()}
		if hours > 0 {
			timing.PerHour = float64(q.Captured) / hours
		}
		timings = append(timings, timing)
	}
	out := map[tally.Fingerprint]*Latency{}
	for _, l := range Latencies(timings, r.Latency) {
		out[l.Fingerprint] = &l
	}
	return out
}

// covered counts how much was seen.
func covered(t *tally.Tally, r Rules, times map[tally.Fingerprint]*Latency) Coverage {
	c := Coverage{Span: t.Span(), Whole: t.Whole(), MinSpan: r.MinTime}
	base := t.Captured
	for reason, n := range t.Skipped {
		if byDesign[reason] {
			base -= n
		}
	}
	for reason, n := range t.Dropped {
		if droppedByDesign[reason] {
			base -= n
		}
	}
	var of, touched, blind, silent, timed, timeable int64
	for _, q := range queries(t) {
		in := q.Captured
		for reason, n := range q.Skipped {
			if byDesign[reason] && reason != tally.SkipSampled {
				in -= n
			}
		}
		of += in
		if q.Replayed > 0 {
			touched += in
		}
		c.Noise += q.Causes[compare.Moved] + q.Causes[compare.Volatile]
		switch {
		case q.Traits.Has(query.OwnServer):
			silent += q.Replayed // what a server says of itself is no answer of production's data
			c.ErrorsOnly += q.Replayed
		case compare.ErrorsOnly(q.Traits):
			blind += q.Replayed
			c.ErrorsOnly += q.Replayed
		case neverEqual(q):
			blind += q.Replayed
		default:
			blind += q.Causes[compare.Unknown]
		}
		if q.Traits.Any(untimed) {
			continue
		}
		timeable += q.Replayed
		if l := times[q.fingerprint]; l != nil && !l.Insufficient {
			timed += q.Replayed
		}
	}
	c.Statements = share(t.Replayed, base, r.MinStatements)
	c.Fingerprints = share(touched, of, r.MinFingerprints)
	c.Compared = share(t.Replayed-silent-blind, t.Replayed-silent, r.MinCompared)
	if t.Replayed == silent {
		c.Compared.Share = 0 // nothing at all
	}
	c.Latency = share(timed, timeable, r.MinLatency)
	return c
}

// untimed are the traits of statements whose runs are not the same work twice.
const untimed = query.Volatile | query.OwnSession | query.OwnServer | query.LimitAlone

// neverEqual reports whether no two answers of a query were ever equal, neither to what was captured nor of the two versions, which is what it takes to say that the data had moved.
func neverEqual(q counted) bool {
	if q.Traits.Any(query.Volatile|query.LimitAlone) || q.Same+q.Causes[compare.Moved] > 0 {
		return false
	}
	for k, d := range q.Differences {
		if k != compare.Pattern && k != compare.Slow && (d.Real > 0 || d.Retested > 0) { // those two are no answers
			return false
		}
	}
	return q.Replayed > 0
}

// notes are what a reader should know beside the verdict.
func notes(t *tally.Tally, rep Report) (out []string) {
	for _, note := range tally.Reasonable(t.Notes) {
		out = append(out, fmt.Sprintf("%s (%d)", note, t.Notes[note]))
	}
	if c := rep.Coverage; len(t.On) > 0 && c.Whole-c.Span > time.Minute || c.Whole-c.Span > 2*tally.Slot {
		out = append(out, fmt.Sprintf("from its beginning to its end the capture takes %s, and was on in %s of them", round(c.Whole), round(c.Span)))
	}
	if t.Other != nil {
		out = append(out, fmt.Sprintf("there were more than %d fingerprints: %d statements of the others are counted together", tally.Fingerprints, t.Other.Captured))
	}
	if n := cleared(t); n > 0 {
		out = append(out, fmt.Sprintf("%d differences are none on data that stands still", n))
	}
	for _, use := range rep.Rules {
		switch {
		case use.Expired:
			out = append(out, fmt.Sprintf("the ignore rule %s of %s has expired on %s; it would have kept %d findings from counting", use.name(), use.Who, use.Expires.Format(time.DateOnly), use.Would))
		case use.Unused:
			out = append(out, fmt.Sprintf("the ignore rule %s of %s fits nothing", use.name(), use.Who))
		}
	}
	return out
}

func (i Ignore) name() string {
	if i.Fingerprint != "" {
		return i.Fingerprint
	}
	return fmt.Sprintf("%q", i.Like)
}

// filled is never nil, so that it is {} in JSON.
func filled(m map[string]int64) map[string]int64 {
	if m == nil {
		return map[string]int64{}
	}
	return m
}
