package wire

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
)

// Result is the answer to a text query of our own: the last result set, or an OK.
type Result struct {
	Columns []string
	Types   []ColumnType
	Rows    [][][]byte // nil is NULL
	OK      OK         // Status and Warnings also after rows
}

// ColumnType is what a column's definition says of its values.
type ColumnType struct {
	Type  byte // one of the Type constants, or another of the protocol's
	Flags uint16
}

// Column types and flags of the protocol, as far as they tell kinds of values apart.
const (
	TypeDouble       = 0x05
	TypeLongLong     = 0x08
	TypeNewDecimal   = 0xf6
	TypeFirstText    = 0xf9 // this and those above, but for geometry, are texts and bytes
	TypeLastText     = 0xfe
	ColumnIsUnsigned = 0x20
)

// Named is a field of the result by its column's name; false if it is not there or NULL.
func (r Result) Named(row int, column string) (string, bool) {
	for i, name := range r.Columns {
		if name == column && row < len(r.Rows) && r.Rows[row][i] != nil {
			return string(r.Rows[row][i]), true
		}
	}
	return "", false
}

// Value is a field of the result; NULL and what is not there are empty.
func (r Result) Value(row, column int) string {
	if row >= len(r.Rows) || column >= len(r.Rows[row]) {
		return ""
	}
	return string(r.Rows[row][column])
}

// Query runs one statement of our own and reads its whole answer, held in memory. A refusal is a *ServerError and leaves the
// connection usable; any other error does not.
func (b *Backend) Query(sql string) (Result, error) {
	results, errs, err := b.QueryMany(sql)
	if err != nil {
		return Result{}, err
	}
	return results[0], errs[0]
}

// QueryMany writes several statements at once and reads their answers: one round trip. Each has its own refusal, or
// nil; err means that the connection is lost.
func (b *Backend) QueryMany(statements ...string) (results []Result, refused []error, err error) {
	var out []byte
	first := make([]byte, len(statements)) // number of each answer's first packet
	head := []byte{byte(ComQuery)}
	if b.Caps&CapQueryAttributes != 0 {
		head = append(head, 0, 1) // no attributes, in one set
	}
	for i, sql := range statements {
		b.Seq = 0
		out = b.AppendFrames(out, append(head[:len(head):len(head)], sql...))
		first[i] = b.Seq
	}
	if err := b.WriteAll(out); err != nil {
		return nil, nil, err
	}
	results = make([]Result, len(statements))
	refused = make([]error, len(statements))
	for i := range statements {
		b.Seq = first[i]
		if results[i], refused[i], err = b.readResult(ComQuery); err != nil {
			return nil, nil, err
		}
	}
	b.Seq = 0
	return results, refused, nil
}

// Simple sends a command whose answer is one OK, EOF or ERR.
func (b *Backend) Simple(payload []byte) (Result, error) {
	b.Seq = 0
	if err := b.WritePacket(payload); err != nil {
		return Result{}, err
	}
	res, refused, err := b.readResult(Command(payload[0]))
	b.Seq = 0
	if err == nil {
		err = refused
	}
	return res, err
}

// Prepared is the answer to a PREPARE.
type Prepared struct {
	ID              uint32
	Columns, Params uint16
}

// Prepare prepares a statement of our own; its payload begins with the command byte.
func (b *Backend) Prepare(payload []byte) (Prepared, error) {
	b.Seq = 0
	if err := b.WritePacket(payload); err != nil {
		return Prepared{}, err
	}
	var r Reply
	r.Reset(ComStmtPrepare, b.Caps)
	var p Prepared
	for !r.Done() {
		payload, ev, err := b.next(&r)
		if err != nil {
			return p, err
		}
		switch ev {
		case EventERR:
			refused, err := ParseERR(payload)
			b.Seq = 0
			if err != nil {
				return p, err
			}
			return p, refused
		case EventPrepared:
			c := NewCursor(payload[1:])
			p = Prepared{ID: c.Uint32(), Columns: c.Uint16(), Params: c.Uint16()}
		}
	}
	b.Seq = 0
	return p, nil
}

// next reads one packet and passes it through the reply.
func (b *Backend) next(r *Reply) ([]byte, Event, error) {
	payload, err := b.ReadPacket()
	if err != nil {
		return nil, EventMore, err
	}
	// The packet may have been joined of several frames: walk a frame of it that is whole.
	head := []byte{byte(len(payload)), byte(len(payload) >> 8), byte(len(payload) >> 16), 0}
	if len(payload) >= MaxFrame {
		return payload, EventMore, nil // only rows are that long
	}
	_, ev, err := r.Scan(append(head, payload...))
	return payload, ev, err
}

func (b *Backend) readResult(cmd Command) (res Result, refused, err error) {
	var r Reply
	r.Reset(cmd, b.Caps)
	columns, before := 0, uint64(0)
	for !r.Done() {
		before = r.Rows
		payload, ev, err := b.next(&r)
		if err != nil {
			return res, nil, err
		}
		switch ev {
		case EventERR:
			refused, err := ParseERR(payload)
			if err != nil {
				return res, nil, err
			}
			return res, refused, nil
		case EventOK:
			ok, err := ParseOK(append([]byte(nil), payload...), b.Caps)
			if err != nil {
				return res, nil, err
			}
			res.OK = ok
		case EventEOF:
			e, err := ParseEOF(payload)
			if err != nil {
				return res, nil, err
			}
			res.OK = OK{Status: e.Status, Warnings: e.Warnings}
		case EventColumns:
			columns, res.Rows, res.Columns, res.Types = int(NewCursor(payload).Lenenc()), nil, nil, nil
		case EventLocalFile:
			return res, nil, malformed("the server asks us for a file")
		case EventMore:
			if r.Rows == before && len(payload) < MaxFrame {
				c := NewCursor(payload)
				for range 4 { // catalog, schema, table, original table
					c.LenencBytes()
				}
				res.Columns = append(res.Columns, string(c.LenencBytes()))
				res.Types = append(res.Types, columnType(c))
				continue
			}
			row := make([][]byte, columns)
			c := NewCursor(append([]byte(nil), payload...))
			for i := range row {
				row[i] = c.value()
			}
			if c.Err() != nil {
				return res, nil, c.Err()
			}
			res.Rows = append(res.Rows, row)
		}
	}
	return res, nil, nil
}

// columnType reads the rest of a column's definition. Of one that is cut short it answers what no column has: nothing is guessed of it.
func columnType(c *Cursor) ColumnType {
	c.LenencBytes() // original name
	fixed := NewCursor(c.LenencBytes())
	if c.Len() > 12 { // that was MariaDB's extended metadata
		fixed = NewCursor(c.LenencBytes())
	}
	fixed.Skip(6) // character set, length
	t := ColumnType{Type: fixed.Byte(), Flags: fixed.Uint16()}
	if c.Err() != nil || fixed.Err() != nil {
		return ColumnType{Type: 0xff}
	}
	return t
}

func verifyChain(s tls.ConnectionState, roots *x509.CertPool) error {
	if len(s.PeerCertificates) == 0 {
		return fmt.Errorf("the server showed no certificate")
	}
	opts := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
	for _, c := range s.PeerCertificates[1:] {
		opts.Intermediates.AddCert(c)
	}
	_, err := s.PeerCertificates[0].Verify(opts)
	return err
}
