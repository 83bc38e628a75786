package replay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/replay/judge"
)

// rulesOf are the campaign's rules as the judge takes them.
func rulesOf(r campaign.Replay) judge.Rules {
	out := judge.Default()
	out.MinTime, out.MinStatements, out.MinLatency = r.MinTime, float64(r.MinCoverage)/100, float64(r.Latency.Timed)/100
	out.Leeway = r.Leeway
	out.Latency.Factor, out.Latency.Budget, out.Latency.Least = r.Latency.Factor, r.Latency.Budget, r.Latency.Pairs
	for _, i := range r.Ignore {
		one := judge.Ignore{Fingerprint: i.Fingerprint, Like: i.Like, Who: i.By, Why: i.Reason, Expires: i.Until}
		for _, k := range i.Kinds {
			one.Kinds = append(one.Kinds, compare.Kind(k))
		}
		out.Ignore = append(out.Ignore, one)
	}
	return out
}

// enough tells whether to replay on would change nothing: the verdict passes, or findings alone keep it from that.
func enough(r judge.Report) bool {
	for _, why := range r.Why {
		if why.Code != judge.WhyFindings {
			return false
		}
	}
	return true
}

// onlyUnclear tells whether, beside findings, nothing is missing but a test on frozen data.
func onlyUnclear(r judge.Report) bool {
	unclear := false
	for _, why := range r.Why {
		switch why.Code {
		case judge.WhyFindings:
		case judge.WhyUnclear:
			unclear = true
		default:
			return false
		}
	}
	return unclear
}

// Judge judges what is kept by the request's rules.
func (d *Driver) Judge(ctx context.Context, r bluegreen.ReplayRequest, status json.RawMessage) (bluegreen.Replayed, error) {
	at, err := cursorOf(status)
	if err != nil {
		return bluegreen.Replayed{}, err
	}
	if at.Run == "" {
		return d.nothing(), nil
	}
	b, err := d.results(ctx)
	if err != nil {
		return bluegreen.Replayed{}, err
	}
	defer b.Close()
	_, got, err := d.judged(ctx, at.place(b, r), at, r)
	return got, err
}

// nothing is the judgement of a replay that has counted nothing.
func (d *Driver) nothing() bluegreen.Replayed {
	const text = "nothing was counted yet"
	return bluegreen.Replayed{Verdict: bluegreen.VerdictInsufficient, Message: text, Checks: check.Results{check.Failed(bluegreen.CheckReplayVerdict, text, "let capture and replay go on", d.cfg.Now())}}
}

// errOlder says that what is kept was captured before the replay that it is to be of.
var errOlder = errors.New("what is kept is older than this replay")

func (d *Driver) judged(ctx context.Context, here place, at cursor, r bluegreen.ReplayRequest) (judge.Report, bluegreen.Replayed, error) {
	t, err := here.counted(ctx)
	if err != nil {
		return judge.Report{}, bluegreen.Replayed{}, err
	}
	if t == nil {
		return judge.Report{}, d.nothing(), nil
	}
	if !t.From.IsZero() && t.From.Before(at.From.Add(-time.Second)) {
		return judge.Report{}, bluegreen.Replayed{}, fmt.Errorf("%w: it begins at %s, and this one at %s", errOlder, t.From.UTC().Format(time.RFC3339), at.From.UTC().Format(time.RFC3339))
	}
	rep := judge.Judge(t, rulesOf(r.Rules), d.cfg.Now())
	rep.Old, rep.New, rep.Title = r.From, r.To, r.Cluster.Ref().String()
	whole, err := json.Marshal(rep)
	if err != nil {
		return rep, bluegreen.Replayed{}, fmt.Errorf("encode the report: %w", err)
	}
	if err := here.keep(ctx, nameReport, whole); err != nil {
		return rep, bluegreen.Replayed{}, err
	}
	got := told(rep, r, d.cfg.Now())
	short := bounded(rep)
	for got.Report, err = json.Marshal(short); err == nil && len(got.Report) > mostReport && len(short.Findings) > 0; got.Report, err = json.Marshal(short) {
		short.Findings = short.Findings[:len(short.Findings)/2] // the gravest are first
		short.Notes = append(short.Notes[:len(short.Notes):len(short.Notes)], fmt.Sprintf("%d findings are only in the whole report, in the bucket of replays", len(rep.Findings)-len(short.Findings)))
	}
	return rep, got, err
}

// The most that a report in the control plane's state has: the whole one is in the bucket.
const (
	mostFindings = 50
	mostQueries  = 50
	mostText     = 4 << 10
	mostReport   = 128 << 10
)

