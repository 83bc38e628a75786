package gateway

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/windlass-db/windlass/internal/gateway/adminapi"
	"github.com/windlass-db/windlass/internal/wire"
)

// inlineFrame is the largest command that is kept in the read buffer as a whole until it is answered.
const inlineFrame = 1 << 20

// command serves one command, whose first five bytes are buffered.
func (s *session) command(ctx context.Context, cmd wire.Command, length int) error {
	switch cmd {
	case wire.ComQuery:
		if 4+length > inlineFrame {
			return s.stream(ctx, cmd, length)
		}
		return s.simple(ctx, cmd)
	case wire.ComInitDB, wire.ComFieldList, wire.ComStatistics, wire.ComPing, wire.ComSetOption, wire.ComResetConnection:
		if 4+length > inlineFrame {
			return fmt.Errorf("%w: command 0x%02x of %d bytes", wire.ErrMalformed, byte(cmd), length)
		}
		return s.simple(ctx, cmd)
	case wire.ComStmtPrepare:
		return s.prepare(ctx)
	case wire.ComStmtExecute, wire.ComStmtBulkExecute, wire.ComStmtFetch, wire.ComStmtReset, wire.ComStmtClose, wire.ComStmtLongData:
		return s.statement(ctx, cmd)
	case wire.ComChangeUser:
		return s.changeUser(ctx)
	case wire.ComProcessKill:
		s.conn.Seq = 0
		p, err := s.conn.ReadPacket()
		if err != nil {
			return err
		}
		if len(p) < 5 {
			return fmt.Errorf("%w: COM_PROCESS_KILL of %d bytes", wire.ErrMalformed, len(p))
		}
		return s.killAndAnswer(ctx, "KILL", binary.LittleEndian.Uint32(p[1:]))
	}
	return s.unknown(cmd)
}

// unknown refuses what is not on the list: the shape of its answer would not be known, or it is not for clients (trap 30).
func (s *session) unknown(cmd wire.Command) error {
	s.conn.Seq = 0
	if _, err := s.conn.ReadPacket(); err != nil {
		return err
	}
	return refuse(wire.ErrUnknownCommand, "08S01", "command 0x%02x is not allowed through the gateway", byte(cmd))
}

// simple forwards a command that is kept in the read buffer until it is answered.
func (s *session) simple(ctx context.Context, cmd wire.Command) error {
	frame, err := s.conn.Frame()
	if err != nil {
		return err
	}
	kept := len(frame) // what of the frame is still in the buffer
	defer func() { s.conn.Discard(kept) }()
	req := request{cmd: cmd}
	if cmd == wire.ComQuery {
		req.text = s.queryText(frame[5:])
		if verb, id, ok := killTarget(req.text); ok && id&idMark != 0 {
			return s.killAndAnswer(ctx, verb, id)
		}
	}
	if cmd == wire.ComPing || cmd == wire.ComStatistics {
		err = s.enterAnywhere()
	} else {
		err = s.enter(ctx, req)
	}
	if err != nil {
		return err
	}
	defer s.leave()
	t, at := s.captureFrom(cmd)
	err = s.back.WriteAll(frame)
	if err != nil {
		return s.lost(err)
	}
	if t != nil {
		s.sentText(t, at, req, frame[5:])
		defer func() { s.answered(err) }()
	}
	for {
		s.look(req.text)
		next := forNext(req.text)
		if err = s.answer(req, func() { s.conn.Discard(kept); kept = 0 }); err == nil {
			s.afterText(req, next)
			if kept > 0 { // it is still what the client sent
				s.settled(req.text, false)
			}
			err = s.after(ctx, cmd, frame[4:])
			return err
		}
		if err = s.rehold(ctx, req, err); err != nil {
			return err
		}
		if err = s.back.WriteAll(frame); err != nil {
			err = s.lost(err)
			return err
		}
	}
}

// queryText is the text of a query. Where query attributes were agreed on, it comes after them; a query that has some is not looked at, and so
// taken for neither a read nor safe to repeat.
func (s *session) queryText(p []byte) []byte {
	if s.back == nil || s.back.Caps&wire.CapQueryAttributes == 0 {
		return p
	}
	c := wire.NewCursor(p)
	if attributes, sets := c.Lenenc(), c.Lenenc(); c.Err() != nil || attributes != 0 || sets != 1 {
		return p
	}
	return c.Rest()
}

// stream forwards a command that is too large to be kept, frame after frame as it comes.
func (s *session) stream(ctx context.Context, cmd wire.Command, length int) error {
	if err := s.enter(ctx, request{cmd: cmd}); err != nil {
		if errors.Is(err, errGone) {
			return err
		}
		s.conn.Seq = 0 // the rest of the command has to be read before it can be refused
		if _, bad := s.conn.ReadPacket(); bad != nil {
			return bad
		}
		return err
	}
	defer s.leave()
	s.look(s.conn.Buffered())
	s.teeFor(cmd, length)
	_, err := s.pump()
	s.teed(cmd, err)
	if err != nil {
		return err
	}
	s.next = ""
	err = s.answer(request{cmd: cmd}, func() {})
	s.answered(err)
	return err
}

