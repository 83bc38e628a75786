package config

import (
	"fmt"
	"os"
	"path/filepath"
)

// Report takes the problems that a build function finds. One problem for a path is enough: what was already found wrong
// with a value is not said again.
type Report struct{ doc *document }

// Spot is a place in the document.
type Spot struct {
	doc  *document
	path []any
}

// At names a place: keys as strings, list positions as ints, such as At("clusters", 2, "record").
func (r *Report) At(path ...any) Spot { return Spot{doc: r.doc, path: path} }

// At goes further down.
func (s Spot) At(path ...any) Spot {
	return Spot{doc: s.doc, path: append(s.path[:len(s.path):len(s.path)], path...)}
}

// Problem reports what is wrong there, and what to write instead.
func (s Spot) Problem(code, message, hint string) { s.doc.report(s.path, code, message, hint) }

// KeyProblem is Problem with the caret at the key instead of its value: for mappings whose keys are names.
func (s Spot) KeyProblem(code, message, hint string) {
	if s.Bad() {
		return
	}
	p := s.doc.problemAt(s.path, code, message, hint)
	if len(s.path) > 0 {
		if e, ok := s.doc.entry(s.path); ok {
			p.Line, p.Column, p.Source = e.line, e.column, s.doc.sourceLine(e.line)
		}
	}
	s.doc.bad[p.Path] = true
	s.doc.problems = append(s.doc.problems, p)
}

// Bad reports whether something was found wrong with exactly this value before.
func (s Spot) Bad() bool { return s.doc.bad[pathString(s.path)] }

// Given reports whether the file has it.
func (s Spot) Given() bool {
	_, ok := s.doc.find(s.path)
	return ok
}

// Line is where the value stands in the file, so that a problem can name the other one of two.
func (s Spot) Line() int { return s.doc.line(s.path) }

// maxBeside bounds a file that another one names.
const maxBeside = 1 << 20

// Beside reads the one document of another file, which this place of the document names relative to its own folder. What is wrong in that
// file becomes a problem at its own place there; that it can't be read is one here. It is false if there is any.
func (s Spot) Beside(name string, kind Kind) (Source, Object, bool) {
	src := Source{Name: name}
	if !filepath.IsAbs(name) {
		src.Name = filepath.Join(filepath.Dir(s.doc.file), name)
	}
	fail := func(message, hint string) (Source, Object, bool) {
		s.Problem(CodeReference, message, hint)
		return src, Object{}, false
	}
	info, err := os.Stat(src.Name)
	if err != nil || !info.Mode().IsRegular() {
		return fail(fmt.Sprintf("there is no file %q", src.Name), "name a file with a document of kind "+kind.Name+", relative to this file's folder")
	}
	if info.Size() > maxBeside {
		return fail(fmt.Sprintf("%s has %d bytes; the most is %d", src.Name, info.Size(), maxBeside), "name a file with one document of kind "+kind.Name)
	}
	if src.Text, err = os.ReadFile(src.Name); err != nil {
		return fail(err.Error(), "let it be readable")
	}
	objects, problems := Read([]Source{src}, kind)
	switch {
	case len(problems) > 0:
		s.Foreign(problems)
		return src, Object{}, false
	case len(objects) != 1:
		return fail(fmt.Sprintf("%s holds %d documents of kind %s, and one is wanted", src.Name, len(objects), kind.Name), "keep one of them in that file")
	}
	return src, objects[0], true
}

// Foreign adds problems of another file that this place names: they keep their own places.
func (s Spot) Foreign(ps Problems) { s.doc.problems = append(s.doc.problems, ps...) }
