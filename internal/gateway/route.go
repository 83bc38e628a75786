package gateway

import (
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/windlass-db/windlass/internal/gateway/adminapi"
)

// route says what an endpoint does with a command outside of a transaction. It is immutable; a new one takes its place.
type route struct {
	state    adminapi.Route
	server   *server   // the primary; nil unless open, and on the read-only endpoint
	servers  []*server // of the read-only endpoint: the fit replicas
	writable int       // servers seen writable
	unknown  int       // servers that did not answer
	asked    int
	next     chan struct{} // closed when another route has taken this one's place
}

// fits reports whether a session on that server may go on there.
func (r *route) fits(s *server) bool {
	if r.state != adminapi.RouteOpen {
		return false
	}
	if r.server != nil {
		return r.server == s
	}
	return slices.Contains(r.servers, s)
}

// endpoint is one listener with its route.
type endpoint struct {
	name     string // writer or read-only
	readOnly bool
	listen   string // as bound
	route    atomic.Pointer[route]
	waiting  atomic.Int64
}

// publish replaces the route if it says something else.
func (e *endpoint) publish(r *route) {
	old := e.route.Load()
	if old != nil && old.state == r.state && old.server == r.server && equalServers(old.servers, r.servers) &&
		old.writable == r.writable && old.unknown == r.unknown && old.asked == r.asked {
		return
	}
	r.next = make(chan struct{})
	e.route.Store(r)
	if old != nil {
		close(old.next)
	}
}

func equalServers(a, b []*server) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// observedRoute is the writer's route by what the servers said of themselves: open to the one that is writable, and never
// a guess (trap 10). A server that does not answer is not writable for us, but one that was never asked may be.
func observedRoute(servers []*server, now time.Time, maxAge time.Duration) *route {
	r := &route{state: adminapi.RouteNone}
	for _, s := range servers {
		if s.seen.Load() == nil {
			r.state = adminapi.RouteUnknown
			continue
		}
		r.asked++
		switch s.role(now, maxAge) {
		case adminapi.RoleWritable:
			r.writable++
			r.server = s
		case adminapi.RoleUnknown:
			r.unknown++
		}
	}
	switch {
	case r.state == adminapi.RouteUnknown:
		r.server = nil
	case r.writable == 1:
		r.state = adminapi.RouteOpen
	case r.writable > 1:
		r.state, r.server = adminapi.RouteContested, nil
	}
	return r
}

// replicaRoute is the read-only endpoint's: the replicas of the gateway's own cell that run and lag little (H6).
func replicaRoute(local []*server, now time.Time, maxAge, maxLag time.Duration) *route {
	r := &route{state: adminapi.RouteNone}
	for _, s := range local {
		o := s.seen.Load()
		if o == nil {
			continue
		}
		r.asked++
		fit := false
		switch s.role(now, maxAge) {
		case adminapi.RoleReadOnly:
			fit = o.replica && o.lag >= 0 && o.lag <= maxLag
		case adminapi.RoleWritable:
			r.writable++
		default:
			r.unknown++
		}
		if fit {
			r.servers = append(r.servers, s)
			r.state = adminapi.RouteOpen
		}
	}
	return r
}

// pick chooses a server of an open route: the primary, or the replica with the fewest sessions.
func (e *endpoint) pick(r *route) *server {
	if r.server != nil {
		return r.server
	}
	var best *server
	for _, s := range r.servers {
		if best == nil || s.sessions.Load() < best.sessions.Load() {
			best = s
		}
	}
	return best
}

// explain says to a client why its command was refused.
func (r *route) explain(waited time.Duration) string {
	switch r.state {
	case adminapi.RouteContested:
		return fmt.Sprintf("%d servers of the cluster are writable, so none is used until only one is; waited %s", r.writable, waited)
	case adminapi.RouteUnknown:
		return fmt.Sprintf("not every server of the cluster has been asked for its role yet; waited %s", waited)
	}
	return fmt.Sprintf("no server is fit to take this: %d asked, %d writable, %d without an answer; waited %s", r.asked, r.writable, r.unknown, waited)
}
