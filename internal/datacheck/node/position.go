package node

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Position is a MariaDB GTID position: the last transaction of each replication domain.
type Position map[uint32]GTID

// GTID is one transaction of MariaDB.
type GTID struct {
	Domain, Server uint32
	Seq            uint64
}

// String is domain-server-sequence.
func (g GTID) String() string { return fmt.Sprintf("%d-%d-%d", g.Domain, g.Server, g.Seq) }

// ParsePosition reads a list of GTIDs separated by commas. Of several in a domain the highest counts.
func ParsePosition(text string) (Position, error) {
	p := Position{}
	for _, part := range strings.Split(text, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		f := strings.Split(part, "-")
		if len(f) != 3 {
			return nil, fmt.Errorf("GTID %q is not domain-server-sequence", part)
		}
		domain, err1 := strconv.ParseUint(f[0], 10, 32)
		server, err2 := strconv.ParseUint(f[1], 10, 32)
		seq, err3 := strconv.ParseUint(f[2], 10, 64)
		if err1 != nil || err2 != nil || err3 != nil {
			return nil, fmt.Errorf("GTID %q is not domain-server-sequence", part)
		}
		g := GTID{uint32(domain), uint32(server), seq}
		if have, ok := p[g.Domain]; !ok || have.Seq < g.Seq {
			p[g.Domain] = g
		}
	}
	return p, nil
}

// String lists the GTIDs in the order of their domains, as the server takes them.
func (p Position) String() string {
	domains := make([]uint32, 0, len(p))
	for d := range p {
		domains = append(domains, d)
	}
	slices.Sort(domains)
	parts := make([]string, len(domains))
	for i, d := range domains {
		parts[i] = p[d].String()
	}
	return strings.Join(parts, ",")
}

// Reaches tells whether every transaction of the other position is in this one.
func (p Position) Reaches(want Position) bool {
	for d, g := range want {
		if have, ok := p[d]; !ok || have.Seq < g.Seq {
			return false
		}
	}
	return true
}

// Equal tells whether both are the same.
func (p Position) Equal(o Position) bool { return p.String() == o.String() }

// with adds the domains of another position that this one does not have.
func (p Position) with(o Position) Position {
	out := Position{}
	for d, g := range o {
		out[d] = g
	}
	for d, g := range p {
		out[d] = g
	}
	return out
}
