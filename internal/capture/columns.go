package capture

import (
	"encoding/binary"
	"errors"
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
