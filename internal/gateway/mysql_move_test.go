package gateway

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/gateway/adminapi"
	"github.com/windlass-db/windlass/internal/wire"
)

// plainUser has the rights of an application: its own schema, and nothing of performance_schema.
const plainUser = "plain"

// mysqlPair is two MySQL 9.7 that replicate, which tests move the primary's role between.
type mysqlPair struct {
	primary, replica *processtest.MySQLServer
	term             int64
	switches         int
}

func newMySQLPair(t testing.TB) *mysqlPair {
	t.Helper()
	options := processtest.WithMySQL("sync-binlog=0", "innodb-flush-log-at-trx-commit=0", "innodb-doublewrite=OFF")
	a, b := processtest.MySQL(t, options), processtest.MySQL(t, options)
	a.Exec(t, "SET GLOBAL super_read_only = OFF", "SET GLOBAL read_only = OFF")
	b.Follow(t, a)
	a.Exec(t, "CREATE DATABASE gw", "CREATE DATABASE `gw-2 ü`", "CREATE USER plain IDENTIFIED BY 'plain-secret'", "GRANT ALL ON gw.* TO plain", "GRANT ALL ON `gw-2 ü`.* TO plain",
		"CREATE ROLE walker", "CREATE ROLE runner", "GRANT walker, runner TO plain", "GRANT SELECT ON performance_schema.* TO monitor",
		"CREATE TABLE gw.writes (k VARCHAR(100) PRIMARY KEY, worker INT, n INT, KEY (worker))", "CREATE TABLE gw.seq (id INT PRIMARY KEY AUTO_INCREMENT, v INT)",
		"CREATE PROCEDURE gw.setall() SQL SECURITY INVOKER BEGIN SET @inproc = 'from procedure'; SET SESSION sort_buffer_size = 3145728; END",
		"CREATE PROCEDURE gw.temporary() SQL SECURITY INVOKER CREATE TEMPORARY TABLE gw.hidden (i INT) ENGINE=MEMORY",
		"CREATE PROCEDURE gw.locking() SQL SECURITY INVOKER DO GET_LOCK('inside', 1)",
		"CREATE PROCEDURE gw.preparing() SQL SECURITY INVOKER PREPARE p FROM 'SELECT 1'")
	b.CatchUp(t, a)
	return &mysqlPair{primary: a, replica: b, term: 1}
}

func (m *mysqlPair) gateway(t *testing.T, change ...func(*Config)) *gate {
	t.Helper()
	return gatewayOf(t, []string{m.primary.Address(), m.replica.Address()}, append([]func(*Config){func(cfg *Config) {
		cfg.AccountsFile = writeFile(t, "accounts", "accounts:\n  - {user: plain, password: plain-secret}\n")
	}}, change...)...)
}

