package bluegreen

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/engine/enginetest"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

// aReplay is a gateway that captures and a replay of it, of which each slice counts one part.
type aReplay struct {
	on       bool
	others   string // who began the capture, if it was not the campaign
	forgets  bool   // the gateway loses its capture after the first slice
	parts    int
	needs    int    // parts that are enough
	finding  string // a fingerprint that is answered otherwise; "" for none
	lost     error  // what was counted can't be read
	calls    []string
	stopped  bool
	observed int
}

func (r *aReplay) Capturing(context.Context, ReplayRequest) (Capture, error) {
	return Capture{On: r.on, Others: r.others}, nil
}

func (r *aReplay) StartCapture(context.Context, ReplayRequest) error {
	r.on, r.calls = true, append(r.calls, "start")
	return nil
}

func (r *aReplay) EndCapture(context.Context, ReplayRequest) error {
	r.on, r.calls = false, append(r.calls, "end")
	return nil
}

func (r *aReplay) Ready(context.Context, ReplayRequest) (check.Results, error) {
	return check.Results{check.Passed("replay-target", "green-2", time.Now())}, nil
}

func (r *aReplay) Replay(ctx context.Context, q ReplayRequest, _ time.Duration, status json.RawMessage, save Save) (Replayed, error) {
	if !r.on {
		return Replayed{}, errors.New("nothing is captured")
	}
	if err := save(ctx, "green-2 is stopped", 0.5, "a retest"); err != nil {
		return Replayed{}, err
	}
	r.parts++
	r.calls = append(r.calls, "replay")
	r.on = r.on && !r.forgets
	r.forgets = false
	return r.Judge(ctx, q, status)
}

func (r *aReplay) Judge(_ context.Context, q ReplayRequest, status json.RawMessage) (Replayed, error) {
	r.observed++
	if r.lost != nil {
		return Replayed{}, r.lost
	}
	ignored := slices.ContainsFunc(q.Rules.Ignore, func(i campaign.ReplayIgnore) bool { return i.Fingerprint == r.finding })
	out := Replayed{Verdict: VerdictPass, Enough: r.parts >= r.needs, Message: "all alike", Checks: check.Results{check.Passed(CheckReplayVerdict, "all alike", time.Now())}}
	switch {
	case r.finding != "" && !ignored:
		out.Verdict, out.Message, out.Findings = VerdictFail, "1 finding: "+r.finding, 1
		out.Checks = check.Results{check.Failed(CheckReplayVerdict, r.finding, "a rule", time.Now())}
	case !out.Enough:
		out.Verdict, out.Message = VerdictInsufficient, "too little"
		out.Checks = check.Results{check.Failed(CheckReplayVerdict, "too little", "wait", time.Now())}
	}
	return out, nil
}

func (r *aReplay) Released(context.Context, ReplayRequest, json.RawMessage) (bool, error) {
	return !r.stopped, nil
}

func (r *aReplay) Release(context.Context, ReplayRequest, json.RawMessage) error {
	r.stopped, r.calls = false, append(r.calls, "release")
	return nil
}

// replayStage runs the stage replay.
func replayStage(t *testing.T, p Ports, leases int, meanwhile func(lease int, a *engine.Assignment, m *enginetest.Memory)) (engine.Outcome, engine.Assignment) {
	t.Helper()
	return stageOf(t, p, strategy.StageReplay, fleet.Cluster{Env: "qa", Name: "orders", Product: "mariadb", Cells: []fleet.Cell{{Name: "blue"}, {Name: "green"}}}, leases, meanwhile)
}

