package campaign

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

var stageNames = strategy.BlueGreen().StageNames()

// anySnapshot draws a campaign with every rule, and clusters in every state. Times are whole minutes around now, so that ends and
// beginnings meet often.
func anySnapshot(t *rapid.T) (Snapshot, time.Time) {
	now := anyTime(t)
	minutes := func(label string, from, to int) time.Duration {
		return time.Duration(rapid.IntRange(from, to).Draw(t, label)) * time.Minute
	}
	env := rapid.SampledFrom([]string{"dev", "qa", "prod"})
	anyEnv := rapid.SampledFrom([]string{"", "", "dev", "qa", "prod"})
	anyStage := rapid.SampledFrom(append([]string{"", "", ""}, stageNames...))
	name := rapid.SampledFrom([]string{"a", "b", "c", "d"})
	anyName := rapid.SampledFrom([]string{"", "", "a", "b", "c", "d"})

	c := Defaults()
	c.Name, c.From, c.To, c.Environments = "up", "10.11", "11.8", []string{"dev", "qa", "prod"}
	c.Schedule = anySchedule(t)
	c.Order = rapid.SampledFrom([]string{OrderStage, OrderStage, OrderCampaign, OrderNone}).Draw(t, "order")
	c.Soak = Soak{Stages: map[string]time.Duration{}, Environments: minutes("env soak", 0, 200)}
	for _, st := range stageNames[:len(stageNames)-1] {
		if rapid.Bool().Draw(t, "soaks") {
			c.Soak.Stages[st] = minutes("soak", 0, 3000)
		}
	}
	c.Limits = Limits{PerStage: rapid.IntRange(1, 4).Draw(t, "per stage"), PerLaunch: rapid.SampledFrom([]int{0, 0, 1, 2}).Draw(t, "per launch")}
	c.Budget = Budget{rapid.IntRange(-1, 3).Draw(t, "budget"), rapid.IntRange(-1, 2).Draw(t, "budget env"), rapid.IntRange(-1, 1).Draw(t, "budget stage")}
	if rapid.IntRange(0, 3).Draw(t, "approve") == 0 {
		c.Approve = []string{rapid.SampledFrom(stageNames).Draw(t, "approved stage")}
	}
	s := Snapshot{Campaign: c, Status: rapid.SampledFrom([]string{"running", "running", "running", "running", "running", "paused"}).Draw(t, "status")}

	for range rapid.IntRange(0, 2).Draw(t, "freezes") {
		from := now.Add(minutes("freeze from", -300, 300))
		f := Freeze{From: from, To: from.Add(minutes("freeze for", 0, 400)), Reason: "x"}
		if e := anyEnv.Draw(t, "freeze env"); e != "" {
			f.Environments = []string{e}
		}
		s.Freezes = append(s.Freezes, f)
	}
	for i := range rapid.IntRange(0, 2).Draw(t, "pauses") {
		p := Pause{Env: anyEnv.Draw(t, "pause env"), Cluster: anyName.Draw(t, "pause cluster"), Stage: anyStage.Draw(t, "pause stage"), Who: "jo", Why: fmt.Sprint("y", i)}
		if rapid.Bool().Draw(t, "pause ends") {
			p.Until = now.Add(minutes("pause until", -100, 500))
		}
		s.Pauses = append(s.Pauses, p)
	}
	for range rapid.IntRange(0, 3).Draw(t, "overrides") {
		s.Overrides = append(s.Overrides, Override{
			Rule: rapid.SampledFrom([]string{CodeFreeze, CodeSoak, CodeOrder, CodeOrderSoak, CodeWindow, CodeBudget, CodeWayBack, CodeApproval, CodeLimit, CodePerLaunch, CodeFailed}).Draw(t, "rule"),
			Env:  anyEnv.Draw(t, "override env"), Cluster: anyName.Draw(t, "override cluster"), Stage: anyStage.Draw(t, "override stage"),
			Expires: now.Add(minutes("expires", -100, 500)),
		})
	}
	seen := map[fleet.ClusterRef]bool{}
	ahead := rapid.IntRange(0, len(stageNames)).Draw(t, "ahead")
	for range rapid.IntRange(1, 10).Draw(t, "clusters") {
		ref := fleet.ClusterRef{Env: env.Draw(t, "env"), Name: name.Draw(t, "name")}
		if seen[ref] {
			continue
		}
		seen[ref] = true
		s.Clusters = append(s.Clusters, anyProgress(t, ref, now, ahead))
	}
	return s, now
}

