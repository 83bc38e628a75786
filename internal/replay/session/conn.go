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

// Run sends a statement and reads its answer. sent is when, for how late it was. A refusal is in the answer.
func (c *Conn) Run(r Request) (a compare.Answer, sent time.Time, err error) {
	switch r.Command {
	case wire.ComStmtPrepare:
		sent = time.Now()
		a, err = c.Prepare(r.Prepared)
		return a, sent, err
	case wire.ComStmtExecute:
		if a, err = c.Prepare(r.Prepared); err != nil || a.Errno != 0 {
			return a, time.Now(), err
		}
	}
	s, err := c.Send(r)
	if err != nil {
		return a, s.At, err
	}
	a, err = c.Receive(r, s)
	return a, s.At, err
}

// Sent is a request whose answer was not read.
type Sent struct {
	At      time.Time
	prelude bool // another answer comes before it
}

// Send sends a request that is Ready. Receive has to follow.
func (c *Conn) Send(r Request) (Sent, error) {
	out, err := c.prelude(c.out[:0], r.Clock)
	if err != nil {
		return Sent{At: time.Now()}, err
	}
	s := Sent{prelude: len(out) > 0}
	if out, err = c.appendRequest(out, r); err != nil {
		return Sent{At: time.Now()}, err
	}
	if c.out = out; cap(out) > 1<<20 {
		c.out = nil
	}
	s.At = time.Now()
	return s, c.b.WriteAll(out)
}

// Receive reads the answer to what was sent.
func (c *Conn) Receive(r Request, s Sent) (a compare.Answer, err error) {
	if s.prelude {
		var p compare.Answer
		if err := c.read(wire.ComQuery, s.At, &p); err != nil {
			return a, err
		}
		c.noClock = c.noClock || p.Errno != 0 // secure_timestamp: NOW() says what it says
	}
	err = c.read(r.Command, s.At, &a)
	if a.Errno == wire.ErrUnknownStmt || a.Errno == wire.ErrNeedReprepare {
		delete(c.stmts, r.Prepared)
	}
	return a, err
}

// Ready reports whether a request can be one of a Batch: nothing has to be asked of the server before.
func (c *Conn) Ready(r *Request) bool {
	switch r.Command {
	case wire.ComQuery:
		return true
	case wire.ComStmtExecute:
		_, ok := c.stmts[r.Prepared]
		return ok
	}
	return false
}

// Batch sends several requests in one write, and reads their answers: one after the other the server runs them as if each had waited for the answer before. Each answer is told as it is
// there; those of which it was not, at an error, are not known to have run. Together the requests have to fit the buffers between here and the server, see MostBatch.
func (c *Conn) Batch(requests []*Request, answered func(i int, a compare.Answer)) error {
	out := c.out[:0]
	preludes := make([]bool, 0, 32)
	for _, r := range requests {
		before := len(out)
		var err error
		if out, err = c.prelude(out, r.Clock); err != nil {
			return err
		}
		preludes = append(preludes, len(out) > before)
		if out, err = c.appendRequest(out, *r); err != nil {
			return err
		}
	}
	c.out = out
	sent := time.Now()
	if err := c.b.WriteAll(out); err != nil {
		return err
	}
	for i, r := range requests {
		var a, p compare.Answer
		if preludes[i] {
			if err := c.read(wire.ComQuery, sent, &p); err != nil {
				return err
			}
			c.noClock = c.noClock || p.Errno != 0
		}
		if err := c.read(r.Command, sent, &a); err != nil {
			return err
		}
		sent = sent.Add(a.Took)
		answered(i, a)
	}
	return nil
}

// MostBatch is how many bytes the texts of a Batch may have.
const MostBatch = 16 << 10

