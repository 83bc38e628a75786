package plans_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/query"
	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/replay/plans"
	"github.com/windlass-db/windlass/internal/replay/probe"
	"github.com/windlass-db/windlass/internal/replay/session"
	"github.com/windlass-db/windlass/internal/replay/tally"
)

func text(q string) tally.Statement {
	return tally.Statement{Schema: "app", Charset: 45, Command: 0x03, Text: []byte(q)}
}

func TestFit(t *testing.T) {
	for q, want := range map[string]string{
		"SELECT * FROM t": "read", "(SELECT 1) UNION (SELECT 2)": "read", "WITH x AS (SELECT 1) SELECT * FROM x": "read", "WITH x AS (SELECT 1) DELETE FROM t": "write",
		"DELETE FROM t": "write", "/* x */ update t set a = 1": "write", "INSERT INTO t SELECT 1": "write", "REPLACE INTO t VALUES (1)": "write", "SELECT * FROM t FOR UPDATE": "read",
		"DROP TABLE t": "", "CALL p()": "", "SELECT 1; DROP TABLE t": "", "SELECT SLEEP(10)": "", "DELETE FROM t WHERE a = GET_LOCK('x', 1)": "", "INSERT INTO t VALUES (NEXTVAL(s))": "",
		"ANALYZE DELETE FROM t": "", "SET STATEMENT max_statement_time=1 FOR DELETE FROM t": "", "SELECT 1 INTO OUTFILE '/tmp/x'": "", "DO SLEEP(1)": "", "LOAD DATA INFILE 'x' INTO TABLE t": "", "": "",
		"SELECT LOAD_FILE('/etc/passwd')": "", "XA COMMIT 'x'": "", "SHUTDOWN": "",
	} {
		write, err := plans.Fit(text(q))
		got := "read"
		if write {
			got = "write"
		}
		if err != nil {
			if got = ""; !errors.Is(err, plans.ErrUnfit) {
				t.Error(err)
			}
		}
		if got != want {
			t.Errorf("%s: %q, want %q", q, got, want)
		}
	}
}

func step(table, access, key string, rows int64, extra ...string) plans.Step {
	return plans.Step{Select: "PRIMARY", Table: table, Access: access, Key: key, Parts: "4", Rows: rows, Extra: extra}
}

func TestDiff(t *testing.T) {
	base := plans.Plan{Steps: []plans.Step{step("a", "range", "k", 12), step("b", "ref", "k", 100)}}
	for _, c := range []struct {
		name  string
		new   []plans.Step
		want  string
		worse bool
	}{
		{"equal", base.Steps, "", false},
		{"estimates that are near", []plans.Step{step("a", "range", "k", 9), step("b", "ref", "k", 99)}, "", false},
		{"a scan", []plans.Step{step("a", "ALL", "", 12000), step("b", "ref", "k", 100)}, "a: access range → ALL; a: key k → none; a: about 10^1 rows → 10^4", true},
		{"a better access", []plans.Step{step("a", "const", "PRIMARY", 1), step("b", "ref", "k", 100)}, "a: access range → const; a: key k → PRIMARY; a: about 10^1 rows → 10^0", false},
		{"another order", []plans.Step{step("b", "ref", "k", 100), step("a", "range", "k", 12)}, "tables are read in the order a, b → b, a", false},
		{"a sort", []plans.Step{step("a", "range", "k", 12, "Using filesort", "Using temporary"), step("b", "ref", "k", 100)}, "filesort: 0 → 1; temporary: 0 → 1", true},
	} {
		e := plans.Explained(base, plans.Plan{Steps: c.new})
		if e.Why != c.want || e.Worse != c.worse || e.Differs != (c.want != "") {
			t.Errorf("%s: %+v", c.name, e)
		}
	}
}

// TestRights: what an account may not says nothing of a version; but who parses first and refuses then has understood.
func TestRights(t *testing.T) {
	refused := func(errno uint16) plans.Plan { return plans.Plan{Refused: compare.Answer{Errno: errno}} }
	for _, c := range []struct {
		old, new uint16
		differs  bool
	}{{0, 1290, false}, {1290, 0, false}, {1290, 1290, false}, {0, 1064, true}, {1290, 1064, true}, {1064, 1064, false}, {1064, 1290, false}, {0, 1054, true}} {
		if e := plans.Explained(refused(c.old), refused(c.new)); e.Differs != c.differs || e.Worse != c.differs {
			t.Errorf("%d, %d: %+v", c.old, c.new, e)
		}
	}
}

