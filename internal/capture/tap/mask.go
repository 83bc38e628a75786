package tap

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"strconv"

	"github.com/windlass-db/windlass/internal/capture"
	"github.com/windlass-db/windlass/internal/query"
	"github.com/windlass-db/windlass/internal/wire"
)

// mask puts, in the place of each literal, a text with its kind, its length in bytes and a keyed hash of it: 's5:9f86d081884c7d65'. So equal values are
// still equal, a fingerprint stays what it was, and no value can be read.
//
// Kinds: s a text, n a number, x hexadecimal or bits; of parameters t and the number of its type.
type mask struct {
	hash hash.Hash
	sum  []byte
	out  []byte
}

func newMask(key []byte) *mask { return &mask{hash: hmac.New(sha256.New, key)} }

// value adds what stands for a value.
func (m *mask) value(out []byte, kind string, v []byte) []byte {
	m.hash.Reset()
	m.hash.Write(v)
	m.sum = m.hash.Sum(m.sum[:0])
	out = append(out, kind...)
	out = strconv.AppendInt(out, int64(len(v)), 10)
	out = append(out, ':')
	return hex.AppendEncode(out, m.sum[:8])
}

// text masks a statement's text. Comments go. It reports false if it can't tell literals from the rest for sure: in some character sets the second byte of
// a character may be a \.
func (m *mask) text(text []byte, mode query.Mode) ([]byte, bool) {
	for i, c := range text {
		if c == '\\' && i > 0 && text[i-1] >= 0x80 {
			return nil, false
		}
	}
	out := m.out[:0]
	last := 0
	query.Tokens(text, mode, func(from, to int, literal bool) {
		gap := text[last:from]
		if len(bytes.Trim(gap, " \t\r\n\f\v")) > 0 {
			out = append(out, ' ') // a comment
		} else {
			out = append(out, gap...)
		}
		last = to
		token := text[from:to]
		if !literal {
			out = append(out, token...)
			return
		}
		out = append(out, '\'')
		out = m.value(out, literalKind(token), token)
		out = append(out, '\'')
	})
	m.out = out
	return out, true
}

func literalKind(token []byte) string {
	switch c := token[0] | 0x20; {
	case token[0] == '\'' || token[0] == '"' || c == 'n' || token[0] == '_':
		return "s"
	case c == 'x' || c == 'b', len(token) > 1 && token[0] == '0' && (token[1]|0x20 == 'x' || token[1]|0x20 == 'b'):
		return "x"
	}
	return "n"
}

// event masks a statement, a prepared statement's text or a session's settings.
func (m *mask) event(e *capture.Event, mode query.Mode) {
	refuse := func() { e.Payload, e.Withheld = nil, capture.WithheldMasked }
	switch {
	case e.Kind == capture.Session:
		kept := e.Settings[:0]
		for _, s := range e.Settings {
			if out, ok := m.text([]byte(s), mode); ok {
				kept = append(kept, string(out))
			} else {
				e.Partial = true
			}
		}
		e.Settings = kept
	case len(e.Payload) == 0 || e.Kind != capture.Start && e.Kind != capture.Known:
	case e.Kind == capture.Known, e.Command == byte(wire.ComQuery), e.Command == byte(wire.ComStmtPrepare):
		out, ok := m.text(e.Payload, mode)
		if !ok {
			refuse()
			return
		}
		e.Payload = out
	case e.Command == byte(wire.ComStmtExecute):
		e.Payload = m.parameters(e.Payload, e.Types)
	case e.Command == byte(wire.ComStmtLongData):
		e.Payload = m.rest(e.Payload, 6)
	case e.Command == byte(wire.ComStmtBulkExecute):
		e.Payload = m.rest(e.Payload, 6)
	case e.Command == byte(wire.ComInitDB), e.Command == byte(wire.ComFieldList), e.Command == byte(wire.ComStmtFetch), e.Command == byte(wire.ComStmtClose),
		e.Command == byte(wire.ComStmtReset), e.Command == byte(wire.ComSetOption): // names and numbers
	default:
		refuse()
	}
}

// rest masks all behind the first bytes, as one value.
func (m *mask) rest(p []byte, head int) []byte {
	if len(p) <= head {
		return p
	}
	out := append(m.out[:0], p[:head]...)
	m.out = appendItem(out, m.value(nil, "?", p[head:]))
	return m.out
}

func appendItem(out, item []byte) []byte { return wire.AppendLenencBytes(out, item) }

// executeHead is what comes before the parameters of an EXECUTE: id, flags, iterations.
const executeHead = 9

// parameters masks those of an EXECUTE: behind its head comes a text for each, NULL or its type, length and hash. If they are not what their types say
// (one was sent ahead, as long data), all are one value.
func (m *mask) parameters(p, types []byte) []byte {
	n := len(types) / 2
	if len(p) <= executeHead {
		return p
	}
	c := wire.NewCursor(p[executeHead:])
	nulls := c.Bytes((n + 7) / 8)
	if c.Byte() == 1 {
		c.Skip(len(types))
	}
	out := append(m.out[:0], p[:executeHead]...)
	for i := range n {
		if c.Err() != nil {
			break
		}
		kind := types[2*i]
		if nulls[i/8]&(1<<(i%8)) != 0 || kind == typeNull {
			out = appendItem(out, []byte("NULL"))
			continue
		}
		out = appendItem(out, m.value(nil, "t"+strconv.Itoa(int(kind))+":", parameter(c, kind)))
	}
	if n == 0 || c.Err() != nil || c.Len() > 0 {
		return m.rest(p, executeHead)
	}
	m.out = out
	return out
}

// Types of parameters that have a length of their own.
const (
	typeNull     = 0x06
	typeTiny     = 0x01
	typeShort    = 0x02
	typeLong     = 0x03
	typeFloat    = 0x04
	typeInt24    = 0x09
	typeYear     = 0x0d
	typeTime     = 0x0b
	typeDate     = 0x0a
	typeDatetime = 0x0c
	typeStamp    = 0x07
)

// parameter takes the value of one.
func parameter(c *wire.Cursor, kind byte) []byte {
	switch kind {
	case typeTiny:
		return c.Bytes(1)
	case typeShort, typeYear:
		return c.Bytes(2)
	case typeLong, typeInt24, typeFloat:
		return c.Bytes(4)
	case wire.TypeLongLong, wire.TypeDouble:
		return c.Bytes(8)
	case typeDate, typeTime, typeDatetime, typeStamp:
		return c.Bytes(int(c.Byte()))
	}
	return c.LenencBytes()
}
