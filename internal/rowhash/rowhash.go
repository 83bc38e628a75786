// Package rowhash hashes answers: the rows in their order, the rows as a multiset, and the columns' definitions. A gateway hashes what it forwards and a
// replayer what it gets, so two answers are compared by a few numbers, and neither keeps any row.
//
// The model: a row is the payload of its packet, whatever frames and reads it came in. The same statement over the same protocol (text or binary) gives the
// same bytes on every server, as far as the values are the same.
//
// Invariants. A row that is given in pieces counts as the same row given whole. Multiset does not depend on the order of the rows of a result set, and
// depends on how often each is there. An answer of one row has the same Ordered and Multiset. Every hash has 48 bits: of 10⁹ answers that
// differ, one is taken for equal in 4 of a million such runs; and each captured statement is 2 bytes smaller.
//
// The zero values are ready. Nothing fails; nothing is safe for concurrent use.
package rowhash

import (
	"encoding/binary"
	"math/bits"

	"github.com/zeebo/xxh3"
)

// Bits is how many bits of a hash are used.
const Bits = 48

const mask = 1<<Bits - 1

// Odd numbers that mix well, those of xxHash.
const (
	prime1 = 0x9e3779b185ebca87
	prime2 = 0xc2b2ae3d27d4eb4f
)

// chain adds a hash to those before it, in their order. It loses nothing of either.
func chain(before, h uint64) uint64 { return bits.RotateLeft64(before+h*prime2, 31) * prime1 }

// finish mixes and cuts a hash. Nothing stays 0 but nothing.
func finish(h uint64) uint64 {
	h ^= h >> 32
	h *= prime2
	h ^= h >> 29
	return h & mask
}

// Hash is that of rows.
type Hash struct {
	rows, bytes       uint64
	ordered, multiset uint64
	set               uint64 // which result set of the answer it is in
	part              *part  // of a row that comes in pieces
	open              bool   // there are pieces of a row
}

// Reset forgets all rows.
func (h *Hash) Reset() { *h = Hash{part: h.part} }

// Chunk adds a piece of a row; the last one ends it.
func (h *Hash) Chunk(piece []byte, last bool) {
	if last && !h.open {
		h.Row(piece)
		return
	}
	if h.part == nil {
		h.part = new(part)
	}
	if !h.open {
		h.part.n, h.open = 0, true
	}
	h.part.write(piece)
	if last {
		h.open = false
		h.part.end(h)
	}
}

// NextSet tells that the rows from here on belong to the next result set of the same answer.
func (h *Hash) NextSet() { h.set += prime1 }

// add counts a row by its hash. Rows of another result set have others.
func (h *Hash) add(row uint64) {
	h.rows++
	row ^= h.set
	h.ordered = chain(h.ordered, row)
	h.multiset += row
}

// Rows is how many there are.
func (h *Hash) Rows() uint64 { return h.rows }

// Bytes is what the rows have together, without the packets' headers.
func (h *Hash) Bytes() uint64 { return h.bytes }

// Ordered depends on the rows and their order; 0 if there is none.
func (h *Hash) Ordered() uint64 {
	if h.rows <= 1 {
		return h.Multiset()
	}
	return finish(h.ordered + h.rows)
}

// Multiset depends on the rows alone; 0 if there is none.
func (h *Hash) Multiset() uint64 { return finish(h.multiset) }

// ColumnsHash is that of the columns' definitions, as far as two versions agree on them: name, type and whether a number is unsigned. Not the table's alias, the
// length, the character set and the other flags.
type ColumnsHash struct{ h uint64 }

// Reset forgets all columns.
func (c *ColumnsHash) Reset() { c.h = 0 }

// Result begins a result set.
func (c *ColumnsHash) Result(columns int) { c.h = chain(c.h, uint64(columns)+prime1) }