func anyProgress(t *rapid.T, ref fleet.ClusterRef, now time.Time, ahead int) Progress {
	p := Progress{Ref: ref}
	done := rapid.IntRange(0, len(stageNames)).Draw(t, "done")
	if rapid.Bool().Draw(t, "with the others") {
		done = ahead
	}
	if done > 0 {
		p.Stage = stageNames[done-1]
		p.Since = now.Add(-time.Duration(rapid.IntRange(0, 3000).Draw(t, "since")) * time.Minute)
		for i, st := range stageNames[:done] {
			if rapid.Bool().Draw(t, "recorded") {
				p.Done = append(p.Done, StageEnd{st, p.Since.Add(-time.Duration(done-1-i) * time.Hour)})
			}
		}
	}
	one := func(label string, of int) bool { return rapid.IntRange(0, of).Draw(t, label) == 0 }
	if one("live", 4) && done < len(stageNames) {
		p.Action = &ActionState{ID: 1, Stage: stageNames[done], Direction: "forward", StartedAt: now}
	} else if one("failed", 6) && done < len(stageNames) {
		p.Failure = &Failure{Stage: stageNames[done], Message: "z", At: now}
	} else if one("attention", 8) {
		p.Attention = "look"
	}
	if !one("way back known", 5) {
		p.WayBack = &fleet.WayBack{Open: !one("broken", 3)}
	}
	if one("observed", 3) {
		p.Version = rapid.SampledFrom([]string{"10.11.18-MariaDB", "11.8.6-MariaDB"}).Draw(t, "version")
		p.Observed = now.Add(-time.Duration(rapid.IntRange(0, 3000).Draw(t, "seen")) * time.Minute)
	}
	return p
}

// oracle says in the plainest way which rules hold a cluster, by looking at everything anew for each. It shares no code with Decide but the
// schedule, which has tests of its own.
func oracle(s Snapshot, p Progress, now time.Time) []string {
	done := slices.Index(stageNames, p.Stage)
	if p.Action != nil {
		return []string{CodeRunning}
	}
	var codes []string
	hold := func(code string) {
		stage := ""
		if done+1 < len(stageNames) {
			stage = stageNames[done+1]
		}
		if code != CodeFailed {
			for _, o := range s.Overrides {
				if o.Rule == code && now.Before(o.Expires) && (o.Env == "" || o.Env == p.Ref.Env) && (o.Cluster == "" || o.Cluster == p.Ref.Name) && (o.Stage == "" || o.Stage == stage) {
					return
				}
			}
		}
		codes = append(codes, code)
	}
	if s.Status != "running" {
		hold(CodePaused)
	}
	if p.Failure != nil {
		hold(CodeFailed)
	}
	if p.Attention != "" {
		hold(CodeAttention)
	}
	if done == len(stageNames)-1 {
		return codes
	}
	next := stageNames[done+1]
	want := map[bool]string{true: "11.8.", false: "10.11"}[done >= 2]
	if p.Version != "" && p.Observed.After(p.Since) && p.Version[:5] != want {
		hold(CodeVersion)
	}
	for _, z := range s.Pauses {
		if (z.Until.IsZero() || now.Before(z.Until)) && (z.Env == "" || z.Env == p.Ref.Env) && (z.Cluster == "" || z.Cluster == p.Ref.Name) && (z.Stage == "" || z.Stage == next) {
			codes = append(codes, CodePaused)
		}
	}
	for _, f := range s.Freezes {
		if !now.Before(f.From) && now.Before(f.To) && (len(f.Environments) == 0 || slices.Contains(f.Environments, p.Ref.Env)) {
			hold(CodeFreeze)
			break
		}
	}
	if next == "tear-down" && (p.WayBack == nil || !p.WayBack.Open) {
		hold(CodeWayBack)
	}
	inAll, inEnv, inStage := 0, 0, 0
	for _, q := range s.Clusters {
		if q.Failure == nil {
			continue
		}
		inAll++
		if q.Ref.Env == p.Ref.Env {
			inEnv++
			if q.Failure.Stage == next {
				inStage++
			}
		}
	}
	if b := s.Campaign.Budget; b.Campaign >= 0 && inAll > b.Campaign || b.Environment >= 0 && inEnv > b.Environment || b.Stage >= 0 && inStage > b.Stage {
		hold(CodeBudget)
	}
	if s.Campaign.Order != OrderNone {
		gate := done + 1
		if s.Campaign.Order == OrderCampaign {
			gate = len(stageNames) - 1
		}
		behind, last, nearest := false, time.Time{}, -1
		for _, q := range s.Clusters {
			rank := slices.Index(s.Campaign.Environments, q.Ref.Env)
			if rank >= slices.Index(s.Campaign.Environments, p.Ref.Env) {
				continue
			}
			at := slices.Index(stageNames, q.Stage)
			behind = behind || at < gate
			if rank > nearest {
				nearest = rank
			}
		}
		nearestBehind := false
		for _, q := range s.Clusters {
			if slices.Index(s.Campaign.Environments, q.Ref.Env) != nearest {
				continue
			}
			nearestBehind = nearestBehind || slices.Index(stageNames, q.Stage) < gate
			end := q.Since
			for _, d := range q.Done {
				if d.Stage == stageNames[gate] && q.Stage != d.Stage {
					end = d.At
				}
			}
			if end.After(last) {
				last = end
			}
		}
		if behind {
			hold(CodeOrder)
		}
		if nearest >= 0 && !nearestBehind && now.Before(last.Add(s.Campaign.Soak.Environments)) {
			hold(CodeOrderSoak)
		}
	}
	if p.Stage != "" && now.Before(p.Since.Add(s.Campaign.Soak.Stages[p.Stage])) {
		hold(CodeSoak)
	}
	if slices.Contains(s.Campaign.Approve, next) {
		hold(CodeApproval)
	}
	if LaunchKey(s.Campaign, now) == "" {
		hold(CodeWindow)
	}
	return codes
}

