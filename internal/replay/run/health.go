package run

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/windlass-db/windlass/internal/replay/session"
	"github.com/windlass-db/windlass/internal/wire"
)

// health is whether a server answers, and how far behind its source it is.
type health struct {
	server session.Server
	log    *slog.Logger

	mu    sync.Mutex
	since time.Time     // away since then; zero: it answers
	back  chan struct{} // closed when it is back
	ask   chan struct{}

	behind atomic.Int64 // nanoseconds; -1: not known
	least  time.Duration
}

func newHealth(s session.Server, log *slog.Logger) *health {
	h := &health{server: s, log: log, ask: make(chan struct{}, 1)}
	h.behind.Store(-1)
	return h
}

// gone says that a connection was lost or refused. It is looked into.
func (h *health) gone(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.since.IsZero() {
		h.since, h.back = time.Now(), make(chan struct{})
		h.log.Warn("the server does not answer: its statements are counted as unreplayable until it does, or wait", "server", h.server.Name, "err", err)
	}
	select {
	case h.ask <- struct{}{}:
	default:
	}
}

func (h *health) away() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.since.IsZero()
}

// wait waits until it is back, for as long as it may be away. Not true: it is away for longer than that.
func (h *health) wait(ctx context.Context, most time.Duration) bool {
	for {
		h.mu.Lock()
		since, back := h.since, h.back
		h.mu.Unlock()
		if since.IsZero() {
			return true
		}
		left := most - time.Since(since)
		if left <= 0 {
			return false
		}
		timer := time.NewTimer(left)
		select {
		case <-back:
			timer.Stop()
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return false
		}
	}
}

// retry is how often a server that is away is asked.
const retry = 200 * time.Millisecond

// run asks a server that is away until it is back, and every second how far behind it is.
func (h *health) run(ctx context.Context) error {
	var c *session.Conn
	defer func() {
		if c != nil {
			c.Close()
		}
	}()
	tick := time.NewTimer(0)
	defer tick.Stop()
	known := true // that the account may ask
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-h.ask:
		case <-tick.C:
		}
		pause := time.Second
		if c == nil || h.away() {
			if c != nil {
				c.Close()
			}
			var err error
			if c, err = session.Open(ctx, h.server, &session.Env{}); err != nil {
				c = nil
				h.mark(err)
				pause = retry
			} else {
				h.mark(nil)
			}
		}
		if c != nil && known {
			lag, ok, err := c.Behind(ctx)
			var refused *wire.ServerError
			switch {
			case errors.As(err, &refused):
				known = false
				h.log.Warn("how far behind the server is can't be seen: give the replay's account REPLICA MONITOR (MariaDB) or REPLICATION CLIENT (MySQL)", "server", h.server.Name, "err", err)
			case err != nil:
				c.Close()
				c = nil
				pause = 0
			case ok:
				h.behind.Store(int64(lag))
			case h.behind.Load() >= 0: // its replication stands still
				h.behind.Add(int64(time.Second))
			}
		}
		tick.Reset(pause)
	}
}

func (h *health) mark(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case err != nil && h.since.IsZero():
		h.since, h.back = time.Now(), make(chan struct{})
		h.log.Warn("the server does not answer", "server", h.server.Name, "err", err)
	case err == nil && !h.since.IsZero():
		h.log.Info("the server answers again", "server", h.server.Name, "away", time.Since(h.since).Round(time.Millisecond).String())
		h.since = time.Time{}
		close(h.back)
	}
}

// has reports whether the server has the data of what was captured then. What is not known is believed.
func (h *health) has(at time.Time) bool {
	lag := max(time.Duration(h.behind.Load()), h.least)
	return lag <= 0 || time.Since(at) >= lag
}
