package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/windlass-db/windlass/internal/capture"
	"github.com/windlass-db/windlass/internal/capture/source"
	"github.com/windlass-db/windlass/internal/capture/store"
	"github.com/windlass-db/windlass/internal/replay/tally"
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
		rd.watched(s, b)
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
	if at := until(s.block); !at.IsZero() {
		rd.giveUp(s, at)
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

// until is up to when a block tells what there was.
func until(b capture.Block) (at time.Time) {
	at = b.Until
	if n := len(b.Events); n > 0 && b.Events[n-1].At.After(at) {
		at = b.Events[n-1].At
	}
	return at
}

// watched counts the time in which the capture was on by the block's word, and notes how far its run has come. A server's log says nothing of either.
func (rd *reader) watched(s *stream, b capture.Block) {
	if b.Meta.Source != "" || s.done {
		return
	}
	from, to := b.From, b.Until
	s.tells = s.tells || !to.IsZero()
	run := tally.Run{Gateway: s.key.Gateway, Number: s.key.Run, From: from, Until: until(b), Hold: b.Hold, Ended: b.Ended}
	if run.From.IsZero() && len(b.Events) > 0 {
		run.From = b.Events[0].At
	}
	if rd.r.From.After(from) {
		from = rd.r.From
	}
	if end := rd.r.To; !end.IsZero() {
		if to.After(end) {
			to = end
		}
		run.Ended = run.Ended || !run.Until.Add(b.Hold).Before(end) // what comes then is not asked for
	}
	if len(b.Events) == 0 && len(rd.active) == 0 && !to.IsZero() {
		rd.r.seen.at.Store(to.UnixNano())
	}
	s.part.mu.Lock()
	defer s.part.mu.Unlock()
	s.part.tally.AddRun(run)
	if rd.r.Share.first() && !b.Until.IsZero() {
		s.part.tally.AddWatched(s.key.Gateway, from, to)
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
