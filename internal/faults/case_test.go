package faults

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/driver/mysql"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/strategy"
)

// victim is who is killed.
type victim string

// The victims. A paused supervisor gets SIGSTOP, and wakes when its successor is at work; see lapses.
const (
	victimSupervisor victim = "supervisor"
	victimPaused     victim = "paused-supervisor"
	victimServer     victim = "server"
	victimGateway    victim = "gateway" // blue's, where the clients are
	victimOld        victim = "old-primary"
	victimNew        victim = "new-primary"
)

func victims() []victim {
	return []victim{victimSupervisor, victimPaused, victimServer, victimGateway, victimOld, victimNew}
}

// control tells whether the victim is of the control plane, whose death no client may notice.
func (v victim) control() bool {
	return v == victimSupervisor || v == victimPaused || v == victimServer
}

// cell is whose server it is; "" if it is none.
func (v victim) cell() string {
	return map[victim]string{victimOld: "blue", victimNew: "green"}[v]
}

// way is how an action meets an edge.
type way string

const (
	forward way = "forward"
	turning way = "turning" // the last step is refused, and the action undoes itself
	back    way = "back"
)

// testCase is one action with one fault; with no victim it is an action without one.
type testCase struct {
	edge   engine.Edge
	victim victim
}

func (c testCase) String() string { return fmt.Sprintf("%s × %s", c.edge, c.victim) }

// way tells which action meets the case's edge.
func (c testCase) way() way {
	switch {
	case c.edge.Direction == strategy.Back:
		return back
	case c.edge.Undo || c.edge.Write == engine.WriteTurn:
		return turning
	}
	return forward
}

// script is what has to happen beside the fault for the edge to be met.
func (c testCase) script() script {
	var s script
	if c.way() == turning {
		s.Refuse = strategy.WatchWayBack
	}
	switch c.edge.Write {
	case engine.WriteWaiting, engine.WriteRelease:
		s.Hiccup, s.HiccupBack = c.edge.Kind, c.edge.Undo || c.edge.Direction == strategy.Back
	case engine.WriteFailed:
		s.StuckBack = c.edge.Kind
	}
	return s
}

// calledOff tells whether the edge is in the undo of a switch: one try of it has to be called off.
func (c testCase) calledOff() bool { return slices.Contains(mysql.UndoPoints(), c.edge.Point) }

// outcome is how the case's action ends.
func (c testCase) outcome() engine.Outcome {
	switch {
	case c.edge.Write == engine.WriteFailed:
		return engine.NeedsHuman
	case c.way() == turning:
		return engine.WentBack
	}
	return engine.Completed
}

// primary is the cell whose server is writable when the case's action has ended so.
func (c testCase) primary() string {
	switch {
	case c.way() == forward, c.outcome() == engine.NeedsHuman:
		return "green"
	}
	return "blue"
}

// fault is the fault of the running case.
type fault struct {
	testCase
	hit    bool         // it came to pass
	nudged bool         // a try of the switch was called off
	after  int          // edges that the successor met
	wake   int          // after so many the sleeper wakes
	woke   bool         // it did
	also   func() error // is done right after the fault
	err    error
}

// patience bounds everything that a case waits for. A case takes a second or two on a calm machine; this is for one that has fifty processes to run.
const patience = 90 * time.Second

// onEdge is called when a supervisor has come to an edge and waits. It answers whether the supervisor goes on.
func (l *lane) onEdge(c *child, line string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trace = append(l.trace, time.Now().Format("05.000 ")+c.name+" "+line)
	if strings.HasSuffix(line, "/action/finish/after") {
		defer func() {
			select {
			case l.finished <- struct{}{}:
			default: // it was told already
			}
		}()
	}
	f := l.f
	if f == nil {
		return true
	}
	if f.calledOff() && !f.nudged && strings.HasSuffix(line, "/point/after-position") && strings.Contains(line, "/undo/") == f.edge.Undo {
		f.nudged = true
		f.err = errors.Join(f.err, l.nudge())
	}
	if l.sleeper != nil && c != l.sleeper {
		if f.after++; f.after == f.wake {
			f.err = errors.Join(f.err, l.rouse(f))
		}
	}
	if f.hit || f.victim == "" || line != f.edge.String() {
		return true
	}
	f.hit = true
	goOn, err := l.strike(c, f.victim)
	if f.also != nil {
		err = errors.Join(err, f.also())
	}
	f.err = errors.Join(f.err, err)
	return goOn
}

