package writes_test

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"testing"

	"github.com/windlass-db/windlass/internal/capture"
	"github.com/windlass-db/windlass/internal/capture/store"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/replay/replaytest"
	"github.com/windlass-db/windlass/internal/replay/writes"
)

// reset makes a server a clone of the snapshot again.
func reset(t *testing.T, s *processtest.Server) {
	t.Helper()
	s.Exec(t, "DROP DATABASE IF EXISTS shop")
	for _, q := range data {
		s.Exec(t, q)
	}
	s.Exec(t, "RESET MASTER")
	s.Exec(t, "SET GLOBAL gtid_slave_pos='"+position+"'")
}

// segments reads a bucket's blocks in order.
func segments(t *testing.T, dir string) func(context.Context) iter.Seq2[capture.Block, error] {
	t.Helper()
	b, err := store.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return func(ctx context.Context) iter.Seq2[capture.Block, error] {
		return writes.Blocks(ctx, b, store.Range{}, nil)
	}
}

// recorded captures what clients do at once on a server of the old version, in all the ways in which a transaction can begin and end, and replays it: two versions that answer alike are found to, whatever the
// order was in which the server did it.
func recorded(t *testing.T, c *clones) {
	dir := t.TempDir()
	r := replaytest.New(t, dir, c.old.Address(), processtest.AdminUser, processtest.AdminPassword)
	var wg sync.WaitGroup
	for k := range 4 {
		wg.Go(func() {
			s := r.Session("shop")
			defer s.Close()
			insert := s.Prepare("INSERT INTO log (at, r, t) VALUES (NOW(6), ?, ?)")
			for i := range 12 {
				s.Execute(insert, i > 0, i, fmt.Sprintf("of %d", k))
				s.Query("BEGIN")
				s.Query(fmt.Sprintf("SELECT v FROM acc WHERE id = %d FOR UPDATE", 1+(i+k)%7))
				s.Query(fmt.Sprintf("UPDATE acc SET v = v * 3 %% 1000 + %d WHERE id = %d", k, 1+(i+k)%7))
				s.Query([]string{"COMMIT", "ROLLBACK"}[i%2])
				s.Query(fmt.Sprintf("UPDATE acc SET note = CONCAT_WS(',', RIGHT(note, 20), %d) WHERE id = %d", k, 1+i%5))
				if i == 5 && k < 2 {
					s.Set("SET autocommit=0, time_zone='+05:00'")
				}
				if i == 9 && k < 2 {
					s.Query("CREATE TABLE IF NOT EXISTS made (id INT PRIMARY KEY) CHARSET=utf8mb4 COLLATE utf8mb4_general_ci") // commits what is open
				}
			}
			s.Query("COMMIT")
		})
	}
	wg.Wait()
	r.Close()
	for _, s := range []*processtest.Server{c.old, c.new} {
		reset(t, s)
	}
	cfg := c.config(t, record())
	cfg.Events = segments(t, dir)
	res, err := writes.Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ledger(t, res)
	if n := len(res.Tally.Failures); n > 0 {
		t.Errorf("the order makes statements wait: %v", res.Tally.Failures)
	}
	t.Log(res.Tally.Ended.Sub(res.Tally.Began), res.Tally.Unreplayable, res.Tally.Skipped, res.Tally.Notes, res.Tally.Failures, res.Transactions)
	if f := findings(res.Tally); len(f) > 0 {
		t.Errorf("found: %v", f)
	}
	if res.Tally.Captured != r.Counted || res.Transactions < 4*12*2 || res.Retried != [2]int{} {
		t.Errorf("%d of %d statements, %+v, skipped %v, unreplayable %v", res.Tally.Captured, r.Counted, res, res.Tally.Skipped, res.Tally.Unreplayable)
	}
}
