package run

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/replay/session"
	"github.com/windlass-db/windlass/internal/replay/tally"
	"github.com/windlass-db/windlass/internal/wire"
)

// worker is a connection that stands for a captured one. What it is to do is queued, and done in its order.
type worker struct {
	r    *replay
	conn *session.Conn

	mu    sync.Mutex
	queue []*job
	head  int
	idle  bool
	ended bool
	wake  chan struct{}

	few   []*job    // of a batch
	txn   uint64    // of the statement before
	lost  uint64    // the transaction that a lost connection took along
	free  time.Time // when it was done with the statement before
	slow  bool      // which took longer than in production
	under underway
}

// underway is the statement that the server is at, for the watch.
type underway struct {
	job    atomic.Pointer[job]
	conn   atomic.Pointer[session.Conn]
	sent   atomic.Int64        // unix nanoseconds
	killed atomic.Pointer[job] // that the watch had the server end
	cut    atomic.Bool         // the server did not do it
}

// idleFor is how long a connection is kept that has nothing to do: another is opened when there is something again.
const idleFor = 2 * time.Minute

func (r *replay) newWorker(ctx context.Context) *worker {
	w := &worker{r: r, wake: make(chan struct{}, 1)}
	r.workers.Add(1)
	r.watch.add(w)
	go func() {
		defer r.workers.Done()
		defer r.watch.remove(w)
		w.run(ctx)
	}()
	return w
}

// push queues a job.
func (w *worker) push(j *job) { w.put(j, false) }

// pushDue queues a job that is due now. If the connection has nothing to do it is sent at once, by the caller: the worker is then woken for the answer alone, and how long that takes
// makes no statement late.
func (w *worker) pushDue(j *job) { w.put(j, true) }

func (w *worker) put(j *job, due bool) {
	w.r.waiting.Add(1)
	w.mu.Lock()
	if w.ended {
		w.mu.Unlock()
		j.drop(w.r, tally.SkipInterrupted)
		w.over(j)
		return
	}
	idle := w.idle
	w.idle = false
	if due && idle && w.takes(j) { // the worker sleeps, so that the connection is ours
		w.start(j)
		j.first = true
		j.sent, j.sendErr = w.conn.Send(j.req)
	}
	w.queue = append(w.queue, j)
	w.mu.Unlock()
	if idle {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// refuse ends a job that can't be handed over any more. What is no statement is queued nevertheless: the worker ends by it.
func (w *worker) refuse(j *job, why error) error {
	if j.op == opRun {
		j.drop(w.r, tally.SkipInterrupted)
	} else {
		j.size = 0
		w.push(j)
	}
	return why
}

// takes reports whether a job can be sent on the connection as it is.
func (w *worker) takes(j *job) bool {
	return len(w.queue) == 0 && j.op == opRun && w.conn != nil && w.conn.Env() == j.env && w.conn.Ready(&j.req) && j.size <= session.MostBatch &&
		(j.txn == 0 || j.txn != w.lost) && w.r.target.has(j.at) && time.Since(j.due) < overdue
}

// start says that the server is at this job from now on.
func (w *worker) start(j *job) {
	u := &w.under
	u.cut.Store(false)
	u.sent.Store(time.Now().UnixNano())
	u.conn.Store(w.conn)
	u.job.Store(j)
}

// next takes the first job; it waits for one. Nil: there was none for a while.
func (w *worker) next() *job {
	for {
		w.mu.Lock()
		if w.head < len(w.queue) {
			j := w.queue[w.head]
			w.queue[w.head] = nil
			if w.head++; w.head == len(w.queue) {
				w.queue, w.head = w.queue[:0], 0
				if cap(w.queue) > 256 {
					w.queue = nil
				}
			}
			w.mu.Unlock()
			return j
		}
		w.idle = true
		w.mu.Unlock()
		if w.conn == nil || w.txn != 0 { // a transaction is not ended for being idle
			<-w.wake
			continue
		}
		timer := time.NewTimer(idleFor)
		select {
		case <-w.wake:
			timer.Stop()
		case <-timer.C:
			w.mu.Lock()
			alone := w.idle
			w.idle = false
			w.mu.Unlock()
			if alone {
				return nil
			}
			<-w.wake // a job came at that moment
		}
	}
}

// run does what is queued until the connection is closed. The context's end makes it fail all that is queued, quickly.
func (w *worker) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, w.under.end)
	defer stop()
	defer w.drop()
	for {
		j := w.next()
		if j == nil {
			w.drop() // its session is made anew from what is known of it
			continue
		}
		if ctx.Err() == nil { // what is taken for a batch is in no queue any more: from there on it ends by being done
			if batch := w.batch(j); len(batch) > 1 {
				w.together(ctx, batch)
				continue
			}
		}
		over := w.do(ctx, j)
		w.over(j)
		if over {
			w.end()
			return
		}
	}
}

