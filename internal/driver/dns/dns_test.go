package dns_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	miekg "github.com/miekg/dns"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/driver/dns"
	"github.com/windlass-db/windlass/internal/driver/process"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/engine"
)

const (
	zone   = "windlass.test."
	record = "orders.qa.windlass.test."
	alias  = "alias.qa.windlass.test."
	blue   = "127.0.10.1"
	green  = "127.0.10.2"
	blue6  = "fd00::1"
)

func driver(t *testing.T) (*dns.Driver, process.BIND, context.Context) {
	t.Helper()
	b := processtest.BIND(t, zone, map[string]string{record: blue})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return &dns.Driver{Servers: map[string]dns.Server{"qa": {Address: b.Address(), Zone: b.Zone, KeyFile: b.KeyFile()}}}, b, ctx
}

// with is the driver with another server.
func with(d *dns.Driver, change func(*dns.Server)) *dns.Driver {
	s := d.Servers["qa"]
	change(&s)
	return &dns.Driver{Servers: map[string]dns.Server{"qa": s}, Timeout: d.Timeout}
}

func at(t *testing.T, d *dns.Driver, want string) {
	t.Helper()
	got, err := d.Lookup(context.Background(), "qa", record)
	if err != nil || got != want {
		t.Errorf("the record is at %s, want %s (%v)", got, want, err)
	}
}

// TestSwapThereAndBackAndAgain asks the server by itself too, as a client would. Every swap is done twice.
func TestSwapThereAndBackAndAgain(t *testing.T) {
	d, b, ctx := driver(t)
	from := blue
	for i, to := range []string{green, blue, blue6, green, blue6} {
		for range 2 {
			if err := d.Swap(ctx, "qa", record, from, to, 7*time.Second, int64(i+1)); err != nil {
				t.Fatalf("swap %d: %v", i, err)
			}
		}
		at(t, d, to)
		var got []string
		for _, qtype := range []uint16{miekg.TypeA, miekg.TypeAAAA} {
			q := new(miekg.Msg)
			q.SetQuestion(record, qtype)
			r, err := miekg.ExchangeContext(ctx, q, b.Address())
			if err != nil {
				t.Fatal(err)
			}
			for _, rr := range r.Answer {
				if rr.Header().Ttl != 7 {
					t.Errorf("TTL of %s", rr)
				}
				got = append(got, miekg.Field(rr, 1))
			}
		}
		if !slices.Equal(got, []string{to}) {
			t.Errorf("the server's answer: %v, want %s", got, to)
		}
		from = to
	}
}

