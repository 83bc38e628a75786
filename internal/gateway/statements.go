package gateway

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/windlass-db/windlass/internal/capture/tap"
	"github.com/windlass-db/windlass/internal/wire"
)

// lastPrepared is MariaDB's statement id for "the one prepared last".
const lastPrepared = 0xffffffff

// statements are the prepared statements of one session. The client knows a statement by an id of the gateway's, which
// stays when the session moves; the server's id is looked up for every command (trap 27).
type statements struct {
	byID     map[uint32]*statement
	nextID   uint32
	last     *statement // prepared last; nil if that failed
	pending  *statement // being prepared
	longData int        // statements with long data that was not executed yet
}

// statement is one prepared statement.
type statement struct {
	id       uint32 // the client's
	server   uint32 // the server's, if on is the session's present connection
	on       *backend
	text     []byte // COM_STMT_PREPARE's payload, command byte included
	columns  uint16
	params   uint16
	types    []byte // parameter types as the client sent them last: two bytes each, with names if named
	named    bool
	fresh    bool // not executed yet on its connection: the server does not know the types
	cursor   bool
	longData bool
	counted  bool // counts rows for FOUND_ROWS()
	known    tap.Known
}

// reset forgets all, as the server does on a reset of the connection.
func (st *statements) reset() { *st = statements{nextID: st.nextID} }

// prepared takes the server's answer to a PREPARE and writes the client's id over the server's.
func (st *statements) prepared(answer []byte) {
	p := st.pending
	p.server = binary.LittleEndian.Uint32(answer)
	p.columns = binary.LittleEndian.Uint16(answer[4:])
	p.params = binary.LittleEndian.Uint16(answer[6:])
	st.nextID++
	p.id = st.nextID
	if st.byID == nil {
		st.byID = map[uint32]*statement{}
	}
	st.byID[p.id] = p
	st.last = p
	binary.LittleEndian.PutUint32(answer, p.id)
}

// find looks a client's id up.
func (st *statements) find(id uint32) *statement {
	if id == lastPrepared {
		return st.last
	}
	return st.byID[id]
}

// prepare forwards COM_STMT_PREPARE and remembers its text, to prepare it again after a move.
func (s *session) prepare(ctx context.Context) error {
	s.conn.Seq = 0
	payload, err := s.conn.ReadPacket()
	if err != nil {
		return err
	}
	text := append([]byte(nil), payload...)
	if err := s.enter(ctx, request{cmd: wire.ComStmtPrepare}); err != nil {
		return err
	}
	defer s.leave()
	s.stmts.last = nil
	s.stmts.pending = &statement{text: text, on: s.back}
	s.back.Seq = 0
	t, at := s.captureFrom(wire.ComStmtPrepare)
	if err := s.back.WritePacket(text); err != nil {
		return s.lost(err)
	}
	if t != nil {
		s.sent(t, wire.ComStmtPrepare, &tap.Statement{At: at, Text: text[1:], Payload: text[1:], Number: s.stmts.nextID + 1, Prepared: &s.stmts.pending.known})
	}
	s.look(text[1:])
	s.stmts.pending.counted, s.counted, s.making = s.counted, false, false
	err = s.answer(request{cmd: wire.ComStmtPrepare}, func() {})
	s.answered(err)
	return err
}

