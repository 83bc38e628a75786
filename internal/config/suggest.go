package config

import "strings"

// nearest returns the word that was most likely meant, or "".
func nearest(got string, words []string) string {
	best, bestDistance := "", 0
	for _, w := range words {
		if squash(w) == squash(got) {
			return w
		}
		d := distance(strings.ToLower(got), strings.ToLower(w))
		if most := max(1, min(len(w), len(got))/3); d <= most && (best == "" || d < bestDistance) {
			best, bestDistance = w, d
		}
	}
	return best
}

// squash makes perStage, per-stage and per_stage the same.
func squash(s string) string {
	return strings.NewReplacer("_", "", "-", "", " ", "").Replace(strings.ToLower(s))
}

// distance counts insertions, deletions, substitutions and swaps of neighbours between two words.
func distance(a, b string) int {
	ra, rb := []rune(a), []rune(b)
	if len(ra) > 64 || len(rb) > 64 {
		return 64
	}
	prev2, prev, cur := make([]int, len(rb)+1), make([]int, len(rb)+1), make([]int, len(rb)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(ra); i++ {
		cur[0] = i
		for j := 1; j <= len(rb); j++ {
			cost := 1
			if ra[i-1] == rb[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && ra[i-1] == rb[j-2] && ra[i-2] == rb[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return prev[len(rb)]
}

// Suggest is a hint for a word that is none of the known ones: the nearest of them, or the list.
func Suggest(got string, words []string) string {
	list := ""
	if len(words) > 0 {
		list = "write " + orList(words)
	}
	return Meant(got, words, list)
}

// Meant is the nearest of the known words as a hint, or the other hint if none is near.
func Meant(got string, words []string, other string) string {
	if w := nearest(got, words); w != "" {
		return "did you mean \"" + w + "\"?"
	}
	return other
}
