package judge

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/windlass-db/windlass/internal/query"
	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/replay/tally"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// scene is a replay of two days that passes, until a test changes it.
type scene struct {
	tally.Tally
	id uint64
}

func newScene() *scene {
	s := &scene{Tally: tally.Tally{Began: noon.Add(-49 * time.Hour), Ended: noon}}
	s.run("SELECT a FROM t WHERE id = 1", 600, nil)
	s.run("SELECT b FROM u ORDER BY c", 100, nil)
	return s
}

// run replays a statement so many times over 49 hours. change makes of each what it is to be.
func (s *scene) run(text string, n int, change func(i int, r *tally.Replayed)) tally.Fingerprint {
	f, normal := query.Fingerprint(nil, []byte(text), query.Mode{})
	fp := tally.Fingerprint(f)
	random := rand.New(rand.NewPCG(1, f))
	for i := range n {
		s.id++
		at := noon.Add(-49*time.Hour + 49*time.Hour*time.Duration(i+1)/time.Duration(n))
		s.AddCaptured(fp, tally.Seen{Text: normal, Traits: query.Look([]byte(text), query.Mode{}), At: at})
		took := func() time.Duration {
			return time.Duration(float64(time.Millisecond) * math.Exp(random.NormFloat64()*0.1))
		}
		r := tally.Replayed{Fingerprint: fp, ID: s.id, At: at, Outcome: compare.Outcome{Same: true}, Captured: &compare.Answer{Took: time.Millisecond}, New: &compare.Answer{}, Pair: &tally.Pair{A: took(), B: took()},
			Lateness: 50 * time.Microsecond, Statement: func() tally.Statement { return tally.Statement{Text: []byte(text), At: at} }}
		if change != nil {
			change(i, &r)
		}
		s.AddReplayed(r)
	}
	return fp
}

// differ makes every n-th replay differ.
func differ(every int, k compare.Kind, c compare.Cause) func(int, *tally.Replayed) {
	return func(i int, r *tally.Replayed) {
		if i%every == 0 {
			r.Outcome = compare.Outcome{Kind: k, Cause: c}
			switch k {
			case compare.Syntax:
				r.New = &compare.Answer{Errno: 1064}
			case compare.Error:
				r.New = &compare.Answer{Errno: 1305}
			}
		}
	}
}

func (s *scene) judge(change func(*Rules)) Report {
	rules := Default()
	if change != nil {
		change(&rules)
	}
	return Judge(&s.Tally, rules, noon)
}

// byHand are the rules of somebody who runs no retest.
func byHand(r *Rules) { r.Retests = false }

func codes(r Report) string {
	var out []string
	for _, w := range r.Why {
		out = append(out, w.Code)
	}
	return strings.Join(out, " ")
}

func levels(r Report) string {
	var out []string
	for _, f := range r.Findings {
		out = append(out, string(f.Kind)+":"+string(f.Level))
	}
	return strings.Join(out, " ")
}

