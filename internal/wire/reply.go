package wire

// Event says which packet a Reply stopped at.
type Event uint8

// The events. EventMore is none: the bytes that are left are the beginning of a frame that has to be seen whole.
const (
	EventMore      Event = iota
	EventOK              // an OK packet, at the end of rows too
	EventEOF             // an EOF packet: the end of definitions or of rows
	EventERR             // an ERR packet
	EventColumns         // a result set's column count
	EventPrepared        // the answer to a PREPARE: statement id, columns, parameters
	EventLocalFile       // the server asks for a local file
	EventOther           // a packet with no more meaning, such as the text of STATISTICS
)

// replyState is what the next packet will be.
type replyState uint8

const (
	stateFirst       replyState = iota // OK, ERR, column count, or a request for a file
	stateColumns                       // `left` column definitions
	stateColumnsEOF                    // the EOF after them
	stateRows                          // rows up to OK, EOF or ERR
	stateSingle                        // one OK, EOF or ERR
	stateText                          // one packet of any content
	statePrepared                      // the answer to a PREPARE
	stateParams                        // `left` parameter definitions
	stateParamsEOF                     // the EOF after them
	statePrepColumns                   // `left` column definitions of a prepared statement
	statePrepEOF                       // the EOF after them
	stateFields                        // column definitions up to OK or EOF
	stateDone
)

// Reply walks one command's answer, in whatever chunks it comes. The zero value is done; Reset starts it.
type Reply struct {
	cmd          Command
	deprecateEOF bool
	state        replyState
	left         int    // definitions that are still to come
	prepColumns  int    // columns of a prepared statement
	skip         int    // bytes of the present frame that are still to be passed over
	cont         bool   // the next frame continues the one before
	first        bool   // nothing was answered yet
	packet       int    // length of the packet of the last event, header included
	Rows         uint64 // rows passed, over all result sets

	observer   Observer // nil: none
	show       show     // what the present packet is to it
	definition []byte   // of a column, as much of it as has come
}

// Reset starts the answer of a command.
func (r *Reply) Reset(cmd Command, caps Capability) {
	*r = Reply{cmd: cmd, deprecateEOF: caps&CapDeprecateEOF != 0, first: true, definition: r.definition[:0]}
	switch cmd {
	case ComQuery, ComStmtExecute, ComStmtBulkExecute, ComProcessInfo:
		r.state = stateFirst
	case ComStmtPrepare:
		r.state = statePrepared
	case ComStmtFetch:
		r.state = stateRows
	case ComFieldList:
		r.state = stateFields
	case ComStatistics:
		r.state = stateText
	case ComQuit, ComStmtClose, ComStmtLongData:
		r.state = stateDone
	default:
		r.state = stateSingle
	}
}

// Done reports whether the answer is complete.
func (r *Reply) Done() bool { return r.state == stateDone && r.skip == 0 && !r.cont }

// PacketLen is the length of the last event's packet, header included: it is the last PacketLen bytes that Scan passed.
func (r *Reply) PacketLen() int { return r.packet }

// FirstEvent reports whether the last event was the answer's very first packet.
func (r *Reply) FirstEvent() bool { return r.first }

// SentFile tells that the local file has been sent: an OK or ERR follows.
func (r *Reply) SentFile() { r.state = stateFirst }

// Scan passes over b and stops behind the next packet that has a meaning, or where b ends. It returns how many bytes
// it passed. With EventMore the bytes that are left have to be given again, with more behind them; if the answer is
// done, they belong to nothing.
func (r *Reply) Scan(b []byte) (n int, ev Event, err error) {
	for {
		if r.skip > 0 {
			k := min(r.skip, len(b)-n)
			n += k
			r.skip -= k
			if r.show != showNothing {
				r.part(b[n-k:n], r.skip == 0 && !r.cont)
			}
			if r.skip > 0 {
				return n, EventMore, nil
			}
		}
		if r.state == stateDone && !r.cont {
			return n, EventMore, nil
		}
		rest := b[n:]
		if len(rest) < 4 {
			return n, EventMore, nil
		}
		length := frameLength(rest)
		if r.cont { // its first byte means nothing
			r.cont = length == MaxFrame
			n += 4
			r.skip = length
			if length == 0 && r.show != showNothing {
				r.part(nil, true)
			}
			continue
		}
		if length == 0 {
			if r.state != stateRows && r.state != stateText {
				return n, EventMore, malformed("empty packet")
			}
			n += 4
			if r.state == stateText {
				r.state, r.packet = stateDone, 4
				return n, EventOther, nil
			}
			r.Rows++
			if r.show = r.seen(); r.show != showNothing {
				r.part(nil, true)
			}
			continue
		}
		if len(rest) < 5 {
			return n, EventMore, nil
		}
		seen := r.seen()
		if r.passes(rest[4], length) {
			r.show = seen
			r.cont = length == MaxFrame
			n += 4
			r.skip = length
			continue
		}
		if length == MaxFrame {
			return n, EventMore, malformed("a control packet of 16 MB")
		}
		if len(rest) < 4+length {
			return n, EventMore, nil
		}
		r.first = r.first && r.packet == 0
		r.packet = 4 + length
		ev, err := r.control(rest[4 : 4+length])
		return n + 4 + length, ev, err
	}
}

