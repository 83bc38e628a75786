package schema

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"ariga.io/atlas/sql/schema"
	"github.com/jackc/pgx/v5/pgconn"
)

const blocksOld = `CREATE TABLE orders (id bigint PRIMARY KEY);
CREATE TABLE items (id bigint PRIMARY KEY, order_id bigint NOT NULL REFERENCES orders ON DELETE CASCADE);
`

// TestPostgresDeletes: a DELETE that the old schema took is refused by a key that is reached through others, or that can't set what it should.
func TestPostgresDeletes(t *testing.T) {
	const acts, blocks = "note foreign-key-acts-on-delete foreign key ", "foreign-key-blocks-delete foreign key "
	rulesOf(t, Options{Dialect: Postgres, Dev: pgServer(t), Allow: []string{"missing-lock-timeout"}}, blocksOld, []ruled{
		{"SET lock_timeout='2s';", ""},
		{"CREATE TABLE a (id bigint PRIMARY KEY, order_id bigint REFERENCES orders ON DELETE CASCADE);", acts + "a_order_id_fkey"},
		{"CREATE TABLE b (id bigint PRIMARY KEY, a_id bigint REFERENCES a);", blocks + "b_a_id_fkey"},
		{"CREATE TABLE b2 (id bigint PRIMARY KEY, b_id bigint REFERENCES b);", ""}, // nothing deletes from b
		{"ALTER TABLE b DROP CONSTRAINT b_a_id_fkey, ADD CONSTRAINT b_a_id_fkey FOREIGN KEY (a_id) REFERENCES a ON DELETE CASCADE;", blocks + "b2_b_id_fkey"},
		{"CREATE TABLE c (id bigint PRIMARY KEY, order_id bigint NOT NULL REFERENCES orders ON DELETE SET NULL);", blocks + "c_order_id_fkey; " + acts + "c_order_id_fkey"},
		{"CREATE TABLE d (id bigint PRIMARY KEY, order_id bigint UNIQUE REFERENCES orders ON DELETE SET NULL);", acts + "d_order_id_fkey"},
		{"CREATE TABLE d2 (id bigint PRIMARY KEY, o bigint NOT NULL REFERENCES d (order_id) ON UPDATE CASCADE);", blocks + "d2_o_fkey"},
		{"ALTER TABLE d ALTER order_id SET NOT NULL;", blocks + "d_order_id_fkey"},
		{"ALTER TABLE a DROP CONSTRAINT a_order_id_fkey, ADD CONSTRAINT a_order_id_fkey FOREIGN KEY (order_id) REFERENCES orders;", blocks + "a_order_id_fkey"},
		{"CREATE TABLE e (id bigint PRIMARY KEY, order_id bigint DEFAULT 7 REFERENCES orders ON DELETE SET DEFAULT);", blocks + "e_order_id_fkey; " + acts + "e_order_id_fkey"},
		{"CREATE TABLE f (tenant bigint NOT NULL, order_id bigint REFERENCES orders ON DELETE SET NULL (order_id));", acts + "f_order_id_fkey"},
		{"CREATE TABLE g (id bigint PRIMARY KEY, item bigint REFERENCES items);", blocks + "g_item_fkey"},
	})
}

// randomSchema is old tables, new ones, and rows of all: keys refer to earlier tables or to their own.
type randomSchema struct {
	old, young []string // statements
	tables     int
	known      int // so many of the tables are old
}

func makeSchema(r *rand.Rand) (s randomSchema) {
	s.known, s.tables = 1+r.IntN(2), 3+r.IntN(2)
	actions := []string{"NO ACTION", "RESTRICT", "CASCADE", "CASCADE", "CASCADE", "SET NULL", "SET NULL", "SET DEFAULT"}
	any := func(of ...string) string { return of[r.IntN(len(of))] }
	unique := make([]bool, s.tables) // whether k0 may be referred to
	for i := range s.tables {
		text := fmt.Sprintf("CREATE TABLE t%d (id int PRIMARY KEY", i)
		for k := range min(i, 1) + min(i, r.IntN(2)) {
			to, col := r.IntN(i), "id"
			if k == 1 && r.IntN(3) == 0 {
				to = i // its own
			}
			if unique[to] && to < i && r.IntN(2) == 0 {
				col = "k0"
			}
			text += fmt.Sprintf(", k%d int %s%s REFERENCES t%d (%s) ON DELETE %s ON UPDATE %s", k, any("NULL", "NOT NULL"), any("", "", " DEFAULT 1"), to, col, any(actions...), any(actions...))
			if k == 0 && r.IntN(2) == 0 {
				text += " UNIQUE"
				unique[i] = true
			}
		}
		if text += ")"; i < s.known {
			s.old = append(s.old, text)
		} else {
			s.young = append(s.young, text)
		}
	}
	return s
}