// TestVerdict: what is done to a replay that passes, and what comes of it.
func TestVerdict(t *testing.T) {
	text, tie := "SELECT x FROM v", "SELECT x FROM v ORDER BY y LIMIT 3"
	for name, c := range map[string]struct {
		do       func(s *scene)
		rules    func(r *Rules)
		verdict  Verdict
		why      string
		findings string
	}{
		"nothing":                      {verdict: Pass},
		"a syntax error once":          {do: func(s *scene) { s.run(text, 100, differ(100, compare.Syntax, compare.Real)) }, verdict: Failed, why: WhyFindings, findings: "syntax:fail"},
		"a syntax error has no leeway": {do: func(s *scene) { s.run(text, 100, differ(100, compare.Syntax, compare.Real)) }, rules: func(r *Rules) { r.Leeway = 1 }, verdict: Failed, why: WhyFindings, findings: "syntax:fail"},
		"a level can't calm a syntax error": {do: func(s *scene) { s.run(text, 100, differ(100, compare.Syntax, compare.Real)) }, rules: func(r *Rules) { r.Levels = map[compare.Kind]Level{compare.Syntax: Warn} },
			verdict: Failed, why: WhyFindings, findings: "syntax:fail"},
		"other rows of a table, before a retest":      {do: func(s *scene) { s.run(text, 100, differ(1, compare.Content, compare.Real)) }, verdict: Insufficient, why: WhyUnclear, findings: "content:unclear"},
		"other rows of no table":                      {do: func(s *scene) { s.run("SELECT CONV(255, 10, 62)", 100, differ(50, compare.Content, compare.Real)) }, verdict: Failed, why: WhyFindings, findings: "content:fail"},
		"other rows, and nobody retests":              {do: func(s *scene) { s.run(text, 100, differ(10, compare.Content, compare.Real)) }, rules: byHand, verdict: Failed, why: WhyFindings, findings: "content:fail"},
		"other rows for a moment, and nobody retests": {do: func(s *scene) { s.run(text, 100, differ(50, compare.Content, compare.Real)) }, rules: byHand, verdict: Insufficient, why: WhyUnclear, findings: "content:unclear"},
		"other rows within leeway":                    {do: func(s *scene) { s.run(text, 100, differ(2, compare.Content, compare.Real)) }, rules: func(r *Rules) { r.Leeway = 0.5 }, verdict: Pass, findings: "content:warn"},
		"other rows above leeway":                     {do: func(s *scene) { s.run(text, 100, differ(2, compare.Content, compare.Real)) }, rules: func(r *Rules) { byHand(r); r.Leeway = 0.49 }, verdict: Failed, why: WhyFindings, findings: "content:fail"},
		"another order":                               {do: func(s *scene) { s.run(text, 100, differ(2, compare.Order, compare.Real)) }, verdict: Pass, findings: "order:warn"},
		"another order, by the rules":                 {do: func(s *scene) { s.run(text, 100, differ(2, compare.Order, compare.Real)) }, rules: func(r *Rules) { r.Levels[compare.Order] = Fail }, verdict: Failed, why: WhyFindings, findings: "order:fail"},
		"data that moved":                             {do: func(s *scene) { s.run(text, 100, differ(2, compare.Content, compare.Moved)) }, verdict: Pass},
		"volatile":                                    {do: func(s *scene) { s.run("SELECT x FROM v LIMIT 3", 100, differ(1, compare.Content, compare.Volatile)) }, verdict: Pass},
		"a suspect":                                   {do: func(s *scene) { s.run(text, 100, differ(50, compare.Content, compare.Suspect)) }, verdict: Insufficient, why: WhyUnclear, findings: "content:unclear"},
		"a suspect that is cleared":                   {do: func(s *scene) { s.run(text, 100, differ(50, compare.Content, compare.Suspect)); s.retest(false) }, verdict: Pass},
		"a suspect that is confirmed":                 {do: func(s *scene) { s.run(text, 100, differ(50, compare.Content, compare.Suspect)); s.retest(true) }, verdict: Failed, why: WhyFindings, findings: "content:fail"},
		"real, and then cleared":                      {do: func(s *scene) { s.run(text, 100, differ(50, compare.Content, compare.Real)); s.retest(false) }, verdict: Pass},
		"no reference, now and then":                  {do: func(s *scene) { s.run(text, 100, differ(50, compare.Content, compare.Unknown)) }, verdict: Insufficient, why: WhyUnclear, findings: "content:unclear"},
		"no reference, each time, but once": {do: func(s *scene) {
			s.run(text, 20, func(i int, r *tally.Replayed) {
				differ(1, []compare.Kind{compare.Content, ""}[i/19], compare.Unknown)(i, r)
			})
		}, verdict: Insufficient, why: WhyUnclear, findings: "content:unclear"},
		"no reference, each time":   {do: func(s *scene) { s.run(text, 20, differ(1, compare.Content, compare.Unknown)) }, verdict: Failed, why: WhyFindings, findings: "content:fail"},
		"nothing to compare with":   {do: func(s *scene) { s.run(text, 100, differ(1, "", compare.Unknown)) }, verdict: Insufficient, why: WhyCompared},
		"an index that is not used": {do: func(s *scene) { s.run(text, 100, func(_ int, r *tally.Replayed) { r.New.Status = 0x20 }) }, verdict: Pass, findings: "plan:warn"},
		"an index now and then":     {do: func(s *scene) { s.run(text, 100, func(i int, r *tally.Replayed) { r.New.Status = uint16(i&1) << 5 }) }, verdict: Pass},
		"a plan, by the rules": {do: func(s *scene) { s.run(text, 100, func(_ int, r *tally.Replayed) { r.New.Status = 0x20 }) }, rules: func(r *Rules) { r.Levels[compare.Plan] = Fail },
			verdict: Failed, why: WhyFindings, findings: "plan:fail"},
		"twice as long": {do: func(s *scene) { s.run(text, 100, func(_ int, r *tally.Replayed) { r.Pair.B *= 2 }) }, rules: func(r *Rules) { r.Latency.Budget = time.Millisecond }, verdict: Failed, why: WhyFindings, findings: "latency:fail"},
		"twice as long, and ten times the rows read, within the leeway": {do: func(s *scene) { // what is allowed hides nothing of its kind
			f := s.run(text, 100, func(_ int, r *tally.Replayed) { r.Pair.B *= 2 })
			s.AddFound(f, tally.Seen{Text: []byte(text)}, compare.Slow, tally.Found{ID: 1, At: noon, Detail: "reads more rows"})
		}, rules: func(r *Rules) { r.Latency.Budget, r.Leeway = time.Millisecond, 0.01 }, verdict: Failed, why: WhyFindings, findings: "latency:fail latency:warn"},
		"rows that may tie, before a retest":        {do: func(s *scene) { s.run(tie, 100, differ(1, compare.Content, compare.Real)) }, verdict: Insufficient, why: WhyUnclear, findings: "content:unclear"},
		"rows that may tie, and nobody retests":     {do: func(s *scene) { s.run(tie, 100, differ(1, compare.Content, compare.Real)) }, rules: byHand, verdict: Insufficient, why: WhyUnclear, findings: "content:unclear"},
		"rows that tie":                             {do: func(s *scene) { s.run(tie, 100, differ(1, compare.Content, compare.Real)); s.ties(3) }, verdict: Pass, findings: "ties:warn"},
		"rows that tie, by the rules":               {do: func(s *scene) { s.run(tie, 100, differ(1, compare.Content, compare.Real)); s.ties(3) }, rules: func(r *Rules) { r.Levels[compare.Ties] = Fail }, verdict: Failed, why: WhyFindings, findings: "ties:fail"},
		"rows that tie, of some":                    {do: func(s *scene) { s.run(tie, 100, differ(1, compare.Content, compare.Real)); s.ties(2) }, verdict: Insufficient, why: WhyUnclear, findings: "content:unclear"},
		"rows that do not tie":                      {do: func(s *scene) { s.run(tie, 100, differ(1, compare.Content, compare.Real)); s.retest(true) }, verdict: Failed, why: WhyFindings, findings: "content:fail"},
		"as many rows as LIMIT says are no ties":    {do: func(s *scene) { s.run(tie, 100, differ(1, compare.Rows, compare.Real)) }, rules: byHand, verdict: Failed, why: WhyFindings, findings: "row-count:fail"},
		"twice as long, and seldom":                 {do: func(s *scene) { s.run(text, 100, func(_ int, r *tally.Replayed) { r.Pair.B *= 2 }) }, verdict: Pass},
		"too short":                                 {rules: func(r *Rules) { r.MinTime = 72 * time.Hour }, verdict: Insufficient, why: WhyTime},
		"statements were missed":                    {do: func(s *scene) { s.miss(100, tally.UnreplayableOwnWrite) }, verdict: Insufficient, why: WhyStatements + " " + WhyFingerprints},
		"writes are not missed":                     {do: func(s *scene) { s.skip(500, tally.SkipWrite) }, verdict: Pass},
		"a share is by design":                      {do: func(s *scene) { s.skip(10, tally.SkipSampled) }, verdict: Pass},
		"what could not keep up":                    {do: func(s *scene) { s.skip(100, tally.SkipQueueFull) }, verdict: Insufficient, why: WhyStatements + " " + WhyFingerprints},
		"much was dropped":                          {do: func(s *scene) { s.AddDropped("full", 100) }, verdict: Insufficient, why: WhyStatements},
		"writes were not captured":                  {do: func(s *scene) { s.AddDropped("kind", 1000) }, verdict: Pass},
		"the ledger does not balance":               {do: func(s *scene) { s.AddCaptured(9, tally.Seen{}) }, verdict: Insufficient, why: WhyUnbalanced},
		"no times":                                  {do: func(s *scene) { s.run(text, 300, func(_ int, r *tally.Replayed) { r.Pair = nil }) }, verdict: Insufficient, why: WhyLatency},
		"no times, by hand":                         {do: func(s *scene) { s.run(text, 300, func(_ int, r *tally.Replayed) { r.Pair = nil }) }, rules: func(r *Rules) { *r = Once() }, verdict: Pass},
		"one of three that is clear clears nothing": {do: func(s *scene) { s.run(text, 100, differ(1, compare.Content, compare.Real)); s.retestSome(1, 0) }, verdict: Failed, why: WhyFindings, findings: "content:fail"},
		"all that are kept are clear":               {do: func(s *scene) { s.run(text, 100, differ(1, compare.Content, compare.Real)); s.retestSome(3, 0) }, verdict: Pass},
		"clear, and now there are twice as many": {do: func(s *scene) {
			s.run(text, 40, differ(1, compare.Content, compare.Real))
			s.retestSome(3, 0)
			s.run(text, 45, differ(1, compare.Content, compare.Real))
		}, verdict: Failed, why: WhyFindings, findings: "content:fail"},
		"what seems real is retested before what may move": {do: func(s *scene) {
			s.run(text, 1000, differ(1, compare.Content, compare.Suspect))
			s.run(text, 3, differ(1, compare.Content, compare.Real))
			s.retestSome(3, 1700)
		}, verdict: Failed, why: WhyFindings, findings: "content:fail"},
		"a syntax error, whatever a retest says": {do: func(s *scene) {
			f := s.run(text, 100, differ(50, compare.Syntax, compare.Real))
			for _, e := range s.Queries[f].Differences[compare.Syntax].Examples.Values() {
				s.AddRetest(tally.Retest{Fingerprint: f, Kind: compare.Syntax, ID: e.ID})
			}
		}, verdict: Failed, why: WhyFindings, findings: "syntax:fail"},
		"nothing but what servers say of themselves": {do: func(s *scene) {
			s.Tally = tally.Tally{Began: s.Began, Ended: s.Ended}
			s.run("SELECT @@hostname", 600, nil)
		}, verdict: Insufficient, why: WhyCompared},
		"a variable in every statement":                       {do: func(s *scene) { s.run("SELECT x FROM v WHERE tenant = @tenant", 600, nil) }, verdict: Insufficient, why: WhyCompared},
		"what servers say of themselves is no answer of data": {do: func(s *scene) { s.run("SELECT @@version", 2000, nil) }, verdict: Pass},
		"a hot query that was never equal":                    {do: func(s *scene) { s.run(text, 600, differ(1, compare.Content, compare.Volatile)) }, verdict: Insufficient, why: WhyCompared},
		"so is one of which something else was found": {do: func(s *scene) {
			f := s.run(text, 600, differ(1, compare.Content, compare.Volatile))
			s.AddFound(f, tally.Seen{}, compare.Pattern, tally.Found{ID: 1, At: noon, Detail: "streams", Count: 7})
			s.AddFound(f, tally.Seen{}, compare.Pattern, tally.Found{ID: 2, At: noon, Detail: "is idle"})
		}, verdict: Insufficient, why: WhyCompared, findings: "pattern:warn"},
		"data that always moves is compared with today's": {do: func(s *scene) { s.run(text, 600, differ(1, compare.Content, compare.Moved)) }, verdict: Pass},
		"a timeout that a retest clears":                  {do: func(s *scene) { s.run(text, 600, differ(600, compare.Timeout, compare.Suspect)); s.retest(false) }, verdict: Pass},
		"two statements two days apart": {do: func(s *scene) {
			s.Tally = tally.Tally{Began: s.Began, Ended: s.Ended}
			s.run("SELECT a FROM t", 2, func(_ int, r *tally.Replayed) { r.Pair = nil })
			s.AddCaptured(7, tally.Seen{At: noon.Add(-49 * time.Hour)})
			s.AddSkipped(7, tally.SkipWrite)
		}, rules: func(r *Rules) { r.MinLatency = 0 }, verdict: Insufficient, why: WhyTime},
		"what can't be timed is not missed": {do: func(s *scene) {
			s.run("SELECT x FROM v LIMIT 3", 2000, func(_ int, r *tally.Replayed) { r.Pair = nil })
		}, verdict: Pass},
		"no reference, once, of a table":  {do: func(s *scene) { s.run(text, 1, differ(1, compare.Content, compare.Unknown)) }, verdict: Insufficient, why: WhyUnclear, findings: "content:unclear"},
		"no reference, once, of no table": {do: func(s *scene) { s.run("SELECT CONV(255, 10, 62)", 1, differ(1, compare.Content, compare.Unknown)) }, verdict: Failed, why: WhyFindings, findings: "content:fail"},
		"a reference that was away":       {do: func(s *scene) { s.Asked = 1; s.run(text, 20, differ(1, compare.Content, compare.Unknown)) }, verdict: Insufficient, why: WhyUnclear, findings: "content:unclear"},
		"it both fails and lacks": {do: func(s *scene) {
			s.run(text, 100, differ(50, compare.Error, compare.Real))
			s.AddCaptured(9, tally.Seen{})
		}, verdict: Failed, why: WhyFindings + " " + WhyUnbalanced, findings: "error:fail"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene()
			if c.do != nil {
				c.do(s)
			}
			r := s.judge(c.rules)
			if r.Verdict != c.verdict || codes(r) != c.why || levels(r) != c.findings {
				t.Errorf("%s because of %q, findings %q; want %s, %q, %q\n%+v", r.Verdict, codes(r), levels(r), c.verdict, c.why, c.findings, r.Why)
			}
			for _, w := range r.Why {
				if w.Text == "" || w.Cure == "" {
					t.Errorf("it is not said what to do: %+v", w)
				}
			}
			for _, f := range r.Findings {
				if f.What == "" || f.Example == "" || f.ID == "" || f.Count == 0 {
					t.Errorf("a finding says too little: %+v", f)
				}
			}
		})
	}
	if r := Judge(&tally.Tally{}, Once(), noon); r.Verdict != Insufficient || codes(r) != WhyNothing {
		t.Errorf("nothing at all is %s: %s", r.Verdict, codes(r))
	}
}

