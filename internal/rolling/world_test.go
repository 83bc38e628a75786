package rolling

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/engine/enginetest"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/policy"
	"github.com/windlass-db/windlass/internal/strategy"
)

// world is an engine's nodes, their load balancer and database, in memory and on the test's clock. Whatever a handler does is held
// against what must never be.
type world struct {
	t     *testing.T
	mu    sync.Mutex
	nodes map[string]*member
	spec  fleet.Cluster
	camp  campaign.Campaign
	mem   *enginetest.Memory
	term  int64 // the highest seen

	schema   string // version that it was expanded for
	features bool
	used     map[string]int    // how often a feature is used
	sick     map[string]string // node → version on which it does not get healthy
	deaf     bool              // the load balancer does not answer
	fewest   int               // fewest nodes that served at any time
	cuts     int
	own      *engine.Handlers  // of another strategy; nil: those of rolling
	troubled bool              // the scenario's trouble has come
	linger   time.Duration     // the database has a stopped node's connections for so long
	blind    bool              // no connection can be told to be a node's
	says     map[string]string // node → version that it says, whatever it runs
	silent   map[string]bool   // nodes that the supervisor alone can't reach
	foreign  []Backend         // servers of the load balancer that the fleet does not have
	mum      bool              // the database does not tell who is connected
	others   []string          // programs that are connected and that the fleet does not have
}

type member struct {
	running  bool
	version  string
	started  time.Time
	admitted bool
	weight   int
	drained  time.Time
	stopped  time.Time
	share    int       // percent that it was admitted with last, since it was started
	shared   time.Time // when that was
	long     bool      // has a session that does not end
	cut      bool
}

const (
	warmUp = 3 * time.Second // from a node's start until it is healthy
	tail   = 2 * time.Second // requests last that long
	lease  = 15 * time.Second
)

func newWorld(t *testing.T, n int) *world {
	w := &world{t: t, nodes: map[string]*member{}, sick: map[string]string{}, says: map[string]string{}, silent: map[string]bool{}, fewest: n, mem: enginetest.NewMemory(time.Now)}
	cell := fleet.Cell{Name: "main", Version: "1.0"}
	for i := range n {
		name := fmt.Sprintf("n%d", i+1)
		cell.Nodes = append(cell.Nodes, fleet.Node{Name: name, Zone: fmt.Sprint("z", i%3)})
		w.nodes[name] = &member{running: true, version: "1.0", admitted: true, weight: 100, share: 100}
	}
	w.spec = fleet.Cluster{Name: "jobs", Env: "qa", Product: "jobs", Cells: []fleet.Cell{cell}}
	w.camp = campaign.Campaign{Name: "c", Strategy: "rolling", From: "1.0", To: "1.1", FromCell: "main", ToCell: "main",
		Rolling: campaign.Rolling{Group: "1", LeastServing: 60, DrainWithin: 20 * time.Second, HealthyWithin: 30 * time.Second, SlowStart: 3 * time.Second, Watch: 5 * time.Second}}
	return w
}

var errDeaf = errors.New("no answer")

// see holds the world against what must never be. The lock is held.
func (w *world) see() {
	serving := 0
	for name, m := range w.nodes {
		if w.serves(m) && w.healthy(name, m) {
			serving++
		}
	}
	w.fewest = min(w.fewest, serving)
}

func (w *world) healthy(name string, m *member) bool {
	return m.running && w.sick[name] != m.version && time.Since(m.started) >= warmUp
}

// said is the version that a node says it runs. The lock is held.
func (w *world) said(name string) string {
	return cmp.Or(w.says[name], w.nodes[name].version)
}

// left counts the node's connections to the database. The lock is held.
func (w *world) left(m *member) int {
	switch {
	case w.blind:
		return 0
	case m.running:
		return 4
	case time.Since(m.stopped) < w.linger:
		return 2
	}
	return 0
}

// set makes a node ill on a version, or well.
func (w *world) set(name, version string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sick[name] = version
}

// beside counts those that serve beside one. The lock is held.
func (w *world) beside(name string) (serving int) {
	for other, m := range w.nodes {
		if other != name && w.serves(m) && w.healthy(other, m) {
			serving++
		}
	}
	return serving
}

func (w *world) least() int {
	return campaign.LeastServing(len(w.nodes), w.camp.Rolling.LeastServing)
}

// trouble is what comes once. It is done under the lock.
func (w *world) trouble(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.troubled {
		w.troubled = true
		f()
	}
}

