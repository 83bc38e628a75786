package wire

import (
	"bytes"
	"fmt"
	"testing"
)

// shown keeps what an observer is shown.
type shown struct {
	columns, rows [][]byte
	results       []int
	open          []byte
}

func (s *shown) Result(columns int)       { s.results = append(s.results, columns) }
func (s *shown) Column(definition []byte) { s.columns = append(s.columns, bytes.Clone(definition)) }
func (s *shown) Row(part []byte, last bool) {
	s.open = append(s.open, part...)
	if last {
		s.rows, s.open = append(s.rows, s.open), nil
	}
}

// An observer is shown every column and every row of the result sets, whatever chunks they come in, and nothing else.
func TestObserver(t *testing.T) {
	long := bytes.Repeat([]byte{0xfe}, 2*MaxFrame+9)
	exact := bytes.Repeat([]byte{'x'}, MaxFrame)
	a, b := defPacket("a"), defPacket("b")
	big := append(defPacket("c"), bytes.Repeat([]byte{'d'}, mostDefinition)...) // nobody sends that
	for _, c := range []struct {
		name    string
		cmd     Command
		dep     bool
		stream  []byte
		columns [][]byte
		rows    [][]byte
		results string
	}{
		{"two result sets and an OK", ComQuery, false, (&packets{}).add([]byte{2}).add(a).add(b).add(eofPacket(StatusMoreResults)).add(rowPacket("1", "2")).add(rowPacket("", "")).add(eofPacket(StatusMoreResults)).
			add([]byte{1}).add(big).add(eofPacket(StatusMoreResults)).add(eofPacket(StatusMoreResults)).add(okPacket(0, 2)).b, [][]byte{a, b, big[:mostDefinition]}, [][]byte{rowPacket("1", "2"), rowPacket("", "")}, "[2 1]"},
		{"rows in several frames", ComQuery, true, (&packets{}).add([]byte{1}).add(a).add(long).add(exact).add(rowPacket("x")).add(okPacket(0xfe, 2)).b, [][]byte{a}, [][]byte{long, exact, rowPacket("x")}, "[1]"},
		{"binary rows, and an error", ComStmtExecute, true, (&packets{}).add([]byte{1}).add(a).add([]byte{0, 0, 1}).add(errPacket()).b, [][]byte{a}, [][]byte{{0, 0, 1}}, "[1]"},
		{"fetched rows", ComStmtFetch, false, (&packets{}).add([]byte{0, 0, 1}).add(eofPacket(StatusLastRowSent)).b, nil, [][]byte{{0, 0, 1}}, "[]"},
		{"prepare", ComStmtPrepare, false, (&packets{}).add([]byte{0, 7, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0}).add(a).add(eofPacket(2)).add(b).add(eofPacket(2)).b, nil, nil, "[]"},
	} {
		sizes := []int{1 << 30, 64<<10 - 1, 16 << 10}
		if len(c.stream) < 1<<20 {
			sizes = append(sizes, 1, 2, 3, 7, 31)
		}
		for _, size := range sizes {
			var r Reply
			caps := Capability(0)
			if c.dep {
				caps = CapDeprecateEOF
			}
			r.Reset(ComQuery, 0)
			r.Observe(&shown{}) // forgotten by Reset
			r.Reset(c.cmd, caps)
			var s shown
			r.Observe(&s)
			if _, err := scanAll(&r, c.stream, func(int) int { return size }); err != nil || !r.Done() {
				t.Fatalf("%s in chunks of %d: done %t, %v", c.name, size, r.Done(), err)
			}
			if !equal(s.columns, c.columns) || !equal(s.rows, c.rows) || fmt.Sprint(s.results) != c.results || len(s.open) > 0 {
				t.Errorf("%s in chunks of %d: %d columns, %d rows, result sets of %v columns, %d bytes of a row open", c.name, size, len(s.columns), len(s.rows), s.results, len(s.open))
			}
		}
	}
}

func equal(a, b [][]byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !bytes.Equal(a[i], b[i]) {
			return false
		}
	}
	return true
}
