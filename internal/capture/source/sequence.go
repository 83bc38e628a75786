package source

import (
	"cmp"
	"container/heap"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/capture"
	"github.com/windlass-db/windlass/internal/capture/tap"
	"github.com/windlass-db/windlass/internal/query"
)

// entry is what a log says of one statement, or of the end of a connection.
type entry struct {
	start   time.Time
	took    time.Duration
	conn    string // what tells its connection from others
	user    string
	schema  string // the default one
	text    []byte
	cut     uint64
	quit    bool // the connection ended, or began anew
	restart bool // the server began anew: all connections ended

	rows, affected, insertID uint64
	errno                    uint16
	state                    string
	source                   string // for capture.Meta

	stamp  time.Time // of SET timestamp
	second time.Time // in which it began, if the log does not say it closer

	seq uint64 // of its Start
	of  *conn
}

// The bounds of what is held to be put in order, and of a block.
const (
	maxHeld      = 100_000
	maxHeldBytes = 64 << 20
	maxBlock     = 4096
	maxBlockText = 256 << 10
	maxBlockTime = 10 * time.Second
	maxConns     = 100_000
	maxSettings  = 32
)

// sequence puts the entries' events in order of time, and makes blocks of them.
type sequence struct {
	meta    capture.Meta
	dropped map[string]uint64
	over    bool // nothing more comes

	held      pending
	heldBytes int
	count     uint64 // of events that were held
	ends      map[string]time.Time

	seq, index, told uint64
	toldDrops        uint64
	every            time.Duration // after which the sessions are told anew; 0: never
	unit             time.Time     // since when they are not; zero: the next block tells them
	anew             bool          // the last block told them
	conns            map[string]*conn
	lastConn         uint64
}

// conn is a connection, as it is when its next event is given.
type conn struct {
	id, epoch, txn, txns uint64
	user, schema         string
	settings             []string
	partial              bool
	fresh, closed        bool // its Session event is to be given; it ended
	told                 uint64
	used                 uint64 // Seq of its last event
}

func newSequence(m capture.Meta) *sequence {
	return &sequence{meta: m, dropped: map[string]uint64{}, ends: map[string]time.Time{}, conns: map[string]*conn{}}
}

// drop counts a statement that can't be run.
func (s *sequence) drop(reason string) { s.dropped[reason]++ }

// full reports whether enough is held to give some of it.
func (s *sequence) full() bool {
	return s.over || len(s.held) >= maxHeld || s.heldBytes >= maxHeldBytes
}

// add holds an entry. Those of one connection follow one another.
func (s *sequence) add(e *entry) {
	if e.restart { // after all that went before
		for _, end := range s.ends {
			if end.After(e.start) {
				e.start = end
			}
		}
		clear(s.ends)
	}
	if last := s.ends[e.conn]; e.start.Before(last) && last.Sub(e.start) < time.Minute {
		e.start = last
	}
	end := e.start.Add(e.took)
	if len(s.ends) >= maxConns {
		clear(s.ends)
	}
	s.ends[e.conn] = end
	s.hold(e.start, e, false)
	if !e.quit && !e.restart {
		s.hold(end, e, true)
	}
}

func (s *sequence) hold(at time.Time, e *entry, end bool) {
	s.count++
	if !end {
		s.heldBytes += len(e.text)
	}
	heap.Push(&s.held, event{at, s.count, e, end})
}

// block gives what comes first of what is held.
func (s *sequence) block() (capture.Block, error) {
	var b capture.Block
	bytes := 0
	s.anew = false
	var began time.Time
	for len(s.held) > 0 && len(b.Events) < maxBlock && bytes < maxBlockText {
		first := s.held[0]
		if source := first.e.source; s.meta.Source != source && source != "" {
			if len(b.Events) > 0 {
				break // a block is of one source
			}
			s.meta.Source, s.unit = source, time.Time{}
		}
		if began.IsZero() {
			began = first.at
			if s.unit.IsZero() || s.every > 0 && began.Sub(s.unit) >= s.every {
				s.unit, s.anew = began, true
				s.told++
			}
		} else if first.at.Sub(began) >= maxBlockTime {
			break
		}
		h := heap.Pop(&s.held).(event)
		if !h.end {
			s.heldBytes -= len(h.e.text)
			bytes += len(h.e.text)
		}
		b.Events = s.give(b.Events, h)
	}
	if len(b.Events) == 0 && !s.untold() {
		return capture.Block{}, io.EOF
	}
	s.index++
	b.Meta, b.Index, b.Dropped = s.meta, s.index, maps.Clone(s.dropped)
	s.toldDrops = total(s.dropped)
	return b, nil
}

// untold reports whether something was dropped that no block has told.
func (s *sequence) untold() bool { return s.over && total(s.dropped) != s.toldDrops }

func total(m map[string]uint64) (n uint64) {
	for _, v := range m {
		n += v
	}
	return n
}