// passes reports whether the frame is a row or a definition, and counts it.
func (r *Reply) passes(first byte, length int) bool {
	switch r.state {
	case stateRows:
		if first == headerERR || first == headerEOF && (length < 9 || r.deprecateEOF && length < MaxFrame) {
			return false
		}
		r.Rows++
		return true
	case stateFields:
		return first != headerERR && first != headerEOF
	case stateColumns, stateParams, statePrepColumns:
		if first == headerERR {
			return false
		}
		r.left--
		if r.left == 0 {
			r.afterDefinitions()
		}
		return true
	}
	return false
}

func (r *Reply) afterDefinitions() {
	switch r.state {
	case stateColumns:
		r.state = stateColumnsEOF
		if r.deprecateEOF {
			r.state = stateRows
		}
	case stateParams:
		r.state = stateParamsEOF
		if r.deprecateEOF {
			r.toPrepColumns()
		}
	case statePrepColumns:
		r.state = statePrepEOF
		if r.deprecateEOF {
			r.state = stateDone
		}
	}
}

func (r *Reply) toPrepColumns() {
	r.left, r.state = r.prepColumns, statePrepColumns
	if r.left == 0 {
		r.state = stateDone
	}
}

// control takes a packet that changes the state.
func (r *Reply) control(p []byte) (Event, error) {
	if p[0] == headerERR && r.state != stateText {
		r.state = stateDone
		return EventERR, nil
	}
	switch r.state {
	case stateFirst:
		switch p[0] {
		case headerOK:
			return r.ok(p)
		case headerLocalFile:
			return EventLocalFile, nil
		}
		c := NewCursor(p)
		columns := c.Lenenc()
		if c.Err() != nil || columns == 0 || columns > 1<<16 || c.Len() > 0 {
			return EventMore, malformed("column count")
		}
		r.left, r.state = int(columns), stateColumns
		if r.observer != nil {
			r.observer.Result(r.left)
		}
		return EventColumns, nil
	case stateColumnsEOF:
		e, err := ParseEOF(p)
		if err != nil {
			return EventMore, err
		}
		r.state = stateRows
		if e.Status&StatusCursorExists != 0 && r.cmd != ComQuery {
			r.state = stateDone // the rows are fetched
		}
		return EventEOF, nil
	case stateRows, stateFields, stateSingle:
		if p[0] == headerEOF && len(p) < 9 && !r.okInsteadOfEOF(p) {
			e, err := ParseEOF(p)
			if err != nil {
				return EventMore, err
			}
			r.more(e.Status)
			return EventEOF, nil
		}
		return r.ok(p)
	case stateText:
		r.state = stateDone
		return EventOther, nil
	case statePrepared:
		c := NewCursor(p)
		if c.Byte() != headerOK {
			return EventMore, malformed("answer to PREPARE")
		}
		c.Skip(4)
		r.prepColumns, r.left = int(c.Uint16()), int(c.Uint16())
		if c.Err() != nil {
			return EventMore, c.Err()
		}
		r.state = stateParams
		if r.left == 0 {
			r.toPrepColumns()
		}
		return EventPrepared, nil
	case stateParamsEOF, statePrepEOF:
		if _, err := ParseEOF(p); err != nil {
			return EventMore, err
		}
		if r.state == statePrepEOF {
			r.state = stateDone
		} else {
			r.toPrepColumns()
		}
		return EventEOF, nil
	}
	return EventMore, malformed("a packet where none is due")
}

// okInsteadOfEOF tells an OK with the header 0xFE from an EOF: both are short, but an EOF has five bytes.
func (r *Reply) okInsteadOfEOF(p []byte) bool { return r.deprecateEOF && len(p) != 5 }

func (r *Reply) ok(p []byte) (Event, error) {
	c := NewCursor(p)
	if h := c.Byte(); h != headerOK && h != headerEOF {
		return EventMore, malformed("neither OK, EOF nor ERR")
	}
	c.Lenenc()
	c.Lenenc()
	status := Status(c.Uint16())
	if c.Err() != nil {
		return EventMore, c.Err()
	}
	r.more(status)
	return EventOK, nil
}

// more goes on to the next result, if there is one.
func (r *Reply) more(status Status) {
	r.state = stateDone
	if status&StatusMoreResults != 0 && (r.cmd == ComQuery || r.cmd == ComStmtExecute || r.cmd == ComStmtBulkExecute) {
		r.state = stateFirst
	}
}
