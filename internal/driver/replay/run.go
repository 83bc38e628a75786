package replay

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/replay/judge"
	"github.com/windlass-db/windlass/internal/replay/retest"
	"github.com/windlass-db/windlass/internal/replay/run"
	"github.com/windlass-db/windlass/internal/replay/session"
)

// cursor is the step's status: what whoever comes next has to know before anything else.
type cursor struct {
	Run     string    `json:"run,omitempty"`     // of this replay alone: what is counted is under it
	From    time.Time `json:"from,omitzero"`     // captured: from then on it counts
	Target  string    `json:"target,omitempty"`  // node; it stays the same as long as it is fit
	Tested  time.Time `json:"tested,omitzero"`   // when a retest left something undecided
	Stopped []string  `json:"stopped,omitempty"` // its applier is about to be stopped for a retest, or is
}

func cursorOf(status json.RawMessage) (c cursor, err error) {
	if len(status) > 0 {
		if err = json.Unmarshal(status, &c); err != nil {
			err = fmt.Errorf("the cursor of the replay is unreadable: %w", err)
		}
	}
	return c, err
}

// errEnough ends a run: what was counted is enough.
var errEnough = errors.New("enough was replayed")

// Replay goes on for that long, or until enough was counted; then what may be moving data is tested again on frozen data.
func (d *Driver) Replay(ctx context.Context, r bluegreen.ReplayRequest, atMost time.Duration, status json.RawMessage, save bluegreen.Save) (bluegreen.Replayed, error) {
	at, err := cursorOf(status)
	if err != nil {
		return bluegreen.Replayed{}, err
	}
	s, err := d.sides(ctx, r)
	if err != nil {
		return bluegreen.Replayed{}, err
	}
	if at, s.target, err = d.begin(ctx, r, s, at, save); err != nil {
		return bluegreen.Replayed{}, err
	}
	results, err := d.results(ctx)
	if err != nil {
		return bluegreen.Replayed{}, err
	}
	defer results.Close()
	here := at.place(results, r)
	if err := d.run(ctx, r, atMost, s, at, here, save); err != nil {
		return bluegreen.Replayed{}, err
	}
	rep, got, err := d.judged(ctx, here, at, r)
	if err != nil {
		return got, err
	}
	if (got.Enough || onlyUnclear(rep)) && s.reference != nil {
		if err := d.explain(ctx, r, s, at, here); err != nil {
			return got, err
		}
		if rep, got, err = d.judged(ctx, here, at, r); err != nil {
			return got, err
		}
	}
	if got.Enough || !onlyUnclear(rep) || s.reference == nil || !d.testDue(at) {
		return got, err
	}
	failed := d.retest(ctx, s, &at, here, save)
	if ctx.Err() != nil {
		return got, context.Cause(ctx)
	}
	if rep, got, err = d.judged(ctx, here, at, r); err != nil || !onlyUnclear(rep) {
		return got, err
	}
	// What can't be decided is not tried again at once: each try stops the target's applier, and the replay would not come to anything else.
	at.Tested = d.cfg.Now()
	if failed != nil {
		d.cfg.Log.Warn("differences could not be tested on frozen data", "cluster", r.Cluster.Ref(), "err", failed)
		got.Message += "; they could not be tested on frozen data: " + failed.Error()
	} else {
		got.Message += "; a test on frozen data did not decide them: rules under replay.ignore, or an override, have to"
	}
	return got, save(ctx, at, got.Progress, got.Message)
}

// testAgain is how long what a test on frozen data did not decide is left alone.
const testAgain = time.Hour

func (d *Driver) testDue(at cursor) bool {
	return at.Tested.IsZero() || d.cfg.Now().Sub(at.Tested) >= testAgain
}

// begin lets go of what an earlier holder left, sees that the target is fit still (trap 37) or takes another one, and notes from when on it counts.
func (d *Driver) begin(ctx context.Context, r bluegreen.ReplayRequest, s sides, at cursor, save bluegreen.Save) (cursor, fleet.Node, error) {
	if len(at.Stopped) > 0 {
		if err := d.Release(ctx, r, encode(at)); err != nil {
			return at, fleet.Node{}, err
		}
		at.Stopped = nil
	}
	c, name, err := d.status(ctx, r)
	if err != nil {
		return at, fleet.Node{}, err
	}
	if what, remedy := unfit(c, d.cfg.Key != nil, r.Rules.MinSample); what != "" {
		return at, fleet.Node{}, fmt.Errorf("gateway %s: %s; %s", name, what, remedy)
	}
	if at.From.IsZero() {
		if !c.On || c.Since.IsZero() {
			return at, fleet.Node{}, errors.New("the gateway does not capture")
		}
		at.From = c.Since // by the gateway's clock, as what it captures
		if now := d.cfg.Now(); now.Sub(at.From) > mostBefore {
			at.From = now // somebody has captured for long before: that is no evidence of this replay
		}
	}
	if at.Run == "" {
		at.Run = rand.Text()
	}
	target, err := d.target(ctx, s, at.Target)
	if err != nil {
		return at, target, err
	}
	at.Target = target.Name
	return at, target, save(ctx, at, 0, fmt.Sprintf("replaying on %s what was captured since %s", at.Target, at.From.UTC().Format(time.DateTime)))
}

