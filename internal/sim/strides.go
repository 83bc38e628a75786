package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/windlass-db/windlass/internal/driver/mysql"
	"github.com/windlass-db/windlass/internal/engine"
)

func (x *switching) tidy(ctx context.Context) error {
	for _, v := range x.all {
		if err := x.w.raise(ctx, v.server, x.r.Term); err != nil {
			return err
		}
	}
	if err := x.cancelGates(ctx); err != nil {
		return err
	}
	for _, v := range x.all {
		if v.server == x.old.server || v.Cell != x.r.ToCell || v.standing == nil || v.standing.Role != mysql.StandingPromoting && v.standing.Switch != x.r.ID {
			continue
		}
		if v.standing.Role != mysql.StandingReplica {
			if err := x.note(ctx, v.server, x.r.Term, standing{Standing: mysql.Standing{Role: mysql.StandingReplica, Switch: x.r.ID}}); err != nil {
				return err
			}
		}
		if !v.running {
			if err := x.w.attach(ctx, v.server, x.old.server, x.r.Term); err != nil {
				return err
			}
		}
	}
	if st := x.old.standing; st != nil && st.Role == mysql.StandingDemoting {
		back := *st
		back.Role, back.undone = mysql.StandingPrimary, true
		if err := x.note(ctx, x.old.server, x.r.Term, back); err != nil {
			return err
		}
	}
	all, err := x.look(ctx, x.r.Cluster)
	if err != nil {
		return err
	}
	x.all = all
	if x.old, err = primaryOf(all); err != nil {
		return err
	}
	for i, v := range all {
		if v.Cell == x.r.ToCell && v.running && v.source == x.old.addr && (x.elect == nil || v.length > x.elect.length) {
			x.elect = &all[i]
		}
	}
	if x.elect == nil {
		return errors.New("no node is fit to become the primary")
	}
	return nil
}

func (x *switching) mark(ctx context.Context) error {
	row := -x.w.s.now.UnixNano()
	if err := x.w.act(ctx, x.old.server, x.r.Term, func() error {
		if x.old.readOnly {
			return errReadOnly
		}
		x.old.append(row)
		return nil
	}); err != nil {
		return err
	}
	if !x.w.s.until(ctx, 2*time.Second, func() bool { return has(x.elect.server, row) }) {
		return errors.New("the marked row does not arrive")
	}
	return nil
}

func (x *switching) prepare(ctx context.Context) error {
	for _, g := range x.gates {
		if err := g.admin(ctx, x.r.Term, func() error { return nil }); err != nil {
			return err
		}
	}
	return nil
}

func (x *switching) catchUp(ctx context.Context) error {
	n := len(x.old.log)
	if !x.w.s.until(ctx, x.r.Settings.MaxLag, func() bool { return len(x.elect.log) >= n }) {
		return errors.New("the elect does not catch up")
	}
	return nil
}

func (x *switching) noteIntent(ctx context.Context) error {
	x.st = standing{Standing: mysql.Standing{Switch: x.r.ID, From: x.old.Cell + "/" + x.old.Node}}
	st := x.st
	st.Role = mysql.StandingReplica
	if err := x.note(ctx, x.elect.server, x.r.Term, st); err != nil {
		return err
	}
	x.r.Point("note-elect")
	st.Role = mysql.StandingDemoting
	return x.note(ctx, x.old.server, x.r.Term, st)
}

func (x *switching) hold(ctx context.Context) error {
	for try := 1; ; try++ {
		x.until = x.w.s.now.Add(x.r.Settings.HoldTTL)
		var err error
		for _, g := range x.gates {
			if err = g.close(ctx, x.r.ID, x.r.Term, x.r.Settings.HoldTTL, x.r.Settings.Drain); err != nil {
				break
			}
		}
		if err == nil {
			return nil
		}
		if try >= x.r.Settings.Tries || ctx.Err() != nil || errors.Is(err, engine.ErrFenced) {
			return err
		}
		if err := x.cancelGates(ctx); err != nil {
			return err
		}
		if err := x.w.s.sleep(ctx, 10*x.r.Settings.Drain); err != nil {
			return err
		}
	}
}

