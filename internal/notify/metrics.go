package notify

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The reasons of failures.
const (
	temporary     = "temporary"
	misconfigured = "misconfigured"
)

// counts are the sinks' numbers since this server's start.
type counts struct {
	messages, events, failures *prometheus.CounterVec
	seconds                    *prometheus.HistogramVec
}

func newCounts(sinks []SinkConfig) counts {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "windlass", Subsystem: "notify", Name: name, Help: help}, labels)
	}
	c := counts{
		messages: counter("messages_total", "Messages that the sink's receiver has taken from this server.", "sink"),
		events:   counter("events_total", "Events that the sink's receiver has taken from this server.", "sink"),
		failures: counter("failures_total", "Requests that failed. The reason misconfigured needs a person; nothing is lost by either.", "sink", "reason"),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "windlass", Subsystem: "notify", Name: "request_duration_seconds", Help: "How long the sink's receiver took to answer.",
			Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30}}, []string{"sink"}),
	}
	for _, s := range sinks { // so that they are there before something happens
		c.messages.WithLabelValues(s.Name)
		c.events.WithLabelValues(s.Name)
		c.failures.WithLabelValues(s.Name, temporary)
		c.failures.WithLabelValues(s.Name, misconfigured)
		c.seconds.WithLabelValues(s.Name)
	}
	return c
}

func (c counts) all() []prometheus.Collector {
	return []prometheus.Collector{c.messages, c.events, c.failures, c.seconds}
}

// collector shows a Notifier to Prometheus.
type collector struct {
	n                                *Notifier
	leads, pending, age, wrong, last *prometheus.Desc
}

// Collector shows the sinks to Prometheus. The backlog is read from the state at each scrape.
func (n *Notifier) Collector() prometheus.Collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("windlass_notify_"+name, help, labels, nil)
	}
	return collector{
		n:       n,
		leads:   desc("leading", "Whether this server is the one that sends notifications."),
		pending: desc("backlog_events", "Events that wait to be sent. Counting ends at a few thousand.", "sink"),
		age:     desc("backlog_age_seconds", "Age of the oldest event that waits to be sent, 0 if none does.", "sink"),
		wrong:   desc("misconfigured", "Whether the sink can't deliver by a mistake of its configuration.", "sink"),
		last:    desc("last_delivery_timestamp_seconds", "When this server last delivered a message.", "sink"),
	}
}

// Describe is prometheus.Collector's.
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, one := range c.n.count.all() {
		one.Describe(ch)
	}
	for _, d := range []*prometheus.Desc{c.leads, c.pending, c.age, c.wrong, c.last} {
		ch <- d
	}
}

// Collect is prometheus.Collector's.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	for _, one := range c.n.count.all() {
		one.Collect(ch)
	}
	ch <- prometheus.MustNewConstMetric(c.leads, prometheus.GaugeValue, b2f(c.n.Leads()))
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	all, err := c.n.Status(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(c.pending, err)
		return
	}
	for _, st := range all {
		age := 0.0
		if st.Pending > 0 {
			age = max(c.n.cfg.Now().Sub(st.Oldest).Seconds(), 0)
		}
		ch <- prometheus.MustNewConstMetric(c.pending, prometheus.GaugeValue, float64(st.Pending), st.Name)
		ch <- prometheus.MustNewConstMetric(c.age, prometheus.GaugeValue, age, st.Name)
		ch <- prometheus.MustNewConstMetric(c.wrong, prometheus.GaugeValue, b2f(st.Trouble != nil && st.Trouble.Wrong), st.Name)
		if !st.Delivered.IsZero() {
			ch <- prometheus.MustNewConstMetric(c.last, prometheus.GaugeValue, float64(st.Delivered.UnixMicro())/1e6, st.Name)
		}
	}
}

func b2f(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
