package compare

import (
	"bytes"
	"math"
	"slices"
	"strconv"

	"github.com/zeebo/xxh3"
)

// Column is what a result says of one of its columns.
type Column struct {
	Name     string `json:"name"`
	Type     byte   `json:"type"` // of the protocol
	Unsigned bool   `json:"unsigned,omitempty"`
}

// Types of the protocol whose values are compared in a way of their own.
const (
	typeFloat  = 0x04
	typeDouble = 0x05
)

// alike reports whether two definitions are one. Versions give some expressions in one of two types: NOW() as a TIMESTAMP or as a DATETIME, UUID() as one text or another; with the same
// values in either. package rowhash has it the same.
func alike(a, b Column) bool {
	return folded(a) == folded(b)
}

func folded(c Column) Column {
	const timestamp, datetime, varchar, varString, text = 0x07, 0x0c, 0x0f, 0xfd, 0xfe
	switch c.Type {
	case timestamp:
		c.Type = datetime
	case varchar, varString, text:
		c.Type, c.Unsigned = varString, false
	}
	return c
}

// Result is a whole result, each value as text; nil is NULL.
type Result struct {
	Columns []Column   `json:"columns"`
	Rows    [][][]byte `json:"rows"`
}

// First is the result with so many rows at the most.
func (r Result) First(n int) Result {
	r.Rows = r.Rows[:min(len(r.Rows), n)]
	return r
}

// Typed are hashes of a whole result that know its types: floating-point numbers are rounded to what both versions mean by them.
type Typed struct {
	Columns []uint64 // each column's values in any order
	Rounded uint64   // the rows in any order
}

// digits of a floating-point number that count. A double has 15 to 17, and a sum of them depends on the order in which it was made; a float has 6 to 9.
const (
	digitsDouble = 12
	digitsFloat  = 5
)

// normal writes a value so that equal ones have equal bytes, and appends it.
func normal(buf []byte, c Column, v []byte) []byte {
	if v == nil {
		return append(buf, 0)
	}
	buf = append(buf, 1)
	if c.Type != typeFloat && c.Type != typeDouble {
		return append(buf, v...)
	}
	f, err := strconv.ParseFloat(string(v), 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return append(buf, v...)
	}
	if f == 0 {
		return append(buf, '0') // and -0
	}
	digits := digitsDouble
	if c.Type == typeFloat {
		digits = digitsFloat
	}
	return strconv.AppendFloat(buf, f, 'e', digits-1, 64)
}

// TypedOf hashes a whole result.
func TypedOf(r Result) *Typed {
	t := &Typed{Columns: make([]uint64, len(r.Columns))}
	var buf, row []byte
	for _, values := range r.Rows {
		row = row[:0]
		for i, c := range r.Columns {
			if i >= len(values) {
				break
			}
			buf = normal(buf[:0], c, values[i])
			t.Columns[i] += xxh3.Hash(buf)
			row = strconv.AppendInt(row, int64(len(buf)), 10)
			row = append(append(row, ':'), buf...)
		}
		t.Rounded += xxh3.Hash(row)
	}
	return t
}

// Differs is in what two whole results differ.
type Differs struct {
	Definition bool     `json:"definition,omitempty"` // names or types of the columns
	Rows       bool     `json:"rows,omitempty"`       // the number of rows
	Content    bool     `json:"content,omitempty"`    // the rows, in any order, beyond the last digits of floating-point numbers
	Order      bool     `json:"order,omitempty"`      // nothing but the order
	Columns    []string `json:"columns,omitempty"`    // names of the columns whose values differ
}

// Any reports whether something differs.
func (d Differs) Any() bool { return d.Definition || d.Rows || d.Content || d.Order }

// Kind is the first of the differences, as Decide orders them; "" if there is none.
func (d Differs) Kind() Kind {
	switch {
	case d.Rows:
		return Rows
	case d.Content:
		return Content
	case d.Order:
		return Order
	case d.Definition:
		return Columns
	}
	return ""
}

// Results compares two whole results value by value: the rows as a multiset, then in their order. Columns are matched by their place.
func Results(a, b Result) Differs {
	d := Differs{Definition: !slices.EqualFunc(a.Columns, b.Columns, alike), Rows: len(a.Rows) != len(b.Rows)}
	if !d.Rows && len(a.Columns) == len(b.Columns) && inPlace(a, b) {
		return d
	}
	ta, tb := TypedOf(a), TypedOf(b)
	for i := range max(len(a.Columns), len(b.Columns)) {
		switch {
		case i >= len(a.Columns):
			d.Columns = append(d.Columns, b.Columns[i].Name)
		case i >= len(b.Columns) || ta.Columns[i] != tb.Columns[i]:
			d.Columns = append(d.Columns, a.Columns[i].Name)
		}
	}
	d.Content = ta.Rounded != tb.Rounded
	if d.Content || d.Rows {
		return d
	}
	d.Order = !d.Definition || len(a.Columns) == len(b.Columns)
	return d
}

// inPlace reports whether each value is equal to the one in its place, floating-point numbers to about their last digits: two that lie on either side of where rounding
// goes the other way are the same.
func inPlace(a, b Result) bool {
	for i := range a.Rows {
		if len(a.Rows[i]) != len(b.Rows[i]) || len(a.Rows[i]) > len(a.Columns) {
			return false
		}
		for j, x := range a.Rows[i] {
			y := b.Rows[i][j]
			if (x == nil) != (y == nil) || !bytes.Equal(x, y) && !near(x, y, a.Columns[j], b.Columns[j]) {
				return false
			}
		}
	}
	return true
}

func near(x, y []byte, a, b Column) bool {
	digits := digitsDouble
	switch {
	case a.Type == typeFloat || b.Type == typeFloat:
		digits = digitsFloat
	case a.Type != typeDouble && b.Type != typeDouble:
		return false
	}
	f, err := strconv.ParseFloat(string(x), 64)
	if err != nil {
		return false
	}
	g, err := strconv.ParseFloat(string(y), 64)
	if err != nil {
		return false
	}
	return f == g || math.Abs(f-g) <= max(math.Abs(f), math.Abs(g))*math.Pow10(-digits)
}
