package policy

import (
	"fmt"
	"strings"
)

// rules are a product's, found by the two components that they speak of. They are made for one proof or one judgement: a product is data, and has no cache.
type rules struct {
	p      *Product
	calls  map[[2]string]Call  // that take part; the one that reaches furthest, if there are several
	skews  map[[2]string][]int // by call; those for all calls by two empty names
	newers map[[2]string][]int // by who and than
}

func (p *Product) rules() *rules {
	l := &rules{p, map[[2]string]Call{}, map[[2]string][]int{}, map[[2]string][]int{}}
	for _, c := range p.Calls {
		of := [2]string{c.From, c.To}
		if best, there := l.calls[of]; c.Ignored == "" && (!there || p.depth(c.Within) < p.depth(best.Within)) {
			l.calls[of] = c
		}
	}
	for i, s := range p.Skews {
		of := [2]string{s.From, s.To}
		l.skews[of] = append(l.skews[of], i)
	}
	for i, n := range p.Newers {
		of := [2]string{n.Who, n.Than}
		l.newers[of] = append(l.newers[of], i)
	}
	return l
}

// meet decides about two that are present, in both directions of every rule.
func (l *rules) meet(a, b placed, window bool) (ok []Pair, bad []Violation) {
	directions := [][2]placed{{a, b}}
	if a.Component != b.Component || a.release != b.release {
		directions = append(directions, [2]placed{b, a})
	}
	seen := map[string]bool{} // a component that meets itself is asked in both directions: one answer is enough
	for _, d := range directions {
		for _, v := range l.verdicts(d[0], d[1], window) {
			if seen[v.rule.ID+v.rule.Text] {
				continue
			}
			seen[v.rule.ID+v.rule.Text] = true
			pair := Pair{d[0].Present, d[1].Present, v.rule}
			if v.ok {
				ok = append(ok, pair)
				continue
			}
			pair.A.Place, pair.B.Place = v.at[0], v.at[1]
			bad = append(bad, Violation{pair})
		}
	}
	return ok, bad
}

type verdict struct {
	ok   bool
	rule Rule
	at   [2]string // where the two meet, one such pair of places
}

// verdicts asks every rule in which x is the first and y the second.
func (l *rules) verdicts(x, y placed, window bool) []verdict {
	var all []verdict
	newest := max(x.release, y.release)
	p := l.p
	if call, at, met := l.meets(x, y); met {
		if i, s, found := l.skew(x.Component, y.Component, newest); found {
			v := p.skewed(i, s, x, y)
			v.at = at
			all = append(all, p.inside(call, v))
		}
		for i, o := range p.Orders {
			if o.Direction == BottomToTop && x.Component != y.Component && o.Releases.HasAny(min(x.release, y.release), newest) {
				all = append(all, p.inside(call, verdict{x.release <= y.release, Rule{ID: fmt.Sprintf("order[%d]", i), Source: o.Source,
					Text: strings.TrimSpace(fmt.Sprintf("%s the order is bottom to top: %s is never newer than %s, which it calls", o.Releases.words(), x.Component, y.Component))}, at}))
			}
		}
	}
	for _, i := range l.newers[[2]string{x.Component, y.Component}] {
		n := p.Newers[i]
		v := verdict{x.release >= y.release, Rule{ID: fmt.Sprintf("newer[%d]", i), Source: n.Source, Text: fmt.Sprintf("%s is never older than %s", n.Who, n.Than)}, [2]string{x.places[0], y.places[0]}}
		if !v.ok && window && len(n.Reverse) > 0 {
			v.ok, v.rule.Guards = true, n.Reverse
			v.rule.Text += ", but for the way back, behind guards"
		}
		all = append(all, v)
	}
	return all
}

// meets tells whether some of the first meet some of the second by a call that takes part, by which, and where.
func (l *rules) meets(x, y placed) (call Call, at [2]string, ok bool) {
	if call, ok = l.calls[[2]string{x.Component, y.Component}]; ok {
		at[0], at[1], ok = l.p.together(x, y, call.Within)
	}
	return call, at, ok
}

// inside adds to a rule that the call stays inside a place, and where that is written.
func (p *Product) inside(call Call, v verdict) verdict {
	if call.Within != "" {
		v.rule.Text += ", in the same " + call.Within
		if !strings.Contains(v.rule.Source, call.Source) {
			v.rule.Source += "; " + call.Source
		}
	}
	return v
}

// skew finds the rule for a call: one that names it goes before one for all.
func (l *rules) skew(from, to string, newest int) (int, Skew, bool) {
	for _, call := range [][2]string{{from, to}, {}} {
		for _, i := range l.skews[call] {
			if s := l.p.Skews[i]; s.Releases.Has(newest) {
				return i, s, true
			}
		}
	}
	return 0, Skew{}, false
}

func (p *Product) skewed(i int, s Skew, x, y placed) verdict {
	allowed, word := s.CalleeNewer, "newer"
	if y.release < x.release {
		allowed, word = s.CalleeOlder, "older"
	}
	apart := p.apart(x.release, y.release)
	text := fmt.Sprintf("%s may be at most %d %s than %s, which calls it", y.Component, allowed, word, x.Component)
	switch {
	case allowed < 0:
		text = fmt.Sprintf("%s may be any number of releases %s than %s, which calls it", y.Component, word, x.Component)
	case allowed == 0:
		text = fmt.Sprintf("%s may not be %s than %s, which calls it", y.Component, word, x.Component)
	case allowed == 1:
		text = fmt.Sprintf("%s may be one release %s than %s, which calls it", y.Component, word, x.Component)
	}
	if b := p.joined(x.release, y.release); b != "" {
		text += "; the bridge " + b + " makes them neighbours"
	}
	return verdict{ok: allowed < 0 || apart <= allowed, rule: Rule{ID: fmt.Sprintf("skew[%d]", i), Text: text, Source: s.Source}}
}
