package capture

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// Blocks are messages in protobuf's wire format: whoever reads them passes over fields that it does not know. The numbers below are the format, and are
// never used for anything else.
const (
	blockGateway protowire.Number = iota + 1
	blockRun
	blockServer
	blockVersion
	blockGTID
	blockMasked
	blockIndex
	blockBase // unix nanoseconds that the events' times are counted from
	blockDropped
	blockEvent
)

const (
	dropReason protowire.Number = iota + 1
	dropCount
)

const (
	eventKind protowire.Number = iota + 1
	eventSeq                   // the difference to the event before
	eventConn
	eventAt // the difference to the event before, zigzag
	eventEpoch
	eventUser
	eventSchema
	eventCharset
	eventCommand
	eventPayload
	eventStatement
	eventTypes
	eventTxn
	eventCut
	eventOf // its own Seq minus that of the Start
	eventFirstByte
	eventTook
	eventErrno
	eventSQLState
	eventWarnings
	eventAffected
	eventInsertID
	eventStatus
	eventColumns
	eventRows
	eventBytes
	eventOrdered
	eventMultiset
	eventUnfinished
	eventGTID
)

func number(b []byte, n protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), v)
}

func hash(b []byte, n protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendFixed64(protowire.AppendTag(b, n, protowire.Fixed64Type), v)
}

func text[T string | []byte](b []byte, n protowire.Number, v T) []byte {
	if len(v) == 0 {
		return b
	}
	b = protowire.AppendTag(b, n, protowire.BytesType)
	return append(protowire.AppendVarint(b, uint64(len(v))), v...)
}

func yes(b []byte, n protowire.Number, v bool) []byte {
	if v {
		return number(b, n, 1)
	}
	return b
}

// appendHead adds all of a block but its events.
func appendHead(b []byte, m Meta, index uint64, base time.Time, dropped map[string]uint64) []byte {
	b = text(b, blockGateway, m.Gateway)
	b = hash(b, blockRun, m.Run)
	b = text(b, blockServer, m.Server)
	b = text(b, blockVersion, m.Version)
	b = text(b, blockGTID, m.GTID)
	b = yes(b, blockMasked, m.Masked)
	b = number(b, blockIndex, index)
	if !base.IsZero() {
		b = number(b, blockBase, uint64(base.UnixNano()))
	}
	for reason, n := range dropped {
		b = text(b, blockDropped, number(text(nil, dropReason, reason), dropCount, n))
	}
	return b
}

// encoder writes events one after the other, each as the difference to the one before.
type encoder struct {
	seq     uint64
	at      int64
	scratch []byte
}

func (e *encoder) append(b []byte, v *Event) []byte {
	m := e.scratch[:0]
	at := v.At.UnixNano()
	m = number(m, eventKind, uint64(v.Kind))
	m = number(m, eventSeq, v.Seq-e.seq)
	m = number(m, eventConn, v.Conn)
	m = number(m, eventAt, protowire.EncodeZigZag(at-e.at))
	e.seq, e.at = v.Seq, at
	switch v.Kind {
	case Session:
		m = number(m, eventEpoch, v.Epoch)
		m = text(m, eventUser, v.User)
		m = text(m, eventSchema, v.Schema)
		m = number(m, eventCharset, uint64(v.Charset))
	case Start:
		m = number(m, eventEpoch, v.Epoch)
		m = number(m, eventCommand, uint64(v.Command))
		m = text(m, eventPayload, v.Payload)
		m = number(m, eventStatement, uint64(v.Statement))
		m = text(m, eventTypes, v.Types)
		m = number(m, eventTxn, v.Txn)
		m = number(m, eventCut, v.Cut)
	case End:
		m = number(m, eventOf, v.Seq-v.Of)
		m = number(m, eventFirstByte, uint64(v.FirstByte))
		m = number(m, eventTook, uint64(v.Took))
		m = number(m, eventErrno, uint64(v.Errno))
		m = text(m, eventSQLState, v.SQLState)
		m = number(m, eventWarnings, uint64(v.Warnings))
		m = number(m, eventAffected, v.Affected)
		m = number(m, eventInsertID, v.InsertID)
		m = number(m, eventStatus, uint64(v.Status))
		m = hash(m, eventColumns, v.Columns)
		m = number(m, eventRows, v.Rows)
		m = number(m, eventBytes, v.Bytes)
		m = hash(m, eventOrdered, v.Ordered)
		if v.Rows > 1 || v.Multiset != v.Ordered { // one row has no order
			m = hash(m, eventMultiset, v.Multiset)
		}
		m = yes(m, eventUnfinished, v.Unfinished)
		m = text(m, eventGTID, v.GTID)
	}
	e.scratch = m
	return text(b, blockEvent, m)
}