func (s *scene) retest(confirmed bool) {
	for _, x := range s.Suspects() {
		s.AddRetest(tally.Retest{Fingerprint: x.Fingerprint, Kind: x.Kind, ID: x.ID, Confirmed: confirmed})
	}
}

// ties gives so many suspects a retest by which both answers are right.
func (s *scene) ties(n int) {
	for _, x := range s.Suspects()[:n] {
		s.AddRetest(tally.Retest{Fingerprint: x.Fingerprint, Kind: x.Kind, ID: x.ID, Ties: true})
	}
}

// retestSome gives the suspects a retest without a difference, so many of them, and those with higher ids one with.
func (s *scene) retestSome(n int, above uint64) {
	for i, x := range s.Suspects() {
		if i < n {
			s.AddRetest(tally.Retest{Fingerprint: x.Fingerprint, Kind: x.Kind, ID: x.ID, Count: x.Count, Confirmed: above > 0 && x.ID > above})
		}
	}
}

func (s *scene) miss(n int, reason string) {
	for range n {
		s.AddCaptured(3, tally.Seen{Text: []byte("select lost")})
		s.AddUnreplayable(3, reason)
	}
}

func (s *scene) skip(n int, reason string) {
	for range n {
		s.AddCaptured(4, tally.Seen{Text: []byte("insert")})
		s.AddSkipped(4, reason)
	}
}

