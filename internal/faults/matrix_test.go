package faults

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"regexp"
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
}

func newQueue(cases []testCase) *queue {
	q := &queue{left: map[way][]testCase{}}
	for _, c := range cases {
		q.left[c.way()] = append(q.left[c.way()], c)
	}
	return q
}

// take gives a case for a lane whose primary is in the cell.
func (q *queue) take(cell string) (testCase, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
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
	mu     sync.Mutex
	cases  map[victim]int
	byHand map[string]int
	failed int
	took   []time.Duration
}

// runAll runs the cases on two lanes at once.
func runAll(t *testing.T, cases []testCase) {
	tm := newTemplate(t)
	q := newQueue(cases)
	sum := &tally{cases: map[victim]int{}, byHand: map[string]int{}}
	began := time.Now()
	t.Run("lanes", func(t *testing.T) {
		for n := range 2 {
			t.Run(fmt.Sprintf("lane %d", n+1), func(t *testing.T) {
				t.Parallel()
				for clone := 1; ; clone++ {
					first, ok := q.take("blue")
					if !ok {
						return
					}
					t.Run(fmt.Sprintf("clone %d", clone), func(t *testing.T) { runLane(t, newLane(t, tm), first, q, sum) })
				}
			})
		}
	})
	slices.Sort(sum.took)
	if len(sum.took) > 0 {
		t.Logf("%d cases in %v, %d failed; by victim: %v; a case took %v (median), %v at most", len(sum.took), time.Since(began).Round(time.Second), sum.failed, sum.cases,
			sum.took[len(sum.took)/2].Round(10*time.Millisecond), sum.took[len(sum.took)-1].Round(10*time.Millisecond))
	}
	for _, at := range slices.Sorted(maps.Keys(sum.byHand)) {
		t.Logf("opened by hand: %s", at)
	}
}

func runLane(t *testing.T, l *lane, c testCase, q *queue, sum *tally) {
	for n := 1; ; n++ {
		res, err := l.run(c)
		if err == nil && !res.hit {
			err = fmt.Errorf("the edge was not met")
		}
		t.Logf("%s %s: %v", time.Now().Format("15:04:05"), c, cmp.Or(fmt.Sprint(res.took.Round(time.Millisecond))))
		sum.mu.Lock()
		sum.cases[c.victim]++
		sum.took = append(sum.took, res.took)
		if res.byHand {
			sum.byHand[c.String()]++
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

// TestEveryVictimAtEveryEdge is the storage switch's part of the matrix that internal/sim runs in simulation.
func TestEveryVictimAtEveryEdge(t *testing.T) {
	var cases []testCase
	only := regexp.MustCompile(os.Getenv("WINDLASS_FAULTS_ONLY"))
	for _, e := range edges(t) {
		for _, v := range victims() {
			if c := (testCase{e, v}); only.MatchString(c.String()) {
				cases = append(cases, c)
			}
		}
	}
	runAll(t, cases)
}
