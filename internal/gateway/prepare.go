package gateway

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/windlass-db/windlass/internal/gateway/adminapi"
)

// movers is how many sessions are read and restored at the same time.
const movers = 8

// writerSessions are the sessions of the writer endpoint that are logged in or about to be.
func (g *Gateway) writerSessions() []*session {
	return slices.DeleteFunc(g.snapshot(), func(s *session) bool { return s.ep.readOnly })
}

// Prepare opens and restores every session of the writer endpoint on the elect, holding nothing, and reports what would stand
// in the way (trap 21).
func (w *switcher) Prepare(ctx context.Context, req adminapi.PrepareRequest) (adminapi.PrepareReply, error) {
	g := w.gw
	srv := g.findServer(req.Target)
	if srv == nil {
		return adminapi.PrepareReply{}, fmt.Errorf("%w: %s", adminapi.ErrUnknownServer, req.Target)
	}
	timeout := time.Duration(req.TimeoutMS) * time.Millisecond
	if timeout <= 0 {
		timeout = 30 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	w.act.Lock()
	defer w.act.Unlock()
	w.mu.Lock()
	if req.DryRun {
		if err := w.admit(req.Term); err != nil {
			w.mu.Unlock()
			return adminapi.PrepareReply{}, err
		}
	} else {
		superseded, err := w.begin(req.Switch, req.Term)
		if err == nil && !superseded && !w.closed.IsZero() {
			err = fmt.Errorf("%w: it holds already", adminapi.ErrBusy)
		}
		if err != nil {
			w.mu.Unlock()
			return adminapi.PrepareReply{}, err
		}
		if superseded {
			w.finish("superseded")
		}
		w.phase, w.id, w.of, w.target = adminapi.PhasePrepared, req.Switch, req.Term, srv
	}
	w.mu.Unlock()

	reply := adminapi.PrepareReply{Unmovable: []adminapi.Blocker{}, Problems: []string{}, Warnings: []string{}}
	sessions := g.writerSessions()
	reply.Sessions = len(sessions)
	reply.Accounts = g.checkAccounts(ctx, srv)
	reply.Problems = append(reply.Problems, g.checkRoom(ctx, srv, len(sessions))...)
	reply.Problems = append(reply.Problems, g.checkInspection(ctx, srv, sessions)...)
	var mu sync.Mutex
	if len(reply.Problems) == 0 {
		group := new(errgroup.Group)
		group.SetLimit(movers)
		for _, s := range sessions {
			group.Go(func() error {
				err := s.prepareFor(ctx, srv, req.DryRun)
				mu.Lock()
				defer mu.Unlock()
				var blocked *blockedError
				switch {
				case err == nil:
					reply.Ready++
				case errors.As(err, &blocked):
					reply.Unmovable = append(reply.Unmovable, blocked.blockers...)
				case errors.Is(err, errBusy):
					reply.Warnings = append(reply.Warnings, fmt.Sprintf("session %d of %s from %s is in a transaction or command, and was not restored ahead", s.id, *s.user.Load(), s.address))
				case errors.Is(err, errGone):
					reply.Sessions--
				default:
					reply.Problems = append(reply.Problems, fmt.Sprintf("session %d of %s from %s: %v", s.id, *s.user.Load(), s.address, err))
				}
				return nil
			})
		}
		group.Wait()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.id == req.Switch {
		w.ready = reply.Ready
	}
	reply.Status = w.status()
	return reply, nil
}

// errBusy says that a session can't be looked at now.
var errBusy = errors.New("busy")

// busyWait is how long a session that is in a transaction is waited for when it is to be restored ahead.
const busyWait = 200 * time.Millisecond

// prepareFor makes the session's shadow on the server.
func (s *session) prepareFor(ctx context.Context, srv *server, dryRun bool) error {
	if err := s.lockQuiet(ctx, busyWait); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if s.back.srv == srv {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.gw.cfg.Timeouts.Move.D())
	defer cancel()
	err := s.ready(ctx, srv)
	if dryRun {
		s.dropShadow()
	}
	return err
}

// delicate reports whether reading the session's state now could overwrite what its client is about to ask for. mu is held.
func (s *session) delicate() bool {
	return s.fragile && time.Duration(s.gw.clock()-s.ended.Load()) < s.gw.cfg.delicateFor
}

// lockQuiet locks the session when nothing of it is in flight, or answers errBusy after a while.
func (s *session) lockQuiet(ctx context.Context, patience time.Duration) error {
	deadline := time.Now().Add(patience)
	for {
		if s.mu.TryLock() {
			if s.back == nil {
				s.mu.Unlock()
				return errGone
			}
			if s.unsure {
				if err := s.probe(); err != nil {
					s.mu.Unlock()
					return errGone
				}
			}
			if !s.pinned() && !s.delicate() && s.next == "" {
				return nil
			}
			s.mu.Unlock()
		}
		if time.Now().After(deadline) {
			return errBusy
		}
		select {
		case <-ctx.Done():
			return errBusy
		case <-time.After(time.Millisecond):
		}
	}
}

// checkAccounts logs every account in on the server (trap 22).
func (g *Gateway) checkAccounts(ctx context.Context, srv *server) []adminapi.AccountCheck {
	accounts := *g.accounts.Load()
	checks := make([]adminapi.AccountCheck, len(accounts))
	group := new(errgroup.Group)
	group.SetLimit(movers)
	for i, user := range slices.Sorted(maps.Keys(accounts)) {
		group.Go(func() error {
			checks[i] = adminapi.AccountCheck{User: user}
			d := g.dial
			d.Address, d.User, d.Passwords = srv.address, user, accounts[user].Passwords
			d.Charset, d.MaxPacket = utf8mb4General, 1<<24
			ctx, cancel := context.WithTimeout(ctx, g.cfg.Timeouts.Connect.D())
			defer cancel()
			b, err := d.Connect(ctx)
			if err != nil {
				checks[i].Error = err.Error()
				return nil
			}
			(&backend{Backend: b, srv: &server{}}).quit()
			return nil
		})
	}
	group.Wait()
	return checks
}

// checkRoom looks whether the server takes that many connections more.
func (g *Gateway) checkRoom(ctx context.Context, srv *server, sessions int) []string {
	ctx, cancel := context.WithTimeout(ctx, g.cfg.Timeouts.Connect.D())
	defer cancel()
	d := g.mon.dial
	d.Address = srv.address
	b, err := d.Connect(ctx)
	if err != nil {
		return []string{fmt.Sprintf("the monitoring account can't log in on %s: %v", srv.address, err)}
	}
	defer b.Close()
	release := b.Bound(ctx)
	defer release()
	res, refused, err := b.QueryMany("SELECT @@global.max_connections", "SHOW GLOBAL STATUS LIKE 'Threads_connected'")
	if err == nil {
		err = errors.Join(refused...)
	}
	if err != nil {
		return []string{fmt.Sprintf("%s does not say how many connections it takes: %v", srv.address, err)}
	}
	limit, _ := strconv.Atoi(res[0].Value(0, 0))
	used, _ := strconv.Atoi(res[1].Value(0, 1))
	if free := limit - used; free < sessions+reservedConnections {
		return []string{fmt.Sprintf("%s has %d of %d connections left, but %d sessions and %d in reserve are needed: raise max_connections there", srv.address, free, limit, sessions, reservedConnections)}
	}
	return nil
}

// checkInspection looks whether the monitoring account can read what sessions hold, on the elect and where they are now.
func (g *Gateway) checkInspection(ctx context.Context, srv *server, sessions []*session) (problems []string) {
	servers := []string{srv.address}
	if r := g.writer.route.Load(); r.server != nil {
		servers = append(servers, r.server.address)
	}
	for _, s := range sessions {
		if at := s.place.Load().server; at != "" {
			servers = append(servers, at)
		}
	}
	slices.Sort(servers)
	for _, address := range slices.Compact(servers) {
		ctx, cancel := context.WithTimeout(ctx, g.cfg.Timeouts.Connect.D())
		err := g.inspect.check(ctx, address)
		cancel()
		if err != nil {
			problems = append(problems, fmt.Sprintf("the state of sessions can't be read on %s: %v", address, err))
		}
	}
	return problems
}

// reservedConnections are left free on the elect, for monitoring and operators.
const reservedConnections = 5

// follow brings the sessions' shadows up to date during a hold, so that stepping over costs nothing after it.
func (g *Gateway) follow(target *server, over chan struct{}) {
	ended := func() bool {
		select {
		case <-over:
			return true
		default:
			return false
		}
	}
	group := new(errgroup.Group)
	group.SetLimit(movers)
	for _, s := range g.writerSessions() {
		group.Go(func() error {
			if ended() || !s.mu.TryLock() {
				return nil
			}
			defer s.mu.Unlock()
			if s.back == nil || s.back.srv == target || s.pinned() || s.unsure || s.delicate() || s.next != "" {
				return nil
			}
			ctx, cancel := context.WithTimeout(context.Background(), g.cfg.Timeouts.Move.D())
			defer cancel()
			if err := s.ready(ctx, target); err != nil {
				g.log.Debug("session is not ready yet", "session", s.id, "err", err)
			}
			return nil
		})
	}
	group.Wait()
}

// settle puts idle sessions where the route is after a switch, and closes the shadows that are of no use any more.
func (g *Gateway) settle() {
	defer g.inspect.rest()
	group := new(errgroup.Group)
	group.SetLimit(movers)
	for _, s := range g.writerSessions() {
		group.Go(func() error {
			if !s.mu.TryLock() {
				return nil // it moves by itself
			}
			defer s.mu.Unlock()
			r := g.writer.route.Load()
			if s.back == nil || s.pinned() || s.unsure || s.delicate() || s.next != "" || r.state != adminapi.RouteOpen {
				return nil
			}
			if r.server == s.back.srv {
				s.dropShadow()
				return nil
			}
			ctx, cancel := context.WithTimeout(context.Background(), g.cfg.Timeouts.Move.D())
			defer cancel()
			if err := s.ready(ctx, r.server); err == nil {
				s.swap()
				g.counts.moves.Add(1)
			}
			return nil
		})
	}
	group.Wait()
}
