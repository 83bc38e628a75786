package tally

// count adds to a mapping of reasons, which is made if need be and stays bounded.
func count(m *map[string]int64, reason string, n int64) {
	if n == 0 {
		return
	}
	if *m == nil {
		*m = map[string]int64{}
	}
	(*m)[reason] += n
	fold(*m, Reasons, otherReason)
}

// add adds one mapping to another.
func add(m *map[string]int64, o map[string]int64) {
	for k, n := range o {
		count(m, k, n)
	}
}

// fold keeps a mapping bounded: what is highest goes to the rest, so that what stays does not depend on what came first.
func fold[K interface{ ~string | ~uint16 }](m map[K]int64, most int, rest K) {
	for len(m) > most+1 || len(m) == most+1 && !has(m, rest) {
		var highest K
		for k := range m {
			if k != rest && k > highest {
				highest = k
			}
		}
		m[rest] += m[highest]
		delete(m, highest)
	}
}

func has[K comparable](m map[K]int64, k K) bool {
	_, ok := m[k]
	return ok
}

func sum(m map[string]int64) (n int64) {
	for _, v := range m {
		n += v
	}
	return n
}