func TestIgnoreRules(t *testing.T) {
	s := newScene()
	syntax := s.run("SELECT 1 AS vector", 10, differ(1, compare.Syntax, compare.Real))
	content := s.run("SELECT d FROM dates", 10, differ(2, compare.Content, compare.Real))
	later, before := noon.Add(time.Hour), noon.Add(-time.Hour)
	for name, c := range map[string]struct {
		ignore  []Ignore
		verdict Verdict
		notes   int
	}{
		"both, by fingerprint and by pattern": {[]Ignore{{Fingerprint: syntax.String(), Kinds: []compare.Kind{compare.Syntax}, Expires: later}, {Like: "select d from%", Expires: later}}, Pass, 0},
		"a syntax error must be named":        {[]Ignore{{Fingerprint: syntax.String(), Expires: later}, {Fingerprint: content.String(), Expires: later}}, Failed, 1},
		"one is not enough":                   {[]Ignore{{Like: "%dates", Expires: later}}, Failed, 0},
		"another kind":                        {[]Ignore{{Fingerprint: syntax.String(), Kinds: []compare.Kind{compare.Syntax}, Expires: later}, {Like: "%dates", Kinds: []compare.Kind{compare.Order}, Expires: later}}, Failed, 1},
		"an expired one counts no more":       {[]Ignore{{Fingerprint: syntax.String(), Kinds: []compare.Kind{compare.Syntax}, Expires: later}, {Like: "%dates", Expires: before}}, Failed, 1},
		"it expires in that moment":           {[]Ignore{{Fingerprint: syntax.String(), Kinds: []compare.Kind{compare.Syntax}, Expires: later}, {Like: "%dates", Expires: noon}}, Failed, 1},
		"one fits nothing":                    {[]Ignore{{Like: "%vector%", Kinds: []compare.Kind{compare.Syntax}, Expires: later}, {Like: "%dates", Expires: later}, {Like: "%nothing%", Expires: later}}, Pass, 1},
		"the first one counts":                {[]Ignore{{Like: "%vector%", Kinds: []compare.Kind{compare.Syntax}, Expires: later}, {Like: "%dates", Expires: later}, {Like: "%dates", Expires: later}}, Pass, 0},
	} {
		t.Run(name, func(t *testing.T) {
			for i := range c.ignore {
				c.ignore[i].Who, c.ignore[i].Why = "mira", "because"
			}
			r := s.judge(func(r *Rules) { r.Ignore, r.Retests = c.ignore, false })
			if r.Verdict != c.verdict || len(r.Notes) != c.notes || len(r.Findings) != 2 || len(r.Rules) != len(c.ignore) {
				t.Errorf("%s (%s), notes %q, %d findings", r.Verdict, codes(r), r.Notes, len(r.Findings))
			}
			if name == "the first one counts" && (r.Rules[1].Findings != 1 || r.Rules[2].Findings != 0 || r.Rules[2].Unused) {
				t.Errorf("%+v", r.Rules)
			}
			for _, f := range r.Findings {
				if f.Ignored != nil && (f.Ignored.Who != "mira" || f.Counts()) {
					t.Errorf("%+v", f.Ignored)
				}
			}
		})
	}
}

