package judge

import (
	"math"
	"slices"
	"time"

	"github.com/windlass-db/windlass/internal/replay/tally"
)

// Latency is judged in pairs: the same query on the old replica (A) and on the new one (B), the order of the two by chance, so that what the machine does
// meanwhile is in both. A fingerprint has regressed if its queries are slower by more than a factor that the old version does not reach against
// itself, if that is no chance, and if it costs enough to matter. Too few pairs are "insufficient", never "no regression".

// ratio is the logarithm of how many times longer B took.
func ratio(p tally.Pair) float64 {
	return math.Log(float64(max(p.B, 1)) / float64(max(p.A, 1)))
}

// Timing is what was measured of one fingerprint.
type Timing struct {
	Fingerprint tally.Fingerprint
	Pairs       []tally.Pair
	Null        []tally.Pair // the old version against itself; may be empty
	PerHour     float64      // how often it runs in production
}

// LatencyRules are the thresholds of the campaign file.
type LatencyRules struct {
	Least    int           // pairs that a judgement needs
	Factor   float64       // at the least so many times slower
	Budget   time.Duration // added time in an hour that is allowed
	FDR      float64       // of all that are called regressed, the share that may be so by chance
	Interval float64       // confidence of the intervals that are shown, such as 0.95
}

// DefaultLatencyRules are those of a campaign that says nothing.
func DefaultLatencyRules() LatencyRules {
	return LatencyRules{Least: 15, Factor: 1.2, Budget: 10 * time.Second, FDR: 0.05, Interval: 0.95}
}

// Latency is the judgement of one fingerprint.
type Latency struct {
	Fingerprint  tally.Fingerprint `json:"fingerprint"`
	Pairs        int               `json:"pairs"`
	Insufficient bool              `json:"insufficient,omitempty"` // too few pairs
	Regressed    bool              `json:"regressed,omitempty"`    // slower than Bar, not by chance, and over the budget
	Ratio        float64           `json:"ratio,omitempty"`        // median of B/A
	Low          float64           `json:"low,omitempty"`          // lower end of the interval of that median
	High         float64           `json:"high,omitempty"`         // upper end
	Bar          float64           `json:"bar,omitempty"`          // what it was held against: the factor, or what A reaches against itself
	P            float64           `json:"p"`                      // how probable such pairs are if B were not slower than Bar
	AddedPerHour time.Duration     `json:"added_per_hour,omitempty"`
	P99A         time.Duration     `json:"p99_old,omitempty"` // upper ends of the intervals of the 99th percentiles; 0 if there are too few pairs to say
	P99B         time.Duration     `json:"p99_new,omitempty"`
}

// Latencies judges all fingerprints together, as the more are looked at, the more look bad by chance (Benjamini and Hochberg, 1995).
func Latencies(timings []Timing, rules LatencyRules) []Latency {
	out := make([]Latency, len(timings))
	var tested []int
	for i, t := range timings {
		out[i] = latency(t, rules)
		if !out[i].Insufficient {
			tested = append(tested, i)
		}
	}
	slices.SortFunc(tested, func(a, b int) int { return order(out[a].P, out[b].P) })
	cut := -1
	for rank, i := range tested {
		if out[i].P <= rules.FDR*float64(rank+1)/float64(len(tested)) {
			cut = rank
		}
	}
	for rank, i := range tested {
		l := &out[i]
		l.Regressed = rank <= cut && l.Low > l.Bar && l.AddedPerHour > rules.Budget
	}
	return out
}

