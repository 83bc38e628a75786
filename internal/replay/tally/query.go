package tally

import (
	"maps"
	"slices"
	"time"

	"github.com/windlass-db/windlass/internal/query"
	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/wire"
)

// Query is what was counted of one fingerprint.
type Query struct {
	Text   string       `json:"text"` // the normal form
	Traits query.Traits `json:"traits,omitempty"`

	Captured     int64                   `json:"captured"`
	Replayed     int64                   `json:"replayed"`
	Skipped      map[string]int64        `json:"skipped,omitempty"`
	Unreplayable int64                   `json:"unreplayable,omitempty"`
	Same         int64                   `json:"same,omitempty"`
	Causes       map[compare.Cause]int64 `json:"causes,omitempty"` // of the answers that were not the same

	First time.Time     `json:"first,omitzero"` // of those replayed, as captured
	Last  time.Time     `json:"last,omitzero"`
	Took  time.Duration `json:"took,omitempty"` // in production, all together

	Differences map[compare.Kind]*Difference `json:"differences,omitempty"`
	Noise       compare.Noise                `json:"noise,omitzero"`
	Example     Sample[Example]              `json:"example,omitzero"` // one of all, whether they differ or not
	Pairs       Sample[Pair]                 `json:"pairs,omitzero"`
	Null        Sample[Pair]                 `json:"null,omitzero"` // the old version against itself
	Plan        PlanBits                     `json:"plan,omitzero"`
	Explained   *Explained                   `json:"explained,omitempty"`
}

// Pair is how long one statement took on both versions.
type Pair struct {
	A time.Duration `json:"a"` // old, in nanoseconds
	B time.Duration `json:"b"` // new
}

// Difference is what was counted of one kind of difference of a fingerprint.
type Difference struct {
	Real      int64            `json:"real,omitempty"`
	Suspect   int64            `json:"suspect,omitempty"`
	Unknown   int64            `json:"unknown,omitempty"` // it differs from the capture, and there was no reference to say why
	Retested  int64            `json:"retested,omitempty"`
	Confirmed int64            `json:"confirmed,omitempty"`
	First     time.Time        `json:"first,omitzero"`
	Last      time.Time        `json:"last,omitzero"`
	Errors    map[uint16]int64 `json:"errors,omitempty"` // on the new version; 0: others beyond the bound
	Columns   uint64           `json:"columns,omitempty"`
	Examples  Sample[Example]  `json:"examples,omitzero"`
}

// Count is how often it was seen, whatever came of it.
func (d *Difference) Count() int64 { return d.Real + d.Suspect + d.Unknown }

// PlanBits count the server's flags that an index was not used, or no good one.
type PlanBits struct {
	Compared int64 `json:"compared,omitempty"`
	Worse    int64 `json:"worse,omitempty"`    // set on the new version alone
	Better   int64 `json:"better,omitempty"`   // set on the old version alone
	NoIndex  int64 `json:"no_index,omitempty"` // of Worse: no index at all
}

// Explained are the plans of a fingerprint's example on both versions.
type Explained struct {
	Old     string `json:"old,omitempty"`
	New     string `json:"new,omitempty"`
	Differs bool   `json:"differs,omitempty"`
	Worse   bool   `json:"worse,omitempty"`
	Why     string `json:"why,omitempty"`
}

// Replayed is a statement that ran on the new version.
type Replayed struct {
	Fingerprint Fingerprint
	ID          uint64 // of the statement, over all runs of all gateways: it draws the samples
	At          time.Time
	Outcome     compare.Outcome
	Captured    *compare.Answer
	New         *compare.Answer
	Old         *compare.Answer
	Lateness    time.Duration // from when it was due to when it was sent
	Late        Late          // who made it late
	Pair        *Pair         // of its times, in a random order; nil: not measured, late, or warming up
	Null        *Pair
	Statement   func() Statement // called if it is kept; what it gives is the tally's
}

