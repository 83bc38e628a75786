package schema

import (
	"context"
	"strings"
	"testing"
	"time"
)

// TestPostgresTimes: what a rewrite and an index take on a real table lies in the interval that was told before, with much room for what else
// the machine does; a sample that writes no log, or no indexes, tells a fraction of it. Nothing is left.
func TestPostgresTimes(t *testing.T) {
	const room = 3
	server := pgServer(t)
	dsn, db := database(t, Postgres, server, "times")
	const init = "CREATE TABLE big (id bigint PRIMARY KEY, customer int NOT NULL, total int NOT NULL, note text);\nCREATE INDEX big_customer ON big (customer, note);\nCREATE INDEX big_total ON big (note, total);\nCREATE INDEX big_text ON big (md5(note));\n"
	const rewrite, index = "ALTER TABLE big ALTER COLUMN total TYPE bigint", "CREATE INDEX big_note ON public.big (note, id)"
	run(t, db, init, "INSERT INTO big SELECT g, g::bigint*7919%1000003, g, md5(g::text) FROM generate_series(1,60000) g", "VACUUM ANALYZE big", "CHECKPOINT")
	r := checked(t, Options{Dialect: Postgres, From: dsn, To: folder(t, "1.sql", init, "2.sql", rewrite+";\n"+index+";"), Dev: server, Measure: true})
	told := map[string]*Estimate{}
	for _, f := range r.Findings {
		if f.Severity == Locks {
			told[f.Statement] = f.Estimate
		}
	}
	for _, q := range []string{rewrite, index} {
		e := told[q]
		if e == nil || e.AtLeast || e.Low <= 0 || e.Low > e.Seconds || e.High < e.Seconds || e.High > 200*e.Low {
			t.Fatalf("%s: told %+v", q, e)
		}
		begin := time.Now()
		run(t, db, q)
		took := time.Since(begin).Seconds()
		t.Logf("%s took %.2f s; told %s", q, took, e)
		if took < e.Low/room || took > e.High*room {
			t.Errorf("%s took %.2f s; told %s", q, took, e)
		}
	}
	left, err := column(context.Background(), db, "SELECT relname FROM pg_class WHERE relname LIKE 'windlass%'")
	if err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestPostgresTimesUnlogged: an account that may make no table is told the least that it takes, and that it is that.
func TestPostgresTimesUnlogged(t *testing.T) {
	server := pgServer(t)
	_, db := database(t, Postgres, server, "least")
	run(t, db, "CREATE TABLE big (id bigint PRIMARY KEY, n int)", "INSERT INTO big SELECT g, g FROM generate_series(1,30000) g", "ANALYZE big", "DROP ROLE IF EXISTS reader", "CREATE ROLE reader LOGIN", "GRANT SELECT ON big TO reader")
	t.Cleanup(func() { run(t, db, "DROP OWNED BY reader", "DROP ROLE reader") })
	db.SetMaxOpenConns(1)
	run(t, db, "SET ROLE reader")
	c := &checker{Options: Options{Dialect: Postgres}, live: db}
	e := &Estimate{Rows: 30000, Bytes: 2 << 20}
	c.sample(context.Background(), "public.big", work{rewrite: true}, e)
	if !e.AtLeast || e.Seconds <= 0 || e.High != 0 || !strings.HasPrefix(e.String(), "at least ") || !strings.Contains(e.Basis, "temporary table") {
		t.Errorf("told %+v: %s", e, e)
	}
}

// TestMySQLTimes: as on PostgreSQL. What a killed check left is dropped, and what another check works on is not.
func TestMySQLTimes(t *testing.T) {
	const room = 3
	server := mariaServer(t)
	dsn, db := database(t, MySQL, server, "times")
	const init = "CREATE TABLE big (id int PRIMARY KEY, customer int NOT NULL, note varchar(40), twice int AS (customer*2) STORED, KEY big_customer (customer, note));"
	const copied = "ALTER TABLE big ADD COLUMN extra int, ALGORITHM=COPY, LOCK=SHARED"
	run(t, db, strings.TrimSuffix(init, ";"), "INSERT INTO big (id,customer,note) SELECT seq, seq*7919%1000003, MD5(seq) FROM seq_1_to_40000", "ANALYZE TABLE big",
		"CREATE TABLE windlass_sample_dead (id int)", "CREATE TABLE windlass_sample_busy (id int)")
	ctx := context.Background()
	busy, err := db.Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	if _, err := busy.ExecContext(ctx, "DO GET_LOCK('windlass_sample_busy',0)"); err != nil {
		t.Fatal(err)
	}
	r := checked(t, Options{Dialect: MySQL, From: dsn, To: folder(t, "1.sql", init, "2.sql", copied+";"), Dev: server, Measure: true})
	e := r.Findings[0].Estimate
	if r.Findings[0].Rule != "copy-algorithm" || e == nil || e.AtLeast || e.Low <= 0 || e.Low > e.Seconds || e.High < e.Seconds || e.High > 200*e.Low {
		t.Fatalf("%s: told %+v", r.Findings[0].Rule, e)
	}
	begin := time.Now()
	run(t, db, copied)
	took := time.Since(begin).Seconds()
	t.Logf("it took %.2f s; told %s", took, e)
	if took < e.Low/room || took > e.High*room {
		t.Errorf("it took %.2f s; told %s", took, e)
	}
	left, err := column(ctx, db, "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA=DATABASE() AND TABLE_NAME LIKE 'windlass%'")
	if err != nil || len(left) != 1 || left[0] != "windlass_sample_busy" {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestIndexedStatement(t *testing.T) {
	for _, c := range []struct {
		d               Dialect
		statement, want string
	}{
		{Postgres, "CREATE INDEX a ON b (c)", "CREATE INDEX ON S (c)"},
		{Postgres, "create unique index if not exists \"a b\" on only public.\"b\" USING gin (c) WHERE d", "CREATE unique INDEX ON S USING gin (c) WHERE d"},
		{Postgres, "/* ON x */ CREATE INDEX ON b (c)", "CREATE INDEX ON S (c)"},
		{Postgres, "ALTER TABLE a ADD UNIQUE (b)", "CREATE INDEX ON S (one)"},
		{MySQL, "CREATE FULLTEXT INDEX `a` ON `b` (c)", "CREATE FULLTEXT INDEX windlass_sample_index ON S (c)"},
	} {
		s := &sampler{dialect: c.d, columns: []string{"one"}}
		if got := s.indexed(c.statement, "S"); got != c.want {
			t.Errorf("%s: got %s", c.statement, got)
		}
	}
}
