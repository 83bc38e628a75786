package capture

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// A block's head is a message in protobuf's wire format: whoever reads it passes over fields that it does not know. The numbers below are the format, and are
// never used for anything else.
const (
	blockGateway protowire.Number = iota + 1
	blockRun
	blockServer
	blockVersion
	_ // the server's position, which nobody knew
	blockMasked
	blockIndex
	blockBase // unix microseconds that the events' times are counted from
	blockDropped
	_ // events, before they were columns
	blockSource
	blockEvents // how many there are
	blockStatements
	blockEnded
	blockUntil // unix microseconds
	blockOn    // microseconds before it, from which on the block speaks for all that was seen
	blockHold  // microseconds after it, within which the next one comes
)

// maxHold is the most that a block can promise, in microseconds: a year.
const maxHold = uint64(365 * 24 * time.Hour / time.Microsecond)

// watch is from when to when a block says that the capture was on, in unix microseconds, and for how many it holds; zero: it says nothing.
type watch struct{ from, until, hold int64 }

const (
	dropReason protowire.Number = iota + 1
	dropCount
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
func appendHead(b []byte, m Meta, index uint64, events int, statements uint64, ended bool, base int64, on watch, dropped map[string]uint64) []byte {
	b = text(b, blockGateway, m.Gateway)
	b = hash(b, blockRun, m.Run)
	b = text(b, blockServer, m.Server)
	b = text(b, blockVersion, m.Version)
	b = yes(b, blockMasked, m.Masked)
	b = number(b, blockIndex, index)
	b = number(b, blockBase, uint64(base))
	b = text(b, blockSource, m.Source)
	b = number(b, blockEvents, uint64(events))
	b = number(b, blockStatements, statements)
	b = yes(b, blockEnded, ended)
	if on.until > on.from {
		b = number(b, blockUntil, uint64(on.until))
		b = number(b, blockOn, uint64(on.until-on.from))
		b = number(b, blockHold, uint64(on.hold))
	}
	for reason, n := range dropped {
		b = text(b, blockDropped, number(text(nil, dropReason, reason), dropCount, n))
	}
	return b
}

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

// head is what a block's head says of its events.
type head struct {
	events, statements uint64
	base               int64 // what their times are counted from
}

// decodeHead reads a block's head.
func decodeHead(m []byte) (b Block, h head, err error) {
	var until, on int64
	err = fields(m, func(num protowire.Number, n uint64, v []byte) error {
		switch num {
		case blockGateway:
			b.Meta.Gateway = string(v)
		case blockRun:
			b.Meta.Run = n
		case blockServer:
			b.Meta.Server = string(v)
		case blockVersion:
			b.Meta.Version = string(v)
		case blockMasked:
			b.Meta.Masked = n != 0
		case blockIndex:
			b.Index = n
		case blockBase:
			h.base = int64(n)
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
		case blockSource:
			b.Meta.Source = string(v)
		case blockEvents:
			h.events = n
		case blockStatements:
			h.statements = n
		case blockEnded:
			b.Ended = n != 0
		case blockUntil:
			until = int64(n)
		case blockOn:
			on = int64(n)
		case blockHold:
			b.Hold = time.Duration(min(n, maxHold)) * time.Microsecond
		}
		return nil
	})
	if until > 0 && on > 0 && on <= until {
		b.From, b.Until = time.UnixMicro(until-on).UTC(), time.UnixMicro(until).UTC()
	}
	return b, h, err
}
