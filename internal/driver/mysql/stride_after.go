package mysql

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/windlass-db/windlass/internal/gateway/adminapi"
)

// release opens the gateways to the new primary. A gateway asks every server itself. One that does not hold any more has
// already gone by the servers' state.
func (r *run) release(ctx context.Context) error {
	held, err := each(ctx, r.gs, func(ctx context.Context, g gate) (float64, error) {
		ctx, cancel := context.WithTimeout(ctx, r.d.cfg.Query)
		defer cancel()
		rep, err := g.Release(ctx, adminapi.ReleaseRequest{Switch: r.req.ID, Term: r.req.Term, Primary: r.elect.node.Address})
		if err == nil {
			return float64(rep.HeldMS), nil
		}
		if !errors.Is(err, adminapi.ErrNotHeld) {
			return 0, err
		}
		st, err := g.Cancel(ctx, adminapi.CancelRequest{Switch: r.req.ID, Term: r.req.Term})
		if err == nil && st.Phase != adminapi.PhaseIdle && st.Switch != r.req.ID && st.Term < r.req.Term {
			// The switch that this one takes back, whose supervisor is gone.
			_, err = g.Cancel(ctx, adminapi.CancelRequest{Switch: st.Switch, Term: r.req.Term})
			return 0, err
		}
		if err == nil && st.Last != nil && st.Last.Switch == r.req.ID {
			return float64(st.Last.HeldMS), nil
		}
		return 0, err
	})
	for _, ms := range held {
		r.holdMS = max(r.holdMS, ms)
	}
	return err
}

// notePrimary writes down that the new primary is one. An earlier try's note stays: it has the time of the switch.
func (r *run) notePrimary(ctx context.Context) error {
	s, err := r.to(ctx, r.elect.place)
	if err != nil {
		return err
	}
	if err := s.ensure(ctx); err != nil {
		return err
	}
	if st := r.elect.standing; st != nil && st.Role == isPrimary && st.Switch == r.req.ID && !st.Detail.Undone {
		r.holdMS = max(r.holdMS, st.Detail.HoldMS)
		return nil
	}
	r.det.HoldMS, r.det.Undone = r.holdMS, false
	return s.note(ctx, r.req.Term, r.elect.uuid, isPrimary, r.req.ID, r.det)
}

// repoint makes every other node replicate from the new primary, all at once. The demoted one rejoins only if it has nothing of its
// own (trap 17).
func (r *run) repoint(ctx context.Context) error {
	primary := r.d.lookAt(ctx, r.elect.place)
	if primary.err != nil {
		return primary.err
	}
	errs := make([]error, len(r.sc.views))
	var g errgroup.Group
	for i, v := range r.sc.views {
		if v.place == r.elect.place {
			continue
		}
		g.Go(func() error {
			errs[i] = r.follower(ctx, v, primary)
			return nil
		})
	}
	_ = g.Wait() // every error is in errs
	for i, v := range r.sc.views {
		if v.place != r.elect.place && errs[i] == nil {
			errs[i] = r.d.endReaders(ctx, v.place)
		}
	}
	return errors.Join(errs...)
}

func (r *run) follower(ctx context.Context, v, primary *view) error {
	s, err := r.d.dialTo(ctx, v.place)
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.ensure(ctx); err != nil {
		return err
	}
	if err := s.attach(ctx, primary, r.req.Term); err != nil {
		return err
	}
	now := s.look(ctx)
	if now.err != nil {
		return now.err
	}
	if now.standing != nil && now.standing.Role == isReplica {
		return nil
	}
	return s.note(ctx, r.req.Term, now.uuid, isReplica, r.req.ID, detail{})
}

