package datacheck_test

import (
	"encoding/json"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/engine/enginetest"
	"github.com/windlass-db/windlass/internal/strategy"
)

// killedAndAborted kills the comparison with SIGKILL while it holds a server, and a person aborts the action before anybody goes on with it.
// The next holder, under a higher term, turns the action round: what the comparison stopped runs again, and what somebody else has stopped
// does not. trap 35
func killedAndAborted(t *testing.T, w *world) {
	left := w.killedHolding(t)
	w.replica.Exec(t, "STOP SLAVE SQL_THREAD") // a person's own
	defer w.replica.Exec(t, "START SLAVE")

	plan, _ := strategy.BlueGreen().Expand(strategy.StageVerify, strategy.Forward)
	hs, err := engine.NewHandlers(bluegreen.Handlers(bluegreen.Ports{DataChecker: checker(t, nil)})...)
	if err != nil {
		t.Fatal(err)
	}
	journal := enginetest.NewMemory(time.Now)
	journal.Add(engine.Assignment{
		ActionID: 1, LeaseTTL: time.Minute, Plan: plan, Cluster: w.cluster, Campaign: campaign.Campaign{Name: "raise", FromCell: "blue", ToCell: "green"},
		Steps: []engine.StepRecord{{Kind: strategy.VerifyData, Phase: engine.Intent, Status: engine.Status(map[string]any{"cursor": left}), StartedAt: time.Now()}},
	})
	killed, _ := journal.Lease(1)
	if err := journal.Release(t.Context(), 1, killed.Term, 0); err != nil { // as if its lease had run out
		t.Fatal(err)
	}
	journal.Abort(1)
	a, ok := journal.Lease(1)
	if !ok || a.Term <= killed.Term {
		t.Fatalf("leased: %v, term %d after %d", ok, a.Term, killed.Term)
	}
	end, err := engine.Run(t.Context(), journal, hs, a, engine.Options{})
	if err != nil || end.Outcome != engine.Aborted {
		t.Fatalf("ended as %q: %v", end.Outcome, err)
	}
	running(t, w.green)
	if len(stopped(t, w.replica)) == 0 {
		t.Error("what a person stopped was started")
	}
	if a, _, _ := journal.Action(1); a.Steps[0].Phase != engine.Undone {
		t.Errorf("the journal says %+v", a.Steps[0])
	}
}

// killedHolding kills a comparison while it holds the new server stopped, and gives the status that it left.
func (w *world) killedHolding(t *testing.T) json.RawMessage {
	t.Helper()
	release := block(t, w.replica)
	w.primary.Exec(t, "UPDATE app.load_rows SET v = v + 1 WHERE id = 1")
	w.green.CatchUp(t, w.primary)
	dir := w.dir(t)
	cmd := process(t, dir, 0)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	const held = "Slave_SQL_Running No"
	processtest.Until(t, 30*time.Second, held, func() bool { return slices.Contains(stopped(t, w.green), held) })
	if err := cmd.Process.Signal(os.Kill); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("it was not killed")
	}
	release()
	if st := readStatus(t, dir); !slices.Equal(st.Stopped, []string{"green-1"}) {
		t.Errorf("the status of the killed run says %q is stopped", st.Stopped)
	}
	return json.RawMessage(read(t, dir, "status"))
}

// TestReleaseOfNothing: a status that names nobody, and none, ask no server.
func TestReleaseOfNothing(t *testing.T) {
	k := checker(t, nil)
	for _, status := range []string{"", `{"rounds":[],"all_tables":0,"bytes":0,"all_bytes":0}`} {
		if ok, err := k.Released(t.Context(), (&world{}).cluster, json.RawMessage(status)); !ok || err != nil {
			t.Errorf("%q: %v %v", status, ok, err)
		}
		if err := k.Release(t.Context(), (&world{}).cluster, json.RawMessage(status)); err != nil {
			t.Errorf("%q: %v", status, err)
		}
	}
	if _, err := k.Released(t.Context(), (&world{}).cluster, json.RawMessage(`{"stopped":`)); err == nil {
		t.Error("an unreadable status counts as one that names nobody")
	}
}
