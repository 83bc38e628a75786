package retest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/windlass-db/windlass/internal/datacheck/node"
	"github.com/windlass-db/windlass/internal/query"
	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/replay/probe"
	"github.com/windlass-db/windlass/internal/replay/tally"
	"github.com/windlass-db/windlass/internal/wire"
)

// test runs one suspect in both snapshots.
func (r *run) test(ctx context.Context, s tally.Suspect, position string) (Tested, error) {
	t := Tested{Retest: tally.Retest{Fingerprint: s.Fingerprint, Kind: s.Kind, ID: s.ID, Count: s.Count}, Position: position}
	if t.Cause, t.Why = unfit(s); t.Why != "" {
		return t, nil
	}
	if name := probe.Mentions(s.Statement.Text, r.loose); name != "" {
		t.Cause, t.Why = compare.Unknown, fmt.Sprintf("table %s has no snapshot: it is not InnoDB", name)
		return t, nil
	}
	scene := scene(s.Statement)
	if why := r.refused[scene] + r.refused[scene+string(s.Statement.Text)]; why != "" {
		t.Cause, t.Why = compare.Unknown, why
		return t, nil
	}
	var old, new probe.Result
	g, within := errgroup.WithContext(ctx)
	g.Go(func() (err error) { old, err = r.once(within, r.a, s.Statement); return err })
	g.Go(func() (err error) { new, err = r.once(within, r.b, s.Statement); return err })
	if err := g.Wait(); err != nil {
		var refused *wire.ServerError
		if errors.As(err, &refused) { // nothing was compared, and what the sessions hold now is not known
			r.refused[scene] = fmt.Sprintf("what its session had set is refused: %v", err)
			return t, fmt.Errorf("%w: %w", errReopen, err)
		}
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil { // of it alone; its connections are gone
			r.refused[scene+string(s.Statement.Text)] = fmt.Sprintf("it does not end within %v: %v", r.Statement, err)
			return t, fmt.Errorf("%w: %w", errReopen, err)
		}
		return t, err
	}
	// The frozen data is what was captured, and the old side is asked as the old version's replica.
	round := compare.Round{Traits: s.Traits, Captured: &old.Answer, New: new.Answer}
	outcome := compare.Outcome{}
	for range 4 {
		var ask compare.Ask
		if ask, outcome = compare.Decide(round); ask == compare.Done {
			break
		}
		from := r.a
		if ask == compare.AskNewAgain {
			from = r.b
		}
		again, err := r.once(ctx, from, s.Statement)
		if err != nil {
			return t, err
		}
		switch ask {
		case compare.AskOld:
			round.Old = &again.Answer
		case compare.AskNewAgain:
			round.NewAgain = &again.Answer
		case compare.AskOldAgain:
			round.OldAgain = &again.Answer
		}
	}
	t.Old, t.New = &old.Answer, &new.Answer
	t.Cause, t.Confirmed, t.Why = settle(s.Kind, outcome, old.Answer, new.Answer)
	if t.Confirmed && outcome.Kind == compare.Content && s.Traits.Has(query.SortedLimit) {
		tied, why, err := r.ties(ctx, s.Statement, old, new)
		switch {
		case err != nil:
			return t, err
		case tied:
			t.Cause, t.Confirmed, t.Ties, t.Why = compare.Volatile, false, true, "of rows that are equal in what they are sorted by, LIMIT takes others"
		case why != "": // neither confirmed nor cleared
			t.Cause, t.Confirmed, t.Why = compare.Unknown, false, "rows may differ that are equal in what they are sorted by: "+why
		}
	}
	if !outcome.Same && !old.Cut && !new.Cut {
		t.Differs = compare.Results(old.Data, new.Data)
		a, b := old.Data.First(r.Rows), new.Data.First(r.Rows)
		t.OldRows, t.NewRows = &a, &b
	}
	return t, nil
}

// slower is how many times as long a statement has to take on frozen data that had been ended, before that is the version's doing.
const slower = 10

// settle says what the answers on frozen data mean for a suspect.
func settle(k compare.Kind, o compare.Outcome, old, new compare.Answer) (cause compare.Cause, confirmed bool, why string) {
	fine := old.Errno == 0 && new.Errno == 0 && !old.Unfinished && !new.Unfinished
	switch {
	case o.Same && fine && k == compare.Timeout && new.Took > slower*old.Took:
		return compare.Real, true, fmt.Sprintf("it takes %v, and %v on the old version", new.Took, old.Took)
	case o.Same && fine, o.Same && (k == compare.ErrorGone || k == compare.ErrorOther) && !passing(old.Errno):
		return compare.Moved, false, "" // it differed when it was replayed, and on frozen data it does not
	case o.Same: // neither has answered
		return compare.Unknown, false, fmt.Sprintf("both versions end with error %d: %s", new.Errno, new.Message)
	case o.Cause == compare.Real:
		return compare.Real, true, string(o.Kind)
	case o.Cause == compare.Suspect, o.Cause == compare.Moved:
		return compare.Volatile, false, string(o.Kind) // the data stands still: what gave another answer did so by itself
	}
	return o.Cause, false, string(o.Kind)
}

// passing reports whether an error says nothing of the statement: limits of time, locks, rights, read-only.
func passing(errno uint16) bool {
	switch errno {
	case 1317, 1969, 3024, 1205, 1213, 1044, 1045, 1142, 1143, 1227, 1370, 1290, 1792:
		return true
	}
	return false
}

// scene is what the statement's session had around it, as one text.
func scene(s tally.Statement) string {
	return fmt.Sprintf("%s\x00%d\x00%s\x00%q", s.Schema, s.Charset, s.SQLMode, s.Settings)
}

// once runs the statement in a session's snapshot.
func (r *run) once(ctx context.Context, p *probe.Session, s tally.Statement) (probe.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, r.Statement+30*time.Second) // the server's own limit comes first
	defer cancel()
	if err := p.Enter(ctx, s); err != nil {
		return probe.Result{}, err
	}
	res, err := p.Run(ctx, s)
	if err != nil {
		return res, err
	}
	if res.Answer.Errno == node.ErrTableDefChanged {
		return res, fmt.Errorf("%w: a definition changed after the snapshot of %s", errAgain, p.Name)
	}
	if !res.Cut {
		res.Answer.Typed = compare.TypedOf(res.Data)
	}
	return res, nil
}
