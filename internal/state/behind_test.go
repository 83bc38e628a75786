package state

import (
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/fleet"
)

// A supervisor whose clock is an hour behind takes over from one that was on time: its looks count, so that nobody waits for its clock
// to come to where the other's was, and what they see of the way back is told (trap 19).
func TestASupervisorWhoseClockIsBehind_trap19(t *testing.T) {
	s, c, ref := seenWorld(t)
	decide := func() campaign.Decision {
		t.Helper()
		snap, err := s.Snapshot(ctx, "c")
		must(t, err)
		return campaign.Decide(snap, c.Now())[0]
	}
	must(t, s.Observe(ctx, ref, look(c.Now())))
	stored := progress(t, s)
	behind := func(role fleet.Role, version string) campaign.Progress {
		t.Helper()
		must(t, s.Observe(ctx, ref, fleet.Observation{At: c.Now().Add(-time.Hour), Nodes: []fleet.NodeObservation{node("blue", role, version)}, WayBack: &fleet.WayBack{Detail: "error 1677"}}))
		return progress(t, s)
	}
	c.add(15 * time.Second)
	if p := behind(fleet.RolePrimary, "10.11.18-MariaDB"); !p.Received.Equal(stored.Received) || p.WayBack != nil {
		t.Errorf("while another looks it may be late: %+v", p)
	}
	c.add(time.Minute)
	for range 3 { // from then on it is the one that looks
		if p := behind(fleet.RolePrimary, "10.11.18-MariaDB"); !p.Received.Equal(c.Now()) || !p.Observed.Equal(c.Now()) || p.WayBack == nil {
			t.Errorf("nobody else looks: %+v", p)
		}
		c.add(15 * time.Second)
	}
	// What it sees after a stage has ended counts at once.
	_, err := s.write.Exec(`UPDATE progress SET stage = 'create', since = $1`, micros(c.Now().Add(-time.Second)))
	must(t, err)
	behind(fleet.RolePrimary, "10.6.1-MariaDB")
	if d := decide(); d.Hold == nil || d.Hold.Reasons[0].Code != campaign.CodeVersion {
		t.Errorf("a wrong version: %+v", d)
	}
	c.add(time.Second)
	behind(fleet.RoleUnknown, "")
	if d := decide(); d.Hold == nil || d.Hold.Reasons[0].Code != campaign.CodeUnknown || !strings.Contains(d.Hold.Reasons[0].Message, c.Now().Format("15:04:05")) {
		t.Errorf("a look that failed: %+v", d)
	}
	// One on time is taken at once again.
	c.add(time.Second)
	must(t, s.Observe(ctx, ref, look(c.Now())))
	if p := progress(t, s); !p.Looked.Equal(c.Now()) || p.Unknown != "" {
		t.Errorf("on time again: %+v", p)
	}
	events, err := s.Events(ctx, EventFilter{})
	must(t, err)
	kinds := map[string]int{}
	for _, e := range events {
		kinds[e.Kind]++
		if e.Kind == "clock-behind" && (!e.Loud || e.Ref.Env != "qa" || !strings.HasPrefix(e.Message, "a supervisor of qa has a clock that is 1h0m0s behind the server's")) {
			t.Errorf("%+v", e)
		}
	}
	if kinds["clock-behind"] != 1 || kinds["clock-ahead"] != 0 || kinds["way-back-broken"] != 1 {
		t.Errorf("told: %v", kinds)
	}
}
