package gateway

import (
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/gateway/adminapi"
	"github.com/windlass-db/windlass/internal/wire"
)

// Everything that a session has moves with it, whatever set it: text, a procedure, a prepared statement, an executable comment; in
// both directions (trap 26).
func testStateMoves(t *testing.T, c *cluster) {
	c.primary.Exec(t, "CREATE DATABASE IF NOT EXISTS `gw-2 ü` CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci")
	c.primary.Exec(t, "CREATE OR REPLACE TABLE gw.seq (id INT PRIMARY KEY AUTO_INCREMENT, v INT)")
	c.primary.Exec(t, "CREATE OR REPLACE PROCEDURE gw.setall() BEGIN SET @inproc = 'from procedure'; SET SESSION sort_buffer_size = 3145728; END")
	c.primary.Exec(t, "CREATE OR REPLACE FUNCTION gw.setfun() RETURNS INT DETERMINISTIC BEGIN SET @infun = 77; RETURN 1; END")
	c.primary.Exec(t, "CREATE ROLE IF NOT EXISTS walker")
	c.primary.Exec(t, "GRANT walker TO app")
	c.replica.CatchUp(t, c.primary)
	g := c.gateway(t)
	one := conn(t, g.open(t, "gw", ""))
	for _, q := range []string{
		"CALL setall()", "SET @n = NULL, @i = -5, @u = 18446744073709551615, @d = 1.5e-7, @dec = 12345678901234567890.123456789, @`we``ird '\" name` = 'x'",
		"SET @bin = X'00FF0A2227', @uni = 'ü🍣', @lat = _latin1 X'FC', @coll = 'a' COLLATE utf8mb4_bin, @empty = ''",
		"/*!50000 SET SESSION max_join_size = 12345678 */", "SET SESSION sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'", "SET time_zone = '+03:00'",
		"SET SESSION optimizer_switch = 'mrr=on,index_merge=off'", "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", "SET autocommit = 0", "SET ROLE walker",
		"SET SESSION lc_time_names = 'de_DE', wait_timeout = 1234, sql_select_limit = 3, group_concat_max_len = 2048, innodb_lock_wait_timeout = 7",
		"INSERT INTO seq (v) VALUES (1), (2), (3)", "COMMIT", "USE `gw-2 ü`", "SET NAMES latin1 COLLATE latin1_german1_ci", "SET character_set_results = NULL",
		"SET timestamp = 1000000000.5", "SET rand_seed1 = 1234, rand_seed2 = 5678", "SET insert_id = 4711",
	} {
		run(t, one, q)
	}
	ask(t, one, "SELECT gw.setfun()")
	ask(t, one, "SELECT @`assigned in a select` := 3")
	run(t, one, "COMMIT")
	see := func() map[string]string {
		m := map[string]string{}
		for _, e := range []string{
			"@inproc", "@infun", "@n", "@i", "@u", "@d", "@dec", "@`we``ird '\" name`", "HEX(@bin)", "COLLATION(@bin)", "HEX(@uni)", "COLLATION(@uni)", "HEX(@lat)", "COLLATION(@lat)",
			"COLLATION(@coll)", "@empty", "@`assigned in a select`", "@d * 1e7", "@u - 1",
			"@@sort_buffer_size", "@@max_join_size", "@@sql_mode", "@@time_zone", "@@optimizer_switch LIKE '%mrr=on%'", "@@optimizer_switch LIKE '%index_merge=off%'", "@@optimizer_switch LIKE '%index_merge_union=on%'",
			"@@autocommit", "CURRENT_ROLE()", "@@lc_time_names", "@@wait_timeout", "@@sql_select_limit", "@@group_concat_max_len", "@@innodb_lock_wait_timeout",
			"LAST_INSERT_ID()", "DATABASE()", "@@character_set_client", "@@collation_connection", "@@character_set_connection", "IFNULL(@@character_set_results, 'none')", "@@character_set_database",
			"NOW()", "@@insert_id", "HEX('ü')",
		} {
			m[e] = ask(t, one, "SELECT "+e)
		}
		if m["iso"] = ask(t, one, "SELECT VARIABLE_VALUE FROM information_schema.SESSION_VARIABLES WHERE VARIABLE_NAME IN ('TX_ISOLATION', 'TRANSACTION_ISOLATION') LIMIT 1"); m["iso"] == "" {
			t.Error("no isolation level")
		}
		run(t, one, "COMMIT")
		return m
	}
	before := see()
	if before["LAST_INSERT_ID()"] == "0" || before["@infun"] != "77" || before["NOW()"] == "" {
		t.Fatalf("the state was not set: %v", before)
	}
	for range 2 { // there and back again
		port := ask(t, one, "SELECT @@port")
		run(t, one, "COMMIT")
		c.move(t, g)
		after := see()
		for e, want := range before {
			if after[e] != want {
				t.Errorf("on %s: %s is %q, was %q", c.primary.Name, e, after[e], want)
			}
		}
		if ask(t, one, "SELECT @@port") == port {
			t.Fatal("it did not move")
		}
		run(t, one, "COMMIT")
	}
	// A random sequence goes on, instead of beginning anew.
	r1 := ask(t, one, "SELECT RAND()")
	run(t, one, "SET rand_seed1 = 1234, rand_seed2 = 5678")
	if r2 := ask(t, one, "SELECT RAND()"); r1 != r2 {
		t.Errorf("RAND() gave %s, not %s", r1, r2)
	}
	run(t, one, "SET timestamp = DEFAULT")
	run(t, one, "COMMIT")
	if st := g.status(t); st.Counts.MovesFailed > 0 {
		t.Errorf("%+v", st.Counts)
	}
	// What changes after the session was restored ahead is not forgotten, what goes back to normal does, and what is used up is not used twice.
	id := "delta"
	run(t, one, "SET insert_id = 9000")
	if _, err := g.api.Prepare(bg(t), adminapi.PrepareRequest{Switch: id, Term: c.term, Target: c.replica.Address()}); err != nil {
		t.Fatal(err)
	}
	run(t, one, "SET @i = 99, @inproc = NULL, SESSION sort_buffer_size = DEFAULT, wait_timeout = 4321")
	run(t, one, "USE gw")
	run(t, one, "INSERT INTO seq (id, v) VALUES (NULL, 9)")
	run(t, one, "COMMIT")
	last := ask(t, one, "SELECT LAST_INSERT_ID()")
	size := ask(t, one, "SELECT @@sort_buffer_size")
	run(t, one, "COMMIT")
	if _, err := g.api.Hold(bg(t), adminapi.HoldRequest{Switch: id, Term: c.term, TTLMS: 60000, DrainMS: patience.Milliseconds()}); err != nil {
		t.Fatal(err)
	}
	c.demote(t)
	c.promote(t)
	c.release(t, g, id)
	for e, want := range map[string]string{"@i": "99", "@inproc": "NULL", "@@sort_buffer_size": size, "@@wait_timeout": "4321", "DATABASE()": "gw", "LAST_INSERT_ID()": last, "@@insert_id": "0", "@infun": "77"} {
		if got := ask(t, one, "SELECT "+e); got != want {
			t.Errorf("after the change: %s is %q, not %q", e, got, want)
		}
	}
	run(t, one, "COMMIT")
	c.move(t, g)
}