func codesOf(d Decision) []string {
	var codes []string
	if d.Hold != nil {
		for _, r := range d.Hold.Reasons {
			codes = append(codes, r.Code)
		}
	}
	return codes
}

func progressOf(s Snapshot, ref fleet.ClusterRef) Progress {
	for _, p := range s.Clusters {
		if p.Ref == ref {
			return p
		}
	}
	panic(ref)
}

// Every decision is what the plain reading of the rules says, and every hold explains itself.
func TestDecideIsWhatTheRulesSay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, now := anySnapshot(t)
		decisions := Decide(s, now)
		if len(decisions) != len(s.Clusters) {
			t.Fatalf("%d decisions for %d clusters", len(decisions), len(s.Clusters))
		}
		for _, d := range decisions {
			p := progressOf(s, d.Ref)
			want, got := oracle(s, p, now), codesOf(d)
			switch {
			case d.Arrived:
				if p.Stage != stageNames[len(stageNames)-1] || d.Hold != nil || d.Start != "" {
					t.Fatalf("%s is said to have arrived: %+v", d.Ref, p)
				}
			case d.Start != "":
				if len(want) > 0 {
					t.Fatalf("%s starts %s although held by %v", d.Ref, d.Start, want)
				}
				if d.Start != stageNames[slices.Index(stageNames, p.Stage)+1] || d.Hold != nil {
					t.Fatalf("%s after %q starts %s", d.Ref, p.Stage, d.Start)
				}
			case d.Hold == nil || len(d.Hold.Reasons) == 0:
				t.Fatalf("%s neither moves nor says why", d.Ref)
			case len(want) == 0:
				if len(got) != 1 || got[0] != CodeLimit && got[0] != CodePerLaunch {
					t.Fatalf("%s is held by %v, and no rule holds it", d.Ref, got)
				}
			default:
				if diff := cmp.Diff(want, got); diff != "" {
					t.Fatalf("%s (-rules +decision):\n%s", d.Ref, diff)
				}
			}
			if d.Hold != nil {
				for _, r := range d.Hold.Reasons {
					if r.Message == "" || r.Release == "" || !r.Until.IsZero() && !r.Until.After(now) {
						t.Fatalf("%s: a reason without an explanation, or one that is over: %+v", d.Ref, r)
					}
				}
			}
		}
	})
}

