package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/windlass-db/windlass/internal/query"
	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/replay/judge"
	"github.com/windlass-db/windlass/internal/replay/tally"
)

// Live is what a finding's example gives now.
type Live struct {
	Server  string         `json:"server"` // whom it was asked of
	Version string         `json:"version,omitempty"`
	Answer  compare.Answer `json:"answer"`
	Rows    compare.Result `json:"rows"` // the first ones
}

// mostRows of a result are printed.
const mostRows = 20

// Explain writes one finding for a terminal: what it is, the example with the answers of both versions, their plans, what the example gives now if it was run, and the
// commands that reproduce it.
func Explain(w io.Writer, f judge.Finding, live []Live) error {
	p := &printer{w: w}
	p.line("%s  %s  %s", f.ID, f.Kind, levelOf(f))
	p.line("%s.", upper(f.What))
	if i := f.Ignored; i != nil {
		p.line("It does not count: %s (%s%s)", i.Why, i.Who, until(i))
	}
	p.line("")
	p.line("Query, with the fingerprint %s:", f.Fingerprint)
	p.indent(f.Example)
	if f.Text != f.Example {
		p.line("Its form:")
		p.indent(f.Text)
	}
	if len(f.Examples) > 0 {
		p.example(f.Examples[0])
	}
	if f.Plans != nil && (f.Plans.Old != "" || f.Plans.New != "") {
		p.line("")
		p.line("Plan on the old version:")
		p.indent(f.Plans.Old)
		p.line("Plan on the new version:")
		p.indent(f.Plans.New)
		if f.Plans.Why != "" {
			p.line("%s.", upper(f.Plans.Why))
		}
	}
	if b := f.PlanBits; b != nil && b.Worse+b.Better > 0 {
		p.line("")
		p.line("Index not used, by the servers' own word: in %d of %d answers of the new version alone, in %d of the old one alone.", b.Worse, b.Compared, b.Better)
	}
	if l := f.Latency; l != nil && !l.Insufficient {
		p.line("")
		p.line("It takes %.2f times as long (%.2f to %.2f) in %d pairs; it counts above %.2f.", l.Ratio, l.Low, l.High, l.Pairs, l.Bar)
	}
	p.now(live)
	p.reproduce(f)
	return p.err
}

func until(i *judge.Ignore) string {
	if i.Expires.IsZero() {
		return ""
	}
	return ", until " + i.Expires.Format("2006-01-02")
}

func upper(s string) string {
	if s == "" || s[0] < 'a' || s[0] > 'z' {
		return s
	}
	return string(s[0]-'a'+'A') + s[1:]
}

func (p *printer) indent(text string) {
	for line := range strings.Lines(text) {
		p.line("  %s", strings.TrimRight(line, "\n"))
	}
}

// example prints the answers to an example, side by side, and its rows.
func (p *printer) example(e tally.Example) {
	if e.Detail != "" {
		p.line("%s", e.Detail)
	}
	all := sides(e)
	if len(all) == 0 {
		return
	}
	p.line("")
	p.table([]string{"", "ANSWER", "WARNINGS", "TOOK", "ROWS' HASH", "IN ANY ORDER"}, func(row func(...any)) {
		for _, s := range all {
			if a := s.Answer; a != nil {
				row(s.Name, clip(outcome(a), 100), a.Warnings, a.Took, hashOf(*a, a.Ordered), hashOf(*a, a.Multiset))
			}
		}
	})
	for _, s := range all {
		if s.Rows != nil {
			p.line("")
			p.line("%s:", upper(s.Name))
			p.result(*s.Rows)
		}
	}
	switch {
	case e.Confirmed:
		p.line("Confirmed on data that stands still.")
	case e.Retested:
		p.line("On data that stands still there is no difference.")
	}
}

func hashOf(a compare.Answer, h uint64) string {
	if a.Errno != 0 || a.Lacks&compare.LacksContent != 0 || a.Columns == 0 {
		return "-"
	}
	return fmt.Sprintf("%012x", h)
}

// result prints the first rows.
func (p *printer) result(r compare.Result) {
	head := make([]string, len(r.Columns))
	for i, c := range r.Columns {
		head[i] = "  " + clip(c.Name, 40)
		if i > 0 {
			head[i] = clip(c.Name, 40)
		}
	}
	p.table(head, func(row func(...any)) {
		for _, values := range r.Rows[:min(len(r.Rows), mostRows)] {
			cells := make([]any, len(values))
			for i, v := range values {
				cells[i] = clip(cellOf(v).Text, 60)
				if i == 0 {
					cells[i] = "  " + cells[i].(string)
				}
			}
			row(cells...)
		}
	})
	if n := len(r.Rows) - mostRows; n > 0 {
		p.line("  and %d more", n)
	}
}

// now prints what the example gives on the servers that were asked.
func (p *printer) now(live []Live) {
	for _, l := range live {
		p.line("")
		p.line("Now, on %s (%s): %s, %d warnings, %s", l.Server, l.Version, clip(outcome(&l.Answer), 200), l.Answer.Warnings, l.Answer.Took)
		if len(l.Rows.Rows) > 0 {
			p.result(l.Rows)
		}
	}
	if len(live) == 2 {
		old, new := live[0], live[1]
		k, d := compare.Difference(query.Reads, old.Answer, new.Answer), compare.Results(old.Rows, new.Rows)
		p.line("")
		switch {
		case k == "":
			p.line("The two are the same now.")
		case (k == compare.Content || k == compare.Order) && !d.Any() && uint64(len(old.Rows.Rows)) == old.Answer.Rows:
			p.line("The two are the same now, but for the last digits of floating-point numbers.")
		default:
			p.line("The two differ: %s%s.", k, inColumns(d.Columns))
		}
	}
}

func inColumns(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return " in " + clip(strings.Join(names, ", "), 200)
}

func (p *printer) reproduce(f judge.Finding) {
	for _, e := range f.Examples {
		if len(e.Statement.Text) == 0 {
			continue
		}
		p.line("")
		p.line("To reproduce it, set OLD and NEW to the hosts of the two versions:")
		p.line("")
		for _, host := range []string{`"$OLD"`, `"$NEW"`} {
			p.line("%s", strings.TrimRight(Reproduce(e.Statement, host), "\n"))
		}
		return
	}
	p.line("")
	p.line("No statement of it was kept, so it can't be reproduced from here.")
}
