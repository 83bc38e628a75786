package tap

import (
	"sync/atomic"

	"github.com/windlass-db/windlass/internal/query"
)

// table counts statements by fingerprint. Two fingerprints may share a place: both are then sampled a little less than they would be alone.
type table [4096]atomic.Uint32

// keeps reports whether the next statement of a fingerprint is one of the share that is kept. The first one is.
func (t *table) keeps(fingerprint uint64, share float64) bool {
	n := float64(t[fingerprint%uint64(len(t))].Add(1))
	return ceil(n*share) > ceil((n-1)*share)
}

// ceil is for numbers that are not negative.
func ceil(x float64) uint64 {
	n := uint64(x)
	if float64(n) < x {
		n++
	}
	return n
}

// Below half of the ring nothing is left out; then the fuller it is the less is kept.
var pressures = [...]struct {
	fill  int32 // of 256
	share float64
}{{230, 1.0 / 64}, {192, 1.0 / 16}, {128, 1.0 / 4}}

// pressure is the share that is kept while the ring is that full; 1: all.
func pressure(fill int32) float64 {
	for _, p := range pressures {
		if fill >= p.fill {
			return p.share
		}
	}
	return 1
}

// class is what decides whether a statement may be left out.
type class uint8

const (
	other class = iota // may change what its session is: kept as long as there is room
	read
	write
)

// classify looks at a text's first word, and at more of it only where a read may be more than that.
func classify(text []byte) class {
	switch firstWord(text) {
	case "SELECT", "WITH", "VALUES", "TABLE":
		if assigns(text) {
			return other
		}
		return read
	case "SHOW", "DESC", "DESCRIBE", "EXPLAIN":
		return read
	case "INSERT", "UPDATE", "DELETE", "REPLACE", "LOAD":
		return write
	}
	return other
}

// assigns reports whether a text may set a variable: with := or INTO, wherever that stands.
func assigns(text []byte) bool {
	for i, c := range text {
		switch c {
		case ':':
			if i+1 < len(text) && text[i+1] == '=' {
				return true
			}
		case 'o', 'O':
			if ends(text[:i+1], "INTO") {
				return true
			}
		}
	}
	return false
}

// firstWord gives the first word of a text in upper case, after blanks, comments and opening brackets; empty if there is none, or if it is in an
// executable comment. Longer words than those that are asked for are cut.
func firstWord(text []byte) string {
	word, _ := cutWord(text)
	return word
}

// cutWord gives what follows the first word, too.
func cutWord(text []byte) (word string, rest []byte) {
	for len(text) > 0 {
		switch c := text[0]; {
		case c == ' ' || c >= '\t' && c <= '\r' || c == '(':
			text = text[1:]
		case c == '#' || c == '-' && len(text) > 1 && text[1] == '-':
			i := 0
			for i < len(text) && text[i] != '\n' {
				i++
			}
			text = text[i:]
		case c == '/' && len(text) > 2 && text[1] == '*' && text[2] != '!' && text[2] != 'M':
			i := 3
			for i < len(text) && (text[i] != '/' || text[i-1] != '*') {
				i++
			}
			text = text[min(i+1, len(text)):]
		default:
			var word [10]byte
			n := 0
			for n < len(text) && n < len(word) && isLetter(text[n]) {
				word[n] = text[n] &^ 0x20
				n++
			}
			return words[string(word[:n])], text[n:]
		}
	}
	return "", nil
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// words are those that are asked for: looking one up allocates nothing.
var words = func() map[string]string {
	m := map[string]string{}
	for _, w := range []string{"SELECT", "WITH", "VALUES", "TABLE", "SHOW", "DESC", "DESCRIBE", "EXPLAIN", "INSERT", "UPDATE", "DELETE", "REPLACE", "LOAD", "CALL", "BEGIN", "START", "XA", "SET"} {
		m[w] = w
	}
	return m
}()

// ends reports whether a text ends with a word in upper case, whatever the text's case.
func ends(text []byte, word string) bool {
	if len(text) < len(word) {
		return false
	}
	for i, c := range text[len(text)-len(word):] {
		if c >= 'a' && c <= 'z' {
			c &^= 0x20
		}
		if c != word[i] {
			return false
		}
	}
	return true
}

// fingerprint is that of a statement's text; the mode does not matter for a count.
func (s *Session) fingerprint(text []byte) uint64 {
	var h uint64
	h, s.buf = query.Fingerprint(s.buf, text, query.Mode{})
	if cap(s.buf) > 64<<10 {
		s.buf = nil
	}
	return h
}
