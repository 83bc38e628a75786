package query

import (
	"encoding/binary"
	"math/bits"
)

// quick writes the normal form of what most statements are made of: words, plain numbers, texts and names in quotes without escapes, brackets, commas and common
// operators. It stops before anything else, which token then does, and gives the same as token wherever it goes on. Eight bytes are looked at a time.
func (n *normal) quick() {
	if n.sign >= 0 || n.rows.depth > 0 {
		return
	}
	text, buf, w := n.text, n.buf[:cap(n.buf)], len(n.buf)
	i, last, lastFrom, tight, depth := n.at, n.last, n.lastFrom, n.tight, n.depth
	ansi := n.mode.ANSIQuotes
	// Eight bytes are read and written at a time, so the end of the text is left to token.
	for i+9 <= len(text) && w+24 <= len(buf) {
		c := text[i]
		if c == ' ' {
			if i++; text[i] == ' ' {
				continue
			}
			c = text[i]
		}
		from, at := i, w // of the token, without its blank
		buf[at] = ' '
		if !tight {
			at++
		}
		switch quickKinds[c] {
		case quickBlank:
			i++
			continue
		case quickWord:
			to := at
			var k int
			for {
				var v uint64
				v, k = words8(binary.LittleEndian.Uint64(text[i:]))
				binary.LittleEndian.PutUint64(buf[to:], v)
				i += k
				to += k
				if k < 8 || i+8 > len(text) || to+24 > len(buf) {
					break
				}
			}
			if k == 8 || i >= len(text) || text[i] == '\'' || text[i] == '"' {
				i = from // the end of the text or of the buffer is near, or it is the beginning of a literal
				goto over
			}
			w, last, lastFrom, tight = to, word, at, false
		case quickDigit:
			i++
			for i < len(text) && classes[text[i]] == digit {
				i++
			}
			if i+1 < len(text) && text[i] == '.' && classes[text[i+1]] == digit {
				for i++; i < len(text) && classes[text[i]] == digit; i++ {
				}
			}
			if i == len(text) || classes[text[i]] == letter || text[i] == '.' {
				i = from
				goto over
			}
			buf[at] = '?'
			w, last, lastFrom, tight = at+1, literal, at, false
		case quickQuote:
			if c == '"' && ansi {
				goto over
			}
			i = plainQuote(text, i+1, c)
			if i < 0 {
				i = from
				goto over
			}
			buf[at] = '?'
			w, last, lastFrom, tight = at+1, literal, at, false
		case quickName:
			i = plainQuote(text, i+1, c)
			if i < 0 || at+i-from+24 > len(buf) {
				i = from
				goto over
			}
			w, last, lastFrom, tight = at+copy(buf[at:], text[from:i]), name, at, false
		case quickHole:
			i++
			buf[at] = '?'
			w, last, lastFrom, tight = at+1, placeholder, at, false
		case quickComma:
			i++
			buf[w] = ','
			last, lastFrom, tight = comma, w, false
			w++
		case quickOpen:
			if last == word {
				at = w // a call
				switch l := buf[lastFrom:w]; {
				case len(l) == 2 && l[0] == 'i' && l[1] == 'n':
					to := plainValues(text, i+1)
					if to < 0 {
						goto over
					}
					i, last, lastFrom, tight = to, closing, w, false
					w += copy(buf[w:], "(?+)")
					continue
				case len(l) >= 5 && l[0] == 'v' && l[1] == 'a' && l[2] == 'l':
					goto over // VALUES or VALUE may be before rows
				}
			}
			i++
			depth++
			buf[at] = '('
			w, last, lastFrom, tight = at+1, open, at, true
		case quickClose:
			i++
			depth--
			buf[w] = ')'
			last, lastFrom, tight = closing, w, false
			w++
		case quickDot:
			if classes[text[i+1]] == digit {
				goto over
			}
			i++
			buf[w] = '.'
			last, lastFrom, tight = operator, w, true
			w++
		case quickStar:
			if n.code > 0 {
				goto over
			}
			fallthrough
		case quickEqual:
			i++
			buf[at] = c
			w, last, lastFrom, tight = at+1, operator, at, false
		case quickPair:
			i++
			buf[at] = c
			w = at + 1
			if d := text[i]; pairs(c, d) {
				buf[w] = d
				w++
				if i++; c == '<' && d == '=' && text[i] == '>' {
					buf[w] = '>'
					w++
					i++
				}
			}
			last, lastFrom, tight = operator, at, false
		default:
			goto over
		}
	}
over:
	n.at, n.buf, n.last, n.lastFrom, n.tight, n.depth = i, n.buf[:w], last, lastFrom, tight, depth
}

