package judge

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/replay/tally"
)

// bruteTail counts all choices of signs.
func bruteTail(values []float64) float64 {
	n := len(values)
	abs := make([]float64, n)
	for i, v := range values {
		abs[i] = math.Abs(v)
	}
	rank := func(i int) int {
		r := 1
		for _, a := range abs {
			if a < abs[i] {
				r++
			}
		}
		return r
	}
	seen := 0
	for i, v := range values {
		if v > 0 {
			seen += rank(i)
		}
	}
	as := 0
	for signs := range 1 << n {
		sum := 0
		for i := range n {
			if signs>>i&1 == 1 {
				sum += rank(i)
			}
		}
		if sum >= seen {
			as++
		}
	}
	return float64(as) / float64(int(1)<<n)
}

func TestSignedRankAgainstAllSigns(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		values := make([]float64, 1+r.IntN(11))
		for i := range values {
			values[i] = r.NormFloat64() + 0.3
		}
		if got, want := signedRank(values), bruteTail(values); math.Abs(got-want) > 1e-12 {
			t.Fatalf("%v: %v, want %v", values, got, want)
		}
	}
	// Where it is taken as normal it goes on from where it is counted out.
	values := make([]float64, mostExact)
	for i := range values {
		values[i] = float64(i+1) * []float64{1, -1, 1}[i%3]
	}
	exact := signedRank(values)
	if normal := signedRank(append(slices.Clone(values), 0.001, -0.0011)); math.Abs(exact-normal) > 0.02 {
		t.Errorf("counted out %v, as normal %v", exact, normal)
	}
}

// Values that are all equal but for their signs are judged by how many are positive: their ranks say nothing.
func TestSignedRankOfTies(t *testing.T) {
	const n, positive = 60, 38
	values, tail := make([]float64, n), 0.0
	for i := range values {
		values[i] = 1
		if i >= positive {
			values[i] = -1
		}
	}
	for k := positive; k <= n; k++ {
		tail += math.Exp(logChoose(n, k) + n*math.Log(0.5))
	}
	if got := signedRank(values); !(math.Abs(got-tail) <= 0.01) { // NaN, too
		t.Errorf("%v, want about %v", got, tail)
	}
}

// The intervals hold what they are to hold as often as they say.
func TestIntervalsCover(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for _, n := range []int{15, 100, 500} {
		const tries = 2000
		held, above := 0, 0
		p99 := math.Exp(quantile(0.99))
		_, enough := upperRank(n, 0.99, 0.95)
		for range tries {
			v := make([]float64, n)
			for i := range v {
				v[i] = math.Exp(r.NormFloat64())
			}
			slices.Sort(v)
			low, high, ok := medianInterval(n, 0.95)
			if !ok {
				t.Fatalf("%d values are called too few", n)
			}
			if v[low] <= 1 && 1 <= v[high] {
				held++
			}
			if at, ok := upperRank(n, 0.99, 0.95); ok && v[at] >= p99 {
				above++
			}
		}
		if share := float64(held) / tries; share < 0.94 || share > 0.99 {
			t.Errorf("%d values: the median is in the interval in %.3f of all", n, share)
		}
		if share := float64(above) / tries; enough && share < 0.94 {
			t.Errorf("%d values: the 99th percentile is below its bound in %.3f of all", n, 1-share)
		}
		if enough != (n >= 299) {
			t.Errorf("%d values: enough for a bound of the 99th percentile: %v", n, enough)
		}
	}
	if _, _, ok := medianInterval(5, 0.95); ok {
		t.Error("five values have an interval of 95 %: half of all fives lie on one side of the median in 1 of 16")
	}
	low, high, _ := medianInterval(5000, 0.95)
	if low < 2425 || low > 2435 || high < 2565 || high > 2575 {
		t.Errorf("of 5000 values: %d to %d", low, high)
	}
}

// timing makes pairs of a query of 1 ms that the new version takes so many times longer for, beside noise that is in both.
func timing(r *rand.Rand, id uint64, n int, factor, noise float64) Timing {
	t := Timing{Fingerprint: tally.Fingerprint(id), PerHour: 1_000_000}
	ms := func(f float64) time.Duration { return time.Duration(f * float64(time.Millisecond)) }
	for range n {
		shared := math.Exp(r.NormFloat64()) // the machine, the cache
		t.Pairs = append(t.Pairs, tally.Pair{A: ms(shared * math.Exp(noise*r.NormFloat64())), B: ms(shared * factor * math.Exp(noise*r.NormFloat64()))})
		t.Null = append(t.Null, tally.Pair{A: ms(shared * math.Exp(noise*r.NormFloat64())), B: ms(shared * math.Exp(noise*r.NormFloat64()))})
	}
	return t
}

func TestSlowerIsFoundAndEqualIsNot(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	var all []Timing
	for i := range uint64(400) { // equal, noisy
		all = append(all, timing(r, i, 40, 1, 0.3))
	}
	for i := range uint64(20) { // half as long again and twice as long
		all = append(all, timing(r, 1000+i, 40, 1.6, 0.15), timing(r, 2000+i, 40, 2, 0.3))
	}
	found, slow := 0, 0
	for _, l := range Latencies(all, DefaultLatencyRules()) {
		switch {
		case l.Fingerprint < 1000 && l.Regressed:
			t.Errorf("an equal one is called slower: %+v", l)
		case l.Fingerprint >= 1000:
			slow++
			if l.Regressed {
				found++
			}
			if l.Low > l.Ratio || l.High < l.Ratio || l.Insufficient {
				t.Errorf("%+v", l)
			}
		}
	}
	if found < slow*9/10 {
		t.Errorf("%d of %d slower ones were found", found, slow)
	}
}

func TestWhatIsNoRegression(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	rules := DefaultLatencyRules()
	few := timing(r, 1, rules.Least-1, 5, 0.1)
	rare := timing(r, 2, 40, 5, 0.1)
	rare.PerHour = 2 // costs milliseconds an hour
	little := timing(r, 3, 400, 1.1, 0.05)
	got := Latencies([]Timing{few, rare, little, {Fingerprint: 4}}, rules)
	for i, l := range got {
		if l.Regressed {
			t.Errorf("%+v", l)
		}
		if l.Insufficient != (i == 0 || i == 3) {
			t.Errorf("%+v", l)
		}
	}
	if l := got[1]; l.P > 1e-6 || l.Low < 4 {
		t.Errorf("five times slower: %+v", l)
	}
}

// TestAMedianAtTheBarIsNoRegression: a part that is much slower makes the ranks' sum large, and says nothing of the median.
func TestAMedianAtTheBarIsNoRegression(t *testing.T) {
	rules := DefaultLatencyRules()
	rules.Budget = 0
	timing := Timing{Fingerprint: 1, PerHour: 1_000_000}
	for i := range 40 {
		b := 1190 * time.Microsecond
		if i >= 22 {
			b = 3 * time.Millisecond
		}
		timing.Pairs = append(timing.Pairs, tally.Pair{A: time.Millisecond, B: b + time.Duration(i)})
	}
	l := Latencies([]Timing{timing}, rules)[0]
	if l.P > rules.FDR || l.Low > l.Bar {
		t.Fatalf("the case is none: %+v", l)
	}
	if l.Regressed {
		t.Errorf("%+v", l)
	}
}
