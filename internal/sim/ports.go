package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/driver/mysql"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
)

// ports are the capabilities over the world.
func (w *world) ports() bluegreen.Ports {
	return bluegreen.Ports{
		Provisioner: provisioner{w}, Storage: storage{w}, Switcher: switcher{w}, DataChecker: checker{w}, Capturer: capturer{w}, Replayer: replayer{w}, Gateways: gateways{w}, Records: records{w},
		SwitchPoints: append(mysql.Points(), mysql.UndoPoints()...),
	}
}

type provisioner struct{ w *world }

func (p provisioner) state(r bluegreen.Resource) bluegreen.ResourceState {
	t := p.w.things[r.ID]
	if t == nil {
		return bluegreen.ResourceState{}
	}
	s := bluegreen.ResourceState{Mark: t.mark}
	switch {
	case t.server != nil:
		s.Exists, s.Running, s.Version = true, t.server.up, t.server.version
		s.Node = &fleet.Node{Name: t.server.name, Address: t.server.addr}
	case t.gateway != nil:
		s.Exists, s.Running = true, t.gateway.up
		g := t.gateway.spec
		s.Gateway = &g
	}
	return s
}

// Observe tells what is there.
func (p provisioner) Observe(ctx context.Context, r bluegreen.Resource) (s bluegreen.ResourceState, err error) {
	err = p.w.call(ctx, func() error { s = p.state(r); return nil })
	return s, err
}

func (p provisioner) guarded(ctx context.Context, r bluegreen.Resource, f func() error) error {
	return p.w.call(ctx, func() error {
		if r.Term < p.w.terms[r.ID] {
			return engine.ErrFenced
		}
		p.w.terms[r.ID] = r.Term
		if t := p.w.things[r.ID]; t != nil && t.mark != r.Mark {
			return fmt.Errorf("%s carries the mark %q", r.ID, t.mark)
		}
		return f()
	})
}

// Create marks first, makes then, and starts what stands still.
func (p provisioner) Create(ctx context.Context, r bluegreen.Resource) (bluegreen.ResourceState, error) {
	w := p.w
	err := p.guarded(ctx, r, func() error {
		if w.things[r.ID] == nil {
			w.things[r.ID] = &resource{mark: r.Mark, kind: r.Kind}
		}
		return nil
	})
	if err != nil {
		return bluegreen.ResourceState{}, err
	}
	if err := w.s.sleep(ctx, 500*time.Millisecond); err != nil {
		return bluegreen.ResourceState{}, err
	}
	err = p.guarded(ctx, r, func() error {
		t := w.things[r.ID]
		if t == nil {
			return errors.New("it was deleted meanwhile")
		}
		c := w.cluster(fleet.Cluster{Env: r.Env, Name: r.Cluster})
		switch {
		case r.Kind == "gateway" && t.gateway == nil:
			t.gateway = w.addGateway(c, r.Cell, r.ID)
			t.gateway.servers = r.Servers
		case r.Kind == "node" && t.server == nil:
			t.server = w.addServer(c, r.Cell, r.ID, r.Version)
		case t.server != nil:
			t.server.up = true
		case t.gateway != nil && !t.gateway.up:
			t.gateway.up = true
			t.gateway.monitor(t.gateway.boots)
		}
		return nil
	})
	return p.state(r), err
}

// Delete stops and deletes what carries the mark.
func (p provisioner) Delete(ctx context.Context, r bluegreen.Resource) error {
	return p.guarded(ctx, r, func() error {
		t := p.w.things[r.ID]
		if t == nil {
			return nil
		}
		if t.server != nil {
			t.server.up, t.server.gone = false, true
		}
		if t.gateway != nil {
			t.gateway.up, t.gateway.gone = false, true
			t.gateway.boots++
		}
		delete(p.w.things, r.ID)
		return nil
	})
}

type storage struct{ w *world }

// servers are the cluster's nodes in the order of its cells; nil where nobody answers at the address.
func (w *world) servers(c fleet.Cluster) (all []*server, cells []string, names []string) {
	x := w.cluster(c)
	for _, cell := range c.Cells {
		for _, n := range cell.Nodes {
			all, cells, names = append(all, x.servers[n.Address]), append(cells, cell.Name), append(names, n.Name)
		}
	}
	return all, cells, names
}

