package gateway

import (
	"bytes"
	"context"
	"time"

	"github.com/windlass-db/windlass/internal/capture"
	"github.com/windlass-db/windlass/internal/capture/tap"
	"github.com/windlass-db/windlass/internal/wire"
)

// changeUser serves COM_CHANGE_USER: the client proves at the gateway who it is, and gets a fresh session on a server (trap 28).
// A client that fails is disconnected.
func (s *session) changeUser(ctx context.Context) error {
	s.conn.Seq = 0
	payload, err := s.conn.ReadPacket()
	if err != nil {
		return err
	}
	u, err := wire.ParseChangeUser(bytes.Clone(payload), s.caps)
	if err != nil {
		return err
	}
	if t, at := s.captureFrom(wire.ComChangeUser); t != nil {
		s.sent(t, wire.ComChangeUser, &tap.Statement{At: at, Withheld: capture.WithheldCredential})
		s.tapped.await(wire.ComChangeUser, s.caps)
	}
	err = s.becomes(ctx, u)
	s.answered(err)
	return err
}

// becomes makes the session one of another user.
func (s *session) becomes(ctx context.Context, u wire.ChangeUser) error {
	// The old session goes first: whatever it has open ends, as on a server. Nobody waits for it meanwhile.
	s.mu.Lock()
	if s.back != nil {
		s.back.quit()
		s.back = nil
	}
	s.dropShadow()
	s.forgetState()
	s.sawStatus(0)
	s.unsure = false
	s.locate()
	s.mu.Unlock()
	if h := s.gw.sw.draining.Load(); h != nil {
		h.kick(s)
	}
	s.conn.SetDeadline(time.Now().Add(s.gw.cfg.Timeouts.Login.D()))
	if err := s.authenticate(u.User, u.Plugin, u.Auth, s.salt[:]); err != nil {
		return err
	}
	s.conn.SetDeadline(time.Time{})
	s.login.User, s.login.Schema = u.User, u.Schema
	if u.Charset != 0 {
		s.login.Charset = u.Charset
	}
	if s.caps&wire.CapConnectAttrs != 0 {
		s.login.Attrs = u.Attrs
	}
	return s.welcome(ctx)
}
