package policy

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"
)

// large is a product in which every component calls every one after it.
func large(components, releases int) *Product {
	p := &Product{Name: "large", Layers: []string{"l"}, Back: Back{Node: BackRestart}}
	for i := range releases {
		p.Releases = append(p.Releases, Release{Name: fmt.Sprint(i + 1)})
	}
	for i := range components {
		p.Components = append(p.Components, Component{Name: fmt.Sprint("c", i), Layer: "l"})
		for j := range i {
			p.Calls = append(p.Calls, Call{From: fmt.Sprint("c", j), To: fmt.Sprint("c", i), Source: "ours"})
		}
	}
	p.Skews = []Skew{{Releases: Range{0, releases, ""}, CalleeOlder: 1, CalleeNewer: 1}}
	p.Orders = []Order{{Releases: Range{0, releases, ""}, Direction: BottomToTop}}
	return p
}

// A large policy is checked in a second or two, and the check ends when it is told to. The bound is generous, and of the processor's time, as the machine is
// shared; a look at every call for each pair takes minutes.
func TestLargePolicy(t *testing.T) {
	p := large(30, 40)
	began := cpu(t)
	if found := p.Lint(); len(found) > 0 {
		t.Fatal(found)
	}
	if took := cpu(t) - began; took > 20*time.Second {
		t.Errorf("it took %v of the processor", took)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := p.LintContext(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("ended: %v", err)
	}
}

// cpu is the processor's time that this process has used.
func cpu(t *testing.T) time.Duration {
	t.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// Two that meet are judged once for each hop, in however many of its states they are; and a path is no other if its proof is not kept.
func TestEveryPairIsJudgedOnce(t *testing.T) {
	p := large(12, 2)
	w, err := p.walk(Request{}, "1", "2")
	if err != nil || w.inPlace("") != nil {
		t.Fatal(err)
	}
	if kinds, judged := 2*len(p.Components), w.pairs.made; judged > kinds*(kinds+1)/2 {
		t.Errorf("%d judgements of %d kinds", judged, kinds)
	}
	quiet, err := p.walk(Request{unproved: true}, "1", "2")
	if err != nil || quiet.inPlace("") != nil {
		t.Fatal(err)
	}
	states, kept := Path{Hops: []PathHop{{Steps: quiet.steps}}}.Proved()
	if want, pairs := (Path{Hops: []PathHop{{Steps: w.steps}}}).Proved(); states != want || kept > 0 || pairs == 0 {
		t.Errorf("%d states with %d pairs; the proof has %d with %d", states, kept, want, pairs)
	}
	for i, s := range w.steps { // what one state's pairs are by the memo is what a check of it by itself says
		for _, st := range s.States {
			pairs, bad, err := p.Check(st.State)
			if err != nil || len(bad) > 0 || fmt.Sprint(pairs) != fmt.Sprint(st.Pairs) {
				t.Errorf("step %d, %s: %v %v", i, st.When, bad, err)
			}
		}
	}
}
