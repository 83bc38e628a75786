package schema

import (
	"database/sql"
	"testing"
)

const pgSamesOld = `CREATE EXTENSION pgcrypto;
CREATE TYPE addr AS (street text, city text);
CREATE TYPE spot AS (x int);
CREATE TABLE orders (id serial PRIMARY KEY, a int, note text);
CREATE TABLE loose (id int);
CREATE TABLE a (id int, x int, y int);
CREATE TABLE b (id int, x int, y int);
CREATE FUNCTION fill() RETURNS void LANGUAGE sql AS 'UPDATE orders SET a = 1';
CREATE FUNCTION look() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM orders';
`

// TestPostgresSames: what is another one though it looks the same, and what the words of a statement do not say.
func TestPostgresSames(t *testing.T) {
	rulesOf(t, Options{Dialect: Postgres, Dev: pgServer(t)}, pgSamesOld, []ruled{
		{"SET lock_timeout='1s';", ""},
		{"ALTER TABLE orders DROP COLUMN note, ADD COLUMN note text;", "drop-column column public.orders.note"},
		{"DO $$ BEGIN DROP TABLE loose; CREATE TABLE loose (id int); END $$;", "drop-table table public.loose"},
		{"DO $$ BEGIN ALTER TABLE a RENAME TO c; ALTER TABLE b RENAME TO a; ALTER TABLE c RENAME TO b; END $$;", "rename-table table public.a; rename-table table public.b"},
		{"DO $$ BEGIN ALTER TABLE a RENAME x TO z; ALTER TABLE a RENAME y TO x; ALTER TABLE a RENAME z TO y; END $$;", "reorder-columns table public.a; drop-column column public.a.x; drop-column column public.a.y"},
		{"DO $$ BEGIN DELETE FROM orders; END $$;", "backfill-in-one-statement table public.orders"},
		{"SELECT fill();", "backfill-in-one-statement table public.orders"},
		{"DO $$ BEGIN INSERT INTO loose VALUES (1); END $$;", ""},
		{"SELECT look();", ""},
		{"ALTER TYPE addr DROP ATTRIBUTE city;", "change-domain composite type public.addr"},
		{"DROP TYPE spot;", "drop-type composite type public.spot"},
		{"DROP EXTENSION pgcrypto;", "drop-extension extension pgcrypto"},
		{"CREATE TABLE made (id int);", ""},
		{"DROP TABLE made;", ""},
		{"CREATE TABLE made (id int);", ""},
		{"ALTER TABLE orders ALTER a TYPE bigint;", "rewrite-table table public.orders; note widen-type column public.orders.a"},
	})
}

// TestMariaDBSames is the same; a table that is built anew with its rows is none of them.
func TestMariaDBSames(t *testing.T) {
	rulesOf(t, Options{Dialect: MySQL, Dev: mariaServer(t)}, "CREATE TABLE orders (id int PRIMARY KEY, a int, note varchar(100), KEY ka (a));\nCREATE TABLE free (id int PRIMARY KEY, a int);\nCREATE TABLE big (id int PRIMARY KEY, a int);\n", []ruled{
		{"SET SESSION lock_wait_timeout=2;", ""},
		{"ALTER TABLE orders DROP COLUMN note, ADD COLUMN note varchar(100);", "drop-column column orders.note"},
		{"CREATE OR REPLACE TABLE free (id int PRIMARY KEY, a int);", "drop-table table free"},
		{"CREATE TABLE new LIKE free;", ""},
		{"RENAME TABLE free TO old, new TO free;", "rename-table table free"},
		{"ALTER TABLE orders MODIFY note varchar(100) AFTER id;", "reorder-columns table orders"},
		{"ALTER TABLE big FORCE;", "note online-rebuild table big"},
		{"ALTER TABLE big ENGINE=InnoDB;", "note online-rebuild table big"},
		{"CREATE INDEX big_a ON big (a);", ""},
		{"OPTIMIZE TABLE big;", ""},
		{"EXECUTE IMMEDIATE 'DELETE FROM big';", "note unknown-lock statement"},
	})
}

// TestNumbersThatAreNotTold: who may not see InnoDB's numbers has none; that they could not be read is an error, and not that there are none.
func TestNumbersThatAreNotTold(t *testing.T) {
	for driver, c := range map[string]struct {
		d   Dialect
		dsn string
	}{"pgx": {Postgres, "postgres://nobody@127.0.0.1:1/nothing"}, "mysql": {MySQL, "nobody@tcp(127.0.0.1:1)/nothing"}} {
		db, err := sql.Open(driver, c.dsn)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if n, err := readNumbers(t.Context(), c.d, true, db); err == nil {
			t.Errorf("%s: no server, and no error: %v", c.d, n)
		}
	}
	text, db := database(t, MySQL, mariaServer(t), "numbers")
	run(t, db, "CREATE TABLE seen (id int)", "CREATE USER plain@'%'", "GRANT SELECT ON *.* TO plain@'%'")
	defer run(t, db, "DROP USER plain@'%'")
	if n, err := readNumbers(t.Context(), MySQL, true, db); err != nil || n[numberOf("seen", "")] == "" {
		t.Errorf("%v, %v", n, err)
	}
	plain, err := parseDSN(MySQL, "test", text)
	if err != nil {
		t.Fatal(err)
	}
	plain.my.User, plain.my.Passwd = "plain", ""
	own, err := plain.open(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	if n, err := readNumbers(t.Context(), MySQL, true, own); err != nil || len(n) > 0 {
		t.Errorf("without PROCESS: %v, %v", n, err)
	}
}
