package rolling

import (
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/strategy"
)

var (
	old = []string{"1.0", "1.0", "1.0", "1.0", "1.0", "1.0"}
	all = []string{"1.1", "1.1", "1.1", "1.1", "1.1", "1.1"}
	// mixed is what the canary stage leaves.
	mixed = []string{"1.1", "1.0", "1.0", "1.0", "1.0", "1.0"}
)

// scenario is a run of six nodes: which stages, and what comes of it.
type scenario struct {
	setup    func(w *world)
	at       func(w *world, e engine.Edge) // at every edge, before a kill at it
	back     string                        // stage that is gone back through at the end
	outcomes []engine.Outcome
	versions []string
	features bool
	least    int // nodes that served at any time
}

var scenarios = map[string]scenario{
	"plain": {outcomes: repeat(engine.Completed, 4), versions: all, features: true, least: 5},
	"groups of two, and sessions that do not end": {setup: func(w *world) {
		w.camp.Rolling.Group = "2"
		for _, m := range w.nodes {
			m.long = true
		}
	}, outcomes: repeat(engine.Completed, 4), versions: all, features: true, least: 4},
	"the first node does not get healthy": {setup: func(w *world) { w.sick["n1"] = "1.1" },
		outcomes: []engine.Outcome{engine.Completed, engine.WentBack}, versions: old, least: 5},
	"a later node does not get healthy, and the action is aborted": {setup: func(w *world) {
		w.sick["n5"] = "1.1"
		time.AfterFunc(time.Hour, func() {
			if o, _ := w.mem.Ended(3); o == "" {
				w.mem.Abort(3)
			}
		})
	}, outcomes: []engine.Outcome{engine.Completed, engine.Completed, engine.Aborted}, versions: mixed, least: 5},
	// Two fell ill by themselves as a group was chosen: four serve, and four have to. The ill ones cost nobody anything and go first; until
	// they are well nothing else is taken out.
	"nodes fail by themselves": {at: func(w *world, e engine.Edge) {
		if e.Stage == strategy.StageNodes && e.Point == "group-chosen" {
			w.trouble(func() { w.ill(2*time.Hour, "n4", "n6") })
		}
	}, outcomes: repeat(engine.Completed, 4), versions: all, features: true, least: 4},
	// Two are drained and could still serve when three others fall ill: they serve again until those are well.
	"three fall ill while two are drained": {setup: func(w *world) { w.camp.Rolling.Group = "2" }, at: func(w *world, e engine.Edge) {
		if e.Stage == strategy.StageNodes && e.Point == "left" {
			w.trouble(func() {
				w.ill(time.Hour, "n4", "n5", "n6")
				time.AfterFunc(30*time.Minute, func() { w.want("1.1", "1.0", "1.0", "-", "-", "-") })
			})
		}
	}, outcomes: repeat(engine.Completed, 4), versions: all, features: true, least: 1},
	"the load balancer is started anew while a node is stopped": {at: func(w *world, e engine.Edge) {
		if e.Stage == strategy.StageCanary && e.Point == "stopped" {
			w.trouble(w.forget)
		}
	}, outcomes: repeat(engine.Completed, 4), versions: all, features: true, least: 5},
	"the load balancer is started anew while a node starts": {at: func(w *world, e engine.Edge) {
		if e.Stage == strategy.StageCanary && e.Point == "started" {
			w.trouble(w.forget)
		}
	}, outcomes: repeat(engine.Completed, 4), versions: all, features: true, least: 5},
	"the database has connections of a stopped node for a while": {setup: func(w *world) { w.linger = 20 * time.Second },
		outcomes: repeat(engine.Completed, 4), versions: all, features: true, least: 5},
	"the first node says the old version": {setup: func(w *world) { w.says["n1"] = "1.0" },
		outcomes: []engine.Outcome{engine.Completed, engine.WentBack}, versions: old, least: 5},
	"the schema is taken away between": {at: func(w *world, e engine.Edge) {
		if e.Stage == strategy.StageCanary && e.Point == "group-chosen" {
			w.trouble(func() { w.schema = "1.0" })
		}
	}, outcomes: []engine.Outcome{engine.Completed, engine.WentBack}, versions: old, least: 6},
	"the schema is taken away while a node is stopped": {at: func(w *world, e engine.Edge) {
		if e.Stage == strategy.StageCanary && e.Point == "stopped" {
			w.trouble(func() { w.schema = "1.0" })
		}
	}, outcomes: []engine.Outcome{engine.Completed, engine.WentBack}, versions: old, least: 5},
	"back to the canary":   {back: strategy.StageNodes, outcomes: repeat(engine.Completed, 4), versions: mixed, least: 5},
	"back from the canary": {back: strategy.StageCanary, outcomes: repeat(engine.Completed, 3), versions: old, least: 5},
}

