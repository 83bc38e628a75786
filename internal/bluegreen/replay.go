package bluegreen

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/strategy"
)

// The names of the checks that the stage itself makes. A replayer adds its own.
const (
	CheckReplayPort    = "replay-configured"
	CheckReplayVerdict = "replay-verdict"
)

// The verdicts over a replay. An unknown one is none that passes.
const (
	VerdictPass         = "pass"
	VerdictFail         = "fail"
	VerdictInsufficient = "insufficient"
)

// replaySlice is how long a replay goes on under one lease: the campaign's rules may change, and another supervisor may have more room.
const replaySlice = 30 * time.Minute

// replayStatus is how far a replay is: the replayer's own cursor, and what was judged last.
type replayStatus struct {
	Cursor json.RawMessage `json:"cursor,omitempty"`
	Last   *Replayed       `json:"last,omitempty"`
}

// judgedStatus keeps the judgement for whoever looks at the stage later.
type judgedStatus struct {
	Judged *Replayed `json:"judged,omitempty"`
}

// LastReplayed is the newest judgement that a stage's steps have kept; nil if there is none yet.
func LastReplayed(steps []engine.StepRecord) (*Replayed, error) {
	var last *Replayed
	for _, rec := range steps {
		if len(rec.Status) == 0 {
			continue
		}
		switch rec.Kind {
		case strategy.ReplayQueries:
			var st replayStatus
			if err := json.Unmarshal(rec.Status, &st); err != nil {
				return nil, fmt.Errorf("the status of %s is unreadable: %w", rec.Kind, err)
			}
			if st.Last != nil {
				last = st.Last
			}
		case strategy.JudgeReplay:
			var st judgedStatus
			if err := json.Unmarshal(rec.Status, &st); err != nil {
				return nil, fmt.Errorf("the status of %s is unreadable: %w", rec.Kind, err)
			}
			if st.Judged != nil {
				last = st.Judged
			}
		}
	}
	return last, nil
}

// request is what the stage asks a replayer for.
func (h handlers) request(c *engine.Call) ReplayRequest {
	return ReplayRequest{
		Cluster: c.Cluster, FromCell: c.Campaign.FromCell, ToCell: c.Campaign.ToCell, From: c.Campaign.From, To: c.Campaign.To,
		ID: fmt.Sprintf("%s-%s-%s-%d", c.Campaign.Name, c.Cluster.Env, c.Cluster.Name, c.ActionID), Action: c.ActionID, Term: c.Term, By: mark(c),
		Rules: c.Campaign.Replay.Or(campaign.DefaultReplay()),
	}
}

// skipped is the answer of every step of the stage when a person has decided that nothing is replayed.
func skipped(c *engine.Call) (engine.Observation, bool) {
	s, yes := c.Campaign.ReplaySkipped()
	if !yes {
		return engine.Observation{}, false
	}
	o := engine.There("%s", s)
	o.Checks = check.Results{check.Warned(CheckReplayVerdict, s.String(), "take replay.skip out of the campaign's file", c.Now())}
	return o, true
}

// overridden is the override that lets the cluster pass without a verdict, if there is one.
func overridden(c *engine.Call) (campaign.Override, bool) {
	for _, o := range c.Overrides {
		if o.Rule == campaign.CodeReplay && c.Now().Before(o.Expires) {
			return o, true
		}
	}
	return campaign.Override{}, false
}

// replayReady looks at what a replay needs.
func (h handlers) replayReady(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	if o, yes := skipped(c); yes {
		return o, nil
	}
	if _, _, err := bothCells(c); err != nil {
		return engine.Observation{}, err
	}
	if h.Replayer == nil || h.Capturer == nil {
		return engine.Judged(check.Results{check.Failed(CheckReplayPort, "this supervisor's file does not say where captured queries are kept: nothing can be replayed, and without a verdict no storage switch begins",
			"add \"replay\" to the supervisor's file, or \"replay: {skip: {reason: …, by: …}}\" to the campaign's", c.Now())}, ""), nil
	}
	cs, err := h.Replayer.Ready(ctx, h.request(c))
	if err != nil {
		return engine.Observation{}, fmt.Errorf("look whether queries can be replayed: %w", err)
	}
	return engine.Judged(cs, "queries can be captured in %s and replayed in %s", c.Campaign.FromCell, c.Campaign.ToCell), nil
}

// capturing looks whether the old cell's gateway captures.
func (h handlers) capturing(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	if o, yes := skipped(c); yes {
		return o, nil
	}
	is, err := h.captures(ctx, c)
	if err != nil {
		return engine.Observation{}, err
	}
	if !is.On {
		return engine.Missing("the gateway of %s does not capture: %s", c.Campaign.FromCell, is.Detail), nil
	}
	return engine.There("the gateway of %s captures: %s", c.Campaign.FromCell, is.Detail), nil
}

