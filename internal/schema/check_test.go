package schema

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// folder writes files into a new folder: name, text, name, text.
func folder(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		if err := os.WriteFile(filepath.Join(dir, files[i]), []byte(files[i+1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func checked(t *testing.T, o Options) *Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	r, err := Check(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// ruled is what one statement of a migration gives: "rule object", with "note" before what does not count, joined by "; ".
type ruled struct{ sql, want string }

// rulesOf checks all statements as one migration, each in a file of its own, and compares what is found in each.
func rulesOf(t *testing.T, o Options, old string, cases []ruled) {
	t.Helper()
	files := []string{"1_init.sql", old}
	for i, c := range cases {
		files = append(files, fmt.Sprintf("%d_new.sql", i+2), "-- a comment\n"+c.sql)
	}
	o.From, o.To = folder(t, "1_init.sql", old), folder(t, files...)
	r := checked(t, o)
	got := map[string][]string{}
	for _, f := range r.Findings {
		s := f.Rule + " " + f.Object
		if f.Severity == Note {
			s = "note " + s
		}
		got[filepath.Base(f.File)] = append(got[filepath.Base(f.File)], s)
		if f.File == "" || f.Line < 2 || f.Why == "" || f.Safe == "" || f.Statement == "" {
			t.Errorf("%s is without its place, statement, reason or remedy: %+v", f.Rule, f)
		}
	}
	for i, c := range cases {
		if s := strings.Join(got[fmt.Sprintf("%d_new.sql", i+2)], "; "); s != c.want {
			t.Errorf("%s\n got  %s\n want %s", c.sql, s, c.want)
		}
	}
	for _, rule := range o.Allow {
		if strings.Contains(fmt.Sprint(got), rule) && r.Clean {
			t.Error("an allowed rule hides others")
		}
	}
}

const pgOld = `CREATE TABLE orders (
  id bigserial PRIMARY KEY,
  customer text NOT NULL,
  total numeric(10,2) NOT NULL DEFAULT 0,
  state varchar(20)
);
CREATE TABLE lines (id bigint PRIMARY KEY, order_id bigint REFERENCES orders, code varchar(20), price int DEFAULT 1);
CREATE INDEX lines_order ON lines (order_id);
CREATE TABLE gone (id int PRIMARY KEY, a text UNIQUE, b text, c text CHECK (c <> ''), m text);
CREATE TABLE other (id int);
CREATE TYPE mood AS ENUM ('sad','ok');
CREATE VIEW open_orders AS SELECT id FROM orders WHERE state='open';
CREATE SEQUENCE tickets;
CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.m := 'x;'; RETURN NEW; END $$;
CREATE FUNCTION g() RETURNS int LANGUAGE sql AS 'SELECT 1';
`

func TestPostgresRules(t *testing.T) {
	rulesOf(t, Options{Dialect: Postgres, Dev: pgServer(t)}, pgOld, []ruled{
		{"CREATE TABLE notes (id int PRIMARY KEY, body text);", ""},
		{"ALTER TABLE orders ADD COLUMN note text NOT NULL DEFAULT '';", "note select-star column public.orders.note; note missing-lock-timeout table public.orders"},
		{"SET lock_timeout='2s';", ""},
		{"ALTER TABLE orders ADD COLUMN ref text;", "note select-star column public.orders.ref"},
		{"ALTER TABLE orders ADD COLUMN must text NOT NULL;", "add-required-column column public.orders.must; scan-under-lock table public.orders"},
		{"ALTER TABLE orders ALTER ref SET NOT NULL;", "add-required-column column public.orders.ref; scan-under-lock table public.orders"},
		{"ALTER TABLE orders ALTER ref DROP NOT NULL;", ""},
		{"CREATE UNIQUE INDEX CONCURRENTLY u0 ON orders (ref);", ""}, // old nodes leave it NULL
		{"CREATE UNIQUE INDEX CONCURRENTLY u1 ON orders (customer);", "add-unique index u1"},
		{"CREATE UNIQUE INDEX u2 ON orders (customer);", "add-unique index u2; index-not-concurrent table public.orders"},
		{"CREATE INDEX CONCURRENTLY i1 ON orders (customer);", ""},
		{"CREATE INDEX i2 ON orders (customer);", "index-not-concurrent table public.orders"},
		{"ALTER TABLE orders ADD CONSTRAINT c1 CHECK (total >= 0);", "add-check check c1; constraint-not-valid table public.orders"},
		{"ALTER TABLE orders ADD CONSTRAINT c2 CHECK (total >= -1) NOT VALID;", "add-check check c2"},
		{"ALTER TABLE orders VALIDATE CONSTRAINT c2;", ""},
		{"ALTER TABLE orders ADD kind text DEFAULT 'a';", "note select-star column public.orders.kind"},
		{"ALTER TABLE orders ADD CONSTRAINT c3 CHECK (kind IN ('a','b')) NOT VALID;", ""}, // an old node's rows have 'a'
		{"ALTER TABLE orders ADD CONSTRAINT c4 CHECK (kind <> 'a') NOT VALID;", "add-check check c4"},
		{"CREATE TABLE invoices (id int PRIMARY KEY, order_id bigint REFERENCES orders);", "foreign-key-blocks-delete foreign key invoices_order_id_fkey"},
		{"CREATE TABLE parts (id int PRIMARY KEY, order_id bigint REFERENCES orders ON DELETE CASCADE);", "note foreign-key-acts-on-delete foreign key parts_order_id_fkey"},
		{"ALTER TABLE gone ADD CONSTRAINT f1 FOREIGN KEY (id) REFERENCES lines;", "foreign-key-blocks-delete foreign key f1; add-foreign-key foreign key f1; constraint-not-valid table public.gone"},
		{"ALTER TYPE mood ADD VALUE 'happy';", "note add-enum-value type mood"},
		{"ALTER TYPE mood RENAME VALUE 'ok' TO 'fine';", "drop-enum-value type mood"},
		{"CREATE TRIGGER tr BEFORE INSERT ON gone FOR EACH ROW EXECUTE FUNCTION f();", "add-trigger trigger tr on public.gone"},
		{"CREATE OR REPLACE FUNCTION g() RETURNS int LANGUAGE sql AS 'SELECT 2';", "change-routine function public.g()"},
		{"DROP FUNCTION g();", "drop-routine function public.g()"},
		{"ALTER TABLE orders ADD gross numeric GENERATED ALWAYS AS (total*1.2) STORED;", "rewrite-table table public.orders; note add-generated-column column public.orders.gross"},
		{"ALTER TABLE orders ADD token uuid DEFAULT gen_random_uuid();", "volatile-default table public.orders; note select-star column public.orders.token"},
		{"ALTER TABLE gone ALTER m TYPE text COLLATE \"POSIX\";", "change-collation column public.gone.m"},
		{"ALTER TABLE lines ALTER code TYPE varchar(30);", "note widen-type column public.lines.code"},
		{"ALTER TABLE lines ALTER code TYPE varchar(10);", "narrow-type column public.lines.code; rewrite-table table public.lines"},
		{"ALTER TABLE lines ALTER price TYPE bigint;", "rewrite-table table public.lines; note widen-type column public.lines.price"},
		{"ALTER TABLE lines ALTER price TYPE text;", "change-type column public.lines.price; rewrite-table table public.lines"},
		{"ALTER TABLE lines ALTER code SET NOT NULL;", "set-not-null column public.lines.code; scan-under-lock table public.lines"},
		{"ALTER TABLE orders ALTER total SET DEFAULT 1;", "change-default column public.orders.total"},
		{"ALTER TABLE orders ALTER total DROP DEFAULT;", "drop-default column public.orders.total"},
		{"ALTER TABLE orders ALTER customer SET DEFAULT 'x';", "note add-default column public.orders.customer"},
		{"UPDATE orders SET state='x';", "backfill-in-one-statement table public.orders"},
		{"TRUNCATE other;", "truncate-table table public.other"},
		{"DELETE FROM other WHERE id < 5;", "delete-rows table public.other"},
		{"CREATE TABLE later (id int);", ""},
		{"DELETE FROM later WHERE id = 1;", ""},
		{"CREATE TABLE heir () INHERITS (other);", "change-inheritance inheritance heir on public.other"},
		{"ALTER TABLE heir NO INHERIT other;", ""},
		{"ALTER TABLE other OWNER TO pg_monitor;", "change-owner owner on public.other"},
		{"ALTER TABLE later OWNER TO pg_monitor;", ""},
		{"VACUUM FULL other;", "rewrite-table table public.other"},
		{"CREATE OR REPLACE VIEW open_orders AS SELECT id FROM orders;", "change-view view public.open_orders"},
		{"DROP VIEW open_orders;", "drop-view view public.open_orders"},
		{"DROP SEQUENCE tickets;", "drop-sequence sequence public.tickets"},
		{"DROP INDEX lines_order;", "drop-index index lines_order"},
		{"ALTER TABLE gone DROP CONSTRAINT gone_a_key;", "drop-unique index gone_a_key"},
		{"ALTER TABLE gone DROP CONSTRAINT gone_c_check;", "note drop-check check gone_c_check"},
		{"ALTER TABLE gone DROP CONSTRAINT gone_pkey;", "change-primary-key table public.gone"},
		{"ALTER TABLE lines DROP CONSTRAINT lines_order_id_fkey;", "drop-foreign-key foreign key lines_order_id_fkey"},
		{"ALTER TABLE orders ENABLE ROW LEVEL SECURITY;", "row-security row security on public.orders"},
		{"ALTER TABLE gone ALTER id ADD GENERATED ALWAYS AS IDENTITY;", "change-identity column public.gone.id"},
		{"CREATE TABLE tmp (id int); ALTER TABLE tmp ADD x int NOT NULL; DROP TABLE tmp;", ""},
		{"ALTER TABLE orders RENAME customer TO buyer;", "rename-column column public.orders.customer"},
		{"ALTER TABLE orders DROP COLUMN state;", "drop-column column public.orders.state"},
		{"ALTER TABLE other RENAME TO another;", "rename-table table public.other"},
		{"DROP TABLE gone;", "drop-table table public.gone"},
	})
}
