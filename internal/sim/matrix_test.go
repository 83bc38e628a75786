package sim

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"maps"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/strategy"
)

// scenarios are runs of one cluster that together meet every edge that the code lists.
func scenarios() map[string]Config {
	base := Config{Seed: 1, Envs: []string{"qa"}, Clusters: 1, Owned: true, Deadline: 2 * time.Minute}
	with := func(s Script) Config { c := base; c.Script = s; return c }
	all := map[string]Config{
		"plain":                              base,
		"hiccups":                            with(Script{Hiccup: true}),
		"not ours":                           func() Config { c := base; c.Owned = false; return c }(),
		"the switch is called off":           with(Script{Lag: 1}),
		"rolled back to the beginning":       with(Script{Hiccup: true, RollbackFrom: strategy.StageSwitchGateway}),
		"rolled back while it captures":      with(Script{Hiccup: true, RollbackFrom: strategy.StageSwitchGateway, KeepCapture: true}),
		"a query is answered otherwise":      with(Script{Differs: true}),
		"rolled back, and it stays so":       with(Script{RollbackFrom: strategy.StageSwitchGateway, Stay: true}),
		"the switch back is called off":      with(Script{RollbackFrom: strategy.StageSwitchStorage, RollbackTo: strategy.StageReplay, Lag: 2}),
		"the undo of a switch is called off": with(Script{Refuse: strategy.WatchWayBack, RefuseLook: 1, Lag: 2}),
	}
	// A comparison is broken off where it holds replicas: by its deadline, and by a person. Killed there as well, another
	// holder finds it so (trap 35).
	const held = "verify/forward/0-verify-data/save/after"
	all["a comparison hangs"] = with(Script{Hang: strategy.VerifyData})
	all["a comparison is aborted"] = with(Script{Hang: strategy.VerifyData, AbortAt: held})
	all["a comparison is aborted, with hiccups"] = with(Script{Hang: strategy.VerifyData, AbortAt: held, Hiccup: true})
	const heldByReplay = "replay/forward/2-replay-queries/save/after"
	all["a replay hangs"] = with(Script{Hang: strategy.ReplayQueries})
	all["a replay is aborted"] = with(Script{Hang: strategy.ReplayQueries, AbortAt: heldByReplay})
	all["a replay is aborted, with hiccups"] = with(Script{Hang: strategy.ReplayQueries, AbortAt: heldByReplay, Hiccup: true})
	for stage, k := range lastOf {
		all["refused: "+stage] = with(Script{Refuse: k.kind, RefuseLook: k.look})
		all["refused with hiccups: "+stage] = with(Script{Hiccup: true, Refuse: k.kind, RefuseLook: k.look + 1})
	}
	for _, st := range strategy.BlueGreen().Stages {
		for _, step := range st.Steps {
			h := handlerOf(step.Kind)
			switch {
			case st.PointOfNoReturn:
				all["stuck: "+string(step.Kind)] = with(Script{Stuck: step.Kind})
			case h.Release.Observe != nil:
				all["its release is stuck: "+string(step.Kind)] = with(Script{Hang: step.Kind, Stuck: step.Kind, StuckBack: true})
			case h.Back.Observe != nil:
				all["its undo is stuck: "+string(step.Kind)] = with(Script{Refuse: lastOf[st.Name].kind, RefuseLook: lastOf[st.Name].look, Stuck: step.Kind, StuckBack: true})
				all["the way back is stuck: "+string(step.Kind)] = with(Script{RollbackFrom: strategy.StageSwitchGateway, Stuck: step.Kind, StuckBack: true, KeepCapture: step.Kind == strategy.StartCapture})
			}
		}
	}
	return all
}

// lastOf is each stage's last step, and the look at it that comes when there is something to undo.
var lastOf = map[string]struct {
	kind strategy.Kind
	look int
}{
	strategy.StageCreate:        {strategy.ProvisionGateway, 2},
	strategy.StageVerify:        {strategy.VerifyData, 2},
	strategy.StageReplay:        {strategy.EndCapture, 1},
	strategy.StageSwitchStorage: {strategy.WatchWayBack, 1},
	strategy.StageSwitchGateway: {strategy.DrainGateway, 1},
}

func handlers() []engine.Handler { return bluegreen.Handlers(newWorld(newSched(0)).ports()) }

func handlerOf(k strategy.Kind) engine.Handler {
	for _, h := range handlers() {
		if h.Kind == k {
			return h
		}
	}
	panic("no handler for " + string(k))
}

// edges lists every edge of every stage, forward with its turning round, and back.
func edges(t *testing.T) []engine.Edge {
	hs, err := engine.NewHandlers(handlers()...)
	if err != nil {
		t.Fatal(err)
	}
	var es []engine.Edge
	for _, st := range strategy.BlueGreen().Stages {
		for _, dir := range []strategy.Direction{strategy.Forward, strategy.Back} {
			if dir == strategy.Back && st.PointOfNoReturn {
				continue // the state refuses it
			}
			p, _ := strategy.BlueGreen().Expand(st.Name, dir)
			es = append(es, engine.Edges(p, hs)...)
		}
	}
	return es
}

