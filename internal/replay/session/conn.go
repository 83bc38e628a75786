package session

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/rowhash"
	"github.com/windlass-db/windlass/internal/wire"
)

// Env is what a statement finds around it. It is never changed once it is in use: whoever needs another one makes it.
type Env struct {
	User     string // who the client was; the replay logs in as itself
	Schema   string
	Charset  uint16 // the collation's number, of the login
	SQLMode  string // that is known to be in force; "" is the server's own
	Settings []string
	OwnClock bool // the session has set its TIMESTAMP itself
}

// Prepared is a prepared statement of a captured connection.
type Prepared struct{ Text []byte }

// Request is a statement to send.
type Request struct {
	Command  wire.Command // ComQuery, ComStmtExecute, ComInitDB, ComStmtPrepare
	Text     []byte       // of the query, the schema's name
	Prepared *Prepared    // of EXECUTE and PREPARE
	Params   []byte       // the payload of the captured EXECUTE
	Types    []byte       // of its parameters
	Clock    time.Time    // what NOW() is to say; zero: what it says
}

// ErrParameters says that a captured EXECUTE has not the parameters that its statement has.
var ErrParameters = errors.New("the parameters do not fit the statement")

// SetupError says that a session can't be made what it was when it was captured, such as without its schema.
type SetupError struct {
	Server, Statement string
	Err               *wire.ServerError
}

func (e *SetupError) Error() string {
	return fmt.Sprintf("%s refuses %q: %v", e.Server, e.Statement, e.Err)
}

// Unwrap gives the server's refusal.
func (e *SetupError) Unwrap() error { return e.Err }

// Conn is a connection that stands for a captured one. It is used by one goroutine at a time.
type Conn struct {
	server  Server
	b       *wire.Backend
	reply   wire.Reply
	hash    rowhash.Answer
	out     []byte
	stmts   map[*Prepared]handle
	env     *Env
	clock   int64 // microseconds that SET TIMESTAMP was given; 0: none
	noClock bool  // the server does not let us set it
	charset uint16
}

type handle struct {
	id     uint32
	params int
}

// mostPrepared is how many statements a connection holds prepared at a time: servers bound their sum.
const mostPrepared = 256

