package gateway

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

// load writes and reads through a pool until it is stopped, and remembers every acknowledged write.
type load struct {
	errors  atomic.Pointer[error]
	acked   sync.Map // key → true
	writes  atomic.Int64
	longest atomic.Int64
	stop    context.CancelFunc
	done    sync.WaitGroup
}

func (l *load) fail(err error) { l.errors.CompareAndSwap(nil, &err) }

// startLoad runs writers: each of them takes turns at autocommit, a transaction, and a prepared statement.
func startLoad(t testing.TB, g *gate, workers int, pause time.Duration) *load {
	t.Helper()
	db := g.open(t, "gw", "")
	db.SetMaxOpenConns(workers)
	db.SetMaxIdleConns(workers)
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{stop: cancel}
	for w := range workers {
		c := conn(t, db)
		ins, err := c.PrepareContext(bg(t), "INSERT INTO writes (k, worker, n) VALUES (?, ?, ?)")
		if err != nil {
			t.Fatal(err)
		}
		l.done.Add(1)
		go func() {
			defer l.done.Done()
			for n := 0; ctx.Err() == nil; n++ {
				key := fmt.Sprintf("%s-%d-%d", t.Name(), w, n)
				begin := time.Now()
				var err error
				switch n % 3 {
				case 0:
					_, err = c.ExecContext(context.Background(), fmt.Sprintf("INSERT INTO writes (k, worker, n) VALUES ('%s', %d, %d)", key, w, n))
				case 1:
					tx, e := c.BeginTx(context.Background(), nil)
					if err = e; err == nil {
						if _, err = tx.Stmt(ins).Exec(key, w, n); err == nil {
							var count int
							err = tx.QueryRow("SELECT COUNT(*) FROM writes WHERE worker = ?", w).Scan(&count)
						}
						if err == nil {
							err = tx.Commit()
						}
					}
				case 2:
					_, err = ins.Exec(key, w, n)
				}
				if err != nil {
					l.fail(fmt.Errorf("worker %d, write %d (kind %d): %w", w, n, n%3, err))
					return
				}
				l.acked.Store(key, true)
				l.writes.Add(1)
				if took := int64(time.Since(begin)); took > l.longest.Load() {
					l.longest.Store(took)
				}
				time.Sleep(pause)
			}
		}()
	}
	return l
}

// finish stops the load and checks that nobody saw an error and that the primary has every acknowledged write once.
func (l *load) finish(t testing.TB, primary *sql.DB) {
	t.Helper()
	l.stop()
	l.done.Wait()
	if err := l.errors.Load(); err != nil {
		t.Errorf("a client saw an error: %v", *err)
	}
	rows, err := primary.Query("SELECT k FROM gw.writes")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	there := map[string]int{}
	for rows.Next() {
		var k string
		rows.Scan(&k)
		there[k]++
	}
	lost := 0
	l.acked.Range(func(k, _ any) bool {
		if there[k.(string)] != 1 {
			lost++
		}
		return true
	})
	if lost > 0 {
		t.Errorf("%d of %d acknowledged writes are lost or doubled", lost, l.writes.Load())
	}
}

func makeWrites(t testing.TB, c *cluster) {
	c.primary.Exec(t, "CREATE TABLE IF NOT EXISTS gw.writes (k VARCHAR(100) PRIMARY KEY, worker INT, n INT, KEY (worker))")
	c.replica.CatchUp(t, c.primary)
}

func testSwitchUnderLoad(t *testing.T, c *cluster) {
	makeWrites(t, c)
	g := c.gateway(t)
	l := startLoad(t, g, 8, 5*time.Millisecond)
	before, err := g.api.Status(bg(t))
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		wrote := l.writes.Load()
		processtest.Until(t, patience, "writes go on", func() bool { return l.writes.Load() > wrote+100 || l.errors.Load() != nil })
		reply := c.move(t, g)
		t.Logf("to %s: held %d ms, longest wait %d ms, %d waited", c.primary.Name, reply.HeldMS, reply.LongestWaitMS, reply.Waited)
	}
	wrote := l.writes.Load()
	processtest.Until(t, patience, "writes go on", func() bool { return l.writes.Load() > wrote+100 || l.errors.Load() != nil })
	after, err := g.api.Status(bg(t))
	if err != nil {
		t.Fatal(err)
	}
	if after.Counts.Connections != before.Counts.Connections {
		t.Errorf("clients connected again: %d connections before, %d after", before.Counts.Connections, after.Counts.Connections)
	}
	if after.Counts.MovesFailed+after.Counts.Unknown+after.Counts.Refused > 0 {
		t.Errorf("counts: %+v", after.Counts)
	}
	l.finish(t, c.primary.Admin)
	t.Logf("%d writes, the longest took %s, %d moves", l.writes.Load(), time.Duration(l.longest.Load()), after.Counts.Moves)
}