// Warnings, found rows and row counts can't be moved: what asks for them is answered where the statement before it ran.
func testDiagnostics(t *testing.T, c *cluster) {
	makeWrites(t, c)
	c.primary.Exec(t, "CREATE OR REPLACE TABLE gw.seq (id INT PRIMARY KEY AUTO_INCREMENT, v INT)")
	c.primary.Exec(t, "INSERT INTO gw.seq (v) VALUES (1), (2), (3), (4), (5)")
	c.replica.CatchUp(t, c.primary)
	g := c.gateway(t)
	db := g.open(t, "gw", "")
	found, warned, counted := conn(t, db), conn(t, db), conn(t, db)
	ask(t, found, "SELECT SQL_CALC_FOUND_ROWS id FROM seq LIMIT 1")
	ask(t, warned, "SELECT 'x' + 1")
	run(t, counted, "UPDATE seq SET v = v + 1")
	id := "diagnostics"
	held := result(func() error {
		_, err := g.api.Hold(bg(t), adminapi.HoldRequest{Switch: id, Term: c.term, TTLMS: 60000, DrainMS: patience.Milliseconds()})
		return err
	})
	if err := must(t, held); err != nil {
		t.Fatal(err)
	}
	c.demote(t)
	c.promote(t)
	c.release(t, g, id)
	if n := ask(t, found, "SELECT FOUND_ROWS()"); n != "5" {
		t.Errorf("FOUND_ROWS() is %s", n)
	}
	rows, err := warned.QueryContext(bg(t), "SHOW WARNINGS")
	if err != nil {
		t.Fatal(err)
	}
	if text := dump(rows); !strings.Contains(text, "Truncated incorrect DOUBLE") {
		t.Errorf("SHOW WARNINGS: %q", text)
	}
	_ = counted
	c.move(t, g)
}

