package gateway

import (
	"context"
	"errors"
	"fmt"

	"github.com/windlass-db/windlass/internal/wire"
)

// kill runs a KILL whose id is one that the gateway gave to a client (trap 29). The server that the victim is on decides whether this
// user may kill it. It does not pass the gate: a Ctrl-C has to work during a hold, too.
func (s *session) kill(ctx context.Context, verb string, id uint32) error {
	g := s.gw
	g.mu.Lock()
	victim := g.sessions[id]
	g.mu.Unlock()
	if victim == nil {
		if id>>idCountBits&(gatewayIDs-1) != uint32(*g.cfg.ID) {
			return refuse(wire.ErrNoSuchThread, "HY000", "unknown thread id: %d belongs to another gateway of the cluster", id)
		}
		return refuse(wire.ErrNoSuchThread, "HY000", "unknown thread id: %d", id)
	}
	at := victim.place.Load()
	srv := g.findServer(at.server)
	if srv == nil {
		return refuse(wire.ErrNoSuchThread, "HY000", "unknown thread id: %d has no server now", id)
	}
	mine := *s.user.Load() == *victim.user.Load()
	if victim.waiting.Load() { // nothing of it runs on a server
		if !mine {
			return refuse(wire.ErrKillDenied, "HY000", "you are not owner of thread %d", id)
		}
		select {
		case victim.killed <- struct{}{}:
		default:
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, g.cfg.Timeouts.Connect.D())
	defer cancel()
	b, err := s.open(ctx, srv, "")
	if err != nil {
		return refuse(wire.ErrUnknown, "HY000", "KILL could not be sent to %s: %v", srv.address, err)
	}
	defer b.quit()
	release := b.Bound(ctx)
	defer release()
	_, err = b.Query(fmt.Sprintf("%s %d", verb, at.thread))
	var no *wire.ServerError
	if errors.As(err, &no) {
		return &refusal{*no}
	}
	if err != nil {
		return refuse(wire.ErrUnknown, "HY000", "KILL could not be sent to %s: %v", srv.address, err)
	}
	return nil
}

// killAndAnswer serves a KILL and tells the client how it went.
func (s *session) killAndAnswer(ctx context.Context, verb string, id uint32) error {
	if err := s.kill(ctx, verb, id); err != nil {
		return err
	}
	s.conn.Seq = 1
	s.mu.Lock()
	status := s.status
	s.mu.Unlock()
	return s.conn.WritePacket(wire.OK{Status: status}.Append(nil))
}
