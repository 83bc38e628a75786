package writes

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/windlass-db/windlass/internal/query"
	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/replay/conns"
	"github.com/windlass-db/windlass/internal/replay/probe"
	"github.com/windlass-db/windlass/internal/replay/tally"
	"github.com/windlass-db/windlass/internal/wire"
)

// lane is one captured connection on both sides.
type lane struct {
	p    [2]*probe.Session
	base [2]int64 // reads that asking for the counters costs by itself
	txn  []*step  // of the open transaction, run so far
}

func (l *lane) close() {
	l.p[0].Close()
	l.p[1].Close()
}

// seconds between two words on the progress.
const told = 5 * time.Second

// replay runs all steps on both sides. One that waits for a lock on both stood before what it had waited for, in an order that is told by when answers were seen: it and what follows
// on its connection are run after the next end of a transaction.
func (r *run) replay(ctx context.Context, steps []*step) error {
	left := map[conns.Key]int{}
	for _, s := range steps {
		left[s.conn]++
	}
	var waiting []*step
	blocked := map[conns.Key]bool{}
	last := r.Now()
	for i, s := range steps {
		if blocked[s.conn] {
			waiting = append(waiting, s)
			continue
		}
		ran, err := r.one(ctx, s, left, false)
		if err != nil {
			return fmt.Errorf("statement %d of %d: %w", i+1, len(steps), err)
		}
		if !ran {
			blocked[s.conn] = true
			waiting = append(waiting, s)
			continue
		}
		for freed := s.traits.Has(query.Ends); freed && len(waiting) > 0; {
			if waiting, blocked, freed, err = r.again(ctx, waiting, left); err != nil {
				return err
			}
		}
		if now := r.Now(); now.Sub(last) >= told {
			last = now
			r.Progress(fmt.Sprintf("%d of %d statements", i+1, len(steps)))
		}
	}
	for _, s := range waiting { // nobody is left to wait for
		if _, err := r.one(ctx, s, left, true); err != nil {
			return err
		}
	}
	return nil
}

// again tries those that wait, in their order, and tells who still does and whether a transaction has ended.
func (r *run) again(ctx context.Context, waiting []*step, left map[conns.Key]int) (still []*step, blocked map[conns.Key]bool, freed bool, err error) {
	blocked = map[conns.Key]bool{}
	for _, s := range waiting {
		ran := false
		if !blocked[s.conn] {
			if ran, err = r.one(ctx, s, left, false); err != nil {
				return nil, nil, false, err
			}
		}
		if !ran {
			blocked[s.conn] = true
			still = append(still, s)
		}
		freed = freed || ran && s.traits.Has(query.Ends)
	}
	return still, blocked, freed, nil
}

// one runs a step on its connection; false if it waits for a lock, and last does not say that this is the last try.
func (r *run) one(ctx context.Context, s *step, left map[conns.Key]int, last bool) (bool, error) {
	l := r.lanes[s.conn]
	if l == nil {
		var err error
		if l, err = r.lane(ctx); err != nil {
			return false, err
		}
		r.lanes[s.conn] = l
	}
	if ran, err := r.step(ctx, l, s, last); err != nil || !ran {
		return false, err
	}
	if left[s.conn]--; left[s.conn] == 0 {
		l.close()
		delete(r.lanes, s.conn)
	}
	return true, nil
}

// lane opens the connections that stand for a captured one.
func (r *run) lane(ctx context.Context) (*lane, error) {
	l := &lane{}
	for i := range r.servers() {
		var err error
		if l.p[i], err = r.session(ctx, i); err == nil {
			l.base[i], err = baseline(ctx, l.p[i])
		}
		if err != nil {
			l.close()
			return nil, err
		}
	}
	return l, nil
}

