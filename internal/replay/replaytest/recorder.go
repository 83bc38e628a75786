// Package replaytest records what clients do on a server as a gateway does, for tests and benches of the replay: it is the client, so that what it did is known to the last statement.
package replaytest

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/capture"
	"github.com/windlass-db/windlass/internal/capture/store/name"
	"github.com/windlass-db/windlass/internal/rowhash"
	"github.com/windlass-db/windlass/internal/wire"
)

// Recorder writes a spool of one run of a gateway. It is safe for concurrent use by sessions, each of which is not.
type Recorder struct {
	T       testing.TB
	Dir     string // the spool
	Gateway string
	Run     uint64
	Address string
	User    string
	Pass    string

	mu       sync.Mutex
	w        *capture.Writer
	f        *os.File
	file     name.File
	index    uint64
	seq      uint64
	conns    uint64
	sessions map[*Session]bool
	Counted  int64 // statements that the ledger is to have
	last     time.Time
}

// New begins a spool.
func New(t testing.TB, dir, address, user, password string) *Recorder {
	t.Helper()
	return NewRun(t, dir, "gw", 7, address, user, password)
}

// NewRun begins the spool of another gateway, or of another run of one.
func NewRun(t testing.TB, dir, gateway string, run uint64, address, user, password string) *Recorder {
	t.Helper()
	r := &Recorder{T: t, Dir: dir, Gateway: gateway, Run: run, Address: address, User: user, Pass: password, sessions: map[*Session]bool{}}
	w, err := capture.NewWriter(capture.Meta{Gateway: r.Gateway, Run: r.Run, Server: "mariadb", Version: "10.11"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.w = w
	r.begin()
	t.Cleanup(func() { r.Close() })
	return r
}

func (r *Recorder) begin() {
	r.index++
	r.file = name.File{Gateway: r.Gateway, Run: r.Run, Index: r.index, Began: time.Now()}
	path := filepath.Join(r.Dir, r.file.Growing())
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		r.f, err = os.Create(path)
	}
	if err == nil {
		err = r.w.Begin(r.f)
	}
	if err != nil {
		r.T.Fatal(err)
	}
}

// Rotate ends the file and begins another one, in which each open session is told again.
func (r *Recorder) Rotate() {
	r.T.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.end()
	r.begin()
	for s := range r.sessions {
		s.told = false
		for _, p := range s.stmts {
			p.told = false
		}
	}
}

func (r *Recorder) end() {
	if err := r.w.Flush(); err != nil {
		r.T.Fatal(err)
	}
	if err := r.f.Close(); err != nil {
		r.T.Fatal(err)
	}
	if err := os.Rename(filepath.Join(r.Dir, r.file.Growing()), filepath.Join(r.Dir, r.file.Spool())); err != nil {
		r.T.Fatal(err)
	}
	r.f = nil
}

// Drop counts statements that were not kept.
func (r *Recorder) Drop(reason string, n uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.w.Drop(reason, n)
	r.Counted += int64(n)
}

// Close ends the spool. It may be called again.
func (r *Recorder) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.f != nil {
		r.end()
	}
}

func (r *Recorder) add(e capture.Event) uint64 {
	r.seq++
	e.Seq = r.seq
	if e.At.IsZero() {
		e.At = time.Now()
	}
	if err := r.w.Add(&e); err != nil {
		r.T.Fatal(err)
	}
	return r.seq
}

// Session is a client's connection.
type Session struct {
	r        *Recorder
	b        *wire.Backend
	conn     uint64
	user     string
	schema   string
	charset  uint16
	settings []string
	told     bool
	stmts    []*Prepared
	txn      uint64
	in       bool
	hash     rowhash.Answer
}

// Prepared is a prepared statement of a session.
type Prepared struct {
	id     uint32
	number uint32
	text   string
	params int
	told   bool
}

