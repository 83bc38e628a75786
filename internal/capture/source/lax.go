package source

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// object reads what is nearly a JSON object, and nothing behind it: the texts in it may have the escapes of Go. It calls f with each key, and with the value as it stands there.
func object(s string, f func(key, value string) bool) bool {
	s, ok := strings.CutPrefix(blanks(s), "{")
	if !ok {
		return false
	}
	if s = blanks(s); strings.HasPrefix(s, "}") {
		return blanks(s[1:]) == ""
	}
	for {
		key, rest, ok := quotedString(blanks(s))
		if !ok {
			return false
		}
		if rest, ok = strings.CutPrefix(blanks(rest), ":"); !ok {
			return false
		}
		rest = blanks(rest)
		n := value(rest)
		if n == 0 || !f(key, rest[:n]) {
			return false
		}
		s = blanks(rest[n:])
		if strings.HasPrefix(s, "}") {
			return blanks(s[1:]) == ""
		}
		if s, ok = strings.CutPrefix(s, ","); !ok {
			return false
		}
		s = blanks(s)
	}
}

func blanks(s string) string { return strings.TrimLeft(s, " \t\r\n") }

// value gives the length of one value: a text, a nested object or list, or a word. 0 is none.
func value(s string) int {
	depth := 0
	for i := 0; i < len(s); {
		switch c := s[i]; c {
		case '"':
			_, rest, ok := quotedString(s[i:])
			if !ok {
				return 0
			}
			i = len(s) - len(rest)
			if depth == 0 {
				return i
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return i
			}
		}
		i++
	}
	if depth > 0 {
		return 0
	}
	return len(s)
}

// quotedString reads a text in double quotes at the beginning of s, with the escapes of JSON, of Go and of protobuf's text form, and gives what is behind it.
func quotedString(s string) (text, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		return "", s, false
	}
	if end := strings.IndexAny(s[1:], `"\`); end >= 0 && s[1+end] == '"' {
		return s[1 : 1+end], s[2+end:], true
	}
	var b []byte
	for i := 1; i < len(s); {
		switch c := s[i]; c {
		case '"':
			return string(b), s[i+1:], true
		case '\\':
			n := 0
			if b, n = escape(b, s[i+1:]); n == 0 {
				return "", s, false
			}
			i += 1 + n
		default:
			b = append(b, c)
			i++
		}
	}
	return "", s, false
}

var plainEscapes = map[byte]byte{'a': 7, 'b': 8, 'f': 12, 'n': 10, 'r': 13, 't': 9, 'v': 11, '"': '"', '\\': '\\', '/': '/', '\'': '\'', '?': '?'}

// escape adds what an escape stands for, and gives its length without the backslash; 0 if there is no such escape.
func escape(b []byte, s string) ([]byte, int) {
	if s == "" {
		return b, 0
	}
	if c, ok := plainEscapes[s[0]]; ok {
		return append(b, c), 1
	}
	switch c := s[0]; {
	case c == 'x':
		v, ok := digits(s[1:], 2, 16)
		return append(b, byte(v)), length(ok, 3)
	case c == 'u':
		v, ok := digits(s[1:], 4, 16)
		if !ok {
			return b, 0
		}
		if utf16.IsSurrogate(rune(v)) && strings.HasPrefix(s[5:], `\u`) {
			if low, ok := digits(s[7:], 4, 16); ok {
				if r := utf16.DecodeRune(rune(v), rune(low)); r != utf8.RuneError {
					return utf8.AppendRune(b, r), 11
				}
			}
		}
		return utf8.AppendRune(b, rune(v)), 5
	case c == 'U':
		v, ok := digits(s[1:], 8, 16)
		return utf8.AppendRune(b, rune(v)), length(ok, 9)
	case c >= '0' && c <= '3':
		v, ok := digits(s, 3, 8)
		return append(b, byte(v)), length(ok, 3)
	}
	return b, 0
}

func length(ok bool, n int) int {
	if !ok {
		return 0
	}
	return n
}

// digits reads exactly n digits.
func digits(s string, n int, base uint32) (v uint32, ok bool) {
	if len(s) < n {
		return 0, false
	}
	for i := range n {
		d := uint32(99)
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			d = uint32(c - '0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			d = uint32(c|0x20-'a') + 10
		}
		if d >= base {
			return 0, false
		}
		v = v*base + d
	}
	return v, true
}
