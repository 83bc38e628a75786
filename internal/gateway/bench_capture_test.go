package gateway

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/gateway/adminapi"
)

// The bounds that BenchmarkCapture holds a gateway that captures everything to, against a bare byte pass-through.
const (
	leastCaptureRatio = 0.98 // of queries a second
	leastSecond       = 0.95 // in the worst second
	mostCaptureCPU    = 1.08 // processor time of one query, with compression and all
	mostMegabytes     = 17.0 // a million of them on disk
	leastForSize      = 1000 // queries a second below which that is not held: a block ends after a second, and one of a few hundred statements is not worth compressing
)

// What TiProxy's makers publish of a capture's cost, beside the same proxy without one: 0.5 to 6 % on average, up to 18 % in the worst second.
const publishedQPS, publishedSecond = "0.94 to 0.995", "0.82"

// BenchmarkCapture compares a gateway that captures all statements with a bare byte pass-through proxy, and with a gateway that captures
// nothing, in slices in turns as BenchmarkPointSelects does. It fails when the rate is below the bound with 95 % confidence.
func BenchmarkCapture(b *testing.B) {
	c := newCluster(b)
	sysbench(b, c.primary.Address(), "oltp_point_select", "prepare")
	c.replica.CatchUp(b, c.primary)
	spool := b.TempDir()
	plain, gate, idle := &stream{name: "pass-through"}, &stream{name: "capture"}, &stream{name: "gateway"}
	plain.address, plain.pid = startPassThrough(b, c.primary.Address())
	p := c.startProcess(b, "warn", "capture: {folder: '"+spool+"', statements: all}")
	gate.address, gate.pid = p.writer, p.cmd.Process.Pid
	q := c.startProcess(b, "warn")
	idle.address, idle.pid = q.writer, q.cmd.Process.Pid
	for _, mode := range []struct{ flag, name string }{{"disable", "text"}, {"auto", "prepared"}} {
		if _, err := p.api.StartCapture(bg(b), adminapi.CaptureRequest{}); err != nil {
			b.Fatal(err)
		}
		all := []*stream{plain, gate, idle}
		for _, s := range all {
			s.begin(b, c, mode.flag)
			s.slice(b, c) // warm
			s.qps, s.micros = nil, nil
		}
		var low, high float64
		for pair := range mostPairs {
			for i := range all { // each is first in turn
				all[(pair+i)%len(all)].slice(b, c)
			}
			if low, high = interval(ratios(gate.qps, plain.qps)); pair >= leastPairs && (low > leastCaptureRatio || high < leastCaptureRatio) {
				break
			}
		}
		for _, s := range all {
			s.kill()
			b.Logf("%-8s %-12s %8.0f QPS, %5.1f µs of processor time a query (medians of %d slices)", mode.name, s.name, median(s.qps), median(s.micros), len(s.qps))
		}
		st, err := p.api.StopCapture(bg(b))
		if err != nil {
			b.Fatal(err)
		}
		qps, processor, second := median(ratios(gate.qps, plain.qps)), median(ratios(gate.micros, plain.micros)), worstSecond(gate.qps, plain.qps)
		megabytes := float64(st.Bytes) / float64(st.Kept)
		over, overCPU := median(ratios(gate.qps, idle.qps)), median(ratios(gate.micros, idle.micros))
		overSecond := worstSecond(gate.qps, idle.qps)
		b.Logf("%-8s capture/gateway without %.3f in QPS, worst second %.3f, %.3f in processor time (TiProxy's makers publish of their capture %s in QPS, worst second %s)", mode.name, over, overSecond, overCPU, publishedQPS, publishedSecond)
		b.ReportMetric(overSecond, "worst-second-of-gateway("+mode.name+")")
		b.ReportMetric(over, "capture/gateway("+mode.name+")")
		b.ReportMetric(overCPU, "cpu-capture/gateway("+mode.name+")")
		b.Logf("%-8s capture/pass-through %.3f in QPS, between %.3f and %.3f with 95 %% confidence (goal %.2f), worst second %.3f (goal %.2f); %.3f in processor time (goal %.2f); %.1f MB a million (goal %.0f); %d statements, dropped %v",
			mode.name, qps, low, high, leastCaptureRatio, second, leastSecond, processor, mostCaptureCPU, megabytes, mostMegabytes, st.Statements, st.Dropped)
		b.ReportMetric(qps, "capture/pass-through("+mode.name+")")
		b.ReportMetric(second, "worst-second("+mode.name+")")
		b.ReportMetric(processor, "cpu-capture/pass-through("+mode.name+")")
		b.ReportMetric(megabytes, "MB/1M("+mode.name+")")
		if high < leastCaptureRatio {
			b.Errorf("%s: with capture the gateway made %.3f of the pass-through's queries a second (%.3f at the most, with 95 %% confidence), want ≥ %.2f", mode.name, qps, high, leastCaptureRatio)
		}
		if megabytes > mostMegabytes && median(gate.qps) >= leastForSize {
			b.Errorf("%s: a million statements take %.1f MB, want ≤ %.0f", mode.name, megabytes, mostMegabytes)
		}
		if lost := st.Statements - st.Kept; lost > 0 {
			b.Errorf("%s: %d of %d statements were not kept: %v", mode.name, lost, st.Statements, st.Dropped)
		}
	}
	if st, err := p.api.Status(context.Background()); err != nil || st.Counts.MovesFailed+st.Counts.Refused > 0 {
		b.Errorf("the gateway saw trouble: %+v, %v", st.Counts, err)
	}
	var files int
	filepath.WalkDir(spool, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			files++
		}
		return err
	})
	b.Log(fmt.Sprint(files, " files"))
	b.ReportMetric(0, "ns/op")
}

// worstSecond is the least ratio of any second: of so many slices in a row as make one.
func worstSecond(a, of []float64) float64 {
	const n = int(time.Second / slice)
	worst := 1e9
	for i := 0; i+n <= len(a); i += n {
		var x, y float64
		for j := i; j < i+n; j++ {
			x, y = x+a[j], y+of[j]
		}
		worst = min(worst, x/y)
	}
	return worst
}
