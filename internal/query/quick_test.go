package query

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// slow is Append without its shortcut: what each token alone makes of it.
func slow(buf, text []byte, m Mode) []byte {
	n := normal{scanner: scanner{text: text, mode: m}, buf: buf, start: len(buf), sign: -1, tight: true}
	for n.token() {
	}
	return n.finish()
}

// words are what statements are made of, and what lies at the edges of the shortcut.
var pieces = []string{
	"SELECT", "select", " ", "  ", "\n", "\t", "a", "b.c", "`a b`", "`a``b`", "t1", "_x", "$y", "café", "abcdefgh", "ABCDEFGHIJKLMNOP", "in", "IN", "Values", "value", "values",
	"(", ")", ",", ";", "1", "17", "1.5", ".5", "1e3", "0x1F", "1a", "'x'", "'a''b'", `'a\'b'`, `"y"`, `"a\"b"`, "x'00'", "N'n'", "_utf8mb4'é'", "_latin1", "_binary", "_x'y'", "'", `"`, "`", "?", "@a", "@@b.c", ":=", "::", "=", "<", "<=", "<=>", ">", ">=", "<>", "!=", "<<", "*", "*/",
	"/* c */", "/*+ h */", "/*!50000 x */", "/*", "/", "-- c\n", "--", "#c\n", "-", "+", "-1", "+1.5", "- 1", "1-", "--1", "1.", "1.2.3", "1.5e3", "12345678", "1234567890123456789", "123456789a", "&&", "||", "->", ".", "null", "TRUE", "false", "where", "and", "limit", "\x00", "\xff", "{", "[", "^", "~", "!", "%", ":",
}

// TestShortcut: what the shortcut writes is what the tokens make, byte by byte.
func TestShortcut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := bytes.Repeat([]byte("a "), rapid.IntRange(0, block).Draw(t, "before")) // so that every piece comes to lie across the end of a block
		for _, p := range rapid.SliceOf(rapid.SampledFrom(pieces)).Draw(t, "pieces") {
			text = append(text, p...)
		}
		same(t, text, Mode{ANSIQuotes: rapid.Bool().Draw(t, "ansi"), NoBackslashEscapes: rapid.Bool().Draw(t, "plain")})
	})
	for _, c := range corpus(t) {
		same(t, []byte(c.text), c.mode)
	}
	same(t, []byte(long), Mode{})
}

func same(t interface{ Errorf(string, ...any) }, text []byte, m Mode) {
	want, got := slow([]byte("head"), text, m), Append([]byte("head"), text, m)
	if string(got) != string(want) {
		t.Errorf("%q\n got %q\nwant %q", text, got, want)
	}
}

// TestLook: each byte, at each place among letters and among blanks.
func TestLook(t *testing.T) {
	for c := range 256 {
		for at := range block {
			for _, beside := range []byte{'a', 'A', ' '} {
				var b [block + 8]byte
				for i := range b {
					b[i] = beside
				}
				b[at] = byte(c)
				var low [block + 8]byte
				words := look(&low, &b)
				for i, x := range b[:block] {
					of := classes[x]&(letter|digit) != 0
					if words>>i&1 == 1 != of {
						t.Fatalf("%q at %d, among %q: %d is of a word: %v", byte(c), at, beside, i, !of)
					}
					if low[i] != folded[x] {
						t.Fatalf("%q at %d, among %q: %q is %q in lower case", byte(c), at, beside, x, low[i])
					}
				}
			}
		}
	}
}

// variants are statements of the same length that differ in the length of names, values and blanks, and in the order of their parts.
func variants() (all [][]byte) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var text []byte
		text = append(text, "SELECT "...)
		for i := range 3 + r.IntN(4) {
			if i > 0 {
				text = append(text, ", "...)
			}
			text = append(text, "o."+ident(r)...)
		}
		text = append(text, " FROM "+ident(r)+" AS o JOIN "+ident(r)+" c ON c.id = o."+ident(r)+" WHERE "...)
		for len(text) < 370 {
			switch r.IntN(5) {
			case 0:
				text = fmt.Appendf(text, "o.%s = %d AND ", ident(r), r.IntN(1<<r.IntN(31)))
			case 1:
				text = fmt.Appendf(text, "o.%s IN ('%s', '%s', %d) AND ", ident(r), ident(r), ident(r), r.IntN(1000))
			case 2:
				text = fmt.Appendf(text, "(o.%s IS NULL OR o.%s <> '%s') AND ", ident(r), ident(r), ident(r))
			case 3:
				text = fmt.Appendf(text, "`%s`.`%s` >= '2026-10-01 00:00:00' AND ", ident(r), ident(r))
			case 4:
				text = fmt.Appendf(text, "LOWER(o.%s) LIKE ? AND ", ident(r))
			}
		}
		text = append(text, "1 = 1 ORDER BY o.created_at DESC, o.id LIMIT 50"...)
		all = append(all, text)
	}
	return all
}

func ident(r *rand.Rand) string { return "abcdefghijklmnopqrstuvwxyz"[r.IntN(10):][:2+r.IntN(12)] }
