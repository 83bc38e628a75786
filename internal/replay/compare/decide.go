package compare

import "github.com/windlass-db/windlass/internal/query"

// Cause is why two answers differ.
type Cause string

// The causes.
const (
	Real        Cause = "real"        // the version
	Suspect     Cause = "suspect"     // the version, or data that moves: only a retest on data that stands still can tell
	Moved       Cause = "moved"       // the data was another one when it was captured, or when one of the two was asked
	Volatile    Cause = "volatile"    // the old version gives other answers itself
	Environment Cause = "environment" // a timeout, a lock, a right, a connection, a session: the replay's own doing, and nothing was compared
	Unknown     Cause = "unknown"     // there was nothing to compare with
)

// Causes lists all of them.
func Causes() []Cause { return []Cause{Real, Suspect, Moved, Volatile, Environment, Unknown} }

// Ask is what Decide needs next.
type Ask int

// What can be asked.
const (
	Done        Ask = iota // nothing: the outcome is there
	AskOld                 // run it on the old version's replica
	AskNewAgain            // run it again on the new one
	AskOldAgain            // run it again on the old one
)

// String names it for logs.
func (a Ask) String() string {
	return [...]string{"done", "old", "new again", "old again"}[a]
}

// Round is what is known of one statement so far.
type Round struct {
	Traits   query.Traits
	Masked   bool  // its values were replaced, so nothing that it gives means anything
	NoOld    bool  // the old version can't be asked: there is no reference, or it is away
	NoRepeat bool  // nobody can be asked again, such as within a transaction
	Learned  Noise // how this fingerprint differs from itself

	Captured *Answer // nil: it was cut
	New      Answer
	Old      *Answer
	NewAgain *Answer
	OldAgain *Answer
}

// Outcome is what has come of a statement.
type Outcome struct {
	Same  bool
	Kind  Kind  // what differs, even if it means nothing; "" if Same
	Cause Cause // "" if Same

	NoPlan  bool   // the servers' flags say that an index is not used any more, and the old version was not asked whether that is so on today's data
	Checked bool   // the old version was asked twice
	Noise   Kind   // in what it differed from itself
	Noisy   uint64 // the columns in which it did, by bits: the lowest is the first column, the highest all from the 64th on
	Differs uint64 // the columns in which the versions differ and the old one keeps still, if whole results were at hand
}

// Noise is how often a fingerprint's answers on the old version differed from themselves.
type Noise struct {
	Checks  int64           `json:"checks"`
	Kinds   map[Kind]int64  `json:"kinds,omitempty"`
	Columns map[uint8]int64 `json:"columns,omitempty"` // in which columns they did, as bits of Outcome.Noisy
	Plans   int64           `json:"plans,omitempty"`   // times that the old version was asked because of the servers' flags alone
}

// enoughPlans is how often the old version is asked about a fingerprint because an index is not used any more.
const enoughPlans = 40

// leastLearned is how many checks it takes before a difference is put down to a fingerprint's nature unseen. Data that moves changes an answer
// now and then; only what differs from itself more often than not is volatile.
const leastLearned = 10

// Covers reports whether such a difference is known to be noise.
func (n Noise) Covers(k Kind) bool {
	if n.Checks < leastLearned {
		return false
	}
	var explained int64
	for noise, times := range n.Kinds {
		if Covers(noise, k) {
			explained += times
		}
	}
	return 2*explained > n.Checks
}

// noisy are the columns that differ from themselves more often than not.
func (n Noise) noisy() (columns uint64) {
	for i, times := range n.Columns {
		if n.Checks >= leastLearned && 2*times > n.Checks {
			columns |= 1 << i
		}
	}
	return columns
}

// noise is the cause of a difference where the old version differs from itself: what its words say is volatile is so. Of all else it may be data that moves, and a difference between
// the versions may hide in it; only frozen data can tell.
func noise(t query.Traits) Cause {
	if t.Any(query.Volatile | query.LimitAlone) {
		return Volatile
	}
	return Suspect
}

// schemaError reports an error of names that are not there. Without the old version it may be that they are not there on the replay alone: a temporary table, or one that came later.
func schemaError(a Answer) bool {
	switch a.Errno {
	case 1049, 1051, 1054, 1146, 1305:
		return true
	}
	return false
}

// Decide says what is to be asked next, or with Done what has come of it. It asks in the order old, new again, old again; the caller fills
// Old, NewAgain or OldAgain and calls again, or sets NoOld or NoRepeat if it can't.
func Decide(r Round) (Ask, Outcome) {
	of := aspectsOf(r.Traits)
	if r.Masked {
		return Done, Outcome{Cause: Unknown}
	}
	c := r.Captured
	if c != nil && c.Unfinished {
		c = nil
	}
	var seen Kind // in what the new version differs from production
	if c != nil {
		seen = difference(*c, r.New, of)
		if seen == "" && c.complete(of) {
			if r.Old != nil || r.NoOld || !WorsePlan(*c, r.New) {
				return Done, Outcome{Same: true}
			}
			if r.Learned.Plans >= enoughPlans {
				return Done, Outcome{Same: true, NoPlan: true}
			}
			return AskOld, Outcome{} // the plan may be another one because the data is
		}
		if r.Learned.Covers(seen) {
			return Done, Outcome{Kind: seen, Cause: noise(r.Traits)}
		}
	}
	if r.Old == nil {
		if r.NoOld {
			return withoutOld(r, c, seen, of)
		}
		return AskOld, Outcome{}
	}
	return withOld(r, c, seen, of)
}

