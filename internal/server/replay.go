package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/replay/judge"
	"github.com/windlass-db/windlass/internal/server/web"
	"github.com/windlass-db/windlass/internal/state"
	"github.com/windlass-db/windlass/internal/strategy"
)

var _ web.Replays = pages{}

// Replay reads the newest replay of a cluster from its action's steps.
func (p pages) Replay(ctx context.Context, ref fleet.ClusterRef) (web.Replay, error) {
	one, err := p.s.replayOf(ctx, ref)
	if errors.Is(err, state.ErrNotFound) {
		err = web.ErrNotFound
	}
	return one, err
}

func (s *Server) replayOf(ctx context.Context, ref fleet.ClusterRef) (web.Replay, error) {
	out := web.Replay{At: s.cfg.Now(), Ref: ref}
	actions, err := s.cfg.Store.Actions(ctx, ref, 100)
	if err != nil {
		return out, err
	}
	for _, a := range actions { // the newest first
		if a.Stage != strategy.StageReplay || a.Direction != string(strategy.Forward) {
			continue
		}
		return s.replayIn(out, a)
	}
	return out, fmt.Errorf("a replay of %s: %w", ref, state.ErrNotFound)
}

func (s *Server) replayIn(out web.Replay, a state.ActionInfo) (web.Replay, error) {
	out.Action, out.Live = a.ID, a.EndedAt == 0
	for _, rec := range a.Steps {
		if rec.Phase != engine.Pending {
			out.Message, out.Checks = rec.Message, rec.Checks
		}
		out.Held = out.Live && (out.Held || rec.Held)
		if rec.Kind == strategy.JudgeReplay && rec.Phase != engine.Pending {
			break // what comes behind it says nothing of the verdict
		}
	}
	last, err := bluegreen.LastReplayed(a.Steps)
	if err != nil || last == nil || len(last.Report) == 0 {
		return out, err
	}
	out.Report = new(judge.Report)
	if err := json.Unmarshal(last.Report, out.Report); err != nil {
		return out, fmt.Errorf("the report of the replay of %s is unreadable: %w", out.Ref, err)
	}
	return out, nil
}

// replay answers the report's JSON, as windlass replay --report writes it.
func (s *Server) replay(_ http.ResponseWriter, r *http.Request, _ caller) (any, error) {
	one, err := s.replayOf(r.Context(), fleet.ClusterRef{Env: r.PathValue("env"), Name: r.PathValue("name")})
	if err != nil {
		return nil, err
	}
	if one.Report == nil {
		return nil, fmt.Errorf("a verdict over the queries of %s: %w", one.Ref, state.ErrNotFound)
	}
	return one.Report, nil
}
