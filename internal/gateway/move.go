package gateway

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/windlass-db/windlass/internal/gateway/adminapi"
	"github.com/windlass-db/windlass/internal/wire"
)

// retryMove is how long a session waits before it tries again to move to a server that could not be reached.
const retryMove = 100 * time.Millisecond

// errRetry marks a move that failed without harm: the session is where it was.
var errRetry = errors.New("try again")

// shadow is a connection to another server, with the session's state as of a harvest.
type shadow struct {
	back  *backend
	state *state
	epoch uint64 // of the session when its state was harvested
}

// blockedError says that a session can't move, and why.
type blockedError struct{ blockers []adminapi.Blocker }

func (e *blockedError) Error() string {
	text := "the session can't move"
	for _, b := range e.blockers {
		text += ": " + b.Detail
	}
	return text
}

// open logs the session's account in on a server, with what was agreed with the client.
func (s *session) open(ctx context.Context, srv *server, schema string) (*backend, error) {
	d := s.gw.dial
	d.Address, d.User, d.Passwords, d.Schema = srv.address, s.account.User, s.account.Passwords, schema
	d.Charset, d.Attrs, d.MaxPacket = s.login.Charset, s.login.Attrs, s.login.MaxPacket
	d.Caps, d.Ext, d.Optional = s.caps|wire.CapSessionTrack, s.login.Ext, wire.CapSessionTrack
	d.Caps &^= wire.CapSSL
	d.Limit = s.gw.cfg.MaxPacket
	if s.gw.cfg.ProxyProtocol {
		d.Preamble = proxyHeader(s.conn.Net())
	}
	ctx, cancel := context.WithTimeout(ctx, s.gw.cfg.Timeouts.Connect.D())
	defer cancel()
	b, err := d.Connect(ctx)
	if err != nil {
		return nil, err
	}
	srv.sessions.Add(1)
	return &backend{Backend: b, srv: srv}, nil
}

// move puts the session on another server, with all of its state. mu is held and the session is not pinned. errRetry:
// nothing has changed. errGone: the session is lost.
func (s *session) move(ctx context.Context, target *server) error {
	ctx, cancel := context.WithTimeout(ctx, s.gw.cfg.Timeouts.Move.D())
	defer cancel()
	err := s.ready(ctx, target)
	status := wire.Status(0)
	if err == nil && s.begun != nil {
		if status, err = s.rebegin(ctx); err != nil {
			s.dropShadow()
		}
	}
	if err == nil {
		s.swap()
		if s.begun != nil {
			s.sawStatus(status)
		}
		s.gw.counts.moves.Add(1)
		return nil
	}
	var blocked *blockedError
	switch {
	case errors.Is(err, errRetry):
		return err
	case errors.As(err, &blocked):
		s.gw.counts.movesFailed.Add(1)
		s.gw.log.Warn("session can't move, and is closed", "session", s.id, "user", s.account.User, "client", s.address, "from", s.back.srv.address, "to", target.address, "err", err)
		s.say(s.conn.Seq, &wire.ServerError{Code: wire.ErrConnectionKilled, State: "70100", Message: "windlass: the primary has moved and this session can't follow, connect again: " + err.Error()})
		return errGone
	}
	s.gw.counts.movesFailed.Add(1)
	s.gw.log.Warn("session lost its server, and is closed", "session", s.id, "user", s.account.User, "client", s.address, "from", s.back.srv.address, "err", err)
	return errGone
}

// ready makes the shadow on the target have the session's present state. mu is held and the session is not pinned.
func (s *session) ready(ctx context.Context, target *server) error {
	if s.shadow != nil && s.shadow.back.srv != target {
		s.dropShadow()
	}
	if s.shadow != nil && s.shadow.epoch == s.epoch {
		return nil
	}
	st, bs, err := s.read()
	if err != nil {
		return err
	}
	if len(bs) > 0 {
		return s.blocked(bs...)
	}
	s.suspect = false
	if s.shadow != nil && st.follows(s.shadow.state) {
		if err := s.restore(ctx, s.shadow.back, s.shadow.state, st); err == nil {
			s.shadow.state, s.shadow.epoch = st, s.epoch
			return nil
		}
	}
	s.dropShadow() // perhaps its connection was old: once more on a new one
	b, err := s.open(ctx, target, st.schema.value)
	if err != nil {
		return s.unopened(target, err)
	}
	if isMariaDB(b.Greeting) == st.mysql {
		b.quit()
		return s.blocked(adminapi.Blocker{Kind: adminapi.BlockUnknown, Detail: "sessions don't move between MariaDB and MySQL"})
	}
	fresh := &state{schema: st.schema, role: text{null: true}}
	if err = s.restore(ctx, b, fresh, st); err == nil {
		if err = s.begin(ctx, b); err != nil {
			err = fmt.Errorf("%w: %w", errRetry, err)
		}
	}
	if err != nil {
		b.close()
		return err
	}
	s.shadow = &shadow{back: b, state: st, epoch: s.epoch}
	s.locate()
	return nil
}

