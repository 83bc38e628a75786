package schema

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	"ariga.io/atlas/sql/migrate"
	atlasmysql "ariga.io/atlas/sql/mysql"
	"ariga.io/atlas/sql/postgres"
	"ariga.io/atlas/sql/schema"
	"github.com/go-sql-driver/mysql"
)

// JournalTable is where Apply keeps what it has done. It is no part of anybody's schema.
const JournalTable = "windlass_schema_journal"

// bookkeeping are the tables of migration tools, which are no part of a schema.
var bookkeeping = []string{JournalTable, "windlass_features", "schema_migrations", "goose_db_version", "flyway_schema_history", "atlas_schema_revisions", "DATABASECHANGELOG", "DATABASECHANGELOGLOCK", "databasechangelog", "databasechangeloglock"}

// state is what a database's catalog says at one time.
type state struct {
	realm  *schema.Realm
	extras map[string]extra // by its key
	// numbers are those of one server's database: read of a development database alone.
	numbers identities
}

// extra is what Atlas does not inspect: views, sequences, routines, triggers, policies, grants and the like.
type extra struct{ Kind, Schema, Table, Name, Def string }

func (e extra) key() string { return strings.Join([]string{e.Kind, e.Schema, e.Table, e.Name}, "\x00") }

// object is how a person calls it.
func (e extra) object() string {
	if e.Name == e.Kind {
		return e.Kind + " on " + dotted(e.Schema, e.Table)
	}
	name := dotted(e.Schema, e.Name)
	if e.Table != "" {
		name = e.Name + " on " + dotted(e.Schema, e.Table)
	}
	return e.Kind + " " + name
}

func dotted(a, b string) string {
	if a == "" {
		return b
	}
	return a + "." + b
}

// tableName is schema.table, or the table alone where there is one schema only (MySQL).
func tableName(t *schema.Table) string {
	if t.Schema == nil || t.Schema.Name == mySchema {
		return t.Name
	}
	return dotted(t.Schema.Name, t.Name)
}

// mySchema stands for the one schema of a MySQL database, whatever its name is on a server.
const mySchema = "windlass_any"

func (s *state) table(name string) *schema.Table {
	for _, sc := range s.realm.Schemas {
		for _, t := range sc.Tables {
			if tableName(t) == name {
				return t
			}
		}
	}
	return nil
}

func (s *state) tables() []*schema.Table {
	var out []*schema.Table
	for _, sc := range s.realm.Schemas {
		out = append(out, sc.Tables...)
	}
	return out
}

// driver is Atlas on a database.
func driver(d Dialect, db schema.ExecQuerier) (migrate.Driver, error) {
	if d == Postgres {
		return postgres.Open(catalog{db})
	}
	return atlasmysql.Open(catalog{db})
}

// inspect reads a database's state. db is a pool whose connections see the database in question.
func inspect(ctx context.Context, d Dialect, db *sql.DB) (*state, error) {
	drv, err := driver(d, db)
	if err != nil {
		return nil, fmt.Errorf("inspect the schema: %w", err)
	}
	s := &state{extras: map[string]extra{}}
	if d == Postgres {
		if s.realm, err = drv.InspectRealm(ctx, nil); err != nil {
			return nil, fmt.Errorf("inspect the schema: %w", err)
		}
	} else {
		sc, err := drv.InspectSchema(ctx, "", nil)
		if err != nil {
			return nil, fmt.Errorf("inspect the schema: %w", err)
		}
		sc.Name = mySchema
		s.realm = &schema.Realm{Schemas: []*schema.Schema{sc}}
		sc.Realm = s.realm
		// A database's own defaults are not its tables'; the development database has the server's.
		sc.Attrs = nil
		for _, t := range sc.Tables {
			t.Attrs = slices.DeleteFunc(t.Attrs, func(a schema.Attr) bool {
				switch a.(type) {
				case *atlasmysql.AutoIncrement, *atlasmysql.CreateStmt:
					return true // where counting stands, and text with names of its own
				}
				return false
			})
		}
	}
	for _, sc := range s.realm.Schemas {
		sc.Tables = slices.DeleteFunc(sc.Tables, func(t *schema.Table) bool {
			return slices.Contains(bookkeeping, t.Name) || strings.HasPrefix(t.Name, samplePrefix)
		})
	}
	if err := s.readExtras(ctx, d, db); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *state) readExtras(ctx context.Context, d Dialect, db *sql.DB) error {
	queries := slices.Concat(pgExtras, pgRelations)
	var own string
	if d == MySQL {
		var version string
		if err := db.QueryRowContext(ctx, "SELECT VERSION(), DATABASE()").Scan(&version, &own); err != nil {
			return fmt.Errorf("read the server's version: %w", err)
		}
		queries = slices.Concat(myExtras, myRelations, []string{mysqlIgnored})
		if strings.Contains(version, "MariaDB") {
			queries = slices.Concat(myExtras, myRelations, []string{mariaSequences, mariaIgnored})
		}
	}
	for _, q := range queries {
		rows, err := db.QueryContext(ctx, q)
		var my *mysql.MySQLError
		if errors.As(err, &my) && my.Number == 1054 && (q == mysqlIgnored || q == mariaIgnored) {
			continue // the server is too old to have such indexes
		}
		if err != nil {
			return fmt.Errorf("read views, triggers and the like: %w", err)
		}
		for rows.Next() {
			var e extra
			var def sql.NullString
			if err := rows.Scan(&e.Kind, &e.Schema, &e.Table, &e.Name, &def); err != nil {
				return errors.Join(err, rows.Close())
			}
			e.Def = def.String
			if own != "" {
				e.Def = strings.ReplaceAll(e.Def, "`"+own+"`.", "")
			}
			if slices.Contains(bookkeeping, e.Table) || slices.Contains(bookkeeping, e.Name) {
				continue
			}
			s.extras[e.key()] = e
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return fmt.Errorf("read views, triggers and the like: %w", err)
		}
	}
	return nil
}

// diff is what changed from one state to another: Atlas' changes of tables, and extras that went, came and changed.
type diff struct {
	changes           []schema.Change
	gone, came, other []extra // other are those after the change
}

func (d diff) empty() bool { return len(d.changes)+len(d.gone)+len(d.came)+len(d.other) == 0 }

func (s *state) diff(to *state, drv migrate.Driver) (diff, error) {
	var out diff
	var err error
	if out.changes, err = drv.RealmDiff(s.realm, to.realm); err != nil {
		return out, fmt.Errorf("compare schemas: %w", err)
	}
	for k, e := range s.extras {
		if after, ok := to.extras[k]; !ok {
			out.gone = append(out.gone, e)
		} else if after.Def != e.Def {
			out.other = append(out.other, after)
		}
	}
	for k, e := range to.extras {
		if _, ok := s.extras[k]; !ok {
			out.came = append(out.came, e)
		}
	}
	for _, es := range [][]extra{out.gone, out.came, out.other} {
		sort.Slice(es, func(i, j int) bool { return es[i].key() < es[j].key() })
	}
	return out, nil
}
