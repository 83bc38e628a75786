package tap

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/windlass-db/windlass/internal/capture"
	"github.com/windlass-db/windlass/internal/query"
)

// Session is a connection's side of a tap. It knows what the connection is, whether or not anything is kept. It is used by one goroutine at a
// time; the zero value is a connection of which nothing is known.
type Session struct {
	user, schema string
	charset      uint16
	settings     []setting
	partial      bool
	epoch        uint64 // grows whenever one of those changes

	tap  *Tap // that it has told something; nil: none
	conn uint64
	told uint64 // the epoch that was told
	file uint64 // the generation of files that it was told to
	lost uint64 // statements, but for reads, that were not kept since the last one that was
	txn  uint64 // number of the last transaction

	open bool // a statement was kept whose answer is awaited
	of   uint64
	at   int64

	trans bool // the open statement may have begun a transaction, and has its number
	buf   []byte
}

// setting is a SET statement that is in force. One that sets the same things takes the place of the one before.
type setting struct {
	fingerprint uint64
	text        string
}

// What is kept of a session's settings.
const (
	mostSettings    = 64
	mostSettingText = 4 << 10
)

// Login tells who a connection is from now on, and that nothing is set.
func (s *Session) Login(user, schema string, charset uint16) {
	s.user, s.schema, s.charset = user, schema, charset
	s.Reset()
}

// Reset tells that the session was set back to what it was after its login.
func (s *Session) Reset() {
	s.settings, s.partial = nil, false
	s.epoch++
}

// Schema tells that another one is in use.
func (s *Session) Schema(name []byte) {
	if s.schema != string(name) {
		s.schema = string(name)
		s.epoch++
	}
}

// Set looks whether a statement that has succeeded has changed the session, and remembers it. Of one with parameters it is only known that it did.
func (s *Session) Set(text []byte, parameters bool) {
	word, rest := cutWord(text)
	if word != "SET" || !setsSession(rest) {
		return
	}
	s.epoch++
	if parameters || len(text) > mostSettingText || Credential(text) {
		s.partial = true
		return
	}
	if end := bytes.IndexByte(text, ';'); end >= 0 && len(bytes.TrimRight(text[end:], "; \t\r\n\x00")) > 0 { // another statement follows, perhaps
		s.partial = true
		return
	}
	n := setting{s.fingerprint(text), string(text)}
	s.settings = slices.DeleteFunc(s.settings, func(o setting) bool { return o.fingerprint == n.fingerprint })
	if len(s.settings) == mostSettings {
		s.settings = slices.Delete(s.settings, 0, 1)
		s.partial = true
	}
	s.settings = append(s.settings, n)
}

// setsSession is false for what sets the server, an account, or the next transaction or statement alone. It gets what follows the SET.
func setsSession(rest []byte) bool {
	rest = bytes.TrimLeft(rest, " \t\r\n\f\v")
	for _, word := range []string{"GLOBAL", "@@GLOBAL", "PASSWORD", "STATEMENT", "TRANSACTION", "DEFAULT"} {
		if len(rest) >= len(word) && ends(rest[:len(word)], word) {
			return false
		}
	}
	return true
}

// Known is what a tap knows of a prepared statement. The zero value is one that it knows nothing of.
type Known struct {
	tap    *Tap
	file   uint64 // the generation of files that has its text
	judged bool
	secret bool // its parameters may be credentials
	hole   bool // something of its long data was not kept: nobody knows from then on what an execution has
}

// Statement is what a client sent. What is in it may be used again when Start returns.
type Statement struct {
	Command    byte
	At         int64  // on the Tap's clock
	Text       []byte // of the query, or of the prepared statement; nil: none
	Payload    []byte // what is kept
	Borrowed   int    // the payload is the tap's from now on, and this room was borrowed for it; 0: it is the caller's
	Cut        uint64 // bytes of it that were left out
	Withheld   string // why the payload may not be kept; empty: it may
	Number     uint32 // of the prepared statement
	Prepared   *Known // what is known of it; nil: there is none
	Types      []byte // of its parameters
	Long       bool   // long data was sent for it before
	Answered   bool   // the command has an answer
	InTrans    bool   // a transaction is open
	Autocommit bool
	Literal    bool // \ is a character as any other in the session's texts
}

