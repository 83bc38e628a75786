package campaign

import "slices"

// needPerson are the codes of holds that only a person ends, and that no person's own act has made: a pause, an abort and a failed action have
// events of their own.
var needPerson = []string{CodeStatus, CodeUnknown, CodeVersion, CodePolicy, CodeWayBack, CodeBudget, CodeApproval, CodeRehearsal}

// endless are the codes of holds that time ends. If there is no such time, a person has to.
var endless = []string{CodeFreeze, CodeOrderSoak, CodeSoak, CodeWindow}

// NeedsPerson answers the hold's first reason if a person has to do something about it. What waits behind a reason that ends by
// itself is not asked for yet: an approval, for example, only when the soak before it is over.
func (c *Campaign) NeedsPerson(h *Hold) (Reason, bool) {
	if h == nil || len(h.Reasons) == 0 {
		return Reason{}, false
	}
	r := h.Reasons[0]
	switch {
	case slices.Contains(endless, r.Code):
		return r, r.Until.IsZero()
	case r.Code == CodeRehearsal && h.Next == c.Rehearse:
		return r, false // it waits for the cluster on which the way back is rehearsed; a person has to take that one back
	}
	return r, slices.Contains(needPerson, r.Code)
}
