package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/state"
	"github.com/windlass-db/windlass/internal/strategy"
	"github.com/windlass-db/windlass/internal/supervisor"
)

// startServer starts the control plane's server with its launcher.
func (r *runner) startServer() {
	r.up = true
	r.ctl.Opened()
	r.server = r.proc("server")
	r.s.spawn(r.server, "launcher", func() {
		for {
			if _, err := r.ctl.Launch(context.Background()); err != nil {
				r.s.fail("launch: %v", err)
			}
			r.checkLimits()
			_ = r.s.sleep(context.Background(), time.Second)
		}
	})
}

func (r *runner) killServer(back time.Duration) {
	if !r.up {
		return
	}
	r.w.trace("the server is killed")
	r.up = false
	r.s.in(back, r.startServer)
	r.s.kill(r.server)
}

// checkLimits counts what runs in each stage of each environment.
func (r *runner) checkLimits() {
	s, err := r.ctl.Snapshot(context.Background())
	if err != nil {
		r.s.fail("read the snapshot: %v", err)
		return
	}
	in := map[string]int{}
	for _, p := range s.Clusters {
		if p.Action != nil && p.Action.Direction == string(strategy.Forward) {
			in[p.Ref.Env+"/"+p.Action.Stage]++
		}
	}
	for k, n := range in {
		if n > r.cfg.Limit {
			r.s.fail("%d actions in %s, the limit is %d", n, k, r.cfg.Limit)
		}
	}
}

// startSupervisor starts a supervisor's process. A killed one comes back under the next life.
func (r *runner) startSupervisor(env string, n, life int) {
	p := r.proc(fmt.Sprintf("supervisor-%s-%d.%d", env, n, life))
	for slot := range r.cfg.Slots {
		r.s.spawn(p, fmt.Sprint(slot), func() { r.work(p, env) })
	}
	r.s.spawn(p, "watch", func() { r.watch(p, env) })
	r.watchLife(p, env, n, life)
}

// watchLife starts a supervisor again two seconds after its death.
func (r *runner) watchLife(p *proc, env string, n, life int) {
	r.s.in(2*time.Second, func() {
		if p.dead {
			r.startSupervisor(env, n, life+1)
			return
		}
		if !r.over {
			r.watchLife(p, env, n, life)
		}
	})
}

// work leases and runs, as a supervisor's slot does.
func (r *runner) work(p *proc, env string) {
	j := remote{r}
	for !r.over {
		asked := r.s.now
		var a *engine.Assignment
		err := j.do(context.Background(), func() (err error) {
			a, err = r.ctl.Lease(context.Background(), env, p.name, r.hs.Kinds())
			return err
		})
		if err != nil || a == nil {
			_ = r.s.sleep(context.Background(), time.Second)
			continue
		}
		if edge, ok := r.died[a.ActionID]; ok && r.cfg.resume != nil {
			delete(r.died, a.ActionID)
			r.cfg.resume(edge, a)
		}
		o := engine.Options{Clock: clock{r.s, p}, Log: r.log(), LeasedAt: asked, KeepUnder: r.cfg.Script.keepUnder(), OnLease: r.settle}
		o.At = func(e engine.Edge) { r.at(p, a, e) }
		end, err := engine.Run(context.Background(), j, r.hs, *a, o)
		switch {
		case errors.Is(err, engine.ErrFenced), errors.Is(err, engine.ErrLeaseLost):
			r.w.trace("%s: %v", p.name, err)
		case err != nil:
			r.s.fail("%s: %v", p.name, err)
		case end.Outcome != "":
			r.report.Outcomes[end.Outcome]++
		}
	}
}

// watch looks at the environment's clusters, as a supervisor does, also when the campaign is over. A look that sees a writable server
// does nothing, so it is left out.
func (r *runner) watch(p *proc, env string) {
	const every = 2 * time.Second
	ctx := context.Background()
	for !r.stop {
		_ = r.s.sleep(ctx, every)
		for _, c := range r.w.clusters {
			if c.ref.Env != env || slices.ContainsFunc(c.order, (*server).writable) {
				continue
			}
			spec, err := r.ctl.Cluster(ctx, c.ref)
			if err != nil {
				r.s.fail("read %s: %v", c.ref, err)
				return
			}
			look := func(ctx context.Context, c fleet.Cluster) fleet.Observation {
				o, _ := storage{r.w}.Observe(ctx, c) // its error is that of the context: nothing was seen
				return o
			}
			if !look(ctx, spec).ReadOnly() {
				continue
			}
			done, err := supervisor.Mend(ctx, mends{remote{r}, env}, p.name, c.ref, r.settle, look)
			if done {
				r.report.Mended++
				r.w.trace("%s puts %s right: %v", p.name, c.ref, err)
			}
		}
	}
}

