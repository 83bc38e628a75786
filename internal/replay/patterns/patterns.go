// Package patterns finds in a capture what clients do that a new version, a gateway or a switch bears less well than what they do now (H20): results that are read slowly inside a transaction,
// transactions that stay open idle, locks, temporary tables, local files, several statements in one text, and clients that are of an age.
//
// Model. A Finder is told every event in order and counts by kind and fingerprint. Nothing is asked of a server.
//
// Invariants. Memory is bounded by what is open: connections, and at most Most patterns of a kind; those beyond are counted together.
package patterns

import (
	"cmp"
	"slices"
	"time"

	"github.com/windlass-db/windlass/internal/capture"
	"github.com/windlass-db/windlass/internal/query"
	"github.com/windlass-db/windlass/internal/replay/conns"
	"github.com/windlass-db/windlass/internal/replay/tally"
	"github.com/windlass-db/windlass/internal/wire"
)

// Kind is a pattern.
type Kind string

// The kinds.
const (
	Streaming Kind = "streaming-in-transaction" // a result is read for long while a transaction is open
	Cursor    Kind = "cursor-in-transaction"    // so is one by a server-side cursor
	Idle      Kind = "idle-transaction"         // a transaction stays open while its client does something else
	UserLock  Kind = "user-lock"                // GET_LOCK
	TableLock Kind = "table-lock"               // LOCK TABLES
	TempTable Kind = "temporary-table"          // is kept over transactions
	LocalFile Kind = "load-data-local"
	Multi     Kind = "multi-statements"
	OldClient Kind = "old-client"
)

// Rules are from when on something counts.
type Rules struct {
	Streaming time.Duration // between the first and the last byte of an answer inside a transaction; 0: 1 s
	Idle      time.Duration // between two statements of an open transaction; 0: 10 s
	Most      int           // patterns of one kind that are told apart; 0: 200
}

// Pattern is what was found of one kind and fingerprint.
type Pattern struct {
	Kind        Kind              `json:"kind"`
	Fingerprint tally.Fingerprint `json:"fingerprint,omitzero"`
	Text        string            `json:"text,omitempty"` // the normal form
	Count       int64             `json:"count"`
	Worst       time.Duration     `json:"worst,omitempty"` // nanoseconds, of what takes time
	First       time.Time         `json:"first,omitzero"`
	Last        time.Time         `json:"last,omitzero"`
	Users       []string          `json:"users,omitempty"` // a few of them
	Example     tally.Statement   `json:"example,omitzero"`
	Traits      query.Traits      `json:"-"`
	Why         string            `json:"why"`
	Do          string            `json:"do"`
}

// advice says of each kind why it matters, and what to do.
var advice = map[Kind][2]string{
	Streaming: {"the result is read row by row while its transaction is open: locks and old rows are kept as long as the client takes, a gateway can't move the session, and a new version that holds such a reader longer freezes what waits for it", "read the whole result at once (no unbuffered or streaming mode), or read outside of the transaction, in pages by a key"},
	Cursor:    {"a server-side cursor keeps its transaction and a temporary table open between two fetches, and a session with a cursor can't be moved", "read without a cursor, or outside of the transaction"},
	Idle:      {"an open transaction that does nothing keeps its locks and old rows, and no switch can move its session: it is waited for, then ended", "commit before waiting for anything else; set idle_transaction_timeout on the servers"},
	UserLock:  {"GET_LOCK belongs to one connection of one server: it is not replicated, and is lost when the session moves", "keep the lock in a row, or make its holder check it after a reconnect"},
	TableLock: {"LOCK TABLES ends the open transaction and belongs to one connection: the session can't be moved while it holds them", "use transactions and SELECT … FOR UPDATE"},
	TempTable: {"a temporary table that outlives its transaction belongs to one connection of one server: the session can't be moved while it is there", "drop it as soon as it is not needed, or use a table of your own"},
	LocalFile: {"the server asks the client for a file: gateways refuse it by default, and newer clients have it switched off", "send the rows with INSERT, or allow it where it is needed"},
	Multi:     {"a text with several statements is not replayed, and what it does is not known from its first word", "send statements one by one"},
	OldClient: {"what it sends is of a client library or a server version that newer ones have given up", "upgrade the client library before the switch, and look whether it works with the new version"},
}

// Finder finds patterns in a stream of events. The zero value has the default rules.
type Finder struct {
	Rules Rules

	conns conns.All
	open  map[conns.Key]*state
	found map[key]*Pattern
	kinds map[Kind]int
	buf   []byte
}

type key struct {
	kind Kind
	f    tally.Fingerprint
}

// state is what is going on in a connection.
type state struct {
	start  *capture.Event // not answered yet
	last   *capture.Event // the last that was answered
	ended  time.Time      // when
	in     bool           // a transaction was open then
	temps  int
	told   bool // its temporary tables are counted
	marked bool // and that it is an old client
}

