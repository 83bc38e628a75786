package campaign

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

// unknownPlace holds a cluster of which it can't be told what comes next, or what it is like now.
func (t *tick) unknownPlace(c *candidate, _ time.Time) (Reason, bool) {
	if !t.known {
		return Reason{Code: CodeUnknown, Message: fmt.Sprintf("the strategy %q is not known to this release", t.Campaign.Strategy), Release: "run the release that the campaign was made with"}, true
	}
	if _, ok := t.done(c.Progress); !ok {
		return Reason{Code: CodeUnknown, Message: fmt.Sprintf("the stage %q that it completed is not one of the strategy %s", c.Stage, t.Campaign.Strategy), Release: "run the release that the campaign was made with"}, true
	}
	if _, ok := t.ranks[c.Ref.Env]; !ok {
		return Reason{Code: CodeUnknown, Message: fmt.Sprintf("the campaign has no environment %q", c.Ref.Env), Release: "apply the campaign with this environment, or without this cluster"}, true
	}
	if c.next < 0 {
		return Reason{}, false // arrived, and held by what came before
	}
	// A look that is older than the end of the last stage says nothing: the stage's own steps have looked since.
	if c.Unknown != "" && c.looked().After(c.Since) {
		return Reason{Code: CodeUnknown, Message: "the last look, at " + c.looked().In(t.zone()).Format("15:04:05 MST") + ", could not read " + c.Unknown, Release: "a later look reads everything; " + c.name + " starts on nothing that is unknown"}, true
	}
	return t.unseen(c)
}

// unseen holds a cluster that nobody has looked at for too long: whatever was seen of it may have changed since. A stage that has ended has
// looked until then. It is judged by now alone, never by a time to come: supervisors are expected to go on looking.
func (t *tick) unseen(c *candidate) (Reason, bool) {
	within := t.Campaign.SeenWithin
	last := c.Received
	if c.Stage != "" && c.Since.After(last) {
		last = c.Since
	}
	if within <= 0 || !last.IsZero() && t.now.Sub(last) <= within {
		return Reason{}, false
	}
	r := Reason{Code: CodeUnknown, Unseen: true, Message: "it was never looked at", Release: "a supervisor of " + c.Ref.Env + " looks at it: is one running there, with a token that is good?"}
	if !last.IsZero() {
		r.Message = fmt.Sprintf("it was last seen %s ago, at %s; a stage starts only on what was seen within %s", human(t.now.Sub(last).Truncate(time.Second)), last.In(t.zone()).Format("2006-01-02 15:04:05 MST"), human(within))
	}
	return r, true
}

// zone is the schedule's, or UTC.
func (t *tick) zone() *time.Location {
	if t.windows != nil && t.windows.zone != nil {
		return t.windows.zone
	}
	return time.UTC
}

// wrongVersion holds a cluster with a node on a version that nothing of this campaign has brought it to.
func (t *tick) wrongVersion(c *candidate, _ time.Time) (Reason, bool) {
	if t.Campaign.OfEngines() {
		return t.strayNode(c)
	}
	if r, holds := t.wrongPrimary(c); holds {
		return r, true
	}
	return t.strayReplica(c)
}

// wrongPrimary holds a cluster whose primary was seen on another version than the stage leaves it with: somebody moved it by hand.
// An observation that is older than the end of its last stage judges nothing. Before the switch the new version is no reason:
// an undo that could not go on has left the primary there, and the switch looks before it acts and finds itself made.
func (t *tick) wrongPrimary(c *candidate) (Reason, bool) {
	if c.Version == "" || c.next < 0 || !c.Observed.After(c.Since) || t.Campaign.From == "" || t.Campaign.To == "" {
		return Reason{}, false
	}
	want := t.Campaign.From
	if i := t.strat.PrimaryMoves(); i >= 0 && c.next > i {
		want = t.Campaign.To
	}
	if fleet.HasVersion(c.Version, want) || t.switched(c) {
		return Reason{}, false
	}
	return Reason{Code: CodeVersion, Message: fmt.Sprintf("its primary runs %s; before %s it should be %s", c.Version, c.name, want),
		Release: "it is seen on " + want + " again, or a person takes it out of the campaign"}, true
}

// strayReplica holds a cluster whose nodes are to be raised in place, and of which one is not on the old version before the first is touched:
// somebody raised it by hand, or an undo could not bring it back. Policies allow it beside an older primary; but the way back of a node is the
// copy that is made when it is raised, and of this one there may be none.
func (t *tick) strayReplica(c *candidate) (Reason, bool) {
	if !t.Campaign.InPlace() || c.next != 0 || t.Campaign.From == "" || !c.looked().After(c.Since) {
		return Reason{}, false
	}
	from := t.Campaign.From
	for _, s := range c.Seen {
		if s.Role != fleet.RoleReplica || s.Cell != "" && s.Cell != t.Campaign.FromCell || fleet.HasVersion(s.Version, from) {
			continue
		}
		node := s.Node
		if node == "" {
			node = "one"
		}
		return Reason{Code: CodeVersion, Message: fmt.Sprintf("of its replicas %s runs %s; before %s it should be on %s: what was raised outside of the campaign has no copy to go back to", node, s.Version, c.name, from),
			Release: fmt.Sprintf("it is seeded anew on %s, or taken out of the cell", from)}, true
	}
	return Reason{}, false
}

// strayNode holds a cluster with a node on a version that the stage does not expect: before the first node is taken out none is on the new
// one, while they are upgraded there are two versions, and at the end none is on the old one. A canary that an undo could not bring back may be
// on the new one.
func (t *tick) strayNode(c *candidate) (Reason, bool) {
	if c.next < 0 || !c.looked().After(c.Since) {
		return Reason{}, false
	}
	want := []string{t.Campaign.From, t.Campaign.To}
	switch c.name {
	case strategy.StageExpandSchema:
		want = want[:1]
	case strategy.StageFinalize, strategy.StageProveUnused, strategy.StageContract:
		want = want[1:]
	}
	for _, s := range c.Seen {
		if s.Role == fleet.RoleServing && !slices.ContainsFunc(want, func(v string) bool { return fleet.HasVersion(s.Version, v) }) {
			return Reason{Code: CodeVersion, Message: fmt.Sprintf("a node serves on %s; before %s they should be on %s", s.Version, c.name, strings.Join(want, " or ")),
				Release: "it is seen on " + strings.Join(want, " or ") + ", or a person takes the cluster out of the campaign"}, true
		}
	}
	return Reason{}, false
}

// switched tells whether the cluster is before the stage that moves the primary, and that was seen on the new version.
func (t *tick) switched(c *candidate) bool {
	i := t.strat.PrimaryMoves()
	return i >= 0 && c.next == i && c.Observed.After(c.Since) && fleet.HasVersion(c.Version, t.Campaign.To)
}