// at is called by the engine at every edge.
func (r *runner) at(p *proc, a *engine.Assignment, e engine.Edge) {
	r.s.dieIfKilled()
	r.w.busy = r.s.now
	name := e.String()
	if !r.met[name] {
		r.met[name] = true
		r.report.Edges = append(r.report.Edges, name)
	}
	if name == r.cfg.Script.AbortAt && !r.script.aborted {
		r.script.aborted = true
		r.w.trace("ABORT at %s", name)
		if err := r.ctl.Abort(context.Background(), a.Cluster.Ref()); err != nil {
			r.s.fail("abort: %v", err)
		}
		if r.cfg.Script.AbortTold {
			_ = r.s.sleep(context.Background(), ttl/2) // a heartbeat comes every third of a lease
		}
	}
	victims := r.faults[name]
	delete(r.faults, name)
	for _, v := range victims {
		r.w.trace("FAULT at %s: %s", name, v)
		if v == Supervisor {
			r.died[a.ActionID] = name
		}
		r.hurt(p, r.w.cluster(a.Cluster), v)
	}
}

// hurt kills the victim; of a supervisor it does not return.
func (r *runner) hurt(p *proc, c *cluster, v Victim) {
	const back = 3 * time.Second
	r.w.hurt = true
	switch v {
	case Server:
		r.killServer(back)
	case ServerAnswer:
		r.dying = true
	case OldGateway, NewGateway:
		cell := map[Victim]string{OldGateway: "blue", NewGateway: "green"}[v]
		for _, g := range c.gateways {
			if g.cell == cell && g.alive() {
				r.report.Hit++
				g.crash(back)
			}
		}
		return
	case OldPrimary, NewPrimary:
		cell := map[Victim]string{OldPrimary: "blue", NewPrimary: "green"}[v]
		for _, sv := range c.order {
			if sv.cell == cell && sv.up && !sv.gone {
				r.report.Hit++
				sv.crash(back)
				return
			}
		}
		return
	case Pause:
		r.report.Hit++
		r.s.pause(p, 3*ttl)
		return
	case Supervisor:
		r.report.Hit++
		r.s.kill(p)
	}
	r.report.Hit++
}

// remote is the journal as a supervisor has it: by calls that may be lost, to a server that may be away.
type remote struct{ r *runner }

func (j remote) do(ctx context.Context, f func() error) error {
	r := j.r
	return r.w.call(ctx, func() error {
		if !r.up {
			return errDown
		}
		err := f()
		if r.dying {
			r.dying = false
			r.killServer(3 * time.Second)
			return errDown
		}
		return err
	})
}

// Heartbeat asks the server.
func (j remote) Heartbeat(ctx context.Context, id, term int64) (abort bool, err error) {
	err = j.do(ctx, func() (err error) {
		abort, err = j.r.ctl.Heartbeat(context.Background(), id, term)
		return err
	})
	return abort, err
}

// Record asks the server.
func (j remote) Record(ctx context.Context, id, term int64, rec engine.StepRecord) (abort bool, err error) {
	err = j.do(ctx, func() (err error) {
		abort, err = j.r.ctl.Record(context.Background(), id, term, rec)
		return err
	})
	return abort, err
}

// Turn asks the server.
func (j remote) Turn(ctx context.Context, id, term int64, reason string) error {
	return j.do(ctx, func() error { return j.r.ctl.Turn(context.Background(), id, term, reason) })
}

// Release asks the server.
func (j remote) Release(ctx context.Context, id, term int64, d time.Duration) error {
	return j.do(ctx, func() error { return j.r.ctl.Release(context.Background(), id, term, d) })
}

// Finish asks the server.
func (j remote) Finish(ctx context.Context, id, term int64, o engine.Outcome, m string) error {
	return j.do(ctx, func() error { return j.r.ctl.Finish(context.Background(), id, term, o, m) })
}

// mends is the server as the watch of one environment's supervisor has it.
type mends struct {
	remote
	env string
}

// BeginMend asks the server.
func (j mends) BeginMend(ctx context.Context, cluster, holder string) (m *state.Mend, err error) {
	err = j.do(ctx, func() (err error) {
		m, err = j.r.ctl.BeginMend(context.Background(), fleet.ClusterRef{Env: j.env, Name: cluster}, holder)
		return err
	})
	if err != nil {
		return nil, err // an answer that was lost
	}
	return m, nil
}

// EndMend tells the server.
func (j mends) EndMend(ctx context.Context, cluster string, term int64, res state.Mended) error {
	return j.do(ctx, func() error {
		return j.r.ctl.EndMend(context.Background(), fleet.ClusterRef{Env: j.env, Name: cluster}, term, res)
	})
}

// person looks every second: resumes what needs a word, and sees when the campaign is over.
func (r *runner) person() {
	ctx := context.Background()
	for !r.stop {
		_ = r.s.sleep(ctx, time.Second)
		s, err := r.ctl.Snapshot(ctx)
		if err != nil {
			r.s.fail("read the snapshot: %v", err)
			return
		}
		if r.over || r.scriptSays(s) {
			continue
		}
		for _, p := range s.Clusters {
			if p.Action == nil && (p.Failure != nil || p.Attention != "") {
				r.report.Resumed++
				if p.Failure != nil {
					r.w.trace("a person resumes %s: %s", p.Ref, p.Failure.Message)
				}
				if err := r.ctl.Resume(ctx, p.Ref); err != nil {
					r.s.fail("resume: %v", err)
				}
			}
		}
		r.over = r.over || r.arrived()
	}
}