// Observe asks one node after the other: what it answers is of several moments.
func (st storage) Observe(ctx context.Context, c fleet.Cluster) (fleet.Observation, error) {
	o := fleet.Observation{At: st.w.s.now}
	all, cells, names := st.w.servers(c)
	for i, sv := range all {
		n := fleet.NodeObservation{Cell: cells[i], Node: names[i], Role: fleet.RoleUnknown, Lag: -1}
		if sv != nil {
			n.Address = sv.addr
		}
		err := st.w.read(ctx, sv, func() {
			n.Version, n.UUID, n.Position = sv.version+".6-MariaDB", sv.uuid, fmt.Sprint(len(sv.log))
			switch {
			case !sv.readOnly:
				n.Role, n.Source = fleet.RolePrimary, sv.source // "" once the switch is complete
			case sv.source != "":
				n.Role, n.Source = fleet.RoleReplica, sv.source
				if n.Error = sv.broken; !sv.running {
					n.Error = "both replication threads are stopped"
				}
			default:
				n.Role = fleet.RoleDetached
			}
		})
		if ctx.Err() != nil {
			return o, context.Cause(ctx)
		}
		if err != nil {
			n.Error = err.Error()
		}
		o.Nodes = append(o.Nodes, n)
	}
	return o, nil
}

// Fence raises the term on every node, or says which it could not.
func (st storage) Fence(ctx context.Context, c fleet.Cluster, term int64) error {
	all, _, names := st.w.servers(c)
	for i, sv := range all {
		if err := st.w.raise(ctx, sv, term); err != nil {
			return fmt.Errorf("fence %s: %w", names[i], err)
		}
	}
	return nil
}

// Reopen makes the primary writable again after a restart.
func (st storage) Reopen(ctx context.Context, c fleet.Cluster, term int64) error {
	_, err := switcher(st).settled(ctx, c, term)
	return err
}

// Seeded tells whether the node has a complete copy.
func (st storage) Seeded(ctx context.Context, r bluegreen.SeedRequest) (ok bool, cs check.Results, err error) {
	sv := st.w.cluster(r.Cluster).servers[r.Node.Address]
	err = st.w.read(ctx, sv, func() { ok = sv.seeded })
	return ok, cs, err
}

// Seed copies in four parts, and the last makes the copy whole.
func (st storage) Seed(ctx context.Context, r bluegreen.SeedRequest, status json.RawMessage, save bluegreen.Save) error {
	w, c := st.w, st.w.cluster(r.Cluster)
	part := 0
	if len(status) > 0 {
		if err := json.Unmarshal(status, &part); err != nil {
			return err
		}
	}
	sv := c.servers[r.Node.Address]
	from, _ := r.Cluster.Cell(r.FromCell)
	src := c.servers[from.Nodes[len(from.Nodes)-1].Address] // a replica
	for ; part < 4; part++ {
		if err := w.s.sleep(ctx, 200*time.Millisecond); err != nil {
			return err
		}
		if err := save(ctx, part+1, float64(part+1)/4, "copied a part"); err != nil {
			return err
		}
	}
	return w.act(ctx, sv, r.Term, func() error {
		if !src.up {
			return errDown
		}
		sv.log, sv.seeded = append([]int64(nil), src.log...), true
		return nil
	})
}

// Replicate makes the cell's nodes follow the primary.
func (st storage) Replicate(ctx context.Context, c fleet.Cluster, cell string, term int64) error {
	p, err := switcher(st).settled(ctx, c, term)
	if err != nil {
		return err
	}
	all, cells, _ := st.w.servers(c)
	for i, sv := range all {
		if cells[i] == cell && sv != p {
			if err := st.w.attach(ctx, sv, p, term); err != nil {
				return err
			}
		}
	}
	return nil
}

// attach makes a server follow the primary, unless it has something of its own (trap 17).
func (w *world) attach(ctx context.Context, sv, p *server, term int64) error {
	return w.act(ctx, sv, term, func() error {
		switch {
		case !sv.readOnly:
			return fmt.Errorf("%s is writable", sv.name)
		case !sv.seeded:
			return fmt.Errorf("%s has no copy", sv.name)
		case !sv.prefixOf(p):
			sv.source, sv.running = "", false
			return fmt.Errorf("%s is quarantined: it has writes that %s does not have", sv.name, p.name)
		}
		sv.source, sv.running, sv.broken = p.addr, true, ""
		sv.pull(time.Millisecond)
		return nil
	})
}

