package session

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/windlass-db/windlass/internal/wire"
)

// Server is where statements are replayed, and who logs in there: one account for all captured users, which may read alone.
type Server struct {
	Name   string // for people: host:port, or a node's name
	Config *mysql.Config
}

// ParseDSN reads a data source name: USER:PASSWORD@tcp(HOST:PORT)/SCHEMA?tls=…. What it holds is not in its errors.
func ParseDSN(dsn string) (Server, error) {
	c, err := mysql.ParseDSN(dsn)
	if err != nil || c.User == "" {
		return Server{}, fmt.Errorf("it can't be read as a data source name: USER:PASSWORD@tcp(HOST:PORT)/SCHEMA")
	}
	return Server{Name: c.Addr, Config: c}, nil
}

// LogValue leaves the password out.
func (s Server) LogValue() slog.Value { return slog.StringValue(s.Name) }

// String is its name.
func (s Server) String() string { return s.Name }

// GoString is its name: a password is not printed by %#v either.
func (s Server) GoString() string { return s.Name }

const (
	maxPacket = 1 << 30  // of a statement, as the server allows it
	maxHeld   = 32 << 20 // of an answer's packet that is looked into; rows are never held
	loginTime = 10 * time.Second
)

// caps are what every replay connection asks for. Multiple statements are not among them: a text with several is refused by the server, too.
const (
	caps     = wire.CapLongPassword | wire.CapLongFlag | wire.CapTransactions | wire.CapMultiResults | wire.CapPSMultiResults
	optional = wire.CapDeprecateEOF
)

// Dial says how to log in there.
func (s Server) Dial(schema string, charset uint16) (wire.Dial, error) {
	d := wire.Dial{Address: s.Config.Addr, User: s.Config.User, Passwords: []string{s.Config.Passwd}, Schema: schema, Charset: utf8mb4, MaxPacket: maxPacket,
		Caps: caps | optional, Optional: optional, Limit: maxHeld, TLSMode: wire.TLSOff}
	if charset > 0 && charset < 256 {
		d.Charset = byte(charset)
	}
	if s.Config.Net != "tcp" {
		return d, fmt.Errorf("server %s: only TCP is spoken, not %q", s.Name, s.Config.Net)
	}
	switch s.Config.TLSConfig {
	case "false":
	case "":
		if t := s.Config.TLS; t != nil { // of a node
			d.TLSMode = wire.TLSVerifyFull
			if t.InsecureSkipVerify {
				d.TLSMode = wire.TLSRequired
			}
		}
	case "preferred":
		d.TLSMode = wire.TLSPreferred
	case "skip-verify":
		d.TLSMode = wire.TLSRequired
	case "true":
		d.TLSMode = wire.TLSVerifyFull
	default:
		d.TLSMode = wire.TLSVerifyFull
	}
	if s.Config.TLS != nil && d.TLSMode != wire.TLSOff {
		d.TLS = s.Config.TLS.Clone()
	}
	return d, nil
}

// utf8mb4 is utf8mb4_general_ci, which all servers know.
const utf8mb4 = 45
