// Package config reads Windlass's YAML files strictly, and says everything that is wrong with them at once.
//
// # Model
//
// A file holds one or more documents, divided by "---" lines. Each names its kind and the version of its format:
//
//	kind: Fleet
//	version: 1
//	name: shop
//
// A package describes its kind by a Go struct, the shape: field types say what a value must look like, `yaml` tags
// name the keys, `rule` tags say what holds for one value alone, and a build function looks at whatever concerns
// several values and makes the package's own type from the shape. See Define, and the example of Read.
//
// # What is found
//
// Unknown keys (with the one that was meant), duplicate keys, wrong types, values that can't be read (durations, dates,
// zones, addresses), missing keys, values out of range, names given twice, and whatever the build function
// reports. Each Problem has file, line, column, the source line with a caret, and what to write instead. The
// order is that of the lines. Only a syntax error ends the reading of its document early; other documents of the file go on.
//
// # Invariants
//
// A document with a problem yields no object. Numbers that stand where text is wanted keep their spelling: version:
// 10.10 is "10.10", not 10.1. Nothing is read from the environment, and no file is opened but by ReadFiles and, for a file that a document
// names, by Spot.Beside.
package config

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
)

// FormatVersion is the version of the file format that this package reads: the "version" key of every document.
const FormatVersion = 1

// maxFileBytes bounds a file; a fleet of 100,000 clusters stays below it.
const maxFileBytes = 256 << 20

// Source is a text with the name that problems give it, mostly a path.
type Source struct {
	Name string
	Text []byte
}

// Kind describes one kind of document. Make it with Define.
type Kind struct {
	Name    string
	Summary string // one sentence
	shape   reflect.Type
	decode  func(d *document) (any, reflect.Value)
}

// Define makes a Kind from a shape struct.
//
// defaults gives a shape that is filled before decoding; keys that are absent keep their value. It may be nil. build is
// called after decoding, also when problems were found, so that all of them are told at once: it must bear zero
// values, reports what concerns several values, and makes the value of the object.
func Define[Shape, Value any](name, summary string, defaults func() Shape, build func(s *Shape, r *Report) Value) Kind {
	return Kind{
		Name: name, Summary: summary, shape: reflect.TypeFor[Shape](),
		decode: func(d *document) (any, reflect.Value) {
			var s Shape
			if defaults != nil {
				s = defaults()
			}
			v := reflect.ValueOf(&s).Elem()
			d.decode(v)
			return build(&s, &Report{doc: d}), v
		},
	}
}

// Object is one document that was read without a problem.
type Object struct {
	Kind  string
	Name  string // the document's "name" key, if it has one
	Value any    // what the kind's build function made
	doc   *document
}

// Locate turns findings about the object's value into problems with file, line and column.
func (o Object) Locate(fs []Finding) Problems {
	var ps Problems
	for _, f := range fs {
		path, err := parsePath(f.Path)
		if err != nil || o.doc == nil {
			ps = append(ps, Problem{Path: f.Path, Code: f.Code, Message: f.Message, Hint: f.Hint})
			continue
		}
		ps = append(ps, o.doc.problemAt(path, f.Code, f.Message, f.Hint))
	}
	ps.sort(nil)
	return ps
}

// Finding is something wrong with a value, named by its path in the file ("stages.create", "clusters[0]"), before it is
// known where in a file that is, or whether there is one.
type Finding struct {
	Path    string `json:"path"`
	Code    string `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// String is "path: message (hint)".
func (f Finding) String() string {
	s := f.Path + ": " + f.Message
	if f.Hint != "" {
		s += " (" + f.Hint + ")"
	}
	return s
}

// ReadFiles reads the files and decodes their documents. The error is a Problems if the files' contents are wrong.
func ReadFiles(names []string, kinds ...Kind) ([]Object, error) {
	var sources []Source
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			return nil, fmt.Errorf("read config: %w", err)
		}
		if info.Size() > maxFileBytes {
			return nil, fmt.Errorf("read config: %s has %d bytes; the most is %d: divide it into several files", name, info.Size(), maxFileBytes)
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read config: %w", err)
		}
		sources = append(sources, Source{Name: name, Text: text})
	}
	objects, problems := Read(sources, kinds...)
	if len(problems) > 0 {
		return nil, problems
	}
	return objects, nil
}

// Read decodes all documents of the sources, which may be of any of the kinds. Objects come in the order of the files;
// problems in the order of files and lines. Documents without a problem yield objects even if others have some.
func Read(sources []Source, kinds ...Kind) ([]Object, Problems) {
	var (
		objects []Object
		all     Problems
		order   = map[string]int{}
		seen    = map[string]*document{}
	)
	for i, src := range sources {
		if _, ok := order[src.Name]; !ok {
			order[src.Name] = i
		}
		docs, problems := parse(src)
		all = append(all, problems...)
		if len(docs) == 0 && len(problems) == 0 {
			all = append(all, Problem{File: src.Name, Line: 1, Column: 1, Code: CodeMissing,
				Message: "the file holds no document", Hint: header(kinds)})
		}
		for _, d := range docs {
			kind, ok := d.header(kinds)
			if !ok {
				all = append(all, d.problems...)
				continue
			}
			value, shape := kind.decode(d)
			name := shapeName(shape)
			if key := kind.Name + "\x00" + name; name != "" {
				if first := seen[key]; first != nil {
					d.report([]any{"name"}, CodeDuplicate, fmt.Sprintf("%s %q is defined a second time; the first is at %s:%d", kind.Name, name, first.file, first.line([]any{"name"})),
						"give it another name, or remove one of the two")
				} else {
					seen[key] = d
				}
			}
			if len(d.problems) > 0 {
				all = append(all, d.problems...)
				continue
			}
			objects = append(objects, Object{Kind: kind.Name, Name: name, Value: value, doc: d})
		}
	}
	all.sort(order)
	return objects, all
}

// One reads a source that must hold exactly one document of the kind, and returns its value.
func One[Value any](src Source, kind Kind) (Value, Object, error) {
	var zero Value
	objects, problems := Read([]Source{src}, kind)
	if len(problems) > 0 {
		return zero, Object{}, problems
	}
	if len(objects) != 1 {
		return zero, Object{}, Problems{objects[1].doc.problemAt([]any{"kind"}, CodeDuplicate,
			fmt.Sprintf("the file holds %d documents of kind %s, and one is wanted", len(objects), kind.Name), "keep one of them in this file")}
	}
	v, ok := objects[0].Value.(Value)
	if !ok {
		return zero, Object{}, fmt.Errorf("read %s: kind %s makes a %T, not a %T", src.Name, kind.Name, objects[0].Value, zero)
	}
	return v, objects[0], nil
}

// header says how a document begins.
func header(kinds []Kind) string {
	names := kindNames(kinds)
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf("begin it with \"kind: %s\" and \"version: %d\"", strings.Join(names, "\" or \"kind: "), FormatVersion)
}

func kindNames(kinds []Kind) []string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = k.Name
	}
	slices.Sort(names)
	return names
}

// shapeName is the value of the shape's "name" key.
func shapeName(shape reflect.Value) string {
	for _, f := range fieldsOf(shape.Type()) {
		if f.key == "name" && f.typ.Kind() == reflect.String {
			return shape.FieldByIndex(f.index).String()
		}
	}
	return ""
}
