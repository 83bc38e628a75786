// Package tally counts what a replay sees: the coverage ledger, the differences by fingerprint with examples, pairs of times, and how late statements ran.
//
// # Model
//
// A worker has a Tally of its own for each part of the capture, and tells it of every statement: AddCaptured when it is read, and then exactly one of
// AddReplayed, AddSkipped, AddUnreplayable. Merge adds one to another; in which order, and in what groups, never matters, so that workers run side by side, and
// a killed one counts nothing twice. A Tally is its own checkpoint: its JSON has all of it.
//
// # Invariants
//
// Merge is associative and commutative, to the last byte. What a tally keeps is bounded whatever it is told: fingerprints, examples, bytes of a text, samples. The
// bounds are kept by an order that no arrival changes. Of more than Fingerprints the ones with the lowest hashes stay, and all others are counted together in Other, which
// has differences and examples as any other; a sample is the items with the lowest priorities, which their ids draw, and so unbiased. No count is ever lost.
//
// # The ledger
//
// captured = replayed + skipped + unreplayable + dropped. Captured is counted where statements are read, the others where they end: that they agree proves that no
// statement went missing in between.
//
// A Tally is not safe for concurrent use.
package tally

import (
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/windlass-db/windlass/internal/query"
	"github.com/windlass-db/windlass/internal/replay/compare"
)

// Bounds of what a tally keeps.
const (
	Fingerprints = 4096     // those beyond are counted together
	TextBytes    = 2 << 10  // of a normal form
	ExampleBytes = 4 << 10  // of a statement's text, and of its parameters; a longer one can't be run again
	ResultBytes  = 16 << 10 // of a result's values in an example
	Examples     = 3        // of each kind of difference of a fingerprint
	Pairs        = 400      // of times of a fingerprint
	Nulls        = 100      // of times of the old version against itself
	Reasons      = 64       // different ones
	Errors       = 8        // different error numbers of one difference
)

// Fingerprint is the hash of a statement's normal form.
type Fingerprint uint64

// String is 16 hexadecimal digits.
func (f Fingerprint) String() string { return fmt.Sprintf("%016x", uint64(f)) }

// MarshalText is String: a number of 64 bits does not survive every reader of JSON.
func (f Fingerprint) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (f *Fingerprint) UnmarshalText(b []byte) error {
	n, err := strconv.ParseUint(string(b), 16, 64)
	if err != nil {
		return fmt.Errorf("fingerprint %q: %w", b, err)
	}
	*f = Fingerprint(n)
	return nil
}

// Tally is all that was counted. The zero value is ready.
type Tally struct {
	From time.Time `json:"from,omitzero"` // of the first captured statement
	To   time.Time `json:"to,omitzero"`   // and the last

	Began time.Time `json:"began,omitzero"` // of the replay, by the wall clock; the worker sets both
	Ended time.Time `json:"ended,omitzero"`

	Slots map[int64]uint64           `json:"slots,omitempty"` // ten minutes each, 64 in a word, in which something was captured by who does not tell when it was on
	On    map[string]map[int64]int64 `json:"on,omitempty"`    // by gateway and by slot: microseconds in which its capture was on, by its own word
	Runs  map[string]Run             `json:"runs,omitempty"`  // captures of gateways

	Unfinished map[string]int64 `json:"unfinished,omitempty"` // parts of the replay that are missing, or did not come to their end

	Captured     int64            `json:"captured"`
	Replayed     int64            `json:"replayed"`
	Asked        int64            `json:"asked,omitempty"` // of Replayed, those of which the old version was asked
	Skipped      map[string]int64 `json:"skipped,omitempty"`
	Unreplayable map[string]int64 `json:"unreplayable,omitempty"`
	Dropped      map[string]int64 `json:"dropped,omitempty"`
	Notes        map[string]int64 `json:"notes,omitempty"` // what a reader should know, and how often: damaged blocks, what the source does not record

	Lateness Lateness               `json:"lateness,omitzero"`
	Queries  map[Fingerprint]*Query `json:"queries,omitempty"`
	Other    *Query                 `json:"other,omitempty"` // the statements of all fingerprints beyond the bound

	Failures map[uint16]int64 `json:"failures,omitempty"` // of answers that could not be compared, by error number; 0: a lost connection

	top Fingerprint // the highest of Queries; 0: to be found
}

// Reasons why a statement is not replayed although it could be. The first ones are so by design; the last ones say that the replay did not keep up.
const (
	SkipWrite       = "write"       // it changes data, or may; windlass replay writes is for those
	SkipDefinition  = "definition"  // it changes the schema
	SkipSession     = "session"     // SET, USE and the like: done for the session, and not compared
	SkipTransaction = "transaction" // BEGIN, COMMIT: the same
	SkipLocks       = "locks"       // it takes locks
	SkipFiles       = "files"       // it reads or writes files
	SkipEffects     = "effects"     // a function with an effect: NEXTVAL, SLEEP
	SkipMulti       = "multi"       // several statements in one text
	SkipSampled     = "sampled"     // not of the share that is replayed
	SkipCredential  = "credential"  // its text holds a password, and was not kept
	SkipCommand     = "command"     // a command of the protocol that is no statement
	SkipSystem      = "system"      // the session of an account that is left out

	// Of a replay of writes.
	SkipRead   = "read"            // a read outside of a transaction that writes
	SkipBefore = "before-snapshot" // the clones have it already

	SkipOwnSession   = "own-session"   // it means something in its own session alone
	SkipConnections  = "connections"   // there were more connections than the replay may open
	SkipTargetDown   = "target-down"   // the new version's server was away
	SkipTargetBehind = "target-behind" // its data was older than what production had read
	SkipQueueFull    = "queue-full"    // the replay was too far behind
	SkipInterrupted  = "interrupted"   // the replay was ended
)

