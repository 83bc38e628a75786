package rolling

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/strategy"
)

// Every setting that a campaign's file takes fits into the deadlines of the steps that obey it.
func TestLongSettingsFitTheDeadlines(t *testing.T) {
	for name, set := range map[string]func(r *campaign.Rolling){
		"watch":        func(r *campaign.Rolling) { r.Watch = 3 * time.Hour },
		"slow start":   func(r *campaign.Rolling) { r.SlowStart = 3 * time.Hour },
		"drain within": func(r *campaign.Rolling) { r.DrainWithin = 3 * time.Hour },
		"healthy within": func(r *campaign.Rolling) {
			r.HealthyWithin = 3 * time.Hour
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 3)
				w.schema = "1.1"
				set(&w.camp.Rolling)
				for _, m := range w.nodes {
					m.long = true // is cut off when its time is over
				}
				if w.camp.Rolling.HealthyWithin > time.Hour {
					w.sick["n1"], w.sick["n3"] = "1.1", "1.1" // and get well late
					time.AfterFunc(2*time.Hour, func() { w.set("n1", "") })
					time.AfterFunc(5*time.Hour, func() { w.set("n3", "") })
				}
				for i, stage := range []string{strategy.StageCanary, strategy.StageNodes} {
					if o, message := w.stage(int64(i+1), stage, strategy.Forward, nil); o != engine.Completed {
						t.Fatalf("%s: %s: %s", stage, o, message)
					}
				}
				w.want("1.1", "1.1", "1.1")
				if o, message := w.stage(3, strategy.StageNodes, strategy.Back, nil); o != engine.Completed {
					t.Errorf("back: %s: %s", o, message)
				}
			})
		})
	}
}
