// Package dns switches a cluster's address record by signed updates (RFC 2136 with TSIG, RFC 8945).
//
// Every change is one compare-and-swap: the update carries the old address and the last term as prerequisites, which the
// name server checks in the same step in which it changes the record. The term stands in a TXT record beside the
// address, so that a supervisor that slept through its lease can't undo its successor's work (trap 1). The proof of a
// change is the zone's own server's answer, asked afterwards; an answer that did not come is unknown, never empty.
package dns

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/windlass-db/windlass/internal/engine"
)

// Server is where one environment's zone is kept, and the key that may change it.
type Server struct {
	Address string // host:port of the zone's primary server
	Zone    string // such as "windlass.test."
	KeyFile string // TSIG key in BIND's form, readable for its owner alone
}

// MovedError means that the record was neither at the old nor at the new address: somebody else has changed it.
type MovedError struct {
	Record           string
	Found            []string
	WantFrom, WantTo string
}

// Error names what was found.
func (e *MovedError) Error() string {
	return fmt.Sprintf("record %s is at %s, neither at %s nor at %s: somebody else has changed it; set it to one of these, or find out who", e.Record, strings.Join(e.Found, " and "), e.WantFrom, e.WantTo)
}

// Driver implements the bluegreen strategy's Records over the environments' servers.
type Driver struct {
	Servers map[string]Server // by environment
	Timeout time.Duration     // of one question; 0: 5 s
}

type key struct{ name, algorithm, secret string }

var (
	keyName      = regexp.MustCompile(`key\s+"?([^"\s{]+)"?\s*\{`)
	keyAlgorithm = regexp.MustCompile(`algorithm\s+"?([^";\s]+)"?\s*;`)
	keySecret    = regexp.MustCompile(`secret\s+"([^"]+)"\s*;`)
)

