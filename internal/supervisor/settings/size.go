package settings

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
)

var (
	size  = regexp.MustCompile(`^([0-9]+) ?([KMGT]iB)$`)
	units = []string{"KiB", "MiB", "GiB", "TiB"}
)

// Size reads a number of bytes with its unit: KiB, MiB, GiB or TiB, such as "200GiB".
func Size(text string) (int64, error) {
	m := size.FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("%q is not a whole number with one of the units %s", text, strings.Join(units, ", "))
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	for _, u := range units {
		if err != nil || n > math.MaxInt64>>10 {
			return 0, fmt.Errorf("%q is too large", text)
		}
		if n <<= 10; u == m[2] {
			break
		}
	}
	return n, nil
}
