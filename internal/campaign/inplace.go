package campaign

import (
	"fmt"

	"github.com/windlass-db/windlass/internal/config"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/policy"
)

// placeIn gives a campaign that raises nodes in place what follows from that: it makes no cell, compares no two, and moves no record. Keys
// that would say so are problems, and the defaults are those of its own stages.
func placeIn(f *file, r *config.Report) {
	if f.Strategy != policy.InPlace {
		return
	}
	if at := r.At("cells", "to"); at.Given() && f.Cells.To != f.Cells.From {
		at.Problem(config.CodeContradiction, fmt.Sprintf("the strategy inplace makes no cell: the nodes of %s are raised where they are", f.Cells.From), "remove it")
	}
	f.Cells.To = f.Cells.From
	for path, what := range map[[2]string]string{{"cells", "nodes"}: "makes no nodes", {"verify", ""}: "compares no two cells: every node keeps its own data", {"replay", ""}: "replays no queries yet: every node keeps its own data, and none is free for them", {"record", ""}: "moves no DNS record"} {
		at := r.At(path[0])
		if path[1] != "" {
			at = at.At(path[1])
		}
		if at.Given() {
			at.KeyProblem(config.CodeContradiction, "the strategy inplace "+what, "remove it")
		}
	}
	f.Replay = fileReplay{}
	soaks := defaultSoaks(f.Strategy)
	for name, d := range f.Soak.Stages {
		if r.At("soak", "stages", name).Given() {
			soaks[name] = d
		}
	}
	f.Soak.Stages = soaks
}

// checkInPlace looks whether every selected cluster has what raising its nodes in place begins with. One whose cell is on its way, or is there,
// is judged by its patterns alone.
func (c Campaign) checkInPlace(selected []fleet.Cluster, add adder) {
	var noCell, version, single, reads, noGateway named
	for _, cl := range selected {
		name := cl.Ref().String()
		cell, ok := cl.Cell(c.FromCell)
		if !ok {
			noCell.add(name)
			continue
		}
		raised := fleet.HasVersion(cell.Version, c.To)
		for _, n := range cell.Nodes {
			raised = raised || n.Version != "" && fleet.HasVersion(n.Version, c.To)
		}
		if raised {
			continue
		}
		if !fleet.HasVersion(cell.Version, c.From) {
			version.add(name + " (" + cell.Version + ")")
		}
		switch g := cell.Gateway; {
		case g == nil:
			noGateway.add(name)
		case len(cell.Nodes) >= 2 && len(cell.Nodes) < 3 && g.ReadOnly != "":
			reads.add(name)
		}
		if len(cell.Nodes) < 2 {
			single.add(name)
		}
	}
	if noCell.n > 0 {
		add("cells.from", config.CodeReference, "name the cell that is in service, or exclude these clusters", "%s no cell %q: %s", have(noCell.n), c.FromCell, &noCell)
	}
	if version.n > 0 {
		add("from", config.CodeContradiction, "correct the version here or in the fleet, or exclude these clusters", "%s another version than %s in the cell %q: %s", have(version.n), c.From, c.FromCell, &version)
	}
	if single.n > 0 {
		add("strategy", config.CodeContradiction, "add a replica to the cell, or take the strategy bluegreen", "%s one node in the cell %q: raised in place, it would be down meanwhile: %s", have(single.n), c.FromCell, &single)
	}
	if reads.n > 0 {
		add("strategy", config.CodeContradiction, "add a second replica to the cell, take \"read_only\" from its gateway if nobody uses it, or take the strategy bluegreen", "%s two nodes in the cell %q: while the replica is raised, no server is left for the read-only endpoint: %s", have(reads.n), c.FromCell, &reads)
	}
	if noGateway.n > 0 {
		add("clusters", config.CodeMissing, "add \"gateway\" to the cell in the fleet file: the strategy "+c.Strategy+" holds and moves clients with it", "%s no gateway in the cell %q: %s", have(noGateway.n), c.FromCell, &noGateway)
	}
}
