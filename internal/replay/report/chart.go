package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/windlass-db/windlass/internal/replay/judge"
)

// slice is a part of the ledger's bar.
type slice struct {
	Name    string
	Class   string
	Count   int64
	X, W    float64 // of 100
	Reasons map[string]int64
}

// ledger divides the captured statements. What is there at all can be seen: a part is at least half a hundredth wide.
func ledger(r Report) []slice {
	parts := []slice{
		{Name: "replayed", Class: "replayed", Count: r.Replayed}, {Name: "skipped", Class: "skipped", Count: total(r.Skipped), Reasons: r.Skipped},
		{Name: "unreplayable", Class: "unreplayable", Count: total(r.Unreplayable), Reasons: r.Unreplayable}, {Name: "dropped", Class: "dropped", Count: r.Dropped, Reasons: r.DroppedBy},
	}
	if r.Unaccounted != 0 {
		parts = append(parts, slice{Name: "unaccounted for", Class: "dropped", Count: r.Unaccounted})
	}
	whole := 0.0
	for i := range parts {
		if n := max(parts[i].Count, 0); n > 0 {
			parts[i].W = max(float64(n)/float64(max(r.Captured, 1))*100, 0.5)
			whole += parts[i].W
		}
	}
	x := 0.0
	for i := range parts {
		if whole > 0 {
			parts[i].W *= 100 / whole
		}
		parts[i].X = x
		x += parts[i].W
	}
	return parts
}

// chart shows how much longer queries take on the new version: for each the interval of the median of the ratios, on a logarithmic axis.
type chart struct {
	Bars   []bar
	Ticks  []tick
	One    float64 // where the ratio is 1
	Height float64
	Left   int // fingerprints that were judged and are not shown
	Few    int // that have too few pairs
}

type bar struct {
	Y, Top, Bottom    float64
	X, From, To       float64 // of the median and its interval
	Bar               float64 // of what it is held against
	Class, Name, Text string
	Finding           string
	Label             string
}

type tick struct {
	X    float64
	Text string
}

// Sizes of the chart, in units of its view box.
const (
	chartWidth = 960
	labelWidth = 300
	rowHeight  = 24
	chartHead  = 26
	mostBars   = 30
)

func chartOf(r Report) *chart {
	var shown []judge.Line
	c := &chart{}
	for _, l := range r.Queries {
		switch {
		case l.Latency == nil:
		case l.Latency.Insufficient:
			c.Few++
		default:
			shown = append(shown, l)
		}
	}
	if len(shown) == 0 {
		return nil
	}
	slices.SortStableFunc(shown, func(a, b judge.Line) int {
		x, y := a.Latency, b.Latency
		if x.Regressed != y.Regressed {
			if x.Regressed {
				return -1
			}
			return 1
		}
		return -cmp.Compare(x.AddedPerHour, y.AddedPerHour)
	})
	if len(shown) > mostBars {
		c.Left = len(shown) - mostBars
		shown = shown[:mostBars]
	}
	low, high := 0.5, 2.0
	for _, l := range shown {
		low, high = min(low, l.Latency.Low), max(high, l.Latency.High)
	}
	low, high = max(low, 0.01), min(high, 1000)
	at := func(ratio float64) float64 {
		ratio = min(max(ratio, low), high)
		return labelWidth + (chartWidth-labelWidth-20)*(math.Log(ratio)-math.Log(low))/(math.Log(high)-math.Log(low))
	}
	c.One = at(1)
	for _, v := range []float64{0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000} {
		if v >= low && v <= high {
			c.Ticks = append(c.Ticks, tick{at(v), fmt.Sprintf("%g×", v)})
		}
	}
	for i, l := range shown {
		b := bar{Y: chartHead + float64(i)*rowHeight + rowHeight/2, Top: chartHead + float64(i)*rowHeight + 4, Bottom: chartHead + float64(i+1)*rowHeight - 4, X: at(l.Latency.Ratio), From: at(l.Latency.Low), To: at(l.Latency.High), Bar: at(l.Latency.Bar), Label: clip(l.Text, 38), Class: "even",
			Text: fmt.Sprintf("%s: %.2f times as long (%.2f to %.2f) in %d pairs; counts above %.2f", clip(l.Text, 200), l.Latency.Ratio, l.Latency.Low, l.Latency.High, l.Latency.Pairs, l.Latency.Bar)}
		switch {
		case l.Latency.Regressed:
			b.Class = "slower"
		case l.Latency.High < 1:
			b.Class = "faster"
		}
		for _, f := range r.Findings {
			if f.Fingerprint == l.Fingerprint && f.Kind == "latency" {
				b.Finding = f.ID
			}
		}
		c.Bars = append(c.Bars, b)
	}
	c.Height = chartHead + float64(len(shown))*rowHeight + 6
	return c
}
