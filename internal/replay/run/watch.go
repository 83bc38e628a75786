package run

import (
	"context"
	"sync"
	"time"

	"github.com/windlass-db/windlass/internal/replay/session"
)

// watch ends statements that take far longer than they did in production.
type watch struct {
	mu      sync.Mutex
	workers map[*worker]bool
}

func (w *watch) add(one *worker) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.workers == nil {
		w.workers = map[*worker]bool{}
	}
	w.workers[one] = true
}

func (w *watch) remove(one *worker) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.workers, one)
}

const (
	lookEvery = 100 * time.Millisecond
	slower    = 10              // times as long as it did is too long
	stubborn  = 5 * time.Second // more, and the connection is given up
)

// run looks at what is under way, now and then.
func (w *watch) run(ctx context.Context, r *replay) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var control *session.Conn
	defer func() {
		if control != nil {
			control.Close()
		}
	}()
	killed := map[*job]time.Time{}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		w.mu.Lock()
		var late []*worker
		for one := range w.workers {
			if one.overdue(r.Floor) {
				late = append(late, one)
			}
		}
		w.mu.Unlock()
		if len(late) == 0 {
			clear(killed)
			continue
		}
		for _, one := range late {
			j, c := one.under.job.Load(), one.under.conn.Load()
			if j == nil || c == nil {
				continue
			}
			if since, ok := killed[j]; ok {
				if time.Since(since) > stubborn {
					one.under.cut.Store(true)
					c.Cut()
				}
				continue
			}
			killed[j] = time.Now()
			one.under.killed.Store(j)
			var err error
			if control == nil {
				control, err = session.Open(ctx, r.Target, &session.Env{})
			}
			if err == nil {
				err = control.Kill(ctx, c.Thread())
			}
			if err != nil {
				r.Log.Warn("a statement that takes too long can't be ended on the server", "server", r.Target.Name, "err", err)
				if control != nil {
					control.Close()
					control = nil
				}
			}
		}
	}
}

// overdue reports whether the statement under way has had its time. As long as its captured answer is not read, production was not done with it either.
func (w *worker) overdue(floor time.Duration) bool {
	j := w.under.job.Load()
	if j == nil {
		return false
	}
	took := j.took.Load()
	if took == 0 {
		return false
	}
	return time.Since(time.Unix(0, w.under.sent.Load())) > max(slower*time.Duration(took), floor)
}
