package query

// Ended reports whether a text ends outside of quotes and comments, as a whole statement does.
func Ended(text []byte, m Mode) bool {
	s := scanner{text: text, mode: m}
	for {
		if k, _, _ := s.next(); k == end {
			return !s.open
		}
	}
}
