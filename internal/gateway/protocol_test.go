package gateway

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/gateway/adminapi"
	"github.com/windlass-db/windlass/internal/wire"
)

// greet reads a gateway's greeting.
func greet(t testing.TB, address string) (*wire.Conn, wire.Greeting) {
	t.Helper()
	nc, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	c := wire.NewConn(nc, 1<<26)
	c.SetDeadline(time.Now().Add(20 * time.Second))
	p, err := c.ReadPacket()
	if err != nil {
		t.Fatal(err)
	}
	g, err := wire.ParseGreeting(p)
	if err != nil {
		t.Fatal(err)
	}
	return c, g
}

// The greeting is the same wherever the primary is, and promises only what both versions have (trap 23).
func testFrozenGreeting(t *testing.T, c *cluster) {
	g := c.gateway(t)
	_, first := greet(t, g.writer)
	for _, flag := range []wire.Capability{wire.CapCompress, wire.CapZstd, wire.CapLocalFiles, wire.CapOptionalMetadata, wire.CapSSL} {
		if first.Caps&flag != 0 {
			t.Errorf("capability %#x is promised", uint32(flag))
		}
	}
	if first.Ext != wire.ExtBulkOperations|wire.ExtExtendedMetadata {
		t.Errorf("extended capabilities %#x", uint32(first.Ext))
	}
	if !strings.Contains(first.Version, "10.11.") {
		t.Errorf("version %s is not the lowest", first.Version)
	}
	c.move(t, g)
	_, second := greet(t, g.writer)
	if second.ThreadID == first.ThreadID || second.Salt == first.Salt {
		t.Error("thread id or salt came twice")
	}
	second.ThreadID, second.Salt = first.ThreadID, first.Salt
	if first != second {
		t.Errorf("before %+v, after %+v", first, second)
	}
}

// Session state is asked of servers, and passed on only to clients that asked for it (trap 24).
func testSessionTrack(t *testing.T, c *cluster) {
	g := c.gateway(t)
	for _, track := range []wire.Capability{0, wire.CapSessionTrack} {
		for _, dep := range []wire.Capability{0, wire.CapDeprecateEOF} {
			b := raw(t, g.writer, func(d *wire.Dial) { d.Caps |= track | dep })
			for _, q := range []string{"SET autocommit = 0", "USE gw", "SET NAMES latin1", "SET time_zone = '+01:00', autocommit = 1"} {
				r, err := b.Query(q)
				if err != nil {
					t.Fatal(err)
				}
				if told := r.OK.Status&wire.StatusSessionChanged != 0; told != (track != 0) || (len(r.OK.State) > 0) != told {
					t.Errorf("track %t, %s: %+v", track != 0, q, r.OK)
				}
			}
			if got := queryText(t, b, "SELECT 1"); got != "1" {
				t.Errorf("afterwards %q", got)
			}
		}
	}
}

