package campaign_test

import (
	"fmt"
	"testing"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/campaign/campaigntest"
)

// BenchmarkDecide measures one tick with every rule at work. internal/bench/decide holds it against the bounds.
func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000} {
		s, open, closed := campaigntest.Large(n, 1)
		b.Run(fmt.Sprintf("open/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				campaign.Decide(s, open)
			}
		})
		b.Run(fmt.Sprintf("closed/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				campaign.Decide(s, closed)
			}
		})
	}
}

// What the benchmark measures is the work of every rule.
func TestLargeSnapshotUsesEveryRule(t *testing.T) {
	s, open, closed := campaigntest.Large(2000, 1)
	seen := map[string]int{}
	for _, d := range append(campaign.Decide(s, open), campaign.Decide(s, closed)...) {
		switch {
		case d.Arrived:
			seen["arrived"]++
		case d.Start != "":
			seen["start"]++
		default:
			for _, r := range d.Hold.Reasons {
				seen[r.Code]++
			}
		}
	}
	for _, code := range []string{"arrived", "start", campaign.CodeRunning, campaign.CodeFailed, campaign.CodeAttention, campaign.CodeVersion, campaign.CodePaused, campaign.CodeFreeze, campaign.CodeWayBack,
		campaign.CodeBudget, campaign.CodeOrder, campaign.CodeSoak, campaign.CodeApproval, campaign.CodeWindow, campaign.CodeLimit} {
		if seen[code] == 0 {
			t.Errorf("no decision has %s: %v", code, seen)
		}
	}
}
