package rolling

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/strategy"
)

// TestAnythingMayHappen takes engines of some size through the whole campaign, and sometimes back and forth, while supervisors are killed at edges,
// nodes fall ill and get well, and the load balancer is deaf for a while or forgets what it was told. Whatever happens, the world's own invariants
// hold, and when it is over every node serves on the version that was asked for.
func TestAnythingMayHappen(t *testing.T) {
	seeds := []uint64{406} // a node that was admitted again was drained again, though another had fallen ill since
	for seed := range uint64(150) {
		seeds = append(seeds, seed)
	}
	for _, seed := range seeds {
		if !t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { synctest.Test(t, func(t *testing.T) { anything(t, seed) }) }) {
			return
		}
	}
}

func anything(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 40))
	n := 3 + r.IntN(6)
	w := newWorld(t, n)
	w.camp.Rolling.Group = []string{"1", "2", "33%", "50%"}[r.IntN(4)]
	w.camp.Rolling.LeastServing = 20 + r.IntN(45)
	if campaign.LeastServing(n, w.camp.Rolling.LeastServing) >= n {
		w.camp.Rolling.LeastServing = 50
	}
	for _, m := range w.nodes {
		m.long = r.IntN(8) == 0
	}

	// Trouble comes and goes, for as long as the campaign runs.
	over := make(chan struct{})
	ended := make(chan struct{})
	rt := rand.New(rand.NewPCG(seed, 41))
	go func() {
		defer close(ended)
		for {
			select {
			case <-over:
				return
			case <-time.After(time.Duration(1+rt.IntN(90))*time.Second + 7300001): // never in the same instant as a handler's look, which is not told from before it
			}
			name := fmt.Sprintf("n%d", 1+rt.IntN(n))
			switch rt.IntN(4) {
			case 0: // a node is ill on whatever it runs, for less than it would be held to be one that never gets well
				w.mu.Lock()
				w.sick[name] = w.nodes[name].version
				w.mu.Unlock()
				time.Sleep(time.Duration(1+rt.IntN(20)) * time.Second)
				w.set(name, "")
			case 1:
				w.mu.Lock()
				w.deaf = true
				w.mu.Unlock()
				time.Sleep(time.Duration(1+rt.IntN(20)) * time.Second)
				w.mu.Lock()
				w.deaf = false
				w.mu.Unlock()
			case 2: // the load balancer is started again, and every server is as its file says
				w.mu.Lock()
				w.forget()
				w.mu.Unlock()
			}
		}
	}()
	kills := 0
	kill := func(engine.Edge) {
		if kills < 12 && r.IntN(12) == 0 {
			kills++
			runtime.Goexit()
		}
	}
	id := int64(0)
	run := func(stage string, dir strategy.Direction) engine.Outcome {
		id++
		o, message := w.stage(id, stage, dir, kill)
		t.Logf("%s %s: %s: %s", stage, dir, o, message)
		return o
	}
	for _, st := range strategy.Rolling().Stages {
		for try := 0; ; try++ {
			if run(st.Name, strategy.Forward) == engine.Completed {
				break
			}
			if try > 20 {
				t.Fatalf("seed %d: %s does not end well", seed, st.Name)
			}
		}
		if !st.PointOfNoReturn && r.IntN(4) == 0 {
			for run(st.Name, strategy.Back) != engine.Completed {
				if id > 60 {
					t.Fatalf("seed %d: there is no way back from %s", seed, st.Name)
				}
			}
			for run(st.Name, strategy.Forward) != engine.Completed {
				if id > 90 {
					t.Fatalf("seed %d: no way forth again through %s", seed, st.Name)
				}
			}
		}
	}
	close(over)
	<-ended
	time.Sleep(time.Minute)
	w.want(slices.Repeat([]string{"1.1"}, n)...)
	if !w.features {
		t.Error("the features are shut")
	}
	if t.Failed() {
		t.Logf("seed %d: %d nodes, %+v, %d kills", seed, n, w.camp.Rolling, kills)
	}
}