// statement forwards a command that names a prepared statement.
func (s *session) statement(ctx context.Context, cmd wire.Command) error {
	s.conn.Seq = 0
	payload, whole, err := s.conn.ReadWhole()
	if err != nil {
		return err
	}
	if len(payload) < 5 {
		return fmt.Errorf("%w: statement command of %d bytes", wire.ErrMalformed, len(payload))
	}
	id := binary.LittleEndian.Uint32(payload[1:])
	req := request{cmd: cmd}
	if st := s.stmts.find(id); st != nil { // only this goroutine changes the statements
		req.text = st.text[1:]
	}
	if cmd == wire.ComStmtClose {
		err = s.enterAnywhere()
	} else {
		err = s.enter(ctx, req)
	}
	if err != nil {
		var no *refusal
		if errors.As(err, &no) && !cmd.HasReply() {
			return nil // the EXECUTE after it is refused, too
		}
		return err
	}
	defer s.leave()
	st := s.stmts.find(id)
	if st == nil {
		if !cmd.HasReply() {
			return nil // as servers do
		}
		return refuse(wire.ErrUnknownStmt, "HY000", "unknown prepared statement %d", id)
	}
	if cmd == wire.ComStmtClose {
		return s.closeStatement(st, payload)
	}
	t := s.gw.capturing.tap.Load()
	defer func() { s.answered(err) }()
	for {
		if err = s.ensure(st); err != nil {
			return err
		}
		out := payload
		if cmd == wire.ComStmtExecute || cmd == wire.ComStmtBulkExecute {
			if out, err = st.bind(cmd, payload, s.back.Caps); err != nil {
				return err
			}
		}
		putStatementID(out, st.server)
		var at int64
		if t != nil {
			at = t.Clock()
		}
		if whole != nil && len(out) == len(payload) { // as it came, but for the id
			err = s.back.WriteAll(whole)
		} else {
			s.back.Seq = 0
			err = s.back.WritePacket(out)
		}
		if err != nil {
			err = s.lost(err)
			return err
		}
		if t != nil {
			s.sentStatement(t, at, cmd, st, out)
			t = nil // once, also if it is sent again
		}
		if cmd == wire.ComStmtLongData {
			if !st.longData {
				st.longData = true
				s.stmts.longData++
			}
			return nil
		}
		s.counted, s.making = st.counted, false
		if err = s.answer(req, func() {}); err == nil {
			s.afterText(req, forNext(req.text))
			s.settled(req.text, st.params > 0)
			s.afterStatement(cmd, st)
			return nil
		}
		if err = s.rehold(ctx, req, err); err != nil {
			return err
		}
	}
}

// afterStatement keeps count of long data and cursors.
func (s *session) afterStatement(cmd wire.Command, st *statement) {
	if st.longData {
		st.longData = false
		s.stmts.longData--
	}
	open := st.cursor
	switch {
	case cmd == wire.ComStmtReset:
		open = false
	case s.unsure: // an error: the cursor is as it was
	case cmd == wire.ComStmtExecute:
		open = s.status&wire.StatusCursorExists != 0
	case cmd == wire.ComStmtFetch && s.status&wire.StatusLastRowSent != 0:
		open = false
	}
	s.setCursor(st, open)
}

func (s *session) setCursor(st *statement, open bool) {
	if open != st.cursor {
		st.cursor = open
		if open {
			s.cursors++
		} else {
			s.cursors--
		}
	}
}

// closeStatement forgets a statement, and closes it on the server if it is open there.
func (s *session) closeStatement(st *statement, payload []byte) error {
	delete(s.stmts.byID, st.id)
	if s.stmts.last == st {
		s.stmts.last = nil
	}
	s.setCursor(st, false)
	if st.longData {
		s.stmts.longData--
	}
	t, at := s.captureFrom(wire.ComStmtClose)
	if st.on == s.back {
		putStatementID(payload, st.server)
		s.back.Seq = 0
		if err := s.back.WritePacket(payload); err != nil {
			return s.lost(err)
		}
	}
	if t != nil {
		s.sentStatement(t, at, wire.ComStmtClose, st, payload)
	}
	return nil
}

// putStatementID writes the id that a statement's command names.
func putStatementID(command []byte, id uint32) { binary.LittleEndian.PutUint32(command[1:], id) }

// ensure prepares the statement again if the session has moved since (trap 21: lazily). A statement that
// has another shape there is an error: the client has been told the old one.
func (s *session) ensure(st *statement) error {
	if st.on == s.back {
		return nil
	}
	p, err := s.back.Prepare(st.text)
	var no *wire.ServerError
	if errors.As(err, &no) {
		return &refusal{*no}
	}
	if err != nil {
		return s.lost(err)
	}
	if p.Columns != st.columns || p.Params != st.params {
		closing := binary.LittleEndian.AppendUint32([]byte{byte(wire.ComStmtClose)}, p.ID)
		s.back.Seq = 0
		if err := s.back.WritePacket(closing); err != nil {
			return s.lost(err)
		}
		return refuse(wire.ErrNeedReprepare, "HY000", "the statement has %d columns and %d parameters on %s, but had %d and %d when it was prepared: prepare it again",
			p.Columns, p.Params, s.back.srv.address, st.columns, st.params)
	}
	st.server, st.on = p.ID, s.back
	st.fresh = true
	return nil
}