// endReaders ends what is left of replicas that have gone to the new primary: a server notices that a reader of its binary log is
// gone only when it has something to send, and a replica's next switch would take it for a stranger.
func (d *Driver) endReaders(ctx context.Context, p place) error {
	s, err := d.dialTo(ctx, p)
	if err != nil {
		return err
	}
	defer s.close()
	ps, err := s.processes(ctx)
	if err != nil {
		return err
	}
	var ids []uint64
	for _, p := range ps {
		if p.dump() && p.user == s.d.cfg.Replication.User {
			ids = append(ids, p.id)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, s.d.cfg.Query)
	defer cancel()
	return s.end(ctx, ids...)
}

// forgetSource removes what the new primary used to replicate from: it would come back to it when it restarts.
func (r *run) forgetSource(ctx context.Context) error {
	s, err := r.to(ctx, r.elect.place)
	if err != nil {
		return err
	}
	chs, err := s.fl.channels(ctx, s)
	if err != nil || len(chs) == 0 {
		return err
	}
	for _, stmt := range []string{s.fl.stop(), s.fl.forget()} {
		if err := s.act(ctx, r.req.Term, "forget the replication source", stmt); err != nil {
			return err
		}
	}
	return nil
}

// events enables on the new primary what ran on the old one, and starts its scheduler if the old one's ran (trap 5). Both are
// seen. Replication turns the statements into "disabled on a replica" everywhere else.
func (r *run) events(ctx context.Context) error {
	s, err := r.to(ctx, r.elect.place)
	if err != nil {
		return err
	}
	have, err := s.enabledEvents(ctx)
	if err != nil {
		return err
	}
	for _, name := range missing(r.det.Events, have) {
		err := s.logged(ctx, func() error { return s.act(ctx, r.req.Term, "enable event "+name, "ALTER EVENT "+name+" ENABLE") })
		if err != nil && number(err) != errnoNoEvent { // dropped since
			return err
		}
	}
	if r.det.Scheduler != "ON" {
		return nil
	}
	if err := s.act(ctx, r.req.Term, "start the event scheduler", "SET GLOBAL event_scheduler=ON"); err != nil {
		return err
	}
	now, err := s.variables(ctx, "event_scheduler")
	if err == nil && now["event_scheduler"] != "ON" {
		err = fmt.Errorf("%s: the event scheduler does not run", s.place)
	}
	return err
}

func missing(want, have []string) []string {
	seen := map[string]bool{}
	for _, h := range have {
		seen[h] = true
	}
	var out []string
	for _, w := range want {
		if !seen[w] {
			out = append(out, w)
		}
	}
	return out
}

// observe sees the outcome: one writable node, in the target cell; every other replicates from it; gateways route there.
func (r *run) observe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startUp/3)
	defer cancel()
	for {
		err := r.arrived(ctx)
		if err == nil || len(r.late) > 0 { // what failed before will not come right by waiting here
			return err
		}
		if werr := sleep(ctx, 20*time.Millisecond); werr != nil {
			return err
		}
	}
}

func (r *run) arrived(ctx context.Context) error {
	sc := r.d.look(ctx, r.req.Cluster)
	p, err := sc.primary()
	if err != nil {
		return err
	}
	if p.place != r.elect.place {
		return fmt.Errorf("%w: %s is writable, not %s", ErrContested, p.place, r.elect.place)
	}
	var bad []string
	for _, v := range sc.views {
		if v == p {
			continue
		}
		ch, _ := v.channel()
		if !v.follows(p.node.Address) || !ch.healthy() {
			bad = append(bad, fmt.Sprintf("%s does not replicate from %s: %s", v.place, p.place, ch.trouble()))
		}
	}
	states, err := each(ctx, r.gs, func(ctx context.Context, g gate) (adminapi.Status, error) { return g.Status(ctx) })
	if err != nil {
		return err
	}
	for i, st := range states {
		if st.Writer.Route != adminapi.RouteOpen || !sameAddress(st.Writer.Primary, p.node.Address) {
			bad = append(bad, fmt.Sprintf("gateway %s is %s, to %q", r.gs[i], st.Writer.Route, st.Writer.Primary))
		}
	}
	if len(bad) > 0 {
		return errors.New(strings.Join(bad, "; "))
	}
	return nil
}
