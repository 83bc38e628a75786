package seed

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/datacheck/catalog"
	"github.com/windlass-db/windlass/internal/datacheck/node"
	"github.com/windlass-db/windlass/internal/fleet"
)

func targetCell(r bluegreen.SeedRequest) (fleet.Cell, error) {
	cell, ok := r.Cluster.Cell(r.ToCell)
	if !ok {
		return fleet.Cell{}, fmt.Errorf("cluster %s has no cell %s to seed", r.Cluster.Ref(), r.ToCell)
	}
	return cell, nil
}

// guard refuses every target that is not a fresh node of ours.
func (j *job) guard(ctx context.Context) error {
	now, name := j.cfg.Now(), j.r.Node.Name
	mark, err := j.cfg.Mark(ctx, j.r)
	if err != nil {
		return fmt.Errorf("read the ownership mark of %s: %w", name, err)
	}
	if j.owner == "" || mark != j.owner {
		return refuse(now, "target-ownership", fmt.Sprintf("%s carries the mark %q, its cell %s is owned by %q", name, mark, j.r.ToCell, j.owner), "only nodes that this campaign made are seeded: remove the node from the cell")
	}
	readOnly, err := j.target.ReadOnly(ctx)
	if err != nil {
		return err
	}
	if !readOnly {
		return refuse(now, "target-read-only", name+" is writable", "find out who opened it; set read_only=1 if nobody writes to it")
	}
	target, err := j.target.Identity(ctx)
	if err != nil {
		return err
	}
	for _, cell := range j.r.Cluster.Cells {
		for _, n := range cell.Nodes {
			if n.Name != name && (n.Address == j.r.Node.Address || n.UUID != "" && n.UUID == target) {
				return refuse(now, "target-identity", fmt.Sprintf("%s is the same server as %s/%s", name, cell.Name, n.Name), "correct the addresses in the inventory")
			}
		}
	}
	source, err := j.source.Identity(ctx)
	if err != nil {
		return err
	}
	if source == target {
		return refuse(now, "target-identity", fmt.Sprintf("%s is the same server as %s", name, j.source.Node.Name), "correct the addresses in the inventory")
	}
	a, err := j.target.Applier(ctx)
	if err != nil {
		return err
	}
	if a.Exists {
		return refuse(now, "target-replication", fmt.Sprintf("%s is set to replicate from %s, but holds no whole copy", name, a.Source), "stop and reset its replication, or delete the node")
	}
	if readers, err := j.target.Rows(ctx, "SHOW PROCESSLIST"); err != nil {
		return err
	} else if i := slices.IndexFunc(readers, func(r node.Row) bool { return strings.HasPrefix(r["Command"], "Binlog Dump") }); i >= 0 {
		return refuse(now, "target-readers", fmt.Sprintf("%s reads the binary log of %s", readers[i]["Host"], name), "a node that others replicate from is not seeded")
	}
	m, err := j.guardContent(ctx, now, target)
	if err != nil {
		return err
	}
	if own, err := j.f.logged(ctx, j, m); err != nil {
		return err
	} else if own != "" {
		return refuse(now, "target-errant", fmt.Sprintf("%s has logged transactions of its own: %s", name, own), "make the node anew, writing nothing to its binary log")
	}
	v, err := j.target.Variables(ctx, "event_scheduler")
	if err != nil {
		return err
	}
	if v["event_scheduler"] == "ON" { // trap 5
		if err := j.target.Exec(ctx, "SET GLOBAL event_scheduler=OFF"); err != nil {
			return fmt.Errorf("stop the event scheduler of %s: %w", name, err)
		}
	}
	return nil
}

// guardContent finds out whether the target holds data beside what an earlier try of ours left, of which it returns the mark.
func (j *job) guardContent(ctx context.Context, now time.Time, target string) (*mark, error) {
	m, err := readMark(ctx, j.target)
	if err != nil {
		return nil, err
	}
	var made map[object]bool
	if m != nil && m.Target != target { // a backup has brought the mark of the server that it was made of
		m = nil
	}
	if m != nil {
		if m.State == complete && m.Owner != j.owner {
			return nil, refuse(now, "target-empty", fmt.Sprintf("%s holds a whole copy of %q", j.r.Node.Name, m.Owner), "delete the node, if nobody needs it, and run the stage again")
		}
		if made, err = readObjects(ctx, j.target); err != nil {
			return nil, err
		}
	}
	rs, err := j.target.Rows(ctx, "SELECT SCHEMA_NAME AS name FROM information_schema.SCHEMATA ORDER BY 1")
	if err != nil {
		return nil, err
	}
	for _, r := range rs {
		s := r["name"]
		if slices.Contains(catalog.System(), strings.ToLower(s)) || s == catalog.Ours || made[object{"schema", s}] {
			continue
		}
		var tables int64
		if err := j.target.One(ctx, "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA="+node.Quote(s), &tables); err != nil {
			return nil, err
		}
		if tables > 0 {
			j.held = s
			return m, nil
		}
	}
	return m, nil
}
