package gateway

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/windlass-db/windlass/internal/capture"
	"github.com/windlass-db/windlass/internal/capture/tap"
	"github.com/windlass-db/windlass/internal/rowhash"
	"github.com/windlass-db/windlass/internal/wire"
)

// This file is what a session hands to the capture (package tap). Everything of a statement is handed over after it was forwarded: the statement while its server
// is at work on it, the answer after the client has it. Without a capture it costs one look at a pointer; what the connection is (its user, schema and
// settings) is followed always, so that a capture can begin at any time.

// tapped is a session's side of the capture. It belongs to the session's goroutine.
type tapped struct {
	is     tap.Session
	to     *tap.Tap // that waits for the answer under way; nil: nobody
	before wire.Status
	reply  wire.Reply // walks what was forwarded
	rows   rowhash.Answer
	answer tap.Answer
	lost   bool // the answer is not understood any more
	tee    *tee
}

// tee copies a command that is too large for the read buffer, as much of it as is kept.
type tee struct {
	to     *tap.Tap
	at     int64
	buf    []byte // without the command's byte
	rest   int    // of the present frame's header
	passed int    // bytes of the payload, with the command's byte
}

// add takes what was forwarded.
func (c *tee) add(b []byte) {
	head := min(c.rest, len(b))
	c.rest -= head
	b = b[head:]
	if c.passed == 0 && len(b) > 0 {
		b = b[1:]
		c.passed++
	}
	c.passed += len(b)
	c.buf = append(c.buf, b[:min(len(b), cap(c.buf)-len(c.buf))]...)
}

// kept reports whether a command is one that is captured.
func kept(cmd wire.Command) bool {
	switch cmd {
	case wire.ComPing, wire.ComStatistics, wire.ComProcessKill:
		return false
	}
	return true
}

// captureFrom gives the capture, if there is one, and the time at which a command is about to be sent.
func (s *session) captureFrom(cmd wire.Command) (t *tap.Tap, at int64) {
	if t = s.gw.capturing.tap.Load(); t == nil || !kept(cmd) {
		return nil, 0
	}
	return t, t.Clock()
}

// sent tells the capture what was sent. mu is held.
func (s *session) sent(t *tap.Tap, cmd wire.Command, st *tap.Statement) {
	defer s.survive()
	p := &s.tapped
	st.Command, st.Answered = byte(cmd), cmd.HasReply()
	st.InTrans, st.Autocommit, st.Literal = s.status&wire.StatusInTrans != 0, s.status&wire.StatusAutocommit != 0, s.status&wire.StatusNoBackslash != 0
	if p.is.Start(t, st) {
		p.to, p.before = t, s.status
	} else {
		p.to = nil
	}
}

// sentText tells the capture of a command that is in the read buffer; p is what follows the command's byte.
func (s *session) sentText(t *tap.Tap, at int64, req request, p []byte) {
	st := tap.Statement{At: at, Payload: p}
	if req.cmd == wire.ComQuery {
		st.Text, st.Withheld = s.capturedText(p)
		st.Payload = st.Text
	}
	s.sent(t, req.cmd, &st)
}

// survive is deferred: a defect of the capture ends the capture, not the session.
func (s *session) survive() {
	if r := recover(); r != nil {
		s.gw.capturing.tap.Store(nil)
		s.tapped.to = nil
		s.gw.log.Error("capture has a defect, and is off", "session", s.id, "err", fmt.Sprint(r), "stack", string(debug.Stack()))
	}
}

// await begins the answer, also when a statement is sent once more. mu is held.
func (p *tapped) await(cmd wire.Command, caps wire.Capability) {
	p.reply.Reset(cmd, caps)
	p.rows.Reset()
	p.reply.Observe(&p.rows)
	p.answer = tap.Answer{}
	p.lost = false
}

