package mysql

import (
	"fmt"
	"regexp"
	"strconv"
)

// version is a server's, such as 10.11.18.
type version struct{ major, minor, patch int }

var versionText = regexp.MustCompile(`^(?:5\.5\.5-)?(\d+)\.(\d+)(?:\.(\d+))?`)

// parseVersion reads what VERSION() answers, such as "10.11.18-MariaDB-log", or a prefix such as "11.8".
func parseVersion(text string) (version, error) {
	m := versionText.FindStringSubmatch(text)
	if m == nil {
		return version{}, fmt.Errorf("%q is not a server version", text)
	}
	var v version
	v.major, _ = strconv.Atoi(m[1]) // digits by the expression
	v.minor, _ = strconv.Atoi(m[2])
	v.patch, _ = strconv.Atoi(m[3])
	return v, nil
}

// less compares by major and minor alone: patch levels replicate either way.
func (v version) less(w version) bool {
	if v.major != w.major {
		return v.major < w.major
	}
	return v.minor < w.minor
}

func (v version) String() string { return fmt.Sprintf("%d.%d.%d", v.major, v.minor, v.patch) }

// series is major.minor.
func (v version) series() string { return fmt.Sprintf("%d.%d", v.major, v.minor) }
