package server

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/config"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/state"
	"github.com/windlass-db/windlass/internal/strategy"
)

// The people's half of the API.

func (s *Server) apply(_ http.ResponseWriter, r *http.Request, who caller) (any, error) {
	req, err := body[api.ApplyRequest](r)
	if err != nil {
		return nil, err
	}
	if req.Fleet == nil && req.Campaign == nil {
		return nil, badRequest{errors.New("there is nothing to apply: neither a fleet nor a campaign")}
	}
	var selected []fleet.ClusterRef
	if req.Campaign != nil {
		known, err := s.cfg.Store.Clusters(r.Context(), "")
		if err != nil {
			return nil, err
		}
		f := inventory(known, req.Fleet)
		if found := req.Campaign.Check(f, s.cfg.Now()); len(found) > 0 {
			return nil, unfit(req.Campaign.Name, found)
		}
		for _, c := range req.Campaign.Select(f) {
			selected = append(selected, c.Ref())
		}
	}
	if req.Fleet != nil {
		if err := s.cfg.Store.ApplyFleet(r.Context(), *req.Fleet, who.Name); err != nil {
			return nil, err
		}
	}
	if req.Campaign == nil {
		return nil, nil
	}
	return nil, s.cfg.Store.ApplyCampaign(r.Context(), *req.Campaign, selected, who.Name)
}

// inventory is the fleet as it will be: the clusters that are known, with those of an applied file that are not.
func inventory(known []fleet.Cluster, applied *fleet.Fleet) fleet.Fleet {
	f := fleet.Fleet{Name: "that the server knows"}
	at := map[string]int{}
	have := map[fleet.ClusterRef]bool{}
	add := func(c fleet.Cluster) {
		if have[c.Ref()] {
			return
		}
		have[c.Ref()] = true
		i, ok := at[c.Env]
		if !ok {
			i = len(f.Environments)
			at[c.Env] = i
			f.Environments = append(f.Environments, fleet.Environment{Name: c.Env})
		}
		f.Environments[i].Clusters = append(f.Environments[i].Clusters, c)
	}
	stored := map[fleet.ClusterRef]fleet.Cluster{}
	for _, c := range known {
		stored[c.Ref()] = c
	}
	if applied != nil {
		f.Name = applied.Name
		for _, e := range applied.Environments {
			for _, c := range e.Clusters {
				for _, cell := range stored[c.Ref()].Cells {
					if _, ok := c.Cell(cell.Name); !ok && cell.Owner != "" {
						c = stored[c.Ref()] // Windlass made this cell: what is stored is newer than the file
					}
				}
				add(c)
			}
		}
	}
	for _, c := range known {
		add(c)
	}
	return f
}

// unfit says all that keeps a campaign from being applied to the fleet.
func unfit(name string, found []config.Finding) error {
	var b strings.Builder
	fmt.Fprintf(&b, "campaign %s does not fit the fleet:", name)
	for _, f := range found {
		fmt.Fprintf(&b, "\n  - %s", f)
	}
	return &state.Refused{What: b.String(), Hint: "mend the campaign or the fleet; nothing was applied"}
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
	if err != nil {
		return nil, err
	}
	return nil, s.cfg.Store.Pause(r.Context(), r.PathValue("name"), campaign.Pause{Env: req.Env, Cluster: req.Cluster, Stage: req.Stage, Who: who.Name, Why: req.Why, Until: req.Until})
}

func (s *Server) resume(_ http.ResponseWriter, r *http.Request, who caller) (any, error) {
	req, err := body[api.ScopeRequest](r)
	if err != nil {
		return nil, err
	}
	return nil, s.cfg.Store.Resume(r.Context(), r.PathValue("name"), campaign.Pause{Env: req.Env, Cluster: req.Cluster, Stage: req.Stage, Who: who.Name, Why: req.Why})
}

func (s *Server) abort(_ http.ResponseWriter, r *http.Request, who caller) (any, error) {
	req, err := body[api.ScopeRequest](r)
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
	if err != nil {
		return nil, err
	}
	return nil, s.cfg.Store.Rollback(r.Context(), r.PathValue("name"), req.Ref, req.To, who.Name, req.Why)
}

func (s *Server) freeze(_ http.ResponseWriter, r *http.Request, who caller) (any, error) {
	req, err := body[campaign.Freeze](r)
	if err != nil {
		return nil, err
	}
	req.Who = who.Name
	return nil, s.cfg.Store.Freeze(r.Context(), r.PathValue("name"), req)
}

func (s *Server) override(_ http.ResponseWriter, r *http.Request, who caller) (any, error) {
	req, err := body[campaign.Override](r)
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
