package gateway

import (
	"slices"
	"testing"
)

func TestSuspicious(t *testing.T) {
	for text, want := range map[string]bool{
		"select 1": false, "SELECT get_lock('a', 1)": true, "create temporary table t (i int)": true, "lock tables t read": true,
		"UNLOCK TABLES": true, "HANDLER t OPEN": true, "prepare s from 'x'": true, "insert into clock values (1)": true, "select temporar": false,
		"deallocate prepare s": true, "": false, "lock": true, "ock": false,
	} {
		if got := scan([]byte(text)).suspicious; got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
}

func TestUserLocks(t *testing.T) {
	for text, want := range map[string]struct {
		names []string
		all   bool
	}{
		"select 1":                                    {nil, true},
		"SELECT GET_LOCK('a', 1)":                     {[]string{"a"}, true},
		`do get_lock ( "b" ,1), Get_Lock('c',2)`:      {[]string{"b", "c"}, true},
		"select get_lock(?, 1)":                       {nil, false},
		"select get_lock(concat('a','b'), 1)":         {nil, false},
		"select get_lock('a' 'b', 1)":                 {nil, false},
		"select get_lock('it''s', 1)":                 {nil, false},
		`select get_lock('a\'b', 1)`:                  {nil, false},
		"select get_lock('a":                          {nil, false},
		"select is_used_lock('x'), release_lock('x')": {nil, true},
	} {
		names, all := userLocks([]byte(text))
		if !slices.Equal(names, want.names) || all != want.all {
			t.Errorf("%q: %q, %t", text, names, all)
		}
	}
}

func TestReads(t *testing.T) {
	for text, want := range map[string]bool{
		"select * from t": true, "  (SELECT 1)": true, "/* hint */ select 1;": true, "-- c\nselect 1": true, "show tables": true,
		"with a as (select 1) select * from a": true, "explain select 1": true,
		"select * from t for update": false, "select * from t lock in share mode": false, "select 1; delete from t": false,
		"select 1 into outfile 'x'": false, "select @a := 1": false, "select nextval(s)": false, "insert into t values (1)": false,
		"/*! delete from t */": false, "select 1 /*! into @x */": false, "/*M!100100 update t set a=1 */": false,
		"with a as (select 1) delete from t": false, "explain analyze delete from t": false, "analyze update t set a=1": false,
		"set @a=1": false, "call p()": false, "": false, "selectx": false, "begin": false,
	} {
		if got := isRead([]byte(text)); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
}

func TestRepeatable(t *testing.T) { // trap 11
	for text, want := range map[string]bool{
		"insert into t values (1)": true, " /* c */ UPDATE t SET a = 1;": true, "delete from t": true, "create table x (i int)": true,
		"call p()": false, "begin": false, "insert into t values (@a := @a + 1)": false, "insert into t values (1); insert into t values (2)": false,
		"execute s": false, "begin not atomic insert into t values (1); end": false, "/*! insert into t values (1) */": false,
		"set statement max_statement_time=1 for insert into t values (1)": false, "load data local infile 'x' into table t": false, "xa commit 'a'": false, "commit": false,
	} {
		if got := repeatable([]byte(text)); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
}

func TestEndsTransaction(t *testing.T) {
	for text, want := range map[string][2]bool{
		"commit": {true, false}, "ROLLBACK;": {false, true}, "rollback to a": {false, false}, "rollback work to savepoint a": {false, false},
		"rollback work": {false, true}, "commit; delete from t": {false, false}, "select 1": {false, false},
	} {
		c, r := endsTransaction([]byte(text))
		if got := [2]bool{c, r}; got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestKillTarget(t *testing.T) { // trap 29
	for text, want := range map[string]struct {
		verb string
		id   uint32
	}{
		"KILL 5": {"KILL", 5}, "kill query 2147483650": {"KILL QUERY", 2147483650}, "KILL HARD CONNECTION 7;": {"KILL HARD CONNECTION", 7},
		"KILL /* c */ 9": {"KILL", 9}, "kill query id 4": {}, "kill user x": {}, "kill 5; drop table t": {}, "kill -1": {}, "killed 5": {}, "select 1": {}, "kill": {}, "kill 99999999999": {},
	} {
		verb, id, ok := killTarget([]byte(text))
		if verb != want.verb || id != want.id || ok != (want.verb != "") {
			t.Errorf("%q: %q %d %t", text, verb, id, ok)
		}
	}
}

// FuzzScan looks that no text makes the lexical helpers panic, and that a read is never called repeatable.
func FuzzScan(f *testing.F) {
	for _, s := range []string{"select get_lock('a', 1)", "kill query 5", "/*", "--", "rollback to a", "insert into t values (1)", "'"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		scan(text)
		userLocks(text)
		killTarget(text)
		asksDiagnostics(text)
		endsTransaction(text)
		if isRead(text) && repeatable(text) {
			t.Fatalf("%q is both", text)
		}
	})
}

func TestTextsThatChangeTheSession(t *testing.T) {
	for text, want := range map[string]bool{
		"CREATE TABLE t (i INT)": true, " create\n table if not exists t (i int)": true, "CREATE /* c */ TABLE t AS SELECT 1": true, "/* c */ CREATE TABLE t (i INT);": true,
		"CREATE TEMPORARY TABLE t (i INT)": false, "CREATE /*!50000 TEMPORARY */ TABLE t (i INT)": false, "CREATE TABLE t (i INT); CREATE TEMPORARY TABLE u (i INT)": false,
		"CREATE OR REPLACE TABLE t (i INT)": false, "CREATE TABLES": false, "CALL make()": false, "": false, "SELECT 'CREATE TABLE'": false,
	} {
		if makesTable([]byte(text)) != want {
			t.Errorf("%q: %v", text, !want)
		}
	}
	for text, want := range map[string]bool{
		"SET TRANSACTION READ ONLY": true, "set /* x */ transaction\nisolation level serializable": true, "# c\nSET TRANSACTION READ WRITE": true,
		"SET @@transaction_isolation = 'SERIALIZABLE'": true, "SET  @@tx_read_only=1;": true,
		"SET SESSION TRANSACTION READ ONLY": false, "SET @@session.transaction_isolation = 'SERIALIZABLE'": false, "SET transaction_isolation = 'SERIALIZABLE'": false,
		"SET @@transaction_isolation = 'SERIALIZABLE', @a = @a + 1": false, "SET GLOBAL TRANSACTION READ ONLY": false, "SET TRANSACTION READ ONLY; BEGIN": false, "START TRANSACTION": false, "SET": false,
	} {
		if (forNext([]byte(text)) != "") != want {
			t.Errorf("%q: %v", text, !want)
		}
	}
}
