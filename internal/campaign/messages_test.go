package campaign

import (
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/fleet"
)

// Every reason says what holds with names and numbers, and what would release it.
func TestMessages(t *testing.T) {
	s := world(plain(), "qa/a", "qa/b", "qa/c", "qa/d", "qa/e switch-storage", "prod/a", "prod/b switch-gateway")
	s.Campaign.Schedule = Defaults().Schedule
	s.Campaign.Schedule.Start, s.Campaign.Schedule.TimeZone = "11:00", "Europe/Berlin"
	s.Campaign.Limits.PerStage = 1
	s.Campaign.Budget.Environment = 0
	s.Campaign.Soak = Soak{Stages: map[string]time.Duration{"switch-storage": 36 * time.Hour}, Environments: time.Hour}
	s.cluster("qa/d").Failure = &Failure{Stage: "create", Message: "no space left on qa-d-green-1"}
	s.cluster("qa/a").Action = &ActionState{ID: 12, Stage: "create", Step: "seed-nodes", Message: "41 GB of 120 GB"}
	s.cluster("prod/b").WayBack = &fleet.WayBack{Detail: "error 1677 on orders.price"}
	s.Freezes = []Freeze{{From: wednesday, To: wednesday.Add(time.Hour), Reason: "sale", Who: "mira", Environments: []string{"prod"}}}
	s.Pauses = []Pause{{Env: "qa", Stage: "switch-gateway", Who: "jo", Why: "new gateway release"}}
	got := map[string]string{}
	for _, d := range Decide(s, wednesday.Add(-time.Hour/2)) {
		for _, r := range d.Hold.Reasons {
			got[d.Ref.String()+" "+r.Code] = r.Message + " | " + r.Release
		}
	}
	for _, d := range Decide(s, wednesday.Add(time.Minute)) {
		for _, r := range d.Hold.Reasons {
			got[d.Ref.String()+" "+r.Code] = r.Message + " | " + r.Release
		}
	}
	s.cluster("qa/a").Action.Direction = "back"
	got["qa/a back"] = Decide(s, wednesday)[0].Hold.Reasons[0].Message
	want := map[string]string{
		"qa/a back":                "the way back of create is running, at step seed-nodes: 41 GB of 120 GB",
		"qa/a running":             "create is running, at step seed-nodes: 41 GB of 120 GB | action 12 ends",
		"qa/b budget":              "1 cluster failed in environment qa, and 0 may: d | failed clusters are resumed by a person, or the budget is raised",
		"qa/b window":              "stages start on workdays from 11:00 to 17:00 (Europe/Berlin) | the next window opens at 2026-11-25 11:00 CET",
		"qa/d failed":              "create failed: no space left on qa-d-green-1 | a person resumes it: windlass resume qa/d",
		"qa/e paused":              "stage switch-gateway of environment qa is paused by jo: new gateway release | a person resumes stage switch-gateway of environment qa",
		"qa/e soak":                "it completed switch-storage at 2026-11-25 09:00:00 UTC, and is watched for 1d12h | the time is over",
		"prod/a environment-order": "qa goes first: 4 of its 5 clusters have not completed create: a, b, c and 1 more | every cluster of qa completes create",
		"prod/b way-back-broken":   "replication to the old version is broken: error 1677 on orders.price | it is repaired, or a person overrides way-back-broken with a reason",
		"prod/b freeze":            "frozen: sale, by mira (until 2026-11-25 11:00 UTC) | the freeze ends, or a person overrides it with a reason",
	}
	for key, text := range want {
		if got[key] != text {
			t.Errorf("%s:\n got  %s\n want %s", key, got[key], text)
		}
	}
}

func TestLimitMessages(t *testing.T) {
	s := world(plain(), "qa/a", "qa/b", "qa/c", "qa/d create", "qa/e create")
	s.Campaign.Limits = Limits{PerStage: 2, Stages: map[string]int{"verify": 0}}
	s.cluster("qa/a").Action = &ActionState{Stage: "create"}
	got := Decide(s, wednesday)
	if m, want := got[2].Hold.Reasons[0].Message, "2 of 2 places in create of qa are taken: a; 1 of them by starts of this launch"; m != want {
		t.Errorf("got %s, want %s", m, want)
	}
	if m, want := got[3].Hold.Reasons[0].Message, "the campaign's limit shuts verify in qa"; m != want {
		t.Errorf("got %s, want %s", m, want)
	}
}

// One cluster has, several have.
func TestOneClusterHasNot(t *testing.T) {
	c := plain()
	for behind, want := range map[string]string{"qa/a create": "1 of its 2 clusters has not completed", "qa/c": "1 of its 2 clusters has not completed"} {
		s := world(c, behind, "qa/b tear-down", "prod/a verify")
		for _, d := range Decide(s, wednesday) {
			if d.Ref.Env == "prod" && (d.Hold == nil || !strings.Contains(d.Hold.Reasons[0].Message, want)) {
				t.Errorf("no %q: %+v", want, d.Hold)
			}
		}
	}
}
