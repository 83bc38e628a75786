// Package compare says whether two versions gave the same answer to one statement, and if not, why.
//
// # Model
//
// Production gave a captured answer C. The replay gave the answer B of the new version. Where the two differ, the old version's replica is asked (A), and
// each of them once more (B′, A′), because most differences say nothing of the version: the data moved on between capture and replay, or
// the statement gives other rows each time. Decide is the whole of that reasoning as a pure function: it is given the answers that are there, and says which one it needs next,
// or what has come of it. Answers are compared by their hashes, cheapest first: error, number of rows, the rows in their order, the rows as a multiset,
// columns, warnings. Results compares two whole results, value by value, for those few that were kept or asked for again.
//
// # Invariants
//
// Decide ends after four calls at the most. Equal answers are never a difference. What could not be seen (a capture without hashes, no reference,
// an answer that a timeout took) is never called equal: its cause is Unknown, Suspect or Environment, and whoever judges must not pass it over. A syntax
// error or a conflict of snapshots that the new version alone has is real whatever else is seen.
package compare

import (
	"time"

	"github.com/windlass-db/windlass/internal/capture"
)

// Kind is what differs.
type Kind string

// The kinds of differences that Decide finds; the first that holds, in this order.
const (
	Syntax     Kind = "syntax"      // 1064 or 1149 on the new version alone
	Conflict   Kind = "conflict"    // 1020 on the new version alone: a row was changed since the transaction's snapshot
	Timeout    Kind = "timeout"     // the new version was ended, as it took far longer than the old one
	Error      Kind = "error"       // an error on the new version alone
	ErrorGone  Kind = "error-gone"  // an error on the old version alone
	ErrorOther Kind = "error-other" // both have one, and not the same
	Rows       Kind = "row-count"   // not as many rows
	Affected   Kind = "affected"    // not as many rows were changed
	Content    Kind = "content"     // other rows
	Order      Kind = "order"       // the same rows in another order
	Float      Kind = "float"       // the same but for the last digits of floating-point numbers
	Columns    Kind = "columns"     // other names or types of columns
	Warnings   Kind = "warnings"    // not as many warnings
)

// Kinds of findings that others make.
const (
	Plan    Kind = "plan"    // another plan, or an index that is not used any more
	Slow    Kind = "latency" // it takes longer
	Table   Kind = "table"   // a table differs after the same writes
	Pattern Kind = "pattern" // what clients do, and the new version bears less well
	Ties    Kind = "ties"    // of rows that are equal in what they are sorted by, LIMIT takes others
)

// Kinds lists all of them.
func Kinds() []Kind {
	return []Kind{Syntax, Conflict, Timeout, Error, ErrorGone, ErrorOther, Rows, Affected, Content, Order, Float, Columns, Warnings, Plan, Slow, Table, Pattern, Ties}
}

// Lacks says what an answer does not tell, because it was read where that is not recorded. A zero in such a field is not a zero.
type Lacks uint8

// What can be lacking.
const (
	LacksError    Lacks = 1 << iota // whether there was an error, and which
	LacksRows                       // the number of rows
	LacksContent                    // the hashes of the rows
	LacksColumns                    // the hash of the columns
	LacksWarnings                   // the number of warnings
	LacksStatus                     // the server's flags
	LacksAffected                   // the number of rows changed
)

// Answer is what a server answered to one statement, by its numbers and hashes. It is kept in reports.
type Answer struct {
	Errno      uint16        `json:"errno,omitempty"` // 0: no error
	SQLState   string        `json:"sqlstate,omitempty"`
	Message    string        `json:"message,omitempty"`
	Rows       uint64        `json:"rows"`
	Columns    uint64        `json:"columns,omitempty"`  // hash of names and types
	Ordered    uint64        `json:"ordered,omitempty"`  // hash of the rows in their order
	Multiset   uint64        `json:"multiset,omitempty"` // hash of the rows in any order
	Bytes      uint64        `json:"bytes,omitempty"`
	Affected   uint64        `json:"affected,omitempty"`
	Warnings   uint16        `json:"warnings,omitempty"`
	Status     uint16        `json:"status,omitempty"`     // the server's flags in the last OK or EOF
	FirstByte  time.Duration `json:"first_byte,omitempty"` // in nanoseconds
	Took       time.Duration `json:"took,omitempty"`       // in nanoseconds
	Unfinished bool          `json:"unfinished,omitempty"` // the connection ended before the answer did
	TimedOut   bool          `json:"timed_out,omitempty"`  // the replay ended it, as it took far longer than in production
	Lacks      Lacks         `json:"lacks,omitempty"`
	Typed      *Typed        `json:"-"` // of whole results, where they were at hand
}

// Captured makes the answer of an End event. What its source does not record is said by lacks.
func Captured(e *capture.Event, lacks Lacks) Answer {
	return Answer{
		Errno: e.Errno, SQLState: e.SQLState, Rows: e.Rows, Columns: e.Columns, Ordered: e.Ordered, Multiset: e.Multiset, Bytes: e.Bytes, Affected: e.Affected,
		Warnings: e.Warnings, Status: e.Status, FirstByte: e.FirstByte, Took: e.Took, Unfinished: e.Unfinished, Lacks: lacks,
	}
}
