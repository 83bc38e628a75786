package session

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/wire"
)

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
