package web

import (
	"context"
	"html/template"
	"net/http"
	"time"

	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/replay/judge"
	"github.com/windlass-db/windlass/internal/replay/report"
)

// Replays is a Source that knows what replays of a cluster's queries came to.
type Replays interface {
	// Replay is the newest; ErrNotFound if there was none.
	Replay(ctx context.Context, ref fleet.ClusterRef) (Replay, error)
}

// Replay is what a replay came to, as it was judged last.
type Replay struct {
	At      time.Time
	Ref     fleet.ClusterRef
	Action  int64
	Live    bool   // its action has not ended
	Held    bool   // it waits for a person
	Message string // what its stage says
	Checks  check.Results
	Report  *judge.Report // nil: nothing was judged yet
}

// replayView is its page.
type replayView struct {
	Replay
	Body template.HTML
}

func (h *Handler) replay(w http.ResponseWriter, r *http.Request) {
	source, ok := h.cfg.Source.(Replays)
	if !ok {
		h.fail(w, r, ErrNotFound)
		return
	}
	one, err := source.Replay(r.Context(), fleet.ClusterRef{Env: r.PathValue("env"), Name: r.PathValue("name")})
	if err != nil {
		h.fail(w, r, err)
		return
	}
	v := replayView{Replay: one}
	if one.Report != nil {
		if v.Body, err = report.Partial(*one.Report); err != nil {
			h.fail(w, r, err)
			return
		}
	}
	h.render(w, r, http.StatusOK, "replay", page{Title: "Replay of " + one.Ref.String(), Nav: "fleet", Live: true, Replay: true, Data: v})
}

// asset serves what is part of the program.
func asset(kind string, content []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Cache-Control", "max-age=3600")
		_, _ = w.Write(content) // the browser may be gone
	}
}
