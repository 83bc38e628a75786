package schema

import "testing"

const pgRelationsOld = `CREATE TABLE ev (once int, id bigint, a int, at date NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE ev1 PARTITION OF ev FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE TABLE ev2 PARTITION OF ev FOR VALUES FROM ('2021-01-01') TO ('2022-01-01');
ALTER TABLE ev DROP COLUMN once;
CREATE TABLE parents (id int PRIMARY KEY, name text UNIQUE);
CREATE TABLE kids (id int PRIMARY KEY, parent int CONSTRAINT kp REFERENCES parents);
CREATE TABLE plain (id int);
CREATE MATERIALIZED VIEW mv AS SELECT id FROM plain;
CREATE UNIQUE INDEX mv_id ON mv (id);
CREATE FOREIGN DATA WRAPPER w;
CREATE SERVER s FOREIGN DATA WRAPPER w;
CREATE FOREIGN TABLE ft (id int, a int) SERVER s;
`

// TestPostgresRelations: relations that Atlas does not inspect are old nodes' too, and a partition key behind a dropped column can be read.
func TestPostgresRelations(t *testing.T) {
	server := pgServer(t)
	rulesOf(t, Options{Dialect: Postgres, Dev: server}, pgRelationsOld, []ruled{
		{"SET lock_timeout='1s';", ""},
		{"ALTER TABLE ev ADD b int;", "note select-star column public.ev.b"},
		{"CREATE INDEX ev_id ON ev (id);", "index-not-concurrent table public.ev1; index-not-concurrent table public.ev2"},
		{"CREATE TABLE ev3 PARTITION OF ev FOR VALUES FROM ('2022-01-01') TO ('2023-01-01');", ""},
		{"ALTER TABLE ev DETACH PARTITION ev1;", "change-table-option partition ev1 on public.ev"},
		{"DROP TABLE ev2;", "change-table-option partition ev2 on public.ev"},
		{"ALTER TABLE ev DROP COLUMN a;", "drop-column column public.ev.a"},
		{"ALTER FOREIGN TABLE ft ADD b int;", ""},
		{"ALTER FOREIGN TABLE ft ALTER a TYPE text;", "change-type foreign column a on public.ft"},
		{"ALTER FOREIGN TABLE ft DROP COLUMN a;", "drop-column foreign column a on public.ft"},
		{"DROP FOREIGN TABLE ft;", "drop-table foreign table public.ft"},
		{"REFRESH MATERIALIZED VIEW mv;", "rewrite-table table public.mv"},
		{"REFRESH MATERIALIZED VIEW CONCURRENTLY mv;", ""},
		{"ALTER TABLE plain SET UNLOGGED;", "change-table-option persistence on public.plain; rewrite-table table public.plain"},
		{"ALTER TABLE kids DROP CONSTRAINT kp, ADD CONSTRAINT kp FOREIGN KEY (parent) REFERENCES parents DEFERRABLE INITIALLY DEFERRED;", "change-foreign-key deferred foreign key kp on public.kids; constraint-not-valid table public.kids"},
		{"ALTER TABLE parents DROP CONSTRAINT parents_name_key, ADD CONSTRAINT parents_name_key UNIQUE (name) DEFERRABLE;", "drop-unique deferrable key parents_name_key on public.parents; scan-under-lock table public.parents"},
	})

	// A live database has partitions that no migration made, and no longer has others.
	dsn, db := database(t, Postgres, server, "parts")
	live := pgRelationsOld[:len("CREATE TABLE ev (once int, id bigint, a int, at date NOT NULL) PARTITION BY RANGE (at);\n")]
	run(t, db, live, "CREATE TABLE ev9 PARTITION OF ev FOR VALUES FROM ('2029-01-01') TO ('2030-01-01')")
	r := checked(t, Options{Dialect: Postgres, From: dsn, Dev: server, To: folder(t, "1.sql", live+"CREATE TABLE ev1 PARTITION OF ev FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');", "2.sql", "CREATE TABLE more (id int);")})
	if r.Applied != "1.sql" || !r.Clean {
		t.Errorf("it stands at %q: %v", r.Applied, rulesFound(r))
	}
}

const myRelationsOld = `CREATE TABLE orders (id bigint PRIMARY KEY, a int, b int, KEY ka (a)) WITH SYSTEM VERSIONING;
CREATE TABLE x (id int PRIMARY KEY, a int, h int INVISIBLE DEFAULT 1, KEY ka (a));
CREATE TABLE p (id int PRIMARY KEY, a int) PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN (20));
CREATE TABLE plain (id int PRIMARY KEY);
`

// TestMariaDBRelations: the same for tables with system versioning, hidden columns and indexes, and partitions.
func TestMariaDBRelations(t *testing.T) {
	rulesOf(t, Options{Dialect: MySQL, Dev: mariaServer(t)}, myRelationsOld, []ruled{
		{"SET SESSION lock_wait_timeout=2, system_versioning_alter_history=KEEP;", ""},
		{"ALTER TABLE x ADD COLUMN n int;", "note select-star column x.n"},
		{"CREATE TABLE inv (id bigint PRIMARY KEY, o bigint NOT NULL, CONSTRAINT fo FOREIGN KEY (o) REFERENCES orders (id));", "foreign-key-blocks-delete foreign key fo"},
		{"DROP TABLE inv;", ""},
		{"ALTER TABLE x ALTER INDEX ka IGNORED;", "drop-index ignored index ka on x"},
		{"ALTER TABLE x MODIFY a int INVISIBLE;", "hide-column invisible column a on x"},
		{"ALTER TABLE x MODIFY h int DEFAULT 1;", "note select-star invisible column h on x"},
		{"ALTER TABLE p ADD PARTITION (PARTITION p2 VALUES LESS THAN (30));", "note unknown-lock statement"},
		{"ALTER TABLE p DROP PARTITION p0;", "change-table-option partition p0 on p; note unknown-lock statement"},
		{"ALTER TABLE p TRUNCATE PARTITION p1;", "truncate-table table p; note unknown-lock statement"},
		{"ALTER TABLE plain ADD SYSTEM VERSIONING;", "change-table-option system versioning on plain; note online-rebuild table plain"},
		{"ALTER TABLE orders DROP COLUMN b;", "drop-column column orders.b"},
		{"DROP TABLE orders;", "drop-table table orders"},
	})
}

// TestContractWords: what takes rows or names away is not applied in an expand step.
func TestContractWords(t *testing.T) {
	for text, want := range map[string]bool{
		"DROP FOREIGN TABLE ft": true, "ALTER FOREIGN TABLE ft DROP COLUMN a": true, "ALTER TABLE ev DETACH PARTITION ev1": true, "ALTER TABLE ev DETACH PARTITION ev1 CONCURRENTLY": true,
		"ALTER TABLE p TRUNCATE PARTITION p0": true, "ALTER TABLE p EXCHANGE PARTITION p0 WITH TABLE q": true, "DROP SERVER s": true, "DROP EXTENSION e": true, "CREATE OR REPLACE TABLE a (b int)": true, "CREATE OR REPLACE VIEW v AS SELECT 1": false, "ALTER TABLE a DROP COLUMN b": true,
		"ALTER TABLE ev ATTACH PARTITION ev1 FOR VALUES IN (1)": false, "ALTER FOREIGN TABLE ft ADD b int": false, "ALTER TABLE a ALTER b DROP NOT NULL": false, "CREATE FOREIGN TABLE ft (a int) SERVER s": false,
	} {
		if got := contracts(text); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}
