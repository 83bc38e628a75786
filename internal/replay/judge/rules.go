package judge

import (
	"time"

	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/replay/tally"
)

// Level is what a finding does to the verdict.
type Level string

// The levels, the gravest first.
const (
	Fail    Level = "fail"    // the verdict is fail
	Unclear Level = "unclear" // the verdict can't be pass: it may be a difference
	Warn    Level = "warn"    // it is shown
	Note    Level = "note"    // it is shown last
)

// Rules are what a replay is judged by.
type Rules struct {
	MinTime         time.Duration // of production that the capture spans
	MinStatements   float64       // share of the captured statements that could be replayed which were
	MinFingerprints float64       // share of them, by number of statements, whose fingerprint was replayed at all
	MinCompared     float64       // share of the replayed statements that there was an answer to compare with
	MinLatency      float64       // share of the replayed statements, by number, whose fingerprint has enough pairs of times to be judged
	Retests         bool          // who judges runs retests: rows that seem to differ count once they did so on data that stands still, and are unclear before
	Leeway          float64       // share of a fingerprint's statements that may differ; a syntax error or a conflict has none
	Latency         LatencyRules
	Levels          map[compare.Kind]Level // of findings; a kind that is not there fails
	Ignore          []Ignore
}

// Ignore is a rule by which findings do not count.
type Ignore struct {
	Fingerprint string         `json:"fingerprint,omitempty"` // 16 hexadecimal digits; or Like
	Like        string         `json:"like,omitempty"`        // a LIKE pattern on the normal form, in which case does not matter
	Kinds       []compare.Kind `json:"kinds,omitempty"`       // none: all but syntax, which must be named
	Who         string         `json:"who"`
	Why         string         `json:"why"`
	Expires     time.Time      `json:"expires,omitzero"` // from then on it counts no more; zero: never
}

// Default are the rules of a campaign that says nothing. Two days hold a working day, a night, and the jobs of both (H16).
func Default() Rules {
	return Rules{
		MinTime: 48 * time.Hour, MinStatements: 0.9, MinFingerprints: 0.95, MinCompared: 0.9, MinLatency: 0.8, Retests: true,
		Latency: DefaultLatencyRules(),
		Levels:  defaultLevels(),
	}
}

// Once are those of a single replay that somebody runs by hand: as Default, but for how long the capture is, and times are judged where they can be.
func Once() Rules {
	r := Default()
	r.MinTime, r.MinLatency, r.Retests = 0, 0, false
	return r
}

// defaultLevels: what breaks a client fails. An error that is gone, another order that no ORDER BY asked for, the last digits of a float, a warning and a plan
// that costs nothing measurable are for a person to see.
func defaultLevels() map[compare.Kind]Level {
	return map[compare.Kind]Level{
		compare.ErrorGone: Warn, compare.Order: Warn, compare.Float: Warn, compare.Warnings: Warn, compare.Plan: Warn, compare.Pattern: Warn, compare.Ties: Warn,
	}
}

// level is that of a kind.
func (r Rules) level(k compare.Kind) Level {
	if k == compare.Syntax || k == compare.Conflict {
		return Fail // H7: always
	}
	if l, ok := r.Levels[k]; ok {
		return l
	}
	return Fail
}

// byDesign are the reasons for which a statement is skipped that say nothing of how much was seen: it belongs to another kind of test, or is none.
var byDesign = map[string]bool{
	tally.SkipWrite: true, tally.SkipDefinition: true, tally.SkipSession: true, tally.SkipTransaction: true, tally.SkipLocks: true, tally.SkipFiles: true, tally.SkipEffects: true,
	tally.SkipMulti: true, tally.SkipCredential: true, tally.SkipCommand: true, tally.SkipSystem: true, tally.SkipSampled: true, tally.SkipRead: true, tally.SkipBefore: true,
}

// droppedByDesign are the reasons for which a capture drops what it was told not to keep.
var droppedByDesign = map[string]bool{"kind": true, "sample": true}
