package plans

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/replay/probe"
	"github.com/windlass-db/windlass/internal/replay/tally"
)

// Fill explains one statement of each fingerprint that a tally has kept one of, and of the kinds that were collected beside it, such as the writes that a replay of reads skips; those that were not
// replayed first, then those that took longest in production, at most so many; and gives the tally the plans. A statement that the new version alone takes for a syntax error is a finding. It tells how many were asked, and how many
// a server refused to explain for rights.
func Fill(ctx context.Context, old, new *probe.Session, t *tally.Tally, beside []Kind, most int) (asked, refused int, err error) {
	type one struct {
		f    tally.Fingerprint
		q    *tally.Query
		from tally.Example
	}
	var all []one
	for f, q := range t.Queries {
		if q.Explained != nil {
			continue
		}
		if e, ok := example(q); ok {
			all = append(all, one{f, q, e})
		} else if i := slices.IndexFunc(beside, func(k Kind) bool { return k.Fingerprint == f }); i >= 0 {
			all = append(all, one{f, q, tally.Example{ID: uint64(f), Statement: beside[i].Example}})
		}
	}
	slices.SortFunc(all, func(a, b one) int { // those that were not replayed first: of them nothing else is known
		return cmp.Or(cmp.Compare(min(a.q.Replayed, 1), min(b.q.Replayed, 1)), cmp.Compare(b.q.Took, a.q.Took), cmp.Compare(b.q.Captured, a.q.Captured), cmp.Compare(a.f, b.f))
	})
	for _, o := range all[:min(len(all), most)] {
		e, a, b, err := Compare(ctx, old, new, o.from.Statement)
		if errors.Is(err, ErrUnfit) {
			continue
		}
		if err != nil {
			return asked, refused, fmt.Errorf("explain %s: %w", o.q.Text, err)
		}
		asked++
		syntax := misunderstood(a, b)
		if !syntax && mute(a, b) {
			refused++
			continue
		}
		t.AddPlan(o.f, e)
		if k := compare.Syntax; syntax && o.q.Differences[k] == nil {
			t.AddFound(o.f, tally.Seen{Text: []byte(o.q.Text), Traits: o.q.Traits}, k, tally.Found{ID: o.from.ID, At: o.from.Statement.At, Detail: "explained: " + b.Refused.Message, Statement: o.from.Statement, Old: &a.Refused, New: &b.Refused})
		}
	}
	return asked, refused, nil
}

// mute reports whether a server refuses to explain for rights, so that there is nothing to compare.
func mute(old, new Plan) bool {
	return slices.Contains(rights, old.Refused.Errno) || slices.Contains(rights, new.Refused.Errno)
}

// misunderstood reports whether the new version alone takes a statement for a syntax error. A server looks at rights after it has parsed.
func misunderstood(old, new Plan) bool {
	is := func(errno uint16) bool { return errno == 1064 || errno == 1149 }
	return is(new.Refused.Errno) && !is(old.Refused.Errno)
}

// example is a statement of a fingerprint that can be explained.
func example(q *tally.Query) (tally.Example, bool) {
	all := q.Example.Values()
	for _, k := range compare.Kinds() {
		if d := q.Differences[k]; d != nil {
			all = append(all, d.Examples.Values()...)
		}
	}
	for _, e := range all {
		if !e.Statement.Short && len(e.Statement.Text) > 0 {
			return e, true
		}
	}
	return tally.Example{}, false
}
