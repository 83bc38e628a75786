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

// infoMost is how much of a statement is kept, in bytes.
const infoMost = 800

// processes lists all other connections. MySQL's information_schema has the statements in utf8mb3: any question to that table fails
// while somebody's statement has a character beyond it, such as an emoji.
func (s *session) processes(ctx context.Context) ([]process, error) {
	query := "SELECT ID AS Id, USER AS User, HOST AS Host, COMMAND AS Command, TIME AS Time, STATE AS State, LEFT(INFO, 200) AS Info FROM information_schema.PROCESSLIST"
	if s.fl.name() == "mysql" {
		query = "SHOW FULL PROCESSLIST"
	}
	rs, err := s.rows(ctx, query)
	if err != nil {
		return nil, err
	}
	out := make([]process, 0, len(rs))
	for _, r := range rs {
		id, err := strconv.ParseUint(r["Id"], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s: process list: %w", s.place, err)
		}
		if id != s.id {
			info := r["Info"]
			out = append(out, process{id: id, user: r["User"], host: r["Host"], command: r["Command"], state: r["State"], info: info[:min(len(info), infoMost)], age: max(seconds(r["Time"]), 0)})
		}
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
