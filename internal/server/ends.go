package server

import (
	"net/http"

	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/campaign"
)

// What a person has set for a time, and ends before it is over.

func (s *Server) thaw(_ http.ResponseWriter, r *http.Request, who caller) (any, error) {
	req, err := body[api.ThawRequest](r)
	if err == nil {
		err = reasoned(req.Why)
	}
	if err != nil {
		return nil, err
	}
	return nil, s.cfg.Store.Thaw(r.Context(), r.PathValue("name"), req.Environments, who.Name, req.Why)
}

func (s *Server) endOverride(_ http.ResponseWriter, r *http.Request, who caller) (any, error) {
	req, err := body[api.EndOverrideRequest](r)
	if err == nil {
		err = reasoned(req.Why)
	}
	if err != nil {
		return nil, err
	}
	return nil, s.cfg.Store.EndOverride(r.Context(), r.PathValue("name"), campaign.Override{Rule: req.Rule, Env: req.Env, Cluster: req.Cluster, Stage: req.Stage, Who: who.Name, Why: req.Why})
}
