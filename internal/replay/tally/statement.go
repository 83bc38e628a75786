package tally

import (
	"time"

	"github.com/windlass-db/windlass/internal/query"
	"github.com/windlass-db/windlass/internal/replay/compare"
)

// Statement is one that can be run by itself: a suspect, or an example.
type Statement struct {
	Schema  string `json:"schema,omitempty"`
	User    string `json:"user,omitempty"`
	Charset uint16 `json:"charset,omitempty"`  // the collation's id
	SQLMode string `json:"sql_mode,omitempty"` // as the session had set it; "": the server's own

	Settings []string `json:"settings,omitempty"` // whole SET statements in force, in their order

	At      time.Time `json:"at,omitzero"`      // when it ran in production
	Command byte      `json:"command"`          // of the protocol: 0x03 COM_QUERY, 0x17 COM_STMT_EXECUTE
	Text    []byte    `json:"text"`             // with ? for each parameter of a prepared one
	Params  []byte    `json:"params,omitempty"` // of COM_STMT_EXECUTE: the bitmap of NULLs, and the values
	Types   []byte    `json:"types,omitempty"`  // two bytes for each parameter
	Short   bool      `json:"short,omitempty"`  // it was too long to be kept whole, and can't be run
}

// mostSettings bounds the settings of an example.
const mostSettings = 32

// shorten keeps a statement within its bound.
func (s Statement) shorten() Statement {
	if len(s.Text) > ExampleBytes {
		s.Text, s.Short = []byte(bounded(s.Text, ExampleBytes)), true
	}
	for _, set := range s.Settings {
		if len(set) > ExampleBytes || len(s.Settings) > mostSettings {
			s.Settings, s.Short = nil, true
			break
		}
	}
	if len(s.Params) > ExampleBytes {
		s.Params, s.Short = nil, true
	}
	return s
}

// Example is one statement that differed, with what was seen of it.
type Example struct {
	ID        uint64          `json:"id"`
	Statement Statement       `json:"statement"`
	Cause     compare.Cause   `json:"cause,omitempty"`
	Detail    string          `json:"detail,omitempty"`
	Captured  *compare.Answer `json:"captured,omitempty"`
	Old       *compare.Answer `json:"old,omitempty"`
	New       *compare.Answer `json:"new,omitempty"`

	OldRows   *compare.Result `json:"old_rows,omitempty"` // the first rows
	NewRows   *compare.Result `json:"new_rows,omitempty"`
	Differs   compare.Differs `json:"differs,omitzero"`
	Retested  bool            `json:"retested,omitempty"` // on data that stood still
	Confirmed bool            `json:"confirmed,omitempty"`
	Ties      bool            `json:"ties,omitempty"` // both answers are right: of rows that are equal in what they are sorted by, LIMIT takes others
	Of        int64           `json:"of,omitempty"`   // how many differences there were when it was retested; 0: not known
}

// Suspect is a difference that a retest on data that stands still is to confirm or clear.
type Suspect struct {
	Fingerprint Fingerprint
	Traits      query.Traits
	Kind        compare.Kind
	ID          uint64
	Statement   Statement
	Count       int64 // of differences of its kind so far: it belongs into the Retest
}

// Suspects are the examples of all differences that data in motion could have made, and that were not retested yet, or so long ago that there are twice as many by now.
func (t *Tally) Suspects() []Suspect {
	var out []Suspect
	for _, f := range t.sorted() {
		q := t.Queries[f]
		for _, k := range compare.Kinds() {
			d := q.Differences[k]
			if d == nil || !Retestable(k) {
				continue
			}
			for _, e := range d.Examples.Values() {
				if (!e.Retested || !e.Confirmed && d.outgrown(e)) && !e.Statement.Short && len(e.Statement.Text) > 0 {
					out = append(out, Suspect{f, q.Traits, k, e.ID, e.Statement, d.Count()})
				}
			}
		}
	}
	return out
}

