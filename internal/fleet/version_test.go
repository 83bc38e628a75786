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
