// Package query says what a statement is, by its tokens alone: its fingerprint, and the traits that decide whether and how it can be
// replayed.
//
// The model: a text is cut into tokens as MariaDB and MySQL cut it; no grammar is known beyond that. A grammar would have to know every clause of
// every version (RETURNING, SET STATEMENT, FOR PORTION OF), and what it does not know it would drop or refuse.
//
// Invariants: a fingerprint never depends on the values of literals, on blanks, on comments, or on the case of words; and never merges two texts
// that differ in a table, a column, an index hint, a subquery or a clause. Every input has a fingerprint, also one that no server would
// take. Nothing is allocated but what the caller's buffer lacks.
package query

import "bytes"

// Mode is what a session's sql_mode changes about tokens.
type Mode struct {
	ANSIQuotes         bool // "x" is a name, not a text
	NoBackslashEscapes bool // \ is a character as any other
}

// kind is what a token is.
type kind uint8

const (
	end         kind = iota
	word             // a name or a keyword, without quotes
	name             // `x`, or "x" under ANSI_QUOTES
	literal          // a text, a number, a hexadecimal or a bit value
	placeholder      // ?
	variable         // @x, @@x, @`x`
	operator         // one or two characters, such as <= and :=
	open             // (
	closing          // )
	comma            // ,
	semicolon        // ;
	hint             // /*+ … */, as it is
	version          // /*! or /*M!, with its number: what follows is code
	versionEnd       // the */ of that
)

// class is what a byte begins, or belongs to.
type class uint8

const (
	other  class = 0
	blank  class = 1 << iota
	letter       // begins a word, or goes on in one
	digit
	quote // ' " `
)

// classes of all bytes. Bytes above 127 are letters: names may hold them, and in texts they do not matter.
var classes = func() (t [256]class) {
	for c := range 256 {
		switch {
		case c == ' ' || c >= '\t' && c <= '\r':
			t[c] = blank
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '$' || c >= 0x80:
			t[c] = letter
		case c >= '0' && c <= '9':
			t[c] = digit
		case c == '\'' || c == '"' || c == '`':
			t[c] = quote
		}
	}
	return t
}()

// scanner cuts a text into tokens. The zero value with a text is ready.
type scanner struct {
	text []byte
	at   int // where the next token is looked for
	mode Mode
	code int  // how many executable comments are open
	open bool // the text ended within quotes or a comment
}

// next gives the next token and where it lies. Blanks and comments are passed over. A quote or a comment that does not end goes to the
// end of the text.
func (s *scanner) next() (k kind, from, to int) {
	text := s.text
	i := s.at
	for i < len(text) {
		c := text[i]
		switch cl := classes[c]; {
		case cl == blank:
			i++
			continue
		case cl == letter:
			return s.word(i)
		case cl == digit:
			return s.number(i)
		case cl == quote:
			return s.quoted(i)
		}
		switch c {
		case '/':
			if i+1 < len(text) && text[i+1] == '*' {
				if k, to := s.comment(i); k != end {
					s.at = to
					return k, i, to
				} else {
					i = to
					continue
				}
			}
		case '#':
			i = lineEnd(text, i)
			continue
		case '-':
			// Two dashes begin a comment only before a blank or the end, so that 5--1 stays what it is.
			if i+1 < len(text) && text[i+1] == '-' && (i+2 == len(text) || classes[text[i+2]] == blank) {
				i = lineEnd(text, i)
				continue
			}
		case '*':
			if s.code > 0 && i+1 < len(text) && text[i+1] == '/' {
				s.code--
				s.at = i + 2
				return versionEnd, i, i + 2
			}
		case '(':
			s.at = i + 1
			return open, i, i + 1
		case ')':
			s.at = i + 1
			return closing, i, i + 1
		case ',':
			s.at = i + 1
			return comma, i, i + 1
		case ';':
			s.at = i + 1
			return semicolon, i, i + 1
		case '?':
			s.at = i + 1
			return placeholder, i, i + 1
		case '@':
			return s.variable(i)
		case '.':
			if i+1 < len(text) && classes[text[i+1]] == digit && (i == 0 || classes[text[i-1]]&(letter|digit|quote) == 0) {
				return s.number(i)
			}
		}
		to := i + 1
		if to < len(text) && pairs(c, text[to]) {
			to++
			if to < len(text) && text[to] == '>' && (c == '<' && text[to-1] == '=' || c == '-') { // <=> and ->>
				to++
			}
		}
		s.at = to
		return operator, i, to
	}
	s.at = i
	return end, i, i
}

// pairs reports whether two characters are one operator.
func pairs(a, b byte) bool {
	switch a {
	case '<':
		return b == '=' || b == '>' || b == '<'
	case '>':
		return b == '=' || b == '>'
	case '!', ':':
		return b == '='
	case '&', '|':
		return a == b
	case '-':
		return b == '>'
	}
	return false
}

func lineEnd(text []byte, i int) int {
	if n := bytes.IndexByte(text[i:], '\n'); n >= 0 {
		return i + n
	}
	return len(text)
}

