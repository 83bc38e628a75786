package gateway

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/windlass-db/windlass/internal/gateway/adminapi"
	"github.com/windlass-db/windlass/internal/wire"
)

// settleFor is how long a session must have done nothing before it is looked at while it may still end its transaction by itself. It is also
// the least time between two looks: a server gathers its list of transactions anew only when nobody has read it for listPause.
const settleFor = 120 * time.Millisecond

// drain waits until nothing of the writer endpoint is in flight. Sessions in a transaction may end it until the deadline; then those
// that wrote or locked block (trap 14), and those that only read go on where they are (trap 15). A reader that does
// nothing is not waited for.
func (w *switcher) drain(ctx context.Context, d *drain, over chan struct{}, deadline time.Time, onOpen adminapi.OnOpen) ([]adminapi.Blocker, error) {
	pending := w.gw.writerSessions()
	lingering := 0
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	look := time.NewTimer(settleFor)
	defer look.Stop()
	for {
		pending = slices.DeleteFunc(pending, (*session).quietNow)
		w.progress(over, len(pending), lingering)
		if len(pending) == 0 {
			return nil, nil
		}
		select {
		case <-d.kicked:
		case <-over:
			return nil, nil
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: the caller went away: %w", adminapi.ErrInternal, ctx.Err())
		case <-look.C:
			look.Reset(settleFor + rand.N(settleFor)) // other gateways look, too
			before := len(pending)
			pending, _ = w.gw.readersLinger(ctx, pending, false)
			lingering += before - len(pending)
		case <-timer.C:
			before := len(pending)
			rest, blockers := w.gw.readersLinger(ctx, pending, true)
			lingering += before - len(rest)
			w.progress(over, len(rest), lingering)
			if len(rest) > 0 && onOpen == adminapi.Fail {
				blockers = w.gw.endTransactions(rest, blockers)
			}
			return blockers, nil
		}
	}
}

// progress publishes how far the drain is.
func (w *switcher) progress(over chan struct{}, left, lingering int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over == over {
		w.left, w.linger = left, lingering
	}
}

// quietNow reports whether nothing of the session is in flight: between two commands, outside of a transaction, and
// with nothing that can't be moved, as far as its texts made that possible.
func (s *session) quietNow() bool {
	if !s.mu.TryLock() {
		return false // leave kicks
	}
	defer s.mu.Unlock()
	if s.back == nil {
		return true
	}
	if s.unsure && s.probe() != nil {
		return true // its connection is lost
	}
	return !s.bound() && (!s.suspect || len(s.inspect()) == 0)
}

// inspect reads what the session holds that can't be moved. mu is held.
func (s *session) inspect() []adminapi.Blocker {
	_, bs, err := s.read()
	switch {
	case errors.Is(err, errRetry):
		bs = []adminapi.Blocker{{Kind: adminapi.BlockUnknown, Detail: err.Error()}}
	case err != nil:
		return nil // its connection is lost: it holds nothing
	}
	if len(bs) == 0 {
		s.suspect = false
		return nil
	}
	var named *blockedError
	errors.As(s.blocked(bs...), &named)
	return named.blockers
}

// readersLinger finds the sessions that only read, lets them finish where they are, and answers the rest. At the end it judges all
// of them, and says why the rest blocks. A session is kept between two commands for the moment that judging takes.
func (g *Gateway) readersLinger(ctx context.Context, pending []*session, end bool) (rest []*session, blockers []adminapi.Blocker) {
	var locked, flying []*session
	for _, s := range pending {
		switch {
		case !end && s.idle() < settleFor:
			rest = append(rest, s)
		case s.mu.TryLock():
			defer s.mu.Unlock()
			locked = append(locked, s)
		case end:
			flying = append(flying, s)
		default:
			rest = append(rest, s)
		}
	}
	if len(locked)+len(flying) == 0 {
		return pending, nil
	}
	views := map[string]*serverView{}
	view := func(s *session) *serverView {
		address := s.place.Load().server
		if views[address] == nil {
			views[address] = g.look(ctx, address, end)
		}
		return views[address]
	}
	keep := func(s *session, bs []adminapi.Blocker) {
		if len(bs) > 0 {
			rest = append(rest, s)
			blockers = append(blockers, bs...)
		}
	}
	for _, s := range locked {
		keep(s, s.judge(view(s)))
	}
	for _, s := range flying {
		keep(s, s.judgeFlight(view(s)))
	}
	return rest, blockers
}

// idle is how long the session has had no command in flight, or how long the one in flight has been running.
func (s *session) idle() time.Duration {
	if s.inFlight.Load() {
		return time.Duration(s.gw.clock() - s.began.Load())
	}
	return time.Duration(s.gw.clock() - s.ended.Load())
}

// serverView is what a server says of its connections.
type serverView struct {
	asked        int64 // before the question, on the gateway's clock
	transactions map[uint32]transaction
	running      map[uint32]string // text of the statement that runs, by connection id
	err          error
}

func (g *Gateway) look(ctx context.Context, address string, retry bool) *serverView {
	v := &serverView{asked: g.clock()}
	srv := g.findServer(address)
	if srv == nil {
		v.err = fmt.Errorf("%s is not one of the gateway's servers", address)
		return v
	}
	if v.transactions, v.running, v.err = g.openTransactions(ctx, srv, retry); v.err != nil {
		v.err = fmt.Errorf("the transactions of %s could not be read: %w", address, v.err)
	}
	return v
}

