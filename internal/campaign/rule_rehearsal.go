package campaign

import (
	"fmt"
	"slices"
	"time"
)

// rehearsal keeps the fleet before a stage until one cluster has gone through it and back (B1): the way back is known to work before it is needed.
// That cluster is the first in the order of the decisions that comes to the stage; it waits behind the stage for a person to roll it back.
func (t *tick) rehearsal(c *candidate, _ time.Time) (Reason, bool) {
	stage, ok := t.index[t.Campaign.Rehearse]
	if !ok || t.rehearsed || c.next < stage {
		return Reason{}, false
	}
	name := t.Campaign.Rehearse
	if c.Progress != t.rehearser {
		return Reason{Code: CodeRehearsal, Message: fmt.Sprintf("the way back of %s has not been rehearsed: %s goes first", name, t.rehearser.Ref), Release: fmt.Sprintf("%s goes through %s, and back", t.rehearser.Ref, name)}, true
	}
	if c.next == stage {
		return Reason{}, false
	}
	to := ""
	if stage > 0 {
		to = " --to " + t.strat.Stages[stage-1].Name
	}
	return Reason{Code: CodeRehearsal, Message: fmt.Sprintf("it is the one on which the way back of %s is rehearsed", name), Release: fmt.Sprintf("a person takes it back, and forward again: windlass rollback %s%s --why rehearsal", c.Ref, to)}, true
}

// findRehearser looks whether the way back was rehearsed, and which cluster is to do it: one that is in the stage or past it goes before all
// others.
func (t *tick) findRehearser() {
	stage, ok := t.index[t.Campaign.Rehearse]
	if !ok {
		return
	}
	best := -1
	for _, i := range t.order {
		p := &t.Clusters[i]
		done, known := t.done(p)
		t.rehearsed = t.rehearsed || slices.Contains(p.Rehearsed, t.Campaign.Rehearse)
		if !known || done < stage-1 {
			continue
		}
		score := 0
		if p.Action != nil && p.Action.Stage == t.Campaign.Rehearse {
			score = 1
		}
		if done >= stage {
			score = 2
		}
		if score > best {
			best, t.rehearser = score, p
		}
	}
}