// The stage ends only with a verdict that passes, whatever else is there; each way past it that a person has is told in the step's checks. trap 37
func TestNoStageReplayEndsWithoutAVerdict(t *testing.T) {
	rule := campaign.ReplayIgnore{Fingerprint: "5f0c7e2a91d3b846", Reason: "right", By: "mira"}
	for name, x := range map[string]struct {
		replay    aReplay
		meanwhile func(lease int, a *engine.Assignment, m *enginetest.Memory)
		outcome   engine.Outcome
		calls     string
		message   string // of the step that judges
	}{
		"it passes":                       {replay: aReplay{needs: 1}, outcome: engine.Completed, calls: "start replay end", message: "all alike"},
		"enough comes with time":          {replay: aReplay{needs: 3}, outcome: engine.Completed, calls: "start replay replay replay end", message: "all alike"},
		"a gateway that was restarted":    {replay: aReplay{needs: 2, forgets: true}, outcome: engine.Completed, calls: "start replay start replay end", message: "all alike"},
		"a finding holds":                 {replay: aReplay{needs: 1, finding: rule.Fingerprint}, calls: "start replay", message: "1 finding: 5f0c7e2a91d3b846"},
		"what was counted is lost":        {replay: aReplay{needs: 1}, calls: "start replay", message: "unknown, so it holds: judge the replay: it is gone", meanwhile: nil},
		"a rule releases it, no replay":   {replay: aReplay{needs: 1, finding: rule.Fingerprint}, outcome: engine.Completed, calls: "start replay end", message: "all alike", meanwhile: from(3, func(a *engine.Assignment) { a.Campaign.Replay.Ignore = []campaign.ReplayIgnore{rule} })},
		"another's rule does not":         {replay: aReplay{needs: 1, finding: rule.Fingerprint}, calls: "start replay", message: "1 finding: 5f0c7e2a91d3b846", meanwhile: from(3, func(a *engine.Assignment) { a.Campaign.Replay.Ignore = []campaign.ReplayIgnore{{Fingerprint: "0"}} })},
		"an override releases it":         {replay: aReplay{needs: 1, finding: rule.Fingerprint}, outcome: engine.Completed, calls: "start replay end", message: "overridden by mira: she knows", meanwhile: from(3, override(campaign.CodeReplay, time.Hour))},
		"an override of something else":   {replay: aReplay{needs: 1, finding: rule.Fingerprint}, calls: "start replay", message: "1 finding: 5f0c7e2a91d3b846", meanwhile: from(3, override(campaign.CodeSoak, time.Hour))},
		"an override that is over":        {replay: aReplay{needs: 1, finding: rule.Fingerprint}, calls: "start replay", message: "1 finding: 5f0c7e2a91d3b846", meanwhile: from(3, override(campaign.CodeReplay, -time.Hour))},
		"an override of too little":       {replay: aReplay{needs: 99, stopped: true}, outcome: engine.Completed, calls: "start replay replay release end", message: "overridden by mira: she knows", meanwhile: from(3, override(campaign.CodeReplay, time.Hour))},
		"an operator's capture is used":   {replay: aReplay{on: true, others: "mira", needs: 1}, outcome: engine.Completed, calls: "replay", message: "all alike"},
		"it is skipped":                   {outcome: engine.Completed, message: "no query is replayed before the storage switch; mira has decided so: no store", meanwhile: from(1, skip)},
		"it is skipped in the middle":     {replay: aReplay{needs: 9, stopped: true}, outcome: engine.Completed, calls: "start replay release end", message: "no query is replayed before the storage switch; mira has decided so: no store", meanwhile: from(2, skip)},
		"it is kept on":                   {replay: aReplay{needs: 1}, outcome: engine.Completed, calls: "start replay", message: "all alike", meanwhile: from(1, func(a *engine.Assignment) { a.Campaign.Replay.KeepCapture = true })},
		"an abort of what is held":        {replay: aReplay{needs: 1, finding: rule.Fingerprint}, outcome: engine.Aborted, calls: "start replay end", meanwhile: abortAt(4), message: "nothing to undo"},
		"an abort with something in hand": {replay: aReplay{needs: 9, stopped: true}, outcome: engine.Aborted, calls: "start replay release end", meanwhile: abortAt(2)},
	} {
		t.Run(name, func(t *testing.T) {
			r := x.replay
			if name == "what was counted is lost" {
				x.meanwhile = func(lease int, _ *engine.Assignment, _ *enginetest.Memory) {
					if lease == 1 {
						return
					}
					r.lost = errors.New("it is gone")
				}
				r.needs = 1
			}
			var ports Ports
			ports.Capturer, ports.Replayer = &r, &r
			if name == "it is skipped" {
				ports = Ports{}
			}
			if name == "what was counted is lost" {
				ports.Replayer = &losing{&r}
			}
			outcome, a := replayStage(t, ports, 8, x.meanwhile)
			if outcome != x.outcome {
				t.Errorf("it ended as %q, want %q: %+v", outcome, x.outcome, a.Steps)
			}
			if got := strings.Join(r.calls, " "); got != x.calls {
				t.Errorf("calls %q, want %q", got, x.calls)
			}
			if got := stepOf(a, strategy.JudgeReplay).Message; got != x.message {
				t.Errorf("the judgement says %q, want %q", got, x.message)
			}
			if outcome == "" && x.replay.finding != "" && !stepOf(a, strategy.JudgeReplay).Held {
				t.Error("it is not said that a person is needed")
			}
			if outcome == engine.Completed {
				checks := stepOf(a, strategy.JudgeReplay).Checks
				passed := slices.ContainsFunc(checks, func(c check.Result) bool {
					return c.Name == CheckReplayVerdict && (c.Verdict == check.Pass || c.Verdict == check.Warn && strings.Contains(c.Detail, "mira"))
				})
				if !passed {
					t.Errorf("it ended, and its checks say neither that the verdict passed nor who has decided: %v", checks)
				}
			}
		})
	}
}

