package campaign

import (
	"fmt"
	"time"
)

// gate is the stage that every cluster of the environments before must have completed, and the nearest of those
// environments that has clusters. It is false if nothing is waited for.
func (t *tick) gate(c *candidate) (stage, before int, ok bool) {
	rank, known := t.ranks[c.Ref.Env]
	if !known || c.next < 0 {
		return 0, 0, false
	}
	switch t.Campaign.Order {
	case OrderNone:
		return 0, 0, false
	case OrderCampaign:
		stage = len(t.strat.Stages) - 1
	default:
		stage = c.next
	}
	for before = rank - 1; before >= 0; before-- {
		if t.selected[before] > 0 {
			return stage, before, true
		}
	}
	return 0, 0, false
}

// environmentOrder holds a stage until every cluster of the environments before has completed it.
func (t *tick) environmentOrder(c *candidate, _ time.Time) (Reason, bool) {
	stage, nearest, ok := t.gate(c)
	if !ok {
		return Reason{}, false
	}
	mine := t.at(t.ranks[c.Ref.Env], c.next)
	for before := nearest; before >= 0; before-- {
		n := t.at(before, stage)
		if n.short.n == 0 {
			continue
		}
		if !mine.behind.made {
			env, name := t.Campaign.Environments[before], t.strat.Stages[stage].Name
			mine.behind = memo{true, Reason{Code: CodeOrder, Message: fmt.Sprintf("%s goes first: %d of its %s %s not completed %s: %s", env, n.short.n, plural(t.selected[before], "cluster"), hasOrHave(n.short.n), name, &n.short),
				Release: fmt.Sprintf("every cluster of %s completes %s", env, name)}}
		}
		return mine.behind.Reason, true
	}
	return Reason{}, false
}

// environmentSoak holds a stage for a time after the last cluster of the environment before has completed it.
func (t *tick) environmentSoak(c *candidate, at time.Time) (Reason, bool) {
	soak := t.Campaign.Soak.Environments
	stage, before, ok := t.gate(c)
	if !ok || soak <= 0 {
		return Reason{}, false
	}
	n := t.at(before, stage)
	if n.short.n > 0 {
		return Reason{}, false // environment-order says so; the soak has not begun
	}
	env, name := t.Campaign.Environments[before], t.strat.Stages[stage].Name
	if n.unknown {
		return Reason{Code: CodeOrderSoak, Message: fmt.Sprintf("it is not known when %s completed %s", env, name), Release: "a person overrides " + CodeOrderSoak + " with a reason"}, true
	}
	until := n.last.Add(soak)
	if !at.Before(until) {
		return Reason{}, false
	}
	return Reason{Code: CodeOrderSoak, Message: fmt.Sprintf("%s completed %s at %s, and is watched for %s", env, name, clock(n.last), human(soak)),
		Release: "the time is over", Until: until}, true
}

func hasOrHave(n int) string {
	if n == 1 {
		return "has"
	}
	return "have"
}
