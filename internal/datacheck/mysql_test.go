package datacheck_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/datacheck"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/seed/seedtest"
)

// TestMySQL compares servers of MySQL 9.7, under load: equal, then with differences. The reference is stopped for a moment
// as well, and runs again. trap 35
func TestMySQL(t *testing.T) {
	primary, replica, green := processtest.MySQL(t), processtest.MySQL(t), processtest.MySQL(t)
	primary.Exec(t, "SET GLOBAL read_only=0")
	for _, s := range []*processtest.MySQLServer{replica, green} {
		s.Follow(t, primary)
	}
	seedtest.Reader(t, primary.Admin, "mysql")
	primary.Exec(t, "USE app",
		"CREATE TABLE rows_ (id BIGINT PRIMARY KEY AUTO_INCREMENT, v INT, s VARCHAR(40))",
		"INSERT INTO rows_ (v, s) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 900) SELECT i, CONCAT('row ', i) FROM n",
		"CREATE TABLE types (id INT, k VARCHAR(10) COLLATE utf8mb4_0900_ai_ci, e FLOAT, f DOUBLE, d DECIMAL(30,10), b BIT(12), en ENUM('x','ü'), st SET('a','b'), j JSON, t DATETIME(6), ts TIMESTAMP NULL, y YEAR, bin VARBINARY(300), bl LONGBLOB, p POINT, inv INT INVISIBLE DEFAULT 3, gv INT AS (id * 2) VIRTUAL, gs INT AS (id * 3) STORED, PRIMARY KEY (k, id), KEY (gv))",
		"INSERT INTO types (id, k, e, f, d, b, en, st, j, t, ts, y, bin, bl, p) VALUES (1, 'ä🍣', 16777216, 0.30000000000000004, 1.5, b'101', 'ü', 'a,b', '{\"b\": 1, \"a\": [1, 2.50]}', '2024-03-31 02:30:00.123456', '2030-01-01', 2024, x'00ff27', REPEAT(x'ff00', 1000), POINT(1.5, -2)), (2, '', NULL, NULL, NULL, NULL, NULL, '', NULL, NULL, NULL, NULL, '', NULL, NULL)",
		"CREATE TABLE nokey (a INT, b VARCHAR(20))", "INSERT INTO nokey VALUES (1, 'a'), (1, 'a'), (NULL, NULL)",
		"CREATE VIEW v AS SELECT id, v + 1 AS w FROM rows_", "CREATE FUNCTION fn(a INT) RETURNS INT DETERMINISTIC RETURN a + 1", "CREATE TRIGGER tr BEFORE INSERT ON nokey FOR EACH ROW SET NEW.b = CONCAT(NEW.b, '!')",
		"CREATE EVENT ev ON SCHEDULE EVERY 1 HOUR DO SET @a = 1", "CREATE USER 'web'@'%' IDENTIFIED BY 'web-secret'", "GRANT SELECT ON app.* TO 'web'@'%'")
	c := fleet.Cluster{Name: "orders", Env: "prod", Product: "mysql", Cells: []fleet.Cell{
		{Name: "blue", Version: "9.7", Nodes: []fleet.Node{{Name: "blue-1", Address: primary.Address()}, {Name: "blue-2", Address: replica.Address()}}},
		{Name: "green", Version: "9.7", Nodes: []fleet.Node{{Name: "green-1", Address: green.Address()}}}}}
	compare := func(t *testing.T, st datacheck.Status) (string, bool) {
		t.Helper()
		status, err := json.Marshal(st)
		if err != nil {
			t.Fatal(err)
		}
		res, err := checker(t, nil).Compare(t.Context(), c, "blue", "green", campaign.Verify{ChunkRows: 200}, status, nothing)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []*processtest.MySQLServer{replica, green} {
			for _, state := range []string{"SELECT SERVICE_STATE FROM performance_schema.replication_connection_status", "SELECT SERVICE_STATE FROM performance_schema.replication_applier_status"} {
				if got := one(t, s.Admin, state); got != "ON" {
					t.Errorf("%s: %s: %s", s.Name, state, got)
				}
			}
		}
		return res.String(), res.OK()
	}

	caughtUp := func() { // the checker's account and its rights come with all else
		t.Helper()
		for _, s := range []*processtest.MySQLServer{replica, green} {
			if got := one(t, s.Admin, "SELECT WAIT_FOR_EXECUTED_GTID_SET('"+one(t, primary.Admin, "SELECT @@global.gtid_executed")+"', 60)"); got != "0" {
				t.Fatalf("%s did not catch up: %s", s.Name, got)
			}
		}
	}
	caughtUp()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		pace := time.NewTicker(20 * time.Millisecond)
		defer pace.Stop()
		for i := 0; ctx.Err() == nil; i++ {
			<-pace.C
			for _, q := range []string{fmt.Sprintf("INSERT INTO app.rows_ (v) VALUES (%d)", i), fmt.Sprintf("UPDATE app.rows_ SET v = v + 1 WHERE id %% 7 = %d", i%7)} {
				if _, err := primary.Admin.ExecContext(ctx, q); err != nil && ctx.Err() == nil {
					t.Errorf("%s: %v", q, err)
				}
			}
		}
	}()
	// As a run that was killed leaves them.
	replica.Exec(t, "STOP REPLICA")
	green.Exec(t, "STOP REPLICA")
	text, ok := compare(t, datacheck.Status{Stopped: []string{"blue-2", "green-1"}})
	cancel()
	<-done
	if !ok {
		t.Error(text)
	}
	t.Log(text)

	caughtUp()
	green.Exec(t, "SET GLOBAL super_read_only=0", "SET SESSION sql_log_bin=0", "UPDATE app.types SET e = 16777218, f = 0.3, j = '{\"b\": 1, \"a\": [1, 2.5]}', inv = 4 WHERE id = 1", "DELETE FROM app.nokey WHERE b = 'a!' OR b = 'a' LIMIT 1", "DELETE FROM app.rows_ WHERE id = 555",
		"ALTER TABLE app.rows_ MODIFY s VARCHAR(40) COLLATE utf8mb4_general_ci", "REVOKE SELECT ON app.* FROM 'web'@'%'")
	text, _ = compare(t, datacheck.Status{})
	for _, want := range []string{"(k='ä🍣' id=1) differs in e, f, inv", "id=555 is missing", "app.nokey on green-1", `column app.rows_.s: collation name is "utf8mb4_general_ci", was "utf8mb4_0900_ai_ci"`, "grant GRANT SELECT ON `app`.* TO `web`@`%` is missing"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
}