// saw looks at bytes of the answer that were forwarded: whole packets, but for rows and definitions.
func (s *session) saw(b []byte, caps wire.Capability) {
	defer s.survive()
	p := &s.tapped
	for len(b) > 0 && !p.lost {
		n, ev, err := p.reply.Scan(b)
		if err != nil || n == 0 {
			p.lost = true
			return
		}
		packet := b[n-min(n, p.reply.PacketLen()) : n]
		b = b[n:]
		a := &p.answer
		switch ev {
		case wire.EventOK:
			ok, err := wire.ParseOK(packet[4:], caps)
			if err != nil {
				p.lost = true
				return
			}
			a.Status, a.Warnings = uint16(ok.Status), ok.Warnings
			a.Affected += ok.Affected
			if ok.InsertID != 0 {
				a.InsertID = ok.InsertID
			}
			if len(ok.State) > 0 {
				if gtid := trackedGTID(ok.State); gtid != nil {
					a.GTID = gtid
				}
			}
		case wire.EventEOF:
			if e, err := wire.ParseEOF(packet[4:]); err == nil {
				a.Status, a.Warnings = uint16(e.Status), e.Warnings
			}
		case wire.EventERR:
			if e, err := wire.ParseERR(packet[4:]); err == nil {
				a.Errno, a.SQLState = e.Code, e.State
			}
		case wire.EventLocalFile:
			p.reply.SentFile()
		}
	}
}

// answered tells the capture what came of the command; err is why there is no whole answer. mu is held.
func (s *session) answered(err error) {
	p := &s.tapped
	t := p.to
	if t == nil {
		return
	}
	p.to = nil
	defer s.survive()
	a := &p.answer
	a.End = t.Clock()
	if a.FirstByte == 0 {
		a.FirstByte = a.End
	}
	a.Columns, a.Rows, a.Bytes, a.Ordered, a.Multiset = p.rows.Columns(), p.rows.Rows(), p.rows.Bytes(), p.rows.Ordered(), p.rows.Multiset()
	a.Unfinished = p.lost
	if err != nil {
		p.failed(err)
	}
	p.is.After(p.before&wire.StatusInTrans != 0, s.status&wire.StatusInTrans != 0)
	p.is.End(a)
}

// failed is an answer that the gateway gave itself, or none.
func (p *tapped) failed(err error) {
	var no *refusal
	if errors.As(err, &no) {
		p.answer.Errno, p.answer.SQLState = no.Code, no.State
		return
	}
	p.answer.Unfinished = true
}

// follow takes from a good answer what the connection has become.
func (p *tapped) follow(state []byte) {
	changes, err := wire.ParseState(state)
	if err != nil {
		return
	}
	for _, c := range changes {
		if c.Kind == wire.TrackSchema {
			p.is.Schema(c.Value)
		}
	}
}

// trackedGTID is what a server says of the last transaction: MySQL's own kind of change, or MariaDB's variable last_gtid.
func trackedGTID(state []byte) []byte {
	changes, err := wire.ParseState(state)
	if err != nil {
		return nil
	}
	for _, c := range changes {
		switch {
		case c.Kind == wire.TrackGTIDs && len(c.Value) > 1:
			return wire.NewCursor(c.Value[1:]).LenencBytes() // behind the encoding's number
		case c.Kind == wire.TrackSystemVariable && string(c.Name) == "last_gtid":
			return c.Value
		}
	}
	return nil
}

// settled remembers a SET that has succeeded, whether or not anything is captured. mu is held.
func (s *session) settled(text []byte, parameters bool) {
	if !s.unsure && begins(text, "SET") {
		defer s.survive()
		s.tapped.is.Set(text, parameters)
	}
}

