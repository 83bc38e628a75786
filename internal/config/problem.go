package config

import (
	"fmt"
	"sort"
	"strings"
)

// The codes of problems. They are stable.
const (
	CodeSyntax        = "syntax"        // not YAML
	CodeUnknownKey    = "unknown-key"   // no such key here
	CodeDuplicateKey  = "duplicate-key" // the key stands twice
	CodeType          = "type"          // a list where a number is wanted, and the like
	CodeValue         = "value"         // can't be read as what it should be
	CodeRange         = "range"         // out of range
	CodeMissing       = "missing"       // a required key is absent
	CodeDuplicate     = "duplicate"     // a name or address that is given twice
	CodeContradiction = "contradiction" // two values that can't both be meant
	CodeReference     = "reference"     // names something that is not there
)

// Problem is one thing that is wrong in a file, and what to write instead.
type Problem struct {
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`   // counted from 1; 0: not from a file
	Column  int    `json:"column,omitempty"` // in characters, counted from 1
	Path    string `json:"path,omitempty"`   // such as "environments[0].clusters[2].record"
	Code    string `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`   // what to write instead
	Source  string `json:"source,omitempty"` // the line
}

// String is "file:line:column: message", the source line with a caret below the column, and the hint.
func (p Problem) String() string {
	var b strings.Builder
	switch {
	case p.Line > 0:
		fmt.Fprintf(&b, "%s:%d:%d: ", p.File, p.Line, p.Column)
	case p.File != "":
		fmt.Fprintf(&b, "%s: ", p.File)
	}
	if p.Path != "" {
		fmt.Fprintf(&b, "%s: ", p.Path)
	}
	b.WriteString(p.Message)
	if p.Line > 0 && p.Source != "" {
		line, caret := excerpt(p.Source, p.Column)
		fmt.Fprintf(&b, "\n%6d | %s\n       | %s^", p.Line, line, strings.Repeat(" ", caret))
	}
	if p.Hint != "" {
		fmt.Fprintf(&b, "\n       %s", p.Hint)
	}
	return b.String()
}

// excerpt cuts a long line around the column and tells where the caret goes. Tabs become spaces, so that the caret fits.
func excerpt(line string, column int) (string, int) {
	const most, before = 110, 60
	runes := []rune(strings.ReplaceAll(line, "\t", " "))
	at := min(max(column-1, 0), len(runes))
	if len(runes) <= most {
		return string(runes), at
	}
	from := max(0, at-before)
	to := min(len(runes), from+most)
	head, tail := "", ""
	if from > 0 {
		head = "…"
	}
	if to < len(runes) {
		tail = "…"
	}
	return head + string(runes[from:to]) + tail, at - from + len([]rune(head))
}

// Problems is everything that is wrong, in the order of files and lines. It is an error, and marshals as a JSON list.
type Problems []Problem

// Error is all problems, one after the other, and how many there are if there is more than one.
func (ps Problems) Error() string {
	parts := make([]string, 0, len(ps)+1)
	for _, p := range ps {
		parts = append(parts, p.String())
	}
	if len(ps) > 1 {
		parts = append(parts, fmt.Sprintf("%d problems", len(ps)))
	}
	return strings.Join(parts, "\n")
}

// ErrorHint tells the command line that every problem says itself what to do.
func (ps Problems) ErrorHint() string { return "" }

// sort orders by file, line, column, message.
func (ps Problems) sort(files map[string]int) {
	sort.SliceStable(ps, func(i, j int) bool {
		a, b := ps[i], ps[j]
		if a.File != b.File {
			if fa, fb := files[a.File], files[b.File]; fa != fb {
				return fa < fb
			}
			return a.File < b.File
		}
		if a.Line != b.Line {
			return a.Line < b.Line
		}
		if a.Column != b.Column {
			return a.Column < b.Column
		}
		return a.Message < b.Message
	})
}