// target is the one of before if it is fit, or the last that is.
func (d *Driver) target(ctx context.Context, s sides, before string) (fleet.Node, error) {
	free := slices.Clone(s.free[1:]) // the first is left for the switch
	slices.SortStableFunc(free, func(a, b fleet.Node) int {
		switch before {
		case a.Name:
			return 1
		case b.Name:
			return -1
		}
		return 0
	})
	var why []string
	for _, n := range slices.Backward(free) {
		c := d.readyTarget(ctx, n)
		if c.Verdict == check.Pass {
			return n, nil
		}
		why = append(why, c.Detail)
	}
	return fleet.Node{}, fmt.Errorf("%w: %s", errNoTarget, strings.Join(why, "; "))
}

func encode(at cursor) json.RawMessage {
	b, _ := json.Marshal(at) // it has nothing that has no JSON
	return b
}

// nodeOf is the node of that name. It is false if the cell has it no more.
func nodeOf(c fleet.Cluster, cell, name string) (fleet.Node, bool) {
	in, _ := c.Cell(cell)
	i := slices.IndexFunc(in.Nodes, func(n fleet.Node) bool { return n.Name == name })
	if i < 0 {
		return fleet.Node{}, false
	}
	return in.Nodes[i], true
}

// mostBefore is how long before the first look at it a capture of this replay can have begun.
const mostBefore = 15 * time.Minute

// The gateway is looked at every tellEvery, and progress is saved every sixth time: what is saved has the last report with it.
const (
	tellEvery = 10 * time.Second
	saveEach  = 6
)

func (d *Driver) run(ctx context.Context, r bluegreen.ReplayRequest, atMost time.Duration, s sides, at cursor, here place, save bluegreen.Save) error {
	g, err := gateway(r)
	if err != nil {
		return err
	}
	captures, err := d.captures(ctx, g)
	if err != nil {
		return err
	}
	defer captures.Close()
	key, err := d.key()
	if err != nil {
		return fmt.Errorf("the key of the captures: %w", err)
	}
	target, err := d.server(ctx, s.target)
	if err != nil {
		return err
	}
	var reference *session.Server
	if s.reference != nil {
		one, err := d.server(ctx, *s.reference)
		if err != nil {
			return err
		}
		reference = &one
	}
	slice, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	slice, stop := context.WithCancelCause(slice)
	defer stop(nil)
	look := &counts{every: max(time.Second, min(time.Minute, r.Rules.MinTime/20)), enough: func(data []byte) (bool, error) {
		t, err := run.Merge(data)
		if err != nil {
			return false, err
		}
		rep := judge.Judge(t, rulesOf(r.Rules), d.cfg.Now())
		return enough(rep) || reference != nil && onlyUnclear(rep) && d.testDue(at), nil // what is unclear is for the retest
	}}
	var told time.Time
	looks := 0
	_, err = run.Run(slice, run.Config{
		Source: run.Bucket(captures, run.Range{From: at.From, Gateways: []string{g.Name}, Follow: true}), Key: key, Target: target, Reference: reference, Speed: 1, Delay: r.Rules.Delay, From: at.From,
		Identity: r.ID + "-" + at.Run, Pairs: reference != nil, Log: d.cfg.Log,
		Checkpoint: &checkpoint{here, func() error { return lost(ctx) }, func(data []byte) {
			switch ok, err := look.look(data); {
			case err != nil:
				stop(err)
			case ok:
				stop(errEnough)
			}
		}},
		Progress: func(p run.Progress) {
			if time.Since(told) < d.every {
				return
			}
			told = time.Now()
			d.still(slice, r)
			if looks++; looks%saveEach != 1 {
				return
			}
			if err := save(ctx, at, progressOf(p.At.Sub(at.From), r.Rules.MinTime), tell(p, at)); err != nil {
				stop(err)
			}
		},
	})
	switch cause := context.Cause(slice); {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err == nil || errors.Is(cause, errEnough) || errors.Is(cause, context.DeadlineExceeded):
		return nil
	case cause != nil && !errors.Is(cause, context.Canceled):
		return cause
	default:
		return err
	}
}

// still sees that the gateway captures. One that was restarted has forgotten it, and what it is asked meanwhile is no evidence: so it is told again at once, and not
// when the next holder begins. That it can't be asked now is no reason to end the replay.
func (d *Driver) still(ctx context.Context, r bluegreen.ReplayRequest) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	is, err := d.Capturing(ctx, r)
	if err == nil && !is.On {
		d.cfg.Log.Warn("the gateway does not capture any more; it is told anew", "cluster", r.Cluster.Ref(), "detail", is.Detail)
		err = d.StartCapture(ctx, r)
	}
	if err != nil && ctx.Err() == nil {
		d.cfg.Log.Warn("it is not known whether the gateway captures", "cluster", r.Cluster.Ref(), "err", err)
	}
}