// TestPatterns: what is found of one query in several ways is told in one finding, and how often.
func TestPatterns(t *testing.T) {
	s := newScene()
	f := s.run("SELECT a FROM t WHERE id = 2", 10, nil)
	s.AddFound(f, tally.Seen{}, compare.Pattern, tally.Found{ID: 1, At: noon, Detail: "it streams.", Count: 7})
	s.AddFound(f, tally.Seen{}, compare.Pattern, tally.Found{ID: 2, At: noon, Detail: "it is idle."})
	r := s.judge(nil)
	if len(r.Findings) != 1 || r.Findings[0].Count != 8 || r.Findings[0].What != "it streams. it is idle." && r.Findings[0].What != "it is idle. it streams." {
		t.Errorf("%+v", r.Findings)
	}
}

// A query that the new version does not understand is one finding: that there is no plan of it either says nothing more.
func TestWhatIsNotUnderstoodHasNoPlan(t *testing.T) {
	for fails, want := range map[bool]string{true: "syntax:fail", false: "plan:warn"} {
		s := newScene()
		f := s.run("SELECT a AS vector FROM t", 100, func(i int, r *tally.Replayed) {
			if fails {
				differ(1, compare.Syntax, compare.Real)(i, r)
			}
		})
		s.AddPlan(f, tally.Explained{Differs: true, Worse: true, Why: "explained on the old version, error 1064 on the new"})
		if got := levels(s.judge(nil)); got != want {
			t.Errorf("%v: %s, want %s", fails, got, want)
		}
	}
}

