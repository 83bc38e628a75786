package mysql

import (
	"context"
	"net"
	"strings"
	"time"
)

// flavour is what differs between MariaDB and MySQL. The methods that return statements are pure.
type flavour interface {
	reader
	speaker
	name() string // as a cluster's product: "mariadb" or "mysql"
}

// reader asks a server about itself.
type reader interface {
	// identify fills in uuid, server id, position and variables.
	identify(ctx context.Context, s *session, v *view) error
	channels(ctx context.Context, s *session) ([]channel, error)
	// stand reads in one round trip what a replica has to reach, and for MariaDB the state of the binary log.
	stand(ctx context.Context, s *session) (position, state string, err error)
	// wait waits until the server has applied the position; false: not within the time.
	wait(ctx context.Context, s *session, position string, limit time.Duration) (bool, error)
	// reached reports whether a server at position have has executed all of want.
	reached(ctx context.Context, s *session, have, want string) (bool, error)
	// errant lists what other has executed and primary, read after it, has not. The session is to the primary.
	errant(ctx context.Context, s *session, primary, other *view) ([]string, error)
	// origin tells whether read_only has the value that the server booted with.
	bootValue(ctx context.Context, s *session) (booted bool, err error)
}

// speaker says things in the flavour's words.
type speaker interface {
	prelude() string   // of every session: nothing logged, no surprises of the server's defaults
	install() []string // statements that make the guard's schema, unlogged; safe to repeat
	stop() string
	start() string
	forget() string
	// follow points a stopped replica at a source; from is the position to start at, "" to keep its own.
	follow(f follow) []string
	// persist, demote and promote are one statement each; "" where the server can't persist.
	demote() string
	persistDemotion() string
	promote() string
	persistPromotion() []string
	semisync() semisync
}

// follow is where a replica gets its data from.
type follow struct {
	host, port     string
	user, password string
	tls            bool
	from           string // position to start at; "": as it is
}

// semisync names the variables of semi-synchronous replication.
type semisync struct{ source, replica, waitPoint, timeout, waitNoReplica string }

// flavourOf tells the flavour by what VERSION() answers.
func flavourOf(text string) flavour {
	if strings.Contains(text, "MariaDB") {
		return mariadb{}
	}
	return mysqlFlavour{}
}

// sameAddress compares addresses of servers. localhost is 127.0.0.1 to us: replicas are told the address as configured.
func sameAddress(a, b string) bool {
	if a == b {
		return true
	}
	ah, ap, err1 := net.SplitHostPort(a)
	bh, bp, err2 := net.SplitHostPort(b)
	return err1 == nil && err2 == nil && ap == bp && strings.EqualFold(ah, bh)
}