func (m *mysqlPair) open(t testing.TB, g *gate, params string) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", processtest.DSN(g.writer, plainUser, "plain-secret", "gw")+params)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// prepare asks whether the primary could move now.
func (m *mysqlPair) prepare(t testing.TB, g *gate, id string, dry bool) adminapi.PrepareReply {
	t.Helper()
	p, err := g.api.Prepare(bg(t), adminapi.PrepareRequest{Switch: id, Term: m.term, Target: m.replica.Address(), DryRun: dry})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (m *mysqlPair) hold(t testing.TB, g *gate, id string) {
	t.Helper()
	st, err := g.api.Hold(bg(t), adminapi.HoldRequest{Switch: id, Term: m.term, TTLMS: 3 * patience.Milliseconds(), DrainMS: patience.Milliseconds()})
	if err != nil || st.Phase != adminapi.PhaseHeld || st.InFlight != 0 {
		t.Fatalf("hold: %+v, %v", st, err)
	}
}

// promote makes the replica the primary and opens the gateway to it.
func (m *mysqlPair) promote(t testing.TB, g *gate, id string) adminapi.ReleaseReply {
	t.Helper()
	old, now := m.primary, m.replica
	old.Exec(t, "SET GLOBAL super_read_only = ON")
	now.CatchUp(t, old)
	now.Exec(t, "STOP REPLICA", "RESET REPLICA ALL", "SET GLOBAL super_read_only = OFF", "SET GLOBAL read_only = OFF")
	old.Follow(t, now)
	m.primary, m.replica = now, old
	r, err := g.api.Release(bg(t), adminapi.ReleaseRequest{Switch: id, Term: m.term, Primary: now.Address()})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// move moves the primary's role under the sessions that are there.
func (m *mysqlPair) move(t testing.TB, g *gate) adminapi.ReleaseReply {
	t.Helper()
	m.switches++
	id := fmt.Sprintf("switch-%d", m.switches)
	if p := m.prepare(t, g, id, false); !p.OK() {
		t.Fatalf("prepare: %+v", p)
	}
	m.hold(t, g, id)
	return m.promote(t, g, id)
}

// Sessions move between MySQL servers with all that they have, read with the monitoring account's rights and their own (trap 26).
func TestMySQLSessionsMove(t *testing.T) {
	m := newMySQLPair(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *mysqlPair)
	}{
		{"state", testMySQLState}, {"state that changes after it was restored ahead", testMySQLLate}, {"the next transaction", testMySQLNextTransaction}, {"what does not move", testMySQLUnmovable}, {"what can't be carried", testMySQLRefused},
		{"under load", testMySQLUnderLoad}, {"without the monitor's rights", testMySQLNoRights},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, m) })
	}
}

func testMySQLState(t *testing.T, m *mysqlPair) {
	g := m.gateway(t)
	one := conn(t, m.open(t, g, ""))
	for _, q := range []string{
		"CALL setall()", "SET @n = NULL, @i = -5, @u = 18446744073709551615, @d = 1.5e-7, @third = 1e0/3, @dec = 12345678901234567890.123456789, @`we``ird '\" name` = 'x', @yes = TRUE",
		"SET @bin = X'00FF0A2227', @uni = 'ü🍣', @lat = _latin1 X'FC' COLLATE latin1_german1_ci, @coll = 'a' COLLATE utf8mb4_bin, @sjis = _sjis X'8CEA', @empty = '', @nothing = _binary ''",
		"SET @json = JSON_OBJECT('a', 1), @day = CAST('2026-11-21' AS DATE), @long = REPEAT('0123456789', 30000)",
		"/*!50000 SET SESSION max_join_size = 12345678 */", "SET SESSION sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'", "SET time_zone = '+03:00'",
		"SET SESSION optimizer_switch = 'mrr_cost_based=off,index_merge=off'", "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", "SET autocommit = 0", "SET ROLE walker, runner",
		"SET SESSION lc_time_names = 'de_DE', wait_timeout = 1234, sql_select_limit = 3, group_concat_max_len = 2048, innodb_lock_wait_timeout = 7, long_query_time = 1.5, session_track_system_variables = '*'",
		"INSERT INTO seq (v) VALUES (1), (2), (3)", "COMMIT", "USE `gw-2 ü`", "SET NAMES latin1 COLLATE latin1_german1_ci", "SET character_set_results = NULL",
		"SET timestamp = 1000000000.5", "SET insert_id = 4711",
	} {
		run(t, one, q)
	}
	ask(t, one, "SELECT @`assigned in a select` := 3")
	run(t, one, "COMMIT")
	see := func() map[string]string {
		seen := map[string]string{}
		for _, e := range []string{
			"@inproc", "@n", "@i", "@u", "@d", "@third = 1e0/3", "@third", "@dec", "@`we``ird '\" name`", "@yes", "HEX(@bin)", "COLLATION(@bin)", "HEX(@uni)", "COLLATION(@uni)", "HEX(@lat)", "COLLATION(@lat)",
			"COLLATION(@coll)", "HEX(@sjis)", "COLLATION(@sjis)", "@empty", "COLLATION(@empty)", "COLLATION(@nothing)", "@`assigned in a select`", "@d * 1e7", "@u - 1", "@dec * 2",
			"@json", "COLLATION(@json)", "@day", "@day + INTERVAL 1 DAY", "CRC32(@long)", "@i / 2",
			"@@sort_buffer_size", "@@max_join_size", "@@sql_mode", "@@time_zone", "@@optimizer_switch", "@@transaction_isolation", "@@long_query_time", "@@session_track_system_variables",
			"@@autocommit", "CURRENT_ROLE()", "@@lc_time_names", "@@wait_timeout", "@@sql_select_limit", "@@group_concat_max_len", "@@innodb_lock_wait_timeout",
			"LAST_INSERT_ID()", "DATABASE()", "@@character_set_client", "@@collation_connection", "@@character_set_connection", "IFNULL(@@character_set_results, 'none')", "@@character_set_database",
			"NOW()", "@@insert_id", "HEX('ü')",
		} {
			seen[e] = ask(t, one, "SELECT "+e)
		}
		run(t, one, "COMMIT")
		return seen
	}
	before := see()
	if before["LAST_INSERT_ID()"] == "0" || before["@inproc"] != "from procedure" || before["@third = 1e0/3"] != "1" || before["CURRENT_ROLE()"] == "NONE" {
		t.Fatalf("the state was not set: %v", before)
	}
	for range 2 { // there and back again
		port := ask(t, one, "SELECT @@port")
		run(t, one, "COMMIT")
		m.move(t, g)
		after := see()
		for e, want := range before {
			if after[e] != want {
				t.Errorf("on %s: %s is %.100q, was %.100q", m.primary.Name, e, after[e], want)
			}
		}
		if ask(t, one, "SELECT @@port") == port {
			t.Fatal("it did not move")
		}
		run(t, one, "COMMIT")
	}
	if st := g.status(t); st.Counts.MovesFailed > 0 {
		t.Errorf("%+v", st.Counts)
	}
}

