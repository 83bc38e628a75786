package mysql

import (
	"testing"
)

// A replica that applies while it is attached anew goes on from where it stopped, not from where it was seen before: else it
// applies twice, or stops on a sequence number that is out of order.
func TestAttachGoesOnFromWhereTheReplicaStopped(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 1)
	blue, green := w.server("blue-1"), w.server("green-1")
	l := w.load(t, 2)
	l.more(t, 20)
	s, err := w.d.dialTo(bg(t), w.place("green-1"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if err := s.ensure(bg(t)); err != nil {
		t.Fatal(err)
	}
	green.Exec(t, "SET GLOBAL rpl_semi_sync_master_timeout=20") // nobody acknowledges
	for range 10 {
		green.Exec(t, "SET GLOBAL rpl_semi_sync_master_enabled=1") // there is something to set right, so it is stopped
		primary := w.d.lookAt(bg(t), w.place("blue-1"))
		if primary.err != nil {
			t.Fatal(primary.err)
		}
		if err := s.attach(bg(t), primary, w.term); err != nil {
			t.Fatal(err)
		}
		l.more(t, 20)
	}
	l.finish(t)
	w.sameRows(t, blue, green, "green-1")
}