// Column adds a column's definition as it is in its packet.
func (c *ColumnsHash) Column(definition []byte) {
	name, kind, unsigned := Definition(definition)
	switch kind {
	case typeTimestamp:
		kind = typeDatetime
	case typeVarchar, typeString, typeVarString:
		kind, unsigned = typeVarString, false // no client can tell them apart, and to UUID() 11.8 gives the flag
	}
	h := xxh3.Hash(name) + uint64(kind)<<1
	if unsigned {
		h++
	}
	c.h = chain(c.h, h)
}

// Sum is the hash; 0 if there was no result set.
func (c *ColumnsHash) Sum() uint64 { return finish(c.h) }

// The end of a column's definition: the length of what follows, character set, length, type, flags, decimals, two bytes of nothing.
const (
	fixed        = 13
	typeAt       = 1 + 2 + 4
	flagUnsigned = 0x20

	// Versions differ in which of the two NOW() is; values look alike in both, as text and as binary.
	typeTimestamp = 7
	typeDatetime  = 12

	// The same of texts, such as UUID().
	typeVarchar   = 15
	typeVarString = 253
	typeString    = 254
)

// Definition reads a column's name, which points into the definition, its type and whether it is unsigned. Of one that is not understood nothing is known,
// and all of it is the name.
func Definition(p []byte) (name []byte, kind byte, unsigned bool) {
	rest := p
	for range 5 { // catalog, schema, table's alias, table, alias
		var ok bool
		if name, rest, ok = text(rest); !ok {
			return p, 0, false
		}
	}
	if len(rest) < fixed || p[len(p)-fixed] != fixed-1 {
		return name, 0, false
	}
	end := p[len(p)-fixed:] // from the end: MariaDB may put more before it
	return name, end[typeAt], binary.LittleEndian.Uint16(end[typeAt+1:])&flagUnsigned != 0
}

// text takes a text with its length before it.
func text(p []byte) (s, rest []byte, ok bool) {
	if len(p) == 0 {
		return nil, nil, false
	}
	n, head := uint64(p[0]), 1
	switch {
	case n < 0xfb:
	case n == 0xfc && len(p) >= 3:
		n, head = uint64(p[1])|uint64(p[2])<<8, 3
	case n == 0xfd && len(p) >= 4:
		n, head = uint64(p[1])|uint64(p[2])<<8|uint64(p[3])<<16, 4
	default:
		return nil, nil, false
	}
	if n > uint64(len(p)-head) {
		return nil, nil, false
	}
	return p[head : head+int(n)], p[head+int(n):], true
}

// Answer is the whole answer of a statement, with all of its result sets. It is what a wire.Reply shows its packets to.
type Answer struct {
	rows    Hash
	columns ColumnsHash
	sets    int
}

// Reset begins another answer.
func (a *Answer) Reset() {
	a.rows.Reset()
	a.columns.Reset()
	a.sets = 0
}

// Result begins a result set.
func (a *Answer) Result(columns int) {
	if a.sets > 0 {
		a.rows.NextSet()
	}
	a.sets++
	a.columns.Result(columns)
}

// Column is a column's definition.
func (a *Answer) Column(definition []byte) { a.columns.Column(definition) }

// Row is a row, or a piece of one.
func (a *Answer) Row(part []byte, last bool) { a.rows.Chunk(part, last) }

// Rows is how many rows there are in all result sets.
func (a *Answer) Rows() uint64 { return a.rows.Rows() }

// Bytes is what the rows have together.
func (a *Answer) Bytes() uint64 { return a.rows.Bytes() }

// Ordered is the hash of the rows in their order.
func (a *Answer) Ordered() uint64 { return a.rows.Ordered() }

// Multiset is the hash of the rows in any order.
func (a *Answer) Multiset() uint64 { return a.rows.Multiset() }

// Columns is the hash of the columns of all result sets; 0 if the answer has none.
func (a *Answer) Columns() uint64 { return a.columns.Sum() }