func repeat(o engine.Outcome, n int) []engine.Outcome { return slices.Repeat([]engine.Outcome{o}, n) }

// run runs a scenario, and looks at its end. at is called at every edge.
func (s scenario) run(t *testing.T, at func(engine.Edge)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 6)
		if s.setup != nil {
			s.setup(w)
		}
		var outcomes []engine.Outcome
		if kill := at; s.at != nil {
			at = func(e engine.Edge) {
				s.at(w, e)
				kill(e)
			}
		}
		for i, st := range strategy.Rolling().Stages {
			o, message := w.stage(int64(i+1), st.Name, strategy.Forward, at)
			outcomes = append(outcomes, o)
			t.Logf("%s: %s: %s", st.Name, o, message)
			if o != engine.Completed {
				break
			}
			if st.Name == s.back {
				o, message := w.stage(10, st.Name, strategy.Back, at)
				outcomes = append(outcomes, o)
				t.Logf("%s back: %s: %s", st.Name, o, message)
				break
			}
		}
		if !slices.Equal(outcomes, s.outcomes) {
			t.Errorf("ended as %v, want %v", outcomes, s.outcomes)
		}
		w.want(s.versions...)
		if w.features != s.features {
			t.Errorf("features are open: %v", w.features)
		}
		if w.fewest < s.least {
			t.Errorf("%d nodes served at some time, %d had to", w.fewest, s.least)
		}
	})
}

// A node that somebody brings back to the old version after the last look keeps the features shut.
func TestNoFeatureBeforeTheLastNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3)
		w.camp.Rolling.LeastServing = 50
		once := false // the step is begun anew after each wait
		for i, st := range strategy.Rolling().Stages {
			o, message := w.stage(int64(i+1), st.Name, strategy.Forward, func(e engine.Edge) {
				if e.String() == "finalize/forward/1-open-features/intent/after" && !once {
					once = true
					w.mu.Lock()
					w.nodes["n2"].version = "1.0"
					w.mu.Unlock()
					time.AfterFunc(3*time.Minute, func() {
						w.mu.Lock()
						defer w.mu.Unlock()
						if w.features {
							t.Error("the features are open and a node is old")
						}
						w.nodes["n2"].version = "1.1"
					})
				}
			})
			if o != engine.Completed {
				t.Fatalf("%s: %s: %s", st.Name, o, message)
			}
		}
		if !w.features {
			t.Error("the features are not open")
		}
	})
}

// TestAKillAtEveryEdge kills the supervisor once at each edge that a scenario meets, and wants the end that there is without the kill: never
// fewer nodes than the share, none stopped under a session, none started before its schema, no feature early.
func TestAKillAtEveryEdge(t *testing.T) {
	listed := map[string]bool{}
	hs := newWorld(t, 6).handlers()
	for _, st := range strategy.Rolling().Stages {
		for _, dir := range []strategy.Direction{strategy.Forward, strategy.Back} {
			if dir == strategy.Back && st.PointOfNoReturn {
				continue
			}
			p, _ := strategy.Rolling().Expand(st.Name, dir)
			for _, e := range engine.Edges(p, hs) {
				listed[e.String()] = true
			}
		}
	}
	kills := 0
	for _, name := range slices.Sorted(maps.Keys(scenarios)) {
		s := scenarios[name]
		met := map[string]bool{}
		ok := t.Run(name, func(t *testing.T) { s.run(t, func(e engine.Edge) { met[e.String()] = true }) })
		if !ok {
			continue
		}
		for _, e := range slices.Sorted(maps.Keys(met)) {
			if !listed[e] {
				t.Errorf("%s: edge %s was met and is not listed", name, e)
			}
			kills++
			hit := false
			if !t.Run(name+"/"+strings.ReplaceAll(e, "/", ":"), func(t *testing.T) {
				s.run(t, func(at engine.Edge) {
					if at.String() == e && !hit {
						hit = true
						runtime.Goexit()
					}
				})
			}) {
				return
			}
		}
	}
	t.Logf("%d kills", kills)
}
