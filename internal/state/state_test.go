package state

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

// clock is a clock that only the test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

var ctx = context.Background()

const ttl = 15 * time.Second

func openAt(t *testing.T, path string, c *clock) *Store {
	t.Helper()
	s, err := Open(ctx, path, Options{LeaseTTL: ttl, Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// world makes a state with a campaign over n clusters in qa.
func world(t *testing.T, n int) (*Store, *clock, string) {
	t.Helper()
	c := &clock{now: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)}
	path := newPlace(t)
	s := openAt(t, path, c)
	env := fleet.Environment{Name: "qa"}
	var refs []fleet.ClusterRef
	for i := range n {
		cl := fleet.Cluster{Name: fmt.Sprintf("c%02d", i), Env: "qa", Product: "mariadb", Record: "x.", Cells: []fleet.Cell{{Name: "blue", Version: "10.11"}}}
		env.Clusters = append(env.Clusters, cl)
		refs = append(refs, cl.Ref())
	}
	must(t, s.ApplyFleet(ctx, fleet.Fleet{Name: "f", Environments: []fleet.Environment{env}}, "me"))
	must(t, s.ApplyCampaign(ctx, campaign.Campaign{Name: "c", Strategy: "bluegreen", Product: "mariadb", From: "10.11", To: "11.8", Environments: []string{"qa"}, FromCell: "blue", ToCell: "green"}, refs, "me"))
	c.add(ttl) // leases may be taken over
	return s, c, path
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// next lets every idle cluster start its next stage, up to a limit of live actions.
func next(limit int) DecideFunc {
	return func(s campaign.Snapshot, _ time.Time) []campaign.Decision {
		st := strategy.BlueGreen()
		live := 0
		for _, p := range s.Clusters {
			if p.Action != nil {
				live++
			}
		}
		var out []campaign.Decision
		for _, p := range s.Clusters {
			_, at := st.Stage(p.Stage)
			d := campaign.Decision{Ref: p.Ref}
			switch {
			case at == len(st.Stages)-1:
				d.Arrived = true
			case p.Action != nil || live >= limit || p.Failure != nil || p.Attention != "":
				d.Hold = &campaign.Hold{Reasons: []campaign.Reason{{Code: "limit"}}}
			default:
				live++
				d.Start = st.Stages[at+1].Name
			}
			out = append(out, d)
		}
		return out
	}
}

// kinds are all that a supervisor of this release can run.
func kinds() []KindVersion {
	var all []KindVersion
	for _, st := range strategy.BlueGreen().Stages {
		for _, step := range st.Steps {
			all = append(all, KindVersion{Kind: step.Kind, Version: step.Version})
		}
	}
	return all
}

func lease(t *testing.T, s *Store, holder string) *engine.Assignment {
	t.Helper()
	a, err := s.Lease(ctx, "qa", holder, kinds())
	must(t, err)
	if a == nil {
		t.Fatal("there was nothing to lease")
	}
	return a
}

func TestLimitsHoldUnderRaces_trap7(t *testing.T) {
	s, _, _ := world(t, 20)
	var wg sync.WaitGroup
	for range 16 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if _, err := s.Launch(ctx, "c", "", "me", next(3)); err != nil {
				t.Error(err)
			}
		}()
	}
	wg.Wait()
	snap, err := s.Snapshot(ctx, "c")
	must(t, err)
	live := 0
	for _, p := range snap.Clusters {
		if p.Action != nil {
			live++
		}
	}
	if live != 3 {
		t.Errorf("%d actions live, the limit is 3", live)
	}
}

func TestAKeyIsLaunchedOnce(t *testing.T) {
	s, _, _ := world(t, 4)
	_, err := s.Launch(ctx, "c", "2026-11-23", "launcher", next(1))
	must(t, err)
	if _, err := s.Launch(ctx, "c", "2026-11-23", "launcher", next(4)); !errors.Is(err, ErrLaunched) {
		t.Errorf("second launch: %v", err)
	}
	if done, err := s.LaunchedKey(ctx, "c", "2026-11-23"); err != nil || !done {
		t.Errorf("launched: %t, %v", done, err)
	}
}

func TestOldTermWritesNothing_trap1(t *testing.T) {
	s, c, _ := world(t, 1)
	_, err := s.Launch(ctx, "c", "", "me", next(1))
	must(t, err)
	old := lease(t, s, "sleeper")
	if a, err := s.Lease(ctx, "qa", "other", kinds()); err != nil || a != nil {
		t.Fatalf("leased twice: %v, %v", a, err)
	}
	c.add(ttl + time.Second)
	now := lease(t, s, "other")
	if now.Term <= old.Term {
		t.Errorf("term %d after %d", now.Term, old.Term)
	}
	rec := engine.StepRecord{Index: 0, Kind: old.Plan.Steps[0].Kind, Phase: engine.Done}
	_, beat := s.Heartbeat(ctx, old.ActionID, old.Term)
	for what, err := range map[string]error{"record": wrote(s.Record(ctx, old.ActionID, old.Term, rec)), "turn": s.Turn(ctx, old.ActionID, old.Term, "x"), "release": s.Release(ctx, old.ActionID, old.Term, 0), "finish": s.Finish(ctx, old.ActionID, old.Term, engine.Completed, ""), "heartbeat": beat} {
		if !errors.Is(err, engine.ErrFenced) {
			t.Errorf("%s of the sleeper: %v", what, err)
		}
	}
	must(t, wrote(s.Record(ctx, now.ActionID, now.Term, rec)))
}

func TestNoTakeoverRightAfterAStart_trap6(t *testing.T) {
	s, c, path := world(t, 1)
	_, err := s.Launch(ctx, "c", "", "me", next(1))
	must(t, err)
	lease(t, s, "holder")
	c.add(time.Hour) // the server was away for an hour; the holder could not heartbeat
	again := openAt(t, path, c)
	if a, err := again.Lease(ctx, "qa", "other", kinds()); err != nil || a != nil {
		t.Fatalf("taken over at once: %v, %v", a, err)
	}
	c.add(ttl)
	if a, err := again.Lease(ctx, "qa", "other", kinds()); err != nil || a == nil {
		t.Errorf("not taken over after a lease's time: %v, %v", a, err)
	}
}

func TestOnlyDeclaredKindsAreLeased_trap9(t *testing.T) {
	s, _, _ := world(t, 1)
	_, err := s.Launch(ctx, "c", "", "me", next(1))
	must(t, err)
	older := kinds()
	for i := range older {
		if older[i].Kind == strategy.CatchUp {
			older[i].Version = 0
		}
	}
	if a, err := s.Lease(ctx, "qa", "old-release", older); err != nil || a != nil {
		t.Errorf("leased to a supervisor that does not know a step: %v, %v", a, err)
	}
	if a, err := s.Lease(ctx, "prod", "prod-supervisor", kinds()); err != nil || a != nil {
		t.Errorf("leased to another environment: %v, %v", a, err)
	}
}

// through runs the cluster's next stage to its end.
func through(t *testing.T, s *Store, outcome engine.Outcome) {
	t.Helper()
	a := lease(t, s, "h")
	for range 2 { // repeated, as after a lost answer
		must(t, s.Finish(ctx, a.ActionID, a.Term, outcome, "because"))
	}
}

func progress(t *testing.T, s *Store) campaign.Progress {
	t.Helper()
	snap, err := s.Snapshot(ctx, "c")
	must(t, err)
	return snap.Clusters[0]
}

func forwardTo(t *testing.T, s *Store, stage string) {
	t.Helper()
	for progress(t, s).Stage != stage {
		_, err := s.Launch(ctx, "c", "", "me", next(1))
		must(t, err)
		through(t, s, engine.Completed)
	}
}

func TestForwardToTheEnd(t *testing.T) {
	s, _, _ := world(t, 1)
	forwardTo(t, s, strategy.StageTearDown)
	snap, err := s.Snapshot(ctx, "c")
	must(t, err)
	if snap.Status != "completed" {
		t.Errorf("status %s", snap.Status)
	}
}

func TestRollbackGoesStageByStageAndStays(t *testing.T) {
	s, _, _ := world(t, 1)
	ref := fleet.ClusterRef{Env: "qa", Name: "c00"}
	forwardTo(t, s, strategy.StageSwitchGateway)
	must(t, s.Rollback(ctx, "c", ref, strategy.StageReplay, "me", "slow"))
	for _, want := range []string{strategy.StageSwitchGateway, strategy.StageSwitchStorage} {
		if a := progress(t, s).Action; a == nil || a.Stage != want || a.Direction != "back" {
			t.Fatalf("action %+v, want %s back", a, want)
		}
		through(t, s, engine.Completed)
	}
	p := progress(t, s)
	if p.Stage != strategy.StageReplay || p.Action != nil || !strings.Contains(p.Attention, "resume") {
		t.Errorf("after the rollback: %+v", p)
	}
	// That a stage is paused no more is no word on the cluster.
	stage := campaign.Pause{Env: "qa", Cluster: "c00", Stage: strategy.StageTearDown, Who: "me", Why: "a quarter's end"}
	must(t, s.Pause(ctx, "c", stage))
	must(t, s.Resume(ctx, "c", stage))
	if p := progress(t, s); p.Attention == "" {
		t.Error("the end of a stage's pause has let the cluster go on")
	}
	must(t, s.Resume(ctx, "c", campaign.Pause{Env: "qa", Cluster: "c00", Who: "me", Why: "mended"}))
	if p := progress(t, s); p.Attention != "" {
		t.Errorf("after resume: %+v", p)
	}
	forwardTo(t, s, strategy.StageTearDown)
}

func TestRollbackIsRefused(t *testing.T) {
	s, c, _ := world(t, 1)
	ref := fleet.ClusterRef{Env: "qa", Name: "c00"}
	refused := func(to, words string) {
		t.Helper()
		var r *Refused
		err := s.Rollback(ctx, "c", ref, to, "me", "x")
		if !errors.As(err, &r) || !strings.Contains(err.Error(), words) || r.Hint == "" {
			t.Errorf("rollback to %q: %v", to, err)
		}
	}
	refused("", "nothing to roll back")
	forwardTo(t, s, strategy.StageSwitchStorage)
	refused("nowhere", "no stage")
	must(t, s.Observe(ctx, ref, fleet.Observation{At: c.Now(), WayBack: &fleet.WayBack{Open: false, Detail: "Error 1062"}}))
	refused(strategy.StageVerify, "1062")
	must(t, s.Observe(ctx, ref, fleet.Observation{At: c.Now().Add(time.Second), WayBack: &fleet.WayBack{Open: true}}))
	forwardTo(t, s, strategy.StageTearDown)
	refused("", "point of no return")
}

func TestBrokenWayBackIsLoudOnce_trap19(t *testing.T) {
	s, c, _ := world(t, 1)
	ref := fleet.ClusterRef{Env: "qa", Name: "c00"}
	for i := range 3 {
		must(t, s.Observe(ctx, ref, fleet.Observation{At: c.Now().Add(time.Duration(i) * time.Second), WayBack: &fleet.WayBack{Open: false, Detail: "Error 1062"}}))
	}
	all, err := s.Events(ctx, EventFilter{})
	must(t, err)
	n := 0
	for _, e := range all {
		if e.Kind == "way-back-broken" && e.Loud {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d loud events", n)
	}
	if w := progress(t, s).WayBack; w == nil || w.Open {
		t.Errorf("way back: %+v", w)
	}
}

func TestFailureAndAbort(t *testing.T) {
	s, _, _ := world(t, 2)
	_, err := s.Launch(ctx, "c", "", "me", next(2))
	must(t, err)
	through(t, s, engine.WentBack)
	if f := progress(t, s).Failure; f == nil || f.Stage != "create" {
		t.Errorf("failure: %+v", f)
	}
	must(t, s.Abort(ctx, "c", "me", "wrong version"))
	a := lease(t, s, "h")
	if abort, err := s.Heartbeat(ctx, a.ActionID, a.Term); err != nil || !abort || !a.Abort {
		t.Errorf("abort: %t, %v", abort, err)
	}
}

func TestOutputsAreMergedWithTheRecord(t *testing.T) {
	s, _, _ := world(t, 1)
	_, err := s.Launch(ctx, "c", "", "me", next(1))
	must(t, err)
	a := lease(t, s, "h")
	rec := engine.StepRecord{Index: 0, Kind: a.Plan.Steps[0].Kind, Phase: engine.Done, Outputs: &engine.Outputs{Cells: []fleet.Cell{{Name: "green", Version: "11.8", Owner: "c"}}, Switchover: &engine.SwitchoverOutput{Kind: "storage", HoldMS: 7}}}
	must(t, wrote(s.Record(ctx, a.ActionID, a.Term, rec)))
	must(t, wrote(s.Record(ctx, a.ActionID, a.Term, rec)))
	c, err := s.Cluster(ctx, a.Cluster.Ref())
	must(t, err)
	if len(c.Cells) != 2 {
		t.Errorf("cells: %+v", c.Cells)
	}
	sw, err := s.Switchovers(ctx, "c")
	must(t, err)
	if len(sw) != 1 || sw[0].HoldMS != 7 {
		t.Errorf("switchovers: %+v", sw)
	}
	// The inventory applied again does not forget the cell that was made.
	must(t, s.ApplyFleet(ctx, fleet.Fleet{Name: "f", Environments: []fleet.Environment{{Name: "qa", Clusters: []fleet.Cluster{{Name: "c00", Env: "qa", Product: "mariadb", Record: "x.", Cells: []fleet.Cell{{Name: "blue", Version: "10.11"}}}}}}}, "me"))
	if c, err = s.Cluster(ctx, a.Cluster.Ref()); err != nil || len(c.Cells) != 2 {
		t.Errorf("after apply: %+v, %v", c.Cells, err)
	}
	if err := wrote(s.Record(ctx, a.ActionID, a.Term, engine.StepRecord{Index: 0, Kind: "other", Phase: engine.Done})); !errors.Is(err, ErrConflict) {
		t.Errorf("a step of another plan: %v", err)
	}
}

func TestEventsAreNumberedWithoutGaps_trap8(t *testing.T) {
	s, _, _ := world(t, 1)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if err := s.Pause(ctx, "c", campaign.Pause{Env: "qa", Who: "me", Why: fmt.Sprint(i)}); err != nil {
				t.Error(err)
			}
		}()
	}
	wg.Wait()
	all, err := s.Events(ctx, EventFilter{})
	must(t, err)
	for i, e := range all {
		if e.Seq != int64(i+1) {
			t.Fatalf("event %d has the number %d", i, e.Seq)
		}
	}
}

