package sim

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

// ttl is how long a lease lasts.
const ttl = 9 * time.Second

// Config is one run.
type Config struct {
	Seed        uint64
	Envs        []string
	Clusters    int           // in each environment
	Blue        int           // servers of a blue cell; 0: 2
	Owned       bool          // the blue cells were made by an earlier campaign, so they are deleted and not just released
	Limit       int           // clusters in a stage at once; 0: 1
	Supervisors int           // of each environment; 0: 2
	Slots       int           // actions of a supervisor at once; 0: 1
	Real        string        // folder for the real state in SQLite; empty: a state in memory
	Flaky       float64       // share of calls that lose their request or answer
	Chaos       time.Duration // mean time between random faults while the campaign runs; 0: none
	Faults      []Fault
	Script      Script
	Deadline    time.Duration // of every step, in memory only; 0: the strategy's
	Limits      time.Duration // virtual time after which a run that has not ended has failed; 0: 3 h
	Trace       func(format string, args ...any)

	spoil  func(*world)                            // takes a safeguard out, to show that it is missed
	resume func(edge string, a *engine.Assignment) // called when an action is leased whose supervisor was killed at the edge
}

// Fault kills a victim when an action comes to an edge for the first time.
type Fault struct {
	Edge   string
	Victim Victim
}

// Victim is who is killed, and comes back after a while.
type Victim string

// The victims. Pause makes the supervisor stand still for three leases, as SIGSTOP does; ServerAnswer kills the server when it
// has done the write that the edge stands before, and has not answered.
const (
	Supervisor   Victim = "supervisor"
	Pause        Victim = "paused-supervisor"
	Server       Victim = "server"
	ServerAnswer Victim = "server-answer"
	OldGateway   Victim = "old-gateway"
	NewGateway   Victim = "new-gateway"
	OldPrimary   Victim = "old-primary"
	NewPrimary   Victim = "new-primary"
)

// Victims lists them all.
func Victims() []Victim {
	return []Victim{Supervisor, Pause, Server, ServerAnswer, OldGateway, NewGateway, OldPrimary, NewPrimary}
}

// Report is what a run came to.
type Report struct {
	Events     int64
	Took       time.Duration // virtual
	Edges      []string      // met, in order, each once
	Hit        int           // faults that came to pass
	Outcomes   map[engine.Outcome]int
	Resumed    int // by a person, after a failure or a word that was needed
	Mended     int // times that a cluster without a writable server was put right while no action had it
	Acked      int
	Unknown    int
	ClientErrs int
	Stall      time.Duration // longest time that one write took
}

// Run runs a campaign until every cluster has arrived, or the script says that it is over, and looks whether what must hold
// did. The error names the seed.
func Run(cfg Config) (Report, error) {
	r, err := newRunner(cfg)
	if err != nil {
		return Report{}, fmt.Errorf("seed %d: %w", cfg.Seed, err)
	}
	defer r.close()
	if err := r.run(); err != nil {
		return r.report, fmt.Errorf("seed %d, faults %v: %w", cfg.Seed, cfg.Faults, err)
	}
	return r.report, nil
}

type runner struct {
	cfg    Config
	s      *sched
	w      *world
	c      campaign.Campaign
	ctl    control
	server *proc
	up     bool // the server answers
	dying  bool // it dies as soon as it has done its next write
	procs  []*proc
	hs     engine.Handlers
	settle func(context.Context, engine.Assignment) error
	stop   bool // clients end
	over   bool // the campaign is over
	met    map[string]bool
	faults map[string][]Victim
	died   map[int64]string // edge at which an action's supervisor was killed
	script scriptState
	report Report
}

