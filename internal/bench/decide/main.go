// Command decide measures one tick over 1,000, 10,000 and 100,000 clusters with every rule at work, and fails if a bound of the requirements is
// missed: at 10,000 clusters under one second and 200 MB, and growth no worse than n log n.
//
// Each size runs in a process of its own, so that its peak memory, snapshot included, is its own. Times are the best of several ticks,
// as the machine is shared; growth is the ratio of processor times within this one run.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/campaign/campaigntest"
)

const (
	mostSeconds = 1.0   // of one tick over 10,000 clusters
	mostMB      = 200.0 // of its process
	slack       = 1.5   // of growth over n log n: caches are smaller than the largest snapshot

	leastSamples = 5 // of which the best counts, however slow the machine is
)

// measure is what one process found.
type measure struct {
	CPUS   float64 `json:"cpu_s"` // processor time of the dearer tick, the collector's included: what growth is computed from
	N      int     `json:"n"`
	OpenS  float64 `json:"open_s"`   // best tick within the schedule
	CloseS float64 `json:"closed_s"` // best tick outside of it, where the end of every hold is computed
	PeakMB float64 `json:"peak_mb"`
}

// worst is the slower of the two ticks.
func (m measure) worst() float64 { return max(m.OpenS, m.CloseS) }

// growth compares two sizes.
type growth struct {
	From    int     `json:"from"`
	To      int     `json:"to"`
	Time    float64 `json:"time"`     // ratio of the processor times
	NLogN   float64 `json:"n_log_n"`  // what n log n would give
	Ratio   float64 `json:"ratio"`    // of the two; at most 1.5
	PerItem float64 `json:"per_item"` // seconds for one cluster at the larger size
	OK      bool    `json:"ok"`
}

type report struct {
	Measures []measure `json:"measures"`
	Growth   []growth  `json:"growth"`
	OK       bool      `json:"ok"`
}

func main() {
	n := flag.Int("n", 0, "measure this size alone, and print it as JSON")
	asJSON := flag.Bool("json", false, "print the report as JSON")
	flag.Parse()
	if *n > 0 {
		if err := json.NewEncoder(os.Stdout).Encode(tick(*n)); err != nil {
			fail(err)
		}
		return
	}
	rep, err := run(context.Background())
	if err != nil {
		fail(err)
	}
	if *asJSON {
		enc := json.NewEncoder(os.Stdout)
		enc.SetIndent("", "  ")
		err = enc.Encode(rep)
	} else {
		err = rep.print()
	}
	if err != nil {
		fail(err)
	}
	if !rep.OK {
		os.Exit(1)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "bench decide:", err)
	os.Exit(1)
}

// tick measures in this process.
func tick(n int) measure {
	s, open, closed := campaigntest.Large(n, 1)
	// At the smaller sizes many are counted together: else the collector would run in the ticks over many clusters alone.
	together := max(1, 100_000/n)
	best := func(work func()) (least, cpu float64) {
		least, cpu = math.Inf(1), math.Inf(1)
		for began, samples := time.Now(), 0; samples < leastSamples || time.Since(began) < 2*time.Second; samples++ {
			runtime.GC()
			used := processor()
			for range together {
				start := time.Now()
				work()
				least = min(least, time.Since(start).Seconds())
			}
			cpu = min(cpu, (processor()-used)/float64(together))
		}
		return least, cpu
	}
	decide := func(at time.Time) func() {
		return func() {
			if len(campaign.Decide(s, at)) != n {
				fail(fmt.Errorf("not every one of %d clusters has a decision", n))
			}
		}
	}
	m := measure{N: n}
	var cpuOpen, cpuClosed float64
	m.OpenS, cpuOpen = best(decide(open))
	m.CloseS, cpuClosed = best(decide(closed))
	m.CPUS = max(cpuOpen, cpuClosed)
	return m
}

// processor is the processor time that this process has used, in seconds.
func processor() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		fail(fmt.Errorf("read the processor time: %w", err))
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// run starts a process for each size.
func run(ctx context.Context) (report, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	self, err := os.Executable()
	if err != nil {
		return report{}, fmt.Errorf("find this program: %w", err)
	}
	rep := report{OK: true}
	for _, n := range []int{1_000, 10_000, 100_000} {
		cmd := exec.CommandContext(ctx, self, "-n", fmt.Sprint(n))
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return rep, fmt.Errorf("measure %d clusters: %w", n, err)
		}
		var m measure
		if err := json.Unmarshal(out, &m); err != nil {
			return rep, fmt.Errorf("measure %d clusters: %w", n, err)
		}
		if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
			m.PeakMB = float64(usage.Maxrss) / 1024 // Linux tells kilobytes
		}
		if n == 10_000 && (m.worst() > mostSeconds || m.PeakMB > mostMB || m.PeakMB == 0) {
			rep.OK = false
		}
		rep.Measures = append(rep.Measures, m)
	}
	for i := range len(rep.Measures) - 1 {
		a, b := rep.Measures[i], rep.Measures[i+1]
		g := growth{From: a.N, To: b.N, Time: b.CPUS / a.CPUS, PerItem: b.CPUS / float64(b.N)}
		g.NLogN = float64(b.N) * math.Log(float64(b.N)) / (float64(a.N) * math.Log(float64(a.N)))
		g.Ratio = g.Time / g.NLogN
		g.OK = g.Ratio <= slack
		rep.OK = rep.OK && g.OK
		rep.Growth = append(rep.Growth, g)
	}
	return rep, nil
}

func (r report) print() error {
	w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "clusters\tin the window\toutside\tprocessor\tpeak memory\t")
	for _, m := range r.Measures {
		fmt.Fprintf(w, "%d\t%.1f ms\t%.1f ms\t%.1f ms\t%.0f MB\t\n", m.N, m.OpenS*1000, m.CloseS*1000, m.CPUS*1000, m.PeakMB)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, g := range r.Growth {
		fmt.Printf("from %d to %d: time ×%.1f, n log n ×%.1f, ratio %.2f (at most %.1f)\n", g.From, g.To, g.Time, g.NLogN, g.Ratio, slack)
	}
	verdict := map[bool]string{true: "within the bounds", false: "NOT within the bounds"}[r.OK]
	fmt.Printf("%s: at 10000 clusters under %.0f s and %.0f MB, growth no worse than n log n\n", verdict, mostSeconds, mostMB)
	return nil
}