// What changes after the session was restored ahead is not forgotten, what goes back to normal does, and what is used up is not used twice.
func testMySQLLate(t *testing.T, m *mysqlPair) {
	g := m.gateway(t)
	one := conn(t, m.open(t, g, ""))
	run(t, one, "SET @i = 1, @gone = 'x', SESSION wait_timeout = 1234, sort_buffer_size = 3145728, insert_id = 9000")
	normal := m.primary.Ask(t, "SELECT @@global.sort_buffer_size")
	if p := m.prepare(t, g, "late", false); !p.OK() || p.Ready != 1 {
		t.Fatalf("%+v", p)
	}
	run(t, one, "SET @i = 99, @gone = NULL, SESSION sort_buffer_size = DEFAULT, wait_timeout = 4321")
	run(t, one, "INSERT INTO seq (v) VALUES (1)") // as 9000
	run(t, one, "USE `gw-2 ü`")
	m.hold(t, g, "late")
	m.promote(t, g, "late")
	for e, want := range map[string]string{"@i": "99", "@gone": "NULL", "@@sort_buffer_size": normal, "@@wait_timeout": "4321", "DATABASE()": "gw-2 ü", "LAST_INSERT_ID()": "9000", "@@insert_id": "0"} {
		if got := ask(t, one, "SELECT "+e); got != want {
			t.Errorf("%s is %q, not %q", e, got, want)
		}
	}
	run(t, one, "INSERT INTO gw.seq (v) VALUES (2)")
	if got := ask(t, one, "SELECT LAST_INSERT_ID() > 9000"); got != "1" {
		t.Error("an id was given twice")
	}
}

func testMySQLNextTransaction(t *testing.T, m *mysqlPair) {
	g := m.gateway(t)
	nextTransaction(t, conn(t, m.open(t, g, "")), func() { m.move(t, g) }, func() *sql.DB { return m.primary.Admin })
}