// nudge writes on the demoted server in spite of read_only, as only an administrator can: the switch has to notice, and is
// called off.
func (l *lane) nudge() error {
	for cell, db := range l.dbs {
		var ro, follows bool
		if err := db.QueryRow("SELECT @@global.read_only, EXISTS (SELECT 1 FROM information_schema.PROCESSLIST WHERE COMMAND LIKE 'Slave_IO')").Scan(&ro, &follows); err != nil {
			return err
		}
		if !follows {
			return execOn(l.dbs[cell], "INSERT INTO "+schema+".nudge () VALUES ()")
		}
	}
	return errors.New("both servers replicate, and a switch is in the middle of its demotion")
}

// strike hurts the victim. What died is started again while the supervisor goes on.
func (l *lane) strike(c *child, v victim) (goOn bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	switch v {
	case victimSupervisor:
		if err := errors.Join(c.kill(), l.lapse()); err != nil {
			return false, err
		}
		l.holder, err = l.startSupervisor()
		return false, err
	case victimPaused:
		if err := errors.Join(c.pause(ctx), l.lapse()); err != nil {
			return false, err
		}
		l.sleeper = c
		l.holder, err = l.startSupervisor()
		return true, err // its word waits until it wakes
	case victimServer:
		if err := l.server.kill(); err != nil {
			return true, err
		}
		l.again(l.startServer)
	case victimGateway:
		if err := l.gates["blue"].Kill(ctx); err != nil {
			return true, err
		}
		l.again(l.gates["blue"].Start)
	case victimOld, victimNew:
		cell := v.cell()
		spec, err := l.nodes[cell].Spec()
		if err != nil {
			return true, err
		}
		if err := spec.Kill(ctx); err != nil {
			return true, err
		}
		l.again(func(ctx context.Context) error { return l.startNode(ctx, cell) })
	}
	return true, nil
}

// again starts something beside the case.
func (l *lane) again(start func(context.Context) error) {
	l.pending.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := start(ctx); err != nil {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.broken = append(l.broken, err)
		}
	})
}

// result is what a case came to.
type result struct {
	hit     bool
	byWatch bool // the primary was restarted when no action was left to open it: the watch did
	took    time.Duration
	phases  phases
	trace   []string // edges met, each with its time
}

// phases are the parts of a case: the cluster is taken to where it begins, the action runs with its fault, and what must hold is seen.
type phases struct{ before, action, after time.Duration }

func (p phases) String() string {
	return fmt.Sprintf("before %v, action %v, after %v", p.before.Round(time.Millisecond), p.action.Round(time.Millisecond), p.after.Round(time.Millisecond))
}

func (p *phases) add(q phases) {
	p.before, p.action, p.after = p.before+q.before, p.action+q.action, p.after+q.after
}

func (p phases) over(n int) phases {
	d := time.Duration(n)
	return phases{p.before / d, p.action / d, p.after / d}
}

// run runs one case on a lane that is where the case begins.
func (l *lane) run(c testCase) (res result, err error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	if err := l.prepare(ctx, c.way()); err != nil {
		return res, fmt.Errorf("before the case: %w", err)
	}
	if err := l.runScheduler(); err != nil {
		return res, err
	}
	l.setScript(c.script())
	f := &fault{testCase: c, wake: wakeAfter(c)}
	errorsBefore := l.load.Report().Errors
	l.mu.Lock()
	l.f, l.trace = f, nil
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		res.trace, res.hit, res.took = l.trace, f.hit, time.Since(began)
		res.phases.after = res.took - res.phases.action - res.phases.before
	}()
	res.phases.before = time.Since(began)
	if err := l.start(ctx, c.way()); err != nil {
		return res, err
	}
	status, err := l.ended(ctx)
	if err == nil {
		l.struck(ctx, f)
	}
	res.phases.action = time.Since(began) - res.phases.before
	l.pending.Wait()
	l.mu.Lock()
	l.f = nil
	err = errors.Join(err, f.err, errors.Join(l.broken...))
	l.mu.Unlock()
	l.setScript(script{})
	if err != nil {
		return res, err
	}
	if err := l.awaken(ctx, f); err != nil {
		return res, err
	}
	if got := engine.Outcome(status.Actions[0].Outcome); got != c.outcome() {
		return res, fmt.Errorf("the action came to %q (%s), not %q", got, status.Actions[0].Message, c.outcome())
	}
	res.byWatch, err = l.settle(ctx, c)
	if err != nil {
		return res, err
	}
	if n := l.load.Report().Errors - errorsBefore; n > 0 && (c.victim.control() || c.victim == "") {
		return res, fmt.Errorf("clients saw %d errors, though nothing that serves them was hurt: %s", n, l.load.Report().FirstError)
	}
	return res, nil
}