// captureEnded is the other way round. That the replay is skipped by now does not end a capture that was begun before.
func (h handlers) captureEnded(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	if h.Capturer == nil {
		return engine.There("nothing can have been captured: this supervisor has no store for it"), nil
	}
	is, err := h.captures(ctx, c)
	switch {
	case err != nil:
		return engine.Observation{}, err
	case is.On && is.Others == "":
		return engine.Missing("the gateway of %s captures: %s", c.Campaign.FromCell, is.Detail), nil
	case is.On:
		return engine.There("the gateway of %s goes on with the capture that %s began", c.Campaign.FromCell, is.Others), nil
	}
	return engine.There("the gateway of %s does not capture", c.Campaign.FromCell), nil
}

// captureLeft is the end of a stage that goes well.
func (h handlers) captureLeft(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	if c.Campaign.Replay.KeepCapture {
		return engine.There("the capture goes on, as the campaign says"), nil
	}
	return h.captureEnded(ctx, c)
}

func (h handlers) captures(ctx context.Context, c *engine.Call) (Capture, error) {
	if h.Capturer == nil {
		return Capture{Detail: "this supervisor has no store for it"}, nil
	}
	is, err := h.Capturer.Capturing(ctx, h.request(c))
	if err != nil {
		return Capture{}, fmt.Errorf("ask the gateway of %s whether it captures: %w", c.Campaign.FromCell, err)
	}
	return is, nil
}

func (h handlers) startCapture(ctx context.Context, c *engine.Call) (engine.Result, error) {
	if h.Capturer == nil {
		return engine.Result{Wait: true, Message: "this supervisor has no store for what is captured"}, nil
	}
	if err := h.Capturer.StartCapture(ctx, h.request(c)); err != nil {
		return engine.Result{}, fmt.Errorf("let the gateway of %s capture: %w", c.Campaign.FromCell, err)
	}
	c.Point("capture-started")
	return engine.Result{}, nil
}

func (h handlers) endCapture(ctx context.Context, c *engine.Call) (engine.Result, error) {
	if h.Capturer == nil {
		return engine.Result{}, nil
	}
	if err := h.Capturer.EndCapture(ctx, h.request(c)); err != nil {
		return engine.Result{}, fmt.Errorf("end the capture of the gateway of %s: %w", c.Campaign.FromCell, err)
	}
	c.Point("capture-ended")
	return engine.Result{}, nil
}

// replayed looks whether enough was replayed: the world does not keep that, the status does.
func (h handlers) replayed(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	if o, yes := skipped(c); yes { // perhaps in the middle of it
		if held, err := h.replayReleased(ctx, c); err != nil || !held.There {
			return held, err
		}
		return o, nil
	}
	if over, yes := overridden(c); yes { // also of a verdict that would stay insufficient
		if held, err := h.replayReleased(ctx, c); err != nil || !held.There {
			return held, err
		}
		o := engine.There("overridden by %s: %s", over.Who, over.Why)
		o.Checks = check.Results{check.Warned(CheckReplayVerdict, fmt.Sprintf("the replay is ended by %s: %s", over.Who, over.Why), "", c.Now())}
		return o, nil
	}
	st, err := engine.StatusOf[replayStatus](c)
	if err != nil {
		return engine.Observation{}, err
	}
	switch {
	case st.Last == nil:
		return engine.Missing("nothing is replayed yet"), nil
	case !st.Last.Enough:
		return engine.Observation{Message: st.Last.Message, Progress: st.Last.Progress}, nil
	}
	o := engine.There("%s", st.Last.Message)
	o.Checks = st.Last.Checks
	return o, nil
}

// replay goes on until enough was replayed, or for a slice of time.
func (h handlers) replay(ctx context.Context, c *engine.Call) (engine.Result, error) {
	if _, _, err := bothCells(c); err != nil {
		return engine.Result{}, err
	}
	if h.Replayer == nil || h.Capturer == nil {
		return engine.Result{Wait: true, Message: "this supervisor has no store of captured queries"}, nil
	}
	_, skip := skipped(c)
	if _, over := overridden(c); skip || over {
		return h.releaseReplay(ctx, c)
	}
	st, err := engine.StatusOf[replayStatus](c)
	if err != nil {
		return engine.Result{}, err
	}
	save := func(ctx context.Context, cursor any, progress float64, message string) error {
		b, err := json.Marshal(cursor)
		if err != nil {
			return fmt.Errorf("save how far the replay is: %w", err)
		}
		st.Cursor = b
		return c.Save(ctx, st, progress, message)
	}
	// A gateway that was restarted may have forgotten it.
	is, err := h.captures(ctx, c)
	if err == nil && !is.On {
		c.Log.Warn("the gateway does not capture any more; it is told anew", "detail", is.Detail)
		err = h.Capturer.StartCapture(ctx, h.request(c))
	}
	if err != nil {
		return engine.Result{}, err
	}
	got, err := h.Replayer.Replay(ctx, h.request(c), replaySlice, st.Cursor, save)
	if err != nil {
		return engine.Result{}, fmt.Errorf("replay the queries: %w", err)
	}
	st.Last = &got
	r := engine.Result{Status: engine.Status(st), Checks: got.Checks, Message: got.Message, Progress: got.Progress}
	if !got.Enough {
		r.Wait, r.RetryAfter = true, c.LeaseTTL/2 // so long that the lease is given back: the next one brings the campaign's rules of then
		if r.Held = got.Findings > 0; r.Held {    // more time does not undo them: a person can begin to look
			r.Message = fmt.Sprintf("the verdict will be fail unless a person judges %d findings; the replay goes on: /clusters/%s/replay", got.Findings, c.Cluster.Ref())
		}
	}
	return r, nil
}