// What can't be moved is reported by kind before anything is held (trap 25), in routines too, and stops blocking when it is gone.
func testMySQLUnmovable(t *testing.T, m *mysqlPair) {
	g := m.gateway(t)
	for _, u := range []struct {
		name, kind string
		make, end  []string
	}{
		{"temporary table", adminapi.BlockTempTable, []string{"CREATE TEMPORARY TABLE tt (i INT)"}, nil},
		{"temporary table, dropped", adminapi.BlockTempTable, []string{"CREATE TEMPORARY TABLE tt (i INT)", "DROP TABLE tt"}, nil},
		{"temporary table of a routine", adminapi.BlockTempTable, []string{"CALL temporary()"}, nil},
		{"temporary table beside another", adminapi.BlockTempTable, []string{"CREATE TABLE beside (i INT)", "DROP TABLE beside", "CALL temporary()"}, nil},
		{"a table that stays", "", []string{"CREATE TABLE stays (i INT)", "CREATE TABLE IF NOT EXISTS stays (i INT)", "CREATE /* c */ TABLE stays2 AS SELECT 1 AS i", "DROP TABLE stays, stays2"}, nil},
		{"user lock", adminapi.BlockUserLock, []string{"SELECT GET_LOCK('mine', 1)"}, []string{"SELECT RELEASE_LOCK('mine')"}},
		{"user lock by a name that no text tells", adminapi.BlockUserLock, []string{"SET @name = 'mine'", "DO GET_LOCK(@name, 1)"}, []string{"DO RELEASE_ALL_LOCKS()"}},
		{"user lock of a routine", adminapi.BlockUserLock, []string{"CALL locking()"}, []string{"DO RELEASE_LOCK('inside')"}},
		{"LOCK TABLES", adminapi.BlockTableLock, []string{"LOCK TABLES writes READ"}, []string{"UNLOCK TABLES"}},
		{"LOCK TABLES, local", adminapi.BlockTableLock, []string{"LOCK TABLES writes READ LOCAL"}, []string{"UNLOCK TABLES"}},
		{"HANDLER", adminapi.BlockHandler, []string{"HANDLER writes OPEN"}, []string{"HANDLER writes CLOSE"}},
		{"PREPARE", adminapi.BlockSQLPrepare, []string{"PREPARE s FROM 'SELECT 1'"}, []string{"DEALLOCATE PREPARE s"}},
		{"PREPARE of a routine", adminapi.BlockSQLPrepare, []string{"CALL preparing()"}, []string{"DEALLOCATE PREPARE p"}},
		{"a name that is not ASCII", "", []string{"SET @`ü 'x` = 1"}, nil},
		{"a name that the session's character set can't say", adminapi.BlockUnknown, []string{"SET @`ü` = 1", "SET NAMES latin1"}, nil},
	} {
		t.Run(u.name, func(t *testing.T) {
			b := raw(t, g.writer, func(d *wire.Dial) { d.User, d.Passwords, d.Schema = plainUser, []string{"plain-secret"}, "gw" })
			say := func(queries []string) {
				for _, q := range queries {
					if _, err := b.Query(q); err != nil {
						t.Fatalf("%s: %v", q, err)
					}
				}
			}
			say(u.make)
			p := m.prepare(t, g, "dry", true)
			if u.kind == "" {
				if !p.OK() || p.Ready != 1 {
					t.Fatalf("%+v", p)
				}
			} else if len(p.Unmovable) != 1 || p.Unmovable[0].Kind != u.kind || p.OK() || p.Unmovable[0].Client == "" || p.Unmovable[0].User != plainUser {
				t.Fatalf("%+v", p)
			}
			if u.end == nil { // a reset ends all
				if _, err := b.Simple([]byte{byte(wire.ComResetConnection)}); err != nil {
					t.Fatal(err)
				}
			}
			say(u.end)
			if p := m.prepare(t, g, "dry", true); !p.OK() || p.Ready != 1 {
				t.Errorf("after its end: %+v", p)
			}
			b.Close()
			g.until(t, "no session", func(st adminapi.Status) bool { return st.Sessions() == 0 })
		})
	}
	t.Run("counts begin anew on the next primary", func(t *testing.T) {
		one := conn(t, m.open(t, g, ""))
		run(t, one, "CREATE TABLE moved (i INT)")
		run(t, one, "DROP TABLE moved")
		m.move(t, g)
		run(t, one, "CALL temporary()") // one again
		if p := m.prepare(t, g, "dry", true); len(p.Unmovable) != 1 || p.Unmovable[0].Kind != adminapi.BlockTempTable {
			t.Errorf("%+v", p)
		}
	})
	g.until(t, "no session", func(st adminapi.Status) bool {
		list, _ := g.api.Sessions(bg(t))
		for _, s := range list.Sessions {
			g.api.Close(bg(t), adminapi.CloseRequest{Term: m.term, IDs: []uint32{s.ID}, Reason: "end of the test"})
		}
		return st.Sessions() == 0
	})
	t.Run("in a transaction", func(t *testing.T) { // its own locks on tables are none that block; it may end within the drain
		one := conn(t, m.open(t, g, ""))
		tx, err := one.BeginTx(bg(t), nil)
		if err != nil {
			t.Fatal(err)
		}
		var n int
		if err := tx.QueryRow("SELECT COUNT(*), GET_LOCK('mine', 1) FROM writes").Scan(&n, new(int)); err != nil {
			t.Fatal(err)
		}
		hold := func() error {
			_, err := g.api.Hold(bg(t), adminapi.HoldRequest{Switch: "in a transaction", Term: m.term, TTLMS: patience.Milliseconds(), DrainMS: 300})
			return err
		}
		if err := hold(); !isBlocked(err, adminapi.BlockUserLock) || isBlocked(err, adminapi.BlockTableLock) {
			t.Errorf("%v", err)
		}
		if _, err := tx.Exec("DO RELEASE_LOCK('mine')"); err != nil {
			t.Fatal(err)
		}
		if err := hold(); err != nil {
			t.Errorf("%v", err)
		}
		if _, err := g.api.Cancel(bg(t), adminapi.CancelRequest{Switch: "in a transaction", Term: m.term}); err != nil {
			t.Error(err)
		}
		if err := tx.Rollback(); err != nil {
			t.Error(err)
		}
	})
}