// TestHigherTermAtTheSameAddress: a successor that finds the swap done still leaves its term, so that the predecessor can't undo it.
func TestHigherTermAtTheSameAddress(t *testing.T) {
	d, _, ctx := driver(t)
	for _, term := range []int64{4, 9} {
		if err := d.Swap(ctx, "qa", record, blue, green, time.Second, term); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Swap(ctx, "qa", record, green, blue, time.Second, 8); !errors.Is(err, engine.ErrFenced) {
		t.Errorf("term 8 after term 9: %v", err)
	}
	at(t, d, green)
}

// TestPausedSupervisorIsFenced stops a supervisor between its look and its update. Meanwhile the successor swaps there and back,
// so that the address is the old one again and only the term can tell (trap 1).
func TestPausedSupervisorIsFenced(t *testing.T) {
	t.Run("first swap of all", func(t *testing.T) {
		d, b, ctx := driver(t)
		pausedSupervisor(t, d, b, ctx)
	})
	t.Run("after another swap", func(t *testing.T) {
		d, b, ctx := driver(t)
		for _, way := range [][2]string{{"::ffff:" + blue, green}, {green, blue}} {
			if err := d.Swap(ctx, "qa", record, way[0], way[1], time.Second, 6); err != nil {
				t.Fatal(err)
			}
		}
		pausedSupervisor(t, d, b, ctx)
	})
}

func pausedSupervisor(t *testing.T, d *dns.Driver, b process.BIND, ctx context.Context) {
	p := newProxy(t, b.Address())
	paused, wake := make(chan struct{}), make(chan struct{})
	p.onUpdate = func() bool {
		if p.updates.Load() == 1 {
			close(paused)
			<-wake
		}
		return true
	}
	sleeper := with(d, func(s *dns.Server) { s.Address = p.address })
	done := make(chan error, 1)
	go func() { done <- sleeper.Swap(ctx, "qa", record, blue, green, time.Second, 6) }()
	select {
	case <-paused:
	case err := <-done:
		t.Fatalf("it sent no update: %v", err)
	}
	if err := d.Swap(ctx, "qa", record, blue, green, time.Second, 7); err != nil {
		t.Fatal(err)
	}
	if err := d.Swap(ctx, "qa", record, green, blue, time.Second, 7); err != nil {
		t.Fatal(err)
	}
	close(wake)
	if err := <-done; !errors.Is(err, engine.ErrFenced) {
		t.Errorf("the supervisor that woke up: %v", err)
	}
	if n := p.updates.Load(); n != 1 {
		t.Errorf("it sent %d updates", n)
	}
	at(t, d, blue)
}

// TestLostReplyIsUnknown: the server takes the update and the reply is lost. The repeat finds it done.
func TestLostReplyIsUnknown(t *testing.T) {
	d, b, ctx := driver(t)
	p := newProxy(t, b.Address())
	p.dropReply.Store(true)
	far := with(d, func(s *dns.Server) { s.Address = p.address })
	err := far.Swap(ctx, "qa", record, blue, green, time.Second, 1)
	if err == nil || errors.Is(err, bluegreen.ErrRecordMoved) || errors.Is(err, engine.ErrFenced) || !strings.Contains(err.Error(), "unknown") {
		t.Errorf("a lost reply: %v", err)
	}
	p.dropReply.Store(false)
	if err := far.Swap(ctx, "qa", record, blue, green, time.Second, 1); err != nil {
		t.Error(err)
	}
	if n := p.updates.Load(); n != 1 {
		t.Errorf("%d updates were sent", n)
	}
	at(t, d, green)
}

func TestRecordThatSomebodyElseMoved(t *testing.T) {
	d, _, ctx := driver(t)
	err := d.Swap(ctx, "qa", record, "127.0.10.8", "127.0.10.9", time.Second, 1)
	var moved *dns.MovedError
	if !errors.Is(err, bluegreen.ErrRecordMoved) || !errors.As(err, &moved) || len(moved.Found) != 1 || moved.Found[0].String() != blue {
		t.Errorf("error: %v", err)
	}
	at(t, d, blue)
	if err := d.Swap(ctx, "qa", "gone.qa."+zone, blue, green, time.Second, 1); !errors.Is(err, bluegreen.ErrRecordMoved) || !strings.Contains(err.Error(), "no address") {
		t.Errorf("a record that is not there: %v", err)
	}
}

// TestSecondAddressIsSeen: somebody adds an address between look and update. The prerequisite is on the whole set.
func TestSecondAddressIsSeen(t *testing.T) {
	for _, rr := range []string{record + " 1 IN AAAA fd00::9", record + " 1 IN A 127.0.10.9"} {
		d, b, ctx := driver(t)
		p := newProxy(t, b.Address())
		p.onUpdate = func() bool { add(t, b, rr); return true }
		err := with(d, func(s *dns.Server) { s.Address = p.address }).Swap(ctx, "qa", record, blue, green, time.Second, 1)
		var moved *dns.MovedError
		if !errors.As(err, &moved) || len(moved.Found) != 2 {
			t.Errorf("%s: %v", rr, err)
		}
		if _, err := d.Lookup(ctx, "qa", record); err == nil || !strings.Contains(err.Error(), "2 addresses") {
			t.Errorf("lookup: %v", err)
		}
	}
}

// add puts a record into the zone, as an administrator would.
func add(t *testing.T, b process.BIND, text string) {
	t.Helper()
	rr, err := miekg.NewRR(text)
	if err != nil {
		t.Fatal(err)
	}
	u := new(miekg.Msg)
	u.SetUpdate(zone)
	u.Insert([]miekg.RR{rr})
	raw, err := os.ReadFile(b.KeyFile())
	if err != nil {
		t.Fatal(err)
	}
	secret := strings.Split(string(raw), `"`)[3]
	name := miekg.Fqdn(process.KeyName)
	u.SetTsig(name, miekg.HmacSHA256, 300, time.Now().Unix())
	c := miekg.Client{Net: "tcp", TsigSecret: map[string]string{name: secret}}
	if r, _, err := c.Exchange(u, b.Address()); err != nil || r.Rcode != miekg.RcodeSuccess {
		t.Fatalf("add %s: %v, %v", text, r, err)
	}
}

func TestAliasIsRefused(t *testing.T) {
	d, b, ctx := driver(t)
	add(t, b, alias+" 1 IN CNAME "+record)
	if err := d.Swap(ctx, "qa", alias, blue, green, time.Second, 1); err == nil || !strings.Contains(err.Error(), record) {
		t.Errorf("swap of an alias: %v", err)
	}
	at(t, d, blue)
}

// TestForeignTermRecordIsUnknown: a TXT record that is not ours where the term stands is not read as "no term".
func TestForeignTermRecordIsUnknown(t *testing.T) {
	d, b, ctx := driver(t)
	add(t, b, "_windlass."+record+` 1 IN TXT "something else"`)
	if err := d.Swap(ctx, "qa", record, blue, green, time.Second, 1); err == nil || !strings.Contains(err.Error(), "unreadable") {
		t.Errorf("swap: %v", err)
	}
	at(t, d, blue)
}

// TestOneOfManyWins races supervisors with different goals under one term.
func TestOneOfManyWins(t *testing.T) {
	d, _, ctx := driver(t)
	const n = 8
	var wg sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		wg.Add(1)
		go func() {
			defer wg.Done()
			errs[i] = d.Swap(ctx, "qa", record, blue, fmt.Sprintf("127.0.11.%d", i+1), time.Second, 3)
		}()
	}
	wg.Wait()
	won := 0
	for i, err := range errs {
		switch {
		case err == nil:
			won++
			at(t, d, fmt.Sprintf("127.0.11.%d", i+1))
		case !errors.Is(err, bluegreen.ErrRecordMoved):
			t.Errorf("unexpected: %v", err)
		}
	}
	if won != 1 {
		t.Errorf("%d swaps won", won)
	}
}

