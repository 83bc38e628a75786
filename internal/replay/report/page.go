package report

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/replay/judge"
	"github.com/windlass-db/windlass/internal/replay/tally"
)

//go:embed templates
var files embed.FS

// Style is the style of the partial; it takes its colours from the variables of the page around it.
func Style() []byte { return must("templates/replay.css") }

// Script sorts the partial's tables, also after they were put in anew. Nothing needs it.
func Script() []byte { return must("templates/replay.js") }

func must(name string) []byte {
	b, err := files.ReadFile(name)
	if err != nil {
		panic(err) // it is part of the program
	}
	return b
}

// Page writes the report as a page that needs no other file and loads nothing.
func Page(w io.Writer, r Report) error {
	body, err := Partial(r)
	if err != nil {
		return err
	}
	t, err := parse("templates/page.html")
	if err != nil {
		return err
	}
	if err := t.Execute(w, struct {
		Title  string
		Style  template.CSS
		Script template.JS
		Body   template.HTML
	}{title(r), template.CSS(append(must("templates/ground.css"), Style()...)), template.JS(Script()), body}); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	return nil
}

// Partial renders the report without a page around it. It has no heading above the second level, and nothing inline that a content security policy would forbid.
func Partial(r Report) (template.HTML, error) {
	t, err := parse("templates/report.html")
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, pageOf(r)); err != nil {
		return "", fmt.Errorf("render report: %w", err)
	}
	return template.HTML(b.String()), nil
}

func title(r Report) string {
	t := "Replay: " + string(r.Verdict)
	if r.Title != "" {
		t += ", " + r.Title
	}
	return t
}

// view is what the partial shows.
type view struct {
	Report
	Ledger []slice
	Seen   []meter
	Chart  *chart
	More   int // fingerprints that are not in the table
}

// meter is one measure of coverage.
type meter struct {
	Name, Text   string
	Width, Least float64 // of 100
	Enough       bool
}

func pageOf(r Report) view {
	v := view{Report: r, Ledger: ledger(r), Chart: chartOf(r), More: max(r.Known-len(r.Queries), 0)}
	c := r.Coverage
	v.Seen = []meter{
		of("statements replayed", c.Statements), of("by fingerprint", c.Fingerprints), of("compared", c.Compared), of("timed in pairs", c.Latency),
	}
	if c.MinSpan > 0 {
		share := min(float64(c.Span)/float64(c.MinSpan), 1)
		v.Seen = append([]meter{{Name: "time", Text: fmt.Sprintf("%s of %s", span(c.Span), span(c.MinSpan)), Width: 100 * share, Least: 100, Enough: c.Span >= c.MinSpan}}, v.Seen...)
	}
	return v
}

func of(name string, s judge.Share) meter {
	m := meter{Name: name, Text: fmt.Sprintf("%s (%s of %s)", percent(s.Share), number(s.Part), number(s.Whole)), Width: 100 * s.Share, Least: 100 * s.Min, Enough: s.Enough()}
	if s.Min > 0 {
		m.Text += fmt.Sprintf(", %s wanted", percent(s.Min))
	}
	return m
}

// number writes a count with thin spaces between thousands.
func number(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}

// cell is one value of a result. Production's values may be long, or not text at all.
type cell struct {
	Text    string
	Null    bool
	Differs bool
}

const longest = 300 // bytes of a value that are shown

func cellOf(v []byte) cell {
	switch {
	case v == nil:
		return cell{Text: "NULL", Null: true}
	case !utf8.Valid(v):
		if len(v) > longest/2 {
			return cell{Text: fmt.Sprintf("0x%X… (%d bytes)", v[:longest/2], len(v))}
		}
		return cell{Text: fmt.Sprintf("0x%X", v)}
	case len(v) > longest:
		return cell{Text: strings.ToValidUTF8(string(v[:longest]), "") + fmt.Sprintf("… (%d bytes)", len(v))}
	}
	return cell{Text: string(v)}
}

// rows are the cells of a result, marked where the other version's in the same place differ.
func rows(r, other *compare.Result) [][]cell {
	out := make([][]cell, len(r.Rows))
	for i, row := range r.Rows {
		for j, v := range row {
			c := cellOf(v)
			c.Differs = other != nil && (i >= len(other.Rows) || j >= len(other.Rows[i]) || (v == nil) != (other.Rows[i][j] == nil) || !bytes.Equal(v, other.Rows[i][j]))
			out[i] = append(out[i], c)
		}
	}
	return out
}

// sides are the answers to an example, in the order of the columns.
type side struct {
	Name   string
	Answer *compare.Answer
	Rows   *compare.Result
	Cells  [][]cell
}

func sides(e tally.Example) []side {
	var out []side
	if e.Captured != nil {
		out = append(out, side{Name: "captured", Answer: e.Captured})
	}
	for _, s := range []struct {
		name        string
		answer      *compare.Answer
		rows, other *compare.Result
	}{{"old version", e.Old, e.OldRows, e.NewRows}, {"new version", e.New, e.NewRows, e.OldRows}} {
		if s.answer == nil && s.rows == nil {
			continue
		}
		x := side{Name: s.name, Answer: s.answer, Rows: s.rows}
		if s.rows != nil {
			x.Cells = rows(s.rows, s.other)
		}
		out = append(out, x)
	}
	return out
}

// outcome is an answer in a few words.
func outcome(a *compare.Answer) string {
	switch {
	case a.TimedOut:
		return "ended by the replay: it took far too long"
	case a.Unfinished:
		return "the connection was lost"
	case a.Errno != 0:
		s := fmt.Sprintf("error %d", a.Errno)
		if a.SQLState != "" {
			s += " (" + a.SQLState + ")"
		}
		if a.Message != "" {
			s += ": " + a.Message
		}
		return s
	case a.Columns == 0 && a.Rows == 0:
		return rowsOf(a.Affected) + " changed"
	}
	return rowsOf(a.Rows)
}

func rowsOf(n uint64) string {
	if n == 1 {
		return "1 row"
	}
	return number(int64(n)) + " rows"
}

func parse(name string) (*template.Template, error) {
	base := name[strings.LastIndexByte(name, '/')+1:]
	t, err := template.New(base).Funcs(template.FuncMap{
		"number": number, "percent": percent, "span": span, "micros": micros, "total": total, "sides": sides, "outcome": outcome, "level": levelOf, "clip": clip,
		"reasons": func(m map[string]int64) []string { return tally.Reasonable(m) },
		"at":      func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 MST") },
		"ms":      func(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond)) },
		"hash":    func(h uint64) string { return fmt.Sprintf("%012x", h) },
		"reproduce": func(e tally.Example, host string) string {
			if len(e.Statement.Text) == 0 {
				return ""
			}
			return Reproduce(e.Statement, host)
		},
		"first": func(e []tally.Example) *tally.Example {
			if len(e) == 0 {
				return nil
			}
			return &e[0]
		},
		"rank": func(f judge.Finding) int {
			r := map[judge.Level]int{judge.Fail: 0, judge.Unclear: 1, judge.Warn: 2, judge.Note: 3}[f.Level]
			if f.Ignored != nil {
				r += 10
			}
			return r
		},
	}).ParseFS(files, name)
	if err != nil {
		return nil, fmt.Errorf("parse %s: %w", name, err)
	}
	return t, nil
}