// What the next primary does not take blocks by name, before anything is held; so does what it silently changes.
func testMySQLRefused(t *testing.T, m *mysqlPair) {
	g := m.gateway(t)
	db := m.open(t, g, "")
	one := conn(t, db)
	named := func(want string) {
		t.Helper()
		p := m.prepare(t, g, "dry", true)
		if len(p.Unmovable) != 1 || p.OK() || len(p.Unmovable[0].Names) != 1 || p.Unmovable[0].Names[0] != want {
			t.Errorf("want %s: %+v", want, p)
		}
	}
	run(t, one, "SET SESSION max_execution_time = 4711")
	m.primary.Exec(t, "SET GLOBAL require_secure_transport = 0") // a global variable is nobody's session's
	if p := m.prepare(t, g, "dry", true); !p.OK() {
		t.Errorf("%+v", p)
	}
	run(t, one, "SET SESSION max_execution_time = DEFAULT, tmp_table_size = 16000000")
	// The account may set a variable here, but not there: by a privilege.
	m.primary.Exec(t, "GRANT SESSION_VARIABLES_ADMIN ON *.* TO plain")
	m.replica.CatchUp(t, m.primary)
	run(t, one, "SET SESSION binlog_row_image = 'MINIMAL'")
	if p := m.prepare(t, g, "dry", true); !p.OK() {
		t.Errorf("%+v", p)
	}
	m.primary.Exec(t, "REVOKE SESSION_VARIABLES_ADMIN ON *.* FROM plain")
	m.replica.CatchUp(t, m.primary)
	named("binlog_row_image")
	one.Close()
	db.Close()
	g.until(t, "no session", func(st adminapi.Status) bool { return st.Sessions() == 0 })

	// The next primary lowers what is above its maximum, and says no more than a warning.
	m.replica.Exec(t, "SET GLOBAL max_join_size = 1000") // so that the default differs, too
	defer m.replica.Exec(t, "SET GLOBAL max_join_size = DEFAULT")
	b := raw(t, g.writer, func(d *wire.Dial) { d.User, d.Passwords, d.Schema = plainUser, []string{"plain-secret"}, "gw" })
	queryText(t, b, "SET SESSION max_join_size = 2000")
	if p := m.prepare(t, g, "dry", true); !p.OK() {
		t.Errorf("%+v", p)
	}
	s := onlySession(t, g)
	s.mu.Lock()
	defer s.mu.Unlock()
	st, bs, err := s.read()
	if err != nil || len(bs) > 0 {
		t.Fatal(bs, err)
	}
	st.variables["max_join_size"] = variable{kind: "INT", value: text{value: "99999999999999999999999"}}
	st.user["x"] = userVariable{kind: "VARCHAR", value: "a", collation: "utf8mb4_bin"}
	other, err := s.open(bg(t), g.findServer(m.replica.Address()), "gw")
	if err != nil {
		t.Fatal(err)
	}
	defer other.quit()
	var blocked *blockedError
	if err := s.restore(bg(t), other, &state{schema: st.schema, role: text{null: true}}, st); !errors.As(err, &blocked) || len(blocked.blockers) != 1 || blocked.blockers[0].Names[0] != "max_join_size" {
		t.Errorf("%v", err)
	}
	// Every kind of difference is seen.
	for name, change := range map[string]func(*state){
		"@x": func(st *state) {
			st.user["x"] = userVariable{kind: "VARCHAR", value: "a", collation: "utf8mb4_general_ci"}
		},
		"@y":             func(st *state) { st.user["y"] = userVariable{kind: "INT", value: "1"} },
		"schema":         func(st *state) { st.schema.value = "other" },
		"role":           func(st *state) { st.role.value = "`walker`@`%`" },
		"last_insert_id": func(st *state) { st.insertID = "7" },
		"insert_id":      func(st *state) { st.nextID = "7" },
		"timestamp":      func(st *state) { st.timestamp = "7" },
		"wait_timeout":   func(st *state) { st.variables["wait_timeout"] = variable{kind: "INT", value: text{value: "7"}} },
		"optimizer_switch": func(st *state) {
			st.variables["optimizer_switch"] = variable{kind: kindFlags, value: text{value: "mrr=off,index_merge=on"}, global: text{value: "mrr=on,index_merge=on"}}
		},
	} {
		want, _, err := s.read()
		if err != nil {
			t.Fatal(err)
		}
		want.user["x"] = userVariable{kind: "VARCHAR", value: "a", collation: "utf8mb4_bin"}
		if name == "wait_timeout" || name == "optimizer_switch" {
			want.variables = map[string]variable{}
		} else {
			want.variables["max_join_size"] = variable{kind: "INT", value: text{value: queryOther(t, other, "SELECT @@max_join_size")}}
		}
		change(want)
		if bs, err := s.verify(bg(t), other, want); err != nil || len(bs) != 1 || len(bs[0].Names) != 1 || bs[0].Names[0] != name {
			t.Errorf("%s: %+v, %v", name, bs, err)
		}
	}
}

