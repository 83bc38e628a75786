package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// packets builds a stream of packets, numbered from 1.
type packets struct {
	b   []byte
	seq byte
}

func (p *packets) add(payload []byte) *packets {
	for {
		n := min(len(payload), MaxFrame)
		p.seq++
		p.b = append(p.b, byte(n), byte(n>>8), byte(n>>16), p.seq)
		p.b = append(p.b, payload[:n]...)
		payload = payload[n:]
		if n < MaxFrame {
			return p
		}
	}
}

func okPacket(header byte, status Status) []byte {
	return OK{Header: header, Affected: 3, InsertID: 300, Status: status}.Append(nil)
}

func eofPacket(status Status) []byte {
	return binary.LittleEndian.AppendUint16([]byte{0xfe, 0, 0}, uint16(status))
}

func errPacket() []byte { return (&ServerError{Code: 1064, State: "42000", Message: "no"}).Append(nil) }

func defPacket(name string) []byte {
	var b []byte
	for _, s := range []string{"def", "d", "t", "t", name, name} {
		b = AppendLenencBytes(b, []byte(s))
	}
	return append(b, 0x0c, 33, 0, 0, 0, 0, 0, 0xfd, 0, 0, 0, 0, 0)
}

func rowPacket(fields ...string) []byte {
	var b []byte
	for _, f := range fields {
		b = AppendLenencBytes(b, []byte(f))
	}
	return b
}

// scanAll feeds a stream in chunks and lists the events; what is left of a chunk is given again, as a caller does.
func scanAll(r *Reply, stream []byte, chunk func(i int) int) (events []Event, err error) {
	var buf []byte
	for i := 0; ; i++ {
		for {
			n, ev, err := r.Scan(buf)
			if n > len(buf) {
				return events, fmt.Errorf("passed %d of %d bytes", n, len(buf))
			}
			buf = buf[n:]
			if err != nil {
				return events, err
			}
			if ev != EventMore {
				if r.PacketLen() > n && ev != EventOther {
					return events, fmt.Errorf("event of %d bytes in %d", r.PacketLen(), n)
				}
				events = append(events, ev)
				continue
			}
			break
		}
		if len(stream) == 0 || r.Done() {
			if len(buf)+len(stream) > 0 && r.Done() {
				return events, fmt.Errorf("%d bytes too many", len(buf)+len(stream))
			}
			return events, nil
		}
		n := min(chunk(i), len(stream))
		buf = append(slices.Clone(buf), stream[:n]...)
		stream = stream[n:]
	}
}