// Session logs in.
func (r *Recorder) Session(schema string) *Session {
	r.T.Helper()
	d := wire.Dial{Address: r.Address, User: r.User, Passwords: []string{r.Pass}, Schema: schema, Charset: 45, MaxPacket: 1 << 24, TLSMode: wire.TLSOff, Limit: 1 << 24,
		Caps: wire.CapLongPassword | wire.CapLongFlag | wire.CapTransactions | wire.CapMultiResults | wire.CapPSMultiResults | wire.CapDeprecateEOF | wire.CapMultiStatements}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	b, err := d.Connect(ctx)
	if err != nil {
		r.T.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns++
	s := &Session{r: r, b: b, conn: r.conns, user: r.User, schema: schema, charset: 45}
	r.sessions[s] = true
	return s
}

// Close ends it.
func (s *Session) Close() {
	s.b.Close()
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	delete(s.r.sessions, s)
	s.r.add(capture.Event{Kind: capture.Close, Conn: s.conn})
}

func (s *Session) tell() {
	if !s.told {
		s.r.add(capture.Event{Kind: capture.Session, Conn: s.conn, User: s.user, Schema: s.schema, Charset: s.charset, Settings: s.settings})
		s.told = true
	}
}

// Query runs a text and records it. It gives the end, for who wants to know.
func (s *Session) Query(text string) capture.Event {
	return s.do(capture.Event{Command: byte(wire.ComQuery), Payload: []byte(text)}, append([]byte{byte(wire.ComQuery)}, text...), nil)
}

// Use changes the schema by the protocol's command.
func (s *Session) Use(schema string) capture.Event {
	e := s.do(capture.Event{Command: byte(wire.ComInitDB), Payload: []byte(schema)}, append([]byte{byte(wire.ComInitDB)}, schema...), nil)
	s.schema, s.told = schema, false
	return e
}

// Set runs a SET, which its session is told to have from then on.
func (s *Session) Set(text string) capture.Event {
	e := s.Query(text)
	s.settings, s.told = append(s.settings[:len(s.settings):len(s.settings)], text), false
	return e
}

// Prepare prepares a statement.
func (s *Session) Prepare(text string) *Prepared {
	p := &Prepared{text: text, number: uint32(len(s.stmts) + 1), told: true}
	s.do(capture.Event{Command: byte(wire.ComStmtPrepare), Payload: []byte(text), Statement: p.number}, append([]byte{byte(wire.ComStmtPrepare)}, text...), p)
	s.stmts = append(s.stmts, p)
	return p
}

// Execute executes it with texts and whole numbers. again leaves the types out, as clients do from the second time on.
func (s *Session) Execute(p *Prepared, again bool, params ...any) capture.Event {
	payload := binary.LittleEndian.AppendUint32(nil, p.id)
	payload = append(payload, 0, 1, 0, 0, 0)
	var types, values []byte
	nulls := make([]byte, (len(params)+7)/8)
	for i, v := range params {
		switch v := v.(type) {
		case nil:
			nulls[i/8] |= 1 << (i % 8)
			types = append(types, 6, 0)
		case int:
			types = append(types, wire.TypeLongLong, 0)
			values = binary.LittleEndian.AppendUint64(values, uint64(v))
		case string:
			types = append(types, 0xfd, 0)
			values = wire.AppendLenencBytes(values, []byte(v))
		default:
			s.r.T.Fatalf("a parameter of type %T", v)
		}
	}
	if len(params) > 0 {
		payload = append(payload, nulls...)
		if again {
			payload = append(payload, 0)
		} else {
			payload = append(append(payload, 1), types...)
		}
		payload = append(payload, values...)
	}
	return s.do(capture.Event{Command: byte(wire.ComStmtExecute), Payload: payload, Statement: p.number, Types: types}, append([]byte{byte(wire.ComStmtExecute)}, payload...), p)
}

// CloseStatement closes it.
func (s *Session) CloseStatement(p *Prepared) {
	s.b.Seq = 0
	payload := binary.LittleEndian.AppendUint32(nil, p.id)
	if err := s.b.WritePacket(append([]byte{byte(wire.ComStmtClose)}, payload...)); err != nil {
		s.r.T.Fatal(err)
	}
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	s.tell()
	s.r.add(capture.Event{Kind: capture.Start, Conn: s.conn, Command: byte(wire.ComStmtClose), Payload: payload, Statement: p.number, Txn: s.transaction()})
}

func (s *Session) transaction() uint64 {
	if s.in {
		return s.txn
	}
	return 0
}

// do sends a command, reads its answer, and records both.
func (s *Session) do(start capture.Event, packet []byte, p *Prepared) capture.Event {
	s.r.T.Helper()
	s.r.mu.Lock()
	s.tell()
	if p != nil && !p.told {
		s.r.add(capture.Event{Kind: capture.Known, Conn: s.conn, Statement: p.number, Payload: []byte(p.text)})
		p.told = true
	}
	began := time.Now()
	start.Kind, start.Conn, start.At, start.Txn = capture.Start, s.conn, began, s.transaction()
	end := capture.Event{Kind: capture.End, Conn: s.conn, Of: s.r.add(start)}
	s.r.Counted++
	s.r.mu.Unlock()
	if err := s.exchange(wire.Command(start.Command), packet, began, &end, p); err != nil {
		s.r.T.Fatalf("%q: %v", packet, err)
	}
	switch in := wire.Status(end.Status)&wire.StatusInTrans != 0; {
	case in && !s.in:
		s.txn, s.in = s.txn+1, true
	case end.Errno == 0 && start.Command != byte(wire.ComStmtPrepare):
		s.in = in
	}
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	end.At = began.Add(end.Took)
	if end.At.Before(s.r.last) {
		end.At = s.r.last
	}
	s.r.last = end.At
	s.r.add(end)
	return end
}

func (s *Session) exchange(cmd wire.Command, packet []byte, began time.Time, end *capture.Event, p *Prepared) error {
	b := s.b
	b.Seq = 0
	if err := b.WritePacket(packet); err != nil {
		return err
	}
	var r wire.Reply
	s.hash.Reset()
	r.Reset(cmd, b.Caps)
	r.Observe(&s.hash)
	for !r.Done() {
		buf := b.Buffered()
		n, ev, err := r.Scan(buf)
		if err != nil {
			return err
		}
		at := bytes.Clone(buf[n-min(n, r.PacketLen()) : n])
		b.Discard(n)
		switch ev {
		case wire.EventMore:
			if !r.Done() {
				if err := b.Fill(); err != nil {
					return err
				}
			}
		case wire.EventOK:
			ok, err := wire.ParseOK(at[4:], b.Caps)
			if err != nil {
				return err
			}
			end.Status, end.Warnings, end.Affected = uint16(ok.Status), ok.Warnings, ok.Affected
		case wire.EventEOF:
			e, err := wire.ParseEOF(at[4:])
			if err != nil {
				return err
			}
			end.Status, end.Warnings = uint16(e.Status), e.Warnings
		case wire.EventERR:
			e, err := wire.ParseERR(at[4:])
			if err != nil {
				return err
			}
			end.Errno, end.SQLState = e.Code, e.State
		case wire.EventPrepared:
			p.id, p.params = binary.LittleEndian.Uint32(at[5:]), int(binary.LittleEndian.Uint16(at[11:]))
		case wire.EventLocalFile:
			return fmt.Errorf("the server asks for a file")
		}
	}
	end.Took = time.Since(began)
	end.Rows, end.Bytes, end.Columns, end.Ordered, end.Multiset = s.hash.Rows(), s.hash.Bytes(), s.hash.Columns(), s.hash.Ordered(), s.hash.Multiset()
	return nil
}
