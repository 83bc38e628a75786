package tally

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Late is who made a statement late.
type Late uint8

// Who can.
const (
	LateScheduler  Late = iota // the replay itself: its timer, its processors
	LateConnection             // its own connection was still busy with the statement before
	LateServer                 // the server had not answered the one before by the time that production's had
)

// Lateness is by how much statements were sent after they were due, by who made them late.
type Lateness struct {
	Scheduler  Histogram `json:"scheduler,omitzero"`
	Connection Histogram `json:"connection,omitzero"`
	Server     Histogram `json:"server,omitzero"`
}

func (l *Lateness) add(who Late, by time.Duration) {
	switch who {
	case LateConnection:
		l.Connection.Add(by)
	case LateServer:
		l.Server.Add(by)
	default:
		l.Scheduler.Add(by)
	}
}

func (l *Lateness) merge(o *Lateness) {
	l.Scheduler.Merge(&o.Scheduler)
	l.Connection.Merge(&o.Connection)
	l.Server.Merge(&o.Server)
}

// All is the lateness of all statements.
func (l *Lateness) All() *Histogram {
	var all Histogram
	for _, h := range []*Histogram{&l.Scheduler, &l.Connection, &l.Server} {
		all.Merge(h)
	}
	return &all
}

// Bounds of a histogram: durations up to an hour, to two digits.
const (
	longest = time.Hour
	figures = 2
)

// Histogram counts durations. The zero value is ready. A duration above an hour is counted as an hour, one below 0 as 0.
type Histogram struct{ h *hdrhistogram.Histogram }

// Add counts one.
func (h *Histogram) Add(d time.Duration) { h.add(int64(min(max(d, 0), longest)), 1) }

func (h *Histogram) add(v, n int64) {
	if h.h == nil {
		h.h = hdrhistogram.New(1, int64(longest), figures)
	}
	if err := h.h.RecordValues(v, n); err != nil {
		panic(fmt.Sprintf("tally: %v", err)) // the value is within the bounds
	}
}

// Merge adds another one.
func (h *Histogram) Merge(o *Histogram) {
	if o.h == nil {
		return
	}
	if h.h == nil {
		h.h = hdrhistogram.New(1, int64(longest), figures)
	}
	h.h.Merge(o.h)
}

// Count is how many were counted.
func (h *Histogram) Count() int64 {
	if h.h == nil {
		return 0
	}
	return h.h.TotalCount()
}

// At is the duration that the share q of all is not above; 0 if there are none.
func (h *Histogram) At(q float64) time.Duration {
	if h.h == nil {
		return 0
	}
	return time.Duration(h.h.ValueAtPercentile(q * 100))
}

// IsZero reports whether nothing was counted.
func (h Histogram) IsZero() bool { return h.Count() == 0 }

// MarshalJSON writes the buckets that are not empty: from and count.
func (h Histogram) MarshalJSON() ([]byte, error) {
	buckets := [][2]int64{}
	if h.h != nil {
		for _, b := range h.h.Distribution() {
			if b.Count > 0 {
				buckets = append(buckets, [2]int64{b.From, b.Count})
			}
		}
	}
	return json.Marshal(buckets)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (h *Histogram) UnmarshalJSON(b []byte) error {
	var buckets [][2]int64
	if err := json.Unmarshal(b, &buckets); err != nil {
		return fmt.Errorf("histogram: %w", err)
	}
	h.h = nil
	for _, v := range buckets {
		if v[0] < 0 || v[0] > 2*int64(longest) || v[1] < 0 {
			return fmt.Errorf("histogram: %d counts of %d are none", v[1], v[0])
		}
		h.add(min(v[0], int64(longest)), v[1])
	}
	return nil
}
