package tally

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Slot is the time by which what was captured is kept apart. Of a capture that does not tell when it was on, such as a server's log, one statement is enough for a slot to count as seen.
const Slot = 10 * time.Minute

// Bounds of what is kept of captures' times: the first ones stay.
const (
	mostSlots    = 2500 // words of 64 slots: three years
	mostWatched  = 8192 // slots of one gateway: 56 days
	mostGateways = 64
	mostRuns     = 1000
)

// Run is one capture of a gateway, from when it was switched on, as far as its blocks were read.
type Run struct {
	Gateway string        `json:"gateway"`
	Number  uint64        `json:"run,string"`
	From    time.Time     `json:"from,omitzero"`
	Until   time.Time     `json:"until,omitzero"`  // up to which it told all that it saw
	Hold    time.Duration `json:"hold,omitempty"`  // within which it promised to tell more; 0: it has not said
	Ended   bool          `json:"ended,omitempty"` // its end was read, or that of the time that is replayed
}

// key sorts runs by their numbers, which gateways take from the clock.
func (r Run) key() string { return fmt.Sprintf("%016x %s", r.Number, r.Gateway) }

// AddWatched counts a time in which a gateway's capture was on, and of which all that it saw is in the tally or in Dropped. No time is given twice.
func (t *Tally) AddWatched(gateway string, from, until time.Time) {
	for from.Before(until) {
		n := from.Unix() / int64(Slot/time.Second)
		end := time.Unix((n+1)*int64(Slot/time.Second), 0)
		if until.Before(end) {
			end = until
		}
		t.watch(gateway, n, end.Sub(from).Microseconds())
		from = end
	}
}

func (t *Tally) watch(gateway string, slot, micros int64) {
	if t.On == nil {
		t.On = map[string]map[int64]int64{}
	}
	on := t.On[gateway]
	if on == nil {
		on = map[int64]int64{}
		t.On[gateway] = on
	}
	on[slot] += micros
	if len(on) > mostWatched {
		delete(on, slices.Max(slices.Collect(maps.Keys(on))))
	}
	if len(t.On) > mostGateways {
		delete(t.On, slices.Max(slices.Collect(maps.Keys(t.On))))
	}
}

// AddRun notes what was read of a capture; of the same one as often as there is more.
func (t *Tally) AddRun(r Run) {
	if t.Runs == nil {
		t.Runs = map[string]Run{}
	}
	k := r.key()
	was := t.Runs[k]
	widen(&r.From, &r.Until, was.From, was.Until)
	r.From, r.Until = r.From.UTC(), r.Until.UTC()
	r.Hold, r.Ended = max(r.Hold, was.Hold), r.Ended || was.Ended
	t.Runs[k] = r
	if len(t.Runs) > mostRuns {
		delete(t.Runs, slices.Max(slices.Collect(maps.Keys(t.Runs))))
	}
}

// Unended lists the captures whose end was not read, the oldest first. What they saw after their Until is in no count.
func (t *Tally) Unended() []Run {
	var out []Run
	for _, r := range t.Runs {
		if !r.Ended {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b Run) int { return cmp.Or(a.Until.Compare(b.Until), cmp.Compare(a.key(), b.key())) })
	return out
}

// Next is when the gateway's capture after that one began; zero: there is none.
func (t *Tally) Next(of Run) (at time.Time) {
	for _, r := range t.Runs {
		if r.Gateway == of.Gateway && r.From.After(of.From) && (at.IsZero() || r.From.Before(at)) {
			at = r.From
		}
	}
	return at
}

func (t *Tally) slots(k int64, mask uint64) {
	if t.Slots == nil {
		t.Slots = map[int64]uint64{}
	}
	t.Slots[k] |= mask
	for len(t.Slots) > mostSlots {
		delete(t.Slots, slices.Max(slices.Collect(maps.Keys(t.Slots))))
	}
}

// Span is how much time of production was seen.
//
// A gateway's capture tells when it was on: that time counts, also if nobody said a word, and no other does, such as that in which the gateway was away, its capture was off, or of which
// the files are missing. Where several gateways captured, each slot counts as the one has it that captured most of it.
//
// Others tell nothing: of them the slots count in which there was a statement, so that two statements two days apart are no two days; one of less than three slots spans what lies
// between its first statement and its last.
func (t *Tally) Span() time.Duration {
	var on time.Duration
	told := map[int64]time.Duration{}
	for _, slots := range t.On {
		for n, micros := range slots {
			told[n] = max(told[n], min(time.Duration(micros)*time.Microsecond, Slot))
		}
	}
	for _, d := range told {
		on += d
	}
	silent := 0
	for word, mask := range t.Slots {
		for n := word << 6; mask != 0; n, mask = n+1, mask>>1 {
			if _, ok := told[n]; mask&1 == 1 && !ok {
				silent++
			}
		}
	}
	rest := time.Duration(silent) * Slot
	if whole := max(t.To.Sub(t.From), 0); len(told) == 0 && (whole <= 3*Slot || rest > whole) {
		rest = whole
	}
	return on + rest
}

// Whole is the time from the beginning of what was captured to its end, with all that lies between and was not seen.
func (t *Tally) Whole() time.Duration {
	from, to := t.From, t.To
	for _, r := range t.Runs {
		widen(&from, &to, r.From, r.Until)
	}
	if from.IsZero() {
		return 0
	}
	return to.Sub(from)
}