// COM_CHANGE_USER, COM_RESET_CONNECTION and COM_SET_OPTION (trap 28).
func testChangeUser(t *testing.T, c *cluster) {
	c.primary.Exec(t, "CREATE OR REPLACE USER 'second'@'%' IDENTIFIED BY 'second-secret'")
	c.primary.Exec(t, "GRANT SELECT ON gw.* TO 'second'@'%'")
	c.replica.CatchUp(t, c.primary)
	g := c.gateway(t, func(cfg *Config) {
		cfg.AccountsFile = writeFile(t, "a", "accounts:\n  - {user: app, password: "+processtest.AppPassword+"}\n  - {user: second, password: second-secret}\n")
	})
	login := func() *wire.Backend { return raw(t, g.writer, func(d *wire.Dial) { d.Schema = "gw" }) }
	change := func(b *wire.Backend, user, password, schema string) (wire.Result, error) {
		answer, err := wire.Scramble(wire.NativePassword, password, b.Greeting.Salt[:])
		if err != nil {
			t.Fatal(err)
		}
		p := append([]byte{byte(wire.ComChangeUser)}, user...)
		p = append(p, 0, byte(len(answer)))
		p = append(append(p, answer...), schema...)
		p = append(p, 0, utf8mb4General, 0)
		p = append(append(p, wire.NativePassword...), 0)
		return b.Simple(p)
	}
	b := login()
	for _, q := range []string{"SET @a = 1", "CREATE TEMPORARY TABLE tt (i INT)", "BEGIN"} {
		if _, err := b.Query(q); err != nil {
			t.Fatal(err)
		}
	}
	prepared, err := b.Prepare(append([]byte{byte(wire.ComStmtPrepare)}, "SELECT ?"...))
	if err != nil {
		t.Fatal(err)
	}
	if r, err := change(b, "second", "second-secret", "gw"); err != nil || r.OK.Status&wire.StatusInTrans != 0 {
		t.Fatalf("%+v, %v", r.OK, err)
	}
	if u := queryText(t, b, "SELECT CONCAT(SUBSTRING_INDEX(USER(), '@', 1), IFNULL(@a, 'none'), DATABASE())"); u != "secondnonegw" {
		t.Errorf("after the change: %s", u)
	}
	if _, err := b.Simple(executeByID(prepared.ID, 1)); !isServerError(err, wire.ErrUnknownStmt) {
		t.Errorf("a statement of the user before: %v", err)
	}
	c.move(t, g) // as the new user, and the temporary table is gone
	if u := queryText(t, b, "SELECT SUBSTRING_INDEX(USER(), '@', 1)"); u != "second" {
		t.Errorf("after the move: %s", u)
	}
	if _, err := change(b, "app", processtest.AppPassword, ""); err != nil {
		t.Error(err)
	}
	if _, err := change(b, "second", "wrong", ""); !isServerError(err, wire.ErrAccessDenied) {
		t.Errorf("wrong password: %v", err)
	}
	if _, err := b.Query("SELECT 1"); err == nil {
		t.Error("a failed change leaves a session")
	}

	b = login()
	prepared, err = b.Prepare(append([]byte{byte(wire.ComStmtPrepare)}, "SELECT ?"...))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Query("CREATE TEMPORARY TABLE tt (i INT)"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Query("SET @a = 5"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Simple([]byte{byte(wire.ComResetConnection)}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Simple(executeByID(prepared.ID, 1)); !isServerError(err, wire.ErrUnknownStmt) {
		t.Errorf("a statement from before the reset: %v", err)
	}
	// Several statements at once are switched off, and stay so after a move.
	option := func(off byte) {
		if _, err := b.Simple([]byte{byte(wire.ComSetOption), off, 0}); err != nil {
			t.Fatal(err)
		}
	}
	option(1)
	c.move(t, g)
	if _, err := b.Query("SELECT 1; SELECT 2"); !isServerError(err, 1064) {
		t.Errorf("two statements with the option off: %v", err)
	}
	option(0)
	c.move(t, g)
	if got := queryText(t, b, "SELECT 1; SELECT 2"); got != "2" {
		t.Errorf("two statements with the option on: %q", got)
	}
	if a := queryText(t, b, "SELECT @a"); a != "" {
		t.Errorf("@a is %q after a reset", a)
	}
}

// A KILL of the id that the gateway gave reaches the right connection, of the right owner, on the right server (trap 29).
func testKill(t *testing.T, c *cluster) {
	c.primary.Exec(t, "CREATE OR REPLACE USER 'second'@'%' IDENTIFIED BY 'second-secret'")
	c.replica.CatchUp(t, c.primary)
	change := func(id int) func(*Config) {
		return func(cfg *Config) {
			cfg.ID = &id
			cfg.AccountsFile = writeFile(t, "a", "accounts:\n  - {user: app, password: "+processtest.AppPassword+"}\n  - {user: second, password: second-secret}\n")
		}
	}
	g, other := c.gateway(t, change(1)), c.gateway(t, change(2))
	victim, killer := raw(t, g.writer), raw(t, g.writer)
	id := victim.Greeting.ThreadID
	if id&idMark == 0 || raw(t, other.writer).Greeting.ThreadID == id {
		t.Errorf("id %d", id)
	}
	sleep := func() <-chan string {
		answer := result(func() string {
			r, err := victim.Query("SELECT SLEEP(60)")
			if err != nil {
				return err.Error()
			}
			return r.Value(0, 0)
		})
		g.until(t, "it sleeps", func(st adminapi.Status) bool { return st.Writer.InFlight == 1 })
		processtest.Until(t, patience, "its server has begun", func() bool { // before that a KILL QUERY is lost
			var n int
			err := c.primary.Admin.QueryRow("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE = 'User sleep'").Scan(&n)
			return err == nil && n == 1
		})
		return answer
	}
	stranger := raw(t, g.writer, func(d *wire.Dial) { d.User, d.Passwords = "second", []string{"second-secret"} })
	for range 2 {
		answer := sleep()
		if _, err := stranger.Query(fmt.Sprintf("KILL QUERY %d", id)); !isServerError(err, wire.ErrKillDenied) {
			t.Errorf("another user's KILL: %v", err)
		}
		if _, err := killer.Query(fmt.Sprintf("KILL QUERY %d", id)); err != nil {
			t.Error(err)
		}
		if got := must(t, answer); got != "1" && !strings.Contains(got, "1317") {
			t.Errorf("the killed query answered %q", got)
		}
		c.move(t, g) // its server's id is another one now
	}
	// A command that is held can be killed, too.
	held := "kill"
	if _, err := g.api.Hold(bg(t), adminapi.HoldRequest{Switch: held, Term: c.term, TTLMS: 60000, DrainMS: patience.Milliseconds()}); err != nil {
		t.Fatal(err)
	}
	answer := result(func() error { _, err := victim.Query("SELECT 1"); return err })
	g.until(t, "it waits", func(st adminapi.Status) bool { return st.Writer.Waiting == 1 })
	if _, err := killer.Query(fmt.Sprintf("KILL QUERY %d", id)); err != nil {
		t.Error(err)
	}
	if err := must(t, answer); !isServerError(err, wire.ErrQueryInterrupted) {
		t.Errorf("the held command: %v", err)
	}
	if _, err := g.api.Cancel(bg(t), adminapi.CancelRequest{Switch: held, Term: c.term}); err != nil {
		t.Fatal(err)
	}
	// Ids of nobody, of another gateway, and of a server.
	for _, x := range []uint32{id + 100, 2<<idCountBits | idMark | 1} {
		if _, err := killer.Query(fmt.Sprintf("KILL %d", x)); !isServerError(err, wire.ErrNoSuchThread) {
			t.Errorf("KILL %d: %v", x, err)
		}
	}
	if _, err := killer.Simple(binary.LittleEndian.AppendUint32([]byte{byte(wire.ComProcessKill)}, id)); err != nil {
		t.Error(err)
	}
	if _, err := victim.Query("SELECT 1"); err == nil {
		t.Error("the killed connection goes on")
	}
}

// Replication and local files are not for clients of a gateway (trap 30).
func testRefusedCommands(t *testing.T, c *cluster) {
	c.primary.Exec(t, "CREATE OR REPLACE TABLE gw.lines (l VARCHAR(100))")
	c.replica.CatchUp(t, c.primary)
	g := c.gateway(t)
	b := raw(t, g.writer, func(d *wire.Dial) { d.Schema = "gw" })
	for _, cmd := range []wire.Command{wire.ComBinlogDump, wire.ComBinlogDumpGTID, wire.ComRegisterSlave, wire.ComTableDump, wire.ComShutdown, wire.ComDebug, wire.ComClone, wire.ComRefresh,
		wire.ComProcessInfo, wire.ComSleep, wire.ComConnect, wire.ComDaemon, 0x42, 0xff} {
		if _, err := b.Simple(append([]byte{byte(cmd)}, make([]byte, 20)...)); !isServerError(err, wire.ErrUnknownCommand) {
			t.Errorf("command %#x: %v", byte(cmd), err)
		}
	}
	file := writeFile(t, "lines", "one\ntwo\nthree\n")
	mysql.RegisterLocalFile(file)
	load := func(g *gate) error {
		db := g.open(t, "gw", "")
		_, err := db.ExecContext(bg(t), "LOAD DATA LOCAL INFILE '"+file+"' INTO TABLE `lines`")
		return err
	}
	if err := load(g); sqlError(err) == 0 {
		t.Errorf("LOCAL INFILE: %v", err)
	}
	g2 := c.gateway(t, func(cfg *Config) { cfg.LocalInfile = true })
	if err := load(g2); err != nil {
		t.Error(err)
	}
	one := conn(t, g2.open(t, "gw", ""))
	if n := ask(t, one, "SELECT COUNT(*) FROM `lines`"); n != "3" {
		t.Errorf("%s lines", n)
	}
}

// Framing: rows of 16 MB and more, commands as large, several results, commands in a row without waiting, commands without an answer (trap 31).
func testFraming(t *testing.T, c *cluster) {
	c.primary.Exec(t, "SET GLOBAL max_allowed_packet = 64*1024*1024")
	c.replica.Exec(t, "SET GLOBAL max_allowed_packet = 64*1024*1024")
	c.primary.Exec(t, "CREATE OR REPLACE TABLE gw.big (id INT PRIMARY KEY, b LONGBLOB)")
	c.replica.CatchUp(t, c.primary)
	g := c.gateway(t)
	for _, dep := range []wire.Capability{0, wire.CapDeprecateEOF} {
		b := raw(t, g.writer, func(d *wire.Dial) { d.Schema = "gw"; d.Caps |= dep })
		const size = 17 << 20
		// The length of a field above 16 MB is written as 0xFE and eight bytes: the row looks like an EOF.
		r, err := b.Query(fmt.Sprintf("SELECT REPEAT(CHAR(254), %d) UNION ALL SELECT 'x'", size))
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Rows) != 2 || len(r.Rows[0][0]) != size || !bytes.Equal(r.Rows[0][0], bytes.Repeat([]byte{254}, size)) || string(r.Rows[1][0]) != "x" {
			t.Fatalf("%d rows", len(r.Rows))
		}
		for _, n := range []int{1 << 20, wire.MaxFrame - 10, 17 << 20} { // the second is a packet of exactly 16 MB
			text := "SELECT '" + strings.Repeat("a", n) + "'"
			if got := queryText(t, b, text); len(got) != n {
				t.Fatalf("a query of %d bytes gave %d", len(text), len(got))
			}
		}
		p, err := b.Prepare(append([]byte{byte(wire.ComStmtPrepare)}, "SELECT CAST(LENGTH(?) AS CHAR), 1"...))
		if err != nil {
			t.Fatal(err)
		}
		length := func(types []byte, n int) {
			t.Helper()
			exe := append(binary.LittleEndian.AppendUint32([]byte{byte(wire.ComStmtExecute)}, p.ID), 0, 1, 0, 0, 0, 0)
			if err := b.WritePacket(wire.AppendLenencBytes(append(exe, types...), bytes.Repeat([]byte{0xfe}, n))); err != nil {
				t.Fatal(err)
			}
			if got := firstBinaryField(t, b); got != fmt.Sprint(n) {
				t.Errorf("a parameter of %d bytes arrived as %q", n, got)
			}
			b.Seq = 0
		}
		length([]byte{1, 0xfc, 0}, 17<<20)
		c.move(t, g)
		length([]byte{0}, wire.MaxFrame-20) // no types, a packet of 16 MB with them, after a move
		sel, err := b.Prepare(append([]byte{byte(wire.ComStmtPrepare)}, fmt.Sprintf("SELECT REPEAT('b', %d), 1", size)...))
		if err != nil {
			t.Fatal(err)
		}
		if n := execRows(t, b, append(binary.LittleEndian.AppendUint32([]byte{byte(wire.ComStmtExecute)}, sel.ID), 0, 1, 0, 0, 0)); n != 1 {
			t.Errorf("%d binary rows", n)
		}
		// Pipelining: commands in a row, the answers after them.
		var out []byte
		for i := range 50 {
			b.Seq = 0
			out = b.AppendFrames(out, append([]byte{byte(wire.ComQuery)}, fmt.Sprintf("SELECT %d, REPEAT('p', 1000)", i)...))
		}
		if err := b.WriteAll(out); err != nil {
			t.Fatal(err)
		}
		for i := range 50 {
			b.Seq = 1
			if got := firstField(t, b); got != fmt.Sprint(i) {
				t.Fatalf("answer %d is %q", i, got)
			}
		}
		if got := queryText(t, b, "SELECT 1; SELECT 'two'; SET @x = 1; SELECT 'four'"); got != "four" {
			t.Errorf("several results: %q", got)
		}
		if _, err := b.Query("SELECT 1; SELEKT"); !isServerError(err, 1064) {
			t.Errorf("an error after a result: %v", err)
		}
		for _, p := range [][]byte{{byte(wire.ComPing)}, append([]byte{byte(wire.ComInitDB)}, "gw"...)} {
			if _, err := b.Simple(p); err != nil {
				t.Error(err)
			}
		}
		b.Seq = 0
		if err := b.WritePacket([]byte{byte(wire.ComStatistics)}); err != nil {
			t.Fatal(err)
		}
		if text, err := b.ReadPacket(); err != nil || !bytes.Contains(text, []byte("Uptime")) {
			t.Errorf("statistics: %q, %v", text, err)
		}
		b.Seq = 0
		if n := execRows(t, b, append([]byte{byte(wire.ComFieldList)}, "big\x00"...)); n != 0 {
			t.Errorf("field list: %d rows", n)
		}
		if got := queryText(t, b, "SELECT 'still here'"); got != "still here" {
			t.Errorf("%q", got)
		}
		b.Close()
	}
}

// Idle is not enough to move (trap 25): commands that follow each other without waiting go on in order on the new primary, and a local file
// that is under way is waited for.
func testMovable(t *testing.T, c *cluster) {
	c.primary.Exec(t, "CREATE OR REPLACE TABLE gw.lines (l VARCHAR(100))")
	c.replica.CatchUp(t, c.primary)
	g := c.gateway(t, func(cfg *Config) { cfg.LocalInfile = true })
	b := raw(t, g.writer, func(d *wire.Dial) { d.Schema, d.Caps = "gw", d.Caps|wire.CapLocalFiles })
	id := c.hold(t, g)
	var out []byte
	for i := range 20 {
		b.Seq = 0
		out = b.AppendFrames(out, append([]byte{byte(wire.ComQuery)}, fmt.Sprintf("SELECT CONCAT(%d, ' on ', @@port); SELECT 'more'", i)...))
	}
	if err := b.WriteAll(out); err != nil {
		t.Fatal(err)
	}
	g.until(t, "the first waits", func(st adminapi.Status) bool { return st.Writer.Waiting == 1 })
	c.demote(t)
	c.promote(t)
	c.release(t, g, id)
	port := c.primary.Address()[strings.LastIndex(c.primary.Address(), ":")+1:]
	for i := range 20 {
		b.Seq = 1
		if got, want := firstField(t, b), fmt.Sprintf("%d on %s", i, port); got != want {
			t.Fatalf("answer %d is %q, not %q", i, got, want)
		}
	}

	b.Seq = 0
	if err := b.WritePacket(append([]byte{byte(wire.ComQuery)}, "LOAD DATA LOCAL INFILE 'x' INTO TABLE `lines`"...)); err != nil {
		t.Fatal(err)
	}
	if asks, err := b.ReadPacket(); err != nil || asks[0] != 0xfb {
		t.Fatalf("%q, %v", asks, err)
	}
	if err := b.WritePacket([]byte("one\ntwo\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.plainHold(t, g, time.Minute, 100*time.Millisecond); !isBlocked(err, adminapi.BlockCommand) {
		t.Errorf("a local file under way: %v", err)
	}
	if err := b.WritePacket(nil); err != nil {
		t.Fatal(err)
	}
	if ok, err := b.ReadPacket(); err != nil || ok[0] != 0 {
		t.Fatalf("%q, %v", ok, err)
	}
	b.Seq = 0
	c.move(t, g)
	if n := queryText(t, b, "SELECT COUNT(*) FROM `lines`"); n != "2" {
		t.Errorf("%s lines", n)
	}
}

// firstField reads the answer to a query that was sent, and gives the first field of its first row.
func firstField(t testing.TB, b *wire.Backend) string {
	t.Helper()
	return string(wire.NewCursor(firstRow(t, b, wire.ComQuery)).LenencBytes())
}

// firstBinaryField is firstField for an EXECUTE whose first field is a text.
func firstBinaryField(t testing.TB, b *wire.Backend) string {
	t.Helper()
	c := wire.NewCursor(firstRow(t, b, wire.ComStmtExecute))
	c.Skip(2) // header, NULL bits of up to six columns
	return string(c.LenencBytes())
}

// firstRow reads the answer to a command that was sent, and gives its first row.
func firstRow(t testing.TB, b *wire.Backend, cmd wire.Command) []byte {
	t.Helper()
	var r wire.Reply
	r.Reset(cmd, b.Caps)
	var row []byte
	for !r.Done() {
		p, err := b.ReadPacket()
		if err != nil {
			t.Fatal(err)
		}
		rows := r.Rows
		head := []byte{byte(len(p)), byte(len(p) >> 8), byte(len(p) >> 16), 0}
		_, ev, err := r.Scan(append(head, p...))
		if err != nil {
			t.Fatal(err)
		}
		if ev == wire.EventERR {
			t.Fatalf("%q", p)
		}
		if r.Rows > rows && row == nil {
			row = bytes.Clone(p)
		}
	}
	return row
}

// A pool that never resolves its name again stays on the old gateway, which forwards to the primary in the other cell until it is empty;
// who is left has a name, and a forced close is counted (trap 32).
func testOldGatewayForwards(t *testing.T, c *cluster) {
	makeWrites(t, c)
	old := c.gateway(t, func(cfg *Config) { cfg.Servers.Local = []string{c.primary.Address()} })
	neu := c.gateway(t, func(cfg *Config) { cfg.Servers.Local = []string{c.replica.Address()} })
	laggard := conn(t, old.open(t, "gw", ""))
	run(t, laggard, "SELECT 1")
	neu.until(t, "the route", func(st adminapi.Status) bool { return st.Writer.Route == adminapi.RouteOpen })
	c.demote(t)
	c.promote(t)
	old.until(t, "the route", func(st adminapi.Status) bool { return st.Writer.Primary == c.primary.Address() })
	run(t, laggard, "INSERT INTO writes (k) VALUES (?)", t.Name()) // moved by itself, with no hold and no gateway's help
	st := old.status(t)
	if len(st.Clients) != 1 || st.Clients[0].Address != "127.0.0.1" || st.Clients[0].Sessions != 1 || st.Counts.Moves != 1 {
		t.Errorf("%+v, %+v", st.Clients, st.Counts)
	}
	if _, err := old.api.Close(bg(t), adminapi.CloseRequest{Term: c.term}); err == nil {
		t.Error("closed without a reason")
	}
	r, err := old.api.Close(bg(t), adminapi.CloseRequest{Term: c.term, Addresses: []string{"127.0.0.1"}, Reason: "the test"})
	if err != nil || r.Closed != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	old.until(t, "it is empty", func(st adminapi.Status) bool { return st.Sessions() == 0 && st.Counts.ForcedCloses == 1 })
	c.putOn(t, "10.11")
}

// The read-only endpoint uses replicas of its own cell alone, refuses writes, and moves its sessions off a server that is
// promoted (H6).
func testReadOnlyEndpoint(t *testing.T, c *cluster) {
	makeWrites(t, c)
	c.putOn(t, "10.11")
	both := c.gateway(t)
	blue := c.gateway(t, func(cfg *Config) {
		cfg.Servers.Local, cfg.Timeouts.NoPrimary = []string{c.primary.Address()}, Duration(200*time.Millisecond)
	})
	both.until(t, "a replica", func(st adminapi.Status) bool { return st.ReadOnly.Route == adminapi.RouteOpen })
	reader := conn(t, openPool(t, both.readOnly, "gw", ""))
	port := func(s *processtest.Server) string { return s.Address()[strings.LastIndex(s.Address(), ":")+1:] }
	if p := ask(t, reader, "SELECT @@port"); p != port(c.replica) {
		t.Errorf("on %s", p)
	}
	if _, err := reader.ExecContext(bg(t), "INSERT INTO writes (k) VALUES ('ro')"); sqlError(err) == 0 {
		t.Errorf("a write: %v", err)
	}
	// The only server of the blue cell is the primary: no reader is sent to the other cell's replica.
	if err := openPool(t, blue.readOnly, "gw", "").PingContext(bg(t)); sqlError(err) != 1290 {
		t.Errorf("a cell without a replica: %v", err)
	}
	// The promotion of its server: no write slips through before the monitor sees it, and the session goes elsewhere.
	c.replica.Exec(t, "STOP SLAVE")
	c.replica.Exec(t, "SET GLOBAL read_only = 0")
	if _, err := reader.ExecContext(bg(t), "INSERT INTO writes (k) VALUES ('ro')"); sqlError(err) == 0 {
		t.Errorf("a write on a server that was just promoted: %v", err)
	}
	c.replica.Exec(t, "SET GLOBAL read_only = 1")
	c.replica.Exec(t, "START SLAVE")
	c.demote(t)
	c.promote(t)
	both.until(t, "the other replica", func(st adminapi.Status) bool {
		for _, s := range st.Servers {
			if s.Address == c.replica.Address() && s.Role == adminapi.RoleReadOnly && s.LagMS >= 0 {
				return st.ReadOnly.Route == adminapi.RouteOpen && st.Writer.Primary == c.primary.Address()
			}
		}
		return false
	})
	if p := ask(t, reader, "SELECT @@port"); p != port(c.replica) {
		t.Errorf("after the switch on %s", p)
	}
	// A replica that is too far behind, or does not know how far, is not used.
	c.replica.Exec(t, "STOP SLAVE")
	both.until(t, "no replica", func(st adminapi.Status) bool { return st.ReadOnly.Route == adminapi.RouteNone })
	c.replica.Exec(t, "START SLAVE")
	both.until(t, "a replica", func(st adminapi.Status) bool { return st.ReadOnly.Route == adminapi.RouteOpen })
	run(t, reader, "SELECT 1")
	c.putOn(t, "10.11")
}

// TLS to clients and to servers, and caching_sha2_password at the gateway's door.
func testTLSAndMethods(t *testing.T, c *cluster) {
	cert, key := selfSigned(t)
	g := c.gateway(t, func(cfg *Config) {
		cfg.ClientTLS = &ClientTLS{Cert: cert, Key: key, Required: true}
		cfg.AccountsFile = writeFile(t, "a", "accounts:\n  - {user: app, password: "+processtest.AppPassword+", plugin: caching_sha2_password}\n")
	})
	if err := g.open(t, "gw", "").PingContext(bg(t)); sqlError(err) != 3159 {
		t.Errorf("without TLS: %v", err)
	}
	db := g.open(t, "gw", "tls=skip-verify")
	one := conn(t, db)
	run(t, one, "SELECT 1")
	c.move(t, g)
	if got := ask(t, one, "SELECT REPEAT('x', 100000)"); len(got) != 100000 {
		t.Errorf("%d bytes", len(got))
	}
	bad, err := sql.Open("mysql", processtest.DSN(g.writer, "app", "wrong", "gw")+"&tls=skip-verify")
	if err != nil {
		t.Fatal(err)
	}
	defer bad.Close()
	if err := bad.PingContext(bg(t)); sqlError(err) != 1045 {
		t.Errorf("wrong password: %v", err)
	}
	plain := c.gateway(t, func(cfg *Config) {
		cfg.AccountsFile = writeFile(t, "a", "accounts:\n  - {user: app, password: "+processtest.AppPassword+", plugin: caching_sha2_password}\n")
	})
	run(t, conn(t, plain.open(t, "gw", "")), "SELECT 1")
}

// The list of servers may be replaced while it serves: the new cell's servers come, the old ones' go; it outlives a restart.
func testReplaceServers(t *testing.T, c *cluster) {
	state := filepath.Join(t.TempDir(), "state.json")
	only := func(cfg *Config) {
		cfg.StateFile = state
		cfg.Servers = ServersConfig{Local: []string{c.primary.Address()}, All: []string{c.primary.Address()}}
	}
	g := c.gateway(t, only)
	one := conn(t, g.open(t, "gw", ""))
	run(t, one, "SELECT 1")
	both := adminapi.ServersRequest{Term: c.term, Local: []string{c.primary.Address()}, All: []string{c.primary.Address(), c.replica.Address()}}
	for range 2 { // again changes nothing
		st, err := g.api.SetServers(bg(t), both)
		if err != nil || len(st.Servers) != 2 {
			t.Fatalf("%+v, %v", st.Servers, err)
		}
	}
	for _, bad := range []adminapi.ServersRequest{{Term: c.term}, {Term: c.term, All: []string{"x"}}, {Term: c.term, All: []string{"a:1", "a:1"}}, {Term: c.term, All: []string{"a:1"}, Local: []string{"b:1"}}, {All: []string{"a:1"}}} {
		if _, err := g.api.SetServers(bg(t), bad); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
	c.move(t, g)
	run(t, one, "SELECT 1")
	old := c.replica
	g.stop()
	c2 := c.gateway(t, func(cfg *Config) {
		cfg.StateFile = state
		cfg.Servers = ServersConfig{Local: []string{old.Address()}, All: []string{old.Address()}} // what the file said at first
	})
	two := conn(t, c2.open(t, "gw", ""))
	if p := ask(t, two, "SELECT @@port"); !strings.HasSuffix(c.primary.Address(), p) {
		t.Errorf("after a restart it goes to %s", p)
	}
	if info, err := os.Stat(state); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// SIGTERM: no new clients, idle ones are closed, an open transaction may end.
func testStop(t *testing.T, c *cluster) {
	makeWrites(t, c)
	g := c.gateway(t)
	db := g.open(t, "gw", "")
	idle, busy := conn(t, db), conn(t, db)
	run(t, idle, "SELECT 1")
	run(t, busy, "START TRANSACTION")
	run(t, busy, "REPLACE INTO writes (k) VALUES (?)", t.Name())
	stopped := result(g.stop)
	processtest.Until(t, patience, "no new clients", func() bool {
		nc, err := net.Dial("tcp", g.writer)
		if err == nil {
			nc.Close()
		}
		return err != nil
	})
	processtest.Until(t, patience, "the idle client is closed", func() bool { return idle.PingContext(context.Background()) != nil })
	run(t, busy, "COMMIT")
	if err := must(t, stopped); err != nil {
		t.Error(err)
	}
	var n int
	if err := c.primary.Admin.QueryRow("SELECT COUNT(*) FROM gw.writes WHERE k = ?", t.Name()).Scan(&n); err != nil || n != 1 {
		t.Errorf("%d rows, %v", n, err)
	}
}
