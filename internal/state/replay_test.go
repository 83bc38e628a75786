package state

import (
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

// A verdict that does not pass holds: the cluster's hold says so, the next lease brings the campaign's rules of then and the overrides that are for it, and a
// campaign without a replay is told aloud.
func TestAReplayThatIsHeld(t *testing.T) {
	s, clock, _ := world(t, 1)
	ref := fleet.ClusterRef{Env: "qa", Name: "c00"}
	forwardTo(t, s, strategy.StageVerify)
	_, err := s.Launch(ctx, "c", "", "me", next(1))
	must(t, err)
	a := lease(t, s, "h")
	if a.Plan.Stage != strategy.StageReplay {
		t.Fatalf("leased %s", a.Plan.Stage)
	}
	judge := -1
	for i, step := range a.Plan.Steps {
		if step.Kind == strategy.JudgeReplay {
			judge = i
		}
	}
	must(t, wrote(s.Record(ctx, a.ActionID, a.Term, engine.StepRecord{Index: judge, Kind: strategy.JudgeReplay, Phase: engine.Waiting, Held: true, Message: "the verdict is fail: 1 finding"})))
	snap, err := s.Snapshot(ctx, "c")
	must(t, err)
	var hold *campaign.Hold
	for _, d := range campaign.Decide(snap, s.Now()) {
		if d.Ref == ref {
			hold = d.Hold
		}
	}
	if hold == nil || hold.Reasons[0].Code != campaign.CodeReplay || !strings.Contains(hold.Reasons[0].Message, "1 finding") || !strings.Contains(hold.Reasons[0].Release, "replay.ignore") {
		t.Fatalf("held by %+v", hold)
	}
	must(t, s.Release(ctx, a.ActionID, a.Term, 0))

	c := snap.Campaign
	c.Replay.Ignore = []campaign.ReplayIgnore{{Fingerprint: "5f0c7e2a91d3b846", Reason: "it is right", By: "mira"}}
	must(t, s.ApplyCampaign(ctx, c, []fleet.ClusterRef{ref}, "mira"))
	for _, o := range []campaign.Override{
		{Rule: campaign.CodeReplay, Env: "qa", Cluster: "c00", Who: "mira", Why: "known", Expires: s.Now().Add(time.Hour)},
		{Rule: campaign.CodeReplay, Stage: strategy.StageTearDown, Who: "mira", Why: "of another stage", Expires: s.Now().Add(time.Hour)},
	} {
		must(t, s.Override(ctx, "c", o))
	}
	clock.add(time.Second)
	b := lease(t, s, "h")
	if b.ActionID != a.ActionID || len(b.Campaign.Replay.Ignore) != 1 || len(b.Overrides) != 1 || b.Overrides[0].Why != "known" {
		t.Errorf("the next lease brought %+v, overrides %+v", b.Campaign.Replay, b.Overrides)
	}

	must(t, wrote(s.Record(ctx, b.ActionID, b.Term, engine.StepRecord{Index: judge, Kind: strategy.JudgeReplay, Phase: engine.Done, Message: "overridden"})))
	if p := progress(t, s); p.Action == nil || p.Action.Held {
		t.Errorf("it is still held: %+v", p.Action)
	}

	c.Replay = campaign.Replay{Skip: &campaign.ReplaySkip{Reason: "no store", By: "mira"}}
	must(t, s.ApplyCampaign(ctx, c, []fleet.ClusterRef{ref}, "mira"))
	all, err := s.Events(ctx, EventFilter{Campaign: "c"})
	must(t, err)
	last := all[len(all)-1]
	if !last.Loud || !strings.Contains(last.Message, "no query is replayed before the storage switch; mira has decided so: no store") {
		t.Errorf("told of a campaign without a replay: %+v", last)
	}
}
