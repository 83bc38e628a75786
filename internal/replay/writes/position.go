package writes

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/windlass-db/windlass/internal/datacheck/node"
)

// gtid is one transaction by its number in a line of its own: a replication domain of MariaDB, or a server of MySQL, with its tag. The zero value is none.
type gtid struct {
	line string
	seq  uint64
}

// position is which transactions of each line a server has, as ranges from the first to the last.
type position map[string][][2]uint64

// has reports whether a transaction is in the position.
func (p position) has(g gtid) bool {
	for _, r := range p[g.line] {
		if r[0] <= g.seq && g.seq <= r[1] {
			return true
		}
	}
	return false
}

// parsePosition reads what either product calls its position: 0-1-100,1-2-7, or 3E11FA47-71CA-11E1-9E33-C80AA9429562:1-5:7:tag:1-3,….
func parsePosition(text string) (position, error) {
	p := position{}
	if !strings.Contains(text, ":") {
		domains, err := node.ParsePosition(text)
		for d, g := range domains {
			p[strconv.FormatUint(uint64(d), 10)] = [][2]uint64{{0, g.Seq}}
		}
		return p, err
	}
	for set := range strings.SplitSeq(text, ",") {
		set = strings.ToLower(strings.TrimSpace(set))
		if set == "" {
			continue
		}
		server, rest, _ := strings.Cut(set, ":")
		line := server
		for part := range strings.SplitSeq(rest, ":") {
			from, to, several := strings.Cut(strings.TrimSpace(part), "-")
			first, err := strconv.ParseUint(from, 10, 64)
			if err != nil {
				if several || from == "" {
					return nil, fmt.Errorf("GTIDs %q have no range in %q", set, part)
				}
				line = server + ":" + from // a tag, of all that follows
				continue
			}
			last := first
			if several {
				if last, err = strconv.ParseUint(to, 10, 64); err != nil {
					return nil, fmt.Errorf("GTIDs %q have no range in %q", set, part)
				}
			}
			p[line] = append(p[line], [2]uint64{first, last})
		}
	}
	return p, nil
}

// parseGTID reads the one that a server told with an answer; none if it told none, or what can't be read.
func parseGTID(text string) (g gtid) {
	p, err := parsePosition(text)
	if err != nil {
		return g
	}
	for line, ranges := range p {
		if last := ranges[len(ranges)-1][1]; line > g.line || g.seq == 0 { // of several, always the same
			g = gtid{line, last}
		}
	}
	return g
}