// Start tells what was sent to the server, and reports whether its answer is wanted.
func (s *Session) Start(t *Tap, st *Statement) bool {
	t.started.Add(1)
	s.open = false
	s.number(st)
	withheld := st.Withheld
	if t.cfg.Statements == Selects || t.cfg.Sample < 1 || t.ring.fill.Load() >= pressures[len(pressures)-1].fill {
		if why, out := s.leaveOut(t, st, &withheld); out {
			return s.drop(t, st, why)
		}
	}
	if k := st.Prepared; k != nil {
		if !k.judged {
			k.judged, k.secret = true, Credential(st.Text)
		}
		if k.hole && isExecute(st.Command) {
			withheld = capture.WithheldIncomplete
		}
		if k.secret {
			withheld = capture.WithheldCredential
		}
	}
	payload, cut := st.Payload, st.Cut
	borrowed := st.Borrowed
	st.Borrowed = 0
	if withheld != "" {
		payload, cut = nil, 0
	} else if n := len(payload); n > capture.MaxPayload {
		payload, cut = payload[:capture.MaxPayload], cut+uint64(n-capture.MaxPayload)
	}
	if len(payload) >= large && borrowed == 0 { // copied before the lock is taken
		if !t.ring.borrow(len(payload)) {
			return s.drop(t, st, byFull)
		}
		payload, borrowed = bytes.Clone(payload), len(payload)
	}
	if borrowed > 0 && payload == nil {
		t.ring.giveBack(borrowed)
		borrowed = 0
	}
	rec := record{kind: capture.Start, command: st.Command, withheld: withheldIndex(withheld), at: st.At, epoch: s.epoch, number: st.Number, txn: s.txnOf(st), cut: cut, lost: s.lost}
	if st.Literal {
		rec.flags = flagNoBackslash
	}
	if !s.put(t, st, &rec, payload, borrowed) {
		if borrowed > 0 {
			t.ring.giveBack(borrowed)
		}
		if t.stopped.Load() {
			return s.drop(t, st, byClosing)
		}
		return s.drop(t, st, byFull)
	}
	s.lost = 0
	s.open, s.of, s.at = st.Answered, rec.seq, st.At
	return st.Answered
}

// drop counts a statement that is not kept.
func (s *Session) drop(t *Tap, st *Statement, why reason) bool {
	t.dropped[why].Add(1)
	if st.Text == nil || classify(st.Text) != read { // a read leaves nothing that another statement could miss
		s.lost++
	}
	if st.Prepared != nil && (st.Long && isExecute(st.Command) || st.Command == comLongData) {
		st.Prepared.hole = true
	}
	if st.Borrowed > 0 {
		t.ring.giveBack(st.Borrowed)
		st.Borrowed = 0
	}
	return false
}

// leaveOut decides by what the statement is, by the setting, and by how full the ring is.
func (s *Session) leaveOut(t *Tap, st *Statement, withheld *string) (reason, bool) {
	if st.Text == nil {
		return 0, false
	}
	kind := classify(st.Text)
	inTrans := st.InTrans || !st.Autocommit
	if kind == write && t.cfg.Statements == Selects {
		if !inTrans {
			return byKind, true
		}
		*withheld = capture.WithheldWrite // what the transaction reads after it can't be replayed
	}
	fp := uint64(0)
	switch {
	case kind == other, kind == write && inTrans, st.Long:
		return 0, false
	case st.Command == comPrepare: // else of PREPARE and EXECUTE in turns one alone would be kept
		fp = 1
	case st.Command != comQuery && !isExecute(st.Command):
		return 0, false
	}
	squeeze := pressure(t.ring.fill.Load())
	if t.cfg.Sample >= 1 && squeeze >= 1 {
		return 0, false
	}
	fp += s.fingerprint(st.Text)
	if t.cfg.Sample < 1 && !t.samples.keeps(fp, t.cfg.Sample) {
		return bySample, true
	}
	if squeeze < 1 && !t.squeeze.keeps(fp, squeeze) {
		return byOverload, true
	}
	return 0, false
}

