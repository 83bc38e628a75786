package inplace_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/switchover"
)

// model is a world of one cell behind the handlers' ports: what a provisioner, servers and a gateway do, as far as the steps can tell.
// It survives every kill, compares every term, and looks after each change whether an invariant is broken.
type model struct {
	nodes []*modelNode
	local []string // what the gateway reads from
	term  int64
	broke []string // invariants that did not hold

	wrote     int           // writes that the primary took
	away      time.Duration // how long every step's first looks, and the first tries of every change, fail
	awayUntil map[string]time.Time
	refuse    func(what, node string) error // instead of a change
	keeps     time.Duration                 // how long binary logs are kept; 0: for ever
	gone      bool                          // the primary's binary log does not reach back to the copies
	late      bool                          // each first upgrade is cut off when the node runs, before the copy is told of
}

type modelNode struct {
	name, version, kept string
	changing            bool
	hidden              bool   // the copy is not told of
	behind              string // the version that it runs behind the provisioner's back
	keptHas             int    // writes that the copy holds
	running, writable   bool
	source              string // the node that it follows
	has                 int    // writes that it holds
}

var errModel = errors.New("connection refused")

func newModel() *model {
	m := &model{awayUntil: map[string]time.Time{}, wrote: 3}
	for i := range 3 {
		n := &modelNode{name: fmt.Sprintf("orders-%d", i+1), version: "10.11", running: true, source: "orders-1", has: 3}
		m.nodes = append(m.nodes, n)
		m.local = append(m.local, n.address())
	}
	m.nodes[0].writable, m.nodes[0].source = true, ""
	return m
}

func (n *modelNode) address() string { return n.name + ":3306" }

func (m *model) cluster() fleet.Cluster {
	cell := fleet.Cell{Name: "blue", Version: "10.11", Owner: "site", Gateway: &fleet.Gateway{Name: "g", Address: "g:3306", ReadOnly: "g:3307"}}
	for _, n := range m.nodes {
		cell.Nodes = append(cell.Nodes, fleet.Node{Name: n.name, Address: n.address()})
	}
	return fleet.Cluster{Env: "qa", Name: "orders", Product: "mariadb", Cells: []fleet.Cell{cell}}
}

func (m *model) node(name string) *modelNode {
	for _, n := range m.nodes {
		if n.name == name || n.address() == name {
			return n
		}
	}
	panic(name)
}

// primary is the one writable node, or nil.
func (m *model) primary() *modelNode {
	var p *modelNode
	for _, n := range m.nodes {
		if n.running && n.writable {
			if p != nil {
				m.broke = append(m.broke, "two nodes are writable")
			}
			p = n
		}
	}
	return p
}

// settle is time passing: the primary takes a write, and replicas apply. Then the invariants are looked at.
func (m *model) settle(what string) {
	p := m.primary()
	if p != nil {
		if p.has < m.wrote {
			m.broke = append(m.broke, fmt.Sprintf("after %s the primary %s lacks acknowledged writes", what, p.name))
		}
		m.wrote++
		p.has = m.wrote
	}
	serving := 0
	for _, n := range m.nodes {
		if !n.running {
			if slices.Contains(m.local, n.address()) {
				m.broke = append(m.broke, fmt.Sprintf("after %s reads go to %s, which is down", what, n.name))
			}
			continue
		}
		if s := n.source; s != "" && p != nil && m.node(s) == p && p.running && !m.gone {
			n.has = p.has
			if n.version < p.version && slices.ContainsFunc(m.nodes, func(o *modelNode) bool { return o != n && o.version == n.version }) {
				m.broke = append(m.broke, fmt.Sprintf("after %s %s %s follows %s %s, and is not the one old primary", what, n.name, n.version, p.name, p.version))
			}
		}
		if slices.Contains(m.local, n.address()) && n != p {
			serving++
		}
	}
	if serving == 0 {
		m.broke = append(m.broke, "after "+what+" nobody serves reads")
	}
}

// change is the beginning of every act on the world: terms are compared, and the first tries of each kind fail before anything is done.
func (m *model) change(what, node string, term int64) error {
	if term < m.term {
		return engine.ErrFenced
	}
	m.term = term
	if err := m.look("act " + what); err != nil {
		return err
	}
	if what == "upgrade" || what == "restore" { // in the middle of it
		return nil
	}
	return m.refused(what, node)
}

func (m *model) refused(what, node string) error {
	if m.refuse == nil {
		return nil
	}
	return m.refuse(what, node)
}

