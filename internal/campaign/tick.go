package campaign

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/policy"
	"github.com/windlass-db/windlass/internal/strategy"
)

// tick is one call of Decide: the snapshot, and what is counted over all of its clusters once.
type tick struct {
	*Snapshot
	now      time.Time
	strat    strategy.Strategy
	known    bool           // the strategy is known
	index    map[string]int // of stages
	ranks    map[string]int // of environments
	windows  *windows
	badClock error // why the schedule can't be understood

	order     []int   // of the clusters
	counts    []count // by environment and stage: see at
	failures  []named // by environment
	failed    named   // in the whole campaign
	starts    []int   // of this call, by environment
	selected  []int   // clusters by environment
	freezes   map[string][]freezeSpan
	pauses    scoped[Pause]
	overrides map[string]scoped[Override]
	closed    map[time.Time]Reason // by the start of the next window
	product   *policy.Product      // whose policy judges what was seen; nil: none is known
	noPolicy  error                // why the campaign's own one can't be read
	judged    map[string]memo      // by what was seen
	rehearsed bool                 // the way back of the campaign's stage was gone by some cluster
	rehearser *Progress            // else the cluster that is to do it
}

// count is what is known of one stage in one environment.
type count struct {
	live    named     // clusters with a live action of the stage
	short   named     // clusters that have not completed it
	last    time.Time // when the last cluster completed it
	unknown bool      // a cluster completed it, and nobody knows when
	starts  int       // in this call
	failed  named     // clusters that failed in it

	// What these two rules say is the same for every cluster of which the stage is the next: it is worded once.
	overBudget, behind memo
}

// memo keeps a reason.
type memo struct {
	made bool
	Reason
}

// named counts clusters and remembers the first three, for messages.
type named struct {
	n     int
	first [3]string
}

func (n *named) add(name string) {
	if n.n < len(n.first) {
		n.first[n.n] = name
	}
	n.n++
}

// candidate is a cluster with the stage that comes next for it.
type candidate struct {
	*Progress
	next     int    // index of the next stage
	name     string // and its name; of the live action's stage while there is one
	arrived  bool
	decision *Decision
}

func newTick(s *Snapshot, now time.Time) *tick {
	t := &tick{Snapshot: s, now: now, index: map[string]int{}, ranks: map[string]int{}, freezes: map[string][]freezeSpan{}, closed: map[time.Time]Reason{}, judged: map[string]memo{}}
	t.product, t.noPolicy = s.Campaign.Rules()
	t.strat, t.known = strategy.ByName(s.Campaign.Strategy)
	for i, st := range t.strat.Stages {
		t.index[st.Name] = i
	}
	for i, env := range s.Campaign.Environments {
		if _, ok := t.ranks[env]; !ok {
			t.ranks[env] = i
		}
	}
	t.windows, t.badClock = newWindows(s.Campaign.Schedule)
	n := len(s.Campaign.Environments)
	t.counts = make([]count, n*max(1, len(t.strat.Stages)))
	t.failures, t.starts, t.selected = make([]named, n), make([]int, n), make([]int, n)
	t.pauses = scope(s.Pauses, func(p Pause) string { return p.Cluster })
	t.overrides = overridesByRule(s.Overrides)
	t.order = t.sorted()
	for _, i := range t.order {
		t.tally(&s.Clusters[i])
	}
	t.findRehearser()
	return t
}

// sorted is the order of the decisions: by environment as the campaign has them, then by name. Clusters are counted in it too, so that
// the names in messages do not depend on the snapshot's order.
func (t *tick) sorted() []int {
	order := make([]int, len(t.Clusters))
	ranks := make([]int, len(t.Clusters))
	for i := range order {
		order[i], ranks[i] = i, t.rank(t.Clusters[i].Ref.Env)
	}
	slices.SortFunc(order, func(a, b int) int {
		if ranks[a] != ranks[b] {
			return ranks[a] - ranks[b]
		}
		ra, rb := &t.Clusters[a].Ref, &t.Clusters[b].Ref
		return cmp.Or(strings.Compare(ra.Env, rb.Env), strings.Compare(ra.Name, rb.Name))
	})
	return order
}

