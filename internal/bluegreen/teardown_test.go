package bluegreen

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

// leaving is a cluster whose primary, record and clients are in the green cell, and what a tear-down does to it.
type leaving struct {
	calls      []string
	mark       string // of what is there under the ids of the blue cell
	gone       map[string]bool
	replicates bool   // blue, from green
	primary    string // its cell
	record     string
	clients    int               // on the blue gateway
	uuids      map[string]string // of who answers, where it is not the server that was recorded
	needed     string            // what the servers say of the blue cell; "" if nothing needs it
	unread     error             // of the record
	then       func(call string) // what happens in the world after a call
}

func (l *leaving) did(call string) error {
	l.calls = append(l.calls, call)
	if l.then != nil {
		l.then(call)
	}
	return nil
}

type leavingProvisioner struct {
	Provisioner
	*leaving
}

func (l leavingProvisioner) Observe(_ context.Context, r Resource) (ResourceState, error) {
	if l.gone[r.ID] {
		return ResourceState{}, nil
	}
	return ResourceState{Exists: true, Running: true, Mark: l.mark}, nil
}

func (l leavingProvisioner) Delete(_ context.Context, r Resource) error {
	l.gone[r.ID] = true
	return l.did("delete " + r.ID)
}

type leavingStorage struct {
	Storage
	*leaving
}

func (l leavingStorage) Fence(context.Context, fleet.Cluster, int64) error { return l.did("fence") }

func (l leavingStorage) Observe(_ context.Context, c fleet.Cluster) (fleet.Observation, error) {
	o := fleet.Observation{At: time.Now()}
	for _, cell := range c.Cells {
		for i, n := range cell.Nodes {
			one := fleet.NodeObservation{Cell: cell.Name, Node: n.Name, Address: n.Address, UUID: n.UUID, Role: fleet.RoleReplica, Source: "green:3306"}
			switch {
			case cell.Name == l.primary && i == 0:
				one.Role, one.Source = fleet.RolePrimary, ""
			case cell.Name == "blue" && !l.replicates:
				one.Role, one.Source = fleet.RoleDetached, ""
			}
			if other := l.uuids[n.Name]; other != "" {
				one.UUID = other
			}
			o.Nodes = append(o.Nodes, one)
		}
	}
	return o, nil
}

type leavingSwitcher struct {
	Switcher
	*leaving
}

func (l leavingSwitcher) SafeToRemove(context.Context, fleet.Cluster, string) (check.Results, error) {
	if l.needed != "" {
		return check.Results{check.Failed("no-clients", l.needed, "end it", time.Now())}, nil
	}
	return check.Results{check.Passed("no-clients", "nobody", time.Now())}, nil
}

func (l leavingSwitcher) CloseWayBack(context.Context, fleet.Cluster, string, int64) error {
	l.replicates = false
	return l.did("close")
}

type leavingGateways struct {
	Gateways
	*leaving
}

func (l leavingGateways) Clients(context.Context, fleet.Gateway) (int, []string, error) {
	return l.clients, []string{"10.0.0.7"}, nil
}

func (l leavingGateways) SetServers(_ context.Context, g fleet.Gateway, _, all []string, _ int64) error {
	return l.did("tell " + g.Name + " of " + strings.Join(all, " "))
}

type leavingRecords struct {
	Records
	*leaving
}

func (l leavingRecords) Lookup(context.Context, string, string) (string, error) {
	return l.record, l.unread
}

