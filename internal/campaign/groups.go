package campaign

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/windlass-db/windlass/internal/fleet"
)

// GroupSize is how many nodes a group has: "2", or "33%" of all nodes, rounded to the nearest number, but at least one: of six that is two.
type GroupSize string

// Of is the size in nodes.
func (s GroupSize) Of(nodes int) (int, error) {
	text, percent := strings.CutSuffix(string(s), "%")
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || percent && n > 100 {
		return 0, fmt.Errorf("a group's size %q is neither a number of nodes such as 2 nor a share such as 33%%", string(s))
	}
	if percent {
		n = max((nodes*n+50)/100, 1)
	}
	return min(n, nodes), nil
}

// LeastServing is how many of the nodes have to serve for that share, in percent.
func LeastServing(nodes, percent int) int {
	return int(math.Ceil(float64(nodes*percent) / 100))
}

// Spread orders the nodes so that every run of them is from as many zones as there are: one of each zone in turn, in the order of the
// inventory.
func Spread(nodes []fleet.Node) []fleet.Node {
	var zones []string
	of := map[string][]fleet.Node{}
	for _, n := range nodes {
		if _, known := of[n.Zone]; !known {
			zones = append(zones, n.Zone)
		}
		of[n.Zone] = append(of[n.Zone], n)
	}
	out := make([]fleet.Node, 0, len(nodes))
	for len(out) < len(nodes) {
		for _, z := range zones {
			if left := of[z]; len(left) > 0 {
				out, of[z] = append(out, left[0]), left[1:]
			}
		}
	}
	return out
}

// NextGroup is the next group to be taken out: of the nodes that are still to be done, in their order, as many as the size allows and as the
// share of serving nodes leaves. serving counts the nodes that serve now. A node that is out by itself costs nobody anything, so it is
// taken first. The group is empty if the share allows none.
func NextGroup(todo []fleet.Node, out map[string]bool, size, serving, least int) []fleet.Node {
	var group []fleet.Node
	for _, n := range todo {
		if out[n.Name] && len(group) < size {
			group = append(group, n)
		}
	}
	for _, n := range todo {
		if !out[n.Name] && len(group) < size && serving > least {
			group = append(group, n)
			serving--
		}
	}
	return group
}
