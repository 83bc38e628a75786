package run

import (
	"context"
	"time"

	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/replay/session"
	"github.com/windlass-db/windlass/internal/replay/tally"
	"github.com/windlass-db/windlass/internal/wire"
)

const mostTogether = 16

// batch takes what is queued behind a job and can be sent with it: where nothing is done by the clock, reads of one session, outside of a transaction, whose answers nobody has to see before the next.
// It saves most of the machine's work for a small statement, which is in being woken for each answer.
func (w *worker) batch(j *job) []*job {
	if !w.r.flatOut() || w.conn == nil || w.conn.Env() != j.env || !w.batches(j) {
		return nil
	}
	batch := append(w.few[:0], j)
	bytes := j.size - overhead
	w.mu.Lock()
	for w.head < len(w.queue) && len(batch) < mostTogether {
		next := w.queue[w.head]
		bytes += next.size - overhead
		if next.env != j.env || bytes > session.MostBatch || !w.batches(next) {
			break
		}
		batch = append(batch, next)
		w.queue[w.head] = nil
		w.head++
	}
	if w.head == len(w.queue) {
		w.queue, w.head = w.queue[:0], 0
	}
	w.mu.Unlock()
	w.few = batch
	return batch
}

func (w *worker) batches(j *job) bool {
	return j.op == opRun && j.part != nil && j.class.Kind == session.Read && j.txn == 0 && j.attempts == 0 && w.conn.Ready(&j.req)
}

// together sends a batch. What of it has no answer, because the connection was lost, is done one by one.
func (w *worker) together(ctx context.Context, batch []*job) {
	requests := make([]*session.Request, len(batch))
	for i, j := range batch {
		requests[i] = &j.req
	}
	u := &w.under
	w.start(batch[0])
	if ctx.Err() != nil {
		w.conn.Cut()
	}
	done := 0
	var again []*job
	err := w.conn.Batch(requests, func(i int, a compare.Answer) {
		j := batch[i]
		done = i + 1
		if done < len(batch) {
			u.sent.Store(time.Now().UnixNano())
			u.job.Store(batch[done])
		}
		switch interrupted := a.Errno == wire.ErrQueryInterrupted; {
		case interrupted && u.killed.Load() == j && j.captured == nil:
			j.drop(w.r, tally.UnreplayableCut)
			w.over(j)
			return
		case interrupted && u.killed.Load() == j:
			a.TimedOut = true
		case interrupted, lost(a.Errno), a.Errno == wire.ErrUnknownStmt, a.Errno == wire.ErrNeedReprepare:
			again = append(again, j)
			return
		}
		j.answer = a
		j.answered(w.r)
		w.over(j)
	})
	u.job.Store(nil)
	u.conn.Store(nil)
	if err != nil {
		w.drop()
		if ctx.Err() == nil {
			w.r.target.gone(err)
			batch[done].attempts++
		}
	}
	for _, j := range append(again, batch[done:]...) {
		w.do(ctx, j)
		w.over(j)
	}
}
