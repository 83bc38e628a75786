package query

// Tokens calls f for each token of a text, in order, and says whether it is a literal: a text, a number, a hexadecimal or a bit value, with the
// character set that may stand before it and without a sign. What is between tokens is blank, or a comment that is no code and no hint.
func Tokens(text []byte, m Mode, f func(from, to int, isLiteral bool)) {
	s := scanner{text: text, mode: m}
	for {
		k, from, to := s.next()
		if k == end {
			return
		}
		f(from, to, k == literal)
	}
}
