package mysql

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// gtid is MariaDB's: domain, server, sequence number.
type gtid struct {
	domain, server uint32
	seq            uint64
}

func (g gtid) String() string { return fmt.Sprintf("%d-%d-%d", g.domain, g.server, g.seq) }

// gtids is a list as MariaDB prints it: a position has one entry for a domain, a binlog state one for a domain and server.
type gtids []gtid

// parseGTIDs reads "0-1-100,1-2-3"; spaces and an empty text are fine.
func parseGTIDs(text string) (gtids, error) {
	var out gtids
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		f := strings.Split(part, "-")
		if len(f) != 3 {
			return nil, fmt.Errorf("%q is not a GTID: want domain-server-sequence", part)
		}
		d, err1 := strconv.ParseUint(f[0], 10, 32)
		s, err2 := strconv.ParseUint(f[1], 10, 32)
		n, err3 := strconv.ParseUint(f[2], 10, 64)
		if err := cmp.Or(err1, err2, err3); err != nil {
			return nil, fmt.Errorf("%q is not a GTID: %w", part, err)
		}
		out = append(out, gtid{uint32(d), uint32(s), n})
	}
	return out, nil
}

func (l gtids) String() string {
	parts := make([]string, len(l))
	for i, g := range l {
		parts[i] = g.String()
	}
	return strings.Join(parts, ",")
}

// last keeps the highest sequence number of each domain.
func (l gtids) last() map[uint32]gtid {
	m := map[uint32]gtid{}
	for _, g := range l {
		if have, ok := m[g.domain]; !ok || g.seq > have.seq {
			m[g.domain] = g
		}
	}
	return m
}

// position joins lists into one position: the last of each domain, by domain.
func position(lists ...gtids) gtids {
	var out gtids
	for _, g := range slices.Concat(lists...).last() {
		out = append(out, g)
	}
	slices.SortFunc(out, func(a, b gtid) int { return cmp.Compare(a.domain, b.domain) })
	return out
}

// reached reports whether a server at position l has executed everything up to want. Sequence numbers only grow in a domain.
func (l gtids) reached(want gtids) bool {
	have := l.last()
	for d, w := range want.last() {
		if h, ok := have[d]; !ok || h.seq < w.seq {
			return false
		}
	}
	return true
}

// history is what a MariaDB server knows of what it has executed.
type history struct {
	state gtids // gtid_binlog_state: the last of each domain and server in its binary log
	slave gtids // gtid_slave_pos
	floor gtids // state at the start of its oldest binary log: older transactions can't be told apart
}

// knows reports whether the server has executed g, as far as it can tell.
func (h history) knows(g gtid) bool {
	for _, l := range []gtids{h.state, h.slave} {
		for _, have := range l {
			if have.domain == g.domain && have.server == g.server && have.seq >= g.seq {
				return true
			}
		}
	}
	// Older than anything in the binary log: it is history that a rebuilt server no longer lists, and nobody will ask for it.
	for _, f := range h.floor {
		if f.domain == g.domain && f.seq >= g.seq {
			return true
		}
	}
	return false
}

// errant lists what the other server executed and this one did not.
func (h history) errant(other gtids) []string {
	var out []string
	for _, g := range other {
		if !h.knows(g) {
			out = append(out, g.String())
		}
	}
	slices.Sort(out)
	return out
}
