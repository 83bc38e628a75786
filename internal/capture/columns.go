package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/klauspost/compress/zstd"
)

// The events of a block lie in columns: all kinds together, all sequence numbers together, and so on, each compressed by itself. What is the same in all
// events costs nothing, and what is not is beside its like. A column has up to three parts: the low bytes of its numbers, what is above them, and texts.
//
// What follows from another event of the block is written as the difference to it: an End has its Start's connection, and its time is its Start's and
// Took.
//
// The numbers of the columns are the format, and are never used for anything else; whoever reads a block passes over columns that it does not know.
const (
	colHead = iota // the block's head, as a text alone
	colKind
	colSeq // the difference to the event before, less 1
	colConn
	colConns // each connection, when it is the first event of the block
	colAt
	colEpoch
	colUser
	colSchema
	colCharset
	colSettings
	colPartial
	colCommand
	colPayload
	colStatement
	colTypes
	colTxn
	colCut
	colLost
	colWithheld
	colOf // its own Seq minus that of the Start
	colTook
	colFirstByte
	colErrno
	colSQLState
	colWarnings
	colAffected
	colInsertID
	colStatus
	colColumns
	colColumnHash // each, when it is the first of the block
	colRows
	colBytes
	colOrdered
	colMultiset
	colUnfinished
	colGTID
	columnCount
)

// The parts of a column.
const (
	partLow  = iota // a byte of each number
	partHigh        // what is above it, as a varint; absent: all are below 256
	partText        // the texts, one behind the other; the numbers are their lengths
	parts
)

var errFormat = errors.New("not a block of this format")

// What a block holds at the most, but for its first event. Each event counts for eventCost bytes more than its texts.
const (
	eventCost    = 24
	mostEvents   = blockTarget/eventCost + 1
	mostSettings = 1 << 10
)

// column is one while it is written.
type column struct {
	low, high, text []byte
	zeros           int  // numbers that are 0, after those in low: most columns have no others
	above           bool // a number is above 255; else high is not written
	random          bool // the text are hashes: nothing makes it smaller
}

func (c *column) number(v uint64) {
	if v == 0 {
		c.zeros++
		return
	}
	if c.zeros > 0 {
		c.settle()
	}
	if v > 0xff && !c.above {
		c.above = true
		c.high = append(c.high, make([]byte, len(c.low))...)
	}
	c.low = append(c.low, byte(v))
	if c.above {
		c.high = binary.AppendUvarint(c.high, v>>8)
	}
}

// settle writes the zeros that were counted.
func (c *column) settle() {
	for ; c.zeros > 0; c.zeros-- {
		c.low = append(c.low, 0)
		if c.above {
			c.high = append(c.high, 0)
		}
	}
}

func (c *column) signed(v int64) { c.number(uint64(v)<<1 ^ uint64(v>>63)) }

func (c *column) flag(v bool) {
	if v {
		c.number(1)
	} else {
		c.zeros++
	}
}

func put[T string | []byte](c *column, v T) {
	if len(v) == 0 {
		c.zeros++
		return
	}
	c.number(uint64(len(v)))
	c.text = append(c.text, v...)
}

// hash writes six bytes as they are, since no hash can be made smaller, and in the number what is above, which is nothing.
func (c *column) hash(v uint64) {
	c.number(v >> 48)
	c.random = c.random || v != 0
	c.text = append(c.text, byte(v), byte(v>>8), byte(v>>16), byte(v>>24), byte(v>>32), byte(v>>40))
}

func (c *column) reset() {
	*c = column{low: c.low[:0], high: c.high[:0], text: c.text[:0]}
}

// place is where an event of the block was.
type place struct {
	seq  uint64
	at   int64 // microseconds
	conn int   // in the block's list
}

// connState is what the last event of a connection said.
type connState struct {
	id         uint64
	epoch, txn uint64
}

// context is what writer and reader both know of the events before, in the same block.
type context struct {
	seq    uint64
	at     int64
	places []place
	conns  []connState
	byID   map[uint64]int // of the writer alone
	hashes []uint64       // of columns
	byHash map[uint64]int // of the writer alone
}

func (x *context) reset(base int64) {
	x.seq, x.at = 0, base
	x.places, x.conns, x.hashes = x.places[:0], x.conns[:0], x.hashes[:0]
	clear(x.byID)
	clear(x.byHash)
}

