package fleet

import "testing"

func TestVersionOfAnObservation(t *testing.T) {
	node := func(role Role, version string) NodeObservation {
		return NodeObservation{Node: "n", Role: role, Version: version}
	}
	for _, x := range []struct {
		nodes []NodeObservation
		want  string
	}{
		{[]NodeObservation{node(RolePrimary, "11.8.6-MariaDB"), node(RoleReplica, "10.11.2")}, "11.8.6-MariaDB"},
		{[]NodeObservation{node(RoleServing, "1.0.3"), node(RoleServing, "1.0.3")}, "1.0.3"},
		{[]NodeObservation{node(RoleServing, "1.1.0-rc1"), node(RoleOut, ""), node(RoleServing, "1.0.3")}, "mixed: 1.0.3, 1.1.0"},
		{[]NodeObservation{node(RoleServing, "1.0.3"), node(RoleUnknown, "")}, ""},
		{[]NodeObservation{node(RoleOut, "1.0.3")}, ""},
		{nil, ""},
	} {
		if got, ok := (Observation{Nodes: x.nodes}).Version(); got != x.want || ok != (x.want != "") {
			t.Errorf("%+v: %q, %v", x.nodes, got, ok)
		}
	}
}