func newRunner(cfg Config) (*runner, error) {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def(&cfg.Blue, 2)
	def(&cfg.Limit, 1)
	def(&cfg.Supervisors, 2)
	def(&cfg.Slots, 1)
	if cfg.Limits == 0 {
		cfg.Limits = 3 * time.Hour
	}
	r := &runner{cfg: cfg, s: newSched(cfg.Seed), up: true, met: map[string]bool{}, faults: map[string][]Victim{}, died: map[int64]string{}}
	r.report.Outcomes = map[engine.Outcome]int{}
	r.w = newWorld(r.s)
	r.w.flaky = cfg.Flaky
	if cfg.Trace != nil {
		r.w.trace = func(format string, args ...any) {
			cfg.Trace("%s "+format, append([]any{r.s.now.Format("15:04:05.000")}, args...)...)
		}
	}
	if cfg.spoil != nil {
		cfg.spoil(r.w)
	}
	for _, f := range cfg.Faults {
		r.faults[f.Edge] = append(r.faults[f.Edge], f.Victim)
	}
	r.w.demoted, r.w.differs = r.demoted, r.differs
	r.w.comparing, r.w.replaying = r.hanging(strategy.VerifyData), r.hanging(strategy.ReplayQueries)
	r.c = testCampaign(cfg.Envs, cfg.Limit)
	r.c.Replay.KeepCapture = cfg.Script.KeepCapture
	var specs []fleet.Cluster
	for _, env := range cfg.Envs {
		for i := range cfg.Clusters {
			specs = append(specs, r.w.addCluster(env, fmt.Sprintf("c%d", i+1), cfg.Blue, cfg.Owned).spec)
		}
	}
	hs, err := engine.NewHandlers(r.scripted(bluegreen.Handlers(r.w.ports()))...)
	if err != nil {
		return nil, err
	}
	r.hs, r.settle = hs, bluegreen.Settle(r.w.ports())
	now := func() time.Time { return r.s.now }
	if cfg.Real != "" {
		r.ctl, err = openReal(cfg.Real, now, r.c, specs)
	} else {
		m := newMemory(now, ttl, r.c, specs)
		m.deadline, m.primary, m.ended = cfg.Deadline, r.primaryCell, r.endedWhere
		r.ctl = m
	}
	return r, err
}

func (r *runner) close() {
	r.s.drain(r.procs)
	if r.ctl != nil {
		_ = r.ctl.Close() // nothing of it is needed any more
	}
}

func (r *runner) proc(name string) *proc {
	p := &proc{name: name}
	r.procs = append(r.procs, p)
	return p
}

func (r *runner) run() error {
	for _, c := range r.w.clusters {
		for i := range 2 {
			cl := &client{w: r.w, c: c, name: fmt.Sprintf("%s-client-%d", c.ref, i+1), every: 400 * time.Millisecond, stop: &r.stop, sticky: time.Second}
			if i == 1 {
				cl.sticky = 4 * time.Second // a pool that keeps its connections for longer
			}
			r.s.spawn(r.proc(cl.name), "run", cl.run)
		}
	}
	r.startServer()
	for _, env := range r.cfg.Envs {
		for i := range r.cfg.Supervisors {
			r.startSupervisor(env, i+1, 1)
		}
	}
	r.s.spawn(r.proc("person"), "run", r.person)
	if r.cfg.Chaos > 0 {
		r.chaos()
	}
	began := r.s.now
	ended := r.s.run(r.cfg.Limits, func() bool { return r.over })
	r.report.Took, r.report.Events = r.s.now.Sub(began), r.s.events
	if r.s.failure == nil && !ended {
		r.s.fail("the campaign does not end: %s", r.situation())
	}
	if r.s.failure != nil {
		return r.s.failure
	}
	return r.settleAndCheck()
}

// settleAndCheck lets what is under way end, and the watch open what was restarted, and looks at the end state.
func (r *runner) settleAndCheck() error {
	r.w.flaky = 0
	never := func() bool { return false }
	r.s.run(2*time.Minute, func() bool {
		return !slices.ContainsFunc(r.w.clusters, func(c *cluster) bool { return !slices.ContainsFunc(c.order, (*server).writable) })
	})
	r.s.run(10*time.Second, never)
	r.stop = true
	r.s.run(10*time.Second, never)
	if r.s.failure != nil {
		return r.s.failure
	}
	for _, c := range r.w.clusters {
		l := c.ledger
		r.report.Acked += len(l.acked)
		r.report.Unknown += l.unknown
		r.report.ClientErrs += l.errors
		r.report.Stall = max(r.report.Stall, l.stall)
		if err := r.endState(c); err != nil {
			return err
		}
	}
	return nil
}

func (r *runner) endState(c *cluster) error {
	spec, err := r.ctl.Cluster(context.Background(), c.ref)
	if err != nil {
		return err
	}
	var primary *server
	for _, sv := range c.order {
		if sv.writable() {
			primary = sv
		}
	}
	if primary == nil {
		return fmt.Errorf("%s: no server is writable at the end", c.ref)
	}
	if err := c.balance(primary); err != nil {
		return err
	}
	if len(c.ledger.acked) < 20 {
		return fmt.Errorf("%s: only %d writes were acknowledged", c.ref, len(c.ledger.acked))
	}
	all, _, names := r.w.servers(spec)
	found := false
	for i, sv := range all {
		switch {
		case sv == nil || sv.gone:
			return fmt.Errorf("%s: the state knows %s, which is gone", c.ref, names[i])
		case sv == primary:
			found = true
		case !sv.replicates() || sv.source != primary.addr || len(sv.log) != len(primary.log):
			return fmt.Errorf("%s: %s does not replicate from %s at the end (%d of %d writes)", c.ref, sv.name, primary.name, len(sv.log), len(primary.log))
		}
	}
	if !found {
		return fmt.Errorf("%s: the primary %s is in none of the cells that the state knows", c.ref, primary.name)
	}
	at := r.w.records[c.spec.Record].address
	for _, cell := range spec.Cells {
		g := gateways{r.w}.byAddress(*cell.Gateway)
		if !g.alive() || g.hold != nil || g.route != primary {
			return fmt.Errorf("%s: gateway %s does not route to %s at the end", c.ref, g.spec.Name, primary.name)
		}
		if g.host() == at {
			at = ""
		}
	}
	if at != "" {
		return fmt.Errorf("%s: the record is at %s, where no gateway of the cluster is", c.ref, at)
	}
	return nil
}