func writeKey(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestKeyFileForms reads keys whose secrets look like comments: the error is the server's, not the parser's.
func TestKeyFileForms(t *testing.T) {
	d, _, ctx := driver(t)
	for _, text := range []string{
		"key windlass-ddns {\n\talgorithm hmac-sha512; // strong\n\tsecret \"ab//c/*d#=\";\n};",
		"/* made\n by hand */ # once\nkey \"windlass-ddns\" { algorithm \"hmac-sha256\"; secret \"ab//cde=\"; };",
		"/* made */ key \"windlass-ddns\" { algorithm HMAC-SHA256; secret ab/cdef=; };",
	} {
		err := with(d, func(s *dns.Server) { s.KeyFile = writeKey(t, text) }).Swap(ctx, "qa", record, blue, green, time.Second, 1)
		if want := "refused the update"; strings.Contains(text, "*d#") {
			if err == nil || !strings.Contains(err.Error(), "base64") { // but it was read whole
				t.Errorf("%s: %v", text, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestKeyOnOneLine(t *testing.T) {
	d, b, ctx := driver(t)
	raw, err := os.ReadFile(b.KeyFile())
	if err != nil {
		t.Fatal(err)
	}
	line := "hmac-sha256:" + process.KeyName + ":" + strings.Split(string(raw), `"`)[3] + "\n"
	if err := with(d, func(s *dns.Server) { s.KeyFile = writeKey(t, line) }).Swap(ctx, "qa", record, blue, green, time.Second, 1); err != nil {
		t.Fatal(err)
	}
	at(t, d, green)
}

// TestBadKeysAreRefusedWithoutShowingThem: each error says what to do and never the secret.
func TestBadKeysAreRefusedWithoutShowingThem(t *testing.T) {
	d, _, ctx := driver(t)
	const secret = "d3Jvbmctc2VjcmV0LXdyb25nLXNlY3JldC13cm9uZw=="
	for _, c := range []struct{ name, text, want string }{
		{"wrong secret", `key "windlass-ddns" { algorithm hmac-sha256; secret "` + secret + `"; };`, "BADSIG"},
		{"unknown name", `key "other" { algorithm hmac-sha256; secret "` + secret + `"; };`, "BADKEY"},
		{"old algorithm", `key "windlass-ddns" { algorithm hmac-md5; secret "` + secret + `"; };`, "tsig-keygen"},
		{"not base64", `key "windlass-ddns" { algorithm hmac-sha256; secret "` + secret[1:] + `"; };`, "not base64"},
		{"no key", secret, "BIND's form"},
		{"commented out", `# key "windlass-ddns" { algorithm hmac-sha256; secret "` + secret + `"; };`, "BIND's form"},
		{"empty", "", "BIND's form"},
	} {
		err := with(d, func(s *dns.Server) { s.KeyFile = writeKey(t, c.text) }).Swap(ctx, "qa", record, blue, green, time.Second, 1)
		if err == nil || strings.Contains(err.Error(), secret[1:]) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	open := writeKey(t, "x")
	if err := os.Chmod(open, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := with(d, func(s *dns.Server) { s.KeyFile = open }).Swap(ctx, "qa", record, blue, green, time.Second, 1); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that others can read: %v", err)
	}
	if err := with(d, func(s *dns.Server) { s.KeyFile += ".gone" }).Swap(ctx, "qa", record, blue, green, time.Second, 1); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a key that is not there: %v", err)
	}
	at(t, d, blue)
}

func TestServerThatIsAwayIsUnknown(t *testing.T) {
	d, b, ctx := driver(t)
	away := with(d, func(s *dns.Server) { s.Address = fmt.Sprintf("127.0.0.1:%d", processtest.FreePort(t)) })
	silent := newProxy(t, b.Address())
	silent.onUpdate = func() bool { <-ctx.Done(); return false }
	cases := map[string]*dns.Driver{"nobody listens": away, "no reply to an update": with(d, func(s *dns.Server) { s.Address = silent.address })}
	for name, d := range cases {
		d.Timeout = 300 * time.Millisecond
		if err := d.Swap(ctx, "qa", record, blue, green, time.Second, 1); err == nil || errors.Is(err, bluegreen.ErrRecordMoved) || errors.Is(err, engine.ErrFenced) {
			t.Errorf("%s: swap: %v", name, err)
		}
	}
	if a, err := away.Lookup(ctx, "qa", record); err == nil {
		t.Errorf("lookup answered %q", a)
	}
	at(t, d, blue)
}

func TestWrongConfigurationSaysWhatToDo(t *testing.T) {
	d, _, ctx := driver(t)
	for _, c := range []struct{ env, record, from, to, want string }{
		{"prod", record, blue, green, "prod"},
		{"qa", "orders.example.", blue, green, "zone"},
		{"qa", record, blue, "green", "IP addresses"},
		{"qa", record, "", green, "IP addresses"},
	} {
		if err := d.Swap(ctx, c.env, c.record, c.from, c.to, time.Second, 1); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	p := newProxy(t, d.Servers["qa"].Address)
	p.secondhand.Store(true)
	cache := with(d, func(s *dns.Server) { s.Address = p.address })
	if _, err := cache.Lookup(ctx, "qa", record); err == nil || !strings.Contains(err.Error(), "authority") {
		t.Errorf("a cache was believed: %v", err)
	}
	other := with(d, func(s *dns.Server) { s.Zone = "example." })
	if _, err := other.Lookup(ctx, "qa", "orders.example."); err == nil {
		t.Error("a server without the zone was believed")
	}
}