// Open logs in and makes the connection READ ONLY, and then what env says. With a *SetupError there is a connection as well, which may be asked to Enter again.
func Open(ctx context.Context, s Server, env *Env) (*Conn, error) {
	d, err := s.Dial("", env.Charset)
	if err != nil {
		return nil, err
	}
	within, cancel := context.WithTimeout(ctx, loginTime)
	defer cancel()
	b, err := d.Connect(within)
	if ctx.Err() != nil {
		if err == nil {
			b.Close()
		}
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	c := &Conn{server: s, b: b, stmts: map[*Prepared]handle{}, charset: env.Charset}
	release := b.Bound(within)
	defer release()
	if err := c.run("SET SESSION TRANSACTION READ ONLY"); err != nil {
		c.Close()
		return nil, fmt.Errorf("make the connection read-only: %w", err)
	}
	if err := c.enter(env, false); err != nil {
		var setup *SetupError
		if !errors.As(err, &setup) {
			c.Close()
			return nil, err
		}
		return c, err
	}
	return c, nil
}

// Version is what the server says of itself.
func Version(ctx context.Context, s Server) (string, error) {
	c, err := Open(ctx, s, &Env{})
	if err != nil {
		return "", err
	}
	defer c.Close()
	res, err := c.b.Query("SELECT VERSION()")
	if err != nil {
		return "", fmt.Errorf("ask %s for its version: %w", s.Name, err)
	}
	return res.Value(0, 0), nil
}

// Close ends the connection.
func (c *Conn) Close() { c.b.Close() }

// Thread is the connection's number on the server, for KILL.
func (c *Conn) Thread() uint32 { return c.b.Greeting.ThreadID }

// Charset is what the connection logged in with: Enter does not change it.
func (c *Conn) Charset() uint16 { return c.charset }

// Env is what is in force; nil after a refusal.
func (c *Conn) Env() *Env { return c.env }

// Enter makes the session what env says, by way of a reset: its prepared statements are gone, and so is its transaction.
func (c *Conn) Enter(ctx context.Context, env *Env) error {
	within, cancel := context.WithTimeout(ctx, loginTime)
	defer cancel()
	release := c.b.Bound(within)
	defer release()
	return c.enter(env, true)
}

func (c *Conn) enter(env *Env, reset bool) error {
	c.env = nil
	if reset {
		if _, err := c.b.Simple([]byte{byte(wire.ComResetConnection)}); err != nil {
			return fmt.Errorf("reset the session: %w", err)
		}
		clear(c.stmts)
		c.clock = 0
		if err := c.run("SET SESSION TRANSACTION READ ONLY"); err != nil {
			return fmt.Errorf("make the connection read-only: %w", err)
		}
	}
	if env.Schema != "" {
		if _, err := c.b.Simple(append([]byte{byte(wire.ComInitDB)}, env.Schema...)); err != nil {
			return c.setup("USE "+env.Schema, err)
		}
	}
	if env.SQLMode != "" && !slices.ContainsFunc(env.Settings, func(s string) bool { return modes.MatchString(s) }) {
		if err := c.run("SET SESSION sql_mode='" + env.SQLMode + "'"); err != nil {
			return c.setup("SET sql_mode", err)
		}
	}
	var refused error
	for _, s := range env.Settings {
		if err := c.run(s); err != nil {
			if refused = c.setup(s, err); !errors.As(err, new(*wire.ServerError)) {
				return refused
			}
		}
	}
	c.env = env // a setting that this version refuses does not keep the session's reads from being replayed
	return nil
}

func (c *Conn) run(sql string) error {
	_, err := c.b.Query(sql)
	return err
}

func (c *Conn) setup(what string, err error) error {
	var refused *wire.ServerError
	if errors.As(err, &refused) {
		return &SetupError{c.server.Name, what, refused}
	}
	return err
}

// Adopt says that the session is what env says, by a statement that was sent.
func (c *Conn) Adopt(env *Env) { c.env = env }

// Prepare has a statement prepared, if it is not. A refusal is in the answer.
func (c *Conn) Prepare(p *Prepared) (compare.Answer, error) {
	if _, ok := c.stmts[p]; ok {
		return compare.Answer{}, nil
	}
	if len(c.stmts) >= mostPrepared {
		for old := range c.stmts {
			if err := c.Forget(old); err != nil {
				return compare.Answer{}, err
			}
			break
		}
	}
	began := time.Now()
	got, err := c.b.Prepare(append([]byte{byte(wire.ComStmtPrepare)}, p.Text...))
	took := time.Since(began)
	var refused *wire.ServerError
	if errors.As(err, &refused) {
		return compare.Answer{Errno: refused.Code, SQLState: refused.State, Message: refused.Message, FirstByte: took, Took: took}, nil
	}
	if err != nil {
		return compare.Answer{}, err
	}
	c.stmts[p] = handle{got.ID, int(got.Params)}
	return compare.Answer{FirstByte: took, Took: took}, nil
}

// Forget closes a prepared statement.
func (c *Conn) Forget(p *Prepared) error {
	h, ok := c.stmts[p]
	if !ok {
		return nil
	}
	delete(c.stmts, p)
	c.b.Seq = 0
	return c.b.WritePacket(binary.LittleEndian.AppendUint32([]byte{byte(wire.ComStmtClose)}, h.id))
}

// LongData sends a parameter's value ahead of its EXECUTE, from the captured payload.
func (c *Conn) LongData(p *Prepared, payload []byte) (compare.Answer, error) {
	a, err := c.Prepare(p)
	if err != nil || a.Errno != 0 || len(payload) < 6 {
		return a, err
	}
	out := binary.LittleEndian.AppendUint32([]byte{byte(wire.ComStmtLongData)}, c.stmts[p].id)
	c.b.Seq = 0
	return a, c.b.WritePacket(append(out, payload[4:]...))
}

// Cut ends whatever the connection waits for, with an error. It may be called by another goroutine.
func (c *Conn) Cut() { c.b.Net().SetDeadline(time.Unix(1, 0)) }

// Kill ends the statement that another connection of the same account is at.
func (c *Conn) Kill(ctx context.Context, thread uint32) error {
	within, cancel := context.WithTimeout(ctx, loginTime)
	defer cancel()
	release := c.b.Bound(within)
	defer release()
	_, err := c.b.Query("KILL QUERY " + strconv.FormatUint(uint64(thread), 10))
	var refused *wire.ServerError
	if errors.As(err, &refused) && refused.Code == wire.ErrNoSuchThread {
		return nil // it has ended
	}
	return err
}