// A user variable's type is in its column's alone, and is written so that it is the same again.
func TestUserValues(t *testing.T) {
	for _, test := range []struct {
		column    wire.ColumnType
		plain     string
		collation string
		literal   string // empty: it can't be read
	}{
		{wire.ColumnType{Type: wire.TypeLongLong}, "-5", "binary", "-5"},
		{wire.ColumnType{Type: wire.TypeLongLong, Flags: wire.ColumnIsUnsigned}, "5", "binary", "CAST(5 AS UNSIGNED)"},
		{wire.ColumnType{Type: wire.TypeDouble}, "1", "binary", "1e0"},
		{wire.ColumnType{Type: wire.TypeDouble}, "1.5e-7", "binary", "1.5e-7"},
		{wire.ColumnType{Type: wire.TypeNewDecimal}, "1.50", "binary", "1.50"},
		{wire.ColumnType{Type: 0xfb}, "ab", "utf8mb4_bin", "_utf8mb4 X'6162' COLLATE utf8mb4_bin"},
		{wire.ColumnType{Type: 0xfa, Flags: 0x80}, "ab", "binary", "_binary X'6162'"},
		{wire.ColumnType{Type: 0xf5}, "{}", "utf8mb4_bin", ""},    // JSON
		{wire.ColumnType{Type: 0xff}, "x", "utf8mb4_bin", ""},     // geometry, or not understood
		{wire.ColumnType{Type: 0xfb}, "x", "", ""},                // no collation
		{wire.ColumnType{Type: 0x0c}, "2026-11-21", "binary", ""}, // a date
	} {
		v, err := userValue([]byte(test.plain), []byte(fmt.Sprintf("%X", test.plain)), test.collation, test.column)
		if (err != nil) != (test.literal == "") || err == nil && v.literal() != test.literal {
			t.Errorf("%+v: %s, %v", test, v.literal(), err)
		}
	}
	if v, err := userValue(nil, nil, "binary", wire.ColumnType{Type: 0xfa}); err != nil || v.literal() != "NULL" {
		t.Errorf("%+v, %v", v, err)
	}
	for _, cut := range [][2][]byte{{nil, []byte("61")}, {[]byte("a"), nil}} { // as when the bytes in hexadecimal are above max_allowed_packet
		if _, err := userValue(cut[0], cut[1], "utf8mb4_bin", wire.ColumnType{Type: 0xfb}); err == nil {
			t.Errorf("%q was taken for a value", cut)
		}
	}
}

