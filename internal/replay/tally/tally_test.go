package tally

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/windlass-db/windlass/internal/replay/compare"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// act is one thing that a worker tells its tally. Ids are its number, so that no two statements have the same.
func act(t *Tally, id uint64, what, fp int) {
	f := Fingerprint(draw(uint64(fp)))
	at := noon.Add(time.Duration(draw(id)%3_600_000) * time.Millisecond)
	text := fmt.Appendf(nil, "select %d", fp)
	r := Replayed{Fingerprint: f, ID: id, At: at, Captured: &compare.Answer{Took: time.Duration(id) * time.Microsecond}, New: &compare.Answer{Status: 0x20}, Lateness: time.Duration(draw(id)%1_000_000) * time.Microsecond, Late: Late(id % 3),
		Statement: func() Statement { return Statement{Text: fmt.Appendf(nil, "SELECT %d", id), At: at} }}
	seen := func() { t.AddCaptured(f, Seen{Text: text, Traits: 1, At: at, Watched: id%3 == 0}) }
	switch what {
	case 0:
		seen()
		r.Outcome.Same = true
		r.Pair = &Pair{time.Duration(id), time.Duration(2 * id)}
		t.AddReplayed(r)
	case 1:
		seen()
		r.Outcome = compare.Outcome{Kind: compare.Kinds()[id%5], Cause: compare.Causes()[id%6], Checked: id%2 == 0, Noise: []compare.Kind{"", compare.Content}[id/2%2], Noisy: id % 8, Differs: 1 << (id % 8)}
		r.New.Errno = uint16(1000 + draw(id)%20)
		r.Null = &Pair{time.Duration(id), time.Duration(3 * id)}
		t.AddReplayed(r)
	case 2:
		seen()
		t.AddSkipped(f, fmt.Sprintf("reason %d", draw(id)%80))
	case 3:
		seen()
		t.AddUnreplayable(f, UnreplayableCut)
	case 4:
		t.AddDropped("full", int64(id%7))
	case 5:
		t.AddNote("damaged", 1)
	case 6:
		t.AddFound(f, Seen{Text: text}, compare.Pattern, Found{ID: id, At: at, Detail: "streams", Statement: Statement{Text: text}})
	case 7:
		seen() // and nothing comes of it
	case 8:
		t.AddPlan(f, Explained{Old: fmt.Sprint("a", id%3), New: "b", Differs: id%2 == 0, Worse: id%4 == 0})
	case 9:
		t.AddWatched(fmt.Sprint("gw", id%3), at, at.Add(time.Duration(draw(id+1)%2000)*time.Second))
	case 10:
		t.AddRun(Run{Gateway: fmt.Sprint("gw", id%3), Number: id % 4, From: at, Until: at.Add(time.Minute), Hold: time.Duration(id % 2), Ended: id%5 == 0})
	case 11:
		t.AddUnfinished(fmt.Sprint("share ", id%3))
	}
}

func text(t interface {
	Fatal(...any)
	Helper()
}, tally *Tally) string {
	t.Helper()
	b, err := json.Marshal(tally)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func clone(t interface {
	Fatal(...any)
	Helper()
}, tally *Tally) *Tally {
	t.Helper()
	c, err := tally.Clone()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestMergeHasNoOrder: however statements are spread over tallies, and in whatever groups those are merged, the same comes out, to the byte.
func TestMergeHasNoOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parts := make([]*Tally, rapid.IntRange(2, 4).Draw(t, "parts"))
		for i := range parts {
			parts[i] = &Tally{}
		}
		n := rapid.IntRange(1, 80).Draw(t, "statements")
		kinds := rapid.IntRange(1, 40).Draw(t, "fingerprints")
		for id := range n {
			// A plan is kept where its statement is.
			act(parts[rapid.IntRange(0, len(parts)-1).Draw(t, "part")], uint64(id+1), rapid.IntRange(0, 11).Draw(t, "what"), rapid.IntRange(1, kinds).Draw(t, "fingerprint"))
		}
		whole := func(order []int) string {
			sum := &Tally{}
			for _, i := range order {
				sum.Merge(clone(t, parts[i]))
			}
			return text(t, sum)
		}
		order := make([]int, len(parts))
		for i := range order {
			order[i] = i
		}
		want := whole(order)
		if got := whole(rapid.Permutation(order).Draw(t, "order")); got != want {
			t.Fatalf("commutative: %s", cmp.Diff(want, got))
		}
		// From the right: a + (b + (c + …)).
		sum := clone(t, parts[len(parts)-1])
		for i := len(parts) - 2; i >= 0; i-- {
			left := clone(t, parts[i])
			left.Merge(sum)
			sum = left
		}
		if got := text(t, sum); got != want {
			t.Fatalf("associative: %s", cmp.Diff(want, got))
		}
		if got := text(t, clone(t, sum)); got != want {
			t.Fatalf("a round trip through JSON: %s", cmp.Diff(want, got))
		}
	})
}

