package faults

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/strategy"
)

// edges lists every edge of the storage switch: forward with its turning round, then the way back.
func edges(t testing.TB) []engine.Edge {
	t.Helper()
	hs, err := engine.NewHandlers(bluegreen.Handlers(bluegreen.Ports{SwitchPoints: switchPoints()})...)
	if err != nil {
		t.Fatal(err)
	}
	var all []engine.Edge
	for _, dir := range []strategy.Direction{strategy.Forward, strategy.Back} {
		plan, ok := strategy.BlueGreen().Expand(strategy.StageSwitchStorage, dir)
		if !ok {
			t.Fatal("the strategy has no storage switch")
		}
		all = append(all, engine.Edges(plan, hs)...)
	}
	return all
}

// says looks for a text in a log.
func says(file, text string) error {
	b, err := os.ReadFile(file)
	if err == nil && !strings.Contains(string(b), text) {
		err = fmt.Errorf("%s does not say %q", file, text)
	}
	return err
}

// queue hands out cases so that a lane seldom has to be taken to where its next case begins.
type queue struct {
	mu   sync.Mutex
	left map[way][]testCase
	stop time.Time // no case is handed out after it, so that a test that is too slow ends what it has started; zero: never
}

func newQueue(cases []testCase, deadline time.Time) *queue {
	q := &queue{left: map[way][]testCase{}}
	if !deadline.IsZero() {
		q.stop = deadline.Add(-patience)
	}
	for _, c := range cases {
		q.left[c.way()] = append(q.left[c.way()], c)
	}
	return q
}

// take gives a case for a lane whose primary is in the cell.
func (q *queue) take(cell string) (testCase, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.stop.IsZero() && time.Now().After(q.stop) {
		return testCase{}, false
	}
	order := []way{forward, turning, back}
	if cell == "green" {
		order = []way{back, forward, turning}
	} else if len(q.left[turning]) > 0 && len(q.left[back]) < len(q.left[forward]) {
		order[0], order[1] = turning, forward
	}
	for _, w := range order {
		if l := q.left[w]; len(l) > 0 {
			q.left[w] = l[1:]
			return l[0], true
		}
	}
	return testCase{}, false
}

// casesOfALane is after how many cases a lane is cloned anew.
const casesOfALane = 30

// tally is what all cases came to.
type tally struct {
	mu      sync.Mutex
	cases   map[victim]int
	byWatch map[string]int
	failed  int
	took    []time.Duration
	phases  phases // of all cases
}

// lanesBeside is how many lanes there are more than processors. A lane keeps one busy but for the moments in which a server comes up; each one more
// makes all cases slower, and what a lane costs by the second (clients, prober, monitors) makes slower cases dearer.
const lanesBeside = 1

// job is what takes a lane of its own.
type job struct {
	name string
	run  func(t *testing.T)
}

// runAll starts lanes that take the jobs, and then cases until none is left.
func runAll(t *testing.T, tm *template, jobs []job, cases []testCase, sum *tally) {
	deadline, _ := t.Deadline()
	q := newQueue(cases, deadline)
	waiting := make(chan job, len(jobs))
	for _, j := range jobs {
		waiting <- j
	}
	close(waiting)
	var all sync.WaitGroup
	for n := range runtime.GOMAXPROCS(0) + lanesBeside {
		all.Go(func() {
			for j := range waiting {
				t.Run(j.name, j.run)
			}
			for clone := 1; ; clone++ {
				first, ok := q.take("blue")
				if !ok {
					return
				}
				t.Run(fmt.Sprintf("edges, lane %d, clone %d", n+1, clone), func(t *testing.T) { runLane(t, newLane(t, tm), first, q, sum) })
			}
		})
	}
	all.Wait()
	if n := len(q.left[forward]) + len(q.left[turning]) + len(q.left[back]); n > 0 {
		t.Errorf("%d of %d cases were not run before the test's time was over: give it more with -timeout, or the machine less to do", n, len(cases))
	}
}

// report says what all cases came to.
func (sum *tally) report(t *testing.T) {
	slices.Sort(sum.took)
	if n := len(sum.took); n > 0 {
		t.Logf("%d cases, %d failed; by victim: %v; a case took %v (median), %v at most", n, sum.failed, sum.cases, sum.took[n/2].Round(10*time.Millisecond), sum.took[n-1].Round(10*time.Millisecond))
		t.Logf("on average: %s", sum.phases.over(n))
	}
	for _, at := range slices.Sorted(maps.Keys(sum.byWatch)) {
		t.Logf("opened by the watch: %s", at)
	}
}

func runLane(t *testing.T, l *lane, c testCase, q *queue, sum *tally) {
	for n := 1; ; n++ {
		res, err := l.run(c)
		if err == nil && !res.hit {
			err = fmt.Errorf("the edge was not met")
		}
		t.Logf("%s %s: %v (%s)", time.Now().Format("15:04:05"), c, res.took.Round(time.Millisecond), res.phases)
		sum.mu.Lock()
		sum.cases[c.victim]++
		sum.took = append(sum.took, res.took)
		sum.phases.add(res.phases)
		if res.byWatch {
			sum.byWatch[c.String()]++
		}
		if err != nil {
			sum.failed++
		}
		sum.mu.Unlock()
		if err != nil {
			t.Errorf("%s: %v\nthe edges that were met:\n%s", c, err, strings.Join(res.trace, "\n"))
			return // another clone goes on
		}
		if n == casesOfALane {
			break
		}
		var ok bool
		if c, ok = q.take(c.primary()); !ok {
			break
		}
	}
	if err := l.finish(); err != nil {
		t.Error(err)
	}
}

// What is run is chosen by the environment: allEnv=all runs every victim at every edge, as make matrix does; onlyEnv, a regular expression over "edge × victim",
// those of all that match.
const allEnv, onlyEnv = "WINDLASS_FAULTS", "WINDLASS_FAULTS_ONLY"

// chosen lists the cases to run.
func chosen(t *testing.T) []testCase {
	t.Helper()
	all, only := os.Getenv(allEnv) == "all", os.Getenv(onlyEnv)
	match, err := regexp.Compile(only)
	if err != nil {
		t.Fatal(err)
	}
	var cases []testCase
	writes, points := 0, 0
	for _, e := range edges(t) {
		switch {
		case e.Point != "":
			points++
		case !e.After:
			writes++
		}
		for i, v := range victims() {
			c := testCase{e, v}
			switch {
			case only != "":
				if !match.MatchString(c.String()) {
					continue
				}
			case all:
			case e.Point != "" && points%len(victims()) != i:
				continue
			case v == victimPaused && e.Point == "" && (writes%pausedAtEach != 0 || e.After != (writes%2 == 0)):
				continue
			}
			cases = append(cases, c)
		}
	}
	return cases
}

// pausedAtEach: a supervisor that is paused and wakes is at every third write, before one and after the next. Points have it in their turn.
const pausedAtEach = 3

// TestStorageSwitch is the storage switch's part of the matrix that internal/sim runs in simulation, and what holds a switch.
func TestStorageSwitch(t *testing.T) {
	tm := newTemplate(t)
	cases := chosen(t)
	sum := &tally{cases: map[victim]int{}, byWatch: map[string]int{}}
	began := time.Now()
	var jobs []job
	if os.Getenv(onlyEnv) == "" {
		jobs = append(holds(tm), aborts(tm)...)
	}
	runAll(t, tm, jobs, cases, sum)
	sum.report(t)
	t.Logf("all took %v; %s=all runs %d cases", time.Since(began).Round(time.Second), allEnv, len(edges(t))*len(victims()))
}
