package state

import (
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
)

func node(cell string, role fleet.Role, version string) fleet.NodeObservation {
	n := fleet.NodeObservation{Cell: cell, Node: cell + "-1", Role: role, Version: version}
	if role == fleet.RoleUnknown {
		n.Error = "connection refused"
	}
	return n
}

// A look that failed is told as unknown and holds, the version stays as it was last seen with that time, and a later
// look that reads everything lets the cluster go on.
func TestAFailedLookIsUnknownAndHolds(t *testing.T) {
	s, c, _ := world(t, 1)
	ref := fleet.ClusterRef{Env: "qa", Name: "c00"}
	see := func(role fleet.Role, version string) campaign.Progress {
		t.Helper()
		c.add(time.Minute)
		must(t, s.Observe(ctx, ref, fleet.Observation{At: c.Now(), Nodes: []fleet.NodeObservation{node("blue", role, version)}}))
		return progress(t, s)
	}
	decide := func() campaign.Decision {
		t.Helper()
		snap, err := s.Snapshot(ctx, "c")
		must(t, err)
		snap.Campaign.Schedule.Always = true
		return campaign.Decide(snap, c.Now())[0]
	}
	seen := see(fleet.RolePrimary, "10.11.18-MariaDB")
	if seen.Version != "10.11.18-MariaDB" || !seen.Observed.Equal(c.Now()) || seen.Unknown != "" {
		t.Errorf("after a look: %+v", seen)
	}
	if d := decide(); d.Start != "create" {
		t.Errorf("after a look: %+v", d)
	}
	p := see(fleet.RoleUnknown, "")
	if p.Version != seen.Version || !p.Observed.Equal(seen.Observed) || !p.Looked.Equal(c.Now()) || !strings.Contains(p.Unknown, "blue-1: connection refused") {
		t.Errorf("after a look that failed: %+v", p)
	}
	if d := decide(); d.Hold == nil || d.Hold.Reasons[0].Code != campaign.CodeUnknown || !strings.Contains(d.Hold.Reasons[0].Message, "connection refused") {
		t.Errorf("after a look that failed: %+v", d)
	}
	// A look that began before is no news, though its word comes later.
	must(t, s.Observe(ctx, ref, fleet.Observation{At: c.Now().Add(-time.Second), Nodes: []fleet.NodeObservation{node("blue", fleet.RolePrimary, "10.11.18-MariaDB")}}))
	if d := decide(); d.Start != "" {
		t.Errorf("an older look counts: %+v", d)
	}
	see(fleet.RolePrimary, "10.11.18-MariaDB")
	if d := decide(); d.Start != "create" {
		t.Errorf("after a good look: %+v", d)
	}
}

// What the last look said of a cell that is torn down since is no unknown, and neither is a look that began before and
// comes in later.
func TestACellThatIsGoneIsNotUnknown(t *testing.T) {
	s, c, _ := world(t, 1)
	ref := fleet.ClusterRef{Env: "qa", Name: "c00"}
	_, err := s.Launch(ctx, "c", "", "me", next(1))
	must(t, err)
	a := lease(t, s, "h")
	record := func(i int, o engine.Outputs) {
		t.Helper()
		must(t, wrote(s.Record(ctx, a.ActionID, a.Term, engine.StepRecord{Index: i, Kind: a.Plan.Steps[i].Kind, Phase: engine.Done, Outputs: &o})))
	}
	record(0, engine.Outputs{Cells: []fleet.Cell{{Name: "green", Version: "11.8"}}})
	look := fleet.Observation{At: c.Now(), Nodes: []fleet.NodeObservation{node("blue", fleet.RoleUnknown, ""), node("green", fleet.RolePrimary, "11.8.6-MariaDB")},
		Gateways: []fleet.GatewayObservation{{Cell: "blue", Gateway: "blue-gateway", Error: "connection refused"}}}
	must(t, s.Observe(ctx, ref, look))
	if p := progress(t, s); !strings.Contains(p.Unknown, "blue-1") || !strings.Contains(p.Unknown, "blue-gateway") || p.Version != "" {
		t.Errorf("before the cell is gone: %+v", p)
	}
	record(1, engine.Outputs{RemoveCell: "blue"})
	if p := progress(t, s); p.Unknown != "" || p.Version != "11.8.6-MariaDB" {
		t.Errorf("after the cell is gone: %+v", p)
	}
	look.At = c.Now().Add(time.Second)
	must(t, s.Observe(ctx, ref, look))
	o, err := s.LastObservation(ctx, ref)
	must(t, err)
	if p := progress(t, s); p.Unknown != "" || p.Version != "11.8.6-MariaDB" || len(o.Nodes) != 1 || len(o.Gateways) != 0 {
		t.Errorf("after a look that began before: %+v, %+v", p, o)
	}
}

// Two writable nodes are unknown too: which of them is the primary is not guessed.
func TestTwoWritableNodesHold(t *testing.T) {
	s, c, _ := world(t, 1)
	two := []fleet.NodeObservation{node("blue", fleet.RolePrimary, "10.11.18-MariaDB"), {Cell: "blue", Node: "blue-2", Role: fleet.RolePrimary, Version: "10.11.18-MariaDB"}}
	must(t, s.Observe(ctx, fleet.ClusterRef{Env: "qa", Name: "c00"}, fleet.Observation{At: c.Now(), Nodes: two}))
	if p := progress(t, s); !strings.Contains(p.Unknown, "blue-1 and blue-2 are writable") {
		t.Errorf("%+v", p)
	}
}
