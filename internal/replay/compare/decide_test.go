package compare

import (
	"fmt"
	"strings"
	"testing"

	"github.com/windlass-db/windlass/internal/query"
)

// answers that can be told apart in every kind. Two letters that are the same are the same answer.
var answers = map[byte]Answer{
	'a': {Rows: 2, Ordered: 10, Multiset: 20, Columns: 5},
	'b': {Rows: 2, Ordered: 11, Multiset: 21, Columns: 5},              // other rows
	'o': {Rows: 2, Ordered: 12, Multiset: 20, Columns: 5},              // another order
	'n': {Rows: 3, Ordered: 13, Multiset: 23, Columns: 5},              // another number
	'c': {Rows: 2, Ordered: 10, Multiset: 20, Columns: 6},              // other columns
	'w': {Rows: 2, Ordered: 10, Multiset: 20, Columns: 5, Warnings: 1}, // a warning
	'S': {Errno: 1064},
	'E': {Errno: 1193}, // an unknown variable: lasting
	'F': {Errno: 1305},
	'X': {Errno: 1020},
	'L': {Errno: 1205}, // a lock: it says nothing
	'T': {TimedOut: true},
	'U': {Rows: 2, Ordered: 10, Multiset: 20, Columns: 5, Unfinished: true},
	'?': {Rows: 2, Lacks: LacksContent | LacksColumns | LacksWarnings | LacksError}, // a slow log's
}

// decide answers what Decide asks for: C, B, A, B′, A′ by letter; "-" for one that can't be asked. It gives the outcome as "kind/cause", and what was asked.
func decide(t *testing.T, script string, change func(*Round)) (outcome string, asked []Ask) {
	t.Helper()
	pick := func(i int) *Answer {
		if script[i] == '-' {
			return nil
		}
		a, ok := answers[script[i]]
		if !ok {
			t.Fatalf("there is no answer %c", script[i])
		}
		return &a
	}
	r := Round{Traits: query.Reads, Captured: pick(0), New: *pick(1)}
	if change != nil {
		change(&r)
	}
	for range 5 {
		ask, out := Decide(r)
		asked = append(asked, ask)
		switch ask {
		case Done:
			switch {
			case out.Same:
				return "same", asked
			case out.Kind == "":
				return string(out.Cause), asked
			}
			return fmt.Sprintf("%s/%s", out.Kind, out.Cause), asked
		case AskOld:
			if r.Old = pick(2); r.Old == nil {
				r.NoOld = true
			}
		case AskNewAgain:
			if r.NewAgain = pick(3); r.NewAgain == nil {
				r.NoRepeat = true
			}
		case AskOldAgain:
			if r.OldAgain = pick(4); r.OldAgain == nil {
				r.NoRepeat = true
			}
		}
	}
	t.Fatalf("%s: it asks without end: %v", script, asked)
	return "", nil
}