// number gives a transaction its number when it may begin.
func (s *Session) number(st *Statement) {
	s.trans = false
	if st.InTrans {
		s.txn = max(s.txn, 1) // it began before anybody counted
		return
	}
	if !st.Autocommit {
		s.trans = true
	} else {
		s.trans = begins(st.Text)
	}
	if s.trans {
		s.txn++
	}
}

// begins reports whether a text may begin a transaction. It is asked for nearly every statement, and nearly none does.
func begins(text []byte) bool {
	if len(text) > 1 && isLetter(text[0]) {
		switch text[0] | 0x20 {
		case 'b', 'x':
		case 's':
			if text[1]|0x20 != 't' {
				return false
			}
		default:
			return false
		}
	}
	switch firstWord(text) {
	case "BEGIN", "START", "XA":
		return true
	}
	return false
}

func (s *Session) txnOf(st *Statement) uint64 {
	if st.InTrans || s.trans {
		return s.txn
	}
	return 0
}

// After tells whether a transaction is open after a statement, whether it was kept or not.
func (s *Session) After(before, now bool) {
	if now && !before && !s.trans {
		s.txn++ // something else has begun it
	}
}

// put writes the statement into the ring, and before it what the file does not know yet.
func (s *Session) put(t *Tap, st *Statement, rec *record, payload []byte, borrowed int) bool {
	r := t.ring
	cost := recordSize + len(st.Types)
	if borrowed == 0 {
		cost += len(payload)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.tap != t {
		s.tap, s.told, s.file, s.conn = t, 0, 0, t.conns.Add(1)
	}
	first := s.file == 0
	tell := s.file != r.file || s.told != s.epoch
	k := st.Prepared
	prepares := st.Command == comPrepare
	know := k != nil && !k.secret && !prepares && (k.tap != t || k.file != r.file) && len(st.Text) > 0
	later := 0
	if st.Answered {
		later = endSize
	}
	if first {
		later += closeSize
	}
	whole := cost
	if tell {
		whole += recordSize + s.size()
	}
	if know {
		whole += recordSize + len(st.Text)
	}
	if t.stopped.Load() || !r.room(whole, later) {
		return false
	}
	if tell {
		s.tell(r, st.At)
	}
	if know {
		text := record{kind: capture.Known, conn: s.conn, at: st.At, number: st.Number}
		text.flags = rec.flags
		text.payload = r.now.keep(st.Text)
		r.append(&text, recordSize+len(st.Text))
	}
	if k != nil && (know || prepares) {
		k.tap, k.file = t, r.file
	}
	rec.conn = s.conn
	rec.types = r.now.keep(st.Types)
	if borrowed > 0 {
		r.now.big = append(r.now.big, payload)
		rec.big = int32(len(r.now.big))
		r.now.cost += borrowed // the ring has counted it when it was borrowed
	} else {
		rec.payload = r.now.keep(payload)
	}
	r.append(rec, cost)
	r.owed += later
	if st.Answered {
		r.ends++
	}
	r.settle()
	return true
}

// size is what the session's own texts take in the ring.
func (s *Session) size() int {
	n := len(s.user) + len(s.schema) + 4*binary.MaxVarintLen32
	for _, o := range s.settings {
		n += len(o.text) + binary.MaxVarintLen32
	}
	return n
}

// tell writes who the connection is. The ring is locked.
func (s *Session) tell(r *ring, at int64) {
	rec := record{kind: capture.Session, conn: s.conn, at: at, epoch: s.epoch, charset: s.charset}
	if s.partial {
		rec.flags = flagPartial
	}
	data := r.now.data
	from := len(data)
	text := func(t string) { data = append(binary.AppendUvarint(data, uint64(len(t))), t...) }
	text(s.user)
	text(s.schema)
	for _, o := range s.settings {
		text(o.text)
	}
	r.now.data = data
	rec.more = span{uint32(from), uint32(len(data) - from)}
	r.append(&rec, recordSize+s.size())
	s.file, s.told = r.file, s.epoch
}

// Answer is what came of a statement. Times are on the Tap's clock.
type Answer struct {
	FirstByte, End     int64
	Errno              uint16
	SQLState           string
	Warnings, Status   uint16
	Affected, InsertID uint64
	Columns            uint64
	Rows, Bytes        uint64
	Ordered, Multiset  uint64
	Unfinished         bool
	GTID               []byte
}

// End tells what came of the statement whose Start asked for it.
func (s *Session) End(a *Answer) {
	if !s.open {
		return
	}
	s.open = false
	rec := record{
		kind: capture.End, conn: s.conn, of: s.of, at: a.End, took: a.End - s.at, firstByte: max(a.FirstByte-s.at, 0), errno: a.Errno, warnings: a.Warnings, status: a.Status,
		affected: a.Affected, insertID: a.InsertID, columns: a.Columns, rows: a.Rows, bytes: a.Bytes, ordered: a.Ordered, multiset: a.Multiset,
	}
	copy(rec.sqlState[:], a.SQLState)
	if a.Unfinished {
		rec.flags |= flagUnfinished
	}
	gtid := a.GTID
	if len(gtid) > mostGTID {
		gtid = nil
	}
	r := s.tap.ring
	r.mu.Lock()
	defer r.mu.Unlock()
	r.owed -= endSize
	r.ends--
	if r.closed {
		return
	}
	rec.more = r.now.keep(gtid)
	r.append(&rec, recordSize+len(gtid))
	r.settle()
}

// Close tells that the connection has ended.
func (s *Session) Close(at int64) {
	if s.tap == nil || s.file == 0 {
		return
	}
	if s.open {
		s.End(&Answer{End: at, Unfinished: true})
	}
	r := s.tap.ring
	r.mu.Lock()
	defer r.mu.Unlock()
	r.owed -= closeSize
	s.file = 0
	if r.closed {
		return
	}
	r.append(&record{kind: capture.Close, conn: s.conn, at: at}, recordSize)
	r.settle()
}

// Commands of the protocol whose payload is a text.
const (
	comQuery   = 0x03
	comPrepare = 0x16
)

// Commands on a prepared statement.
const (
	comExecute     = 0x17
	comLongData    = 0x18
	comBulkExecute = 0xfa
)

func isExecute(command byte) bool { return command == comExecute || command == comBulkExecute }

// Borrow sets room aside for a statement of that many bytes, of which no more than capture.MaxPayload are kept, and gives a buffer for it. What has
// come of it is then given to Start, with the room as Borrowed.
func (t *Tap) Borrow(size int) ([]byte, bool) {
	size = min(size, capture.MaxPayload)
	if t.stopped.Load() || !t.ring.borrow(size) {
		return nil, false
	}
	return make([]byte, 0, size), true
}

// Missed counts a statement of which nothing can be kept, since there was no room for it.
func (s *Session) Missed(t *Tap) {
	t.started.Add(1)
	s.drop(t, &Statement{}, byFull)
}

var withheldTexts = []string{"", capture.WithheldCredential, capture.WithheldWrite, capture.WithheldAttributes, capture.WithheldMasked, capture.WithheldIncomplete}

func withheldIndex(text string) byte { return byte(max(slices.Index(withheldTexts, text), 0)) }

// mode is how the writer reads a text.
func (r *record) mode() query.Mode {
	return query.Mode{NoBackslashEscapes: r.flags&flagNoBackslash != 0}
}

// Return gives room back that was borrowed for a statement that did not come.
func (t *Tap) Return(size int) { t.ring.giveBack(size) }