// Reasons why a statement can't be replayed.
const (
	UnreplayableCut              = "cut"               // its text was too long for the capture, or its end is not in it
	UnreplayableMasked           = "masked"            // its values are not there
	UnreplayableOwnWrite         = "own-write"         // it reads what its own transaction wrote
	UnreplayableUnknownStatement = "unknown-statement" // the text of its prepared statement is not in the capture
	UnreplayableUnknownSession   = "unknown-session"   // who it is from, or what was set, is not in the capture
	UnreplayableNotGranted       = "not-granted"       // the replay's account may not do it
	UnreplayableReadOnly         = "read-only-guard"   // the replay's session takes no writes
	UnreplayableTargetLost       = "target-lost"       // the connection was lost while it ran
	UnreplayableTransactionLost  = "transaction-lost"  // the connection was lost earlier in its transaction
	UnreplayableEnvironment      = "environment"       // it ran, and a timeout, a lock or a right kept it from being compared
	UnreplayableDamaged          = "damaged"           // the capture is damaged there

	// Of a replay of writes.
	UnreplayablePart    = "transaction-not-whole"   // a part of its transaction is not in the capture, or can't be run
	UnreplayableUnended = "transaction-without-end" // the capture ends before its transaction does

	otherReason = "other"        // all reasons beyond the bound
	otherText   = "(all others)" // the normal form of Other
)

// Seen is a captured statement.
type Seen struct {
	Text    []byte // its normal form; copied if it is kept
	Traits  query.Traits
	At      time.Time
	Watched bool // its capture tells when it was on, which AddWatched counts
}

// AddCaptured counts a statement that was read.
func (t *Tally) AddCaptured(f Fingerprint, s Seen) {
	t.Captured++
	t.span(s.At, s.Watched)
	q := t.query(f)
	q.Captured++
	if q != t.Other && q.Text == "" && len(s.Text) > 0 {
		q.Text, q.Traits = bounded(s.Text, TextBytes), s.Traits
	}
}

// AddSkipped counts one that is not replayed by design.
func (t *Tally) AddSkipped(f Fingerprint, reason string) {
	count(&t.Skipped, reason, 1)
	count(&t.query(f).Skipped, reason, 1)
}

// AddUnreplayable counts one that can't be replayed.
func (t *Tally) AddUnreplayable(f Fingerprint, reason string) {
	count(&t.Unreplayable, reason, 1)
	t.query(f).Unreplayable++
}

// AddDropped counts statements that the capture itself says it did not keep.
func (t *Tally) AddDropped(reason string, n int64) {
	if n > 0 {
		t.Captured += n
		count(&t.Dropped, reason, n)
	}
}

// AddNote counts something that a reader of the report should know.
func (t *Tally) AddNote(note string, n int64) { count(&t.Notes, note, n) }

// AddUnfinished notes a part of the replay that is missing, or did not come to its end: what was counted is not the whole.
func (t *Tally) AddUnfinished(what string) { count(&t.Unfinished, what, 1) }

// Unaccounted is how many captured statements are in no column of the ledger; 0 if it balances.
func (t *Tally) Unaccounted() int64 {
	return t.Captured - t.Replayed - sum(t.Skipped) - sum(t.Unreplayable) - sum(t.Dropped)
}

// Learned is how the fingerprint's answers differ from themselves on the old version; a copy.
func (t *Tally) Learned(f Fingerprint) compare.Noise {
	if q := t.Queries[f]; q != nil {
		n := q.Noise
		n.Kinds, n.Columns = maps.Clone(n.Kinds), maps.Clone(n.Columns)
		return n
	}
	return compare.Noise{}
}

func (t *Tally) span(at time.Time, watched bool) {
	if at.IsZero() {
		return
	}
	if t.From.IsZero() || at.Before(t.From) {
		t.From = at.UTC()
	}
	if at.After(t.To) {
		t.To = at.UTC()
	}
	if !watched {
		n := at.Unix() / int64(Slot/time.Second)
		t.slots(n>>6, 1<<(n&63))
	}
}

// query gives where a fingerprint is counted.
func (t *Tally) query(f Fingerprint) *Query {
	if q := t.Queries[f]; q != nil {
		return q
	}
	if t.Queries == nil {
		t.Queries = map[Fingerprint]*Query{}
	}
	if t.Other != nil && f > t.highest() {
		return t.Other
	}
	q := &Query{}
	t.Queries[f] = q
	t.top = max(t.top, f)
	if t.bound(); t.Queries[f] == nil {
		return t.Other
	}
	return q
}

// highest is the highest fingerprint that is kept.
func (t *Tally) highest() Fingerprint {
	if t.top == 0 {
		for f := range t.Queries {
			t.top = max(t.top, f)
		}
	}
	return t.top
}

// bound moves the fingerprints with the highest numbers to Other. They are hashes, so which those are has nothing to do with what they stand for; and a
// fingerprint that is among the lowest of all is so in every part, and is never moved.
func (t *Tally) bound() {
	for len(t.Queries) > Fingerprints {
		if t.Other == nil {
			t.Other = &Query{Text: otherText}
		}
		highest := t.highest()
		moved := t.Queries[highest]
		delete(t.Queries, highest)
		t.top = 0
		moved.Text, moved.Traits = otherText, 0
		t.Other.merge(moved)
	}
}

// bounded is the text up to so many bytes, not cut within a character.
func bounded(text []byte, most int) string {
	if len(text) <= most {
		return string(text)
	}
	const cut = "…"
	n := most - len(cut)
	for n > 0 && text[n]&0xC0 == 0x80 {
		n--
	}
	return string(text[:n]) + cut
}