// TestDecide: each row is the answers C B A B′ A′ and what comes of it.
func TestDecide(t *testing.T) {
	reads := query.Reads
	for _, c := range []struct {
		name, script string
		traits       query.Traits
		want         string
		asks         int
	}{
		{"equal answers ask nobody", "aa---", reads, "same", 1},
		{"equal errors are equal", "EE---", reads, "same", 1},
		{"syntax error on the new alone", "aSa--", reads, "syntax/real", 2},
		{"syntax error on both: the session is not production's", "aSS--", reads, "syntax/environment", 2},
		{"syntax error, no reference", "aS---", reads, "syntax/real", 2},
		{"syntax error, not known what production had", "?Sa--", reads, "syntax/real", 2},
		{"1020 on the new alone is real though it does not come again", "aXaaa", reads, "conflict/real", 2},
		{"error that stays", "aEaEa", reads, "error/real", 4},
		{"error that is gone", "EaEaE", reads, "error-gone/real", 4},
		{"another error", "EFEFE", reads, "error-other/real", 4},
		{"a lock is no difference", "aLaLa", reads, "error/environment", 4},
		{"a lock the first time only", "aLaa-", reads, "error/moved", 3},
		{"a lock on both", "aLL--", reads, "error/environment", 2},
		{"far too long, twice", "aTaTa", reads, "timeout/real", 4},
		{"far too long on both", "aTT--", reads, "timeout/environment", 2},
		{"row count that stays: H8", "anana", reads, "row-count/real", 4},
		{"row count that does not stay: H8", "anaa-", reads, "row-count/moved", 3},
		{"rows that stay other", "ababa", reads, "content/real", 4},
		{"data moved before the replay", "abb--", reads, "content/moved", 2},
		{"data moved while it was asked", "ababb", reads, "content/moved", 4},
		{"the old version differs from itself: its data may move, and a difference hide in that", "ababn", reads, "row-count/suspect", 4},
		{"too long once, and nobody can be asked again", "aTa--", reads, "timeout/suspect", 3},
		{"order alone", "aoaoa", reads, "order/real", 4},
		{"order is noise, content is not", "abab" + "o", reads, "content/real", 4},
		{"data moves, versions differ: only a retest can tell", "nbaba", reads, "content/suspect", 4},
		{"columns", "acaca", reads, "columns/real", 4},
		{"warnings", "awawa", reads, "warnings/real", 4},
		{"nobody can be asked again: content", "aba--", reads, "content/suspect", 3},
		{"nobody can be asked again: error", "aEa--", reads, "error/real", 3},
		{"the old one can't be asked again", "abab-", reads, "content/suspect", 4},
		{"no reference: stays", "ab-b-", reads, "content/unknown", 3},
		{"no reference: an error stays", "aE-E-", reads, "error/real", 3},
		{"no reference: does not stay", "ab-a-", reads, "content/moved", 3},
		{"no reference: differs from itself", "ab-n-", reads, "row-count/unknown", 3},
		{"no reference: a name that is not there", "aF-F-", reads, "error/unknown", 3},
		{"no reference: a clock", "ab---", reads | query.Clock, "content/volatile", 2},
		{"a slow log has no hashes", "?aa--", reads, "same", 2},
		{"a slow log, no reference", "?a---", reads, "unknown", 2},
		{"a slow log, versions differ", "?baba", reads, "content/real", 4},
		{"a slow log, other row count without a reference", "?n-n-", reads, "row-count/unknown", 3},
		{"ended in production before its end", "Uaa--", reads, "same", 2},
		{"the connection is lost", "aUaUa", reads, "error/environment", 4},
		{"cut in production, equal", "-aa--", reads, "same", 2},
		{"cut in production, other", "-baba", reads, "content/real", 4},
		{"rand()", "ab---", reads | query.Volatile, "same", 1},
		{"rand() with other columns", "acaca", reads | query.Volatile, "columns/real", 4},
		{"rand() with an error", "aEaEa", reads | query.Volatile, "error/real", 4},
		{"limit without order: other rows", "ab---", reads | query.LimitAlone, "same", 1},
		{"limit without order: fewer rows", "anana", reads | query.LimitAlone, "row-count/real", 4},
		{"@@version", "an---", reads | query.OwnServer, "same", 1},
		{"@@variable that is gone", "aEaEa", reads | query.OwnServer, "error/real", 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, asked := decide(t, c.script, func(r *Round) { r.Traits = c.traits })
			if got != c.want || len(asked) != c.asks {
				t.Errorf("C B A B′ A′ = %s: %s after %v, want %s after %d", c.script, got, asked, c.want, c.asks)
			}
		})
	}
	// An index that is not used any more: the old version is asked whether that is of today's data, and not for ever.
	worse := func(plans int64, noOld bool) (Ask, Outcome) {
		c, b := answers['a'], answers['a']
		b.Status = 0x20
		return Decide(Round{Traits: query.Reads, Captured: &c, New: b, NoOld: noOld, Learned: Noise{Plans: plans}})
	}
	if ask, _ := worse(0, false); ask != AskOld {
		t.Errorf("an index that is not used: %v", ask)
	}
	if ask, out := worse(enoughPlans, false); ask != Done || !out.Same || !out.NoPlan {
		t.Errorf("asked often enough: %v %+v", ask, out)
	}
	if ask, out := worse(0, true); ask != Done || !out.Same || out.NoPlan {
		t.Errorf("no reference: %v %+v", ask, out)
	}
	if got, _ := decide(t, "ab---", func(r *Round) { r.Masked = true }); got != "unknown" {
		t.Errorf("a masked one: %s", got)
	}
	// What differs from itself more often than not is put down to that, and nobody is asked.
	learned := func(r *Round) { r.Learned = Noise{Checks: 20, Kinds: map[Kind]int64{Content: 15}} }
	for script, want := range map[string]string{"ab---": "content/suspect", "aoa--": "order/suspect", "anana": "row-count/real", "aEaEa": "error/real"} {
		if got, _ := decide(t, script, learned); got != want {
			t.Errorf("learned, %s: %s, want %s", script, got, want)
		}
	}
	if got, _ := decide(t, "ababa", func(r *Round) { r.Learned = Noise{Checks: 3, Kinds: map[Kind]int64{Content: 3}} }); got != "content/real" {
		t.Errorf("three checks teach nothing yet: %s", got)
	}
	if got, _ := decide(t, "ab---", func(r *Round) {
		learned(r)
		r.Traits |= query.LimitAlone
		r.New.Rows = 9
		r.Learned.Kinds = map[Kind]int64{Rows: 15}
	}); got != "row-count/volatile" {
		t.Errorf("learned, and its words say so: %s", got)
	}
	// Data that moves now and then is not learned.
	if got, _ := decide(t, "ababa", func(r *Round) { r.Learned = Noise{Checks: 200, Kinds: map[Kind]int64{Content: 20}} }); got != "content/real" {
		t.Errorf("one check of ten hides a real difference: %s", got)
	}
}