func TestReplyOfEveryKind(t *testing.T) {
	huge := append([]byte{0xfe}, binary.LittleEndian.AppendUint64(nil, MaxFrame+100)...) // trap 31: a row that begins with 0xFE
	huge = append(huge, bytes.Repeat([]byte{0xfe}, MaxFrame+100)...)
	exact := append([]byte{0xfd, 0xf0, 0xff, 0xff}, bytes.Repeat([]byte{'x'}, MaxFrame-4)...) // ends with an empty frame
	prepared := func(columns, params byte) []byte {
		return []byte{0, 7, 0, 0, 0, columns, 0, params, 0, 0, 0, 0}
	}
	set := func(dep bool, rows ...[]byte) []byte {
		p := (&packets{}).add([]byte{2}).add(defPacket("a")).add(defPacket("b"))
		if !dep {
			p.add(eofPacket(StatusAutocommit))
		}
		for _, r := range rows {
			p.add(r)
		}
		if dep {
			return p.add(okPacket(0xfe, StatusAutocommit)).b
		}
		return p.add(eofPacket(StatusAutocommit)).b
	}
	for _, c := range []struct {
		name   string
		cmd    Command
		dep    bool
		stream []byte
		want   []Event
		rows   uint64
	}{
		{"ok", ComQuery, false, (&packets{}).add(okPacket(0, 2)).b, []Event{EventOK}, 0},
		{"err", ComQuery, false, (&packets{}).add(errPacket()).b, []Event{EventERR}, 0},
		{"text rows", ComQuery, false, set(false, rowPacket("1", "2"), rowPacket("", "")), []Event{EventColumns, EventEOF, EventEOF}, 2},
		{"text rows, EOF deprecated", ComQuery, true, set(true, rowPacket("1", "2")), []Event{EventColumns, EventOK}, 1},
		{"no rows", ComQuery, true, set(true), []Event{EventColumns, EventOK}, 0},
		{"error among the rows", ComQuery, true, (&packets{}).add([]byte{1}).add(defPacket("a")).add(rowPacket("1")).add(errPacket()).b, []Event{EventColumns, EventERR}, 1},
		{"error instead of definitions", ComQuery, false, (&packets{}).add([]byte{1}).add(errPacket()).b, []Event{EventColumns, EventERR}, 0},
		{"16 MB row that begins with 0xFE", ComQuery, false, set(false, huge), []Event{EventColumns, EventEOF, EventEOF}, 1},
		{"16 MB row that begins with 0xFE, EOF deprecated", ComQuery, true, set(true, huge), []Event{EventColumns, EventOK}, 1},
		{"row of exactly 16 MB", ComQuery, true, set(true, exact), []Event{EventColumns, EventOK}, 1},
		{"several results", ComQuery, false, (&packets{}).add(okPacket(0, StatusMoreResults)).add([]byte{1}).add(defPacket("a")).add(eofPacket(StatusMoreResults)).add(rowPacket("x")).
			add(eofPacket(StatusMoreResults)).add(okPacket(0, 2)).b, []Event{EventOK, EventColumns, EventEOF, EventEOF, EventOK}, 1},
		{"error after a result", ComQuery, false, (&packets{}).add(okPacket(0, StatusMoreResults)).add(errPacket()).b, []Event{EventOK, EventERR}, 0},
		{"binary rows", ComStmtExecute, true, set(true, []byte{0, 0, 1, 2}, []byte{0, 4, 9}), []Event{EventColumns, EventOK}, 2},
		{"cursor", ComStmtExecute, false, (&packets{}).add([]byte{1}).add(defPacket("a")).add(eofPacket(StatusCursorExists)).b, []Event{EventColumns, EventEOF}, 0},
		{"cursor, EOF deprecated", ComStmtExecute, true, (&packets{}).add([]byte{1}).add(defPacket("a")).add(okPacket(0xfe, StatusCursorExists)).b, []Event{EventColumns, EventOK}, 0},
		{"fetch", ComStmtFetch, false, (&packets{}).add([]byte{0, 0, 1}).add(eofPacket(StatusLastRowSent)).b, []Event{EventEOF}, 1},
		{"fetch, EOF deprecated", ComStmtFetch, true, (&packets{}).add([]byte{0, 0, 1}).add(okPacket(0xfe, StatusCursorExists)).b, []Event{EventOK}, 1},
		{"fetch without a cursor", ComStmtFetch, false, (&packets{}).add(errPacket()).b, []Event{EventERR}, 0},
		{"procedure with out parameters", ComStmtExecute, false, (&packets{}).add([]byte{1}).add(defPacket("a")).add(eofPacket(StatusMoreResults | StatusPSOutParams)).add([]byte{0, 0, 1}).
			add(eofPacket(StatusMoreResults | StatusPSOutParams)).add(okPacket(0, 2)).b, []Event{EventColumns, EventEOF, EventEOF, EventOK}, 1},
		{"bulk", ComStmtBulkExecute, true, (&packets{}).add(okPacket(0, 2)).b, []Event{EventOK}, 0},
		{"prepare", ComStmtPrepare, false, (&packets{}).add(prepared(1, 2)).add(defPacket("?")).add(defPacket("?")).add(eofPacket(2)).add(defPacket("a")).add(eofPacket(2)).b,
			[]Event{EventPrepared, EventEOF, EventEOF}, 0},
		{"prepare, EOF deprecated", ComStmtPrepare, true, (&packets{}).add(prepared(1, 2)).add(defPacket("?")).add(defPacket("?")).add(defPacket("a")).b, []Event{EventPrepared}, 0},
		{"prepare without anything", ComStmtPrepare, false, (&packets{}).add(prepared(0, 0)).b, []Event{EventPrepared}, 0},
		{"prepare with columns only", ComStmtPrepare, false, (&packets{}).add(prepared(1, 0)).add(defPacket("a")).add(eofPacket(2)).b, []Event{EventPrepared, EventEOF}, 0},
		{"prepare refused", ComStmtPrepare, false, (&packets{}).add(errPacket()).b, []Event{EventERR}, 0},
		{"field list", ComFieldList, false, (&packets{}).add(defPacket("a")).add(defPacket("b")).add(eofPacket(2)).b, []Event{EventEOF}, 0},
		{"field list, EOF deprecated", ComFieldList, true, (&packets{}).add(defPacket("a")).add(okPacket(0xfe, 2)).b, []Event{EventOK}, 0},
		{"statistics", ComStatistics, false, (&packets{}).add([]byte("Uptime: 1")).b, []Event{EventOther}, 0},
		{"empty statistics", ComStatistics, false, (&packets{}).add(nil).b, []Event{EventOther}, 0},
		{"ping", ComPing, false, (&packets{}).add(okPacket(0, 2)).b, []Event{EventOK}, 0},
		{"set option", ComSetOption, false, (&packets{}).add(eofPacket(2)).b, []Event{EventEOF}, 0},
		{"set option, EOF deprecated", ComSetOption, true, (&packets{}).add(okPacket(0xfe, 2)).b, []Event{EventOK}, 0},
		{"close has no answer", ComStmtClose, false, nil, nil, 0},
		{"long data has no answer", ComStmtLongData, false, nil, nil, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			caps := Capability(0)
			if c.dep {
				caps = CapDeprecateEOF
			}
			chunks := []int{1 << 30, 64 << 10}
			if len(c.stream) < 1<<16 {
				chunks = append(chunks, 1, 2, 3, 5, 7)
			}
			for _, size := range chunks {
				var r Reply
				r.Reset(c.cmd, caps)
				got, err := scanAll(&r, c.stream, func(int) int { return size })
				if err != nil {
					t.Fatalf("in chunks of %d: %v", size, err)
				}
				if diff := cmp.Diff(c.want, got); diff != "" || !r.Done() || r.Rows != c.rows {
					t.Fatalf("in chunks of %d: done %t, %d rows, events %s", size, r.Done(), r.Rows, diff)
				}
				// Nothing less is complete.
				if len(c.stream) > 0 && size == 1 {
					r.Reset(c.cmd, caps)
					scanAll(&r, c.stream[:len(c.stream)-1], func(int) int { return 1 })
					if r.Done() {
						t.Fatal("done one byte too early")
					}
				}
			}
		})
	}
}