// end refuses what is still to come: at the end of a replay a connection may be told to close before all of it was handed over.
func (w *worker) end() {
	w.mu.Lock()
	w.ended = true
	rest := w.queue[w.head:]
	w.queue, w.head = nil, 0
	w.mu.Unlock()
	for _, j := range rest {
		j.drop(w.r, tally.SkipInterrupted)
		w.over(j)
	}
}

// over gives back what a job held that is not queued any more.
func (w *worker) over(j *job) {
	w.r.budget.Release(j.size)
	w.r.waiting.Add(-1)
}

// drop closes the connection.
func (w *worker) drop() {
	if w.conn != nil {
		w.conn.Close()
		w.conn = nil
		w.r.open.Add(-1)
	}
}

func (w *worker) do(ctx context.Context, j *job) (over bool) {
	w.txn = j.txn
	if j.op == opRun && j.class.Kind == session.End {
		w.txn = 0
	}
	switch {
	case j.op == opClose:
		return true
	case ctx.Err() != nil && !j.first:
		j.drop(w.r, tally.SkipInterrupted)
		return false
	case j.first: // it is sent
		if !w.send(ctx, j, j.handed) {
			break
		}
		return false
	case j.op == opAdopt:
		if w.conn != nil && w.conn.Env() != nil {
			w.conn.Adopt(j.env)
		}
		return false
	case j.op == opForget:
		if w.conn != nil {
			w.try(w.conn.Forget(j.req.Prepared))
		}
		return false
	case j.txn != 0 && j.txn == w.lost:
		j.drop(w.r, tally.UnreplayableTransactionLost)
		return false
	case !w.r.target.has(j.at):
		j.drop(w.r, tally.SkipTargetBehind)
		return false
	}
	began := time.Time{}
	if !j.due.IsZero() {
		if began = time.Now(); began.Sub(j.due) > overdue {
			weight := catchingUp / max(mostCatchingUp, 2*w.r.production.Load())
			if w.r.catching.Acquire(ctx, weight) != nil {
				j.drop(w.r, tally.SkipInterrupted)
				return false
			}
			defer w.r.catching.Release(weight)
		}
	}
	for w.ready(ctx, j) && !w.send(ctx, j, began) {
	}
	return false
}

// flatOut reports whether nothing is done by the clock: then what fails because the server is away can wait.
func (r *replay) flatOut() bool { return r.Speed == 0 && r.Delay == 0 }

// Reasons beyond those of package tally.
const (
	unreplayableSchema     = "schema"     // its schema is not there, or the account may not use it
	unreplayableParameters = "parameters" // they do not fit the statement
)

// ready sees that there is a connection whose session is what the job finds. If there can't be, the job has ended.
func (w *worker) ready(ctx context.Context, j *job) bool {
	flatOut := w.r.flatOut()
	if w.conn != nil && w.conn.Charset() != j.env.Charset {
		w.drop() // the login says it
	}
	if w.conn != nil {
		if have := w.conn.Env(); have == j.env || have != nil && same(have, j.env) {
			return true
		}
		err := w.conn.Enter(ctx, j.env)
		if err == nil {
			return true
		}
		if refused := new(session.SetupError); errors.As(err, &refused) {
			j.drop(w.r, unreplayableSchema)
			return false
		}
		if w.broken(ctx, j, err) {
			return false
		}
	}
	for {
		if w.r.target.away() && !(flatOut && w.r.target.wait(ctx, w.r.Away)) {
			j.drop(w.r, tally.SkipTargetDown)
			return false
		}
		if w.r.open.Add(1) > int64(w.r.Connections) {
			w.r.open.Add(-1)
			j.drop(w.r, tally.SkipConnections)
			return false
		}
		c, err := session.Open(ctx, w.r.Target, j.env)
		if c == nil {
			w.r.open.Add(-1)
		}
		var setup *session.SetupError
		var refused *wire.ServerError
		switch {
		case err == nil:
			w.conn = c
			return true
		case errors.As(err, &setup):
			w.conn = c
			j.drop(w.r, unreplayableSchema)
			return false
		case ctx.Err() != nil:
			j.drop(w.r, tally.SkipInterrupted)
			return false
		case errors.As(err, &refused) && refused.Code == wire.ErrTooManyConnections:
			j.drop(w.r, tally.SkipConnections)
			return false
		}
		w.r.target.gone(err)
		if !flatOut {
			j.drop(w.r, tally.SkipTargetDown)
			return false
		}
	}
}