// read reads the session's state on its server, and what it holds that can't be moved. mu is held, and the session is between two
// commands. It is not cut short by anything but its own timeout, after which the connection is closed: an answer that was not
// read to its end would be taken for that of the next command.
func (s *session) read() (st *state, bs []adminapi.Blocker, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), s.gw.cfg.Timeouts.Move.D())
	defer cancel()
	if isMariaDB(s.back.Greeting) {
		err = s.talk(ctx, func() error {
			if st, err = harvest(s.back.Backend); err == nil {
				bs, err = s.held(st)
			}
			return err
		})
	} else {
		st, bs, err = s.readMySQL(ctx)
	}
	var no *unreadable
	if errors.As(err, &no) {
		return nil, []adminapi.Blocker{{Kind: adminapi.BlockUnknown, Detail: no.why}}, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read the session's state on %s: %w", s.back.srv.address, err)
	}
	st.next = s.next
	return st, append(st.blockers(), bs...), nil
}

// talk lets the gateway itself say something on the session's connection. After a failure other than a refusal that connection is
// closed. mu is held.
func (s *session) talk(ctx context.Context, say func() error) error {
	release := s.back.Bound(ctx)
	err := say()
	if cut := release(); err == nil && cut != nil {
		err = cut
	}
	var no *unreadable
	var refused *wire.ServerError
	if err != nil && !errors.As(err, &no) && !errors.As(err, &refused) {
		s.back.Conn.Close()
	}
	return err
}

// held asks the server for the locks that the session may hold. mu is held.
func (s *session) held(st *state) (bs []adminapi.Blocker, err error) {
	if s.anyLock {
		bs = append(bs, adminapi.Blocker{Kind: adminapi.BlockUserLock, Detail: "GET_LOCK was called with a name that is not a plain text: the lock may be held until the session ends"})
	}
	if len(s.locks) > 0 {
		names := slices.Sorted(maps.Keys(s.locks))
		sql := "SELECT "
		for i, name := range names {
			if i > 0 {
				sql += ", "
			}
			sql += "IS_USED_LOCK(" + quoteText(name) + ") <=> CONNECTION_ID()"
		}
		res, err := s.back.Query(sql + " LIMIT 1")
		if err != nil {
			return nil, err
		}
		var mine []string
		for i, name := range names {
			if res.Value(0, i) == "1" {
				mine = append(mine, name)
			}
		}
		if len(mine) > 0 {
			bs = append(bs, adminapi.Blocker{Kind: adminapi.BlockUserLock, Names: mine, Detail: fmt.Sprintf("user locks are held: %q", mine)})
		} else {
			s.locks = nil
		}
	}
	if st.counts["COM_LOCK_TABLES"] > 0 {
		// Under LOCK TABLES a table that was not locked gives an error of its own.
		_, err := s.back.Query("SELECT 1 FROM windlass_is_not_there LIMIT 1")
		var no *wire.ServerError
		if !errors.As(err, &no) {
			return nil, err
		}
		if no.Code != wire.ErrNoSuchTable {
			bs = append(bs, adminapi.Blocker{Kind: adminapi.BlockTableLock, Detail: "LOCK TABLES is in force, or may be"})
		}
	}
	return bs, nil
}

