package judge

import (
	"fmt"
	"time"

	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/replay/tally"
)

// Verdict is what a replay says of the new version.
type Verdict string

// The verdicts.
const (
	Pass         Verdict = "pass"         // enough was seen, and nothing that counts
	Failed       Verdict = "fail"         // something was found that counts
	Insufficient Verdict = "insufficient" // too little was seen to say
)

// ExitCode is that of a command which ends with the verdict.
func (v Verdict) ExitCode() int {
	switch v {
	case Pass:
		return 0
	case Failed:
		return 3
	}
	return 4
}

// Report is the verdict with its evidence. Its JSON is a contract: keys are added, and never change their meaning.
type Report struct {
	Verdict Verdict   `json:"verdict"`
	Why     []Reason  `json:"why"`             // the verdict is not pass; the gravest first
	Judged  time.Time `json:"judged"`          // when
	Old     string    `json:"old,omitempty"`   // version of the reference, if there was one
	New     string    `json:"new,omitempty"`   // version of the target
	Title   string    `json:"title,omitempty"` // what was replayed, for people

	Captured     int64            `json:"captured"`
	Replayed     int64            `json:"replayed"`
	Skipped      map[string]int64 `json:"skipped"`      // by reason
	Unreplayable map[string]int64 `json:"unreplayable"` // by reason
	Dropped      int64            `json:"dropped"`      // by the capture
	DroppedBy    map[string]int64 `json:"dropped_by,omitempty"`
	Unaccounted  int64            `json:"unaccounted"` // captured and in none of the others: 0, or the replay is not to be trusted

	Findings []Finding   `json:"findings"` // the gravest first
	Rules    []IgnoreUse `json:"ignore,omitempty"`
	Notes    []string    `json:"notes,omitempty"`

	Unended []Unended `json:"unended,omitempty"` // captures that ended without telling: what they saw last is in no count

	Coverage Coverage  `json:"coverage"`
	Lateness Lateness  `json:"lateness_us"`
	QPS      float64   `json:"qps"` // statements replayed in a second of the replay
	From     time.Time `json:"from,omitzero"`
	To       time.Time `json:"to,omitzero"`
	Began    time.Time `json:"began,omitzero"`
	Ended    time.Time `json:"ended,omitzero"`

	Queries []Line `json:"queries"` // the fingerprints that ran longest in production, at most MostLines
	Known   int    `json:"fingerprints"`
}

// Reason is why the verdict is not pass, and what would change that.
type Reason struct {
	Code     string    `json:"code"` // one of the Why constants
	Text     string    `json:"text"`
	Cure     string    `json:"cure"`
	Earliest time.Time `json:"earliest,omitzero"` // when it can be another one if all goes on as it does
}

// Codes of reasons.
const (
	WhyFindings     = "findings"
	WhyNothing      = "nothing-replayed"
	WhyUnbalanced   = "unbalanced"
	WhyTime         = "time"
	WhyStatements   = "statements"
	WhyFingerprints = "fingerprints"
	WhyCompared     = "compared"
	WhyUnclear      = "unclear"
	WhyLatency      = "latency"
	WhyUnfinished   = "unfinished"
)

// Unended is a capture whose gateway ended, or fell silent, without telling so, as one that was killed.
type Unended struct {
	Gateway string        `json:"gateway"`
	Run     uint64        `json:"run,string"`
	At      time.Time     `json:"at,omitzero"`   // up to then it has told all
	UpTo    time.Duration `json:"up_to"`         // what it saw in up to so long after that, in nanoseconds, is in no count
	Next    time.Time     `json:"next,omitzero"` // its next capture began then; zero: none did. The time between is not covered
}

// String is a sentence.
func (u Unended) String() string {
	how := ""
	if u.Next.IsZero() {
		how = ", or its last files are not there"
	}
	s := fmt.Sprintf("gateway %s ended without telling%s: what it saw in up to %s from %s on is in no count", u.Gateway, how, round(u.UpTo), u.At.UTC().Format("2006-01-02 15:04:05 MST"))
	if u.Next.IsZero() {
		return s + ", and no later time is covered"
	}
	return s + fmt.Sprintf(", and no time before %s is covered", u.Next.UTC().Format("2006-01-02 15:04:05 MST"))
}

