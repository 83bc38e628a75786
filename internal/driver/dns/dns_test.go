package dns_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/driver/dns"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/engine"
)

const (
	record = "orders.qa.windlass.test."
	blue   = "127.0.10.1"
	green  = "127.0.10.2"
)

func driver(t *testing.T) (*dns.Driver, context.Context) {
	t.Helper()
	b := processtest.BIND(t, "windlass.test.", map[string]string{record: blue})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return &dns.Driver{Servers: map[string]dns.Server{"qa": {Address: b.Address(), Zone: b.Zone, KeyFile: b.KeyFile()}}}, ctx
}

func at(t *testing.T, d *dns.Driver, want string) {
	t.Helper()
	got, err := d.Lookup(context.Background(), "qa", record)
	if err != nil || got != want {
		t.Errorf("the record is at %s, want %s (%v)", got, want, err)
	}
}

func TestSwapThereAndBackAndAgain(t *testing.T) {
	d, ctx := driver(t)
	for i, to := range []string{green, green, blue, green} {
		from := blue
		if to == blue {
			from = green
		}
		if err := d.Swap(ctx, "qa", record, from, to, time.Second, int64(i+1)); err != nil {
			t.Fatalf("swap %d: %v", i, err)
		}
		at(t, d, to)
	}
}

// TestLowerTermIsFenced lets a supervisor that slept wake up and switch back (trap 1).
func TestLowerTermIsFenced(t *testing.T) {
	d, ctx := driver(t)
	if err := d.Swap(ctx, "qa", record, blue, green, time.Second, 7); err != nil {
		t.Fatal(err)
	}
	if err := d.Swap(ctx, "qa", record, green, blue, time.Second, 6); !errors.Is(err, engine.ErrFenced) {
		t.Errorf("term 6 after term 7: %v", err)
	}
	at(t, d, green)
}

func TestRecordThatSomebodyElseMoved(t *testing.T) {
	d, ctx := driver(t)
	err := d.Swap(ctx, "qa", record, "127.0.10.8", "127.0.10.9", time.Second, 1)
	if !dns.ErrorIsMoved(err) || !strings.Contains(err.Error(), blue) {
		t.Errorf("error: %v", err)
	}
	at(t, d, blue)
}

// TestOneOfManyWins races supervisors with different goals under one term.
func TestOneOfManyWins(t *testing.T) {
	d, ctx := driver(t)
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
	for _, err := range errs {
		switch {
		case err == nil:
			won++
		case !dns.ErrorIsMoved(err):
			t.Errorf("unexpected: %v", err)
		}
	}
	if won != 1 {
		t.Errorf("%d swaps won", won)
	}
}

func TestWrongKeyIsRefusedWithoutShowingIt(t *testing.T) {
	d, ctx := driver(t)
	s := d.Servers["qa"]
	const secret = "d3Jvbmctc2VjcmV0LXdyb25nLXNlY3JldC13cm9uZw=="
	s.KeyFile = filepath.Join(t.TempDir(), "key")
	text := `key "windlass-ddns" { algorithm hmac-sha256; secret "` + secret + `"; };`
	if err := os.WriteFile(s.KeyFile, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	d.Servers["qa"] = s
	err := d.Swap(ctx, "qa", record, blue, green, time.Second, 1)
	if err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("error: %v", err)
	}
	at(t, d, blue)
	if err := os.Chmod(s.KeyFile, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := d.Swap(ctx, "qa", record, blue, green, time.Second, 1); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that all can read: %v", err)
	}
}

func TestServerThatIsAwayIsUnknown(t *testing.T) {
	d, ctx := driver(t)
	s := d.Servers["qa"]
	s.Address = fmt.Sprintf("127.0.0.1:%d", processtest.FreePort(t))
	d.Servers["qa"] = s
	if a, err := d.Lookup(ctx, "qa", record); err == nil {
		t.Errorf("answered %q", a)
	}
	if err := d.Swap(ctx, "qa", record, blue, green, time.Second, 1); err == nil || dns.ErrorIsMoved(err) {
		t.Errorf("swap: %v", err)
	}
	if _, err := d.Lookup(ctx, "prod", record); err == nil || !strings.Contains(err.Error(), "prod") {
		t.Errorf("an environment without a server: %v", err)
	}
}