// TestFindingsHaveTheirOwnIDs: of a query that was found slow, and its plan another, in more than one way, each finding has an id of its own, which is the same in the next report.
func TestFindingsHaveTheirOwnIDs(t *testing.T) {
	s := newScene()
	text := "SELECT x FROM v"
	f := s.run(text, 100, func(_ int, r *tally.Replayed) { r.Pair.B *= 2; r.New.Status = 0x20 })
	for i, k := range []compare.Kind{compare.Slow, compare.Slow, compare.Plan, compare.Pattern} {
		s.AddFound(f, tally.Seen{Text: []byte(text)}, k, tally.Found{ID: uint64(i), At: noon, Detail: "found"})
	}
	rules := func(r *Rules) { r.Latency.Budget = time.Millisecond }
	r, again := s.judge(rules), s.judge(rules)
	if len(r.Findings) != 5 {
		t.Fatal(levels(r))
	}
	ids := map[string]bool{}
	for i, f := range r.Findings {
		if ids[f.ID] || again.Findings[i].ID != f.ID {
			t.Errorf("%s (%s) is there twice, or is %s the next time", f.ID, f.Kind, again.Findings[i].ID)
		}
		ids[f.ID] = true
	}
}

// TestWhenItCanPass: a reason that time cures says when.
func TestWhenItCanPass(t *testing.T) {
	s := newScene()
	r := s.judge(func(r *Rules) { r.MinTime = 50 * time.Hour })
	if len(r.Why) != 1 || r.Why[0].Earliest.Before(noon.Add(time.Hour)) || r.Why[0].Earliest.After(noon.Add(2*time.Hour)) {
		t.Errorf("%+v", r.Why)
	}
	// 5 of 15 pairs in 49 hours: 98 more.
	s = newScene()
	s.run("SELECT seldom", 1000, func(i int, r *tally.Replayed) {
		if i%200 != 0 {
			r.Pair = nil
		}
	})
	r = s.judge(nil)
	if codes(r) != WhyLatency || !r.Why[0].Earliest.Equal(noon.Add(98*time.Hour)) {
		t.Errorf("%+v", r.Why)
	}
}

