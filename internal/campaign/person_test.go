package campaign

import (
	"testing"
	"time"
)

// A person is asked for what only a person ends, and for nothing that time or another cluster ends first.
func TestNeedsPerson(t *testing.T) {
	c := Campaign{Rehearse: "switch-storage"}
	later := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	for _, one := range []struct {
		name    string
		next    string
		reasons []Reason
		want    bool
	}{
		{"approval", "verify", []Reason{{Code: CodeApproval}, {Code: CodeWindow, Until: later}}, true},
		{"approval behind a soak", "verify", []Reason{{Code: CodeSoak, Until: later}, {Code: CodeApproval}}, false},
		{"approval behind another environment", "verify", []Reason{{Code: CodeOrder}, {Code: CodeApproval}}, false},
		{"a soak of which nobody knows the end", "verify", []Reason{{Code: CodeOrderSoak}}, true},
		{"a window that never opens", "verify", []Reason{{Code: CodeWindow}}, true},
		{"limit", "verify", []Reason{{Code: CodeLimit}}, false},
		{"a pause is a person's own", "verify", []Reason{{Code: CodePaused}}, false},
		{"unknown", "verify", []Reason{{Code: CodeUnknown}}, true},
		{"the one that rehearses", "switch-gateway", []Reason{{Code: CodeRehearsal}}, true},
		{"those that wait for the rehearsal", "switch-storage", []Reason{{Code: CodeRehearsal}}, false},
		{"running", "verify", []Reason{{Code: CodeRunning}}, false},
	} {
		if _, got := c.NeedsPerson(&Hold{Next: one.next, Reasons: one.reasons}); got != one.want {
			t.Errorf("%s: %v", one.name, got)
		}
	}
	if _, got := c.NeedsPerson(nil); got {
		t.Error("no hold needs anybody")
	}
}
