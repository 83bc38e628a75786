package switchover

import (
	"strings"
	"testing"

	"github.com/windlass-db/windlass/internal/fleet"
)

// TestLack: what is missing for a side to have the primary, for a whole cell and for some nodes of one.
func TestLack(t *testing.T) {
	p := fleet.NodeObservation{Cell: "blue", Node: "b1", Address: "b1:1", Role: fleet.RolePrimary}
	r := fleet.NodeObservation{Cell: "blue", Node: "b2", Address: "b2:1", Role: fleet.RoleReplica, Source: "b1:1"}
	g := fleet.NodeObservation{Cell: "green", Node: "g1", Address: "g1:1", Role: fleet.RoleReplica, Source: "b1:1"}
	with := func(n fleet.NodeObservation, change func(*fleet.NodeObservation)) fleet.NodeObservation {
		change(&n)
		return n
	}
	for _, c := range []struct {
		name string
		side Side
		seen []fleet.NodeObservation
		want string // "": nothing
	}{
		{"whole", In("blue"), []fleet.NodeObservation{p, r, g}, ""},
		{"of those nodes", Among("blue", "10.11", "b1"), []fleet.NodeObservation{p, r}, ""},
		{"the other cell", In("green"), []fleet.NodeObservation{p, r, g}, "the primary is b1, in cell blue"},
		{"another node of the cell", Among("blue", "11.8", "b2"), []fleet.NodeObservation{p, r}, "the primary is b1"},
		{"a node of that name in another cell", Among("green", "11.8", "b1"), []fleet.NodeObservation{p, r, g}, "in cell blue"},
		{"nobody can be asked", In("blue"), []fleet.NodeObservation{p, with(r, func(n *fleet.NodeObservation) { n.Role = fleet.RoleUnknown })}, "there is not one primary"},
		{"two", In("blue"), []fleet.NodeObservation{p, with(g, func(n *fleet.NodeObservation) { n.Role = fleet.RolePrimary })}, "there is not one primary"},
		{"not complete", In("blue"), []fleet.NodeObservation{with(p, func(n *fleet.NodeObservation) { n.Source = "g1:1" }), r, g}, "still has g1:1"},
		{"one that has stopped", In("blue"), []fleet.NodeObservation{p, with(r, func(n *fleet.NodeObservation) { n.Error = "stopped" }), g}, "b2 does not replicate: stopped"},
		{"one without a source", In("blue"), []fleet.NodeObservation{p, r, with(g, func(n *fleet.NodeObservation) { n.Role = fleet.RoleDetached })}, "g1 is detached"},
		{"from another", In("blue"), []fleet.NodeObservation{p, r, with(g, func(n *fleet.NodeObservation) { n.Source = "b2:1" })}, "g1 replicates from b2:1"},
		{"a source that is spelled otherwise", In("blue"), []fleet.NodeObservation{p, r, with(g, func(n *fleet.NodeObservation) { n.Source = "db.example:1" })}, ""},
	} {
		got := lack(fleet.Observation{Nodes: c.seen}, c.side)
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
