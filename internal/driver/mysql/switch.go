package mysql

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/switchover"
)

// budget bounds the parts of a switch.
type budget struct {
	ttl, drain, timeout, maxLag time.Duration
	demote                      time.Duration // whole seconds: it is the server's lock_wait_timeout too (trap 3)
	settle                      time.Duration // of ending a demotion whose answer does not come
	undo                        time.Duration // of making the old primary writable again
	tries                       int
}

// lateAnswer is how much longer than the server's own limit the demotion's answer is waited for.
const lateAnswer = 500 * time.Millisecond

// worst is how much of a hold the worst demotion takes, with its undo.
func (b budget) worst() time.Duration { return b.demote + lateAnswer + b.settle + b.undo }

func (d *Driver) budgetOf(s campaign.Switch) budget {
	b := budget{ttl: s.HoldTTL, drain: s.Drain, timeout: s.Timeout, maxLag: s.MaxLag, tries: s.Tries}
	if b.ttl <= 0 {
		b.ttl = 10 * time.Second
	}
	if b.drain <= 0 {
		b.drain = time.Second
	}
	if b.timeout <= 0 {
		b.timeout = 5 * time.Minute
	}
	if b.maxLag <= 0 {
		b.maxLag = 10 * time.Second
	}
	if b.tries <= 0 {
		b.tries = 3
	}
	b.maxLag = min(b.maxLag, b.timeout/4) // a switch that waits for longer than that has no time left for itself
	share := min(max((b.ttl-b.drain-lateAnswer)/4, 100*time.Millisecond), 5*time.Second)
	b.demote = max(share.Truncate(time.Second), time.Second)
	b.settle, b.undo = share, share
	return b
}

// run is one try of a switch. Nothing of it outlives the call: what a later try has to know is on the servers.
type run struct {
	d   *Driver
	req switchover.Request
	b   budget
	log *slog.Logger
	gs  gates

	sc         *scene
	old, elect *view
	det        detail
	sessions   map[string]*session

	holdEnds  time.Time // the earliest end of a gateway's hold, counted from before the request
	held      bool
	demoting  bool // the demotion was sent
	stopped   bool // the elect's replication was stopped
	promoting bool // the promotion was sent
	promoted  bool // the elect was seen writable
	demotedAt time.Time
	holdMS    float64
	ending    bool    // what was begun is ended, and nothing is begun
	late      []error // of the strides after the commit: all are tried before any is reported
	wary      bool    // something has failed: connections are tried before they are used
	aside     *aside  // what runs beside the strides
}

// Switch makes a node of the cell the primary; see the package comment and path.go.
func (d *Driver) Switch(ctx context.Context, req switchover.Request) (engine.SwitchoverOutput, error) {
	return d.try(ctx, req, false)
}

// Complete ends what a switch that was broken off left, and begins none: the old primary is writable again, or the new one is and every
// other node replicates from it. It repeats safely.
func (d *Driver) Complete(ctx context.Context, req switchover.Request) error {
	_, err := d.try(ctx, req, true)
	return err
}

func (d *Driver) try(ctx context.Context, req switchover.Request, ending bool) (engine.SwitchoverOutput, error) {
	if req.Point == nil {
		req.Point = func(string) {}
	}
	if req.ID == "" || req.Term < 1 {
		return engine.SwitchoverOutput{}, errors.New("switch: an id and a term are needed")
	}
	if _, ok := req.Cluster.Cell(req.ToCell); !ok {
		return engine.SwitchoverOutput{}, fmt.Errorf("switch: cluster %s has no cell %q", req.Cluster.Ref(), req.ToCell)
	}
	b := d.budgetOf(req.Settings)
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	r := &run{d: d, req: req, b: b, ending: ending, sessions: map[string]*session{}, log: d.log.With("cluster", req.Cluster.Name, "env", req.Cluster.Env, "term", req.Term, "switch", req.ID)}
	defer r.close()
	out, err := r.switchOver(ctx)
	if err != nil {
		return out, fmt.Errorf("switch of %s into %s: %w", req.Cluster.Ref(), aim(req), err)
	}
	return out, nil
}