// bounded is the report with its gravest findings, each with one example.
func bounded(r judge.Report) judge.Report {
	if len(r.Findings) > mostFindings {
		r.Notes = append(r.Notes[:len(r.Notes):len(r.Notes)], fmt.Sprintf("%d more findings are in the whole report, in the bucket of replays", len(r.Findings)-mostFindings))
		r.Findings = r.Findings[:mostFindings]
	}
	r.Findings = append([]judge.Finding(nil), r.Findings...)
	for i := range r.Findings {
		f := &r.Findings[i]
		f.Text, f.Example = cut(f.Text), cut(f.Example)
		if len(f.Examples) > 1 {
			f.Examples = f.Examples[:1]
		}
	}
	if len(r.Queries) > mostQueries {
		r.Queries = r.Queries[:mostQueries]
	}
	r.Queries = append([]judge.Line(nil), r.Queries...)
	for i := range r.Queries {
		r.Queries[i].Text = cut(r.Queries[i].Text)
	}
	return r
}

func cut(s string) string {
	if len(s) <= mostText {
		return s
	}
	return strings.ToValidUTF8(s[:mostText], "") + "…"
}

// told is what the stage says of a report.
func told(rep judge.Report, r bluegreen.ReplayRequest, now time.Time) bluegreen.Replayed {
	got := bluegreen.Replayed{Verdict: string(rep.Verdict), Enough: enough(rep), Progress: progressOf(rep.Coverage.Span, r.Rules.MinTime)}
	seen := fmt.Sprintf("%d of %d statements that can be replayed were, of %d captured over %s", rep.Coverage.Statements.Part, rep.Coverage.Statements.Whole, rep.Captured, rep.Coverage.Span.Round(time.Second))
	if n := ignored(rep); n > 0 {
		seen += fmt.Sprintf("; %d findings do not count, by the campaign's rules", n)
	}
	for _, u := range rep.Unended {
		seen += "; " + u.String()
	}
	page := "/clusters/" + r.Cluster.Ref().String() + "/replay"
	var findings []string
	for _, f := range rep.Findings {
		if !f.Counts() || f.Level != judge.Fail {
			continue
		}
		got.Findings++
		if got.Findings > 10 {
			continue
		}
		got.Checks = append(got.Checks, check.Failed("replay-finding", fmt.Sprintf("%s, %s, %d times: %s", f.Fingerprint, f.Kind, f.Count, short(f.Text)), // the example has its clients' values: it is in the report alone
			fmt.Sprintf("look at it at %s; then mend it, or write {fingerprint: %q, kinds: [%s], reason: …, by: …} under replay.ignore of the campaign's file and apply it", page, f.Fingerprint.String(), f.Kind), now))
		if got.Findings <= 3 {
			findings = append(findings, fmt.Sprintf("%s (%s)", short(f.Text), f.Kind))
		}
	}
	switch {
	case rep.Verdict == judge.Pass:
		got.Message = "the verdict is pass: " + seen
		got.Checks = append(got.Checks, check.Passed(bluegreen.CheckReplayVerdict, got.Message, now))
	case got.Findings > 0:
		more := ""
		if n := got.Findings - len(findings); n > 0 {
			more = fmt.Sprintf(" and %d more", n)
		}
		got.Message = fmt.Sprintf("the verdict is fail: %s answers otherwise than %s, or more slowly, in %d ways: %s%s; the report is at %s", r.To, r.From, got.Findings, strings.Join(findings, ", "), more, page)
		got.Checks = append(check.Results{check.Failed(bluegreen.CheckReplayVerdict, got.Message, "judge each finding: a rule under replay.ignore of the campaign's file, windlass override, or windlass abort and rollback", now)}, got.Checks...)
	default:
		got.Message = "the verdict is insufficient: " + seen
		for _, why := range rep.Why {
			got.Message += "; " + why.Text
			remedy := why.Cure
			if !why.Earliest.IsZero() {
				remedy += fmt.Sprintf(" (at the earliest %s)", why.Earliest.UTC().Format("2006-01-02 15:04 MST"))
			}
			got.Checks = append(got.Checks, check.Failed("replay-"+why.Code, why.Text, remedy, now))
		}
	}
	return got
}

func ignored(r judge.Report) (n int) {
	for _, f := range r.Findings {
		if f.Ignored != nil {
			n++
		}
	}
	return n
}

// short is a statement in a line.
func short(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	const most = 100
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}
