package server

import (
	"context"
	"net/http"
	"time"

	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/campaign"
)

// unmeasured is how long a stage is taken to last that no cluster has gone through yet.
const unmeasured = 15 * time.Minute

func (s *Server) forecast(_ http.ResponseWriter, r *http.Request, _ caller) (any, error) {
	snap, err := s.cfg.Store.Snapshot(r.Context(), r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	out, err := s.predict(r.Context(), snap)
	if err == nil && r.URL.Query().Get("costs") == "true" {
		out.Costs = campaign.Costs(snap, out.From, out.Durations)
	}
	return out, err
}

// predict forecasts a campaign with the durations that were measured.
func (s *Server) predict(ctx context.Context, snap campaign.Snapshot) (api.Forecast, error) {
	d, err := s.cfg.Store.StageDurations(ctx, snap.Campaign.Strategy)
	if err != nil {
		return api.Forecast{}, err
	}
	d[""] = unmeasured
	return api.Forecast{Prediction: campaign.Forecast(snap, s.cfg.Now(), d), Durations: d}, nil
}