// find gives the event with that number, if it is one of the block.
func (x *context) find(seq uint64) (place, bool) {
	if len(x.places) == 0 || seq < x.places[0].seq {
		return place{}, false
	}
	low, high := 0, len(x.places)
	if d := seq - x.places[0].seq; d < uint64(high) { // nearly always they have no gaps
		if x.places[d].seq == seq {
			return x.places[d], true
		}
		high = int(d)
	}
	for low < high {
		if mid := (low + high) / 2; x.places[mid].seq < seq {
			low = mid + 1
		} else {
			high = mid
		}
	}
	if low < len(x.places) && x.places[low].seq == seq {
		return x.places[low], true
	}
	return place{}, false
}

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

// decoder reads a block of columns.
type decoder struct {
	context
	cols [columnCount]struct{ low, high, text []byte }
	bad  bool

	headAlone bool
}

// number takes the next one of a column.
func (d *decoder) number(col int) uint64 {
	c := &d.cols[col]
	var v uint64
	if c.low != nil {
		if len(c.low) == 0 {
			d.bad = true
			return 0
		}
		v = uint64(c.low[0])
		c.low = c.low[1:]
	}
	if c.high != nil {
		h, n := binary.Uvarint(c.high)
		if n <= 0 || h >= 1<<56 {
			d.bad = true
			return 0
		}
		c.high = c.high[n:]
		v |= h << 8
	}
	return v
}

func (d *decoder) signed(col int) int64 {
	v := d.number(col)
	return int64(v>>1) ^ -int64(v&1)
}

func (d *decoder) take(col int, n uint64) []byte {
	c := &d.cols[col]
	if n > uint64(len(c.text)) {
		d.bad = true
		return nil
	}
	if n == 0 {
		return nil
	}
	b := c.text[:n:n]
	c.text = c.text[n:]
	return b
}

func (d *decoder) bytes(col int) []byte { return d.take(col, d.number(col)) }

func (d *decoder) text(col int) string { return string(d.bytes(col)) }

func (d *decoder) hash(col int) uint64 {
	above := d.number(col)
	b := d.take(col, 6)
	if d.bad {
		return 0
	}
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 | uint64(b[4])<<32 | uint64(b[5])<<40 | above<<48
}

// unpack takes the columns out of a block's body, and gives the head.
func (d *decoder) unpack(body []byte, z *zstd.Decoder) (head []byte, err error) {
	budget := uint64(maxPlain)
	for len(body) > 0 {
		id := int(body[0])
		plain, n := binary.Uvarint(body[1:])
		if n <= 0 {
			return nil, fmt.Errorf("%w: no length", errFormat)
		}
		stored, m := binary.Uvarint(body[1+n:])
		if m <= 0 || stored > uint64(len(body)-1-n-m) || plain > budget || stored > plain {
			return nil, fmt.Errorf("%w: a part of %d bytes", errFormat, plain)
		}
		budget -= plain
		data := body[1+n+m:][:stored]
		body = body[1+n+m+int(stored):]
		if id/parts >= columnCount || d.headAlone && id != colHead*parts+partText {
			continue // of a later version, or not wanted
		}
		if stored < plain {
			if data, err = z.DecodeAll(data, make([]byte, 0, plain)); err != nil {
				return nil, err
			}
			if uint64(len(data)) != plain {
				return nil, fmt.Errorf("%w: %d bytes of %d", errFormat, len(data), plain)
			}
		} else {
			data = append(make([]byte, 0, plain), data...) // what is read is the caller's
		}
		c := &d.cols[id/parts]
		switch id % parts {
		case partLow:
			c.low = data
		case partHigh:
			c.high = data
		case partText:
			c.text = data
		}
	}
	return d.cols[colHead].text, nil
}

