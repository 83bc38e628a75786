package mysql

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
)

// noted is a cluster of which a note says that blue-1 is the primary.
func noted(t *testing.T) (w *world, blue, green *processtest.Server) {
	t.Helper()
	w = newWorld(t, 1, 1)
	w.term++
	if err := w.d.Fence(bg(t), w.c, w.term); err != nil {
		t.Fatal(err)
	}
	if err := w.d.Replicate(bg(t), w.c, "green", w.term); err != nil {
		t.Fatal(err)
	}
	return w, w.servers["blue-1"], w.servers["green-1"]
}

// failover is what a tool or a person does, that writes none of our notes: to is the primary, and from its replica.
func failover(t *testing.T, from, to *processtest.Server) {
	t.Helper()
	to.Exec(t, "STOP SLAVE")
	to.Exec(t, "RESET SLAVE ALL")
	to.Exec(t, "SET GLOBAL read_only=0")
	from.Exec(t, "SET GLOBAL read_only=1")
	from.Exec(t, fmt.Sprintf("CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT=%d, MASTER_USER='%s', MASTER_PASSWORD='%s', MASTER_USE_GTID=slave_pos, MASTER_SSL=0, MASTER_CONNECT_RETRY=1", to.Port, processtest.AdminUser, processtest.AdminPassword))
	from.Exec(t, "START SLAVE")
	from.CatchUp(t, to)
}

func restart(t *testing.T, s *processtest.Server) {
	t.Helper()
	kill(t, s)
	if err := s.Start(bg(t)); err != nil {
		t.Fatal(err)
	}
}

// refused wants the cluster to be left alone, and the reason to be said.
func (w *world) refused(t *testing.T, c fleet.Cluster, why string) {
	t.Helper()
	before := fmt.Sprint(w.ask(t, "blue-1", "SELECT @@global.read_only"), w.ask(t, "green-1", "SELECT @@global.read_only"))
	w.term++
	if err := w.d.Reopen(bg(t), c, w.term); !errors.Is(err, ErrContested) || !strings.Contains(err.Error(), why) {
		t.Errorf("got %v; want %q", err, why)
	}
	if after := fmt.Sprint(w.ask(t, "blue-1", "SELECT @@global.read_only"), w.ask(t, "green-1", "SELECT @@global.read_only")); after != before {
		t.Errorf("read_only went from %s to %s", before, after)
	}
}

// Somebody has moved the primary since our note was written, and then it and the noted one were restarted: nobody is opened, for
// the noted one is a replica. Before, that made a second primary as soon as the real one was opened by hand.
func TestANodeThatFollowsSomebodyIsNotOpened_trap2(t *testing.T) {
	t.Parallel()
	w, blue, green := noted(t)
	failover(t, blue, green)
	restart(t, blue)
	restart(t, green)
	w.refused(t, w.c, "is a replica of")
	// The same if the real primary is in no inventory of ours.
	alone := w.c
	alone.Cells = []fleet.Cell{w.c.Cells[0]}
	green.Exec(t, "SET GLOBAL read_only=0")
	w.refused(t, alone, "is a replica of")
}

// One that others do not follow is not opened either: who follows whom speaks louder than a note.
func TestANodeThatOthersDoNotFollowIsNotOpened_trap2(t *testing.T) {
	t.Parallel()
	w, blue, green := noted(t)
	other := processtest.New(t, "11.8")
	if err := other.Start(bg(t)); err != nil {
		t.Fatal(err)
	}
	green.Exec(t, "STOP SLAVE")
	green.Exec(t, fmt.Sprintf("CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT=%d, MASTER_USER='%s', MASTER_PASSWORD='%s', MASTER_USE_GTID=slave_pos, MASTER_SSL=0", other.Port, processtest.AdminUser, processtest.AdminPassword))
	restart(t, blue)
	w.refused(t, w.c, "replicates from")
}

// A mend fences every node before it opens one, so that a holder of an older term opens nothing behind its back; and so it does when it refuses
// after the look. (trap 1)
func TestAReopenFencesEveryNode_trap1(t *testing.T) {
	t.Parallel()
	w, blue, _ := noted(t)
	restart(t, blue)
	stale := w.term
	w.term++
	if err := w.d.Reopen(bg(t), w.c, w.term); err != nil {
		t.Fatal(err)
	}
	w.mustBe(t, "blue")
	for _, name := range []string{"blue-1", "green-1"} {
		s, err := w.d.dialTo(bg(t), w.place(name))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.act(bg(t), stale, "open it", "SET GLOBAL read_only=0"); !errors.Is(err, engine.ErrFenced) {
			t.Errorf("%s obeys the old term: %v", name, err)
		}
		s.close()
	}
}