func TestNewerStateIsRefused(t *testing.T) {
	_, c, path := world(t, 1)
	s := openAt(t, path, c)
	if _, err := s.write.Exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, TRUE)`); err != nil {
		t.Fatal(err)
	}
	_, err := Open(ctx, path, Options{})
	var r *Refused
	if !errors.As(err, &r) || !strings.Contains(err.Error(), "newer release") || !strings.Contains(r.Hint, "backup") {
		t.Errorf("error: %v", err)
	}
}

func TestTokens(t *testing.T) {
	s, _, _ := world(t, 1)
	secret, err := s.NewToken(ctx, Token{Role: "supervisor", Env: "qa", Name: "q"}, "me")
	must(t, err)
	if got, err := s.TokenOf(ctx, secret); err != nil || got.Env != "qa" {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := s.TokenOf(ctx, secret+"x"); !errors.Is(err, ErrNoToken) {
		t.Errorf("wrong token: %v", err)
	}
	for _, bad := range []Token{{Role: "supervisor"}, {Role: "operator", Env: "qa"}, {Role: "root"}} {
		if _, err := s.NewToken(ctx, bad, "me"); !errors.Is(err, ErrConflict) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	var kept string
	must(t, s.read.QueryRow(`SELECT hash FROM tokens`).Scan(&kept))
	if strings.Contains(kept, secret) {
		t.Error("the token itself is kept")
	}
}

func TestOneServerLeads(t *testing.T) {
	s, c, _ := world(t, 1)
	lead := func(who string) bool {
		t.Helper()
		ok, err := s.Lead(ctx, "launcher", who, c.Now().Add(time.Minute))
		must(t, err)
		return ok
	}
	if !lead("a") || lead("b") || !lead("a") {
		t.Error("two lead, or the leader does not go on")
	}
	c.add(2 * time.Minute)
	if !lead("b") || lead("a") {
		t.Error("the lead was not handed over")
	}
}

// A rollback that stops in the middle of a stage has left the stage incomplete: whoever goes on goes through it again.
func TestAStuckRollbackLeavesItsStageBehind(t *testing.T) {
	s, _, _ := world(t, 1)
	forwardTo(t, s, strategy.StageCreate)
	must(t, s.Rollback(ctx, "c", progress(t, s).Ref, "", "mira", "to try it"))
	a := lease(t, s, "qa-1")
	for _, step := range []int{0, 1, 2} {
		must(t, wrote(s.Record(ctx, a.ActionID, a.Term, engine.StepRecord{Index: step, Kind: a.Plan.Steps[step].Kind, Phase: engine.Done})))
	}
	must(t, s.Finish(ctx, a.ActionID, a.Term, engine.NeedsHuman, "stuck"))
	if p := progress(t, s); p.Stage != "" || p.Failure == nil {
		t.Errorf("after the gateway and the replication were undone the cluster is at %q, failure %v", p.Stage, p.Failure)
	}
}

// Decide is told when each stage was completed, of those only that are still behind the cluster, and when its version was seen.
func TestProgressTellsWhenEachStageEnded(t *testing.T) {
	s, c, _ := world(t, 1)
	ref := fleet.ClusterRef{Env: "qa", Name: "c00"}
	began := c.Now()
	for _, stage := range []string{strategy.StageCreate, strategy.StageVerify, strategy.StageReplay, strategy.StageSwitchStorage} {
		c.add(time.Hour)
		forwardTo(t, s, stage)
	}
	ends := func() string {
		var all []string
		for _, e := range progress(t, s).Done {
			all = append(all, fmt.Sprintf("%s+%s", e.Stage, e.At.Sub(began)))
		}
		return strings.Join(all, " ")
	}
	if got, want := ends(), "create+1h0m0s verify+2h0m0s replay+3h0m0s switch-storage+4h0m0s"; got != want {
		t.Errorf("stage ends %q, want %q", got, want)
	}
	must(t, s.Rollback(ctx, "c", ref, strategy.StageReplay, "mira", "to try it"))
	through(t, s, engine.Completed)
	if got, want := ends(), "create+1h0m0s verify+2h0m0s replay+3h0m0s"; got != want {
		t.Errorf("after the rollback: stage ends %q, want %q", got, want)
	}
	c.add(time.Minute)
	seen := c.Now()
	must(t, s.Observe(ctx, ref, fleet.Observation{At: seen, Nodes: []fleet.NodeObservation{{Node: "a", Cell: "blue", Role: fleet.RolePrimary, Version: "10.11.19-MariaDB"}}}))
	if p := progress(t, s); p.Version != "10.11.19-MariaDB" || !p.Observed.Equal(seen) {
		t.Errorf("seen %q at %s, want 10.11.19-MariaDB at %s", p.Version, p.Observed, seen)
	}
	if p := progress(t, s); len(p.Seen) != 1 || p.Seen[0] != (campaign.Seen{Role: fleet.RolePrimary, Version: "10.11.19-MariaDB", Cell: "blue"}) {
		t.Errorf("seen together: %v", p.Seen)
	}
}

// A campaign applied again without a cluster lets it go, unless that has begun.
func TestAClusterThatIsExcludedLeaves(t *testing.T) {
	s, _, _ := world(t, 2)
	info, err := s.Campaigns(ctx)
	must(t, err)
	forwardTo(t, s, strategy.StageCreate) // c00
	must(t, s.ApplyCampaign(ctx, info[0].Campaign, []fleet.ClusterRef{{Env: "qa", Name: "c02"}}, "me"))
	snap, err := s.Snapshot(ctx, "c")
	must(t, err)
	var names []string
	for _, p := range snap.Clusters {
		names = append(names, p.Ref.Name)
	}
	if got := strings.Join(names, " "); got != "c00 c02" {
		t.Errorf("in the campaign are %s; c00 has begun and stays, c01 had not, c02 is new", got)
	}
}

// What a stage takes is measured over what was completed, forward.
func TestStageDurations(t *testing.T) {
	s, c, _ := world(t, 1)
	for _, d := range []time.Duration{10 * time.Minute, 20 * time.Minute} {
		_, err := s.Launch(ctx, "c", "", "me", next(1))
		must(t, err)
		lease(t, s, "qa-1")
		c.add(d)
		a := lease(t, s, "qa-2") // the first lease has run out
		must(t, s.Finish(ctx, a.ActionID, a.Term, engine.Completed, "done"))
	}
	got, err := s.StageDurations(ctx, "bluegreen")
	must(t, err)
	if len(got) != 2 || got[strategy.StageCreate] != 10*time.Minute || got[strategy.StageVerify] != 20*time.Minute {
		t.Errorf("measured %v", got)
	}
	if other, err := s.StageDurations(ctx, "inplace"); err != nil || len(other) != 0 {
		t.Errorf("another strategy's: %v, %v", other, err)
	}
}

// A rollback through a stage is the rehearsal of its way back, for the campaigns that want one.
func TestARollbackIsARehearsal(t *testing.T) {
	s, _, _ := world(t, 1)
	ref := fleet.ClusterRef{Env: "qa", Name: "c00"}
	info, err := s.Campaigns(ctx)
	must(t, err)
	c := info[0].Campaign
	c.Rehearse = strategy.StageSwitchStorage
	must(t, s.ApplyCampaign(ctx, c, []fleet.ClusterRef{ref}, "me"))
	forwardTo(t, s, strategy.StageSwitchStorage)
	must(t, s.Rollback(ctx, "c", ref, strategy.StageReplay, "me", "rehearsal"))
	if p := progress(t, s); len(p.Rehearsed) != 0 {
		t.Errorf("rehearsed before it is back: %v", p.Rehearsed)
	}
	through(t, s, engine.Completed)
	if p := progress(t, s); len(p.Rehearsed) != 1 || p.Rehearsed[0] != strategy.StageSwitchStorage {
		t.Errorf("rehearsed %v", p.Rehearsed)
	}
}

// A pause of what there is not would be a false stop in an incident: it is refused, with what was meant.
func TestScopesThatThereAreNot(t *testing.T) {
	s, _, _ := world(t, 1)
	for name, err := range map[string]error{
		"environment": s.Pause(ctx, "c", campaign.Pause{Env: "qaa", Who: "me", Why: "x"}),
		"stage":       s.Pause(ctx, "c", campaign.Pause{Stage: "switch-sotrage", Who: "me", Why: "x"}),
		"cluster":     s.Pause(ctx, "c", campaign.Pause{Env: "qa", Cluster: "c000", Who: "me", Why: "x"}),
		"freeze":      s.Freeze(ctx, "c", campaign.Freeze{From: s.Now(), To: s.Now().Add(time.Hour), Environments: []string{"prdo"}, Reason: "x"}),
		"override":    s.Override(ctx, "c", campaign.Override{Rule: "soak", Env: "nix", Who: "me", Why: "x", Expires: s.Now().Add(time.Hour)}),
		"resume":      s.Resume(ctx, "c", campaign.Pause{Env: "nowhere", Who: "me", Why: "x"}),
	} {
		var r *Refused
		if !errors.As(err, &r) || r.Hint == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	must(t, s.Pause(ctx, "c", campaign.Pause{Env: "qa", Cluster: "c00", Stage: strategy.StageCreate, Who: "me", Why: "x"}))
}

// A cell that Windlass made is not forgotten when the file is applied again, also if its create ended with a person's help needed.
func TestApplyKeepsCellsThatWereMade(t *testing.T) {
	s, _, _ := world(t, 1)
	_, err := s.Launch(ctx, "c", "", "me", next(1))
	must(t, err)
	a := lease(t, s, "qa-1")
	must(t, wrote(s.Record(ctx, a.ActionID, a.Term, engine.StepRecord{Index: 0, Kind: a.Plan.Steps[0].Kind, Phase: engine.Intent, Outputs: &engine.Outputs{Cells: []fleet.Cell{{Name: "green", Version: "11.8", Owner: "c:qa/c00"}}}})))
	must(t, s.Finish(ctx, a.ActionID, a.Term, engine.NeedsHuman, "stuck"))
	file := fleet.Cluster{Name: "c00", Env: "qa", Product: "mariadb", Record: "x.", Cells: []fleet.Cell{{Name: "blue", Version: "10.11"}}}
	must(t, s.ApplyFleet(ctx, fleet.Fleet{Name: "f", Environments: []fleet.Environment{{Name: "qa", Clusters: []fleet.Cluster{file}}}}, "me"))
	c, err := s.Cluster(ctx, file.Ref())
	must(t, err)
	if green, ok := c.Cell("green"); !ok || green.Owner == "" {
		t.Errorf("the cells are %+v: green was made, and is forgotten", c.Cells)
	}
}

// A step that the policy holds is loud, once for each reason: only a person mends it. One that waits by itself is not. (V5)
func TestAStepThatIsHeldIsLoudOnce(t *testing.T) {
	s, _, _ := world(t, 1)
	_, err := s.Launch(ctx, "c", "", "me", next(1))
	must(t, err)
	a := lease(t, s, "h")
	wait := func(held bool, message string) {
		t.Helper()
		must(t, wrote(s.Record(ctx, a.ActionID, a.Term, engine.StepRecord{Index: 0, Kind: a.Plan.Steps[0].Kind, Phase: engine.Waiting, Held: held, Message: message})))
	}
	wait(false, "lag")
	wait(true, "10.11 and 12.0 may not meet")
	wait(true, "10.11 and 12.0 may not meet")
	all, err := s.Events(ctx, EventFilter{Ref: a.Cluster.Ref()})
	must(t, err)
	var loud []string
	for _, e := range all {
		if e.Loud {
			loud = append(loud, e.Kind+": "+e.Message)
		}
	}
	if len(loud) != 1 || loud[0] != "step-waiting: 10.11 and 12.0 may not meet" {
		t.Errorf("loud: %q", loud)
	}
}

// wrote is the error of a record.
func wrote(_ bool, err error) error { return err }
