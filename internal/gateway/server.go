package gateway

import (
	"sync/atomic"
	"time"

	"github.com/windlass-db/windlass/internal/gateway/adminapi"
	"github.com/windlass-db/windlass/internal/wire"
)

// server is one server of the cluster, as the monitor knows it.
type server struct {
	address  string
	seen     atomic.Pointer[observation] // the last answer, good or bad; nil before the first
	sessions atomic.Int64
}

// observation is what the polls of one server saw. Its fields are those of the last good one; err is that of the last.
type observation struct {
	asked     time.Time // before the last question, on the monotonic clock
	good      time.Time // before the last question that was answered, on the monotonic clock; zero: never
	err       error     // why the last question was not answered
	slow      bool      // the last question was not answered in time, but nothing says that the server is gone
	readOnly  bool
	version   string
	greeting  wire.Greeting
	serverID  uint32
	uuid      string
	lag       time.Duration // -1: unknown, or not a replica
	replica   bool
	monitorID uint32
}

// saw keeps what an answer, or its absence, changes in what is known: change is given what was known before, zero for nothing. An answer to a
// question that was asked before the last one that was answered says nothing new, and is dropped.
func (s *server) saw(asked time.Time, change func(observation) observation) (before, now *observation) {
	for {
		var known observation
		if before = s.seen.Load(); before != nil {
			if before.asked.After(asked) {
				return before, before
			}
			known = *before
		}
		o := change(known)
		o.asked = asked
		if s.seen.CompareAndSwap(before, &o) {
			return before, &o
		}
	}
}

// unanswered is what is known after a question was not answered.
func (o observation) unanswered(err error) observation {
	if o.good.IsZero() {
		o.lag = -1
	}
	o.err, o.slow = err, isTimeout(err)
	return o
}

// role is the server's role, as far as it is known at that time. An answer that is too old is worth nothing; one late
// answer does not make the last one worthless.
func (s *server) role(now time.Time, maxAge time.Duration) adminapi.Role {
	o := s.seen.Load()
	switch {
	case o == nil || o.good.IsZero() || o.err != nil && !o.slow || now.Sub(o.good) > maxAge:
		return adminapi.RoleUnknown
	case o.readOnly:
		return adminapi.RoleReadOnly
	}
	return adminapi.RoleWritable
}