// unopened tells a refusal that stands from one that passes.
func (s *session) unopened(target *server, err error) error {
	var refused *wire.ServerError
	var missing *wire.MissingError
	switch {
	case errors.As(err, &missing):
		return s.blocked(adminapi.Blocker{Kind: adminapi.BlockCapabilities, Detail: err.Error()})
	case errors.As(err, &refused) && (refused.Code == wire.ErrAccessDenied || refused.Code == wire.ErrUnknownDatabase || refused.Code == wire.ErrDatabaseAccessDenied):
		return s.blocked(adminapi.Blocker{Kind: adminapi.BlockLogin, Detail: err.Error()})
	}
	return fmt.Errorf("%w: %w", errRetry, err)
}

// restore makes the state on a connection, in one round trip.
func (s *session) restore(ctx context.Context, b *backend, from, to *state) error {
	changes := to.restore(from)
	sql := make([]string, len(changes))
	for i, c := range changes {
		sql[i] = c.sql
	}
	release := b.Bound(ctx)
	defer release()
	res, refused, err := b.QueryMany(sql...)
	if err != nil {
		return fmt.Errorf("%w: restore the session on %s: %w", errRetry, b.srv.address, err)
	}
	var bs []adminapi.Blocker
	for i, c := range changes {
		if refused[i] != nil {
			bs = append(bs, adminapi.Blocker{Kind: c.kind, Names: []string{c.name}, Detail: fmt.Sprintf("%s does not take %s: %v", b.srv.address, c.name, refused[i])})
		} else if res[i].OK.Warnings > 0 && !to.mysql {
			why, err := warned(b, c.sql)
			if err != nil {
				return fmt.Errorf("%w: restore the session on %s: %w", errRetry, b.srv.address, err)
			}
			if why != "" {
				bs = append(bs, adminapi.Blocker{Kind: c.kind, Names: []string{c.name}, Detail: fmt.Sprintf("%s changes the value of %s: %s", b.srv.address, c.name, why)})
			}
		}
	}
	if len(bs) == 0 && to.mysql {
		if bs, err = s.verify(ctx, b, to); err != nil {
			return fmt.Errorf("%w: restore the session on %s: %w", errRetry, b.srv.address, err)
		}
	}
	if len(bs) > 0 {
		return s.blocked(bs...)
	}
	if s.multi != nil {
		option := byte(1)
		if *s.multi {
			option = 0
		}
		if _, err := b.Simple([]byte{byte(wire.ComSetOption), option, 0}); err != nil {
			return fmt.Errorf("%w: restore the session on %s: %w", errRetry, b.srv.address, err)
		}
	}
	if to.next != "" { // the last: another statement could be taken for the transaction that it is for
		if _, err := b.Query(to.next); err != nil {
			return fmt.Errorf("%w: restore the session on %s: %w", errRetry, b.srv.address, err)
		}
	}
	return nil
}

// warned runs a statement again and reads its warnings: all but those that something is deprecated.
func warned(b *backend, sql string) (string, error) {
	res, _, err := b.QueryMany(sql, "SHOW WARNINGS LIMIT 64")
	if err != nil {
		return "", err
	}
	for i := range res[1].Rows {
		if code := res[1].Value(i, 1); code != deprecated && code != deprecatedNoReplacement {
			return res[1].Value(i, 2), nil
		}
	}
	return "", nil
}

// The numbers of warnings that say no more than that something is deprecated.
const (
	deprecated              = "1287"
	deprecatedNoReplacement = "1681"
)

// swap steps over to the shadow. mu is held.
func (s *session) swap() {
	old := s.back
	s.back, s.shadow = s.shadow.back, nil
	s.status &^= wire.StatusInTrans
	s.unsure, s.tables = false, 0
	s.locate()
	old.quit()
}

// quit ends a connection in good order.
func (b *backend) quit() {
	b.SetDeadline(time.Now().Add(100 * time.Millisecond))
	b.Seq = 0
	b.WritePacket([]byte{byte(wire.ComQuit)})
	b.close()
}

// dropShadow closes the shadow, if there is one. mu is held.
func (s *session) dropShadow() {
	if s.shadow != nil {
		s.shadow.back.quit()
		s.shadow = nil
		s.locate()
	}
}

// blocked names the session in its blockers.
func (s *session) blocked(bs ...adminapi.Blocker) error {
	for i := range bs {
		bs[i].Session, bs[i].User, bs[i].Client = s.id, s.account.User, s.address
		if s.back != nil {
			bs[i].Server, bs[i].ThreadID = s.back.srv.address, s.back.Greeting.ThreadID
		}
	}
	return &blockedError{bs}
}