// withoutOld decides by production's answer alone.
func withoutOld(r Round, c *Answer, seen Kind, of aspects) (Ask, Outcome) {
	switch {
	case seen == "":
		if classOf(r.New) != fine && c == nil {
			return Done, Outcome{Kind: Error, Cause: Unknown}
		}
		return Done, Outcome{Cause: Unknown}
	case seen == Syntax || seen == Conflict:
		return Done, Outcome{Kind: seen, Cause: Real}
	case r.Traits.Any(query.Clock) && !seen.isError():
		return Done, Outcome{Kind: seen, Cause: Volatile} // a second later it is another one
	case r.NewAgain == nil && !r.NoRepeat:
		return AskNewAgain, Outcome{}
	}
	last := r.New
	if r.NewAgain != nil {
		last = *r.NewAgain
		if seen = difference(*c, last, of); seen == "" {
			return Done, Outcome{Kind: difference(*c, r.New, of), Cause: Moved}
		}
		if k := difference(r.New, last, of); Covers(k, seen) && noise(r.Traits) == Volatile {
			return Done, Outcome{Kind: seen, Cause: Volatile}
		}
	}
	if seen.isError() && !schemaError(last) {
		return Done, Outcome{Kind: seen, Cause: ofError(last, Real)}
	}
	return Done, Outcome{Kind: seen, Cause: Unknown}
}

// withOld decides by the old version's answer to the same statement at about the same time.
func withOld(r Round, c *Answer, seen Kind, of aspects) (Ask, Outcome) {
	a := *r.Old
	k := difference(a, r.New, of)
	failsAlike := classOf(a) != fine && k == ""
	switch {
	case failsAlike && c != nil && c.Lacks&LacksError == 0 && c.Errno == 0:
		return Done, Outcome{Kind: seen, Cause: Environment} // both fail where production did not
	case failsAlike && classOf(a) != lasting:
		return Done, Outcome{Kind: Error, Cause: Environment}
	case k == "" && seen == "":
		return Done, Outcome{Same: true}
	case k == "":
		return Done, Outcome{Kind: seen, Cause: Moved}
	case k == Syntax || k == Conflict:
		return Done, Outcome{Kind: k, Cause: Real}
	case r.Learned.Covers(k):
		return Done, Outcome{Kind: k, Cause: noise(r.Traits)}
	}
	asBefore := c == nil || difference(*c, a, of) == "" // A = C, as far as it can be seen
	if r.NewAgain == nil {
		if !r.NoRepeat {
			return AskNewAgain, Outcome{}
		}
		if k.isError() && k != Timeout { // once may be anything: a lock of the schema, a busy moment
			return Done, Outcome{Kind: k, Cause: errorOf(a, r.New)}
		}
		return Done, Outcome{Kind: k, Cause: Suspect}
	}
	b := *r.NewAgain
	if difference(a, b, of) == "" {
		return Done, Outcome{Kind: k, Cause: Moved} // H8: the difference did not stay
	}
	if r.OldAgain == nil {
		if !r.NoRepeat {
			return AskOldAgain, Outcome{}
		}
		k = difference(a, b, of)
		if k.isError() {
			return Done, Outcome{Kind: k, Cause: errorOf(a, b)}
		}
		return Done, Outcome{Kind: k, Cause: Suspect}
	}
	again := *r.OldAgain
	out := Outcome{Checked: true, Noise: difference(a, again, of)}
	out.Noisy, _ = columnsOf(a, again, 0)
	first := k
	if k = difference(again, b, of); k == "" {
		out.Kind, out.Cause = first, Moved
		return Done, out
	}
	out.Kind = k
	noisy := r.Learned.noisy() | out.Noisy
	var known bool
	out.Differs, known = columnsOf(again, b, noisy)
	switch {
	case k == Syntax || k == Conflict:
		out.Cause = Real
	case k.isError():
		out.Cause = errorOf(again, b)
	case Covers(out.Noise, k):
		out.Cause = noise(r.Traits)
		if known && out.Differs != 0 && k != Order {
			out.Cause = Real // in a column in which the old version keeps still
		}
	case known && out.Differs == 0 && noisy != 0 && k == Content:
		out.Cause = noise(r.Traits) // in none but those that are known to differ from themselves
	case out.Noise.isError(), !asBefore:
		out.Cause = Suspect
	default:
		out.Cause = Real
	}
	return Done, out
}

// errorOf is the cause of a difference in errors that stayed.
func errorOf(old, new Answer) Cause {
	if k := classOf(old); k == occasion || k == permitted || k == timeout {
		return Environment // the old version would have had an answer
	}
	return ofError(new, Real)
}

// ofError is the cause of an error on the new version, which is so unless the error says nothing of the version.
func ofError(new Answer, so Cause) Cause {
	switch classOf(new) {
	case occasion, permitted:
		return Environment
	}
	return so
}

// columnsOf are the columns in which two whole results differ, but for those that are left out. It is not known if one of the two has no whole result, or they
// have not the same columns.
func columnsOf(a, b Answer, without uint64) (differ uint64, known bool) {
	if a.Typed == nil || b.Typed == nil || len(a.Typed.Columns) != len(b.Typed.Columns) {
		return 0, false
	}
	for i := range a.Typed.Columns {
		if a.Typed.Columns[i] != b.Typed.Columns[i] {
			differ |= 1 << min(i, 63)
		}
	}
	return differ &^ without, true
}
