package retest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/windlass-db/windlass/internal/datacheck/node"
	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/replay/probe"
	"github.com/windlass-db/windlass/internal/replay/tally"
	"github.com/windlass-db/windlass/internal/wire"
)

// test runs one suspect in both snapshots.
func (r *run) test(ctx context.Context, s tally.Suspect, position string) (Tested, error) {
	t := Tested{Retest: tally.Retest{Fingerprint: s.Fingerprint, Kind: s.Kind, ID: s.ID}, Position: position}
	if t.Cause, t.Why = unfit(s); t.Why != "" {
		return t, nil
	}
	if name := probe.Mentions(s.Statement.Text, r.loose); name != "" {
		t.Cause, t.Why = compare.Unknown, fmt.Sprintf("table %s has no snapshot: it is not InnoDB", name)
		return t, nil
	}
	var old, new probe.Result
	g, within := errgroup.WithContext(ctx)
	g.Go(func() (err error) { old, err = r.once(within, r.a, s.Statement); return err })
	g.Go(func() (err error) { new, err = r.once(within, r.b, s.Statement); return err })
	if err := g.Wait(); err != nil {
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
	switch {
	case outcome.Same:
		t.Cause = compare.Moved // it differed when it was replayed, and on frozen data it does not
	case outcome.Cause == compare.Real:
		t.Confirmed, t.Cause, t.Why = true, compare.Real, string(outcome.Kind)
	case outcome.Cause == compare.Suspect, outcome.Cause == compare.Moved:
		t.Cause, t.Why = compare.Volatile, string(outcome.Kind) // the data stands still: what gave another answer did so by itself
	default:
		t.Cause, t.Why = outcome.Cause, string(outcome.Kind)
	}
	if !outcome.Same && !old.Cut && !new.Cut {
		t.Differs = compare.Results(old.Data, new.Data)
		t.OldRows, t.NewRows = first(old.Data, r.Rows), first(new.Data, r.Rows)
	}
	return t, nil
}

// once runs the statement in a session's snapshot.
func (r *run) once(ctx context.Context, p *probe.Session, s tally.Statement) (probe.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, r.Statement+30*time.Second) // the server's own limit comes first
	defer cancel()
	err := p.Enter(ctx, s)
	var e *wire.ServerError
	if errors.As(err, &e) { // what the session had set is refused: so would it be to the client
		return probe.Result{Answer: compare.Answer{Errno: e.Code, SQLState: e.State, Message: e.Message}}, nil
	}
	if err != nil {
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

// first keeps the first rows of a result, as evidence.
func first(d compare.Result, n int) *compare.Result {
	return &compare.Result{Columns: d.Columns, Rows: d.Rows[:min(n, len(d.Rows))]}
}
