package dns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// termPrefix begins the text of a record's term.
const termPrefix = "windlass-term="

// termName is where a record's term stands.
func termName(record string) string { return "_windlass." + dns.Fqdn(record) }

// ask puts one question to the zone's own server. A name that is not there is an answer without records; whatever is not
// the authority's word is an error.
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
	case r.Rcode != dns.RcodeSuccess && r.Rcode != dns.RcodeNameError:
		return nil, fmt.Errorf("name server %s answered %s for %s", s.Address, dns.RcodeToString[r.Rcode], name)
	case !r.Authoritative:
		return nil, fmt.Errorf("name server %s is not the authority for %s: configure the zone's primary server", s.Address, name)
	}
	for _, rr := range r.Answer {
		if alias, ok := rr.(*dns.CNAME); ok {
			return nil, fmt.Errorf("%s is an alias of %s: Windlass switches address records, so name that one as the cluster's record", name, alias.Target)
		}
	}
	return r, nil
}

// addresses are the record's IPv4 and IPv6 addresses.
func (d *Driver) addresses(ctx context.Context, s Server, record string) ([]netip.Addr, error) {
	var found []netip.Addr
	for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
		r, err := d.ask(ctx, s, record, qtype)
		if err != nil {
			return nil, err
		}
		for _, rr := range r.Answer {
			var ip []byte
			switch rr := rr.(type) {
			case *dns.A:
				ip = rr.A
			case *dns.AAAA:
				ip = rr.AAAA
			default:
				continue // such as a signature
			}
			a, ok := netip.AddrFromSlice(ip)
			if !ok {
				return nil, fmt.Errorf("name server %s answered an unreadable address for %s", s.Address, record)
			}
			found = append(found, a.Unmap())
		}
	}
	return found, nil
}

// term reads the last term that changed the record, and the record that holds it; nil if there is none yet.
func (d *Driver) term(ctx context.Context, s Server, record string) (int64, *dns.TXT, error) {
	r, err := d.ask(ctx, s, termName(record), dns.TypeTXT)
	if err != nil {
		return 0, nil, err
	}
	var texts []*dns.TXT
	for _, rr := range r.Answer {
		if t, ok := rr.(*dns.TXT); ok {
			texts = append(texts, t)
		}
	}
	if len(texts) == 0 {
		return 0, nil, nil
	}
	text := strings.Join(texts[0].Txt, "")
	number, ok := strings.CutPrefix(text, termPrefix)
	n, err := strconv.ParseInt(number, 10, 64)
	if len(texts) > 1 || !ok || err != nil {
		return 0, nil, fmt.Errorf("the term beside %s is unreadable (%d TXT records at %s, the first is %q): it must be one, such as %q", record, len(texts), termName(record), text, termPrefix+"7")
	}
	return n, texts[0], nil
}

// change is one compare-and-swap.
type change struct {
	record   string
	old, to  netip.Addr
	ttl      time.Duration
	lastTerm *dns.TXT // nil: there must be none
	term     int64
}

func address(name string, a netip.Addr, ttl uint32) dns.RR {
	hdr := dns.RR_Header{Name: name, Class: dns.ClassINET, Ttl: ttl}
	if a.Is4() {
		hdr.Rrtype = dns.TypeA
		return &dns.A{Hdr: hdr, A: a.AsSlice()}
	}
	hdr.Rrtype = dns.TypeAAAA
	return &dns.AAAA{Hdr: hdr, AAAA: a.AsSlice()}
}

// message is the update: the record has the old address and no other, the term is the one that was seen; then both change.
func (c change) message(zone string) *dns.Msg {
	name, seconds := dns.Fqdn(c.record), uint32(max(1, c.ttl/time.Second))
	u := new(dns.Msg)
	u.SetUpdate(dns.Fqdn(zone))
	before, after := address(name, c.old, 0), address(name, c.to, seconds)
	none4 := &dns.ANY{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA}}
	none6 := &dns.ANY{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeAAAA}}
	term := &dns.TXT{Hdr: dns.RR_Header{Name: termName(c.record), Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: seconds}, Txt: []string{termPrefix + strconv.FormatInt(c.term, 10)}}
	u.Used([]dns.RR{before})
	if c.old.Is4() {
		u.RRsetNotUsed([]dns.RR{none6})
	} else {
		u.RRsetNotUsed([]dns.RR{none4})
	}
	if c.lastTerm == nil {
		u.RRsetNotUsed([]dns.RR{term})
	} else {
		u.Used([]dns.RR{dns.Copy(c.lastTerm)})
	}
	u.RemoveRRset([]dns.RR{none4, none6, term})
	u.Insert([]dns.RR{after, term})
	return u
}

// update sends the compare-and-swap; false means that a prerequisite did not hold, and that nothing was changed.
func (d *Driver) update(ctx context.Context, s Server, k key, c change) (bool, error) {
	u := c.message(s.Zone)
	u.SetTsig(k.name, k.algorithm, 300, time.Now().Unix())
	ctx, cancel := context.WithTimeout(ctx, d.timeout())
	defer cancel()
	client := dns.Client{Net: "tcp", Timeout: d.timeout(), TsigSecret: map[string]string{k.name: k.secret}}
	r, _, err := client.ExchangeContext(ctx, u, s.Address)
	if r != nil && (r.Rcode == dns.RcodeNotAuth || r.Rcode == dns.RcodeRefused) {
		return false, d.refused(s, k, c, r)
	}
	if err == nil && r.IsTsig() == nil {
		err = errors.New("the answer is not signed")
	}
	if err != nil {
		return false, fmt.Errorf("update %s at name server %s: whether it was taken is unknown: %w", c.record, s.Address, err)
	}
	switch r.Rcode {
	case dns.RcodeSuccess:
		return true, nil
	case dns.RcodeNXRrset, dns.RcodeYXRrset, dns.RcodeNameError, dns.RcodeYXDomain:
		return false, nil
	}
	return false, fmt.Errorf("name server %s answered the update of %s with %s", s.Address, c.record, dns.RcodeToString[r.Rcode])
}

// refused says what to do about an update that the server does not allow.
func (d *Driver) refused(s Server, k key, c change, r *dns.Msg) error {
	why := dns.RcodeToString[r.Rcode]
	hint := fmt.Sprintf("its update-policy must grant the key %s this name and %s", k.name, termName(c.record))
	if t := r.IsTsig(); t != nil && t.Error != dns.RcodeSuccess {
		why += ", " + dns.RcodeToString[int(t.Error)]
		switch int(t.Error) {
		case dns.RcodeBadKey:
			hint = fmt.Sprintf("it does not know a key of the name %s and of this algorithm", k.name)
		case dns.RcodeBadSig:
			hint = fmt.Sprintf("the secret of the key %s in %s is not the server's", k.name, s.KeyFile)
		case dns.RcodeBadTime:
			hint = "the clocks of this machine and of the name server differ by more than 5 minutes"
		}
	} else if r.Rcode == dns.RcodeNotAuth {
		hint = fmt.Sprintf("it is not the primary server of the zone %s, or it does not know the key %s", s.Zone, k.name)
	}
	return fmt.Errorf("name server %s refused the update of %s (%s): %s", s.Address, c.record, why, hint)
}
