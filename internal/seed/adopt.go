package seed

import (
	"context"
	"fmt"

	"github.com/windlass-db/windlass/internal/datacheck/catalog"
	"github.com/windlass-db/windlass/internal/datacheck/node"
)

// adopt takes a restored backup over. Nothing of its data is changed. That it is a backup of this cluster can be told by
// its position alone: the data check compares every row before anything is switched to it.
func (j *job) adopt(ctx context.Context) error {
	now, name := j.cfg.Now(), j.r.Node.Name
	text, err := j.target.Position(ctx)
	if err != nil {
		return err
	}
	const clear = "delete the node, if nobody needs it, and run the stage again"
	if text == "" {
		return refuse(now, "target-empty", fmt.Sprintf("%s holds a schema %s that no try of ours has made, and no position (%s) that it could be a backup of", name, j.held, j.f.variable()),
			"if it is a restored backup, set "+j.f.variable()+" to the backup's position; else "+clear)
	}
	reached, has, err := j.f.reached(ctx, j.primary, text)
	if err != nil {
		return err
	}
	if !reached {
		return refuse(now, "target-errant", fmt.Sprintf("%s holds a schema %s and stands at %q, which the primary %s has not come to (%q)", name, j.held, text, j.primary.Node.Name, has), "it is no backup of this cluster: "+clear)
	}
	if missing, err := j.lacks(ctx); err != nil {
		return err
	} else if missing != "" {
		return refuse(now, "target-empty", fmt.Sprintf("%s holds a schema %s, and not %s of %s", name, j.held, missing, j.source.Node.Name), "it is no backup of this cluster: "+clear)
	}
	if err := j.f.served(ctx, j.primary, text); err != nil {
		return fmt.Errorf("the backup on %s is too old: %w", name, err)
	}
	j.status.Position = text
	if err := j.tell(ctx, true, fmt.Sprintf("adopting the backup on %s at %s", name, text)); err != nil {
		return err
	}
	for _, stmt := range append(markTables, "DELETE FROM windlass.seed_object") { // what a backup brought of another server's
		if err := j.target.Exec(ctx, stmt); err != nil {
			return fmt.Errorf("prepare %s: %w", name, err)
		}
	}
	m, err := j.newMark(ctx, text)
	if err != nil {
		return err
	}
	m.State, m.Completed = complete, j.cfg.Now()
	if err := writeMark(ctx, j.target, m); err != nil {
		return err
	}
	j.log.Info("a restored backup was adopted", "position", text)
	return nil
}

// lacks names a schema of the source that the target does not have. Schemas that are made or dropped since the backup
// are rare; the stage is run again then.
func (j *job) lacks(ctx context.Context) (string, error) {
	const query = "SELECT SCHEMA_NAME AS name FROM information_schema.SCHEMATA WHERE SCHEMA_NAME NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys', '" + catalog.Ours + "') ORDER BY 1"
	have := map[string]bool{}
	for _, c := range []*node.Conn{j.target, j.source} {
		rs, err := c.Rows(ctx, query)
		if err != nil {
			return "", fmt.Errorf("read the schemas of %s: %w", c.Node.Name, err)
		}
		for _, r := range rs {
			if c == j.target {
				have[r["name"]] = true
			} else if !have[r["name"]] {
				return r["name"], nil
			}
		}
	}
	return "", nil
}
