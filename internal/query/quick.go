package query

import (
	"encoding/binary"
	"math/bits"
)

// quick writes the normal form of what most statements are made of: words, plain numbers, texts and names in quotes without escapes, brackets, commas and common
// operators. It stops before anything else, which token then does, and gives the same as token wherever it goes on.
func (n *normal) quick() {
	if n.sign >= 0 || n.rows.depth > 0 {
		return
	}
	var b [block + 8]byte // in lower case; zeros behind the end of the text
	for {
		base, start := n.at, len(n.buf)
		if base >= len(n.text) || start+window > cap(n.buf) {
			return
		}
		var words uint64
		if base+len(b) <= len(n.text) {
			words = look(&b, (*[block + 8]byte)(n.text[base:]))
		} else {
			clear(b[copy(b[:], n.text[base:]):])
			words = look(&b, &b)
		}
		n.lastFrom -= start
		w, ok := n.block(&b, (*[window]byte)(n.buf[start:start+window]), words)
		n.lastFrom += start
		n.buf = n.buf[:start+w]
		if !ok {
			return
		}
	}
}

const (
	block  = 64  // bytes that are looked at in one pass
	window = 272 // bytes of the buffer that it may write to: a token becomes twice its length at the most, and eight bytes are written at a time
)

// block does the tokens that begin within a block, of which words has a bit for each byte that is of a word. It gives how much it has written, and sets where the next block begins; or
// it is not ok, and sets the token that is not for it. A token that crosses the end of its block is left for the next one.
func (n *normal) block(b *[block + 8]byte, out *[window]byte, words uint64) (w int, ok bool) {
	pos, gap := 0, 1
	if n.tight {
		gap = 0
	}
	for pos < block {
		c := b[pos]
		if c == ' ' {
			pos++
			continue
		}
		at := (w + gap) & 0xff // of the token, behind its blank
		out[w&0xff] = ' '
		kind := quickKinds[c]
		if kind == quickWord {
			from := words >> (pos & (block - 1))
			run := bits.OnesCount64(from &^ (from + 1)) // a processor counts ones faster than it finds the first
			if pos+run == block && n.at+block < len(n.text) {
				goto cross
			}
			if run == 1 && b[pos+1] == '\'' {
				goto over // x'00'
			}
			binary.LittleEndian.PutUint64(out[at:at+8], binary.LittleEndian.Uint64(b[pos&(block-1):]))
			if run > 8 {
				binary.LittleEndian.PutUint64(out[at+8:at+16], binary.LittleEndian.Uint64(b[(pos+8)&(block-1):]))
				if run > 16 {
					copy(out[at+16:], b[(pos+16)&(block-1):pos+run])
				}
			}
			n.last, n.lastFrom = word, at
			w, gap, pos = at+run, 1, pos+run
			continue
		}
		switch kind {
		case quickDigit:
			to := plainNumber(b, words, pos)
			if to < 0 {
				goto over
			}
			if to == block && n.at+block < len(n.text) {
				goto cross
			}
			out[at] = '?'
			n.last, n.lastFrom = literal, at
			w, gap, pos = at+1, 1, to
		case quickSign:
			switch n.last {
			case comma, open, operator: // it belongs to the number that follows, and goes with it
				if pos == block-1 || quickKinds[b[pos+1]] != quickDigit {
					goto over
				}
				to := plainNumber(b, words, pos+1)
				if to < 0 {
					goto over
				}
				if to == block && n.at+block < len(n.text) {
					goto cross
				}
				out[at] = '?'
				n.last, n.lastFrom = literal, at
				w, gap, pos = at+1, 1, to
			case literal, placeholder, name, closing:
				if d := b[pos+1]; c == '-' && (d == '-' || d == '>') {
					goto over
				}
				out[at] = c
				n.last, n.lastFrom = operator, at
				w, gap, pos = at+1, 1, pos+1
			default:
				goto over
			}
		case quickQuote, quickName:
			to := plainQuote(n.text, n.at+pos+1, c) - n.at
			if to < 0 || c == '"' && n.mode.ANSIQuotes {
				goto over
			}
			n.last, n.lastFrom = literal, at
			out[at] = '?'
			if c == '`' {
				if to-pos > block {
					goto over
				}
				n.last = name
				at += copy(out[at:], n.text[n.at+pos:n.at+to]) - 1
			}
			w, gap, pos = at+1, 1, to
		case quickHole:
			out[at] = '?'
			n.last, n.lastFrom = placeholder, at
			w, gap, pos = at+1, 1, pos+1
		case quickComma:
			out[w&0xff] = ','
			n.last, n.lastFrom = comma, w
			w, gap, pos = w+1, 1, pos+1
		case quickOpen:
			if n.last == word {
				at = w & 0xff // a call
				switch l := n.buf[:len(n.buf)+w][len(n.buf)+n.lastFrom:]; {
				case len(l) == 2 && l[0] == 'i' && l[1] == 'n':
					to := plainValues(n.text, n.at+pos+1)
					if to < 0 {
						goto over
					}
					n.last, n.lastFrom = closing, at
					w, gap, pos = at+copy(out[at:], "(?+)"), 1, to-n.at
					continue
				case len(l) >= 5 && l[0] == 'v' && l[1] == 'a' && l[2] == 'l':
					goto over // VALUES or VALUE may be before rows
				}
			}
			n.depth++
			out[at] = '('
			n.last, n.lastFrom = open, at
			w, gap, pos = at+1, 0, pos+1
		case quickClose:
			n.depth--
			out[w&0xff] = ')'
			n.last, n.lastFrom = closing, w
			w, gap, pos = w+1, 1, pos+1
		case quickDot:
			if quickKinds[b[pos+1]] == quickDigit {
				goto over
			}
			out[w&0xff] = '.'
			n.last, n.lastFrom = operator, w
			w, gap, pos = w+1, 0, pos+1
		case quickStar:
			if n.code > 0 {
				goto over
			}
			fallthrough
		case quickOperator:
			out[at] = c
			n.last, n.lastFrom = operator, at
			w, gap, pos = at+1, 1, pos+1
		case quickPair:
			out[at] = c
			n.last, n.lastFrom = operator, at
			w, gap, pos = at+1, 1, pos+1
			if d := b[pos]; pairs(c, d) {
				out[w&0xff] = d
				w++
				pos++
				if c == '<' && d == '=' && b[pos] == '>' {
					out[w&0xff] = '>'
					w++
					pos++
				}
			}
		case quickEnd:
			out[at] = c
			n.last, n.lastFrom = semicolon, at
			w, gap, pos = at+1, 1, pos+1
		case quickBlank:
			pos++
		default:
			goto over
		}
	}
	n.at, n.tight = n.at+pos, gap == 0
	return w, true
cross:
	n.at, n.tight = n.at+pos, gap == 0
	return w, pos > 0
over:
	n.at, n.tight = n.at+pos, gap == 0
	return w, false
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
	quickSign
	quickOperator
	quickPair
	quickEnd
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
	for kind, of := range map[uint8]string{quickNot: "_", quickQuote: `'"`, quickName: "`", quickHole: "?", quickComma: ",", quickOpen: "(", quickClose: ")", quickDot: ".", quickStar: "*",
		quickSign: "+-", quickOperator: "=%", quickPair: "<>!:|&", quickEnd: ";"} {
		for _, c := range []byte(of) {
			t[c] = kind
		}
	}
	return t
}()