// TestContract holds the JSON keys that others read.
func TestContract(t *testing.T) {
	s := newScene()
	s.run("SELECT 1 AS vector", 10, differ(1, compare.Syntax, compare.Real))
	s.skip(3, tally.SkipWrite)
	s.miss(2, tally.UnreplayableCut)
	s.AddDropped("full", 1)
	b, err := json.Marshal(s.judge(nil))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Captured, Replayed    int64
		Skipped, Unreplayable map[string]int64
		Dropped               *int64
		Verdict               string
		Findings              []struct {
			Fingerprint, Kind, Example string
			Count                      int64
		}
		Lateness struct{ P50, P99 float64 } `json:"lateness_us"`
		QPS      *float64
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if got.Captured != 716 || got.Replayed != 710 || got.Skipped["write"] != 3 || got.Unreplayable["cut"] != 2 || *got.Dropped != 1 || got.Verdict != "fail" || *got.QPS <= 0 || math.Abs(got.Lateness.P50-50) > 1 || got.Lateness.P99 < 49 {
		t.Errorf("%+v", got)
	}
	if len(got.Findings) != 1 || got.Findings[0].Kind != "syntax" || got.Findings[0].Example != "SELECT 1 AS vector" || got.Findings[0].Count != 10 || len(got.Findings[0].Fingerprint) != 16 {
		t.Errorf("%+v", got.Findings)
	}
	for _, key := range []string{`"skipped":{}`, `"unreplayable":{}`, `"findings":[]`, `"why":[`, `"dropped":0`} {
		b, _ := json.Marshal(Judge(&tally.Tally{}, Once(), noon))
		if !strings.Contains(string(b), key) {
			t.Errorf("an empty report lacks %s: %s", key, b)
		}
	}
}

