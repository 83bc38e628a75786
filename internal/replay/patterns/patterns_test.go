package patterns_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/capture"
	"github.com/windlass-db/windlass/internal/replay/judge"
	"github.com/windlass-db/windlass/internal/replay/patterns"
	"github.com/windlass-db/windlass/internal/replay/tally"
	"github.com/windlass-db/windlass/internal/wire"
)

// said is one statement of a connection: when it is sent, how long the answer takes from its first byte on, and what it is in.
type said struct {
	conn    uint64
	after   time.Duration // since the answer before
	text    string
	reads   time.Duration
	txn     uint64
	in      bool // a transaction is open afterwards
	rows    uint64
	cmd     wire.Command
	payload []byte
	number  uint32
}

func blocks(all []said) func(context.Context) iter.Seq2[capture.Block, error] {
	var events []capture.Event
	now := time.Unix(1_780_000_000, 0)
	seen := map[uint64]bool{}
	add := func(e capture.Event) uint64 {
		e.Seq = uint64(len(events) + 1)
		events = append(events, e)
		return e.Seq
	}
	for _, s := range all {
		now = now.Add(s.after + time.Millisecond)
		if !seen[s.conn] {
			seen[s.conn] = true
			add(capture.Event{Kind: capture.Session, Conn: s.conn, At: now, User: fmt.Sprintf("user%d", s.conn), Schema: "shop", Charset: 45})
		}
		if s.cmd == 0 {
			s.cmd, s.payload = wire.ComQuery, []byte(s.text)
		}
		of := add(capture.Event{Kind: capture.Start, Conn: s.conn, At: now, Command: byte(s.cmd), Payload: s.payload, Txn: s.txn, Statement: s.number})
		took := s.reads + time.Millisecond
		now = now.Add(took)
		status := uint16(wire.StatusAutocommit)
		if s.in {
			status |= uint16(wire.StatusInTrans)
		}
		add(capture.Event{Kind: capture.End, Conn: s.conn, At: now, Of: of, FirstByte: time.Millisecond, Took: took, Status: status, Rows: s.rows})
	}
	for c := range seen {
		add(capture.Event{Kind: capture.Close, Conn: c, At: now.Add(time.Minute)})
	}
	return func(context.Context) iter.Seq2[capture.Block, error] {
		return func(yield func(capture.Block, error) bool) {
			yield(capture.Block{Meta: capture.Meta{Gateway: "g", Run: 1}, Index: 1, Events: events}, nil)
		}
	}
}

