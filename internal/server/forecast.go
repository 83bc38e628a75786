package server

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/campaign"
)

const (
	// unmeasured is how long a stage is taken to last that no cluster has gone through yet.
	unmeasured = 15 * time.Minute
	// forecastAge is how old a forecast may be that is shown once more although nothing was heard of since: what was seen of a cluster is no event.
	forecastAge = time.Minute
	// forecastRest is how many times as long as a forecast took the pages wait for the next one, up to its age, however much happens meanwhile. They
	// ask again at every event, and leases run out while forecasts have the processor.
	forecastRest = 20
)

// forecasts works out how campaigns go on, one at a time, and keeps the last one of each. Whoever wants one works it out, in his turn and with
// his own context; those who wait for theirs meanwhile take what he has found.
type forecasts struct {
	foretell func(ctx context.Context, s campaign.Snapshot, now time.Time, durations map[string]time.Duration) (campaign.Prediction, error)
	turn     chan struct{} // room for one

	mu   sync.Mutex
	last map[forecastKey]foretold
}

type forecastKey struct {
	campaign string
	costs    bool
}

// foretold is a forecast, and what it was made of.
type foretold struct {
	api.Forecast
	seq  int64 // the newest event before it
	took time.Duration
}

func newForecasts() *forecasts {
	return &forecasts{foretell: campaign.Forecast, turn: make(chan struct{}, 1), last: map[forecastKey]foretold{}}
}

func (f *forecasts) kept(key forecastKey) (foretold, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	one, ok := f.last[key]
	return one, ok
}

func (f *forecasts) keep(key forecastKey, one foretold) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last[key] = one
}

// current tells whether nothing has happened since, of which there is an event, or else long ago.
func (f foretold) current(seq int64, now time.Time) bool {
	return f.seq == seq && now.Sub(f.From) < forecastAge
}

// due is when the pages want another one: it is not for each event of a burst, but for the last.
func (f foretold) due(seq int64) time.Time {
	if f.seq == seq {
		return f.From.Add(forecastAge)
	}
	return f.From.Add(min(forecastAge, forecastRest*f.took))
}

// rests tells whether it is too soon for the pages to want another one.
func (f foretold) rests(seq int64, now time.Time) bool { return now.Before(f.due(seq)) }

// forecast answers with a forecast of the campaign as it is.
func (s *Server) forecast(_ http.ResponseWriter, r *http.Request, _ caller) (any, error) {
	one, err := s.foretold(r.Context(), forecastKey{r.PathValue("name"), r.URL.Query().Get("costs") == "true"}, foretold.current)
	return one.Forecast, err
}

// foretold is the last forecast of the campaign if that is good enough, or else a new one, for which it waits until it is its turn.
func (s *Server) foretold(ctx context.Context, key forecastKey, good func(one foretold, seq int64, now time.Time) bool) (foretold, error) {
	kept := func() (foretold, int64, bool, error) {
		seq, err := s.cfg.Store.LastEvent(ctx)
		if err != nil {
			return foretold{}, 0, false, err
		}
		one, ok := s.forecasts.kept(key)
		return one, seq, ok && good(one, seq, s.cfg.Now()), nil
	}
	if one, _, ok, err := kept(); ok || err != nil {
		return one, err
	}
	select {
	case s.forecasts.turn <- struct{}{}:
		defer func() { <-s.forecasts.turn }()
	case <-ctx.Done():
		return foretold{}, ctx.Err()
	}
	one, seq, ok, err := kept() // the one before may have been after the same
	if ok || err != nil {
		return one, err
	}
	snap, err := s.cfg.Store.Snapshot(ctx, key.campaign)
	if err != nil {
		return foretold{}, err
	}
	d, err := s.cfg.Store.StageDurations(ctx, snap.Campaign.Strategy)
	if err != nil {
		return foretold{}, err
	}
	d[""] = unmeasured
	now, began := s.cfg.Now(), time.Now()
	p, err := s.forecasts.foretell(ctx, snap, now, d)
	if err != nil {
		return foretold{}, err
	}
	one = foretold{Forecast: api.Forecast{Prediction: p, Durations: d}, seq: seq, took: time.Since(began)}
	s.forecasts.keep(forecastKey{campaign: key.campaign}, one)
	if !key.costs {
		return one, nil
	}
	if one.Costs, err = campaign.Costs(ctx, snap, now, d); err != nil {
		return foretold{}, err
	}
	s.forecasts.keep(key, one)
	return one, nil
}
