// Command plan measures how much of the processor's time a plan with its proof takes for a fleet of 1,000 nodes of five components over twelve hops, and fails above
// the bound of the requirements, 100 ms; or if ten times the nodes take more than twenty times as much: their number is of no concern to a proof, and each is read once, which for 10,000 costs
// a little more than ten times as much, for they do not fit into the processor's caches; with a square it would be a hundred times. The time
// of the clock would judge what else runs on the machine.
package main

import (
	"flag"
	"fmt"
	"math"
	"os"
	"syscall"
	"time"

	"github.com/windlass-db/windlass/internal/policy"
)

func main() {
	most := flag.Duration("most", 100*time.Millisecond, "longest `TIME` for 1,000 nodes")
	flag.Parse()
	small, err := measure(1_000)
	if err == nil {
		fmt.Printf("5 components, 12 hops, %6d nodes: %8.2f ms (at most %v)\n", 1_000, ms(small), *most)
	}
	large, err2 := measure(10_000)
	if err2 == nil {
		fmt.Printf("5 components, 12 hops, %6d nodes: %8.2f ms (at most twenty times that of 1,000)\n", 10_000, ms(large))
	}
	switch {
	case err != nil || err2 != nil:
		fmt.Fprintln(os.Stderr, "bench plan:", err, err2)
	case small > *most:
		fmt.Fprintf(os.Stderr, "bench plan: %v is more than %v\n", small, *most)
	case large > 20*small:
		fmt.Fprintf(os.Stderr, "bench plan: with ten times the nodes it takes %.1f times as much\n", float64(large)/float64(small))
	default:
		return
	}
	os.Exit(1)
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// measure plans the twelve hops, and judges before each hop what every node was seen on. The best of several runs counts, as the machine is shared.
func measure(nodes int) (time.Duration, error) {
	p, err := policy.Builtin("vitess")
	if err != nil {
		return 0, err
	}
	least := time.Duration(math.MaxInt64)
	for began := time.Now(); least == math.MaxInt64 || time.Since(began) < time.Second; {
		start, err := cpu()
		if err != nil {
			return 0, err
		}
		path, err := p.Plan(policy.Request{From: "8.0", To: "20.0"})
		if err != nil {
			return 0, err
		}
		if len(path.Hops) != 12 || len(p.Components) != 5 {
			return 0, fmt.Errorf("%d hops over %d components", len(path.Hops), len(p.Components))
		}
		for _, hop := range path.Hops {
			if _, bad, err := p.Check(half(p, hop, nodes)); err != nil || len(bad) > 0 {
				return 0, fmt.Errorf("%s to %s: %v %v", hop.From, hop.To, bad, err)
			}
		}
		end, err := cpu()
		if err != nil {
			return 0, err
		}
		least = min(least, end-start)
	}
	return least, nil
}

// cpu is the processor's time that this process has used.
func cpu() (time.Duration, error) {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return 0, fmt.Errorf("read the processor's time: %w", err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano()), nil
}

// half is a fleet half-way through a hop: each node by itself, every other one on the new version.
func half(p *policy.Product, hop policy.PathHop, nodes int) policy.State {
	var s policy.State
	for i := range nodes {
		version := hop.From
		if i%2 == 1 {
			version = hop.To
		}
		s.Present = append(s.Present, policy.Present{Component: p.Components[i%len(p.Components)].Name, Version: version})
	}
	return s
}