// Retestable reports whether data that stands still can clear a difference of the kind. It is not so of those that no data makes. What took too long is held against the old version's time there.
func Retestable(k compare.Kind) bool {
	switch k {
	case compare.Syntax, compare.Conflict, compare.Plan, compare.Slow, compare.Table, compare.Pattern, compare.Affected:
		return false
	}
	return true
}

// Retest is what a suspect gave on data that stood still.
type Retest struct {
	Fingerprint      Fingerprint
	Kind             compare.Kind // of the suspect
	ID               uint64
	Count            int64 // of the suspect; 0: not known
	Confirmed        bool  // the versions differ
	Ties             bool  `json:",omitempty"` // not confirmed: of rows that are equal in what they are sorted by, LIMIT takes others
	Differs          compare.Differs
	Old, New         *compare.Answer
	OldRows, NewRows *compare.Result // the first rows; cut to a bound here
}

// outgrown reports whether there are more than twice as many differences as when the example was retested: what was true of those need not be of all.
func (d *Difference) outgrown(e Example) bool { return e.Of > 0 && d.Count() > 2*e.Of }

// Cleared reports whether data that stands still gave no difference in all of the examples, lately enough. Examples of what seemed real are kept before all others, so while there are any no
// other one clears them.
func (d *Difference) Cleared() bool {
	for _, item := range d.Examples.Items {
		if e := item.Value; !e.Retested || e.Confirmed || d.outgrown(e) {
			return false
		}
	}
	return d.Confirmed == 0 && len(d.Examples.Items) > 0
}

// RealCleared reports whether that is so of the examples that seemed real, at least.
func (d *Difference) RealCleared() bool {
	n := 0
	for _, item := range d.Examples.Items {
		e := item.Value
		if e.Cause != compare.Real {
			continue
		}
		if n++; !e.Retested || e.Confirmed || d.outgrown(e) {
			return false
		}
	}
	return d.Confirmed == 0 && n > 0
}

// AddRetest notes the result of a retest that really compared the two versions. See Cleared for when it clears a difference.
func (t *Tally) AddRetest(r Retest) {
	q := t.Queries[r.Fingerprint]
	if q == nil || q.Differences[r.Kind] == nil {
		return
	}
	d := q.Differences[r.Kind]
	e := d.example(r.ID)
	if e == nil || e.Retested && (e.Confirmed || r.Count <= e.Of) {
		return
	}
	if !e.Retested {
		d.Retested++
	}
	if r.Confirmed {
		d.Confirmed++
	}
	e.Retested, e.Confirmed, e.Differs, e.Of, e.Ties = true, r.Confirmed, r.Differs, r.Count, r.Ties
	if r.Old != nil {
		e.Old = r.Old
	}
	if r.New != nil {
		e.New = r.New
	}
	e.OldRows, e.NewRows = cut(r.OldRows), cut(r.NewRows)
}

// example is the kept one of that statement; nil if it was not kept.
func (d *Difference) example(id uint64) *Example {
	if e := d.Examples.get(precedence(compare.Real, id)); e != nil {
		return e
	}
	return d.Examples.get(precedence(compare.Suspect, id))
}

// AddRows notes the first rows that both versions give to a suspect when they are asked once more. They show what differs, and decide nothing.
func (t *Tally) AddRows(s Suspect, old, new compare.Result) {
	q := t.Queries[s.Fingerprint]
	if q == nil || q.Differences[s.Kind] == nil {
		return
	}
	if e := q.Differences[s.Kind].example(s.ID); e != nil && e.OldRows == nil && e.NewRows == nil {
		e.OldRows, e.NewRows = cut(&old), cut(&new)
	}
}

// cut keeps the first rows of a result.
func cut(r *compare.Result) *compare.Result {
	if r == nil {
		return nil
	}
	size := 0
	for i, row := range r.Rows {
		for _, v := range row {
			size += len(v) + 4
		}
		if size > ResultBytes {
			return &compare.Result{Columns: r.Columns, Rows: r.Rows[:i]}
		}
	}
	return r
}