// oracle says in rules what Decide says in steps, over all five answers at once. It is told who could not be asked by "-".
func oracle(s string, of aspects) string {
	at := func(i int) Answer { return answers[s[i]] }
	kind := func(i, j int) Kind { return difference(at(i), at(j), of) }
	const C, B, A, B2, A2 = 0, 1, 2, 3, 4
	have := func(i int) bool { return s[i] != '-' }
	knownC := have(C) && at(C).complete(of)
	switch {
	case knownC && kind(C, B) == "":
		return "same"
	case !have(A):
		switch {
		case !have(C) && classOf(at(B)) != fine:
			return "error/unknown"
		case !have(C) || kind(C, B) == "":
			return "unknown"
		case kind(C, B) == Syntax || kind(C, B) == Conflict:
			return string(kind(C, B)) + "/real"
		case have(B2) && kind(C, B2) == "":
			return string(kind(C, B)) + "/moved"
		}
		last := B
		if have(B2) {
			last = B2
		}
		k := kind(C, last)
		switch {
		case k.isError() && (classOf(at(last)) == occasion || classOf(at(last)) == permitted):
			return string(k) + "/environment"
		case k.isError() && at(last).Errno != 1305:
			return string(k) + "/real"
		}
		return string(k) + "/unknown"
	}
	seen := Kind("")
	if have(C) {
		seen = kind(C, B)
	}
	if kind(A, B) == "" {
		switch {
		case classOf(at(A)) != fine && have(C) && at(C).Lacks&LacksError == 0 && at(C).Errno == 0:
			return string(seen) + "/environment"
		case classOf(at(A)) != fine && classOf(at(A)) != lasting:
			return "error/environment"
		case seen == "":
			return "same"
		}
		return string(seen) + "/moved"
	}
	k := kind(A, B)
	byErrors := func(k Kind, old, new int) string {
		if c := classOf(at(old)); c != fine && c != lasting {
			return string(k) + "/environment"
		}
		if c := classOf(at(new)); c == occasion || c == permitted {
			return string(k) + "/environment"
		}
		return string(k) + "/real"
	}
	switch {
	case k == Syntax || k == Conflict:
		return string(k) + "/real"
	case !have(B2) && k.isError() && k != Timeout:
		return byErrors(k, A, B)
	case !have(B2):
		return string(k) + "/suspect"
	case kind(A, B2) == "":
		return string(k) + "/moved"
	case !have(A2) && kind(A, B2).isError():
		return byErrors(kind(A, B2), A, B2)
	case !have(A2):
		return string(kind(A, B2)) + "/suspect"
	case kind(A2, B2) == "":
		return string(k) + "/moved"
	}
	k = kind(A2, B2)
	switch {
	case k == Syntax || k == Conflict:
		return string(k) + "/real"
	case k.isError():
		return byErrors(k, A2, B2)
	case Covers(kind(A, A2), k):
		return string(k) + "/suspect"
	case kind(A, A2).isError(), have(C) && kind(C, A) != "":
		return string(k) + "/suspect"
	}
	return string(k) + "/real"
}

// TestDecideOverAllAnswers tries every combination of thirteen answers and of who can't be asked against the oracle, and holds what must never be.
func TestDecideOverAllAnswers(t *testing.T) {
	const letters = "-abonwSEXLT?"
	n := 0
	var s [5]byte
	var walk func(i int)
	of := aspectsOf(query.Reads)
	bad := 0
	walk = func(i int) {
		if i < 5 {
			for j := range len(letters) {
				if c := letters[j]; (i != 1 || c != '-') && (i == 0 || c != '?') {
					s[i] = c
					walk(i + 1)
				}
			}
			return
		}
		n++
		script := string(s[:])
		got, asked := decide(t, script, nil)
		if want := oracle(script, of); got != want && bad < 20 {
			bad++
			t.Errorf("%s: %s after %v, want %s", script, got, asked, want)
		}
		if s[0] == s[1] && s[0] != '?' && s[0] != '-' && got != "same" {
			t.Errorf("%s: an equal answer is %s", script, got)
		}
		if s[1] == 'S' && s[0] != 'S' && s[0] != '?' && s[2] != 'S' && s[0] != '-' && got != "syntax/real" {
			t.Errorf("%s: a syntax error on the new version alone is %s", script, got)
		}
		if strings.HasSuffix(got, "/real") && s[1] == s[2] {
			t.Errorf("%s: both versions agree, and it is %s", script, got)
		}
	}
	walk(0)
	if n < 150_000 {
		t.Errorf("only %d combinations were tried", n)
	}
	t.Logf("%d combinations", n)
}
