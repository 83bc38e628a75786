package schema

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/windlass-db/windlass/internal/fleet"
)

// TestContractStep: what is marked is taken away on real servers, killed with -9 at every edge of every statement; a statement of the version
// that serves, which needs it, is found before.
func TestContractStep(t *testing.T) {
	for _, c := range []struct {
		d                Dialect
		server           func(*testing.T) string
		before, contract string
		statements       int
		gone             string // a statement that fails when it is done
	}{
		{Postgres, pgServer, "CREATE TABLE a (id int PRIMARY KEY, old text, b int);\nCREATE TABLE gone (id int);\nCREATE INDEX a_b ON a (b);", "ALTER TABLE a DROP old;\nDROP INDEX CONCURRENTLY a_b;\nALTER TABLE a ALTER b SET DEFAULT 1;\nALTER TABLE a RENAME b TO c;\nDROP TABLE gone;", 5, "SELECT old FROM a"},
		{MySQL, mariaServer, "CREATE TABLE a (id int PRIMARY KEY, old text, b int, d int);\nCREATE TABLE gone (id int);\nCREATE TABLE named (id int);\nCREATE INDEX a_b ON a (b);\nALTER TABLE a ADD CONSTRAINT ck CHECK (d < 9);", "ALTER TABLE a DROP COLUMN old;\nALTER TABLE a DROP INDEX a_b;\nALTER TABLE a DROP CONSTRAINT ck;\nALTER TABLE a DROP d;\nALTER TABLE a RENAME COLUMN b TO c;\nRENAME TABLE named TO other;\nDROP TABLE gone;", 7, "SELECT old FROM a"},
	} {
		t.Run(string(c.d), func(t *testing.T) {
			ctx := context.Background()
			server := c.server(t)
			target, db := database(t, c.d, server, "contract")
			init := []string{"1_init.sql", c.before, "2_more.sql", "CREATE TABLE extra (id int);"}
			marked := folder(t, append(init, "3_drop.sql", "-- windlass:contract\n"+c.contract)...)
			run(t, db, strings.Split(strings.TrimSuffix(c.before, ";"), ";")...)
			run(t, db, "CREATE TABLE extra (id int)")
			now := filepath.Join(folder(t, "now.sql", c.gone+";\nSELECT id FROM a;"), "now.sql")
			fine := filepath.Join(folder(t, "now.sql", "SELECT id FROM a;"), "now.sql")
			expander := func(statements string) *Expander {
				x, err := NewExpander(ExpanderConfig{Dialect: c.d, Database: func(fleet.Cluster) (string, error) { return target, nil }, Folders: map[string]string{"1.1": marked, "1.2": folder(t, init...)},
					Statements: map[string]string{"1.1": statements}, Dev: server})
				if err != nil {
					t.Fatal(err)
				}
				return x
			}
			at := clusterOn("1.1")
			cs, err := expander(now).CheckContract(ctx, at, "1.1")
			if err != nil || cs.OK() || !strings.Contains(cs.Bad().String(), "old-statement-fails") || strings.Contains(cs.Bad().String(), "drop-") {
				t.Errorf("a statement that needs it: %v, %v", cs.Bad(), err)
			}
			x := expander(fine)
			if cs, err = x.CheckContract(ctx, at, "1.1"); err != nil || !cs.OK() || strings.Count(cs.String(), "contract (warn)") != c.statements {
				t.Errorf("nobody needs it: %v, %v", cs, err)
			}
			if ok, cs, err := x.Contracted(ctx, at, "1.1"); err != nil || ok {
				t.Errorf("before: %v, %v", cs, err)
			}
			if ok, cs, err := x.Expanded(ctx, at, "1.1"); err != nil || !ok {
				t.Errorf("what is expanded before the contract step: %v, %v", cs, err)
			}
			t.Setenv("WINDLASS_APPLY_CONTRACT", "1")
			killed(t, c.d, target, marked, marked, c.statements)
			if _, err := db.Exec(c.gone); err == nil {
				t.Error("it is still there")
			}
			if ok, cs, err := x.Contracted(ctx, at, "1.1"); err != nil || !ok {
				t.Errorf("after: %v, %v", cs, err)
			}
			if ok, cs, err := x.Expanded(ctx, at, "1.1"); err != nil || !ok {
				t.Errorf("what is expanded after the contract step: %v, %v", cs, err)
			}
			run(t, db, "DROP TABLE "+JournalTable)
			if ok, cs, err := x.Contracted(ctx, at, "1.1"); err != nil || !ok || !strings.Contains(cs.String(), "nobody of us") {
				t.Errorf("done by another's hand: %v, %v", cs, err)
			}
			if cs, err = x.CheckContract(ctx, clusterOn("1.2"), "1.2"); err != nil || !strings.Contains(cs.String(), "no migration of 1.2 that is marked") {
				t.Errorf("nothing is marked: %v, %v", cs, err)
			}
		})
	}
}