// ill makes nodes ill on what they run, for so long. The lock is held.
func (w *world) ill(d time.Duration, names ...string) {
	for _, name := range names {
		w.sick[name] = w.nodes[name].version
		time.AfterFunc(d, func() { w.set(name, "") })
	}
	w.see()
}

// forget is the load balancer started again: every server is as its file says. The lock is held.
func (w *world) forget() {
	for _, m := range w.nodes {
		m.admitted, m.weight = true, 100
	}
}

func (w *world) serves(m *member) bool {
	return m.running && m.admitted && m.weight > 0 && time.Since(m.started) >= warmUp
}

func (w *world) sessions(m *member) int {
	switch {
	case m.admitted:
		return 3
	case !m.running || m.cut:
		return 0
	case m.long || time.Since(m.drained) < tail:
		return 1
	}
	return 0
}

// act is one change, under the term.
func (w *world) act(n fleet.Node, term int64, f func(m *member)) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if term < w.term {
		return engine.ErrFenced
	}
	w.term = term
	f(w.nodes[n.Name])
	w.see()
	return nil
}

type nodes struct{ *world }

func (w nodes) Observe(_ context.Context, _ fleet.Cluster, n fleet.Node) (NodeState, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := w.nodes[n.Name]
	s := NodeState{Running: m.running, Healthy: w.healthy(n.Name, m)}
	if m.running {
		s.Version = w.said(n.Name) + ".4"
	}
	if w.silent[n.Name] {
		s.Healthy, s.Version, s.Detail = false, "", "i/o timeout"
	}
	return s, nil
}

func (w nodes) Stop(_ context.Context, _ fleet.Cluster, n fleet.Node, term int64) error {
	return w.act(n, term, func(m *member) {
		if m.admitted || w.sessions(m) > 0 {
			w.t.Errorf("%s is stopped while it is admitted=%v with %d sessions", n.Name, m.admitted, w.sessions(m))
		}
		if serving := w.beside(n.Name); w.healthy(n.Name, m) && serving < w.least() {
			w.t.Errorf("%s is stopped, which could serve, and %d serve; %d have to", n.Name, serving, w.least())
		}
		if m.running {
			m.running, m.stopped = false, time.Now()
		}
	})
}

func (w nodes) Start(_ context.Context, _ fleet.Cluster, n fleet.Node, version string, term int64) error {
	return w.act(n, term, func(m *member) {
		if version == w.camp.To && w.schema != version {
			w.t.Errorf("%s is started on %s before its schema is there", n.Name, version)
		}
		if !m.running {
			if m.admitted {
				w.t.Errorf("%s is started while the load balancer gives it %d %% of its requests", n.Name, m.weight)
			}
			if left := w.left(m); left > 0 {
				w.t.Errorf("%s is started while the database has %d connections of it", n.Name, left)
			}
			m.running, m.version, m.started, m.cut, m.share = true, version, time.Now(), false, 0
		}
	})
}

type balancer struct{ *world }

func (w balancer) Observe(context.Context, fleet.Cluster) (all []Backend, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.deaf {
		return nil, errDeaf
	}
	for name, m := range w.nodes {
		all = append(all, Backend{Node: name, Up: w.healthy(name, m), Admitted: m.admitted, Weight: m.weight, Sessions: w.sessions(m)})
	}
	return append(all, w.foreign...), nil
}

func (w balancer) Drain(_ context.Context, _ fleet.Cluster, n fleet.Node, term int64) error {
	return w.act(n, term, func(m *member) {
		if m.admitted {
			if serving := w.beside(n.Name); w.serves(m) && w.healthy(n.Name, m) && serving < w.least() {
				w.t.Errorf("%s is taken out, and %d serve then; %d have to", n.Name, serving, w.least())
			}
			m.admitted, m.drained = false, time.Now()
		}
	})
}

func (w balancer) Cut(_ context.Context, _ fleet.Cluster, n fleet.Node, term int64) error {
	return w.act(n, term, func(m *member) { m.cut = true; w.cuts++ })
}

