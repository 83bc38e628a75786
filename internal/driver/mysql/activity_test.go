package mysql

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/fleet"
)

// Both products show an old list of transactions to whoever reads it more often than every 100 ms. An old list is no evidence that nobody
// writes (traps 4, 15): it is unknown.
func TestOldListOfTransactions(t *testing.T) {
	t.Parallel()
	s := processtest.Primary(t, "11.8", processtest.With("sync-binlog=0", "innodb-flush-log-at-trx-commit=2"))
	s.Exec(t, "CREATE TABLE app.t (id INT NOT NULL PRIMARY KEY)")
	d, err := New(Config{Admin: Account{User: processtest.AdminUser, Password: Fixed(processtest.AdminPassword)}, Query: 3 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	p := place{"blue", fleet.Node{Name: "blue-1", Address: s.Address()}}

	ctx, stop := context.WithCancel(bg(t))
	defer stop()
	reads, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		for ctx.Err() == nil {
			rows, err := s.Admin.QueryContext(ctx, "SELECT trx_id FROM information_schema.INNODB_TRX")
			if err != nil {
				ended <- err
				return
			}
			rows.Close()
			select {
			case reads <- struct{}{}:
			default:
			}
		}
		ended <- nil
	}()
	<-reads
	writer, err := s.Admin.Conn(bg(t))
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	must(t, writer, "BEGIN", "INSERT INTO app.t VALUES (1)")
	var id uint64
	if err := writer.QueryRowContext(bg(t), "SELECT CONNECTION_ID()").Scan(&id); err != nil {
		t.Fatal(err)
	}
	has := func(rs []row) bool {
		return slices.ContainsFunc(rs, func(r row) bool { return r["id"] == strconv.FormatUint(id, 10) && r["modified"] == "1" })
	}
	// A machine that stops for a while lets the list be gathered anew even so: then the writer is in it.
	if rs, err := d.transactions(bg(t), p); err == nil && !has(rs) || err != nil && !errors.Is(err, errOldList) {
		t.Errorf("beside somebody who asks all the time: %v %v", rs, err)
	}
	stop()
	if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if rs, err := d.transactions(bg(t), p); err != nil || !has(rs) || len(rs) != 1 {
		t.Errorf("when nobody else asks: %v %v", rs, err)
	}
	must(t, writer, "ROLLBACK")
}
