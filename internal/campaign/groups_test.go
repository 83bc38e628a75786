package campaign

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/windlass-db/windlass/internal/fleet"
)

func TestGroupSize(t *testing.T) {
	for _, x := range []struct {
		size  GroupSize
		nodes int
		want  int
	}{{"33%", 6, 2}, {"33%", 4, 1}, {"25%", 6, 2}, {"20%", 6, 1}, {"34%", 6, 2}, {"1%", 6, 1}, {"100%", 6, 6}, {"2", 6, 2}, {"9", 6, 6}, {"50%", 1, 1}} {
		if n, err := x.size.Of(x.nodes); err != nil || n != x.want {
			t.Errorf("%s of %d: %d, %v; want %d", x.size, x.nodes, n, err, x.want)
		}
	}
	for _, bad := range []GroupSize{"", "0", "-1", "0%", "101%", "a third", "33.3%", "%"} {
		if n, err := bad.Of(6); err == nil {
			t.Errorf("%q is %d", bad, n)
		}
	}
}

func inZones(zones string) (all []fleet.Node) {
	for i, z := range strings.Split(zones, "") {
		all = append(all, fleet.Node{Name: fmt.Sprint(i + 1), Zone: z})
	}
	return all
}

func TestSpread(t *testing.T) {
	for zones, want := range map[string]string{"aaabbb": "142536", "abc": "123", "aaab": "1423", "aabbc": "13524"} {
		if got := strings.Join(names(Spread(inZones(zones))), ""); got != want {
			t.Errorf("%s: %s, want %s", zones, got, want)
		}
	}
}

// Whatever is ill, a group leaves the share serving, holds no more than its size, takes each node once, and is empty only if nothing
// may be taken.
func TestAGroupLeavesEnough(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "nodes")
		all := inZones(strings.Repeat("a", n))
		out := map[string]bool{}
		serving := 0
		for _, node := range all {
			if out[node.Name] = rapid.Bool().Draw(t, "ill"); !out[node.Name] {
				serving++
			}
		}
		todo := all[:rapid.IntRange(0, n).Draw(t, "todo")]
		size, least := rapid.IntRange(1, n).Draw(t, "size"), LeastServing(n, rapid.IntRange(0, 100).Draw(t, "percent"))
		group := NextGroup(todo, out, size, serving, least)
		taken, once := 0, map[string]bool{}
		for _, g := range group {
			if once[g.Name] {
				t.Fatalf("%s twice", g.Name)
			}
			once[g.Name] = true
			if !out[g.Name] {
				taken++
			}
		}
		if len(group) > size || taken > 0 && serving-taken < least {
			t.Fatalf("%v of %d serving, %d have to, size %d", names(group), serving, least, size)
		}
		for _, node := range todo {
			if len(group) < size && !once[node.Name] && (out[node.Name] || serving-taken > least) {
				t.Fatalf("%s could go too: %v", node.Name, names(group))
			}
		}
	})
}

func names(nodes []fleet.Node) (all []string) {
	for _, n := range nodes {
		all = append(all, n.Name)
	}
	return all
}
