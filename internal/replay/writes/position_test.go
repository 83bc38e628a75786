package writes

import "testing"

// What a position has is what the server that says so has, in the words of either product.
func TestPosition(t *testing.T) {
	for _, c := range []struct {
		position, gtid string
		has            bool
	}{
		{"0-1-100", "0-7-100", true}, {"0-1-100", "0-1-101", false}, {"0-1-100,3-1-7", "3-2-7", true}, {"0-1-100", "1-1-5", false}, {"", "0-1-1", false},
		{"aa:1-5:7", "aa:5", true}, {"aa:1-5:7", "aa:6", false}, {"aa:1-5:7", "AA:7", true}, {"aa:1-5,\nbb:3", "bb:3", true}, {"aa:1-5,bb:3", "bb:2", false},
		{"aa:1-5:tag:1-2", "aa:tag:2", true}, {"aa:1-5:tag:1-2", "aa:tag:3", false}, {"aa:1-5:tag:1-2", "aa:2", true}, {"aa:tag:1-5", "aa:2", false},
		{"aa:1-5", "", false}, {"aa:1-5", "aa:x-", false},
	} {
		p, err := parsePosition(c.position)
		if err != nil {
			t.Errorf("%q: %v", c.position, err)
		}
		if g := parseGTID(c.gtid); g.seq > 0 != (c.gtid != "" && c.gtid != "aa:x-") || p.has(g) != c.has {
			t.Errorf("%q has %q (%+v): %v", c.position, c.gtid, g, p.has(g))
		}
	}
	for _, bad := range []string{"0-1", "aa:1-x", "aa:-5", "aa:"} {
		if p, err := parsePosition(bad); err == nil {
			t.Errorf("%q is %v", bad, p)
		}
	}
}