// TestExplain on a server that is read-only, as replicas are: a DELETE is explained for an account that may write in spite of that and may not run functions, and for no other. trap 38
func TestExplain(t *testing.T) {
	s := processtest.MariaDB(t, "11.8")
	for _, q := range []string{
		"CREATE TABLE app.t (id INT PRIMARY KEY, a INT, KEY(a))", "INSERT INTO app.t SELECT seq, seq % 10 FROM app.seq_1_to_1000", "ANALYZE TABLE app.t",
		"CREATE FUNCTION app.f() RETURNS INT DETERMINISTIC MODIFIES SQL DATA BEGIN DELETE FROM app.t; RETURN 1; END",
		"CREATE USER 'explain'@'%' IDENTIFIED BY 'explain-secret'", "GRANT SELECT, INSERT, UPDATE, DELETE, READ_ONLY ADMIN ON *.* TO 'explain'@'%'",
		"CREATE USER 'reads'@'%' IDENTIFIED BY 'reads-secret'", "GRANT SELECT, SHOW VIEW, SHOW DATABASES, SHOW CREATE ROUTINE, EXECUTE, PROCESS, BINLOG MONITOR, REPLICA MONITOR, READ_ONLY ADMIN ON *.* TO 'reads'@'%'",
	} {
		s.Exec(t, q)
	}
	open := func(user, password string) *probe.Session {
		server, err := session.ParseDSN(processtest.DSN(s.Address(), user, password, ""))
		if err != nil {
			t.Fatal(err)
		}
		p, err := probe.Open(t.Context(), server)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Close)
		return p
	}
	p, app, reads := open("explain", "explain-secret"), open(processtest.AppUser, processtest.AppPassword), open("reads", "reads-secret")
	explain := func(p *probe.Session, q string) plans.Plan {
		t.Helper()
		plan, err := plans.Explain(t.Context(), p, text(q))
		if err != nil {
			t.Fatal(err)
		}
		return plan
	}
	if plan := explain(p, "DELETE FROM t WHERE a = 3"); len(plan.Steps) != 1 || plan.Steps[0].Key != "a" || plan.Operations == nil {
		t.Errorf("%+v", plan)
	}
	if plan := explain(app, "DELETE FROM t WHERE a = 3"); plan.Refused.Errno != 1290 {
		t.Errorf("%+v", plan)
	}
	for _, q := range []string{"DELETE FROM t WHERE a = 3", "UPDATE t SET a = 1 WHERE id = 3", "INSERT INTO t VALUES (0, 1)", "REPLACE INTO t VALUES (0, 1)"} { // none of the rights that read lets a write be explained
		if plan := explain(reads, q); plan.Refused.Errno != 1142 {
			t.Errorf("%s: %+v", q, plan)
		}
	}
	if plan := explain(p, "SELECT a, COUNT(*) FROM t WHERE id > 5 GROUP BY a ORDER BY 2"); !strings.Contains(plan.Text(), "Using filesort") || plan.Operations["filesort"] != 1 {
		t.Errorf("%+v", plan)
	}
	for _, q := range []string{"SELECT f() FROM t", "UPDATE t SET a = f()"} { // a function is not run
		if plan := explain(p, q); plan.Refused.Errno != 1370 && plan.Refused.Errno != 1792 {
			t.Errorf("%s: %+v", q, plan)
		}
	}
	prepared := text("SELECT * FROM t WHERE a = ?")
	prepared.Command, prepared.Types, prepared.Params = 0x17, []byte{0x03, 0}, []byte{0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0x03, 0, 7, 0, 0, 0}
	if plan, err := plans.Explain(t.Context(), p, prepared); err != nil || len(plan.Steps) != 1 || plan.Steps[0].Access != "ref" {
		t.Errorf("%+v, %v", plan, err)
	}
	fill(t, p)
	var n int
	if err := s.Admin.QueryRow("SELECT COUNT(*) FROM app.t").Scan(&n); err != nil || n != 1000 {
		t.Errorf("%d rows are left, %v", n, err)
	}
}

// fill gives a tally the plans of what it has kept, and of the writes that were collected beside it. Both sides are one server here, whose answers are equal.
func fill(t *testing.T, p *probe.Session) {
	var counted tally.Tally
	for i, q := range []string{"SELECT * FROM t WHERE a = 3", "DELETE FROM t WHERE a = 4", "DROP TABLE t"} {
		f, normal := query.Fingerprint(nil, []byte(q), query.Mode{})
		counted.AddCaptured(tally.Fingerprint(f), tally.Seen{Text: normal, Traits: query.Look([]byte(q), query.Mode{})})
		if i == 0 {
			a := compare.Answer{Rows: 1}
			counted.AddReplayed(tally.Replayed{Fingerprint: tally.Fingerprint(f), Outcome: compare.Outcome{Same: true}, New: &a, Statement: func() tally.Statement { return text(q) }})
		} else {
			counted.AddSkipped(tally.Fingerprint(f), tally.SkipWrite)
		}
	}
	f, normal := query.Fingerprint(nil, []byte("DELETE FROM t WHERE a = 4"), query.Mode{})
	beside := []plans.Kind{{Fingerprint: tally.Fingerprint(f), Text: string(normal), Write: true, Example: text("DELETE FROM t WHERE a = 4")}}
	asked, refused, err := plans.Fill(t.Context(), p, p, &counted, beside, 10)
	if err != nil || asked != 2 || refused != 0 {
		t.Errorf("%d asked, %d refused, %v", asked, refused, err)
	}
	for _, q := range counted.Queries {
		if has := q.Explained != nil && strings.Contains(q.Explained.New, "key=a"); has != (q.Text != "drop table t") {
			t.Errorf("%s: %+v", q.Text, q.Explained)
		}
	}
}