// AddReplayed counts a statement that ran on the new version. One that the environment kept from being compared is counted as unreplayable.
func (t *Tally) AddReplayed(r Replayed) {
	q := t.query(r.Fingerprint)
	t.Lateness.add(r.Late, r.Lateness)
	o := r.Outcome
	if o.Cause == compare.Environment {
		count(&t.Unreplayable, UnreplayableEnvironment, 1)
		q.Unreplayable++
		q.cause(o.Cause)
		if t.Failures == nil {
			t.Failures = map[uint16]int64{}
		}
		t.Failures[failure(r)]++
		fold(t.Failures, Reasons, 0)
		return
	}
	t.Replayed++
	q.Replayed++
	if r.Old != nil {
		t.Asked++
	}
	q.seen(r.At)
	if r.Captured != nil {
		q.Took += r.Captured.Took
	}
	q.plan(r)
	priority := draw(r.ID)
	if r.Pair != nil {
		q.Pairs.add(Pairs, priority, *r.Pair)
	}
	if r.Null != nil {
		q.Null.add(Nulls, priority, *r.Null)
	}
	if o.Checked {
		q.Noise.Checks++
		if o.Noise != "" {
			if q.Noise.Kinds == nil {
				q.Noise.Kinds = map[compare.Kind]int64{}
			}
			q.Noise.Kinds[o.Noise]++
			for i := range uint8(64) {
				if o.Noisy>>i&1 == 1 {
					if q.Noise.Columns == nil {
						q.Noise.Columns = map[uint8]int64{}
					}
					q.Noise.Columns[i]++
				}
			}
		}
	}
	q.example(priority, r)
	if o.Same {
		q.Same++
		return
	}
	q.cause(o.Cause)
	if o.Kind == "" || o.Cause == compare.Moved || o.Cause == compare.Volatile {
		return
	}
	d := q.difference(o.Kind)
	d.seen(r.At)
	switch o.Cause {
	case compare.Real:
		d.Real++
	case compare.Suspect:
		d.Suspect++
	default:
		d.Unknown++
	}
	d.Columns |= o.Differs
	if r.New != nil && r.New.Errno != 0 {
		d.errno(r.New.Errno, 1)
	}
	d.Examples.Seen++
	if priority = precedence(o.Cause, r.ID); d.Examples.takes(Examples, priority) {
		d.Examples.put(Examples, Item[Example]{priority, made(r)})
	}
}

// Found is a difference that was found otherwise than by comparing a replayed statement's answers.
type Found struct {
	ID        uint64
	At        time.Time
	Detail    string // what was seen, in a sentence
	Statement Statement
	Old, New  *compare.Answer
	Cause     compare.Cause // "": real
	Count     int64         // how often; 0: once
}

// AddFound counts it.
func (t *Tally) AddFound(f Fingerprint, s Seen, k compare.Kind, found Found) {
	q := t.query(f)
	if q != t.Other && q.Text == "" {
		q.Text, q.Traits = bounded(s.Text, TextBytes), s.Traits
	}
	d := q.difference(k)
	d.seen(found.At)
	n := max(found.Count, 1)
	switch found.Cause {
	case compare.Suspect:
		d.Suspect += n
	case compare.Unknown:
		d.Unknown += n
	default:
		d.Real += n
	}
	if found.New != nil && found.New.Errno != 0 {
		d.errno(found.New.Errno, 1)
	}
	if found.Cause == "" {
		found.Cause = compare.Real
	}
	d.Examples.add(Examples, precedence(found.Cause, found.ID), Example{ID: found.ID, Statement: found.Statement.shorten(), Cause: found.Cause, Detail: bounded([]byte(found.Detail), TextBytes), Old: found.Old, New: found.New})
}

// AddPlan keeps the plans of a fingerprint.
func (t *Tally) AddPlan(f Fingerprint, e Explained) {
	if q := t.Queries[f]; q != nil {
		e.Old, e.New, e.Why = bounded([]byte(e.Old), ResultBytes), bounded([]byte(e.New), ResultBytes), bounded([]byte(e.Why), TextBytes)
		q.Explained = &e
	}
}

