package retest

import (
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/replay/compare"
)

func TestSettle(t *testing.T) {
	fine, slow := compare.Answer{Took: time.Second}, compare.Answer{Took: 55 * time.Second}
	failed := func(errno uint16) compare.Answer { return compare.Answer{Errno: errno} }
	same := compare.Outcome{Same: true}
	for _, c := range []struct {
		name      string
		kind      compare.Kind
		outcome   compare.Outcome
		old, new  compare.Answer
		cause     compare.Cause
		confirmed bool
	}{
		{"equal", compare.Content, same, fine, fine, compare.Moved, false},
		{"both run into the limit", compare.Content, same, failed(1969), failed(1969), compare.Unknown, false},
		{"both may not", compare.Error, same, failed(1142), failed(1142), compare.Unknown, false},
		{"both fail as the old one did", compare.ErrorGone, same, failed(1146), failed(1146), compare.Moved, false},
		{"both may not, as the old one", compare.ErrorOther, same, failed(1142), failed(1142), compare.Unknown, false},
		{"far slower", compare.Timeout, same, fine, slow, compare.Real, true},
		{"not slower", compare.Timeout, same, fine, fine, compare.Moved, false},
		{"slower, and never ended for that", compare.Content, same, fine, slow, compare.Moved, false},
		{"real", compare.Content, compare.Outcome{Kind: compare.Content, Cause: compare.Real}, fine, fine, compare.Real, true},
		{"differs from itself", compare.Content, compare.Outcome{Kind: compare.Content, Cause: compare.Suspect}, fine, fine, compare.Volatile, false},
		{"may not", compare.Content, compare.Outcome{Kind: compare.Error, Cause: compare.Environment}, fine, failed(1142), compare.Environment, false},
	} {
		if cause, confirmed, why := settle(c.kind, c.outcome, c.old, c.new); cause != c.cause || confirmed != c.confirmed {
			t.Errorf("%s: %s %v %s", c.name, cause, confirmed, why)
		}
	}
}
