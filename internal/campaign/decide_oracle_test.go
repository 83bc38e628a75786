package campaign

import (
	"fmt"
	"slices"
	"time"

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
	c.Rehearse = rapid.SampledFrom([]string{"", "", "", "verify", "switch-storage"}).Draw(t, "rehearse")
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
	if one("rehearsed", 6) {
		p.Rehearsed = []string{rapid.SampledFrom([]string{"verify", "switch-storage"}).Draw(t, "rehearsed stage")}
	}
	if one("unread", 8) {
		p.Unknown = "node a: no answer"
		p.Looked = now.Add(-time.Duration(rapid.IntRange(0, 3000).Draw(t, "looked")) * time.Minute)
	}
	return p
}

// firstToRehearse tells whether a cluster before the stage is the one that goes first: nobody is past it or in it, and of those before it
// none comes earlier.
func firstToRehearse(s Snapshot, p Progress, stage int) bool {
	before := func(a, b Progress) bool {
		ra, rb := slices.Index(s.Campaign.Environments, a.Ref.Env), slices.Index(s.Campaign.Environments, b.Ref.Env)
		return ra < rb || ra == rb && a.Ref.Name < b.Ref.Name
	}
	for _, q := range s.Clusters {
		at := slices.Index(stageNames, q.Stage)
		switch {
		case q.Ref == p.Ref:
		case at >= stage, at == stage-1 && q.Action != nil, at == stage-1 && before(q, p):
			return false
		}
	}
	return true
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
	if p.Unknown != "" && p.Looked.After(p.Since) {
		hold(CodeUnknown)
	}
	want := map[bool]string{true: "11.8.", false: "10.11"}[done >= 3]
	made := next == "switch-storage" && p.Version != "" && p.Version[:5] == "11.8." // and its undo could not go on
	if p.Version != "" && p.Observed.After(p.Since) && p.Version[:5] != want && !made {
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
	if r := slices.Index(stageNames, s.Campaign.Rehearse); r >= 0 && done+1 >= r {
		rehearsed := slices.ContainsFunc(s.Clusters, func(q Progress) bool { return slices.Contains(q.Rehearsed, s.Campaign.Rehearse) })
		if !rehearsed && (done >= r || !firstToRehearse(s, p, r)) {
			hold(CodeRehearsal)
		}
	}
	if LaunchKey(s.Campaign, now) == "" {
		hold(CodeWindow)
	}
	return codes
}