const (
	ones   = 0x0101010101010101
	highs  = 0x8080808080808080
	gather = 0x0002040810204081 // times the highest bits of eight bytes has them in its highest byte
)

// look says of each byte of a block, in the lowest bit of the first, whether it is of a word; bytes above 127 are. It makes the block lower case, and the eight bytes behind it.
func look(low, b *[block + 8]byte) (words uint64) {
	for k := 0; k < block; k += 16 {
		v1, v2 := binary.LittleEndian.Uint64(b[k:]), binary.LittleEndian.Uint64(b[k+8:])
		h1, h2 := v1&^highs, v2&^highs
		x1, x2 := h1|0x20*ones, h2|0x20*ones
		// The highest bit of a sum says that the byte is not below the first of a range, or that it is above the last one.
		l1, l2 := (x1+(0x80-'a')*ones)^(x1+(0x7f-'z')*ones), (x2+(0x80-'a')*ones)^(x2+(0x7f-'z')*ones)
		d1, d2 := (h1+(0x80-'0')*ones)^(h1+(0x7f-'9')*ones), (h2+(0x80-'0')*ones)^(h2+(0x7f-'9')*ones)
		n1, n2 := (h1^'_'*ones+0x7f*ones)&(h1^'$'*ones+0x7f*ones), (h2^'_'*ones+0x7f*ones)&(h2^'$'*ones+0x7f*ones) // neither of these
		words |= ((l1|d1|v1|^n1)&highs*gather>>56 | (l2|d2|v2|^n2)&highs*gather>>56<<8) << k
		binary.LittleEndian.PutUint64(low[k:], v1|l1&highs&^v1>>2)
		binary.LittleEndian.PutUint64(low[k+8:], v2|l2&highs&^v2>>2)
	}
	copy(low[block:], b[block:])
	return words
}

// plainNumber gives the place behind a number's digits, which may have a point among them; -1 if it is not so plain. What may go on behind the block ends with it.
func plainNumber(b *[block + 8]byte, words uint64, from int) int {
	to, ok := digits(b, words, from)
	if !ok {
		return -1
	}
	if to == block || b[to] != '.' {
		return to
	}
	if classes[b[to+1]] != digit {
		return -1
	}
	if to++; to == block {
		return to
	}
	if to, ok = digits(b, words, to); !ok {
		return -1
	}
	return to
}

// digits gives the place behind a word within its block, and whether it has digits alone.
func digits(b *[block + 8]byte, words uint64, from int) (to int, ok bool) {
	to = from + bits.TrailingZeros64(^(words >> from))
	for k := from; k < to; k += 8 {
		v := binary.LittleEndian.Uint64(b[k&(block-1):])
		not := (v&^highs + (0x7f-'9')*ones | ^(v&^highs + (0x80-'0')*ones) | v) & highs
		if k+bits.TrailingZeros64(not)>>3 < min(k+8, to) {
			return to, false
		}
	}
	return to, true
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
