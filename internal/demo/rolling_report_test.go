package demo

import (
	"strings"
	"testing"

	"github.com/windlass-db/windlass/internal/state"
)

// A report that shows anything wrong makes the demo fail.
func TestProblemsOfARollingUpgrade(t *testing.T) {
	good := func() RollingReport {
		return RollingReport{From: "1.0", To: "1.1", Requests: 100, JobsStarted: 9, JobsDone: 9, JobsAcross: 2, MinServingShare: 4.0 / 6, Looks: 50, FeaturesAfterLast: true,
			Nodes: []NodeOutcome{{"n1", "a", "1.1", true}, {"n2", "b", "1.1.4", true}}}
	}
	if bad := good().Problems(); len(bad) > 0 {
		t.Errorf("nothing is wrong: %q", bad)
	}
	for want, spoil := range map[string]func(*RollingReport){
		"1 of 100 requests failed":    func(r *RollingReport) { r.Failed, r.FirstFailures = 1, []string{"503"} },
		"1 requests met a node":       func(r *RollingReport) { r.Retried = 1 },
		"there was no load":           func(r *RollingReport) { r.Requests = 0 },
		"9 jobs were acknowledged, 8": func(r *RollingReport) { r.JobsDone, r.JobsLost = 8, 1 },
		"1 jobs had a step done":      func(r *RollingReport) { r.JobsDoubled = 1 },
		"no job was begun on 1.0":     func(r *RollingReport) { r.JobsAcross = 0 },
		"only 50 % of the nodes":      func(r *RollingReport) { r.MinServingShare = 0.5 },
		"nobody looked":               func(r *RollingReport) { r.Looks = 0 },
		"open on n1 while n2 was old": func(r *RollingReport) { r.Early, r.FeaturesAfterLast = "open on n1 while n2 was old", false },
		"a client was given":          func(r *RollingReport) { r.Early, r.FeaturesAfterLast = "a client was given it", false },
		"are not open on every node":  func(r *RollingReport) { r.FeaturesAfterLast = false },
		`n2 runs "1.0"`:               func(r *RollingReport) { r.Nodes[1].Version = "1.0" },
		`n1 runs "1.1", serves: fals`: func(r *RollingReport) { r.Nodes[0].Serves = false },
		"no node was seen":            func(r *RollingReport) { r.Nodes = nil },
	} {
		r := good()
		spoil(&r)
		if bad := r.Problems(); len(bad) != 1 || !strings.Contains(bad[0], want) {
			t.Errorf("want %q: %q", want, bad)
		}
	}
}

// What Windlass tells of an early use fails the demo, too.
func TestAnEarlyUseThatIsTold(t *testing.T) {
	events := []state.Event{{Kind: "stage-started", Message: "canary"}, {Kind: "features-early", Message: "priorities (3)"}}
	if is := earlyEvent(events); is != "priorities (3)" {
		t.Errorf("%q", is)
	}
	if is := earlyEvent(events[:1]); is != "" {
		t.Errorf("nothing was told: %q", is)
	}
}
