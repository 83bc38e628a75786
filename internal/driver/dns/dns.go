// Package dns switches a cluster's address record by signed updates (RFC 2136 with TSIG, RFC 8945).
//
// Every change is one compare-and-swap: the update carries the old address and the last term as prerequisites, which the
// name server checks in the same step in which it changes the record. The term stands in a TXT record beside the
// address (_windlass.RECORD), so that a supervisor that slept through its lease can't undo its successor's work (trap 1).
// The proof of a change is the zone's own server's answer, asked afterwards; an answer that did not come is unknown,
// never empty, and nothing is guessed from it: the step looks again.
package dns

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/engine"
)

// Server is where one environment's zone is kept, and the key that may change it.
type Server struct {
	Address string // host:port of the zone's primary server
	Zone    string // such as "windlass.test."
	KeyFile string // TSIG key in BIND's form or as algorithm:name:base64, readable for its owner alone
}

// MovedError means that the record was neither at the old nor at the new address alone: somebody else has changed it.
// It is a bluegreen.ErrRecordMoved.
type MovedError struct {
	Record           string
	Found            []netip.Addr // what the zone's server answered; empty: the record has no address
	WantFrom, WantTo netip.Addr
}

// Error names what was found.
func (e *MovedError) Error() string {
	found := "has no address"
	if len(e.Found) > 0 {
		found = "is at " + list(e.Found)
	}
	return fmt.Sprintf("record %s %s, neither at %s nor at %s alone: somebody else has changed it; set it to one of these, or find out who", e.Record, found, e.WantFrom, e.WantTo)
}

// Is makes it a bluegreen.ErrRecordMoved.
func (e *MovedError) Is(target error) bool { return target == bluegreen.ErrRecordMoved }

func list(as []netip.Addr) string {
	texts := make([]string, len(as))
	for i, a := range as {
		texts[i] = a.String()
	}
	return strings.Join(texts, " and ")
}

// Driver implements the bluegreen strategy's Records over the environments' servers.
type Driver struct {
	Servers map[string]Server // by environment
	Timeout time.Duration     // of one question; 0: 5 s
}

var _ bluegreen.Records = (*Driver)(nil)

func (d *Driver) server(env, record string) (Server, error) {
	s, ok := d.Servers[env]
	if !ok {
		return s, fmt.Errorf("environment %s has no name server configured: add it to the supervisor's file under dns", env)
	}
	if !dns.IsSubDomain(dns.Fqdn(s.Zone), dns.Fqdn(record)) {
		return s, fmt.Errorf("record %s is not in the zone %s of environment %s: correct the record or the zone", record, s.Zone, env)
	}
	return s, nil
}

func (d *Driver) timeout() time.Duration {
	if d.Timeout > 0 {
		return d.Timeout
	}
	return 5 * time.Second
}

// Lookup asks the zone's own server for the record's one address.
func (d *Driver) Lookup(ctx context.Context, env, record string) (string, error) {
	s, err := d.server(env, record)
	if err != nil {
		return "", err
	}
	found, err := d.addresses(ctx, s, record)
	if err != nil {
		return "", err
	}
	if len(found) != 1 {
		return "", fmt.Errorf("record %s has %d addresses (%s), it must have one", record, len(found), list(found))
	}
	return found[0].String(), nil
}

// Swap sets the record from one address to another, under the term, and asks the server afterwards. It is safe to repeat: at the
// new address already, with this term, nothing is done. A higher term at the server is engine.ErrFenced; an address that is
// neither is *MovedError. Any other error leaves unknown whether the record was changed: call it again.
func (d *Driver) Swap(ctx context.Context, env, record, from, to string, ttl time.Duration, term int64) error {
	s, err := d.server(env, record)
	if err != nil {
		return err
	}
	c := change{record: record, ttl: ttl, term: term}
	old, err := netip.ParseAddr(from)
	if err == nil {
		c.to, err = netip.ParseAddr(to)
	}
	if err != nil || old.Zone() != "" || c.to.Zone() != "" {
		return fmt.Errorf("record %s can't go from %q to %q: both must be IP addresses", record, from, to)
	}
	old, c.to = old.Unmap(), c.to.Unmap()
	k, err := readKey(s.KeyFile)
	if err != nil {
		return err
	}
	const looks = 4 // one that proves, and three more: each after somebody else's change between our look and our update
	taken := ""
	for range looks {
		found, err := d.addresses(ctx, s, record)
		if err != nil {
			return fmt.Errorf("%s%w", taken, err)
		}
		last, lastTerm, err := d.term(ctx, s, record)
		if err != nil {
			return fmt.Errorf("%s%w", taken, err)
		}
		switch {
		case last > term:
			return fmt.Errorf("record %s was last changed under term %d, ours is %d: %w", record, last, term, engine.ErrFenced)
		case len(found) == 1 && found[0] == c.to && last == term && lastTerm != nil:
			return nil
		case len(found) != 1 || (found[0] != old && found[0] != c.to):
			return &MovedError{record, found, old, c.to}
		}
		c.old, c.lastTerm = found[0], lastTerm
		done, err := d.update(ctx, s, k, c)
		if err != nil {
			return err
		}
		if done {
			taken = "the update was taken, but its proof is missing: "
		}
	}
	return fmt.Errorf("record %s is changed by somebody else again and again: find out who", record)
}
