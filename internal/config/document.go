package config

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// document is one parsed document with the problems found in it so far.
type document struct {
	file     string
	lines    []string // of the whole file
	first    int      // lines of the file before the document
	root     *node
	problems Problems
	bad      map[string]bool // paths with a problem: one is enough
}

// add reports a problem at a place.
func (d *document) add(line, column int, path, code, message, hint string) {
	// A duplicate key says nothing of the value that counts, the first one's.
	if path != "" && code != CodeDuplicateKey {
		d.bad[path] = true
	}
	d.problems = append(d.problems, Problem{File: d.file, Line: line, Column: column, Path: path, Code: code, Message: message, Hint: hint, Source: d.sourceLine(line)})
}

func (d *document) sourceLine(line int) string {
	if line < 1 || line > len(d.lines) {
		return ""
	}
	return hideSecrets(d.lines[line-1])
}

// secretKey is a key or an option whose value is a secret, wherever somebody wrote it by mistake: files name secrets by *_file.
var secretKey = regexp.MustCompile(`(?i)(?:password|passwd|passphrase|secret|token)s?["']?\s*[:=]\s*`)

// hideSecrets puts stars for what follows such a key, so that the caret stays where it was.
func hideSecrets(line string) string {
	m := secretKey.FindStringIndex(line)
	if m == nil {
		return line
	}
	return line[:m[1]] + strings.Repeat("*", utf8.RuneCountInString(line[m[1]:]))
}

// report reports a problem at the value of a path, unless that value has one already.
func (d *document) report(path []any, code, message, hint string) {
	if p := pathString(path); !d.bad[p] {
		d.bad[p] = true
		d.problems = append(d.problems, d.problemAt(path, code, message, hint))
	}
}

// problemAt makes a problem at the value of a path, or at the nearest thing above it that is in the file.
func (d *document) problemAt(path []any, code, message, hint string) Problem {
	line, column := d.place(path)
	return Problem{File: d.file, Line: line, Column: column, Path: pathString(path), Code: code, Message: message, Hint: hint, Source: d.sourceLine(line)}
}

func (d *document) line(path []any) int {
	line, _ := d.place(path)
	return line
}

// place finds the line and column of a path's value; of its key if the value is a mapping or list; of what is above it if it is absent.
func (d *document) place(path []any) (line, column int) {
	n := d.root
	line, column = n.line, n.column
	for _, step := range path {
		switch s := step.(type) {
		case string:
			e, ok := n.get(s)
			if !ok {
				return line, column
			}
			n = e.value
			line, column = e.line, e.column
			if n.form != formMap && n.form != formList && n.form != formNull {
				line, column = n.line, n.column
			}
		case int:
			if s < 0 || s >= len(n.items) {
				return line, column
			}
			n = n.items[s]
			line, column = n.line, n.column
		}
	}
	return line, column
}

// find returns the value of a path.
func (d *document) find(path []any) (*node, bool) {
	n := d.root
	for _, step := range path {
		switch k := step.(type) {
		case string:
			e, ok := n.get(k)
			if !ok {
				return nil, false
			}
			n = e.value
		case int:
			if k < 0 || k >= len(n.items) {
				return nil, false
			}
			n = n.items[k]
		}
	}
	return n, true
}

// entry returns the entry of the mapping that the path's last step is a key of.
func (d *document) entry(path []any) (entry, bool) {
	key, isKey := path[len(path)-1].(string)
	parent, ok := d.find(path[:len(path)-1])
	if !ok || !isKey {
		return entry{}, false
	}
	return parent.get(key)
}

// header checks the keys that every document has, and finds its kind.
func (d *document) header(kinds []Kind) (Kind, bool) {
	if d.root.form != formMap {
		d.add(d.root.line, d.root.column, "", CodeType, fmt.Sprintf("a document is a mapping of keys, not %s", d.root.form), header(kinds))
		return Kind{}, false
	}
	if e, ok := d.root.get("version"); !ok {
		d.add(d.root.line, d.root.column, "version", CodeMissing, "the key \"version\" is missing", fmt.Sprintf("add \"version: %d\": the version of the file's format", FormatVersion))
	} else if e.value.form != formNumber {
		d.add(e.value.line, e.value.column, "version", CodeType, fmt.Sprintf("the version of the file format is a number, not %s", e.value.describe()), fmt.Sprintf("write \"version: %d\", without quotes", FormatVersion))
	} else if e.value.text != strconv.Itoa(FormatVersion) {
		d.add(e.value.line, e.value.column, "version", CodeValue, fmt.Sprintf("this release reads version %d of the file format, not %s", FormatVersion, e.value.describe()), fmt.Sprintf("write \"version: %d\"", FormatVersion))
	}
	e, ok := d.root.get("kind")
	if !ok {
		d.add(d.root.line, d.root.column, "kind", CodeMissing, "the key \"kind\" is missing", header(kinds))
		return Kind{}, false
	}
	for _, k := range kinds {
		if e.value.form == formText && e.value.text == k.Name {
			return k, true
		}
	}
	names := kindNames(kinds)
	hint := "write " + orList(names)
	if s := nearest(e.value.text, names); s != "" {
		hint = fmt.Sprintf("did you mean %q?", s)
	}
	d.add(e.value.line, e.value.column, "kind", CodeValue, fmt.Sprintf("%s is no kind of document that is read here", e.value.describe()), hint)
	return Kind{}, false
}

// describe names a value in a message: its text, shortened, or its form.
func (n *node) describe() string {
	switch n.form {
	case formNull:
		return "nothing"
	case formText, formNumber, formBool:
		return quote(n.text)
	}
	return n.form.String()
}

// quote shortens long values: a message names them, it does not repeat them.
func quote(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return strconv.Quote(s)
}

func orList(words []string) string {
	switch len(words) {
	case 0:
		return ""
	case 1:
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

// pathString writes a path as "environments[0].clusters[1].record".
func pathString(path []any) string {
	var b strings.Builder
	for _, step := range path {
		switch s := step.(type) {
		case int:
			b.WriteByte('[')
			b.WriteString(strconv.Itoa(s))
			b.WriteByte(']')
		case string:
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(s)
		}
	}
	return b.String()
}

// parsePath reads what pathString wrote. Keys that hold dots or brackets are not supported.
func parsePath(s string) ([]any, error) {
	var path []any
	for part := range strings.SplitSeq(s, ".") {
		key, rest, _ := strings.Cut(part, "[")
		if key != "" {
			path = append(path, key)
		}
		for rest != "" {
			num, more, ok := strings.Cut(rest, "]")
			i, err := strconv.Atoi(num)
			if !ok || err != nil {
				return nil, fmt.Errorf("path %q: %q is no index", s, rest)
			}
			path = append(path, i)
			rest = strings.TrimPrefix(more, "[")
		}
	}
	return path, nil
}