// lost is why the holder has no lease any more; nil while it has, and when its time alone is over.
func lost(ctx context.Context) error {
	if cause := context.Cause(ctx); errors.Is(cause, engine.ErrLeaseLost) || errors.Is(cause, engine.ErrFenced) {
		return cause
	}
	return nil
}

// counts looks now and then whether what was counted is enough.
type counts struct {
	every  time.Duration
	enough func(data []byte) (bool, error)
	mu     sync.Mutex
	last   time.Time
}

func (c *counts) look(data []byte) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.last) < c.every {
		return false, nil
	}
	c.last = time.Now()
	return c.enough(data)
}

func progressOf(span, of time.Duration) float64 {
	if of <= 0 || span <= 0 {
		return 0
	}
	return min(0.99, float64(span)/float64(of))
}

// tell is one line of where it stands.
func tell(p run.Progress, at cursor) string {
	text := fmt.Sprintf("%d of %d statements replayed on %s", p.Replayed, p.Captured, at.Target)
	if p.Differences > 0 {
		text += fmt.Sprintf(", %d answered otherwise so far", p.Differences)
	}
	if p.Away {
		text += "; the target does not answer"
	}
	return text
}

func (d *Driver) server(ctx context.Context, n fleet.Node) (session.Server, error) {
	c, err := access(ctx, d.cfg.Query, n)
	if err != nil {
		return session.Server{}, err
	}
	return session.Server{Name: n.Name, Config: c}, nil
}

// retest tests the suspects again, on data of one position. What it stops is in the step's status before.
func (d *Driver) retest(ctx context.Context, s sides, at *cursor, here place, save bluegreen.Save) error {
	t, err := here.counted(ctx)
	if err != nil || t == nil {
		return err
	}
	before, err := here.tests(ctx)
	if err != nil {
		return err
	}
	before.Stopped = nil                                                                                // what a killed one stopped is started by now
	before.Done = slices.DeleteFunc(before.Done, func(one retest.Tested) bool { return !decided(one) }) // those are tried again
	status, err := json.Marshal(before)
	if err != nil {
		return err
	}
	cfg, err := d.retestConfig(ctx, s.target, s.reference)
	if err != nil {
		return err
	}
	cfg.Save = func(ctx context.Context, status any, progress float64, message string) error {
		st, ok := status.(retest.Status)
		if !ok {
			return fmt.Errorf("a retest saves %T", status)
		}
		data, err := json.Marshal(st)
		if err != nil {
			return err
		}
		if err := here.keep(ctx, nameRetest, data); err != nil {
			return err
		}
		at.Stopped = st.Stopped
		return save(ctx, *at, progress, message)
	}
	_, err = retest.Run(ctx, cfg, t.Suspects(), status)
	return err
}

func (d *Driver) retestConfig(ctx context.Context, target fleet.Node, reference *fleet.Node) (cfg retest.Config, err error) {
	side := func(n fleet.Node) (retest.Side, error) {
		control, err := access(ctx, d.cfg.Control, n)
		if err != nil {
			return retest.Side{}, err
		}
		query, err := access(ctx, d.cfg.Query, n)
		return retest.Side{Name: n.Name, Control: control, Query: query}, err
	}
	if cfg.New, err = side(target); err != nil {
		return cfg, err
	}
	if reference != nil {
		cfg.Old, err = side(*reference)
	}
	cfg.Log, cfg.Now = d.cfg.Log, d.cfg.Now
	return cfg, err
}

// Released tells whether the applier that the status names runs.
func (d *Driver) Released(ctx context.Context, r bluegreen.ReplayRequest, status json.RawMessage) (bool, error) {
	at, err := cursorOf(status)
	if err != nil || len(at.Stopped) == 0 {
		return err == nil, err
	}
	n, there := nodeOf(r.Cluster, r.ToCell, at.Target)
	if !there { // what is gone holds nothing
		return true, nil
	}
	cfg, err := d.retestConfig(ctx, n, nil)
	if err != nil {
		return false, err
	}
	return retest.Released(ctx, cfg, stoppedOnly(at))
}

// Release starts it.
func (d *Driver) Release(ctx context.Context, r bluegreen.ReplayRequest, status json.RawMessage) error {
	at, err := cursorOf(status)
	if err != nil || len(at.Stopped) == 0 {
		return err
	}
	n, there := nodeOf(r.Cluster, r.ToCell, at.Target)
	if !there {
		return nil
	}
	cfg, err := d.retestConfig(ctx, n, nil)
	if err != nil {
		return err
	}
	return retest.Release(ctx, cfg, stoppedOnly(at))
}

func stoppedOnly(at cursor) json.RawMessage {
	b, _ := json.Marshal(retest.Status{Stopped: at.Stopped}) // it has nothing that has no JSON
	return b
}
