package query

import (
	"strings"
	"testing"
)

// corpus are texts with their normal forms.
var corpus = []struct{ name, text, want string }{
	{"values of all kinds", `SELECT a, 'x', "y", 1, 1.5, .5, 1e10, 1.5E-3, 0xFF, x'0F', b'01', N'n', _utf8mb4'é' FROM T`, "select a, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? from t"},
	{"placeholders are values", "SELECT * FROM t WHERE a = ? AND b=?", "select * from t where a = ? and b = ?"},
	{"blanks and comments", "SELECT/* one */ a -- two\n FROM # three\n t\t;\n", "select a from t"},
	{"two dashes without a blank are no comment", "SELECT 5--1", "select ? - ?"},
	{"signs", "SELECT -1, a-1, a - -1, (-1), +2 FROM t WHERE b > -5 AND c BETWEEN -1 AND -2 LIMIT 3", "select ?, a - ?, a - ?, (?), ? from t where b > ? and c between ? and ? limit ?"},
	{"a sign before a name stays", "SELECT -a, - f(1)", "select - a, - f(?)"},
	{"quotes and escapes", `SELECT 'it''s', 'a\'b', "say \"x\"", '', 'c'`, "select ?, ?, ?, ?, ?"},
	{"names in quotes", "SELECT `a``b`.`C d` FROM `T`", "select `a``b`.`C d` from `T`"},
	{"a list after IN", "SELECT * FROM t WHERE a IN (1,2,3) AND b in('x') AND c IN (NULL, -4, true)", "select * from t where a in(?+) and b in(?+) and c in(?+)"},
	{"rows", "INSERT INTO t (a,b) VALUES (1,'x'), (2,NULL),(3,'z') ON DUPLICATE KEY UPDATE b=VALUES(b)", "insert into t(a, b) values(?, ?), … on duplicate key update b = values(b)"},
	{"rows with a call", "INSERT INTO t VALUES (1,NOW()),(2,now()),(3, f(-3)),(4,f(1))", "insert into t values(?, now()), …, (?, f(?)), …"},
	{"one row", "REPLACE INTO t VALUE (1)", "replace into t value(?)"},
	{"rows of a table value", "VALUES ROW(1,2), ROW(3,4)", "values row(?, ?), row(?, ?)"},
	{"NULL stays elsewhere", "SELECT * FROM t WHERE a IS NULL AND b <=> NULL", "select * from t where a is null and b <=> null"},
	{"index hints", "SELECT * FROM t FORCE INDEX (k1) WHERE a=1", "select * from t force index(k1) where a = ?"},
	{"optimizer hints", "SELECT /*+ NO_INDEX(t) */ 1", "select /*+ NO_INDEX(t) */ ?"},
	{"executable comments", "SELECT /*!50000 STRAIGHT_JOIN */ a, /*M!100100 1 */ FROM t", "select /*!50000 straight_join */ a, /*M!100100 ? */ from t"},
	{"variables", "SELECT @a := @a+1, @@session.sql_mode, @'q', @`w`", "select @a := @a + ?, @@session.sql_mode, @'q', @`w`"},
	{"SET STATEMENT", "SET STATEMENT max_statement_time=5 FOR SELECT * FROM t", "set statement max_statement_time = ? for select * from t"},
	{"RETURNING", "DELETE FROM t WHERE id=9 RETURNING id", "delete from t where id = ? returning id"},
	{"PORTION OF", "DELETE FROM t FOR PORTION OF p FROM '2000-01-01' TO '2001-01-01'", "delete from t for portion of p from ? to ?"},
	{"JSON paths", "SELECT a->'$.x', a->>'$.y' FROM t", "select a -> ?, a -> > ? from t"},
	{"names that begin with digits", "SELECT 2fast FROM 1t", "select 2fast from 1t"},
	{"dotted", "SELECT a.b, c . d, 1.e FROM x.y", "select a.b, c.d, ? e from x.y"},
	{"two statements", "SELECT 1; SELECT 2;", "select ? ; select ?"},
	{"nothing ends", "SELECT 'abc", "select ?"},
	{"a comment that does not end", "SELECT 1 /* x", "select ?"},
	{"empty", "  ;", ""},
	{"what no server takes", "\x00 ) ) ( \xff\xfe", "\x00)) (\xff\xfe"},
}

func TestNormalForms(t *testing.T) {
	for _, c := range corpus {
		if got := string(Append(nil, []byte(c.text), Mode{})); got != c.want {
			t.Errorf("%s: %s\n got %q\nwant %q", c.name, c.text, got, c.want)
		}
	}
}

