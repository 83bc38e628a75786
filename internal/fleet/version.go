package fleet

import "regexp"

var shortVersion = regexp.MustCompile(`^[0-9]+(\.[0-9]+)*(-MariaDB)?`)

// ShortVersion cuts what a server says of its version, such as "11.8.6-MariaDB-0+deb13u1 from Debian-log", to what people call it:
// "11.8.6-MariaDB". What does not begin with a number stays as it is.
func ShortVersion(full string) string {
	if s := shortVersion.FindString(full); s != "" {
		return s
	}
	return full
}
