package campaign

import (
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

// One cluster goes through the stage and back before the fleet starts it (B1).
func TestRehearsal(t *testing.T) {
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	camp := Defaults()
	camp.Name, camp.From, camp.To, camp.Environments, camp.Schedule.Always, camp.Rehearse = "up", "10.11", "11.8", []string{"qa"}, true, strategy.StageSwitchStorage
	camp.Soak = Soak{}
	snap := Snapshot{Campaign: camp, Status: StatusRunning}
	for _, name := range []string{"a", "b", "c"} {
		snap.Clusters = append(snap.Clusters, Progress{Ref: fleet.ClusterRef{Env: "qa", Name: name}, Stage: strategy.StageReplay, Since: now.Add(-time.Hour), WayBack: &fleet.WayBack{Open: true}})
	}
	say := func() string {
		var all []string
		for _, d := range Decide(snap, now) {
			s := d.Ref.Name + " " + d.Start
			if d.Hold != nil {
				s = d.Ref.Name + " held: " + d.Hold.Reasons[0].Code + ": " + d.Hold.Reasons[0].Message
			}
			all = append(all, s)
		}
		return strings.Join(all, "\n")
	}
	want := func(what, text string) {
		t.Helper()
		if got := say(); got != text {
			t.Errorf("%s:\n%s\nwant\n%s", what, got, text)
		}
	}
	want("at first", "a switch-storage\nb held: rehearsal: the way back of switch-storage has not been rehearsed: qa/a goes first\nc held: rehearsal: the way back of switch-storage has not been rehearsed: qa/a goes first")
	snap.Clusters[1].Stage = strategy.StageSwitchStorage // somebody let b pass
	want("b is past it", "a held: rehearsal: the way back of switch-storage has not been rehearsed: qa/b goes first\nb held: rehearsal: it is the one on which the way back of switch-storage is rehearsed\nc held: rehearsal: the way back of switch-storage has not been rehearsed: qa/b goes first")
	snap.Clusters[1].Stage, snap.Clusters[1].Rehearsed = strategy.StageReplay, []string{strategy.StageSwitchStorage}
	want("b is back", "a switch-storage\nb switch-storage\nc switch-storage")
}
