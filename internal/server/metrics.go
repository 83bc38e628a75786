package server

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/state"
	"github.com/windlass-db/windlass/internal/strategy"
)

// metrics are read from the state at each scrape: they can't disagree with the pages, and begin anew with no restart.
func (s *Server) metrics(w http.ResponseWriter, r *http.Request, _ caller) (any, error) {
	reg, err := s.measured(r.Context())
	if err != nil {
		return nil, err
	}
	promhttp.HandlerFor(reg, promhttp.HandlerOpts{}).ServeHTTP(w, r)
	return written{}, nil
}

// measured makes all metrics anew.
func (s *Server) measured(ctx context.Context) (*prometheus.Registry, error) {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if s.cfg.Notifications != nil {
		reg.MustRegister(s.cfg.Notifications.Collector())
	}
	infos, err := s.cfg.Store.Campaigns(ctx)
	if err != nil {
		return nil, err
	}
	g := newGauges(reg)
	for _, info := range infos {
		if err := s.measure(ctx, g, info); err != nil {
			return nil, err
		}
	}
	shut, err := s.cfg.Store.WithoutPrimary(ctx)
	if err != nil {
		return nil, err
	}
	for env, n := range shut {
		g.shut.WithLabelValues(env).Set(float64(n))
	}
	return reg, s.history(ctx, reg, infos)
}

// gauges say how it stands now.
type gauges struct {
	status, clusters, live, holds, failed, broken, arrived, unknown, shut, looked, oldest, launched *prometheus.GaugeVec
}

func newGauges(reg *prometheus.Registry) gauges {
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "windlass", Name: name, Help: help}, labels)
		reg.MustRegister(g)
		return g
	}
	return gauges{
		status:   gauge("campaign_status", "1 for the status that the campaign is in.", "campaign", "status"),
		clusters: gauge("clusters", "Clusters by the last stage that they completed.", "campaign", "env", "stage"),
		live:     gauge("actions_live", "Live actions.", "campaign", "env", "stage", "direction", "status"),
		holds:    gauge("holds", "Clusters that do not move, by the first reason.", "campaign", "env", "reason"),
		failed:   gauge("clusters_failed", "Clusters whose last action failed: a person is needed.", "campaign", "env"),
		broken:   gauge("way_back_broken", "Clusters whose way back is broken, not those where it was closed on purpose.", "campaign", "env"),
		arrived:  gauge("clusters_arrived", "Clusters that have arrived.", "campaign", "env"),
		unknown:  gauge("clusters_unknown", "Clusters of which the last look could not read everything, or that were never looked at.", "campaign", "env"),
		shut:     gauge("clusters_without_primary", "Clusters of which no node was seen writable, or of an engine serving, in two looks, and no action is at work on it.", "env"),
		looked:   gauge("observations_oldest_timestamp_seconds", "The oldest of the last looks at the clusters: it stands still when no supervisor reports.", "campaign", "env"),
		oldest:   gauge("actions_oldest_start_timestamp_seconds", "When the oldest live action was started.", "campaign", "env", "stage"),
		launched: gauge("launcher_last_run_timestamp_seconds", "When the launcher last ran the campaign.", "campaign"),
	}
}

// measure sets the gauges of one campaign. Those of each environment and stage are there with 0, so that nothing vanishes.
func (s *Server) measure(ctx context.Context, g gauges, info state.CampaignInfo) error {
	name := info.Campaign.Name
	snap, err := s.cfg.Store.Snapshot(ctx, name)
	if err != nil {
		return err
	}
	g.status.WithLabelValues(name, snap.Status).Set(1)
	st, _ := strategy.ByName(info.Campaign.Strategy)
	for _, env := range info.Campaign.Environments {
		g.clusters.WithLabelValues(name, env, "none").Set(0)
		for _, stage := range st.Stages {
			g.clusters.WithLabelValues(name, env, stage.Name).Set(0)
		}
		for _, v := range []*prometheus.GaugeVec{g.failed, g.broken, g.arrived, g.unknown} {
			v.WithLabelValues(name, env).Set(0)
		}
	}
	decisions := byRef(s.cfg.Decide(snap, s.cfg.Now()))
	looked, oldest := map[string]time.Time{}, map[[2]string]time.Time{}
	for _, p := range snap.Clusters {
		g.cluster(name, p, decisions[p.Ref])
		if t := looked[p.Ref.Env]; !p.Looked.IsZero() && (t.IsZero() || p.Looked.Before(t)) {
			looked[p.Ref.Env] = p.Looked
		}
		if a := p.Action; a != nil {
			key := [2]string{p.Ref.Env, a.Stage}
			if t := oldest[key]; t.IsZero() || a.StartedAt.Before(t) {
				oldest[key] = a.StartedAt
			}
		}
	}
	for env, t := range looked {
		g.looked.WithLabelValues(name, env).Set(unix(t))
	}
	for key, t := range oldest {
		g.oldest.WithLabelValues(name, key[0], key[1]).Set(unix(t))
	}
	at, err := s.cfg.Store.LastLaunch(ctx, name)
	if err == nil && !at.IsZero() {
		g.launched.WithLabelValues(name).Set(unix(at))
	}
	return err
}

// cluster counts one cluster.
func (g gauges) cluster(name string, p campaign.Progress, d campaign.Decision) {
	stage := p.Stage
	if stage == "" {
		stage = "none"
	}
	g.clusters.WithLabelValues(name, p.Ref.Env, stage).Inc()
	if d.Arrived {
		g.arrived.WithLabelValues(name, p.Ref.Env).Inc()
	}
	if d.Hold != nil && len(d.Hold.Reasons) > 0 {
		g.holds.WithLabelValues(name, p.Ref.Env, d.Hold.Reasons[0].Code).Inc()
	}
	if p.Failure != nil {
		g.failed.WithLabelValues(name, p.Ref.Env).Inc()
	}
	if p.WayBack != nil && !p.WayBack.Open && !p.WayBack.Closed {
		g.broken.WithLabelValues(name, p.Ref.Env).Inc()
	}
	if p.Unknown != "" || p.Looked.IsZero() {
		g.unknown.WithLabelValues(name, p.Ref.Env).Inc()
	}
	if a := p.Action; a != nil {
		g.live.WithLabelValues(name, p.Ref.Env, a.Stage, a.Direction, a.Status).Inc()
	}
}

func unix(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }
