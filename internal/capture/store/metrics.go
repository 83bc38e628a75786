package store

import "github.com/prometheus/client_golang/prometheus"

// Metrics are what a shipper shows to Prometheus.
type Metrics struct {
	files, bytes, failures, deleted prometheus.Counter
	spoolFiles, spoolBytes, oldest  prometheus.Gauge
}

// NewMetrics registers them.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "windlass", Subsystem: "capture_ship", Name: name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "windlass", Subsystem: "capture_ship", Name: name, Help: help})
	}
	m := &Metrics{
		files:      counter("files_total", "Files of captured statements that are in the bucket."),
		bytes:      counter("bytes_total", "Their size."),
		failures:   counter("failures_total", "Tries to ship a file that failed, and are made again."),
		deleted:    counter("deleted_total", "Segments that were deleted from the bucket because they were kept long enough."),
		spoolFiles: gauge("spool_files", "Files that have ended and are not shipped yet."),
		spoolBytes: gauge("spool_bytes", "Their size."),
		oldest:     gauge("spool_oldest_seconds", "When the oldest of them began, as a Unix time; 0 if there is none."),
	}
	for _, c := range []prometheus.Collector{m.files, m.bytes, m.failures, m.deleted, m.spoolFiles, m.spoolBytes, m.oldest} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *Metrics) left(p Progress) {
	m.spoolFiles.Set(float64(p.Left))
	m.spoolBytes.Set(float64(p.LeftBytes))
	oldest := 0.0
	if !p.Oldest.IsZero() {
		oldest = float64(p.Oldest.UnixMilli()) / 1000
	}
	m.oldest.Set(oldest)
}
