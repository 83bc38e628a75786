package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/fleet"
)

// capturer turns the capture of the old cell's gateway on and off. A gateway that crashes has forgotten it.
type capturer struct{ w *world }

func (cp capturer) gateway(r bluegreen.ReplayRequest) *gateway {
	cell, _ := r.Cluster.Cell(r.FromCell)
	return gateways(cp).byAddress(*cell.Gateway)
}

// Capturing asks the gateway.
func (cp capturer) Capturing(ctx context.Context, r bluegreen.ReplayRequest) (is bluegreen.Capture, err error) {
	g := cp.gateway(r)
	err = gateways(cp).read(ctx, g, func() { is.On = g.capture })
	return is, err
}

// StartCapture turns it on.
func (cp capturer) StartCapture(ctx context.Context, r bluegreen.ReplayRequest) error {
	g := cp.gateway(r)
	return g.admin(ctx, r.Term, func() error { g.capture = true; return nil })
}

// EndCapture turns it off.
func (cp capturer) EndCapture(ctx context.Context, r bluegreen.ReplayRequest) error {
	g := cp.gateway(r)
	return g.admin(ctx, r.Term, func() error { g.capture = false; return nil })
}

// replayer counts three parts of what is captured. What was counted is in the world, as in a store; between the parts it holds a replica for a moment,
// as the retest on frozen data does (trap 37).
type replayer struct{ w *world }

// replayCursor is the status of a replay: the replicas that are stopped, or about to be.
type replayCursor struct {
	Stopped []string `json:"stopped,omitempty"`
}

func (replayCursor) of(status json.RawMessage) (c replayCursor, err error) {
	if len(status) > 0 {
		err = json.Unmarshal(status, &c)
	}
	return c, err
}

const replayParts = 3

// Ready looks for a replica of the new cell.
func (rp replayer) Ready(ctx context.Context, r bluegreen.ReplayRequest) (check.Results, error) {
	if _, err := checker(rp).running(ctx, r.Cluster, r.ToCell); err != nil {
		return check.Results{check.Unknowable("replay-target", err, rp.w.s.now)}, nil
	}
	return check.Results{check.Passed("replay-target", "it is there", rp.w.s.now)}, nil
}

// Replay counts one part after the other, each once.
func (rp replayer) Replay(ctx context.Context, r bluegreen.ReplayRequest, _ time.Duration, status json.RawMessage, save bluegreen.Save) (bluegreen.Replayed, error) {
	ch, w := checker(rp), rp.w
	st, err := replayCursor{}.of(status)
	if err != nil {
		return bluegreen.Replayed{}, err
	}
	if err := ch.start(ctx, r.Cluster, comparison{Stopped: st.Stopped}); err != nil {
		return bluegreen.Replayed{}, err
	}
	replicas, err := ch.running(ctx, r.Cluster, r.ToCell)
	if err != nil {
		return bluegreen.Replayed{}, err
	}
	held := comparison{Stopped: replicas[:1]}
	for range replayParts {
		kept := w.kept(r.ID)
		if kept.parts == replayParts {
			break
		}
		if err := save(ctx, replayCursor{held.Stopped}, float64(kept.parts)/replayParts, "a retest on frozen data"); err != nil {
			return bluegreen.Replayed{}, err
		}
		if err := ch.each(ctx, r.Cluster, held, func(sv *server) { sv.running = false }); err != nil {
			return bluegreen.Replayed{}, err
		}
		if err := w.replaying(ctx); err != nil { // what is broken off here leaves them stopped, as a kill does
			return bluegreen.Replayed{}, err
		}
		if err := w.s.sleep(ctx, 200*time.Millisecond); err != nil {
			return bluegreen.Replayed{}, err
		}
		if err := ch.start(ctx, r.Cluster, held); err != nil {
			return bluegreen.Replayed{}, err
		}
		if err := w.call(ctx, func() error { kept.parts = min(kept.parts+1, replayParts); return nil }); err != nil {
			return bluegreen.Replayed{}, err
		}
		if err := save(ctx, replayCursor{}, float64(kept.parts)/replayParts, "a part is counted"); err != nil {
			return bluegreen.Replayed{}, err
		}
	}
	return rp.Judge(ctx, r, nil)
}

// Judge lets pass what is enough, unless the script has put in a difference that nobody has ruled on.
func (rp replayer) Judge(ctx context.Context, r bluegreen.ReplayRequest, _ json.RawMessage) (got bluegreen.Replayed, err error) {
	w := rp.w
	err = w.call(ctx, func() error {
		kept := w.kept(r.ID)
		got.Enough = kept.parts == replayParts
		if w.lenient {
			got.Verdict, got.Enough, got.Checks = bluegreen.VerdictPass, true, check.Results{check.Passed(bluegreen.CheckReplayVerdict, "", w.s.now)}
			return nil
		}
		switch {
		case !got.Enough:
			got.Verdict, got.Message = bluegreen.VerdictInsufficient, fmt.Sprintf("%d of %d parts are counted", kept.parts, replayParts)
			got.Checks = check.Results{check.Failed(bluegreen.CheckReplayVerdict, got.Message, "wait", w.s.now)}
		case w.differs():
			got.Verdict, got.Message, got.Findings = bluegreen.VerdictFail, "a query is answered otherwise", 1
			got.Checks = check.Results{check.Failed(bluegreen.CheckReplayVerdict, got.Message, "a rule", w.s.now)}
		default:
			got.Verdict, got.Message = bluegreen.VerdictPass, "every query is answered alike"
			got.Checks = check.Results{check.Passed(bluegreen.CheckReplayVerdict, got.Message, w.s.now)}
			w.passed[r.Cluster.Ref()] = true
		}
		return nil
	})
	return got, err
}

// Released tells whether what the status names runs.
func (rp replayer) Released(ctx context.Context, r bluegreen.ReplayRequest, status json.RawMessage) (bool, error) {
	st, err := replayCursor{}.of(status)
	if err != nil {
		return false, err
	}
	run := true
	err = checker(rp).each(ctx, r.Cluster, comparison{Stopped: st.Stopped}, func(sv *server) { run = run && (sv.running || sv.source == "") })
	return run, err
}

// Release starts what the status names.
func (rp replayer) Release(ctx context.Context, r bluegreen.ReplayRequest, status json.RawMessage) error {
	st, err := replayCursor{}.of(status)
	if err != nil {
		return err
	}
	return checker(rp).start(ctx, r.Cluster, comparison{Stopped: st.Stopped})
}

// keptReplay is what is kept of one replay outside of the control plane.
type keptReplay struct{ parts int }

func (w *world) kept(id string) *keptReplay {
	if w.replays[id] == nil {
		w.replays[id] = &keptReplay{}
	}
	return w.replays[id]
}

// unproved tells whether no verdict has let the cluster's storage switch begin.
func (w *world) unproved(ref fleet.ClusterRef) bool { return !w.passed[ref] }
