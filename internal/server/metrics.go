package server

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/windlass-db/windlass/internal/strategy"
)

// metrics are read from the state at each scrape: they can't disagree with the pages.
func (s *Server) metrics(w http.ResponseWriter, r *http.Request, _ caller) (any, error) {
	reg := prometheus.NewRegistry()
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "windlass", Name: name, Help: help}, labels)
		reg.MustRegister(g)
		return g
	}
	clusters := gauge("clusters", "Clusters by the last stage that they completed.", "campaign", "env", "stage")
	live := gauge("actions_live", "Live actions.", "campaign", "env", "stage", "direction", "status")
	holds := gauge("holds", "Clusters that do not move, by the first reason.", "campaign", "env", "reason")
	failed := gauge("clusters_failed", "Clusters that need a person.", "campaign", "env")
	broken := gauge("way_back_broken", "Clusters whose way back is broken.", "campaign", "env")
	arrived := gauge("clusters_arrived", "Clusters that have arrived.", "campaign", "env")
	launched := gauge("launcher_last_run_timestamp_seconds", "When the launcher last ran the campaign.", "campaign")
	events := gauge("events_total", "Number of the newest event.")

	infos, err := s.cfg.Store.Campaigns(r.Context())
	if err != nil {
		return nil, err
	}
	for _, info := range infos {
		name := info.Campaign.Name
		snap, err := s.cfg.Store.Snapshot(r.Context(), name)
		if err != nil {
			return nil, err
		}
		decisions := byRef(s.cfg.Decide(snap, s.cfg.Now()))
		st, _ := strategy.ByName(info.Campaign.Strategy)
		for _, env := range info.Campaign.Environments {
			clusters.WithLabelValues(name, env, "none").Set(0)
			for _, stage := range st.Stages {
				clusters.WithLabelValues(name, env, stage.Name).Set(0)
			}
			failed.WithLabelValues(name, env).Set(0)
			broken.WithLabelValues(name, env).Set(0)
			arrived.WithLabelValues(name, env).Set(0)
		}
		for _, p := range snap.Clusters {
			stage := p.Stage
			if stage == "" {
				stage = "none"
			}
			clusters.WithLabelValues(name, p.Ref.Env, stage).Inc()
			d := decisions[p.Ref]
			if d.Arrived {
				arrived.WithLabelValues(name, p.Ref.Env).Inc()
			}
			if d.Hold != nil && len(d.Hold.Reasons) > 0 {
				holds.WithLabelValues(name, p.Ref.Env, d.Hold.Reasons[0].Code).Inc()
			}
			if p.Failure != nil {
				failed.WithLabelValues(name, p.Ref.Env).Inc()
			}
			if p.WayBack != nil && !p.WayBack.Open {
				broken.WithLabelValues(name, p.Ref.Env).Inc()
			}
			if a := p.Action; a != nil {
				live.WithLabelValues(name, p.Ref.Env, a.Stage, a.Direction, a.Status).Inc()
			}
		}
		at, err := s.cfg.Store.LastLaunch(r.Context(), name)
		if err != nil {
			return nil, err
		}
		if !at.IsZero() {
			launched.WithLabelValues(name).Set(float64(at.UnixMicro()) / 1e6)
		}
	}
	seq, err := s.cfg.Store.LastEvent(r.Context())
	if err != nil {
		return nil, err
	}
	events.WithLabelValues().Set(float64(seq))
	promhttp.HandlerFor(reg, promhttp.HandlerOpts{}).ServeHTTP(w, r)
	return written{}, nil
}
