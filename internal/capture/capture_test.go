package capture

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 123456000, time.UTC)

var meta = Meta{Gateway: "orders-blue", Run: 77, Server: "mariadb", Version: "10.11.18-MariaDB"}

// some are events of all kinds, with every field that belongs to them.
func some(from uint64, n int) []Event {
	var out []Event
	for i := range uint64(n) {
		at := noon.Add(time.Duration(from+i) * 1037 * time.Microsecond).Local()
		e := Event{Seq: from + i, Conn: 1 + i%7, At: at}
		switch i % 4 {
		case 0:
			e.Kind, e.Epoch, e.User, e.Schema, e.Charset, e.Settings, e.Partial = Session, i, "app", "shop", 45, []string{"SET NAMES utf8mb4", fmt.Sprint("SET @a=", i)}, i%8 == 0
			if i%12 == 0 {
				e = Event{Kind: Known, Seq: e.Seq, Conn: e.Conn, At: at, Statement: uint32(i), Payload: []byte("SELECT ?")}
			}
		case 1:
			e.Kind, e.Epoch, e.Command, e.Payload, e.Statement, e.Types, e.Txn = Start, i, 0x17, fmt.Appendf(nil, "SELECT * FROM t WHERE id = %d", i), uint32(i), []byte{8, 0, 15, 0}, i/8
			e.Cut, e.Lost = i%5, i%3*1000
			if i%20 == 1 {
				e.Payload, e.Withheld = nil, WithheldCredential
			}
		case 2:
			e = Event{Kind: End, Seq: e.Seq, Conn: e.Conn, At: at, Of: e.Seq - 1, FirstByte: 31 * time.Microsecond, Took: time.Millisecond, Errno: 1064, SQLState: "42000", Warnings: 2, Affected: 3, InsertID: 4, Status: 0x22, Columns: 5, Rows: 6, Bytes: 7, Ordered: 1 << 63, Multiset: 9, Unfinished: true, GTID: "0-1-101"}
		case 3:
			e.Kind = Close
		}
		out = append(out, e)
	}
	return out
}