// What was found in the first hours is told then, and not after two days.
func TestAFindingIsHeldBeforeItIsEnough(t *testing.T) {
	r := aReplay{needs: 99, finding: "5f0c7e2a91d3b846"}
	_, a := replayStage(t, Ports{Capturer: &r, Replayer: &r}, 2, nil)
	if rec := stepOf(a, strategy.ReplayQueries); !rec.Held || rec.Phase != engine.Waiting || !strings.Contains(rec.Message, "unless a person judges 1 findings; the replay goes on") {
		t.Errorf("%+v", rec)
	}
}

// losing can judge only right after a replay.
type losing struct{ *aReplay }

func (l *losing) Replay(ctx context.Context, q ReplayRequest, d time.Duration, status json.RawMessage, save Save) (Replayed, error) {
	out, err := l.aReplay.Replay(ctx, q, d, status, save)
	l.lost = errors.New("it is gone")
	return out, err
}

func from(lease int, f func(a *engine.Assignment)) func(int, *engine.Assignment, *enginetest.Memory) {
	return func(n int, a *engine.Assignment, _ *enginetest.Memory) {
		if n >= lease {
			f(a)
		}
	}
}

func override(rule string, left time.Duration) func(a *engine.Assignment) {
	return func(a *engine.Assignment) {
		a.Overrides = []campaign.Override{{Rule: rule, Who: "mira", Why: "she knows", Expires: time.Now().Add(left)}}
	}
}

func skip(a *engine.Assignment) {
	a.Campaign.Replay = campaign.Replay{Skip: &campaign.ReplaySkip{Reason: "no store", By: "mira"}}
}

func abortAt(lease int) func(int, *engine.Assignment, *enginetest.Memory) {
	return func(n int, a *engine.Assignment, m *enginetest.Memory) {
		if n == lease {
			m.Abort(7)
			a.Abort = true
		}
	}
}

// A supervisor whose file says nothing of replays does not let a campaign pass for want of one.
func TestNoReplayerHolds(t *testing.T) {
	outcome, a := replayStage(t, Ports{}, 3, nil)
	if m := stepOf(a, strategy.CheckReplay).Message; outcome != "" || !strings.Contains(m, CheckReplayPort) || !strings.Contains(m, "supervisor's file") {
		t.Errorf("%q: %s", outcome, m)
	}
}

// A campaign that was stored by a release without replays has no rules that everything passes by.
func TestStoredRulesAreFilled(t *testing.T) {
	c := &engine.Call{}
	if got := (handlers{}).request(c).Rules; got.MinTime != 48*time.Hour || got.MinCoverage != 90 {
		t.Errorf("%+v", got)
	}
}

func TestLastReplayed(t *testing.T) {
	r := aReplay{needs: 1}
	_, a := replayStage(t, Ports{Capturer: &r, Replayer: &r}, 5, nil)
	if got, err := LastReplayed(a.Steps); err != nil || got == nil || got.Verdict != VerdictPass {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := LastReplayed([]engine.StepRecord{{Kind: strategy.JudgeReplay, Status: json.RawMessage("{")}}); err == nil {
		t.Errorf("what can't be read is %+v", got)
	}
}
