package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxDepth bounds how deep a document may be nested, and how far aliases may lead.
const maxDepth = 40

// form is what a node of a document is.
type form int

const (
	formNull form = iota
	formText
	formNumber
	formBool
	formList
	formMap
)

func (f form) String() string {
	return [...]string{"nothing", "text", "a number", "true or false", "a list", "a mapping"}[f]
}

// node is one value of a document, with its place. It keeps the spelling of scalars.
type node struct {
	form    form
	text    string
	line    int // in the file
	column  int
	entries []entry // of a mapping, in order, duplicates removed
	items   []*node // of a list
}

// entry is one key of a mapping.
type entry struct {
	key    string
	line   int
	column int
	value  *node
}

func (n *node) get(key string) (entry, bool) {
	for _, e := range n.entries {
		if e.key == key {
			return e, true
		}
	}
	return entry{}, false
}

// parse divides the source into documents and parses each of them. A document with a syntax error is not returned.
func parse(src Source) ([]*document, Problems) {
	text := strings.TrimPrefix(string(src.Text), "\ufeff")
	text = strings.ReplaceAll(text, "\r\n", "\n")
	lines := strings.Split(text, "\n")
	var (
		docs     []*document
		problems Problems
		start    int
	)
	flush := func(end int) {
		part := lines[start:end]
		if blank(part) {
			return
		}
		d := &document{file: src.Name, lines: lines, first: start, bad: map[string]bool{}}
		if d.parse(strings.Join(part, "\n")) {
			docs = append(docs, d)
		} else {
			problems = append(problems, d.problems...)
		}
	}
	for i, l := range lines {
		if rest, ok := strings.CutPrefix(l, "---"); ok && (rest == "" || rest[0] == ' ' || rest[0] == '\t') {
			flush(i)
			start = i
			lines[i] = "   " + rest
		}
	}
	flush(len(lines))
	return docs, problems
}

// blank reports whether the lines hold nothing but space, comments and the end mark.
func blank(lines []string) bool {
	for _, l := range lines {
		l = strings.TrimSpace(l)
		if l != "" && l[0] != '#' && l != "..." {
			return false
		}
	}
	return true
}

// parse reads one document's text into the tree. It reports a syntax error and returns false.
func (d *document) parse(text string) (ok bool) {
	defer func() {
		// The parser is a library that meets what people type: its panic must not end a server that checks an upload.
		if r := recover(); r != nil {
			d.add(d.first+1, 1, "", CodeSyntax, "this document can't be parsed as YAML", "check the indentation and the quotes from its first line on")
			ok = false
		}
	}()
	file, err := parser.ParseBytes([]byte(text), 0, parser.AllowDuplicateMapKey())
	if err != nil {
		line, column, msg := d.first+1, 1, err.Error()
		var yerr yaml.Error
		if errors.As(err, &yerr) {
			msg = yerr.GetMessage()
			if tk := yerr.GetToken(); tk != nil && tk.Position != nil {
				line, column = d.first+tk.Position.Line, tk.Position.Column
			}
		}
		d.add(line, column, "", CodeSyntax, "not YAML: "+msg, syntaxHint(msg, d.sourceLine(line)))
		return false
	}
	b := &builder{doc: d, anchors: map[string]ast.Node{}, open: map[ast.Node]bool{}}
	switch {
	case len(file.Docs) == 0 || file.Docs[0].Body == nil:
		d.add(d.first+1, 1, "", CodeSyntax, "the document is empty", "remove it, or begin it with \"kind:\"")
		return false
	case len(file.Docs) > 1:
		d.add(d.first+1, 1, "", CodeSyntax, "the document ends with \"...\" and another one follows", "divide documents by a line \"---\"")
		return false
	}
	d.root = b.build(file.Docs[0].Body, nil, 0)
	return true
}

func syntaxHint(msg, line string) string {
	switch {
	case strings.Contains(line, "\t"):
		return "indent with spaces: YAML allows no tabs there"
	case strings.Contains(msg, "mapping value is not allowed") || strings.Contains(msg, "mapping"):
		return "check the indentation here and in the line above, and put text that holds \": \" into quotes"
	case strings.Contains(msg, "quot"):
		return "close the quotation"
	}
	return "check the indentation, the quotes and the brackets here and in the line above"
}

// builder turns the library's tree into ours: aliases resolved, duplicates and unsupported features reported.
type builder struct {
	doc     *document
	anchors map[string]ast.Node
	open    map[ast.Node]bool // what anchors mark and is not built to its end yet
	copied  int               // nodes made from aliases
	full    bool              // and too many of them
	alias   *node             // while an alias is resolved: its place, which everything below it has
}

// maxCopied bounds what aliases may add to a document.
const maxCopied = 200_000

