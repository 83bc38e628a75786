package query

import (
	"slices"

	"github.com/zeebo/xxh3"
)

// Fingerprint gives the hash of the statement's normal form, and the normal form itself, which lies in the buffer that was given if that has room for
// twice the text and 300 bytes.
func Fingerprint(buf, text []byte, m Mode) (uint64, []byte) {
	buf = Append(buf[:0], text, m)
	return xxh3.Hash(buf), buf
}

// Append adds the statement's normal form to the buffer: words in lower case, one blank between tokens where one is needed, and each literal or
// placeholder as ?. A list of values after IN is (?+); a row after VALUES that has the form of the row before is left out, with … in the place
// of all that are. Names in quotes, variables, hints and executable comments stay as they are. NULL stays, but for a value in such a list or row.
func Append(buf, text []byte, m Mode) []byte {
	n := normal{scanner: scanner{text: text, mode: m}, buf: slices.Grow(buf, 2*len(text)+window), start: len(buf), sign: -1, tight: true}
	for {
		n.quick()
		if !n.token() {
			break
		}
	}
	return n.finish()
}

func (n *normal) finish() []byte {
	for len(n.buf) > n.start && (n.buf[len(n.buf)-1] == ';' || n.buf[len(n.buf)-1] == ' ') {
		n.buf = n.buf[:len(n.buf)-1] // what ends a statement means nothing
	}
	return n.buf
}

// normal writes the normal form, token by token.
type normal struct {
	scanner
	buf   []byte
	start int // of the normal form in the buffer

	last     kind // the token before
	lastFrom int  // where it begins in the buffer
	tight    bool // no blank follows it
	sign     int  // where a + or - begins in the buffer that belongs to a value if one follows; or -1
	signed   bool // tight, as it was before the sign

	depth int // of brackets
	rows  rows
}

// rows are the rows after VALUES.
type rows struct {
	depth    int // of the brackets around each row, with the row's own; 0: there are none
	from     int // where the row that is being written begins
	seen     bool
	old, end int  // the last row that was kept
	more     bool // the … is there
}

func (n *normal) token() bool {
	k, from, to := n.next()
	sign := n.sign
	n.sign = -1
	switch k {
	case end:
		return false
	case word:
		n.blank()
		at := len(n.buf)
		n.buf = lower(n.buf, n.text[from:to])
		if n.rows.depth > 0 && n.depth >= n.rows.depth && isValue(n.buf[at:]) {
			n.buf = append(n.buf[:at], '?')
			k = literal
		}
		n.lastFrom = at
	case variable:
		n.blank()
		n.lastFrom = len(n.buf)
		if c := n.text[to-1]; c == '\'' || c == '"' || c == '`' {
			n.buf = append(n.buf, n.text[from:to]...)
		} else {
			n.buf = lower(n.buf, n.text[from:to])
		}
	case literal, placeholder:
		if sign >= 0 {
			n.buf, n.tight = n.buf[:sign], n.signed
		}
		n.blank()
		n.lastFrom = len(n.buf)
		n.buf = append(n.buf, '?')
	case open:
		return n.open()
	case closing:
		n.depth--
		n.lastFrom = len(n.buf)
		n.buf = append(n.buf, ')')
		if n.rows.depth > 0 && n.depth == n.rows.depth-1 {
			n.endRow()
		}
	case comma:
		n.lastFrom = len(n.buf)
		n.buf = append(n.buf, ',')
	case operator:
		c := n.text[from]
		if (c == '-' || c == '+') && to == from+1 && !n.operand() {
			n.sign, n.signed = len(n.buf), n.tight
		}
		if c == '.' {
			n.lastFrom = len(n.buf)
			n.buf, n.last, n.tight = append(n.buf, '.'), operator, true
			return true
		}
		n.keep(from, to)
	default:
		n.keep(from, to)
	}
	if n.rows.depth > 0 && n.depth < n.rows.depth && k != comma && k != closing {
		n.rows = rows{} // the rows are over
	}
	n.last, n.tight = k, false
	return true
}

// keep writes a token as it is.
func (n *normal) keep(from, to int) {
	n.blank()
	n.lastFrom = len(n.buf)
	n.buf = append(n.buf, n.text[from:to]...)
}

func (n *normal) blank() {
	if !n.tight {
		n.buf = append(n.buf, ' ')
	}
}

// open is an opening bracket: of values after IN, of a row after VALUES, or of anything.
func (n *normal) open() bool {
	if n.last != word && n.last != closing || n.last == closing && n.rows.depth == 0 {
		n.blank()
	}
	n.depth++
	if n.last == word {
		switch string(n.buf[n.lastFrom:]) {
		case "in":
			if to, ok := n.values(); ok {
				n.lastFrom = len(n.buf)
				n.buf, n.at = append(n.buf, "(?+)"...), to
				n.last, n.tight = closing, false
				n.depth--
				return true
			}
		case "values", "value":
			n.rows = rows{depth: n.depth, from: len(n.buf)}
		}
	} else if n.rows.depth == n.depth {
		n.rows.from = len(n.buf)
	}
	n.lastFrom = len(n.buf)
	n.buf = append(n.buf, '(')
	n.last, n.tight = open, true
	return true
}

// endRow leaves the row out that was written, if the one before has its form.
func (n *normal) endRow() {
	r := &n.rows
	row := n.buf[r.from:]
	if !r.seen || string(row) != string(n.buf[r.old:r.end]) {
		r.seen, r.old, r.end, r.more = true, r.from, len(n.buf), false
		return
	}
	n.buf = n.buf[:r.end]
	if r.more {
		n.buf = n.buf[:r.end+len(more)]
		return
	}
	n.buf, r.more = append(n.buf, more...), true
}

const more = ", …"

// values looks whether only values follow, up to the closing bracket, and gives the place behind it.
func (n *normal) values() (int, bool) {
	s := n.scanner
	for {
		k, from, to := s.next()
		if k == operator && to == from+1 && (s.text[from] == '-' || s.text[from] == '+') {
			k, from, to = s.next()
		}
		if k != literal && k != placeholder && (k != word || to-from > 5 || !isValueFolded(s.text[from:to])) {
			return 0, false
		}
		switch k, _, to := s.next(); k {
		case comma:
		case closing:
			return to, true
		default:
			return 0, false
		}
	}
}

// operand reports whether the token before can stand to the left of a binary + or -.
func (n *normal) operand() bool {
	switch n.last {
	case literal, placeholder, name, variable, closing:
		return true
	case word:
		switch string(n.buf[n.lastFrom:]) {
		case "select", "distinct", "all", "where", "and", "or", "xor", "not", "in", "between", "case", "when", "then", "else", "return", "returning",
			"limit", "offset", "values", "value", "like", "rlike", "regexp", "by", "on", "having", "set", "interval", "div", "mod", "is", "binary", "as":
			return false
		}
		return true
	}
	return false
}

// isValue reports whether a word in lower case is a value.
func isValue(w []byte) bool {
	switch string(w) {
	case "null", "true", "false":
		return true
	}
	return false
}

func isValueFolded(w []byte) bool {
	var folded [5]byte
	return isValue(lower(folded[:0], w))
}

// folded has the lower case of each byte.
var folded = func() (t [256]byte) {
	for c := range 256 {
		t[c] = byte(c)
		if c >= 'A' && c <= 'Z' {
			t[c] += 'a' - 'A'
		}
	}
	return t
}()

func lower(buf, text []byte) []byte {
	at := len(buf)
	buf = append(buf, text...)
	for i, c := range buf[at:] {
		buf[at+i] = folded[c]
	}
	return buf
}
