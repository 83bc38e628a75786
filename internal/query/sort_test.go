package query

import (
	"fmt"
	"testing"
)

func TestSortOf(t *testing.T) {
	for text, want := range map[string]string{
		"SELECT a, b FROM t ORDER BY a, t.b DESC LIMIT 5":                           "a=a[a] t.b=[] list 12 5+0 ends",
		"SELECT * FROM t ORDER BY 2, `A b` asc LIMIT 3, 5":                          "2=#2[] `A b`=a b[a b] list 9 5+3 ends",
		"SELECT * FROM t ORDER BY a+1, abs(c) LIMIT 5 OFFSET 3;":                    "a+1=[a] abs(c)=[c] list 9 5+3",
		"SELECT * FROM t ORDER BY FIELD(a, ?) LIMIT ?, ?":                           "FIELD(a, ?)=?[a] list 9 0+0 unknown 2 ends",
		"SELECT * FROM t ORDER BY a LIMIT ?":                                        "a=a[a] list 9 0+0 unknown 1 ends",
		"SELECT DISTINCT a FROM t ORDER BY b LIMIT 5":                               "b=b[b] list 0 5+0 ends",
		"SELECT a FROM t UNION SELECT a FROM u ORDER BY a LIMIT 5":                  "a=a[a] list 0 5+0 ends",
		"WITH x AS (SELECT 1 FROM y LIMIT 1) SELECT * FROM x ORDER BY z LIMIT 5":    "z=z[z] list 45 5+0 ends",
		"SELECT (SELECT 1 FROM u ORDER BY c LIMIT 1) FROM t ORDER BY a.b.c LIMIT 5": "a.b.c=[] list 44 5+0 ends",
		"SELECT EXTRACT(YEAR FROM d) FROM t ORDER BY d LIMIT 5":                     "d=d[d] list 28 5+0 ends",
		"SELECT a FROM t LIMIT 5":                                                   "no",
		"SELECT a FROM t ORDER BY a":                                                "no",
		"SELECT a FROM (SELECT b FROM u ORDER BY b LIMIT 3) x":                      "no",
		"SELECT a FROM t ORDER BY a LIMIT 5 FOR UPDATE":                             "no",
		"SELECT a FROM t ORDER BY a LIMIT ROWS EXAMINED 5":                          "no",
		"SELECT a FROM t ORDER BY a LIMIT 5 ROWS EXAMINED 5":                        "no",
		"SELECT a FROM t ORDER BY a OFFSET 3 ROWS FETCH NEXT 5 ROWS ONLY":           "no",
		"(SELECT a FROM t ORDER BY a LIMIT 5)":                                      "no",
		"SELECT a FROM t ORDER BY a /*!50000 DESC */ LIMIT 5":                       "no",
		"SELECT a FROM t ORDER BY a LIMIT ?, 5":                                     "no",
		"SELECT a FROM t ORDER BY a LIMIT 99999999999999999999":                     "no",
		"SELECT a FROM t ORDER BY a LIMIT 5; SELECT 1":                              "a=a[a] list 9 5+0",
	} {
		s, ok := SortOf([]byte(text), Mode{})
		got := "no"
		if ok {
			got = ""
			for _, k := range s.Keys {
				got += k.Text + "="
				if k.Column > 0 {
					got += fmt.Sprint("#", k.Column)
				}
				if k.Params {
					got += "?"
				}
				got += fmt.Sprint(k.Name, k.Names, " ")
			}
			got += fmt.Sprintf("list %d %d+%d", s.ListEnd, s.Count, s.Offset)
			if s.Unknown > 0 {
				got += fmt.Sprint(" unknown ", s.Unknown)
			}
			if s.End == len(text) {
				got += " ends"
			}
		}
		if got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}