func (b *builder) build(n ast.Node, path []any, depth int) *node {
	out := &node{}
	if n == nil {
		return out
	}
	if tk := n.GetToken(); tk != nil && tk.Position != nil {
		out.line, out.column = b.doc.first+tk.Position.Line, tk.Position.Column
	}
	if b.alias != nil {
		out.line, out.column = b.alias.line, b.alias.column
	}
	if b.full {
		return out
	}
	if b.alias != nil {
		if b.copied++; b.copied > maxCopied {
			b.full = true
			b.doc.add(out.line, out.column, pathString(path), CodeSyntax, "the document is grown too large by aliases", "write the values out, without aliases")
			return out
		}
	}
	if depth > maxDepth {
		b.doc.add(out.line, out.column, pathString(path), CodeSyntax, "nested too deep", "no file of this program is nested that deep: check the brackets")
		return out
	}
	switch v := n.(type) {
	case *ast.NullNode:
		out.form = formNull
	case *ast.BoolNode:
		out.form, out.text = formBool, v.GetToken().Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		out.form, out.text = formNumber, n.GetToken().Value
	case *ast.StringNode:
		out.form, out.text = formText, v.Value
	case *ast.LiteralNode:
		out.form, out.text = formText, v.Value.Value
	case *ast.AnchorNode:
		b.anchors[v.Name.String()] = v.Value
		b.open[v.Value] = true
		defer delete(b.open, v.Value)
		return b.build(v.Value, path, depth+1)
	case *ast.AliasNode:
		name := v.Value.String()
		target, ok := b.anchors[name]
		if !ok {
			b.doc.add(out.line, out.column, pathString(path), CodeReference, fmt.Sprintf("the alias *%s refers to no anchor above it", name), fmt.Sprintf("mark the value with &%s first, or write the value here", name))
			return out
		}
		if b.open[target] {
			b.doc.add(out.line, out.column, pathString(path), CodeReference, fmt.Sprintf("the alias *%s stands inside of what it stands for, and so would never end", name), "write the value here")
			return out
		}
		outer := b.alias
		b.alias = out
		t := b.build(target, path, depth+1)
		b.alias = outer
		return t
	case *ast.TagNode:
		b.doc.add(out.line, out.column, pathString(path), CodeSyntax, fmt.Sprintf("the tag %s is not supported", v.Start.Value), "write the plain value")
		return b.build(v.Value, path, depth+1)
	case *ast.SequenceNode:
		out.form = formList
		for i, item := range v.Values {
			out.items = append(out.items, b.build(item, append(path, i), depth+1))
		}
	case *ast.MappingNode:
		out.form = formMap
		for _, pair := range v.Values {
			b.pair(out, pair, path, depth)
		}
		if len(v.Values) > 0 && !v.IsFlowStyle {
			out.line, out.column = out.entries[0].line, out.entries[0].column
		}
	case *ast.MappingValueNode:
		out.form = formMap
		b.pair(out, v, path, depth)
		out.line, out.column = out.entries[0].line, out.entries[0].column
	default:
		b.doc.add(out.line, out.column, pathString(path), CodeSyntax, fmt.Sprintf("%s is not supported here", n.Type()), "write the plain value")
	}
	return out
}

func (b *builder) pair(out *node, pair *ast.MappingValueNode, path []any, depth int) {
	var key node
	switch k := pair.Key.(type) {
	case *ast.StringNode:
		key = b.keyAt(k.GetToken(), k.Value)
	case *ast.MergeKeyNode:
		key = b.keyAt(k.GetToken(), "<<")
		b.doc.add(key.line, key.column, pathString(path), CodeSyntax, "merge keys (<<) are not supported", "write the keys out")
	default:
		tk := pair.Key.GetToken()
		key = b.keyAt(tk, tk.Value)
	}
	if first, ok := out.get(key.text); ok {
		if key.text != "<<" {
			b.doc.add(key.line, key.column, pathString(append(path, key.text)), CodeDuplicateKey, fmt.Sprintf("the key %q stands here a second time; the first is in line %d", key.text, first.line), "remove one of the two")
		}
		return
	}
	// A fresh slice for each key: append on a shared one would overwrite the path of a sibling.
	p := append(path[:len(path):len(path)], key.text)
	value := b.build(pair.Value, p, depth+1)
	if value.form == formNull {
		value.line, value.column = key.line, key.column
	}
	out.entries = append(out.entries, entry{key: key.text, line: key.line, column: key.column, value: value})
}

func (b *builder) keyAt(tk *token.Token, text string) node {
	n := node{text: text}
	if tk != nil && tk.Position != nil {
		n.line, n.column = b.doc.first+tk.Position.Line, tk.Position.Column
	}
	if b.alias != nil {
		n.line, n.column = b.alias.line, b.alias.column
	}
	return n
}