// Limits hold, with the live actions and the starts of the call counted together, unless a person overrode them.
func TestLimitsAreNeverExceeded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, now := anySnapshot(t)
		s.Overrides = slices.DeleteFunc(s.Overrides, func(o Override) bool { return o.Rule == CodeLimit || o.Rule == CodePerLaunch })
		live, starts, launched := map[string]int{}, map[string]int{}, map[string]int{}
		for _, p := range s.Clusters {
			if p.Action != nil {
				live[p.Ref.Env+p.Action.Stage]++
			}
		}
		decisions := Decide(s, now)
		for _, d := range decisions {
			if d.Start != "" {
				starts[d.Ref.Env+d.Start]++
				launched[d.Ref.Env]++
				if n := live[d.Ref.Env+d.Start] + starts[d.Ref.Env+d.Start]; n > s.Campaign.Limits.PerStage {
					t.Fatalf("%d of at most %d in %s of %s", n, s.Campaign.Limits.PerStage, d.Start, d.Ref.Env)
				}
				if most := s.Campaign.Limits.PerLaunch; most > 0 && launched[d.Ref.Env] > most {
					t.Fatalf("%d starts of at most %d in %s", launched[d.Ref.Env], most, d.Ref.Env)
				}
			}
		}
		// And they are used: nobody is held by a limit that has room.
		for _, d := range decisions {
			for _, code := range codesOf(d) {
				if code == CodeLimit && live[d.Ref.Env+d.Hold.Next]+starts[d.Ref.Env+d.Hold.Next] < s.Campaign.Limits.PerStage {
					t.Fatalf("%s is held by a limit that has room", d.Ref)
				}
				if code == CodePerLaunch && launched[d.Ref.Env] < s.Campaign.Limits.PerLaunch {
					t.Fatalf("%s is held by a launch limit that has room", d.Ref)
				}
			}
		}
	})
}

// The earliest time is the truth: nothing holds the cluster then but a limit, and something holds it at every moment before. So it is with
// the end of every single reason.
func TestEarliestIsHonest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, now := anySnapshot(t)
		for _, d := range Decide(s, now) {
			if d.Hold == nil {
				continue
			}
			for _, r := range d.Hold.Reasons {
				if r.Until.IsZero() {
					continue
				}
				for _, then := range reasonsAt(s, d.Ref, r.Until) {
					if then.Code == r.Code && then.Message == r.Message {
						t.Fatalf("%s: %q should be over at %s, and is not", d.Ref, r.Message, r.Until)
					}
				}
				just := reasonsAt(s, d.Ref, r.Until.Add(-time.Nanosecond))
				if !slices.ContainsFunc(just, func(then Reason) bool { return then.Code == r.Code }) {
					t.Fatalf("%s: %q should hold until %s, and ended before", d.Ref, r.Message, r.Until)
				}
			}
			earliest := d.Hold.Earliest
			if earliest.IsZero() {
				if !slices.ContainsFunc(d.Hold.Reasons, func(r Reason) bool { return r.Until.IsZero() }) && !laterForever(s, d.Ref, now) {
					t.Fatalf("%s: every reason has an end, and the hold has none: %+v", d.Ref, d.Hold)
				}
				continue
			}
			if left := oracle(s, progressOf(s, d.Ref), earliest); len(left) > 0 {
				t.Fatalf("%s should be free at %s, and is held by %v", d.Ref, earliest, left)
			}
			for i := range 40 {
				at := now.Add(time.Duration(float64(earliest.Sub(now)) * float64(i) / 40))
				if i == 39 {
					at = earliest.Add(-time.Nanosecond)
				}
				if len(oracle(s, progressOf(s, d.Ref), at)) == 0 {
					t.Fatalf("%s is free at %s, before %s", d.Ref, at, earliest)
				}
			}
		}
	})
}

// laterForever reports whether something without an end holds the cluster later on: an override that expires, for one.
func laterForever(s Snapshot, ref fleet.ClusterRef, now time.Time) bool {
	for i := range 5000 {
		for _, r := range reasonsAt(s, ref, now.Add(time.Duration(i)*time.Minute)) {
			if r.Until.IsZero() {
				return true
			}
		}
	}
	return false
}

func reasonsAt(s Snapshot, ref fleet.ClusterRef, at time.Time) []Reason {
	for _, d := range Decide(s, at) {
		if d.Ref == ref && d.Hold != nil {
			return d.Hold.Reasons
		}
	}
	return nil
}

// The same snapshot gives the same decisions, in whatever order its clusters, pauses and freezes come.
func TestDecideIsDeterministic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, now := anySnapshot(t)
		first := Decide(s, now)
		other := s
		other.Clusters = rapid.Permutation(s.Clusters).Draw(t, "clusters in another order")
		other.Overrides = rapid.Permutation(s.Overrides).Draw(t, "overrides in another order")
		other.Freezes = rapid.Permutation(s.Freezes).Draw(t, "freezes in another order")
		if diff := cmp.Diff(first, Decide(other, now)); diff != "" {
			t.Fatal(diff)
		}
	})
}

