package wire

// Observer is shown the result sets of an answer while a Reply walks it: what it needs to hash them. What it is given lies in the caller's buffer and is
// valid until the call returns.
type Observer interface {
	// Result begins a result set with so many columns.
	Result(columns int)
	// Column gives a column's definition, the whole payload, at the most its first 64 KB.
	Column(definition []byte)
	// Row gives a row's payload, or a piece of it: the last piece ends it. A piece may be empty.
	Row(part []byte, last bool)
}

// mostDefinition is how much of a column's definition is kept while the rest is waited for.
const mostDefinition = 64 << 10

// show is what of the present packet the observer gets.
type show uint8

const (
	showNothing show = iota
	showColumn
	showRow
)

// Observe shows the present answer to an observer, from here on: it comes after Reset, which forgets it. The definitions of a PREPARE are not shown. Without
// an observer nothing is looked at.
func (r *Reply) Observe(o Observer) { r.observer = o }

// seen says what a packet that passes is to the observer. It is asked before the packet changes the state.
func (r *Reply) seen() show {
	switch {
	case r.observer == nil:
	case r.state == stateRows:
		return showRow
	case r.state == stateColumns:
		return showColumn
	}
	return showNothing
}

// part shows a piece of the present packet; the last one ends it.
func (r *Reply) part(b []byte, last bool) {
	switch r.show {
	case showRow:
		r.observer.Row(b, last)
	case showColumn:
		if last && len(r.definition) == 0 {
			r.observer.Column(b[:min(len(b), mostDefinition)])
			break
		}
		r.definition = append(r.definition, b[:min(len(b), mostDefinition-len(r.definition))]...)
		if last {
			r.observer.Column(r.definition)
			r.definition = r.definition[:0]
		}
	}
	if last {
		r.show = showNothing
	}
}
