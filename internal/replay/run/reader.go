package run

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/windlass-db/windlass/internal/capture"
	"github.com/windlass-db/windlass/internal/capture/store"
	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/replay/pace"
	"github.com/windlass-db/windlass/internal/replay/session"
	"github.com/windlass-db/windlass/internal/replay/tally"
)

// reader takes the capture's events in order of time, over all runs of all gateways.
type reader struct {
	r       *replay
	streams map[runOf]*stream
	active  []*stream // that have an event
	classes classes
	counts  bool // the event is counted, and not read for its state alone
	over    bool // the source gives nothing more
	polled  time.Time
	failing time.Time // the source fails since then
}

// stream is one run of a gateway.
type stream struct {
	key     runOf
	salt    uint64
	queue   []store.Segment
	in      io.ReadCloser
	read    *capture.Reader
	part    *part // being read; nil: none
	told    *part // whose source's lacks are noted
	done    bool  // it was done before
	block   capture.Block
	at      int // in the block's events
	lacks   compare.Lacks
	edge    edge
	edged   bool // the edge is known
	tells   bool // its blocks say when the capture was on
	clients map[uint64]*client
	open    map[uint64]*job // statements whose answer was not read, by their numbers
}

func newReader(r *replay) *reader { return &reader{r: r, streams: map[runOf]*stream{}} }

const (
	ahead = time.Second            // how much is read before it is due
	poll  = time.Second            // how often the source is asked for more
	quiet = 100 * time.Millisecond // how long is slept when there is nothing to do
)

// run reads until the source is over.
func (rd *reader) run(ctx context.Context) error {
	for {
		if err := rd.ask(ctx); err != nil {
			return err
		}
		s := rd.first()
		if s == nil {
			if rd.over {
				return nil
			}
			if err := sleep(ctx, quiet); err != nil {
				return err
			}
			continue
		}
		e := &s.block.Events[s.at]
		if err := rd.wait(ctx, e.At); err != nil {
			return err
		}
		if err := rd.event(ctx, s, e); err != nil {
			return err
		}
		s.at++
		if s.at < len(s.block.Events) {
			continue
		}
		if err := rd.next(ctx, s); err != nil {
			return err
		}
	}
}

// ask takes in what has arrived.
func (rd *reader) ask(ctx context.Context) error {
	if rd.over || (len(rd.active) > 0 || !rd.failing.IsZero()) && time.Since(rd.polled) < poll {
		return nil
	}
	rd.polled = time.Now()
	segments, over, err := rd.r.Source.Next(ctx)
	switch {
	case err == nil:
		rd.failing = time.Time{}
	case ctx.Err() != nil:
		return ctx.Err()
	case rd.failing.IsZero():
		rd.failing = time.Now()
		fallthrough
	case time.Since(rd.failing) < rd.r.Away: // it may come back
		rd.r.Log.Warn("the captures can't be listed: tried again", "err", err)
		return nil
	default:
		return fmt.Errorf("ask for segments: %w", err)
	}
	rd.over = over
	for _, seg := range segments {
		below, _, edge := rd.r.ledger.stands(seg)
		key := runOf{seg.Gateway, seg.Run}
		s := rd.streams[key]
		if s == nil {
			s = &stream{key: key, salt: xxh3.HashString(seg.Gateway) ^ seg.Run*0x9e3779b97f4a7c15, clients: map[uint64]*client{}, open: map[uint64]*job{}}
			if err := rd.replaced(ctx, key, seg.Began); err != nil {
				return err
			}
			rd.streams[key] = s
		}
		if below {
			s.edge, s.edged = edge, true
			continue
		}
		s.queue = append(s.queue, seg)
	}
	for _, s := range rd.streams {
		if len(s.queue) > 0 && !slices.Contains(rd.active, s) {
			if err := rd.next(ctx, s); err != nil {
				return err
			}
		}
	}
	return nil
}

// replaced ends the connections of earlier runs of a gateway that were read to their end: a run that was killed does not say that they ended.
func (rd *reader) replaced(ctx context.Context, by runOf, at time.Time) error {
	for key, s := range rd.streams {
		if key.Gateway != by.Gateway || len(s.queue) > 0 || s.read != nil || slices.Contains(rd.active, s) {
			continue
		}
		for _, c := range s.clients {
			if err := rd.leave(ctx, s, c, at); err != nil {
				return err
			}
		}
		clear(s.clients)
	}
	return nil
}

// first is the stream whose next event is the earliest.
func (rd *reader) first() *stream {
	var first *stream
	for _, s := range rd.active {
		if first == nil || s.block.Events[s.at].At.Before(first.block.Events[first.at].At) {
			first = s
		}
	}
	return first
}

// event takes one event.
func (rd *reader) event(ctx context.Context, s *stream, e *capture.Event) error {
	rd.counts = !s.done && !e.At.Before(rd.r.From) && (rd.r.To.IsZero() || e.At.Before(rd.r.To))
	switch e.Kind {
	case capture.Session:
		return rd.session(ctx, s, e)
	case capture.Known:
		if c := s.clients[e.Conn]; c != nil && c.stmts[e.Statement] == nil {
			v := rd.classes.of(e.Payload, c.mode)
			c.stmts[e.Statement] = &prepared{p: &session.Prepared{Text: slices.Clone(e.Payload)}, class: v.class, fp: v.fp, normal: slices.Clone(v.normal)}
		}
	case capture.Start:
		rd.r.seen.at.Store(e.At.UnixNano())
		return rd.start(ctx, s, e)
	case capture.End:
		j := s.open[e.Of]
		if j == nil {
			return nil
		}
		delete(s.open, e.Of)
		if c := s.clients[e.Conn]; c != nil && c.open == j {
			c.open = nil
		}
		a := compare.Captured(e, s.lacks)
		j.known(rd.r, &a)
	case capture.Close:
		c := s.clients[e.Conn]
		delete(s.clients, e.Conn)
		return rd.leave(ctx, s, c, e.At)
	}
	return nil
}