// Again makes the next blocks tell who each connection is once more, so that a file that begins with them can be read alone.
func (s *sequence) Again() { s.unit = time.Time{} }

func (s *sequence) give(out []capture.Event, h event) []capture.Event {
	e := h.e
	if h.end {
		c := e.of
		if c == nil || c.closed {
			return out // its connection ended before, as a restart of the server does it
		}
		s.seq++
		return append(out, capture.Event{
			Kind: capture.End, Seq: s.seq, Conn: c.id, At: h.at, Of: e.seq, FirstByte: e.took, Took: e.took,
			Errno: e.errno, SQLState: e.state, Rows: e.rows, Affected: e.affected, InsertID: e.insertID,
		})
	}
	if e.restart {
		for key := range s.conns {
			out = s.close(out, key, h.at)
		}
		return out
	}
	if e.quit {
		return s.close(out, e.conn, h.at)
	}
	c := s.conns[e.conn]
	if c == nil {
		if len(s.conns) >= maxConns {
			out = s.closeIdle(out, h.at)
		}
		s.lastConn++
		c = &conn{id: s.lastConn, fresh: true}
		s.conns[e.conn] = c
	}
	if c.user != e.user || c.schema != e.schema {
		c.fresh = true
		c.user, c.schema = e.user, e.schema
	}
	if c.fresh || c.told != s.told {
		if c.fresh {
			c.epoch++
		}
		c.fresh, c.told = false, s.told
		s.seq++
		out = append(out, capture.Event{Kind: capture.Session, Seq: s.seq, Conn: c.id, At: h.at, Epoch: c.epoch, User: c.user, Schema: c.schema, Charset: utf8mb4, Settings: c.settings, Partial: c.partial})
	}
	traits := query.Look(e.text, query.Mode{})
	if traits.Any(query.Begins) {
		c.txns++
		c.txn = c.txns
	}
	s.seq++
	e.seq, e.of, c.used = s.seq, c, s.seq
	start := capture.Event{Kind: capture.Start, Seq: s.seq, Conn: c.id, At: h.at, Epoch: c.epoch, Command: comQuery, Payload: e.text, Cut: e.cut, Txn: c.txn}
	hidden := tap.Credential(e.text)
	if hidden {
		start.Payload, start.Withheld = nil, capture.WithheldCredential
	}
	out = append(out, start)
	if traits.Any(query.Ends | query.Defines) {
		c.txn = 0
	}
	if traits.Any(query.Sets) && e.errno == 0 && !hidden {
		c.set(string(e.text))
	}
	return out
}

const (
	comQuery = 0x03
	utf8mb4  = 45 // utf8mb4_general_ci: what a log does not say
)

// set keeps what changes the session for those who read from a later file on.
func (c *conn) set(text string) {
	c.epoch++
	f := strings.Fields(text)
	if len(f) < 2 || !strings.EqualFold(f[0], "set") || strings.EqualFold(f[1], "transaction") || len(text) > 4096 {
		return
	}
	for i, old := range c.settings {
		if old == text {
			c.settings = append(append([]string(nil), c.settings[:i]...), c.settings[i+1:]...)
			break
		}
	}
	if len(c.settings) >= maxSettings {
		c.partial = true
		return
	}
	c.settings = append(c.settings[:len(c.settings):len(c.settings)], text)
}

func (s *sequence) close(out []capture.Event, key string, at time.Time) []capture.Event {
	c := s.conns[key]
	if c == nil {
		return out
	}
	delete(s.conns, key)
	c.closed = true
	s.seq++
	return append(out, capture.Event{Kind: capture.Close, Seq: s.seq, Conn: c.id, At: at})
}

// closeIdle ends the half of the connections that was not used for the longest time.
func (s *sequence) closeIdle(out []capture.Event, at time.Time) []capture.Event {
	keys := slices.SortedFunc(maps.Keys(s.conns), func(a, b string) int { return cmp.Compare(s.conns[a].used, s.conns[b].used) })
	for _, key := range keys[:len(keys)/2] {
		out = s.close(out, key, at)
	}
	return out
}

// event is a Start or an End that waits for its turn.
type event struct {
	at    time.Time
	order uint64
	e     *entry
	end   bool
}

type pending []event

func (p pending) Len() int { return len(p) }
func (p pending) Less(i, j int) bool {
	return cmp.Or(p[i].at.Compare(p[j].at), cmp.Compare(p[i].order, p[j].order)) < 0
}
func (p pending) Swap(i, j int) { p[i], p[j] = p[j], p[i] }

// Push is heap.Interface.
func (p *pending) Push(x any) { *p = append(*p, x.(event)) }

// Pop is heap.Interface.
func (p *pending) Pop() any {
	old := *p
	n := len(old) - 1
	e := old[n]
	old[n] = event{}
	*p = old[:n]
	return e
}