func TestFind(t *testing.T) {
	execute := []byte{1, 0, 0, 0, 1, 1, 0, 0, 0} // with a cursor
	for _, c := range []struct {
		name string
		said []said
		want string
	}{
		{"a stream inside a transaction", []said{{conn: 1, text: "BEGIN", in: true}, {conn: 1, text: "SELECT * FROM t WHERE a > 5", reads: 4 * time.Second, txn: 1, in: true, rows: 100}, {conn: 1, text: "COMMIT", txn: 1}}, "streaming-in-transaction select * from t where a > ? 1 4s"},
		{"a stream outside of one", []said{{conn: 1, text: "SELECT * FROM t", reads: 4 * time.Second, rows: 100}}, ""},
		{"a long wait for the first byte", []said{{conn: 1, text: "UPDATE t SET a = 1", reads: 4 * time.Second, txn: 1, in: true}, {conn: 1, text: "COMMIT", txn: 1}}, ""},
		{"an idle transaction", []said{{conn: 1, text: "BEGIN", in: true}, {conn: 1, text: "SELECT 1", txn: 1, in: true}, {conn: 1, after: 20 * time.Second, text: "COMMIT", txn: 1}}, "idle-transaction select ? 1 20.001s"},
		{"one that its client leaves", []said{{conn: 1, text: "BEGIN", in: true}}, "idle-transaction begin 1 1m0s"},
		{"an idle connection", []said{{conn: 1, text: "SELECT 1"}, {conn: 1, after: time.Hour, text: "SELECT 1"}}, ""},
		{"a cursor", []said{{conn: 1, cmd: wire.ComStmtPrepare, payload: []byte("SELECT * FROM t"), number: 1}, {conn: 1, text: "BEGIN", in: true}, {conn: 1, cmd: wire.ComStmtExecute, payload: execute, number: 1, txn: 1, in: true}, {conn: 1, text: "COMMIT", txn: 1}}, "cursor-in-transaction select * from t 1 0s"},
		{"GET_LOCK, twice", []said{{conn: 1, text: "SELECT GET_LOCK('a', 10)"}, {conn: 2, text: "select get_lock('b', 1)"}}, "user-lock select get_lock(?, ?) 2 0s"},
		{"a column of that name", []said{{conn: 1, text: "SELECT t.get_lock FROM t"}, {conn: 1, text: "SELECT 'get_lock(1)'"}}, ""},
		{"LOCK TABLES", []said{{conn: 1, text: "LOCK TABLES t WRITE"}}, "table-lock lock tables t write 1 0s"},
		{"LOAD DATA LOCAL", []said{{conn: 1, text: "LOAD DATA LOCAL INFILE 'x' INTO TABLE t"}, {conn: 1, text: "LOAD DATA INFILE 'x' INTO TABLE t"}}, "load-data-local load data local infile ? into table t 1 0s"},
		{"several statements", []said{{conn: 1, text: "SET @a = 1; SELECT @a"}, {conn: 1, text: "SELECT ';';"}}, "multi-statements set @a = ? ; select @a 1 0s"},
		{"a temporary table that stays", []said{{conn: 1, text: "CREATE TEMPORARY TABLE x (a INT)"}, {conn: 1, text: "SELECT * FROM x"}, {conn: 1, text: "SELECT * FROM x"}, {conn: 1, text: "DROP TEMPORARY TABLE x"}, {conn: 1, text: "SELECT 1"}}, "temporary-table select * from x 1 0s"},
		{"one within a transaction", []said{{conn: 1, text: "BEGIN", in: true}, {conn: 1, text: "CREATE TEMPORARY TABLE x (a INT)", txn: 1, in: true}, {conn: 1, text: "INSERT INTO x VALUES (1)", txn: 1, in: true}, {conn: 1, text: "DROP TEMPORARY TABLE x", txn: 1, in: true}, {conn: 1, text: "COMMIT", txn: 1}}, ""},
		{"old clients", []said{{conn: 1, text: "SELECT @@session.tx_isolation"}, {conn: 2, cmd: wire.ComFieldList, payload: []byte("t\x00")}, {conn: 2, cmd: wire.ComFieldList, payload: []byte("t\x00")}, {conn: 3, text: "/* mysql-connector-java-5.1.40 */ SELECT @@session.auto_increment_increment"}, {conn: 3, text: "SELECT 1"}},
			"old-client (command COM_FIELD_LIST) 1 0s; old-client select @@session.auto_increment_increment 1 0s; old-client select @@session.tx_isolation 1 0s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			found, err := patterns.Find(t.Context(), blocks(c.said), patterns.Rules{})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range found {
				got = append(got, fmt.Sprintf("%s %s %d %v", p.Kind, p.Text, p.Count, p.Worst))
				if p.Why == "" || p.Do == "" || len(p.Users) == 0 || p.First.IsZero() {
					t.Errorf("%+v", p)
				}
			}
			if strings.Join(got, "; ") != c.want {
				t.Errorf("%q\nwant %q", strings.Join(got, "; "), c.want)
			}
			var text bytes.Buffer
			if err := patterns.Text(&text, found); err != nil || text.Len() == 0 {
				t.Error(err)
			}
			if _, err := json.Marshal(found); err != nil {
				t.Error(err)
			}
			var counted tally.Tally
			patterns.Tell(&counted, found)
			if rep := judge.Judge(&counted, judge.Once(), time.Now()); len(rep.Findings) != len(found) {
				t.Errorf("%d findings of %d patterns", len(rep.Findings), len(found))
			}
		})
	}
}

// TestBounded: what differs without end takes no memory without end.
func TestBounded(t *testing.T) {
	var all []said
	for i := range 50 {
		all = append(all, said{conn: 1, text: fmt.Sprintf("SELECT GET_LOCK(a%d, 1) FROM t", i)})
	}
	found, err := patterns.Find(t.Context(), blocks(all), patterns.Rules{Most: 10})
	if err != nil || len(found) != 11 {
		t.Fatalf("%d patterns, %v", len(found), err)
	}
	n := int64(0)
	for _, p := range found {
		n += p.Count
	}
	if n != 50 {
		t.Errorf("%d of 50 are counted", n)
	}
}