// Types and ids of prepared statements (trap 27), with the client's own packets.
func testPreparedStatements(t *testing.T, c *cluster) {
	c.primary.Exec(t, "CREATE OR REPLACE TABLE gw.ps (id INT PRIMARY KEY AUTO_INCREMENT, a BIGINT, b VARCHAR(50))")
	c.replica.CatchUp(t, c.primary)
	for _, dep := range []wire.Capability{0, wire.CapDeprecateEOF} {
		c.primary.Exec(t, "TRUNCATE gw.ps")
		c.replica.CatchUp(t, c.primary)
		g := c.gateway(t)
		b := raw(t, g.writer, func(d *wire.Dial) {
			d.Schema = "gw"
			d.Caps |= dep
			d.Caps &^= wire.CapLongPassword
			d.Ext = wire.ExtBulkOperations
		})
		prepare := func(sql string) wire.Prepared {
			t.Helper()
			p, err := b.Prepare(append([]byte{byte(wire.ComStmtPrepare)}, sql...))
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		ins, sel := prepare("INSERT INTO ps (a, b) VALUES (?, ?)"), prepare("SELECT a, b FROM ps WHERE id = ?")
		const typed, untyped = true, false
		if r, err := b.Simple(executeInsert(ins.ID, typed, 7, "seven")); err != nil || r.OK.Affected != 1 {
			t.Fatal(err)
		}
		threadsPrepared := func() (n int) {
			var name string
			c.primary.Admin.QueryRow("SHOW GLOBAL STATUS LIKE 'Prepared_stmt_count'").Scan(&name, &n)
			return n
		}
		for i := range 2 {
			c.move(t, g)
			before := threadsPrepared()
			if r, err := b.Simple(executeInsert(ins.ID, untyped, uint64(100+i), "later")); err != nil || r.OK.Affected != 1 { // no types: the client has sent them once
				t.Fatalf("execute after move %d: %v", i+1, err)
			}
			if n := threadsPrepared(); n != before+1 { // trap 21: lazily
				t.Errorf("%d statements prepared after one EXECUTE, %d before", n, before)
			}
			if r, err := b.Simple(executeInsert(ins.ID, untyped, uint64(200+i), "again")); err != nil || r.OK.Affected != 1 {
				t.Fatal(err)
			}
		}
		if got := queryText(t, b, "SELECT GROUP_CONCAT(a, b ORDER BY id) FROM ps"); got != "7seven,100later,200again,101later,201again" {
			t.Errorf("rows: %s", got)
		}
		// -1 is the statement prepared last, also when that is not the one prepared last on this server.
		c.move(t, g)
		if r, err := b.Simple(executeInsert(ins.ID, untyped, 1, "one")); err != nil || r.OK.Affected != 1 {
			t.Fatal(err)
		}
		if rows := execRows(t, b, executeByID(0xffffffff, 1)); rows != 1 { // sel
			t.Errorf("-1 gave %d rows", rows)
		}
		if _, err := b.Prepare(append([]byte{byte(wire.ComStmtPrepare)}, "SELEKT"...)); err == nil {
			t.Fatal("nonsense was prepared")
		}
		if _, err := b.Simple(executeByID(0xffffffff, 1)); !isServerError(err, wire.ErrUnknownStmt) {
			t.Errorf("-1 after a failed PREPARE: %v", err)
		}
		// Bulk execution (MariaDB), types sent once.
		if r, err := b.Simple(bulkInsert(ins.ID, true, 31, 32)); err != nil || r.OK.Affected != 2 {
			t.Fatalf("bulk: %+v, %v", r.OK, err)
		}
		c.move(t, g)
		if r, err := b.Simple(bulkInsert(ins.ID, false, 33, 34)); err != nil || r.OK.Affected != 2 {
			t.Fatalf("bulk without types after a move: %+v, %v", r.OK, err)
		}
		// Long data, reset, close, and ids that are not there.
		long := prepare("INSERT INTO ps (a, b) VALUES (1, ?)")
		send := func(p []byte) {
			b.Seq = 0
			if err := b.WritePacket(p); err != nil {
				t.Fatal(err)
			}
		}
		data := binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint32([]byte{byte(wire.ComStmtLongData)}, long.ID), 0)
		send(append(data, "long "...))
		send(append(data, "data"...))
		if _, err := b.Simple([]byte{byte(wire.ComPing)}); err != nil { // so that they have arrived
			t.Fatal(err)
		}
		if blocked, err := c.plainHold(t, g, time.Minute, 300*time.Millisecond); !isBlocked(err, adminapi.BlockLongData) { // trap 25
			t.Errorf("long data: %s, %v", blocked, err)
		}
		exe := append(binary.LittleEndian.AppendUint32([]byte{byte(wire.ComStmtExecute)}, long.ID), 0, 1, 0, 0, 0, 0, 1, 0xfc, 0)
		if _, err := b.Simple(exe); err != nil {
			t.Fatal(err)
		}
		if got := queryText(t, b, "SELECT b FROM ps ORDER BY id DESC LIMIT 1"); got != "long data" {
			t.Errorf("long data: %q", got)
		}
		c.move(t, g)
		if _, err := b.Simple(binary.LittleEndian.AppendUint32([]byte{byte(wire.ComStmtReset)}, long.ID)); err != nil {
			t.Error(err)
		}
		send(binary.LittleEndian.AppendUint32([]byte{byte(wire.ComStmtClose)}, sel.ID)) // not open on this server
		send(binary.LittleEndian.AppendUint32([]byte{byte(wire.ComStmtClose)}, long.ID))
		send(binary.LittleEndian.AppendUint32([]byte{byte(wire.ComStmtClose)}, 4711))
		if _, err := b.Simple(executeByID(sel.ID, 1)); !isServerError(err, wire.ErrUnknownStmt) {
			t.Errorf("a closed statement: %v", err)
		}
		// A statement whose shape has changed is an error, not a surprise.
		star := prepare("SELECT * FROM ps WHERE id = ?")
		c.primary.Exec(t, "ALTER TABLE gw.ps ADD COLUMN extra INT")
		c.replica.CatchUp(t, c.primary)
		c.move(t, g)
		if _, err := b.Simple(executeByID(star.ID, 1)); !isServerError(err, wire.ErrNeedReprepare) {
			t.Errorf("a changed shape: %v", err)
		}
		c.primary.Exec(t, "ALTER TABLE gw.ps DROP COLUMN extra")
		c.replica.CatchUp(t, c.primary)
		b.Close()
		g.stop()
	}
}

