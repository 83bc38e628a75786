package rowhash

import (
	"bytes"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"testing"

	"github.com/zeebo/xxh3"
)

func hashOf(rows ...string) *Hash {
	var h Hash
	for _, r := range rows {
		h.Row([]byte(r))
	}
	return &h
}

// What is given in pieces is what is given whole, wherever it is cut.
func TestPiecesAreTheWhole(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var pieces Hash
	for round := range 200 {
		pieces.Reset()
		var whole Hash
		for range 1 + r.IntN(20) {
			row := make([]byte, r.IntN(3000))
			for i := range row {
				row[i] = byte(r.Uint32())
			}
			whole.Row(row)
			for len(row) > 0 && r.IntN(4) > 0 {
				n := r.IntN(len(row) + 1)
				pieces.Chunk(row[:n], false)
				row = row[n:]
			}
			pieces.Chunk(row, true)
		}
		if whole.Rows() != pieces.Rows() || whole.Bytes() != pieces.Bytes() || whole.Ordered() != pieces.Ordered() || whole.Multiset() != pieces.Multiset() {
			t.Fatalf("round %d: %+v is not %+v", round, whole, pieces)
		}
	}
}

// sum is the hash of a row.
func sum(row []byte) uint64 {
	var h Hash
	h.Row(row)
	return h.multiset
}

// TestKnownSums: what the reference implementation of wyhash, final version 4.3, and that of xxh3 give of the bytes 0, 1, 2, …
func TestKnownSums(t *testing.T) {
	row := make([]byte, 1024)
	for i := range row {
		row[i] = byte(i)
	}
	for n, want := range map[int]uint64{0: 0x93228a4de0eec5a2, 1: 0x8e6d4af7d310c8c4, 2: 0x5121ba5bc9a828b5, 3: 0x78c4aa0c972a522d, 4: 0xe08aeeb68058fb32, 7: 0x094e98feb6055cc6, 8: 0xb4d6ac74d009e1d4,
		15: 0x87edaf96d89a08ef, 16: 0x305fdea0ed4a2619, 17: 0xd29ffdd201a46f9a, 33: 0x5e1a2536ff90cc32, 47: 0xe2cb58f6ab8e4419, 48: 0xecbfb7ff9e3d9a97, 49: 0x0691f11bac523a91, 64: 0xe0fe4c75f61d710d,
		95: 0xa39f0af73a3eee99, 96: 0x948137d69794b570, 97: 0x2501575738d109be, 127: 0x766e08dbb996f344, 191: 0x8884338d94de9161, 255: 0x530ea0c8a69bb188, 256: 0x139c96a974ad43cb,
		mostShort + 1: xxh3.Hash(row[:mostShort+1]), 1024: xxh3.Hash(row)} {
		if got := sum(row[:n]); got != want {
			t.Errorf("%d bytes: %x, not %x", n, got, want)
		}
	}
}

// Rows that differ in a byte or two, or in their length alone, as numbers and texts filled up with zeros do, have other sums. Hashes that look good fall here.
func TestRowsThatAreAlike(t *testing.T) {
	seen := map[uint64]string{}
	see := func(row []byte) {
		s := sum(row)
		if other, ok := seen[s]; ok && other != string(row) {
			t.Fatalf("%q and %q have one sum", row, other)
		}
		seen[s] = string(row)
	}
	for _, c := range []byte{0, '0'} {
		for n := range 30 {
			row := bytes.Repeat([]byte{c}, n)
			see(row)
			for i := range row {
				for _, x := range []byte{1, 2, 3} {
					row[i] ^= x
					see(row)
					for j := range i {
						row[j] ^= 1
						see(row)
						row[j] ^= 1
					}
					row[i] ^= x
				}
			}
		}
	}
	for _, n := range []int{95, 96, 97, 111, 112, 113, 192, 193, 240, mostShort - 1, mostShort, mostShort + 1, 1000} {
		row := make([]byte, n)
		for i := range row {
			for bit := range 8 {
				row[i] ^= 1 << bit
				see(row)
				row[i] ^= 1 << bit
			}
		}
	}
}

