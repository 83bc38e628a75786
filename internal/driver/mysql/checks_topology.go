package mysql

import (
	"context"
	"errors"
	"strings"
	"time"
)

// nodesReachable: every node was read. A failed read is unknown, and holds.
func (in *inspection) nodesReachable(_ context.Context, f *finding) {
	f.asked("SELECT @@global.read_only")
	if n := len(f.known(in.sc.views)); n == len(in.sc.views) {
		f.pass("all %d nodes answer", n)
	}
}

// onePrimary: exactly one node is writable. With two or none nothing is guessed.
func (in *inspection) onePrimary(_ context.Context, f *finding) {
	f.asked("SELECT @@global.read_only")
	f.known(in.sc.views)
	w := in.sc.writable()
	if len(w) != 1 {
		f.fail("set read_only by hand so that exactly one node is writable", "%v", contested(in.sc, w))
		return
	}
	f.pass("%s is the one writable node", w[0].place)
	if n := len(w[0].channels); n > 0 {
		f.fail("stop that replication, or RESET it: a primary must not replicate", "the primary %s itself replicates from %s", w[0].place, w[0].channels[0].source)
	}
}

// electFit: a node of the target cell replicates straight from the primary and may be elected.
func (in *inspection) electFit(_ context.Context, f *finding) {
	f.asked("SHOW ALL SLAVES STATUS / SHOW REPLICA STATUS")
	if _, ok := in.sc.cluster.Cell(in.req.ToCell); !ok {
		f.fail("name a cell of the cluster", "cluster %s has no cell %q", in.sc.cluster.Ref(), in.req.ToCell)
		return
	}
	if in.primary != nil && aim(in.req).at(in.primary) {
		f.fail("nothing is to be done", "the primary %s is in %s already", in.primary.place, aim(in.req))
		return
	}
	_, why := in.sc.electOf(in.primary, aim(in.req), in.req.ID)
	if in.elect == nil {
		f.fail("make a node of "+aim(in.req).String()+" replicate straight from the primary", "no node of %s is fit: %s", aim(in.req), strings.Join(why, "; "))
		return
	}
	f.pass("%s (%s) is elected", in.elect.place, in.elect.text)
}

// identity: the nodes are who they were, and no two are the same server.
func (in *inspection) identity(_ context.Context, f *finding) {
	f.asked("SELECT @@server_uid or @@server_uuid, @@server_id")
	uuids, ids := map[string]place{}, map[string]place{}
	vs := f.known(in.sc.views)
	for _, v := range vs {
		if v.node.UUID != "" && v.node.UUID != v.uuid {
			f.fail("find out which server answers at that address", "%s at %s is server %s, recorded is %s", v.place, v.node.Address, v.uuid, v.node.UUID)
		}
		if o, twice := uuids[v.uuid]; twice {
			f.fail("give each node the address of its own server", "%s and %s are the same server %s", o, v.place, v.uuid)
		}
		if o, twice := ids[v.serverID]; twice {
			f.fail("give each server its own server_id", "%s and %s both have server_id %s", o, v.place, v.serverID)
		}
		uuids[v.uuid], ids[v.serverID] = v.place, v.place
	}
	f.pass("%d different servers, as recorded", len(vs))
}

// versions: the source is never newer than a replica, over every pair that the switch makes; but for the nodes of the cell that is
// left, which follow the new version for as long as the rollback window is open, behind the named guards (trap 18).
func (in *inspection) versions(_ context.Context, f *finding) {
	f.asked("SELECT VERSION()")
	for _, cell := range in.sc.cluster.Cells {
		for _, v := range in.sc.views {
			meant := cell.VersionOf(v.node)
			want, err := parseVersion(meant)
			if err == nil && v.err == nil && v.cell == cell.Name && v.version.series() != want.series() {
				f.fail("install the cell's version, or correct the inventory", "%s runs %s, but %s is meant to be %s", v.place, v.version, v.whose(), meant)
			}
		}
	}
	if in.elect == nil {
		f.unknown(errNoElect)
		return
	}
	for _, v := range f.known(in.sc.views) {
		switch {
		case v == in.elect:
		case v.fl.name() != in.elect.fl.name():
			f.fail("", "%s is %s and %s is %s: they do not replicate", v.place, v.fl.name(), in.elect.place, in.elect.fl.name())
		case !v.version.less(in.elect.version):
			f.pass("%s %s → %s %s", in.elect.place, in.elect.version.series(), v.place, v.version.series())
		case aim(in.req).leaves(in.sc, v):
			f.pass("%s %s → %s %s only while the rollback window is open, guarded by %s", in.elect.place, in.elect.version.series(), v.place, v.version.series(), strings.Join(reverseGuards, ", "))
		default:
			f.fail("raise that node first", "%s %s would have to follow %s %s: a replica must not be older than its source", v.place, v.version.series(), in.elect.place, in.elect.version.series())
		}
	}
}