// TestFingerprintsBeyondTheBound: those that are kept are the same however they come, each with all of its statements, and nothing of the others is lost.
func TestFingerprintsBeyondTheBound(t *testing.T) {
	const n = Fingerprints + 700
	r := rand.New(rand.NewPCG(1, 2))
	count := func(split int) *Tally {
		parts := make([]Tally, split)
		for _, i := range r.Perm(3 * n) {
			id := uint64(i + 1)
			act(&parts[r.IntN(split)], id, i%2, i%n)
		}
		sum := &Tally{}
		for i := range parts {
			sum.Merge(&parts[i])
		}
		return sum
	}
	one, many := count(1), count(7)
	if len(one.Queries) != Fingerprints || one.Other == nil || one.Other.Text != otherText {
		t.Fatalf("%d fingerprints are kept", len(one.Queries))
	}
	if a, b := text(t, one), text(t, many); a != b {
		t.Error("it matters how they come")
	}
	var captured int64
	for _, q := range one.Queries {
		captured += q.Captured
		if q.Captured != 3 {
			t.Fatalf("one that is kept has %d of its 3 statements", q.Captured)
		}
	}
	if captured+one.Other.Captured != 3*n || one.Captured != 3*n || one.Unaccounted() != 0 {
		t.Errorf("of %d statements %d and %d are counted", 3*n, captured, one.Other.Captured)
	}
	if one.Other.Differences[compare.Syntax] == nil || len(one.Other.Differences[compare.Syntax].Examples.Items) != Examples {
		t.Error("a difference beyond the bound has no examples")
	}
}

// TestMergeAtTheBound: what is highest is looked for anew after a merge.
func TestMergeAtTheBound(t *testing.T) {
	var a, b Tally
	for f := range Fingerprints {
		a.AddCaptured(Fingerprint(f+1), Seen{})
	}
	b.AddCaptured(Fingerprints+7, Seen{})
	a.Merge(&b)
	if a.Queries[Fingerprints] == nil || a.Queries[Fingerprints+7] != nil || a.Other == nil || a.Other.Captured != 1 {
		t.Errorf("%d are kept, and of the others %+v", len(a.Queries), a.Other)
	}
	var s Sample[int]
	for range 3 {
		s.add(5, 77, 1) // one statement, told again
	}
	if len(s.Items) != 1 {
		t.Errorf("one item is kept %d times", len(s.Items))
	}
}