var errFormat = errors.New("not a block of this format")

// fields calls f for each field of a message. Integers come as n, all else as b, which lies in the message.
func fields(m []byte, f func(num protowire.Number, n uint64, b []byte) error) error {
	for len(m) > 0 {
		num, typ, l := protowire.ConsumeTag(m)
		if l < 0 {
			return fmt.Errorf("%w: %w", errFormat, protowire.ParseError(l))
		}
		m = m[l:]
		var n uint64
		var b []byte
		switch typ {
		case protowire.VarintType:
			n, l = protowire.ConsumeVarint(m)
		case protowire.Fixed64Type:
			n, l = protowire.ConsumeFixed64(m)
		case protowire.BytesType:
			b, l = protowire.ConsumeBytes(m)
		default:
			l = protowire.ConsumeFieldValue(num, typ, m)
		}
		if l < 0 {
			return fmt.Errorf("%w: field %d: %w", errFormat, num, protowire.ParseError(l))
		}
		m = m[l:]
		if err := f(num, n, b); err != nil {
			return err
		}
	}
	return nil
}

// decodeBlock reads a block. The events' payloads lie in m.
func decodeBlock(m []byte) (Block, error) {
	var b Block
	var seq uint64
	var at int64
	err := fields(m, func(num protowire.Number, n uint64, v []byte) error {
		switch num {
		case blockGateway:
			b.Meta.Gateway = string(v)
		case blockRun:
			b.Meta.Run = n
		case blockServer:
			b.Meta.Server = string(v)
		case blockVersion:
			b.Meta.Version = string(v)
		case blockGTID:
			b.Meta.GTID = string(v)
		case blockMasked:
			b.Meta.Masked = n != 0
		case blockIndex:
			b.Index = n
		case blockBase:
			at = int64(n)
		case blockDropped:
			var reason string
			var count uint64
			if err := fields(v, func(num protowire.Number, n uint64, v []byte) error {
				switch num {
				case dropReason:
					reason = string(v)
				case dropCount:
					count = n
				}
				return nil
			}); err != nil {
				return err
			}
			if b.Dropped == nil {
				b.Dropped = map[string]uint64{}
			}
			b.Dropped[reason] += count
		case blockEvent:
			e, err := decodeEvent(v, &seq, &at)
			if err != nil {
				return err
			}
			b.Events = append(b.Events, e)
		}
		return nil
	})
	return b, err
}

func decodeEvent(m []byte, seq *uint64, at *int64) (e Event, err error) {
	err = fields(m, func(num protowire.Number, n uint64, v []byte) error {
		switch num {
		case eventKind:
			e.Kind = EventKind(n)
		case eventSeq:
			*seq += n
		case eventConn:
			e.Conn = n
		case eventAt:
			*at += protowire.DecodeZigZag(n)
		case eventEpoch:
			e.Epoch = n
		case eventUser:
			e.User = string(v)
		case eventSchema:
			e.Schema = string(v)
		case eventCharset:
			e.Charset = uint16(n)
		case eventCommand:
			e.Command = byte(n)
		case eventPayload:
			e.Payload = v
		case eventStatement:
			e.Statement = uint32(n)
		case eventTypes:
			e.Types = v
		case eventTxn:
			e.Txn = n
		case eventCut:
			e.Cut = n
		case eventOf:
			e.Of = n // the difference, until the number is known
		case eventFirstByte:
			e.FirstByte = time.Duration(n)
		case eventTook:
			e.Took = time.Duration(n)
		case eventErrno:
			e.Errno = uint16(n)
		case eventSQLState:
			e.SQLState = string(v)
		case eventWarnings:
			e.Warnings = uint16(n)
		case eventAffected:
			e.Affected = n
		case eventInsertID:
			e.InsertID = n
		case eventStatus:
			e.Status = uint16(n)
		case eventColumns:
			e.Columns = n
		case eventRows:
			e.Rows = n
		case eventBytes:
			e.Bytes = n
		case eventOrdered:
			e.Ordered = n
		case eventMultiset:
			e.Multiset = n
		case eventUnfinished:
			e.Unfinished = n != 0
		case eventGTID:
			e.GTID = string(v)
		}
		return nil
	})
	e.Seq, e.At = *seq, time.Unix(0, *at)
	if e.Kind == End {
		e.Of = e.Seq - e.Of
		if e.Rows <= 1 && e.Multiset == 0 {
			e.Multiset = e.Ordered
		}
	}
	return e, err
}
