package state

import (
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
)

var c00 = fleet.ClusterRef{Env: "qa", Name: "c00"}

// told lists the kinds of a cluster's events after a number, and the last one's message.
func told(t *testing.T, s *Store, ref fleet.ClusterRef) (kinds string, last Event) {
	t.Helper()
	all, err := s.Events(ctx, EventFilter{Ref: ref})
	must(t, err)
	var names []string
	for _, e := range all {
		if strings.Contains(e.Kind, "primary") || strings.Contains(e.Kind, "serve") {
			names = append(names, e.Kind)
			last = e
		}
	}
	return strings.Join(names, " "), last
}

// Leave to put a cluster right is given to one holder, not while an action has the cluster, and no action is leased under it. It
// ends by itself, and its term fences and is fenced as a lease's is.
func TestLeaveToMend_trap2(t *testing.T) {
	s, c, _ := world(t, 2)
	begin := func(holder string) *Mend {
		t.Helper()
		m, err := s.BeginMend(ctx, c00, holder)
		must(t, err)
		return m
	}
	first := begin("a")
	if first == nil || first.Term == 0 || first.TTL != ttl || first.Cluster.Name != "c00" {
		t.Fatalf("leave: %+v", first)
	}
	if begin("b") != nil || begin("a") != nil {
		t.Error("leave was given twice")
	}
	if other, err := s.BeginMend(ctx, fleet.ClusterRef{Env: "qa", Name: "c01"}, "b"); err != nil || other == nil {
		t.Errorf("leave for another cluster: %+v, %v", other, err)
	}
	if none, err := s.BeginMend(ctx, fleet.ClusterRef{Env: "prod", Name: "c00"}, "b"); err != nil || none != nil {
		t.Errorf("leave for a cluster that there is not: %+v, %v", none, err)
	}
	_, err := s.Launch(ctx, "c", "", "me", next(1))
	must(t, err)
	if a, err := s.Lease(ctx, "qa", "h", kinds()); err != nil || a != nil {
		t.Fatalf("an action was leased while somebody mends its cluster: %+v, %v", a, err)
	}
	c.add(ttl + time.Second)
	a := lease(t, s, "h")
	if a.Cluster.Ref() != c00 || a.Term <= first.Term {
		t.Fatalf("leased %s under term %d, leave was term %d", a.Cluster.Ref(), a.Term, first.Term)
	}
	if begin("b") != nil {
		t.Error("leave was given though an action has the cluster")
	}
	must(t, s.EndMend(ctx, c00, first.Term, Mended{Opened: true, Detail: "late"}))
	if kinds, _ := told(t, s, c00); kinds != "" {
		t.Errorf("under a term that is over it told %s", kinds)
	}
	must(t, s.Finish(ctx, a.ActionID, a.Term, engine.Completed, ""))
	second := begin("b")
	if second == nil || second.Term <= a.Term {
		t.Fatalf("leave after the action: %+v", second)
	}
	must(t, s.EndMend(ctx, c00, second.Term, Mended{Detail: "its neighbour is ahead"}))
	_, err = s.Launch(ctx, "c", "", "me", next(1))
	must(t, err)
	lease(t, s, "h") // at once
	kinds, e := told(t, s, c00)
	if kinds != "primary-not-opened" || !e.Loud || !strings.Contains(e.Message, "its neighbour is ahead") {
		t.Errorf("told %q: %+v", kinds, e)
	}
}

// A failure is told once for each reason, and again after a success.
func TestMendsAreTold(t *testing.T) {
	s, _, _ := world(t, 1)
	for _, r := range []Mended{{Detail: "x"}, {Detail: "x"}, {Detail: "y"}, {Opened: true, Detail: "blue/1"}, {Detail: "y"}} {
		m, err := s.BeginMend(ctx, c00, "a")
		must(t, err)
		must(t, s.EndMend(ctx, c00, m.Term, r))
	}
	if kinds, e := told(t, s, c00); kinds != "primary-not-opened primary-not-opened primary-opened primary-not-opened" || !e.Loud {
		t.Errorf("told %q", kinds)
	}
}

// That no node is writable is told when two looks in a row say so, once, and its end is told; not while an action that moves
// the primary is at work, and not by a look that saw nothing.
func TestNoPrimaryIsLoudOnce(t *testing.T) {
	s, c, _ := world(t, 1)
	see := func(roles ...fleet.Role) {
		t.Helper()
		c.add(time.Second)
		o := fleet.Observation{At: c.Now()}
		for _, r := range roles {
			o.Nodes = append(o.Nodes, node("blue", r, ""))
		}
		must(t, s.Observe(ctx, c00, o))
	}
	expect := func(want string) Event {
		t.Helper()
		kinds, e := told(t, s, c00)
		if kinds != want {
			t.Fatalf("told %q, want %q", kinds, want)
		}
		return e
	}
	see(fleet.RolePrimary, fleet.RoleReplica)
	see(fleet.RoleReplica, fleet.RoleReplica)
	see(fleet.RolePrimary, fleet.RoleReplica)
	see(fleet.RoleReplica, fleet.RoleReplica)
	see(fleet.RoleUnknown, fleet.RoleUnknown)
	expect("")
	see(fleet.RoleUnknown, fleet.RoleReplica)
	if e := expect("no-primary"); !e.Loud || !strings.Contains(e.Message, "connection refused") {
		t.Errorf("%+v", e)
	}
	see(fleet.RoleReplica, fleet.RoleReplica)
	see(fleet.RoleUnknown, fleet.RoleUnknown)
	expect("no-primary")
	see(fleet.RolePrimary, fleet.RoleReplica)
	expect("no-primary primary-seen")

	for _, stage := range []string{"create", "verify", "replay", "switch-storage"} {
		_, err := s.Launch(ctx, "c", "", "me", next(1))
		must(t, err)
		a := lease(t, s, "h")
		if a.Plan.Stage != stage {
			t.Fatal(a.Plan.Stage)
		}
		if stage == "switch-storage" {
			see(fleet.RoleReplica, fleet.RoleReplica)
			see(fleet.RoleReplica, fleet.RoleReplica)
			expect("no-primary primary-seen")
		}
		must(t, s.Finish(ctx, a.ActionID, a.Term, engine.Completed, ""))
	}
	see(fleet.RoleReplica)
	see(fleet.RoleReplica)
	expect("no-primary primary-seen no-primary")
}
