package mysql

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/switchover"
)

// WayBack looks at replication from the primary to the old cell, and at what would break it. Open is true only if every
// node of the old cell was seen replicating from the primary: what can't be read is not open. Risks lists what is there
// that would stop it, or change it silently.
func (d *Driver) WayBack(ctx context.Context, c fleet.Cluster, oldCell string) (fleet.WayBack, check.Results, error) {
	sc := d.look(ctx, c)
	if err := ctx.Err(); err != nil {
		return fleet.WayBack{}, nil, err
	}
	at := d.cfg.Now()
	primary, err := sc.primary()
	if err != nil {
		return fleet.WayBack{Detail: err.Error(), Since: at}, check.Results{check.Unknowable("one-primary", err, at)}, nil
	}
	olds := oldNodes(sc, primary, oldCell)
	if primary.cell == oldCell && len(olds) == 0 {
		return fleet.WayBack{}, nil, fmt.Errorf("the primary %s is in the old cell, and no node of it is older: there is no way back to look at", primary.place)
	}
	in := &inspection{d: d, sc: sc, primary: primary, elect: primary, maxLag: time.Second, req: switchover.Request{Cluster: c, ToCell: primary.cell}}
	in.replicas = olds
	rs := in.run(ctx, []namedCheck{
		{"way-back-nodes", (*inspection).replicasPresent},
		{"way-back-running", (*inspection).replicationRunning},
		{"way-back-lag", (*inspection).replicaLag},
		{"way-back-errant", (*inspection).errantGTID},
		{"binlog-format", (*inspection).binlogFormat},
		{"collation-pin", (*inspection).collationPin},
		{"schema-drift", (*inspection).schemaDrift},
		{"way-back-risks", (*inspection).wayBackRisks},
	})
	w := fleet.WayBack{Open: true, Detail: "every old node of " + oldCell + " replicates from " + primary.place.String(), Risks: append(in.found, in.latent...), Since: at}
	if st := primary.standing; st != nil && st.Role == isPrimary {
		w.Since = st.At
	}
	for _, r := range rs {
		switch r.Name {
		case "way-back-nodes", "way-back-running", "way-back-errant":
			if r.Verdict != check.Pass && r.Verdict != check.Warn && w.Open {
				w.Open, w.Detail, w.Since = false, r.Detail, at
			}
		case "collation-pin", "schema-drift":
			if r.Verdict == check.Fail {
				w.Risks = append(w.Risks, r.Detail)
			}
		}
	}
	return w, rs, nil
}

// CloseWayBack stops replication to the old cell, for ever, and gives the primary back the default collations that it had before they
// were pinned. It repeats safely.
func (d *Driver) CloseWayBack(ctx context.Context, c fleet.Cluster, oldCell string, term int64) error {
	sc, primary, err := d.settled(ctx, c, term)
	if err != nil {
		return err
	}
	if primary.cell == oldCell { // raised in place: there is no cell to let go, and no node may be older any more
		if olds := oldNodes(sc, primary, oldCell); len(olds) > 0 {
			return fmt.Errorf("the primary %s is in the old cell, and %s is older than it: the way back can't be closed", primary.place, olds[0].place)
		}
	} else if err := d.Forget(ctx, c, oldCell, term); err != nil {
		return err
	}
	st := primary.standing
	if st == nil || st.Role != isPrimary || st.Detail.Collation == nil {
		return nil
	}
	s, err := d.dialTo(ctx, primary.place)
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.act(ctx, term, "give back the default collations", "SET GLOBAL "+pinned+"="+quote(*st.Detail.Collation)); err != nil {
		return err
	}
	det := st.Detail
	det.Collation = nil
	return s.note(ctx, term, primary.uuid, isPrimary, st.Switch, det)
}

// SafeToRemove looks whether anything still needs the cell: its servers must be the recorded ones, not writable, no
// source of anybody, without clients (trap 36).
func (d *Driver) SafeToRemove(ctx context.Context, c fleet.Cluster, cell string) (check.Results, error) {
	sc := d.look(ctx, c)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	in := &inspection{d: d, sc: sc, req: switchover.Request{Cluster: c, ToCell: cell}}
	if w := sc.writable(); len(w) == 1 {
		in.primary = w[0]
	}
	for _, v := range sc.views {
		if v.cell == cell {
			in.replicas = append(in.replicas, v)
		}
	}
	in.gs, in.gsErr = d.gates(c)
	return in.run(ctx, []namedCheck{
		{"nodes-reachable", (*inspection).nodesReachable},
		{"one-primary", (*inspection).onePrimary},
		{"identity", (*inspection).identity},
		{"recorded", (*inspection).recorded},
		{"not-writable", (*inspection).notWritable},
		{"no-source", (*inspection).noSource},
		{"no-clients", (*inspection).noClients},
		{"acknowledgements", (*inspection).acknowledgements},
	}), nil
}