// What quick does with a token that begins with a byte.
const (
	quickNot = iota // nothing: token does it
	quickBlank
	quickWord
	quickDigit
	quickQuote
	quickName
	quickHole
	quickComma
	quickOpen
	quickClose
	quickDot
	quickStar
	quickEqual
	quickPair
)

var quickKinds = func() (t [256]uint8) {
	for c := range 256 {
		switch classes[c] {
		case blank:
			t[c] = quickBlank
		case letter:
			t[c] = quickWord
		case digit:
			t[c] = quickDigit
		}
	}
	t['\''], t['"'], t['`'], t['?'], t[','], t['('], t[')'], t['.'], t['*'], t['='], t['<'], t['>'] =
		quickQuote, quickQuote, quickName, quickHole, quickComma, quickOpen, quickClose, quickDot, quickStar, quickEqual, quickPair, quickPair
	return t
}()

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// words8 makes eight bytes lower case, and counts those from the first on that go on in a word. Bytes above 127 stay, and are of words.
func words8(v uint64) (low uint64, n int) {
	h := v &^ highs
	x := h | 0x20*ones
	letters := (x + (0x80-'a')*ones) &^ (x + (0x7f-'z')*ones)
	digits := (h + (0x80-'0')*ones) &^ (h + (0x7f-'9')*ones)
	others := (h ^ '_'*ones + 0x7f*ones) & (h ^ '$'*ones + 0x7f*ones) // neither of these
	out := others &^ (letters | digits | v) & highs
	upper := letters &^ (h<<2 | v) & highs
	return v | upper>>2, bits.TrailingZeros64(out) >> 3
}

// plainQuote gives the place behind the quote that ends a text or a name, from its first byte on; -1 if it has a backslash, which may be an escape, a doubled quote, or
// no end.
func plainQuote(text []byte, i int, q byte) int {
	for ; i+8 <= len(text); i += 8 {
		v := binary.LittleEndian.Uint64(text[i:])
		if found := zeroBytes(v^uint64(q)*ones) | zeroBytes(v^'\\'*ones); found != 0 {
			i += bits.TrailingZeros64(found) >> 3
			break
		}
	}
	for ; i < len(text); i++ {
		switch text[i] {
		case q:
			if i+1 < len(text) && text[i+1] == q {
				return -1
			}
			return i + 1
		case '\\':
			return -1
		}
	}
	return -1
}

// plainValues gives the place behind the bracket that ends a list of plain values, from its first byte on; -1 if something else is in it.
func plainValues(text []byte, i int) int {
	for i < len(text) {
		switch c := text[i]; {
		case c == ' ':
			i++
			continue
		case classes[c] == digit:
			for i++; i < len(text) && classes[text[i]] == digit; i++ {
			}
		case c == '\'':
			if i = plainQuote(text, i+1, c); i < 0 {
				return -1
			}
		case c == '?':
			i++
		default:
			return -1
		}
		for i < len(text) && text[i] == ' ' {
			i++
		}
		if i == len(text) {
			return -1
		}
		switch text[i] {
		case ',':
			i++
		case ')':
			return i + 1
		default:
			return -1
		}
	}
	return -1
}

// zeroBytes has the highest bit of the first byte that is zero, and perhaps of others behind it.
func zeroBytes(v uint64) uint64 { return (v - ones) &^ v & highs }
