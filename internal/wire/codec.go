package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrMalformed says that bytes are not what the protocol allows at that place.
var ErrMalformed = errors.New("malformed packet")

func malformed(what string) error { return fmt.Errorf("%w: %s", ErrMalformed, what) }

// Cursor reads a payload front to back. The first failure sticks; Err tells it, and later reads give zero values.
type Cursor struct {
	b   []byte
	err error
}

// NewCursor reads b, which it keeps.
func NewCursor(b []byte) *Cursor { return &Cursor{b: b} }

// Err is the first failure.
func (c *Cursor) Err() error { return c.err }

// Len is how many bytes are left.
func (c *Cursor) Len() int { return len(c.b) }

// Rest takes all that is left.
func (c *Cursor) Rest() []byte {
	b := c.b
	c.b = nil
	return b
}

// Bytes takes n bytes.
func (c *Cursor) Bytes(n int) []byte {
	if c.err != nil {
		return nil
	}
	if n < 0 || n > len(c.b) {
		c.err = malformed("too short")
		c.b = nil
		return nil
	}
	b := c.b[:n]
	c.b = c.b[n:]
	return b
}

// Skip passes over n bytes.
func (c *Cursor) Skip(n int) { c.Bytes(n) }

// Byte takes one byte.
func (c *Cursor) Byte() byte {
	if b := c.Bytes(1); b != nil {
		return b[0]
	}
	return 0
}

// Uint16 takes two bytes, little endian.
func (c *Cursor) Uint16() uint16 {
	if b := c.Bytes(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

// Uint32 takes four bytes, little endian.
func (c *Cursor) Uint32() uint32 {
	if b := c.Bytes(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

// NulString takes a string up to its NUL, which goes too.
func (c *Cursor) NulString() []byte {
	if c.err != nil {
		return nil
	}
	i := bytes.IndexByte(c.b, 0)
	if i < 0 {
		c.err = malformed("string without end")
		c.b = nil
		return nil
	}
	s := c.b[:i]
	c.b = c.b[i+1:]
	return s
}

// Lenenc takes a length-encoded integer. Null (0xFB) and 0xFF are failures here.
func (c *Cursor) Lenenc() uint64 {
	first := c.Byte()
	switch {
	case c.err != nil:
		return 0
	case first < 0xfb:
		return uint64(first)
	case first == 0xfc:
		return uint64(c.Uint16())
	case first == 0xfd:
		if b := c.Bytes(3); b != nil {
			return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16
		}
		return 0
	case first == 0xfe:
		if b := c.Bytes(8); b != nil {
			return binary.LittleEndian.Uint64(b)
		}
		return 0
	}
	c.err = malformed("length")
	c.b = nil
	return 0
}

// LenencBytes takes a length-encoded string.
func (c *Cursor) LenencBytes() []byte {
	n := c.Lenenc()
	if c.err == nil && n > uint64(len(c.b)) {
		c.err = malformed("string longer than its packet")
		c.b = nil
		return nil
	}
	return c.Bytes(int(n))
}

// value takes a text row's field: nil is NULL.
func (c *Cursor) value() []byte {
	if c.err == nil && len(c.b) > 0 && c.b[0] == 0xfb {
		c.b = c.b[1:]
		return nil
	}
	if v := c.LenencBytes(); v != nil {
		return v
	}
	return []byte{}
}

// AppendLenenc writes a length-encoded integer.
func AppendLenenc(b []byte, n uint64) []byte {
	switch {
	case n < 0xfb:
		return append(b, byte(n))
	case n < 1<<16:
		return append(b, 0xfc, byte(n), byte(n>>8))
	case n < 1<<24:
		return append(b, 0xfd, byte(n), byte(n>>8), byte(n>>16))
	}
	return binary.LittleEndian.AppendUint64(append(b, 0xfe), n)
}

// AppendLenencBytes writes a length-encoded string.
func AppendLenencBytes(b, s []byte) []byte {
	return append(AppendLenenc(b, uint64(len(s))), s...)
}