// reverseGuards are the checks that make "newer source, older replica" legal for a while.
var reverseGuards = []string{"binlog-format", "collation-pin", "schema-drift", "way-back-risks"}

func (in *inspection) replicasPresent(_ context.Context, f *finding) {
	if len(in.replicas) == 0 {
		f.fail("add a node to the cell", "the cell has no node that could replicate")
		return
	}
	f.pass("%d nodes", len(in.replicas))
}

// readOnlyElsewhere: nobody but replication writes where the primary is not.
func (in *inspection) readOnlyElsewhere(_ context.Context, f *finding) {
	f.asked("SELECT @@global.read_only")
	for _, v := range f.known(in.replicas) {
		switch {
		case !v.readOnly:
			f.fail("set read_only=1 on "+v.place.String(), "%s is writable", v.place)
		case v.vars["super_read_only"] == "OFF":
			f.warn("set super_read_only=1 on "+v.place.String(), "%s is read-only, but administrators can write", v.place)
		default:
			f.pass("%s is read-only", v.place)
		}
	}
}

// bootReadOnly: every server starts read-only, so that a demoted primary that dies does not come back writable (trap 2).
func (in *inspection) bootReadOnly(ctx context.Context, f *finding) {
	f.asked("SELECT GLOBAL_VALUE_ORIGIN FROM information_schema.SYSTEM_VARIABLES WHERE VARIABLE_NAME='READ_ONLY'")
	const remedy = "put read_only=1 into the option file of every server (no restart is needed), and let the driver know: a BootsReadOnly hook, or the cluster's label " + LabelBootsReadOnly + ": \"yes\""
	vouched := strings.EqualFold(in.sc.cluster.Labels[LabelBootsReadOnly], "yes")
	for _, v := range f.known(in.sc.views) {
		if v.fl.name() == "mysql" {
			if v.vars["persisted_globals_load"] == "OFF" {
				f.fail("set persisted_globals_load=ON", "%s would forget SET PERSIST at its next start", v.place)
			} else {
				f.pass("%s keeps read_only by SET PERSIST", v.place)
			}
			continue
		}
		if in.d.cfg.BootsReadOnly != nil {
			ro, err := in.d.cfg.BootsReadOnly(ctx, v.node)
			switch {
			case errors.Is(err, ErrNotKnown): // the server may say so itself, or the label
			case err != nil:
				f.unknown(err)
				continue
			case ro:
				f.pass("%s boots read-only, by its configuration", v.place)
				continue
			default:
				f.fail(remedy, "%s boots writable", v.place)
				continue
			}
		}
		s := in.need(ctx, f, v)
		if s == nil {
			continue
		}
		booted, err := s.fl.bootValue(ctx, s)
		switch {
		case err != nil:
			f.unknown(err)
		case booted && v.readOnly:
			f.pass("%s booted read-only", v.place)
		case booted:
			f.fail(remedy, "%s booted writable: killed after its demotion it would come back as a second primary", v.place)
		case vouched:
			f.pass("%s boots read-only, as the label %s says", v.place, LabelBootsReadOnly)
		default:
			f.say("unknown", "whether %s boots read-only: its read_only was set since", v.place)
			f.remedy(remedy)
		}
	}
}

// holdBudget: the settings leave enough of a hold for the worst demotion and its undo (trap 10).
func (in *inspection) holdBudget(_ context.Context, f *finding) {
	b := in.d.budgetOf(in.req.Settings)
	f.asked("hold_ttl, drain")
	need := b.drain + b.worst()
	if b.ttl <= need {
		f.fail("raise hold_ttl or lower drain", "a hold of %v can't contain a drain of %v and a demotion with its undo, which take %v at the worst", b.ttl, b.drain, b.worst())
		return
	}
	f.pass("hold %v: drain ≤ %v, demotion ≤ %v, undo ≤ %v", b.ttl, b.drain, b.demote+lateAnswer+b.settle, b.undo)
}

// lastSwitch: not too soon after the last one (flapping). The way back is never refused for that.
func (in *inspection) lastSwitch(_ context.Context, f *finding) {
	f.asked("SELECT at_us FROM windlass.standing")
	var last time.Time
	for _, v := range f.known(in.sc.views) {
		if v.standing != nil && v.standing.Role == isPrimary && v.standing.Switch != "" && v.standing.Switch != in.req.ID && v.standing.At.After(last) {
			last = v.standing.At
		}
	}
	age := in.d.cfg.Now().Sub(last)
	switch {
	case last.IsZero():
		f.pass("no earlier switch is on record")
	case age >= in.req.Settings.MinInterval:
		f.pass("the last switch was %v ago", age.Round(time.Second))
	case in.req.Back:
		f.warn("", "the last switch was only %v ago; the way back is let pass", age.Round(time.Millisecond))
	default:
		f.fail("wait "+(in.req.Settings.MinInterval-age).Round(time.Second).String(), "the last switch was %v ago; the least interval is %v", age.Round(time.Millisecond), in.req.Settings.MinInterval)
	}
}