// prelude adds the SET TIMESTAMP that a statement needs.
func (c *Conn) prelude(out []byte, clock time.Time) ([]byte, error) {
	if clock.IsZero() || c.noClock || c.env != nil && c.env.OwnClock {
		return out, nil
	}
	us := clock.UnixMicro()
	if us == c.clock {
		return out, nil
	}
	c.clock = us
	at := len(out)
	out = append(out, 0, 0, 0, 0, byte(wire.ComQuery))
	out = append(out, "SET TIMESTAMP="...)
	out = strconv.AppendInt(out, us/1e6, 10)
	out = append(out, '.')
	frac := us % 1e6
	for d := int64(100000); d > 0; d /= 10 {
		out = append(out, byte('0'+frac/d%10))
	}
	n := len(out) - at - 4
	out[at], out[at+1], out[at+2] = byte(n), byte(n>>8), byte(n>>16)
	return out, nil
}

func (c *Conn) appendRequest(out []byte, r Request) ([]byte, error) {
	at := len(out)
	out = append(out, 0, 0, 0, 0, byte(r.Command))
	switch r.Command {
	case wire.ComStmtExecute:
		var err error
		if out, err = appendExecute(out, c.stmts[r.Prepared], r.Params, r.Types); err != nil {
			return nil, err
		}
	default:
		out = append(out, r.Text...)
	}
	n := len(out) - at - 4
	if n < wire.MaxFrame {
		out[at], out[at+1], out[at+2] = byte(n), byte(n>>8), byte(n>>16)
		return out, nil
	}
	payload := slices.Clone(out[at+4:])
	c.b.Seq = 0
	return c.b.AppendFrames(out[:at], payload), nil
}

// appendExecute adds what follows the command's byte: our number of the statement, no cursor, and the types with the values, which the client may have sent once for many.
func appendExecute(out []byte, h handle, payload, types []byte) ([]byte, error) {
	out = binary.LittleEndian.AppendUint32(out, h.id)
	out = append(out, 0, 1, 0, 0, 0)
	if h.params == 0 {
		return out, nil
	}
	nulls := (h.params + 7) / 8
	if len(payload) < 9+nulls+1 {
		return nil, ErrParameters
	}
	values := payload[9+nulls+1:]
	if payload[9+nulls] != 0 {
		if len(values) < 2*h.params {
			return nil, ErrParameters
		}
		types, values = values[:2*h.params], values[2*h.params:]
	}
	if len(types) != 2*h.params {
		return nil, ErrParameters
	}
	out = append(out, payload[9:9+nulls]...)
	out = append(out, 1)
	out = append(out, types...)
	return append(out, values...), nil
}

// read takes an answer in, in whatever pieces it comes.
func (c *Conn) read(cmd wire.Command, sent time.Time, a *compare.Answer) error {
	r, b := &c.reply, c.b
	c.hash.Reset()
	r.Reset(cmd, b.Caps)
	r.Observe(&c.hash)
	if len(b.Buffered()) > 0 {
		a.FirstByte = time.Since(sent)
	}
	for !r.Done() {
		buf := b.Buffered()
		n, ev, err := r.Scan(buf)
		if err != nil {
			return err
		}
		switch packet := buf[n-min(n, r.PacketLen()) : n]; ev {
		case wire.EventMore:
			b.Discard(n)
			if r.Done() {
				continue
			}
			if err := b.Fill(); err != nil {
				return err
			}
			if a.FirstByte == 0 {
				a.FirstByte = time.Since(sent)
			}
			continue
		case wire.EventOK:
			ok, err := wire.ParseOK(packet[4:], b.Caps)
			if err != nil {
				return err
			}
			a.Status, a.Warnings, a.Affected = uint16(ok.Status), ok.Warnings, ok.Affected
		case wire.EventEOF:
			e, err := wire.ParseEOF(packet[4:])
			if err != nil {
				return err
			}
			a.Status, a.Warnings = uint16(e.Status), e.Warnings
		case wire.EventERR:
			e, err := wire.ParseERR(packet[4:])
			if err != nil {
				return err
			}
			a.Errno, a.SQLState, a.Message = e.Code, e.State, e.Message
		case wire.EventLocalFile:
			return fmt.Errorf("%w: the server asks for a file", wire.ErrMalformed)
		}
		b.Discard(n)
	}
	a.Took = time.Since(sent)
	a.Rows, a.Bytes, a.Columns, a.Ordered, a.Multiset = c.hash.Rows(), c.hash.Bytes(), c.hash.Columns(), c.hash.Ordered(), c.hash.Multiset()
	return nil
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