// fill writes rows 1 to n of a table: its keys refer to rows that are there, or to its own.
func fill(t *testing.T, db *sql.DB, r *rand.Rand, table *schema.Table, n int) {
	t.Helper()
	columns := map[string][]string{}
	for _, f := range table.ForeignKeys {
		var values []string
		if f.RefTable == table {
			for i := range n {
				values = append(values, fmt.Sprint(i+1))
			}
		} else {
			var err error
			if values, err = column(context.Background(), db, fmt.Sprintf("SELECT %s::text FROM %s", f.RefColumns[0].Name, f.RefTable.Name)); err != nil {
				t.Fatal(err)
			}
		}
		r.Shuffle(len(values), func(i, k int) { values[i], values[k] = values[k], values[i] })
		name := f.Columns[0].Name
		if !slices.ContainsFunc(table.Indexes, func(i *schema.Index) bool { return indexColumns(i)[0].Name == name }) {
			for i, from := range slices.Clone(values) {
				values[r.IntN(i+1)] = from // some twice
			}
		}
		columns[name] = values
	}
	names, rows := []string{"id"}, make([]string, n)
	for i := range n {
		rows[i] = fmt.Sprint(i + 1)
	}
	for _, c := range table.Columns[1:] {
		names = append(names, c.Name)
		for i := range n {
			rows[i] += ", " + columns[c.Name][i]
		}
	}
	run(t, db, fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s)", table.Name, strings.Join(names, ", "), strings.Join(rows, "), (")))
}

// TestPostgresDeletesTried: on random schemas, a DELETE of an old node's fails on a real server where there is a finding, and nowhere else.
func TestPostgresDeletesTried(t *testing.T) {
	const schemas, fills, rows = 30, 4, 4
	ctx := context.Background()
	r := rand.New(rand.NewPCG(4, 2)) //nolint:gosec // the same schemas in each run
	_, db := database(t, Postgres, pgServer(t), "deletes")
	drv, err := driver(Postgres, db)
	if err != nil {
		t.Fatal(err)
	}
	refused, taken := 0, 0
	for n := range schemas {
		s := makeSchema(r)
		run(t, db, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
		run(t, db, s.old...)
		base, err := inspect(ctx, Postgres, db)
		if err != nil {
			t.Fatal(err)
		}
		run(t, db, s.young...)
		after, err := inspect(ctx, Postgres, db)
		if err != nil {
			t.Fatal(err)
		}
		d, err := base.diff(after, drv)
		if err != nil {
			t.Fatal(err)
		}
		j := &judge{dialect: Postgres, base: base, before: base, after: after}
		j.judgeDiff(d)
		found := map[string]bool{} // by the table of the DELETE
		for _, f := range j.out {
			if f.Rule == "foreign-key-blocks-delete" {
				for i := range s.known {
					if name := fmt.Sprintf("public.t%d", i); strings.Contains(f.Detail, "DELETE FROM "+name+" ") || strings.Contains(f.Detail, "DELETE FROM "+name+":") {
						found[name] = true
					}
				}
			}
		}
		fails := map[string]string{}
		for range fills {
			var order []string
			for i := s.tables - 1; i >= 0; i-- {
				order = append(order, fmt.Sprintf("t%d", i))
			}
			run(t, db, "TRUNCATE "+strings.Join(order, ", "))
			for i := range s.tables {
				fill(t, db, r, after.table(fmt.Sprintf("public.t%d", i)), rows)
			}
			for i := range s.known {
				name := fmt.Sprintf("public.t%d", i)
				for id := range rows {
					tx, err := db.Begin()
					if err != nil {
						t.Fatal(err)
					}
					_, err = tx.Exec(fmt.Sprintf("DELETE FROM %s WHERE id=%d", name, id+1))
					if e := tx.Rollback(); e != nil {
						t.Fatal(e)
					}
					var pg *pgconn.PgError
					if err != nil && !errors.As(err, &pg) {
						t.Fatal(err)
					}
					if pg != nil && !slices.ContainsFunc(base.graph().blockers(name), func(b blocker) bool { return b.key.Table.Name == pg.TableName }) {
						fails[name] = pg.Message
					}
				}
			}
		}
		for i := range s.known {
			name := fmt.Sprintf("public.t%d", i)
			switch {
			case fails[name] != "" && !found[name]:
				t.Errorf("schema %d: DELETE FROM %s: %s: no finding\n%s;\n-- new\n%s", n, name, fails[name], strings.Join(s.old, ";\n"), strings.Join(s.young, ";\n"))
			case fails[name] == "" && found[name] && len(base.graph().blockers(name)) == 0:
				t.Errorf("schema %d: DELETE FROM %s never failed, but: %v\n%s;\n-- new\n%s", n, name, j.out, strings.Join(s.old, ";\n"), strings.Join(s.young, ";\n"))
			case found[name]:
				refused++
			default:
				taken++
			}
		}
	}
	t.Logf("%d tables whose DELETE is refused, %d whose is not", refused, taken)
	if refused < 10 || taken < 5 {
		t.Error("the random schemas show too little")
	}
}
