package gateway_test

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/driver/process/processtest"
)

// load is clients of a gateway: writers that are paced together at so many writes a second, and readers. Every key that
// was acknowledged is remembered; the first error of anybody is kept.
type load struct {
	stop    context.CancelFunc
	done    sync.WaitGroup
	failed  atomic.Pointer[error]
	acked   sync.Map // key → true
	writes  atomic.Int64
	reads   atomic.Int64
	longest atomic.Int64 // nanoseconds of one write or transaction
}

func (l *load) fail(err error) { l.failed.CompareAndSwap(nil, &err) }

// startLoad runs writers and readers on the gateway's writer endpoint.
func startLoad(t testing.TB, p *process, writers, perSecond, readers int) *load {
	t.Helper()
	db, err := sql.Open("mysql", processtest.DSN(p.writer, processtest.AppUser, processtest.AppPassword, "gw"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(writers + readers)
	db.SetMaxIdleConns(writers + readers)
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{stop: cancel}
	t.Cleanup(func() { cancel(); l.done.Wait() })
	one := func() *sql.Conn {
		c, err := db.Conn(bg(t))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	period := time.Second * time.Duration(writers) / time.Duration(perSecond)
	for k := range writers {
		c := one()
		insert, err := c.PrepareContext(bg(t), "INSERT INTO writes (k, n) VALUES (?, ?)")
		if err != nil {
			t.Fatal(err)
		}
		l.done.Add(1)
		go func() {
			defer l.done.Done()
			defer c.Close()
			next := time.Now().Add(period * time.Duration(k) / time.Duration(writers))
			for n := 0; ctx.Err() == nil; n++ {
				wait(ctx, time.Until(next))
				next = next.Add(period) // after a hold the arrears are made up for: the load does not adapt to the server
				key := fmt.Sprintf("%d-%d", k, n)
				begun := time.Now()
				if err := write(c, insert, key, n); err != nil {
					l.fail(fmt.Errorf("writer %d, write %d: %w", k, n, err))
					return
				}
				l.acked.Store(key, true)
				l.writes.Add(1)
				l.longest.Store(max(l.longest.Load(), int64(time.Since(begun))))
			}
		}()
	}
	for k := range readers {
		c := one()
		l.done.Add(1)
		go func() {
			defer l.done.Done()
			defer c.Close()
			for ctx.Err() == nil {
				var n int
				if err := c.QueryRowContext(context.Background(), "SELECT COUNT(*) FROM writes WHERE k = '0-0'").Scan(&n); err != nil {
					l.fail(fmt.Errorf("reader %d: %w", k, err))
					return
				}
				l.reads.Add(1)
				wait(ctx, 10*time.Millisecond)
			}
		}()
	}
	return l
}

// write takes turns at a prepared statement, plain text, and a transaction.
func write(c *sql.Conn, insert *sql.Stmt, key string, n int) error {
	switch n % 3 {
	case 0:
		_, err := insert.Exec(key, n)
		return err
	case 1:
		_, err := c.ExecContext(context.Background(), fmt.Sprintf("INSERT INTO writes (k, n) VALUES ('%s', %d)", key, n))
		return err
	}
	tx, err := c.BeginTx(context.Background(), nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.Exec("INSERT INTO writes (k, n) VALUES ('" + key + "', 0)"); err != nil {
		return err
	}
	if _, err := tx.Exec("UPDATE writes SET n = 1 WHERE k = '" + key + "'"); err != nil {
		return err
	}
	return tx.Commit()
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// more waits until so many more writes were acknowledged.
func (l *load) more(t testing.TB, n int64) {
	t.Helper()
	want := l.writes.Load() + n
	processtest.Until(t, 30*time.Second, "more writes", func() bool { return l.writes.Load() >= want || l.failed.Load() != nil })
	if err := l.failed.Load(); err != nil {
		t.Fatalf("a client saw an error: %v", *err)
	}
}

// finish stops the load, and checks that nobody saw an error and that every server has every acknowledged write.
func (l *load) finish(t testing.TB, primary, replica *processtest.Server) {
	t.Helper()
	l.stop()
	l.done.Wait()
	if err := l.failed.Load(); err != nil {
		t.Errorf("a client saw an error: %v", *err)
	}
	replica.CatchUp(t, primary)
	for _, s := range []*processtest.Server{primary, replica} {
		there := map[string]bool{}
		rows, err := s.Admin.Query("SELECT k FROM gw.writes")
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var k string
			if err := rows.Scan(&k); err != nil {
				t.Fatal(err)
			}
			there[k] = true
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		rows.Close()
		lost := 0
		l.acked.Range(func(k, _ any) bool {
			if !there[k.(string)] {
				lost++
			}
			return true
		})
		if lost > 0 {
			t.Errorf("%s lost %d of %d acknowledged writes", s.Name, lost, l.writes.Load())
		}
	}
}