// primaryCell is the cell of the writable server; "" if there is none.
func (r *runner) primaryCell(ref fleet.ClusterRef) string {
	for _, sv := range r.w.cluster(fleet.Cluster{Env: ref.Env, Name: ref.Name}).order {
		if sv.writable() {
			return sv.cell
		}
	}
	return ""
}

// endedWhere looks, when a comparison or a replay has ended, whether every replica runs and no gateway captures, and when a storage switch has ended, whether the primary is in the cell that its outcome says: one that went
// back has left it where it was. A cluster without a primary in that moment says nothing.
func (r *runner) endedWhere(ref fleet.ClusterRef, began string, p strategy.Plan, o engine.Outcome) {
	if p.Stage == strategy.StageReplay && o != engine.NeedsHuman && !(r.c.Replay.KeepCapture && o == engine.Completed && p.Direction == strategy.Forward) {
		for _, g := range r.w.cluster(fleet.Cluster{Env: ref.Env, Name: ref.Name}).gateways {
			if g.capture && !g.gone {
				r.s.fail("%s: %s %s ended as %s, and %s captures", ref, p.Stage, p.Direction, o, g.spec.Name)
			}
		}
	}
	if p.Stage == strategy.StageVerify || p.Stage == strategy.StageReplay {
		for _, sv := range r.w.cluster(fleet.Cluster{Env: ref.Env, Name: ref.Name}).order {
			switch {
			case sv.source == "" || sv.running || sv.gone:
			case o == engine.NeedsHuman: // the person that it needs starts it
				sv.running = true
				sv.pull(time.Millisecond)
			default:
				r.s.fail("%s: %s %s ended as %s, and left the replication of %s stopped", ref, p.Stage, p.Direction, o, sv.name)
			}
		}
	}
	if p.Stage != strategy.StageSwitchStorage || o == engine.NeedsHuman {
		return
	}
	want := began
	switch {
	case o == engine.Completed && p.Direction == strategy.Forward:
		want = r.c.ToCell
	case o == engine.Completed:
		want = r.c.FromCell
	}
	if is := r.primaryCell(ref); is != "" && want != "" && is != want {
		r.s.fail("%s: %s %s ended as %s, and the primary is in cell %s", ref, p.Stage, p.Direction, o, is)
	}
}

// situation says where every cluster stands, for a run that does not end.
func (r *runner) situation() string {
	s, err := r.ctl.Snapshot(context.Background())
	if err != nil {
		return err.Error()
	}
	out := ""
	for i, d := range campaign.Decide(s, r.s.now) {
		p := s.Clusters[i]
		out += fmt.Sprintf("%s at %q", p.Ref, p.Stage)
		if p.Action != nil {
			out += fmt.Sprintf(" in action %+v", *p.Action)
		}
		if p.Failure != nil {
			out += ": " + p.Failure.Message
		}
		if d.Hold != nil {
			out += fmt.Sprintf(" held: %+v", d.Hold.Reasons)
		}
		out += "; "
	}
	return out
}

// arrived tells whether every cluster has completed the last stage.
func (r *runner) arrived() bool {
	s, err := r.ctl.Snapshot(context.Background())
	if err != nil {
		r.s.fail("read the snapshot: %v", err)
		return false
	}
	for _, p := range s.Clusters {
		if p.Stage != strategy.StageTearDown || p.Action != nil {
			return false
		}
	}
	return true
}

func (r *runner) log() *slog.Logger {
	if r.cfg.Trace == nil {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(tracer{r.w}, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "campaign" || a.Key == "env" {
			return slog.Attr{}
		}
		return a
	}}))
}

type tracer struct{ w *world }

func (t tracer) Write(b []byte) (int, error) { t.w.trace("%s", b); return len(b), nil }
