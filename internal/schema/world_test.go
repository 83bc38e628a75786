package schema

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// database makes a database on a server, and returns its DSN and a pool.
func database(t *testing.T, d Dialect, server, name string) (string, *sql.DB) {
	t.Helper()
	ctx := context.Background()
	s, err := parseDSN(d, "test", server)
	if err != nil {
		t.Fatal(err)
	}
	admin, err := s.open(ctx, "test")
	if err != nil {
		t.Fatal(err)
	}
	name = fmt.Sprintf("%s_%d", name, time.Now().UnixNano())
	if _, err := admin.Exec("CREATE DATABASE " + name); err != nil {
		t.Fatal(err)
	}
	own := s.on(name)
	db, err := own.open(ctx, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		db.Close()
		if _, err := admin.Exec("DROP DATABASE " + name); err != nil {
			t.Error(err)
		}
		admin.Close()
	})
	if d == MySQL {
		return own.my.FormatDSN(), db
	}
	return fmt.Sprintf("postgres://%s:%s@%s:%d/%s?sslmode=disable", own.pg.User, "s3cret-password", own.pg.Host, own.pg.Port, name), db
}

func run(t *testing.T, db *sql.DB, stmts ...string) {
	t.Helper()
	for _, s := range stmts {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

func rulesFound(r *Report) []string {
	var out []string
	for _, f := range r.Findings {
		if f.Counts() {
			out = append(out, f.Rule)
		}
	}
	return out
}

const pgLive = `CREATE TABLE parents (id int PRIMARY KEY, name text);
CREATE TABLE events (id bigserial PRIMARY KEY, body text, parent int);
CREATE VIEW names AS SELECT name FROM parents;
`

// TestPostgresLive: the position of a live database in a folder is found, sizes are taken, and the old version's statements are tried.
func TestPostgresLive(t *testing.T) {
	server := pgServer(t)
	dsn, db := database(t, Postgres, server, "live")
	run(t, db, pgLive, "INSERT INTO events (body) SELECT repeat('x',100) FROM generate_series(1,100000)", "ANALYZE")
	old := filepath.Join(folder(t, "old.sql", "INSERT INTO parents VALUES (1,'a');\nINSERT INTO events (body,parent) VALUES ('x',2);\nDELETE FROM parents WHERE id=1;\nSELECT body FROM events WHERE id=$1;\nSELECT nothing FROM events;\n"), "old.sql")
	to := folder(t, "1_init.sql", pgLive, "2_index.sql", "CREATE INDEX events_body ON events (body);", "10_key.sql",
		"SET lock_timeout='1s';\nALTER TABLE events ADD CONSTRAINT fp FOREIGN KEY (parent) REFERENCES parents NOT VALID;\nALTER TABLE events RENAME body TO text;")
	r := checked(t, Options{Dialect: Postgres, From: dsn, To: to, Dev: server, Statements: old, Measure: true})
	if r.Applied != "1_init.sql" {
		t.Errorf("the live database stands at %q", r.Applied)
	}
	want := []string{"index-not-concurrent", "foreign-key-blocks-delete", "add-foreign-key", "old-statement-fails", "rename-column", "old-statement-fails"}
	if got := rulesFound(r); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	if r.Tried != 4 || r.Prepared != 1 || len(r.Unfit) != 1 || r.Unfit[0].Line != 5 {
		t.Errorf("tried %d, prepared %d, unfit %v", r.Tried, r.Prepared, r.Unfit)
	}
	e := r.Findings[0].Estimate
	if e == nil || e.Rows != 100000 || e.Seconds <= 0 || e.Low > e.Seconds || e.High < e.Seconds {
		t.Errorf("estimate %+v", e)
	}
	t.Log(e)
	var text strings.Builder
	if err := r.WriteText(&text); err != nil || strings.Contains(text.String(), "s3cret") {
		t.Errorf("%v: %s", err, text.String())
	}
	left, err := column(context.Background(), db, "SELECT datname FROM pg_database WHERE datname LIKE 'windlass_dev_%'")
	if err != nil || len(left) > 0 && os.Getenv("WINDLASS_TEST_POSTGRES") == "" {
		t.Errorf("databases are left: %v, %v", left, err)
	}

	// The difference of two schemas, for which there are no statements.
	file := filepath.Join(folder(t, "s.sql", "CREATE TABLE parents (id int PRIMARY KEY,\n  name text,\n  age int NOT NULL);\nCREATE TABLE events (id bigserial PRIMARY KEY, body varchar(10), parent int);\n"), "s.sql")
	r = checked(t, Options{Dialect: Postgres, From: dsn, To: file, Dev: server})
	got := rulesFound(r)
	slices.Sort(got)
	if want := []string{"add-required-column", "drop-view", "narrow-type", "rewrite-table", "scan-under-lock"}; !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	for _, f := range r.Findings {
		if f.Rule == "add-required-column" && (f.File != file || f.Line != 3) {
			t.Errorf("the place is %s:%d", f.File, f.Line)
		}
	}

	// A database that somebody changed by hand is no state of the folder.
	run(t, db, "ALTER TABLE events ADD byhand int")
	_, err = Check(context.Background(), Options{Dialect: Postgres, From: dsn, To: to, Dev: server})
	var e2 *Error
	if !errors.As(err, &e2) || !e2.Usage || !strings.Contains(err.Error(), "table public.events differs") || !strings.Contains(e2.Hint, "--applied") {
		t.Errorf("got %v", err)
	}
	r = checked(t, Options{Dialect: Postgres, From: dsn, To: to, Dev: server, Applied: "2", Allow: []string{"rename-column", "add-foreign-key", "foreign-key-blocks-delete"}})
	if !r.Clean {
		t.Errorf("got %v", rulesFound(r))
	}
}

// TestBadInput: each mistake is told with its place and remedy, and without a password.
func TestBadInput(t *testing.T) {
	server := pgServer(t)
	ok := folder(t, "1.sql", "CREATE TABLE a (id int);")
	file := func(text string) string { return filepath.Join(folder(t, "x.sql", text), "x.sql") }
	two := func(text string) string { return folder(t, "1.sql", "CREATE TABLE a (id int);", "2.sql", text) }
	for _, c := range []struct {
		o          Options
		what, hint string
	}{
		{Options{From: "", To: ok}, "--from is needed", "schema file"},
		{Options{From: ok, To: filepath.Join(ok, "nowhere")}, "--to: can't be read", "a folder of migrations"},
		{Options{From: ok, To: t.TempDir()}, "holds no *.sql", "name the folder"},
		{Options{From: "postgres://u:s3cret@host:port/x", To: ok}, "--from: can't be read as a PostgreSQL data source name", "postgres://USER"},
		{Options{From: "postgres://u:s3cret@127.0.0.1:1/x", To: ok}, "--from: can't reach postgres://127.0.0.1:1/x", "see that the server runs"},
		{Options{From: "u:s3cret@tcp(127.0.0.1:1)/x", To: ok}, "another dialect than postgres", "--dialect"},
		{Options{From: "env:WINDLASS_NOT_SET", To: ok}, "WINDLASS_NOT_SET is empty", "put the data source name"},
		{Options{From: ok, To: ok, Dev: "mysql-9.7"}, "neither a data source name nor a server that can be started", "postgresql-15"},
		{Options{From: ok, To: two("CREATE TABLE b (id int);\n\nALTER TABLE\n  nothing ADD x int;")}, "2.sql:3: \"ALTER TABLE nothing ADD x int\" fails", "mend the migration"},
		{Options{From: ok, To: two("SELECT 'no end")}, "2.sql", "quote"},
		{Options{From: ok, To: two("DROP DATABASE postgres")}, "2.sql:1: \"DROP DATABASE postgres\" acts on the server", "take it out"},
		{Options{From: ok, To: folder(t, "1.sql", "CREATE TABLE b (id int);")}, "1.sql: is not the same", "write a new one"},
		{Options{From: two("SELECT 1"), To: ok}, "has 2 migrations", "--to the newer's"},
		{Options{From: ok, To: folder(t, "1_a.sql", "SELECT 1", "01_b.sql", "SELECT 2")}, "has the same version, 1", "version of its own"},
		{Options{From: ok, To: ok, Statements: file("")}, "holds no statement", "semicolon"},
		{Options{From: ok, To: ok, Statements: file("SELECT 1;\nDROP TABLE a;")}, "x.sql:2: \"DROP TABLE a\" is not tried", "may hold SELECT"},
		{Options{From: ok, To: ok, Statements: file("SELECT * FROM nowhere;")}, "no statement works on the old schema", "of the old version"},
		{Options{From: ok, To: ok, Allow: []string{"everything"}}, "\"everything\" is no rule", "docs/schema.md"},
	} {
		c.o.Dialect = Postgres
		if c.o.Dev == "" {
			c.o.Dev = server
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		_, err := Check(ctx, c.o)
		cancel()
		var e *Error
		switch {
		case !errors.As(err, &e):
			t.Errorf("%q: got %v", c.what, err)
		case !strings.Contains(err.Error(), c.what) || !strings.Contains(e.Hint, c.hint):
			t.Errorf("want %q, got %q, hint %q", c.what, err, e.Hint)
		case strings.Contains(err.Error(), "s3cret"):
			t.Errorf("the password is told: %v", err)
		}
	}
}
