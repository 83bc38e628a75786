package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/windlass-db/windlass/internal/gateway/adminapi"
	"github.com/windlass-db/windlass/internal/wire"
)

// session is one client connection. Its goroutine takes mu for each command, from the gate to the end of the answer; whoever else
// holds mu sees it between two commands.
type session struct {
	gw       *Gateway
	ep       *endpoint
	id       uint32
	sock     net.Conn // under conn, which may encrypt it
	conn     *wire.Conn
	address  string // of the client, host:port
	host     string // without port
	since    time.Time
	released atomic.Bool // closed by the gateway

	mu      sync.Mutex
	login   wire.Login // what a connection to a server is opened with; Schema as of the login
	account Account
	caps    wire.Capability // agreed with the client
	back    *backend
	shadow  *shadow
	stmts   statements
	reply   wire.Reply
	status  wire.Status // of the last answer
	unsure  bool        // an error may have ended or begun a transaction
	cursors int         // open server-side cursors
	multi   *bool       // COM_SET_OPTION, if it was used
	epoch   uint64      // commands that were let through: the session's state may have changed with each
	salt    [wire.SaltSize]byte
	killed  chan struct{}   // somebody killed the waiting command
	doomed  bool            // its transaction was rolled back for a switch; the client is told by its next command
	suspect bool            // a text made it possible that something is there that can't be moved
	locks   map[string]bool // names in calls of GET_LOCK
	anyLock bool            // GET_LOCK of a name that is not known
	fragile bool            // the last answer left warnings or found rows, which reading the state would overwrite
	counted bool            // the command in flight counts rows for FOUND_ROWS()
	told    bool            // the client was told that a switch interrupted its command
	next    string          // SET TRANSACTION … for the next transaction alone, which has not begun
	tables  int64           // CREATE TABLE statements, surely of no temporary table, that its server has answered well
	making  bool            // the command in flight is one of those
	begun   *begun          // the open transaction, as long as nothing was done in it

	tapped tapped // of its own goroutine alone

	inTx     atomic.Bool
	inFlight atomic.Bool
	waiting  atomic.Bool
	commands atomic.Uint64
	began    atomic.Int64 // when the last command began, nanoseconds of the gateway's clock
	user     atomic.Pointer[string]
	place    atomic.Pointer[place]
	raw      atomic.Pointer[backend] // back, for closing it without the lock
	linger   atomic.Bool             // a reader that finishes on a server that is not the primary any more (trap 15)
	ended    atomic.Int64            // when the last command ended, on the gateway's clock
	ending   atomic.Bool             // a switch is ending the transaction: the command in flight was interrupted
}

// place is where the session is, for others to read without the lock.
type place struct {
	server, shadow       string
	thread, shadowThread uint32
}

// backend is a session's connection to a server.
type backend struct {
	*wire.Backend
	srv *server
}

func (b *backend) close() {
	b.Backend.Close()
	b.srv.sessions.Add(-1)
}

// errGone says that the client's connection has to be closed, without another word to it.
var errGone = errors.New("session is over")

// refusal is an error that the client is told, after which the session goes on.
type refusal struct{ wire.ServerError }

func refuse(code uint16, state, format string, args ...any) *refusal {
	return &refusal{wire.ServerError{Code: code, State: state, Message: "windlass: " + fmt.Sprintf(format, args...)}}
}

// serve is the session's life after the login.
func (s *session) serve(ctx context.Context) error {
	for {
		s.conn.Shrink()
		head, err := s.conn.Peek(4)
		if err != nil {
			return quiet(err)
		}
		length, seq := int(head[0])|int(head[1])<<8|int(head[2])<<16, head[3]
		if length == 0 || seq != 0 {
			s.say(1, &wire.ServerError{Code: wire.ErrHandshake, State: "08S01", Message: "windlass: malformed packet"})
			return fmt.Errorf("%w: command of %d bytes with number %d", wire.ErrMalformed, length, seq)
		}
		if head, err = s.conn.Peek(5); err != nil {
			return quiet(err)
		}
		cmd := wire.Command(head[4])
		if cmd == wire.ComQuit {
			return nil
		}
		s.conn.Seq = 1 // of what the gateway answers itself; more if the command has more frames
		s.began.Store(s.gw.clock())
		s.commands.Add(1)
		if err = s.command(ctx, cmd, length); err != nil {
			if err = s.tell(err); err != nil {
				return quiet(err)
			}
		}
		if s.gw.stopping.Load() && !s.inTx.Load() {
			return nil
		}
	}
}

// tell sends a refusal to the client; any other error is given back.
func (s *session) tell(err error) error {
	var no *refusal
	if errors.As(err, &no) {
		return s.say(s.conn.Seq, &no.ServerError)
	}
	return err
}

// quiet turns the normal ends of a connection into no error.
func quiet(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, errGone) {
		return nil
	}
	return err
}

// say sends an error packet with that number.
func (s *session) say(seq byte, e *wire.ServerError) error {
	s.conn.Seq = seq
	return s.conn.WritePacket(e.Append(nil))
}

// pinned reports whether the session has to stay on its server: a transaction, cursor or long data is open. mu is held.
func (s *session) pinned() bool {
	return s.status&wire.StatusInTrans != 0 || s.cursors > 0 || s.stmts.longData > 0
}

// request is a command on its way through the gate.
type request struct {
	cmd  wire.Command
	text []byte // of a query, or of the prepared statement that is executed; nil: none, or not kept
}

