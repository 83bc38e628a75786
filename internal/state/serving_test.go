package state

import (
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/fleet"
)

// That no node of an engine serves is told when two looks in a row say so, once, and its end is told; not by a look that saw nothing.
func TestNoneServesIsLoudOnce(t *testing.T) {
	s, c, _ := world(t, 1)
	for i, x := range []struct {
		roles []fleet.Role
		told  string
	}{
		{[]fleet.Role{fleet.RoleServing, fleet.RoleOut}, ""},
		{[]fleet.Role{fleet.RoleOut, fleet.RoleOut}, ""},
		{[]fleet.Role{fleet.RoleUnknown, fleet.RoleServing}, ""},
		{[]fleet.Role{fleet.RoleOut, fleet.RoleOut}, ""},
		{[]fleet.Role{fleet.RoleUnknown, fleet.RoleUnknown}, ""},
		{[]fleet.Role{fleet.RoleOut, fleet.RoleUnknown}, "none-serves"},
		{[]fleet.Role{fleet.RoleOut, fleet.RoleOut}, "none-serves"},
		{[]fleet.Role{fleet.RoleOut, fleet.RoleServing}, "none-serves served-again"},
	} {
		c.add(time.Second)
		o := fleet.Observation{At: c.Now()}
		for _, r := range x.roles {
			o.Nodes = append(o.Nodes, node("blue", r, ""))
		}
		must(t, s.Observe(ctx, c00, o))
		kinds, e := told(t, s, c00)
		if kinds != x.told {
			t.Fatalf("look %d: told %q, want %q", i, kinds, x.told)
		}
		if kinds == "none-serves" && (!e.Loud || !strings.Contains(e.Message, "no node is seen serving since")) {
			t.Errorf("%+v", e)
		}
		all, err := s.WithoutPrimary(ctx)
		if must(t, err); all[c00.Env] != map[bool]int{true: 1}[x.told == "none-serves"] {
			t.Errorf("look %d: %v", i, all)
		}
	}
}