// leave ends a connection.
func (rd *reader) leave(ctx context.Context, s *stream, c *client, at time.Time) error {
	if c == nil {
		return nil
	}
	rd.unanswered(s, c)
	if c.w == nil {
		return nil
	}
	return rd.send(ctx, s, c, &job{op: opClose, env: c.env, at: at})
}

// unanswered says that the answer to the client's statement is not in the capture.
func (rd *reader) unanswered(s *stream, c *client) {
	j := c.open
	c.open = nil
	if j == nil || s.open[j.seq] != j { // it was given up before
		return
	}
	delete(s.open, j.seq)
	j.unanswered(rd.r, 0)
}

// longestOpen is for how long a statement's answer is looked for in the capture. A segment counts when all its statements have ended, and one that takes hours would keep it, and all behind it,
// from being done.
const longestOpen = 10 * time.Minute

// giveUp ends the search for answers that have not come by then.
func (rd *reader) giveUp(s *stream, now time.Time) {
	for seq, j := range s.open {
		if since := now.Sub(j.at); since > longestOpen {
			delete(s.open, seq)
			j.part.mu.Lock()
			j.part.tally.AddNote("statement that took more than ten minutes", 1)
			j.part.mu.Unlock()
			j.unanswered(rd.r, since)
		}
	}
}

// end is that of the capture, or of the replay: what has no answer yet will have none.
func (rd *reader) end() {
	for _, s := range rd.streams {
		for _, j := range s.open {
			j.unanswered(rd.r, 0)
		}
		clear(s.open)
		for _, c := range s.clients {
			if c.w != nil {
				c.w.push(&job{op: opClose})
			}
		}
		clear(s.clients)
		if s.read != nil { // the part is not whole
			s.read.Close()
			s.in.Close()
			s.read, s.in = nil, nil
		}
	}
}

// send hands a job to the connection that stands for the client, for when it is due.
func (rd *reader) send(ctx context.Context, s *stream, c *client, j *job) error {
	if c.w == nil {
		if c.env == nil {
			return nil
		}
		c.w = rd.r.newWorker(ctx)
	}
	if !rd.r.flatOut() {
		j.due = rd.r.sched.Due(j.at)
	}
	return rd.r.dispatch(ctx, c.w, j)
}

// wait waits until it is nearly time for what was captured then.
func (rd *reader) wait(ctx context.Context, at time.Time) error {
	if rd.r.flatOut() {
		return ctx.Err()
	}
	if rd.r.sched.Start.IsZero() {
		if rd.r.Delay > 0 {
			rd.r.sched = pace.Behind(rd.r.Delay)
		} else {
			rd.r.sched = pace.Schedule{Origin: at, Start: time.Now().Add(warmUp), Speed: rd.r.Speed}
		}
	}
	for {
		left := time.Until(rd.r.sched.Due(at)) - ahead
		if left <= 0 {
			return ctx.Err()
		}
		if err := sleep(ctx, min(left, poll)); err != nil {
			return err
		}
		if err := rd.ask(ctx); err != nil {
			return err
		}
	}
}

// warmUp is the time from the first statement that was read to the first that is sent.
const warmUp = 300 * time.Millisecond

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (rd *reader) captured(s *stream, e *capture.Event, v verdict) {
	s.part.mu.Lock()
	s.part.tally.AddCaptured(v.fp, tally.Seen{Text: v.normal, Traits: v.class.Traits, At: e.At, Watched: s.tells && rd.r.Share.first()})
	s.part.mu.Unlock()
	rd.r.seen.captured.Add(1)
}

func (rd *reader) skip(s *stream, e *capture.Event, v verdict, why string) {
	if !rd.counts {
		return
	}
	rd.captured(s, e, v)
	s.part.mu.Lock()
	s.part.tally.AddSkipped(v.fp, why)
	s.part.mu.Unlock()
	rd.r.seen.skipped.Add(1)
}

func (rd *reader) unreplayable(s *stream, e *capture.Event, v verdict, why string) error {
	if !rd.counts {
		return nil
	}
	rd.captured(s, e, v)
	s.part.mu.Lock()
	s.part.tally.AddUnreplayable(v.fp, why)
	s.part.mu.Unlock()
	rd.r.seen.unreplayable.Add(1)
	return nil
}

// id is a statement's over all runs of all gateways.
func (s *stream) id(seq uint64) uint64 {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:], s.salt)
	binary.LittleEndian.PutUint64(b[8:], seq)
	return xxh3.Hash(b[:])
}

// has reports whether a connection is of this share.
func (s Share) has(run runOf, conn uint64) bool {
	if s.N < 2 {
		return true
	}
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:], xxh3.HashString(run.Gateway)^run.Run)
	binary.LittleEndian.PutUint64(b[8:], conn)
	return int(xxh3.Hash(b[:])%uint64(s.N)) == s.I
}

// first reports whether this share counts what is of no connection.
func (s Share) first() bool { return s.I == 0 }
