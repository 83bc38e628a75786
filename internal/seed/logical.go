package seed

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/datacheck/catalog"
	"github.com/windlass-db/windlass/internal/datacheck/node"
)

// tries is how often the definitions may change under a copy's hands before it gives up for now.
const tries = 5

// logical copies over the network.
func (j *job) logical(ctx context.Context) error {
	ddl, err := j.source.Again(ctx) // definitions are not part of a snapshot, and are read beside it
	if err != nil {
		return err
	}
	defer ddl.Close()
	defs, position, err := j.freeze(ctx, ddl)
	if err != nil {
		return err
	}
	j.status.Position = position
	hold, err := j.pinAt(ctx, position)
	if err != nil {
		return err
	}
	defer hold.release()
	if err := j.tell(ctx, true, fmt.Sprintf("copying %s from %s at %s", human(j.size), j.source.Node.Name, position)); err != nil {
		return err
	}
	if err := j.begin(ctx, position); err != nil {
		return err
	}
	if err := j.reserve(ctx); err != nil {
		return err
	}
	if err := j.f.accounts(ctx, j); err != nil {
		return err
	}
	if err := j.createAccounts(ctx, defs); err != nil {
		return err
	}
	if err := j.createTables(ctx, defs); err != nil {
		return err
	}
	if err := j.copyRows(ctx, defs.catalog.Tables); err != nil {
		return err
	}
	if err := j.copyTimeZones(ctx, ddl); err != nil {
		return err
	}
	if err := j.setSequences(ctx, defs); err != nil {
		return err
	}
	if err := j.createPrograms(ctx, defs); err != nil {
		return err
	}
	skipped, err := j.grant(ctx, defs)
	if err != nil {
		return err
	}
	if err := j.compare(ctx, defs.catalog, skipped); err != nil {
		return err
	}
	if err := j.f.served(ctx, j.primary, position); err != nil {
		return err
	}
	if err := j.tell(ctx, true, "the data is copied, writing the completion mark"); err != nil {
		return err
	}
	if err := j.finish(ctx, position); err != nil {
		return err
	}
	j.log.Info("the data is copied", "position", position, "rows", j.status.Rows, "bytes", j.status.Bytes, "took", j.cfg.Now().Sub(j.status.Started))
	return nil
}

// definitions is everything that is made on the target, as it was at the snapshot.
type definitions struct {
	catalog  *catalog.Catalog
	tables   map[string]string // CREATE TABLE, by schema.name
	programs []program
	accounts []account
}

// freeze opens the snapshot and reads every definition as of it. Definitions know no snapshot, so they are read before
// and after: if nothing has changed, they were so at the snapshot in between. No lock is taken for it.
func (j *job) freeze(ctx context.Context, ddl *node.Conn) (*definitions, string, error) {
	var changed string
	for range tries {
		before, err := catalog.Read(ctx, ddl)
		if err != nil {
			return nil, "", err
		}
		if err := j.copyable(before); err != nil {
			return nil, "", err
		}
		position, err := j.f.snapshot(ctx, j)
		if err != nil {
			return nil, "", err
		}
		defs, err := readDefinitions(ctx, ddl, before, j.f)
		gone := node.Number(err) != 0 && !lostConnection(err) // a table that was dropped meanwhile, for one
		if err != nil && !gone {
			return nil, "", err
		}
		var diff []catalog.Difference
		if !gone {
			after, err := catalog.Read(ctx, ddl)
			if err != nil {
				return nil, "", err
			}
			diff = catalog.Diff(before, after, nil)
		}
		if !gone && len(diff) == 0 {
			return defs, position, j.source.Mark(ctx)
		}
		if gone {
			changed = err.Error()
		} else {
			changed = diff[0].String()
		}
		j.log.Info("a definition changed while it was read; again", "change", changed)
		if err := j.source.Exec(ctx, "ROLLBACK"); err != nil {
			return nil, "", err
		}
		select {
		case <-ctx.Done():
			return nil, "", ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
	return nil, "", fmt.Errorf("definitions on %s changed while they were read, %d times in a row, lastly: %s", j.source.Node.Name, tries, changed)
}

// lostConnection tells errors of the server's that end the session.
func lostConnection(err error) bool {
	n := node.Number(err)
	return n == 1927 || n == 1317 || n == 1053 // killed, interrupted, shutting down
}

// copyable refuses what a consistent logical copy can't be made of.
func (j *job) copyable(c *catalog.Catalog) error {
	var bad []string
	for _, t := range c.Tables {
		if t.Engine != "InnoDB" {
			bad = append(bad, fmt.Sprintf("%s (%s)", t, t.Engine))
		}
	}
	if len(bad) > 0 {
		return refuse(j.cfg.Now(), "seed-engines", fmt.Sprintf("%d tables are not InnoDB, so that a snapshot does not hold them: %s", len(bad), list(bad)), "convert them (ALTER TABLE … ENGINE=InnoDB), or let what makes the node restore a physical backup into it")
	}
	for id := range c.Facts {
		if id.Kind == catalog.KindFunction || id.Kind == catalog.KindServer {
			bad = append(bad, id.String())
		}
	}
	slices.Sort(bad)
	if len(bad) > 0 {
		return refuse(j.cfg.Now(), "seed-objects", "these can't be copied over the network: "+list(bad), "drop them, or let what makes the node restore a physical backup into it")
	}
	return nil
}

// compare proves that the target has what the source had: types, collations, indexes, programs, accounts.
func (j *job) compare(ctx context.Context, want *catalog.Catalog, skipped map[string]bool) error {
	got, err := catalog.Read(ctx, j.target)
	if err != nil {
		return err
	}
	var bad []string
	for _, d := range catalog.Diff(want, got, j.keep) {
		if d.Harmless || d.Added && j.own(d.ID) || d.ID.Kind == catalog.KindGrant && d.Missing && skipped[d.ID.Name] {
			continue
		}
		bad = append(bad, d.String())
	}
	if len(bad) > 0 {
		return refuse(j.cfg.Now(), "seed-definitions", fmt.Sprintf("the copy on %s differs from %s in %d definitions: %s", j.r.Node.Name, j.source.Node.Name, len(bad), list(bad)), "change the definition on the primary so that both versions understand it alike, and run the stage again")
	}
	return nil
}

// own tells whether the target had the account, or the grant, before.
func (j *job) own(id catalog.ID) bool {
	switch id.Kind {
	case catalog.KindAccount:
		return j.before[id.Name]
	case catalog.KindGrant:
		for name := range j.before {
			if strings.Contains(id.Name, name) {
				return true
			}
		}
	}
	return false
}

func list(s []string) string {
	const most = 8
	if len(s) > most {
		return strings.Join(s[:most], "; ") + fmt.Sprintf("; and %d more", len(s)-most)
	}
	return strings.Join(s, "; ")
}
