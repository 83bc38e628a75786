package run

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/replay/probe"
	"github.com/windlass-db/windlass/internal/replay/session"
	"github.com/windlass-db/windlass/internal/replay/tally"
	"github.com/windlass-db/windlass/internal/wire"
)

// checkers ask both servers about the statements whose answers differ, and time a sample of those that do not. Each has a session of its own on either server, so that neither waits for
// the connection of the captured client, nor it for them.
type checkers struct {
	r       *replay
	asks    chan *job // that differ: none is left out, but for time
	samples chan *job // to be timed: as many as there is time for
	running sync.WaitGroup

	mu    sync.Mutex
	taken map[tally.Fingerprint]int
}

const (
	checkersRun = 2
	mostAsks    = 4096

	warming    = 3   // statements of a fingerprint that are not timed
	everyOne   = 100 // of those after them, each is
	afterwards = 64  // and then one of so many
	lateForIt  = 5 * time.Millisecond
)

func newCheckers(r *replay) *checkers {
	return &checkers{r: r, asks: make(chan *job, mostAsks), samples: make(chan *job, 64), taken: map[tally.Fingerprint]int{}}
}

// ask has a statement checked whose two halves differ. Flat out it waits for room; at a pace it decides by what is there.
func (c *checkers) ask(j *job) {
	if c.r.flatOut() {
		c.asks <- j
		return
	}
	select {
	case c.asks <- j:
	default:
		round := j.round()
		round.NoOld, round.NoRepeat = true, true
		_, outcome := compare.Decide(round)
		c.r.count(j, outcome, nil, nil, nil)
	}
}

// sample takes a statement for timing, or does not.
func (c *checkers) sample(j *job) bool {
	if !c.r.Pairs || !j.reads() || j.late > lateForIt || j.answer.Errno != 0 || j.class.Traits.Any(notComparable) || j.req.Prepared != nil && len(j.req.Params) == 0 {
		return false
	}
	c.mu.Lock()
	n := c.taken[j.fp]
	if len(c.taken) < mostClasses || n > 0 {
		c.taken[j.fp]++
	}
	c.mu.Unlock()
	if n < warming || n >= warming+everyOne && n%afterwards != 0 {
		return false
	}
	select {
	case c.samples <- j:
		return true
	default:
		return false
	}
}

// run checks until finish, or the context's end: what is not checked then is counted as not compared, in a segment that whoever goes on replays anew.
func (c *checkers) run(ctx context.Context) error {
	for range checkersRun {
		c.running.Go(func() {
			k := checker{c: c}
			defer k.close()
			k.run(ctx)
		})
	}
	c.running.Wait()
	return nil
}

// finish waits until all that was asked is answered.
func (c *checkers) finish() {
	close(c.asks)
	close(c.samples)
	c.running.Wait()
}

// checker has a session on each server.
type checker struct {
	c        *checkers
	old, new *probe.Session
}

func (k *checker) close() {
	k.old.Close()
	k.new.Close()
}

func (k *checker) run(ctx context.Context) {
	asks, samples := k.c.asks, k.c.samples
	for asks != nil || samples != nil {
		select {
		case j, ok := <-asks:
			if !ok {
				asks = nil
				continue
			}
			k.check(ctx, j)
		case j, ok := <-samples:
			if !ok {
				samples = nil
				continue
			}
			k.time(ctx, j)
		}
	}
}

// check asks what Decide wants to know.
func (k *checker) check(ctx context.Context, j *job) {
	r := k.c.r
	round := j.round()
	round.Learned = r.ledger.learned(j.fp)
	for {
		ask, outcome := compare.Decide(round)
		if ask == compare.Done {
			r.count(j, outcome, round.Old, nil, nil)
			return
		}
		if ctx.Err() != nil {
			j.part.cut.Store(true)
			round.NoOld, round.NoRepeat = true, true
			continue
		}
		on := &k.old
		if ask == compare.AskNewAgain {
			on = &k.new
		}
		a, err := k.ask(ctx, on, j, true)
		switch {
		case err != nil && ask == compare.AskOld:
			round.NoOld = true
		case err != nil:
			round.NoRepeat = true
		case ask == compare.AskOld:
			round.Old = a
		case ask == compare.AskNewAgain:
			round.NewAgain = a
		default:
			round.OldAgain = a
		}
	}
}

