package sim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/gateway/adminapi"
)

// gateway is one simulated gateway: it asks the servers for their role now and then, and routes writes to the one that is
// writable, or to nobody. A hold is comfort: it ends by itself, and a restart forgets it.
type gateway struct {
	w        *world
	c        *cluster
	cell     string
	spec     fleet.Gateway
	up, gone bool
	boots    int

	servers  []string // every server that it knows
	term     int64    // survives a restart
	route    *server
	hold     *hold
	inFlight int
	sessions []*client
	lastHeld map[string]float64 // by switch
	capture  bool
}

type hold struct {
	id    string
	term  int64
	began time.Time
	ends  *event
}

func (w *world) addGateway(c *cluster, cell, name string) *gateway {
	g := &gateway{w: w, c: c, cell: cell, up: true, lastHeld: map[string]float64{}}
	g.spec = fleet.Gateway{Name: name, Address: fmt.Sprintf("10.1.%d.%d:3306", c.index, len(c.gateways)+1)}
	c.gateways = append(c.gateways, g)
	g.monitor(g.boots)
	return g
}

func (g *gateway) host() string {
	h, _, _ := net.SplitHostPort(g.spec.Address)
	return h
}

// monitor looks at the servers every fifth of a second.
func (g *gateway) monitor(boot int) {
	if !g.up || g.gone || g.boots != boot {
		return
	}
	g.look()
	every := 200 * time.Millisecond
	if g.w.quiet() {
		every = time.Second
	}
	g.w.s.in(every, func() { g.monitor(boot) })
}

func (g *gateway) look() {
	var writable []*server
	for _, a := range g.servers {
		if sv := g.c.servers[a]; sv != nil && sv.writable() {
			writable = append(writable, sv)
		}
	}
	g.route = nil
	if len(writable) == 1 {
		g.route = writable[0]
	}
}

func (g *gateway) alive() bool { return g.up && !g.gone }

// crash is kill -9: sessions break, the hold is forgotten. It comes back after a while.
func (g *gateway) crash(back time.Duration) {
	if !g.alive() {
		return
	}
	g.w.trace("gateway %s crashes", g.spec.Name)
	g.up = false
	g.boots++
	g.open("crashed")
	g.inFlight, g.sessions, g.route, g.capture = 0, nil, nil, false
	g.w.s.in(back, func() {
		if !g.gone {
			g.up = true
			g.monitor(g.boots)
		}
	})
}

func (g *gateway) open(string) {
	if g.hold != nil {
		g.lastHeld[g.hold.id] = float64(g.w.s.now.Sub(g.hold.began).Microseconds()) / 1000
		g.hold.ends.dead = true
		g.hold = nil
	}
	g.look()
}

// admin is one call of the admin API: it compares the term first.
func (g *gateway) admin(ctx context.Context, term int64, f func() error) error {
	return g.w.call(ctx, func() error {
		switch {
		case !g.alive():
			return errDown
		case term < g.term:
			return fmt.Errorf("gateway %s has seen term %d, ours is %d: %w", g.spec.Name, g.term, term, engine.ErrFenced)
		}
		g.term = max(g.term, term)
		return f()
	})
}

// close closes the gate and waits for what is in flight.
func (g *gateway) close(ctx context.Context, id string, term int64, ttl, drain time.Duration) error {
	var h *hold
	err := g.admin(ctx, term, func() error {
		if g.hold != nil && g.hold.id != id {
			if term <= g.hold.term {
				return adminapi.ErrBusy
			}
			g.open("superseded")
		}
		if g.hold == nil {
			g.hold = &hold{id: id, began: g.w.s.now}
			g.hold.ends = g.w.s.in(ttl, func() { g.open("expired") })
		}
		h = g.hold
		h.term = term
		return nil
	})
	if err != nil {
		return err
	}
	g.w.s.until(ctx, drain, func() bool { return g.hold != h || g.inFlight == 0 })
	return g.w.call(ctx, func() error {
		switch {
		case !g.alive():
			return errDown
		case g.hold != h:
			return adminapi.ErrNotHeld
		case g.inFlight > 0:
			g.open("blocked")
			return &adminapi.BlockedError{}
		}
		return nil
	})
}

// release opens the gate to the new primary, if that is the one writable server.
func (g *gateway) release(ctx context.Context, id string, term int64, primary *server) (ms float64, err error) {
	err = g.admin(ctx, term, func() error {
		if g.hold == nil || g.hold.id != id {
			return adminapi.ErrNotHeld
		}
		if g.look(); g.route != primary {
			return adminapi.ErrNotWritable
		}
		g.open("released")
		ms = g.lastHeld[id]
		return nil
	})
	if errors.Is(err, adminapi.ErrNotHeld) {
		return g.cancel(ctx, id, term)
	}
	return ms, err
}

func (g *gateway) cancel(ctx context.Context, id string, term int64) (ms float64, err error) {
	err = g.admin(ctx, term, func() error {
		if g.hold != nil && g.hold.id == id {
			g.open("cancelled")
		}
		ms = g.lastHeld[id]
		return nil
	})
	return ms, err
}

func (g *gateway) leave(c *client) {
	g.sessions = slices.DeleteFunc(g.sessions, func(x *client) bool { return x == c })
}
