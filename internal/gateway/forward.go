package gateway

import (
	"context"
	"fmt"

	"github.com/windlass-db/windlass/internal/wire"
)

// inlineFrame is the largest command that is kept in the read buffer as a whole until it is answered.
const inlineFrame = 1 << 20

// command serves one command, whose first five bytes are buffered.
func (s *session) command(ctx context.Context, cmd wire.Command, length int) error {
	switch cmd {
	case wire.ComQuery:
		if 4+length > inlineFrame {
			return s.stream(ctx, cmd)
		}
		return s.simple(ctx, cmd)
	case wire.ComInitDB, wire.ComFieldList, wire.ComStatistics, wire.ComPing, wire.ComSetOption, wire.ComResetConnection:
		return s.simple(ctx, cmd)
	case wire.ComStmtPrepare:
		return s.prepare(ctx)
	case wire.ComStmtExecute, wire.ComStmtBulkExecute, wire.ComStmtFetch, wire.ComStmtReset, wire.ComStmtClose, wire.ComStmtLongData:
		return s.statement(ctx, cmd)
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
	if cmd == wire.ComPing || cmd == wire.ComStatistics {
		err = s.enterAnywhere()
	} else {
		err = s.enter(ctx)
	}
	if err != nil {
		s.conn.Discard(len(frame))
		return err
	}
	defer s.leave()
	if err := s.back.WriteAll(frame); err != nil {
		return s.lost(err)
	}
	err = s.answer(cmd)
	if err == nil {
		s.after(cmd, frame[4:])
	}
	s.conn.Discard(len(frame))
	return err
}

// stream forwards a command that is too large to be kept, frame after frame as it comes.
func (s *session) stream(ctx context.Context, cmd wire.Command) error {
	if err := s.enter(ctx); err != nil {
		// The rest of the command can't be skipped without reading it all.
		s.conn.Seq = 0
		if _, bad := s.conn.ReadPacket(); bad != nil {
			return bad
		}
		return err
	}
	defer s.leave()
	if err := s.pump(s.conn, s.back.Conn); err != nil {
		return s.lost(err)
	}
	return s.answer(cmd)
}

// pump copies one packet, with all of its frames.
func (s *session) pump(from, to *wire.Conn) error {
	for {
		length, _, err := from.Header()
		if err != nil {
			return err
		}
		left := 4 + length
		for left > 0 {
			b := from.Buffered()
			if len(b) == 0 {
				if err := from.Fill(); err != nil {
					return err
				}
				continue
			}
			b = b[:min(len(b), left)]
			if err := to.WriteAll(b); err != nil {
				return err
			}
			left -= len(b)
			from.Discard(len(b))
		}
		if length < wire.MaxFrame {
			return nil
		}
	}
}

// lost says that the server is gone after bytes were sent to it: what became of them is unknown, and the client learns it
// as it would without a gateway (trap 13).
func (s *session) lost(err error) error {
	s.gw.counts.unknown.Add(1)
	return fmt.Errorf("lost %s with a command under way: %w", s.back.srv.address, err)
}

// answer forwards the reply of one command as it comes, and takes from it what the session has to know.
func (s *session) answer(cmd wire.Command) error {
	r, b := &s.reply, s.back
	r.Reset(cmd, b.Caps)
	pos := 0 // bytes of the buffer that were walked
	flush := func() error {
		if pos == 0 {
			return nil
		}
		err := s.conn.WriteAll(b.Buffered()[:pos])
		b.Discard(pos)
		pos = 0
		return err
	}
	for !r.Done() {
		buf := b.Buffered()
		n, ev, err := r.Scan(buf[pos:])
		pos += n
		if err != nil {
			return fmt.Errorf("answer of %s to command 0x%02x: %w", b.srv.address, byte(cmd), err)
		}
		if ev == wire.EventMore {
			if r.Done() {
				break
			}
			if err := flush(); err != nil {
				return err
			}
			if err := b.Fill(); err != nil {
				return s.lost(err)
			}
			continue
		}
		packet := buf[pos-r.PacketLen() : pos]
		switch ev {
		case wire.EventOK:
			ok, err := wire.ParseOK(packet[4:], b.Caps)
			if err != nil {
				return err
			}
			s.sawStatus(ok.Status)
			s.unsure = false
			if ok.Status&wire.StatusSessionChanged != 0 && s.caps&wire.CapSessionTrack == 0 {
				pos -= len(packet)
				if err := flush(); err != nil {
					return err
				}
				if err := s.strip(packet[3], ok); err != nil {
					return err
				}
				b.Discard(len(packet))
			}
		case wire.EventEOF:
			e, err := wire.ParseEOF(packet[4:])
			if err != nil {
				return err
			}
			s.sawStatus(e.Status)
			s.unsure = false
		case wire.EventERR:
			s.unsure = true
		case wire.EventPrepared:
			s.stmts.prepared(packet[5:])
		case wire.EventLocalFile:
			if err := flush(); err != nil {
				return err
			}
			return fmt.Errorf("%w: %s asks for a local file", wire.ErrMalformed, b.srv.address)
		}
	}
	return flush()
}

// strip sends an OK packet without the session state that the client did not ask for (trap 24).
func (s *session) strip(seq byte, ok wire.OK) error {
	ok.State = nil
	s.conn.Seq = seq
	return s.conn.WritePacket(ok.Append(nil))
}

// after remembers what a command changed in the session. mu is held.
func (s *session) after(cmd wire.Command, payload []byte) {
	switch cmd {
	case wire.ComResetConnection:
		if !s.unsure {
			s.stmts.reset()
			s.cursors = 0
		}
	case wire.ComSetOption:
		if len(payload) >= 3 && !s.unsure {
			on := payload[1] == 0
			s.multi = &on
		}
	}
}
