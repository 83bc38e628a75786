package compare

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/windlass-db/windlass/internal/query"
)

// table makes a result: columns as "name:type", rows with values between blanks, NULL for nil.
func table(columns string, rows ...string) Result {
	types := map[string]byte{"int": 3, "float": 4, "double": 5, "text": 253, "timestamp": 7, "datetime": 12, "decimal": 246}
	var r Result
	for _, c := range strings.Fields(columns) {
		name, typ, _ := strings.Cut(c, ":")
		r.Columns = append(r.Columns, Column{Name: name, Type: types[typ]})
	}
	for _, row := range rows {
		var values [][]byte
		for _, v := range strings.Fields(row) {
			if v == "NULL" {
				values = append(values, nil)
			} else {
				values = append(values, []byte(v))
			}
		}
		r.Rows = append(r.Rows, values)
	}
	return r
}

func TestResults(t *testing.T) {
	const two = "id:int v:text"
	for name, c := range map[string]struct {
		a, b    Result
		kind    Kind
		columns string
	}{
		"equal":                                {table(two, "1 a", "2 b"), table(two, "1 a", "2 b"), "", ""},
		"nothing":                              {table(two), table(two), "", ""},
		"order":                                {table(two, "1 a", "2 b"), table(two, "2 b", "1 a"), Order, ""},
		"a value":                              {table(two, "1 a", "2 b"), table(two, "1 a", "2 c"), Content, "v"},
		"NULL is not the text of it":           {table(two, "1 a"), Result{Columns: table(two).Columns, Rows: [][][]byte{{[]byte("1"), nil}}}, Content, "v"},
		"NULL is not empty":                    {Result{Columns: table("v:text").Columns, Rows: [][][]byte{{nil}}}, Result{Columns: table("v:text").Columns, Rows: [][][]byte{{{}}}}, Content, "v"},
		"values changed places":                {table(two, "1 a", "2 b"), table(two, "1 b", "2 a"), Content, ""},
		"a row more":                           {table(two, "1 a"), table(two, "1 a", "1 a"), Rows, "id v"},
		"bytes that look like a row's own":     {Result{Columns: table(two).Columns, Rows: [][][]byte{{[]byte("x"), []byte("y\x01z")}, {[]byte("x\x01y"), []byte("z")}}}, Result{Columns: table(two).Columns, Rows: [][][]byte{{[]byte("x\x01y"), []byte("y\x01z")}, {[]byte("x"), []byte("z")}}}, Content, ""},
		"the same row twice":                   {table(two, "1 a", "1 a", "2 b"), table(two, "1 a", "2 b", "2 b"), Content, "id v"},
		"another name":                         {table("id:int v:text", "1 a"), table("id:int w:text", "1 a"), Columns, ""},
		"another type":                         {table("id:int v:text", "1 7"), table("id:int v:int", "1 7"), Columns, ""},
		"NOW() as another type of the same":    {table("x:datetime", "2026"), table("x:timestamp", "2026"), "", ""},
		"a column more":                        {table("id:int", "1"), table(two, "1 a"), Content, "v"},
		"last digits of a double":              {table("x:double", "0.1", "3.0000000000000004"), table("x:double", "0.10000000000000001", "3"), "", ""},
		"on either side of rounding":           {table("x:double", "1.2345678901249999"), table("x:double", "1.2345678901250001"), "", ""},
		"more than the last digits":            {table("x:double", "1.23456789"), table("x:double", "1.23456788"), Content, "x"},
		"a float has fewer":                    {table("x:float", "1.2345678"), table("x:float", "1.2345679"), "", ""},
		"a decimal has all":                    {table("x:decimal", "1.00000000000000001"), table("x:decimal", "1.00000000000000002"), Content, "x"},
		"minus zero":                           {table("x:double", "-0", "1"), table("x:double", "1", "0"), Order, ""},
		"doubles in another order":             {table("x:double", "3.0000000000000004", "5"), table("x:double", "5", "3"), Order, ""},
		"a difference beside doubles is found": {table("x:double v:text", "0.1 a"), table("x:double v:text", "0.10000000000000001 b"), Content, "v"},
	} {
		t.Run(name, func(t *testing.T) {
			d := Results(c.a, c.b)
			if d.Kind() != c.kind || d.Any() != (c.kind != "") {
				t.Errorf("%+v, want %q", d, c.kind)
			}
			if got := strings.Join(d.Columns, " "); got != c.columns && c.columns != "" {
				t.Errorf("columns %q, want %q", got, c.columns)
			}
			if back := Results(c.b, c.a); back.Kind() != c.kind {
				t.Errorf("the other way round: %+v", back)
			}
		})
	}
}

