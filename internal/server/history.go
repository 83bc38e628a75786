package server

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/windlass-db/windlass/internal/state"
)

// Bounds of the histograms: an action takes from seconds to days, a held switch from milliseconds to a few seconds.
var (
	actionBounds = []time.Duration{10 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour, 24 * time.Hour, 72 * time.Hour}
	holdBounds   = []float64{.01, .025, .05, .1, .15, .2, .25, .5, 1, 2.5, 5}
)

// tally counts events without reading one twice: rows of the past don't change.
type tally struct {
	mu   sync.Mutex
	last int64
	n    map[state.EventCount]int64 // by all but N
}

// count adds what happened since it was asked last.
func (t *tally) count(ctx context.Context, store *state.Store) (map[state.EventCount]int64, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	counts, last, err := store.EventCounts(ctx, t.last)
	if err != nil {
		return nil, err
	}
	if t.n == nil {
		t.n = map[state.EventCount]int64{}
	}
	for _, c := range counts {
		n := c.N
		c.N = 0
		t.n[c] += n
	}
	t.last = last
	out := make(map[state.EventCount]int64, len(t.n))
	for k, n := range t.n {
		out[k] = n
	}
	return out, nil
}

// constants are metrics whose values are known: from the state, not counted here.
type constants []prometheus.Metric

// Describe tells nothing: the metrics differ from scrape to scrape.
func (constants) Describe(chan<- *prometheus.Desc) {}

// Collect is prometheus.Collector's.
func (c constants) Collect(ch chan<- prometheus.Metric) {
	for _, m := range c {
		ch <- m
	}
}

// history registers what has happened since the state began.
func (s *Server) history(ctx context.Context, reg *prometheus.Registry, infos []state.CampaignInfo) error {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("windlass_"+name, help, labels, nil)
	}
	var all constants
	counts, err := s.tally.count(ctx, s.cfg.Store)
	if err != nil {
		return err
	}
	events := desc("events_total", "Events, of which every transition is one.", "campaign", "env", "kind")
	expiries := desc("lease_expiries_total", "Leases that ran out and were taken over: a supervisor died, or could not reach the server.", "campaign", "env")
	expired := map[[2]string]int64{}
	for _, info := range infos {
		for _, env := range info.Campaign.Environments {
			expired[[2]string{info.Campaign.Name, env}] = 0
		}
	}
	for c, n := range counts {
		all = append(all, prometheus.MustNewConstMetric(events, prometheus.CounterValue, float64(n), c.Campaign, c.Env, c.Kind))
		if c.Kind == "action-taken-over" {
			expired[[2]string{c.Campaign, c.Env}] += n
		}
	}
	for key, n := range expired {
		all = append(all, prometheus.MustNewConstMetric(expiries, prometheus.CounterValue, float64(n), key[0], key[1]))
	}
	times, err := s.cfg.Store.ActionTimes(ctx, actionBounds)
	if err != nil {
		return err
	}
	took := desc("action_duration_seconds", "How long actions took that have ended, from the moment they were queued.", "campaign", "env", "stage", "direction", "outcome")
	for _, a := range times {
		buckets := map[float64]uint64{}
		for i, b := range actionBounds {
			buckets[b.Seconds()] = uint64(a.Within[i])
		}
		all = append(all, prometheus.MustNewConstHistogram(took, uint64(a.N), a.Sum.Seconds(), buckets, a.Campaign, a.Env, a.Stage, a.Direction, a.Outcome))
	}
	holds := prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "windlass", Name: "switch_hold_seconds", Help: "How long a gateway held clients in a switch, by the gateway's own clock.", Buckets: holdBounds},
		[]string{"campaign", "env", "kind"})
	for _, info := range infos {
		switches, err := s.cfg.Store.Switchovers(ctx, info.Campaign.Name)
		if err != nil {
			return err
		}
		for _, sw := range switches {
			holds.WithLabelValues(info.Campaign.Name, sw.Ref.Env, sw.Kind).Observe(sw.HoldMS / 1000)
		}
	}
	reg.MustRegister(all, holds)
	return nil
}