// same reports whether two environments need the same session.
func same(a, b *session.Env) bool {
	if a.Schema != b.Schema || a.Charset != b.Charset || a.SQLMode != b.SQLMode || len(a.Settings) != len(b.Settings) {
		return false
	}
	for i := range a.Settings {
		if a.Settings[i] != b.Settings[i] {
			return false
		}
	}
	return true
}

// end ends it on this side, because the replay ends, or the server does not do it.
func (u *underway) end() {
	if c := u.conn.Load(); c != nil {
		c.Cut()
	}
}

// send does the job on the connection. Not true: the connection was lost, and the job is to be sent again.
func (w *worker) send(ctx context.Context, j *job, began time.Time) bool {
	switch j.op {
	case opEnter:
		return true // ready has done it
	case opLongData:
		_, err := w.conn.LongData(j.req.Prepared, j.req.Params)
		w.try(err)
		return true
	}
	u := &w.under
	var answer compare.Answer
	var sent time.Time
	var err error
	if j.first {
		j.first = false
		if ctx.Err() != nil {
			w.conn.Cut()
		}
		if sent, err = j.sent.At, j.sendErr; err == nil {
			answer, err = w.conn.Receive(j.req, j.sent)
		}
	} else {
		w.start(j)
		if ctx.Err() != nil {
			w.conn.Cut()
		}
		answer, sent, err = w.conn.Run(j.req)
	}
	u.job.Store(nil)
	u.conn.Store(nil)
	switch {
	case errors.Is(err, session.ErrParameters):
		j.drop(w.r, unreplayableParameters)
		return true
	case err != nil && u.cut.Load() && j.captured == nil:
		w.drop()
		j.drop(w.r, tally.UnreplayableCut)
		return true
	case err != nil && u.cut.Load():
		w.drop()
		answer.Errno, answer.SQLState, answer.Message = wire.ErrQueryInterrupted, "70100", "ended by the replay, and the server did not say so in time"
		answer.Took, answer.TimedOut = time.Since(sent), true
	case err != nil || lost(answer.Errno):
		return w.broken(ctx, j, err)
	case answer.Errno == wire.ErrQueryInterrupted && u.killed.Load() == j:
		if j.captured == nil { // nobody knows how long it took in production
			j.drop(w.r, tally.UnreplayableCut)
			return true
		}
		answer.TimedOut = true
	case answer.Errno == wire.ErrQueryInterrupted && j.attempts == 0:
		j.attempts++ // the end of the statement before came too late, and hit this one
		return false
	}
	if j.after != nil && answer.Errno == 0 {
		w.conn.Adopt(j.after)
	}
	j.answer = answer
	w.lateness(j, began, sent)
	took := j.took.Load()
	w.slow = took > 0 && int64(answer.Took) > took
	j.answered(w.r)
	return true
}

// leastOwn is what of our own work before a statement counts as such.
const leastOwn = time.Millisecond

// lateness says how late a statement was sent, and who made it so: the server, which was still at the statement before and takes longer for it than in production; the connection,
// which was busy with a statement that was late itself, or had to be opened; or the scheduler of this machine.
func (w *worker) lateness(j *job, began, sent time.Time) {
	if j.due.IsZero() {
		return
	}
	busy := w.free.After(j.handed)
	w.free = sent.Add(j.answer.Took)
	j.late, j.cause = max(sent.Sub(j.due), 0), tally.LateScheduler
	switch {
	case busy && w.slow:
		j.cause = tally.LateServer
	case busy, sent.Sub(began) > leastOwn:
		j.cause = tally.LateConnection
	}
	w.r.seen.late.Store(int64(j.late))
}

// lost are the errors with which a server ends a connection.
func lost(errno uint16) bool {
	return errno == wire.ErrServerShutdown || errno == wire.ErrConnectionKilled
}

// broken says that the connection was lost at that job, which ends, or is to be done again where there is time for it.
func (w *worker) broken(ctx context.Context, j *job, err error) (ended bool) {
	w.drop()
	w.lost = j.txn
	if ctx.Err() != nil {
		j.drop(w.r, tally.SkipInterrupted)
		return true
	}
	w.r.target.gone(err)
	if j.attempts++; !w.r.flatOut() || j.txn != 0 || j.attempts > mostAttempts {
		j.drop(w.r, tally.UnreplayableTargetLost)
		return true
	}
	return false
}

// mostAttempts is how often a statement is sent whose connection is lost each time: it may be the statement that the server does not bear.
const mostAttempts = 3

// try takes the outcome of something without an answer.
func (w *worker) try(err error) {
	if err != nil {
		w.drop()
	}
}