// More room never stops anybody, and one more pause never lets the paused cluster start nor stops another one.
func TestDecideIsMonotonic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, now := anySnapshot(t)
		s.Campaign.Limits.PerLaunch = 0
		before := starts(Decide(s, now))
		wider := s
		wider.Campaign.Limits.PerStage++
		for name := range before {
			if !starts(Decide(wider, now))[name] {
				t.Fatalf("%s does not start any more with a limit of %d", name, wider.Campaign.Limits.PerStage)
			}
		}
		ref := rapid.SampledFrom(s.Clusters).Draw(t, "cluster to pause").Ref
		paused := s
		paused.Pauses = append(slices.Clone(s.Pauses), Pause{Env: ref.Env, Cluster: ref.Name})
		after := starts(Decide(paused, now))
		if after[ref.String()] {
			t.Fatalf("%s starts although it is paused", ref)
		}
		for name := range before {
			if name != ref.String() && !after[name] {
				t.Fatalf("%s does not start any more because %s is paused", name, ref)
			}
		}
	})
}

func starts(decisions []Decision) map[string]bool {
	m := map[string]bool{}
	for _, d := range decisions {
		if d.Start != "" {
			m[d.Ref.String()] = true
		}
	}
	return m
}

// Launch after launch, with stages that take their time and now and then fail and are resumed: no limit is ever passed, no stage is
// skipped, prod never runs ahead of qa, and every cluster arrives.
func TestCampaignsArrive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := Defaults()
		c.Environments = []string{"qa", "prod"}
		c.Limits = Limits{PerStage: rapid.IntRange(1, 3).Draw(t, "limit"), PerLaunch: rapid.IntRange(0, 2).Draw(t, "per launch")}
		c.Schedule.TimeZone = rapid.SampledFrom([]string{"UTC", "America/New_York"}).Draw(t, "zone")
		s := Snapshot{Campaign: c, Status: StatusRunning}
		for i := range rapid.IntRange(2, 8).Draw(t, "clusters") {
			s.Clusters = append(s.Clusters, Progress{Ref: fleet.ClusterRef{Env: c.Environments[i%2], Name: fmt.Sprint("c", i)}})
		}
		now := anyTime(t)
		for range 400 {
			now = NextLaunch(c, now)
			arrived := 0
			live := map[string]int{}
			for i := range s.Clusters {
				p := &s.Clusters[i]
				if p.Action != nil && rapid.IntRange(0, 3).Draw(t, "still running") > 0 {
					if rapid.IntRange(0, 9).Draw(t, "fails") == 0 {
						p.Failure = &Failure{Stage: p.Action.Stage, Message: "x", At: now}
					} else {
						p.Stage, p.Since = p.Action.Stage, now.Add(-time.Minute)
						p.Done = append(p.Done, StageEnd{p.Stage, p.Since})
						p.WayBack = &fleet.WayBack{Open: true}
					}
					p.Action = nil
				} else if p.Failure != nil && rapid.Bool().Draw(t, "resumed") {
					p.Failure = nil
				}
			}
			for _, d := range Decide(s, now) {
				p := s.cluster(d.Ref.String())
				if d.Arrived {
					arrived++
				}
				if d.Start == "" {
					if p.Action != nil {
						live[d.Ref.Env+p.Action.Stage]++
					}
					continue
				}
				if slices.Index(stageNames, d.Start) != slices.Index(stageNames, p.Stage)+1 {
					t.Fatalf("%s after %q starts %s", d.Ref, p.Stage, d.Start)
				}
				p.Action = &ActionState{Stage: d.Start, StartedAt: now}
				live[d.Ref.Env+d.Start]++
			}
			for key, n := range live {
				if n > c.Limits.PerStage {
					t.Fatalf("%d of at most %d in %s", n, c.Limits.PerStage, key)
				}
			}
			qa, prod := len(stageNames), 0
			for _, p := range s.Clusters {
				at := slices.Index(stageNames, p.Stage) + 1
				if p.Ref.Env == "qa" {
					qa = min(qa, at)
				} else {
					prod = max(prod, at)
				}
			}
			if prod > qa {
				t.Fatalf("prod is %d stages far, and qa only %d", prod, qa)
			}
			if arrived == len(s.Clusters) {
				return
			}
		}
		t.Fatalf("after 400 launches not every cluster has arrived: %v", tell(Decide(s, now), now))
	})
}