func (r *run) close() {
	_ = r.joined(true) // it was called off, or is joined already
	for _, s := range r.sessions {
		s.close()
	}
}

func (r *run) switchOver(ctx context.Context) (engine.SwitchoverOutput, error) {
	var err error
	if r.gs, err = r.d.gates(r.req.Cluster); err != nil {
		return engine.SwitchoverOutput{}, err
	}
	if len(r.gs) == 0 && !r.d.cfg.WithoutGateways {
		return engine.SwitchoverOutput{}, fmt.Errorf("%w: no gateway is registered for %s, so nothing could hold its clients", ErrNotReady, r.req.Cluster.Ref())
	}
	for {
		r.sc = r.d.look(ctx, r.req.Cluster)
		where, v, err := r.sc.decide(aim(r.req))
		if err != nil {
			return engine.SwitchoverOutput{}, err
		}
		r.log.Info("switch observed", "begins", string(where), "node", v.describe())
		switch where {
		case fromReopen:
			if err := r.reopenOld(ctx, v); err != nil {
				return engine.SwitchoverOutput{}, err
			}
			continue // look again: it has to be seen writable, with nothing else
		case fromBegin:
			if r.ending {
				return engine.SwitchoverOutput{}, nil
			}
			r.old = v
			return r.walk(ctx, beginAt)
		case fromPromote:
			r.elect, r.old = v, r.sc.named(v.standing.Detail.From)
			if err := r.mayPromote(ctx); err != nil {
				return engine.SwitchoverOutput{}, err
			}
			r.det = v.standing.Detail
			if err := r.pin(ctx); err != nil { // a restart has forgotten it
				return engine.SwitchoverOutput{}, err
			}
			if !aim(r.req).at(v) && !r.ending { // it was on its way to another place: let it arrive, then begin anew from there
				if err := r.arrive(ctx); err != nil {
					return engine.SwitchoverOutput{}, err
				}
				continue
			}
			return r.walk(ctx, resumeAt)
		case fromFinish:
			r.elect, r.promoted = v, true
			switch st := v.standing; {
			case st == nil:
			case st.Role == isPromoting || st.Role == isPrimary:
				r.det = st.Detail
				r.old = r.sc.named(st.Detail.From)
			case st.Role == isDemoting: // a switch away from it was broken off, and is taken back: it gets back what it did as primary
				r.det = st.Detail
			}
			return r.walk(ctx, finishAt)
		}
	}
}

// walk goes along the path from the stride of that name. Before the commit a failure is undone; after it every
// stride is tried, and the failures are reported together.
func (r *run) walk(ctx context.Context, from string) (engine.SwitchoverOutput, error) {
	commit, on := index(commitAt), false
	slowest, longest := "", time.Duration(0)
	for i := index(from); i < len(path); i++ {
		if r.promoted && !on {
			var stop context.CancelFunc
			ctx, stop = r.onward(ctx)
			defer stop()
			on = true
		}
		s := path[i]
		began := time.Now()
		err := s.do(r, ctx)
		took := time.Since(began)
		r.log.Debug("stride", "step", s.name, "took", took, "err", err)
		if took > longest {
			slowest, longest = s.name, took
		}
		switch {
		case err == nil:
		case r.promoted:
			r.wary = true
			if errors.Is(err, engine.ErrFenced) {
				return engine.SwitchoverOutput{}, err
			}
			r.late = append(r.late, fmt.Errorf("%s: %w", s.name, err))
		case i <= commit:
			return engine.SwitchoverOutput{}, r.undo(ctx, fmt.Errorf("%s: %w", s.name, err))
		}
		r.req.Point("after-" + s.name)
	}
	if err := errors.Join(r.late...); err != nil {
		return engine.SwitchoverOutput{}, fmt.Errorf("%s is the primary, but the switch is not complete: %w", r.elect.describe(), err)
	}
	out := engine.SwitchoverOutput{Kind: "storage", To: r.req.ToCell, HoldMS: r.holdMS, At: r.d.cfg.Now()}
	switch from, ok := cellOf(r.det.From); {
	case len(r.req.ToNodes) > 0: // cells do not tell where it went
		out.From, out.To = r.det.From, r.elect.place.String()
	case r.old != nil:
		out.From = r.old.cell
	case ok:
		out.From = from
	}
	r.log.Info("switched", "primary", r.elect.describe(), "hold_ms", r.holdMS, "slowest", slowest, "slowest_ms", longest.Milliseconds())
	return out, nil
}