// teeFor prepares the copy of a command whose first frame has that length.
func (s *session) teeFor(cmd wire.Command, length int) {
	s.tapped.tee = nil
	t, at := s.captureFrom(cmd)
	if t == nil {
		return
	}
	size := length - 1
	if length == wire.MaxFrame {
		size = capture.MaxPayload // nobody knows how much more comes
	}
	if buf, ok := t.Borrow(size); ok {
		s.tapped.tee = &tee{to: t, at: at, buf: buf, rest: 4}
	} else {
		s.tapped.is.Missed(t)
	}
}

// teed tells the capture of a command that was copied. err is why it was not sent as a whole.
func (s *session) teed(cmd wire.Command, err error) {
	c := s.tapped.tee
	if c == nil {
		return
	}
	s.tapped.tee = nil
	if err != nil {
		c.to.Return(cap(c.buf))
		return
	}
	st := tap.Statement{At: c.at, Payload: c.buf, Borrowed: cap(c.buf), Cut: uint64(c.passed - 1 - len(c.buf))}
	if cmd == wire.ComQuery {
		st.Text, st.Withheld = s.capturedText(c.buf)
		st.Payload = st.Text
	}
	s.sent(c.to, cmd, &st)
}

// capturedText is the text of a query; or why it is not known.
func (s *session) capturedText(p []byte) (text []byte, withheld string) {
	text = s.queryText(p)
	if s.back.Caps&wire.CapQueryAttributes != 0 && len(text) == len(p) {
		return nil, capture.WithheldAttributes
	}
	return text, ""
}

// sentStatement tells the capture of a command on a prepared statement. out is what was sent to the server; its number becomes the client's again.
func (s *session) sentStatement(t *tap.Tap, at int64, cmd wire.Command, st *statement, out []byte) {
	putStatementID(out, st.id)
	what := tap.Statement{At: at, Text: st.text[1:], Payload: out[1:], Number: st.id, Prepared: &st.known, Long: st.longData}
	switch {
	case cmd == wire.ComStmtExecute && s.back.Caps&wire.CapQueryAttributes != 0:
		var ok bool
		if what.Payload, what.Types, ok = plainExecute(out[1:], st); !ok {
			what.Payload, what.Withheld = nil, capture.WithheldAttributes
		}
	case cmd == wire.ComStmtExecute, cmd == wire.ComStmtBulkExecute:
		what.Types = st.types
	}
	s.sent(t, cmd, &what)
}

// plainExecute makes an EXECUTE of a client that may send query attributes one without: no count of the parameters, and no names of them. It reports
// false if there are attributes.
func plainExecute(p []byte, st *statement) (plain, types []byte, ok bool) {
	const flagsAt, head = 4, executeHeader - 1
	n := int(st.params)
	if len(p) < head {
		return nil, nil, false
	}
	if types, ok = plainTypes(st.types, n, st.named); !ok && len(st.types) > 0 {
		return nil, nil, false
	}
	if p[flagsAt]&executeHasCount == 0 {
		return p, types, true
	}
	c := wire.NewCursor(p[head:])
	if count := c.Lenenc(); c.Err() != nil || count != uint64(n) {
		return nil, nil, false
	}
	plain = append(make([]byte, 0, len(p)), p[:head]...)
	plain[flagsAt] &^= executeHasCount
	if n == 0 {
		return plain, nil, true
	}
	plain = append(plain, c.Bytes((n+7)/8)...)
	follow := c.Byte()
	plain = append(plain, follow)
	if follow == 1 {
		for range n {
			c.Skip(2)
			c.LenencBytes()
		}
		plain = append(plain, types...)
	}
	return append(plain, c.Rest()...), types, c.Err() == nil
}

// plainTypes takes the names out of parameter types.
func plainTypes(types []byte, n int, named bool) ([]byte, bool) {
	if !named {
		return types, len(types) == 2*n
	}
	c := wire.NewCursor(types)
	var plain []byte
	for range n {
		plain = append(plain, c.Bytes(2)...)
		if len(c.LenencBytes()) > 0 {
			return nil, false // an attribute
		}
	}
	return plain, c.Err() == nil && c.Len() == 0
}
