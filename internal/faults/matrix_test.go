package faults

import (
	"os"
	"strings"
	"testing"

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
		err = os.ErrNotExist
	}
	return err
}

func TestOne(t *testing.T) {
	l := newLane(t, newTemplate(t))
	for _, e := range edges(t) {
		if want := os.Getenv("WINDLASS_FAULTS_ONLY"); want == "" || strings.Contains(e.String(), want) {
			for _, v := range victims() {
				c := testCase{e, v}
				res, err := l.run(c)
				t.Logf("%s: %v hit %v by hand %v: %v", c, res.took, res.hit, res.byHand, err)
				if err != nil {
					t.Fatalf("%s", strings.Join(res.trace, "\n"))
				}
			}
		}
	}
}