// AddTimes adds a pair of times that was measured apart from the replay, such as by asking suspects of slowness again.
func (t *Tally) AddTimes(f Fingerprint, id uint64, pair, null *Pair) {
	q := t.query(f)
	if pair != nil {
		q.Pairs.add(Pairs, draw(id), *pair)
	}
	if null != nil {
		q.Null.add(Nulls, draw(id), *null)
	}
}

// precedence is the priority of an example: what seems real comes before all that may be moving data.
func precedence(c compare.Cause, id uint64) uint64 {
	p := draw(id) >> 1
	if c != compare.Real {
		p |= 1 << 63
	}
	return p
}

// failure is the error number that kept a statement from being compared.
func failure(r Replayed) uint16 {
	if r.New != nil && r.New.Errno != 0 {
		return r.New.Errno
	}
	if r.Old != nil {
		return r.Old.Errno
	}
	return 0
}

func made(r Replayed) Example {
	e := Example{ID: r.ID, Cause: r.Outcome.Cause, Captured: plain(r.Captured), Old: plain(r.Old), New: plain(r.New)}
	if r.Statement != nil {
		e.Statement = r.Statement().shorten()
	}
	return e
}

// plain copies an answer: the caller's is used again.
func plain(a *compare.Answer) *compare.Answer {
	if a == nil {
		return nil
	}
	c := *a
	c.Message, c.Typed = bounded([]byte(c.Message), 512), nil
	return &c
}

func (q *Query) example(priority uint64, r Replayed) {
	q.Example.Seen++
	if q.Example.takes(1, priority) {
		e := made(r)
		e.Cause = ""
		q.Example.put(1, Item[Example]{priority, e})
	}
}

func (q *Query) cause(c compare.Cause) {
	if q.Causes == nil {
		q.Causes = map[compare.Cause]int64{}
	}
	q.Causes[c]++
}

func (q *Query) difference(k compare.Kind) *Difference {
	if q.Differences == nil {
		q.Differences = map[compare.Kind]*Difference{}
	}
	d := q.Differences[k]
	if d == nil {
		d = &Difference{}
		q.Differences[k] = d
	}
	return d
}

func (d *Difference) errno(n uint16, times int64) {
	if d.Errors == nil {
		d.Errors = map[uint16]int64{}
	}
	d.Errors[n] += times
	fold(d.Errors, Errors, 0)
}

// plan compares the flags of the two versions' answers. Those of the old version's answer of today count before those of the captured one, as a small table's plan changes with
// its rows; and where the data has moved nothing is compared, because rows that were deleted a moment ago are still in an index, and count in its plans.
func (q *Query) plan(r Replayed) {
	old := r.Old
	if old == nil {
		old = r.Captured
	} else if r.Outcome.Same {
		q.Noise.Plans++
	}
	if old == nil || r.New == nil || !r.Outcome.Same || r.Outcome.NoPlan || old.Errno != 0 || r.New.Errno != 0 || (old.Lacks|r.New.Lacks)&compare.LacksStatus != 0 {
		return
	}
	q.Plan.Compared++
	switch {
	case compare.WorsePlan(*old, *r.New):
		q.Plan.Worse++
		if r.New.Status&^old.Status&uint16(wire.StatusNoIndex) != 0 {
			q.Plan.NoIndex++
		}
	case compare.WorsePlan(*r.New, *old):
		q.Plan.Better++
	}
}

func (q *Query) seen(at time.Time)      { widen(&q.First, &q.Last, at, at) }
func (d *Difference) seen(at time.Time) { widen(&d.First, &d.Last, at, at) }

// widen lets a span hold another one. Times that are not known are zero.
func widen(first, last *time.Time, from, to time.Time) {
	if !from.IsZero() && (first.IsZero() || from.Before(*first)) {
		*first = from.UTC()
	}
	if to.After(*last) {
		*last = to.UTC()
	}
}

// sorted are the fingerprints in their order.
func (t *Tally) sorted() []Fingerprint { return slices.Sorted(maps.Keys(t.Queries)) }
