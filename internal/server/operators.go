package server

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/state"
	"github.com/windlass-db/windlass/internal/strategy"
)

// The people's half of the API.

// reasoned is badRequest unless a reason is given: it is kept with the event, for those who ask later.
func reasoned(why string) error {
	if strings.TrimSpace(why) == "" {
		return badRequest{errors.New(`a reason is needed: give it as "why"`)}
	}
	return nil
}

func (s *Server) apply(_ http.ResponseWriter, r *http.Request, who caller) (any, error) {
	req, err := body[api.ApplyRequest](r)
	if err != nil {
		return nil, err
	}
	if req.Fleet == nil && req.Campaign == nil {
		return nil, badRequest{errors.New("there is nothing to apply: neither a fleet nor a campaign")}
	}
	return s.cfg.Store.Apply(r.Context(), state.Change{Fleet: req.Fleet, Campaign: req.Campaign, Prune: req.Prune, DryRun: req.DryRun, Who: who.Name})
}

func (s *Server) fleets(_ http.ResponseWriter, r *http.Request, _ caller) (any, error) {
	all, err := s.cfg.Store.Fleets(r.Context())
	if all == nil {
		all = []fleet.Fleet{}
	}
	return all, err
}

func (s *Server) forget(_ http.ResponseWriter, r *http.Request, who caller) (any, error) {
	req, err := body[api.ForgetRequest](r)
	if err == nil {
		err = reasoned(req.Why)
	}
	if err != nil {
		return nil, err
	}
	ref := fleet.ClusterRef{Env: r.PathValue("env"), Name: r.PathValue("name")}
	return nil, s.cfg.Store.Forget(r.Context(), ref, who.Name, req.Why)
}

func (s *Server) launch(_ http.ResponseWriter, r *http.Request, who caller) (any, error) {
	l, err := s.cfg.Store.Launch(r.Context(), r.PathValue("name"), "", who.Name, s.cfg.Decide)
	if err != nil {
		return nil, err
	}
	return l, nil
}

func (s *Server) pause(_ http.ResponseWriter, r *http.Request, who caller) (any, error) {
	req, err := body[api.ScopeRequest](r)
	if err == nil {
		err = reasoned(req.Why)
	}
	if err != nil {
		return nil, err
	}
	return nil, s.cfg.Store.Pause(r.Context(), r.PathValue("name"), campaign.Pause{Env: req.Env, Cluster: req.Cluster, Stage: req.Stage, Who: who.Name, Why: req.Why, Until: req.Until})
}

func (s *Server) resume(_ http.ResponseWriter, r *http.Request, who caller) (any, error) {
	req, err := body[api.ScopeRequest](r)
	if err == nil {
		err = reasoned(req.Why)
	}
	if err != nil {
		return nil, err
	}
	return nil, s.cfg.Store.Resume(r.Context(), r.PathValue("name"), campaign.Pause{Env: req.Env, Cluster: req.Cluster, Stage: req.Stage, Who: who.Name, Why: req.Why})
}

func (s *Server) abort(_ http.ResponseWriter, r *http.Request, who caller) (any, error) {
	req, err := body[api.ScopeRequest](r)
	if err == nil {
		err = reasoned(req.Why)
	}
	if err != nil {
		return nil, err
	}
	ref := fleet.ClusterRef{Env: req.Env, Name: req.Cluster}
	switch {
	case req.Stage != "" || ref.Env != "" && ref.Name == "" || ref.Env == "" && ref.Name != "":
		return nil, badRequest{errors.New("an abort is of the whole campaign, or of one cluster with its environment")}
	case ref.Name != "":
		return nil, s.cfg.Store.AbortCluster(r.Context(), r.PathValue("name"), ref, who.Name, req.Why)
	}
	return nil, s.cfg.Store.Abort(r.Context(), r.PathValue("name"), who.Name, req.Why)
}

func (s *Server) rollback(_ http.ResponseWriter, r *http.Request, who caller) (any, error) {
	req, err := body[api.RollbackRequest](r)
	if err == nil {
		err = reasoned(req.Why)
	}
	if err != nil {
		return nil, err
	}
	return nil, s.cfg.Store.Rollback(r.Context(), r.PathValue("name"), req.Ref, req.To, who.Name, req.Why)
}

func (s *Server) freeze(_ http.ResponseWriter, r *http.Request, who caller) (any, error) {
	req, err := body[campaign.Freeze](r)
	if err == nil {
		err = reasoned(req.Reason)
	}
	if err != nil {
		return nil, err
	}
	req.Who = who.Name
	return nil, s.cfg.Store.Freeze(r.Context(), r.PathValue("name"), req)
}

func (s *Server) override(_ http.ResponseWriter, r *http.Request, who caller) (any, error) {
	req, err := body[campaign.Override](r)
	if err == nil {
		err = reasoned(req.Why)
	}
	if err != nil {
		return nil, err
	}
	req.Who = who.Name
	return nil, s.cfg.Store.Override(r.Context(), r.PathValue("name"), req)
}

func (s *Server) campaigns(_ http.ResponseWriter, r *http.Request, _ caller) (any, error) {
	all, err := s.cfg.Store.Campaigns(r.Context())
	if all == nil {
		all = []state.CampaignInfo{}
	}
	return all, err
}

func (s *Server) campaign(_ http.ResponseWriter, r *http.Request, _ caller) (any, error) {
	snap, err := s.cfg.Store.Snapshot(r.Context(), r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	now := s.cfg.Now()
	st, _ := strategy.ByName(snap.Campaign.Strategy)
	out := api.CampaignStatus{Snapshot: snap, Decisions: s.cfg.Decide(snap, now), Stages: st.StageNames(), At: now}
	if snap.Status == "running" {
		out.NextRun = campaign.NextLaunch(snap.Campaign, now)
	}
	return out, nil
}

func (s *Server) switchovers(_ http.ResponseWriter, r *http.Request, _ caller) (any, error) {
	all, err := s.cfg.Store.Switchovers(r.Context(), r.PathValue("name"))
	if all == nil {
		all = []state.Switchover{}
	}
	return all, err
}

func (s *Server) cluster(_ http.ResponseWriter, r *http.Request, _ caller) (any, error) {
	return s.clusterStatus(r.Context(), fleet.ClusterRef{Env: r.PathValue("env"), Name: r.PathValue("name")})
}

func (s *Server) events(_ http.ResponseWriter, r *http.Request, _ caller) (any, error) {
	q := r.URL.Query()
	f := state.EventFilter{Campaign: q.Get("campaign"), Ref: fleet.ClusterRef{Env: q.Get("env"), Name: q.Get("cluster")}, Newest: q.Get("newest") == "true"}
	for name, to := range map[string]*int64{"after": &f.After, "before": &f.Before} {
		if v := q.Get(name); v != "" {
			n, err := strconv.ParseInt(v, 10, 64)
			if err != nil {
				return nil, badRequest{fmt.Errorf("%s=%q is no number", name, v)}
			}
			*to = n
		}
	}
	if v := q.Get("limit"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 || n > 10000 {
			return nil, badRequest{fmt.Errorf("limit=%q is no number from 0 to 10000", v)}
		}
		f.Limit = n
	}
	all, err := s.cfg.Store.Events(r.Context(), f)
	if all == nil {
		all = []state.Event{}
	}
	return all, err
}
