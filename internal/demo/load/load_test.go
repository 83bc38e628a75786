package load_test

import (
	"context"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/demo/load"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
)

func run(t *testing.T, s *processtest.Server, until func(*load.Load) bool) *load.Load {
	t.Helper()
	l := load.New(load.Config{Name: "qa/orders", Resolve: func(context.Context) (string, error) { return s.Address(), nil }, User: processtest.AppUser, Password: processtest.AppPassword, Schema: "app", Readers: 2, Writers: 2, Pause: time.Millisecond})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	processtest.Until(t, 30*time.Second, "the load has done its work", func() bool { return until(l) })
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return l
}

func server(t *testing.T) *processtest.Server {
	t.Helper()
	s := processtest.Primary(t, "10.11")
	for _, stmt := range load.Schema {
		if _, err := s.Open(t, processtest.AdminUser, processtest.AdminPassword, "app").Exec(stmt); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// TestLedgerTellsTheTruth takes one acknowledged write away and doubles another behind the ledger's back.
func TestLedgerTellsTheTruth(t *testing.T) {
	s := server(t)
	l := run(t, s, func(l *load.Load) bool { return l.Report().Acked > 50 })
	r, err := l.Verify(context.Background(), s.Admin)
	if err != nil || r.Lost != 0 || r.Duplicate != 0 || r.Errors != 0 || r.ForcedReconnects != 0 || r.LongestStall == 0 || r.Queries < r.Acked {
		t.Fatalf("an undisturbed load: %+v, %v", r, err)
	}
	s.Exec(t, "DELETE FROM app.orders WHERE write_id = 7")
	s.Exec(t, "INSERT INTO app.orders (write_id, customer, total, placed) VALUES (8, 'x', 1, NOW())")
	if r, err = l.Verify(context.Background(), s.Admin); err != nil || r.Lost != 1 || r.Duplicate != 1 {
		t.Errorf("after the theft: %+v, %v", r, err)
	}
}

// TestErrorsAndBrokenConnectionsAreCounted makes the server read-only, then kills every client connection.
func TestErrorsAndBrokenConnectionsAreCounted(t *testing.T) {
	s := server(t)
	step := 0
	l := run(t, s, func(l *load.Load) bool {
		r := l.Report()
		switch {
		case step == 0 && r.Acked > 10:
			s.Exec(t, "SET GLOBAL read_only=1")
			step++
		case step == 1 && r.Errors > 0:
			s.Exec(t, "SET GLOBAL read_only=0")
			s.Exec(t, "KILL USER 'app'")
			step++
		case step == 2 && r.ForcedReconnects > 0:
			return true
		}
		return false
	})
	r, err := l.Verify(context.Background(), s.Admin)
	if err != nil || r.Lost != 0 || r.Duplicate != 0 || r.FirstError == "" {
		t.Errorf("%+v, %v", r, err)
	}
}