// A cell that we made is stopped and deleted by its mark; one that we did not make is only released: nothing of it is stopped and nothing deleted,
// whatever carries its nodes' names. What turns out to be needed, at first or only when it is about to be deleted, is not touched. trap 36
func TestTearDown(t *testing.T) {
	const ours = "earlier:qa/orders"
	const tell, close = "tell green-gateway of green:3306", "fence, close, "
	for name, x := range map[string]struct {
		owner  string
		change func(l *leaving)
		calls  string
		done   bool
		step   strategy.Kind // whose message is looked at
		says   string
	}{
		"ours":                                  {owner: ours, calls: close + "delete blue-gateway, " + tell + ", delete blue-1, delete blue-2", done: true, step: strategy.RemoveNodes, says: "the 2 nodes of cell blue are deleted"},
		"not ours: its nodes":                   {calls: close + tell, done: true, step: strategy.RemoveNodes, says: "are released, read-only and without a source: Windlass did not make them"},
		"not ours: its gateway":                 {calls: close + tell, done: true, step: strategy.RemoveGateway, says: "gateway blue-gateway is released"},
		"another's mark":                        {owner: ours, change: func(l *leaving) { l.mark = "somebody else" }, step: strategy.CloseWayBack, says: "is not ours"},
		"another server answers at its address": {change: func(l *leaving) { l.uuids = map[string]string{"blue-2": "stranger"} }, step: strategy.CheckTearDown, says: "a server with the identity stranger, not uuid-blue-2"},
		"the primary is still there":            {change: func(l *leaving) { l.primary = "blue" }, step: strategy.CheckTearDown, says: "the primary is blue-1"},
		"the record is still there":             {change: func(l *leaving) { l.record = "10.0.0.1" }, step: strategy.CheckTearDown, says: "still points at gateway blue-gateway"},
		"nobody knows where the record is":      {change: func(l *leaving) { l.unread = errors.New("no answer") }, step: strategy.CheckTearDown, says: "no answer"},
		"a client is still there":               {change: func(l *leaving) { l.clients = 1 }, step: strategy.CheckTearDown, says: "1 client connections are still on gateway blue-gateway: 10.0.0.7"},
		"something is connected to its servers": {change: func(l *leaving) { l.needed = "a reader of changes" }, step: strategy.CheckTearDown, says: "a reader of changes"},
		"a client comes back after the check": {owner: ours, calls: "fence, close", step: strategy.RemoveGateway, says: "1 client connections",
			change: func(l *leaving) { l.then = after("close", func() { l.clients = 1 }) }},
		"somebody connects before the nodes go": {owner: ours, calls: close + "delete blue-gateway, " + tell, step: strategy.RemoveNodes, says: "a reader of changes",
			change: func(l *leaving) { l.then = after(tell, func() { l.needed = "a reader of changes" }) }},
		"the primary goes back before the nodes go": {owner: ours, calls: close + "delete blue-gateway, " + tell, step: strategy.RemoveNodes, says: "the primary is blue-1",
			change: func(l *leaving) { l.then = after(tell, func() { l.primary = "blue" }) }},
	} {
		t.Run(name, func(t *testing.T) {
			l := &leaving{mark: ours, gone: map[string]bool{}, replicates: true, primary: "green", record: "10.0.0.2"}
			if x.change != nil {
				x.change(l)
			}
			outcome, a := tearDown(t, l, x.owner)
			if got := strings.Join(slices.Compact(l.calls), ", "); got != x.calls { // what waits does again what can be repeated
				t.Errorf("calls %q, want %q", got, x.calls)
			}
			if (outcome == engine.Completed) != x.done {
				t.Errorf("it ended as %q: %+v", outcome, a.Steps)
			}
			if _, there := a.Cluster.Cell("blue"); there == x.done {
				t.Errorf("the inventory has cell blue: %t", there)
			}
			rec := stepOf(a, x.step)
			said := rec.Message + " " + rec.Checks.Bad().String()
			if !strings.Contains(said, x.says) {
				t.Errorf("%s says %q", x.step, said)
			}
		})
	}
}

// after lets something happen when a call was made.
func after(call string, happens func()) func(string) {
	return func(made string) {
		if made == call {
			happens()
		}
	}
}

// tearDown runs the stage under some leases, one after the other.
func tearDown(t *testing.T, l *leaving, owner string) (engine.Outcome, engine.Assignment) {
	t.Helper()
	node := func(name, host string) fleet.Node {
		return fleet.Node{Name: name, Address: host + ":3306", UUID: "uuid-" + name}
	}
	gateway := func(cell, host string) *fleet.Gateway {
		return &fleet.Gateway{Name: cell + "-gateway", Address: host + ":3306"}
	}
	return stageOf(t, Ports{Provisioner: leavingProvisioner{leaving: l}, Storage: leavingStorage{leaving: l}, Switcher: leavingSwitcher{leaving: l}, Gateways: leavingGateways{leaving: l}, Records: leavingRecords{leaving: l}},
		strategy.StageTearDown, fleet.Cluster{Env: "qa", Name: "orders", Product: "mariadb", Record: "orders.test.", Cells: []fleet.Cell{
			{Name: "blue", Version: "10.11", Owner: owner, Nodes: []fleet.Node{node("blue-1", "blue"), node("blue-2", "blue-two")}, Gateway: gateway("blue", "10.0.0.1")},
			{Name: "green", Version: "11.8", Owner: "up:qa/orders", Nodes: []fleet.Node{node("green-1", "green")}, Gateway: gateway("green", "10.0.0.2")}}}, 3, nil)
}