func TestReplyRefusesNonsense(t *testing.T) {
	for name, stream := range map[string][]byte{
		"column count with a tail":  (&packets{}).add([]byte{1, 9}).b,
		"no columns at all":         (&packets{}).add([]byte{0xfc, 0, 0}).b,
		"a million columns":         (&packets{}).add([]byte{0xfd, 0x40, 0x42, 0x0f}).b,
		"an empty packet":           {0, 0, 0, 1},
		"an OK that is cut off":     (&packets{}).add([]byte{0, 1}).b,
		"rows in place of EOF":      (&packets{}).add([]byte{1}).add(defPacket("a")).add(rowPacket("x")).b,
		"a control packet of 16 MB": (&packets{}).add(make([]byte, MaxFrame)).b,
	} {
		var r Reply
		r.Reset(ComQuery, 0)
		if _, err := scanAll(&r, stream, func(int) int { return 1 << 30 }); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// FuzzReply looks that no answer makes the machine panic, go backwards, or depend on how it was cut into chunks.
func FuzzReply(f *testing.F) {
	f.Add(byte(ComQuery), false, (&packets{}).add([]byte{1}).add(defPacket("a")).add(eofPacket(2)).add(rowPacket("x")).add(eofPacket(2)).b)
	f.Add(byte(ComQuery), true, (&packets{}).add([]byte{1}).add(defPacket("a")).add(rowPacket("x")).add(okPacket(0xfe, StatusMoreResults)).add(okPacket(0, 2)).b)
	f.Add(byte(ComStmtPrepare), false, (&packets{}).add([]byte{0, 7, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0}).add(defPacket("?")).add(eofPacket(2)).add(defPacket("a")).add(eofPacket(2)).b)
	f.Add(byte(ComStmtFetch), false, (&packets{}).add([]byte{0, 0, 1}).add(eofPacket(StatusLastRowSent)).b)
	f.Add(byte(ComQuery), false, (&packets{}).add([]byte{0xfb, 'f'}).b)
	f.Add(byte(ComQuery), false, (&packets{}).add(errPacket()).b)
	f.Add(byte(ComStatistics), true, (&packets{}).add([]byte("x")).b)
	f.Add(byte(ComQuery), false, append([]byte{1, 0, 0, 1, 1, 0xff, 0xff, 0xff, 2}, bytes.Repeat([]byte{7}, 64)...))
	f.Fuzz(func(t *testing.T, cmd byte, dep bool, stream []byte) {
		caps := Capability(0)
		if dep {
			caps = CapDeprecateEOF
		}
		var whole, bytewise Reply
		whole.Reset(Command(cmd), caps)
		bytewise.Reset(Command(cmd), caps)
		var seenWhole, seenBytewise shown
		whole.Observe(&seenWhole)
		bytewise.Observe(&seenBytewise)
		a, errA := scanAll(&whole, stream, func(int) int { return 1 << 30 })
		b, errB := scanAll(&bytewise, stream, func(int) int { return 1 })
		// A machine that has the whole stream sees bytes behind the answer's end, which bytes one by one do not show.
		if fmt.Sprint(a) != fmt.Sprint(b) || (errA == nil) != (errB == nil) && !bytewise.Done() {
			t.Fatalf("whole: %v %v; byte by byte: %v %v", a, errA, b, errB)
		}
		if !equal(seenWhole.rows, seenBytewise.rows) || !equal(seenWhole.columns, seenBytewise.columns) || fmt.Sprint(seenWhole.results) != fmt.Sprint(seenBytewise.results) {
			t.Fatalf("shown of the whole: %+v; byte by byte: %+v", seenWhole, seenBytewise)
		}
	})
}