// TestMemoryIsBounded: long texts, long parameters and many fingerprints, reasons, errors and times stay within what a worker may take.
func TestMemoryIsBounded(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	tally := &Tally{}
	const n = Fingerprints + 1000
	long := bytes.Repeat([]byte("x"), 100<<10)
	settings := []string{string(long)}
	for i := range n {
		f := Fingerprint(draw(uint64(i)))
		tally.AddCaptured(f, Seen{Text: long, At: noon})
		tally.AddReplayed(Replayed{Fingerprint: f, ID: uint64(i), New: &compare.Answer{Errno: uint16(i), Message: settings[0]}, Outcome: compare.Outcome{Kind: compare.Error, Cause: compare.Real},
			Statement: func() Statement { return Statement{Text: long, Params: long, Settings: settings} }})
		tally.AddSkipped(f, fmt.Sprint(i))
	}
	for i := range 100_000 {
		tally.AddTimes(1, uint64(i), &Pair{1, 2}, &Pair{1, 2})
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	// Each has a normal form and the texts of two examples.
	if mb := float64(after.HeapAlloc-before.HeapAlloc) / (1 << 20); mb > 64 {
		t.Errorf("%.0f MB", mb)
	} else {
		t.Logf("%.1f MB", mb)
	}
	runtime.KeepAlive(tally)
	for _, s := range tally.Suspects() {
		t.Fatalf("a statement that was not kept whole is a suspect: %d bytes", len(s.Statement.Text))
	}
	if len(tally.Skipped) > Reasons+1 || sum(tally.Skipped) != n {
		t.Errorf("%d reasons, %d skipped", len(tally.Skipped), sum(tally.Skipped))
	}
}

// TestSampleIsUnbiased: each item of a stream is as likely to be kept as any other, also when the stream was divided most unevenly.
func TestSampleIsUnbiased(t *testing.T) {
	const n, most, rounds = 60, 12, 4000
	times := make([]float64, n)
	for round := range rounds {
		var a, b Sample[int]
		for i := range n {
			s := &a
			if i >= n-5 {
				s = &b
			}
			s.add(most, draw(uint64(round*n+i)), i)
		}
		a.merge(most, b)
		if len(a.Items) != most || a.Seen != n {
			t.Fatalf("%d of %d", len(a.Items), a.Seen)
		}
		for _, i := range a.Values() {
			times[i]++
		}
	}
	// Chi squared over 59 degrees of freedom is below 100 but once in a thousand times; the ids are the same in each run.
	want, chi := float64(rounds*most)/n, 0.0
	for _, seen := range times {
		chi += (seen - want) * (seen - want) / (want * (1 - float64(most)/n))
	}
	if chi > 100 {
		t.Errorf("chi squared is %.0f: %v", chi, times)
	}
}

func TestLedger(t *testing.T) {
	tally := &Tally{}
	for i := range 4 {
		act(tally, uint64(i), i, 1)
	}
	tally.AddDropped("full", 3)
	if tally.Captured != 7 || tally.Unaccounted() != 0 {
		t.Errorf("captured %d, unaccounted %d", tally.Captured, tally.Unaccounted())
	}
	act(tally, 9, 7, 1)
	if tally.Unaccounted() != 1 {
		t.Errorf("one that was read and lost: unaccounted %d", tally.Unaccounted())
	}
	// What the environment kept from being compared was not replayed.
	act(tally, 10, 7, 1)
	tally.AddReplayed(Replayed{Fingerprint: 1, New: &compare.Answer{Errno: 1205}, Outcome: compare.Outcome{Kind: compare.Error, Cause: compare.Environment}})
	if tally.Unreplayable[UnreplayableEnvironment] != 1 || tally.Failures[1205] != 1 || tally.Unaccounted() != 1 {
		t.Errorf("%+v", tally)
	}
}

func TestWhatACauseCounts(t *testing.T) {
	for _, c := range compare.Causes() {
		tally := &Tally{}
		tally.AddReplayed(Replayed{Fingerprint: 5, New: &compare.Answer{}, Outcome: compare.Outcome{Kind: compare.Content, Cause: c}, Statement: func() Statement { return Statement{Text: []byte("x")} }})
		d, suspects := tally.Queries[5].Differences[compare.Content], len(tally.Suspects())
		switch c {
		case compare.Moved, compare.Volatile, compare.Environment:
			if d != nil || suspects != 0 {
				t.Errorf("%s is a difference", c)
			}
		default:
			if d == nil || d.Count() != 1 || suspects != 1 {
				t.Errorf("%s: %+v, %d suspects", c, d, suspects)
			}
		}
	}
}

func TestRetest(t *testing.T) {
	tally := &Tally{}
	for id := range uint64(9) {
		tally.AddReplayed(Replayed{Fingerprint: 5, ID: id, New: &compare.Answer{}, Outcome: compare.Outcome{Kind: compare.Content, Cause: compare.Suspect}, Statement: func() Statement { return Statement{Text: []byte("x")} }})
	}
	suspects := tally.Suspects()
	if len(suspects) != Examples {
		t.Fatalf("%d suspects", len(suspects))
	}
	long := &compare.Result{Rows: make([][][]byte, 5000)}
	for i := range long.Rows {
		long.Rows[i] = [][]byte{[]byte("value")}
	}
	for i, s := range suspects {
		for range 2 { // the second time counts nothing
			tally.AddRetest(Retest{Fingerprint: s.Fingerprint, Kind: s.Kind, ID: s.ID, Confirmed: i == 0, OldRows: long, NewRows: long})
		}
	}
	d := tally.Queries[5].Differences[compare.Content]
	if d.Retested != Examples || d.Confirmed != 1 || len(tally.Suspects()) != 0 {
		t.Errorf("%d retested, %d confirmed, %d suspects left", d.Retested, d.Confirmed, len(tally.Suspects()))
	}
	if n := len(d.Examples.Items[0].Value.OldRows.Rows); n == 0 || n > ResultBytes/9 {
		t.Errorf("%d rows are kept", n)
	}
}

func TestPlanBits(t *testing.T) {
	tally := &Tally{}
	for _, c := range []struct {
		old, new uint16
		lacks    compare.Lacks
		today    *compare.Answer
		unasked  bool
		moved    bool
	}{{2, 0x22, 0, nil, false, false}, {2, 0x12, 0, nil, false, false}, {0x22, 2, 0, nil, false, false}, {0x22, 0x22, 0, nil, false, false}, {0, 0x20, compare.LacksStatus, nil, false, false},
		{2, 0x22, 0, &compare.Answer{Status: 0x22}, false, false}, {2, 0x22, 0, nil, true, false}, {2, 0x22, 0, &compare.Answer{Status: 2}, false, true}} {
		tally.AddReplayed(Replayed{Fingerprint: 5, Captured: &compare.Answer{Status: c.old, Lacks: c.lacks}, New: &compare.Answer{Status: c.new}, Old: c.today, Outcome: compare.Outcome{Same: !c.moved, NoPlan: c.unasked}})
	}
	if got, want := tally.Queries[5].Plan, (PlanBits{Compared: 5, Worse: 2, Better: 1, NoIndex: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestHistogram(t *testing.T) {
	var h Histogram
	for i := range 1000 {
		h.Add(time.Duration(i+1) * time.Microsecond)
	}
	h.Add(-time.Second)
	h.Add(99 * time.Hour)
	for q, want := range map[float64]time.Duration{0.5: 500 * time.Microsecond, 0.99: 990 * time.Microsecond, 1: longest} {
		if got := h.At(q); math.Abs(float64(got-want)) > float64(want)/50 {
			t.Errorf("the quantile %g is %s, want %s", q, got, want)
		}
	}
	b, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	var back Histogram
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if again, _ := json.Marshal(back); !bytes.Equal(again, b) || back.Count() != 1002 {
		t.Errorf("a round trip makes %s of %s", again, b)
	}
	for _, bad := range []string{`[[-1,1]]`, `[[1,-1]]`, `[[99999999999999999,1]]`, `{}`} {
		if json.Unmarshal([]byte(bad), &back) == nil {
			t.Errorf("%s is taken", bad)
		}
	}
	var none Histogram
	if none.At(0.5) != 0 || !none.IsZero() {
		t.Error("an empty one")
	}
}

// TestAnEqualAnswerAllocatesNothing: the path that nearly all statements take.
func TestAnEqualAnswerAllocatesNothing(t *testing.T) {
	tally := &Tally{}
	normal, captured, answer := []byte("select c from t where id = ?"), &compare.Answer{}, &compare.Answer{}
	statement := func() Statement { return Statement{Text: []byte("SELECT c FROM t WHERE id = 5")} }
	id := uint64(0)
	one := func() {
		id++
		tally.AddCaptured(7, Seen{Text: normal, At: noon})
		tally.AddReplayed(Replayed{Fingerprint: 7, ID: id, At: noon, Outcome: compare.Outcome{Same: true}, Captured: captured, New: answer, Statement: statement})
	}
	for range 1000 {
		one() // the example changes now and then, ever more seldom
	}
	if n := testing.AllocsPerRun(1000, one); n > 0.1 {
		t.Errorf("%g allocations", n)
	}
}

func TestTextsAreCutAtCharacters(t *testing.T) {
	for n := range 40 {
		got := bounded([]byte(strings.Repeat("é", 30)+strings.Repeat("x", n)), 30)
		if len(got) > 30 || !strings.HasSuffix(got, "…") || strings.ContainsRune(got, '\ufffd') {
			t.Fatalf("%q", got)
		}
	}
	if got := Reasonable(map[string]int64{"a": 1, "b": 5, "c": 1}); !slices.Equal(got, []string{"b", "a", "c"}) {
		t.Error(got)
	}
}

// TestSpan: what counts is the time in which something was captured, not the first and the last statement.
func TestSpan(t *testing.T) {
	for name, c := range map[string]struct {
		at   []time.Duration
		want time.Duration
	}{
		"nothing":                        {nil, 0},
		"one":                            {[]time.Duration{0}, 0},
		"seconds":                        {[]time.Duration{0, 3 * time.Second}, 3 * time.Second},
		"half an hour":                   {[]time.Duration{0, 30 * time.Minute}, 30 * time.Minute},
		"two statements two days apart":  {[]time.Duration{0, 48 * time.Hour}, 2 * Slot},
		"every five minutes of an hour":  {[]time.Duration{0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60}, 60 * time.Minute},
		"an hour, and one a day later":   {[]time.Duration{0, 10, 20, 30, 40, 50, 1440}, 70 * time.Minute},
		"never more than there is of it": {[]time.Duration{9, 11, 20, 30, 41}, 32 * time.Minute},
	} {
		var tally Tally
		for _, at := range c.at {
			if at < 1000*time.Minute && at > 0 && at < time.Second {
				at *= time.Minute
			}
			tally.AddCaptured(1, Seen{At: noon.Add(at)})
		}
		if got := tally.Span(); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