// pump copies one packet with all of its frames from the client to the server, and answers its length. A server that has got a part of
// it is left at once: whatever came next, even a goodbye, would be taken for the rest.
func (s *session) pump() (total int, err error) {
	client := false // whose error it is
	defer func() {
		if err != nil {
			s.back.Conn.Close()
			if !client {
				err = s.lost(err)
			}
		}
	}()
	from, to := s.conn, s.back.Conn
	for {
		length, seq, err := from.Header()
		if err != nil {
			client = true
			return total, err
		}
		from.Seq = seq + 1
		total += length
		left := 4 + length
		if c := s.tapped.tee; c != nil {
			c.rest = 4
		}
		for left > 0 {
			b := from.Buffered()
			if len(b) == 0 {
				if err := from.Fill(); err != nil {
					client = true
					return total, err
				}
				continue
			}
			b = b[:min(len(b), left)]
			if err := to.WriteAll(b); err != nil {
				return total, err
			}
			left -= len(b)
			if c := s.tapped.tee; c != nil {
				c.add(b)
			}
			from.Discard(len(b))
		}
		if length < wire.MaxFrame {
			return total, nil
		}
	}
}

// look reads a text after it was sent, while the server is at work on it. mu is held.
func (s *session) look(text []byte) {
	s.counted, s.making = false, false
	if text == nil {
		return
	}
	f := scan(text)
	s.counted = f.foundRows
	s.making = makesTable(text)
	if f.suspicious {
		s.suspect = true
		names, all := userLocks(text)
		for _, name := range names {
			if s.locks == nil {
				s.locks = map[string]bool{}
			}
			s.locks[name] = true
		}
		s.anyLock = s.anyLock || !all
	}
}

// lost says that the server is gone after bytes were sent to it: what became of them is unknown, and the client learns it
// as it would without a gateway (trap 13).
func (s *session) lost(err error) error {
	s.gw.counts.unknown.Add(1)
	return fmt.Errorf("lost %s with a command under way: %w", s.back.srv.address, err)
}

// readOnlyError is a server's refusal to write, of which the client has not been told yet.
type readOnlyError struct{ wire.ServerError }

// answer forwards the reply of one command as it comes, and takes from it what the session has to know. forget gives the
// command's bytes in the client's buffer up.
func (s *session) answer(req request, forget func()) error {
	r, b := &s.reply, s.back
	r.Reset(req.cmd, b.Caps)
	capturing := s.tapped.to != nil
	if capturing {
		s.tapped.await(req.cmd, b.Caps)
	}
	inTrans := s.status&wire.StatusInTrans != 0
	pos := 0 // bytes of the buffer that were walked
	flush := func() error {
		if pos == 0 {
			return nil
		}
		err := s.conn.WriteAll(b.Buffered()[:pos])
		if capturing {
			s.saw(b.Buffered()[:pos], b.Caps)
		}
		b.Discard(pos)
		pos = 0
		return err
	}
	for !r.Done() {
		buf := b.Buffered()
		n, ev, err := r.Scan(buf[pos:])
		pos += n
		if err != nil {
			return fmt.Errorf("answer of %s to command 0x%02x: %w", b.srv.address, byte(req.cmd), err)
		}
		packet := buf[pos-min(pos, r.PacketLen()) : pos]
		switch ev {
		case wire.EventMore:
			if r.Done() {
				continue
			}
			if err := flush(); err != nil {
				return err
			}
			if err := b.Fill(); err != nil {
				return s.lost(err)
			}
			if capturing && s.tapped.answer.FirstByte == 0 {
				s.tapped.answer.FirstByte = s.tapped.to.Clock()
			}
		case wire.EventOK:
			ok, err := wire.ParseOK(packet[4:], b.Caps)
			if err != nil {
				return err
			}
			s.sawAnswer(ok.Status, ok.Warnings)
			if len(ok.State) > 0 {
				s.tapped.follow(ok.State)
			}
			if ok.Status&wire.StatusSessionChanged != 0 && s.caps&wire.CapSessionTrack == 0 {
				pos -= len(packet)
				if err := flush(); err != nil {
					return err
				}
				if err := s.strip(packet[3], ok); err != nil {
					return err
				}
				if capturing {
					s.saw(packet, b.Caps)
				}
				b.Discard(len(packet))
			}
		case wire.EventEOF:
			e, err := wire.ParseEOF(packet[4:])
			if err != nil {
				return err
			}
			s.sawAnswer(e.Status, e.Warnings)
		case wire.EventERR:
			s.unsure = true
			s.fragile = true
			if !r.FirstEvent() {
				break
			}
			told, err := s.refused(req, inTrans, packet[4:])
			if err != nil {
				return err
			}
			if told != nil {
				b.Discard(pos)
				return told
			}
		case wire.EventPrepared:
			s.stmts.prepared(packet[5:])
		case wire.EventLocalFile:
			if err := flush(); err != nil {
				return err
			}
			if s.caps&wire.CapLocalFiles == 0 {
				return fmt.Errorf("%w: %s asks for a local file", wire.ErrMalformed, b.srv.address)
			}
			forget()
			for {
				n, err := s.pump()
				if err != nil {
					return err
				}
				if n == 0 {
					break
				}
			}
			r.SentFile()
		}
	}
	return flush()
}