// word goes on to the word's end, or to the end of a literal that begins with letters: x'…', b'…', n'…', _utf8mb4'…'.
func (s *scanner) word(from int) (kind, int, int) {
	text, i := s.text, from+1
	for i < len(text) && classes[text[i]]&(letter|digit) != 0 {
		i++
	}
	if i == from+1 && i < len(text) && text[i] == '\'' {
		switch text[from] | 0x20 {
		case 'x', 'b', 'n':
			_, _, to := s.quoted(i)
			return literal, from, to
		}
	}
	if text[from] == '_' && i-from <= longestCharset && isCharset(text[from+1:i]) {
		if to := s.introduced(i); to > 0 {
			s.at = to
			return literal, from, to
		}
	}
	s.at = i
	return word, from, i
}

// introduced gives the place behind the value to which a character set belongs that ends there: a text, a hexadecimal or a bit value. 0: there is none. Blanks may stand between.
func (s *scanner) introduced(i int) int {
	text := s.text
	for i < len(text) && classes[text[i]] == blank {
		i++
	}
	if i == len(text) {
		return 0
	}
	switch c := text[i]; {
	case c == '\'', c == '"' && !s.mode.ANSIQuotes:
		_, _, to := s.quoted(i)
		return to
	case (c|0x20 == 'x' || c|0x20 == 'b') && i+1 < len(text) && text[i+1] == '\'':
		_, _, to := s.quoted(i + 1)
		return to
	case c == '0' && i+1 < len(text) && (text[i+1] == 'x' || text[i+1] == 'b'):
		if k, _, to := s.number(i); k == literal {
			return to
		}
	}
	return 0
}

// number is a number, or a name that begins with digits, as servers allow it.
func (s *scanner) number(from int) (kind, int, int) {
	text, i, dots := s.text, from, 0
	for i < len(text) {
		switch c := text[i]; {
		case classes[c] == digit:
		case c == '.' && dots == 0:
			dots++
		case (c == 'e' || c == 'E') && i+1 < len(text) && (classes[text[i+1]] == digit || (text[i+1] == '-' || text[i+1] == '+') && i+2 < len(text) && classes[text[i+2]] == digit):
			i += 2
			for i < len(text) && classes[text[i]] == digit {
				i++
			}
			s.at = i
			return literal, from, i
		case (c == 'x' || c == 'b') && i == from+1 && text[from] == '0':
			isDigit := c == 'x' && from+2 < len(text) && isHex(text[from+2]) || c == 'b' && from+2 < len(text) && text[from+2]&^1 == '0'
			for i++; i < len(text) && classes[text[i]]&(letter|digit) != 0; i++ {
				isDigit = isDigit && (c == 'x' && isHex(text[i]) || text[i]&^1 == '0')
			}
			s.at = i
			if !isDigit {
				return word, from, i // 0xyz is a name
			}
			return literal, from, i
		case classes[c] == letter && dots == 0:
			return s.word(from) // 2fast is a name
		default:
			s.at = i
			return literal, from, i
		}
		i++
	}
	s.at = i
	return literal, from, i
}

func isHex(c byte) bool { return classes[c] == digit || c|0x20 >= 'a' && c|0x20 <= 'f' }

// quoted is a text or a name in quotes. A doubled quote stands for itself.
func (s *scanner) quoted(from int) (kind, int, int) {
	text, q := s.text, s.text[from]
	escapes := !s.mode.NoBackslashEscapes && q != '`' && (q != '"' || !s.mode.ANSIQuotes)
	i := from + 1
	for i < len(text) {
		switch c := text[i]; {
		case c == '\\' && escapes:
			i += 2
			continue
		case c == q:
			if i+1 < len(text) && text[i+1] == q {
				i += 2
				continue
			}
			s.at = i + 1
			return quotedKind(q, s.mode), from, i + 1
		}
		i++
	}
	s.at, s.open = len(text), true
	return quotedKind(q, s.mode), from, len(text)
}

func quotedKind(q byte, m Mode) kind {
	if q == '`' || q == '"' && m.ANSIQuotes {
		return name
	}
	return literal
}

// variable is @x, @'x', @`x` or @@scope.x.
func (s *scanner) variable(from int) (kind, int, int) {
	text, i := s.text, from+1
	if i < len(text) && text[i] == '@' {
		i++
	}
	if i < len(text) && classes[text[i]] == quote {
		_, _, to := s.quoted(i)
		s.at = to
		return variable, from, to
	}
	for i < len(text) && (classes[text[i]]&(letter|digit) != 0 || text[i] == '.') {
		i++
	}
	s.at = i
	return variable, from, i
}

// comment passes over a comment, and gives end; or it is a hint or the beginning of code, which count.
func (s *scanner) comment(from int) (kind, int) {
	text, i := s.text, from+2
	if i < len(text) && (text[i] == '!' || text[i] == 'M' && i+1 < len(text) && text[i+1] == '!') {
		for i++; i < len(text) && (text[i] == '!' || classes[text[i]] == digit); i++ {
		}
		s.code++
		return version, i
	}
	isHint := i < len(text) && text[i] == '+'
	if n := bytes.Index(text[i:], []byte("*/")); n >= 0 {
		i += n + 2
	} else {
		i, s.open = len(text), true
	}
	if isHint {
		return hint, i
	}
	return end, i
}