func order(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func latency(t Timing, rules LatencyRules) Latency {
	l := Latency{Fingerprint: t.Fingerprint, Pairs: len(t.Pairs), Bar: rules.Factor, P: 1}
	if len(t.Pairs) == 0 || len(t.Pairs) < rules.Least {
		l.Insufficient = true
		return l
	}
	ratios := make([]float64, len(t.Pairs))
	var a, b []time.Duration
	var added float64
	for i, p := range t.Pairs {
		ratios[i] = ratio(p)
		a, b = append(a, p.A), append(b, p.B)
		added += float64(p.B - p.A)
	}
	if len(t.Null) >= rules.Least {
		null := make([]float64, len(t.Null))
		for i, p := range t.Null {
			null[i] = math.Abs(ratio(p))
		}
		slices.Sort(null)
		// What the median of so many pairs of A against itself may reach, not what one pair may: the spread shrinks with their root.
		l.Bar = max(l.Bar, math.Exp(null[rank99(len(null))]/math.Sqrt(float64(len(t.Pairs)))))
	}
	shifted := make([]float64, len(ratios))
	for i, r := range ratios {
		shifted[i] = r - math.Log(l.Bar)
	}
	l.P = signedRank(shifted)
	slices.Sort(ratios)
	l.Ratio = math.Exp(median(ratios))
	low, high, ok := medianInterval(len(ratios), rules.Interval)
	if !ok {
		l.Insufficient, l.P = true, 1
		return l
	}
	l.Low, l.High = math.Exp(ratios[low]), math.Exp(ratios[high])
	l.AddedPerHour = time.Duration(added / float64(len(t.Pairs)) * t.PerHour)
	slices.Sort(a)
	slices.Sort(b)
	if at, ok := upperRank(len(a), 0.99, rules.Interval); ok {
		l.P99A, l.P99B = a[at], b[at]
	}
	return l
}

// rank99 is the place of the 99th percentile by nearest rank.
func rank99(n int) int { return (n*99+99)/100 - 1 }

// median of sorted values.
func median(s []float64) float64 {
	n := len(s)
	return (s[(n-1)/2] + s[n/2]) / 2
}

// medianInterval gives the places, in n sorted values, of an interval that holds the median with at least that confidence, whatever the
// distribution: how many values lie below the median is binomial. Not ok: n is too small.
func medianInterval(n int, confidence float64) (low, high int, ok bool) {
	tail := (1 - confidence) / 2
	sum, term := 0.0, math.Pow(0.5, float64(n))
	if term == 0 { // over a thousand values: the normal distribution is as good
		k := int(math.Floor(float64(n)/2 - quantile(1-tail)*math.Sqrt(float64(n))/2))
		return k - 1, n - k, true
	}
	k := 0
	for ; sum+term <= tail; k++ {
		sum += term
		term *= float64(n-k) / float64(k+1)
	}
	if k == 0 {
		return 0, 0, false
	}
	return k - 1, n - k, true
}

// upperRank gives the place, in n sorted values, that is not below the quantile q with that confidence. Not ok: n is too small.
func upperRank(n int, q, confidence float64) (int, bool) {
	// The value of rank k (from 1) is at least the quantile if fewer than k of n values lie below it: P(Binomial(n, q) ≤ k-1) ≥ confidence.
	sum := 0.0
	for k := range n {
		sum += math.Exp(logChoose(n, k) + float64(k)*math.Log(q) + float64(n-k)*math.Log(1-q))
		if sum >= confidence {
			return k, true
		}
	}
	return 0, false
}

func logChoose(n, k int) float64 {
	a, _ := math.Lgamma(float64(n + 1))
	b, _ := math.Lgamma(float64(k + 1))
	c, _ := math.Lgamma(float64(n - k + 1))
	return a - b - c
}

// quantile of the normal distribution.
func quantile(p float64) float64 { return math.Sqrt2 * math.Erfinv(2*p-1) }

// most values for which the distribution of the ranks' sum is counted out; above it is taken as normal.
const mostExact = 50

// signedRank is Wilcoxon's one-sided test (1945): how probable ranks are that are in favour of positive values as much as these, or more, if the values lay
// around 0. Zeros are left out; equal values share their ranks, and then the sum is taken as normal, with the spread that the ties leave.
func signedRank(values []float64) float64 {
	v := slices.DeleteFunc(slices.Clone(values), func(x float64) bool { return x == 0 })
	n := len(v)
	if n == 0 {
		return 1
	}
	slices.SortFunc(v, func(a, b float64) int { return order(math.Abs(a), math.Abs(b)) })
	sum, ties := 0.0, 0.0
	for i := 0; i < n; {
		j := i
		for j < n && math.Abs(v[j]) == math.Abs(v[i]) {
			j++
		}
		rank := float64(i+j+1) / 2
		for _, x := range v[i:j] {
			if x > 0 {
				sum += rank
			}
		}
		t := float64(j - i)
		ties += t*t*t - t
		i = j
	}
	if n <= mostExact && ties == 0 {
		return exactTail(n, int(sum))
	}
	m := float64(n)
	spread := math.Sqrt(m*(m+1)*(2*m+1)/24 - ties/48)
	return math.Erfc((sum-m*(m+1)/4-0.5)/spread/math.Sqrt2) / 2
}

// exactTail is the share of the 2^n choices of signs whose ranks sum up to so much or more.
func exactTail(n, sum int) float64 {
	most := n * (n + 1) / 2
	ways := make([]float64, most+1)
	ways[0] = 1
	for rank := 1; rank <= n; rank++ {
		for s := most; s >= rank; s-- {
			ways[s] += ways[s-rank]
		}
	}
	tail := 0.0
	for _, w := range ways[sum:] {
		tail += w
	}
	return tail / math.Pow(2, float64(n))
}