// ask runs the statement on one of the servers. whole has its rows hashed column by column, too.
func (k *checker) ask(ctx context.Context, on **probe.Session, j *job, whole bool) (*compare.Answer, error) {
	r := k.c.r
	within, cancel := context.WithTimeout(ctx, max(slower*time.Duration(j.took.Load()), r.Floor))
	defer cancel()
	if *on == nil {
		server := *r.Reference
		if on == &k.new {
			server = r.Target
		}
		s, err := open(within, server)
		if err != nil {
			r.Log.Warn("a server can't be asked about a difference", "server", server.Name, "err", err)
			return nil, err
		}
		*on = s
	}
	st := j.statement()
	if j.req.Clock.IsZero() {
		st.At = time.Time{}
	}
	// Each statement is one by itself here: nothing of its session may open a transaction that stays, least of all on a server of production's.
	st.Settings = slices.DeleteFunc(slices.Clone(st.Settings), transactional.MatchString)
	if err := (*on).Enter(within, st); err != nil {
		k.forget(on)
		return nil, err
	}
	res, err := (*on).Run(within, st)
	if err != nil && ctx.Err() == nil && errors.Is(within.Err(), context.DeadlineExceeded) { // that is an answer: it has had the time that the first one had
		k.forget(on)
		return &compare.Answer{Errno: wire.ErrQueryInterrupted, SQLState: "70100", Took: r.Floor, TimedOut: true}, nil
	}
	if err != nil {
		k.forget(on)
		return nil, err
	}
	if whole && !res.Cut {
		res.Answer.Typed = compare.TypedOf(res.Data) // so that a column which differs from itself hides no other
	}
	return &res.Answer, nil
}

// transactional are settings of transactions.
var transactional = regexp.MustCompile(`(?i)autocommit|completion_type|isolation|\btransaction\b`)

func (k *checker) forget(on **probe.Session) {
	(*on).Close()
	*on = nil
}

// open makes a session that writes nothing, as all sessions of a replay.
func open(ctx context.Context, s session.Server) (*probe.Session, error) {
	p, err := probe.Open(ctx, s)
	if err != nil {
		return nil, err
	}
	if err := p.Exec(ctx, "SET SESSION TRANSACTION READ ONLY"); err != nil {
		p.Close()
		return nil, fmt.Errorf("make the session on %s read-only: %w", s.Name, err)
	}
	return p, nil
}

// time runs the statement on both servers, first to warm them up, and then in a random order; now and then the old one once more, for what it does against itself.
func (k *checker) time(ctx context.Context, j *job) {
	var pair, null *tally.Pair
	defer func() { k.c.r.count(j, compare.Outcome{Same: true}, nil, pair, null) }()
	took := func(on **probe.Session) (time.Duration, bool) {
		if ctx.Err() != nil {
			return 0, false
		}
		a, err := k.ask(ctx, on, j, false)
		if err != nil || a.Errno != 0 {
			return 0, false
		}
		return a.Took, true
	}
	for _, on := range []**probe.Session{&k.old, &k.new} {
		if _, ok := took(on); !ok {
			return
		}
	}
	var a, b time.Duration
	var okA, okB bool
	if rand.IntN(2) == 0 {
		a, okA = took(&k.old)
		b, okB = took(&k.new)
	} else {
		b, okB = took(&k.new)
		a, okA = took(&k.old)
	}
	if !okA || !okB {
		return
	}
	pair = &tally.Pair{A: a, B: b}
	if rand.IntN(2) == 0 {
		if again, ok := took(&k.old); ok {
			null = &tally.Pair{A: a, B: again}
			if rand.IntN(2) == 0 {
				null = &tally.Pair{A: again, B: a}
			}
		}
	}
}