// Coverage is how much was seen, each as a share and as what the rules want.
type Coverage struct {
	Span         time.Duration `json:"span"`  // of production, in nanoseconds: in which a capture was on; of a log, tens of minutes in which there was something
	Whole        time.Duration `json:"whole"` // from the beginning of what was captured to its end, with what was not seen
	MinSpan      time.Duration `json:"min_span"`
	Statements   Share         `json:"statements"`   // replayed, of those that could be
	Fingerprints Share         `json:"fingerprints"` // of statements whose fingerprint was replayed
	Compared     Share         `json:"compared"`     // of replayed ones, but for what a server says of itself: those that had something to be compared with
	Latency      Share         `json:"latency"`      // of replayed ones that can be timed: those whose fingerprint has enough pairs of times
	ErrorsOnly   int64         `json:"errors_only"`  // replayed ones of which errors alone mean something: volatile by nature, or about their own session or server
	Noise        int64         `json:"noise"`        // answers that differed because the data had moved, or the old version differs from itself
}

// Share is a part of a whole.
type Share struct {
	Part  int64   `json:"part"`
	Whole int64   `json:"whole"`
	Share float64 `json:"share"` // 1 if the whole is nothing
	Min   float64 `json:"min"`
}

func share(part, whole int64, least float64) Share {
	s := Share{Part: part, Whole: whole, Share: 1, Min: least}
	if whole > 0 {
		s.Share = float64(part) / float64(whole)
	}
	return s
}

// Enough reports whether it is what the rules want.
func (s Share) Enough() bool { return s.Share >= s.Min }

// Lateness is how late statements were sent, in microseconds.
type Lateness struct {
	Quantiles
	Scheduler  Quantiles `json:"scheduler"`  // those that the replay itself made late
	Connection Quantiles `json:"connection"` // their connection was busy
	Server     Quantiles `json:"server"`     // the server was slower than production's
}

// Quantiles are two of a histogram, in microseconds.
type Quantiles struct {
	P50   float64 `json:"p50"`
	P99   float64 `json:"p99"`
	Count int64   `json:"count"`
}

func quantiles(h *tally.Histogram) Quantiles {
	us := func(q float64) float64 { return float64(h.At(q)) / float64(time.Microsecond) }
	return Quantiles{us(0.5), us(0.99), h.Count()}
}

// Finding is one kind of difference of one fingerprint.
type Finding struct {
	ID          string            `json:"id"` // the same in every report of the same fingerprint and kind
	Fingerprint tally.Fingerprint `json:"fingerprint"`
	Kind        compare.Kind      `json:"kind"`
	Level       Level             `json:"level"`
	Ignored     *Ignore           `json:"ignored,omitempty"` // the rule by which it does not count
	What        string            `json:"what"`              // a sentence
	Text        string            `json:"text"`              // the normal form
	Example     string            `json:"example"`           // a statement that shows it
	Count       int64             `json:"count"`             // how often it was seen
	Replayed    int64             `json:"replayed"`          // how often the fingerprint was
	Real        int64             `json:"real,omitempty"`
	Suspect     int64             `json:"suspect,omitempty"`
	Unknown     int64             `json:"unknown,omitempty"`
	Retested    int64             `json:"retested,omitempty"`
	Confirmed   int64             `json:"confirmed,omitempty"`
	Errors      map[uint16]int64  `json:"errors,omitempty"` // on the new version
	First       time.Time         `json:"first,omitzero"`
	Last        time.Time         `json:"last,omitzero"`
	Examples    []tally.Example   `json:"examples,omitempty"`
	Plans       *tally.Explained  `json:"plans,omitempty"`
	PlanBits    *tally.PlanBits   `json:"plan_bits,omitempty"`
	Latency     *Latency          `json:"latency,omitempty"`
}

// Counts reports whether the finding keeps the verdict from pass.
func (f Finding) Counts() bool {
	return f.Ignored == nil && (f.Level == Fail || f.Level == Unclear)
}

// MostLines bounds the fingerprints in a report.
const MostLines = 200

// Line is one fingerprint in the overview.
type Line struct {
	Fingerprint  tally.Fingerprint `json:"fingerprint"`
	Text         string            `json:"text"`
	Captured     int64             `json:"captured"`
	Replayed     int64             `json:"replayed"`
	Unreplayable int64             `json:"unreplayable,omitempty"`
	Skipped      int64             `json:"skipped,omitempty"`
	Same         int64             `json:"same"`
	Noise        int64             `json:"noise,omitempty"` // moved or volatile
	Took         time.Duration     `json:"took"`            // in production, all together
	Findings     []string          `json:"findings,omitempty"`
	Latency      *Latency          `json:"latency,omitempty"`
}