func isServerError(err error, code uint16) bool {
	var e *wire.ServerError
	return errors.As(err, &e) && e.Code == code
}

func isBlocked(err error, kind string) bool {
	var e *adminapi.BlockedError
	return errors.As(err, &e) && len(e.Blockers) == 1 && e.Blockers[0].Kind == kind
}

func executeInsert(id uint32, types bool, a uint64, text string) []byte {
	p := binary.LittleEndian.AppendUint32([]byte{byte(wire.ComStmtExecute)}, id)
	p = append(p, 0, 1, 0, 0, 0, 0)
	if types {
		p = append(p, 1, 8, 0, 0xfd, 0)
	} else {
		p = append(p, 0)
	}
	p = binary.LittleEndian.AppendUint64(p, a)
	return wire.AppendLenencBytes(p, []byte(text))
}

func executeByID(id uint32, value uint64) []byte {
	p := binary.LittleEndian.AppendUint32([]byte{byte(wire.ComStmtExecute)}, id)
	p = append(p, 0, 1, 0, 0, 0, 0, 1, 8, 0)
	return binary.LittleEndian.AppendUint64(p, value)
}

func bulkInsert(id uint32, types bool, values ...uint64) []byte {
	p := binary.LittleEndian.AppendUint32([]byte{byte(wire.ComStmtBulkExecute)}, id)
	if types {
		p = append(p, 0x80, 0, 8, 0, 0xfd, 0)
	} else {
		p = append(p, 0, 0)
	}
	for _, v := range values {
		p = append(p, 0)
		p = binary.LittleEndian.AppendUint64(p, v)
		p = append(p, 0)
		p = wire.AppendLenencBytes(p, []byte("bulk"))
	}
	return p
}

