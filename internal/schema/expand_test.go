package schema

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
)

func clusterOn(version string) fleet.Cluster {
	return fleet.Cluster{Name: "jobs", Env: "qa", Cells: []fleet.Cell{{Name: "blue", Version: version}}}
}

// TestExpander: the schema step of a campaign on real servers, killed with -9 at every edge of every statement: it goes on where the
// database is, tells its progress, and does nothing under a lower term.
func TestExpander(t *testing.T) {
	for _, c := range []struct {
		d              Dialect
		server         func(*testing.T) string
		before, expand string
		statements     int
		bad            string
		dev            func(server string) string
	}{
		{Postgres, pgServer, "CREATE TABLE a (id int PRIMARY KEY, t text);", "SET lock_timeout='2s';\nALTER TABLE a ADD b int;\nINSERT INTO a (id,b) SELECT 10,1;\nCREATE INDEX CONCURRENTLY a_b ON a (b);\nCREATE TABLE c (id int);", 5, "ALTER TABLE a DROP t;", func(server string) string { return server }},
		{MySQL, mariaServer, "CREATE TABLE a (id int PRIMARY KEY, t text);", "ALTER TABLE a ADD b int;\nINSERT INTO a (id,b) SELECT 10,1;\nCREATE INDEX a_b ON a (b);\nALTER TABLE a MODIFY b bigint;\nCREATE TABLE c (id int);", 5, "ALTER TABLE a DROP t;", func(string) string { return "" }}, // it starts one
	} {
		t.Run(string(c.d), func(t *testing.T) {
			ctx := context.Background()
			server := c.server(t)
			target, db := database(t, c.d, server, "expand")
			run(t, db, strings.TrimSuffix(c.before, ";")) // by another's hand: the journal knows nothing of it
			contract := "-- windlass:contract\n" + c.bad
			folders := map[string]string{"1.0": folder(t, "1_init.sql", c.before), "1.1": folder(t, "1_init.sql", c.before, "2_more.sql", c.expand, "3_drop.sql", contract), "1.2": folder(t, "1_init.sql", c.before, "2_drop.sql", c.bad)}
			x, err := NewExpander(ExpanderConfig{Dialect: c.d, Database: func(fleet.Cluster) (string, error) { return target, nil }, Folders: folders, Dev: c.dev(server)})
			if err != nil {
				t.Fatal(err)
			}
			old := clusterOn("1.0.7")
			cs, err := x.Check(ctx, old, "1.1")
			if err != nil || !cs.OK() {
				t.Fatal(cs, err)
			}
			if cs, err = x.Check(ctx, old, "1.2"); err != nil || cs.OK() || !strings.Contains(cs.Bad().String(), "drop-column") || !strings.Contains(cs.Bad()[0].Remedy, "contract") {
				t.Errorf("a migration that drops: %v, %v", cs, err)
			}
			if cs, err = x.Check(ctx, old, "1.3"); err != nil || cs.OK() || !strings.Contains(cs[0].Detail, "no folder of migrations is known for version 1.3") {
				t.Errorf("an unknown version: %v, %v", cs, err)
			}
			if ok, cs, err := x.Expanded(ctx, old, "1.1"); err != nil || ok || !strings.Contains(cs.String(), fmt.Sprintf("%d statements are not applied", c.statements)) || !strings.Contains(cs.String(), "lacks of") {
				t.Errorf("before: %v, %v, %v", ok, cs, err)
			}
			killed(t, c.d, target, folders["1.1"], folders["1.0"], c.statements)
			ok, cs, err := x.Expanded(ctx, old, "1.1")
			if err != nil || !ok {
				t.Errorf("after: %v, %v", cs, err)
			}
			// Again, under another term: nothing is left, and nothing is told but that.
			var told []float64
			save := func(_ context.Context, _ any, progress float64, message string) error {
				if !strings.HasSuffix(message, saidThere) {
					t.Error(message)
				}
				told = append(told, progress)
				return nil
			}
			if err := x.Expand(ctx, old, "1.1", 3, nil, save); err != nil || !slices.Equal(told, []float64{1}) {
				t.Error(err, told)
			}
			if err := x.Expand(ctx, old, "1.1", 2, nil, save); !errors.Is(err, engine.ErrFenced) {
				t.Errorf("a lower term: %v", err)
			}
			if err := x.Expand(ctx, old, "1.2", 4, nil, save); err == nil || !strings.Contains(err.Error(), "takes away") {
				t.Errorf("a migration that drops: %v", err)
			}
			// Half of it and by hand: the catalog says what the journal can't know.
			run(t, db, "ALTER TABLE a DROP COLUMN b")
			if ok, cs, err = x.Expanded(ctx, old, "1.1"); err != nil || ok || !strings.Contains(cs.Bad().String(), "a differs") {
				t.Errorf("after a change by hand: %v, %v, %v", ok, cs, err)
			}
			// A save that is refused ends the run before the next statement.
			target2, db2 := database(t, c.d, server, "expand")
			run(t, db2, strings.TrimSuffix(c.before, ";"))
			x.cfg.Database = func(fleet.Cluster) (string, error) { return target2, nil }
			n := 0
			err = x.Expand(ctx, old, "1.1", 1, nil, func(context.Context, any, float64, string) error {
				if n++; n == 4 {
					return engine.ErrFenced
				}
				return nil
			})
			left, begun, err2 := x.apply(target2, folders["1.0"], folders["1.1"], 0).Left(ctx)
			if !errors.Is(err, engine.ErrFenced) || err2 != nil || len(left) != c.statements-2 || !begun {
				t.Errorf("%v, %v, %d are left", err, err2, len(left))
			}
			// The live database is on the way, in the middle of a migration; what is there by hand is told.
			if cs, err = x.Check(ctx, old, "1.1"); err != nil || !cs.OK() || strings.Contains(cs.String(), "live-") {
				t.Errorf("half expanded: %v, %v", cs, err)
			}
			run(t, db2, "CREATE INDEX byhand ON a (id)")
			if cs, err = x.Check(ctx, old, "1.1"); err != nil || !cs.OK() || !strings.Contains(cs.String(), "live-has-more") {
				t.Errorf("with more: %v, %v", cs, err)
			}
			run(t, db2, "ALTER TABLE a DROP COLUMN t")
			if cs, err = x.Check(ctx, old, "1.1"); err != nil || !strings.Contains(cs.Bad().String(), "live-differs") {
				t.Errorf("with less: %v, %v", cs, err)
			}
		})
	}
}

// TestAllowIsOfRules: a rule that there is not is refused when a supervisor starts, not in the midst of a campaign.
func TestAllowIsOfRules(t *testing.T) {
	if _, err := NewExpander(ExpanderConfig{Dialect: Postgres, Allow: []string{"add-foreign-key", "add-index-locks"}}); err == nil || !strings.Contains(err.Error(), `"add-index-locks" is no rule`) {
		t.Errorf("got %v", err)
	}
	if _, err := NewExpander(ExpanderConfig{Dialect: Postgres, Allow: []string{"add-foreign-key"}}); err != nil {
		t.Error(err)
	}
}
