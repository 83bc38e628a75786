package fleet

import (
	"regexp"
	"strings"
)

var shortVersion = regexp.MustCompile(`^[0-9]+(\.[0-9]+)*(-MariaDB)?`)

// ShortVersion cuts what a server says of its version, such as "11.8.6-MariaDB-0+deb13u1 from Debian-log", to what people call it:
// "11.8.6-MariaDB". What does not begin with a number stays as it is.
func ShortVersion(full string) string {
	if s := shortVersion.FindString(full); s != "" {
		return s
	}
	return full
}

// HasVersion reports whether the full version, such as "10.11.18-MariaDB", begins with the numbers of the prefix "10.11"; "10.1" is none of its prefixes.
func HasVersion(full, prefix string) bool {
	rest, ok := strings.CutPrefix(full, prefix)
	return ok && (rest == "" || rest[0] < '0' || rest[0] > '9')
}
