package probe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/wire"
)

var errShort = errors.New("a packet ends too early")

// column reads what matters of a definition, and the number of its decimals.
func column(packet []byte) (compare.Column, byte, error) {
	c := wire.NewCursor(packet)
	for range 4 { // catalog, schema, table, original table
		c.LenencBytes()
	}
	out := compare.Column{Name: string(c.LenencBytes())}
	c.LenencBytes() // original name
	fixed := wire.NewCursor(c.LenencBytes())
	if c.Len() > 12 { // that was MariaDB's extended metadata
		fixed = wire.NewCursor(c.LenencBytes())
	}
	fixed.Skip(6) // character set, length
	out.Type = fixed.Byte()
	out.Unsigned = fixed.Uint16()&wire.ColumnIsUnsigned != 0
	decimals := fixed.Byte()
	return out, decimals, errors.Join(c.Err(), fixed.Err())
}

// textRow reads a row of the text protocol.
func textRow(packet []byte, columns []compare.Column) ([][]byte, error) {
	c := wire.NewCursor(packet)
	out := make([][]byte, len(columns))
	for i := range out {
		if c.Len() > 0 && packet[len(packet)-c.Len()] == 0xfb {
			c.Skip(1)
			continue
		}
		out[i] = append([]byte{}, c.LenencBytes()...)
	}
	if c.Err() != nil || c.Len() > 0 {
		return nil, errShort
	}
	return out, nil
}

// binaryRow reads a row of the binary protocol, each value as the text that it stands for.
func binaryRow(packet []byte, columns []compare.Column, decimals []byte) ([][]byte, error) {
	nulls := (len(columns) + 9) / 8
	if len(packet) < 1+nulls {
		return nil, errShort
	}
	bitmap := packet[1 : 1+nulls]
	c := wire.NewCursor(packet[1+nulls:])
	out := make([][]byte, len(columns))
	for i, col := range columns {
		if bitmap[(i+2)/8]&(1<<((i+2)%8)) != 0 {
			continue
		}
		out[i] = append([]byte{}, value(c, col, decimals[i])...)
	}
	if c.Err() != nil || c.Len() > 0 {
		return nil, errShort
	}
	return out, nil
}

func value(c *wire.Cursor, col compare.Column, decimals byte) []byte {
	integer := func(n int) []byte {
		var raw [8]byte
		copy(raw[:], c.Bytes(n))
		v := binary.LittleEndian.Uint64(raw[:])
		if col.Unsigned || col.Type == 0x0d { // a year has no sign
			return strconv.AppendUint(nil, v, 10)
		}
		shift := 64 - 8*n
		return strconv.AppendInt(nil, int64(v<<shift)>>shift, 10)
	}
	switch col.Type {
	case 0x01:
		return integer(1)
	case 0x02, 0x0d:
		return integer(2)
	case 0x03, 0x09:
		return integer(4)
	case 0x08:
		return integer(8)
	case 0x04:
		return strconv.AppendFloat(nil, float64(math.Float32frombits(c.Uint32())), 'g', -1, 32)
	case 0x05:
		var raw [8]byte
		copy(raw[:], c.Bytes(8))
		return strconv.AppendFloat(nil, math.Float64frombits(binary.LittleEndian.Uint64(raw[:])), 'g', -1, 64)
	case 0x06:
		return nil
	case 0x07, 0x0a, 0x0c:
		return moment(c.Bytes(int(c.Byte())), col.Type == 0x0a, decimals)
	case 0x0b:
		return span(c.Bytes(int(c.Byte())), decimals)
	}
	return c.LenencBytes()
}

// moment is a date, or a date with its time.
func moment(b []byte, date bool, decimals byte) []byte {
	var y uint16
	var v [5]byte // month, day, hour, minute, second
	if len(b) >= 4 {
		y = binary.LittleEndian.Uint16(b)
		copy(v[:], b[2:min(len(b), 7)])
	}
	if date {
		return fmt.Appendf(nil, "%04d-%02d-%02d", y, v[0], v[1])
	}
	out := fmt.Appendf(nil, "%04d-%02d-%02d %02d:%02d:%02d", y, v[0], v[1], v[2], v[3], v[4])
	micros := uint32(0)
	if len(b) >= 11 {
		micros = binary.LittleEndian.Uint32(b[7:])
	}
	return fraction(out, micros, decimals)
}

// fraction adds as many digits of a second as the column has.
func fraction(out []byte, micros uint32, decimals byte) []byte {
	if decimals == 0 || decimals > 6 && micros == 0 {
		return out
	}
	return append(out, fmt.Sprintf(".%06d", micros)[:1+min(decimals, 6)]...)
}

// span is a TIME, which may be longer than a day and less than nothing.
func span(b []byte, decimals byte) []byte {
	if len(b) < 8 {
		return fraction([]byte("00:00:00"), 0, decimals)
	}
	sign := ""
	if b[0] != 0 {
		sign = "-"
	}
	out := fmt.Appendf(nil, "%s%02d:%02d:%02d", sign, binary.LittleEndian.Uint32(b[1:])*24+uint32(b[5]), b[6], b[7])
	micros := uint32(0)
	if len(b) >= 12 {
		micros = binary.LittleEndian.Uint32(b[8:])
	}
	return fraction(out, micros, decimals)
}
