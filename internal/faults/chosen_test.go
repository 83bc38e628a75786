package faults

import "testing"

// TestEachWriteIsMetFromOneSide: what `make faults` runs kills each victim at each write of the switch once, before or after it, and at each
// point every other victim, so that a change of the selection is not a change of what it promises.
func TestEachWriteIsMetFromOneSide(t *testing.T) {
	t.Setenv(allEnv, "sides")
	t.Setenv(onlyEnv, "")
	run := map[string]bool{}
	for _, c := range chosen(t) {
		run[c.String()] = true
	}
	for _, e := range edges(t) {
		met := 0
		for _, v := range victims() {
			other := e
			other.After = !e.After
			here, there := run[testCase{e, v}.String()], run[testCase{other, v}.String()]
			if e.Point == "" && here == there {
				t.Errorf("%s × %s is met on %v sides", e, v, map[bool]string{true: "both", false: "no"}[here])
			}
			if here {
				met++
			}
		}
		if met != len(victims())/2 {
			t.Errorf("%s is met by %d victims", e, met)
		}
	}
	t.Logf("%d cases", len(run))
}
