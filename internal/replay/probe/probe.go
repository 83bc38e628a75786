// Package probe runs single statements on one server, each in the context of the session that it was captured in, and keeps what comes of them whole.
//
// Model. A Session is one connection. Enter gives it a statement's schema, character set, SQL mode and clock; Run runs the statement as it was sent: as text, or prepared
// with the very parameter bytes and types of the capture. A refusal by the server is an answer, not an error.
//
// Invariants. Several statements in one text are never sent, since the capability for them is never asked for; nor is a local file. Nothing of a session's context
// ends a transaction, so that many statements can be run inside one snapshot.
//
// Failure. An error means that the connection is lost or the context is over: nothing is known of the statement. A result that is too large for memory is
// told as cut, with the hash of all of it.
package probe

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/datacheck/node"
	"github.com/windlass-db/windlass/internal/replay/session"
	"github.com/windlass-db/windlass/internal/wire"
)

// Session is one connection. It is used by one goroutine at a time. Close it.
type Session struct {
	Name    string
	Version string
	MariaDB bool

	b        *wire.Backend
	charsets map[uint16]charset
	in       scene    // what the session was given last
	set      []string // the settings that are in force, or may be
	fresh    bool     // nothing was given yet, or it is not known what
	limit    int64
}

// scene is what Enter sets.
type scene struct {
	schema   string
	charset  uint16
	mode     string
	settings string
}

// DefaultLimit is how many bytes of a result are kept.
const DefaultLimit = 32 << 20

const dialTimeout = 10 * time.Second

// Open logs in.
func Open(ctx context.Context, s session.Server) (_ *Session, err error) {
	d, err := s.Dial("", 0)
	if err != nil {
		return nil, err
	}
	d.Limit = 1 << 30 // of one packet, which is one row; what is kept of a result has a limit of its own
	within, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	b, err := d.Connect(within)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Name, err)
	}
	p := &Session{Name: s.Name, b: b, fresh: true, limit: DefaultLimit}
	defer func() {
		if err != nil {
			p.Close()
		}
	}()
	r, err := p.query(within, "SELECT VERSION()")
	if err != nil {
		return nil, err
	}
	p.Version = r.Value(0, 0)
	p.MariaDB = strings.Contains(strings.ToLower(p.Version), "mariadb")
	return p, p.readCharsets(within)
}

// Close ends the connection, and with it its transaction.
func (p *Session) Close() {
	if p != nil && p.b != nil {
		p.b.Close()
	}
}

// query runs a statement of our own. A refusal is a *wire.ServerError.
func (p *Session) query(ctx context.Context, sql string) (wire.Result, error) {
	release := p.b.Bound(ctx)
	r, err := p.b.Query(sql)
	if cut := release(); cut != nil && err != nil {
		err = cut
	}
	if err != nil {
		return r, fmt.Errorf("%s: %w", p.Name, err)
	}
	return r, nil
}

var errArguments = errors.New("a probe's own statements have no arguments")

// Exec runs a statement of our own. It takes no arguments; they are there for node.Session.
func (p *Session) Exec(ctx context.Context, sql string, args ...any) error {
	if len(args) > 0 {
		return errArguments
	}
	_, err := p.query(ctx, sql)
	return err
}

// Rows reads a result of a statement of our own.
func (p *Session) Rows(ctx context.Context, sql string, args ...any) ([]node.Row, error) {
	if len(args) > 0 {
		return nil, errArguments
	}
	r, err := p.query(ctx, sql)
	if err != nil {
		return nil, err
	}
	out := make([]node.Row, len(r.Rows))
	for i := range r.Rows {
		out[i] = node.Row{}
		for j, name := range r.Columns {
			if r.Rows[i][j] != nil {
				out[i][name] = string(r.Rows[i][j])
			}
		}
	}
	return out, nil
}

var _ node.Session = (*Session)(nil)

// charset is what a collation's number means.
type charset struct {
	name, collation string
	usual           bool // the one that the character set has if none is named
}

// compiled are the collations that a client names by their number when it means a character set alone: MariaDB puts its own in the place of those. MySQL takes the number as it is.
var compiled = map[string]string{"utf8mb4": "utf8mb4_general_ci", "utf8mb3": "utf8mb3_general_ci", "utf8": "utf8_general_ci", "latin1": "latin1_swedish_ci", "ascii": "ascii_general_ci", "ucs2": "ucs2_general_ci", "utf16": "utf16_general_ci", "utf32": "utf32_general_ci"}

func (p *Session) readCharsets(ctx context.Context) error {
	r, err := p.query(ctx, "SELECT ID, CHARACTER_SET_NAME, FULL_COLLATION_NAME FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY")
	if refused(err) {
		r, err = p.query(ctx, "SELECT ID, CHARACTER_SET_NAME, COLLATION_NAME FROM information_schema.COLLATIONS")
	}
	if err != nil {
		return err
	}
	p.charsets = make(map[uint16]charset, len(r.Rows))
	for i := range r.Rows {
		id, err := strconv.ParseUint(r.Value(i, 0), 10, 16)
		if err != nil {
			continue // it has no number
		}
		cs, coll := r.Value(i, 1), r.Value(i, 2)
		p.charsets[uint16(id)] = charset{cs, coll, p.MariaDB && compiled[cs] == coll}
	}
	return nil
}

// Limit bounds each statement of the session, and its waits for locks, and takes off what would end an idle session. MySQL ends reads alone: whoever runs more has a deadline.
func (p *Session) Limit(ctx context.Context, statement, lock time.Duration) error {
	limits := fmt.Sprintf("SET SESSION innodb_lock_wait_timeout=%d, lock_wait_timeout=%[1]d, wait_timeout=86400", max(1, int(lock.Seconds())))
	if p.MariaDB {
		limits += fmt.Sprintf(", max_statement_time=%.3f, idle_transaction_timeout=0, idle_readonly_transaction_timeout=0", statement.Seconds())
	} else {
		limits += fmt.Sprintf(", max_execution_time=%d", statement.Milliseconds())
	}
	if err := p.Exec(ctx, limits); err != nil {
		return fmt.Errorf("%s: %w", limits, err)
	}
	return nil
}

func refused(err error) bool {
	var e *wire.ServerError
	return errors.As(err, &e)
}