// met is what the scenarios came to without a fault: which of them meet an edge, the one with the fewest events first.
type met struct {
	reports map[string]Report
	errs    map[string]error
	edges   map[string][]string // scenarios by edge
}

// unhurt runs every scenario once without a fault.
var unhurt = sync.OnceValue(func() met {
	all := scenarios()
	m := met{reports: map[string]Report{}, errs: map[string]error{}, edges: map[string][]string{}}
	var mu sync.Mutex
	atOnce(slices.Sorted(maps.Keys(all)), func(name string) {
		rep, err := Run(all[name])
		mu.Lock()
		defer mu.Unlock()
		m.reports[name], m.errs[name] = rep, err
		for _, e := range rep.Edges {
			m.edges[e] = append(m.edges[e], name)
		}
	})
	for _, names := range m.edges {
		slices.SortFunc(names, func(a, b string) int {
			return cmp.Or(cmp.Compare(m.reports[a].Events, m.reports[b].Events), cmp.Compare(a, b))
		})
	}
	return m
})

// atOnce calls f for each, on as many cores as there are.
func atOnce[T any](list []T, f func(T)) {
	work := make(chan T)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for x := range work {
				f(x)
			}
		})
	}
	for _, x := range list {
		work <- x
	}
	close(work)
	wg.Wait()
}

// TestScenariosMeetEveryEdge: no edge that the code lists is left out of the matrix, and none is met that it does not list.
// Without a fault no scenario costs a client anything.
func TestScenariosMeetEveryEdge(t *testing.T) {
	m := unhurt()
	for name, rep := range m.reports {
		if err := m.errs[name]; err != nil {
			t.Errorf("%s, without a fault: %v", name, err)
		}
		if rep.ClientErrs > 0 || rep.Unknown > 0 || rep.Mended > 0 {
			t.Errorf("%s, without a fault: %d errors, %d unknown writes, %d mends", name, rep.ClientErrs, rep.Unknown, rep.Mended)
		}
		t.Logf("%6d events in %8v, longest stall %v: %s", rep.Events, rep.Took, rep.Stall.Round(time.Millisecond), name)
	}
	listed := map[string]bool{}
	for _, e := range edges(t) {
		listed[e.String()] = true
		if len(m.edges[e.String()]) == 0 {
			t.Errorf("no scenario meets edge %s", e)
		}
	}
	for e := range m.edges {
		if !listed[e] {
			t.Errorf("edge %s was met but is not listed", e)
		}
	}
	t.Logf("%d scenarios meet %d edges", len(m.reports), len(listed))
}

// jobs are the runs of the matrix: each victim once at each edge, in the scenario that comes there with the fewest events, or
// in every one that comes there.
func jobs(everywhere bool, seeds int) []job {
	m := unhurt()
	var list []job
	for _, e := range slices.Sorted(maps.Keys(m.edges)) {
		for _, v := range Victims() {
			if v == ServerAnswer && !strings.HasSuffix(e, "/before") {
				continue
			}
			names := m.edges[e]
			if !everywhere {
				names = names[:1]
			}
			for _, name := range names {
				for i := range seeds {
					list = append(list, job{name, e, v, seedOf(name, e, v, i)})
				}
			}
		}
	}
	return list
}

func seedOf(parts ...any) uint64 {
	h := fnv.New64a()
	fmt.Fprintln(h, parts...)
	return h.Sum64() % 1_000_000
}

// seedsAsked is how many seeds are to be tried, and whether in every scenario that comes to an edge.
func seedsAsked(t *testing.T) (seeds int, everywhere bool) {
	v := os.Getenv("WINDLASS_SIM_SEEDS")
	if v == "" {
		return 1, false
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		t.Fatalf("WINDLASS_SIM_SEEDS=%q is not a number of seeds", v)
	}
	return n, true
}

// TestKillEveryVictimAtEveryEdge is the whole matrix: each victim is killed once at each edge of every stage, forward,
// turning round and on the way back. Whatever it is, the campaign arrives, or goes back where the scenario says so,
// nothing acknowledged is lost, and there are never two primaries. With WINDLASS_SIM_SEEDS=N it is run N times with
// other seeds, at each edge in every scenario that comes there.
func TestKillEveryVictimAtEveryEdge(t *testing.T) {
	seeds, everywhere := seedsAsked(t)
	all, list := scenarios(), jobs(everywhere, seeds)
	if *only != "" {
		re, err := regexp.Compile(*only)
		if err != nil {
			t.Fatal(err)
		}
		list = slices.DeleteFunc(list, func(j job) bool { return !re.MatchString(fmt.Sprintf("%s;%s;%s", j.scenario, j.edge, j.victim)) })
	}
	var mu sync.Mutex
	hit, mended := 0, 0
	var stall time.Duration
	atOnce(list, func(j job) {
		rep, err := Run(j.config(all))
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			t.Errorf("%s: %v\nrun it again: %s", j.scenario, err, j.command())
		}
		hit += rep.Hit
		mended += rep.Mended
		stall = max(stall, rep.Stall)
	})
	t.Logf("%d runs, %d kills, %d times a cluster without an action was put right; the longest stall of a write was %v", len(list), hit, mended, stall)
}