// sawAnswer takes what a good answer says of the session.
func (s *session) sawAnswer(status wire.Status, warnings uint16) {
	s.sawStatus(status)
	s.unsure = false
	s.fragile = warnings > 0 || s.counted
}

// refused looks at an error that is the whole answer of a command. What it tells has to be told instead of the error.
func (s *session) refused(req request, inTrans bool, payload []byte) (told, err error) {
	e, err := wire.ParseERR(payload)
	if err != nil {
		return nil, err
	}
	switch {
	case e.Code == wire.ErrOptionPrevents && s.linger.Load() && s.status&wire.StatusInTrans != 0:
		return s.lateWrite(), nil
	case e.Code == wire.ErrOptionPrevents && !inTrans && !s.pinned() && !s.ep.readOnly && req.text != nil && repeatable(req.text):
		return &readOnlyError{*e}, nil
	case e.Code == wire.ErrQueryInterrupted && s.ending.Load():
		s.told = true
		return doom(), nil
	}
	return nil, nil
}

// rehold takes a statement that the server has refused as read-only: a control plane may have gone right after it demoted the
// primary, or the primary moved without a hold. If the server says that it is read-only, the statement waits for the next
// primary, within a budget, and is sent there; nil asks for that (trap 11). Every other error is given back.
func (s *session) rehold(ctx context.Context, req request, err error) error {
	var no *readOnlyError
	if !errors.As(err, &no) {
		return err
	}
	pollCtx, cancel := context.WithTimeout(ctx, s.gw.cfg.Timeouts.Observe.D())
	s.gw.mon.pollNow(pollCtx)
	cancel()
	if s.back.srv.role(time.Now(), s.gw.maxAge()) != adminapi.RoleReadOnly {
		return &refusal{no.ServerError}
	}
	if err := s.wait(ctx, request{}, time.Now().Add(s.gw.cfg.Timeouts.NoPrimary.D())); err != nil {
		var late *refusal
		if errors.As(err, &late) && late.Code == wire.ErrOptionPrevents {
			return &refusal{no.ServerError}
		}
		return err
	}
	if s.pinned() || s.back.srv.role(time.Now(), s.gw.maxAge()) != adminapi.RoleWritable {
		return &refusal{no.ServerError}
	}
	s.gw.counts.reheld.Add(1)
	return nil
}

// strip sends an OK packet without the session state that the client did not ask for (trap 24).
func (s *session) strip(seq byte, ok wire.OK) error {
	ok.State = nil
	s.conn.Seq = seq
	return s.conn.WritePacket(ok.Append(nil))
}

// afterText remembers what the text of a query or prepared statement changed in the session. next is what it set for the next
// transaction. mu is held.
func (s *session) afterText(req request, next string) {
	switch {
	case next != "" && !s.unsure:
		s.next = next
	case s.next != "" && !keepsNext(req):
		s.noteBegun(req.text, s.next)
		s.next = ""
	default:
		s.noteBegun(req.text, "")
	}
	if s.making && !s.unsure {
		s.tables++
	}
}

// after remembers what a command changed in the session. mu is held.
func (s *session) after(ctx context.Context, cmd wire.Command, payload []byte) error {
	switch {
	case s.unsure:
	case cmd == wire.ComInitDB:
		s.tapped.is.Schema(payload[1:])
	case cmd == wire.ComResetConnection:
		s.forgetState()
		s.tapped.is.Reset()
		return s.begin(ctx, s.back)
	case cmd == wire.ComSetOption && len(payload) >= 3:
		on := payload[1] == 0
		s.multi = &on
	}
	return nil
}

// forgetState forgets what a new or reset connection does not have.
func (s *session) forgetState() {
	s.stmts.reset()
	s.cursors, s.multi = 0, nil
	s.suspect, s.anyLock, s.locks, s.fragile, s.counted, s.doomed = false, false, nil, false, false, false
	s.next, s.tables, s.making, s.begun = "", 0, false, nil
	s.linger.Store(false)
}

// begin makes a new or reset connection of the read-only endpoint refuse writes, even if its server is promoted before the
// monitor sees it.
func (s *session) begin(ctx context.Context, b *backend) error {
	if !s.ep.readOnly {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.gw.cfg.Timeouts.Observe.D())
	defer cancel()
	release := b.Bound(ctx)
	_, err := b.Query("SET SESSION TRANSACTION READ ONLY")
	if cut := release(); err == nil && cut != nil {
		err = cut
	}
	if err != nil {
		return fmt.Errorf("make the session on %s read-only: %w", b.srv.address, err)
	}
	return nil
}