// execRows counts the binary rows of an answer.
func execRows(t testing.TB, b *wire.Backend, p []byte) int {
	t.Helper()
	b.Seq = 0
	if err := b.WritePacket(p); err != nil {
		t.Fatal(err)
	}
	var r wire.Reply
	r.Reset(wire.Command(p[0]), b.Caps)
	for !r.Done() {
		n, ev, err := r.Scan(b.Buffered())
		if err != nil {
			t.Fatal(err)
		}
		packet := append([]byte(nil), b.Buffered()[:n]...)
		b.Discard(n)
		if ev == wire.EventERR {
			e, _ := wire.ParseERR(packet[len(packet)-r.PacketLen()+4:])
			t.Fatal(e)
		}
		if ev == wire.EventMore && !r.Done() {
			if err := b.Fill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.Seq = 0
	return int(r.Rows)
}

func queryText(t testing.TB, b *wire.Backend, sql string) string {
	t.Helper()
	r, err := b.Query(sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return r.Value(0, 0)
}

func testNextTransaction(t *testing.T, c *cluster) {
	makeWrites(t, c)
	g := c.gateway(t)
	nextTransaction(t, conn(t, g.open(t, "gw", "")), func() { c.move(t, g) }, func() *sql.DB { return c.primary.Admin })
}

// nextTransaction looks that what a session has set for its next transaction is set for that one and no other, when the primary moves before
// it begins: drivers send SET TRANSACTION as a statement of its own.
func nextTransaction(t *testing.T, one *sql.Conn, move func(), primary func() *sql.DB) {
	level := func(id string) (now string) {
		time.Sleep(2 * listPause) // a list that is asked for more often is an old one
		err := primary().QueryRow("SELECT trx_isolation_level FROM information_schema.INNODB_TRX WHERE trx_mysql_thread_id = " + id).Scan(&now)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			t.Fatal(err)
		}
		return now
	}
	for _, test := range []struct {
		before []string
		want   string
	}{
		{[]string{"SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"}, "SERIALIZABLE"},
		{[]string{"set /* next */ transaction isolation level read committed, read only", "SET @x = 1"}, "READ COMMITTED"},
		{[]string{"SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "SELECT COUNT(*) FROM writes"}, "REPEATABLE READ"}, // that was the next one
		{[]string{"SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "BEGIN", "SELECT COUNT(*) FROM writes", "COMMIT"}, "REPEATABLE READ"},
	} {
		for _, q := range test.before {
			run(t, one, q)
		}
		port := primary()
		move()
		run(t, one, "START TRANSACTION")
		ask(t, one, "SELECT COUNT(*) FROM writes")
		if primary() == port {
			t.Fatal("it did not move")
		}
		id := ask(t, one, "SELECT CONNECTION_ID()") // the server's
		processtest.Until(t, patience, fmt.Sprintf("%q: a transaction of %s", test.before, test.want), func() bool { return level(id) == test.want })
		run(t, one, "COMMIT")
	}
}

// What can't be moved is reported before anything is held, by kind (traps 20, 25), and stops blocking when it is gone.
func testUnmovable(t *testing.T, c *cluster) {
	makeWrites(t, c)
	g := c.gateway(t)
	for _, u := range []struct {
		kind      string
		make, end []string
	}{
		{adminapi.BlockTempTable, []string{"CREATE TEMPORARY TABLE tt (i INT)"}, []string{"DROP TEMPORARY TABLE tt"}},
		{adminapi.BlockUserLock, []string{"SELECT GET_LOCK('mine', 1)"}, []string{"SELECT RELEASE_LOCK('mine')"}},
		{adminapi.BlockUserLock, []string{"SET @name = 'mine'", "DO GET_LOCK(@name, 1)"}, nil},
		{adminapi.BlockTableLock, []string{"LOCK TABLES writes READ"}, []string{"UNLOCK TABLES"}},
		{adminapi.BlockHandler, []string{"HANDLER writes OPEN"}, []string{"HANDLER writes CLOSE"}},
		{adminapi.BlockSQLPrepare, []string{"PREPARE s FROM 'SELECT 1'"}, []string{"DEALLOCATE PREPARE s"}},
	} {
		t.Run(u.kind, func(t *testing.T) {
			one := conn(t, g.open(t, "gw", ""))
			prepare := func() adminapi.PrepareReply {
				p, err := g.api.Prepare(bg(t), adminapi.PrepareRequest{Switch: "dry", Term: c.term, Target: c.replica.Address(), DryRun: true})
				if err != nil {
					t.Fatal(err)
				}
				return p
			}
			for _, q := range u.make {
				run(t, one, q)
			}
			p := prepare()
			if len(p.Unmovable) != 1 || p.Unmovable[0].Kind != u.kind || p.OK() || p.Unmovable[0].Client == "" || p.Unmovable[0].User != processtest.AppUser {
				t.Fatalf("%+v", p)
			}
			// It came after the preflight: the hold sees it, too.
			if _, err := c.plainHold(t, g, time.Minute, 100*time.Millisecond); !isBlocked(err, u.kind) {
				t.Errorf("hold: %v", err)
			}
			if u.end == nil {
				one.Raw(func(any) error { return errors.New("close") })
				one.Close()
			}
			for _, q := range u.end {
				run(t, one, q)
			}
			if p := prepare(); u.end != nil && !p.OK() {
				t.Errorf("after its end: %+v", p)
			}
		})
		g.until(t, "no session", func(st adminapi.Status) bool {
			list, _ := g.api.Sessions(bg(t))
			for _, s := range list.Sessions {
				g.api.Close(bg(t), adminapi.CloseRequest{Term: c.term, IDs: []uint32{s.ID}, Reason: "end of the test"})
			}
			return st.Sessions() == 0
		})
	}

	t.Run("a name that the session's character set can't say", func(t *testing.T) {
		one := conn(t, g.open(t, "gw", ""))
		prepare := func() adminapi.PrepareReply {
			p, err := g.api.Prepare(bg(t), adminapi.PrepareRequest{Switch: "dry", Term: c.term, Target: c.replica.Address(), DryRun: true})
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		run(t, one, "SET @`ü` = 'x', @`Ã¼` = 'what latin1 takes it for'")
		if p := prepare(); !p.OK() || p.Ready != 1 {
			t.Errorf("%+v", p)
		}
		run(t, one, "SET NAMES latin1")
		if p := prepare(); len(p.Unmovable) != 1 || p.Unmovable[0].Kind != adminapi.BlockUnknown {
			t.Errorf("%+v", p)
		}
		g.api.Close(bg(t), adminapi.CloseRequest{Term: c.term, IDs: []uint32{onlySession(t, g).id}, Reason: "end of the test"})
		g.until(t, "no session", func(st adminapi.Status) bool { return st.Sessions() == 0 })
	})
	t.Run("xa", func(t *testing.T) { // trap 20
		one := conn(t, g.open(t, "gw", ""))
		for _, q := range []string{"XA START 'x'", "INSERT INTO writes (k) VALUES ('xa')", "XA END 'x'", "XA PREPARE 'x'"} {
			run(t, one, q)
		}
		_, err := c.plainHold(t, g, time.Minute, 200*time.Millisecond)
		if !isBlocked(err, adminapi.BlockTransaction) && !isBlocked(err, adminapi.BlockXA) {
			t.Errorf("%v", err)
		}
		run(t, one, "XA ROLLBACK 'x'")
	})
	t.Run("cursor", func(t *testing.T) { // a reader: it finishes where it is
		c.primary.Exec(t, "REPLACE INTO gw.writes (k) VALUES ('c1'), ('c2'), ('c3')")
		c.replica.CatchUp(t, c.primary)
		b := raw(t, g.writer, func(d *wire.Dial) { d.Schema = "gw" })
		p, err := b.Prepare(append([]byte{byte(wire.ComStmtPrepare)}, "SELECT k FROM writes WHERE k LIKE 'c_' ORDER BY k"...))
		if err != nil {
			t.Fatal(err)
		}
		open := append(binary.LittleEndian.AppendUint32([]byte{byte(wire.ComStmtExecute)}, p.ID), 1, 1, 0, 0, 0)
		fetch := append(binary.LittleEndian.AppendUint32([]byte{byte(wire.ComStmtFetch)}, p.ID), 1, 0, 0, 0)
		if n := execRows(t, b, open); n != 0 {
			t.Fatalf("%d rows at once", n)
		}
		if n := execRows(t, b, fetch); n != 1 {
			t.Fatalf("%d rows fetched", n)
		}
		id := c.hold(t, g)
		c.demote(t)
		c.promote(t)
		c.release(t, g, id)
		for range 2 {
			if n := execRows(t, b, fetch); n != 1 {
				t.Fatalf("%d rows fetched after the switch", n)
			}
		}
		execRows(t, b, fetch)
		if port := queryText(t, b, "SELECT @@port"); !strings.HasSuffix(c.primary.Address(), ":"+port) {
			t.Errorf("after its last row the session is on %s", port)
		}
		c.move(t, g)
	})
}

// Sessions are open and restored on the elect before anything is held, and only if it has room for them (trap 21). Every account is logged
// in there (trap 22).
func testPrepareAhead(t *testing.T, c *cluster) {
	g := c.gateway(t)
	db := g.open(t, "gw", "")
	for range 5 {
		run(t, conn(t, db), "SET @a = 1")
	}
	var before int
	c.replica.Admin.QueryRow("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = 'app'").Scan(&before)
	p, err := g.api.Prepare(bg(t), adminapi.PrepareRequest{Switch: "ahead", Term: c.term, Target: c.replica.Address()})
	if err != nil || !p.OK() || p.Ready != 5 || p.Sessions != 5 || p.Status.Phase != adminapi.PhasePrepared {
		t.Fatalf("%+v, %v", p, err)
	}
	var now int
	c.replica.Admin.QueryRow("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = 'app'").Scan(&now)
	if now != before+5 {
		t.Errorf("%d connections on the elect", now-before)
	}
	list, err := g.api.Sessions(bg(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list.Sessions {
		var user string
		if s.ShadowServer != c.replica.Address() || c.replica.Admin.QueryRow("SELECT USER FROM information_schema.PROCESSLIST WHERE ID = ?", s.ShadowThreadID).Scan(&user) != nil || user != "app" {
			t.Errorf("%+v: %q", s, user)
		}
	}
	if _, err := g.api.Cancel(bg(t), adminapi.CancelRequest{Switch: "ahead", Term: c.term}); err != nil {
		t.Fatal(err)
	}
	processtest.Until(t, patience, "the connections on the elect are closed", func() bool {
		c.replica.Admin.QueryRow("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = 'app'").Scan(&now)
		return now == before
	})

	var limit string
	c.replica.Admin.QueryRow("SELECT @@global.max_connections").Scan(&limit)
	c.replica.Exec(t, "SET GLOBAL max_connections = 10")
	p, err = g.api.Prepare(bg(t), adminapi.PrepareRequest{Switch: "room", Term: c.term, Target: c.replica.Address(), DryRun: true})
	if err != nil || p.OK() || len(p.Problems) != 1 || !strings.Contains(p.Problems[0], "max_connections") {
		t.Errorf("%+v, %v", p, err)
	}
	c.replica.Exec(t, "SET GLOBAL max_connections = "+limit)

	g2 := c.gateway(t, func(cfg *Config) {
		cfg.AccountsFile = writeFile(t, "accounts.yaml", "accounts:\n  - {user: app, password: "+processtest.AppPassword+"}\n  - {user: stranger, password: s}\n")
	})
	p, err = g2.api.Prepare(bg(t), adminapi.PrepareRequest{Switch: "accounts", Term: c.term, Target: c.replica.Address(), DryRun: true})
	if err != nil || p.OK() || len(p.Accounts) != 2 || p.Accounts[0].Error != "" || !strings.Contains(p.Accounts[1].Error, "1045") {
		t.Errorf("%+v, %v", p, err)
	}
}

// A password is rotated while clients work (trap 22).
func testPasswordRotation(t *testing.T, c *cluster) {
	accounts := writeFile(t, "accounts.yaml", "accounts:\n  - {user: app, passwords: [new-secret, "+processtest.AppPassword+"]}\n")
	g := c.gateway(t, func(cfg *Config) { cfg.AccountsFile = accounts })
	old := conn(t, g.open(t, "gw", ""))
	run(t, old, "SELECT 1")
	login := func(password string) error {
		db, err := sql.Open("mysql", processtest.DSN(g.writer, "app", password, "gw"))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		return db.PingContext(bg(t))
	}
	for _, server := range []string{processtest.AppPassword, "new-secret"} {
		c.primary.Exec(t, "ALTER USER 'app'@'%' IDENTIFIED BY '"+server+"'")
		c.replica.CatchUp(t, c.primary)
		for _, client := range []string{processtest.AppPassword, "new-secret"} {
			if err := login(client); err != nil {
				t.Errorf("server has %s, client %s: %v", server, client, err)
			}
		}
		c.move(t, g)
		run(t, old, "SELECT 1")
	}
	if err := login("wrong"); sqlError(err) != 1045 {
		t.Errorf("wrong password: %v", err)
	}
	c.primary.Exec(t, "ALTER USER 'app'@'%' IDENTIFIED BY '"+processtest.AppPassword+"'")
	c.replica.CatchUp(t, c.primary)
	if n := g.status(t).Counts.LoginsRefused; n != 1 {
		t.Errorf("%d logins refused", n)
	}
}

// What the elect does not take is reported by name.
func testDoesNotFit(t *testing.T, c *cluster) {
	c.putOn(t, "11.8")
	g := c.gateway(t)
	one := conn(t, g.open(t, "gw", ""))
	for _, x := range []struct{ set, kind, name, undo string }{
		{"SET NAMES utf8mb4 COLLATE utf8mb4_0900_as_cs", adminapi.BlockCollation, "collation_connection", "SET NAMES utf8mb4"},
		{"SET SESSION block_encryption_mode = 'aes-256-cbc'", adminapi.BlockVariable, "block_encryption_mode", "SET SESSION block_encryption_mode = DEFAULT"},
		{"SET @v = 'x' COLLATE utf8mb4_0900_as_cs", adminapi.BlockVariable, "@v", "SET @v = NULL"},
	} {
		run(t, one, x.set)
		p, err := g.api.Prepare(bg(t), adminapi.PrepareRequest{Switch: "fit", Term: c.term, Target: c.replica.Address(), DryRun: true})
		if err != nil || len(p.Unmovable) != 1 || p.Unmovable[0].Kind != x.kind || len(p.Unmovable[0].Names) != 1 || p.Unmovable[0].Names[0] != x.name {
			t.Errorf("%s: %+v, %v", x.set, p.Unmovable, err)
		}
		run(t, one, x.undo)
	}
	run(t, one, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED") // has two names on 11.8
	c.move(t, g)
	if iso := ask(t, one, "SELECT @@tx_isolation"); iso != "READ-COMMITTED" {
		t.Errorf("isolation level %s", iso)
	}
}