// look fails for a while from the first time that somebody looks in a step.
func (m *model) look(step string) error {
	if _, ok := m.awayUntil[step]; !ok {
		m.awayUntil[step] = time.Now().Add(m.away)
	}
	if time.Now().Before(m.awayUntil[step]) {
		return errModel
	}
	return nil
}

// ports are the model as the handlers see it.
type ports struct{ *model }

func (p ports) state(n *modelNode) bluegreen.ResourceState {
	kept := n.kept
	if n.hidden {
		kept = ""
	}
	return bluegreen.ResourceState{Exists: true, Running: n.running && !n.changing, Mark: "site", Version: n.version + ".9", Kept: kept, Node: &fleet.Node{Name: n.name, Address: n.address()}}
}

type modelNodes struct{ ports }

func (p modelNodes) Observe(_ context.Context, r bluegreen.Resource) (bluegreen.ResourceState, error) {
	return p.state(p.node(r.ID)), nil
}

func (p modelNodes) Upgrade(_ context.Context, r bluegreen.Resource) (bluegreen.ResourceState, error) {
	n := p.node(r.ID)
	if err := p.change("upgrade", r.ID, r.Term); err != nil {
		return bluegreen.ResourceState{}, err
	}
	if n.writable {
		p.broke = append(p.broke, "the primary was stopped")
	}
	tried := n.hidden
	if n.version != r.Version {
		n.running, n.changing = false, true
		p.settle("stop " + n.name)
		if n.kept == "" {
			if n.behind != "" {
				p.broke = append(p.broke, "a copy of "+n.behind+" is kept as one of "+n.version)
			}
			n.kept, n.keptHas = n.version, n.has
		}
		if err := p.refused("upgrade", r.ID); err != nil {
			return bluegreen.ResourceState{}, err // it stays down
		}
		n.version, n.source = r.Version, "" // it boots with its replication stopped
		n.hidden = p.late
	}
	n.running, n.changing = true, false
	p.settle("upgrade " + n.name)
	if n.hidden && !tried {
		return bluegreen.ResourceState{}, errModel
	}
	n.hidden = false
	return p.state(n), nil
}

func (p modelNodes) Restore(_ context.Context, r bluegreen.Resource) (bluegreen.ResourceState, error) {
	n := p.node(r.ID)
	if err := p.change("restore", r.ID, r.Term); err != nil {
		return bluegreen.ResourceState{}, err
	}
	if n.writable {
		p.broke = append(p.broke, "the primary was put back")
	}
	n.running, n.changing = false, true
	p.settle("stop " + n.name)
	if err := p.refused("restore", r.ID); err != nil {
		return bluegreen.ResourceState{}, err
	}
	switch {
	case n.kept == r.Version:
		n.version, n.has, n.kept, n.source, n.hidden = n.kept, n.keptHas, "", "", false
	case n.version != r.Version:
		return bluegreen.ResourceState{}, &engine.Refusal{Err: errors.New("there is no copy")}
	}
	n.running, n.changing = true, false
	p.settle("restore " + n.name)
	return p.state(n), nil
}

func (p modelNodes) Discard(_ context.Context, r bluegreen.Resource) error {
	if err := p.change("discard", r.ID, r.Term); err != nil {
		return err
	}
	p.node(r.ID).kept = ""
	return nil
}

type modelStorage struct{ ports }

func (p modelStorage) Observe(_ context.Context, c fleet.Cluster) (fleet.Observation, error) {
	o := fleet.Observation{At: time.Now()}
	for _, fn := range c.Cells[0].Nodes {
		n := p.node(fn.Name)
		x := fleet.NodeObservation{Cell: "blue", Node: n.name, Address: n.address(), UUID: "uuid-" + n.name, Version: cmp.Or(n.behind, n.version) + ".9-MariaDB"}
		switch {
		case !n.running:
			x.Role, x.Version, x.Error = fleet.RoleUnknown, "", "connection refused"
		case n.writable:
			x.Role = fleet.RolePrimary
		case n.source == "":
			x.Role = fleet.RoleDetached
		default:
			x.Role, x.Source = fleet.RoleReplica, p.node(n.source).address()
		}
		o.Nodes = append(o.Nodes, x)
	}
	return o, nil
}

func (p modelStorage) Fence(_ context.Context, c fleet.Cluster, term int64) error {
	for _, fn := range c.Cells[0].Nodes {
		if !p.node(fn.Name).running {
			return errModel
		}
	}
	return p.change("fence", "", term)
}