// recorded: the identity of every node that is to be removed was written down when it was made, or first observed.
func (in *inspection) recorded(_ context.Context, f *finding) {
	f.asked("SELECT @@server_uid or @@server_uuid")
	for _, v := range f.known(in.replicas) {
		switch v.node.UUID {
		case "":
			f.fail("observe the cluster and record it first", "%s has no recorded identity: it can't be told from another server at its address", v.place)
		case v.uuid:
			f.pass("%s is server %s", v.place, v.uuid)
		default:
			f.fail("find out which server answers there", "%s is server %s, not the recorded %s", v.place, v.uuid, v.node.UUID)
		}
	}
	if cell, _ := in.sc.cluster.Cell(in.req.ToCell); cell.Owner == "" {
		f.warn("", "cell %s was not made by Windlass: its nodes are released, never deleted", cell.Name)
	}
}

func (in *inspection) notWritable(_ context.Context, f *finding) {
	f.asked("SELECT @@global.read_only")
	for _, v := range f.known(in.replicas) {
		if !v.readOnly {
			f.fail("switch the primary to another cell first", "%s is writable", v.place)
			continue
		}
		f.pass("%s is read-only", v.place)
	}
}

// noSource: nobody replicates from the cell, of the cluster or not.
func (in *inspection) noSource(ctx context.Context, f *finding) {
	f.asked("SHOW ALL SLAVES STATUS on every node; dump threads on the cell's")
	for _, v := range in.sc.views {
		for _, ch := range v.channels {
			if src := in.sc.at(ch.source); src != nil && src.cell == in.req.ToCell && v.cell != in.req.ToCell {
				f.fail("point it at the primary", "%s replicates from %s", v.place, src.place)
			}
		}
	}
	for _, v := range f.known(in.replicas) {
		s := in.need(ctx, f, v)
		if s == nil {
			continue
		}
		ps, err := s.processes(ctx)
		if err != nil {
			f.unknown(err)
			continue
		}
		for _, p := range ps {
			if p.dump() {
				f.fail("point it at another server", "%s reads the binary log of %s", p, v.place)
			}
		}
		f.pass("nobody reads the binary log of %s", v.place)
	}
}

// noClients: nobody is connected to the cell's servers but ourselves and gateways without sessions there.
func (in *inspection) noClients(ctx context.Context, f *finding) {
	f.asked("SELECT … FROM information_schema.PROCESSLIST")
	if in.gsErr != nil {
		f.unknown(in.gsErr)
		return
	}
	monitors := map[uint64]bool{}
	for _, g := range in.gs {
		st, err := in.d.ask(ctx, g)
		if err != nil {
			f.unknown(err)
			continue
		}
		for _, srv := range st.Servers {
			if v := in.sc.at(srv.Address); v != nil && v.cell == in.req.ToCell {
				for _, id := range srv.MonitorIDs {
					monitors[uint64(id)] = true
				}
			}
		}
	}
	for _, v := range f.known(in.replicas) {
		s := in.need(ctx, f, v)
		if s == nil {
			continue
		}
		ps, err := s.processes(ctx)
		if err != nil {
			f.unknown(err)
			continue
		}
		for _, p := range ps {
			known := p.internal() || p.dump() || p.user == in.d.cfg.Admin.User || monitors[p.id] || slices.Contains(in.d.cfg.Known.Users, p.user) || slices.Contains(in.d.cfg.Known.Addresses, p.address())
			if !known {
				f.fail("move it away", "%s is connected to %s", p, v.place)
			}
		}
		f.pass("no client is connected to %s", v.place)
	}
}

// acknowledgements: without the cell the primary does not wait for acknowledgements that nobody sends.
func (in *inspection) acknowledgements(_ context.Context, f *finding) {
	f.asked("SHOW GLOBAL VARIABLES LIKE 'rpl_semi_sync%'")
	if in.primary == nil {
		f.unknown(errNoPrimary)
		return
	}
	names := in.primary.fl.semisync()
	if in.primary.vars[names.source] != "ON" {
		f.pass("%s waits for nobody", in.primary.place)
		return
	}
	for _, v := range f.known(in.sc.views) {
		if ch, ok := v.channel(); ok && ch.healthy() && v.cell != in.req.ToCell && v.vars[names.replica] == "ON" {
			f.pass("%s acknowledges", v.place)
			return
		}
	}
	f.fail("set "+names.replica+"=1 on a node that stays, or "+names.source+"=0 on the primary", "%s waits for acknowledgements, and no node outside of cell %s sends any", in.primary.place, in.req.ToCell)
}
