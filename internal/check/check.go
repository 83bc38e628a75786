// Package check holds the named checks that gates are made of: what was looked at, when, what was seen, and
// what to do when it is not good.
//
// A check is pass, warn, fail or unknown. Unknown is what a failed read gives; it holds like a fail and is never
// read as "nothing there".
package check

import (
	"fmt"
	"strings"
	"time"
)

// Verdict is the outcome of one check.
type Verdict string

// The verdicts. Warn passes but is shown.
const (
	Pass    Verdict = "pass"
	Warn    Verdict = "warn"
	Fail    Verdict = "fail"
	Unknown Verdict = "unknown"
)

// Result is one named check with its evidence.
type Result struct {
	Name     string    `json:"name"`               // stable id, such as "replica-lag"
	Verdict  Verdict   `json:"verdict"`            // pass, warn, fail or unknown
	Detail   string    `json:"detail"`             // what was seen, with the names and numbers
	Remedy   string    `json:"remedy,omitempty"`   // what would make it pass
	Evidence string    `json:"evidence,omitempty"` // the query or request that was asked
	At       time.Time `json:"at"`                 // when the observation was made
}

// Results is a list of checks in the order in which they were made.
type Results []Result

// OK reports whether every check passed, warnings included. An empty list is not OK: nothing was looked at.
func (rs Results) OK() bool {
	return len(rs) > 0 && len(rs.Bad()) == 0
}

// Bad returns the checks that failed or are unknown.
func (rs Results) Bad() Results {
	var bad Results
	for _, r := range rs {
		if r.Verdict != Pass && r.Verdict != Warn {
			bad = append(bad, r)
		}
	}
	return bad
}

// String joins the checks as "name (verdict): detail", one after the other.
func (rs Results) String() string {
	parts := make([]string, len(rs))
	for i, r := range rs {
		parts[i] = fmt.Sprintf("%s (%s): %s", r.Name, r.Verdict, r.Detail)
	}
	return strings.Join(parts, "; ")
}

// Passed makes a check that was seen to be good at that time.
func Passed(name, detail string, at time.Time) Result {
	return Result{Name: name, Verdict: Pass, Detail: detail, At: at}
}

// Warned makes a check that passes but is shown.
func Warned(name, detail, remedy string, at time.Time) Result {
	return Result{Name: name, Verdict: Warn, Detail: detail, Remedy: remedy, At: at}
}

// Failed makes a check that holds, with what would make it pass.
func Failed(name, detail, remedy string, at time.Time) Result {
	return Result{Name: name, Verdict: Fail, Detail: detail, Remedy: remedy, At: at}
}

// Unknowable makes a check whose observation failed: it holds.
func Unknowable(name string, err error, at time.Time) Result {
	return Result{Name: name, Verdict: Unknown, Detail: fmt.Sprintf("could not be observed: %v", err), At: at}
}