func queryOther(t *testing.T, b *backend, sql string) string { return queryText(t, b.Backend, sql) }

// onlySession is the gateway's one session.
func onlySession(t testing.TB, g *gate) *session {
	t.Helper()
	list := g.snapshot()
	if len(list) != 1 {
		t.Fatalf("%d sessions", len(list))
	}
	return list[0]
}

// Clients of go-sql-driver write and read while the primary moves there and back: no error, no new connection, nothing lost or twice.
func testMySQLUnderLoad(t *testing.T, m *mysqlPair) {
	g := m.gateway(t, func(cfg *Config) {
		cfg.AccountsFile = writeFile(t, "a", "accounts:\n  - {user: app, password: app-secret}\n")
	})
	l := startLoad(t, g, 6, 5*time.Millisecond)
	begun := g.status(t).Counts.Connections
	more := func() {
		wrote := l.writes.Load()
		processtest.Until(t, patience, "writes go on", func() bool { return l.writes.Load() > wrote+60 || l.errors.Load() != nil })
	}
	for range 3 {
		more()
		r := m.move(t, g)
		t.Logf("to %s: held %d ms, longest wait %d ms, %d waited", m.primary.Name, r.HeldMS, r.LongestWaitMS, r.Waited)
	}
	more()
	c := g.status(t).Counts
	if c.Connections != begun || c.MovesFailed+c.Unknown+c.Refused > 0 || c.Moves < 18 {
		t.Errorf("%d connections at first; then %+v", begun, c)
	}
	l.finish(t, m.primary.Admin)
}

// Without SELECT on performance_schema nothing is guessed: the preflight says what is missing and where, and nothing is held.
func testMySQLNoRights(t *testing.T, m *mysqlPair) {
	m.primary.Exec(t, "REVOKE SELECT ON performance_schema.* FROM monitor")
	m.replica.CatchUp(t, m.primary)
	defer func() {
		m.primary.Exec(t, "GRANT SELECT ON performance_schema.* TO monitor")
		m.replica.CatchUp(t, m.primary)
	}()
	g := m.gateway(t)
	one := conn(t, m.open(t, g, ""))
	p := m.prepare(t, g, "dry", true)
	if p.OK() || len(p.Problems) != 2 || p.Ready != 0 {
		t.Fatalf("%+v", p)
	}
	for _, text := range p.Problems {
		if !strings.Contains(text, "GRANT SELECT ON performance_schema.* TO 'monitor'") {
			t.Error(text)
		}
	}
	if err := one.PingContext(context.Background()); err != nil {
		t.Error(err)
	}
}