// Flags of the execute commands.
const (
	executeHasCount = 0x08 // COM_STMT_EXECUTE: a parameter count follows, as with query attributes
	bulkTypesFollow = 0x80 // COM_STMT_BULK_EXECUTE
	executeHeader   = 1 + 4 + 1 + 4
	bulkHeader      = 1 + 4 + 2
)

// bind remembers the parameter types that an execute brings. If it brings none and the server has not been told them on this
// connection, it answers the command with the remembered types put in.
func (st *statement) bind(cmd wire.Command, p []byte, caps wire.Capability) ([]byte, error) {
	bad := func() ([]byte, error) {
		return nil, fmt.Errorf("%w: command 0x%02x of %d bytes", wire.ErrMalformed, byte(cmd), len(p))
	}
	params := int(st.params)
	if cmd == wire.ComStmtBulkExecute {
		if len(p) < bulkHeader {
			return bad()
		}
		flags := binary.LittleEndian.Uint16(p[5:])
		if flags&bulkTypesFollow != 0 {
			if len(p) < bulkHeader+2*params {
				return bad()
			}
			st.types, st.fresh = append(st.types[:0], p[bulkHeader:bulkHeader+2*params]...), false
			return p, nil
		}
		if !st.fresh || len(st.types) == 0 {
			return p, nil
		}
		st.fresh = false
		out := insert(p, bulkHeader, st.types) // p stays as it was, in case it is sent once more
		binary.LittleEndian.PutUint16(out[5:], flags|bulkTypesFollow)
		return out, nil
	}
	if len(p) < executeHeader {
		return bad()
	}
	if caps&wire.CapQueryAttributes != 0 {
		return st.bindAttributes(p)
	}
	if params == 0 {
		return p, nil
	}
	flagAt := executeHeader + (params+7)/8
	if len(p) <= flagAt {
		return bad()
	}
	if p[flagAt] == 1 {
		if len(p) < flagAt+1+2*params {
			return bad()
		}
		st.types, st.fresh = append(st.types[:0], p[flagAt+1:flagAt+1+2*params]...), false
		return p, nil
	}
	if !st.fresh || len(st.types) == 0 {
		return p, nil
	}
	st.fresh = false
	out := insert(p, flagAt+1, st.types)
	out[flagAt] = 1
	return out, nil
}

// bindAttributes is bind where query attributes were agreed on: types have names, and their number may be in the command.
func (st *statement) bindAttributes(p []byte) ([]byte, error) {
	params := uint64(st.params)
	c := wire.NewCursor(p[executeHeader:])
	if p[5]&executeHasCount != 0 {
		params = c.Lenenc()
	}
	if params > 1<<16 {
		return nil, fmt.Errorf("%w: %d parameters", wire.ErrMalformed, params)
	}
	if params == 0 {
		return p, c.Err()
	}
	c.Skip((int(params) + 7) / 8)
	flagAt := len(p) - c.Len()
	if c.Byte() == 1 {
		from := flagAt + 1
		for range params {
			c.Skip(2)
			if p[5]&executeHasCount != 0 {
				c.LenencBytes()
			}
		}
		if c.Err() != nil {
			return nil, c.Err()
		}
		st.types, st.named, st.fresh = append(st.types[:0], p[from:len(p)-c.Len()]...), p[5]&executeHasCount != 0, false
		return p, nil
	}
	if c.Err() != nil {
		return nil, c.Err()
	}
	if !st.fresh || len(st.types) == 0 {
		return p, nil
	}
	if st.named != (p[5]&executeHasCount != 0) {
		return nil, refuse(wire.ErrNeedReprepare, "HY000", "the statement's parameter types are not known on this server any more: prepare it again")
	}
	st.fresh = false
	out := insert(p, flagAt+1, st.types)
	out[flagAt] = 1
	return out, nil
}

func insert(p []byte, at int, what []byte) []byte {
	out := make([]byte, 0, len(p)+len(what))
	out = append(out, p[:at]...)
	out = append(out, what...)
	return append(out, p[at:]...)
}
