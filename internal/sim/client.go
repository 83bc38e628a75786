package sim

import (
	"fmt"
	"time"
)

// ledger is what clients know of their writes.
type ledger struct {
	next    int64
	acked   []int64
	unknown int // sent, and the answer was lost (trap 13)
	errors  int // connections that broke or were refused
	stall   time.Duration
}

// client writes through the gateway that the record names, one row after the other.
type client struct {
	w      *world
	c      *cluster
	name   string
	every  time.Duration
	stop   *bool
	sticky time.Duration // it resolves the name no oftener than this (a stale DNS answer)

	gw       *gateway
	boot     int
	resolved time.Time
}

// run is the client's whole life.
func (cl *client) run() {
	s := cl.w.s
	for !*cl.stop {
		if s.now.Sub(cl.resolved) >= cl.sticky || cl.gw == nil {
			cl.resolve()
		}
		if cl.gw == nil || !cl.gw.alive() || cl.gw.boots != cl.boot {
			cl.c.ledger.errors++
			cl.gw = nil
			_ = s.sleep(noContext, 200*time.Millisecond)
			continue
		}
		began := s.now
		cl.c.ledger.next++
		id := cl.c.ledger.next
		if cl.write(id) {
			cl.c.ledger.acked = append(cl.c.ledger.acked, id)
		}
		cl.c.ledger.stall = max(cl.c.ledger.stall, s.now.Sub(began))
		every := cl.every
		if cl.w.quiet() {
			every *= 10
		}
		_ = s.sleep(noContext, every/2+time.Duration(s.rng.Int64N(int64(every))))
	}
	if cl.gw != nil {
		cl.gw.leave(cl)
	}
}

func (cl *client) resolve() {
	cl.resolved = cl.w.s.now
	at := cl.w.records[cl.c.spec.Record].address
	if cl.gw != nil && cl.gw.alive() && cl.gw.host() == at && cl.gw.boots == cl.boot {
		return
	}
	if cl.gw != nil {
		cl.gw.leave(cl)
		cl.gw = nil
	}
	for _, g := range cl.c.gateways {
		if g.alive() && g.host() == at {
			g.sessions = append(g.sessions, cl)
			cl.gw, cl.boot = g, g.boots
		}
	}
}

// write sends one row. Bytes that were sent are never sent again (trap 13); a refusal as read-only is definite, and the
// gateway holds and tries it at the next primary (trap 11).
func (cl *client) write(id int64) bool {
	s, g, boot := cl.w.s, cl.gw, cl.boot
	gone := func() bool { return !g.alive() || g.boots != boot }
	for {
		if !s.until(noContext, 5*time.Minute, func() bool { return gone() || g.hold == nil && g.route != nil || *cl.stop }) || *cl.stop {
			if !*cl.stop {
				s.fail("%s waits for a primary for 5 minutes", cl.name)
			}
			return false
		}
		if gone() {
			cl.c.ledger.errors++
			return false
		}
		sv, boots := g.route, g.route.boots
		g.inFlight++
		answer := ""
		s.in(cl.w.latency(), func() {
			switch {
			case !sv.up || sv.gone:
				answer = "lost"
			case sv.readOnly:
				answer = "read-only"
			default:
				sv.append(id)
				answer = "ok"
			}
		})
		s.until(noContext, callLimit, func() bool { return answer != "" || gone() })
		_ = s.sleep(noContext, cl.w.latency())
		if gone() {
			cl.c.ledger.unknown++
			return false
		}
		g.inFlight--
		switch {
		case answer == "ok" && sv.up && sv.boots == boots:
			return true
		case answer == "read-only":
			g.look()
			_ = s.sleep(noContext, 20*time.Millisecond)
			continue
		}
		cl.c.ledger.unknown++
		g.look()
		return false
	}
}

// balance compares what was acknowledged with what the primary has.
func (c *cluster) balance(primary *server) error {
	has := make(map[int64]int, len(primary.log))
	for _, id := range primary.log {
		has[id]++
	}
	for _, id := range c.ledger.acked {
		switch has[id] {
		case 0:
			return fmt.Errorf("%s: write %d was acknowledged and is lost", c.ref, id)
		case 1:
		default:
			return fmt.Errorf("%s: write %d is there %d times", c.ref, id, has[id])
		}
	}
	return nil
}
