package state

import (
	"testing"

	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/engine"
)

// A feature that is used early is a loud event, once for the same words, whatever else a step says.
func TestEarlyFeaturesAreLoudOnce(t *testing.T) {
	s, c, _ := world(t, 1)
	_, err := s.Launch(ctx, "c", "", "me", next(1))
	must(t, err)
	a := lease(t, s, "h")
	for i, x := range []struct {
		r    check.Result
		told int
	}{
		{check.Passed(engine.EarlyFeatures, "none is in use", c.Now()), 0},
		{check.Warned("features", "not known", "", c.Now()), 0},
		{check.Warned(engine.EarlyFeatures, "priorities (1)", "", c.Now()), 1},
		{check.Warned(engine.EarlyFeatures, "priorities (1)", "", c.Now()), 1},
		{check.Warned(engine.EarlyFeatures, "priorities (2)", "", c.Now()), 2},
	} {
		_, err := s.Record(ctx, a.ActionID, a.Term, engine.StepRecord{Kind: a.Plan.Steps[0].Kind, Phase: engine.Intent, Message: "it goes on", Checks: check.Results{x.r}})
		must(t, err)
		all, err := s.Events(ctx, EventFilter{Ref: c00})
		must(t, err)
		told := 0
		for _, e := range all {
			if e.Kind == "features-early" {
				if told++; !e.Loud || e.Campaign != "c" || e.Action != a.ActionID {
					t.Errorf("%+v", e)
				}
			}
		}
		if told != x.told {
			t.Errorf("%d: told %d times, want %d", i, told, x.told)
		}
	}
}