// Event takes one event, with the block's words on where it comes from. It keeps nothing of it but what the payload points to.
func (f *Finder) Event(m *capture.Meta, e *capture.Event) {
	c := f.conns.Event(m, e)
	if f.open == nil {
		f.open, f.found, f.kinds = map[conns.Key]*state{}, map[key]*Pattern{}, map[Kind]int{}
	}
	s := f.open[c.Key]
	if s == nil {
		s = &state{}
		f.open[c.Key] = s
	}
	switch e.Kind {
	case capture.Start:
		f.idle(c, s, e.At)
		copied := *e
		s.start = &copied
		f.sent(c, s, &copied)
	case capture.End:
		if s.start != nil && s.start.Seq == e.Of {
			f.answered(c, s, e)
		}
	case capture.Close:
		f.idle(c, s, e.At)
		delete(f.open, c.Key)
	}
}

// idle looks how long a transaction waited for its client.
func (f *Finder) idle(c *conns.Conn, s *state, now time.Time) {
	least := cmp.Or(f.Rules.Idle, 10*time.Second)
	if s.last != nil && s.in && now.Sub(s.ended) >= least {
		f.note(Idle, c, s.last, now.Sub(s.ended))
	}
	s.last = nil
}

// sent looks at what a statement is.
func (f *Finder) sent(c *conns.Conn, s *state, e *capture.Event) {
	if wire.Command(e.Command) == wire.ComFieldList && !s.marked {
		s.marked = true
		f.note(OldClient, c, e, 0)
		return
	}
	text, ok := c.Text(e)
	if !ok || wire.Command(e.Command) == wire.ComStmtPrepare {
		return
	}
	t := query.Look(text, c.Mode)
	f.buf = query.Append(f.buf[:0], text, c.Mode)
	normal := f.buf
	switch {
	case t.Has(query.Multi):
		f.note(Multi, c, e, 0)
	case userLock.Match(normal):
		f.note(UserLock, c, e, 0)
	case tableLock.Match(normal):
		f.note(TableLock, c, e, 0)
	case localFile.Match(normal):
		f.note(LocalFile, c, e, 0)
	}
	if oldWords.Match(normal) || !s.marked && oldComments.Match(text) {
		s.marked = true
		f.note(OldClient, c, e, 0)
	}
	switch {
	case makesTemp.Match(normal):
		s.temps++
		s.told = false
	case dropsTemp.Match(normal) && s.temps > 0:
		s.temps--
	}
	if wire.Command(e.Command) == wire.ComStmtExecute && e.Txn > 0 && len(e.Payload) > 4 && e.Payload[4]&1 != 0 {
		f.note(Cursor, c, e, 0)
	}
}

// answered looks at how a statement went.
func (f *Finder) answered(c *conns.Conn, s *state, end *capture.Event) {
	start := s.start
	s.start = nil
	s.in = wire.Status(end.Status)&wire.StatusInTrans != 0 || start.Txn > 0 && end.Status == 0 && end.Errno != 0
	s.last, s.ended = start, start.At.Add(end.Took)
	if start.Txn > 0 && end.Rows > 0 && end.Took-end.FirstByte >= cmp.Or(f.Rules.Streaming, time.Second) {
		f.note(Streaming, c, start, end.Took-end.FirstByte)
	}
	if s.temps > 0 && !s.told && !s.in {
		if text, ok := c.Text(start); ok && !makesTemp.Match(query.Append(nil, text, c.Mode)) { // it is there after the next one
			s.told = true
			f.note(TempTable, c, start, 0)
		}
	}
}

// note counts one.
func (f *Finder) note(k Kind, c *conns.Conn, e *capture.Event, took time.Duration) {
	text, _ := c.Text(e)
	hash, normal := query.Fingerprint(nil, text, c.Mode)
	if len(text) == 0 {
		normal = []byte("(command " + commandName(e.Command) + ")")
	}
	at := key{k, tally.Fingerprint(hash)}
	p := f.found[at]
	if p == nil {
		if f.kinds[k] >= cmp.Or(f.Rules.Most, 200) {
			at.f = 0
			p = f.found[at]
		}
		if p == nil {
			p = &Pattern{Kind: k, Fingerprint: at.f, Text: string(normal), First: e.At, Why: advice[k][0], Do: advice[k][1], Traits: query.Look(text, c.Mode)}
			if at.f == 0 {
				p.Text = "(all others)"
			}
			p.Example, _ = c.Statement(e)
			f.found[at] = p
			f.kinds[k]++
		}
	}
	p.Count++
	p.Last = e.At
	p.Worst = max(p.Worst, took)
	if len(p.Users) < 5 && c.User != "" && !slices.Contains(p.Users, c.User) {
		p.Users = append(p.Users, c.User)
	}
}

func commandName(c byte) string {
	if wire.Command(c) == wire.ComFieldList {
		return "COM_FIELD_LIST"
	}
	return "of the protocol"
}

// Found lists the patterns: those that take longest first, then the most frequent.
func (f *Finder) Found() []Pattern {
	out := make([]Pattern, 0, len(f.found))
	for _, p := range f.found {
		out = append(out, *p)
	}
	slices.SortFunc(out, func(a, b Pattern) int {
		return cmp.Or(cmp.Compare(slices.Index(kinds, a.Kind), slices.Index(kinds, b.Kind)), cmp.Compare(b.Worst, a.Worst), cmp.Compare(b.Count, a.Count), cmp.Compare(a.Text, b.Text))
	})
	return out
}

var kinds = []Kind{Streaming, Cursor, Idle, UserLock, TableLock, TempTable, LocalFile, Multi, OldClient}
