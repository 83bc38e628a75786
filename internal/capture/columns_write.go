package capture

import (
	"encoding/binary"
	"time"

	"github.com/klauspost/compress/zstd"
)

// encoder writes events into columns.
type encoder struct {
	context
	cols [columnCount]column
}

func micros(d time.Duration) int64 { return int64(d) / 1000 }

func (e *encoder) reset(base int64) {
	e.context.reset(base)
	if e.byID == nil {
		e.byID, e.byHash = map[uint64]int{}, map[uint64]int{}
	}
	for i := range e.cols {
		e.cols[i].reset()
	}
}

// add writes an event. The time of the first one is base.
func (e *encoder) add(v *Event) {
	c := &e.cols
	c[colKind].number(uint64(v.Kind))
	c[colSeq].number(v.Seq - e.seq - 1)
	e.seq = v.Seq
	at, due := v.At.UnixMicro(), e.at
	conn, known := 0, false
	if v.Kind == End {
		c[colOf].number(v.Seq - v.Of)
		c[colTook].signed(micros(v.Took))
		c[colFirstByte].signed(micros(v.Took) - micros(v.FirstByte))
		if p, ok := e.find(v.Of); ok {
			due = p.at + micros(v.Took)
			if d := at - due; d >= -1 && d <= 1 { // what was cut off of three times
				at = due
			}
			if known = e.conns[p.conn].id == v.Conn; known {
				conn = p.conn
			}
		}
	}
	c[colAt].signed(at - due)
	e.at = at
	if known {
		c[colConn].number(0)
	} else {
		var ok bool
		if conn, ok = e.byID[v.Conn]; !ok {
			conn = len(e.conns)
			e.conns = append(e.conns, connState{id: v.Conn})
			e.byID[v.Conn] = conn
			c[colConns].number(v.Conn)
		}
		c[colConn].number(uint64(conn) + 1)
	}
	e.places = append(e.places, place{v.Seq, at, conn})
	switch v.Kind {
	case Session:
		e.epoch(conn, v.Epoch)
		put(&c[colUser], v.User)
		put(&c[colSchema], v.Schema)
		c[colCharset].number(uint64(v.Charset))
		settings := v.Settings[max(len(v.Settings)-mostSettings, 0):]
		c[colSettings].number(uint64(len(settings)))
		for _, s := range settings {
			put(&c[colPayload], s)
		}
		c[colPartial].flag(v.Partial || len(settings) < len(v.Settings))
	case Known:
		c[colStatement].number(uint64(v.Statement))
		put(&c[colPayload], v.Payload)
	case Start:
		e.epoch(conn, v.Epoch)
		c[colCommand].number(uint64(v.Command))
		put(&c[colPayload], v.Payload)
		c[colStatement].number(uint64(v.Statement))
		put(&c[colTypes], v.Types)
		e.txn(conn, v.Txn)
		c[colCut].number(v.Cut)
		c[colLost].number(v.Lost)
		put(&c[colWithheld], v.Withheld)
	case End:
		c[colErrno].number(uint64(v.Errno))
		put(&c[colSQLState], v.SQLState)
		c[colWarnings].number(uint64(v.Warnings))
		c[colAffected].number(v.Affected)
		c[colInsertID].number(v.InsertID)
		c[colStatus].number(uint64(v.Status))
		e.columnHash(v.Columns)
		c[colRows].number(v.Rows)
		c[colBytes].number(v.Bytes)
		if v.Rows > 0 {
			c[colOrdered].hash(v.Ordered)
		}
		if v.Rows > 1 { // one row has no order
			c[colMultiset].hash(v.Multiset)
		}
		c[colUnfinished].flag(v.Unfinished)
		put(&c[colGTID], v.GTID)
	}
}

func (e *encoder) epoch(conn int, v uint64) {
	s := &e.conns[conn]
	e.cols[colEpoch].signed(int64(v - s.epoch))
	s.epoch = v
}

// txn writes the number of a transaction: none, the same as before, or how much larger it is.
func (e *encoder) txn(conn int, v uint64) {
	s := &e.conns[conn]
	switch v {
	case 0:
		e.cols[colTxn].number(0)
	case s.txn:
		e.cols[colTxn].number(1)
	default:
		d := int64(v - s.txn)
		e.cols[colTxn].number((uint64(d)<<1 ^ uint64(d>>63)) + 2)
		s.txn = v
	}
}

func (e *encoder) columnHash(v uint64) {
	if v == 0 {
		e.cols[colColumns].number(0)
		return
	}
	i, ok := e.byHash[v]
	if !ok {
		i = len(e.hashes)
		e.hashes = append(e.hashes, v)
		e.byHash[v] = i
		e.cols[colColumnHash].hash(v)
	}
	e.cols[colColumns].number(uint64(i) + 1)
}

// pack adds the columns to the buffer, compressed where that makes them smaller.
func (e *encoder) pack(out, head []byte, z *zstd.Encoder) []byte {
	out = section(out, colHead, partText, head, z)
	for i := range e.cols {
		c := &e.cols[i]
		if len(c.low) > 0 { // else all are 0
			c.settle()
			out = section(out, i, partLow, c.low, z)
		}
		if c.above {
			out = section(out, i, partHigh, c.high, z)
		}
		if len(c.text) > 0 {
			if c.random {
				out = section(out, i, partText, c.text, nil)
			} else {
				out = section(out, i, partText, c.text, z)
			}
		}
	}
	return out
}

// smallest is what is compressed: with less the frame around it takes what is won.
const smallest = 32

// section is a part of a column: its number, how much it is, how much of it is stored, and that.
func section(out []byte, col, part int, plain []byte, z *zstd.Encoder) []byte {
	stored := plain
	if z != nil && len(plain) >= smallest {
		// Behind where it goes, with room for the two lengths before it.
		const room = 2 * binary.MaxVarintLen32
		at := len(out) + 1 + room
		for cap(out) < at {
			out = append(out[:cap(out)], 0)[:len(out)]
		}
		if packed := z.EncodeAll(plain, out[:at])[at:]; len(packed) < len(plain) {
			stored = packed
		}
	}
	out = append(out, byte(col*parts+part))
	out = binary.AppendUvarint(out, uint64(len(plain)))
	out = binary.AppendUvarint(out, uint64(len(stored)))
	return append(out, stored...)
}
