package schema

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func texts(o *oldStatements) (all []string) {
	for _, s := range o.stmts {
		all = append(all, strings.ReplaceAll(s.SQL, "\n", "⏎"))
	}
	return all
}

func TestReadLogs(t *testing.T) {
	for name, c := range map[string]struct {
		d    Dialect
		text string
		want []string
		line int // of the last one
	}{
		"general log of MySQL": {MySQL, "/usr/sbin/mysqld, Version: 9.7.0 (Debian). started with:\nTcp port: 3306  Unix socket: /s\nTime                 Id Command    Argument\n2026-11-21T10:00:00.000001Z\t    8 Connect\tapp@h on app using TCP/IP\n2026-11-21T10:00:00.000002Z\t    8 Query\tSET NAMES utf8mb4\n2026-11-21T10:00:00.000003Z\t    8 Query\tSELECT a,\n  b FROM t WHERE id=1\n2026-11-21T10:00:00.000004Z\t    8 Query\tSELECT a,\n  b FROM t WHERE id=27\n2026-11-21T10:00:00.000005Z\t    8 Prepare\tINSERT INTO t VALUES (?,?)\n2026-11-21T10:00:00.000006Z\t    8 Quit\t\n",
			[]string{"SELECT a,⏎  b FROM t WHERE id=1", "INSERT INTO t VALUES (?,?)"}, 10},
		"general log of MariaDB": {MySQL, "261121 10:00:00\t     5 Connect\tapp@localhost on app using Socket\n\t\t     5 Query\tselect 'a;b'\n\t\t     5 Execute\tDELETE FROM t WHERE id=3\n261121 10:00:01\t     5 Quit\t\n", []string{"select 'a;b'", "DELETE FROM t WHERE id=3"}, 3},
		"slow log":               {MySQL, "# Time: 2026-11-21T10:00:00.1Z\n# User@Host: app[app] @  [10.0.0.1]  Id:     8\n# Query_time: 1.5  Lock_time: 0.0 Rows_sent: 1  Rows_examined: 9\nuse app;\nSET timestamp=1795255200;\nSELECT a\nFROM t;\n# Time: 2026-11-21T10:00:01.1Z\nSET timestamp=1795255201;\nCOMMIT;\n", []string{"SELECT a⏎FROM t"}, 6},
		"log of PostgreSQL":      {Postgres, "2026-11-21 10:00:00.000 UTC [8] LOG:  statement: BEGIN\n2026-11-21 10:00:00.000 UTC [8] LOG:  execute stmtcache_1: SELECT a\n\tFROM t WHERE id=$1\n2026-11-21 10:00:00.000 UTC [8] DETAIL:  parameters: $1 = '5'\n2026-11-21 10:00:00.000 UTC [8] LOG:  duration: 0.5 ms  statement: UPDATE t SET a='x'\n2026-11-21 10:00:00.000 UTC [8] ERROR:  no\n2026-11-21 10:00:00.000 UTC [8] STATEMENT:  SELECT nothing\n", []string{"SELECT a⏎FROM t WHERE id=$1", "UPDATE t SET a='x'"}, 5},
		"pg_stat_statements":     {Postgres, "calls,query\n3,\"SELECT a\nFROM t WHERE id=$1\"\n1,COMMIT\n9,\"INSERT INTO t VALUES ($1,$2)\"\n", []string{"SELECT a⏎FROM t WHERE id=$1", "INSERT INTO t VALUES ($1,$2)"}, 5},
		"plain":                  {Postgres, "SELECT 1;\n-- a comment\nSELECT 2;\n", []string{"SELECT 1", "SELECT 2"}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := readOld(c.d, filepath.Join(folder(t, "f", c.text), "f"), nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := texts(o); !slices.Equal(got, c.want) || o.stmts[len(o.stmts)-1].Line != c.line {
				t.Errorf("got %q, the last at line %d", got, o.stmts[len(o.stmts)-1].Line)
			}
		})
	}
	for name, c := range map[string]struct {
		d          Dialect
		text, want string
	}{
		"of another dialect":    {Postgres, "\t\t     5 Query\tselect 1\n", "is a general log of MySQL or MariaDB, and the dialect is postgres"},
		"nothing to try":        {MySQL, "\t\t     5 Query\tCOMMIT\n\t\t     5 Quit\t\n", "without a statement that could be tried"},
		"broken CSV":            {Postgres, "query\n\"SELECT 1\n", "is no CSV"},
		"DDL in plain":          {Postgres, "SELECT 1;\nDROP TABLE a;", ":2: \"DROP TABLE a\" is not tried"},
		"empty":                 {MySQL, "", "holds no statement"},
		"binary":                {MySQL, "\x00\x01\x02'", "f"},
		"a file of the server":  {MySQL, "SELECT LOAD_FILE('/etc/passwd');", "is not tried"},
		"sleeps, in plain text": {Postgres, "SELECT pg_sleep(100);", "is not tried"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := readOld(c.d, filepath.Join(folder(t, "f", c.text), "f"), nil)
			var e *Error
			if !errors.As(err, &e) || !e.Usage || e.Hint == "" || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// old statements and what comes of them, on the schema of oldTables and after oldMigration.
const (
	oldTables    = "CREATE TABLE t (id int PRIMARY KEY, a varchar(10));\nCREATE TABLE child (id int PRIMARY KEY, t int NOT NULL REFERENCES t (id));\nCREATE TABLE r (id int PRIMARY KEY, n int);"
	oldMigration = "ALTER TABLE t ADD COLUMN note varchar(10);\nALTER TABLE r RENAME COLUMN n TO number;"
)

// TestOldStatements: statements of the old version, taken from a real log, are tried on the new schema: what fails, and what reads other
// columns than it did.
func TestOldStatements(t *testing.T) {
	ctx := context.Background()
	used := []string{"SELECT * FROM t WHERE id = 1", "SELECT id, a FROM t", "INSERT INTO t VALUES (7, 'x')", "INSERT INTO t (id, a) VALUES (8, 'x')", "INSERT INTO child (id, t) VALUES (1, 99)", "UPDATE r SET n = 1"}
	want := []string{"old-statement-changes: \"SELECT * FROM t WHERE id = 1\": its result has more columns: note", "old-statement-fails: \"UPDATE r SET n = 1\""}
	for _, c := range []struct {
		name  string
		d     Dialect
		want  []string
		build string
	}{
		// PostgreSQL takes an INSERT with fewer values than columns, and MySQL does not.
		{"postgres", Postgres, append([]string{"old-statement-changes: \"SELECT * FROM t WHERE id = $1\""}, want...), "postgresql-15"},
		{"mariadb", MySQL, append([]string{"old-statement-fails: \"INSERT INTO t VALUES (7, 'x')\""}, want...), "mariadb-11.8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := startThrowaway(ctx, c.d, c.build, nil, func(string) {}, func(string) {})
			if err != nil {
				t.Fatal(err)
			}
			defer s.end()
			server, err := parseDSN(c.d, "test", s.dsn)
			if err != nil {
				t.Fatal(err)
			}
			db, err := server.open(ctx, "test")
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			db.SetMaxOpenConns(1)
			var log string
			if c.d == Postgres {
				log = filepath.Join(server.pg.Host, "server.log")
				run(t, db, "SET log_statement='all'")
			} else {
				run(t, db, "CREATE DATABASE app", "USE app")
				log = filepath.Join(t.TempDir(), "general.log")
				run(t, db, "SET GLOBAL general_log_file='"+log+"'", "SET GLOBAL log_output='FILE'", "SET GLOBAL general_log=ON")
			}
			run(t, db, strings.Split(strings.TrimSuffix(oldTables, ";"), ";")...)
			for _, q := range used {
				_, err := db.Exec(q)
				if refused := strings.Contains(q, "child"); refused != (err != nil) {
					t.Fatal(q, err)
				}
			}
			if c.d == Postgres {
				run(t, db, "SET log_statement='none'") // what follows is ours
				if _, err := db.Exec("SELECT 1"); err != nil {
					t.Fatal(err)
				}
				f, err := os.OpenFile(log, os.O_APPEND|os.O_WRONLY, 0)
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				if _, err := f.WriteString("2026-11-21 10:00:00.000 UTC [8] LOG:  execute s1: SELECT * FROM t WHERE id = $1\n"); err != nil {
					t.Fatal(err)
				}
			} else {
				run(t, db, "SET GLOBAL general_log=OFF")
			}
			from, to := folder(t, "1.sql", oldTables), folder(t, "1.sql", oldTables, "2.sql", oldMigration)
			r := checked(t, Options{Dialect: c.d, From: from, To: to, Dev: s.dsn, Statements: log})
			var got []string
			for _, f := range r.Findings {
				if strings.HasPrefix(f.Rule, "old-statement") {
					got = append(got, f.Rule+": "+f.Detail)
					if !strings.Contains(f.Object, ":") || f.Statement == "" || f.Line == 0 {
						t.Errorf("without its place: %+v", f)
					}
				}
			}
			for _, w := range c.want {
				if !slices.ContainsFunc(got, func(g string) bool { return strings.HasPrefix(g, w) }) {
					t.Errorf("%s is not found", w)
				}
			}
			if len(got) != len(c.want) || len(r.Unfit) > 0 || r.Prepared < 1 {
				t.Errorf("got %q, unfit %v, prepared %d", got, r.Unfit, r.Prepared)
			}
		})
	}
}
