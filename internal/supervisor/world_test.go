package supervisor_test

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/server"
	"github.com/windlass-db/windlass/internal/state"
	"github.com/windlass-db/windlass/internal/state/statetest"
)

var ctx = context.Background()

var supervisorToken = state.Token{Role: "supervisor", Env: "qa", Name: "qa"}

// world is a real server over a real state, with n clusters in qa and in prod whose campaign is at its beginning.
type world struct {
	t       *testing.T
	store   *state.Store
	handler *server.Server
	http    *httptest.Server
}

func newWorld(t *testing.T, n int, ttl time.Duration, now func() time.Time) *world {
	t.Helper()
	store, err := state.Open(ctx, filepath.Join(t.TempDir(), "state.db"), state.Options{LeaseTTL: ttl, Now: now})
	must(t, err)
	t.Cleanup(func() { must(t, store.Close()) })
	h, err := server.New(server.Config{Store: store, Decide: campaign.Decide, Log: slog.New(slog.DiscardHandler), Now: now})
	must(t, err)
	w := &world{t: t, store: store, handler: h, http: httptest.NewServer(h)}
	t.Cleanup(func() { w.http.Close() })
	f := statetest.Fleet(n, "qa", "prod")
	must(t, store.ApplyFleet(ctx, f, "me"))
	c := statetest.Campaign("c", "qa", "prod")
	c.Order = campaign.OrderNone
	must(t, store.ApplyCampaign(ctx, c, statetest.Refs(f), "me"))
	return w
}

// agent is a supervisor's client with a token that is good for its environment.
func (w *world) agent(env string) *api.Agent {
	w.t.Helper()
	token, err := w.store.NewToken(ctx, state.Token{Role: "supervisor", Env: env, Name: env}, "test")
	must(w.t, err)
	c, err := api.NewClient(w.http.URL, token, "")
	must(w.t, err)
	return c.Agent(env)
}

// launch starts what may start.
func (w *world) launch() state.Launched {
	w.t.Helper()
	out, err := w.store.Launch(ctx, "c", "", "me", campaign.Decide)
	must(w.t, err)
	return out
}

// action is the newest action of a cluster.
func (w *world) action(env, name string) state.ActionInfo {
	w.t.Helper()
	all, err := w.store.Actions(ctx, fleet.ClusterRef{Env: env, Name: name}, 1)
	must(w.t, err)
	if len(all) == 0 {
		return state.ActionInfo{}
	}
	return all[0]
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits until ok says so.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	end := time.Now().Add(time.Minute)
	for !ok() {
		if time.Now().After(end) {
			t.Fatalf("not within a minute: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
