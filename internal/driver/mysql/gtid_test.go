package mysql

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func mustGTIDs(t *testing.T, text string) gtids {
	t.Helper()
	l, err := parseGTIDs(text)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestParseGTIDs(t *testing.T) {
	if got := mustGTIDs(t, " 0-1-100, 7-2-5,\n0-3-2 ").String(); got != "0-1-100,7-2-5,0-3-2" {
		t.Errorf("got %s", got)
	}
	for _, bad := range []string{"0-1", "0-1-x", "a-1-1", "0-1-1-1", "0--1", "0-4294967296-1"} {
		if l, err := parseGTIDs(bad); err == nil {
			t.Errorf("%q gave %v", bad, l)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		var l gtids
		for range rapid.IntRange(0, 6).Draw(t, "n") {
			l = append(l, gtid{rapid.Uint32().Draw(t, "domain"), rapid.Uint32().Draw(t, "server"), rapid.Uint64().Draw(t, "seq")})
		}
		back, err := parseGTIDs(l.String())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(l, back, cmp.AllowUnexported(gtid{})); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestReached(t *testing.T) {
	for _, c := range []struct {
		have, want string
		ok         bool
	}{
		{"0-1-5", "0-1-5", true}, {"0-2-6", "0-1-5", true}, {"0-1-4", "0-1-5", false}, {"", "", true}, {"0-1-5", "", true}, {"", "0-1-1", false},
		{"0-1-5,3-1-2", "0-1-5", true}, {"0-1-5", "0-1-5,3-1-2", false},
	} {
		if got := mustGTIDs(t, c.have).reached(mustGTIDs(t, c.want)); got != c.ok {
			t.Errorf("%q reached %q: %v", c.have, c.want, got)
		}
	}
	if got := position(mustGTIDs(t, "0-1-5,2-1-1"), mustGTIDs(t, "0-2-7")).String(); got != "0-2-7,2-1-1" {
		t.Errorf("position %s", got)
	}
}

// trap 17, errant GTIDs: what one server wrote and the other does not know, but not the history that a rebuilt server
// no longer lists.
func TestErrant(t *testing.T) {
	for _, c := range []struct{ name, state, slave, floor, other, want string }{
		{"equal", "0-1-9", "", "", "0-1-9", ""},
		{"behind", "0-1-9", "", "", "0-1-4", ""},
		{"own write", "0-1-9", "", "", "0-1-8,0-2-9", "0-2-9"},
		{"ahead", "0-1-9", "", "", "0-1-10", "0-1-10"},
		{"other domain", "0-1-9", "", "", "5-1-1", "5-1-1"},
		{"known by replication", "0-1-9", "5-3-4", "", "5-3-4", ""},
		{"history before the oldest log", "0-1-900", "", "0-1-500", "0-1-900,0-7-480", ""},
		{"own write after it", "0-1-900", "", "0-1-500", "0-1-899,0-7-899", "0-7-899"},
	} {
		h := history{state: mustGTIDs(t, c.state), slave: mustGTIDs(t, c.slave), floor: mustGTIDs(t, c.floor)}
		var want []string
		if c.want != "" {
			want = []string{c.want}
		}
		if diff := cmp.Diff(want, h.errant(mustGTIDs(t, c.other))); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

func TestVersions(t *testing.T) {
	for text, want := range map[string]version{"10.11.18-MariaDB-0+deb12u1-log": {10, 11, 18}, "5.5.5-10.11.2-MariaDB": {10, 11, 2}, "9.7.4-2": {9, 7, 4}, "11.8": {11, 8, 0}} {
		if v, err := parseVersion(text); err != nil || v != want {
			t.Errorf("%s: %v, %v", text, v, err)
		}
	}
	if _, err := parseVersion("eleven"); err == nil {
		t.Error("eleven is a version")
	}
	if !(version{10, 11, 20}).less(version{11, 0, 0}) || (version{10, 11, 1}).less(version{10, 11, 9}) || (version{11, 8, 0}).less(version{10, 11, 0}) {
		t.Error("order")
	}
}
