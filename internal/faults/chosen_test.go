package faults

import "testing"

// TestEachWriteIsMetByEachVictim: what is run without being asked for kills each victim at each write of the switch once, before or after it, and at each
// point two or three of the five, so that a change of the choice is not a change of what it promises.
func TestEachWriteIsMetByEachVictim(t *testing.T) {
	t.Setenv(allEnv, "")
	t.Setenv(onlyEnv, "")
	run, paused := map[string]bool{}, map[bool]int{}
	for _, c := range chosen(t) {
		run[c.String()] = true
		if c.victim == victimPaused && c.edge.Point == "" {
			paused[c.edge.After]++
		}
	}
	for _, e := range edges(t) {
		met := 0
		for _, v := range victims() {
			if v == victimPaused {
				continue
			}
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
		if met < 2 || met > 3 {
			t.Errorf("%s is met by %d victims", e, met)
		}
	}
	if paused[true] < 3 || paused[false] < 3 {
		t.Errorf("a supervisor is paused before %d writes, and behind %d", paused[false], paused[true])
	}
	t.Logf("%d cases, of %d", len(run), len(edges(t))*len(victims()))
}
