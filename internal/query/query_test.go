package query

import (
	"strings"
	"testing"
)

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
	for _, c := range corpus(f) {
		f.Add([]byte(c.text), c.mode.ANSIQuotes, c.mode.NoBackslashEscapes)
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