func (x *switching) recheck(ctx context.Context) error {
	ok := false
	if err := x.w.read(ctx, x.elect.server, func() {
		ok = x.elect.server.replicates() && x.elect.server.source == x.old.addr && x.elect.readOnly
	}); err != nil {
		return err
	}
	writable := false
	if err := x.w.read(ctx, x.old.server, func() { writable = !x.old.readOnly }); err != nil {
		return err
	}
	if !ok || !writable {
		return errors.New("the roles have changed")
	}
	if left := x.until.Sub(x.w.s.now); left <= 2*undoTime { // trap 10
		return fmt.Errorf("only %v of the hold is left", left)
	}
	return nil
}

func (x *switching) demote(ctx context.Context) error {
	x.demoting = true
	x.r.Point("demote-persisted")
	sv := x.old.server
	if err := x.w.act(ctx, sv, x.r.Term, func() error {
		if !sv.readOnly {
			sv.readOnly = true
			x.w.demoted(x.elect.server)
		}
		return nil
	}); err != nil {
		return err
	}
	x.r.Point("demote-set")
	ro := false
	if err := x.w.read(ctx, sv, func() { ro = sv.readOnly }); err != nil {
		return err
	}
	if !ro {
		return errors.New("it is still writable")
	}
	return nil
}

func (x *switching) readPosition(ctx context.Context) error {
	return x.w.read(ctx, x.old.server, func() { x.position = len(x.old.log) })
}

func (x *switching) waitForElect(ctx context.Context) error {
	limit := max(x.until.Sub(x.w.s.now)-undoTime, 0)
	if !x.w.s.until(ctx, limit, func() bool { return x.elect.server.up && len(x.elect.log) == x.position }) {
		return errors.New("the elect does not reach the position")
	}
	n, ro := 0, false
	if err := x.w.read(ctx, x.old.server, func() { n, ro = len(x.old.log), x.old.readOnly }); err != nil {
		return err
	}
	if n != x.position || !ro {
		return errors.New("the demoted server moved")
	}
	return nil
}

func (x *switching) notePromotion(ctx context.Context) error {
	st := x.st
	st.Role = mysql.StandingPromoting
	return x.note(ctx, x.elect.server, x.r.Term, st)
}

func (x *switching) stop(ctx context.Context) error {
	x.stopped = true
	sv := x.elect.server
	return x.w.act(ctx, sv, x.r.Term, func() error { sv.running = false; return nil })
}

func (x *switching) promote(ctx context.Context) error {
	x.promoting = true
	sv := x.elect.server
	err := x.w.act(ctx, sv, x.r.Term, func() error { sv.readOnly = false; return nil })
	if err != nil && answered(err) {
		return err
	}
	ctx = engine.Held(ctx)
	x.r.Point("promote-set")
	ro := false
	switch rerr := x.w.read(ctx, sv, func() { ro = sv.readOnly }); {
	case rerr != nil:
		return fmt.Errorf("%w: %w", errUnsettled, errors.Join(err, rerr))
	case ro && err != nil:
		return err
	case ro:
		return errors.New("it is still read-only")
	}
	x.promoted = true
	return nil
}

func (x *switching) release(ctx context.Context) error {
	var errs []error
	for _, g := range x.gates {
		ms, err := g.release(ctx, x.r.ID, x.r.Term, x.elect.server)
		x.ms, errs = max(x.ms, ms), append(errs, err)
	}
	return errors.Join(errs...)
}

func (x *switching) notePrimary(ctx context.Context) error {
	if st := x.elect.standing; st != nil && st.Role == mysql.StandingPrimary && st.Switch == x.r.ID && !st.undone {
		x.ms = max(x.ms, st.holdMS)
		return nil
	}
	st := x.st
	st.Role, st.Switch, st.holdMS, st.undone = mysql.StandingPrimary, x.r.ID, x.ms, false
	return x.note(ctx, x.elect.server, x.r.Term, st)
}