func TestModes(t *testing.T) {
	text := []byte(`SELECT "a b", 'x\' FROM t -- '`)
	if got := string(Append(nil, text, Mode{ANSIQuotes: true, NoBackslashEscapes: true})); got != `select "a b", ? from t` {
		t.Errorf("got %q", got)
	}
}

// What others merge, and what would hide the regression that matters most.
func TestWhatMustNotMerge(t *testing.T) {
	groups := [][]string{
		{"DELETE FROM a WHERE id IN (SELECT id FROM b)", "DELETE FROM a WHERE id IN (SELECT id FROM c)", "DELETE FROM a WHERE id IN (1,2,3)"},
		{"SELECT * FROM t FORCE INDEX (k) WHERE a=1", "SELECT * FROM t IGNORE INDEX (k) WHERE a=1", "SELECT * FROM t WHERE a=1"},
		{"SELECT * FROM t WHERE a=1 FOR UPDATE", "SELECT * FROM t WHERE a=1 FOR UPDATE SKIP LOCKED", "SELECT * FROM t WHERE a=1 LOCK IN SHARE MODE", "SELECT * FROM t WHERE a=1"},
		{"DELETE FROM t WHERE id=1 RETURNING id", "DELETE FROM t WHERE id=1"},
		{"SET STATEMENT optimizer_switch='mrr=on' FOR SELECT 1", "SET STATEMENT max_statement_time=1 FOR SELECT 1", "SELECT 1"},
		{"SELECT * FROM `a b`", "SELECT * FROM `a c`"},
		{"SELECT a-1 FROM t", "SELECT a FROM t"},
		{"INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (1,2)", "INSERT INTO t (a) VALUES (1)"},
		{"SELECT f(1)", "SELECT f(1,2)"},
		{"SELECT a FROM t WHERE b=1 AND c=1", "SELECT a FROM t WHERE b=1 OR c=1"},
		{"SELECT a FROM t WHERE b IS NULL", "SELECT a FROM t WHERE b IS NOT NULL", "SELECT a FROM t WHERE b IS TRUE"},
	}
	for _, g := range groups {
		seen := map[uint64]string{}
		for _, text := range g {
			h, form := Fingerprint(nil, []byte(text), Mode{})
			if other, ok := seen[h]; ok {
				t.Errorf("%q and %q have one fingerprint, of %q", text, other, form)
			}
			seen[h] = text
		}
	}
}

func TestWhatMerges(t *testing.T) {
	for _, g := range [][]string{
		{"SELECT * FROM t WHERE id=1", "select *  from T where ID = ?", "SELECT * FROM t /* trace 17 */ WHERE id='x'", "SELECT * FROM t WHERE id=-1.5;"},
		{"SELECT * FROM t WHERE id IN (1)", "SELECT * FROM t WHERE id IN (?, ?, ?)"},
		{"INSERT INTO t VALUES (1,2),(3,4)", "INSERT INTO t VALUES (1,2),(3,4),(5,NULL),(-7,'x')"},
	} {
		want, form := Fingerprint(nil, []byte(g[0]), Mode{})
		for _, text := range g[1:] {
			if h, f := Fingerprint(nil, []byte(text), Mode{}); h != want {
				t.Errorf("%q is %q, and %q is %q", g[0], form, text, f)
			}
		}
	}
}

const long = "SELECT o.id, o.created_at, o.total, c.name, c.email FROM orders AS o FORCE INDEX (by_customer) INNER JOIN customers AS c ON c.id = o.customer_id LEFT JOIN shipments AS s ON s.order_id = o.id WHERE o.customer_id = 8471239 AND o.status IN ('open', 'paid', 'packed') AND o.created_at >= '2026-10-01 00:00:00' AND (s.carrier IS NULL OR s.carrier <> 'none') AND o.total > -12.50 ORDER BY o.created_at DESC, o.id DESC LIMIT 50 OFFSET 100"

func TestNothingIsAllocated(t *testing.T) {
	buf, text := make([]byte, 0, 1024), []byte(long)
	if n := testing.AllocsPerRun(100, func() { _, buf = Fingerprint(buf, text, Mode{}) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzAppend: no text is refused, the form is never longer than a bound, and the form of a form is the form.
func FuzzAppend(f *testing.F) {
	for _, c := range corpus {
		f.Add([]byte(c.text), false, false)
	}
	f.Fuzz(func(t *testing.T, text []byte, ansi, plain bool) {
		m := Mode{ANSIQuotes: ansi, NoBackslashEscapes: plain}
		same(t, text, m)
		form := Append([]byte("head"), text, m)
		if !strings.HasPrefix(string(form), "head") {
			t.Errorf("%q: the buffer's beginning was lost: %q", text, form)
		}
		if len(form) > 4+2*len(text)+8 {
			t.Errorf("%q became %q", text, form)
		}
	})
}
