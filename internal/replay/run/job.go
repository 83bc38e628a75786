package run

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/windlass-db/windlass/internal/query"
	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/replay/session"
	"github.com/windlass-db/windlass/internal/replay/tally"
)

// op is what a worker is to do.
type op uint8

const (
	opRun      op = iota // a statement
	opEnter              // the session is another one now, of which no statement told
	opAdopt              // the same, and statements told it
	opLongData           // a parameter, ahead of its EXECUTE
	opForget             // a prepared statement is closed
	opClose              // the connection ended
)

// job is one thing to do on a connection; with opRun it is a captured statement, which ends exactly once.
type job struct {
	op       op
	part     *part // where it is counted; nil: it is not, or somewhere else
	id       uint64
	seq      uint64 // of its Start
	fp       tally.Fingerprint
	class    *session.Class
	env      *session.Env // that it finds
	after    *session.Env // that it leaves, if another
	req      session.Request
	txn      uint64 // the transaction that it is in, counted by the replay; 0: none
	size     int64
	attempts int

	at     time.Time // captured
	due    time.Time // zero: at once
	handed time.Time // by the pacer

	first   bool // it was sent by who handed it over
	sent    session.Sent
	sendErr error

	// The two halves. Each side writes its own before it arrives.
	halves   atomic.Int32
	took     atomic.Int64 // what the captured answer took, plus one; 0: not known yet
	captured *compare.Answer
	answer   compare.Answer
	failed   string // why it has no answer
	late     time.Duration
	cause    tally.Late
}

// overhead is what a job that waits takes beside its text.
const overhead = 1200

// known says that the capture's half is there.
func (j *job) known(r *replay, a *compare.Answer) {
	j.captured = a
	j.took.Store(int64(a.Took) + 1)
	j.arrive(r)
}

// unanswered says that the capture's half is not there, and that production was at it for so long at the least.
func (j *job) unanswered(r *replay, since time.Duration) {
	j.took.Store(int64(min(max(since, 0), longestOpen)/slower) + 1)
	j.arrive(r)
}

// answered says that the target's half is there.
func (j *job) answered(r *replay) { j.arrive(r) }

// drop ends it without an answer.
func (j *job) drop(r *replay, why string) {
	j.failed = why
	if j.op == opRun {
		j.arrive(r)
	}
}

func (j *job) arrive(r *replay) {
	if j.part != nil && j.halves.Add(1) == 2 {
		r.settle(j)
	}
}

// statement is what can be run by itself.
func (j *job) statement() tally.Statement {
	s := tally.Statement{Schema: j.env.Schema, User: j.env.User, Charset: j.env.Charset, SQLMode: j.env.SQLMode, Settings: j.env.Settings, At: j.at, Command: byte(j.req.Command), Text: j.req.Text}
	if j.req.Prepared != nil {
		s.Text, s.Params, s.Types = j.req.Prepared.Text, j.req.Params, j.req.Types
	}
	return s
}

// reads reports whether it is a read that means something outside of its session.
func (j *job) reads() bool {
	return j.class.Kind == session.Read && !j.class.FoundRows && !j.class.Variables
}

// alone reports whether it gives outside of its session what it gives in it.
func (j *job) alone() bool {
	return j.txn == 0 && j.reads()
}

func (j *job) round() compare.Round {
	r := compare.Round{Traits: j.class.Traits, Captured: j.captured, New: j.answer, NoRepeat: !j.alone()}
	r.NoOld = !j.reads()
	return r
}

// settle has the two halves compared, and counts the statement; or leaves both to the checkers.
func (r *replay) settle(j *job) {
	switch {
	case j.failed != "":
		r.count(j, compare.Outcome{}, nil, nil, nil)
		return
	case j.class.Kind == session.Begin || j.class.Kind == session.End:
		r.skipped(j, tally.SkipTransaction)
		return
	case j.class.Kind == session.Set && (j.answer.Errno == 0 || j.captured != nil && j.captured.Errno != 0):
		r.skipped(j, tally.SkipSession) // one that only this version refuses is a difference
		return
	}
	round := j.round()
	if r.check == nil {
		round.NoOld, round.NoRepeat = true, true
	}
	ask, outcome := compare.Decide(round)
	if ask == compare.Done {
		if r.check == nil || !outcome.Same || !r.check.sample(j) {
			r.count(j, outcome, nil, nil, nil)
		}
		return
	}
	r.check.ask(j)
}

// count writes down what came of a statement.
func (r *replay) count(j *job, outcome compare.Outcome, old *compare.Answer, pair, null *tally.Pair) {
	p := j.part
	if j.failed == tally.SkipInterrupted {
		p.cut.Store(true)
	}
	p.mu.Lock()
	switch {
	case slices.Contains(byChoice, j.failed):
		p.tally.AddSkipped(j.fp, j.failed)
		r.seen.skipped.Add(1)
	case j.failed != "":
		p.tally.AddUnreplayable(j.fp, j.failed)
		r.seen.unreplayable.Add(1)
	default:
		p.tally.AddReplayed(tally.Replayed{Fingerprint: j.fp, ID: j.id, At: j.at, Outcome: outcome, Captured: j.captured, New: &j.answer, Old: old,
			Lateness: j.late, Late: j.cause, Pair: pair, Null: null, Statement: j.statement})
		r.seen.replayed.Add(1)
		if !outcome.Same && outcome.Cause == compare.Real {
			r.seen.differences.Add(1)
		}
	}
	p.mu.Unlock()
	p.done(r.ledger)
}

// byChoice are the reasons that count as skipped: the statement could have been replayed.
var byChoice = []string{tally.SkipConnections, tally.SkipTargetDown, tally.SkipTargetBehind, tally.SkipQueueFull, tally.SkipInterrupted}

func (r *replay) skipped(j *job, why string) {
	p := j.part
	p.mu.Lock()
	p.tally.AddSkipped(j.fp, why)
	p.mu.Unlock()
	r.seen.skipped.Add(1)
	p.done(r.ledger)
}

// notComparable are the traits of statements that are not timed: two runs of them are not the same work.
const notComparable = query.Volatile | query.OwnSession | query.OwnServer | query.LimitAlone
