package seed

import (
	"context"
	"fmt"
	"strings"

	"github.com/windlass-db/windlass/internal/datacheck/catalog"
	"github.com/windlass-db/windlass/internal/datacheck/node"
)

// createTables makes schemas, sequences and empty tables. Schemas carry their collation by name: the new version's
// default for a character set is another one.
func (j *job) createTables(ctx context.Context, d *definitions) error {
	if err := settle(ctx, j.target, j.f); err != nil {
		return err
	}
	for _, s := range d.catalog.Schemas {
		at := d.catalog.Facts[catalog.ID{Kind: catalog.KindSchema, Name: s}]
		if err := j.note(ctx, object{"schema", s}); err != nil {
			return err
		}
		for _, stmt := range j.f.schema(s, at) {
			if err := j.target.Exec(ctx, stmt); err != nil {
				return fmt.Errorf("create schema %s on %s: %w", s, j.r.Node.Name, err)
			}
		}
	}
	for _, p := range d.programs {
		if p.Kind == catalog.KindSequence {
			if err := j.createIn(ctx, p.Schema, p.text); err != nil {
				return j.notUnderstood(ctx, p.Kind, p.String(), err)
			}
		}
	}
	for _, t := range d.catalog.Tables {
		if strings.EqualFold(t.Schema, catalog.Ours) {
			if err := j.note(ctx, object{"table", t.Name}); err != nil {
				return err
			}
		}
		if err := j.createIn(ctx, t.Schema, d.tables[t.String()]); err != nil {
			return j.notUnderstood(ctx, catalog.KindTable, t.String(), err)
		}
	}
	return nil
}

func (j *job) createIn(ctx context.Context, schema, text string) error {
	if err := j.target.Exec(ctx, "USE "+node.Ident(schema)); err != nil {
		return err
	}
	return j.target.Exec(ctx, text)
}

// notUnderstood is the error of a definition that the new version does not take: no waiting mends it.
func (j *job) notUnderstood(ctx context.Context, kind catalog.Kind, name string, err error) error {
	if node.Number(err) == 0 || lostConnection(err) {
		return j.room(ctx, j.target, fmt.Errorf("create %s %s on %s: %w", kind, name, j.r.Node.Name, err))
	}
	if full(ctx, j.target, err) {
		return j.room(ctx, j.target, fmt.Errorf("create %s %s on %s: %w", kind, name, j.r.Node.Name, err))
	}
	return refuse(j.cfg.Now(), "seed-definitions", fmt.Sprintf("%s (%s) does not take %s %s as %s has it: %v", j.r.Node.Name, j.target.Version, kind, name, j.source.Node.Name, err), "change or drop it on the primary so that both versions understand it, and run the stage again")
}

// setSequences gives every sequence the next value that it had in the snapshot.
func (j *job) setSequences(ctx context.Context, d *definitions) error {
	for _, p := range d.programs {
		if p.Kind != catalog.KindSequence {
			continue
		}
		name := node.Table(p.Schema, p.Name)
		var next, round string
		if err := j.source.One(ctx, "SELECT next_not_cached_value, cycle_count FROM "+name, &next, &round); err != nil {
			return fmt.Errorf("read sequence %s: %w", p, err)
		}
		if err := j.target.Exec(ctx, fmt.Sprintf("DO SETVAL(%s, %s, 0, %s)", name, next, round)); err != nil {
			return fmt.Errorf("set sequence %s: %w", p, err)
		}
		var got string
		if err := j.target.One(ctx, "SELECT next_not_cached_value FROM "+name, &got); err != nil {
			return fmt.Errorf("read sequence %s: %w", p, err)
		}
		if got != next { // SETVAL only goes forward
			if err := j.target.Exec(ctx, fmt.Sprintf("ALTER SEQUENCE %s RESTART %s", name, next)); err != nil {
				return fmt.Errorf("set sequence %s: %w", p, err)
			}
		}
	}
	return j.source.Release(ctx)
}

// createPrograms makes routines, views, triggers and events, in this order. Views that use others come later: those that
// can't be made yet are tried again while any progress is made.
func (j *job) createPrograms(ctx context.Context, d *definitions) error {
	var views []program
	for _, kind := range []catalog.Kind{catalog.KindRoutine, catalog.KindView, catalog.KindTrigger, catalog.KindEvent} {
		for _, p := range d.programs {
			if p.Kind != kind {
				continue
			}
			err := j.createProgram(ctx, d, p)
			if err != nil && kind == catalog.KindView && node.Number(err) != 0 && !lostConnection(err) {
				views = append(views, p)
				continue
			}
			if err != nil {
				return j.notUnderstood(ctx, p.Kind, p.String(), err)
			}
		}
		for len(views) > 0 {
			var left []program
			var last error
			for _, p := range views {
				if err := j.createProgram(ctx, d, p); err != nil {
					if node.Number(err) == 0 || lostConnection(err) {
						return err
					}
					left, last = append(left, p), err
				}
			}
			if len(left) == len(views) {
				return j.notUnderstood(ctx, catalog.KindView, left[len(left)-1].String(), last)
			}
			views = left
		}
	}
	return nil
}

// createProgram makes one program in the session that it was made in: the mode, the character sets and the collation
// of its schema are part of its meaning.
func (j *job) createProgram(ctx context.Context, d *definitions, p program) (err error) {
	set := []string{"USE " + node.Ident(p.Schema), "SET SESSION sql_mode=" + node.Quote(p.mode)}
	back := []string{"SET NAMES utf8mb4 COLLATE utf8mb4_bin", "SET SESSION sql_mode=" + tableMode, "SET SESSION time_zone='+00:00', timestamp=DEFAULT"}
	if p.client != "" {
		set = append(set, "SET SESSION character_set_client="+p.client+", collation_connection="+p.collation)
	}
	if p.Kind == catalog.KindEvent {
		// An event whose time has passed would be dropped at once: make it when it was made.
		set = append(set, "SET SESSION time_zone="+node.Quote(p.zone)+", timestamp="+p.created)
	}
	now := d.catalog.Facts[catalog.ID{Kind: catalog.KindSchema, Name: p.Schema}]["default collation name"]
	if p.schema != "" && now != "" && p.schema != now {
		set = append(set, "ALTER DATABASE "+node.Ident(p.Schema)+" COLLATE "+p.schema)
		back = append(back, "ALTER DATABASE "+node.Ident(p.Schema)+" COLLATE "+now)
	}
	defer func() {
		for _, stmt := range back {
			if berr := j.target.Exec(ctx, stmt); berr != nil && err == nil {
				err = fmt.Errorf("restore the session: %w", berr)
			}
		}
	}()
	for _, stmt := range set {
		if err := j.target.Exec(ctx, stmt); err != nil {
			return err
		}
	}
	return j.target.Exec(ctx, p.text)
}