// cursor is what the replay has kept.
func (h handlers) cursor(c *engine.Call) (json.RawMessage, error) {
	for _, rec := range c.Steps {
		if rec.Kind == strategy.ReplayQueries && len(rec.Status) > 0 {
			var st replayStatus
			if err := json.Unmarshal(rec.Status, &st); err != nil {
				return nil, fmt.Errorf("the status of %s is unreadable: %w", rec.Kind, err)
			}
			return st.Cursor, nil
		}
	}
	return nil, nil
}

// longestJudged is how long a campaign's new rules wait at the most until they are judged by.
const longestJudged = time.Minute

// judged is the gate: it judges what was counted by the campaign's rules of now, and lets nothing pass that does not pass. A fail is no failure of
// the action: it waits for a person, who adds a rule for what was found, overrides the verdict, or takes the cluster back.
func (h handlers) judged(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	if o, yes := skipped(c); yes {
		return o, nil
	}
	if h.Replayer == nil {
		return engine.Missing("this supervisor has no store of captured queries"), nil
	}
	cursor, err := h.cursor(c)
	if err != nil {
		return engine.Observation{}, err
	}
	got, err := h.Replayer.Judge(ctx, h.request(c), cursor)
	over, yes := overridden(c)
	if err != nil && !yes {
		return engine.Observation{}, fmt.Errorf("judge the replay: %w", err)
	}
	o := engine.Observation{Checks: got.Checks}
	if err == nil {
		o.Status = engine.Status(judgedStatus{&got})
	}
	switch {
	case yes:
		o.There = true
		o.Message = fmt.Sprintf("overridden by %s: %s", over.Who, over.Why)
		o.Checks = append(o.Checks, check.Warned(CheckReplayVerdict, fmt.Sprintf("the verdict %q is overridden by %s until %s: %s", orNone(got.Verdict), over.Who, over.Expires.UTC().Format(time.RFC3339), over.Why), "", c.Now()))
	case got.Verdict == VerdictPass && got.Enough && got.Checks.OK():
		o.There, o.Message = true, got.Message
	default:
		o.Held, o.Message = true, got.Message
		if got.Message == "" {
			o.Message = got.Checks.Bad().String()
		}
		o.RetryAfter = max(c.LeaseTTL/2, min(c.Now().Sub(h.since(c))/4, longestJudged)) // at each lease the campaign is read anew
	}
	return o, nil
}

func orNone(verdict string) string {
	if verdict == "" {
		return "unknown"
	}
	return verdict
}

// since is when the step was first looked at.
func (handlers) since(c *engine.Call) time.Time {
	for _, rec := range c.Steps {
		if rec.Kind == c.Step.Kind && !rec.StartedAt.IsZero() {
			return rec.StartedAt
		}
	}
	return c.Now()
}

// replayReleased looks whether a replay that was broken off has left something stopped.
func (h handlers) replayReleased(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	st, err := engine.StatusOf[replayStatus](c)
	if err != nil {
		return engine.Observation{}, err
	}
	if h.Replayer == nil || len(st.Cursor) == 0 {
		return engine.There("the replay holds nothing"), nil
	}
	ok, err := h.Replayer.Released(ctx, h.request(c), st.Cursor)
	if err != nil {
		return engine.Observation{}, fmt.Errorf("look what the replay has left: %w", err)
	}
	if !ok {
		return engine.Missing("the replay was broken off, and replication that it stopped does not run yet"), nil
	}
	return engine.There("nothing is left stopped by the replay"), nil
}

func (h handlers) releaseReplay(ctx context.Context, c *engine.Call) (engine.Result, error) {
	st, err := engine.StatusOf[replayStatus](c)
	if err != nil {
		return engine.Result{}, err
	}
	if err := h.Replayer.Release(ctx, h.request(c), st.Cursor); err != nil {
		return engine.Result{}, fmt.Errorf("start the replication that the replay stopped: %w", err)
	}
	c.Point("released")
	return engine.Result{}, nil
}