// TestShuffledRowsAreAnOrder: whatever the rows, another order of them is an order alone, and one changed value is found with its column.
func TestShuffledRowsAreAnOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.SampledFrom([][]byte{nil, {}, []byte("a"), []byte("b"), []byte("1"), []byte("-1.5"), {0}, {1, 'x'}})
		width := rapid.IntRange(1, 4).Draw(t, "columns")
		r := Result{}
		for i := range width {
			r.Columns = append(r.Columns, Column{Name: string(rune('a' + i)), Type: rapid.SampledFrom([]byte{3, 5, 253}).Draw(t, "type")})
		}
		for range rapid.IntRange(1, 12).Draw(t, "rows") {
			r.Rows = append(r.Rows, rapid.SliceOfN(value, width, width).Draw(t, "row"))
		}
		other := Result{Columns: r.Columns, Rows: rapid.Permutation(r.Rows).Draw(t, "other")}
		if k := Results(r, other).Kind(); k != "" && k != Order {
			t.Fatalf("another order is %s", k)
		}
		i, j := rapid.IntRange(0, len(r.Rows)-1).Draw(t, "i"), rapid.IntRange(0, width-1).Draw(t, "j")
		changed := Result{Columns: r.Columns, Rows: slices.Clone(other.Rows)}
		changed.Rows[i] = slices.Clone(changed.Rows[i])
		changed.Rows[i][j] = []byte("something else")
		if d := Results(r, changed); d.Kind() != Content || !slices.Contains(d.Columns, r.Columns[j].Name) {
			t.Fatalf("a changed value in column %d: %+v", j, d)
		}
	})
}

// TestColumnsThatKeepStill: where whole results are at hand, a column that differs from itself does not hide one that does not.
func TestColumnsThatKeepStill(t *testing.T) {
	answer := func(rows ...string) *Answer {
		r := table("id:int noise:text v:text", rows...)
		typed := TypedOf(r)
		return &Answer{Rows: uint64(len(rows)), Ordered: typed.Rounded, Multiset: typed.Rounded, Columns: 1, Typed: typed}
	}
	round := Round{Traits: query.Reads, Captured: answer("1 p a"), New: *answer("1 q b"), Old: answer("1 r a"), NewAgain: answer("1 s b"), OldAgain: answer("1 t a")}
	ask, out := Decide(round)
	if ask != Done || out.Cause != Real || out.Noise != Content || out.Noisy != 0b010 || out.Differs != 0b100 {
		t.Errorf("the third column differs, the second is noise: %v %+v", ask, out)
	}
	round.New, round.NewAgain = *answer("1 q a"), answer("1 s a")
	if _, out = Decide(round); out.Cause != Suspect || out.Differs != 0 {
		t.Errorf("noise alone: %+v", out)
	}
	round.OldAgain, round.Learned = answer("1 r a"), Noise{Checks: 20, Columns: map[uint8]int64{1: 15}}
	if _, out = Decide(round); out.Noisy != 0 || out.Differs != 0 || out.Cause != Suspect {
		t.Errorf("a column that is known to be noise: %+v", out)
	}
	// Once is not always: what was learned of a column now and then hides nothing.
	round.Learned = Noise{Checks: 20, Columns: map[uint8]int64{1: 5}}
	if _, out = Decide(round); out.Differs != 0b010 {
		t.Errorf("a column that was noise now and then: %+v", out)
	}
	// Last digits of a double alone.
	double := func(v string) *Answer {
		r := table("x:double", v)
		h := uint64(len(v))
		return &Answer{Rows: 1, Ordered: h, Multiset: h, Columns: 1, Typed: TypedOf(r)}
	}
	round = Round{Traits: query.Reads, Captured: double("0.30000000000000004"), New: *double("0.3"), Old: double("0.30000000000000004"), NewAgain: double("0.3"), OldAgain: double("0.30000000000000004")}
	if _, out = Decide(round); out.Kind != Float || out.Cause != Real {
		t.Errorf("last digits: %+v", out)
	}
}
