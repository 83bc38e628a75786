package process_test

import (
	"testing"

	"github.com/miekg/dns"

	"github.com/windlass-db/windlass/internal/driver/process/processtest"
)

// TestBINDAnswersAndRefusesUnsignedUpdates asks a real name server.
func TestBINDAnswersAndRefusesUnsignedUpdates(t *testing.T) {
	b := processtest.BIND(t, "windlass.test.", map[string]string{"orders.qa.windlass.test.": "127.0.0.9"})
	q := new(dns.Msg)
	q.SetQuestion("orders.qa.windlass.test.", dns.TypeA)
	r, err := dns.ExchangeContext(within(t), q, b.Address())
	if err != nil || len(r.Answer) != 1 || r.Answer[0].(*dns.A).A.String() != "127.0.0.9" {
		t.Fatalf("answer: %v, %v", r, err)
	}
	u := new(dns.Msg)
	u.SetUpdate("windlass.test.")
	rr, err := dns.NewRR("orders.qa.windlass.test. 1 IN A 127.0.0.10")
	if err != nil {
		t.Fatal(err)
	}
	u.Insert([]dns.RR{rr})
	r, err = dns.ExchangeContext(within(t), u, b.Address())
	if err != nil || r.Rcode != dns.RcodeRefused {
		t.Errorf("an unsigned update was answered %v, %v", r, err)
	}
}
