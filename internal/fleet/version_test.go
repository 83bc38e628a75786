package fleet

import "testing"

func TestShortVersion(t *testing.T) {
	for full, want := range map[string]string{
		"11.8.6-MariaDB-0+deb13u1 from Debian-log": "11.8.6-MariaDB",
		"10.11.19-MariaDB-0+deb12u1-log":           "10.11.19-MariaDB",
		"9.7.0":                                    "9.7.0", "8.4.3-log": "8.4.3", "": "", "unknown": "unknown",
	} {
		if got := ShortVersion(full); got != want {
			t.Errorf("%q is %q, want %q", full, got, want)
		}
	}
}

func TestHasVersion(t *testing.T) {
	for _, c := range []struct {
		full, prefix string
		want         bool
	}{
		{"10.11.18-MariaDB", "10.11", true}, {"10.11", "10.11", true}, {"10.11-log", "10.11", true}, {"11.8.6", "11", true},
		{"10.11.18-MariaDB", "10.1", false}, {"11.80.1", "11.8", false}, {"10.11", "10.11.18", false}, {"", "11.8", false}, {"10.11.18", "11.8", false},
	} {
		if got := HasVersion(c.full, c.prefix); got != c.want {
			t.Errorf("%q of %q: %v, want %v", c.full, c.prefix, got, c.want)
		}
	}
}