// judge lets a session linger whose transaction only reads, and says why it blocks if not. What can't be seen blocks. mu
// is held, and no command is in flight.
func (s *session) judge(v *serverView) []adminapi.Blocker {
	if s.back == nil || !s.bound() && !s.suspect {
		return nil
	}
	if v.err != nil {
		return []adminapi.Blocker{s.blocker(adminapi.BlockUnknown, v.err.Error())}
	}
	if tx := v.transactions[s.back.Greeting.ThreadID]; tx.wrote() {
		return []adminapi.Blocker{s.blocker(adminapi.BlockTransaction, tx.String())}
	}
	if s.stmts.longData > 0 {
		return []adminapi.Blocker{s.blocker(adminapi.BlockLongData, "long data was sent, but not executed")}
	}
	if s.suspect {
		if bs := s.inspect(); len(bs) > 0 {
			return bs
		}
	}
	s.linger.Store(s.bound())
	return nil
}

// judgeFlight is judge for a session whose command is in flight: a query that is a read for sure may finish.
func (s *session) judgeFlight(v *serverView) []adminapi.Blocker {
	if v.err != nil {
		return []adminapi.Blocker{s.blocker(adminapi.BlockUnknown, v.err.Error())}
	}
	thread := s.place.Load().thread
	tx, open := v.transactions[thread]
	same := s.inFlight.Load() && s.began.Load() < v.asked // one command all the time that the server was asked
	if text, running := v.running[thread]; same && running && isRead([]byte(text)) && !tx.wrote() {
		s.linger.Store(true)
		return nil
	}
	detail := "a command is in flight"
	if open {
		detail += ", in a transaction with " + tx.String()
	}
	return []adminapi.Blocker{s.blocker(adminapi.BlockCommand, detail)}
}

// endTransactions rolls back what blocks, and answers the blockers that stay.
func (g *Gateway) endTransactions(rest []*session, blockers []adminapi.Blocker) []adminapi.Blocker {
	endable := func(b adminapi.Blocker) bool {
		return slices.Contains([]string{adminapi.BlockTransaction, adminapi.BlockCommand, adminapi.BlockCursor, adminapi.BlockLongData}, b.Kind)
	}
	group := new(errgroup.Group)
	group.SetLimit(movers)
	for _, s := range rest {
		if slices.ContainsFunc(blockers, func(b adminapi.Blocker) bool { return b.Session == s.id && !endable(b) }) {
			continue
		}
		group.Go(func() error {
			if err := s.endForced(); err != nil {
				g.log.Warn("a transaction did not end, so its session is closed", "session", s.id, "err", err)
				s.cut()
			}
			return nil
		})
	}
	group.Wait()
	return slices.DeleteFunc(blockers, endable)
}

// interruptEvery is how many milliseconds lie between one KILL QUERY for a command and the next.
const interruptEvery = 100

// endForced interrupts the session's command, rolls its transaction back, and lets its client know by an error.
func (s *session) endForced() error {
	s.ending.Store(true)
	defer s.ending.Store(false)
	ctx, cancel := context.WithTimeout(context.Background(), s.gw.cfg.Timeouts.Observe.D())
	defer cancel()
	if !s.mu.TryLock() {
		for n := 0; !s.mu.TryLock(); n++ {
			if n%interruptEvery == 0 { // again: it is lost on a server that has not begun the command yet
				if err := s.interrupt(ctx); err != nil {
					return err
				}
			}
			select {
			case <-ctx.Done():
				return errors.New("its command went on after KILL QUERY")
			case <-time.After(time.Millisecond):
			}
		}
	}
	defer s.mu.Unlock()
	if s.back == nil {
		return nil
	}
	if s.unsure {
		if err := s.probe(); err != nil {
			return err
		}
	}
	for _, st := range s.stmts.byID {
		if !st.cursor && !st.longData {
			continue
		}
		err := s.talk(ctx, func() error {
			_, err := s.back.Simple(binary.LittleEndian.AppendUint32([]byte{byte(wire.ComStmtReset)}, st.server))
			return err
		})
		if err != nil {
			return err
		}
		s.setCursor(st, false)
		if st.longData {
			st.longData = false
			s.stmts.longData--
		}
	}
	if s.status&wire.StatusInTrans != 0 {
		if err := s.end1("ROLLBACK"); err != nil {
			return err
		}
		s.doomed = !s.told
		s.gw.counts.rolledBack.Add(1)
	}
	s.told = false
	return nil
}

// interrupt sends KILL QUERY for the session's command, as its own user.
func (s *session) interrupt(ctx context.Context) error {
	at := s.place.Load()
	srv := s.gw.findServer(at.server)
	if srv == nil {
		return fmt.Errorf("%s is not one of the gateway's servers", at.server)
	}
	b, err := s.open(ctx, srv, "")
	if err != nil {
		return err
	}
	defer b.quit()
	release := b.Bound(ctx)
	defer release()
	_, err = b.Query(fmt.Sprintf("KILL QUERY %d", at.thread))
	var no *wire.ServerError
	if errors.As(err, &no) && no.Code == wire.ErrNoSuchThread {
		return nil // it ended by itself
	}
	return err
}
