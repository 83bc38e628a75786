package state

import (
	"database/sql"
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
)

func (s *Store) sql(t *testing.T, query string, args ...any) {
	t.Helper()
	must(t, s.update(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, query, args...)
		return err
	}))
}

// One cluster that is stuck is aborted alone: its action turns round at the next lease or heartbeat and ends, it then stays, and the others go on.
func TestOneClusterIsAborted(t *testing.T) {
	s, _, _ := world(t, 2)
	c0, c1 := fleet.ClusterRef{Env: "qa", Name: "c00"}, fleet.ClusterRef{Env: "qa", Name: "c01"}
	refused(t, "nothing runs", s.AbortCluster(ctx, "c", c0, "mira", "x"), "nothing runs on qa/c00", "windlass pause qa/c00")
	refused(t, "a slip", s.AbortCluster(ctx, "c", fleet.ClusterRef{Env: "qa", Name: "c0"}, "mira", "x"), "no cluster", "qa/c00")
	_, err := s.Launch(ctx, "c", "", "me", next(2))
	must(t, err)
	a, b := lease(t, s, "h"), lease(t, s, "h")
	must(t, s.Release(ctx, a.ActionID, a.Term, time.Hour)) // it waits, and is stuck
	must(t, s.AbortCluster(ctx, "c", c0, "mira", "no space left"))
	refused(t, "again", s.AbortCluster(ctx, "c", c0, "mira", "x"), "turns round already")
	if abort, err := s.Heartbeat(ctx, b.ActionID, b.Term); err != nil || abort {
		t.Errorf("the other cluster is aborted, too: %v, %v", abort, err)
	}
	again := lease(t, s, "h")
	if again.ActionID != a.ActionID || !again.Abort || again.Reason != "no space left" {
		t.Errorf("leased at once, to turn round: %+v", again)
	}
	must(t, s.Finish(ctx, again.ActionID, again.Term, engine.Aborted, "no space left"))
	must(t, s.Finish(ctx, b.ActionID, b.Term, engine.Completed, ""))
	snap, err := s.Snapshot(ctx, "c")
	must(t, err)
	if snap.Status != "running" || !strings.Contains(snap.Clusters[0].Attention, "no space left") || snap.Clusters[1].Stage != "create" {
		t.Errorf("%s, %+v", snap.Status, snap.Clusters)
	}
	out, err := s.Launch(ctx, "c", "", "me", next(2))
	must(t, err)
	if len(out.Started) != 1 || out.Started[0].Ref != c1 {
		t.Errorf("started %+v", out.Started)
	}
	// On its way back there is nothing to abort, and past the point of no return nothing can be undone.
	must(t, s.Finish(ctx, lease(t, s, "h").ActionID, b.Term+1, engine.Completed, ""))
	must(t, s.Rollback(ctx, "c", c1, "", "mira", "try"))
	refused(t, "on its way back", s.AbortCluster(ctx, "c", c1, "mira", "x"), "on its way back through verify already")
	s.sql(t, `DELETE FROM actions WHERE cluster = 'c01'`)
	s.sql(t, `UPDATE progress SET stage = 'switch-gateway' WHERE cluster = 'c01'`)
	_, err = s.Launch(ctx, "c", "", "me", next(2))
	must(t, err)
	refused(t, "past the point of no return", s.AbortCluster(ctx, "c", c1, "mira", "x"), "is in tear-down, past the point of no return")
	last, err := s.LastEvent(ctx)
	must(t, err)
	must(t, s.Abort(ctx, "c", "mira", "all of it"))
	if got := kindsAfter(t, s, last); len(got) != 1 || got[0] != "aborted mira all of it" {
		t.Errorf("%q", got)
	}
	if l := lease(t, s, "h"); l.Abort {
		t.Error("past the point of no return it turns round")
	}
}

// An abort goes by what is stored with each action: a strategy that this release does not know is no obstacle, and an action whose plan can't be read
// is told aloud and keeps nobody else.
func TestAbortGoesByTheStoredPlan(t *testing.T) {
	s, _, _ := world(t, 3)
	_, err := s.Launch(ctx, "c", "", "me", next(3))
	must(t, err)
	s.sql(t, `UPDATE campaigns SET spec = REPLACE(spec, '"bluegreen"', '"later"')`)
	s.sql(t, `UPDATE actions SET plan = '{"steps": 7}' WHERE cluster = 'c01'`)
	refused(t, "unreadable", s.AbortCluster(ctx, "c", fleet.ClusterRef{Env: "qa", Name: "c01"}, "mira", "x"), "can't be read")
	last, err := s.LastEvent(ctx)
	must(t, err)
	must(t, s.Abort(ctx, "c", "mira", "wrong version"))
	events, err := s.Events(ctx, EventFilter{After: last})
	must(t, err)
	if len(events) != 2 || events[0].Kind != "abort-failed" || !events[0].Loud || events[0].Ref.Name != "c01" || events[1].Kind != "aborted" {
		t.Errorf("%+v", events)
	}
	var turned int
	must(t, s.read.QueryRow(`SELECT COUNT(*) FROM actions WHERE abort = 1 AND cluster <> 'c01'`).Scan(&turned))
	if turned != 2 {
		t.Errorf("%d of 2 actions turn round", turned)
	}
}

// An action whose stored plan can't be read is told aloud, once, and keeps no other action of the environment from being leased.
func TestAnUnreadablePlanBlocksNobodyElse(t *testing.T) {
	s, _, _ := world(t, 2)
	_, err := s.Launch(ctx, "c", "", "me", next(2))
	must(t, err)
	s.sql(t, `UPDATE actions SET plan = '{"steps": 7}' WHERE cluster = 'c00'`)
	last, err := s.LastEvent(ctx)
	must(t, err)
	a := lease(t, s, "h")
	if a.Cluster.Name != "c01" {
		t.Errorf("leased %s", a.Cluster.Name)
	}
	for range 2 {
		if a, err := s.Lease(ctx, "qa", "h", kinds()); err != nil || a != nil {
			t.Errorf("leased %+v, %v", a, err)
		}
	}
	told := 0
	events, err := s.Events(ctx, EventFilter{After: last})
	must(t, err)
	for _, e := range events {
		if e.Kind == "action-unreadable" && e.Loud && e.Ref.Name == "c00" {
			told++
		}
	}
	if told != 1 {
		t.Errorf("told %d times: %+v", told, events)
	}
	snap, err := s.Snapshot(ctx, "c")
	must(t, err)
	if m := snap.Clusters[0].Action.Message; !strings.Contains(m, "can't be read") {
		t.Errorf("why it waits: %q", m)
	}
}
