package mysql

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// process is one connection in a server's process list.
type process struct {
	id      uint64
	user    string
	host    string // host:port of the client
	command string
	state   string
	info    string
	age     time.Duration // in its present state
}

func (s *session) processes(ctx context.Context) ([]process, error) {
	rs, err := s.rows(ctx, "SELECT ID, USER, HOST, COMMAND, COALESCE(TIME, 0) AS TIME, STATE, LEFT(INFO, 200) AS INFO FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID()")
	if err != nil {
		return nil, err
	}
	out := make([]process, len(rs))
	for i, r := range rs {
		id, err := strconv.ParseUint(r["ID"], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s: process list: %w", s.place, err)
		}
		out[i] = process{id: id, user: r["USER"], host: r["HOST"], command: r["COMMAND"], state: r["STATE"], info: r["INFO"], age: max(seconds(r["TIME"]), 0)}
	}
	return out, nil
}

// internal reports whether it is a thread of the server itself, replication's included, or nobody yet: a connection that is
// logging in can't do anything.
func (p process) internal() bool {
	switch p.user {
	case "system user", "event_scheduler", "unauthenticated user":
		return true
	}
	return p.command == "Daemon" || strings.HasPrefix(p.command, "Slave_")
}

// dump reports whether it reads the binary log.
func (p process) dump() bool { return strings.HasPrefix(p.command, "Binlog Dump") }

// address is the client's, without port.
func (p process) address() string {
	if h, _, err := net.SplitHostPort(p.host); err == nil {
		return h
	}
	return p.host
}

func (p process) String() string {
	return fmt.Sprintf("connection %d of %s from %s", p.id, p.user, p.host)
}