func (r *run) session(ctx context.Context, side int) (*probe.Session, error) {
	p, err := probe.Open(ctx, r.servers()[side])
	if err != nil {
		return nil, err
	}
	if err := p.Limit(ctx, r.Statement, r.Lock); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

var (
	random = regexp.MustCompile(`(?:^|[^\w])rand\(`)
	unique = regexp.MustCompile(`(?:^|[^\w])(?:uuid|uuid_short|sys_guid|random_bytes|uuid_v[47])\(`)
)

// errLockWait is that of a statement that has waited for a lock too long: it alone is rolled back.
const errLockWait = 1205

// step runs one statement on both sides and counts what came of it. It is false, and nothing is counted, if both waited for a lock for too long, unless that is its last try.
func (r *run) step(ctx context.Context, l *lane, s *step, last bool) (bool, error) {
	t := s.traits
	if s.txn != nil && t.Has(query.Begins) {
		l.txn = nil
	}
	if unique.MatchString(s.normal) && t.Has(query.Writes) {
		r.out.Tally.AddNote(NoteUUID, 1)
	}
	tr, err := r.before(ctx, s)
	if err != nil {
		return false, err
	}
	var res [2]probe.Result
	var reads [2]int64
	first := int(s.id & 1) // by chance, as in all pairs of times
	for _, side := range []int{first, 1 - first} {
		if res[side], reads[side], err = r.once(ctx, l, side, s, tr); err != nil {
			return false, err
		}
	}
	if !last && res[0].Answer.Errno == errLockWait && res[1].Answer.Errno == errLockWait {
		return false, nil
	}
	kind := r.count(s, res)
	if tr != nil {
		r.effort(s, tr, res, reads)
	}
	for side := range res {
		if again(res[side].Answer) && !again(res[1-side].Answer) {
			r.out.Retried[side]++
			if res[side], err = r.retry(ctx, l, side, s); err != nil {
				return false, err
			}
		}
	}
	if kind != "" {
		r.Log.Info("a statement differs", "kind", kind, "old", res[0].Answer.Errno, "new", res[1].Answer.Errno)
	}
	switch {
	case s.alone(), t.Has(query.Ends), t.Any(query.Defines) && !t.Has(query.OwnSession):
		l.txn = nil
	default:
		l.txn = append(l.txn, s)
	}
	return true, nil
}

// once runs the statement on one side.
func (r *run) once(ctx context.Context, l *lane, side int, s *step, tr *tried) (res probe.Result, reads int64, err error) {
	p := l.p[side]
	ctx, cancel := context.WithTimeout(ctx, r.Statement+time.Minute) // the server's own limit comes first
	defer cancel()
	if err := p.Enter(ctx, s.stmt); err != nil {
		var e *wire.ServerError
		if !errors.As(err, &e) {
			return res, 0, err
		}
		return probe.Result{Answer: compare.Answer{Errno: e.Code, SQLState: e.State, Message: e.Message}}, 0, nil
	}
	if random.MatchString(s.normal) {
		if err := p.Exec(ctx, fmt.Sprintf("SET rand_seed1=%d, rand_seed2=%d", uint32(s.id)>>2, uint32(s.id>>34))); err != nil {
			return res, 0, err
		}
	}
	var before int64
	if tr != nil {
		if before, err = readsOf(ctx, p); err != nil {
			return res, 0, err
		}
	}
	if res, err = p.Run(ctx, s.stmt); err != nil {
		return res, 0, err
	}
	if tr != nil {
		after, err := readsOf(ctx, p)
		if err != nil {
			return res, 0, err
		}
		reads = max(0, after-before-l.base[side])
	}
	if res.Answer.Rows > 0 && !res.Cut {
		res.Answer.Typed = compare.TypedOf(res.Data)
	}
	return res, reads, nil
}

// again reports whether a client would run its transaction again after that answer: a conflict of snapshots, a deadlock, a wait for a lock.
func again(a compare.Answer) bool {
	return a.Errno == 1020 || a.Errno == 1213 || a.Errno == errLockWait
}

// retry runs the transaction so far once more on one side, so that what follows is compared on equal data.
func (r *run) retry(ctx context.Context, l *lane, side int, s *step) (probe.Result, error) {
	if err := l.p[side].Exec(ctx, "ROLLBACK"); err != nil {
		return probe.Result{}, err
	}
	for _, earlier := range l.txn {
		if _, _, err := r.once(ctx, l, side, earlier, nil); err != nil {
			return probe.Result{}, err
		}
	}
	res, _, err := r.once(ctx, l, side, s, nil)
	return res, err
}

// count tells the tally of a statement that ran on both sides.
func (r *run) count(s *step, res [2]probe.Result) compare.Kind {
	if s.made {
		return ""
	}
	old, new := &res[0].Answer, &res[1].Answer
	out := compare.Outcome{}
	out.Kind = compare.Difference(s.traits, *old, *new)
	failed := old.Errno != 0 && old.Errno == new.Errno && s.captured.Errno == 0
	switch {
	case failed:
		out.Kind, out.Cause = "", compare.Environment // both fail where production did not
	case out.Kind == "":
		out.Same = true
	default:
		out.Cause = compare.Real
	}
	if failed || old.Errno == 0 && new.Errno == 0 && s.captured.Errno != 0 {
		r.out.Tally.AddNote(NoteError, 1)
	}
	if res[0].Insert != 0 && res[0].Insert == res[1].Insert && s.insert != 0 && res[0].Insert != s.insert {
		r.out.Tally.AddNote(NoteInsert, 1)
	}
	replayed := tally.Replayed{Fingerprint: s.fp, ID: s.id, At: s.start, Outcome: out, Captured: &s.captured, Old: old, New: new, Statement: func() tally.Statement { return s.stmt }}
	if old.Errno == 0 && new.Errno == 0 && s.traits.Any(query.Reads|query.Writes) {
		replayed.Pair = &tally.Pair{A: old.Took, B: new.Took}
	}
	r.out.Tally.AddReplayed(replayed)
	return out.Kind
}
