package campaign

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// freezeSpan is a time without a gap in which freezes follow each other or overlap.
type freezeSpan struct {
	from, to time.Time
	reason   Reason
}

// freeze holds every start inside a freeze; it beats the schedule. What is running goes on to its next safe state, which is
// the end of its current step: see Frozen.
func (t *tick) freeze(c *candidate, at time.Time) (Reason, bool) {
	return frozen(t.spans(c.Ref.Env), at)
}

// spans are an environment's freezes, merged and in order.
func (t *tick) spans(env string) []freezeSpan {
	if s, ok := t.freezes[env]; ok {
		return s
	}
	s := t.freezeSpans(env)
	t.freezes[env] = s
	return s
}

func (s *Snapshot) freezeSpans(env string) []freezeSpan {
	var all []Freeze
	for _, list := range [2][]Freeze{s.Campaign.Freezes, s.Freezes} {
		for _, f := range list {
			if f.To.After(f.From) && (len(f.Environments) == 0 || slices.Contains(f.Environments, env)) {
				all = append(all, f)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Freeze) int {
		return cmp.Or(a.From.Compare(b.From), b.To.Compare(a.To), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Who, b.Who))
	})
	var spans []freezeSpan
	for _, f := range all {
		if n := len(spans); n > 0 && !f.From.After(spans[n-1].to) {
			last := &spans[n-1]
			if f.To.After(last.to) {
				last.to = f.To
				last.reason.Message += ", then " + f.describe()
			}
			last.reason.Until = last.to
			continue
		}
		spans = append(spans, freezeSpan{f.From, f.To, Reason{Code: CodeFreeze, Message: "frozen: " + f.describe(), Release: "the freeze ends, or a person overrides it with a reason", Until: f.To}})
	}
	return spans
}

func (f *Freeze) describe() string {
	s := f.Reason
	if f.Who != "" {
		s += ", by " + f.Who
	}
	return fmt.Sprintf("%s (until %s)", s, f.To.UTC().Format("2006-01-02 15:04 MST"))
}

func frozen(spans []freezeSpan, at time.Time) (Reason, bool) {
	i, _ := slices.BinarySearchFunc(spans, at, func(s freezeSpan, at time.Time) int {
		if s.to.After(at) {
			return 1
		}
		return -1
	})
	if i < len(spans) && !spans[i].from.After(at) {
		return spans[i].reason, true
	}
	return Reason{}, false
}

// Frozen tells a live action whether a freeze holds its cluster now, overrides counted: it then ends its current step, and waits before
// the next one.
func (s *Snapshot) Frozen(p *Progress, now time.Time) (Reason, bool) {
	r, holds := frozen(s.freezeSpans(p.Ref.Env), now)
	if !holds {
		return Reason{}, false
	}
	t := &tick{Snapshot: s, overrides: overridesByRule(s.Overrides)}
	c := &candidate{Progress: p}
	if p.Action != nil {
		c.name = p.Action.Stage
	}
	return r, !t.overridden(CodeFreeze, c, now)
}