func (w balancer) Admit(_ context.Context, _ fleet.Cluster, n fleet.Node, percent int, term int64) error {
	return w.act(n, term, func(m *member) {
		if !w.healthy(n.Name, m) {
			w.t.Errorf("%s is admitted and is not healthy", n.Name)
		}
		if said := w.said(n.Name); said != m.version {
			w.t.Errorf("%s is admitted, was started on %s and says %s", n.Name, m.version, said)
		}
		// A tenth first, and then no more than the next share after its time; what has had all of its share since it was started may have it again.
		after := map[int]int{25: 10, 50: 25, 100: 50}
		if percent > 10 && m.share < percent && (m.share != after[percent] || time.Since(m.shared) < w.camp.Rolling.SlowStart/3) {
			w.t.Errorf("%s is given %d %% of its requests after %d %% for %v", n.Name, percent, m.share, time.Since(m.shared))
		}
		m.admitted, m.weight, m.share, m.shared = true, percent, percent, time.Now()
	})
}

type connections struct{ *world }

func (w connections) Of(_ context.Context, _ fleet.Cluster, n fleet.Node) (int, string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mum {
		return 0, "", errDeaf
	}
	return w.left(w.nodes[n.Name]), "a pool", nil
}

func (w connections) Others(context.Context, fleet.Cluster) ([]string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mum {
		return nil, errDeaf
	}
	return w.world.others, nil
}

type schema struct{ *world }

func (w schema) Check(context.Context, fleet.Cluster, string) (check.Results, error) {
	return check.Results{check.Passed("add-column", "nullable", time.Now())}, nil
}

func (w schema) Expanded(_ context.Context, _ fleet.Cluster, version string) (bool, check.Results, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.schema == version {
		return true, check.Results{check.Passed("schema", "there", time.Now())}, nil
	}
	return false, check.Results{check.Failed("schema", "a column is missing", "", time.Now())}, nil
}

func (w schema) Expand(ctx context.Context, _ fleet.Cluster, version string, term int64, _ json.RawMessage, save Save) error {
	if err := save(ctx, 1, 0.5, "half"); err != nil {
		return err
	}
	return w.act(w.spec.Cells[0].Nodes[0], term, func(*member) { w.schema = version })
}

type features struct{ *world }

func (w features) Open(_ context.Context, _ fleet.Cluster, _ string, named []policy.Feature) (bool, []string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var used []string
	for _, f := range named {
		if n := w.used[f.Name]; n > 0 {
			used = append(used, fmt.Sprintf("%s (%d)", f.Name, n))
		}
	}
	return w.features, used, nil
}

func (w features) SetOpen(_ context.Context, _ fleet.Cluster, version string, term int64) error {
	return w.act(w.spec.Cells[0].Nodes[0], term, func(*member) {
		for name, m := range w.nodes {
			if m.version != version {
				w.t.Errorf("features are opened while %s is on %s", name, m.version)
			}
		}
		w.features = true
	})
}

func (w *world) ports() Ports {
	return Ports{Nodes: nodes{w}, Balancer: balancer{w}, Connections: connections{w}, Schema: schema{w}, Features: features{w}}
}

func (w *world) handlers() engine.Handlers {
	if w.own != nil {
		return *w.own
	}
	hs, err := engine.NewHandlers(Handlers(w.ports())...)
	if err != nil {
		w.t.Fatal(err)
	}
	return hs
}

// stage runs one stage's action to its end; whoever comes to an edge is killed if at says so, by Goexit.
func (w *world) stage(id int64, stage string, dir strategy.Direction, at func(engine.Edge)) (engine.Outcome, string) {
	w.t.Helper()
	plan, ok := strategy.Rolling().Expand(stage, dir)
	if !ok {
		w.t.Fatal(stage)
	}
	return w.action(id, w.camp.Bound(plan, w.spec), at)
}

func (w *world) action(id int64, plan strategy.Plan, at func(engine.Edge)) (engine.Outcome, string) {
	w.t.Helper()
	w.mem.Add(engine.Assignment{ActionID: id, LeaseTTL: lease, Campaign: w.camp, Cluster: w.spec, Plan: plan})
	return enginetest.Finish(w.t, w.mem, id, 30*24*time.Hour, w.handlers, engine.Options{At: at})
}

// versions says on what version the nodes serve, in the order of their names; one that does not serve is "-".
func (w *world) versions() (all []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range w.spec.Cells[0].Nodes {
		m := w.nodes[n.Name]
		if w.serves(m) && m.weight == 100 && w.healthy(n.Name, m) {
			all = append(all, m.version)
		} else {
			all = append(all, "-")
		}
	}
	return all
}

func (w *world) want(versions ...string) {
	w.t.Helper()
	if is := w.versions(); !slices.Equal(is, versions) {
		w.t.Errorf("the nodes serve on %v, want %v", is, versions)
	}
}
