package campaign

import (
	"cmp"
	"container/heap"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

// Prediction says how a campaign goes on if no action fails and nobody intervenes.
type Prediction struct {
	From         time.Time       `json:"from"`
	End          time.Time       `json:"end,omitzero"` // when the last cluster arrives; zero: it never does, see Stuck
	Launches     int             `json:"launches"`     // that start something
	Starts       int             `json:"starts"`
	Environments []StageForecast `json:"environments"`
	Stuck        []Decision      `json:"stuck,omitempty"` // clusters that wait for an event that is not foreseen, such as a person
}

// StageForecast is one stage of one environment: first start and last end among those that are still to come.
type StageForecast struct {
	Env   string    `json:"env"`
	Stage string    `json:"stage"`
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
	Count int       `json:"count"`
}

// Cost is what one limit or soak costs: how much earlier the campaign would end without it.
type Cost struct {
	Rule  string        `json:"rule"` // the code of the rule
	What  string        `json:"what"`
	Saves time.Duration `json:"saves"`
}

// forecastSteps bounds a forecast: an hourly launch for ten years.
const forecastSteps = 100_000

// Forecast runs Decide on a virtual clock from now on, with the launches of the schedule, until every cluster has arrived or none moves any
// more. durations says how long a stage of that name takes on a cluster; "" is for all others. Live actions end that long after their start.
// Of thousands of clusters it takes seconds of a processor: it ends with the context's error as soon as nobody waits for it.
func Forecast(ctx context.Context, s Snapshot, now time.Time, durations map[string]time.Duration) (Prediction, error) {
	f := newForecast(s, now, durations)
	err := f.run(ctx)
	return f.out, err
}

// Costs forecasts again without each limit and soak, and tells what each costs. The most expensive comes first; those that
// cost nothing are not there. It is empty if the campaign does not end.
func Costs(ctx context.Context, s Snapshot, now time.Time, durations map[string]time.Duration) ([]Cost, error) {
	base, err := Forecast(ctx, s, now, durations)
	if err != nil || base.End.IsZero() {
		return nil, err
	}
	var costs []Cost
	try := func(rule, what string, change func(c *Campaign)) {
		without := s
		without.Campaign = s.Campaign.clone()
		change(&without.Campaign)
		if f, _ := Forecast(ctx, without, now, durations); !f.End.IsZero() && f.End.Before(base.End) {
			costs = append(costs, Cost{Rule: rule, What: what, Saves: base.End.Sub(f.End)})
		}
	}
	strat, _ := strategy.ByName(s.Campaign.Strategy)
	for _, st := range strat.Stages {
		try(CodeLimit, "the limits on "+st.Name, func(c *Campaign) { c.Limits.open(c.Environments, st.Name) })
		if soak := s.Campaign.Soak.Stages[st.Name]; soak > 0 {
			try(CodeSoak, fmt.Sprintf("the soak of %s after %s", human(soak), st.Name), func(c *Campaign) { delete(c.Soak.Stages, st.Name) })
		}
	}
	if soak := s.Campaign.Soak.Environments; soak > 0 {
		try(CodeOrderSoak, fmt.Sprintf("the soak of %s between environments", human(soak)), func(c *Campaign) { c.Soak.Environments = 0 })
	}
	if s.Campaign.Limits.PerLaunch > 0 {
		try(CodePerLaunch, fmt.Sprintf("the limit of %s for one launch", plural(s.Campaign.Limits.PerLaunch, "start")), func(c *Campaign) { c.Limits.PerLaunch = 0 })
	}
	if s.Campaign.Order != OrderNone && len(s.Campaign.Environments) > 1 {
		try(CodeOrder, "the order of the environments", func(c *Campaign) { c.Order = OrderNone })
	}
	slices.SortStableFunc(costs, func(a, b Cost) int { return cmp.Compare(b.Saves, a.Saves) })
	return costs, ctx.Err()
}

// clone copies what a variation changes.
func (c Campaign) clone() Campaign {
	c.Soak.Stages = maps.Clone(c.Soak.Stages)
	c.Limits.Stages = maps.Clone(c.Limits.Stages)
	environments := map[string]map[string]int{}
	for env, byStage := range c.Limits.Environments {
		environments[env] = maps.Clone(byStage)
	}
	c.Limits.Environments = environments
	return c
}

// open lifts the limit of one stage everywhere.
func (l *Limits) open(environments []string, stage string) {
	for _, env := range environments {
		if l.Environments[env] == nil {
			l.Environments[env] = map[string]int{}
		}
		l.Environments[env][stage] = 1 << 30
	}
}

// forecast is the state of one run on the virtual clock.
type forecast struct {
	snap      Snapshot
	now       time.Time
	strat     strategy.Strategy
	durations map[string]time.Duration
	windows   *windows
	byRef     map[fleet.ClusterRef]int
	ends      endings
	stages    map[[2]string]*StageForecast
	out       Prediction
}

func newForecast(s Snapshot, now time.Time, durations map[string]time.Duration) *forecast {
	f := &forecast{snap: s, now: now, durations: durations, byRef: map[fleet.ClusterRef]int{}, stages: map[[2]string]*StageForecast{}}
	f.out.From = now
	f.strat, _ = strategy.ByName(s.Campaign.Strategy)
	f.windows, _ = newWindows(s.Campaign.Schedule)
	f.snap.Clusters = slices.Clone(s.Clusters)
	f.snap.Campaign.SeenWithin = 0 // supervisors are expected to go on looking
	for i := range f.snap.Clusters {
		p := &f.snap.Clusters[i]
		p.Done = slices.Clone(p.Done)
		p.Looked = time.Time{} // that something can't be read now says nothing of later
		f.byRef[p.Ref] = i
		if a := p.Action; a != nil && a.Direction != string(strategy.Back) {
			end := a.StartedAt.Add(f.duration(a.Stage))
			if end.Before(now) {
				end = now
			}
			f.begin(i, a.Stage, a.StartedAt, end)
		}
	}
	return f
}

func (f *forecast) duration(stage string) time.Duration {
	if d, ok := f.durations[stage]; ok {
		return d
	}
	return f.durations[""]
}

// run goes on from launch to launch. The context is asked before each: one decides for every cluster once.
func (f *forecast) run(ctx context.Context) error {
	if f.windows == nil {
		return nil
	}
	at := f.now
	for range forecastSteps {
		if err := ctx.Err(); err != nil {
			return err
		}
		launch := f.windows.nextLaunch(at)
		if launch.IsZero() {
			break
		}
		f.complete(launch)
		decisions := Decide(f.snap, launch)
		next, again, left := f.start(decisions, launch)
		if left == 0 {
			break
		}
		if len(f.ends) > 0 && (next.IsZero() || f.ends[0].at.Before(next)) {
			next = f.ends[0].at
		}
		switch {
		case again: // this launch was full: the next one takes more
			at = launch
		case next.IsZero():
			f.stuck(decisions)
			return nil
		case next.After(launch):
			at = next.Add(-time.Nanosecond) // a launch at that very time counts
		default:
			at = launch
		}
	}
	f.finish()
	return nil
}

// start carries out the decisions. It returns the earliest end of a hold, whether a launch's own limit held somebody back, and how many
// clusters have not arrived.
func (f *forecast) start(decisions []Decision, launch time.Time) (next time.Time, again bool, left int) {
	started := false
	for i := range decisions {
		d := &decisions[i]
		switch {
		case d.Arrived:
			continue
		case d.Start != "":
			started = true
			f.out.Starts++
			k := f.byRef[d.Ref]
			f.snap.Clusters[k].Action = &ActionState{Stage: d.Start, Direction: string(strategy.Forward), StartedAt: launch}
			f.begin(k, d.Start, launch, launch.Add(f.duration(d.Start)))
		default:
			if e := d.Hold.Earliest; !e.IsZero() && (next.IsZero() || e.Before(next)) {
				next = e
			}
			again = again || d.Hold.Reasons[0].Code == CodePerLaunch
		}
		left++
	}
	if started {
		f.out.Launches++
	}
	return next, again && started, left
}

// begin notes a stage that runs until end.
func (f *forecast) begin(k int, stage string, start, end time.Time) {
	heap.Push(&f.ends, ending{end, k})
	key := [2]string{f.snap.Clusters[k].Ref.Env, stage}
	sf := f.stages[key]
	if sf == nil {
		sf = &StageForecast{Env: key[0], Stage: stage, First: start}
		f.stages[key] = sf
	}
	sf.Count++
	if start.Before(sf.First) {
		sf.First = start
	}
	if end.After(sf.Last) {
		sf.Last = end
	}
}

// complete ends the actions that are over by then.
func (f *forecast) complete(until time.Time) {
	for len(f.ends) > 0 && !f.ends[0].at.After(until) {
		e := heap.Pop(&f.ends).(ending)
		p := &f.snap.Clusters[e.cluster]
		p.Stage, p.Since, p.Action = p.Action.Stage, e.at, nil
		p.Done = append(p.Done, StageEnd{p.Stage, e.at})
		if st, _ := f.strat.Stage(p.Stage); st.MovesPrimary && p.WayBack == nil {
			p.WayBack = &fleet.WayBack{Open: true}
		}
		p.Observed, p.Looked = time.Time{}, time.Time{} // what was seen before says nothing of it any more
	}
}

// stuck keeps the holds of those that will not move.
func (f *forecast) stuck(decisions []Decision) {
	for _, d := range decisions {
		if !d.Arrived {
			f.out.Stuck = append(f.out.Stuck, d)
		}
	}
	f.summary()
}

// finish ends a forecast in which every cluster arrives.
func (f *forecast) finish() {
	f.out.End = f.now
	for i := range f.snap.Clusters {
		if p := &f.snap.Clusters[i]; p.Since.After(f.out.End) {
			f.out.End = p.Since
		}
	}
	for _, d := range Decide(f.snap, f.out.End) {
		if !d.Arrived {
			f.out.Stuck = append(f.out.Stuck, d)
		}
	}
	if len(f.out.Stuck) > 0 {
		f.out.End = time.Time{}
	}
	f.summary()
}

func (f *forecast) summary() {
	for _, env := range f.snap.Campaign.Environments {
		for _, st := range f.strat.Stages {
			if sf := f.stages[[2]string{env, st.Name}]; sf != nil {
				f.out.Environments = append(f.out.Environments, *sf)
			}
		}
	}
}

// ending is the end of one cluster's stage.
type ending struct {
	at      time.Time
	cluster int
}

// endings is a heap, the first one on top.
type endings []ending

func (e endings) Len() int { return len(e) }
func (e endings) Less(i, j int) bool {
	if c := e[i].at.Compare(e[j].at); c != 0 {
		return c < 0
	}
	return e[i].cluster < e[j].cluster
}
func (e endings) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *endings) Push(x any)   { *e = append(*e, x.(ending)) }
func (e *endings) Pop() any {
	old := *e
	last := old[len(old)-1]
	*e = old[:len(old)-1]
	return last
}
