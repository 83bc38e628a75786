package notify

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/state/statetest"
)

// A hold that only Decide knows reaches Slack, once, however often the launcher looks: an approval, for a whole environment in one message.
func TestHoldsReachSlack(t *testing.T) {
	w := newWorld(t)
	c := statetest.Campaign("c", "qa", "prod")
	c.Order, c.Approve = campaign.OrderNone, []string{"create"}
	must(t, w.ApplyCampaign(ctx, c, w.refs, "mira"))
	r := receive(t)
	stop := run(t, w.notifier(discard, "a", SinkConfig{Name: "ops", Type: TypeSlack, URLFile: r.hook(t), Events: Loud, Timeout: 30 * time.Second}))
	last, err := w.LastEvent(ctx)
	must(t, err)
	for range 3 {
		_, err := w.Launch(ctx, "c", "", "mira", campaign.Decide)
		must(t, err)
		must(t, w.TellHolds(ctx, "c", campaign.Decide))
	}
	r.arrivesText(t, 2)
	stop()
	var said []string
	r.mu.Lock()
	for _, b := range r.bodies {
		var body slackBody
		must(t, json.Unmarshal(b, &body))
		for _, block := range body.Blocks {
			if block.Type == "section" {
				said = append(said, block.Text.Text)
			}
		}
	}
	r.mu.Unlock()
	all := strings.Join(said, "\n")
	if n := strings.Count(all, "held"); n != 2 {
		t.Errorf("%d holds were told:\n%s", n, all)
	}
	for _, want := range []string{"environment qa", "environment prod", "3 clusters: c00, c01, c02: approval: create waits for a person's approval. Released by, for c00: a person approves it: windlass approve"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is not in\n%s", want, all)
		}
	}
	held := 0
	for _, e := range w.all(t, last) {
		if e.Kind == "held" {
			held++
		}
	}
	if held != 2 {
		t.Errorf("%d events of holds", held)
	}
}

// arrivesText waits until so many messages were taken.
func (r *receiver) arrivesText(t *testing.T, n int) {
	t.Helper()
	eventually(t, "messages arrive", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.bodies) >= n
	})
}
