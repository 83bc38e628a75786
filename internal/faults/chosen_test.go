package faults

import "testing"

// TestEachWriteIsMetByEachVictim: what is run without being asked for kills each victim before and after each write of the switch, and somebody
// at each point, so that a change of the choice is not a change of what it promises.
func TestEachWriteIsMetByEachVictim(t *testing.T) {
	t.Setenv(allEnv, "")
	t.Setenv(onlyEnv, "")
	run, paused, atPoints := map[string]bool{}, map[bool]int{}, map[victim]int{}
	for _, c := range chosen(t) {
		run[c.String()] = true
		switch {
		case c.edge.Point != "":
			atPoints[c.victim]++
		case c.victim == victimPaused:
			paused[c.edge.After]++
		}
	}
	for _, e := range edges(t) {
		met := 0
		for _, v := range victims() {
			switch is := run[testCase{e, v}.String()]; {
			case is:
				met++
			case e.Point == "" && v != victimPaused:
				t.Errorf("%s × %s is not run", e, v)
			}
		}
		if e.Point != "" && met != 1 {
			t.Errorf("the point %s is met by %d victims", e, met)
		}
	}
	for _, v := range victims() {
		if atPoints[v] < 10 {
			t.Errorf("%s is at %d points", v, atPoints[v])
		}
	}
	if paused[true] < 5 || paused[false] < 5 {
		t.Errorf("a supervisor is paused before %d writes, and behind %d", paused[false], paused[true])
	}
	t.Logf("%d cases, of %d", len(run), len(edges(t))*len(victims()))
}
