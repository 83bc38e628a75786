package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/driver/mysql"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/switchover"
)

// switcher is the simulated counterpart of the mysql driver's: the same strides in the same order, begun where that
// driver's Outset says.
type switcher struct{ w *world }

// seen is one look at a node.
type seen struct {
	*server
	mysql.Seen
	standing *standing
	source   string
	running  bool
	length   int
}

// look asks every node of the cluster.
func (sw switcher) look(ctx context.Context, c fleet.Cluster) ([]seen, error) {
	all, cells, names := sw.w.servers(c)
	out := make([]seen, len(all))
	for i, sv := range all {
		out[i] = seen{server: sv, Seen: mysql.Seen{Cell: cells[i], Node: names[i]}}
		v := &out[i]
		if err := sw.w.read(ctx, sv, func() {
			v.Known, v.Writable, v.source, v.running, v.length = true, !sv.readOnly, sv.source, sv.running && sv.broken == "", len(sv.log)
			if sv.standing != nil {
				st := *sv.standing
				v.standing, v.Standing = &st, &st.Standing
			}
		}); err != nil && ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	return out, nil
}

func outset(all []seen, cell string) (string, *seen, error) {
	nodes := make([]mysql.Seen, len(all))
	for i, v := range all {
		nodes[i] = v.Seen
	}
	where, i, err := mysql.Outset(nodes, cell)
	if err != nil {
		return "", nil, err
	}
	return where, &all[i], nil
}

func primaryOf(all []seen) (*seen, error) {
	var p *seen
	for i, v := range all {
		switch {
		case !v.Known:
			return nil, fmt.Errorf("%s: %w", v.Node, mysql.ErrUnknown)
		case v.Writable && p != nil:
			return nil, mysql.ErrContested
		case v.Writable:
			p = &all[i]
		}
	}
	if p == nil {
		return nil, fmt.Errorf("none is writable: %w", mysql.ErrContested)
	}
	return p, nil
}

// settled returns the one primary. One that was restarted is opened again: its own standing says that it is the primary.
func (sw switcher) settled(ctx context.Context, c fleet.Cluster, term int64) (*server, error) {
	all, err := sw.look(ctx, c)
	if err != nil {
		return nil, err
	}
	none := true
	for _, v := range all {
		if !v.Known {
			return nil, fmt.Errorf("%s: %w", v.Node, mysql.ErrUnknown)
		}
		none = none && !v.Writable
	}
	if none {
		var best *seen
		for i, v := range all {
			if v.standing != nil && v.standing.Role == mysql.StandingPrimary && (best == nil || v.standing.Term > best.standing.Term) {
				best = &all[i]
			}
		}
		for _, v := range all {
			if best != nil && v.server != best.server && v.standing != nil && v.standing.Term >= best.standing.Term && v.standing.Role != mysql.StandingReplica && v.standing.Role != mysql.StandingDemoting {
				best = nil
			}
		}
		if best == nil {
			return nil, mysql.ErrContested
		}
		if err := sw.ahead(all, best); err != nil {
			return nil, err
		}
		if err := sw.open(ctx, best.server, term); err != nil {
			return nil, err
		}
		if all, err = sw.look(ctx, c); err != nil {
			return nil, err
		}
	}
	p, err := primaryOf(all)
	if err != nil {
		return nil, err
	}
	return p.server, nil
}

// ahead makes sure that no other node has what the node has not.
func (sw switcher) ahead(all []seen, v *seen) error {
	for _, o := range all {
		if o.length > v.length {
			return fmt.Errorf("%w: %s is ahead of %s", mysql.ErrContested, o.Node, v.Node)
		}
	}
	return nil
}

func (sw switcher) open(ctx context.Context, sv *server, term int64) error {
	if err := sw.w.act(ctx, sv, term, func() error { sv.readOnly = false; return nil }); err != nil {
		return err
	}
	ro := false
	if err := sw.w.read(ctx, sv, func() { ro = sv.readOnly }); err != nil {
		return err
	}
	if ro {
		return fmt.Errorf("%s is still read-only", sv.name)
	}
	return nil
}

func (sw switcher) note(ctx context.Context, sv *server, term int64, st standing) error {
	st.Term = term
	return sw.w.act(ctx, sv, term, func() error { sv.standing = &st; return nil })
}

// Preflight looks at what a switch needs.
func (sw switcher) Preflight(ctx context.Context, r switchover.Request) (check.Results, error) {
	all, err := sw.look(ctx, r.Cluster)
	if err != nil {
		return nil, err
	}
	now := sw.w.s.now
	if where, v, err := outset(all, r.ToCell); err == nil && where != "begin" && v.standing != nil && v.standing.Role != mysql.StandingReplica && (v.Writable || v.standing.Role != mysql.StandingPrimary) {
		return check.Results{check.Passed("one-primary", v.Node+" is in a switch that was broken off", now)}, nil
	}
	p, err := primaryOf(all)
	if err != nil {
		return check.Results{check.Unknowable("one-primary", err, now)}, nil
	}
	cs := check.Results{check.Passed("one-primary", p.Node, now)}
	for _, v := range all {
		if v.server != p.server && (!v.running || v.source != p.addr) {
			cs = append(cs, check.Failed("replication", v.Node+" does not replicate from the primary", "mend it", now))
		}
	}
	obs, err := gateways(sw).Observe(ctx, r.Cluster)
	if err != nil {
		return nil, err
	}
	for _, g := range obs {
		if g.Error != "" || g.Held || g.Primary != p.addr {
			cs = append(cs, check.Failed("gateways", g.Gateway+" is not open to the primary", "wait", now))
		}
	}
	return cs, nil
}

// Prove writes one row through the primary and waits for it everywhere.
func (sw switcher) Prove(ctx context.Context, c fleet.Cluster, term int64) (check.Results, error) {
	p, err := sw.settled(ctx, c, term)
	if err != nil {
		return nil, err
	}
	row := -(sw.w.s.now.UnixNano() + int64(len(p.log)))
	if err := sw.w.act(ctx, p, term, func() error {
		if p.readOnly {
			return errReadOnly
		}
		p.append(row)
		return nil
	}); err != nil {
		return nil, err
	}
	all, _, names := sw.w.servers(c)
	for i, sv := range all {
		if !sw.w.s.until(ctx, 2*time.Second, func() bool { return sv.up && has(sv, row) }) {
			return check.Results{check.Failed("proof", "the row does not arrive on "+names[i], "look at its replication", sw.w.s.now)}, nil
		}
	}
	return check.Results{check.Passed("proof", "the row arrived everywhere", sw.w.s.now)}, nil
}

func has(sv *server, id int64) bool {
	for i := len(sv.log) - 1; i >= 0; i-- {
		if sv.log[i] == id {
			return true
		}
	}
	return false
}

// WayBack looks at replication to the old cell.
func (sw switcher) WayBack(ctx context.Context, c fleet.Cluster, old string) (fleet.WayBack, check.Results, error) {
	all, err := sw.look(ctx, c)
	if err != nil {
		return fleet.WayBack{}, nil, err
	}
	p, err := primaryOf(all)
	if err != nil {
		return fleet.WayBack{}, nil, err
	}
	for _, v := range all {
		if v.Cell == old && (!v.running || v.source != p.addr) {
			return fleet.WayBack{Detail: v.Node + " does not replicate", Since: sw.w.s.now}, check.Results{check.Failed("way-back", v.Node, "mend it", sw.w.s.now)}, nil
		}
	}
	return fleet.WayBack{Open: true, Detail: "replication to " + old + " runs", Since: sw.w.s.now}, check.Results{check.Passed("way-back", "it runs", sw.w.s.now)}, nil
}

// CloseWayBack stops replication to the old cell.
func (sw switcher) CloseWayBack(ctx context.Context, c fleet.Cluster, old string, term int64) error {
	return storage(sw).Forget(ctx, c, old, term)
}

// SafeToRemove looks whether anything needs the cell.
func (sw switcher) SafeToRemove(ctx context.Context, c fleet.Cluster, cell string) (check.Results, error) {
	all, err := sw.look(ctx, c)
	if err != nil {
		return nil, err
	}
	now := sw.w.s.now
	cs := check.Results{check.Passed("looked", fmt.Sprintf("at %d nodes", len(all)), now)}
	for _, v := range all {
		switch {
		case !v.Known:
			cs = append(cs, check.Unknowable("node", fmt.Errorf("%s does not answer", v.Node), now))
		case v.Cell == cell && v.Writable:
			cs = append(cs, check.Failed("writable", v.Node+" is writable", "", now))
		}
		for _, o := range all {
			if o.Cell != cell && v.Cell == cell && v.server != nil && o.source == v.addr {
				cs = append(cs, check.Failed("source", o.Node+" replicates from "+v.Node, "", now))
			}
		}
	}
	return cs, nil
}

// undoTime is how long the undo of a demotion may take at the most, and the demotion.
const undoTime = 2 * time.Second

// switching is one try of a switch.
type switching struct {
	switcher
	r          switchover.Request
	all        []seen
	old, elect *seen
	gates      []*gateway
	st         standing // what is noted
	position   int
	until      time.Time
	demoting   bool
	stopped    bool
	promoting  bool
	promoted   bool
	ending     bool // what was begun is ended, and nothing is begun
	ms         float64
}

type stride struct {
	name   string
	do     func(r *switching, ctx context.Context) error
	inside []string
}

// strides is the mysql driver's path; a test compares the names.
var strides = []stride{
	{"tidy", (*switching).tidy, nil},
	{"pin", (*switching).nothing, nil},
	{"mark", (*switching).mark, nil},
	{"prepare", (*switching).prepare, nil},
	{"catch-up", (*switching).catchUp, nil},
	{"note", (*switching).noteIntent, []string{"note-elect"}},
	{"hold", (*switching).hold, nil},
	{"recheck", (*switching).recheck, nil},
	{"scheduler", (*switching).nothing, nil},
	{"demote", (*switching).demote, []string{"demote-persisted", "demote-set"}},
	{"leftovers", (*switching).nothing, nil},
	{"position", (*switching).readPosition, nil},
	{"wait", (*switching).waitForElect, nil},
	{"note-promotion", (*switching).notePromotion, nil},
	{"stop", (*switching).stop, nil},
	{"promote", (*switching).promote, []string{"promote-set"}},
	{"release", (*switching).release, nil},
	{"note-primary", (*switching).notePrimary, nil},
	{"repoint", (*switching).repoint, nil},
	{"events", (*switching).nothing, nil},
	{"forget", (*switching).forget, nil},
	{"observe", (*switching).observe, nil},
}

var undoStrides = []stride{
	{"undo-elect", (*switching).undoElect, nil},
	{"undo-open", (*switching).undoOpen, nil},
	{"undo-gateways", (*switching).undoGateways, nil},
	{"undo-roles", (*switching).undoRoles, nil},
	{"undo-replicate", (*switching).undoReplicate, nil},
}

// Switch makes a node of the cell the primary.
func (sw switcher) Switch(ctx context.Context, r switchover.Request) (engine.SwitchoverOutput, error) {
	return sw.try(ctx, r, false)
}

// Complete ends what was begun.
func (sw switcher) Complete(ctx context.Context, r switchover.Request) error {
	_, err := sw.try(ctx, r, true)
	return err
}

func (sw switcher) try(ctx context.Context, r switchover.Request, ending bool) (engine.SwitchoverOutput, error) {
	timeout, stop := clock{sw.w.s, sw.w.s.cur.p}.WithTimeout(ctx, r.Settings.Timeout)
	defer stop()
	x := &switching{switcher: sw, r: r, ending: ending}
	for _, cell := range r.Cluster.Cells {
		if cell.Gateway != nil {
			x.gates = append(x.gates, gateways(sw).byAddress(*cell.Gateway))
		}
	}
	out, err := x.run(timeout)
	if err != nil && !sw.w.hurt && sw.w.flaky == 0 && !slices.ContainsFunc(sw.w.cluster(r.Cluster).order, (*server).writable) {
		sw.w.s.fail("%s: no server is writable after a switch that was called off, and nothing was killed: %w", r.Cluster.Ref(), err)
	}
	return out, err
}

func (x *switching) run(ctx context.Context) (engine.SwitchoverOutput, error) {
	for range 4 {
		var err error
		if x.all, err = x.look(ctx, x.r.Cluster); err != nil {
			return engine.SwitchoverOutput{}, err
		}
		where, v, err := outset(x.all, x.r.ToCell)
		if err != nil {
			return engine.SwitchoverOutput{}, err
		}
		x.w.trace("switch %s under term %d: %s at %s", x.r.ID, x.r.Term, where, v.Node)
		switch where {
		case "reopen":
			if err := x.ahead(x.all, v); err != nil {
				return engine.SwitchoverOutput{}, err
			}
			if err := x.open(ctx, v.server, x.r.Term); err != nil {
				return engine.SwitchoverOutput{}, err
			}
		case "begin":
			if x.ending {
				return engine.SwitchoverOutput{}, nil
			}
			x.old = v
			return x.walk(ctx, "tidy")
		case "promote":
			if err := x.ahead(x.all, v); err != nil {
				return engine.SwitchoverOutput{}, err
			}
			x.elect, x.st, x.old = v, *v.standing, x.named(v.standing.From)
			if v.Cell == x.r.ToCell || x.ending {
				return x.walk(ctx, "stop")
			}
			if err := x.arrive(ctx); err != nil {
				return engine.SwitchoverOutput{}, err
			}
		case "finish":
			x.elect, x.promoted = v, true
			if v.standing != nil && v.standing.Role != mysql.StandingReplica {
				x.st, x.old = *v.standing, x.named(v.standing.From)
			}
			return x.walk(ctx, "release")
		}
	}
	return engine.SwitchoverOutput{}, errors.New("it does not settle")
}

func (x *switching) named(name string) *seen {
	for i, v := range x.all {
		if v.Cell+"/"+v.Node == name {
			return &x.all[i]
		}
	}
	return nil
}

func (x *switching) walk(ctx context.Context, from string) (engine.SwitchoverOutput, error) {
	begun, on := false, false
	var late []error
	for _, s := range x.w.strides {
		if begun = begun || s.name == from; !begun {
			continue
		}
		if x.promoted && !on {
			var stop context.CancelFunc
			ctx, stop = clock{x.w.s, x.w.s.cur.p}.WithTimeout(engine.Held(ctx), 30*time.Second)
			defer stop()
			on = true
		}
		err := s.do(x, ctx)
		switch {
		case err == nil:
		case x.promoted:
			if errors.Is(err, engine.ErrFenced) {
				return engine.SwitchoverOutput{}, err
			}
			late = append(late, fmt.Errorf("%s: %w", s.name, err))
		default:
			return engine.SwitchoverOutput{}, x.undo(ctx, fmt.Errorf("%s: %w", s.name, err))
		}
		x.r.Point("after-" + s.name)
	}
	if err := errors.Join(late...); err != nil {
		return engine.SwitchoverOutput{}, err
	}
	out := engine.SwitchoverOutput{Kind: "storage", To: x.r.ToCell, HoldMS: x.ms, At: x.w.s.now}
	if x.old != nil {
		out.From = x.old.Cell
	}
	return out, nil
}

func (x *switching) nothing(context.Context) error { return nil }
