package report

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/windlass-db/windlass/internal/replay/judge"
	"github.com/windlass-db/windlass/internal/replay/tally"
)

// Text writes the report for a terminal: the verdict and why, the findings, the ledger, how much was seen.
func Text(w io.Writer, r Report) error {
	p := &printer{w: w}
	p.line("Verdict: %s%s", strings.ToUpper(string(r.Verdict)), versions(r))
	for _, why := range r.Why {
		p.line("  %s", why.Text)
		p.line("    %s%s", why.Cure, earliest(why))
	}
	if len(r.Findings) > 0 {
		p.line("")
		p.table([]string{"FINDING", "KIND", "LEVEL", "COUNT", "OF", "QUERY"}, func(row func(...any)) {
			for _, f := range r.Findings {
				row(f.ID, f.Kind, levelOf(f), f.Count, f.Replayed, clip(f.Example, 80))
			}
		})
		p.line("")
		p.line("windlass replay explain FINDING --report FILE shows one, and how to reproduce it.")
	} else {
		p.line("No findings.")
	}
	p.line("")
	p.line("Captured %d = replayed %d + skipped %d%s + unreplayable %d%s + dropped %d%s", r.Captured, r.Replayed, total(r.Skipped), reasons(r.Skipped), total(r.Unreplayable), reasons(r.Unreplayable), r.Dropped, reasons(r.DroppedBy))
	if r.Unaccounted != 0 {
		p.line("  and %d unaccounted for", r.Unaccounted)
	}
	c := r.Coverage
	p.line("Seen: %s of production; %s of the statements, %s by fingerprint; %s compared, %s timed", span(c.Span), percent(c.Statements.Share), percent(c.Fingerprints.Share), percent(c.Compared.Share), percent(c.Latency.Share))
	if c.Noise > 0 || c.ErrorsOnly > 0 {
		p.line("Not of the version: %d answers differed because data had moved, or differ from themselves; of %d errors alone were compared", c.Noise, c.ErrorsOnly)
	}
	if r.Lateness.Count > 0 {
		p.line("Lateness: p50 %s, p99 %s; %.0f statements a second", micros(r.Lateness.P50), micros(r.Lateness.P99), r.QPS)
	}
	for _, u := range r.Unended {
		p.line("Not counted: %s", u)
	}
	for _, n := range r.Notes {
		p.line("Note: %s", n)
	}
	return p.err
}

// printer writes lines and tables, without what could command a terminal, until something fails.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintln(p.w, printable(fmt.Sprintf(format, args...)))
	}
}

func (p *printer) table(head []string, fill func(row func(...any))) {
	if p.err != nil {
		return
	}
	tw := tabwriter.NewWriter(p.w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, strings.Join(head, "\t"))
	fill(func(cells ...any) {
		s := make([]string, len(cells))
		for i, c := range cells {
			s[i] = printable(fmt.Sprint(c))
		}
		fmt.Fprintln(tw, strings.Join(s, "\t"))
	})
	p.err = tw.Flush()
}

func versions(r Report) string {
	switch {
	case r.Old != "" && r.New != "":
		return fmt.Sprintf("   (%s → %s)", r.Old, r.New)
	case r.New != "":
		return fmt.Sprintf("   (%s)", r.New)
	}
	return ""
}

func earliest(why judge.Reason) string {
	if why.Earliest.IsZero() {
		return ""
	}
	return "; at the earliest " + why.Earliest.Format("2006-01-02 15:04 MST")
}

func levelOf(f judge.Finding) string {
	if f.Ignored != nil {
		return "ignored"
	}
	return string(f.Level)
}

// reasons lists a mapping in brackets, the most frequent first.
func reasons(m map[string]int64) string {
	if len(m) == 0 {
		return ""
	}
	var parts []string
	for _, k := range tally.Reasonable(m) {
		parts = append(parts, fmt.Sprintf("%s %d", k, m[k]))
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

func total(m map[string]int64) (n int64) {
	for _, v := range m {
		n += v
	}
	return n
}

// percent rounds down: 99.96 % of what is wanted are not all.
func percent(x float64) string {
	if x >= 1 {
		return "100 %"
	}
	return fmt.Sprintf("%.1f %%", float64(int(x*1000))/10)
}

func micros(us float64) string {
	return time.Duration(us * float64(time.Microsecond)).Round(time.Microsecond).String()
}

func span(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%.1f days", d.Hours()/24)
	case d >= time.Minute:
		return d.Round(time.Second).String()
	}
	return d.Round(time.Millisecond).String()
}

// clip makes one line of a text, without what could command a terminal, of at most so many characters.
func clip(s string, most int) string {
	s = strings.Join(strings.Fields(printable(s)), " ")
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

// printable replaces what is not to be printed, but for line ends and tabs.
func printable(s string) string {
	s = strings.ToValidUTF8(s, "\ufffd")
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return '·'
	}, s)
}