// event reads the next one.
func (d *decoder) event(v *Event) error {
	v.Kind = EventKind(d.number(colKind))
	d.seq += d.number(colSeq) + 1
	v.Seq = d.seq
	due := d.at
	conn, known := 0, false
	if v.Kind == End {
		v.Of = v.Seq - d.number(colOf)
		took := d.signed(colTook)
		v.Took = time.Duration(took) * time.Microsecond
		v.FirstByte = time.Duration(took-d.signed(colFirstByte)) * time.Microsecond
		var p place
		if p, known = d.find(v.Of); known {
			due, conn = p.at+took, p.conn
		}
	}
	d.at = due + d.signed(colAt)
	v.At = time.UnixMicro(d.at)
	if n := d.number(colConn); n > 0 {
		if conn = int(n - 1); n-1 == uint64(len(d.conns)) {
			d.conns = append(d.conns, connState{id: d.number(colConns)})
		} else if n > uint64(len(d.conns)) {
			d.bad = true
		}
	} else if !known {
		d.bad = true
	}
	if d.bad {
		return fmt.Errorf("%w: event %d", errFormat, v.Seq)
	}
	state := &d.conns[conn]
	v.Conn = state.id
	d.places = append(d.places, place{v.Seq, d.at, conn})
	switch v.Kind {
	case Session:
		state.epoch += uint64(d.signed(colEpoch))
		v.Epoch, v.User, v.Schema, v.Charset = state.epoch, d.text(colUser), d.text(colSchema), uint16(d.number(colCharset))
		n := d.number(colSettings)
		if n > mostSettings {
			d.bad = true
		}
		for ; n > 0 && !d.bad; n-- {
			v.Settings = append(v.Settings, d.text(colPayload))
		}
		v.Partial = d.number(colPartial) != 0
	case Known:
		v.Statement, v.Payload = uint32(d.number(colStatement)), d.bytes(colPayload)
	case Start:
		state.epoch += uint64(d.signed(colEpoch))
		v.Epoch, v.Command, v.Payload, v.Statement, v.Types = state.epoch, byte(d.number(colCommand)), d.bytes(colPayload), uint32(d.number(colStatement)), d.bytes(colTypes)
		switch n := d.number(colTxn); n {
		case 0:
		case 1:
			v.Txn = state.txn
		default:
			n -= 2
			state.txn += uint64(int64(n>>1) ^ -int64(n&1))
			v.Txn = state.txn
		}
		v.Cut, v.Lost, v.Withheld = d.number(colCut), d.number(colLost), d.text(colWithheld)
	case End:
		v.Errno, v.SQLState, v.Warnings = uint16(d.number(colErrno)), d.text(colSQLState), uint16(d.number(colWarnings))
		v.Affected, v.InsertID, v.Status = d.number(colAffected), d.number(colInsertID), uint16(d.number(colStatus))
		v.Columns = d.columnHash()
		v.Rows, v.Bytes = d.number(colRows), d.number(colBytes)
		if v.Rows > 0 {
			v.Ordered = d.hash(colOrdered)
			v.Multiset = v.Ordered
		}
		if v.Rows > 1 {
			v.Multiset = d.hash(colMultiset)
		}
		v.Unfinished, v.GTID = d.number(colUnfinished) != 0, d.text(colGTID)
	}
	if d.bad {
		return fmt.Errorf("%w: event %d", errFormat, v.Seq)
	}
	return nil
}

func (d *decoder) columnHash() uint64 {
	n := d.number(colColumns)
	switch {
	case n == 0:
		return 0
	case n-1 == uint64(len(d.hashes)):
		d.hashes = append(d.hashes, d.hash(colColumnHash))
	case n > uint64(len(d.hashes)):
		d.bad = true
		return 0
	}
	return d.hashes[n-1]
}

// decodeBlock reads a block's body. The events' payloads are the caller's.
func decodeBlock(body []byte, z *zstd.Decoder) (Block, error) {
	var d decoder
	text, err := d.unpack(body, z)
	if err != nil {
		return Block{}, err
	}
	b, h, err := decodeHead(text)
	if err != nil {
		return Block{}, err
	}
	if h.events > mostEvents || h.events > uint64(len(d.cols[colKind].low)) {
		return Block{}, fmt.Errorf("%w: %d events", errFormat, h.events)
	}
	d.context.reset(h.base)
	if h.events > 0 {
		b.Events = make([]Event, h.events)
		d.places = make([]place, 0, h.events)
	}
	for i := range b.Events {
		if err := d.event(&b.Events[i]); err != nil {
			return Block{}, err
		}
	}
	return b, nil
}

// decodeHeadAlone reads no events.
func decodeHeadAlone(body []byte, z *zstd.Decoder) (Block, head, error) {
	d := decoder{headAlone: true}
	text, err := d.unpack(body, z)
	if err != nil {
		return Block{}, head{}, err
	}
	return decodeHead(text)
}
