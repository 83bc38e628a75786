package gateway

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/google/go-cmp/cmp"

	"github.com/windlass-db/windlass/internal/capture"
	"github.com/windlass-db/windlass/internal/capture/store/name"
	"github.com/windlass-db/windlass/internal/capture/tap"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/gateway/adminapi"
	"github.com/windlass-db/windlass/internal/rowhash"
	"github.com/windlass-db/windlass/internal/wire"
)

// captures gives the gateway a capture of all statements.
func captures(folder string, change ...func(*CaptureConfig)) func(*Config) {
	return func(c *Config) {
		c.Capture = &CaptureConfig{Folder: folder, Statements: tap.All}
		c.LocalInfile = true
		for _, f := range change {
			f(c.Capture)
		}
	}
}

// captured reads all files of a spool, oldest first; a file that a killed gateway left may break off.
func captured(t testing.TB, folder string, key *capture.Key) (events []capture.Event, dropped map[string]uint64) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		r, err := capture.NewReader(bytes.NewReader(raw), key)
		if err != nil {
			return err
		}
		defer r.Close()
		for {
			b, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err
			}
			events, dropped = append(events, b.Events...), b.Dropped
			if strings.Contains(b.Meta.Version, "MariaDB") != (b.Meta.Server == "mariadb") || b.Meta.Version == "" {
				t.Errorf("of which server: %+v", b.Meta)
			}
		}
		if l := r.Loss(); l.Damaged > 0 || l.Cut && !strings.HasSuffix(path, name.Growing) {
			t.Errorf("%s: %+v", path, l)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return events, dropped
}

// bySetting finds the connection that has set something.
func bySetting(events []capture.Event, setting string) uint64 {
	for _, e := range events {
		if e.Kind == capture.Session && strings.Contains(strings.Join(e.Settings, ";"), "'"+setting+"'") {
			return e.Conn
		}
	}
	return 0
}

// pairs lists what a connection did, and what came of it.
func pairs(events []capture.Event, conn uint64) (starts []capture.Event, ends map[uint64]capture.Event) {
	ends = map[uint64]capture.Event{}
	for _, e := range events {
		switch {
		case e.Conn != conn:
		case e.Kind == capture.Start:
			starts = append(starts, e)
		case e.Kind == capture.End:
			ends[e.Of] = e
		}
	}
	return starts, ends
}