// TestNeverPassUnlessSeen: whatever happens to a replay, it passes only if its ledger balances, nothing real is left and all shares are what the rules want; ids never change.
func TestNeverPassUnlessSeen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &scene{Tally: tally.Tally{Began: noon.Add(-time.Hour), Ended: noon}}
		real := 0
		for i := range rapid.IntRange(1, 6).Draw(t, "fingerprints") {
			k := rapid.SampledFrom(append(compare.Kinds()[:9], "")).Draw(t, "kind")
			c := rapid.SampledFrom(compare.Causes()).Draw(t, "cause")
			if k != "" && Default().level(k) == Fail && c == compare.Real {
				real++
			}
			s.run("SELECT "+strings.Repeat("x", i+1), rapid.IntRange(1, 30).Draw(t, "runs"), func(n int, r *tally.Replayed) {
				if k != "" {
					differ(3, k, c)(n, r)
				}
			})
		}
		s.miss(rapid.IntRange(0, 20).Draw(t, "missed"), tally.UnreplayableCut)
		s.skip(rapid.IntRange(0, 20).Draw(t, "skipped"), tally.SkipWrite)
		if rapid.Bool().Draw(t, "lost") {
			s.AddCaptured(1, tally.Seen{})
		}
		rules := Default()
		rules.MinTime = time.Duration(rapid.IntRange(0, 60).Draw(t, "hours")) * time.Hour
		r := Judge(&s.Tally, rules, noon)
		c := r.Coverage
		enough := c.Span >= rules.MinTime && c.Statements.Enough() && c.Fingerprints.Enough() && c.Compared.Enough() && c.Latency.Enough() && r.Unaccounted == 0 && r.Replayed > 0
		if r.Verdict == Pass && (!enough || real > 0) || real > 0 && r.Verdict != Failed {
			t.Fatalf("%s with %d real differences: %+v", r.Verdict, real, c)
		}
		if r.Verdict != Pass && len(r.Why) == 0 {
			t.Fatal("no reason is given")
		}
		copied, err := s.Clone()
		if err != nil {
			t.Fatal(err)
		}
		again := Judge(copied, rules, noon.Add(time.Hour))
		ids := func(r Report) (out []string) {
			for _, f := range r.Findings {
				out = append(out, f.ID)
			}
			return out
		}
		if !slices.Equal(ids(r), ids(again)) || slices.Compare(ids(r), slices.Compact(slices.Clone(ids(r)))) != 0 {
			t.Fatalf("ids %v, then %v", ids(r), ids(again))
		}
	})
}

// TestUnended: a gateway that ended without telling is told, with what is in no count; one that was heard of lately goes on.
func TestUnended(t *testing.T) {
	s := newScene()
	at := func(m int) time.Time { return noon.Add(time.Duration(m) * time.Minute) }
	s.AddRun(tally.Run{Gateway: "a", Number: 1, From: at(-90), Until: at(-60), Hold: 15 * time.Second})
	s.AddRun(tally.Run{Gateway: "a", Number: 2, From: at(-50), Until: at(-40), Ended: true})
	s.AddRun(tally.Run{Gateway: "a", Number: 3, From: at(-30), Until: at(-4)})
	s.AddRun(tally.Run{Gateway: "b", Number: 4, From: at(-30), Until: at(-6)})
	s.AddRun(tally.Run{Gateway: "c", Number: 5, From: at(-9), Until: at(-3)}) // it was killed just now, and is back
	s.AddRun(tally.Run{Gateway: "c", Number: 6, From: at(-2), Until: at(-1)})
	r := s.judge(nil)
	want := []Unended{{"a", 1, at(-60), 15 * time.Second, at(-50)}, {"b", 4, at(-6), 15 * time.Second, time.Time{}}, {"c", 5, at(-3), 15 * time.Second, at(-2)}}
	if !slices.Equal(r.Unended, want) {
		t.Errorf("%+v", r.Unended)
	}
	if later := Judge(&s.Tally, Default(), noon.Add(48*time.Hour)); !slices.Equal(later.Unended, want) { // by a rule that somebody has written since
		t.Errorf("two days later: %+v", later.Unended)
	}
	if text := want[0].String(); text != "gateway a ended without telling: what it saw in up to 15s from 2026-11-21 11:00:00 UTC on is in no count, and no time before 2026-11-21 11:10:00 UTC is covered" {
		t.Error(text)
	}
}
