package judge

import (
	"slices"
	"time"

	"github.com/windlass-db/windlass/internal/replay/compare"
)

// IgnoreUse is what came of an ignore rule.
type IgnoreUse struct {
	Ignore
	Findings int  `json:"findings"`          // that it keeps from counting
	Expired  bool `json:"expired,omitempty"` // it counts no more
	Would    int  `json:"would,omitempty"`   // expired: the findings that it would have kept
	Unused   bool `json:"unused,omitempty"`  // it fits nothing
}

// fits reports whether the rule is about a finding.
func (i Ignore) fits(fingerprint, text string, k compare.Kind) bool {
	if len(i.Kinds) > 0 && !slices.Contains(i.Kinds, k) || len(i.Kinds) == 0 && k == compare.Syntax {
		return false
	}
	if i.Fingerprint != "" {
		return i.Fingerprint == fingerprint
	}
	return i.Like != "" && like(i.Like, text)
}

// expired reports whether the rule counts no more.
func (i Ignore) expired(now time.Time) bool { return !i.Expires.IsZero() && !now.Before(i.Expires) }

// like matches as SQL's LIKE does: % is any text, _ one byte or character, \ takes the next as it is, and letters fit in either case.
func like(pattern, text string) bool {
	p, t := []rune(pattern), []rune(text)
	i, j := 0, 0
	star, from := -1, 0 // where the last % was, and what it was tried with
	for j < len(t) {
		switch {
		case i < len(p) && p[i] == '%':
			star, from = i, j
			i++
			continue
		case i < len(p) && p[i] == '_':
			i, j = i+1, j+1
			continue
		case i+1 < len(p) && p[i] == '\\' && lower(p[i+1]) == lower(t[j]):
			i, j = i+2, j+1
			continue
		case i < len(p) && p[i] != '\\' && lower(p[i]) == lower(t[j]):
			i, j = i+1, j+1
			continue
		case star >= 0:
			from++
			i, j = star+1, from
			continue
		}
		return false
	}
	for i < len(p) && p[i] == '%' {
		i++
	}
	return i == len(p)
}

func lower(r rune) rune {
	if r >= 'A' && r <= 'Z' {
		return r + 'a' - 'A'
	}
	return r
}
