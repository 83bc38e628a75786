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

	inTx     atomic.Bool
	inFlight atomic.Bool
	waiting  atomic.Bool
	commands atomic.Uint64
	began    atomic.Int64 // when the last command began, nanoseconds of the gateway's clock
	user     atomic.Pointer[string]
	place    atomic.Pointer[place]
	raw      atomic.Pointer[backend] // back, for closing it without the lock
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
		s.began.Store(s.gw.clock())
		s.commands.Add(1)
		err = s.command(ctx, cmd, length)
		var no *refusal
		if errors.As(err, &no) {
			err = s.say(1, &no.ServerError)
		}
		if err != nil {
			return quiet(err)
		}
		if s.gw.stopping.Load() && !s.inTx.Load() {
			return nil
		}
	}
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

// enter passes the gate for one command and leaves the session locked, unless it answers an error.
func (s *session) enter(ctx context.Context) error {
	s.mu.Lock()
	r := s.ep.route.Load()
	if s.back == nil {
		s.mu.Unlock()
		return errGone
	}
	if r.fits(s.back.srv) || s.pinned() {
		s.epoch++
		s.inFlight.Store(true)
		return nil
	}
	if err := s.wait(ctx, time.Now().Add(s.gw.cfg.Timeouts.NoPrimary.D())); err != nil {
		s.mu.Unlock()
		return err
	}
	s.epoch++
	s.inFlight.Store(true)
	return nil
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
	s.mu.Unlock()
	if h := s.gw.sw.draining.Load(); h != nil && !s.ep.readOnly {
		h.kick(s)
	}
}

// wait lets the command wait until the route fits and the session is on its server. mu is held, and let go while waiting:
// whoever moves sessions needs it. The time of a hold does not count: a hold has a TTL of its own.
func (s *session) wait(ctx context.Context, deadline time.Time) error {
	begin := time.Now()
	for {
		if s.unsure {
			if err := s.probe(); err != nil {
				return err
			}
		}
		r := s.ep.route.Load()
		if r.fits(s.back.srv) || s.pinned() {
			return nil
		}
		if r.state == adminapi.RouteOpen {
			err := s.move(ctx, s.ep.pick(r))
			if err == nil {
				s.gw.sw.waited(time.Since(begin))
				continue
			}
			if !errors.Is(err, errRetry) {
				return err
			}
			if time.Now().After(deadline) {
				s.gw.counts.refused.Add(1)
				return refuse(wire.ErrOptionPrevents, "HY000", "the session could not be moved to %s: %v", r.server.address, err)
			}
		}
		held := r.state == adminapi.RouteHeld
		if held {
			deadline = time.Now().Add(s.gw.cfg.Timeouts.NoPrimary.D())
		}
		timer := time.NewTimer(time.Until(deadline))
		if r.state == adminapi.RouteOpen {
			timer.Reset(min(time.Until(deadline), retryMove))
		}
		s.waiting.Store(true)
		s.ep.waiting.Add(1)
		s.mu.Unlock()
		var over bool
		select {
		case <-r.next:
		case <-timer.C:
			over = r.state != adminapi.RouteOpen && !held
		case <-ctx.Done():
		}
		timer.Stop()
		s.mu.Lock()
		s.ep.waiting.Add(-1)
		s.waiting.Store(false)
		switch {
		case ctx.Err() != nil || s.back == nil:
			return errGone
		case over:
			s.gw.counts.refused.Add(1)
			return refuse(wire.ErrOptionPrevents, "HY000", "%s", r.explain(s.gw.cfg.Timeouts.NoPrimary.D()))
		}
	}
}

// probe asks the server whether a transaction is open, after an error left that in doubt. mu is held.
func (s *session) probe() error {
	ctx, cancel := context.WithTimeout(context.Background(), s.gw.cfg.Timeouts.Observe.D())
	defer cancel()
	release := s.back.Bound(ctx)
	res, err := s.back.Simple([]byte{byte(wire.ComPing)})
	if cut := release(); err == nil && cut != nil {
		err = cut
	}
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
