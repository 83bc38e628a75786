package capture

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/klauspost/compress/zstd"
)

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
