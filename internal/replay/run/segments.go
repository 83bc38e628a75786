package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/windlass-db/windlass/internal/capture"
	"github.com/windlass-db/windlass/internal/capture/source"
	"github.com/windlass-db/windlass/internal/capture/store"
)

// next goes on to the stream's next block that has events. A stream that has none is not active.
func (rd *reader) next(ctx context.Context, s *stream) error {
	for {
		if s.read == nil {
			if len(s.queue) == 0 {
				s.block, s.at = capture.Block{}, 0
				rd.active = slices.DeleteFunc(rd.active, func(o *stream) bool { return o == s })
				return nil
			}
			seg := s.queue[0]
			s.queue = s.queue[1:]
			if err := rd.openSegment(ctx, s, seg); err != nil {
				return err
			}
			continue
		}
		b, err := s.read.Next()
		if errors.Is(err, io.EOF) {
			rd.closeSegment(s)
			continue
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", s.part.segment.Name, err)
		}
		s.block, s.at = b, 0
		s.lacks = lacks(b.Meta.Source)
		rd.told(s, b.Meta.Source)
		rd.missing(s, b)
		if len(b.Events) > 0 {
			if !slices.Contains(rd.active, s) {
				rd.active = append(rd.active, s)
			}
			return nil
		}
	}
}

func (rd *reader) openSegment(ctx context.Context, s *stream, seg store.Segment) error {
	in, err := rd.r.Source.Read(ctx, seg)
	if errors.Is(err, store.ErrGone) {
		rd.r.Log.Warn("a segment is not there any more: its statements are counted as dropped, as far as their numbers tell", "segment", seg.Name)
		return nil
	}
	if err != nil {
		return fmt.Errorf("open %s: %w", seg.Name, err)
	}
	_, s.done, _ = rd.r.ledger.stands(seg)
	read, err := capture.NewReader(in, rd.r.Key)
	if errors.Is(err, capture.ErrNotCapture) { // as empty, or cut before its first byte
		in.Close()
		rd.r.Log.Warn("a file is no capture, and is passed over", "segment", seg.Name)
		p := rd.r.ledger.begin(seg)
		p.edge = s.edge
		p.tally.AddNote("file that is no capture", 1)
		p.done(rd.r.ledger)
		return nil
	}
	if err != nil {
		in.Close()
		return fmt.Errorf("open %s: %w", seg.Name, err)
	}
	s.in, s.read = in, read
	if s.done {
		s.part = newPart(seg) // counts for nobody
	} else {
		s.part = rd.r.ledger.begin(seg)
	}
	return nil
}

// closeSegment ends a segment that was read to its end.
func (rd *reader) closeSegment(s *stream) {
	loss := s.read.Loss()
	s.read.Close()
	s.in.Close()
	s.read, s.in = nil, nil
	if n := len(s.block.Events); n > 0 {
		rd.giveUp(s, s.block.Events[n-1].At)
	}
	p := s.part
	p.edge = edge{Seq: s.edge.Seq, Dropped: maps.Clone(s.edge.Dropped)}
	p.mu.Lock()
	p.tally.AddNote("damaged place in the capture", int64(loss.Damaged))
	if loss.Cut {
		p.tally.AddNote("file that ends in the middle of a block", 1)
	}
	p.mu.Unlock()
	p.done(rd.r.ledger)
}

// told notes what a source that is no gateway does not record, once for each file.
func (rd *reader) told(s *stream, from string) {
	if from == "" || s.told == s.part || s.done {
		return
	}
	s.told = s.part
	s.part.mu.Lock()
	defer s.part.mu.Unlock()
	for _, what := range source.Lacks(from).Strings() {
		s.part.tally.AddNote(from+" does not record: "+what, 1)
	}
}

// missing counts what was dropped or lost between the block before and this one.
func (rd *reader) missing(s *stream, b capture.Block) {
	count := !s.done && rd.r.Share.first()
	p := s.part
	p.mu.Lock()
	defer p.mu.Unlock()
	if !s.edged && b.Index > 1 {
		s.edge.Dropped = maps.Clone(b.Dropped) // before our beginning
	}
	for reason, n := range b.Dropped {
		was := s.edge.Dropped[reason]
		if n <= was {
			continue
		}
		if s.edge.Dropped == nil {
			s.edge.Dropped = map[string]uint64{}
		}
		s.edge.Dropped[reason] = n
		switch {
		case !count:
		case reason == "end":
			p.tally.AddNote("answer that was not kept", int64(n-was))
		case reason == "quota-earlier": // in files of another capture
			p.tally.AddNote("file of an earlier capture that its quota deleted", int64(n-was))
		default:
			p.tally.AddDropped(reason, int64(n-was))
		}
	}
	if first := b.First(); first > 0 {
		if gap := int64(first) - int64(s.edge.Seq) - 1; gap > 0 && (s.edged || b.Index > 1 && s.edge.Seq > 0) && count {
			p.tally.AddDropped("lost", (gap+1)/2) // a statement is two events; how many of them were statements is not known
		}
		s.edge.Seq = b.Last()
	}
	s.edged = true
}
