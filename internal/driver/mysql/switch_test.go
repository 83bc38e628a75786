package mysql

import (
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/fleet"
)

// The whole way: 10.11 → 11.8 → back → forward again under load, with a second node in each cell.
func TestSwitchThereAndBackUnderLoad(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, 2)
	l := w.load(t, 2)
	l.more(t, 100)
	if err := w.d.Fence(bg(t), w.c, w.term); err != nil {
		t.Fatal(err)
	}
	for i, cell := range []string{"green", "blue", "green"} {
		began := time.Now()
		out, err := w.d.Switch(bg(t), w.request(cell, "switch-"+string(rune('a'+i))))
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("to %s in %v, read-only for %.0f ms", cell, time.Since(began), out.HoldMS)
		if out.To != cell || out.From == cell || out.Kind != "storage" {
			t.Errorf("outcome %+v", out)
		}
		l.more(t, 100)
		o, err := w.d.Observe(bg(t), w.c)
		if err != nil {
			t.Fatal(err)
		}
		p, ok := o.Primary()
		if !ok || p.Cell != cell {
			t.Fatalf("observed %+v", o.Nodes)
		}
		for _, n := range o.Nodes {
			if n.Address != p.Address && (n.Role != fleet.RoleReplica || n.Source != p.Address || n.Lag < 0) {
				t.Errorf("%+v", n)
			}
		}
		if rs, err := w.d.Prove(bg(t), w.c, w.term); err != nil || !rs.OK() {
			t.Fatalf("proof: %v, %v", rs, err)
		}
	}
	l.finish(t)
	w.mustBe(t, "green")
}
