package server

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/state"
	"github.com/windlass-db/windlass/internal/strategy"
)

var ctx = context.Background()

type fixture struct {
	t      *testing.T
	store  *state.Store
	url    string
	tokens map[string]string // by role, supervisors as "qa" and "prod"
}

func start(t *testing.T, open bool) fixture {
	t.Helper()
	store, err := state.Open(ctx, filepath.Join(t.TempDir(), "state.db"), state.Options{LeaseTTL: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	s, err := New(Config{Store: store, Decide: campaign.Decide, Log: slog.New(slog.DiscardHandler), Now: time.Now, OpenReads: open})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	f := fixture{t, store, srv.URL, map[string]string{"none": "", "wrong": "wl_this-token-was-never-made-by-anybody"}}
	for name, tok := range map[string]state.Token{"operator": {Role: "operator", Name: "mira"}, "viewer": {Role: "viewer", Name: "noor"}, "qa": {Role: "supervisor", Env: "qa", Name: "qa-1"}, "prod": {Role: "supervisor", Env: "prod", Name: "prod-1"}} {
		if f.tokens[name], err = store.NewToken(ctx, tok, "test"); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func (f fixture) client(role string) *api.Client {
	f.t.Helper()
	c, err := api.NewClient(f.url, f.tokens[role], "")
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

// TestEveryRouteTakesOnlyItsTokens asks every route, in both environments, with every kind of token.
func TestEveryRouteTakesOnlyItsTokens(t *testing.T) {
	f := start(t, false)
	may := map[access][]string{anyone: {"none", "wrong", "operator", "viewer", "qa", "prod"}, viewer: {"viewer", "operator"}, operator: {"operator"}}
	for _, rt := range routes {
		method, path, _ := strings.Cut(rt.pattern, " ")
		for _, env := range []string{"qa", "prod"} {
			allowed := may[rt.access]
			if rt.access == supervisor {
				allowed = []string{env}
			}
			for role, token := range f.tokens {
				p := strings.NewReplacer("{env}", env, "{id}", "1", "{name}", "nothing").Replace(path)
				req, err := http.NewRequest(method, f.url+p, strings.NewReader("{}"))
				if err != nil {
					t.Fatal(err)
				}
				if token != "" {
					req.Header.Set("Authorization", "Bearer "+token)
				}
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				b, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				refused := resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden
				want := true
				for _, a := range allowed {
					want = want && a != role
				}
				if refused != want {
					t.Errorf("%s %s as %s: %d %s", method, p, role, resp.StatusCode, b)
				}
			}
		}
	}
}

func demoFleet() fleet.Fleet {
	f := fleet.Fleet{Name: "f"}
	for _, env := range []string{"qa", "prod"} {
		e := fleet.Environment{Name: env}
		for _, n := range []string{"a", "b"} {
			e.Clusters = append(e.Clusters, fleet.Cluster{Name: n, Env: env, Product: "mariadb", Record: n + ".", Cells: []fleet.Cell{{Name: "blue", Version: "10.11", Gateway: &fleet.Gateway{Name: n + "-gateway"}}}})
		}
		f.Environments = append(f.Environments, e)
	}
	return f
}

func demoCampaign() campaign.Campaign {
	c := campaign.Defaults()
	c.Name, c.Strategy, c.Product, c.From, c.To = "c", "bluegreen", "mariadb", "10.11", "11.8"
	c.Environments, c.FromCell, c.ToCell = []string{"qa", "prod"}, "blue", "green"
	c.Schedule = campaign.Schedule{TimeZone: "UTC", Always: true}
	return c
}

func kinds() []state.KindVersion {
	var all []state.KindVersion
	for _, st := range strategy.BlueGreen().Stages {
		for _, step := range st.Steps {
			all = append(all, state.KindVersion{Kind: step.Kind, Version: step.Version})
		}
	}
	return all
}

// TestTheWholeWayOverTheAPI applies, launches, and lets both supervisors work; qa's can't touch what is prod's.
func TestTheWholeWayOverTheAPI(t *testing.T) {
	f := start(t, false)
	op := f.client("operator")
	fl, c := demoFleet(), demoCampaign()
	if _, err := op.Apply(ctx, api.ApplyRequest{Fleet: &fl, Campaign: &c}); err != nil {
		t.Fatal(err)
	}
	out, err := op.Launch(ctx, "c")
	if err != nil || len(out.Started) != 2 {
		t.Fatalf("launched %+v, %v", out, err)
	}
	for _, d := range out.Started {
		if d.Ref.Env != "qa" {
			t.Errorf("prod was started before qa: %+v", d)
		}
	}
	qa, prod := f.client("qa").Agent("qa"), f.client("prod").Agent("prod")
	a, err := qa.Lease(ctx, "qa-1", kinds())
	if err != nil || a == nil {
		t.Fatal(a, err)
	}
	if _, err := prod.Heartbeat(ctx, a.ActionID, a.Term); !isForbidden(err) {
		t.Errorf("prod's supervisor reached qa's action through its own path: %v", err)
	}
	if _, err := f.client("qa").Agent("prod").Lease(ctx, "x", kinds()); !isForbidden(err) {
		t.Errorf("qa's token leased in prod: %v", err)
	}
	if _, err := qa.Heartbeat(ctx, a.ActionID, a.Term); err != nil {
		t.Error(err)
	}
	if _, err := qa.Heartbeat(ctx, a.ActionID, a.Term-1); !errors.Is(err, engine.ErrFenced) {
		t.Errorf("old term: %v", err)
	}
	if err := qa.Observe(ctx, "a", fleet.Observation{At: time.Now(), Nodes: []fleet.NodeObservation{{Cell: "blue", Node: "n", Role: fleet.RolePrimary, Version: "10.11.18"}}}); err != nil {
		t.Error(err)
	}
	if err := qa.Finish(ctx, a.ActionID, a.Term, engine.Completed, ""); err != nil {
		t.Fatal(err)
	}
	cs, err := f.client("viewer").Cluster(ctx, a.Cluster.Ref())
	if err != nil || cs.Progress.Stage != strategy.StageCreate || cs.Decision == nil {
		t.Errorf("cluster: %+v, %v", cs, err)
	}
	status, err := f.client("viewer").Campaign(ctx, "c")
	if err != nil || len(status.Decisions) != 4 || len(status.Stages) != 6 {
		t.Errorf("campaign: %+v, %v", status, err)
	}
	for _, d := range status.Decisions {
		if d.Ref.Env == "prod" && (d.Hold == nil || len(d.Hold.Reasons) == 0) {
			t.Errorf("prod is not held: %+v", d)
		}
	}
	events, err := op.Events(ctx, state.EventFilter{Campaign: "c"})
	if err != nil || len(events) < 4 {
		t.Errorf("events: %+v, %v", events, err)
	}
	w, err := qa.Watched(ctx)
	if err != nil || len(w) != 2 {
		t.Errorf("watched: %+v, %v", w, err)
	}
}

// The way back is watched from the storage switch until tear-down, also while the gateway switch waits for its clients to go (trap 19).
func TestTheWayBackIsWatchedWhileAnActionWaits(t *testing.T) {
	f := start(t, false)
	fl, c := demoFleet(), demoCampaign()
	c.Clusters, c.Soak = []string{"qa/a"}, campaign.Soak{}
	c.Environments = []string{"qa"}
	if _, err := f.client("operator").Apply(ctx, api.ApplyRequest{Fleet: &fl, Campaign: &c}); err != nil {
		t.Fatal(err)
	}
	qa := f.client("qa").Agent("qa")
	old := func(name string) string {
		all, err := qa.Watched(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range all {
			if w.Cluster.Name == name {
				return w.OldCell
			}
		}
		t.Fatalf("%s is not watched", name)
		return ""
	}
	for _, stage := range strategy.BlueGreen().StageNames() {
		if _, err := f.client("operator").Launch(ctx, "c"); err != nil {
			t.Fatal(err)
		}
		a, err := qa.Lease(ctx, "qa-1", kinds())
		if err != nil || a == nil || a.Plan.Stage != stage {
			t.Fatalf("leased %+v for %s: %v", a, stage, err)
		}
		want := map[bool]string{true: c.FromCell}[stage == strategy.StageSwitchGateway]
		if got := old(a.Cluster.Name); got != want {
			t.Errorf("during %s the old cell that is watched is %q, want %q", stage, got, want)
		}
		if err := qa.Finish(ctx, a.ActionID, a.Term, engine.Completed, ""); err != nil {
			t.Fatal(err)
		}
		if stage == strategy.StageSwitchGateway {
			break // what comes next needs an open way back, which nobody has seen here
		}
	}
}

func isForbidden(err error) bool {
	var e *api.Error
	return errors.As(err, &e) && e.Code == api.CodeForbidden
}

func TestMetricsAndPagesAreServed(t *testing.T) {
	f := start(t, true)
	fl, c := demoFleet(), demoCampaign()
	if _, err := f.client("operator").Apply(ctx, api.ApplyRequest{Fleet: &fl, Campaign: &c}); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"/metrics": `windlass_clusters{campaign="c",env="qa",stage="none"} 2`, "/": "10.11", "/campaigns/c": "switch-storage", "/clusters/qa/a": "qa/a", "/events": "campaign-applied", "/healthz": "ok"} {
		resp, err := http.Get(f.url + path)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK || !strings.Contains(string(b), want) {
			t.Errorf("%s: %d, without %q: %.400s", path, resp.StatusCode, want, b)
		}
	}
}

// TestTheForgottenAndThePausedOnPages: a cluster that was taken out of the inventory says so, and the pause of a stage is ended in its own scope.
func TestTheForgottenAndThePausedOnPages(t *testing.T) {
	f := start(t, true)
	fl, c := demoFleet(), demoCampaign()
	operator := f.client("operator")
	if _, err := operator.Apply(ctx, api.ApplyRequest{Fleet: &fl, Campaign: &c}); err != nil {
		t.Fatal(err)
	}
	page := func(path string) string {
		t.Helper()
		resp, err := http.Get(f.url + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d, %v", path, resp.StatusCode, err)
		}
		return string(b)
	}
	if err := operator.Pause(ctx, "c", api.ScopeRequest{Env: "qa", Stage: "tear-down", Why: "audit"}); err != nil {
		t.Fatal(err)
	}
	if body := page("/campaigns/c"); !strings.Contains(body, "verb=resume&amp;campaign=c&amp;env=qa&amp;cluster=&amp;stage=tear-down") {
		t.Error("the campaign's page has no link that ends the pause of the stage")
	}
	ref := fleet.ClusterRef{Env: "qa", Name: "a"}
	if strings.Contains(page("/clusters/qa/a"), "Forgotten") {
		t.Error("a cluster of the inventory is called forgotten")
	}
	if err := operator.Abort(ctx, "c", "over"); err != nil {
		t.Fatal(err)
	}
	if err := operator.Forget(ctx, ref, api.ForgetRequest{Why: "it is gone"}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(page("/clusters/qa/a"), "<b>Forgotten</b>") {
		t.Error("the page of a forgotten cluster does not say so")
	}
}

// What a cluster's status says of the inventory is never older than what it says of the cluster's place in its campaign: an action that ends between the reads is in both.
func TestAStatusIsNotOfTwoTimes(t *testing.T) {
	f := start(t, false)
	fl, c := demoFleet(), demoCampaign()
	if _, err := f.client("operator").Apply(ctx, api.ApplyRequest{Fleet: &fl, Campaign: &c}); err != nil {
		t.Fatal(err)
	}
	ref := fleet.ClusterRef{Env: "qa", Name: "a"}
	s, err := New(Config{Store: f.store, Log: slog.New(slog.DiscardHandler), Now: time.Now, Decide: func(snap campaign.Snapshot, now time.Time) []campaign.Decision {
		fl.Environments[0].Clusters[0].Cells[0].Version = "10.11.9" // while it is being decided
		if err := f.store.ApplyFleet(ctx, fl, "mira"); err != nil {
			t.Error(err)
		}
		return campaign.Decide(snap, now)
	}})
	if err != nil {
		t.Fatal(err)
	}
	cs, err := s.clusterStatus(ctx, ref)
	if err != nil || cs.Progress == nil || cs.Cluster.Cells[0].Version != "10.11.9" {
		t.Errorf("%+v, %v", cs, err)
	}
}

func TestBadBodiesAndUnknownFields(t *testing.T) {
	f := start(t, false)
	for _, body := range []string{"{", `{"fleat": {}}`, `[]`, `{}`} {
		req, err := http.NewRequest("POST", f.url+"/v1/apply", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+f.tokens["operator"])
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %d", body, resp.StatusCode)
		}
	}
}

// TestTokensOverTheAPI: a token is made, listed without its secret, and revoked, from which moment it is good for nothing; what a person ends
// over the API ends.
func TestTokensOverTheAPI(t *testing.T) {
	f := start(t, false)
	op := f.client("operator")
	early, err := op.NewToken(ctx, state.Token{Role: "supervisor", Env: "later", Name: "later-1"})
	if err != nil || !strings.HasPrefix(early, "wl_") {
		t.Fatalf("before there is a fleet: %v", err)
	}
	fl, c := demoFleet(), demoCampaign()
	if _, err := op.Apply(ctx, api.ApplyRequest{Fleet: &fl, Campaign: &c}); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []state.Token{{Role: "supervisor", Env: "prd", Name: "x"}, {Role: "viewer"}, {Role: "supervisor", Name: "x"}} {
		if _, err := op.NewToken(ctx, bad); !errors.Is(err, state.ErrConflict) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	secret, err := op.NewToken(ctx, state.Token{Role: "viewer", Name: "guest"})
	if err != nil {
		t.Fatal(err)
	}
	guest := f
	guest.tokens = map[string]string{"guest": secret}
	if _, err := guest.client("guest").Campaigns(ctx); err != nil {
		t.Fatal(err)
	}
	all, err := op.Tokens(ctx)
	if err != nil || len(all) != 6 || all[5].Name != "guest" || all[5].UsedAt.IsZero() || strings.Contains(secret, all[5].ID) {
		t.Errorf("%+v, %v", all, err)
	}
	if gone, err := op.RevokeToken(ctx, "guest"); err != nil || gone.RevokedAt.IsZero() {
		t.Errorf("%+v, %v", gone, err)
	}
	var refused *api.Error
	if _, err := guest.client("guest").Campaigns(ctx); !errors.As(err, &refused) || refused.Status != http.StatusUnauthorized {
		t.Errorf("a revoked token: %v", err)
	}

	if err := op.Freeze(ctx, "c", campaign.Freeze{From: time.Now(), To: time.Now().Add(time.Hour), Reason: "audit"}); err != nil {
		t.Fatal(err)
	}
	if err := op.Thaw(ctx, "c", api.ThawRequest{Why: "over"}); err != nil {
		t.Errorf("thaw: %v", err)
	}
	if err := op.Override(ctx, "c", campaign.Override{Rule: "soak", Env: "qa", Why: "x", Expires: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if err := op.EndOverride(ctx, "c", api.EndOverrideRequest{Rule: "soak", Env: "qa", Why: "over"}); err != nil {
		t.Errorf("end the override: %v", err)
	}
	if _, err := op.Launch(ctx, "c"); err != nil {
		t.Fatal(err)
	}
	if err := op.AbortCluster(ctx, "c", fleet.ClusterRef{Env: "qa", Name: "a"}, "stuck"); err != nil {
		t.Errorf("abort one cluster: %v", err)
	}
	if err := op.AbortCluster(ctx, "c", fleet.ClusterRef{Env: "qa"}, "slip"); !errors.As(err, &refused) || refused.Status != http.StatusBadRequest {
		t.Errorf("abort of an environment: %v", err)
	}
	if s, err := op.Campaign(ctx, "c"); err != nil || s.Snapshot.Status != "running" || len(s.Snapshot.Freezes)+len(s.Snapshot.Overrides) != 0 {
		t.Errorf("%+v, %v", s.Snapshot, err)
	}
	events, err := op.Events(ctx, state.EventFilter{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	by := map[string]string{}
	for _, e := range events {
		by[e.Kind] = e.Who
		if strings.Contains(e.Message, secret) {
			t.Error("an event has a secret in it")
		}
	}
	for _, kind := range []string{"token-revoked", "thawed", "override-ended", "cluster-aborted"} {
		if by[kind] != "mira" {
			t.Errorf("%s by %q", kind, by[kind])
		}
	}
}

// What changes something needs a reason, whoever asks for it: the command line is not the only client.
func TestEveryOperationNeedsAReason(t *testing.T) {
	f := start(t, false)
	fl, c := demoFleet(), demoCampaign()
	if _, err := f.client("operator").Apply(ctx, api.ApplyRequest{Fleet: &fl, Campaign: &c}); err != nil {
		t.Fatal(err)
	}
	asked := 0
	for _, rt := range routes {
		method, path, _ := strings.Cut(rt.pattern, " ")
		if rt.access != operator || method != http.MethodPost || strings.HasSuffix(path, "/launch") || strings.Contains(path, "/tokens") || strings.HasSuffix(path, "/apply") {
			continue // which change no campaign's course, or have no reason but themselves
		}
		asked++
		for _, body := range []string{"{}", `{"why":" "}`} {
			req, err := http.NewRequest(method, f.url+strings.NewReplacer("{env}", "qa", "{name}", "c").Replace(path), strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+f.tokens["operator"])
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			said, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode != http.StatusBadRequest || body == "{}" && !strings.Contains(string(said), "a reason is needed") {
				t.Errorf("%s with %s: %d %s", rt.pattern, body, resp.StatusCode, said)
			}
		}
	}
	if asked != 9 {
		t.Errorf("%d operations were asked", asked)
	}
}