// One bit of a row changes about half of its sum's.
func TestEachBitCounts(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, n := range []int{1, 3, 4, 7, 8, 15, 16, 17, 33, 96, 97, 150, 240, mostShort} {
		row := make([]byte, n)
		all, least, flips := 0, 64, 0
		for range 1 + 200/n {
			for i := range row {
				row[i] = byte(r.Uint32())
			}
			was := sum(row)
			for i := range 8 * n {
				row[i/8] ^= 1 << (i % 8)
				changed := bits.OnesCount64(sum(row) ^ was)
				row[i/8] ^= 1 << (i % 8)
				all, least, flips = all+changed, min(least, changed), flips+1
			}
		}
		if mean := float64(all) / float64(flips); mean < 31 || mean > 33 || least < 10 {
			t.Errorf("%d bytes: %.1f bits change, and %d at the least", n, mean, least)
		}
	}
}

func TestOrderAndMultiset(t *testing.T) {
	a, b := hashOf("x", "y", "y", "z"), hashOf("y", "z", "x", "y")
	if a.Multiset() != b.Multiset() || a.Ordered() == b.Ordered() {
		t.Error("the same rows in another order")
	}
	for _, other := range []*Hash{hashOf("x", "y", "z"), hashOf("x", "x", "y", "z"), hashOf("x", "y", "y", "z", ""), hashOf("xy", "y", "", "z"), hashOf("x", "y", "z", "z")} {
		if other.Multiset() == a.Multiset() || other.Ordered() == a.Ordered() {
			t.Errorf("%+v is as %+v", other, a)
		}
	}
	if one := hashOf("x"); one.Ordered() != one.Multiset() || one.Ordered() == 0 || one.Ordered() != hashOf("x").Ordered() {
		t.Error("one row")
	}
	if none := hashOf(); none.Ordered() != 0 || none.Multiset() != 0 || hashOf("").Multiset() == 0 {
		t.Error("no row")
	}
	if h := hashOf("x", "y"); h.Ordered() >= 1<<Bits || h.Multiset() >= 1<<Bits {
		t.Error("more bits than are kept")
	}
	seen := map[uint64]int{} // equal rows, in any number: what a plain sum of small things gets wrong
	var many Hash
	for i := range 100000 {
		many.Row([]byte("same"))
		for _, v := range []uint64{many.Ordered(), many.Multiset()} {
			if at, ok := seen[v]; ok && i > 0 && at != i {
				t.Fatalf("%d rows are as %d rows", i+1, at+1)
			}
			seen[v] = i
		}
	}
}

// Rows of one result set are not those of the next.
func TestResultSets(t *testing.T) {
	answer := func(sets ...[]string) *Answer {
		var a Answer
		for _, s := range sets {
			a.Result(1)
			a.Column(definition("a", 8, 0, nil))
			for _, row := range s {
				a.Row([]byte(row), true)
			}
		}
		return &a
	}
	x, y, z := answer([]string{"1", "2"}, nil), answer([]string{"1"}, []string{"2"}), answer(nil, []string{"1", "2"})
	if x.Multiset() == y.Multiset() || y.Multiset() == z.Multiset() || x.Multiset() == z.Multiset() || x.Ordered() == y.Ordered() {
		t.Error("the border of result sets does not count")
	}
	if x.Columns() != y.Columns() || x.Columns() == answer([]string{"1", "2"}).Columns() {
		t.Error("the number of result sets does not count")
	}
	if x.Multiset() != answer([]string{"2", "1"}, nil).Multiset() {
		t.Error("the order within a result set counts")
	}
	x.Reset()
	if x.Columns() != 0 || x.Rows() != 0 || x.Bytes() != 0 || x.Ordered() != 0 {
		t.Errorf("after Reset: %+v", x)
	}
}

