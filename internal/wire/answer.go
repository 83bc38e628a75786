package wire

import (
	"encoding/binary"
	"fmt"
)

// OK is an OK packet, or the OK that ends a result set when EOF is deprecated.
type OK struct {
	Header   byte // 0x00, or 0xFE at the end of rows
	Affected uint64
	InsertID uint64
	Status   Status
	Warnings uint16
	Info     []byte
	State    []byte // session state changes, if Status has StatusSessionChanged
}

// ParseOK reads an OK packet's payload. Its slices point into it. With SESSION_TRACK agreed on, the text has a length
// and may be followed by state changes; servers give the text a length without it, too.
func ParseOK(payload []byte, caps Capability) (OK, error) {
	c := NewCursor(payload)
	ok := OK{Header: c.Byte()}
	if ok.Header != headerOK && ok.Header != headerEOF {
		return OK{}, malformed("not an OK packet")
	}
	ok.Affected = c.Lenenc()
	ok.InsertID = c.Lenenc()
	ok.Status = Status(c.Uint16())
	ok.Warnings = c.Uint16()
	if c.Err() == nil && c.Len() > 0 {
		if caps&CapSessionTrack == 0 {
			ok.Info = c.Rest()
			return ok, nil
		}
		ok.Info = c.LenencBytes()
		if ok.Status&StatusSessionChanged != 0 && c.Len() > 0 {
			ok.State = c.LenencBytes()
		}
	}
	return ok, c.Err()
}

// Append writes the OK's payload. Without state its flag is cleared, and an empty text leaves nothing.
func (ok OK) Append(b []byte) []byte {
	status := ok.Status
	if ok.State == nil {
		status &^= StatusSessionChanged
	}
	b = append(b, ok.Header)
	b = AppendLenenc(b, ok.Affected)
	b = AppendLenenc(b, ok.InsertID)
	b = binary.LittleEndian.AppendUint16(b, uint16(status))
	b = binary.LittleEndian.AppendUint16(b, ok.Warnings)
	if len(ok.Info) > 0 || ok.State != nil {
		b = AppendLenencBytes(b, ok.Info)
	}
	if ok.State != nil {
		b = AppendLenencBytes(b, ok.State)
	}
	return b
}

// EOF is an EOF packet.
type EOF struct {
	Warnings uint16
	Status   Status
}

// ParseEOF reads an EOF packet's payload.
func ParseEOF(payload []byte) (EOF, error) {
	c := NewCursor(payload)
	if c.Byte() != headerEOF {
		return EOF{}, malformed("not an EOF packet")
	}
	e := EOF{Warnings: c.Uint16(), Status: Status(c.Uint16())}
	return e, c.Err()
}

// ServerError is an ERR packet.
type ServerError struct {
	Code    uint16
	State   string // five characters
	Message string
}

func (e *ServerError) Error() string {
	return fmt.Sprintf("server error %d (%s): %s", e.Code, e.State, e.Message)
}

// ParseERR reads an ERR packet's payload. Before the login is over it may have no SQL state.
func ParseERR(payload []byte) (*ServerError, error) {
	c := NewCursor(payload)
	if c.Byte() != headerERR {
		return nil, malformed("not an ERR packet")
	}
	e := &ServerError{Code: c.Uint16(), State: "HY000"}
	if c.Len() >= 6 && c.b[0] == '#' {
		c.Skip(1)
		e.State = string(c.Bytes(5))
	}
	e.Message = string(c.Rest())
	return e, c.Err()
}

// Append writes the ERR's payload.
func (e *ServerError) Append(b []byte) []byte {
	state := e.State
	if len(state) != 5 {
		state = "HY000"
	}
	b = append(b, headerERR)
	b = binary.LittleEndian.AppendUint16(b, e.Code)
	b = append(b, '#')
	b = append(b, state...)
	return append(b, e.Message...)
}

// Kinds of session state change.
const (
	TrackSystemVariable = 0
	TrackSchema         = 1
	TrackStateChange    = 2
	TrackGTIDs          = 3
	TrackTransaction    = 4
	TrackTransState     = 5
)

// Change is one session state change: a variable with its value, or a text such as the schema's name.
type Change struct {
	Kind  byte
	Name  []byte // of a system variable
	Value []byte
}

// ParseState reads the session state changes of an OK packet.
func ParseState(state []byte) ([]Change, error) {
	var changes []Change
	c := NewCursor(state)
	for c.Err() == nil && c.Len() > 0 {
		kind := c.Byte()
		body := NewCursor(c.LenencBytes())
		switch kind {
		case TrackSystemVariable:
			for body.Err() == nil && body.Len() > 0 {
				changes = append(changes, Change{Kind: kind, Name: body.LenencBytes(), Value: body.LenencBytes()})
			}
		case TrackSchema, TrackTransaction, TrackTransState:
			changes = append(changes, Change{Kind: kind, Value: body.LenencBytes()})
		default: // MariaDB's TrackStateChange has no length of its own
			changes = append(changes, Change{Kind: kind, Value: body.Rest()})
		}
		if body.Err() != nil {
			return nil, body.Err()
		}
	}
	return changes, c.Err()
}

// FilterState leaves system variables out of session state changes. It answers nil if nothing is left, or if
// the state is not understood.
func FilterState(state []byte, drop func(name []byte) bool) []byte {
	var kept []byte
	c := NewCursor(state)
	for c.Len() > 0 {
		from := c.b
		kind := c.Byte()
		body := c.LenencBytes()
		if c.Err() != nil {
			return nil
		}
		entry := from[:len(from)-c.Len()]
		if kind == TrackSystemVariable && drop(NewCursor(body).LenencBytes()) {
			continue
		}
		kept = append(kept, entry...)
	}
	return kept
}