// readKey reads a TSIG key file. Its text never reaches an error.
func readKey(path string) (key, error) {
	info, err := os.Stat(path)
	if err != nil {
		return key{}, fmt.Errorf("TSIG key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return key{}, fmt.Errorf("TSIG key %s can be read by others (mode %04o): chmod 600 it, and make a new key", path, info.Mode().Perm())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return key{}, fmt.Errorf("TSIG key: %w", err)
	}
	name, algorithm, secret := keyName.FindSubmatch(b), keyAlgorithm.FindSubmatch(b), keySecret.FindSubmatch(b)
	if name == nil || algorithm == nil || secret == nil {
		return key{}, fmt.Errorf("TSIG key %s is not of the form  key \"NAME\" { algorithm hmac-sha256; secret \"BASE64\"; };", path)
	}
	if _, err := base64.StdEncoding.DecodeString(string(secret[1])); err != nil {
		return key{}, fmt.Errorf("TSIG key %s: its secret is not base64", path)
	}
	return key{dns.Fqdn(string(name[1])), dns.Fqdn(string(algorithm[1])), string(secret[1])}, nil
}

func (d *Driver) server(env string) (Server, error) {
	s, ok := d.Servers[env]
	if !ok {
		return s, fmt.Errorf("environment %s has no name server configured: add it to the supervisor's file under dns", env)
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
	s, err := d.server(env)
	if err != nil {
		return "", err
	}
	found, err := d.addresses(ctx, s, record)
	if err != nil {
		return "", err
	}
	if len(found) != 1 {
		return "", fmt.Errorf("record %s has %d addresses (%s), it must have one", record, len(found), strings.Join(found, ", "))
	}
	return found[0], nil
}

func (d *Driver) ask(ctx context.Context, s Server, name string, qtype uint16) (*dns.Msg, error) {
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(name), qtype)
	m.RecursionDesired = false
	ctx, cancel := context.WithTimeout(ctx, d.timeout())
	defer cancel()
	c := dns.Client{Net: "tcp", Timeout: d.timeout()}
	r, _, err := c.ExchangeContext(ctx, m, s.Address)
	if err != nil {
		return nil, fmt.Errorf("ask name server %s for %s: %w", s.Address, name, err)
	}
	switch {
	case r.Rcode == dns.RcodeNameError && r.Authoritative:
		return r, nil
	case r.Rcode != dns.RcodeSuccess:
		return nil, fmt.Errorf("name server %s answered %s for %s", s.Address, dns.RcodeToString[r.Rcode], name)
	case !r.Authoritative:
		return nil, fmt.Errorf("name server %s is not the authority for %s: ask the zone's primary server", s.Address, name)
	}
	return r, nil
}

func (d *Driver) addresses(ctx context.Context, s Server, record string) ([]string, error) {
	r, err := d.ask(ctx, s, record, dns.TypeA)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, rr := range r.Answer {
		if a, ok := rr.(*dns.A); ok {
			found = append(found, a.A.String())
		}
	}
	return found, nil
}

// termName is where a record's term stands.
func termName(record string) string { return "_windlass." + dns.Fqdn(record) }

const termPrefix = "windlass-term="

// term reads the last term that changed the record, and the record that holds it; nil if there is none yet.
func (d *Driver) term(ctx context.Context, s Server, record string) (int64, dns.RR, error) {
	r, err := d.ask(ctx, s, termName(record), dns.TypeTXT)
	if err != nil {
		return 0, nil, err
	}
	for _, rr := range r.Answer {
		txt, ok := rr.(*dns.TXT)
		if !ok || len(txt.Txt) != 1 {
			continue
		}
		text, ok := strings.CutPrefix(txt.Txt[0], termPrefix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return 0, nil, fmt.Errorf("the term beside %s is unreadable: %q", record, txt.Txt[0])
		}
		return n, rr, nil
	}
	return 0, nil, nil
}

// Swap sets the record from one address to another, under the term. It is safe to repeat: at the new address already, with
// this term, nothing is done. A higher term at the server is engine.ErrFenced.
func (d *Driver) Swap(ctx context.Context, env, record, from, to string, ttl time.Duration, term int64) error {
	s, err := d.server(env)
	if err != nil {
		return err
	}
	ip := net.ParseIP(to).To4()
	if ip == nil || net.ParseIP(from).To4() == nil {
		return fmt.Errorf("record %s can't go from %q to %q: both must be IPv4 addresses", record, from, to)
	}
	k, err := readKey(s.KeyFile)
	if err != nil {
		return err
	}
	const tries = 3 // each one after somebody else's change between our look and our update
	for range tries {
		found, err := d.addresses(ctx, s, record)
		if err != nil {
			return err
		}
		last, lastRR, err := d.term(ctx, s, record)
		if err != nil {
			return err
		}
		switch {
		case last > term:
			return fmt.Errorf("record %s was last changed under term %d, ours is %d: %w", record, last, term, engine.ErrFenced)
		case len(found) == 1 && found[0] == to && last == term:
			return nil
		case len(found) != 1 || (found[0] != from && found[0] != to):
			return &MovedError{record, found, from, to}
		}
		done, err := d.update(ctx, s, k, record, found[0], ip, ttl, lastRR, term)
		if err != nil {
			return err
		}
		if !done {
			continue
		}
		now, err := d.Lookup(ctx, env, record)
		if err != nil {
			return fmt.Errorf("the update was taken, but its proof is missing: %w", err)
		}
		if now != to {
			return &MovedError{record, []string{now}, from, to}
		}
		return nil
	}
	return fmt.Errorf("record %s is changed by somebody else again and again", record)
}

// update sends the compare-and-swap; false means that a prerequisite did not hold.
func (d *Driver) update(ctx context.Context, s Server, k key, record, old string, to net.IP, ttl time.Duration, lastTerm dns.RR, term int64) (bool, error) {
	name, seconds := dns.Fqdn(record), uint32(max(1, ttl/time.Second))
	u := new(dns.Msg)
	u.SetUpdate(dns.Fqdn(s.Zone))
	oldRR := &dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.ParseIP(old).To4()}
	newRR := &dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: seconds}, A: to}
	termRR := &dns.TXT{Hdr: dns.RR_Header{Name: termName(record), Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: seconds}, Txt: []string{termPrefix + strconv.FormatInt(term, 10)}}
	u.Used([]dns.RR{oldRR})
	if lastTerm == nil {
		u.RRsetNotUsed([]dns.RR{termRR})
	} else {
		u.Used([]dns.RR{lastTerm})
	}
	u.RemoveRRset([]dns.RR{newRR, termRR})
	u.Insert([]dns.RR{newRR, termRR})
	u.SetTsig(k.name, k.algorithm, 300, time.Now().Unix())

	ctx, cancel := context.WithTimeout(ctx, d.timeout())
	defer cancel()
	c := dns.Client{Net: "tcp", Timeout: d.timeout(), TsigSecret: map[string]string{k.name: k.secret}}
	r, _, err := c.ExchangeContext(ctx, u, s.Address)
	if err != nil {
		return false, fmt.Errorf("update %s at name server %s: whether it was taken is unknown: %w", record, s.Address, err)
	}
	switch r.Rcode {
	case dns.RcodeSuccess:
		return true, nil
	case dns.RcodeNXRrset, dns.RcodeYXRrset, dns.RcodeNameError, dns.RcodeYXDomain:
		return false, nil
	case dns.RcodeRefused, dns.RcodeNotAuth:
		return false, fmt.Errorf("name server %s refused the update of %s (%s): its update-policy must grant the key %s this name and %s", s.Address, record, dns.RcodeToString[r.Rcode], k.name, termName(record))
	}
	return false, fmt.Errorf("name server %s answered the update of %s with %s", s.Address, record, dns.RcodeToString[r.Rcode])
}

// ErrorIsMoved reports whether the record was changed by somebody else.
func ErrorIsMoved(err error) bool {
	var m *MovedError
	return errors.As(err, &m)
}