// definition is a column's packet as servers send it; more is MariaDB's extended metadata.
func definition(name string, kind byte, flags uint16, more []byte) []byte {
	var p []byte
	for _, s := range []string{"def", "shop", "t", "orders", name, "org_" + name} {
		p = append(append(p, byte(len(s))), s...)
	}
	if more != nil {
		p = append(append(p, byte(len(more))), more...)
	}
	return append(p, 12, 45, 0, 20, 0, 0, 0, kind, byte(flags), byte(flags>>8), 0, 0, 0)
}

func TestColumns(t *testing.T) {
	sum := func(d []byte) uint64 {
		var c ColumnsHash
		c.Result(1)
		c.Column(d)
		return c.Sum()
	}
	a := definition("id", 3, 0x20|0x1000, nil)
	if name, kind, unsigned := Definition(a); string(name) != "id" || kind != 3 || !unsigned {
		t.Errorf("%s %d %v", name, kind, unsigned)
	}
	same := bytes.Clone(a)
	same[len(same)-10] = 99 // the length
	same[len(same)-4] = 0   // other flags
	same[len(same)-12] = 33 // the collation
	same[10] = 'u'          // the table's alias
	if sum(same) != sum(a) || sum(definition("id", 3, 0x20, []byte("0123456789ab"))) != sum(a) {
		t.Error("what versions differ in counts")
	}
	if sum(definition("now()", 7, 0, nil)) != sum(definition("now()", 12, 0, nil)) {
		t.Error("a timestamp is no datetime")
	}
	if sum(definition("id", 253, 0, nil)) != sum(definition("id", 254, 0x20, nil)) || sum(definition("id", 253, 0, nil)) == sum(definition("id", 252, 0, nil)) {
		t.Error("a text is a text, and no blob")
	}
	for _, other := range [][]byte{definition("ID", 3, 0x20, nil), definition("id", 8, 0x20, nil), definition("id", 3, 0, nil), nil, {1}, a[:5]} {
		if sum(other) == sum(a) {
			t.Errorf("% x counts as % x", other, a)
		}
	}
}

// FuzzDefinition: nothing that a server says makes it fail.
func FuzzDefinition(f *testing.F) {
	f.Add(definition("id", 3, 0x20, nil))
	f.Add(definition("id", 3, 0, []byte("0123456789ab")))
	f.Add([]byte{0xfe, 1, 2, 3, 4, 5, 6, 7, 8})
	f.Fuzz(func(t *testing.T, p []byte) {
		if name, _, _ := Definition(p); len(name) > len(p) {
			t.Error(len(name))
		}
	})
}

// FuzzPieces: a row cut anywhere is the row.
func FuzzPieces(f *testing.F) {
	f.Add([]byte("some row"), uint(3), uint(5))
	f.Fuzz(func(t *testing.T, row []byte, i, j uint) {
		a, b := int(i%uint(len(row)+1)), int(j%uint(len(row)+1))
		a, b = min(a, b), max(a, b)
		var whole, pieces Hash
		whole.Row(row)
		pieces.Chunk(row[:a], false)
		pieces.Chunk(row[a:b], false)
		pieces.Chunk(row[b:], true)
		if whole.Ordered() != pieces.Ordered() || whole.Bytes() != pieces.Bytes() || pieces.Rows() != 1 {
			t.Errorf("%+v is not %+v", whole, pieces)
		}
	})
}

func TestNothingIsAllocated(t *testing.T) {
	var a Answer
	row, column := make([]byte, 240), definition("id", 3, 0, nil)
	if n := testing.AllocsPerRun(100, func() {
		a.Reset()
		a.Result(1)
		a.Column(column)
		a.Row(row[:100], false)
		a.Row(row[100:], true)
		a.Row(row, true)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkRow is a row of 240 bytes; the goal is 20 ns.
func BenchmarkRow(b *testing.B) {
	for _, size := range []int{24, 120, 240, 1000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			var h Hash
			row := make([]byte, size)
			b.SetBytes(int64(size))
			for b.Loop() {
				h.Chunk(row, true)
			}
		})
	}
}