// struck waits for a fault at an action's very last edge: the action has ended when its supervisor comes there, if it does.
func (l *lane) struck(ctx context.Context, f *fault) {
	if !f.edge.After || f.edge.Write != engine.WriteFinish {
		return
	}
	_ = until(ctx, patience/3, "the last edge is met", func() error { // else the case says that its edge was not met
		l.mu.Lock()
		defer l.mu.Unlock()
		if !f.hit {
			return errors.New("it was not told")
		}
		return nil
	})
}

// prepare takes the cluster to where an action of that way begins, without a fault.
func (l *lane) prepare(ctx context.Context, w way) error {
	status, err := l.client.Cluster(ctx, ref)
	if err != nil {
		return err
	}
	p := status.Progress
	if p.Failure != nil || p.Attention != "" {
		if err := l.client.Resume(ctx, campaignName, api.ScopeRequest{Env: ref.Env, Cluster: ref.Name, Why: "the next case"}); err != nil {
			return err
		}
	}
	at := map[way]string{forward: strategy.StageReplay, turning: strategy.StageReplay, back: strategy.StageSwitchStorage}[w]
	if p.Stage == at {
		if w == back {
			return nil
		}
		if _, writable, err := l.roles(); err != nil || writable == "blue" {
			return err
		}
	}
	// A failed undo has left the primary in green, with the stage not completed: forward, it completes at once.
	for _, step := range map[string][]way{strategy.StageReplay: {forward, back}, strategy.StageSwitchStorage: {back}}[p.Stage] {
		if err := l.start(ctx, step); err != nil {
			return err
		}
		if _, err := l.ended(ctx); err != nil {
			return err
		}
		if step == w || step == forward && w == back {
			break
		}
	}
	if status, err = l.client.Cluster(ctx, ref); err != nil {
		return err
	}
	if p := status.Progress; p.Stage != at || p.Failure != nil {
		return fmt.Errorf("the cluster is at %q, not at %q: %+v", p.Stage, at, p.Failure)
	}
	return l.client.Resume(ctx, campaignName, api.ScopeRequest{Env: ref.Env, Cluster: ref.Name, Why: "the next case"})
}

// start begins an action, as an operator would.
func (l *lane) start(ctx context.Context, w way) error {
	if w == back {
		return l.client.Rollback(ctx, campaignName, api.RollbackRequest{Ref: ref, To: strategy.StageReplay, Why: "a case of the way back"})
	}
	// What the watch saw last may be a node that was just being started again, and holds until the next look.
	ctx, cancel := context.WithTimeout(ctx, patience/3)
	defer cancel()
	for {
		out, err := l.client.Launch(ctx, campaignName)
		if err != nil {
			return err
		}
		if len(out.Started) == 1 && out.Started[0].Start == strategy.StageSwitchStorage {
			return nil
		}
		status, err := l.client.Cluster(ctx, ref)
		if err != nil {
			return err
		}
		var why []string
		if h := status.Decision.Hold; h != nil {
			for _, r := range h.Reasons {
				why = append(why, fmt.Sprintf("%s: %s", r.Code, r.Message))
			}
		}
		if err := pause(ctx, watchEvery/4); err != nil {
			return fmt.Errorf("the launcher does not start the storage switch: %v: %w", why, err)
		}
	}
}

// ended waits until no action runs. The server may be away for a moment. A cluster's status costs the server milliseconds,
// so it is asked for when a supervisor has told the last edge, and else seldom.
func (l *lane) ended(ctx context.Context) (api.ClusterStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		seldom := time.NewTimer(400 * time.Millisecond)
		select {
		case <-l.finished:
		case <-seldom.C:
		case <-ctx.Done():
		}
		seldom.Stop()
		status, why := l.client.Cluster(ctx, ref)
		if why == nil {
			if why = l.still(status); why == nil {
				return status, nil
			}
		}
		if ctx.Err() != nil {
			return status, fmt.Errorf("the action does not end: %w", why)
		}
	}
}

// endsAs waits for the end of the action, and sees what it came to.
func (l *lane) endsAs(ctx context.Context, want engine.Outcome) (api.ClusterStatus, error) {
	status, err := l.ended(ctx)
	if err != nil {
		return status, err
	}
	if a := status.Actions[0]; engine.Outcome(a.Outcome) != want {
		return status, fmt.Errorf("the action came to %q (%s), not %q", a.Outcome, a.Message, want)
	}
	return status, nil
}

// still is an error as long as an action runs.
func (l *lane) still(s api.ClusterStatus) error {
	if a := s.Progress.Action; a != nil {
		return fmt.Errorf("%s (%s) is %s: %s", a.Stage, a.Direction, a.Status, a.Message)
	}
	if s.Actions[0].Outcome == "" { // the list was read a moment before
		return errors.New("it ends just now")
	}
	return nil
}
