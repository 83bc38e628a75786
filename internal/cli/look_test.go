package cli

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/state"
)

// A detail that is too long for the table is cut between letters, whatever script they are of.
func TestStatusCutsBetweenLetters(t *testing.T) {
	row := statusRow(campaign.Progress{Action: &campaign.ActionState{Stage: "create", Message: "a" + strings.Repeat("é→", 80)}}, campaign.Decision{}, time.Time{})
	if last := row[len(row)-1]; !utf8.ValidString(last) || utf8.RuneCountInString(last) != 100 {
		t.Errorf("%d letters, valid %t: %s", utf8.RuneCountInString(last), utf8.ValidString(last), last)
	}
}

// An action that was turned round goes back, though it was begun forward; a check that waits for its own step has not failed.
func TestWhyOfWhatMoves(t *testing.T) {
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	none := check.Failed("seed-complete", "n1 holds no copy", "the step copies the data", at)
	ref := fleet.ClusterRef{Env: "qa", Name: "a"}
	tell := func(turned bool, step engine.StepRecord) string {
		step.Checks = check.Results{none}
		s := api.ClusterStatus{Cluster: fleet.Cluster{Env: ref.Env, Name: ref.Name}, Progress: &campaign.Progress{Ref: ref, Action: &campaign.ActionState{ID: 7, Stage: "create", Direction: "forward", StartedAt: at}},
			Actions: []state.ActionInfo{{ID: 7, Turned: turned, Reason: map[bool]string{true: "aborted by mira"}[turned], Steps: []engine.StepRecord{step}}}}
		var b strings.Builder
		if err := printWhy(&b, s); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	for _, one := range []struct {
		turned bool
		step   engine.StepRecord
		want   []string
	}{
		{false, engine.StepRecord{Phase: engine.Intent}, []string{"in create (forward)", "seed-complete (not yet): n1 holds no copy", "it needs: the step"}},
		{false, engine.StepRecord{Phase: engine.Waiting}, []string{"seed-complete (not yet)"}},
		{false, engine.StepRecord{Phase: engine.Waiting, Unbegun: true}, []string{"seed-complete (fail)", "to do: the step"}},
		{true, engine.StepRecord{Phase: engine.Undoing}, []string{"in create (going back)", "It goes back because aborted by mira"}},
	} {
		got := tell(one.turned, one.step)
		for _, want := range one.want {
			if !strings.Contains(got, want) {
				t.Errorf("turned %t, %+v: no %q in\n%s", one.turned, one.step.Phase, want, got)
			}
		}
	}
}
