package tally

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/windlass-db/windlass/internal/replay/compare"
)

// Merge adds all that another tally has counted. The other one must not be used afterwards: parts of it may be the tally's now.
func (t *Tally) Merge(o *Tally) {
	widen(&t.From, &t.To, o.From, o.To)
	widen(&t.Began, &t.Ended, o.Began, o.Ended)
	t.Captured += o.Captured
	t.Replayed += o.Replayed
	t.Asked += o.Asked
	for k, mask := range o.Slots {
		t.slots(k, mask)
	}
	for gateway, slots := range o.On {
		for slot, micros := range slots {
			t.watch(gateway, slot, micros)
		}
	}
	for _, r := range o.Runs {
		t.AddRun(r)
	}
	add(&t.Unfinished, o.Unfinished)
	add(&t.Skipped, o.Skipped)
	add(&t.Unreplayable, o.Unreplayable)
	add(&t.Dropped, o.Dropped)
	add(&t.Notes, o.Notes)
	t.Lateness.merge(&o.Lateness)
	for n, times := range o.Failures {
		if t.Failures == nil {
			t.Failures = map[uint16]int64{}
		}
		t.Failures[n] += times
		fold(t.Failures, Reasons, 0)
	}
	for f, q := range o.Queries {
		if t.Queries == nil {
			t.Queries = map[Fingerprint]*Query{}
		}
		if mine := t.Queries[f]; mine != nil {
			mine.merge(q)
			continue
		}
		t.Queries[f] = q
		t.top = 0
	}
	if o.Other != nil {
		if t.Other == nil {
			t.Other = o.Other
		} else {
			t.Other.merge(o.Other)
		}
	}
	t.bound()
}

func (q *Query) merge(o *Query) {
	// A text is the same in all parts but those that counted something before they saw it.
	q.Text = either(q.Text, o.Text)
	q.Traits |= o.Traits
	q.Captured += o.Captured
	q.Replayed += o.Replayed
	q.Unreplayable += o.Unreplayable
	q.Same += o.Same
	q.Took += o.Took
	add(&q.Skipped, o.Skipped)
	for c, n := range o.Causes {
		if q.Causes == nil {
			q.Causes = map[compare.Cause]int64{}
		}
		q.Causes[c] += n
	}
	widen(&q.First, &q.Last, o.First, o.Last)
	for k, d := range o.Differences {
		q.difference(k).merge(d)
	}
	q.Noise.Checks += o.Noise.Checks
	for i, n := range o.Noise.Columns {
		if q.Noise.Columns == nil {
			q.Noise.Columns = map[uint8]int64{}
		}
		q.Noise.Columns[i] += n
	}
	q.Noise.Plans += o.Noise.Plans
	for k, n := range o.Noise.Kinds {
		if q.Noise.Kinds == nil {
			q.Noise.Kinds = map[compare.Kind]int64{}
		}
		q.Noise.Kinds[k] += n
	}
	q.Example.merge(1, o.Example)
	q.Pairs.merge(Pairs, o.Pairs)
	q.Null.merge(Nulls, o.Null)
	q.Plan.Compared += o.Plan.Compared
	q.Plan.Worse += o.Plan.Worse
	q.Plan.Better += o.Plan.Better
	q.Plan.NoIndex += o.Plan.NoIndex
	q.Explained = worse(q.Explained, o.Explained)
}

func (d *Difference) merge(o *Difference) {
	d.Real += o.Real
	d.Suspect += o.Suspect
	d.Unknown += o.Unknown
	d.Retested += o.Retested
	d.Confirmed += o.Confirmed
	widen(&d.First, &d.Last, o.First, o.Last)
	for n, times := range o.Errors {
		d.errno(n, times)
	}
	d.Columns |= o.Columns
	d.Examples.merge(Examples, o.Examples)
}

// either is the one that is there; of two the one that comes first in the alphabet.
func either(a, b string) string {
	if a == "" || b != "" && b < a {
		return b
	}
	return a
}

// worse keeps one of two explanations, whatever their order: the one that says more against the new version.
func worse(a, b *Explained) *Explained {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	rank := func(e *Explained) int {
		switch {
		case e.Worse:
			return 0
		case e.Differs:
			return 1
		}
		return 2
	}
	if c := rank(a) - rank(b); c != 0 {
		if c < 0 {
			return a
		}
		return b
	}
	if strings.Compare(a.Old+"\x00"+a.New+"\x00"+a.Why, b.Old+"\x00"+b.New+"\x00"+b.Why) <= 0 {
		return a
	}
	return b
}

// Clone copies a tally wholly, so that it can be merged and used on.
func (t *Tally) Clone() (*Tally, error) {
	b, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	c := &Tally{}
	return c, json.Unmarshal(b, c)
}

// Reasonable lists the reasons of a mapping, the most frequent first.
func Reasonable(m map[string]int64) []string {
	return slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		if m[a] != m[b] {
			if m[a] > m[b] {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
}
