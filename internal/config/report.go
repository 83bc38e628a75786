package config

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