// answerOf sends a command and hashes its answer, as a replayer would.
func answerOf(t testing.TB, b *wire.Backend, command []byte) *rowhash.Answer {
	t.Helper()
	release := b.Bound(bg(t))
	defer release()
	b.Seq = 0
	if err := b.WritePacket(command); err != nil {
		t.Fatal(err)
	}
	var r wire.Reply
	var a rowhash.Answer
	r.Reset(wire.Command(command[0]), b.Caps)
	r.Observe(&a)
	for {
		n, _, err := r.Scan(b.Buffered())
		if err != nil {
			t.Fatal(err)
		}
		b.Discard(n)
		if r.Done() {
			return &a
		}
		if n == 0 || len(b.Buffered()) == 0 {
			if err := b.Fill(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func comQuery(text string) []byte { return append([]byte{byte(wire.ComQuery)}, text...) }

// What clients did is in the files, exactly, with what came of it.
func testCapture(t *testing.T, c *cluster) {
	folder := t.TempDir()
	g := c.gateway(t, captures(folder))
	c.primary.Exec(t, "CREATE OR REPLACE TABLE gw.captured (id INT UNSIGNED PRIMARY KEY AUTO_INCREMENT, a VARCHAR(100), b LONGBLOB)")
	c.replica.CatchUp(t, c.primary)
	early := raw(t, g.writer, func(d *wire.Dial) { d.Schema = "gw" }) // before anything is kept
	for _, text := range []string{"SET NAMES latin1", "SET time_zone = '+03:00'", "SET @who = 'early'"} {
		if _, err := early.Query(text); err != nil {
			t.Fatal(err)
		}
	}
	old, err := early.Prepare(append([]byte{byte(wire.ComStmtPrepare)}, "SELECT ? + 1, a FROM captured WHERE id > ?"...))
	if err != nil {
		t.Fatal(err)
	}
	execute := binary.LittleEndian.AppendUint32([]byte{byte(wire.ComStmtExecute)}, old.ID)
	execute = append(execute, 0, 1, 0, 0, 0, 0)
	typed := append(append(execute[:len(execute):len(execute)], 1, 8, 0, 8, 0), "\x05\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"...)
	untyped := append(append(execute[:len(execute):len(execute)], 0), "\x06\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"...)
	answerOf(t, early, typed)
	if st, err := g.api.StartCapture(bg(t), adminapi.CaptureRequest{}); err != nil || !st.On || st.Keeps != "all" {
		t.Fatalf("%+v, %v", st, err)
	}
	answerOf(t, early, untyped)
	var metrics strings.Builder
	status := g.Status()
	writeMetrics(&metrics, status)
	if status.Capture == nil || !status.Capture.On || status.Capture.Folder != folder || !strings.Contains(metrics.String(), "windlass_gateway_capture_on 1\n") || !strings.Contains(metrics.String(), "windlass_gateway_capture_statements_total ") {
		t.Errorf("%+v\n%s", status.Capture, metrics.String())
	}

	mysql.RegisterReaderHandler("captured", func() io.Reader { return strings.NewReader("10,from a file\n11,\n") })
	t.Cleanup(func() { mysql.DeregisterReaderHandler("captured") })
	one := conn(t, g.open(t, "gw", "multiStatements=true&allowAllFiles=true"))
	run(t, one, "SET @who = 'one'")
	run(t, one, "INSERT INTO captured (a) VALUES ('x'), ('y')")
	run(t, one, "LOAD DATA LOCAL INFILE 'Reader::captured' INTO TABLE captured FIELDS TERMINATED BY ',' (id, a)")
	run(t, one, "SELECT 1; SELECT id, a FROM captured ORDER BY id; DO 1")
	if _, err := one.ExecContext(bg(t), "SELEC 1"); sqlError(err) != 1064 {
		t.Fatal(err)
	}
	run(t, one, "BEGIN")
	run(t, one, "UPDATE captured SET a = 'z' WHERE id <= 2")
	run(t, one, "COMMIT")
	if got := ask(t, one, "SELECT a FROM captured WHERE id = ?", 1); got != "z" {
		t.Error(got)
	}
	big := strings.Repeat("b", inlineFrame+5)
	if got := ask(t, one, "SELECT LENGTH('"+big+"')"); got != fmt.Sprint(len(big)) {
		t.Error(got)
	}
	run(t, one, "USE information_schema")
	run(t, one, "SELECT SCHEMA()")

	two := raw(t, g.writer, func(d *wire.Dial) { d.Schema, d.Caps = "gw", d.Caps|wire.CapDeprecateEOF })
	answerOf(t, two, comQuery("SET @who = 'two', session_track_system_variables = 'last_gtid'"))
	answerOf(t, two, comQuery("INSERT INTO captured (a) VALUES ('gtid')"))
	table := answerOf(t, two, comQuery("SELECT * FROM information_schema.CHARACTER_SETS ORDER BY 1"))
	answerOf(t, two, []byte{byte(wire.ComInitDB), 'm', 'y', 's', 'q', 'l'})
	answerOf(t, two, []byte{byte(wire.ComResetConnection)})
	cut := raw(t, g.writer)
	answerOf(t, cut, comQuery("SET @who = 'cut'"))
	cut.Seq = 0
	if err := cut.WritePacket(comQuery("SELECT SLEEP(60)")); err != nil {
		t.Fatal(err)
	}
	var ids, threads []uint32
	processtest.Until(t, patience, "the statement is under way", func() bool {
		list, err := g.api.Sessions(bg(t))
		ids, threads = nil, nil
		for _, s := range list.Sessions {
			if s.InFlight {
				ids, threads = append(ids, s.ID), append(threads, s.ThreadID)
			}
		}
		return err == nil && len(ids) == 1
	})
	if _, err := g.api.Close(bg(t), adminapi.CloseRequest{Term: c.term, IDs: ids, Reason: "test"}); err != nil {
		t.Fatal(err)
	}
	c.primary.Exec(t, fmt.Sprintf("KILL %d", threads[0])) // it would sleep on
	processtest.Until(t, patience, "it is closed", func() bool { st, err := g.api.Capture(bg(t)); return err == nil && len(g.snapshot()) == 3 && st.On })
	early.Close()
	processtest.Until(t, patience, "the first client has gone", func() bool { return len(g.snapshot()) == 2 })
	st, err := g.api.StopCapture(bg(t))
	if err != nil || st.On || st.Statements == 0 || st.Statements != st.Kept || st.Waiting != 0 || len(st.Dropped) > 0 {
		t.Fatalf("%+v, %v", st, err)
	}
	events, _ := captured(t, folder, nil)

	// The session that is older than the capture is known as it is, and its statement, too.
	conn := bySetting(events, "early")
	var who []string
	for _, e := range events {
		if e.Conn != conn {
			continue
		}
		switch e.Kind {
		case capture.Session:
			who = append(who, fmt.Sprint(e.User, " ", e.Schema, " ", e.Charset, " ", e.Settings, e.Partial))
		case capture.Known:
			who = append(who, fmt.Sprint(e.Statement, " ", string(e.Payload)))
		case capture.Start:
			who = append(who, fmt.Sprintf("%d %x %x %x", e.Statement, e.Command, e.Types, e.Payload))
		case capture.Close:
			who = append(who, "close")
		}
	}
	want := []string{"app gw 45 [SET NAMES latin1 SET time_zone = '+03:00' SET @who = 'early'] false", "1 SELECT ? + 1, a FROM captured WHERE id > ?", fmt.Sprintf("1 17 08000800 %x", untyped[1:]), "close"}
	if diff := cmp.Diff(want, who); diff != "" {
		t.Error(diff)
	}

	conn = bySetting(events, "one")
	starts, ends := pairs(events, conn)
	var did []string
	for i, s := range starts {
		e, ok := ends[s.Seq]
		if !ok && s.Command != byte(wire.ComStmtClose) {
			t.Errorf("no answer to %.100q", s.Payload)
		}
		if ok && (e.Took < e.FirstByte || e.FirstByte <= 0 || (e.At.Sub(s.At)-e.Took).Abs() > 2*time.Microsecond || time.Since(s.At) > time.Minute) {
			t.Errorf("times of %.100q: %v, %v, %v", s.Payload, s.At, e.FirstByte, e.Took)
		}
		text := string(s.Payload)
		if len(text) > 1000 {
			text = fmt.Sprint(len(text))
		}
		if s.Command == byte(wire.ComStmtExecute) || s.Command == byte(wire.ComStmtClose) {
			text = fmt.Sprintf("%x", s.Payload)
		}
		if i > 0 { // the driver's own SET comes before
			did = append(did, fmt.Sprintf("%02x #%d txn %d: %s → %d rows, %d affected, id %d, error %d%s", s.Command, s.Statement, s.Txn, text, e.Rows, e.Affected, e.InsertID, e.Errno, e.SQLState))
		}
	}
	want = []string{
		"03 #0 txn 0: INSERT INTO captured (a) VALUES ('x'), ('y') → 0 rows, 2 affected, id 1, error 0",
		"03 #0 txn 0: LOAD DATA LOCAL INFILE 'Reader::captured' INTO TABLE captured FIELDS TERMINATED BY ',' (id, a) → 0 rows, 2 affected, id 0, error 0",
		"03 #0 txn 0: SELECT 1; SELECT id, a FROM captured ORDER BY id; DO 1 → 5 rows, 0 affected, id 0, error 0",
		"03 #0 txn 0: SELEC 1 → 0 rows, 0 affected, id 0, error 106442000",
		"03 #0 txn 1: BEGIN → 0 rows, 0 affected, id 0, error 0",
		"03 #0 txn 1: UPDATE captured SET a = 'z' WHERE id <= 2 → 0 rows, 2 affected, id 0, error 0",
		"03 #0 txn 1: COMMIT → 0 rows, 0 affected, id 0, error 0",
		"16 #1 txn 0: SELECT a FROM captured WHERE id = ? → 0 rows, 0 affected, id 0, error 0",
		"17 #1 txn 0: 010000000001000000000108000100000000000000 → 1 rows, 0 affected, id 0, error 0",
		"19 #1 txn 0: 01000000 → 0 rows, 0 affected, id 0, error 0",
		fmt.Sprintf("03 #0 txn 0: %d → 1 rows, 0 affected, id 0, error 0", len(big)+len("SELECT LENGTH('')")),
		"03 #0 txn 0: USE information_schema → 0 rows, 0 affected, id 0, error 0",
		"03 #0 txn 0: SELECT SCHEMA() → 1 rows, 0 affected, id 0, error 0",
	}
	if diff := cmp.Diff(want, did); diff != "" {
		t.Error(diff)
	}
	for _, e := range events {
		if e.Kind == capture.Session && e.Conn == conn {
			who = append(who, e.Schema)
		}
	}
	if who[len(who)-1] != "information_schema" {
		t.Errorf("schemas: %v", who)
	}

	// Hashes are those that a replayer of the same answer gets, by rows and by columns.
	starts, ends = pairs(events, bySetting(events, "two"))
	a := ends[starts[2].Seq]
	if a.Rows != table.Rows() || a.Ordered != table.Ordered() || a.Multiset != table.Multiset() || a.Columns != table.Columns() || a.Bytes != table.Bytes() || a.Rows < 20 || a.Columns == 0 {
		t.Errorf("captured %+v, read %d rows, %x %x %x", a, table.Rows(), table.Ordered(), table.Multiset(), table.Columns())
	}
	if gtid := ends[starts[1].Seq].GTID; !strings.HasPrefix(gtid, "0-") {
		t.Errorf("GTID %q", gtid)
	}
	if a := ends[starts[0].Seq]; a.Status&uint16(wire.StatusAutocommit) == 0 {
		t.Errorf("status %x", a.Status)
	}
	var last capture.Event
	for _, e := range events {
		if e.Kind == capture.Session && e.Conn == starts[0].Conn {
			last = e
		}
	}
	if starts[4].Command != byte(wire.ComResetConnection) || ends[starts[4].Seq].Errno != 0 || last.Schema != "mysql" {
		t.Errorf("COM_INIT_DB, and a reset: %+v, %+v", starts, last)
	}

	starts, ends = pairs(events, bySetting(events, "cut"))
	if e, ok := ends[starts[len(starts)-1].Seq]; !ok || !e.Unfinished || string(starts[len(starts)-1].Payload) != "SELECT SLEEP(60)" {
		t.Errorf("a connection that was cut: %+v", e)
	}
}

// On and off under load, with sessions open: no client sees anything, each capture's ledger balances, its files are readable alone, and no credential is
// in any of them, sealed and masked or not.
func testCaptureUnderLoad(t *testing.T, c *cluster) {
	key := bytes.Repeat([]byte{7}, 32)
	sealed, err := capture.NewKey(key)
	if err != nil {
		t.Fatal(err)
	}
	open, masked := t.TempDir(), t.TempDir()
	plain := c.gateway(t, captures(open, func(c *CaptureConfig) { c.RotateSize, c.RotateEvery = 1<<16, Duration(200*time.Millisecond) }))
	secret := c.gateway(t, captures(masked, func(c *CaptureConfig) {
		c.KeyFile, c.MaskKeyFile = writeFile(t, "key", base64.StdEncoding.EncodeToString(key)+"\n"), writeFile(t, "mask", "0123456789abcdef")
	}))
	var stop atomic.Bool
	var group sync.WaitGroup
	var done atomic.Int64
	for i, g := range []*gate{plain, plain, plain, secret} {
		db := conn(t, g.open(t, "gw", ""))
		group.Go(func() {
			for n := 0; !stop.Load(); n++ {
				var got string
				text := fmt.Sprintf("literal-%d-%d", i, n)
				var err error
				if n%3 == 0 {
					err = db.QueryRowContext(context.Background(), "SELECT CONCAT(?, '')", text).Scan(&got)
				} else {
					err = db.QueryRowContext(context.Background(), "SELECT '"+text+"'").Scan(&got)
				}
				if err != nil || got != text {
					t.Errorf("%q, %v", got, err)
					return
				}
				done.Add(1)
			}
		})
	}
	defer func() { stop.Store(true); group.Wait() }()
	var low *adminapi.TermError
	if _, err := plain.api.Fence(bg(t), 9); err != nil {
		t.Fatal(err)
	}
	if _, err := plain.api.StartCapture(bg(t), adminapi.CaptureRequest{Term: 8}); !errors.As(err, &low) || low.Seen != 9 {
		t.Errorf("a lower term: %v", err)
	}
	if _, err := plain.api.EndCapture(bg(t), adminapi.CaptureStopRequest{Term: 8}); !errors.As(err, &low) {
		t.Errorf("a lower term: %v", err)
	}
	one := conn(t, plain.open(t, "gw", ""))
	two := conn(t, secret.open(t, "gw", ""))
	var sum uint64
	for round := range 3 {
		for _, g := range []*gate{plain, secret} {
			if _, err := g.api.StartCapture(bg(t), adminapi.CaptureRequest{}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := plain.api.EndCapture(bg(t), adminapi.CaptureStopRequest{By: "another"}); !errors.Is(err, adminapi.ErrOtherCapture) {
			t.Errorf("ended by another one: %v", err)
		}
		if _, err := plain.api.StartCapture(bg(t), adminapi.CaptureRequest{Statements: "selects"}); !errors.Is(err, adminapi.ErrCapturing) {
			t.Errorf("other settings while it is on: %v", err)
		}
		from := done.Load()
		processtest.Until(t, patience, "clients work", func() bool { return done.Load() > from+200 })
		one.ExecContext(bg(t), "CREATE USER nobody IDENTIFIED BY 'the-secret-of-nobody'") // refused: the text matters
		two.ExecContext(bg(t), "SET PASSWORD FOR nobody = PASSWORD('the-secret-of-nobody')")
		one.ExecContext(bg(t), "ALTER USER nobody IDENTIFIED BY ?", "the-secret-of-nobody")
		for _, g := range []*gate{plain, secret} {
			st, err := g.api.StopCapture(bg(t))
			if err != nil || st.On || st.Statements != st.Kept+st.Dropped[tap.Closing] || st.Kept == 0 || len(st.Dropped) > 1 || st.Error != "" {
				t.Errorf("round %d: %+v, %v", round, st, err)
			}
			if g == plain {
				sum += st.Kept
			}
		}
	}
	stop.Store(true)
	group.Wait()
	events, _ := captured(t, open, nil)
	starts, ends, sessions := uint64(0), uint64(0), map[uint64]bool{}
	for _, e := range events {
		switch e.Kind {
		case capture.Start:
			starts++
			if e.Command == byte(wire.ComStmtClose) {
				ends++
			}
		case capture.End:
			ends++
			if e.Unfinished {
				t.Errorf("unfinished: %+v", e)
			}
		case capture.Session:
			sessions[e.Conn] = true
		}
	}
	if starts != sum || ends != starts || len(sessions) != 4 {
		t.Errorf("%d starts, %d ends, %d sessions in the files; %d were kept", starts, ends, len(sessions), sum)
	}
	hidden, _ := captured(t, masked, sealed)
	withheld := 0
	for _, e := range append(hidden, events...) {
		if e.Withheld == capture.WithheldCredential {
			withheld++
		}
		if bytes.Contains(e.Payload, []byte("the-secret-of-nobody")) {
			t.Errorf("a credential: %q", e.Payload)
		}
	}
	for _, e := range hidden {
		if bytes.Contains(e.Payload, []byte("literal-")) {
			t.Errorf("a value: %q", e.Payload)
		}
	}
	if len(hidden) == 0 || withheld < 9 {
		t.Errorf("%d events, %d withheld", len(hidden), withheld)
	}
	for _, dir := range []string{open, masked} {
		filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			info, err := e.Info()
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %v, %v", path, info.Mode(), err)
			}
			return nil
		})
	}
}

// A folder that can't be written and a ring of one byte: traffic is as it was, all is dropped and counted.
func testCaptureWithoutRoom(t *testing.T, c *cluster) {
	file := writeFile(t, "file", "")
	for reason, change := range map[string]func(*CaptureConfig){
		tap.Disk: func(c *CaptureConfig) { c.Folder = filepath.Join(file, "spool") },
		tap.Full: func(c *CaptureConfig) { c.Memory = 1 },
	} {
		g := c.gateway(t, captures(t.TempDir(), change, func(c *CaptureConfig) { c.Enabled = true }))
		db := conn(t, g.open(t, "gw", ""))
		for n := range 200 {
			if got := ask(t, db, fmt.Sprintf("SELECT %d", n)); got != fmt.Sprint(n) {
				t.Error(got)
			}
		}
		st, err := g.api.StopCapture(bg(t))
		if err != nil || st.Statements < 200 || st.Kept != 0 || st.Dropped[reason] != st.Statements || st.Waiting != 0 || (st.Error != "") != (reason == tap.Disk) {
			t.Errorf("%s: %+v, %v", reason, st, err)
		}
	}
	g := c.gateway(t)
	if _, err := g.api.StartCapture(bg(t), adminapi.CaptureRequest{}); !errors.Is(err, adminapi.ErrNoCapture) {
		t.Errorf("without a capture in the file: %v", err)
	}
}

// captureBeforeKill lets a gateway capture until statements are in a file, and gives how many.
func captureBeforeKill(t *testing.T, p *gatewayProcess) (kept uint64) {
	t.Helper()
	if _, err := p.api.StartCapture(bg(t), adminapi.CaptureRequest{}); err != nil {
		t.Fatal(err)
	}
	db := conn(t, openPool(t, p.writer, "gw", ""))
	n := 0
	processtest.Until(t, patience, "statements are in a file", func() bool {
		n++
		run(t, db, fmt.Sprintf("SELECT 'before-%d'", n))
		st, err := p.api.Capture(bg(t))
		kept = st.Kept
		return err == nil && st.Kept > 5
	})
	return kept
}

// capturedBeforeKill looks at what kill -9 has left: the file is readable up to its last whole block, with all that was told to be kept; and the gateway that
// comes after it gives it the name of one that has ended.
func capturedBeforeKill(t *testing.T, p *gatewayProcess, folder string, kept uint64) {
	t.Helper()
	events, _ := captured(t, folder, nil)
	found := map[string]bool{}
	for _, e := range events {
		found[string(e.Payload)] = true
	}
	if last := lastBlock(t, folder); last.Ended || last.Until.IsZero() || last.Hold == 0 || time.Since(last.Until) > time.Minute {
		t.Errorf("the last block says that all up to %s is told, and more within %s; that it is the last: %v", last.Until, last.Hold, last.Ended)
	}
	for i := range kept - 3 { // but for what the driver says itself
		if text := fmt.Sprintf("SELECT 'before-%d'", i+1); !found[text] {
			t.Errorf("%s was kept, and is not in the file", text)
		}
	}
	if _, err := p.api.StartCapture(bg(t), adminapi.CaptureRequest{}); err != nil {
		t.Fatal(err)
	}
	processtest.Until(t, patience, "the file has its name", func() bool {
		ended, _ := filepath.Glob(filepath.Join(folder, "process", "*", "*"+name.Ended))
		return len(ended) == 1
	})
}

// lastBlock is that of the file that a killed gateway left.
func lastBlock(t *testing.T, folder string) (last capture.Block) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(folder, "process", "*", "*"+name.Growing))
	if err != nil || len(left) != 1 {
		t.Fatalf("%q %v", left, err)
	}
	raw, err := os.ReadFile(left[0])
	if err != nil {
		t.Fatal(err)
	}
	r, err := capture.NewReader(bytes.NewReader(raw), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for b, err := r.Next(); err == nil; b, err = r.Next() {
		last = b
	}
	return last
}

// testMySQLCapture looks at what a client with query attributes did on MySQL: its statements are kept as those of any other.
func testMySQLCapture(t *testing.T, folder string) {
	t.Helper()
	events, _ := captured(t, folder, nil)
	var got []string
	attributes := false
	for _, e := range events {
		if e.Kind != capture.Start {
			continue
		}
		attributes = attributes || strings.Contains(string(e.Payload), "'attributes'")
		if attributes {
			text := string(e.Payload)
			if e.Command == byte(wire.ComStmtExecute) {
				text = fmt.Sprintf("%x", e.Payload)
			}
			got = append(got, fmt.Sprintf("%02x %s %x %s", e.Command, text, e.Types, e.Withheld))
		}
	}
	want := []string{"03 INSERT INTO t (v) VALUES ('attributes')  ", "03   attributes", "16 SELECT ?  ", "17 010000000001000000" + "0001fe00" + "0576616c7565 fe00 "}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
