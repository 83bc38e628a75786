package compare

import "testing"

// TestTied: an answer that any server may give is no difference, and whatever else differs is one.
func TestTied(t *testing.T) {
	rows := func(r ...string) Result { return table("id:int v:text", r...) }
	key := []string{"1 a", "2 a", "3 b", "4 b", "5 b", "6 c"} // sorted by v; id is the rest
	for name, c := range map[string]struct {
		old, new    Result
		wide, other Result
		offset      int
		count       int
		most        int
		tied, known bool
	}{
		"another of those that tie":          {old: rows("1 a", "2 a", "3 b"), new: rows("2 a", "1 a", "5 b"), count: 3, tied: true, known: true},
		"behind an offset, and at the end":   {old: rows("2 a", "3 b"), new: rows("1 a", "4 b"), offset: 1, count: 2, tied: true, known: true},
		"as many as tie are there":           {old: rows("1 a", "2 a"), new: rows("1 a", "7 a"), count: 2, known: true},
		"one that is in no row":              {old: rows("1 a", "2 a", "3 b"), new: rows("1 a", "2 a", "9 b"), count: 3, known: true},
		"one that belongs before":            {old: rows("1 a", "2 a", "3 b"), new: rows("1 a", "4 b", "5 b"), count: 3, known: true},
		"one that belongs behind":            {old: rows("1 a", "2 a", "3 b"), new: rows("1 a", "2 a", "6 c"), count: 3, known: true},
		"one twice":                          {old: rows("1 a", "2 a", "3 b", "4 b"), new: rows("1 a", "2 a", "5 b", "5 b"), count: 4, known: true},
		"fewer rows":                         {old: rows("1 a", "2 a", "3 b"), new: rows("1 a", "2 a"), count: 3, known: true},
		"fewer rows on both than there are":  {old: rows("1 a", "3 b"), new: rows("1 a", "4 b"), count: 3, known: true},
		"all rows differ in one column":      {old: rows("1 a", "2 a", "3 b"), new: rows("11 a", "12 a", "13 b"), other: rows("11 a", "12 a", "13 b", "14 b", "15 b", "16 c"), count: 3, known: true},
		"a row of the tie differs":           {old: rows("1 a", "2 a", "3 b"), new: rows("1 a", "2 a", "4 b"), other: rows("1 a", "2 a", "33 b", "4 b", "5 b", "6 c"), count: 3, known: true},
		"a row before the tie differs":       {old: rows("1 a", "2 a", "3 b"), new: rows("1 a", "22 a", "4 b"), other: rows("1 a", "22 a", "3 b", "4 b", "5 b", "6 c"), count: 3, known: true},
		"another order of the keys":          {old: rows("1 a", "2 a", "3 b"), new: rows("6 c", "3 b", "4 b"), other: rows("6 c", "3 b", "4 b", "5 b", "1 a", "2 a"), count: 3, known: true},
		"more rows on one version":           {old: rows("1 a", "2 a", "3 b"), new: rows("1 a", "2 a", "4 b"), other: rows(append(key[:6:6], "7 c")...), count: 3, known: true},
		"a tie that is larger than was seen": {old: rows("1 a", "2 a", "3 b"), new: rows("1 a", "2 a", "4 b"), wide: rows(key[:5]...), other: rows(key[:5]...), count: 3, most: 5},
		"no column to sort by":               {old: rows("1 a"), new: rows("2 a"), wide: table("v:text", "a", "a"), other: table("v:text", "a", "a"), count: 1},
	} {
		if c.wide.Columns == nil {
			c.wide = rows(key...)
		}
		if c.other.Columns == nil {
			c.other = rows("2 a", "1 a", "5 b", "4 b", "3 b", "6 c") // as the other version has them
		}
		if c.most == 0 {
			c.most = 100
		}
		tied, known := Tied(c.old, c.new, c.wide, c.other, Cut{Own: 2, Keys: []int{1}, Offset: c.offset, Count: c.count, Wide: c.most})
		if tied != c.tied || known != c.known {
			t.Errorf("%s: tied %v, known %v", name, tied, known)
		}
	}
}
