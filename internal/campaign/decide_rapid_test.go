package campaign

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/windlass-db/windlass/internal/fleet"
)

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