// Replicating looks at each node's threads and lag.
func (st storage) Replicating(ctx context.Context, c fleet.Cluster, cell string, _ time.Duration) (check.Results, error) {
	var cs check.Results
	all, cells, names := st.w.servers(c)
	for i, sv := range all {
		if cells[i] != cell {
			continue
		}
		ok := false
		if err := st.w.read(ctx, sv, func() { ok = sv.replicates() }); err != nil {
			cs = append(cs, check.Unknowable("replication", fmt.Errorf("%s: %w", names[i], err), st.w.s.now))
		} else if !ok {
			cs = append(cs, check.Failed("replication", names[i]+" does not replicate", "start it", st.w.s.now))
		} else {
			cs = append(cs, check.Passed("replication", names[i]+" replicates", st.w.s.now))
		}
	}
	return cs, nil
}

// Forget stops the cell's nodes from following anybody.
func (st storage) Forget(ctx context.Context, c fleet.Cluster, cell string, term int64) error {
	all, cells, _ := st.w.servers(c)
	for i, sv := range all {
		if cells[i] != cell {
			continue
		}
		if err := st.w.act(ctx, sv, term, func() error { sv.source, sv.running = "", false; return nil }); err != nil {
			return err
		}
	}
	return nil
}

type checker struct{ w *world }

// Compare compares the logs in three parts.
func (ch checker) Compare(ctx context.Context, c fleet.Cluster, from, to string, _ campaign.Verify, status json.RawMessage, save bluegreen.Save) (check.Results, error) {
	st, err := comparisonOf(status)
	if err != nil {
		return nil, err
	}
	if err := ch.start(ctx, c, st); err != nil {
		return nil, err
	}
	replicas, err := ch.running(ctx, c, to)
	if err != nil {
		return nil, err
	}
	for ; st.Part < 3; st.Part++ {
		st.Stopped = replicas
		if err := save(ctx, st, float64(st.Part)/3, "bringing all servers to one position"); err != nil {
			return nil, err
		}
		if err := ch.each(ctx, c, st, func(sv *server) { sv.running = false }); err != nil {
			return nil, err
		}
		if err := ch.w.comparing(ctx); err != nil { // what is broken off here leaves them stopped, as a kill does
			return nil, err
		}
		if err := ch.w.s.sleep(ctx, 200*time.Millisecond); err != nil {
			return nil, err
		}
		if err := ch.start(ctx, c, st); err != nil {
			return nil, err
		}
		if err := save(ctx, comparison{Part: st.Part + 1}, float64(st.Part)/3, "compared a part"); err != nil {
			return nil, err
		}
	}
	var sets [2][]int64
	all, cells, _ := ch.w.servers(c)
	for k, cell := range []string{from, to} {
		for i, sv := range all {
			if cells[i] != cell {
				continue
			}
			if err := ch.w.read(ctx, sv, func() { sets[k] = sv.log }); err != nil {
				return nil, err
			}
		}
	}
	for i := range min(len(sets[0]), len(sets[1])) {
		if sets[0][i] != sets[1][i] {
			return check.Results{check.Failed("rows", fmt.Sprintf("row %d differs", i), "", ch.w.s.now)}, nil
		}
	}
	return check.Results{check.Passed("rows", "equal", ch.w.s.now)}, nil
}

// comparison is the status of one: how many parts are compared, and the replicas that are stopped, or about to be. Release 0.1 wrote the
// number alone.
type comparison struct {
	Part    int      `json:"part"`
	Stopped []string `json:"stopped,omitempty"`
}

func comparisonOf(status json.RawMessage) (st comparison, err error) {
	if len(status) == 0 || json.Unmarshal(status, &st.Part) == nil {
		return st, nil
	}
	return st, json.Unmarshal(status, &st)
}

// each does something with every server that the status names.
func (ch checker) each(ctx context.Context, c fleet.Cluster, st comparison, f func(sv *server)) error {
	all, _, names := ch.w.servers(c)
	for i, sv := range all {
		if slices.Contains(st.Stopped, names[i]) {
			if err := ch.w.read(ctx, sv, func() { f(sv) }); err != nil {
				return fmt.Errorf("%s: %w", names[i], err)
			}
		}
	}
	return nil
}

func (ch checker) start(ctx context.Context, c fleet.Cluster, st comparison) error {
	return ch.each(ctx, c, st, func(sv *server) {
		if sv.source != "" {
			sv.running = true
			sv.pull(time.Millisecond)
		}
	})
}

