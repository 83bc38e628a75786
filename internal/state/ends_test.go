package state

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/fleet"
)

func refused(t *testing.T, what string, err error, words ...string) {
	t.Helper()
	var r *Refused
	if !errors.As(err, &r) {
		t.Errorf("%s: %v is no refusal", what, err)
		return
	}
	for _, w := range words {
		if !strings.Contains(r.What+" | "+r.Hint, w) {
			t.Errorf("%s: %q is not in %q, hint %q", what, w, r.What, r.Hint)
		}
	}
}

// Freezes, overrides and approvals end before their time when a person says so: those of exactly that scope, with who and why, once.
func TestWhatWasSetForATimeIsEnded(t *testing.T) {
	s, c, _ := world(t, 2)
	in := func(d time.Duration) time.Time { return c.Now().Add(d) }
	freeze := func(envs ...string) {
		must(t, s.Freeze(ctx, "c", campaign.Freeze{From: c.Now(), To: in(time.Hour), Reason: "audit", Environments: envs, Who: "mira"}))
	}
	snap := func() campaign.Snapshot {
		snap, err := s.Snapshot(ctx, "c")
		must(t, err)
		return snap
	}
	refused(t, "no freeze", s.Thaw(ctx, "c", nil, "noor", "x"), "campaign c has no freeze of everything", "windlass status")
	freeze()
	freeze("qa")
	freeze("qa")
	refused(t, "a slip", s.Thaw(ctx, "c", []string{"aq"}, "noor", "x"), `no environment "aq"`, "qa")
	last, err := s.LastEvent(ctx)
	must(t, err)
	must(t, s.Thaw(ctx, "c", []string{"qa"}, "noor", "the audit is done"))
	if left := snap().Freezes; len(left) != 1 || len(left[0].Environments) != 0 {
		t.Errorf("left: %+v", left)
	}
	refused(t, "again", s.Thaw(ctx, "c", []string{"qa"}, "noor", "x"), "no freeze of environment qa", "there is one of everything")
	must(t, s.Thaw(ctx, "c", nil, "noor", "all of it"))
	freeze()
	c.add(2 * time.Hour)
	refused(t, "over by itself", s.Thaw(ctx, "c", nil, "noor", "x"), "no freeze")

	override := func(o campaign.Override) {
		o.Who, o.Why, o.Expires = "mira", "because", in(time.Hour)
		must(t, s.Override(ctx, "c", o))
	}
	override(campaign.Override{Rule: "soak", Env: "qa"})
	override(campaign.Override{Rule: "soak", Env: "qa", Cluster: "c00"})
	override(campaign.Override{Rule: campaign.CodeApproval, Env: "qa", Stage: "tear-down"})
	end := func(o campaign.Override) error {
		o.Who, o.Why = "noor", "too early"
		return s.EndOverride(ctx, "c", o)
	}
	refused(t, "another scope", end(campaign.Override{Rule: "soak"}), "no override of the rule soak for everything", "environment qa, and one for cluster qa/c00")
	refused(t, "another rule", end(campaign.Override{Rule: "limit", Env: "qa"}), "no override of the rule limit")
	must(t, end(campaign.Override{Rule: "soak", Env: "qa", Cluster: "c00"}))
	if left := snap().Overrides; len(left) != 2 || left[0].Cluster != "" {
		t.Errorf("left: %+v", left)
	}
	refused(t, "another stage", end(campaign.Override{Rule: campaign.CodeApproval, Env: "qa", Stage: "create"}), "no approval for environment qa, stage create", "environment qa, stage tear-down")
	must(t, end(campaign.Override{Rule: campaign.CodeApproval, Env: "qa", Stage: "tear-down"}))
	c.add(2 * time.Hour)
	refused(t, "expired", end(campaign.Override{Rule: "soak", Env: "qa"}), "no override")

	var ends []string
	for _, k := range kindsAfter(t, s, last) {
		if strings.Contains(k, "noor") {
			ends = append(ends, k)
		}
	}
	if got := strings.Join(ends, "\n"); got != `thawed noor environment qa: the audit is done
thawed noor everything: all of it
override-ended noor override of the rule soak for cluster qa/c00: too early
approval-revoked noor approval for environment qa, stage tear-down: too early` {
		t.Errorf("events:\n%s", got)
	}
}

// What a person set for one environment or cluster is in its timeline, as what ends it is.
func TestWhatIsSetIsInTheTimelineOfItsScope(t *testing.T) {
	s, c, _ := world(t, 2)
	ref := fleet.ClusterRef{Env: "qa", Name: "c00"}
	must(t, s.Pause(ctx, "c", campaign.Pause{Env: ref.Env, Cluster: ref.Name, Stage: "verify", Who: "mira", Why: "its disk"}))
	must(t, s.Override(ctx, "c", campaign.Override{Rule: "soak", Env: ref.Env, Cluster: ref.Name, Who: "mira", Why: "it is only qa", Expires: c.Now().Add(time.Hour)}))
	must(t, s.Freeze(ctx, "c", campaign.Freeze{From: c.Now(), To: c.Now().Add(time.Hour), Environments: []string{"qa"}, Reason: "audit", Who: "mira"}))
	must(t, s.Pause(ctx, "c", campaign.Pause{Who: "mira", Why: "everything"}))
	told := func(of fleet.ClusterRef) string {
		all, err := s.Events(ctx, EventFilter{Ref: of})
		must(t, err)
		var kinds []string
		for _, e := range all {
			if e.Who == "mira" {
				kinds = append(kinds, e.Kind+" "+e.Message)
			}
		}
		return strings.Join(kinds, "\n")
	}
	if got := told(ref); !strings.HasPrefix(got, "paused cluster qa/c00, stage verify: its disk\noverridden rule soak for cluster qa/c00") || strings.Count(got, "\n") != 1 {
		t.Errorf("of the cluster:\n%s", got)
	}
	if got := told(fleet.ClusterRef{Env: "qa"}); !strings.Contains(got, "frozen environment qa from ") || strings.Contains(got, "everything") {
		t.Errorf("of the environment:\n%s", got)
	}
}
