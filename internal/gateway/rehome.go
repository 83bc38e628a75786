package gateway

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/windlass-db/windlass/internal/gateway/adminapi"
)

// rehome moves readers that are idle away from servers that the read-only endpoint does not use any more: such a server may be stopped next,
// and they would find out with their next command. One that is busy, in a transaction, or can't be moved stays, and moves with
// its next command if it can.
func (g *Gateway) rehome(ctx context.Context) {
	if g.reader == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, g.cfg.Timeouts.Move.D())
	defer cancel()
	group := new(errgroup.Group)
	group.SetLimit(movers)
	for _, s := range g.snapshot() {
		if s.ep.readOnly {
			group.Go(func() error {
				s.rehome(ctx)
				return nil
			})
		}
	}
	_ = group.Wait() // what did not move says so in the status: its server still has sessions
}

func (s *session) rehome(ctx context.Context) {
	if err := s.lockQuiet(ctx, busyWait); err != nil {
		return
	}
	defer s.mu.Unlock()
	r := s.ep.route.Load()
	if r.state != adminapi.RouteOpen || r.fits(s.back.srv) {
		return
	}
	if err := s.ready(ctx, s.ep.pick(r)); err != nil {
		s.gw.log.Info("an idle reader stays where it is", "session", s.id, "server", s.back.srv.address, "err", err)
		return
	}
	s.swap()
	s.gw.counts.moves.Add(1)
}