// running names the cell's replicas. One that somebody stopped is not compared.
func (ch checker) running(ctx context.Context, c fleet.Cluster, cell string) (replicas []string, err error) {
	all, cells, names := ch.w.servers(c)
	for i, sv := range all {
		if cells[i] != cell {
			continue
		}
		ok := false
		if err := ch.w.read(ctx, sv, func() { ok = sv.running }); err != nil {
			return nil, fmt.Errorf("%s: %w", names[i], err)
		}
		if !ok {
			return nil, fmt.Errorf("%s can't be compared: its replication is stopped", names[i])
		}
		replicas = append(replicas, names[i])
	}
	return replicas, nil
}

// Released tells whether what the status names runs.
func (ch checker) Released(ctx context.Context, c fleet.Cluster, status json.RawMessage) (bool, error) {
	st, err := comparisonOf(status)
	if err != nil {
		return false, err
	}
	run := true
	err = ch.each(ctx, c, st, func(sv *server) { run = run && (sv.running || sv.source == "") })
	return run, err
}

// Release starts what the status names.
func (ch checker) Release(ctx context.Context, c fleet.Cluster, status json.RawMessage) error {
	st, err := comparisonOf(status)
	if err != nil {
		return err
	}
	return ch.start(ctx, c, st)
}

type gateways struct{ w *world }

func (gs gateways) byAddress(g fleet.Gateway) *gateway {
	for _, c := range gs.w.clusters {
		for _, x := range c.gateways {
			if x.spec.Address == g.Address {
				return x
			}
		}
	}
	return &gateway{w: gs.w, gone: true, spec: g}
}

func (gs gateways) read(ctx context.Context, g *gateway, f func()) error {
	return gs.w.call(ctx, func() error {
		if !g.alive() {
			return errDown
		}
		f()
		return nil
	})
}

// Observe asks every gateway.
func (gs gateways) Observe(ctx context.Context, c fleet.Cluster) ([]fleet.GatewayObservation, error) {
	var all []fleet.GatewayObservation
	for _, cell := range c.Cells {
		if cell.Gateway == nil {
			continue
		}
		g := gs.byAddress(*cell.Gateway)
		o := fleet.GatewayObservation{Cell: cell.Name, Gateway: cell.Gateway.Name}
		if err := gs.read(ctx, g, func() {
			o.Sessions, o.Held = len(g.sessions), g.hold != nil
			if g.route != nil {
				o.Primary = g.route.addr
			}
		}); err != nil {
			o.Error = err.Error()
		}
		all = append(all, o)
	}
	return all, nil
}

// SetServers tells a gateway of its servers.
func (gs gateways) SetServers(ctx context.Context, spec fleet.Gateway, _, all []string, term int64) error {
	g := gs.byAddress(spec)
	return g.admin(ctx, term, func() error { g.servers = append([]string(nil), all...); g.look(); return nil })
}

// Check looks whether the gateway can take clients.
func (gs gateways) Check(ctx context.Context, c fleet.Cluster, spec fleet.Gateway) (check.Results, error) {
	g, now := gs.byAddress(spec), gs.w.s.now
	var r check.Result
	err := gs.read(ctx, g, func() {
		knows := map[string]bool{}
		for _, a := range g.servers {
			knows[a] = true
		}
		r = check.Passed("gateway-routes", "it does", now)
		for _, cell := range c.Cells {
			for _, n := range cell.Nodes {
				if !knows[n.Address] {
					r = check.Failed("gateway-servers", "it does not know "+n.Address, "tell it", now)
				}
			}
		}
		if g.route == nil || g.hold != nil {
			r = check.Failed("gateway-routes", "it routes nowhere", "wait", now)
		}
	})
	if err != nil {
		r = check.Unknowable("gateway-answers", err, now)
	}
	return check.Results{r}, nil
}

// Clients counts who is left.
func (gs gateways) Clients(ctx context.Context, spec fleet.Gateway) (n int, who []string, err error) {
	g := gs.byAddress(spec)
	err = gs.read(ctx, g, func() {
		n = len(g.sessions)
		for _, cl := range g.sessions {
			who = append(who, cl.name)
		}
	})
	return n, who, err
}

type records struct{ w *world }

// Lookup asks the name server.
func (r records) Lookup(ctx context.Context, _, name string) (at string, err error) {
	err = r.w.call(ctx, func() error { at = r.w.records[name].address; return nil })
	return at, err
}

// Swap compares and swaps, under the term.
func (r records) Swap(ctx context.Context, _, name, from, to string, _ time.Duration, term int64) error {
	return r.w.call(ctx, func() error {
		x := r.w.records[name]
		switch {
		case term < x.term:
			return engine.ErrFenced
		case x.address != from && x.address != to:
			return bluegreen.ErrRecordMoved
		}
		x.term, x.address = term, to
		return nil
	})
}
