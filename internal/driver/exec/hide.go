package exec

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// hidden stands where a secret was.
const hidden = "***"

// leastSecret is the length of the shortest secret: a shorter one would be found in every other line.
const leastSecret = 6

// hider takes secrets out of what a program says: those that it was given, in every way that they are commonly written, and
// whatever looks like one.
type hider struct {
	names   map[string]string // variable → value
	values  *strings.Replacer
	longest int // bytes of the longest value
}

func newHider(secrets map[string]string) (hider, error) {
	var forms []string
	for name, s := range secrets {
		if len(s) < leastSecret {
			return hider{}, fmt.Errorf("the secret %s has fewer than %d characters: it could not be hidden in what the program says", name, leastSecret)
		}
		quoted := strconv.Quote(s)
		js, err := json.Marshal(s)
		if err != nil {
			return hider{}, fmt.Errorf("the secret %s can't be hidden: %w", name, err)
		}
		forms = append(forms, s, quoted[1:len(quoted)-1], string(js[1:len(js)-1]), url.QueryEscape(s), url.PathEscape(s))
		for line := range strings.Lines(s) { // a key of several lines is said line by line
			if line = strings.TrimSpace(line); len(line) >= leastSecret {
				forms = append(forms, line)
			}
		}
	}
	slices.SortFunc(forms, func(a, b string) int { return len(b) - len(a) }) // the whole before its parts
	h := hider{names: secrets}
	var pairs []string
	for _, f := range slices.Compact(forms) {
		h.longest = max(h.longest, len(f))
		pairs = append(pairs, f, hidden)
	}
	h.values = strings.NewReplacer(pairs...)
	return h, nil
}

// looks are patterns of what is probably a secret that we do not know. The first group stays.
var looks = []*regexp.Regexp{
	regexp.MustCompile(`(?i)((?:password|passwd|pwd|secret|token|api[_-]?key|private[_-]?key)["']?\s*[:=]\s*["']?)[^\s"',;&]+`),
	regexp.MustCompile(`(?i)(\bidentified\s+(?:by|via\s+\S+\s+(?:as|using))\s+(?:password\s+)?)(?:'[^']*'|"[^"]*")`),
	regexp.MustCompile(`(?i)(\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}`),
	regexp.MustCompile(`(?i)([a-z][a-z0-9+.-]*://[^\s/:@]*:)[^\s/@]+@`),
}

func (h hider) hide(s string) string {
	if h.values != nil {
		s = h.values.Replace(s)
	}
	for i, p := range looks {
		to := "${1}" + hidden
		if i == len(looks)-1 {
			to += "@"
		}
		s = p.ReplaceAllString(s, to)
	}
	return s
}

// held names the variable whose value the text holds, or "".
func (h hider) held(text string) string {
	for name, s := range h.names {
		if strings.Contains(text, s) {
			return name
		}
	}
	return ""
}