// grace is how long an undo may take, or what follows a promotion when the switch's own time is over.
func (r *run) grace() time.Duration { return 2*r.b.undo + r.d.cfg.Dial + startUp }

// onward is the context of what follows the promotion, which only ever goes on: clients wait until the gateways are released, and the way back
// is made by it. It outlives an abort, a deadline and a stop in good order by the grace. It ends with the lease: who has lost it stops, though the
// servers and the gateways would refuse an older term anyway.
func (r *run) onward(ctx context.Context) (context.Context, context.CancelFunc) {
	on, cancel := context.WithCancelCause(engine.Held(ctx))
	stop := context.AfterFunc(ctx, func() {
		end := time.AfterFunc(r.grace(), func() { cancel(context.Cause(ctx)) })
		context.AfterFunc(on, func() { end.Stop() })
	})
	return on, func() { stop(); cancel(context.Canceled) }
}

// fresh is how long a connection that was used is believed to be there: while clients are held every round trip counts.
const fresh = time.Second

// to gives the session to a node, a new one if the last was lost.
func (r *run) to(ctx context.Context, p place) (*session, error) {
	return r.session(ctx, p, p.String())
}

// second gives another session to a node, for what runs beside the strides.
func (r *run) second(ctx context.Context, p place) (*session, error) {
	return r.session(ctx, p, p.String()+" beside")
}

func (r *run) session(ctx context.Context, p place, name string) (*session, error) {
	if s := r.sessions[name]; s != nil {
		if !s.lost && (!r.wary && time.Since(s.used) < fresh || s.conn.PingContext(ctx) == nil) {
			s.used = time.Now()
			return s, nil
		}
		s.close()
		delete(r.sessions, name)
	}
	s, err := r.d.dialTo(ctx, p)
	if err != nil {
		return nil, err
	}
	s.used = time.Now()
	r.sessions[name] = s
	return s, nil
}

// named finds a node by "cell/node".
func (sc *scene) named(name string) *view {
	for _, v := range sc.views {
		if v.place.String() == name {
			return v
		}
	}
	return nil
}

func cellOf(name string) (string, bool) {
	for i := range name {
		if name[i] == '/' {
			return name[:i], true
		}
	}
	return "", false
}

// reopenOld opens the old primary again, which a switch that was broken off left read-only, or a restart.
func (r *run) reopenOld(ctx context.Context, v *view) error {
	if v.standing.Role == isPrimary { // restarted; its replicas may follow the elect still
		if err := r.d.booted(ctx, v); err != nil {
			return err
		}
		return r.d.openNoted(ctx, r.sc, v, r.req.Term)
	}
	s, err := r.to(ctx, v.place)
	if err != nil {
		return err
	}
	if err := s.ahead(ctx, r.sc, v); err != nil {
		return err
	}
	r.log.Warn("a switch was broken off: the old primary is made writable again", "node", v.place.String())
	if err := s.pin(ctx, r.req.Term, r.sc, &detail{}); err != nil {
		return err
	}
	return s.open(ctx, r.req.Term)
}

// mayPromote makes sure that a node whose standing says "promoting" has everything that any other node has.
func (r *run) mayPromote(ctx context.Context) error {
	s, err := r.to(ctx, r.elect.place)
	if err != nil {
		return err
	}
	return s.ahead(ctx, r.sc, r.elect)
}

// arrive finishes a promotion that another switch began.
func (r *run) arrive(ctx context.Context) error {
	s, err := r.to(ctx, r.elect.place)
	if err != nil {
		return err
	}
	if len(r.elect.channels) > 0 {
		if err := s.act(ctx, r.req.Term, "stop replication", s.fl.stop()); err != nil {
			return err
		}
	}
	if err := s.open(ctx, r.req.Term); err != nil {
		return err
	}
	return s.note(ctx, r.req.Term, r.elect.uuid, isPrimary, r.elect.standing.Switch, r.det)
}
