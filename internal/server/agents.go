package server

import (
	"fmt"
	"net/http"

	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

// The supervisors' half of the API. The guard has checked that the token is of the path's environment; what is left is
// that the action is of it too.

func (s *Server) lease(_ http.ResponseWriter, r *http.Request, _ caller) (any, error) {
	req, err := body[api.LeaseRequest](r)
	if err != nil {
		return nil, err
	}
	if req.Holder == "" {
		return nil, badRequest{fmt.Errorf("a lease needs a holder's name")}
	}
	a, err := s.cfg.Store.Lease(r.Context(), r.PathValue("env"), req.Holder, req.Kinds)
	if err != nil || a == nil {
		return nil, err
	}
	return a, nil
}

// own reads the action's number and checks that it belongs to the path's environment.
func (s *Server) own(r *http.Request) (int64, error) {
	id, err := actionID(r)
	if err != nil {
		return 0, err
	}
	env, err := s.cfg.Store.ActionEnv(r.Context(), id)
	if err != nil {
		return 0, err
	}
	if env != r.PathValue("env") {
		return 0, errForbidden
	}
	return id, nil
}

func (s *Server) heartbeat(_ http.ResponseWriter, r *http.Request, _ caller) (any, error) {
	id, err := s.own(r)
	if err != nil {
		return nil, err
	}
	req, err := body[api.HeartbeatRequest](r)
	if err != nil {
		return nil, err
	}
	abort, err := s.cfg.Store.Heartbeat(r.Context(), id, req.Term)
	if err != nil {
		return nil, err
	}
	return api.HeartbeatReply{Abort: abort}, nil
}

func (s *Server) record(_ http.ResponseWriter, r *http.Request, _ caller) (any, error) {
	id, err := s.own(r)
	if err != nil {
		return nil, err
	}
	req, err := body[api.RecordRequest](r)
	if err != nil {
		return nil, err
	}
	abort, err := s.cfg.Store.Record(r.Context(), id, req.Term, req.Record)
	if err != nil {
		return nil, err
	}
	return api.RecordReply{Abort: abort}, nil
}

func (s *Server) turn(_ http.ResponseWriter, r *http.Request, _ caller) (any, error) {
	id, err := s.own(r)
	if err != nil {
		return nil, err
	}
	req, err := body[api.TurnRequest](r)
	if err != nil {
		return nil, err
	}
	return nil, s.cfg.Store.Turn(r.Context(), id, req.Term, req.Reason)
}

func (s *Server) release(_ http.ResponseWriter, r *http.Request, _ caller) (any, error) {
	id, err := s.own(r)
	if err != nil {
		return nil, err
	}
	req, err := body[api.ReleaseRequest](r)
	if err != nil {
		return nil, err
	}
	return nil, s.cfg.Store.Release(r.Context(), id, req.Term, req.RetryAfter)
}

func (s *Server) finish(_ http.ResponseWriter, r *http.Request, _ caller) (any, error) {
	id, err := s.own(r)
	if err != nil {
		return nil, err
	}
	req, err := body[api.FinishRequest](r)
	if err != nil {
		return nil, err
	}
	return nil, s.cfg.Store.Finish(r.Context(), id, req.Term, req.Outcome, req.Message)
}

func (s *Server) observe(_ http.ResponseWriter, r *http.Request, _ caller) (any, error) {
	req, err := body[api.ObservationRequest](r)
	if err != nil {
		return nil, err
	}
	ref := fleet.ClusterRef{Env: r.PathValue("env"), Name: req.Cluster}
	if _, err := s.cfg.Store.Cluster(r.Context(), ref); err != nil {
		return nil, err
	}
	return nil, s.cfg.Store.Observe(r.Context(), ref, req.Observation)
}

func (s *Server) beginMend(_ http.ResponseWriter, r *http.Request, _ caller) (any, error) {
	req, err := body[api.MendRequest](r)
	if err != nil {
		return nil, err
	}
	if req.Holder == "" {
		return nil, badRequest{fmt.Errorf("leave to put a cluster right needs a holder's name")}
	}
	m, err := s.cfg.Store.BeginMend(r.Context(), fleet.ClusterRef{Env: r.PathValue("env"), Name: req.Cluster}, req.Holder)
	if err != nil || m == nil {
		return nil, err
	}
	return m, nil
}

func (s *Server) endMend(_ http.ResponseWriter, r *http.Request, _ caller) (any, error) {
	req, err := body[api.MendedRequest](r)
	if err != nil {
		return nil, err
	}
	return nil, s.cfg.Store.EndMend(r.Context(), fleet.ClusterRef{Env: r.PathValue("env"), Name: req.Cluster}, req.Term, req.Result)
}

// changesWayBack tells whether a live action changes replication to the old version itself: what is seen of it meanwhile says nothing.
func changesWayBack(s strategy.Strategy, stage string) bool {
	st, _ := s.Stage(stage)
	return st.MovesPrimary || st.PointOfNoReturn
}

// watched lists the environment's clusters, and of each the old cell while the way back is to be watched.
func (s *Server) watched(_ http.ResponseWriter, r *http.Request, _ caller) (any, error) {
	clusters, err := s.cfg.Store.Clusters(r.Context(), r.PathValue("env"))
	if err != nil {
		return nil, err
	}
	infos, err := s.cfg.Store.Campaigns(r.Context())
	if err != nil {
		return nil, err
	}
	campaigns := map[string]campaign.Campaign{}
	for _, info := range infos {
		campaigns[info.Campaign.Name] = info.Campaign
	}
	standings, err := s.cfg.Store.Standings(r.Context(), r.PathValue("env"))
	if err != nil {
		return nil, err
	}
	old, judged := map[string]string{}, map[string]bool{}
	for _, p := range standings { // the newest campaign first: a cluster is watched for the last one that has it
		c := campaigns[p.Campaign]
		st, ok := strategy.ByName(c.Strategy)
		if !ok || judged[p.Cluster] {
			continue
		}
		judged[p.Cluster] = true
		_, at := st.Stage(p.Stage)
		if moves := st.PrimaryMoves(); moves >= 0 && at >= moves && at < len(st.Stages)-1 && !changesWayBack(st, p.Live) {
			old[p.Cluster] = c.FromCell
		}
	}
	out := make([]api.Watched, len(clusters))
	for i, c := range clusters {
		out[i] = api.Watched{Cluster: c, OldCell: old[c.Name]}
	}
	return out, nil
}