// tally counts one cluster.
func (t *tick) tally(p *Progress) {
	rank, ok := t.ranks[p.Ref.Env]
	if p.Failure != nil {
		t.failed.add(p.Ref.String())
	}
	if !ok || !t.known {
		return
	}
	t.selected[rank]++
	if p.Failure != nil {
		t.failures[rank].add(p.Ref.Name)
		if i, ok := t.index[p.Failure.Stage]; ok {
			t.at(rank, i).failed.add(p.Ref.Name)
		}
	}
	if p.Action != nil {
		if i, ok := t.index[p.Action.Stage]; ok {
			t.at(rank, i).live.add(p.Ref.Name)
		}
	}
	done, ok := t.done(p)
	if !ok {
		done = -1 // an unknown stage completed nothing
	}
	for i := range t.strat.Stages {
		c := t.at(rank, i)
		if i > done {
			c.short.add(p.Ref.Name)
			continue
		}
		end := p.end(t.strat.Stages[i].Name)
		if end.IsZero() {
			c.unknown = true
		}
		if end.After(c.last) {
			c.last = end
		}
	}
}

// end is when the cluster completed the stage. What was not recorded is taken to be as late as its last one: too late, never
// too early.
func (p *Progress) end(stage string) time.Time {
	if p.Stage != stage {
		for _, d := range p.Done {
			if d.Stage == stage {
				return d.At
			}
		}
	}
	return p.Since
}

// done is the index of the last completed stage, -1 before the first.
func (t *tick) done(p *Progress) (int, bool) {
	if p.Stage == "" {
		return -1, true
	}
	i, ok := t.index[p.Stage]
	return i, ok
}

func (t *tick) at(rank, stage int) *count { return &t.counts[rank*len(t.strat.Stages)+stage] }

// rank is the environment's place in the campaign; those that are not in it come last.
func (t *tick) rank(env string) int {
	if r, ok := t.ranks[env]; ok {
		return r
	}
	return len(t.Campaign.Environments)
}

func (t *tick) candidate(p *Progress) candidate {
	c := candidate{Progress: p}
	done, ok := t.done(p)
	switch {
	case !ok || !t.known:
		c.next = -1
	case done == len(t.strat.Stages)-1:
		c.arrived = p.Action == nil && p.Failure == nil && p.Attention == ""
		c.next = -1
	default:
		c.next = done + 1
		c.name = t.strat.Stages[c.next].Name
	}
	if p.Action != nil {
		c.name = p.Action.Stage
	}
	return c
}

// rule is one rule that looks at one cluster. It gives the reason that holds at that time, if any.
type rule struct {
	code  string
	check func(t *tick, c *candidate, at time.Time) (Reason, bool)
}

// rules are in the order of importance. The limits are not among them: they concern only those that nothing else holds.
var rules = []rule{
	{CodeStatus, (*tick).status},
	{CodeFailed, (*tick).failedAction},
	{CodeAttention, (*tick).attention},
	{CodeUnknown, (*tick).unknownPlace},
	{CodeVersion, (*tick).wrongVersion},
	{CodePolicy, (*tick).mixedState},
	{CodeFreeze, (*tick).freeze},
	{CodeWayBack, (*tick).wayBack},
	{CodeBudget, (*tick).budget},
	{CodeOrder, (*tick).environmentOrder},
	{CodeOrderSoak, (*tick).environmentSoak},
	{CodeSoak, (*tick).soak},
	{CodeApproval, (*tick).approval},
	{CodeRehearsal, (*tick).rehearsal},
	{CodeWindow, (*tick).window},
}

// reasons appends what holds the cluster at that time, the most important first.
func (t *tick) reasons(c *candidate, at time.Time, to []Reason) []Reason {
	if c.Action != nil {
		return append(to, t.running(c))
	}
	for i := range rules {
		r := &rules[i]
		if r.code == CodeFreeze {
			to = t.paused(c, at, to) // there may be several pauses, each with a reason of its own
		}
		if reason, holds := r.check(t, c, at); holds && !t.overridden(r.code, c, at) {
			to = append(to, reason)
		}
		if c.next < 0 && r.code == CodeUnknown {
			break // nothing else can be said of a cluster without a next stage
		}
	}
	return to
}