// enter passes the gate for one command and leaves the session locked, unless it answers an error.
func (s *session) enter(ctx context.Context, req request) error {
	s.mu.Lock()
	err := s.admit(ctx, req)
	if err != nil {
		s.mu.Unlock()
		return err
	}
	s.epoch++
	s.begun = nil
	s.inFlight.Store(true)
	return nil
}

// admit lets a command through, at once or after a wait. mu is held.
func (s *session) admit(ctx context.Context, req request) error {
	if s.back == nil {
		return errGone
	}
	if s.doomed {
		return s.tellDoom(req)
	}
	if s.ep.route.Load().fits(s.back.srv) {
		return nil
	}
	if s.bound() {
		return s.stay(ctx, req)
	}
	return s.wait(ctx, req, time.Now().Add(s.gw.cfg.Timeouts.NoPrimary.D()))
}

// enterAnywhere locks the session for a command that may run wherever the session is.
func (s *session) enterAnywhere() error {
	s.mu.Lock()
	if s.back == nil {
		s.mu.Unlock()
		return errGone
	}
	s.inFlight.Store(true)
	return nil
}

// leave ends the command and tells a hold that waits for it.
func (s *session) leave() {
	s.inFlight.Store(false)
	s.ended.Store(s.gw.clock())
	s.mu.Unlock()
	if h := s.gw.sw.draining.Load(); h != nil && !s.ep.readOnly {
		h.kick(s)
	}
}

// wait lets the command wait until the route fits and the session is on its server. mu is held, and let go while waiting:
// whoever moves sessions needs it. The time of a hold does not count: a hold has a TTL of its own.
func (s *session) wait(ctx context.Context, req request, deadline time.Time) error {
	begin := time.Now()
	budget := s.gw.cfg.Timeouts.NoPrimary.D()
	for {
		if s.unsure {
			if err := s.probe(); err != nil {
				return err
			}
		}
		r := s.ep.route.Load()
		if r.fits(s.back.srv) || s.bound() {
			return nil
		}
		if s.answersHere(req) {
			return nil
		}
		pause := time.Until(deadline)
		switch r.state {
		case adminapi.RouteOpen:
			err := s.move(ctx, s.ep.pick(r))
			if err == nil {
				s.gw.sw.waited(time.Since(begin))
				continue
			}
			if !errors.Is(err, errRetry) {
				return err
			}
			if pause <= 0 {
				s.gw.counts.refused.Add(1)
				return refuse(wire.ErrOptionPrevents, "HY000", "the session could not be moved: %v; waited %s", err, budget)
			}
			pause = min(pause, retryMove)
		case adminapi.RouteHeld:
			deadline = time.Now().Add(budget)
			pause = budget
		default:
			if pause <= 0 {
				s.gw.counts.refused.Add(1)
				return refuse(wire.ErrOptionPrevents, "HY000", "%s", r.explain(budget))
			}
		}
		if err := s.sleep(ctx, r, pause); err != nil {
			return err
		}
	}
}

// sleep lets go of mu until the route changes or the time is over.
func (s *session) sleep(ctx context.Context, r *route, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	s.waiting.Store(true)
	s.inFlight.Store(false)
	s.ep.waiting.Add(1)
	s.mu.Unlock()
	killed := false
	select {
	case <-r.next:
	case <-timer.C:
	case <-ctx.Done():
	case <-s.killed:
		killed = true
	}
	s.mu.Lock()
	s.ep.waiting.Add(-1)
	s.waiting.Store(false)
	switch {
	case ctx.Err() != nil || s.back == nil || s.released.Load():
		return errGone
	case killed:
		return &refusal{wire.ServerError{Code: wire.ErrQueryInterrupted, State: "70100", Message: "Query execution was interrupted"}}
	}
	s.inFlight.Store(true)
	return nil
}

// answersHere reports whether the command asks for what only the session's present server knows: what the statement before it
// left there. That was not disturbed if the session's state has not been read since.
func (s *session) answersHere(req request) bool {
	return req.text != nil && (s.shadow == nil || s.shadow.epoch != s.epoch) && asksDiagnostics(req.text)
}

// probe asks the server whether a transaction is open, after an error left that in doubt. mu is held.
func (s *session) probe() error {
	ctx, cancel := context.WithTimeout(context.Background(), s.gw.cfg.Timeouts.Observe.D())
	defer cancel()
	var res wire.Result
	err := s.talk(ctx, func() (err error) {
		res, err = s.back.Simple([]byte{byte(wire.ComPing)})
		return err
	})
	if err != nil {
		return fmt.Errorf("ask %s for the transaction's state: %w", s.back.srv.address, err)
	}
	s.sawStatus(res.OK.Status)
	s.unsure = false
	return nil
}

// sawStatus takes the status flags of an answer.
func (s *session) sawStatus(status wire.Status) {
	s.status = status
	if s.linger.Load() && !s.pinned() {
		s.linger.Store(false)
	}
	if in := status&wire.StatusInTrans != 0; in != s.inTx.Load() {
		s.inTx.Store(in)
	}
}

// locate publishes where the session is. mu is held.
func (s *session) locate() {
	var p place
	s.raw.Store(s.back)
	if s.back != nil {
		p.server, p.thread = s.back.srv.address, s.back.Greeting.ThreadID
	}
	if s.shadow != nil {
		p.shadow, p.shadowThread = s.shadow.back.srv.address, s.shadow.back.Greeting.ThreadID
	}
	s.place.Store(&p)
}

// end closes what is open.
func (s *session) end() {
	s.tapped.is.Close(s.gw.clock())
	s.conn.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.back != nil {
		s.back.quit()
		s.back = nil
	}
	s.dropShadow()
	s.locate()
}