func write(t testing.TB, key *Key, events []Event, each int) []byte {
	t.Helper()
	w, err := NewWriter(meta, key)
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	if err := w.Begin(&file); err != nil {
		t.Fatal(err)
	}
	for i := range events {
		if i > 0 && i%each == 0 {
			w.Drop("full", 3)
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Add(&events[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if int64(file.Len()) != w.Size() {
		t.Errorf("the file has %d bytes, and the writer says %d", file.Len(), w.Size())
	}
	return file.Bytes()
}

func read(t testing.TB, file io.Reader, key *Key) (blocks []Block, loss Loss, err error) {
	t.Helper()
	r, err := NewReader(file, key)
	if err != nil {
		return nil, Loss{}, err
	}
	defer r.Close()
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			return blocks, r.Loss(), nil
		}
		if err != nil {
			return blocks, r.Loss(), err
		}
		blocks = append(blocks, b)
	}
}

func events(blocks []Block) (out []Event) {
	for _, b := range blocks {
		out = append(out, b.Events...)
	}
	return out
}

func aKey(t testing.TB, fill byte) *Key {
	t.Helper()
	k, err := NewKey(bytes.Repeat([]byte{fill}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// dribble gives a few bytes at a time.
type dribble struct{ r io.Reader }

func (d dribble) Read(b []byte) (int, error) { return d.r.Read(b[:min(len(b), 7)]) }

func TestWhatIsWrittenIsRead(t *testing.T) {
	want := some(1, 1000)
	for name, key := range map[string]*Key{"open": nil, "sealed": aKey(t, 1)} {
		file := write(t, key, want, 300)
		blocks, loss, err := read(t, dribble{bytes.NewReader(file)}, key)
		if err != nil || loss.Any() || len(blocks) != 4 {
			t.Fatalf("%s: %d blocks, %+v, %v", name, len(blocks), loss, err)
		}
		if diff := cmp.Diff(want, events(blocks)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		for i, b := range blocks {
			if b.Meta != meta || b.Index != uint64(i+1) || b.Dropped["full"] != uint64(3*min(i+1, 3)) {
				t.Errorf("%s: block %d: %+v %d %v", name, i, b.Meta, b.Index, b.Dropped)
			}
		}
		if n, err := Count(bytes.NewReader(file), key); err != nil || n != 250 {
			t.Errorf("%s: %d statements are counted, %v", name, n, err)
		}
		if key != nil && (bytes.Contains(file, []byte("SELECT")) || bytes.Contains(file, []byte("shop"))) {
			t.Error("a sealed file shows what it holds")
		}
	}
}

func TestKeys(t *testing.T) {
	file := write(t, aKey(t, 1), some(1, 10), 5)
	for _, key := range []*Key{nil, aKey(t, 2)} {
		if _, _, err := read(t, bytes.NewReader(file), key); !errors.Is(err, ErrKey) {
			t.Errorf("read with another key: %v", err)
		}
	}
	if _, err := NewKey([]byte("short")); err == nil {
		t.Error("a short key was taken")
	}
}

func TestOtherFiles(t *testing.T) {
	for text, want := range map[string]error{"": ErrNotCapture, "WLCAP": ErrNotCapture, "WLCAPT3\n": ErrNewer, "WLCAPT1\n": ErrOlder, "SELECT 1;": ErrNotCapture} {
		if _, err := NewReader(strings.NewReader(text), nil); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", text, err, want)
		}
	}
}

// A file that is cut anywhere gives every block before the cut, and says that it is cut.
func TestCutAnywhere(t *testing.T) {
	want := some(1, 12)
	file := write(t, nil, want, 4)
	_, ends := blockEnds(t, file)
	for n := len(preamble); n < len(file); n++ {
		blocks, loss, err := read(t, bytes.NewReader(file[:n]), nil)
		whole := 0
		for _, e := range ends {
			if e <= n {
				whole++
			}
		}
		atEnd := n == len(preamble) || slices.Contains(ends, n)
		if err != nil || len(blocks) != whole || loss.Cut == atEnd || loss.Damaged > 0 {
			t.Fatalf("cut at %d of %d: %d blocks, want %d; %+v, %v", n, len(file), len(blocks), whole, loss, err)
		}
	}
}

func blockEnds(t *testing.T, file []byte) (begins, ends []int) {
	t.Helper()
	for at := len(preamble); at < len(file); {
		next := bytes.Index(file[at+4:], []byte(blockMagic))
		begins = append(begins, at)
		if next < 0 {
			at = len(file)
		} else {
			at += 4 + next
		}
		ends = append(ends, at)
	}
	return begins, ends
}

// One damaged byte costs one block, wherever it is; which events are missing is counted, and nothing false is read.
func TestDamageAnywhere(t *testing.T) {
	want := some(1, 12)
	file := write(t, nil, want, 4)
	begins, ends := blockEnds(t, file)
	if len(begins) != 3 {
		t.Fatalf("blocks at %v", begins)
	}
	for n := len(preamble); n < len(file); n++ {
		broken := slices.Clone(file)
		broken[n] ^= 0x41
		blocks, loss, err := read(t, bytes.NewReader(broken), nil)
		hit := slices.IndexFunc(ends, func(e int) bool { return n < e })
		var left []Event
		for i := range 3 {
			if i != hit {
				left = append(left, want[4*i:4*i+4]...)
			}
		}
		if err != nil || !loss.Any() {
			t.Fatalf("byte %d: %+v, %v", n, loss, err)
		}
		if diff := cmp.Diff(left, events(blocks)); diff != "" {
			t.Fatalf("byte %d of block %d: %s", n, hit, diff)
		}
		if hit == 1 && (loss.Blocks != 1 || loss.Events != 4) {
			t.Errorf("byte %d: the block in the middle is missing, and %+v is told", n, loss)
		}
	}
}

// What was dropped when nothing was kept any more is told, too.
func TestDropsAlone(t *testing.T) {
	w, err := NewWriter(meta, nil)
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	if err := w.Begin(&file); err != nil {
		t.Fatal(err)
	}
	w.Drop("full", 5)
	for range 2 { // the second time there is nothing new
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	blocks, loss, err := read(t, &file, nil)
	if err != nil || loss.Any() || len(blocks) != 1 || blocks[0].Dropped["full"] != 5 || len(blocks[0].Events) != 0 {
		t.Errorf("%+v %+v %v", blocks, loss, err)
	}
}

// failing is a file that can be written to only so often.
type failing struct {
	bytes.Buffer
	writes int
}

func (f *failing) Write(b []byte) (int, error) {
	if f.writes--; f.writes < 0 {
		f.Buffer.Write(b[:len(b)/2])
		return len(b) / 2, errors.New("no space")
	}
	return f.Buffer.Write(b)
}

// What a full disk costs is counted: statements, and answers to statements that are in the file.
func TestWhatCouldNotBeWrittenIsCounted(t *testing.T) {
	w, err := NewWriter(meta, nil)
	if err != nil {
		t.Fatal(err)
	}
	file := &failing{writes: 1} // a block; the preamble is written as a string
	if err := w.Begin(file); err != nil {
		t.Fatal(err)
	}
	add := func(e Event) {
		if err := w.Add(&e); err != nil {
			t.Fatal(err)
		}
	}
	add(Event{Kind: Start, Seq: 1, At: noon})
	add(Event{Kind: Start, Seq: 2, At: noon})
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	size := w.Size()
	add(Event{Kind: End, Seq: 3, Of: 1, At: noon})
	add(Event{Kind: Start, Seq: 4, At: noon})
	add(Event{Kind: End, Seq: 5, Of: 4, At: noon})
	if err := w.Flush(); err == nil || w.Size() != size || w.Kept() != 2 || fmt.Sprint(w.Dropped()) != "map[disk:1 end:1]" {
		t.Fatalf("%v, %d bytes, %d kept, %v", err, w.Size(), w.Kept(), w.Dropped())
	}
	file.writes = 9
	file.Truncate(int(w.Size()))
	add(Event{Kind: Start, Seq: 6, At: noon})
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	blocks, loss, err := read(t, &file.Buffer, nil)
	if err != nil || len(blocks) != 2 || blocks[1].Dropped["disk"] != 1 || loss.Events != 3 || loss.Blocks != 1 || w.Kept() != 3 {
		t.Errorf("%+v %+v %v", blocks, loss, err)
	}
}

// TestOn: blocks tell from when to when the capture was on, without a gap; but not for what was lost, nor for longer than was promised.
func TestOn(t *testing.T) {
	w, err := NewWriter(meta, nil)
	if err != nil {
		t.Fatal(err)
	}
	file := &failing{writes: 1 << 20}
	if err := w.Begin(file); err != nil {
		t.Fatal(err)
	}
	const hold = 15 * time.Second
	at := func(s float64) time.Time { return noon.Add(time.Duration(s * float64(time.Second))) }
	seq := uint64(0)
	event := func(s float64) {
		seq++
		if err := w.Add(&Event{Kind: Start, Seq: seq, At: at(s)}); err != nil {
			t.Fatal(err)
		}
	}
	event(-1)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(w.Flush()) // before the first word
	for _, s := range []float64{0, 1, 10} {
		w.On(at(s), hold)
		if due := w.Due(10 * time.Second); due != (s == 10) {
			t.Errorf("after %v s: due %v", s, due)
		}
	}
	must(w.Flush()) // nothing to tell
	must(w.Beat())
	w.On(at(11), hold)
	event(11.5)
	must(w.Flush()) // to its last event
	w.On(at(12), hold)
	event(12)
	file.writes = 0
	if err := w.Flush(); err == nil {
		t.Fatal("the disk is not full")
	}
	file.writes = 1 << 20
	file.Truncate(int(w.Size()))
	event(13)
	must(w.Flush()) // nobody said since that it is on
	w.On(at(14), hold)
	w.On(at(15), hold)
	must(w.Beat())
	w.On(at(100), hold) // it was stopped meanwhile
	must(w.Beat())
	w.On(at(50), hold) // the clock was set back
	w.On(at(51), hold)
	w.Off()
	w.On(at(60), hold)
	w.On(at(61), hold)
	must(w.End())
	blocks, _, err := read(t, &file.Buffer, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, b := range blocks {
		one := fmt.Sprint(len(b.Events), " ")
		if !b.Until.IsZero() {
			one += fmt.Sprint(b.From.Sub(noon).Seconds(), "-", b.Until.Sub(noon).Seconds(), " ", b.Hold)
		}
		if b.Ended {
			one += " ended"
		}
		got = append(got, one)
	}
	if diff := cmp.Diff([]string{"1 ", "0 0-10 15s", "1 10-11.5 15s", "1 ", "0 14-15 15s", "0 85-100 15s", "0 60-61 15s ended"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestSeveralFilesOfOneRun(t *testing.T) {
	w, err := NewWriter(meta, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Add(&Event{Seq: 1}); err == nil {
		t.Error("an event was taken before a file was begun")
	}
	want := some(1, 8)
	var files [2]bytes.Buffer
	for i := range files {
		if err := w.Begin(&files[i]); err != nil {
			t.Fatal(err)
		}
		for _, e := range want[4*i : 4*i+4] {
			if err := w.Add(&e); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Add(&want[7]); err == nil {
		t.Error("an event was taken twice")
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	for i := range files {
		blocks, loss, err := read(t, &files[i], nil)
		if err != nil || loss.Any() || len(blocks) != 1 || blocks[0].Index != uint64(i+1) {
			t.Fatalf("file %d: %+v %+v %v", i, blocks, loss, err)
		}
		if diff := cmp.Diff(want[4*i:4*i+4], blocks[0].Events); diff != "" {
			t.Error(diff)
		}
	}
}

func TestLargeStatements(t *testing.T) {
	noise := make([]byte, MaxPayload+5)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(noise) // does not compress
	in := Event{Kind: Start, Seq: 1, At: noon, Payload: noise}
	small := some(2, 4)
	blocks, loss, err := read(t, bytes.NewReader(write(t, aKey(t, 3), append([]Event{in}, small...), 100)), aKey(t, 3))
	if err != nil || loss.Any() {
		t.Fatal(loss, err)
	}
	got := events(blocks)
	if len(got) != 5 || len(got[0].Payload) != MaxPayload || got[0].Cut != 5 || !bytes.Equal(got[0].Payload, noise[:MaxPayload]) {
		t.Errorf("%d events, %d bytes, %d cut", len(got), len(got[0].Payload), got[0].Cut)
	}
	if len(in.Payload) != MaxPayload+5 { // it is used again
		t.Error("the caller's event was changed")
	}
}

// FuzzReader: no file makes the reader fail in another way than it says, or read without end.
func FuzzReader(f *testing.F) {
	f.Add(write(f, nil, some(1, 12), 4))
	f.Add(write(f, aKey(f, 1), some(1, 3), 4))
	f.Add([]byte(preamble + blockMagic + "\x00\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, file []byte) {
		blocks, loss, err := read(t, bytes.NewReader(file), aKey(t, 1))
		if err != nil && !errors.Is(err, ErrNotCapture) && !errors.Is(err, ErrNewer) && !errors.Is(err, ErrOlder) && !errors.Is(err, ErrKey) {
			t.Fatal(err)
		}
		if loss.Bytes > int64(len(file)) {
			t.Errorf("%d bytes of %d are lost", loss.Bytes, len(file))
		}
		if err == nil && len(blocks) == 0 && len(file) > len(preamble) && !loss.Any() {
			t.Error("nothing was read, and nothing was lost")
		}
	})
}

// pointSelects are what 8 connections do that wait for each answer: each some 200 µs after the last one, with times and answers that nothing can foretell.
func pointSelects(n int, add func(e *Event)) {
	r := rand.New(rand.NewPCG(1, 2))
	type conn struct {
		next  time.Duration
		start uint64 // of the open statement; 0: none
		took  time.Duration
	}
	conns := make([]conn, 8)
	var payload []byte
	for seq, left := uint64(1), n; left > 0; seq++ {
		i := 0
		for j := range conns {
			if conns[j].next < conns[i].next {
				i = j
			}
		}
		c := &conns[i]
		at := noon.Add(c.next)
		if c.start == 0 {
			payload = fmt.Appendf(payload[:0], "SELECT c FROM sbtest1 WHERE id=%d", r.IntN(1_000_000))
			add(&Event{Kind: Start, Seq: seq, Conn: 1000 + uint64(i), At: at, Command: 3, Payload: payload, Epoch: 1})
			c.took = 80*time.Microsecond + time.Duration(r.ExpFloat64()*120_000)
			c.start, c.next = seq, c.next+c.took
			continue
		}
		h := r.Uint64() >> 16 // no two answers are equal
		add(&Event{Kind: End, Seq: seq, Conn: 1000 + uint64(i), At: at, Of: c.start, FirstByte: c.took - time.Duration(1000+r.IntN(3000)), Took: c.took, Status: 2, Columns: 12345, Rows: 1, Bytes: 121, Ordered: h, Multiset: h})
		c.start, c.next = 0, c.next+20*time.Microsecond+time.Duration(r.ExpFloat64()*20_000)
		left--
	}
}

// BenchmarkMillionPointSelects reports how large a million of them are, and how fast they are written and read.
func BenchmarkMillionPointSelects(b *testing.B) {
	const n = 1_000_000
	var all []Event
	pointSelects(n, func(e *Event) {
		c := *e
		c.Payload = bytes.Clone(e.Payload)
		all = append(all, c)
	})
	for b.Loop() {
		var file bytes.Buffer
		w, err := NewWriter(meta, nil)
		if err != nil {
			b.Fatal(err)
		}
		if err := w.Begin(&file); err != nil {
			b.Fatal(err)
		}
		begun := time.Now()
		for i := range all {
			if err := w.Add(&all[i]); err != nil {
				b.Fatal(err)
			}
		}
		if err := w.Flush(); err != nil {
			b.Fatal(err)
		}
		wrote := time.Since(begun)
		size := file.Len()
		begun = time.Now()
		r, err := NewReader(&file, nil)
		if err != nil {
			b.Fatal(err)
		}
		got := 0
		for {
			block, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				b.Fatal(err)
			}
			got += len(block.Events)
		}
		if got != len(all) || r.Loss().Any() {
			b.Fatalf("%d events of %d, %+v", got, len(all), r.Loss())
		}
		r.Close()
		if size > 17e6 {
			b.Errorf("a million point selects take %.1f MB, want ≤ 17", float64(size)/1e6)
		}
		b.ReportMetric(float64(size)/1e6, "MB")
		b.ReportMetric(float64(len(all))/wrote.Seconds(), "written/s")
		b.ReportMetric(float64(len(all))/time.Since(begun).Seconds(), "read/s")
	}
}
