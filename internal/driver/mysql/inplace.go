package mysql

import (
	"slices"
	"strings"

	"github.com/windlass-db/windlass/internal/switchover"
)

// target is where a switch goes: a cell, or some nodes of one. A switch that stays in one cell goes from a node to another.
type target struct {
	cell  string
	nodes []string // empty: every node of the cell
}

func aim(r switchover.Request) target { return target{r.ToCell, r.ToNodes} }

// at reports whether the node is of the target.
func (t target) at(v *view) bool {
	return v.cell == t.cell && (len(t.nodes) == 0 || slices.Contains(t.nodes, v.node.Name))
}

// leaves reports whether the switch leaves the node behind, as the way back: only such a node may be older than its source for a
// while. Of a switch that stays in one cell that is the one node that is the primary, or was it.
func (t target) leaves(sc *scene, v *view) bool {
	if t.at(v) {
		return false
	}
	for _, o := range sc.views {
		if o != v && o.cell == t.cell && v.cell == t.cell && !t.at(o) {
			return false // several nodes were not raised: they would follow a newer source without ever having been left
		}
	}
	return true
}

func (t target) String() string {
	if len(t.nodes) > 0 {
		return t.cell + "/" + strings.Join(t.nodes, ",")
	}
	return "cell " + t.cell
}

// whose names what a node's version is written at: the node, while its cell is raised in place, or the cell.
func (v *view) whose() string {
	if v.node.Version != "" {
		return "it"
	}
	return "cell " + v.cell
}

// oldNodes lists the nodes that the primary's version has left behind: those of the old cell. If the primary is in that cell itself, which
// is raised in place, they are its nodes of an older version; one that can't be read may be one unless one was seen.
func oldNodes(sc *scene, primary *view, cell string) []*view {
	var older, unread []*view
	for _, v := range sc.views {
		switch {
		case v.cell != cell || v == primary:
		case primary.cell != cell:
			older = append(older, v)
		case v.err != nil:
			unread = append(unread, v)
		case v.version.less(primary.version):
			older = append(older, v)
		}
	}
	if len(older) == 0 {
		return unread
	}
	return older
}
