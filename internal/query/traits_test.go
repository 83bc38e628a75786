package query

import "testing"

func TestTraits(t *testing.T) {
	for text, want := range map[string]Traits{
		"SELECT 1":                           Reads,
		"(SELECT a FROM t)":                  Reads,
		"/* x */ select a from t limit 1":    Reads | LimitAlone,
		"SELECT a FROM t ORDER BY a LIMIT 1": Reads,
		"SELECT a FROM (SELECT b FROM u LIMIT 3) x ORDER BY a LIMIT 1":    Reads | LimitAlone,
		"SELECT a FROM (SELECT b FROM u ORDER BY b LIMIT 3) x LIMIT 1":    Reads | LimitAlone,
		"SELECT a FROM (SELECT b FROM u ORDER BY b LIMIT 3) x":            Reads,
		"SELECT 'LIMIT 3', `rand`(1) FROM t":                              Reads,
		"SELECT rand FROM t":                                              Reads,
		"SELECT RAND() FROM t":                                            Reads | Volatile,
		"SELECT NOW(), CURRENT_DATE":                                      Reads | Clock,
		"SELECT SYSDATE()":                                                Reads | Volatile,
		"SELECT * FROM t FOR UPDATE":                                      Reads | Locks,
		"SELECT * FROM t LOCK IN SHARE MODE":                              Reads | Locks,
		"SELECT GET_LOCK('x', 1)":                                         Reads | Locks | OwnSession,
		"SELECT LAST_INSERT_ID()":                                         Reads | OwnSession,
		"SELECT @a":                                                       Reads | OwnSession,
		"SELECT @a := 1":                                                  Reads | OwnSession | Sets,
		"SELECT a INTO @x FROM t":                                         Reads | OwnSession | Sets,
		"SELECT a FROM t INTO OUTFILE '/tmp/x'":                           Reads | Sets | Files,
		"SELECT @@version, VERSION()":                                     Reads | OwnServer,
		"SELECT * FROM information_schema.tables":                         Reads | OwnServer,
		"WITH x AS (SELECT 1) SELECT * FROM x":                            Reads,
		"WITH x AS (SELECT 1) DELETE FROM t WHERE a IN (SELECT * FROM x)": Writes,
		"SHOW TABLES":                                                     Reads | OwnServer,
		"EXPLAIN DELETE FROM t":                                           Reads | OwnServer,
		"EXPLAIN ANALYZE DELETE FROM t":                                   Writes | OwnServer,
		"ANALYZE DELETE FROM t":                                           Writes | OwnServer,
		"ANALYZE TABLE t":                                                 Defines | OwnServer,
		"INSERT INTO t SELECT * FROM u":                                   Writes,
		"UPDATE t SET a=1 LIMIT 1":                                        Writes | LimitAlone,
		"DELETE FROM t":                                                   Writes,
		"CALL p()":                                                        Writes,
		"FROBNICATE x":                                                    Writes,
		"CREATE TEMPORARY TABLE x (a INT)":                                Defines | OwnSession,
		"SET NAMES utf8mb4":                                               Sets,
		"SET STATEMENT max_statement_time=1 FOR SELECT 1":                 Reads,
		"SET STATEMENT max_statement_time=1 FOR DELETE FROM t":            Writes,
		"USE shop":                    Sets,
		"BEGIN":                       Begins,
		"START TRANSACTION READ ONLY": Begins,
		"START SLAVE":                 Writes,
		"COMMIT":                      Ends,
		"ROLLBACK":                    Ends,
		"ROLLBACK TO SAVEPOINT a":     Sets,
		"SELECT 1;":                   Reads,
		"SELECT 1; DELETE FROM t":     Reads | Multi | Writes,
		"":                            0,
		";":                           0,
		"-- nothing":                  0,
		"/*!50000 SELECT */ 1":        Reads,
	} {
		if got := Look([]byte(text), Mode{}); got != want {
			t.Errorf("%s: %014b, want %014b", text, got, want)
		}
	}
}
