package sim

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/strategy"
)

// abortAt are the edges of the storage switch's own step at which a person may abort: every write and every point of it, of the undo of a switch that is
// called off too.
func abortAt(t *testing.T) []string {
	var all []string
	for _, e := range edges(t) {
		if e.Stage == strategy.StageSwitchStorage && e.Direction == strategy.Forward && !e.Undo && e.Kind == strategy.SwitchStorage {
			all = append(all, e.String())
		}
	}
	return all
}

// TestAbortAtEveryPointOfTheSwitch aborts the action at each edge of the storage switch's step: while its supervisor works on, told by its next
// write; told by its heartbeat in the middle of a stride; and with the supervisor killed there. The action turns round from wherever it is,
// also from after the promotion, no person is needed, and the next try arrives.
func TestAbortAtEveryPointOfTheSwitch(t *testing.T) {
	seeds, _ := seedsAsked(t)
	all, m := scenarios(), unhurt()
	type run struct {
		name string
		cfg  Config
	}
	var list []run
	for _, e := range abortAt(t) {
		name := m.edges[e][0]
		for _, way := range []string{"alive", "told", "killed"} {
			for i := range seeds {
				cfg := all[name]
				cfg.Seed = seedOf(e, way, i)
				cfg.Script.AbortAt, cfg.Script.AbortTold = e, way == "told"
				if way == "killed" {
					cfg.Faults = []Fault{{e, Supervisor}}
				}
				list = append(list, run{fmt.Sprintf("%s at %s (%s)", way, e, name), cfg})
			}
		}
	}
	var mu sync.Mutex
	ends := map[engine.Outcome]int{}
	atOnce(list, func(x run) {
		rep, err := Run(x.cfg)
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			t.Errorf("%s: %v", x.name, err)
		}
		if n := rep.Outcomes[engine.Aborted]; n != 1 {
			t.Errorf("%s, seed %d: aborted %d times: %v", x.name, x.cfg.Seed, n, rep.Outcomes)
		}
		if rep.Outcomes[engine.NeedsHuman] > 0 || rep.ClientErrs > 0 {
			t.Errorf("%s, seed %d: %v, %d errors", x.name, x.cfg.Seed, rep.Outcomes, rep.ClientErrs)
		}
		for o, n := range rep.Outcomes {
			ends[o] += n
		}
	})
	t.Logf("%d runs: %v", len(list), ends)
}

// TestWhatAnActionLeftInTheSwitchIsCompletedByTheNext: an action is aborted in the middle of the switch with its supervisor killed, and its undo
// can't look for as long as it may try. A person resumes the cluster, and the next action takes the switch for what it is, one to be ended.
func TestWhatAnActionLeftInTheSwitchIsCompletedByTheNext(t *testing.T) {
	atOnce(abortAt(t), func(e string) {
		name := unhurt().edges[e][0]
		if !strings.Contains(e, "/point/") || strings.Contains(e, "/after-undo-") {
			return
		}
		cfg := scenarios()[name]
		cfg.Seed = seedOf(e)
		cfg.Faults = []Fault{{e, Supervisor}}
		cfg.Script.AbortAt, cfg.Script.Stuck, cfg.Script.StuckBack = e, strategy.SwitchStorage, true
		rep, err := Run(cfg)
		if err != nil || rep.Outcomes[engine.NeedsHuman] != 1 || rep.Outcomes[engine.WentBack]+rep.Outcomes[engine.Aborted] > 0 {
			t.Errorf("%s (%s), seed %d: %v, %v", e, name, cfg.Seed, rep.Outcomes, err)
		}
	})
}

// Aborts over the real state in SQLite.
func TestAbortOverTheRealState(t *testing.T) {
	points := slices.DeleteFunc(abortAt(t), func(e string) bool {
		return !strings.Contains(e, "/point/after-pro") && !strings.HasSuffix(e, "/save/before")
	})
	for i, e := range points {
		cfg := scenarios()["plain"]
		cfg.Seed, cfg.Real, cfg.Deadline = uint64(i), t.TempDir(), 0
		cfg.Script.AbortAt, cfg.Script.AbortTold = e, true
		rep, err := Run(cfg.traced(t))
		if err != nil || rep.Outcomes[engine.Aborted] != 1 {
			t.Errorf("%s: %v, %v", e, rep.Outcomes, err)
		}
	}
	if len(points) < 2 {
		t.Errorf("only %v", points)
	}
}