func (x *switching) repoint(ctx context.Context) error {
	var errs []error
	for _, v := range x.all {
		if v.server == x.elect.server {
			continue
		}
		err := x.w.attach(ctx, v.server, x.elect.server, x.r.Term)
		if err == nil {
			err = x.note(ctx, v.server, x.r.Term, standing{Standing: mysql.Standing{Role: mysql.StandingReplica, Switch: x.r.ID}})
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (x *switching) forget(ctx context.Context) error {
	sv := x.elect.server
	return x.w.act(ctx, sv, x.r.Term, func() error { sv.source, sv.running = "", false; return nil })
}

func (x *switching) observe(ctx context.Context) error {
	var err error
	for range 100 {
		if err = x.arrived(ctx); err == nil {
			return nil
		}
		if serr := x.w.s.sleep(ctx, 50*time.Millisecond); serr != nil {
			return err
		}
	}
	return err
}

func (x *switching) arrived(ctx context.Context) error {
	all, err := x.look(ctx, x.r.Cluster)
	if err != nil {
		return err
	}
	p, err := primaryOf(all)
	if err != nil {
		return err
	}
	if p.server != x.elect.server {
		return fmt.Errorf("%s is the primary", p.Node)
	}
	for _, v := range all {
		if v.server != p.server && (!v.running || v.source != p.addr) {
			return fmt.Errorf("%s does not replicate from %s", v.Node, p.Node)
		}
	}
	for _, g := range x.gates {
		if err := (gateways{x.w}).read(ctx, g, func() {
			if g.hold != nil || g.route != p.server {
				err = fmt.Errorf("gateway %s is not open to %s", g.spec.Name, p.Node)
			}
		}); err != nil {
			return err
		}
	}
	return err
}

// undo makes the old primary writable again, with a context of its own.
func (x *switching) undo(ctx context.Context, cause error) error {
	if errors.Is(cause, engine.ErrFenced) || x.old == nil {
		return cause
	}
	x.w.trace("switch %s is called off: %v", x.r.ID, cause)
	ctx, stop := clock{x.w.s, x.w.s.cur.p}.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer stop()
	var failed error
	for _, s := range x.w.undoStrides {
		if err := s.do(x, ctx); err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", s.name, err))
			if s.name == "undo-elect" && errors.Is(err, errUnsettled) || s.name == "undo-open" {
				break
			}
		}
		x.r.Point("after-" + s.name)
	}
	return errors.Join(cause, failed)
}

func (x *switching) undoElect(ctx context.Context) error {
	if x.elect == nil || !x.demoting && !x.stopped {
		return nil
	}
	sv, ro := x.elect.server, false
	switch err := x.w.read(ctx, sv, func() { ro = sv.readOnly }); {
	case err != nil && x.promoting:
		return fmt.Errorf("%w: %w", errUnsettled, err)
	case err != nil:
		return nil
	case !ro:
		x.promoted = true
		return fmt.Errorf("%w: the elect is writable", errUnsettled)
	}
	if !x.stopped && x.position == 0 {
		return nil
	}
	return x.note(ctx, sv, x.r.Term, standing{Standing: mysql.Standing{Role: mysql.StandingReplica, Switch: x.r.ID}})
}

func (x *switching) undoOpen(ctx context.Context) error {
	ro := false
	if err := x.w.read(ctx, x.old.server, func() { ro = x.old.readOnly }); err != nil || !ro && !x.demoting {
		return err
	}
	return x.open(ctx, x.old.server, x.r.Term)
}

func (x *switching) undoGateways(ctx context.Context) error { return x.cancelGates(ctx) }

func (x *switching) cancelGates(ctx context.Context) error {
	var errs []error
	for _, g := range x.gates {
		_, err := g.cancel(ctx, x.r.ID, x.r.Term)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (x *switching) undoRoles(ctx context.Context) error {
	if x.st.From == "" {
		return nil
	}
	st := x.st
	st.Role, st.undone = mysql.StandingPrimary, true
	return x.note(ctx, x.old.server, x.r.Term, st)
}

func (x *switching) undoReplicate(ctx context.Context) error {
	if !x.stopped {
		return nil
	}
	return x.w.attach(ctx, x.elect.server, x.old.server, x.r.Term)
}

func (x *switching) arrive(ctx context.Context) error {
	sv := x.elect.server
	if err := x.w.act(ctx, sv, x.r.Term, func() error { sv.running = false; return nil }); err != nil {
		return err
	}
	if err := x.open(ctx, sv, x.r.Term); err != nil {
		return err
	}
	st := x.st
	st.Role = mysql.StandingPrimary
	return x.note(ctx, sv, x.r.Term, st)
}
