package rolling

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/windlass-db/windlass/internal/fleet"
)

// What a supervisor sees of an engine: a node serves, or it is out and why; what could not be asked is unknown, and never absent.
func TestObserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 6)
		w.nodes["n2"].admitted = false
		w.nodes["n3"].running = false
		w.nodes["n4"].weight = 25
		w.sick["n5"] = "1.0"
		began := time.Now()
		o, err := Looks{Ports: w.ports(), Now: time.Now}.Observe(t.Context(), w.spec)
		if err != nil || !o.At.Equal(began) || o.Unknown() != "" {
			t.Fatalf("%+v, %v", o, err)
		}
		for _, want := range []struct {
			node    string
			role    fleet.Role
			version string
			detail  string
		}{
			{"n1", fleet.RoleServing, "1.0.4", ""},
			{"n2", fleet.RoleOut, "1.0.4", "drained"},
			{"n3", fleet.RoleOut, "", "does not run"},
			{"n4", fleet.RoleServing, "1.0.4", "25 % of its weight"},
			{"n5", fleet.RoleOut, "1.0.4", "not healthy"},
		} {
			for _, n := range o.Nodes {
				if n.Node == want.node && (n.Role != want.role || n.Version != want.version || !strings.Contains(n.Detail, want.detail) || want.detail == "" && n.Detail != "") {
					t.Errorf("%+v, want %+v", n, want)
				}
			}
		}
		w.deaf = true
		o, _ = Looks{Ports: w.ports(), Now: time.Now}.Observe(t.Context(), w.spec)
		for _, n := range o.Nodes {
			if n.Role != fleet.RoleUnknown {
				t.Errorf("the load balancer is deaf, and %s is %s", n.Node, n.Role)
			}
		}
		if u := o.Unknown(); !strings.Contains(u, "load balancer: no answer") || !strings.Contains(u, "node n1") {
			t.Errorf("unknown: %q", u)
		}
	})
}
