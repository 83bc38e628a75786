package report

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/windlass-db/windlass/internal/replay/tally"
)

var errParameters = errors.New("the parameters can't be read")

// literals reads the parameters of a COM_STMT_EXECUTE as SQL literals. A statement without parameters has none.
func literals(s tally.Statement) ([]string, error) {
	n := len(s.Types) / 2
	if n == 0 {
		return nil, nil
	}
	const head = 4 + 1 + 4 // the statement's number, flags, iterations
	nulls := (n + 7) / 8
	if len(s.Params) < head+nulls+1 {
		return nil, errParameters
	}
	bitmap, rest := s.Params[head:head+nulls], s.Params[head+nulls+1:]
	if s.Params[head+nulls] == 1 { // the types are there, too
		if len(rest) < 2*n {
			return nil, errParameters
		}
		rest = rest[2*n:]
	}
	out := make([]string, n)
	for i := range n {
		if bitmap[i/8]>>(i%8)&1 == 1 {
			out[i] = "NULL"
			continue
		}
		text, size, err := literal(s.Types[2*i], s.Types[2*i+1]&0x80 != 0, rest)
		if err != nil {
			return nil, err
		}
		out[i], rest = text, rest[size:]
	}
	return out, nil
}

// literal reads one value of the binary protocol.
func literal(typ byte, unsigned bool, b []byte) (string, int, error) {
	number := func(size int) (string, int, error) {
		if len(b) < size {
			return "", 0, errParameters
		}
		var raw [8]byte
		copy(raw[:], b[:size])
		u := binary.LittleEndian.Uint64(raw[:])
		if unsigned {
			return strconv.FormatUint(u, 10), size, nil
		}
		shift := 64 - 8*size
		return strconv.FormatInt(int64(u<<shift)>>shift, 10), size, nil
	}
	switch typ {
	case 0x01: // TINY
		return number(1)
	case 0x02, 0x0d: // SHORT, YEAR
		return number(2)
	case 0x03, 0x09: // LONG, INT24
		return number(4)
	case 0x08: // LONGLONG
		return number(8)
	case 0x04: // FLOAT
		if len(b) < 4 {
			return "", 0, errParameters
		}
		return strconv.FormatFloat(float64(math.Float32frombits(binary.LittleEndian.Uint32(b))), 'e', -1, 32), 4, nil
	case 0x05: // DOUBLE
		if len(b) < 8 {
			return "", 0, errParameters
		}
		return strconv.FormatFloat(math.Float64frombits(binary.LittleEndian.Uint64(b)), 'e', -1, 64), 8, nil
	case 0x06: // NULL
		return "NULL", 0, nil
	case 0x07, 0x0a, 0x0c: // TIMESTAMP, DATE, DATETIME
		return moment(b)
	case 0x0b: // TIME
		return clock(b)
	}
	size, head, ok := length(b)
	if !ok || uint64(len(b)-head) < size {
		return "", 0, errParameters
	}
	return quote(b[head : head+int(size)]), head + int(size), nil
}

// length reads an integer of the protocol's own lengths.
func length(b []byte) (size uint64, head int, ok bool) {
	if len(b) == 0 {
		return 0, 0, false
	}
	width := 0
	switch b[0] {
	case 0xfc:
		width = 2
	case 0xfd:
		width = 3
	case 0xfe:
		width = 8
	case 0xfb, 0xff:
		return 0, 0, false
	default:
		return uint64(b[0]), 1, true
	}
	if len(b) < 1+width {
		return 0, 0, false
	}
	var raw [8]byte
	copy(raw[:], b[1:1+width])
	return binary.LittleEndian.Uint64(raw[:]), 1 + width, true
}

func moment(b []byte) (string, int, error) {
	if len(b) == 0 || len(b) < 1+int(b[0]) {
		return "", 0, errParameters
	}
	n, d := int(b[0]), b[1:]
	switch n {
	case 0:
		return "'0000-00-00 00:00:00'", 1, nil
	case 4, 7, 11:
	default:
		return "", 0, errParameters
	}
	s := fmt.Sprintf("%04d-%02d-%02d", binary.LittleEndian.Uint16(d), d[2], d[3])
	if n >= 7 {
		s += fmt.Sprintf(" %02d:%02d:%02d", d[4], d[5], d[6])
	}
	if n == 11 {
		s += fmt.Sprintf(".%06d", binary.LittleEndian.Uint32(d[7:]))
	}
	return "'" + s + "'", 1 + n, nil
}

func clock(b []byte) (string, int, error) {
	if len(b) == 0 || len(b) < 1+int(b[0]) {
		return "", 0, errParameters
	}
	n, d := int(b[0]), b[1:]
	switch n {
	case 0:
		return "'00:00:00'", 1, nil
	case 8, 12:
	default:
		return "", 0, errParameters
	}
	sign := ""
	if d[0] != 0 {
		sign = "-"
	}
	s := fmt.Sprintf("%s%02d:%02d:%02d", sign, int(binary.LittleEndian.Uint32(d[1:]))*24+int(d[5]), d[6], d[7])
	if n == 12 {
		s += fmt.Sprintf(".%06d", binary.LittleEndian.Uint32(d[8:]))
	}
	return "'" + s + "'", 1 + n, nil
}

// quote writes a text as a literal that means the same under every sql_mode: what a mode could read otherwise is written in hexadecimal digits.
func quote(b []byte) string {
	s := string(b)
	if !utf8.ValidString(s) || strings.ContainsAny(s, "\\\x00\x1a") {
		if len(b) == 0 {
			return "''"
		}
		return "x'" + hex.EncodeToString(b) + "'"
	}
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}
