package seed

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/windlass-db/windlass/internal/datacheck/node"
	"github.com/windlass-db/windlass/internal/fleet"
)

// choose finds the server to read and the primary. A replica is read if the cell has one; of several the least
// delayed. Only a cell without any replica has its primary read, which is not stopped by it either.
func (j *job) choose(ctx context.Context) error {
	from, ok := j.r.Cluster.Cell(j.r.FromCell)
	if !ok {
		return fmt.Errorf("cluster %s has no cell %s to copy from", j.r.Cluster.Ref(), j.r.FromCell)
	}
	type seen struct {
		conn     *node.Conn
		applier  node.Applier
		writable bool
	}
	var all []seen
	defer func() {
		for _, s := range all {
			if s.conn != j.source && s.conn != j.primary {
				s.conn.Close()
			}
		}
	}()
	var replicas, lost []error
	nodes := from.Nodes
	for _, cell := range j.r.Cluster.Cells { // the primary may be in another cell
		if cell.Name != from.Name {
			nodes = append(nodes[:len(nodes):len(nodes)], cell.Nodes...)
		}
	}
	inFrom := func(n fleet.Node) bool {
		for _, f := range from.Nodes {
			if f.Name == n.Name {
				return true
			}
		}
		return false
	}
	for _, n := range nodes {
		if n.Name == j.r.Node.Name {
			continue
		}
		c, err := node.Open(ctx, j.cfg.Access, n)
		if err != nil {
			if inFrom(n) {
				lost = append(lost, err)
			}
			continue
		}
		s := seen{conn: c}
		all = append(all, s)
		readOnly, err := c.ReadOnly(ctx)
		if err != nil {
			return err
		}
		if all[len(all)-1].applier, err = c.Applier(ctx); err != nil {
			return err
		}
		if !readOnly {
			all[len(all)-1].writable = true
			if j.primary != nil {
				return fmt.Errorf("both %s and %s are writable: nothing is copied until one of them is not", j.primary.Node.Name, n.Name)
			}
			j.primary = c
		}
	}
	if j.primary == nil {
		return errors.Join(append([]error{fmt.Errorf("no node of cluster %s is seen to be writable: the copy waits for its primary", j.r.Cluster.Ref())}, lost...)...)
	}
	var best *seen
	for i, s := range all {
		if s.writable || !inFrom(s.conn.Node) {
			continue
		}
		if a := s.applier; !a.Exists || !a.IO || !a.SQL || a.Lag < 0 {
			replicas = append(replicas, fmt.Errorf("%s is no healthy replica: %s", s.conn.Node.Name, trouble(a)))
			continue
		}
		if best == nil || s.applier.Lag < best.applier.Lag {
			best = &all[i]
		}
	}
	switch {
	case best != nil:
		j.source = best.conn
	case len(replicas) == 0 && len(lost) == 0 && len(from.Nodes) == 1 && inFrom(j.primary.Node):
		j.source = j.primary
	default:
		return errors.Join(append(append([]error{fmt.Errorf("cell %s has no healthy replica to copy from", from.Name)}, replicas...), lost...)...)
	}
	return nil
}

func trouble(a node.Applier) string {
	switch {
	case !a.Exists:
		return "it does not replicate"
	case a.Error != "":
		return a.Error
	case !a.IO || !a.SQL:
		return "its replication is stopped"
	}
	return "its delay is unknown"
}

// measure takes the method, and sees that the data is not too large for it.
func (j *job) measure(ctx context.Context) error {
	var bytes float64
	if err := j.source.One(ctx, "SELECT COALESCE(SUM(DATA_LENGTH + INDEX_LENGTH), 0) FROM information_schema.TABLES WHERE TABLE_TYPE <> 'VIEW' AND TABLE_SCHEMA NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys')", &bytes); err != nil {
		return fmt.Errorf("measure %s: %w", j.source.Node.Name, err)
	}
	j.size, j.method = int64(bytes), Logical
	if j.held != "" {
		j.method = Restored
		return nil
	}
	if j.size > j.cfg.Limit {
		return refuse(j.cfg.Now(), "seed-size", fmt.Sprintf("%s holds %s, and a copy over the network is limited to %s", j.source.Node.Name, human(j.size), human(j.cfg.Limit)),
			"let what makes the node restore a physical backup into it (docs/nodes.md tells how), or raise seed.limit in the supervisor's file")
	}
	return nil
}

func human(n int64) string {
	f, units := float64(n), []string{"bytes", "KiB", "MiB", "GiB", "TiB", "PiB"}
	i := 0
	for ; f >= 1024 && i < len(units)-1; i++ {
		f /= 1024
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", f), ".0") + " " + units[i]
}