func (p modelStorage) Replicate(_ context.Context, _ fleet.Cluster, _ string, term int64) error {
	if err := p.change("replicate", "", term); err != nil {
		return err
	}
	primary := p.primary()
	if primary == nil {
		return errModel
	}
	for _, n := range p.nodes {
		if n != primary {
			n.source = primary.name
		}
	}
	p.settle("replicate")
	return nil
}

func (p modelStorage) Replicating(context.Context, fleet.Cluster, string, time.Duration) (check.Results, error) {
	primary := p.primary()
	for _, n := range p.nodes {
		if n != primary && (!n.running || primary == nil || n.source != primary.name || n.has < primary.has) {
			return check.Results{check.Failed("replication-running", n.name+" does not", "", time.Now())}, nil
		}
	}
	return check.Results{check.Passed("replication-running", "all", time.Now())}, nil
}

func (p modelStorage) KeepsLogs(_ context.Context, _ fleet.Cluster, _ string, least time.Duration) (check.Results, error) {
	if p.keeps > 0 && p.keeps < least {
		return check.Results{check.Failed("binlogs-kept", fmt.Sprintf("for %v, not for %v", p.keeps, least), "", time.Now())}, nil
	}
	return check.Results{check.Passed("binlogs-kept", "long enough", time.Now())}, nil
}

type modelGateways struct{ ports }

func (p modelGateways) SetServers(_ context.Context, _ fleet.Gateway, local, all []string, term int64) error {
	if err := p.change("tell", strings.Join(local, ","), term); err != nil {
		return err
	}
	p.local = local
	p.settle("tell")
	return nil
}

func (p modelGateways) Check(context.Context, fleet.Cluster, fleet.Gateway) (check.Results, error) {
	return check.Results{check.Passed("gateway-routes", "", time.Now())}, nil
}

// switchPoints are places inside the model's switch.
var switchPoints = []string{"demoted", "promoted", "repointed"}

type modelSwitcher struct{ ports }

func (p modelSwitcher) Preflight(context.Context, switchover.Request) (check.Results, error) {
	return check.Results{check.Passed("elect", "", time.Now())}, nil
}

// Switch demotes, promotes and repoints. Run again after a kill it goes on from what it sees: with nobody writable the old primary is opened again.
func (p modelSwitcher) Switch(_ context.Context, r switchover.Request) (engine.SwitchoverOutput, error) {
	if err := p.change("switch", strings.Join(r.ToNodes, ","), r.Term); err != nil {
		return engine.SwitchoverOutput{}, err
	}
	from := p.opened()
	to := from
	if !slices.Contains(r.ToNodes, from.name) {
		to = p.node(r.ToNodes[0])
		to.has = from.has
		from.writable = false
		r.Point("demoted")
		to.writable, to.source = true, ""
		r.Point("promoted")
	}
	p.repoint(to)
	r.Point("repointed")
	p.settle("switch to " + to.name)
	return engine.SwitchoverOutput{Kind: "storage", From: from.name, To: to.name}, nil
}

// Complete makes every node follow whoever is writable, or was before a switch that was broken off.
func (p modelSwitcher) Complete(_ context.Context, r switchover.Request) error {
	if err := p.change("complete", "", r.Term); err != nil {
		return err
	}
	p.repoint(p.opened())
	p.settle("complete")
	return nil
}

// opened is the primary, the old one made writable again if none is.
func (p modelSwitcher) opened() *modelNode {
	primary := p.primary()
	if primary == nil {
		for _, n := range p.nodes {
			if n.source == "" {
				primary = n
			}
		}
		primary.writable = true
	}
	return primary
}

func (p modelSwitcher) repoint(to *modelNode) {
	for _, n := range p.nodes {
		if n != to {
			n.source = to.name
		}
	}
}

func (p modelSwitcher) Prove(_ context.Context, _ fleet.Cluster, term int64) (check.Results, error) {
	if err := p.change("prove", "", term); err != nil {
		return nil, err
	}
	p.settle("prove")
	return modelStorage(p).Replicating(context.Background(), fleet.Cluster{}, "", 0)
}

func (p modelSwitcher) WayBack(context.Context, fleet.Cluster, string) (fleet.WayBack, check.Results, error) {
	cs, _ := modelStorage(p).Replicating(context.Background(), fleet.Cluster{}, "", 0)
	return fleet.WayBack{Open: cs.OK()}, cs, nil
}

func (p modelSwitcher) CloseWayBack(_ context.Context, _ fleet.Cluster, _ string, term int64) error {
	return p.change("close", "", term)
}
