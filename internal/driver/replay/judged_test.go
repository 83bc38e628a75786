package replay

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/replay/judge"
	"github.com/windlass-db/windlass/internal/replay/retest"
	"github.com/windlass-db/windlass/internal/replay/tally"
)

// What was not run on both versions clears nothing.
func TestOnlyWhatWasRunDecides(t *testing.T) {
	for cause, want := range map[compare.Cause][2]bool{ // confirmed, not confirmed
		compare.Real: {true, false}, compare.Moved: {false, true}, compare.Suspect: {}, compare.Volatile: {}, compare.Environment: {}, compare.Unknown: {}, "": {},
	} {
		for i, confirmed := range []bool{true, false} {
			if got := decided(retest.Tested{Retest: tally.Retest{Confirmed: confirmed}, Cause: cause}); got != want[i] {
				t.Errorf("%q, confirmed %t: %t", cause, confirmed, got)
			}
		}
	}
}

// To go on is of use as long as anything but findings keeps the verdict from passing; a test on frozen data, as soon as nothing else does.
func TestEnough(t *testing.T) {
	for codes, want := range map[string][2]bool{
		"": {true, false}, judge.WhyFindings: {true, false}, judge.WhyUnclear: {false, true}, judge.WhyFindings + " " + judge.WhyUnclear: {false, true},
		judge.WhyTime: {false, false}, judge.WhyTime + " " + judge.WhyUnclear: {false, false}, "a-code-of-later": {false, false},
	} {
		var rep judge.Report
		for code := range strings.FieldsSeq(codes) {
			rep.Why = append(rep.Why, judge.Reason{Code: code})
		}
		if got := [2]bool{enough(rep), onlyUnclear(rep)}; got != want {
			t.Errorf("%q: %v", codes, got)
		}
	}
}

func TestRulesOf(t *testing.T) {
	until := time.Date(2027, 3, 1, 0, 0, 0, 0, time.UTC)
	r := rulesOf(campaign.Replay{MinTime: time.Hour, MinCoverage: 70, Latency: campaign.ReplayLatency{Factor: 2, Budget: time.Minute, Pairs: 30, Timed: 60}, Leeway: 0.01,
		Ignore: []campaign.ReplayIgnore{{Like: "select 1", Kinds: []string{"content"}, Reason: "right", By: "mira", Until: until}}})
	if r.MinTime != time.Hour || r.MinStatements != 0.7 || r.MinLatency != 0.6 || r.Latency.Factor != 2 || r.Latency.Budget != time.Minute || r.Latency.Least != 30 || r.Leeway != 0.01 {
		t.Errorf("%+v", r)
	}
	if i := r.Ignore[0]; i.Like != "select 1" || i.Who != "mira" || i.Why != "right" || !i.Expires.Equal(until) || len(i.Kinds) != 1 {
		t.Errorf("%+v", i)
	}
}

// A report of any size fits into the control plane's state, with its gravest findings first.
func TestBounded(t *testing.T) {
	rep := judge.Report{Verdict: judge.Failed}
	for range 3000 {
		rep.Findings = append(rep.Findings, judge.Finding{Kind: compare.Content, Level: judge.Fail, Example: strings.Repeat("x", 1<<16), Examples: make([]tally.Example, 3)})
	}
	short := bounded(rep)
	if len(short.Findings) != mostFindings || len(short.Findings[0].Example) > mostText+4 || len(short.Findings[0].Examples) != 1 || len(short.Notes) != 1 || len(rep.Notes) != 0 || len(rep.Findings[0].Examples) != 3 {
		t.Errorf("%d findings, an example of %d bytes, notes %q", len(short.Findings), len(short.Findings[0].Example), short.Notes)
	}
	got := told(rep, bluegreen.ReplayRequest{Cluster: fleet.Cluster{Env: "qa", Name: "orders"}, From: "10.11", To: "11.8"}, time.Now())
	if got.Findings != 3000 || len(got.Checks) > 11 || len(got.Message) > 1000 || !strings.Contains(got.Message, "and 2997 more") {
		t.Errorf("%d findings, %d checks: %s", got.Findings, len(got.Checks), got.Message)
	}
}

// Whatever is not known to be harmless is too much. trap 38
func TestRightsOfTheAccount(t *testing.T) {
	for grant, want := range map[string]string{
		"GRANT USAGE ON *.* TO `replay`@`%` IDENTIFIED BY PASSWORD '*ABC'":                      "",
		"GRANT SELECT, SHOW VIEW, SLAVE MONITOR ON *.* TO `replay`@`%`":                         "",
		"GRANT SELECT (`id`, `delete`), EXECUTE ON `app`.`orders` TO `replay`@`%`":              "",
		"GRANT SHOW CREATE ROUTINE, PROCESS ON *.* TO `replay`@`%`":                             "",
		"GRANT ALL PRIVILEGES ON `app`.* TO `replay`@`%`":                                       "ALL PRIVILEGES",
		"GRANT SELECT, INSERT ON `app`.* TO `replay`@`%`":                                       "INSERT",
		"GRANT SELECT, READ_ONLY ADMIN ON *.* TO `replay`@`%` IDENTIFIED BY PASSWORD '*SECRET'": "READ_ONLY ADMIN",
		"GRANT SELECT ON *.* TO `replay`@`%` WITH GRANT OPTION":                                 "GRANT OPTION",
		"GRANT `writers`@`%` TO `replay`@`%`":                                                   "a role, whose rights are not seen",
		"GRANT PROXY ON ''@'%' TO 'replay'@'%'":                                                 "PROXY",
		"GRANT A_RIGHT_OF_LATER ON *.* TO `replay`@`%`":                                         "A_RIGHT_OF_LATER",
	} {
		if got, _ := tooMuch(grant); got != want {
			t.Errorf("%s: %q, want %q", grant, got, want)
		}
	}
}

// Who has lost the lease keeps nothing any more, also not at the end of a run, which is written though the context is over. trap 1
func TestNothingIsKeptWithoutTheLease(t *testing.T) {
	for cause, keeps := range map[error]bool{context.Canceled: true, errEnough: true, engine.ErrLeaseLost: false, fmt.Errorf("taken over: %w", engine.ErrFenced): false} {
		d := Driver{cfg: Config{Results: "file://" + t.TempDir()}}
		b, err := d.results(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		here := cursor{Run: "x"}.place(b, bluegreen.ReplayRequest{ID: "up"})
		c := checkpoint{here, func() error { return lost(ctx) }, func([]byte) {}}
		err = c.Save(context.WithoutCancel(ctx), []byte("{}"))
		data, kerr := here.kept(t.Context(), nameTally)
		if kerr != nil || (err == nil) != keeps || (data != nil) != keeps {
			t.Errorf("%v: %v, kept %q (%v)", cause, err, data, kerr)
		}
	}
}
