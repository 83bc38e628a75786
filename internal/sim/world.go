package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
)

// Errors of the simulated world.
var (
	errNoAnswer  = errors.New("no answer")
	errDown      = errors.New("connection refused")
	errKilled    = errors.New("the connection was killed")
	errUnsettled = errors.New("the outcome of an act is not known")
	errReadOnly  = errors.New("1290: the server is running with the read-only option")
)

// world is everything outside of the control plane.
type world struct {
	s        *sched
	clusters []*cluster
	things   map[string]*resource // what the provisioner made, by id
	terms    map[string]int64     // the provisioner's, by id: they outlive the resource
	records  map[string]*record
	flaky    float64             // share of calls of which the request or the answer is lost
	demoted  func(elect *server) // when a server was made read-only for a switch
	// comparing is called while a comparison holds replicas; its error breaks the comparison off there.
	comparing func(ctx context.Context) error
	replaying func(ctx context.Context) error // the same of a replay
	differs   func() bool                     // whether the new version answers otherwise, and nobody has ruled on it
	replays   map[string]*keptReplay          // what is counted of each replay
	passed    map[fleet.ClusterRef]bool       // a verdict has passed
	busy      time.Time                       // an action came to an edge
	hurt      bool                            // something was killed in this run
	trace     func(format string, args ...any)

	strides, undoStrides []stride // a switch's

	// Safeguards that a mutant takes out, to show that the matrix sees it.
	lax           bool // servers do not compare terms
	bootsWritable bool // a demoted server boots writable
	lenient       bool // a judge lets everything pass
}

// cluster is one simulated cluster.
type cluster struct {
	ref      fleet.ClusterRef
	index    int
	spec     fleet.Cluster // the inventory's
	servers  map[string]*server
	order    []*server // by birth: maps are not walked, for their order is random
	gateways []*gateway
	ledger   ledger
}

type record struct {
	address string
	term    int64
}

type resource struct {
	mark    string
	kind    string
	server  *server
	gateway *gateway
}

func newWorld(s *sched) *world {
	w := &world{s: s, things: map[string]*resource{}, terms: map[string]int64{}, records: map[string]*record{}, trace: func(string, ...any) {}, demoted: func(*server) {}, comparing: func(context.Context) error { return nil }, replaying: func(context.Context) error { return nil }, differs: func() bool { return false },
		replays: map[string]*keptReplay{}, passed: map[fleet.ClusterRef]bool{}, strides: strides, undoStrides: undoStrides, busy: s.now}
	s.probe = w.probe
	return w
}

// probe looks at every event for two writable servers in one cluster.
func (w *world) probe() {
	for _, c := range w.clusters {
		var writable []string
		for _, sv := range c.order {
			if sv.writable() {
				writable = append(writable, sv.name)
			}
		}
		if len(writable) > 1 {
			w.s.fail("%s has %d writable servers: %v", c.ref, len(writable), writable)
		}
	}
}

// quiet tells whether all have been waiting for some seconds: clients write more seldom then, and gateways look more seldom,
// because a wait of ten minutes is no more interesting than one of ten seconds.
func (w *world) quiet() bool { return w.s.now.Sub(w.busy) > 3*time.Second }

func (w *world) latency() time.Duration {
	return 200*time.Microsecond + time.Duration(w.s.rng.Int64N(int64(3*time.Millisecond)))
}

// callLimit is how long a caller waits for an answer.
const callLimit = 5 * time.Second

// call sends a request. It takes effect in an event of its own, whatever became of the caller meanwhile; an error that is
// errNoAnswer or the context's says nothing of whether it did.
func (w *world) call(ctx context.Context, effect func() error) error {
	loseRequest, loseAnswer := w.s.rng.Float64() < w.flaky/2, w.s.rng.Float64() < w.flaky/2
	there, back := w.latency(), w.latency()
	var err error
	answered := false
	if !loseRequest {
		w.s.in(there, func() {
			err = effect()
			if !loseAnswer {
				w.s.in(back, func() { answered = true })
			}
		})
	}
	if w.s.until(ctx, callLimit, func() bool { return answered }) {
		return err
	}
	if ctx != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return errNoAnswer
}

// answered tells whether an error is what the other side said.
func answered(err error) bool {
	return err == nil || errors.Is(err, engine.ErrFenced) || errors.Is(err, errReadOnly) || errors.Is(err, errDown)
}

func (w *world) cluster(c fleet.Cluster) *cluster {
	for _, x := range w.clusters {
		if x.ref == c.Ref() {
			return x
		}
	}
	panic("no cluster " + c.Ref().String())
}

// addCluster makes a cluster with a blue cell of two servers and a gateway, as the inventory has it.
func (w *world) addCluster(env, name string, blue int, owned bool) *cluster {
	c := &cluster{index: len(w.clusters), ref: fleet.ClusterRef{Env: env, Name: name}, servers: map[string]*server{}}
	cell := fleet.Cell{Name: "blue", Version: "10.11"}
	for i := range blue {
		sv := w.addServer(c, "blue", fmt.Sprintf("%s-%s-blue-%d", env, name, i+1), "10.11")
		sv.seeded = true
		if i == 0 {
			sv.readOnly = false
		} else {
			sv.source, sv.running = c.order[0].addr, true
		}
		cell.Nodes = append(cell.Nodes, fleet.Node{Name: sv.name, Address: sv.addr})
	}
	g := w.addGateway(c, "blue", fmt.Sprintf("%s-%s-blue-gateway", env, name))
	g.servers = addressesOf(cell)
	spec := g.spec
	cell.Gateway = &spec
	if owned {
		cell.Owner = "earlier:" + c.ref.String()
		for _, sv := range c.order {
			w.things[sv.name] = &resource{mark: cell.Owner, kind: "node", server: sv}
		}
		w.things[spec.Name] = &resource{mark: cell.Owner, kind: "gateway", gateway: g}
	}
	c.spec = fleet.Cluster{Name: name, Env: env, Product: "mariadb", Record: name + "." + env + ".example.test.", Cells: []fleet.Cell{cell}}
	w.records[c.spec.Record] = &record{address: g.host()}
	w.clusters = append(w.clusters, c)
	return c
}

func addressesOf(cell fleet.Cell) []string {
	var as []string
	for _, n := range cell.Nodes {
		as = append(as, n.Address)
	}
	return as
}

// testCampaign raises every cluster of the environments with soaks of seconds.
func testCampaign(envs []string, perStage int) campaign.Campaign {
	c := campaign.Defaults()
	c.Name, c.Strategy, c.Product, c.From, c.To = "up", "bluegreen", "mariadb", "10.11", "11.8"
	c.Environments, c.FromCell, c.ToCell = envs, "blue", "green"
	c.Limits = campaign.Limits{PerStage: perStage}
	c.Soak = campaign.Soak{Environments: 5 * time.Second, Stages: map[string]time.Duration{"switch-storage": 2 * time.Second, "switch-gateway": 2 * time.Second}}
	c.Schedule.Always, c.Schedule.Every = true, time.Second
	c.Budget = campaign.Budget{Campaign: -1, Environment: -1, Stage: -1}
	c.Switch = campaign.Switch{HoldTTL: 10 * time.Second, Drain: time.Second, Tries: 3, OnOpenTransaction: "call-off", MaxLag: 5 * time.Second, Timeout: time.Minute}
	c.Drain.TTL = time.Second
	return c
}
